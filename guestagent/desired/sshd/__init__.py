"""What sshd(8) is told: its policy in a drop-in, and host keys of this instance's own."""

from __future__ import annotations

from guestagent import defs
from guestagent.desired.accounts import lets_in, opens, writes_keys
from guestagent.errors import Origin, Problem
from guestagent.plan.kinds.file import File
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from guestagent.model import Facts, InstanceData
    from guestagent.plan.kinds import Resource
    from guestagent.settings import Settings

_OWN = Origin("settings", defs.SETTINGS_FILE, "sshd")


class Policy(NamedTuple):
    """What the drop-in says, and who wants it.

    ``password`` and ``root`` are the values of PasswordAuthentication and PermitRootLogin, empty
    to leave them; ``certificates`` are paths; ``notes`` become comments.
    """

    password: str
    root: str
    why: Origin
    certificates: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def plan(
    data: InstanceData, facts: Facts, settings: Settings, logins: Iterable[Resource]
) -> tuple[list[Resource], list[Problem]]:
    """The drop-in, sshd_config(5), by setting and cloud-config; host keys where sshd is installed.

    The settings' policy does not switch password authentication off where ``logins``, the plan
    of accounts, lets nobody in by key: nobody could log in any more.  User data are obeyed.
    """
    asked = data.setting("ssh_pwauth")
    if "sshd" not in facts.programs:
        reason = "has no effect: sshd is not installed"
        return [], [Problem("warning", *asked.at(), reason)] if asked else []
    logins = list(logins)
    found: list[Resource] = []
    policy = Policy(settings.sshd_password_authentication, settings.sshd_permit_root_login, _OWN)
    problems: list[Problem] = []
    if data.config:
        from guestagent.desired.sshd import policy as ssh

        policy, problems = ssh.policy(data, settings, policy, logins)
    keyless = not (_key_lets_in(logins) or writes_keys(data, settings))
    if policy.password == "no" and keyless:  # noqa: S105 - a keyword's value
        if asked is None:
            why = _OWN._replace(key="sshd.password_authentication")
            reason = "not switched off, because no account gets an SSH key"
            problems.append(Problem("warning", *why, reason))
            policy = policy._replace(password="")
        elif not _password_lets_in(logins):
            reason = "is obeyed, but no account gets an SSH key or a password: maybe no one gets in"
            problems.append(Problem("warning", *asked.at(), reason))
    lines = _lines(policy)
    if lines and not facts.sshd_dropins:
        severity = "warning" if policy.why == _OWN else "error"
        reason = f"{defs.SSHD_CONFIG} includes no drop-ins; not set"
        problems.append(Problem(severity, *policy.why, reason))  # type: ignore[arg-type]
    elif lines:
        text = "# Written by guestagent.\n" + "".join(lines)
        found.append(File("file", defs.SSHD_DROPIN, text.encode(), 0o600, policy.why))
    why = data.instance_id.origin if data.instance_id else Origin("settings", "", "ssh")
    if data.config:
        keys, more = ssh.host_keys(data, facts, settings, why)
        return found + keys, problems + more
    if settings.ssh_host_keys and settings.ssh_host_key_types:
        from guestagent.plan.kinds.host_keys import HostKeys

        found.append(HostKeys("host_keys", settings.ssh_host_key_types, why))
    return found, problems


def _lines(policy: Policy) -> list[str]:
    lines = [f"# {note}.\n" for note in policy.notes]
    lines += [f"PasswordAuthentication {policy.password}\n"] if policy.password else []
    lines += [f"PermitRootLogin {policy.root}\n"] if policy.root else []
    return [*lines, *(f"HostCertificate {path}\n" for path in policy.certificates)]


def _key_lets_in(logins: Iterable[Resource]) -> bool:
    """True if an account gets a key that is not tied to one command."""
    blocks = (item for item in logins if item.kind == "block" and _holds_keys(item.path))
    return lets_in(line for block in blocks for line in block.lines)


def _password_lets_in(logins: Iterable[Resource]) -> bool:
    """True if an account gets a password that somebody can know, for the console."""
    logins = list(logins)
    locked = {
        item.name for item in logins if item.kind == "password_state" and item.state == "locked"
    }
    return any(
        (item.kind == "console_password" or (item.kind == "password" and opens(item)))
        and item.name not in locked
        for item in logins
    )


def _holds_keys(path: str) -> bool:
    return path.endswith(defs.AUTHORIZED_KEYS)
