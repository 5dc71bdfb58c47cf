"""Reads NetworkManager profiles with libnm itself; run by the system's Python, which has PyGObject.

Each line of the input is a JSON object of texts by path, each line of the output one of results
by path: the settings as NetworkManager's D-Bus interface shows them, and what libnm complains of.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import gi  # type: ignore[import-not-found, unused-ignore]

gi.require_version("NM", "1.0")
from gi.repository import (  # type: ignore[import-not-found, unused-ignore]  # noqa: E402
    NM,
    GLib,
)


def read(path: str, text: str) -> dict[str, Any]:
    """Return the settings of one profile, as the daemon's own plug-in reads them."""
    complaints: list[str] = []

    def complain(_keyfile: Any, _connection: Any, kind: Any, data: Any, *_: Any) -> bool:
        if kind == NM.KeyfileHandlerType.WARN:
            complaints.append(data.warn_get()[0])
        return False

    keyfile = GLib.KeyFile()
    keyfile.load_from_data(text, len(text.encode()), GLib.KeyFileFlags.NONE)
    folder = path.rpartition("/")[0]
    connection = NM.keyfile_read(keyfile, folder, NM.KeyfileHandlerFlags.NONE, complain, None)
    connection.normalize(None)
    connection.verify()
    settings = connection.to_dbus(NM.ConnectionSerializationFlags.ALL).unpack()
    return {"settings": settings, "complaints": complaints}


def main() -> None:
    """Answer until the input ends."""
    for line in sys.stdin:
        found = {}
        for path, text in json.loads(line).items():
            try:
                found[path] = read(path, text)
            except GLib.Error as error:
                found[path] = {"settings": {}, "complaints": [error.message]}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
