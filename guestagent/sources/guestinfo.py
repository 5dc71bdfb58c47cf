"""What VMware's hypervisor says to the guest: the keys of guestinfo, over a tool of open-vm-tools.

Source: the pages "VMware" and "OVF" of cloud-init's documentation.  ``vmware-rpctool`` is asked
first, and where it is refused, ``vmtoolsd``.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import SourceBroken
from guestagent.sources.bundle import Bundle
from guestagent.sources.documents import Documents
from guestagent.system.jsontext import dumps
from guestagent.system.machine import product_uuid
from guestagent.system.tools import TIMED_OUT, find_program, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.errors import Problems

_DOCUMENTS = ("metadata", "userdata", "vendordata")
_NOT_THERE = 1  # the exit status for a key that has no value, and for who may not ask
_OVF = "ovf-env.xml"


def open_source(problems: Problems) -> Bundle | None:
    """Read the keys, else the OVF environment; return None if there are neither, or no tool.

    Raises SourceBroken.
    """
    tools = _find_tools()
    if not tools:
        return None
    found: dict[str, bytes] = {}
    failed: dict[str, str] = {}
    for name in _DOCUMENTS:
        key = f"guestinfo.{name}"
        _read(key, key, tools, found, failed)
        if key in found:
            _read(f"{key}.encoding", f"{key}.encoding", tools, found, failed)
    if not found and not failed:
        _read("guestinfo.ovfEnv", _OVF, tools, found, failed)
    if not found and failed:
        key, reason = next(iter(failed.items()))
        raise SourceBroken(f"VMware: {key}: {reason}")
    if not found:
        return None
    uuid = product_uuid()
    if uuid and _OVF not in found:
        found[defs.SEED_VALUES] = dumps({"instance-id": uuid}).encode()
    bundle = Bundle("VMware guestinfo", Documents(found, failed))
    bundle.writable = True
    return bundle


def _find_tools() -> list[list[str]]:
    """Return the command lines, without their last word, of the tools that are installed."""
    rpctool, daemon = find_program("vmware-rpctool"), find_program("vmtoolsd")
    return [*([[rpctool]] if rpctool else []), *([[daemon, "--cmd"]] if daemon else [])]


def _read(
    key: str,
    name: str,
    tools: list[list[str]],
    found: dict[str, bytes],
    failed: dict[str, str],
) -> None:
    """Add the value of a key to the documents, or why it cannot be read; neither if it has none.

    Raises SourceBroken where the hypervisor does not answer.
    """
    reason = ""
    for tool in tools:
        try:
            result = run(
                [*tool, f"info-get {key}"],
                limit=defs.JSON_LIMIT,
                timeout=defs.GUESTINFO_TIMEOUT,
            )
        except OSError as error:
            reason = f"{tool[0]}: {error.strerror}"
            continue
        if result.status == TIMED_OUT:
            raise SourceBroken(f"VMware: {key}: {tool[0]} {result.reason()}")
        if result.status == 0:
            if len(result.output) > defs.JSON_LIMIT:
                failed[name] = f"larger than {defs.JSON_LIMIT} bytes"
            elif result.output.strip():
                found[name] = result.output
            return
        # Of several tools the last one counts.  What one prints may have the value in it.
        is_missing = result.status == _NOT_THERE
        reason = "" if is_missing else f"{tool[0]}: exit status {result.status}"
    if reason:
        failed[name] = reason
