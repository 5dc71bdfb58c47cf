"""The command line, parsed without ``argparse``, whose import would double the start-up time."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import UsageError
from guestagent.record import NamedTuple

USAGE = """\
usage: guestagent [apply] [--dry-run] [--json] [--source PATH] [--root DIR] [--boot]
                  [--confirm SECONDS]
       guestagent refresh
       guestagent confirm | rollback
       guestagent network --render BACKEND [--source PATH] [--json]
       guestagent status [--wait [SECONDS]] [--json] [--root DIR]
       guestagent validate FILE... [--json] [--os ID] [--signers FILE]
       guestagent sign --key FILE [--detached] [--output FILE] DOCUMENT
       guestagent schema
       guestagent --help | --version

  apply           configure this machine (the default)
  confirm         keep the network that apply --confirm has set
  refresh         take over what the source says now of SSH keys, host name and network
  rollback        restore the network from before apply --confirm, now
  network         print the network's files for a back end; change nothing
  status          show the report of the last run
  validate        print what user data (a file, or - for standard input) would do,
                  and what is wrong with it; needs no special machine and no root
  sign            print user data (a file, or -) with a signature by an SSH key
  schema          print the JSON Schema of cloud-config, for editors
  --dry-run       print what would change, and why; change nothing
  --json          print the plan or the report as JSON
  --source PATH   read a directory, an image file, a block device, or the http:// URL
                  of a metadata service
  --root DIR      configure the tree below DIR instead of the running system
  --boot          the run of guestagent-local.service: to find no source is no error
  --fetched       the run after guestagent-fetch.service: apply what that has fetched
  --confined      the run of guestagent-refresh.service, which leaves to other units what it
                  may not do itself
  --confirm SECONDS
                  restore the previous network after this time (5 to 3600) unless
                  guestagent confirm is run
  --poll          the run of guestagent-poll.service: one question to the metadata service
  --render BACKEND
                  networkd, networkmanager, ifupdown or netplan
  --wait [SECONDS]
                  return when this boot's stages and scripts are over, or after this time
  --key FILE      the SSH key to sign with, or the public one if an agent has the other
  --detached      print the signature alone, to be put beside the document
  --output FILE   write what is signed, or the signature, to a file
  --signers FILE  demand signatures by keys that this file admits (ssh-keygen(1),
                  ALLOWED SIGNERS)
  --os ID         the system that validate assumes: debian (the default), ubuntu,
                  fedora, rhel, centos, rocky, almalinux, ol or amzn

