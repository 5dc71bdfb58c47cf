"""What the kernel and the firmware say about this machine, in files of /proc and /sys.

Only what runs on the machine itself may ask: an offline tree (``--root``) is another machine's.
"""

from __future__ import annotations

import os

from guestagent import defs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.system.root import Root

# The UUID of every board whose maker did not set one in AMI's firmware.
_PLACEHOLDER = "03000200-0400-0500-0006-000700080009"
# What has been read of what stays the same until the next boot, by the paths of the files.
_said: dict[str, str] = {}


def read_text(path: str) -> str:
    """Return the text of a small file of the kernel, stripped; empty if it cannot be read."""
    try:
        # A buffer and a decoder would take more than twice as long as the rest.
        with open(path, "rb", buffering=0) as file:
            return file.read(defs.PATH_LIMIT).decode(errors="replace").strip()
    except OSError:
        return ""


def _read_once(path: str) -> str:
    """Do the same for a file that stays the same until the next boot."""
    text = _said.get(path)
    if text is None:
        text = _said[path] = read_text(path)
    return text


def has_udev() -> bool:
    """Tell whether udev(7) runs, as libudev does: in a container it need not."""
    return os.path.exists(defs.UDEV_CONTROL)


def dmi(name: str) -> str:
    """Return a field of the firmware's DMI table, such as ``product_name``; empty if not set.

    A text with a control character, which is no maker's, counts as not set.
    """
    found = _read_once(f"{defs.DMI_DIR}/{name}")
    return found if found.isprintable() else ""


def product_uuid() -> str:
    """Return the UUID that the hypervisor gave the machine, in lower case; empty if it gave none.

    This is not the ID of machine-id(5), which the installed system makes for itself.
    """
    found = dmi("product_uuid").lower()
    return "" if found == _PLACEHOLDER else found


def is_vmware() -> bool:
    """Tell whether the machine is one of VMware's hypervisor."""
    return dmi("product_name").upper().startswith(defs.VSPHERE)


def machine_with_writers(root: Root) -> str:
    """Return the UUID of a machine whose users can write to a source of it; empty for others.

    Once it has started, they may have: ``verbs.new_instance``.
    """
    return product_uuid() if root.live and is_vmware() else ""


def is_container() -> bool:
    """Tell whether the system is a container that systemd runs in."""
    return bool(_read_once(defs.CONTAINER_FILE))


def kernel_argument(*starts: str) -> str | None:
    """Return the rest of the last word of the kernel command line with that start, or None.

    Of several starts, the first counts that a word has.  Quotes around a word or a value are not
    part of it.
    """
    words = _kernel_words()
    for start in starts:
        values = [word.removeprefix(start) for word in words if word.startswith(start)]
        if values:
            return values[-1]
    return None


def _kernel_words() -> list[str]:
    """Return the words of the kernel command line.

    A container sees that of its host's kernel, which is not about it.  There the arguments of the
    first process count in its place, as they do for systemd(1).
    """
    if is_container():
        return _read_once(defs.FIRST_COMMAND_LINE).split("\0")
    return _read_once(defs.KERNEL_COMMAND_LINE).replace('"', "").split()


def credentials_folder() -> str:
    """Return the folder of system credentials that has some for guestagent; empty if none has."""
    for folder in defs.CREDENTIAL_DIRS:
        try:
            names = os.listdir(folder)
        except OSError:
            continue  # nobody gave the system any, or the caller may not see them
        if any(name.startswith(defs.CREDENTIAL_PREFIX) for name in names):
            return folder
    return ""


def why_disabled() -> str:
    """Return what disables guestagent at boot, or an empty string if nothing does."""
    if defs.OFF_ARGUMENT in _kernel_words():
        return f"{defs.OFF_ARGUMENT} on the kernel command line"
    if os.path.exists(defs.OFF_SWITCH):
        return f"the file {defs.OFF_SWITCH}"
    return ""


def set_hostname(name: str) -> None:
    """Change the running kernel's host name: sethostname(2), proc_sys_kernel(5).  Raises OSError.

    The units have no right to call sethostname(2), because it takes CAP_SYS_ADMIN, which is the
    right to do nearly anything; to write to the kernel's file it is enough to be root.  In a
    container that file can often not be written, but the call works.
    """
    # Importing ``socket`` would cost 8 ms, as much as starting the interpreter.
    from _socket import sethostname

    try:
        sethostname(name)
    except PermissionError:
        with open(defs.KERNEL_HOSTNAME, "w", encoding="ascii") as file:
            file.write(name)
