"""Validators of the values that a source gives.

Each function takes a value, checks it against the syntax that it goes into (a file, a command line,
a protocol), and returns it in canonical form.  It raises FieldError if the value does not fit; the
message gives the reason and never the value, which may be a secret.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64

from guestagent import defs
from guestagent.errors import FieldError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

NOTHING_OF_IT = "nothing of this document is applied: correct it"

_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz")
_DIGITS = frozenset("0123456789")
_ALNUM = _LOWER | _DIGITS | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_FILE_NAME = _ALNUM | {".", "_", "-"}

_LABEL_LIMIT = 63
_WORD_LIMIT = 64
_USER_LIMIT = 32
_PASSWORD_LIMIT = 512
_COMMENT_LIMIT = 256

_CLOSED_TREES = ("/proc", "/sys", "/dev", defs.RUN_DIR, "/var" + defs.RUN_DIR, defs.STATE_DIR)
_CLOSED = (
    "is below /proc, /sys, /dev or a directory of guestagent, where no file can be placed: "
    "use bootcmd, or /etc/sysctl.d"
)
_NOT_CONTENT = f"must be content/ and a plain file name of at most {_WORD_LIMIT} characters"

NUMBER_LEFT_OUT = "ends in a number, which could be taken for an address; the number is left out"

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
# Bytes of an uncompressed point (SEC 1, section 2.3.3): one, and two coordinates.
_POINT_SIZES = {"nistp256": 65, "nistp384": 97, "nistp521": 133}
_ED25519_SIZE = 32
# sshd(8) refuses shorter keys.
_RSA_BITS = 1024


def plain(text: str) -> str:
    """Return text of one line, in which every character is printable."""
    if not text.isprintable():
        raise FieldError("contains a control character or another unprintable one")
    return text


def url(text: str) -> str:
    """Return a URL of http or https that has a host."""
    if len(text) > defs.PATH_LIMIT or not text.isprintable() or " " in text:
        raise FieldError("is not a URL: too long, or with a space or a control character")
    scheme, separator, rest = text.partition("://")
    authority = rest.replace("?", "/").replace("#", "/").partition("/")[0]
    host = authority.rpartition("@")[2]
    if scheme.lower() not in ("http", "https") or not separator or host[:1] in ("", ":"):
        raise FieldError("must be an http:// or https:// URL with a host")
    # Also where a password has a "/" in it: its second half would be shown as a path.
    port = host.rpartition("]")[2].partition(":")[2]
    if port and not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 1 << 16):
        raise FieldError(
            "has a port that is not a number from 1 to 65535; write a / in its password as %2F"
        )
    return text


def host_name(text: str) -> str:
    """Return a host name or FQDN (RFC 952, RFC 1123): labels of letters, digits, inner hyphens.

    A trailing dot is dropped.  ``localhost`` is refused, and after a dot an all-numeric last
    label, which could be taken for the end of an address.
    """
    name = text.removesuffix(".")
    if not name or len(name) > defs.FQDN_LIMIT:
        raise FieldError(f"must have 1 to {defs.FQDN_LIMIT} characters")
    labels = name.split(".")
    if not all(_is_label(label) for label in labels):
        reason = f"letters, digits and inner hyphens, at most {_LABEL_LIMIT} for each label"
        raise FieldError(f"is not a host name: {reason}")
    if labels[0].lower() == "localhost" or _ends_in_number(labels):
        raise FieldError("cannot be used as a host name: it is localhost, or ends in a number")
    return name


def _ends_in_number(labels: list[str]) -> bool:
    """Tell whether a name of several labels could be taken for an address."""
    return len(labels) > 1 and _DIGITS.issuperset(labels[-1])


def without_number(text: str) -> str:
    """Return a host name without the numbers that end it: ``ubuntu-22`` for ``ubuntu-22.04``.

    One that is all numbers, as an address is, gets hyphens for its dots.
    """
    labels = text.removesuffix(".").split(".")
    if not _ends_in_number(labels):
        return text
    if _DIGITS.issuperset("".join(labels)):
        return "-".join(labels)
    while _ends_in_number(labels):
        labels.pop()
    return ".".join(labels)


def _is_label(label: str) -> bool:
    if not 0 < len(label) <= _LABEL_LIMIT or label.startswith("-") or label.endswith("-"):
        return False
    return (_ALNUM | {"-"}).issuperset(label)


def display_name(text: str) -> str:
    """Return a host name made of free text: characters that are not allowed become ``-``.

    Numbers at the end are left out with their dots: ``ubuntu-22.04`` gives ``ubuntu-22``.
    """
    kept = "".join(char if char in _ALNUM or char == "." else "-" for char in text)
    stripped = [label[:_LABEL_LIMIT].strip("-") for label in kept.split(".")]
    labels = [label for label in stripped if label]
    name = without_number(".".join(labels))
    return host_name(name[: defs.HOSTNAME_LIMIT].rstrip(".-"))


def user_name(text: str) -> str:
    """Return a user or group name that every useradd(8) accepts: ``[a-z_][a-z0-9_-]{0,31}``."""
    if not 0 < len(text) <= _USER_LIMIT or text[0] not in _LOWER | {"_"}:
        raise FieldError("is not a user name: a small letter or _, then at most 31 characters")
    if not (_LOWER | _DIGITS | {"_", "-"}).issuperset(text):
        raise FieldError("is not a user name: only small letters, digits, _ and - are allowed")
    return text


def login_name(text: str) -> str:
    """Return a user or group name that useradd(8) accepts on most systems.

    Names of people may have capitals and dots, which ``user_name`` does not allow.
    """
    if not 0 < len(text) <= _USER_LIMIT or not (_ALNUM | set("_.-")).issuperset(text):
        raise FieldError(f"is not a user name: at most {_USER_LIMIT} letters, digits, _ . and -")
    if text[0] not in _ALNUM - _DIGITS | {"_"}:
        raise FieldError("is not a user name: the first character must be a letter or _")
    return text


def guest_path(text: str) -> str:
    """Return an absolute, normalised path of a file that may be written in the guest.

    Kernel file systems and guestagent's own directories are refused.
    """
    plain(text)
    if not text.startswith("/"):
        raise FieldError("must begin with /")
    if len(text.encode()) > defs.PATH_LIMIT:
        raise FieldError(f"must be a path of at most {defs.PATH_LIMIT} bytes")
    names = [name for name in text.split("/") if name not in ("", ".")]
    if ".." in names or not names:
        raise FieldError("must name a file, without ..")
    if text.endswith("/"):
        raise FieldError("must not end with /")
    if any(len(name.encode()) > defs.NAME_LIMIT for name in names):
        raise FieldError(f"has a component of more than {defs.NAME_LIMIT} bytes")
    if names[-1].startswith(defs.TEMPORARY_PREFIX):
        raise FieldError("has a name that is reserved for guestagent's temporary files")
    path = "/" + "/".join(names)
    # With a / at the end, /process is not below /proc, and /proc itself is.
    if f"{path}/".startswith(tuple(f"{tree}/" for tree in _CLOSED_TREES)):
        raise FieldError(_CLOSED)
    return path


def content_path(text: str) -> str:
    """Return the path of a content document on a config drive: ``content/NAME``.

    A leading / is dropped, as Nova writes it.
    """
    folder, _, name = text.removeprefix("/").partition("/")
    if folder != "content" or name in (".", ".."):
        raise FieldError(_NOT_CONTENT)
    if not 0 < len(name) <= _WORD_LIMIT or not _FILE_NAME.issuperset(name):
        raise FieldError(_NOT_CONTENT)
    return f"content/{name}"


def base64(text: str) -> bytes:
    """Return what base64 text (RFC 4648) encodes.  Only white space is ignored in it."""
    try:
        return a2b_base64("".join(text.split()).encode(), strict_mode=True)
    except (Base64Error, ValueError):
        raise FieldError("is not base64") from None


def gunzipped(content: bytes, limit: int) -> bytes:
    """Return what gzip data (RFC 1952) hold; of more than ``limit`` bytes, the first limit + 1."""
    import zlib

    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        found = unpacker.decompress(content, limit + 1)
    except zlib.error:
        raise FieldError("is damaged gzip data") from None
    if len(found) > limit:
        return found
    if not unpacker.eof:
        raise FieldError("is truncated gzip data")
    if unpacker.unused_data:
        raise FieldError("has trailing bytes after its gzip data")
    return found


def password(text: str) -> str:
    """Return a password in plain text that a line of chpasswd(8)'s input can carry."""
    if not 0 < len(text) <= _PASSWORD_LIMIT:
        raise FieldError(f"must have 1 to {_PASSWORD_LIMIT} characters")
    return plain(text)


