"""The program: ``main`` is what ``/usr/bin/guestagent`` calls.

What each verb does is in its module of ``verbs``.
"""

from __future__ import annotations

import os
import sys

from guestagent import VERSION, defs, log
from guestagent.errors import GuestagentError, UsageError, internal
from guestagent.options import USAGE, Options, parse


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says.  Return the exit status that guestagent(8) describes."""
    if sys.stdin is None or sys.stdout is None or sys.stderr is None:
        _open_missing_streams()
    status = _answer(arguments)
    try:
        sys.stdout.flush()
    except OSError as error:
        status = _without_output(error)
    return status


def _answer(arguments: list[str] | None) -> int:
    """Do what the command line says, and report what prevents it.  Return the exit status."""
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
        if isinstance(error, BrokenPipeError) and _is_output_unread():
            return _without_output(error)
        log.error(f"{error.filename or 'system'}: {error.strerror}")
        return defs.EXIT_ERRORS
    except KeyboardInterrupt:
        return defs.EXIT_INTERRUPTED  # who pressed the keys knows that
    except Exception as error:
        log.error(internal(error))
        return defs.EXIT_ERRORS


def _open_missing_streams() -> None:
    """Open /dev/null for each standard stream that the caller has closed.

    Otherwise a file that is opened later would get its number, and what is meant for the stream.
    It is opened for writing only: to read from a standard input that is closed stays an error.
    """
    fd = os.open(os.devnull, os.O_WRONLY)
    while fd <= 2:
        os.set_inheritable(fd, True)
        fd = os.open(os.devnull, os.O_WRONLY)
    os.close(fd)
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def _is_output_unread() -> bool:
    """Tell whether standard output is a pipe that is not read any more."""
    from select import POLLERR, poll

    poller = poll()
    poller.register(1, POLLERR)
    return bool(poller.poll(0))


def _without_output(error: OSError) -> int:
    """Drop what could not be written to standard output.  Return the exit status.

    A reader that has seen enough, such as head(1), is no error to report.
    """
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
    if isinstance(error, BrokenPipeError):
        return defs.EXIT_UNREAD
    log.error(f"standard output: {error.strerror}")
    return defs.EXIT_ERRORS


def _run(options: Options) -> int:
    """Run the verb.  Only its own module is imported, because importing takes most of the time."""
    match options.verb:
        case "apply":
            from guestagent.verbs import apply

            return apply.run(options)
        case "cloud-init":
            from guestagent.verbs import cloud_init

            return cloud_init.run(options)
        case "confirm" | "rollback":
            from guestagent.verbs import rollback

            return rollback.run(options)
        case "download":
            from guestagent.verbs import download

            return download.run(options)
        case "fetch":
            from guestagent.verbs import fetch

            return fetch.run(options)
        case "fetch-later":
            from guestagent.verbs import fetch_later

            return fetch_later.run(options)
        case "make-host-keys":
            from guestagent.verbs import make_host_keys

            return make_host_keys.run(options)
        case "network":
            from guestagent.verbs import network

            return network.run(options)
        case "note-failed":
            from guestagent.verbs import note_failed

            return note_failed.run(options)
        case "phone-home":
            from guestagent.scripts import phone_home

            return phone_home.run_verb()
        case "post":
            from guestagent.verbs import post

            return post.run(options)
        case "refresh":
            from guestagent.verbs import apply

            return apply.run(options)
        case "reload":
            from guestagent.verbs import reload

            return reload.run(options)
        case "run-early" | "run-late":
            from guestagent.scripts import runner

            return runner.run_verb(options)
        case "schema":
            from guestagent.verbs import schema

            return schema.run(options)
        case "sign":
            from guestagent.verbs import sign

            return sign.run(options)
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
