"""The default user: its name, and the groups and sudo rule that the settings give it."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.parse import fields
from guestagent.plan.kinds.account import User
from guestagent.plan.kinds.file import File

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from guestagent.errors import Origin
    from guestagent.plan.wanted import Ask, Wanted

MISSING_ACCOUNT = "is for an account of the settings that does not exist"
_FALLBACK_NAME = "cloud"
# Of distributions whose images do not name the default user after os-release(5)'s ID.
_OF_IMAGES = {
    "amzn": "ec2-user",
    "centos": "cloud-user",
    "ol": "cloud-user",
    "opensuse-leap": "opensuse",
    "opensuse-tumbleweed": "opensuse",
    "rhel": "cloud-user",
}


def usual_name(ask: Ask) -> str:
    """Return the default user's name: the setting, else the one in the distribution's images."""
    if ask.settings.user_name:
        return ask.settings.user_name
    os_id = ask.facts.os_id
    if os_id in _OF_IMAGES:
        return _OF_IMAGES[os_id]
    try:
        return fields.user_name(os_id)
    except FieldError:
        return _FALLBACK_NAME


def names_of(setting: Iterable[str], default: str) -> tuple[str, ...]:
    """Return the accounts that a setting names, with the default user's name for "default".

    Where there is no default user, ``default`` is empty, and "default" is left out.
    """
    names = (default if name == "default" else name for name in setting)
    return tuple(dict.fromkeys(filter(None, names)))


def usual_groups(ask: Ask) -> tuple[str, ...]:
    """Return those groups of the default user's setting that the guest has."""
    return tuple(group for group in ask.settings.user_groups if group in ask.facts.groups)


def want_account(name: str, why: Origin, ask: Ask, wanted: Wanted) -> None:
    """Plan the default user's account as the settings describe it."""
    settings = ask.settings
    user = User(
        "user",
        name,
        settings.user_gecos,
        shell=settings.user_shell,
        groups=usual_groups(ask),
        why=why,
    )
    wanted.want(user)
    want_sudo(name, why, ask, wanted=wanted)


def name_in_sudoers(name: str) -> str:
    """Return a name as a rule of sudoers(5) begins with it.

    In quotes it is never taken for an alias, nor for sudo's word ALL, which means everyone.
    """
    return name if name.islower() else f'"{name}"'


def want_sudo(name: str, why: Origin, ask: Ask, wanted: Wanted) -> None:
    """Plan the default user's sudo rule: by setting, and where sudo is installed."""
    if ask.settings.user_sudo and "sudo" in ask.facts.programs:
        rule = f"{name_in_sudoers(name)} ALL=(ALL:ALL) NOPASSWD: ALL"
        text = f"# Written by guestagent.\n{rule}\n"
        wanted.want(File("file", defs.SUDOERS_FILE, text.encode(), mode=0o440, why=why))
