"""MIME messages, RFC 2045 and RFC 2046, as far as user data needs them, bounded and linear.

The standard library's email package builds all parts before anybody can count them, and its
import costs more than all else that is done with user data.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64, a2b_qp

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# RFC 5322, section 2.2: a field's name is of printable ASCII but the colon.
_NAME_BYTES = frozenset(range(33, 127)) - {ord(":")}
# Of lines that begin like a boundary: enough for any script that has such lines of its own.
_MAX_LINES = 10_000
_PLAIN_ENCODINGS = frozenset(("", "7bit", "8bit", "binary"))


class Entity(NamedTuple):
    """A message or a part of one: header fields by names in small letters, and the body."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def type(self) -> str:
        """The media type in small letters; text/plain where none is given, or a wrong one."""
        value, _ = parameters(self.headers.get("content-type", ""))
        return value if value.count("/") == 1 else "text/plain"

    @property
    def file_name(self) -> str:
        """The file name that the header gives, unchecked; empty for none."""
        for field, key in (("content-disposition", "filename"), ("content-type", "name")):
            _, found = parameters(self.headers.get(field, ""))
            if found.get(key):
                return found[key]
        return ""


def is_message(content: bytes) -> bool:
    """True if the content begins with a header that has MIME-Version or a multipart type."""
    headers, _ = _header(content)
    return "mime-version" in headers or headers.get("content-type", "").lower().startswith(
        "multipart/"
    )


def entity(content: bytes) -> Entity:
    """Header and body of a message or part.

    FieldError: the header is too large.  As email does it, the first line that can be no part
    of a header begins the body.
    """
    headers, end = _header(content)
    if end is None:
        raise FieldError(f"has a MIME header of more than {defs.MIME_HEADER_LIMIT >> 10} KiB")
    return Entity(headers, content[end:])


def _header(content: bytes) -> tuple[dict[str, str], int | None]:
    """Header fields, the first of each name, and where the body begins, None beyond the limit."""
    fields: dict[str, str] = {}
    name, at = "", 0
    while at < len(content):
        end = content.find(b"\n", at, defs.MIME_HEADER_LIMIT) + 1
        if not end and len(content) > defs.MIME_HEADER_LIMIT:
            return fields, None
        end = end or len(content)
        line = content[at:end].rstrip(b"\r\n")
        if not line:
            return fields, end
        if line[:1] in (b" ", b"\t") and name:
            fields[name] += " " + _text(line)
        elif line.startswith(b"From ") and at == 0:
            pass  # the envelope of a mailbox, mbox(5)
        else:
            raw, colon, value = line.partition(b":")
            if not colon or not raw or not _NAME_BYTES.issuperset(raw):
                return fields, at
            known = raw.decode().lower()
            name = known if known not in fields else f"{known}:"
            fields[name] = _text(value)
        at = end
    return fields, at


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").strip()


def parameters(field: str) -> tuple[str, dict[str, str]]:
    """The value of a header field in small letters, and its parameters, RFC 2045, section 5.1."""
    value, _, rest = field.partition(";")
    found: dict[str, str] = {}
    while rest:
        name, _, rest = rest.partition("=")
        name = name.rpartition(";")[2].strip().lower()
        rest = rest.lstrip()
        if rest.startswith('"'):
            text, rest = _quoted(rest)
        else:
            text, _, rest = rest.partition(";")
        if name.endswith("*"):
            name, text = name[:-1], _extended(text)
        found.setdefault(name, text.strip())
    return value.strip().lower(), found


def _quoted(text: str) -> tuple[str, str]:
    """What stands in the quotes that a text begins with, and what comes after them."""
    found, at = [], 1
    while at < len(text) and text[at] != '"':
        at += text[at] == "\\"
        found.append(text[at : at + 1])
        at += 1
    return "".join(found), text[at + 1 :].partition(";")[2]


def _extended(text: str) -> str:
    """An extended parameter value, RFC 2231, section 4: ``charset'language'%XX…``."""
    first, *rest = text.rpartition("'")[2].split("%")
    found = first.encode()
    for piece in rest:
        try:
            found += bytes.fromhex(piece[:2]) + piece[2:].encode()
        except ValueError:
            found += piece.encode()
    return found.decode("utf-8", "replace")


def bodies(multipart: Entity, most: int) -> tuple[list[bytes], bool]:
    """The parts of a multipart, and if its closing boundary is there.

    No more than ``most`` and one more are looked for.  FieldError: there is none, or too much
    that looks like a boundary.
    """
    _, found = parameters(multipart.headers.get("content-type", ""))
    boundary = found.get("boundary", "").encode()
    if not boundary:
        raise FieldError("is a multipart without a boundary")
    parts, closed = _between(b"\n" + multipart.body, b"\n--" + boundary, most)
    if not parts:
        raise FieldError("is a multipart without a part")
    return parts, closed


def _between(text: bytes, mark: bytes, most: int) -> tuple[list[bytes], bool]:
    """What stands between lines that begin with the mark; RFC 2046, section 5.1.1."""
    found: list[bytes] = []
    start = None
    end = 0
    for _ in range(_MAX_LINES):
        at = text.find(mark, end)
        if at < 0 or len(found) > most:
            break
        after = at + len(mark)
        end = text.find(b"\n", after)
        end = len(text) if end < 0 else end
        last = text[after : after + 2] == b"--"
        # What else may stand in the line is white space: another boundary can begin like this.
        if text[after + 2 * last : end].strip(b" \t\r"):
            continue
        if start is not None and start < at:  # as email has it, two lines in a row are one
            found.append(text[start:at].removesuffix(b"\r").removeprefix(b"\n"))
        if last:
            return found, True
        start = end
    else:
        raise FieldError("has too many lines that begin like its boundary")
    if start is not None and len(found) <= most:
        found.append(text[start:].removeprefix(b"\n").removesuffix(b"\n").removesuffix(b"\r"))
    return found, False


def decoded(part: Entity) -> bytes:
    """The body without its transfer encoding, RFC 2045, section 6.  FieldError: it is damaged.

    The charset is of no account: what runs scripts and reads YAML takes bytes.
    """
    encoding = parameters(part.headers.get("content-transfer-encoding", ""))[0]
    if encoding == "quoted-printable":
        return a2b_qp(part.body)
    if encoding in _PLAIN_ENCODINGS:
        return part.body
    if encoding != "base64":
        raise FieldError("has a transfer encoding that is not known: use base64 or 8bit")
    try:
        return a2b_base64(b"".join(part.body.split()), strict_mode=True)
    except Base64Error:
        raise FieldError("is not base64, as its header says") from None
