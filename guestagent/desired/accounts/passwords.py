"""Who gets which password, and whose password is locked or expires.

Passwords come from ``chpasswd`` and ``password``, from ``users``, and from the metadata.  The
first two override what ``users`` say of an account's password and lock, as cloud-init applies them
last.  Each of them overrides the metadata.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.desired.accounts.access import who_gets_in
from guestagent.desired.accounts.default_user import MISSING_ACCOUNT, names_of
from guestagent.errors import FieldError, Origin
from guestagent.model import Password, Secret
from guestagent.parse import fields
from guestagent.plan.kinds.account import PasswordState, UserPassword

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from typing import Literal

    from guestagent.desired.accounts import Accounts, Login
    from guestagent.desired.accounts.people import Person
    from guestagent.plan.kinds import Resource
    from guestagent.plan.wanted import Ask, Wanted

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
    "is made at random, and no one will know it: the setting password.random_to_console is false"
)
_NOT_LOCKED = (
    "its password is not locked: the account exists already, and no one would have a key or a"
    " password to log in with; lock_passwd: true locks it all the same"
)
_NO_HASH = "is not a hash of crypt(5)"
NO_ACCOUNT = "is for an account that does not exist"
_LOCKS = "is set and then locked, because lock_passwd is true unless it is given"

# Fields of ``users``: the last one wins; the first is for new accounts only.
_OF_USERS: tuple[tuple[str, Form], ...] = (
    ("passwd", "hash"),
    ("plain_text_passwd", "plain"),
    ("hashed_passwd", "hash"),
)


def is_hash(text: str) -> bool:
    """Tell whether a text is surely a hash with a ``$``, crypt(5), and so no plain password."""
    return text.startswith(_HASHES) and text.count("$") >= 3 and _hash_text(text)


def _hash_text(text: str) -> bool:
    allowed = _HASH_LETTERS | set("$=,-_+")
    return len(text) <= _HASH_LIMIT and allowed.issuperset(text)


def password_hash(text: str) -> str:
    """Return a hash of any kind of crypt(5), or a sign for no password, as shadow(5) holds it.

    Raises FieldError.
    """
    bare = text.lstrip("!")  # usermod(8) locks a password with it
    if text in _LOCKED or is_hash(bare):
        return text
    beginning = _NOT_DOLLAR.get(len(bare))
    if beginning is None or not bare.startswith(beginning):
        raise FieldError(_NO_HASH)
    if not _HASH_LETTERS.issuperset(bare.removeprefix("_")):
        raise FieldError(_NO_HASH)
    return text


_CHECKS: dict[Form, Callable[[str], str]] = {
    "plain": fields.password,
    "hash": password_hash,
    "random": str,
}


class _Given:
    """Collect the passwords of cloud-config; the last one for an account wins.

    ``wrong`` are accounts that got none because it cannot be used.
    """

    def __init__(self, ask: Ask, accounts: Accounts, wanted: Wanted) -> None:
        # A tree that is not running has no console to read it on.
        self._shown = ask.settings.password_random_to_console and ask.facts.live
        self._accounts = accounts
        self._wanted = wanted
        self.passwords: dict[str, UserPassword] = {}
        self.wrong: set[str] = set()

    def add(self, name: str, text: str, form: Form, why: Origin) -> None:
        """Add an account's password; one that cannot be used is an error."""
        try:
            if name not in self._accounts.known:
                fields.login_name(name)
                raise FieldError(NO_ACCOUNT)
            secret = Secret(_CHECKS[form](text))
        except FieldError as error:
            self._wanted.error(why, str(error))
            self.wrong.add(name)
            return
        shown = form == "random" and self._shown
        if form == "random" and not shown:
            self._wanted.warn(why, _UNKNOWN)
        self.passwords[name] = UserPassword(
            "password", name, secret, why=why, form=form, shown=shown
        )

    def add_plain_or_hash(self, name: str, text: str, why: Origin) -> None:
        """Add a password that may be a hash, or a word that asks for one made at random."""
        if text in ("R", "RANDOM"):
            self.add(name, "", "random", why=why)
        else:
            self.add(name, text, "hash" if is_hash(text) else "plain", why=why)


def passwords_and_locks(
    ask: Ask, accounts: Accounts, keys: Iterable[Login], wanted: Wanted
) -> list[Login]:
    """Return the passwords of accounts, which of them expire, and which accounts are locked.

    ``keys`` are the SSH keys of accounts.  Whether an account is locked by default depends on who
    else can log in.
    """
    owner = _metadata_owner(ask, accounts.default)
    if not ask.data.config:
        return _of_metadata(ask, accounts, owner, wanted=wanted)
    given = _Given(ask, accounts, wanted)
    _read_chpasswd(ask, given, wanted)
    _read_password(ask, accounts.default, given, wanted=wanted)
    first = list(given.passwords.values())
    # What ``users`` say of these accounts' passwords and locks is overridden.
    people = [person for person in accounts.people if person.name not in given.passwords]
    _read_people(people, given)
    found: list[Login] = [*given.passwords.values()]
    locked = {person.name for person in people if person.get("lock_passwd")}
    if owner not in given.passwords and owner not in locked:
        found += _of_metadata(ask, accounts, owner, wanted=wanted)
    found += _locks(
        people,
        exempt={owner, *given.wrong},
        logins=[*keys, *found, *ask.planned],
        known_before=_known_before(ask, accounts, owner),
        wanted=wanted,
    )
    if _expires(ask):
        found += [_state(item.name, "expired", item.why) for item in first]
    return found


