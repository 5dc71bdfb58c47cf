"""MIME messages (RFC 2045, RFC 2046), as far as user data needs them, in bounded time and memory.

The standard library's email package builds all parts before they can be counted, and its import
costs more than everything else that is done with user data.
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

# RFC 5322, section 2.2: the name of a header field is printable ASCII without the colon.
_NAME_BYTES = frozenset(range(33, 127)) - {ord(":")}
# Lines that begin like a boundary: enough for any script that has such lines of its own.
_MAX_BOUNDARY_LINES = 10_000
_NO_ENCODINGS = frozenset(("", "7bit", "8bit", "binary"))


class Entity(NamedTuple):
    """A message or a part of one: header fields by their names in lower case, and the body."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def type(self) -> str:
        """The media type in lower case; text/plain if it is missing or malformed."""
        value, _ = split_parameters(self.headers.get("content-type", ""))
        return value if value.count("/") == 1 else "text/plain"

    @property
    def file_name(self) -> str:
        """The file name in the header, unchecked; empty if there is none."""
        for field, parameter in (("content-disposition", "filename"), ("content-type", "name")):
            _, found = split_parameters(self.headers.get(field, ""))
            if found.get(parameter):
                return found[parameter]
        return ""


def is_message(content: bytes) -> bool:
    """Tell whether content begins with a header that has MIME-Version or a multipart type."""
    headers, _ = _read_header(content)
    if "mime-version" in headers:
        return True
    return headers.get("content-type", "").lower().startswith("multipart/")


def read_entity(content: bytes) -> Entity:
    """Return header and body of a message or part.

    As in the email package, the body begins at the first line that cannot belong to a header.
    Raises FieldError for a header of more than ``defs.MIME_HEADER_LIMIT`` bytes.
    """
    headers, end = _read_header(content)
    if end is None:
        raise FieldError(f"has a MIME header of more than {defs.MIME_HEADER_LIMIT >> 10} KiB")
    return Entity(headers, content[end:])


def _read_header(content: bytes) -> tuple[dict[str, str], int | None]:
    """Return the header fields, the first of each name, and the offset of the body.

    The offset is None for a header that goes beyond the limit.
    """
    fields: dict[str, str] = {}
    last = ""  # the name of the field that a folded line continues
    start = 0
    while start < len(content):
        end = content.find(b"\n", start, defs.MIME_HEADER_LIMIT) + 1
        if end == 0:
            if len(content) > defs.MIME_HEADER_LIMIT:
                return fields, None
            end = len(content)  # the last line has no line end
        line = content[start:end].rstrip(b"\r\n")
        if not line:
            return fields, end
        if last and line.startswith((b" ", b"\t")):
            fields[last] += " " + _decode(line)
        elif start == 0 and line.startswith(b"From "):
            pass  # the envelope line of a mailbox, mbox(5)
        else:
            raw_name, colon, value = line.partition(b":")
            if not colon or not raw_name or not _NAME_BYTES.issuperset(raw_name):
                return fields, start
            name = raw_name.decode().lower()
            # The first field of a name counts. Lines that continue another one are kept apart.
            last = f"{name}:" if name in fields else name
            fields[last] = _decode(value)
        start = end
    return fields, start


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").strip()


def split_parameters(field: str) -> tuple[str, dict[str, str]]:
    """Return the value of a header field in lower case, and its parameters (RFC 2045, 5.1)."""
    value, _, rest = field.partition(";")
    found: dict[str, str] = {}
    while rest:
        name, _, rest = rest.partition("=")
        name = name.rpartition(";")[2].strip().lower()
        rest = rest.lstrip()
        if rest.startswith('"'):
            text, rest = _split_quoted(rest)
        else:
            text, _, rest = rest.partition(";")
        if name.endswith("*"):
            name = name[:-1]
            text = _decode_extended(text)
        found.setdefault(name, text.strip())
    return value.strip().lower(), found


def _split_quoted(text: str) -> tuple[str, str]:
    """Return the string in quotes that a text begins with, and what follows its parameter."""
    found = []
    at = 1
    while at < len(text) and text[at] != '"':
        if text[at] == "\\":
            at += 1
        found.append(text[at : at + 1])
        at += 1
    return "".join(found), text[at + 1 :].partition(";")[2]


def _decode_extended(text: str) -> str:
    """Decode an extended parameter value (RFC 2231, section 4): ``charset'language'%XX…``."""
    first, *rest = text.rpartition("'")[2].split("%")
    found = first.encode()
    for piece in rest:
        try:
            found += bytes.fromhex(piece[:2]) + piece[2:].encode()
        except ValueError:
            found += piece.encode()
    return found.decode("utf-8", "replace")


def split_bodies(multipart: Entity, most: int) -> tuple[list[bytes], bool]:
    """Return the parts of a multipart, and whether its closing boundary was found.

    The search ends with one part more than ``most``.  Raises FieldError if there is no boundary
    or no part, or if too many lines look like a boundary.
    """
    _, found = split_parameters(multipart.headers.get("content-type", ""))
    boundary = found.get("boundary", "").encode()
    if not boundary:
        raise FieldError("is a multipart without a boundary")
    parts, is_closed = _split_at(b"\n--" + boundary, b"\n" + multipart.body, most)
    if not parts:
        raise FieldError("is a multipart without a part")
    return parts, is_closed


def _split_at(mark: bytes, text: bytes, most: int) -> tuple[list[bytes], bool]:
    """Return what is between boundary lines (RFC 2046, section 5.1.1), and if the last one ends it.

    ``mark`` is the beginning of such a line, with the line end before it.
    """
    found: list[bytes] = []
    start = None  # of the present part, None in the preamble
    line_end = 0
    for _ in range(_MAX_BOUNDARY_LINES):
        line = text.find(mark, line_end)
        if line < 0 or len(found) > most:
            break
        after = line + len(mark)
        line_end = text.find(b"\n", after)
        if line_end < 0:
            line_end = len(text)
        is_last = text.startswith(b"--", after)
        if is_last:
            after += 2
        # White space may follow. With anything else it is another boundary that begins like this.
        if text[after:line_end].strip(b" \t\r"):
            continue
        # As in the email package, two boundary lines in a row have no part between them.
        if start is not None and start < line:
            found.append(text[start:line].removesuffix(b"\r").removeprefix(b"\n"))
        if is_last:
            return found, True
        start = line_end
    else:
        raise FieldError("has too many lines that begin like its boundary")
    if start is not None and len(found) <= most:
        found.append(text[start:].removeprefix(b"\n").removesuffix(b"\n").removesuffix(b"\r"))
    return found, False


def decode_body(part: Entity) -> bytes:
    """Return the body without its transfer encoding (RFC 2045, section 6).

    The charset is ignored: what runs scripts and reads YAML takes bytes.  Raises FieldError for an
    unknown encoding and for damaged base64.
    """
    encoding, _ = split_parameters(part.headers.get("content-transfer-encoding", ""))
    if encoding == "quoted-printable":
        return a2b_qp(part.body)
    if encoding in _NO_ENCODINGS:
        return part.body
    if encoding != "base64":
        raise FieldError("has an unknown transfer encoding: use base64 or 8bit")
    try:
        return a2b_base64(b"".join(part.body.split()), strict_mode=True)
    except Base64Error:
        raise FieldError("is not base64, as its header says") from None
