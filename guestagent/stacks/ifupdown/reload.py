"""Have ifupdown, on a running guest, carry out a change of its files.

Only what changed is touched: an address, route or client that the old and the new block of an
interface have in common stays as it is.
"""

from __future__ import annotations

import os

from guestagent import defs
from guestagent.stacks.ifupdown.read_back import (
    blocks,
    late_undo_commands,
    loses_dns,
    makes_device,
    undo_commands,
)
from guestagent.system.tools import find_program, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from guestagent.stacks.rendered import FileChange

# The other IPv4 addresses of a subnet stay when the first of them goes.
_PROMOTE = f'echo 1 >{defs.IPV4_SETTINGS}/"$IFACE"/promote_secondaries'
_FORGET_DNS = (
    "export IFACE ADDRFAM=inet MODE=stop METHOD=manual; "
    f"for hook in {' '.join(defs.IFUPDOWN_DNS_HOOKS)}; do [ ! -x $hook ] || $hook; done"
)
_COMPLAINTS = ("Error: ", "RTNETLINK answers: ", "Cannot find device ")
# Complaints about an address that exists already, of older and of newer kernels.
_HARMLESS = ("File exists", "already assigned")


def reload(changes: Sequence[FileChange]) -> list[str]:
    """Carry out the changes of the files; return what failed."""
    # All at once: a NIC may move from one file to another.
    old = "".join(change.old or "" for change in changes)
    new = "".join(change.new or "" for change in changes)
    return carry_out(old, new)


def carry_out(old: str, new: str) -> list[str]:
    """Go from the text ``old`` to ``new``, which the files have already; return what failed.

    An empty text stands for no file.
    """
    before, after = blocks(old), blocks(new)
    gone = [name for name in before if name not in after]
    changed = [name for name in after if before.get(name) != after[name]]

    failures = _take_down(gone, old)
    # Everything is undone before anything is set: an address may move to another interface.
    for name in reversed(changed):
        _undo(name, before.get(name, []), after[name])
    for name, block in after.items():
        if name not in changed:
            if not _vanished(name, block):
                continue
            _undo(name, block, [])
        failures += _run_ifup(name)
    # By now the static addresses have replaced those of a client that is gone.
    for name in changed:
        for command in late_undo_commands(before.get(name, []), after[name]):
            _run_as_ifdown(name, command)
    return failures


def _vanished(name: str, block: Sequence[str]) -> bool:
    """Tell whether a bond or VLAN went away together with the interface below it."""
    return makes_device(block) and not os.path.exists(f"{defs.NET_DIR}/{name}")


def _undo(name: str, old: Sequence[str], new: Sequence[str]) -> None:
    """Undo each setting of the old block of an interface that the new one lacks."""
    _run_as_ifdown(name, _PROMOTE)
    for command in undo_commands(old, new):
        _run_as_ifdown(name, command)
    if loses_dns(old, new):
        _run_as_ifdown(name, _FORGET_DNS)


def _run_as_ifdown(name: str, command: str) -> None:
    """Run a command of the file as ifdown(8) does; one with nothing to undo fails, and may."""
    argv = [defs.SHELL, "-c", f"IFACE=$0; {command}", name]
    run(argv, timeout=defs.NETWORK_TIMEOUT)


def _take_down(names: Sequence[str], text: str) -> list[str]:
    """Run ifdown(8) for interfaces that only the old text describes; return what failed."""
    failures = []
    for name in reversed(names):  # what is stacked comes after what it is made of
        path = find_program("ifdown")
        if path is None:
            failures.append("ifdown is not installed")
            continue
        argv = [path, "-i", "/dev/stdin", name]
        result = run(argv, text.encode(), timeout=defs.NETWORK_TIMEOUT)
        if result.status:
            failures.append(f"ifdown {name}: {result.reason()}")
    return failures


def _run_ifup(name: str) -> list[str]:
    """Have ifup(8) set what is new of an interface; return what failed.

    It does nothing to settings that the interface has already.
    """
    path = find_program("ifup")
    if path is None:
        return ["ifup is not installed"]
    result = run([path, "--force", name], timeout=defs.NETWORK_TIMEOUT)
    if result.status:
        return [f"ifup {name}: {result.reason()}"]
    # ifup goes on after a command that failed: only the messages of ip(8) tell.
    failures = []
    for line in result.errors.decode("utf-8", "replace").splitlines():
        harmless = any(words in line for words in _HARMLESS)
        if line.startswith(_COMPLAINTS) and not harmless:
            failures.append(f"ifup {name}: {line}")
    return failures
