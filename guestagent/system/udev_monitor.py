"""Listen to udev's events and ask its database, by the functions of libudev(3).

Boots and the daemon use it in place of ``pyudev``, a binding of the same library: its import takes
the CPU time of three starts of the interpreter, which every boot would pay, and 5 MiB, which a
resident process would keep.
"""

from __future__ import annotations

import _ctypes
from errno import EAGAIN, EINTR, ENOBUFS
from posix import listdir, strerror

from guestagent import defs
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_LIBRARY = "libudev.so.1"


class _Int(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "i"


class _Text(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "z"


class _Pointer(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "P"


# The functions that are called: what each returns, and its arguments.
_FUNCTIONS: dict[str, tuple[type, tuple[type, ...]]] = {
    "udev_new": (_Pointer, ()),
    "udev_monitor_new_from_netlink": (_Pointer, (_Pointer, _Text)),
    "udev_monitor_filter_add_match_subsystem_devtype": (_Int, (_Pointer, _Text, _Text)),
    "udev_monitor_enable_receiving": (_Int, (_Pointer,)),
    "udev_monitor_get_fd": (_Int, (_Pointer,)),
    "udev_monitor_receive_device": (_Pointer, (_Pointer,)),
    "udev_device_new_from_subsystem_sysname": (_Pointer, (_Pointer, _Text, _Text)),
    "udev_device_get_property_value": (_Text, (_Pointer, _Text)),
    "udev_device_unref": (_Pointer, (_Pointer,)),
}


class Event(NamedTuple):
    """A device as udev knows it, and what it has done with it last; what it lacks is empty."""

    subsystem: str
    action: str  # none where it was asked for
    devpath: str  # below /sys
    label: str = ""  # of its file system
    file_system: str = ""
    node: str = ""  # in /dev


_PROPERTIES = (b"SUBSYSTEM", b"ACTION", b"DEVPATH", b"ID_FS_LABEL", b"ID_FS_TYPE", b"DEVNAME")


class Missed(Exception):
    """More events came than the kernel keeps for a listener: what they said is not known."""


class Database:
    """What udev knows of devices."""

    def __init__(self) -> None:
        """Load the library.  Raises OSError."""
        self._functions = _load()
        self._udev = self._call("udev_new")

    def block_devices(self) -> Iterator[Event]:
        """Yield the block devices that there are now, with what udev's database has of each."""
        make = self._functions["udev_device_new_from_subsystem_sysname"]
        try:
            names = listdir(defs.BLOCK_DIR)
        except OSError:  # a container without sysfs
            return
        for name in names:
            device = make(self._udev, b"block", name.encode("utf-8", "surrogateescape"))
            if device:  # else it has gone meanwhile
                yield self._read(device)

    def _read(self, device: int) -> Event:
        """Return what is known of a device of the library, and give that back."""
        get = self._functions["udev_device_get_property_value"]
        found = [get(device, name) or b"" for name in _PROPERTIES]
        self._functions["udev_device_unref"](device)
        return Event(*(value.decode("utf-8", "replace") for value in found))

    def _call(self, name: str, *arguments: bytes | int | None) -> int:
        """Call a function that returns a pointer, or a number that is negative where it fails."""
        result = self._functions[name](*arguments)
        if result is None or result < 0:
            error = _ctypes.get_errno() or -(result or 0)
            raise OSError(error, strerror(error), name)
        return int(result)


class Monitor(Database):
    """The events of some subsystems that udev has processed, since the monitor was made.

    ``fd`` can be read when there are some.  libudev drops what others than udev have sent.
    """

    def __init__(self, *subsystems: str) -> None:
        """Listen.  Raises OSError."""
        super().__init__()
        self._monitor = self._call("udev_monitor_new_from_netlink", self._udev, b"udev")
        for subsystem in subsystems:
            # The kernel filters, so that events of other devices do not wake this process.
            name = "udev_monitor_filter_add_match_subsystem_devtype"
            self._call(name, self._monitor, subsystem.encode(), None)
        self._call("udev_monitor_enable_receiving", self._monitor)
        self.fd = self._call("udev_monitor_get_fd", self._monitor)

    def receive(self) -> Event | None:
        """Return the next event, or None if there is none now.  Raises Missed, OSError."""
        _ctypes.set_errno(0)
        device = self._functions["udev_monitor_receive_device"](self._monitor)
        if not device:
            error = _ctypes.get_errno()
            if error == ENOBUFS:
                raise Missed
            if error in (0, EAGAIN, EINTR):
                return None
            raise OSError(error, strerror(error), "udev")
        return self._read(device)


def _load() -> dict[str, Any]:
    """Return the functions of the library.  Raises OSError."""

    class Function(_ctypes.CFuncPtr):
        _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO

    library = _ctypes.dlopen(_LIBRARY, 0)
    found: dict[str, Any] = {}
    for name, (result, arguments) in _FUNCTIONS.items():
        function: Any = Function(_ctypes.dlsym(library, name))
        function.restype, function.argtypes = result, arguments
        found[name] = function
    return found
