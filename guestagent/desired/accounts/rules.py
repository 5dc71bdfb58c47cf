"""Rules of sudo and doas: who may run what as whom.

One line that is wrong disables all of sudo(8), and likewise doas(1).  So only the part of both
grammars that people use is accepted here, and nothing that might be misread.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.desired.accounts.default_user import name_in_sudoers
from guestagent.errors import FieldError
from guestagent.plan.kinds.block import Block
from guestagent.plan.kinds.file import File

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    from guestagent.desired.accounts.people import Person
    from guestagent.plan.wanted import Ask, Wanted

    T = TypeVar("T")

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
# Options of ``Defaults`` in every sudo that is in use.
_FLAGS = frozenset(
    (
        *("requiretty", "env_reset", "authenticate", "visiblepw", "use_pty", "pwfeedback"),
        *("insults", "always_set_home", "set_home", "setenv", "mail_badpass"),
        *("log_input", "log_output"),
    )
)
_NUMBERS = frozenset(("timestamp_timeout", "passwd_tries", "passwd_timeout"))
_NAMES = frozenset(("env_keep", "env_keep+", "env_keep-", "env_keep +"))
_VARIABLE = _LETTERS | {"_"}
_DIGITS = 4
_SUDO_DEFAULTS = (
    "has options for sudo that are not known to be safe; such as Defaults:NAME !requiretty are"
)
_SUDO_USER = "has a further line that does not begin with the user's name, or with Defaults"
_SUDO_ERROR = "is not a rule known to be safe for sudo, such as ALL=(ALL) NOPASSWD:ALL"
_DOAS_ERROR = "is not a rule known to be safe for doas, such as: permit nopass NAME"
_DOAS_NAME = "is not a rule for this user: it must name the user"


def sudo_lines(text: str, name: str) -> list[str]:
    """Return the lines of sudoers(5) that a user's text asks for.

    Its first line is a rule without its user, as cloud-init takes it; further ones are whole lines:
    ``Defaults``, or rules that begin with that user.  Comments are left out.  Raises FieldError.
    """
    user = name_in_sudoers(name)
    found = []
    for line in text.split("\n"):
        bare = _without_comment(line).strip()
        if not bare:
            continue
        if bare.startswith("Defaults"):
            found.append(_defaults(bare))
        elif not found:
            found.append(f"{user} {sudo_rule(bare)}")
        else:
            first, _, rest = bare.partition(" ")
            if first != name:
                raise FieldError(_SUDO_USER)
            found.append(f"{user} {sudo_rule(rest)}")
    return found


def _without_comment(line: str) -> str:
    """Return a line up to a ``#`` that begins a word and is not that of a number."""
    for place, char in enumerate(line):
        if char != "#" or line[place + 1 : place + 2].isdecimal():
            continue
        if not line[:place] or line[place - 1].isspace():
            return line[:place]
    return line


def _defaults(line: str) -> str:
    """Return a line of options, for all or for one user: ``Defaults:USER !requiretty, …``.

    Raises FieldError for any option that is not among the usual ones.
    """
    line = " ".join(line.split())
    scope, _, options = line.partition(" ")
    user = scope.removeprefix("Defaults")
    if user and not (user[0] == ":" and _is_runas(user[1:]) and user[1:].islower()):
        raise FieldError(_SUDO_DEFAULTS)
    for option in options.split(","):
        word = option.strip()
        key, sign, value = (part.strip() for part in word.partition("="))
        is_flag = word.removeprefix("!") in _FLAGS
        is_number = (
            key in _NUMBERS and len(value) <= _DIGITS and value.isascii() and value.isdecimal()
        )
        is_list = key in _NAMES and bool(sign) and _is_list_of_variables(value)
        if not (is_flag or is_number or is_list):
            raise FieldError(_SUDO_DEFAULTS)
    return line


