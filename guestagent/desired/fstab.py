"""Lines of fstab(5): what mounts and swap write there."""

from __future__ import annotations

from guestagent.plan.kinds.block import extract
from guestagent.record import NamedTuple

NO_MOUNT_POINT = "none"


class Entry(NamedTuple):
    """One line of fstab(5), as values.  ``mount_point`` is "none" for swap."""

    device: str
    mount_point: str
    kind: str
    options: str
    dump: str
    check_order: str

    def has_option(self, name: str) -> bool:
        """Tell whether the options have this one."""
        return name in self.options.split(",")

    def text(self) -> str:
        """Return the line, without its end."""
        device, mount_point = escape(self.device), escape(self.mount_point)
        return " ".join((device, mount_point, *self[2:]))


def escape(text: str) -> str:
    """Return a field with spaces and backslashes as octal numbers."""
    return text.replace("\\", "\\134").replace(" ", "\\040")


def foreign_mount_points(text: str) -> set[str]:
    """Return the mount points, escaped, of the lines of fstab that are not guestagent's."""
    ours = extract(text.encode(), "block").decode()
    found = set()
    for line in text.replace(ours, "").splitlines():
        fields = line.split()
        if len(fields) > 1 and not fields[0].startswith("#"):
            found.add(fields[1])
    return found
