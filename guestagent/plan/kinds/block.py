"""Lines that guestagent owns in a file of another program: between two markers, or each marked."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import Origin, Refused
from guestagent.memory import applied
from guestagent.plan.kinds.file import WriteFile
from guestagent.plan.view import Outcome
from guestagent.record import NamedTuple
from guestagent.system.digest import digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal

    from guestagent.plan.view import View

    Style = Literal["block", "line"]

_BEGIN, _END = b"# guestagent: begin", b"# guestagent: end"
_MARK = b" # guestagent"
_LOCALHOST = "localhost"
_LOCAL_LINES = ("127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback")
_LOCAL_NAMES = frozenset((_LOCALHOST, "ip6-localhost", "ip6-loopback"))


class Block(NamedTuple):
    """Lines that guestagent owns in a file of another program.

    ``style`` "block" keeps them between two marker lines, "line" marks each line's end.
    The file belongs to ``user``; a new one gets ``mode``.  ``lets_in``: one of the lines is an SSH
    key that someone can log in with.  ``partial``: why these may not be all lines that there should
    be, empty if they are; otherwise those of an earlier run for this instance stay behind them.
    ``account`` is whom SSH keys let in as; ``ask_sshd``: sshd is asked whether it reads them here.
    """

    kind: Literal["block"]
    path: str
    lines: tuple[str, ...]
    style: Style
    user: str
    mode: int
    why: Origin
    lets_in: bool = False
    partial: str = ""
    account: str = ""
    ask_sshd: bool = False

    @property
    def key(self) -> str:
        """Return the key under which the state remembers this."""
        return applied.ssh_keys(self.path) if self.account else applied.block(self.path)

    def compare(self, view: View) -> Outcome:
        """Compare with the file's lines.  Raises Refused, OSError."""
        path = view.follow(self.path)
        found = view.file(path)
        have, text = extract(found.content or b"", self.style), render(self.lines, self.style)
        if have == text:
            return Outcome(record={self.key: digest(text)})
        if view.is_edited(self.key, digest(have)):
            return view.keep(self.key, self.path)
        earlier = () if not self.partial or not view.is_done(self.key) else self._other_lines(have)
        problems = (self.why.warning(f"{self.path}: {self.partial}"),) if earlier else ()
        text = render((*self.lines, *earlier), self.style)
        record = {self.key: digest(text)}
        if have == text:
            return Outcome(record=record, problems=problems)
        change = WriteFile(
            "write",
            path,
            found.content,
            merge(found.content or b"", text, self.style),
            old_mode=found.mode,
            mode=self.mode if found.mode is None else found.mode,
            user=self.user,
            why=self.why,
            hidden=False,
            edits=True,
            keys=(self.key,),
            keys_of=self.account if self.ask_sshd else "",
        )
        return Outcome((change,), record=record, problems=problems)

    def _other_lines(self, have: bytes) -> tuple[str, ...]:
        """Return the lines of a block as it is that are not among those that are wanted."""
        lines = [line.decode() for line in have.splitlines()[1:-1]]
        return tuple(line for line in lines if line not in self.lines)


class Hosts(NamedTuple):
    """The host's own names, and localhost, are in hosts(5).

    ``address`` is what ``names`` resolve to.  Where lines of others have ``own``, the name that
    programs ask for, there is no need of another; nor is there for localhost.
    """

    kind: Literal["hosts"]
    address: str
    names: tuple[str, ...]
    own: str
    why: Origin

    @property
    def path(self) -> str:
        """Return the path of the file."""
        return defs.HOSTS_FILE

    @property
    def key(self) -> str:
        """Return the key under which the state remembers this."""
        return applied.block(self.path)

    def compare(self, view: View) -> Outcome:
        """Compare with the file's lines.  Raises Refused, OSError."""
        content = view.file(view.follow(self.path)).content or b""
        lines = self._lines(content, known=view.is_done(self.key))
        block = Block("block", self.path, lines, "line", user="root", mode=0o644, why=self.why)
        return block.compare(view)

    def _lines(self, content: bytes, *, known: bool) -> tuple[str, ...]:
        """Return the lines that are guestagent's.

        Lines that it wrote for this instance (``known``) stay, whatever others add later.
        """
        mine = frozenset(extract(content, "line").splitlines())
        ours = _names(mine) if known else set()
        theirs = _names(line for line in content.splitlines() if line not in mine)
        lines: tuple[str, ...] = ()
        if _LOCALHOST in ours or _LOCALHOST not in theirs:
            lines = _LOCAL_LINES
        if ours - _LOCAL_NAMES or self.own.lower() not in theirs:
            lines = (*lines, " ".join((self.address, *self.names)))
        return lines


def undo(key: str, view: View) -> Outcome:
    """Take guestagent's lines out of the file, if they are as they were written."""
    _, path = applied.split(key)
    style: Style = "line" if path == defs.HOSTS_FILE else "block"
    try:
        target = view.follow(path)
        found = view.file(target)
    except (Refused, OSError):
        return Outcome()
    if found.content is None or found.mode is None or applied.replaced(path) in view.recorded:
        return Outcome()
    mine = extract(found.content, style)
    if digest(mine) != view.recorded[key]:
        return Outcome(kept=(path,))
    if not mine:
        return Outcome()
    change = WriteFile(
        "write",
        target,
        found.content,
        merge(found.content, b"", style),
        old_mode=found.mode,
        mode=found.mode,
        user="",
        why=applied.origin(key),
        hidden=False,
        edits=True,
        undoes=key,
    )
    return Outcome((change,))


def render(text: Iterable[str], style: str) -> bytes:
    """Return the part of the file that holds the lines; empty for no lines."""
    lines = [line.encode() for line in text]
    if not lines:
        return b""
    if style == "line":
        return b"".join(line + _MARK + b"\n" for line in lines)
    return b"".join(line + b"\n" for line in (_BEGIN, *lines, _END))


def _mine(lines: list[bytes], style: str) -> range | list[int]:
    """Return the numbers of the lines that guestagent owns; a block needs both its markers."""
    bare = [line.rstrip() for line in lines]
    if style == "line":
        return [number for number, line in enumerate(bare) if line.endswith(_MARK)]
    if _BEGIN not in bare or _END not in bare[bare.index(_BEGIN) :]:
        return []
    begin = bare.index(_BEGIN)
    return range(begin, bare.index(_END, begin) + 1)


def extract(content: bytes, style: str) -> bytes:
    """Return the part of a file that guestagent owns."""
    lines = content.splitlines(keepends=True)
    return b"".join(lines[number] for number in _mine(lines, style))


def merge(content: bytes, new: bytes, style: str) -> bytes:
    """Return the file with ``new`` in place of guestagent's lines, or at its end."""
    lines = content.splitlines(keepends=True)
    mine = _mine(lines, style)
    own = frozenset(mine)
    start = mine[0] if mine else len(lines)
    head = b"".join(lines[:start])
    if head and new and not head.endswith(b"\n"):
        head += b"\n"  # else the first of the new lines would be a part of the last one
    tail = [line for number, line in enumerate(lines) if number > start and number not in own]
    return head + new + b"".join(tail)


def _names(lines: Iterable[bytes]) -> set[str]:
    """Return the names that lines of hosts(5) give to addresses, in small letters."""
    names: set[str] = set()
    for line in lines:
        words = line.partition(b"#")[0].decode("utf-8", "replace").lower().split()
        names.update(words[1:])
    return names