def _is_list_of_variables(text: str) -> bool:
    """Tell whether a text is the name of a variable, or several in quotes."""
    if text.startswith('"') and text.endswith('"') and len(text) > 1:
        text = text[1:-1]
    elif " " in text:
        return False
    names = text.split(" ")
    return all(name[:1].isalpha() and _VARIABLE.issuperset(name) for name in names)


def sudo_rule(text: str) -> str:
    """Return a rule of sudoers(5) without its user: ``HOSTS = (RUNAS) TAGS: COMMANDS``.

    Raises FieldError.
    """
    rule = text.strip()
    hosts, sign, commands = rule.partition("=")
    if not sign or not rule.isascii() or not rule.isprintable():
        raise FieldError(_SUDO_ERROR)
    _check_list(hosts, _is_host)
    for command in _split_commands(commands):
        _check_command(command.strip())
    return rule


def _check_list(text: str, fits: Callable[[str], bool]) -> None:
    """Check names with commas between them, each may have ``!`` in front.  Raises FieldError."""
    for item in text.split(","):
        name = item.strip().lstrip("!").lstrip()
        if not name or name in _OPTIONS or not fits(name):
            raise FieldError(_SUDO_ERROR)


def _is_host(name: str) -> bool:
    """Tell whether a name is a host, a network with its prefix length, or a ``+netgroup``."""
    bare = name.removeprefix("+")
    return bare[:1] in _LETTERS and _HOST.issuperset(bare)


def _is_runas(name: str) -> bool:
    """Tell whether a name is a user or ``%group``, by name or ``#number``."""
    bare = name.removeprefix("%")
    if bare.startswith("#"):
        return bare[1:].isdecimal()
    return bare[:1] in _LETTERS | {"_"} and _RUNAS.issuperset(bare)


def _is_runas_group(name: str) -> bool:
    return name[0] != "%" and _is_runas(name)


def _split_commands(text: str) -> list[str]:
    """Split at commas that are not in a command's (RUNAS) and have no backslash in front."""
    found = []
    start = 0
    in_runas = escaped = False
    for place, char in enumerate(text):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == "(" and not text[start:place].strip():
            in_runas = True
        elif char == ")":
            in_runas = False
        elif char == "," and not in_runas:
            found.append(text[start:place])
            start = place + 1
    return [*found, text[start:]]


def _check_command(text: str) -> None:
    """Check ``(RUNAS) TAGS: COMMAND ARGUMENTS``.  Raises FieldError."""
    text = _without_tags(_without_runas(text))
    name, _, arguments = text.strip().lstrip("!").lstrip().partition(" ")
    arguments = arguments.strip()
    if _is_alias(name) and not arguments:
        return
    if name != "sudoedit" and not _is_program(name):
        raise FieldError(_SUDO_ERROR)
    if name.endswith("/") and arguments:
        raise FieldError(_SUDO_ERROR)  # a whole folder of programs takes none
    if arguments != '""':  # sudoers(5): no argument is allowed then
        _check_arguments(arguments)


def _without_runas(text: str) -> str:
    """Return a command without ``(USERS : GROUPS)`` in front of it.  Raises FieldError."""
    if not text.startswith("("):
        return text
    runas, sign, rest = text[1:].partition(")")
    if not sign:
        raise FieldError(_SUDO_ERROR)
    users, colon, groups = runas.partition(":")
    if users.strip():
        _check_list(users, _is_runas)
    if colon:
        _check_list(groups, _is_runas_group)
    return rest


def _without_tags(text: str) -> str:
    """Return a command without the tags in front of it, as ``NOPASSWD:``."""
    tag, colon, rest = text.partition(":")
    while colon and tag.strip() in _TAGS:
        text = rest
        tag, colon, rest = text.partition(":")
    return text


def _is_alias(name: str) -> bool:
    """Tell whether a name is one for several commands: capitals, but no word of sudo's own."""
    if name in _OPTIONS or name in _TAGS:
        return False
    return name[:1].isupper() and name == name.upper() and (_LETTERS | {"_"}).issuperset(name)


