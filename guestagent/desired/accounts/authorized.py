"""Who may log in by key: the keys of the metadata, of cloud-config, and of its users."""

from __future__ import annotations

from guestagent.desired.accounts import names_of
from guestagent.errors import FieldError, Problem
from guestagent.parse import fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from guestagent.desired.accounts.people import Person
    from guestagent.errors import Origin
    from guestagent.model import InstanceData
    from guestagent.settings import Settings

    Keys = list[tuple[str, Origin]]

# What a key may do whose account is not to be used; the numbers are cloud-init's.
_REFUSAL = (
    "restrict,command=\"echo 'This account takes no logins: log in as {user}, not as {other}.';"
    'sleep 10;exit 142"'
)
_OPTIONS_ERROR = "is not a list of options as authorized_keys has it, sshd(8)"


def plan(
    data: InstanceData, persons: Iterable[Person], default: str, settings: Settings
) -> tuple[dict[str, Keys], list[Problem]]:
    """Lines of authorized_keys by account, each key once, with their origins.

    The metadata's keys and those of ``ssh_authorized_keys`` go where the settings say, and to
    root where ``disable_root`` is false.  Where it is true, root's only tell whom to log in as.
    """
    problems: list[Problem] = []
    allowed = data.setting("allow_public_ssh_keys")
    pool = [(key.value, key.origin) for key in data.ssh_keys or ()]
    if allowed is not None and not allowed.value:
        pool = []
    cloud = list(pool)
    own = data.setting("ssh_authorized_keys")
    if own is not None:
        origins = [own.at(index) for index in range(len(own.value))]
        pool += _checked(own.value, origins, problems)
    found: dict[str, Keys] = {}
    for person in persons:
        given = person.fields.get("ssh_authorized_keys")
        if given is not None:
            origins = [given.at(index) for index in range(len(given.value))]
            found[person.name] = _checked(given.value, origins, problems)
        elif person.get("ssh_redirect_user"):
            found[person.name] = _redirected(person, default, cloud, problems)
    disabled = data.setting("disable_root")
    names = list(names_of(settings.ssh_keys_for, default))
    if disabled is not None and not disabled.value and "root" not in names:
        names.append("root")
    for name in names:
        keys = _root_keys(data, pool, default, problems) if name == "root" else pool
        found[name] = [*found.get(name, ()), *keys]
    unique = ((name, _unique(keys)) for name, keys in found.items())
    return {name: keys for name, keys in unique if keys}, problems


def _unique(keys: Keys) -> Keys:
    seen: dict[str, tuple[str, Origin]] = {}
    for line, why in keys:
        seen.setdefault(key_of(line)[1].split()[1], (line, why))
    return list(seen.values())


def _checked(texts: Iterable[str], origins: Iterable[Origin], problems: list[Problem]) -> Keys:
    good = []
    # A text may be a whole file of keys, sshd(8): one in each line, and comments.
    each = ((line, why) for text, why in zip(texts, origins, strict=True) for line in _keys(text))
    for line, why in each:
        try:
            options, key = key_of(line)
            good.append((f"{options} {fields.ssh_key(key)}".strip(), why))
        except FieldError as error:
            problems.append(Problem("error", *why, str(error)))
    return good


def _keys(text: str) -> list[str]:
    # Only at line ends: other separators must stay, to be refused.
    lines = (line.strip() for line in text.replace("\r\n", "\n").split("\n"))
    return [line for line in lines if line and not line.startswith("#")]


def key_of(line: str) -> tuple[str, str]:
    """The options before a key, empty for none, and the key.  Raises FieldError."""
    if line.startswith(("ssh-", "ecdsa-", "sk-")):
        return "", line
    end = _end_of_options(line)
    return key_options(line[:end]), line[end:].strip()


def _end_of_options(line: str) -> int:
    """Where the white space after them stands: none that is in quotes."""
    quoted = escaped = False
    for place, char in enumerate(line):
        if not quoted and char.isspace():
            return place
        if char == '"' and not escaped:
            quoted = not quoted
        escaped = char == "\\" and not escaped
    return len(line)


def key_options(text: str) -> str:
    """Options of a line of authorized_keys, sshd(8): names, some with a value in quotes."""
    options = fields.plain(text.strip())
    bare, quoted, escaped = "", False, False
    for char in options:
        if char == '"' and not escaped:
            quoted = not quoted
            bare += char if quoted else ""
        elif not quoted:
            bare += char
        escaped = char == "\\" and not escaped
    names = [word.removesuffix('="') for word in bare.split(",")]
    named = all(name.isascii() and name.replace("-", "").isalnum() for name in names)
    if quoted or not named or not options.isascii():
        raise FieldError(_OPTIONS_ERROR)
    return options


def _redirected(person: Person, default: str, cloud: Keys, problems: list[Problem]) -> Keys:
    """The metadata's keys, which tell who logs in with them to do so as the default user."""
    why = person.fields["ssh_redirect_user"].at()
    if not default or not cloud:
        lack = "no default user" if not default else "no key in the metadata"
        problems.append(Problem("warning", *why, f"is ignored: there is {lack}"))
        return []
    options = _REFUSAL.format(user=default, other=person.name)
    return [(f"{options} {key_of(line)[1]}", why) for line, _ in cloud]


def _root_keys(data: InstanceData, pool: Keys, default: str, problems: list[Problem]) -> Keys:
    disabled, given = data.setting("disable_root"), data.setting("disable_root_opts")
    if (disabled is not None and not disabled.value) or (disabled is None and given is None):
        return pool
    options = _REFUSAL.format(user=default or "another user", other="root")
    if given is not None:
        text = given.value.replace("$USER", default or "NONE").replace("$DISABLE_USER", "root")
        try:
            options = key_options(text)
        except FieldError as error:
            problems.append(Problem("error", *given.at(), str(error)))
    return [(f"{options} {key_of(line)[1]}", why) for line, why in pool]
