"""What sshd(8) is told: its policy in a drop-in, and host keys of this instance's own."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import Problem
from guestagent.model import Origin
from guestagent.resources import File, HostKeys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Facts, InstanceData
    from guestagent.resources import Resource
    from guestagent.settings import Settings


def plan(
    data: InstanceData, facts: Facts, settings: Settings
) -> tuple[list[Resource], list[Problem]]:
    """The drop-in by setting, sshd_config(5); host keys where sshd is installed.

    Password authentication is not switched off where no key is installed: nobody could
    log in any more.
    """
    if "sshd" not in facts.programs:
        return [], []
    found: list[Resource] = []
    problems: list[Problem] = []
    lines = []
    password = settings.sshd_password_authentication
    if password == "no" and not data.ssh_keys:  # noqa: S105 - a keyword's value
        reason = "not switched off, because this instance has no SSH key"
        problems.append(_problem("sshd.password_authentication", reason))
    elif password:
        lines.append(f"PasswordAuthentication {password}\n")
    if settings.sshd_permit_root_login:
        lines.append(f"PermitRootLogin {settings.sshd_permit_root_login}\n")
    if lines and not facts.sshd_dropins:
        problems.append(_problem("sshd", f"{defs.SSHD_CONFIG} includes no drop-ins; not set"))
    elif lines:
        text = "# Written by guestagent.\n" + "".join(lines)
        why = Origin("settings", defs.SETTINGS_FILE, "sshd")
        found.append(File("file", defs.SSHD_DROPIN, text.encode(), 0o600, why))
    if settings.ssh_host_keys and settings.ssh_host_key_types:
        why = data.instance_id.origin if data.instance_id else Origin("settings", "", "ssh")
        found.append(HostKeys("host_keys", settings.ssh_host_key_types, why))
    return found, problems


def _problem(key: str, reason: str) -> Problem:
    return Problem("warning", "settings", defs.SETTINGS_FILE, key, reason)
