"""Who may log in: the default user, SSH keys, the administrator's password."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError, Problem
from guestagent.model import Origin
from guestagent.parse import fields
from guestagent.resources import Block, ConsolePassword, File, User, UserPassword

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Facts, InstanceData
    from guestagent.resources import Resource
    from guestagent.settings import Settings

_FALLBACK_NAME = "cloud"


def default_user(facts: Facts, settings: Settings) -> str:
    """The name of the default user: as set, else the distribution's id as its images do."""
    if settings.user_name:
        return settings.user_name
    try:
        return fields.user_name(facts.os_id)
    except FieldError:
        return _FALLBACK_NAME


def plan(
    data: InstanceData, facts: Facts, settings: Settings
) -> tuple[list[Resource], list[Problem]]:
    """Keys and the password for the users the settings name; the default user if need be."""
    default = default_user(facts, settings)
    found: list[Resource] = []
    problems: list[Problem] = []
    wanted: dict[str, Origin] = {}
    for name in _names(settings.ssh_keys_for, default) if data.ssh_keys else ():
        why = data.ssh_keys[0].origin if data.ssh_keys else Origin("", "", "")
        lines = tuple(key.value for key in data.ssh_keys or ())
        wanted.setdefault(name, why)
        path = f"{_home(name, facts)}/.ssh/authorized_keys"
        found.append(Block("block", path, lines, "block", name, 0o600, why))
    if data.admin_pass is not None and settings.password_for:
        (name,) = _names((settings.password_for,), default)
        wanted.setdefault(name, data.admin_pass.origin)
        found.append(UserPassword("password", name, data.admin_pass.secret, data.admin_pass.origin))
    if settings.password_post and data.password_url and data.admin_pass is None:
        (name,) = _names((settings.password_for,), default)
        why = data.password_url.origin
        try:
            key = fields.rsa_key(key.value for key in data.ssh_keys or ())
        except FieldError as error:
            reason = f"no password is made for the service: the instance {error}"
            problems.append(Problem("error", *why, reason))
        else:
            wanted.setdefault(name, why)
            url = data.password_url.value
            found.append(ConsolePassword("console_password", name, *key, url, why))
    users: list[Resource] = []
    for name, why in wanted.items():
        if name == default and name != "root":
            users += _login(name, why, facts, settings)
        elif facts.account(name) is None:
            reason = "is for an account of the settings that does not exist"
            problems.append(Problem("error", *why, reason))
            found = [item for item in found if _owner(item) != name]
    return [*users, *found], problems


def _owner(resource: Resource) -> str:
    if isinstance(resource, Block):
        return resource.user
    return resource.name if isinstance(resource, UserPassword | ConsolePassword) else ""


def _names(wanted: tuple[str, ...], default: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(default if name == "default" else name for name in wanted))


def _home(name: str, facts: Facts) -> str:
    account = facts.account(name)
    if account is not None:
        return account.home.rstrip("/")
    return "/root" if name == "root" else f"/home/{name}"


def _login(name: str, why: Origin, facts: Facts, settings: Settings) -> list[Resource]:
    """The account, and sudo without a password for it where sudo is installed."""
    groups = tuple(group for group in settings.user_groups if group in facts.groups)
    found: list[Resource] = [
        User("user", name, settings.user_gecos, settings.user_shell, groups, why)
    ]
    if settings.user_sudo and "sudo" in facts.programs:
        text = f"# Written by guestagent.\n{name} ALL=(ALL:ALL) NOPASSWD: ALL\n"
        found.append(File("file", defs.SUDOERS_FILE, text.encode(), 0o440, why))
    return found
