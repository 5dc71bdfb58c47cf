"""Documents in an image file as a source, read without root and without mounting.

xorriso reads ISO 9660 images, mtools VFAT ones: both are GNU tools that read long names, and
packages of every distribution.
"""

from __future__ import annotations

from guestagent.errors import SourceBroken
from guestagent.sources.bundle import Unreadable
from guestagent.sources.directory import too_many_names
from guestagent.system.tools import find_program, run

_MAX_LISTING = 1 << 20


class Image:
    """A transport over an image file."""

    def __init__(self, path: str, file_system: str) -> None:
        """List the names of all files.  Raises SourceBroken."""
        self._path = path
        iso = file_system == "iso9660"
        name = "xorriso" if iso else "mdir"
        tool = find_program(name)
        if tool is None:
            package = "xorriso" if iso else "mtools"
            raise SourceBroken(f"{path}: reading it needs {name}, from the package {package}")
        self._iso = tool if iso else ""
        self._files = self._list_iso(tool) if iso else self._list_fat(tool)

    def _list_iso(self, tool: str) -> frozenset[str]:
        argv = [tool, "-indev", f"stdio:{self._path}", "-find", "/", "-type", "f"]
        listing = self._list(argv)
        # A line for each file, with its path in single quotes as for a shell; other lines are
        # messages.
        lines = (line.strip() for line in listing.splitlines())
        return frozenset(line[2:-1] for line in lines if line.startswith("'/"))

    def _list_fat(self, tool: str) -> frozenset[str]:
        # All files of all folders, one a line and without dates and sizes: mdir(1).
        lines = self._list([tool, "-i", self._path, "-/", "-b", "-a", "::"]).splitlines()
        return frozenset(line.removeprefix("::/") for line in lines if not line.endswith("/"))

    def _list(self, argv: list[str]) -> str:
        listing = self._output(argv, _MAX_LISTING)
        if len(listing) > _MAX_LISTING:  # what is missing of it may be what matters
            raise too_many_names(self._path)
        return listing.decode("utf-8", "replace")

    def _output(self, argv: list[str], limit: int) -> bytes:
        """Run a tool, and return its output of at most ``limit`` bytes and one more."""
        result = run(argv, limit=limit)
        if result.status:
            raise SourceBroken(f"{self._path}: cannot be read: {result.reason()}")
        return result.output

    def fetch(self, name: str, limit: int) -> bytes | None:
        """Return a document; see ``Transport``."""
        if name not in self._files:
            return None
        if self._iso:
            argv = [self._iso, "-osirrox", "on", "-indev", f"stdio:{self._path}"]
            argv += ["-concat", "append", "-", "/" + name, "--"]
        else:
            argv = [find_program("mtype") or "mtype", "-i", self._path, f"::{name}"]
        content = self._output(argv, limit)
        if len(content) > limit:
            raise Unreadable(f"larger than {limit} bytes")
        return content

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder; see ``Transport``."""
        start = folder + "/" if folder else ""
        below = (name[len(start) :] for name in self._files if name.startswith(start))
        return sorted({name.split("/")[0] for name in below})

    def close(self) -> None:
        """Do nothing: there is nothing to give back."""