def _read_chpasswd(ask: Ask, given: _Given, wanted: Wanted) -> None:
    """Add the passwords of ``chpasswd``; those in its ``list`` override those in its ``users``."""
    setting = ask.data.setting("chpasswd")
    if setting is None:
        return
    kinds: dict[str, Form] = {"text": "plain", "RANDOM": "random"}
    for index, entry in enumerate(setting.value.get("users", ())):
        form = kinds.get(entry.get("type", "hash"), "hash")
        why = setting.at("users", index)
        given.add(entry["name"], entry.get("password", ""), form, why=why)
    for index, line in enumerate(setting.value.get("list", ())):
        why = setting.at("list", index)
        name, colon, text = line.partition(":")
        if colon:
            given.add_plain_or_hash(name, text, why)
        else:
            wanted.error(why, "must be a name, a colon and a password")


def _read_password(ask: Ask, default: str, given: _Given, wanted: Wanted) -> None:
    """Add the default user's password of the key ``password``; ``chpasswd`` overrides it."""
    setting, chpasswd = ask.data.setting("password"), ask.data.setting("chpasswd")
    if setting is None:
        return
    if chpasswd is not None and (chpasswd.value.get("users") or chpasswd.value.get("list")):
        wanted.warn(setting.at(), "is not used, because chpasswd is given")
    elif not default:
        wanted.warn(setting.at(), "is not used, because there is no default user")
    else:
        given.add_plain_or_hash(default, setting.value, setting.at())


def _expires(ask: Ask) -> bool:
    """Tell whether the next login must change the passwords of ``chpasswd`` and ``password``."""
    chpasswd = ask.data.setting("chpasswd")
    return chpasswd is None or bool(chpasswd.value.get("expire", True))


def _read_people(people: Iterable[Person], given: _Given) -> None:
    """Add the passwords that ``users`` give accounts."""
    for person in people:
        for field, form in _OF_USERS:
            text = person.get(field)
            if text and (person.new or field != "passwd"):
                given.add(person.name, text, form, why=person.fields[field].at())


def _metadata_owner(ask: Ask, default: str) -> str:
    """Return the account that the metadata's password is for, or one made for the service.

    It is empty where there is no such password.
    """
    if ask.data.admin_pass is None and not ask.settings.password_post:
        return ""
    names = names_of((ask.settings.password_for,), default)
    return names[0] if names else ""


def _of_metadata(ask: Ask, accounts: Accounts, owner: str, wanted: Wanted) -> list[Login]:
    """Return the metadata's password for its owner, or one to make for the service, if any."""
    data = ask.data
    source = data.admin_pass or data.password_url
    if not owner or source is None:
        return []
    if owner not in accounts.known:
        wanted.error(source.origin, MISSING_ACCOUNT)
        return []
    if isinstance(source, Password):
        return [UserPassword("password", owner, source.secret, why=source.origin)]
    try:
        exponent, modulus = fields.rsa_key(key.value for key in data.ssh_keys or ())
    except FieldError as error:
        reason = f"no password is made for the service: the instance {error}"
        wanted.error(source.origin, reason)
        return []
    from guestagent.plan.kinds.random_password import ConsolePassword

    return [
        ConsolePassword(
            "console_password",
            owner,
            exponent,
            modulus=modulus,
            url=source.value,
            why=source.origin,
        )
    ]


def _known_before(ask: Ask, accounts: Accounts, owner: str) -> dict[str, Origin]:
    """Return the account whose password was sent to the service at an earlier boot, if any.

    Once the service has a password, it gives no ``password_url`` any more.
    """
    if owner not in accounts.known or ask.data.admin_pass or ask.data.password_url:
        return {}
    return {owner: Origin("settings", defs.SETTINGS_FILE, "password.post")}


def _locks(
    people: Sequence[Person],
    exempt: Collection[str],
    logins: Sequence[Resource],
    known_before: Mapping[str, Origin],
    wanted: Wanted,
) -> list[PasswordState]:
    """Return the locks of all ``people`` that get one.

    These are those with ``lock_passwd: true``, and, as that is cloud-init's default, those without
    ``lock_passwd`` that are not ``exempt``.  By default no account is locked that may be the only
    way into the guest: one that exists already, where no one else could log in by ``logins`` or by
    a password ``known_before``.
    """
    explicit = [person for person in people if person.get("lock_passwd")]
    by_default = [
        person
        for person in people
        if "lock_passwd" not in person.fields and person.name not in exempt
    ]
    locks = [_lock(person) for person in (*explicit, *by_default)]
    if not who_gets_in([*logins, *locks], known_before).anyone:
        by_default = _only_new(by_default, wanted)
    _warn_of_useless_passwords(by_default, logins, wanted)
    return [_lock(person) for person in (*explicit, *by_default)]


def _only_new(people: Iterable[Person], wanted: Wanted) -> list[Person]:
    """Return the people whose accounts are new, and warn that the others are not locked."""
    new = []
    for person in people:
        if person.new:
            new.append(person)
        else:
            wanted.warn(person.why, _NOT_LOCKED)
    return new


def _warn_of_useless_passwords(
    locked: Iterable[Person], logins: Iterable[Resource], wanted: Wanted
) -> None:
    """Warn of passwords for accounts that are locked by default."""
    passwords = {item.name: item for item in logins if item.kind == "password"}
    for person in locked:
        if person.name in passwords:
            wanted.warn(passwords[person.name].why, _LOCKS)


def _lock(person: Person) -> PasswordState:
    why = person.fields["lock_passwd"].at() if person.get("lock_passwd") else person.why
    return _state(person.name, "locked", why)


def _state(name: str, state: Literal["locked", "expired"], why: Origin) -> PasswordState:
    return PasswordState("password_state", name, state, why=why)
