"""Who may log in: the default user, SSH keys, passwords, and the accounts of cloud-config."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError, Problem
from guestagent.parse import fields
from guestagent.plan.kinds.account import User, UserPassword
from guestagent.plan.kinds.block import Block
from guestagent.plan.kinds.console_password import ConsolePassword
from guestagent.plan.kinds.file import File
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from guestagent.errors import Origin
    from guestagent.model import Facts, InstanceData
    from guestagent.plan.kinds import Resource
    from guestagent.settings import Settings

_FALLBACK_NAME = "cloud"
# Of distributions whose images do not name the default user after os-release(5)'s ID.
_DEFAULT_USERS = {
    "amzn": "ec2-user",
    "centos": "cloud-user",
    "ol": "cloud-user",
    "opensuse-leap": "opensuse",
    "opensuse-tumbleweed": "opensuse",
    "rhel": "cloud-user",
}


class Given(NamedTuple):
    """What is wanted of accounts, but for the passwords of the metadata.

    ``default`` is the default user's name, empty where there shall be none.  ``keys`` are lines
    of authorized_keys by account.  ``resources`` are accounts, groups, rules and passwords that
    cloud-config asks for, and ``homes`` those of accounts that are new.
    """

    default: str
    keys: dict[str, list[tuple[str, Origin]]]
    resources: tuple[Resource, ...] = ()
    homes: Mapping[str, str] = {}
    problems: tuple[Problem, ...] = ()


def default_user(facts: Facts, settings: Settings) -> str:
    """The name of the default user: as set, else as the distribution's images have it."""
    if settings.user_name:
        return settings.user_name
    try:
        return _DEFAULT_USERS.get(facts.os_id) or fields.user_name(facts.os_id)
    except FieldError:
        return _FALLBACK_NAME


def plan(
    data: InstanceData, facts: Facts, settings: Settings, given: Given | None = None
) -> tuple[list[Resource], list[Problem]]:
    """Accounts, keys and passwords; the default user where something is for it.

    ``given`` is what cloud-config says, the metadata's keys with it.  A password that it gives an
    account comes before the metadata's.
    """
    given = given or _given(data, facts, settings)
    problems = list(given.problems)
    wanted: dict[str, Origin] = {}
    found: list[Resource] = []
    for name, keys in given.keys.items():
        why = keys[0][1]
        wanted.setdefault(name, why)
        path = f"{given.homes.get(name) or _home(name, facts)}{defs.AUTHORIZED_KEYS}"
        lines = tuple(line for line, _ in keys)
        found.append(Block("block", path, lines, "block", name, 0o600, why))
    for item in given.resources:
        if item.kind in ("password", "password_state"):
            wanted.setdefault(item.name, item.why)
    found += _passwords(data, settings, given, wanted, problems)
    made = {item.name for item in given.resources if item.kind == "user"}
    users: list[Resource] = []
    for name, why in wanted.items():
        if name in made:
            continue
        if name == given.default and name != "root":
            users += _login(name, why, facts, settings)
        elif facts.account(name) is None:
            reason = "is for an account of the settings that does not exist"
            problems.append(Problem("error", *why, reason))
            found = [item for item in found if _owner(item) != name]
    return [*users, *given.resources, *found], problems


def _given(data: InstanceData, facts: Facts, settings: Settings) -> Given:
    default = default_user(facts, settings)
    keys = [(key.value, key.origin) for key in data.ssh_keys or ()]
    names = names_of(settings.ssh_keys_for, default) if keys else ()
    return Given(default, dict.fromkeys(names, keys))


def _passwords(
    data: InstanceData,
    settings: Settings,
    given: Given,
    wanted: dict[str, Origin],
    problems: list[Problem],
) -> list[Resource]:
    """The metadata's password, or one that is made for the service."""
    names = names_of((settings.password_for,), given.default)
    if not names or names[0] in {
        item.name for item in given.resources if item.kind in ("password", "password_state")
    }:
        return []
    (name,) = names
    if data.admin_pass is not None:
        wanted.setdefault(name, data.admin_pass.origin)
        return [UserPassword("password", name, data.admin_pass.secret, data.admin_pass.origin)]
    if not settings.password_post or data.password_url is None:
        return []
    why = data.password_url.origin
    try:
        key = fields.rsa_key(key.value for key in data.ssh_keys or ())
    except FieldError as error:
        reason = f"no password is made for the service: the instance {error}"
        problems.append(Problem("error", *why, reason))
        return []
    wanted.setdefault(name, why)
    return [ConsolePassword("console_password", name, *key, data.password_url.value, why)]


def _owner(resource: Resource) -> str:
    if isinstance(resource, Block):
        return resource.user
    return resource.name if isinstance(resource, UserPassword | ConsolePassword) else ""


def names_of(wanted: Iterable[str], default: str) -> tuple[str, ...]:
    """Names of the settings, "default" replaced; left out where there is no default user."""
    names = (default if name == "default" else name for name in wanted)
    return tuple(dict.fromkeys(filter(None, names)))


def lets_in(lines: Iterable[str]) -> bool:
    """True if one of the lines of authorized_keys is a key that is not tied to one command."""
    return any('command="' not in line for line in lines)


def writes_keys(data: InstanceData, settings: Settings) -> bool:
    """True if an injected file, or one of cloud-config, is an account's authorized_keys."""
    written = data.setting("write_files")
    paths = [entry["path"] for entry in written.value if entry.get("content")] if written else []
    paths += [file.path for file in data.files if settings.files_manage]
    return any(path.endswith(defs.AUTHORIZED_KEYS) for path in paths)


def opens(item: UserPassword) -> bool:
    """True for a password that somebody can know."""
    if item.form == "random":
        return item.shown
    return item.form == "plain" or not item.secret.reveal().startswith(("!", "*"))


def _home(name: str, facts: Facts) -> str:
    account = facts.account(name)
    if account is not None:
        return account.home.rstrip("/")
    return "/root" if name == "root" else f"/home/{name}"


def _login(name: str, why: Origin, facts: Facts, settings: Settings) -> list[Resource]:
    """The account, and sudo without a password for it where sudo is installed."""
    groups = usual_groups(facts, settings)
    user = User("user", name, settings.user_gecos, settings.user_shell, groups, why)
    return [user, *sudo(name, why, facts, settings)]


def usual_groups(facts: Facts, settings: Settings) -> tuple[str, ...]:
    """Those groups of the settings for the default user that the guest has."""
    return tuple(group for group in settings.user_groups if group in facts.groups)


def sudo(name: str, why: Origin, facts: Facts, settings: Settings) -> list[Resource]:
    """What the settings give the default user of sudo."""
    if not settings.user_sudo or "sudo" not in facts.programs:
        return []
    text = f"# Written by guestagent.\n{name} ALL=(ALL:ALL) NOPASSWD: ALL\n"
    return [File("file", defs.SUDOERS_FILE, text.encode(), 0o440, why)]
