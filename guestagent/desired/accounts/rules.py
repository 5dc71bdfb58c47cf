"""Rules of sudo and doas: only what they surely understand, for one bad line disables them.

sudo(8) refuses to work for anybody where a file of sudoers(5) is wrong, and doas(1) likewise.
What is taken here is the part of both grammars that people use.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError, Problem
from guestagent.plan.kinds.block import Block
from guestagent.plan.kinds.file import File

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from guestagent.desired.accounts.people import Person
    from guestagent.model import Facts
    from guestagent.plan.kinds import Resource

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_HOST = _LETTERS | frozenset("_./-")
_RUNAS = _LETTERS | frozenset("_.-")
_PATH = _LETTERS | frozenset("_./*?+@%~-")
_WORD = _LETTERS | frozenset("_./+@%~=:,-")
_ESCAPED = frozenset(" ,:=\\#*?[]!")
# Options of sudoers(5), which no list of hosts or commands may begin with.
_OPTIONS = frozenset(
    (
        *("ROLE", "TYPE", "PRIVS", "LIMITPRIVS", "CWD", "CHROOT", "TIMEOUT"),
        *("NOTBEFORE", "NOTAFTER", "APPARMOR_PROFILE"),
    )
)
_TAGS = frozenset(
    (
        *("PASSWD", "NOPASSWD", "EXEC", "NOEXEC", "SETENV", "NOSETENV", "LOG_INPUT"),
        *("NOLOG_INPUT", "LOG_OUTPUT", "NOLOG_OUTPUT", "MAIL", "NOMAIL", "FOLLOW", "NOFOLLOW"),
    )
)
_DOAS_OPTIONS = frozenset(("nopass", "nolog", "persist", "keepenv"))
_SUDO_ERROR = "is not a rule that is surely right for sudo, such as ALL=(ALL) NOPASSWD:ALL"
_DOAS_ERROR = "is not a rule that is surely right for doas, such as: permit nopass NAME"
_DOAS_NAME = "is not a rule for this user: its name must stand in it"


def sudo_rule(text: str, _name: str) -> str:
    """A rule of sudoers(5) without its user: ``HOSTS = (RUNAS) TAGS: COMMANDS``, in one line."""
    rule = text.strip()
    hosts, sign, commands = rule.partition("=")
    if not sign or not rule.isascii() or not rule.isprintable():
        raise FieldError(_SUDO_ERROR)
    _members(hosts, _host)
    for command in _pieces(commands):
        _command(command.strip())
    return rule


def _members(text: str, fits: Callable[[str], bool]) -> None:
    for item in text.split(","):
        name = item.strip().lstrip("!").lstrip()
        if not name or name in _OPTIONS or not fits(name):
            raise FieldError(_SUDO_ERROR)


def _host(name: str) -> bool:
    """A host, a network with its prefix length, a ``+netgroup``."""
    bare = name.removeprefix("+")
    return bare[:1] in _LETTERS and _HOST.issuperset(bare)


def _runas(name: str) -> bool:
    """A user or ``%group``, by name or ``#number``."""
    bare = name.removeprefix("%")
    if bare.startswith("#"):
        return bare[1:].isdecimal()
    return bare[:1] in _LETTERS | {"_"} and _RUNAS.issuperset(bare)


def _pieces(text: str) -> list[str]:
    """Commands, between commas that stand in no parentheses and after no backslash."""
    found, start, inside, escaped = [], 0, False, False
    for place, char in enumerate(text):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == "(" and not text[start:place].strip():
            inside = True
        elif char == ")":
            inside = False
        elif char == "," and not inside:
            found.append(text[start:place])
            start = place + 1
    return [*found, text[start:]]