def _is_program(name: str) -> bool:
    """Tell whether a name is the path of a program, or of a folder of programs."""
    if not name.startswith("/") or len(name) < 2 or not _PATH.issuperset(name):
        return False
    return not name.endswith("/sudoedit")  # sudoers(5): sudoedit has no path


def _check_arguments(text: str) -> None:
    """Check a command's arguments: some characters need a backslash.  Raises FieldError."""
    if text.startswith("^"):
        raise FieldError(_SUDO_ERROR)  # a regular expression
    escaped = False
    for char in text:
        if escaped and char not in _ESCAPED:
            raise FieldError(_SUDO_ERROR)
        if not escaped and char in '"#:=,':
            raise FieldError(f"{_SUDO_ERROR}: , : = and # need a backslash in arguments")
        escaped = char == "\\" and not escaped
    if escaped:
        raise FieldError(_SUDO_ERROR)


def doas_rule(text: str, name: str) -> str:
    """Return a rule of doas.conf(5) for one user.  Raises FieldError.

    Its form is ``permit|deny OPTIONS NAME as TARGET cmd COMMAND args ARGUMENTS``.
    """
    words = text.split()
    if not _WORD.issuperset("".join(words)) or words[:1] not in (["permit"], ["deny"]):
        raise FieldError(_DOAS_ERROR)
    rest = words[1:]
    while rest and rest[0] in _DOAS_OPTIONS:
        del rest[0]
    if not rest or rest[0] != name:
        raise FieldError(_DOAS_NAME)
    del rest[0]
    if len(rest) > 1 and rest[0] == "as":
        del rest[:2]
    if rest and not _is_doas_command(rest):
        raise FieldError(_DOAS_ERROR)
    return " ".join(words)


def _is_doas_command(words: list[str]) -> bool:
    """Tell whether the end of a rule is ``cmd COMMAND``, maybe with ``args ARGUMENTS``."""
    if words[0] != "cmd" or len(words) < 2:
        return False
    # Without "args", a word behind the command might be read as a word of the grammar.
    return len(words) == 2 or words[2] == "args"


def plan(ask: Ask, people: Iterable[Person], wanted: Wanted) -> None:
    """Plan the rules of all people: a file for sudo, lines in a file for doas."""
    people = list(people)
    _plan_sudo(people, wanted)
    _plan_doas(ask, people, wanted)


def _plan_sudo(people: list[Person], wanted: Wanted) -> None:
    lines = ["# Written by guestagent."]
    why = None
    for person in people:
        for found in _good(person, "sudo", sudo_lines, wanted=wanted):
            lines += found
            why = why or person.fields["sudo"].at()
    if why is not None:
        text = "".join(f"{line}\n" for line in lines)
        path = defs.SUDOERS_USERS_FILE
        wanted.want(File("file", path, text.encode(), mode=0o440, why=why))


def _plan_doas(ask: Ask, people: list[Person], wanted: Wanted) -> None:
    lines: list[str] = []
    why = None
    for person in people:
        if not person.get("doas"):
            continue
        if "doas" not in ask.facts.programs:
            reason = "doas is not installed; the rules are left out"
            wanted.error(person.fields["doas"].at(), reason)
            continue
        lines += _good(person, "doas", doas_rule, wanted=wanted)
        why = why or person.fields["doas"].at()
    if lines and why is not None:
        block = Block(
            "block",
            defs.DOAS_FILE,
            tuple(lines),
            style="block",
            user="root",
            mode=0o640,
            why=why,
        )
        wanted.want(block)


def _good(person: Person, field: str, check: Callable[[str, str], T], wanted: Wanted) -> list[T]:
    """Return what a check of the rule and the person's name makes of a person's rules."""
    good = []
    for index, text in enumerate(person.get(field, ())):
        why = person.fields[field].at(index)
        rule = wanted.take(why, lambda rule: check(rule, person.name), text)
        if rule is not None:
            good.append(rule)
    return good
