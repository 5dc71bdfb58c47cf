"""``timezone``: the system's time zone."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.plan.kinds.file import File
from guestagent.plan.kinds.link import Link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.plan.wanted import Ask, Wanted

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-_")


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan localtime(5), and Debian's file of the name where the image has it."""
    setting = ask.data.setting("timezone")
    if setting is None:
        return
    why = setting.at()
    name = wanted.take(why, _check_name, setting.value)
    if name is None:
        return
    wanted.want(Link("link", defs.LOCALTIME, f"{defs.ZONEINFO_DIR}/{name}", why))
    # Debian 13 and later do without the file.
    if ask.facts.texts.get(defs.TIMEZONE_FILE):
        wanted.want(File("file", defs.TIMEZONE_FILE, f"{name}\n".encode(), mode=0o644, why=why))


def _check_name(text: str) -> str:
    """Return the name of a time zone.  Raise FieldError if it cannot be one.

    It is a path below /usr/share/zoneinfo, and cannot leave it.
    """
    allowed = all(part and _LETTERS.issuperset(part) for part in text.split("/"))
    if not allowed or len(text) > defs.NAME_LIMIT:
        raise FieldError("is not the name of a time zone, such as Europe/Berlin")
    return text
