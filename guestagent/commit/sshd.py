"""Write the drop-in of sshd_config(5): only with a key in place where it switches passwords off."""

from __future__ import annotations

import os
from stat import S_IFDIR, S_ISREG

from guestagent import defs
from guestagent.desired.accounts.access import lets_in
from guestagent.errors import Refused
from guestagent.parse.sshd_config import settings_for
from guestagent.system.accounts import find_exposed, read_homes
from guestagent.system.ownfiles import remove, replace
from guestagent.system.tools import find_program, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from guestagent.plan.kinds.sshd import SetSshd
    from guestagent.system.root import Root

PASSWORDS_STAY = "passwords are not switched off; the next run tries again"
_EXPOSED = (
    "not written: others than root may write to a directory on the way; let only root write there "
    "(chown root, chmod go-w)"
)
_NO_KEY = "not written, because no account has its SSH key in place"


def carry_out(change: SetSshd, root: Root) -> None:
    """Write the drop-in, after sshd has looked at it.  Raises Refused, OSError."""
    if change.switches_off:
        _check_ways_in(change, root)
    reason = _what_is_wrong(change.file.new, root) if root.live else ""
    if reason:
        consequence = f"; {PASSWORDS_STAY}" if change.switches_off else ""
        raise Refused(f"not written, because sshd does not accept it: {reason}{consequence}")
    _put(change.file.new, change.file.mode, root)


def take_back(change: SetSshd, root: Root) -> None:
    """Put back what was there before.  Raises Refused, OSError.

    Where that was the same, of a run that was killed, nothing is put back.
    """
    old, old_mode = change.file.old, change.file.old_mode
    if old is not None and old_mode is not None and old != change.file.new:
        _put(old, old_mode, root)
        return
    remove(root, change.path)


def _check_ways_in(change: SetSshd, root: Root) -> None:
    """Check that someone gets in without a password.  Raises Refused, OSError."""
    homes = read_homes(root)
    reasons = [why_unread(path, root, homes) for path in change.key_files if _has_key(path, root)]
    if "" in reasons or any(all(_is_there(path, root) for path in way) for way in change.others):
        return
    unread = "".join(f", as sshd refuses to read it: {reason}" for reason in reasons[:1])
    raise Refused(f"{_NO_KEY}{unread}; {PASSWORDS_STAY}")


def _is_there(path: str, root: Root) -> bool:
    """Tell whether a path leads to a regular file that holds something."""
    try:
        with root.place(path, follow=True) as place:
            found = place.stat()
    except (Refused, OSError):
        return False
    return found is not None and S_ISREG(found.st_mode) and found.st_size > 0


def why_unread(path: str, root: Root, homes: Mapping[str, int]) -> str:
    """Return why sshd refuses to read a file of keys, and what to do; empty if it does not refuse.

    That is by the modes and owners on the way to it, and by its label where SELinux enforces its
    policy.  ``homes`` are those of the accounts.  Raises Refused, OSError.
    """
    reason = find_exposed(root, path, homes)
    if reason and _is_strict(root):
        return f"{reason}; correct that with chmod or chown"
    tool = find_program("sshd")
    if tool is None or not root.has_policy():
        return ""
    from guestagent.system.selinux import why_denied

    return why_denied(path, tool)


def _is_strict(root: Root) -> bool:
    """Tell whether sshd looks at modes and owners.  Raises Refused, OSError."""
    from guestagent.facts import sshd

    settings = settings_for(sshd.read(root), "", ())
    return settings.get("strictmodes", "yes").lower() != "no"


def _has_key(path: str, root: Root) -> bool:
    """Tell whether a file holds a key that lets someone in."""
    try:
        found = root.look(path)
    except (Refused, OSError):
        return False
    if found is None or found.content is None:
        return False
    return lets_in(found.content.decode(errors="replace").splitlines())


def _what_is_wrong(content: bytes, root: Root) -> str:
    """Return why sshd does not accept the drop-in by itself; empty if it does.

    ``sshd -t`` needs host keys, which are in place by now, and its directory in /run.
    """
    tool = find_program("sshd")
    if tool is None:
        return ""
    make_run_folder(root)
    # Not by a pipe or a file of ours: SELinux does not let sshd open these.
    lines = [line for line in content.decode().splitlines() if not line.startswith("#")]
    options = [part for line in lines for part in ("-o", line)]
    result = run([tool, "-t", "-f", os.devnull, *options])
    return result.reason() if result.status else ""


def make_run_folder(root: Root) -> None:
    """Make the directory without which Debian's sshd refuses to start.  Raises OSError."""
    try:
        with root.labelled_as(defs.SSHD_RUN_DIR, S_IFDIR):
            os.mkdir(defs.SSHD_RUN_DIR, 0o755)
    except FileExistsError:
        pass


def _put(content: bytes, mode: int, root: Root) -> None:
    """Write the drop-in, or what was there before it.  Raises Refused, OSError."""
    with root.place(defs.SSHD_DROPIN, make=True) as place:
        if place.owner is not None or place.exposed:
            raise Refused(_EXPOSED)
        directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place.fd)
    try:
        with root.labelled(directory, place.name):
            replace(directory, place.name, content, mode)
    finally:
        os.close(directory)
