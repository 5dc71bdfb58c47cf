"""``guestagent validate``: what user data would do, said on any machine.

The documents go through the same parser and the same planners as in a guest; the guest they are
planned for is an imagined, freshly installed one, Debian unless --os names another, that has every
program of its distribution, and whose metadata gives it a host name and an SSH key.
"""

from __future__ import annotations

import os
import sys
from stat import S_IFREG, S_ISREG

from guestagent import defs
from guestagent.desired import desired
from guestagent.desired.accounts.passwords import NO_ACCOUNT
from guestagent.desired.accounts.users import NO_MEMBER
from guestagent.errors import FieldError, Origin, Problem, Problems, UsageError
from guestagent.log import printable
from guestagent.model import Account, Facts, InstanceData, Text
from guestagent.parse.userdata.read import read
from guestagent.plan.difference import Plan, diff
from guestagent.plan.wanted import Ask, Wanted
from guestagent.record import NamedTuple
from guestagent.report import plan as show
from guestagent.settings import Settings
from guestagent.system.jsontext import dumps
from guestagent.system.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    from guestagent.options import Options
    from guestagent.plan.kinds import Change, Resource

_SETTINGS = Settings(network_manage=False)
_IMAGINED = Origin("the metadata of an imagined instance", "", "")
_METADATA = InstanceData(
    instance_id=Text("i-imagined", _IMAGINED),
    hostname=Text("imagined.example.org", _IMAGINED),
    ssh_keys=(Text(f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{'A' * 43} imagined", _IMAGINED),),
)
_DEBIAN = "debian"


class System(NamedTuple):
    """A distribution: ID_LIKE and VERSION_CODENAME of os-release(5), and who has resolv.conf(5)."""

    like: str = ""
    codename: str = ""
    resolver: Literal["resolved", "networkmanager", "file"] = "networkmanager"


SYSTEMS = {
    _DEBIAN: System("", "trixie", "file"),
    "ubuntu": System("debian", "noble", "resolved"),
    "fedora": System(resolver="resolved"),
    "rhel": System("fedora"),
    "centos": System("rhel fedora"),
    "rocky": System("rhel centos fedora"),
    "almalinux": System("rhel centos fedora"),
    "ol": System("fedora"),
    "amzn": System("fedora", resolver="resolved"),
}
# What the one family of distributions has and the other does not.
_OF_DEBIAN = frozenset(
    ("apt-get", "debconf-set-selections", "locale-gen", "setupcon", "update-ca-certificates")
)
_OF_FEDORA = frozenset(("dnf", "update-ca-trust"))


class Verdict(NamedTuple):
    """What a document would do on first boot, in the order in which it is done.

    ``without_effect`` are keys that are sound and change nothing: what they say is so by
    default, or is about something that nobody asks for.
    """

    name: str
    plan: Plan
    problems: tuple[Problem, ...] = ()
    without_effect: tuple[str, ...] = ()

    def count(self, severity: str) -> int:
        """The number of errors, or of warnings."""
        return sum(problem.severity == severity for problem in self.problems)


def run(options: Options) -> int:
    """Do what the command line asks for; status 1 if something in a file cannot be used.

    Raises UsageError for a distribution that is not known.
    """
    system = options.os or _DEBIAN
    if system not in SYSTEMS:
        raise UsageError(f"validate knows no such --os: it must be one of {', '.join(SYSTEMS)}")
    found = [_file(path, system) for path in options.files]
    if options.json:
        print(dumps([_json(verdict) for verdict in found]))
    else:
        sys.stdout.write("\n".join(map(_text, found)))
    wrong = any(verdict.count("error") for verdict in found)
    return defs.EXIT_ERRORS if wrong else defs.EXIT_OK


def _file(path: str, system: str) -> Verdict:
    """The verdict on a file, or on standard input for "-"; a file without content is an error."""
    name = "standard input" if path == "-" else path
    try:
        content = _content(path)
    except (FieldError, OSError) as error:
        reason = str(error) if isinstance(error, FieldError) else str(error.strerror)
        problem = Problem("error", name, "", "", f"cannot be read: {reason}")
        return Verdict(name, Plan(), (problem,))
    return validate(name, content, system)


def _content(path: str) -> bytes:
    """A file's bytes; a larger one is cut behind the limit.  Raises FieldError, OSError."""
    # Not blocking: a FIFO without a writer would wait for ever.
    source = 0 if path == "-" else os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(source, "rb", closefd=source != 0) as file:
        if path != "-" and not S_ISREG(os.fstat(source).st_mode):
            raise FieldError("not a regular file; - reads standard input")
        return file.read(defs.USER_DATA_LIMIT + 1)


def validate(name: str, content: bytes, system: str = _DEBIAN) -> Verdict:
    """Plan a document for a new instance of one of ``SYSTEMS``.

    ``name`` is the source in all origins.
    """
    read_problems = Problems()
    config, scripts = read(
        content, None, None, source=name, problems=read_problems, documents=("", "", "")
    )
    data = _METADATA._replace(config=config, scripts=scripts)
    facts = _facts(data, system)
    wanted = _desired(data, facts)
    anyway = _desired(_METADATA, facts).resources
    own = [resource for resource in wanted.resources if resource not in anyway]
    root = _Imagined({resource.target for resource in own if resource.kind == "link"})
    plan = diff(own, root, facts, recorded={}, first=True, complete=True)
    plan = plan._replace(changes=tuple(sorted(plan.changes, key=_order)))
    found = (*read_problems.problems, *wanted.problems, *plan.problems)
    problems = [_weighed(problem) for problem in found]
    without_effect = _without_effect(data, facts, wanted.resources, problems)
    return Verdict(name, plan, tuple(problems), without_effect)


def _desired(data: InstanceData, facts: Facts) -> Wanted:
    """Return what a new instance with these data wants."""
    wanted = Wanted()
    desired(Ask(data, facts, _SETTINGS, first=True), wanted)
    return wanted


def _weighed(problem: Problem) -> Problem:
    """The problem; a warning if it is about an account that an image may well have."""
    if problem.reason not in (NO_ACCOUNT, NO_MEMBER):
        return problem
    return problem._replace(severity="warning", reason=f"{problem.reason}, unless the image has it")


def _order(change: Change) -> tuple[int, str]:
    """Where a change comes: at once, in the early stage, or in the late one."""
    if change.kind == "write_later":
        return 2, "30"  # among the steps
    if change.kind != "step":
        return 0, ""
    return (1 if change.script.stage == "early" else 2), change.script.file_name


def _without_effect(
    data: InstanceData, facts: Facts, resources: list[Resource], problems: list[Problem]
) -> tuple[str, ...]:
    """The keys without which nothing else would be planned, and of which no problem tells."""
    found = []
    for setting in data.config:
        others = tuple(other for other in data.config if other is not setting)
        less = _desired(data._replace(config=others), facts).resources
        if less == resources and not any(_names(problem, setting.key) for problem in problems):
            found.append(setting.key)
    return tuple(found)


def _names(problem: Problem, key: str) -> bool:
    """True for a problem of a key of cloud-config, or of a part of its value."""
    place = problem.key.rpartition(": ")[2]  # behind the name of a part of the document
    return place[: len(key)] == key and place[len(key) : len(key) + 1] in ("", " ", ".", "[")


# Those that user data may name.
_ACCOUNTS = {"root": 0, "daemon": 1, "bin": 2, "sys": 3, "mail": 8, "www-data": 33, "backup": 34}


def _facts(data: InstanceData, system: str) -> Facts:
    like, codename, resolver = SYSTEMS[system]
    debian = _DEBIAN in (system, like)
    lines = {"ID": system, "ID_LIKE": f'"{like}"', "VERSION_CODENAME": codename}
    return Facts(
        live=True,
        os_id=system,
        hostname=None,
        accounts=tuple(
            Account(name, number, number, f"/{name}") for name, number in _ACCOUNTS.items()
        ),
        groups=(*_ACCOUNTS, "adm", "sudo" if debian else "wheel", "users", "systemd-journal"),
        nics=None,
        stack="networkd" if debian else "networkmanager",
        resolver=resolver,
        sshd_dropins=True,
        programs=_Every(_OF_FEDORA if debian else _OF_DEBIAN),
        texts={
            defs.OS_RELEASE: "".join(f"{key}={value}\n" for key, value in lines.items()),
            defs.SUPPORTED_LOCALES: _known_locale(data) if debian else "",
            defs.SELINUX_CONFIG: "" if debian else "SELINUX=enforcing\n",
        },
        machine="x86_64",
    )


def _known_locale(data: InstanceData) -> str:
    """The list of a system that knows the locale; none where its character set is not given."""
    locale = data.setting("locale")
    head, dot, charset = str(locale.value if locale else "").partition(".")
    _, at, variant = charset.partition("@")
    if not dot:
        return ""
    return f"{head}.{charset} UTF-8\n{head}.UTF-8{at}{variant} UTF-8\n"


class _Every(frozenset[str]):
    """The programs of a guest that has all of them but these."""

    def __contains__(self, name: object) -> bool:
        return not super().__contains__(name)


class _Imagined(Root):
    """A tree in which nothing stands but files that links are to lead to."""

    def __init__(self, files: set[str]) -> None:
        super().__init__("/")
        self.files = files

    def stat(self, path: str) -> os.stat_result | None:
        """A regular file, or nothing."""
        return os.stat_result((S_IFREG | 0o644, *[0] * 9)) if path in self.files else None

    def read(self, path: str, *, follow: bool = True) -> None:
        """Nothing, of any file."""

    def look(self, path: str) -> None:
        """Nothing, of any path."""

    def readlink(self, path: str) -> None:
        """Nothing, of any link."""

    def listdir(self, path: str) -> list[str]:
        """Nothing, of any directory."""
        return []


def _text(verdict: Verdict) -> str:
    lines = [f"{printable(verdict.name)}: {_summary(verdict)}\n"]
    lines += [f"{problem.severity}: {printable(problem.text())}\n" for problem in verdict.problems]
    if verdict.without_effect:
        lines.append(f"as by default, or of no effect: {', '.join(verdict.without_effect)}\n")
    if verdict.plan.changes:
        lines.append(show.text(verdict.plan, []))
    return "".join(lines)


def _summary(verdict: Verdict) -> str:
    counts = (
        (len(verdict.plan.changes), "thing to do", "things to do"),
        (verdict.count("warning"), "warning", "warnings"),
        (verdict.count("error"), "error", "errors"),
    )
    told = [f"{count} {one if count == 1 else many}" for count, one, many in counts if count]
    return ", ".join(told if verdict.plan.changes else ["nothing to do", *told])


def _json(verdict: Verdict) -> dict[str, Any]:
    return {
        "file": verdict.name,
        "errors": verdict.count("error"),
        "warnings": verdict.count("warning"),
        **show.plan_object(verdict.plan, list(verdict.problems)),
        "without_effect": verdict.without_effect,
    }
