"""Lines that guestagent owns in somebody else's file: between two markers, or each marked."""

from __future__ import annotations

from guestagent.memory import applied
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal

    from guestagent.errors import Origin

_BEGIN, _END = b"# guestagent: begin", b"# guestagent: end"
_MARK = b" # guestagent"


class Block(NamedTuple):
    """Lines that guestagent owns in a file of somebody else.

    ``style`` "block" keeps them between two marker lines, "line" marks each line's end.
    The file belongs to ``user``; a new one gets ``mode``.  ``lets_in``: one of the lines is an SSH
    key that someone can log in with.
    """

    kind: Literal["block"]
    path: str
    lines: tuple[str, ...]
    style: Literal["block", "line"]
    user: str
    mode: int
    why: Origin
    lets_in: bool = False

    @property
    def key(self) -> str:
        """The key under which the state remembers this."""
        return applied.block(self.path)


def body(text: Iterable[str], style: str) -> bytes:
    """What stands in the file for some lines; nothing for none."""
    lines = [line.encode() for line in text]
    if not lines:
        return b""
    if style == "line":
        return b"".join(line + _MARK + b"\n" for line in lines)
    return b"".join(line + b"\n" for line in (_BEGIN, *lines, _END))


def _mine(lines: list[bytes], style: str) -> range | list[int]:
    """The numbers of the lines that guestagent owns; a block counts only with both markers."""
    bare = [line.rstrip() for line in lines]
    if style == "line":
        return [number for number, line in enumerate(bare) if line.endswith(_MARK)]
    if _BEGIN not in bare or _END not in bare[bare.index(_BEGIN) :]:
        return []
    begin = bare.index(_BEGIN)
    return range(begin, bare.index(_END, begin) + 1)


def owned(content: bytes, style: str) -> bytes:
    """What guestagent owns of a file."""
    lines = content.splitlines(keepends=True)
    return b"".join(lines[number] for number in _mine(lines, style))


def merged(content: bytes, new: bytes, style: str) -> bytes:
    """The file with ``new`` where guestagent's lines stood, or at its end."""
    lines = content.splitlines(keepends=True)
    mine = _mine(lines, style)
    start = mine[0] if mine else len(lines)
    head = b"".join(lines[:start])
    if head and new and not head.endswith(b"\n"):
        head += b"\n"
    tail = [line for number, line in enumerate(lines) if number > start and number not in mine]
    return head + new + b"".join(tail)