def _command(text: str) -> None:
    if text.startswith("("):
        runas, sign, text = text[1:].partition(")")
        users, colon, groups = runas.partition(":")
        if users.strip():
            _members(users, _runas)
        if colon:
            _members(groups, lambda name: name[0] != "%" and _runas(name))
        if not sign:
            raise FieldError(_SUDO_ERROR)
    while ":" in text and text.partition(":")[0].strip() in _TAGS:
        text = text.partition(":")[2]
    name, _, rest = text.strip().lstrip("!").lstrip().partition(" ")
    alias = name[:1].isupper() and (_LETTERS | {"_"}).issuperset(name) and name == name.upper()
    path = name.startswith("/") and len(name) > 1 and _PATH.issuperset(name)
    path = path and not name.endswith("/sudoedit")
    rest = rest.strip()
    if alias and name not in _OPTIONS | _TAGS and not rest:
        return
    if not (path or name == "sudoedit") or (name.endswith("/") and rest):
        raise FieldError(_SUDO_ERROR)
    if rest != '""':
        _arguments(rest)


def _arguments(text: str) -> None:
    """What follows a command's path: ``,``, ``:``, ``=`` and others need a backslash."""
    escaped = False
    for char in text:
        if escaped and char not in _ESCAPED:
            raise FieldError(_SUDO_ERROR)
        if not escaped and char in '"#:=,':
            raise FieldError(f"{_SUDO_ERROR}: , : = and # need a backslash in arguments")
        escaped = char == "\\" and not escaped
    if escaped or text.startswith("^"):
        raise FieldError(_SUDO_ERROR)


def doas_rule(text: str, name: str) -> str:
    """A rule of doas.conf(5) for one user: ``permit|deny OPTIONS NAME as TARGET cmd COMMAND``."""
    words = text.split()
    if not _WORD.issuperset("".join(words)) or words[:1] not in (["permit"], ["deny"]):
        raise FieldError(_DOAS_ERROR)
    at = next((at for at, word in enumerate(words[1:], 1) if word not in _DOAS_OPTIONS), None)
    if at is None or words[at] != name:
        raise FieldError(_DOAS_NAME)
    rest = words[at + 1 :]
    if rest[:1] == ["as"] and len(rest) > 1:
        rest = rest[2:]
    # An argument must be no word of the grammar, which only "args" could make it.
    if rest and (rest[0] != "cmd" or len(rest) < 2 or (len(rest) > 2 and rest[2] != "args")):
        raise FieldError(_DOAS_ERROR)
    return " ".join(words)


def plan(persons: Iterable[Person], facts: Facts) -> tuple[list[Resource], list[Problem]]:
    """The rules of all persons: a file for sudo, lines for doas."""
    problems: list[Problem] = []
    found: list[Resource] = []
    persons = list(persons)
    ruled = [(person, _good(person, "sudo", sudo_rule, problems)) for person in persons]
    ruled = [(person, rules) for person, rules in ruled if rules]
    if ruled:
        lines = ["# Written by guestagent."]
        for person, rules in ruled:
            # In quotes a name is never taken for an alias or a word of sudo's own.
            name = person.name if person.name.islower() else f'"{person.name}"'
            lines += [f"{name} {rule}" for rule in rules]
        text = "".join(f"{line}\n" for line in lines)
        why = ruled[0][0].fields["sudo"].at()
        found.append(File("file", defs.SUDOERS_USERS_FILE, text.encode(), 0o440, why))
    allowed: list[str] = []
    first = None
    for person in persons:
        if person.get("doas") and "doas" not in facts.programs:
            reason = "doas is not installed; the rules are left out"
            problems.append(Problem("error", *person.fields["doas"].at(), reason))
        elif person.get("doas"):
            allowed += _good(person, "doas", doas_rule, problems)
            first = first or person.fields["doas"].at()
    if allowed and first:
        block = Block("block", defs.DOAS_FILE, tuple(allowed), "block", "root", 0o640, first)
        found.append(block)
    return found, problems


def _good(
    person: Person, field: str, check: Callable[[str, str], str], problems: list[Problem]
) -> list[str]:
    good = []
    for index, text in enumerate(person.get(field, ())):
        try:
            good.append(check(text, person.name))
        except FieldError as error:
            problems.append(Problem("error", *person.fields[field].at(index), str(error)))
    return good
