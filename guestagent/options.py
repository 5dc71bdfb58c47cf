"""The command line, parsed without ``argparse``, whose import doubles the start-up time."""

from __future__ import annotations

from guestagent.defs import NETWORK_STACKS
from guestagent.errors import UsageError
from guestagent.record import NamedTuple

USAGE = """\
usage: guestagent [apply] [--dry-run] [--json] [--source PATH] [--root DIR] [--boot]
                  [--confirm SECONDS]
       guestagent confirm | rollback
       guestagent network --render BACKEND [--source PATH] [--json]
       guestagent status [--json] [--root DIR]
       guestagent validate FILE... [--json] [--os ID]
       guestagent schema
       guestagent --help | --version

  apply           configure the guest (this is the default)
  confirm         keep the network that apply --confirm set
  rollback        bring back the network from before apply --confirm, at once
  network         print the network's files for a back end; change nothing
  status          show the report of the last run
  validate        say what user data (a file, or - for standard input) would do,
                  and what in it is wrong; needs no guest and no root
  schema          print the JSON Schema of cloud-config, for editors
  --dry-run       show what would change, and why; change nothing
  --json          print the plan or the report as JSON
  --source PATH   a directory, an image file or a block device to read, or the
                  http:// URL of a metadata service
  --root DIR      configure the tree below DIR instead of the running system
  --boot          the run of the early unit: having no source is no error
  --fetched       the run of the unit after guestagent-fetch.service: apply its answer
  --confirm SECONDS
                  take changes of the network back after this time (5 to 3600)
                  unless guestagent confirm is run
  --render BACKEND
                  networkd, networkmanager, ifupdown or netplan
  --os ID         the guest that validate imagines: debian (as without this option),
                  ubuntu, fedora, rhel, centos, rocky, almalinux, ol or amzn

exit status: 0 done, or nothing to change; 1 errors; 2 changes (--dry-run); see guestagent(8)
"""

# The second line of the verbs, and --boot and --fetched, are for units.
_VERBS = (
    *("apply", "confirm", "network", "rollback", "schema", "status", "validate"),
    *("fetch", "phone-home", "post", "reload", "run-early", "run-late"),
    "write-later",
)
_FLAGS = ("--dry-run", "--json", "--boot", "--fetched", "--help", "--version")
_WITH_VALUE = ("--confirm", "--os", "--render", "--root", "--source")
_CONFIRM_RANGE = range(5, 3601)


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
    fetched: bool = False
    confirm: int = 0
    render: str = ""
    files: tuple[str, ...] = ()
    os: str = ""


def parse(arguments: list[str]) -> Options:
    """Parse the arguments.  Raises UsageError."""
    found: dict[str, str | bool | int] = {}
    files: list[str] = []
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
            _set(found, name, _seconds(value) if name == "--confirm" else value)
        elif word in _FLAGS:
            _set(found, word, True)
        elif word in _VERBS and "verb" not in found:
            found["verb"] = word
        elif found.get("verb") == "validate" and (word == "-" or word[:1] != "-"):
            files.append(word)
        else:
            raise UsageError(f"unknown argument {word!r}")
    return _checked(Options(**found, files=tuple(files)))  # type: ignore[arg-type]


def _seconds(value: str) -> int:
    if value.isascii() and value.isdigit() and len(value) < 5 and int(value) in _CONFIRM_RANGE:
        return int(value)
    raise UsageError(f"--confirm needs a number of seconds, {_CONFIRM_RANGE[0]} to 3600")


def _set(found: dict[str, str | bool | int], name: str, value: str | bool | int) -> None:
    key = name[2:].replace("-", "_")
    if key in found:
        raise UsageError(f"{name} stands twice")
    found[key] = value


# What each verb takes besides --help and --version.
_TAKEN = {
    "apply": ("dry_run", "json", "boot", "source", "root", "fetched", "confirm"),
    "confirm": (),
    "network": ("render", "source", "json"),
    "fetch": ("source",),
    "phone-home": (),
    "post": ("source",),
    "reload": (),
    "rollback": (),
    "run-early": (),
    "run-late": (),
    "schema": (),
    "status": ("json", "root"),
    "validate": ("files", "json", "os"),
    "write-later": (),
}


def _checked(options: Options) -> Options:
    verb = options.verb
    taken = ("verb", "help", "version", *_TAKEN[verb])
    given = [name for name, value in options._asdict().items() if value != getattr(Options(), name)]
    wrong = [name for name in given if name not in taken]
    if wrong:
        raise UsageError(f"{verb} takes no --{wrong[0].replace('_', '-')}")
    if options.json and verb == "apply" and not options.dry_run:
        raise UsageError("--json goes with --dry-run, network, status or validate")
    if options.boot and (options.dry_run or options.root != "/"):
        raise UsageError("--boot goes with neither --dry-run nor --root")
    if options.fetched and (options.source or options.boot or options.root != "/"):
        raise UsageError("--fetched goes with none of --boot, --root and --source")
    if verb == "validate" and not options.files and not options.help:
        raise UsageError("validate needs a file")
    if verb in ("fetch", "post") and not options.source:
        raise UsageError(f"{verb} needs --source")
    if options.confirm and (options.dry_run or options.boot or options.root != "/"):
        raise UsageError("--confirm goes with none of --dry-run, --boot and --root")
    if verb == "network" and options.render not in NETWORK_STACKS and not options.help:
        raise UsageError(f"network needs --render {', '.join(NETWORK_STACKS)}")
    return options
