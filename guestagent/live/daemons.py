"""What follows a commit on a running system: programs told, sshd's real settings checked."""

from __future__ import annotations

import os

from guestagent import defs
from guestagent.errors import Problem
from guestagent.system.tools import program, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from guestagent.options import Options
    from guestagent.plan.changes import Change
    from guestagent.system.root import Root

_CHECKED = ("passwordauthentication", "permitrootlogin")


def tell(changes: Sequence[Change], options: Options, root: Root) -> list[Problem]:
    """Let daemons that run already read what changed.

    Early in a boot none does yet.  The unit that applies what another fetched is confined too
    tightly to change the network: it leaves that to its last step.
    """
    boot = options.boot
    paths = [change.path for change in changes if change.kind in ("write", "remove")]
    kinds = {change.kind for change in changes}
    if not boot and (defs.SSHD_DROPIN in paths or "make_host_keys" in kinds):
        _systemctl("try-reload-or-restart", "ssh.service", "sshd.service")
    if not boot and not options.fetched and kinds & {"step", "write_later"}:
        _run_scripts()  # at boot they come by themselves
    if not options.fetched and "set_console_password" in kinds:
        _systemctl("start", "guestagent-password.service")
    if not any(path.startswith(defs.NETWORK_FILES) for path in paths):
        return []
    from guestagent.live import network as netreload

    if options.fetched:
        netreload.postpone(root, changes)
        return []
    failures = netreload.at_boot(changes) if boot else netreload.reload(changes)
    return [Problem("error", "network", "", "", reason) for reason in failures]


def _run_scripts() -> None:
    """Start the unit of the early stage; anew if it has run, but never while it runs."""
    tool = program("systemctl")
    if tool is None:
        return
    shown = run([tool, "show", "--property=SubState", "--value", defs.EARLY_UNIT])
    _systemctl("restart" if shown.output.strip() == b"exited" else "start", defs.EARLY_UNIT)


def _systemctl(verb: str, *units: str) -> None:
    tool = program("systemctl")
    if tool is not None:
        run([tool, "--no-block", verb, *units])


def check_sshd(root: Root) -> list[Problem]:
    """Ask ``sshd -T`` if what the drop-in says of passwords and root is what counts.

    The first file that sets a keyword wins, sshd_config(5): a warning names that file.
    """
    own = (line.lower().split() for line in root.text(defs.SSHD_DROPIN).splitlines())
    wanted = {words[0]: words[1] for words in own if words and words[0] in _CHECKED}
    tool = program("sshd")
    if tool is None or not wanted:
        return []
    try:
        os.mkdir("/run/sshd", 0o755)  # sshd of Debian refuses to start without it
    except FileExistsError:
        pass
    result = run([tool, "-T"])
    if result.status:
        reason = f"sshd does not accept its configuration: {result.reason()}"
        return [Problem("error", "sshd", defs.SSHD_DROPIN, "", reason)]
    lines = (line.split(None, 1) for line in result.output.decode().splitlines())
    effective = {words[0]: words[1] for words in lines if len(words) == 2}
    return [
        Problem("warning", "sshd", defs.SSHD_DROPIN, key, f"overridden by {_winner(root, key)}")
        for key, value in wanted.items()
        if _plain(effective.get(key, "")) != value
    ]


def _plain(value: str) -> str:
    return "prohibit-password" if value == "without-password" else value


def _winner(root: Root, key: str) -> str:
    names = (name for name in root.listdir(defs.SSHD_DROPINS) if name.endswith(".conf"))
    paths = [f"{defs.SSHD_DROPINS}/{name}" for name in names]
    for path in (*(path for path in paths if path != defs.SSHD_DROPIN), defs.SSHD_CONFIG):
        lines = (line.split(None, 1) for line in root.text(path).lower().splitlines())
        if any(words and words[0] == key for words in lines):
            return path
    return "another setting"
