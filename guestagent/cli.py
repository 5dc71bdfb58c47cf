"""The program: ``main`` is what ``/usr/bin/guestagent`` calls.

What each verb does is in its module of ``verbs``.
"""

from __future__ import annotations

import sys

from guestagent import VERSION, defs, log
from guestagent.errors import GuestagentError, UsageError, internal
from guestagent.options import USAGE, Options, parse


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says.  Return the exit status that guestagent(8) describes."""
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments)
        if options.help:
            sys.stdout.write(USAGE)
            return defs.EXIT_OK
        if options.version:
            print(f"guestagent {VERSION}")
            return defs.EXIT_OK
        return _run(options)
    except UsageError as error:
        log.error(f"{error}; see guestagent --help")
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


def _run(options: Options) -> int:
    """Run the verb.  Only its own module is imported, because importing takes most of the time."""
    match options.verb:
        case "apply":
            from guestagent.verbs import apply

            return apply.run(options)
        case "confirm" | "rollback":
            from guestagent.verbs import rollback

            return rollback.run(options)
        case "fetch":
            from guestagent.verbs import fetch

            return fetch.run(options)
        case "network":
            from guestagent.verbs import network

            return network.run(options)
        case "phone-home":
            from guestagent.scripts import phone_home

            return phone_home.run_verb()
        case "post":
            from guestagent.verbs import post

            return post.run(options)
        case "reload":
            from guestagent.verbs import reload

            return reload.run(options)
        case "run-early" | "run-late":
            from guestagent.scripts import runner

            return runner.run_verb(options)
        case "schema":
            from guestagent.verbs import schema

            return schema.run(options)
        case "status":
            from guestagent.verbs import status

            return status.run(options)
        case "validate":
            from guestagent.verbs import validate

            return validate.run(options)
        case "write-later":
            from guestagent.verbs import write_later

            return write_later.run(options)
    raise UsageError(f"unknown verb {options.verb}")
