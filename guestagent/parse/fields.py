"""Validators: each returns a value that fits the syntax it goes into, or raises FieldError.

The error's text never holds the value.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64

from guestagent import defs
from guestagent.errors import FieldError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz")
_DIGITS = frozenset("0123456789")
_ALNUM = _LOWER | _DIGITS | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_KEY_TYPES = frozenset(
    (
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    )
)
_POINT_SIZES = {"nistp256": 65, "nistp384": 97, "nistp521": 133}
_RSA_BITS = 1024
_CLOSED = (
    "lies below /proc, /sys, /dev or guestagent's own folders, where no file belongs: "
    "use bootcmd, or /etc/sysctl.d"
)
_CLOSED_TREES = ("/proc", "/sys", "/dev", defs.RUN_DIR, "/var" + defs.RUN_DIR, defs.STATE_DIR)


def plain(text: str) -> str:
    """Text of one line, without control characters or other unprintable ones."""
    if not text.isprintable():
        raise FieldError("holds a control character or another unprintable one")
    return text


def host_name(text: str) -> str:
    """A host name or FQDN (RFC 952, RFC 1123): labels of letters, digits and inner hyphens.

    A trailing dot is dropped.  ``localhost`` and an all-numeric last label are refused.
    """
    name = text.removesuffix(".")
    if not name or len(name) > defs.FQDN_LIMIT:
        raise FieldError(f"must have 1 to {defs.FQDN_LIMIT} characters")
    labels = name.split(".")
    if not all(_label(label) for label in labels):
        raise FieldError("is not a host name: letters, digits and inner hyphens, 63 per label")
    if labels[0].lower() == "localhost" or _DIGITS.issuperset(labels[-1]):
        raise FieldError("is not usable as a host name: localhost, or a number at the end")
    return name


def _label(label: str) -> bool:
    edges = label[:1] != "-" and label[-1:] != "-"
    return 0 < len(label) <= 63 and edges and (_ALNUM | {"-"}).issuperset(label)


def display_name(text: str) -> str:
    """A host name made from a free display name: what cannot stand in one becomes ``-``."""
    kept = (char if char in _ALNUM or char == "." else "-" for char in text)
    labels = ("".join(kept)).split(".")
    trimmed = (label[:63].strip("-") for label in labels)
    name = ".".join(label for label in trimmed if label)[: defs.HOSTNAME_LIMIT]
    return host_name(name.rstrip(".-"))


def user_name(text: str) -> str:
    """A login or group name as useradd(8) takes it everywhere: ``[a-z_][a-z0-9_-]{0,31}``."""
    if not 0 < len(text) <= 32 or text[0] not in _LOWER | {"_"}:
        raise FieldError("is not a user name: a small letter or _, then 31 more at most")
    if not (_LOWER | _DIGITS | {"_", "-"}).issuperset(text):
        raise FieldError("is not a user name: small letters, digits, _ and - only")
    return text


def guest_path(text: str) -> str:
    """An absolute, normalised path in the guest, outside the trees no file belongs in."""
    if "\0" in text or not text.isprintable():
        raise FieldError("holds a control character or another unprintable one")
    if not text.startswith("/"):
        raise FieldError("must begin with /")
    if len(text.encode()) > defs.PATH_LIMIT:
        raise FieldError(f"must be a path of at most {defs.PATH_LIMIT} bytes")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts or not parts:
        raise FieldError("must name a file, without ..")
    if text.endswith("/"):
        raise FieldError("must not end with /")
    if any(len(part.encode()) > defs.NAME_LIMIT for part in parts):
        raise FieldError(f"has a component of more than {defs.NAME_LIMIT} bytes")
    if parts[-1].startswith(defs.TEMPORARY_PREFIX):
        raise FieldError("has a name that guestagent keeps for itself")
    path = "/" + "/".join(parts)
    if any(path == tree or path.startswith(tree + "/") for tree in _CLOSED_TREES):
        raise FieldError(_CLOSED)
    return path


def content_path(text: str) -> str:
    """The place of a content document on the drive: ``content/NAME``, a leading / dropped."""
    name = text.removeprefix("/").removeprefix("content/")
    allowed = _ALNUM | {".", "_", "-"}
    if text.removeprefix("/") == name or not 0 < len(name) <= 64 or not allowed.issuperset(name):
        raise FieldError("must be content/ and a plain name of at most 64 characters")
    if name in (".", ".."):
        raise FieldError("must be content/ and a plain name of at most 64 characters")
    return "content/" + name


def base64(text: str) -> bytes:
    """Decode base64 (RFC 4648) strictly, but for white space."""
    try:
        return a2b_base64("".join(text.split()).encode(), strict_mode=True)
    except (Base64Error, ValueError):
        raise FieldError("is not base64") from None


def gunzipped(content: bytes, limit: int) -> bytes:
    """What gzip data (RFC 1952) holds; of too much, ``limit`` bytes and one more."""
    import zlib

    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        found = unpacker.decompress(content, limit + 1)
    except zlib.error:
        raise FieldError("is damaged gzip data") from None
    if len(found) <= limit and not unpacker.eof:
        raise FieldError("is gzip data whose end is missing")
    if len(found) <= limit and unpacker.unused_data:
        raise FieldError("has something after its gzip data")
    return found


def password(text: str) -> str:
    """A plain-text password that one line of chpasswd(8) input can carry."""
    if not 0 < len(text) <= 512:
        raise FieldError("must have 1 to 512 characters")
    return plain(text)


def ssh_key(text: str) -> str:
    """A public key line of authorized_keys, sshd(8), without options.

    The type must be known, the base64 text must decode, and what is inside must be a key of
    that type: all that ssh-keygen(1) looks at, without the cost of starting it.
    """
    parts = plain(text.strip()).split(None, 2)
    if len(parts) < 2 or parts[0] not in _KEY_TYPES:
        raise FieldError("is not a public key: an accepted type must come first")
    blob = base64(parts[1])
    kind, *inner = _blob_fields(blob)
    if kind != parts[0].encode() or not inner:
        raise FieldError("is not a public key: the type inside differs or the key is cut off")
    if not _key_fits(parts[0], inner):
        raise FieldError("is not a key that sshd takes: damaged, or RSA of less than 1024 bits")
    return " ".join((*parts[:2], parts[2][:256])) if len(parts) > 2 else " ".join(parts)


def _blob_fields(blob: bytes) -> list[bytes]:
    """The length-prefixed fields of a key blob, at least one, all of them whole."""
    found: list[bytes] = []
    at = 0
    while at < len(blob) or not found:
        start = at + 4
        at = start + int.from_bytes(blob[at:start], "big")
        if at > len(blob) or start > len(blob):
            raise FieldError("is not a public key: the key is cut off")
        found.append(blob[start:at])
    return found


def _key_fits(kind: str, inner: list[bytes]) -> bool:
    """True if the fields after the type are those of the type, each of the right size.

    RFC 4253, section 6.6; RFC 5656, 3.1; RFC 8709, 4; PROTOCOL.u2f of OpenSSH.  As sshd(8)
    does, RSA is refused below 1024 bits.
    """
    if kind == "ssh-rsa":
        bits = int.from_bytes(inner[-1], "big", signed=True).bit_length()
        return len(inner) == 2 and bool(inner[0]) and bits >= _RSA_BITS and inner[1][0] < 0x80
    if kind.startswith("sk-"):
        inner = inner[:-1]  # the application that the key is for
    if "ed25519" in kind:
        return [len(field) for field in inner] == [32]
    curve = kind.removesuffix("@openssh.com")[-8:]
    if len(inner) != 2 or inner[0] != curve.encode():
        return False
    return inner[1][:1] == b"\4" and len(inner[1]) == _POINT_SIZES[curve]


def rsa_key(lines: Iterable[str]) -> tuple[int, int]:
    """Exponent and modulus of the first ssh-rsa key (RFC 4253, section 6.6) of valid lines.

    FieldError: there is none, or what it encrypts does not fit a metadata service's answer.
    """
    for line in lines:
        kind, text = line.split()[:2]
        if kind == "ssh-rsa":
            _, exponent, modulus = _blob_fields(base64(text))
            if len(modulus.lstrip(b"\0")) * 4 // 3 > defs.POST_LIMIT:
                raise FieldError("has an RSA key too long for the metadata service's answer")
            return int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big")
    raise FieldError("has no ssh-rsa key, the only kind that can encrypt a password")


def instance_id(text: str) -> str:
    """An instance id, in small letters: letters, digits, ``.``, ``_`` and ``-``, at most 64."""
    if not 0 < len(text) <= 64 or not (_ALNUM | {".", "_", "-"}).issuperset(text):
        raise FieldError("must have 1 to 64 letters, digits, dots, hyphens and underscores")
    return text.lower()
