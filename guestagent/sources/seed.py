"""A seed of NoCloud on this machine: in a directory, or named by kernel command line or firmware.

Source: the page "NoCloud" of cloud-init's documentation.  ``ds=nocloud;h=NAME;i=ID;s=PLACE`` is a
kernel argument, or the machine's serial number (SMBIOS, type 1).  Of the three, each may be left
out.
"""

from __future__ import annotations

import os

from guestagent import defs
from guestagent.errors import Origin, UsageError
from guestagent.record import NamedTuple
from guestagent.system.jsontext import dumps
from guestagent.system.machine import dmi, is_container, kernel_argument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.errors import Problems
    from guestagent.sources.bundle import Bundle, Transport

_START = "ds="
_KINDS = ("nocloud", "nocloud-net")
_KEYS = {
    "s": "place",
    "seedfrom": "place",
    "h": "local-hostname",
    "local-hostname": "local-hostname",
    "i": "instance-id",
    "instance-id": "instance-id",
}
_NOT_A_PLACE = "names neither a path nor an http:// URL"


class Given(NamedTuple):
    """What is said of a seed, and where: its place, and values of ``meta-data`` by their keys."""

    where: str
    place: str = ""
    values: tuple[tuple[str, str], ...] = ()
    unknown: bool = False

    @property
    def is_remote(self) -> bool:
        """Whether the seed is at a URL."""
        return "://" in self.place and not self.place.startswith("file://")

    def add_to(self, bundle: Bundle, problems: Problems) -> None:
        """Give a source these values, which go before those of its ``meta-data``.

        Keys that are not known are a warning.
        """
        if self.unknown:
            origin = Origin("guestagent", self.where, "ds")
            problems.warn(origin, f"has keys that are ignored; known are {', '.join(_KEYS)}")
        if self.values:
            content = dumps(dict(self.values)).encode()
            bundle.overlay(lambda below: _Overlay(content, below))


class _Overlay:
    """A transport that has one document more than another one."""

    def __init__(self, content: bytes, below: Transport) -> None:
        self._content, self._below = content, below

    def fetch(self, name: str, limit: int) -> bytes | None:
        """Return a document; see ``Transport``."""
        if name == defs.SEED_VALUES:
            return self._content
        return self._below.fetch(name, limit)

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder; see ``Transport``."""
        found = self._below.names(folder)
        return found if folder else sorted({*found, defs.SEED_VALUES})

    def close(self) -> None:
        """Give back what the other transport holds open."""
        self._below.close()


def find_given() -> Given | None:
    """Return what kernel command line or firmware say of a seed; None if nothing."""
    text = kernel_argument(_START)
    if text is not None:
        return _parse(text, "the kernel command line")
    serial = dmi("product_serial")
    # A container sees the firmware of its host.
    if serial.startswith(_START) and not is_container():
        return _parse(serial.removeprefix(_START), "the machine's serial number")
    return None


def _parse(text: str, where: str) -> Given | None:
    kind, *words = text.split(";")
    if kind.lower() not in _KINDS:
        return None
    place, unknown = "", False
    values = {}
    for word in filter(None, words):
        name, _, value = word.partition("=")
        key = _KEYS.get(name, "")
        if key == "place":
            place = value
        elif key:
            values[key] = value
        else:
            unknown = True
    return Given(where, place, tuple(values.items()), unknown)


def open_named(given: Given) -> Bundle:
    """Open the seed at the place that is given.  Raises UsageError, SourceBroken, NoPermission."""
    path = given.place.removeprefix("file://")
    if not path.startswith("/"):
        raise UsageError(f"ds=nocloud on {given.where}: s {_NOT_A_PLACE}")
    from guestagent.sources.path import open_path

    return open_path(path)


def open_nothing(given: Given) -> Bundle:
    """Return a source that has nothing but the values that are given, once they are added."""
    from guestagent.sources.bundle import Bundle
    from guestagent.sources.documents import Documents

    return Bundle(f"seed on {given.where}", Documents({}))


def find_directory() -> str:
    """Return the first directory of a seed that has ``meta-data``; empty if there is none."""
    for path in defs.SEED_DIRS:
        if os.path.exists(f"{path}/meta-data"):
            return path
    return ""
