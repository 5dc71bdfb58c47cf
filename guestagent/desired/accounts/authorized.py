"""SSH keys: who gets those of the metadata, of cloud-config, and of each user in it."""

from __future__ import annotations

from guestagent.desired.accounts.access import who_gets_in
from guestagent.desired.accounts.default_user import names_of
from guestagent.errors import FieldError
from guestagent.parse import fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from guestagent.desired.accounts import Lines
    from guestagent.desired.accounts.people import Person, Value
    from guestagent.errors import Origin
    from guestagent.model import Setting
    from guestagent.plan.kinds import Resource
    from guestagent.plan.wanted import Ask, Wanted

# The options of a key whose account is not to be used; the numbers are those of cloud-init.
_REFUSAL = (
    "restrict,command=\"echo 'This account takes no logins: log in as {user}, not as {other}.';"
    'sleep 10;exit 142"'
)
_UNUSED = (
    "lists neither default nor the default user by name, so that no account gets the instance's"
    " SSH key; add default to it, or give a user ssh_authorized_keys"
)
_NO_ONE = "no other account gets a key or a password: maybe no one can log in"
_NOT_ALLOWED = f"leaves out the instance's SSH key; {_NO_ONE}"
_OPTIONS_ERROR = "is not a list of options as in authorized_keys, sshd(8)"


def keys(ask: Ask, default: str, people: Iterable[Person], wanted: Wanted) -> dict[str, Lines]:
    """Return lines of authorized_keys by account, each key once, with their origins.

    The metadata's keys and those of ``ssh_authorized_keys`` go to the accounts of the settings,
    and to root where ``disable_root`` is false.  Where that is true, root's copies of them only
    say which account to use instead.
    """
    metadata = _metadata_lines(ask)
    common = list(metadata)
    own = ask.data.setting("ssh_authorized_keys")
    if own is not None:
        common += _checked(own, wanted)
    found: dict[str, Lines] = {}
    for person in people:
        given = person.fields.get("ssh_authorized_keys")
        if given is not None:
            found[person.name] = _checked(given, wanted)
        elif person.get("ssh_redirect_user"):
            found[person.name] = _redirected(person, default, metadata, wanted=wanted)
    for name in _owners(ask, default):
        lines = common
        if name == "root":
            lines = _root_lines(ask, common, default, wanted=wanted)
        found[name] = [*found.get(name, ()), *lines]
    return {name: _each_once(lines) for name, lines in found.items() if lines}


def _metadata_lines(ask: Ask) -> Lines:
    """Return the metadata's keys, unless cloud-config does not allow them."""
    allowed = ask.data.setting("allow_public_ssh_keys")
    if allowed is not None and not allowed.value:
        return []
    return [(key.value, key.origin) for key in ask.data.ssh_keys or ()]


def _owners(ask: Ask, default: str) -> list[str]:
    """Return the accounts that get the metadata's keys and those of ``ssh_authorized_keys``."""
    names = list(names_of(ask.settings.ssh_keys_for, default))
    if _root_is_enabled(ask) and "root" not in names:
        names.append("root")
    return names


def warn_of_unused(ask: Ask, default: str, logins: Iterable[Resource], wanted: Wanted) -> None:
    """Warn where no account gets the metadata's keys and those of ``ssh_authorized_keys``.

    ``logins`` are all keys and passwords of the plan.  Settings that give the keys to no one say
    so on purpose.
    """
    own, users = ask.data.setting("ssh_authorized_keys"), ask.data.setting("users")
    allowed = ask.data.setting("allow_public_ssh_keys")
    if not ask.settings.ssh_keys_for:
        return
    is_given = bool(_metadata_lines(ask)) or (own is not None and bool(own.value))
    if users is not None and is_given and not _owners(ask, default):
        reason = _UNUSED if who_gets_in(logins).anyone else f"{_UNUSED}; {_NO_ONE}"
        wanted.warn(users.at(), reason)
    is_refused = allowed is not None and not allowed.value and bool(ask.data.ssh_keys)
    if allowed is not None and is_refused and not who_gets_in(logins).anyone:
        wanted.warn(allowed.at(), _NOT_ALLOWED)


