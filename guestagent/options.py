"""The command line, parsed without ``argparse``, whose import doubles the start-up time."""

from __future__ import annotations

from guestagent.errors import UsageError
from guestagent.record import NamedTuple

USAGE = """\
usage: guestagent [apply] [--dry-run] [--json] [--source PATH] [--root DIR] [--boot]
       guestagent status [--json] [--root DIR]
       guestagent --help | --version

  apply           configure the guest (this is the default)
  status          show the report of the last run
  --dry-run       show what would change, and why; change nothing
  --json          print the plan or the report as JSON
  --source PATH   a directory, an image file or a block device to read
  --root DIR      configure the tree below DIR instead of the running system
  --boot          the run of the early unit: having no source is no error

exit status: 0 done, or nothing to change; 1 errors; 2 changes (--dry-run); see guestagent(8)
"""

_VERBS = ("apply", "status")
_FLAGS = ("--dry-run", "--json", "--boot", "--help", "--version")
_WITH_VALUE = ("--source", "--root")


class Options(NamedTuple):
    """The parsed command line."""

    verb: str = "apply"
    dry_run: bool = False
    json: bool = False
    boot: bool = False
    help: bool = False
    version: bool = False
    source: str = ""
    root: str = "/"


def parse(arguments: list[str]) -> Options:
    """Parse the arguments.  Raises UsageError."""
    found: dict[str, str | bool] = {}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name in _WITH_VALUE:
            if not equals:
                if not rest:
                    raise UsageError(f"{name} needs a value")
                value = rest.pop(0)
            if not value:
                raise UsageError(f"{name} needs a value")
            _set(found, name, value)
        elif word in _FLAGS:
            _set(found, word, True)
        elif word in _VERBS and "verb" not in found:
            found["verb"] = word
        else:
            raise UsageError(f"unknown argument {word!r}")
    return _checked(Options(**found))  # type: ignore[arg-type]


def _set(found: dict[str, str | bool], name: str, value: str | bool) -> None:
    key = name[2:].replace("-", "_")
    if key in found:
        raise UsageError(f"{name} stands twice")
    found[key] = value


def _checked(options: Options) -> Options:
    if options.verb == "status" and (options.dry_run or options.source or options.boot):
        raise UsageError("status takes only --json and --root")
    if options.json and options.verb == "apply" and not options.dry_run:
        raise UsageError("--json goes with --dry-run or status")
    if options.boot and (options.dry_run or options.root != "/"):
        raise UsageError("--boot goes with neither --dry-run nor --root")
    return options
