"""How the reloads of the stacks run the stacks' programs, and tell what failed.

Only modules that change a running guest import this one.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.system.tools import find_program, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from guestagent.stacks.rendered import FileChange


def run_program(name: str, *arguments: str, success: tuple[int, ...] = (0,)) -> list[str]:
    """Run a program; return the reason if it fails, else an empty list.

    ``success`` are the exit statuses that are no failure.
    """
    path = find_program(name)
    if path is None:
        return [f"{name} is not installed"]
    return run_file(path, *arguments, success=success)


def run_file(path: str, *arguments: str, success: tuple[int, ...] = (0,)) -> list[str]:
    """Run the program at a path, as ``run_program`` does."""
    argv = (path, *arguments)
    result = run(argv, timeout=defs.NETWORK_TIMEOUT)
    if result.status in success:
        return []
    return [f"{' '.join(argv)}: {result.reason()}"]


def output_of(name: str, *arguments: str) -> str:
    """Return what a program prints, stripped; "" where it fails or is not installed."""
    path = find_program(name)
    if path is None:
        return ""
    result = run((path, *arguments))
    if result.status:
        return ""
    return result.output.decode("utf-8", "replace").strip()


def is_active(unit: str) -> bool:
    """Tell whether a unit of systemd runs."""
    return not run_program("systemctl", "--quiet", "is-active", unit)


def report_not_running(name: str, changes: Sequence[FileChange]) -> list[str]:
    """Return the failure that a stack does not run, if it should have taken over files.

    Of files that are gone it needs to know nothing: they have left no trace in the kernel.
    """
    if all(change.new is None for change in changes):
        return []
    return [f"{name} is not running; its new files take effect when it starts"]


def reload_networkd() -> list[str]:
    """Have systemd-networkd read its files again; return what failed.

    The files are its own or, where netplan is in use, those that netplan made for it.
    """
    if not run_program("networkctl", "reload"):
        return []
    # Some versions crash when a bond is deleted.
    return run_program("systemctl", "start", "systemd-networkd.service") or run_program(
        "networkctl", "reload"
    )