def ssh_key(text: str) -> str:
    """Return a public key as a line of authorized_keys (sshd(8)), without options.

    The type must be known, the base64 text must decode, and it must hold a key of that type.  That
    is all that ssh-keygen(1) checks, without the cost of running it.  A long comment is cut.
    """
    words = plain(text.strip()).split(None, 2)
    if len(words) < 2 or words[0] not in _KEY_TYPES:
        raise FieldError("is not a public key: it must begin with a key type that is accepted")
    kind, encoded, *comment = words
    kind_inside, *numbers = _split_blob(base64(encoded))
    if kind_inside != kind.encode() or not numbers:
        raise FieldError("is not a public key: it is truncated, or of another type inside")
    if not _key_fits(kind, numbers):
        raise FieldError("is not a key that sshd accepts: damaged, or RSA of less than 1024 bits")
    return " ".join((kind, encoded, *(part[:_COMMENT_LIMIT] for part in comment)))


def _split_blob(blob: bytes) -> list[bytes]:
    """Return the fields of a key blob, at least one: each is its length in 4 bytes, and itself."""
    found: list[bytes] = []
    at = 0
    while at < len(blob) or not found:
        start = at + 4
        at = start + int.from_bytes(blob[at:start], "big")
        if at > len(blob) or start > len(blob):
            raise FieldError("is not a public key: it is truncated")
        found.append(blob[start:at])
    return found


