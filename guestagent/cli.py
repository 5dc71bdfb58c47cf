"""The program: ``main`` is what ``/usr/bin/guestagent`` calls.

The story of a run is told in ``engine``; here are only its beginning and its end.
"""

from __future__ import annotations

import sys

from guestagent import VERSION, defs, log
from guestagent.errors import GuestagentError, UsageError
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
        log.error(f"internal error: {type(error).__name__} at {_place(error)}")
        return defs.EXIT_ERRORS
    finally:
        sys.stdout.flush()


def _verb(options: Options) -> int:
    if options.verb == "status":
        from guestagent.status import show

        return show(options)
    if options.verb in ("confirm", "rollback"):
        from guestagent.rollback import run_verb

        return run_verb(options)
    if options.verb == "network":
        from guestagent.render import show as render

        return render(options)
    if options.verb in ("fetch", "post", "reload"):
        from guestagent.stages import run_verb as run_stage

        return run_stage(options)
    from guestagent.engine import run

    return run(options)


def _place(error: BaseException) -> str:
    """Where an exception was raised.  Its text is not shown: it could hold a secret."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    if trace is None:
        return "an unknown place"
    return f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
