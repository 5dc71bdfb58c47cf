"""Passwords: the keys ``chpasswd`` and ``password``, and those of ``users``.

What ``chpasswd`` or ``password`` say of an account comes before what ``users`` say of it, the lock
too; for cloud-init sets them last.
"""

from __future__ import annotations

from guestagent.desired.accounts import opens
from guestagent.desired.accounts.people import login_name
from guestagent.errors import FieldError, Problem
from guestagent.model import Secret
from guestagent.parse import fields
from guestagent.plan.kinds.account import PasswordState, UserPassword

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable
    from typing import Literal

    from guestagent.desired.accounts.people import Person
    from guestagent.errors import Origin
    from guestagent.model import InstanceData
    from guestagent.plan.kinds import Resource

    Form = Literal["plain", "hash", "random"]

_HASH_LETTERS = frozenset("./0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
# How hashes of crypt(5) begin, newest first; those without a $ only a type "hash" tells.
_HASHES = (
    *("$y$", "$gy$", "$7$", "$2b$", "$2a$", "$2y$", "$2x$", "$6$", "$5$"),
    *("$sha1$", "$md5$", "$md5,", "$1$", "$3$"),
)
_NOT_DOLLAR = {13: "", 20: "_"}  # descrypt, bsdicrypt: length, beginning
_LOCKED = ("*", "!", "!!", "!*")
_HASH_LIMIT = 512
_UNKNOWN = (
    "is made at random, and nobody will know it: the setting password.random_to_console is false"
)
_NOT_LOCKED = (
    "its password is not locked: nobody gets a key or a password here, and the account is there"
    " already; lock_passwd: true locks it all the same"
)
NO_ACCOUNT = "is for an account that does not exist"
_LOCKS = "is set and then locked, because lock_passwd is true unless it is given"

# The later one counts; the first is for new accounts only.
_OF_USERS: tuple[tuple[str, Form], ...] = (
    ("passwd", "hash"),
    ("plain_text_passwd", "plain"),
    ("hashed_passwd", "hash"),
)


def is_hash(text: str) -> bool:
    """True for what is surely a hash with a ``$``, crypt(5), and surely no password."""
    return text.startswith(_HASHES) and text.count("$") >= 3 and _hash_text(text)


def _hash_text(text: str) -> bool:
    allowed = _HASH_LETTERS | set("$=,-_+")
    return len(text) <= _HASH_LIMIT and allowed.issuperset(text)


def password_hash(text: str) -> str:
    """A hash as shadow(5) holds it, of any kind of crypt(5), or a sign for no password."""
    bare = text.lstrip("!")
    old = _NOT_DOLLAR.get(len(bare)) is not None and bare.startswith(_NOT_DOLLAR[len(bare)])
    if text in _LOCKED or is_hash(bare):
        return text
    if old and _HASH_LETTERS.issuperset(bare.removeprefix("_")):
        return text
    raise FieldError("is not a hash of crypt(5)")


_CHECKS: dict[Form, Callable[[str], str]] = {
    "plain": fields.password,
    "hash": password_hash,
    "random": str,
}


class _Found:
    """Collects passwords: the last of an account counts."""

    def __init__(self, shown: bool, known: Container[str]) -> None:
        self._shown, self._known = shown, known
        self.problems: list[Problem] = []
        self.passwords: dict[str, UserPassword] = {}
        self.wrong: set[str] = set()

    def add(self, name: str, text: str, form: Form, why: Origin) -> None:
        """Note a password, or what is wrong with it."""
        try:
            if name not in self._known:
                login_name(name)
                raise FieldError(NO_ACCOUNT)
            secret = Secret(_CHECKS[form](text))
        except FieldError as error:
            self.problems.append(Problem("error", *why, str(error)))
            self.wrong.add(name)
            return
        if form == "random" and not self._shown:
            self.problems.append(Problem("warning", *why, _UNKNOWN))
        shown = self._shown and form == "random"
        self.passwords[name] = UserPassword("password", name, secret, why, form, shown)

    def guess(self, name: str, text: str, why: Origin) -> None:
        """Add a password that may be a hash, or ask for one made at random."""
        if text in ("R", "RANDOM"):
            self.add(name, "", "random", why)
        else:
            self.add(name, text, "hash" if is_hash(text) else "plain", why)


def plan(
    data: InstanceData,
    persons: Iterable[Person],
    default: str,
    known: Container[str],
    others: Container[str],
    shown: bool,
    reached: bool,
) -> tuple[list[Resource], list[Problem]]:
    """Passwords, locks, and which passwords expire.

    ``known`` are the accounts there will be, ``others`` those that the metadata gives a password:
    they are locked only where the user data say so in words.  ``shown`` says that passwords made
    at random come to the console, ``reached`` that somebody gets in without these passwords.
    """
    found = _Found(shown, known)
    chpasswd = data.setting("chpasswd")
    expire = True
    if chpasswd is not None:
        expire = chpasswd.value.get("expire", True)
        for index, entry in enumerate(chpasswd.value.get("users", ())):
            kinds: dict[str, Form] = {"text": "plain", "RANDOM": "random"}
            form = kinds.get(entry.get("type", "hash"), "hash")
            why = chpasswd.at("users", index)
            found.add(entry["name"], entry.get("password", ""), form, why)
        for index, line in enumerate(chpasswd.value.get("list", ())):
            _add_line(found, line, chpasswd.at("list", index))
    listed = chpasswd is not None and (chpasswd.value.get("users") or chpasswd.value.get("list"))
    single = data.setting("password")
    if single is not None and listed:
        reason = "is not used, because chpasswd is given"
        found.problems.append(Problem("warning", *single.at(), reason))
    elif single is not None and not default:
        reason = "is not used, because there is no default user"
        found.problems.append(Problem("warning", *single.at(), reason))
    elif single is not None:
        found.guess(default, single.value, single.at())
    last = list(found.passwords.values())
    locked = _of_persons(persons, found, others, reached)
    result: list[Resource] = [*found.passwords.values(), *locked]
    if expire:
        result += [PasswordState("password_state", item.name, "expired", item.why) for item in last]
    return result, found.problems


def _add_line(found: _Found, line: str, why: Origin) -> None:
    name, colon, text = line.partition(":")
    if not colon:
        found.problems.append(Problem("error", *why, "must be a name, a colon and a password"))
    else:
        found.guess(name, text, why)


def _of_persons(
    persons: Iterable[Person], found: _Found, others: Container[str], reached: bool
) -> list[PasswordState]:
    """Add what users say themselves; the locks.

    An account that is there already may be the only way in: a lock that is not asked for in
    words is left out where nobody else gets one.
    """
    last = set(found.passwords)
    lockable = [person for person in persons if person.name not in last]
    for person in lockable:
        for field, form in _OF_USERS:
            if person.get(field) and (person.new or field != "passwd"):
                found.add(person.name, person.get(field), form, person.fields[field].at())
    locked = [
        PasswordState("password_state", person.name, "locked", _lock_origin(person))
        for person in lockable
        if person.get("lock_passwd", person.name not in others and person.name not in found.wrong)
    ]
    names = {lock.name for lock in locked}
    opened = (name for name, item in found.passwords.items() if name not in names and opens(item))
    kept = set()
    if not (reached or any(opened)):
        for person in lockable:
            if person.name in names and not person.new and not person.get("lock_passwd"):
                found.problems.append(Problem("warning", *person.why, _NOT_LOCKED))
                kept.add(person.name)
    for person in lockable:
        implied = person.name in names - kept and not person.get("lock_passwd")
        if implied and person.name in found.passwords:
            found.problems.append(Problem("warning", *found.passwords[person.name].why, _LOCKS))
    return [lock for lock in locked if lock.name not in kept]


def _lock_origin(person: Person) -> Origin:
    return person.fields["lock_passwd"].at() if person.get("lock_passwd") else person.why
