"""Tell daemons of the running system what a run has changed."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import Origin
from guestagent.system.tools import find_program, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from guestagent.errors import Problems
    from guestagent.options import Options
    from guestagent.plan.kinds import Change
    from guestagent.system.root import Root

_NETWORK = Origin("network", "", "")
_UNIT_DIR = f"{defs.UNIT_DIRS[0]}/"
_SSHD = ("ssh.service", "sshd.service")  # Debian's name, and that of others


def tell_daemons(
    changes: Sequence[Change], options: Options, root: Root, problems: Problems
) -> None:
    """Have the daemons that run already take over what changed.

    A network that does not take over its files becomes a problem.  Raises OSError, Refused.
    """
    kinds = {change.kind for change in changes}
    # When the local unit runs, no daemon does yet, and the units of keys and scripts start by
    # themselves.
    if not options.boot:
        if _changes_sshd(changes):
            _reload_sshd()
        # After a fetch at boot these units start by themselves; they are asked for all the same,
        # because the answer may have come later.
        if "make_host_keys" in kinds:
            # If it has nothing to do, it does not start.
            _systemctl("start", defs.HOST_KEYS_UNIT)
        if kinds & {"step", "write_later"}:
            _run_scripts()
    if "set_console_password" in kinds:
        _systemctl("start", "guestagent-password.service")
    if any(change.kind == "link" and change.path.startswith(_UNIT_DIR) for change in changes):
        _start_networkd(options)
    _tell_network(changes, options, root, problems)


def _changes_sshd(changes: Sequence[Change]) -> bool:
    for change in changes:
        if change.kind in ("make_host_keys", "set_sshd"):
            return True
        if change.kind == "remove" and change.path in (defs.SSHD_DROPIN, defs.SSHD_CLOSED):
            return True
    return False


def announce(changes: Sequence[Change], options: Options, root: Root) -> None:
    """Leave word of changes of the network's files that are about to be made.

    Where this run is killed between those and ``tell_daemons``, the next one finds no difference:
    by this it has the network told all the same.  Raises OSError, Refused.
    """
    if _leaves_network_to_unit(options) and _changes_network(changes):
        from guestagent.live import network

        network.postpone(root, changes)


def reload_what_is_left(root: Root) -> None:
    """Have the network told of changes of its files that it does not know, if there are any.

    A run that was killed may have left them, or a reload.  Raises OSError, Refused.
    """
    if not root.exists(defs.RELOAD_FILE):
        return
    from guestagent.live import network

    # One that is at work sees to them too; to be ended in the middle would help nobody.
    if not network.is_reloading(root):
        _systemctl("restart", defs.RELOAD_UNIT)


def ask_again() -> None:
    """Have the units of a metadata service run again, one after the other, as their order says.

    They stay active when they are done, so that only a restart runs them.  Raises OSError.
    """
    _systemctl("restart", *defs.SERVICE_UNITS)


def start_timer() -> None:
    """Have a metadata service asked again in a while.  Raises OSError."""
    _systemctl("restart", defs.AGAIN_TIMER)


def offer_new_host_keys() -> None:
    """Have sshd use host keys that were made after its start.  Raises OSError."""
    tool = find_program("systemctl")
    if tool is None:
        return
    _reload_sshd()
    for unit in _SSHD:
        # Perhaps it had none at all, or sshd_config(5) names none but these.
        if run([tool, "is-failed", "--quiet", unit]).status == 0:
            _systemctl("reset-failed", unit)
            _systemctl("start", unit)


def _run_scripts() -> None:
    """Run the scripts that wait, unless scripts run already."""
    tool = find_program("systemctl")
    if tool is None:
        return
    # The unit stays active when it is done: only a restart runs it again.  One that is still at
    # work must not be restarted, which would kill its scripts; it runs the new ones too.
    shown = run([tool, "show", "--property=SubState", "--value", defs.EARLY_UNIT])
    is_done = shown.output.strip() == b"exited"
    _systemctl("restart" if is_done else "start", defs.EARLY_UNIT)


def _reload_sshd() -> None:
    """Have sshd begin anew with its settings and keys, if it runs."""
    tool = find_program("systemctl")
    for unit in _SSHD if tool else ():
        # For a moment it does not listen.  By both names of one unit, as Debian has them, it would
        # begin anew twice.
        if run([str(tool), "--no-block", _beginning_anew(str(tool), unit), unit]).status == 0:
            return


def _beginning_anew(tool: str, unit: str) -> str:
    """Return systemctl's word for it.

    An sshd that begins anew by itself does not find the socket that systemd gave it, and fails
    (seen with OpenSSH 10.0 of Debian 13).
    """
    socket = unit.replace(".service", ".socket")
    has_socket = run([tool, "is-active", "--quiet", socket]).status == 0
    return "try-restart" if has_socket else "try-reload-or-restart"


def _systemctl(verb: str, *units: str) -> None:
    tool = find_program("systemctl")
    if tool is not None:
        run([tool, "--no-block", verb, *units])


def _start_networkd(options: Options) -> None:
    """Start systemd-networkd, which is enabled now: this boot was planned without it.

    It comes after guestagent's local unit, which must not wait for it.
    """
    tool = find_program("systemctl")
    if options.boot or options.fetched:
        _systemctl("start", *defs.NETWORKD_UNITS)
    elif tool is not None:
        # It reads its files when it starts; the reload that follows needs it.
        run([tool, "start", defs.NETWORKD_UNITS[0]], timeout=defs.NETWORK_TIMEOUT)


def _tell_network(
    changes: Sequence[Change], options: Options, root: Root, problems: Problems
) -> None:
    if _leaves_network_to_unit(options):
        # The other one is started with the unit that fetches.
        if options.confined:
            reload_what_is_left(root)
        return
    if not _changes_network(changes):
        return
    from guestagent.live import network

    failures = network.at_boot(changes) if options.boot else network.reload(changes)
    for reason in failures:
        problems.error(_NETWORK, reason)


def _changes_network(changes: Sequence[Change]) -> bool:
    files = [change for change in changes if change.kind in ("write", "remove")]
    return any(change.path.startswith(defs.NETWORK_FILES) for change in files)


def _leaves_network_to_unit(options: Options) -> bool:
    """Tell whether this run is that of a unit which is confined too tightly to tell the network."""
    return options.fetched or options.confined
