"""The disks that a flavor adds to a guest, as EC2's ``block-device-mapping`` names them."""

from __future__ import annotations

from guestagent.model import Text
from guestagent.parse import fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.errors import Origin, Problems


def read_disks(
    mapping: object, document: Origin, problems: Problems
) -> tuple[tuple[str, Text], ...]:
    """Return the paths of ephemeral and swap disks by their names; others are volumes."""
    found = []
    for name, value in (mapping if isinstance(mapping, dict) else {}).items():
        number = name.removeprefix("ephemeral")
        is_ephemeral = number != name and number.isascii() and number.isdigit()
        if not is_ephemeral and name != "swap":
            continue
        origin = document.under("block-device-mapping").under(name)
        path = problems.take(origin, fields.disk, value)
        if path is not None:
            found.append((name, Text(path, origin)))
    return tuple(found)
