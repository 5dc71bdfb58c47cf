"""A changed interfaces(5) file of guestagent's, carried out on a running guest.

Only what changed is touched: an address, route or client that the old and the new block of an
interface have in common stays as it is.  ``desired.network.ifupdown`` writes the file so: a block
begins with its ``auto`` line, and a line that sets something is followed by those that undo it.
"""

from __future__ import annotations

import os

from guestagent import defs
from guestagent.system.tools import program, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Blocks = dict[str, list[str]]

_SHELL = "/bin/sh"
# The other IPv4 addresses of a subnet stay when the first of them goes.
_PROMOTE = f'echo 1 >{defs.IPV4_SETTINGS}/"$IFACE"/promote_secondaries'
# What gives an interface name servers: options of its own, and DHCP clients.
_CLIENT = "up kill -0 "
_GIVES_DNS = ("dns-", _CLIENT)
_FORGET_DNS = (
    "export IFACE ADDRFAM=inet MODE=stop METHOD=manual; "
    f"for hook in {' '.join(defs.IFUPDOWN_DNS_HOOKS)}; do [ ! -x $hook ] || $hook; done"
)
_COMPLAINTS = ("Error: ", "RTNETLINK answers: ", "Cannot find device ")
# Of a client that finds its address there; older and newer kernels.
_HARMLESS = ("File exists", "already assigned")


def reload(old: str, new: str) -> list[str]:
    """Go from the text ``old`` to ``new``, which is in place; returns failures, if there are any.

    An empty text is that of no file.  Interfaces that are gone go down by their old text.  Of a
    changed block first all is undone that the new one does not set, then ifup(8) sets what is
    new; it does nothing to what is there.  What stands on a bond or VLAN made anew is done again.
    """
    before, after = _blocks(old), _blocks(new)
    failures = _take_down([name for name in before if name not in after], old)
    changed = [name for name in after if before.get(name) != after[name]]
    for name in reversed(changed):
        _undo(name, before.get(name, []), after[name])
    for name, lines in after.items():
        if name not in changed:
            if not _vanished(name, lines):
                continue
            _undo(name, lines, [])
        failures += _run("ifup", "--force", name)
    for name in changed:
        _undo_late(name, before.get(name, []), after[name])
    return failures


def _blocks(text: str) -> Blocks:
    """The options of each interface, by its name.

    A pattern stands for a NIC whose name was not known: ifup has to do all of it again.
    """
    blocks: Blocks = {}
    options: list[str] = []
    for line in map(str.strip, text.splitlines()):
        word, _, rest = line.partition(" ")
        if word == "auto":
            options = []
            if "/" not in rest:
                blocks[rest] = options
        elif word != "iface" and not line.startswith("#") and line:
            options.append(line)
    return blocks


def _vanished(name: str, lines: Sequence[str]) -> bool:
    """True for a bond or VLAN that went away with what it stood on."""
    made = any("ip link add " in line for line in lines)
    return made and not os.path.exists(f"{defs.NET_DIR}/{name}")


def _undo(name: str, old: Sequence[str], new: Sequence[str]) -> None:
    """Run what undoes each setting that is not in ``new``."""
    _shell(name, _PROMOTE)
    setting = ""
    for line in old:
        word, _, command = line.partition(" ")
        if word in ("pre-up", "up"):
            setting = line
        elif word == "down" and setting not in new:
            _shell(name, command)
    if _loses_dns(old, new):
        _shell(name, _FORGET_DNS)


def _loses_dns(old: Sequence[str], new: Sequence[str]) -> bool:
    """True where name servers are to go.  Nobody can tell those of a client that stays apart."""
    stays = any(line.startswith(_CLIENT) and line in new for line in old)
    return not stays and any(line.startswith(_GIVES_DNS) and line not in new for line in old)


def _undo_late(name: str, old: Sequence[str], new: Sequence[str]) -> None:
    """Remove what a client left that is no more: by now the addresses to stay are permanent."""
    for line in old:
        word, _, command = line.partition(" ")
        if word == "post-down" and line not in new:
            _shell(name, command)


def _shell(name: str, command: str) -> None:
    """Run a command of the file as ifdown(8) would; it fails where there is nothing to undo."""
    run([_SHELL, "-c", f"IFACE=$0; {command}", name], timeout=defs.NETWORK_TIMEOUT)


def _take_down(names: Sequence[str], text: str) -> list[str]:
    """ifdown(8) for interfaces that only the old text describes, the topmost first."""
    arguments = ("ifdown", "-i", "/dev/stdin")
    return [why for name in reversed(names) for why in _run(*arguments, name, stdin=text.encode())]


def _run(tool: str, *arguments: str, stdin: bytes = b"") -> list[str]:
    """Run ifup or ifdown for the interface named last; why it failed, or nothing.

    ifup(8) goes on after a command that failed: only what ip(8) says tells of it.
    """
    path = program(tool)
    if path is None:
        return [f"{tool} is not installed"]
    result = run([path, *arguments], stdin, timeout=defs.NETWORK_TIMEOUT)
    where = f"{tool} {arguments[-1]}"
    if result.status:
        return [f"{where}: {result.reason()}"]
    if tool == "ifdown":
        return []
    said = result.errors.decode("utf-8", "replace").splitlines()
    complaints = [line for line in said if line.startswith(_COMPLAINTS)]
    return [f"{where}: {line}" for line in complaints if not any(h in line for h in _HARMLESS)]