def _each_once(lines: Lines) -> Lines:
    """Return the lines without those whose key an earlier one has."""
    seen: dict[str, tuple[str, Origin]] = {}
    for line, why in lines:
        _, key = split_options(line)
        material = key.split()[1]
        seen.setdefault(material, (line, why))
    return list(seen.values())


def _checked(given: Setting | Value, wanted: Wanted) -> Lines:
    """Return the good lines of a list of texts.

    A text may be a whole file of keys, sshd(8): one on each line, and comments.
    """
    good: Lines = []
    for index, text in enumerate(given.value):
        why = given.at(index)
        for line in _lines(text):
            checked = wanted.take(why, _checked_line, line)
            if checked is not None:
                good.append((checked, why))
    return good


def _lines(text: str) -> list[str]:
    """Return the lines of a file of keys, without comments."""
    # Not splitlines(): a line that has another separator inside must be refused as it is.
    lines = (line.strip() for line in text.replace("\r\n", "\n").split("\n"))
    return [line for line in lines if line and not line.startswith("#")]


def _checked_line(line: str) -> str:
    """Return a line of authorized_keys with its key checked.  Raises FieldError."""
    options, key = split_options(line)
    return f"{options} {fields.ssh_key(key)}".strip()


def split_options(line: str) -> tuple[str, str]:
    """Return the options in front of a key, empty for none, and the key.  Raises FieldError."""
    if line.startswith(("ssh-", "ecdsa-", "sk-")):
        return "", line
    end = _end_of_options(line)
    return key_options(line[:end]), line[end:].strip()


def _end_of_options(line: str) -> int:
    """Return the place of the first white space that is not inside quotes."""
    quoted = escaped = False
    for place, char in enumerate(line):
        if not quoted and char.isspace():
            return place
        if char == '"' and not escaped:
            quoted = not quoted
        escaped = char == "\\" and not escaped
    return len(line)


def key_options(text: str) -> str:
    """Return the options of a line of authorized_keys, sshd(8): names, some with a quoted value.

    Raises FieldError.
    """
    options = fields.plain(text.strip())
    if not options.isascii():
        raise FieldError(_OPTIONS_ERROR)
    for word in _without_values(options).split(","):
        name = word.removesuffix('="')
        if not name.replace("-", "").isalnum():
            raise FieldError(_OPTIONS_ERROR)
    return options


def _without_values(options: str) -> str:
    """Return options without what is inside quotes, and without the quotes at its end.

    Raises FieldError for quotes that do not end.
    """
    bare = ""
    quoted = escaped = False
    for char in options:
        if char == '"' and not escaped:
            quoted = not quoted
            if quoted:
                bare += char
        elif not quoted:
            bare += char
        escaped = char == "\\" and not escaped
    if quoted:
        raise FieldError(_OPTIONS_ERROR)
    return bare


def _redirected(person: Person, default: str, metadata: Lines, wanted: Wanted) -> Lines:
    """Return the metadata's keys for an account that sends its users to the default user."""
    why = person.fields["ssh_redirect_user"].at()
    if not default:
        wanted.warn(why, "is ignored: there is no default user")
        return []
    if not metadata:
        wanted.warn(why, "is ignored: there is no key in the metadata")
        return []
    options = _REFUSAL.format(user=default, other=person.name)
    return [(f"{options} {split_options(line)[1]}", why) for line, _ in metadata]


def _root_is_enabled(ask: Ask) -> bool:
    """Tell whether user data want root to log in with the keys that all accounts get."""
    disabled = ask.data.setting("disable_root")
    return disabled is not None and not disabled.value


def _root_lines(ask: Ask, common: Lines, default: str, wanted: Wanted) -> Lines:
    """Return root's lines: the common keys, which only refuse where user data disable root."""
    disabled, given = ask.data.setting("disable_root"), ask.data.setting("disable_root_opts")
    if disabled is None and given is None:
        return common
    if _root_is_enabled(ask):
        return common
    options = _REFUSAL.format(user=default or "another user", other="root")
    if given is not None:
        text = given.value.replace("$USER", default or "NONE").replace("$DISABLE_USER", "root")
        options = wanted.take(given.at(), key_options, text) or options
    return [(f"{options} {split_options(line)[1]}", why) for line, why in common]
