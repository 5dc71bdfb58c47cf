"""The program: ``main`` is what ``/usr/bin/guestagent`` calls.

The story of a run is told in ``engine``; here are only its beginning and its end.
"""

from __future__ import annotations

import sys

from guestagent import VERSION, defs, log
from guestagent.errors import GuestagentError, UsageError, internal
from guestagent.options import USAGE, Options, parse


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; returns the exit status of ``guestagent(8)``."""
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments)
        if options.help or options.version:
            sys.stdout.write(USAGE if options.help else f"guestagent {VERSION}\n")
            return defs.EXIT_OK
        return _verb(options)
    except UsageError as error:
        log.error(f"{error}; guestagent --help shows how")
        return error.status
    except GuestagentError as error:
        log.error(str(error))
        return error.status
    except OSError as error:
        log.error(f"{error.filename or 'system'}: {error.strerror}")
        return defs.EXIT_ERRORS
    except Exception as error:
        log.error(internal(error))
        return defs.EXIT_ERRORS
    finally:
        sys.stdout.flush()


def _verb(options: Options) -> int:
    if options.verb == "status":
        from guestagent.report.run import show

        return show(options)
    if options.verb in ("confirm", "rollback"):
        from guestagent.live.rollback import run_verb

        return run_verb(options)
    if options.verb == "network":
        from guestagent.verbs.network import show as render

        return render(options)
    if options.verb in ("schema", "validate"):
        from guestagent.verbs.validate import run_verb as validate

        return validate(options)
    if options.verb in ("fetch", "post", "reload", "write-later"):
        from guestagent.verbs.stages import run_verb as run_stage

        return run_stage(options)
    if options.verb in ("run-early", "run-late"):
        from guestagent.scripts.runner import run_verb as run_scripts

        return run_scripts(options)
    if options.verb == "phone-home":
        from guestagent.scripts.phone_home import run_verb as phone_home

        return phone_home()
    from guestagent.verbs.apply import run

    return run(options)