exit status: 0 done, or nothing to change; 1 errors; 2 changes (--dry-run); 4 disabled (status);
75 try again, or the time of --wait is over; see guestagent(8)
"""

_CONFIRM_RANGE = range(5, 3601)  # seconds
_WAIT_RANGE = range(1, defs.STATUS_WAIT_MOST + 1)
WITHOUT_LIMIT = -1


class Options(NamedTuple):
    """The parsed command line: the verb, the options by their names, and ``files`` to read.

    For ``cloud-init``, ``files`` are all its arguments.
    ``wait`` is a number of seconds, or WITHOUT_LIMIT; 0 is not to wait at all.
    """

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
    wait: int = 0
    render: str = ""
    files: tuple[str, ...] = ()
    os: str = ""
    confined: bool = False
    poll: bool = False
    key: str = ""
    output: str = ""
    detached: bool = False
    signers: str = ""

    @property
    def refresh(self) -> bool:
        """Tell whether the run is for a configured system that goes on running."""
        return self.verb == "refresh"


_FLAGS = (
    "--dry-run",
    "--json",
    "--boot",
    "--confined",
    "--detached",
    "--fetched",
    "--help",
    "--poll",
    "--version",
)
_WITH_VALUE = (
    "--confirm",
    "--key",
    "--os",
    "--output",
    "--render",
    "--root",
    "--signers",
    "--source",
)
_WITH_FILES = ("sign", "validate")

# The verbs, and the fields of Options that each accepts besides --help and --version.
_ACCEPTED = {
    "apply": ("dry_run", "json", "boot", "source", "root", "fetched", "confirm"),
    "confirm": (),
    "network": ("render", "source", "json"),
    "refresh": ("confined", "poll"),
    "rollback": (),
    "schema": (),
    "status": ("json", "root", "wait"),
    "sign": ("files", "key", "output", "detached"),
    "validate": ("files", "json", "os", "signers"),
    # For units, and for scripts that guestagent itself stages:
    "download": ("source",),
    "fetch": ("source",),
    "fetch-later": (),
    "make-host-keys": (),
    "note-failed": (),
    "phone-home": (),
    "post": ("source",),
    "reload": (),
    "run-early": (),
    "run-late": (),
    "write-later": (),
}

# The fields that exclude others.
_EXCLUDED = {
    # At boot there is one tree, and no one to read a plan.
    "boot": ("dry_run", "root"),
    # What was fetched is for this machine, and is the source.
    "fetched": ("boot", "root", "source"),
    # Only a running network can be tried.
    "confirm": ("boot", "dry_run", "root"),
    # Nothing is going on in an offline tree.
    "wait": ("root",),
}


def parse(arguments: list[str]) -> Options:
    """Return the options that the arguments give.  Raises UsageError."""
    if arguments[:1] == ["cloud-init"]:  # what follows is for a command with options of its own
        return Options("cloud-init", files=tuple(arguments[1:]))
    found: dict[str, str | bool | int] = {}
    files: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name in _WITH_VALUE:
            if not equals and rest:
                value = rest.pop(0)
            if not value:
                raise UsageError(f"{name} needs a value")
            seconds = name == "--confirm"
            _set(found, name, _seconds(name, value, _CONFIRM_RANGE) if seconds else value)
        elif name == "--wait":
            # Its value may be left out.
            if not equals and rest and rest[0].isdigit():
                equals, value = "=", rest.pop(0)
            limit = _seconds(name, value, _WAIT_RANGE) if equals else WITHOUT_LIMIT
            _set(found, name, limit)
        elif word in _FLAGS:
            _set(found, word, True)
        elif word in _ACCEPTED and "verb" not in found:
            found["verb"] = word
        elif found.get("verb") in _WITH_FILES and _is_file(word):
            files.append(word)
        else:
            raise UsageError(f"unknown argument {word!r}")
    options = Options(**found, files=tuple(files))  # type: ignore[arg-type]
    _check(options)
    return options


def _is_file(word: str) -> bool:
    """Tell whether a word may be a file to read: "-" is standard input."""
    return word == "-" or not word.startswith("-")


def _seconds(name: str, value: str, allowed: range) -> int:
    """Return the value of an option that takes a number of seconds.  Raises UsageError."""
    # int() would accept spaces, signs, underscores and the digits of every script, too.
    if value.isascii() and value.isdigit() and len(value) <= 7 and int(value) in allowed:
        return int(value)
    raise UsageError(f"{name} needs a number of seconds from {allowed[0]} to {allowed[-1]}")


def _set(found: dict[str, str | bool | int], name: str, value: str | bool | int) -> None:
    key = name[2:].replace("-", "_")
    if key in found:
        raise UsageError(f"{name} is given twice")
    found[key] = value


def _check(options: Options) -> None:
    """Raise UsageError for options that the verb does not accept, needs, or not together."""
    defaults = Options()._asdict()
    given = {name for name, value in options._asdict().items() if value != defaults[name]}
    accepted = {"verb", "help", "version", *_ACCEPTED[options.verb]}
    refused = sorted(given - accepted)
    if refused:
        raise UsageError(f"{options.verb} does not accept {_written(refused[0])}")
    for name, others in _EXCLUDED.items():
        if name in given and not given.isdisjoint(others):
            excluded = ", ".join(_written(other) for other in others)
            raise UsageError(f"{_written(name)} cannot be used with any of: {excluded}")
    if options.verb == "apply" and options.json and not options.dry_run:
        raise UsageError("--json needs --dry-run, or one of the verbs network, status, validate")
    if not options.help:
        _check_needs(options)


def _written(name: str) -> str:
    """Return a field of Options as it is written on the command line."""
    return f"--{name.replace('_', '-')}"


def _check_needs(options: Options) -> None:
    """Raise UsageError for a verb without what it needs."""
    if options.verb == "network" and options.render not in defs.NETWORK_STACKS:
        raise UsageError(f"network needs --render with one of: {', '.join(defs.NETWORK_STACKS)}")
    if options.verb == "validate" and not options.files:
        raise UsageError("validate needs a file")
    if options.verb == "sign" and not (options.key and len(options.files) == 1):
        raise UsageError("sign needs --key and one document")
    if options.verb in ("download", "fetch", "post") and not options.source:
        raise UsageError(f"{options.verb} needs --source")