def _key_fits(kind: str, numbers: list[bytes]) -> bool:
    """Tell whether the fields of a blob after its type are those of a key of the type.

    RFC 4253, section 6.6; RFC 5656, 3.1; RFC 8709, 4; PROTOCOL.u2f of OpenSSH.
    """
    if kind == "ssh-rsa":
        return _rsa_fits(numbers)
    if kind.startswith("sk-"):
        numbers = numbers[:-1]  # the last one is the application that the key is for
    if "ed25519" in kind:
        return [len(number) for number in numbers] == [_ED25519_SIZE]
    curve = kind.removesuffix("@openssh.com").rpartition("-")[2]
    if len(numbers) != 2 or numbers[0] != curve.encode():
        return False
    point = numbers[1]
    return point.startswith(b"\4") and len(point) == _POINT_SIZES[curve]


def _rsa_fits(numbers: list[bytes]) -> bool:
    if len(numbers) != 2:
        return False
    exponent, modulus = numbers
    # A number whose first bit is set is negative (RFC 4251, section 5).
    if not exponent or not modulus or modulus[0] >= 0x80:
        return False
    return int.from_bytes(modulus, "big").bit_length() >= _RSA_BITS


def rsa_key(lines: Iterable[str]) -> tuple[int, int]:
    """Return exponent and modulus of the first ssh-rsa key (RFC 4253, section 6.6) of valid lines.

    Raises FieldError if there is none, or if a metadata service would not take what it encrypts.
    """
    for line in lines:
        kind, encoded = line.split()[:2]
        if kind != "ssh-rsa":
            continue
        _, exponent, modulus = _split_blob(base64(encoded))
        # An encrypted password is as long as the modulus, and is posted in base64.
        if len(modulus.lstrip(b"\0")) * 4 // 3 > defs.POST_LIMIT:
            raise FieldError("has an RSA key that is too long for the metadata service")
        return int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big")
    raise FieldError("has no ssh-rsa key; keys of other types cannot encrypt a password")


def instance_id(text: str) -> str:
    """Return an instance id in lower case: letters, digits, ``.``, ``_`` and ``-``, at most 64."""
    if not 0 < len(text) <= _WORD_LIMIT or not _FILE_NAME.issuperset(text):
        reason = "letters, digits, dots, hyphens and underscores"
        raise FieldError(f"must have 1 to {_WORD_LIMIT} {reason}")
    return text.lower()


def disk(text: object) -> str:
    """Return the path of a disk of a block device mapping, such as vdb or /dev/vdb.

    Raise FieldError for anything else.
    """
    name = text.removeprefix("/dev/") if isinstance(text, str) else ""
    if not name or not name.isascii() or not name.isalnum():
        raise FieldError("must be the kernel's name of a disk, such as vdb")
    return f"/dev/{name}"
