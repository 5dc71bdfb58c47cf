"""Public keys of OpenPGP, RFC 9580: out of their armour, and the one that an id names."""

from __future__ import annotations

from guestagent.errors import FieldError
from guestagent.parse.fields import base64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
_END = "-----END PGP PUBLIC KEY BLOCK-----"
_CRC_START, _CRC_POLYNOMIAL = 0xB704CE, 0x864CFB
# Type IDs of packets, section 5: a public key, and with it what belongs to it: signatures,
# subkeys, user ids and user attributes.
_PUBLIC_KEY = 6
_OF_A_KEY = (2, _PUBLIC_KEY, 13, 14, 17)
_HEX = frozenset("0123456789ABCDEF")
# Digits of a fingerprint of version 4 and 6, and of a key id, section 5.5.4.
_FINGERPRINTS, _LONG_ID, _SHORT_ID = (40, 64), 16, 8
_CUT_OFF = "is cut off, or is no key of OpenPGP"
_SHORT = "is a short key id, which others can give their keys, too: give the key's fingerprint"
_NO_ID = "must be the fingerprint of a key, 40 hexadecimal digits, or its key id of 16"
_OTHER_KEY = "does not have the key that keyid names; the id of a subkey is not enough"
_SEVERAL = "has more than one key with this key id: give the fingerprint as keyid"


def unarmor(text: str) -> bytes:
    """Return the keys without their armour, as a file that apt takes for a keyring.

    Raise FieldError if there is no block, or one that is cut off, garbled or not of a public key.
    """
    keys = b""
    block: list[str] | None = None
    for line in text.splitlines():
        line = line.strip()
        if block is None:
            if line == _BEGIN:
                block = []
            elif line.startswith("-----"):
                raise FieldError("contains something other than a PGP public key block")
        elif line == _END:
            keys += _read_block(block)
            block = None
        else:
            block.append(line)
    if block is not None or not keys:
        raise FieldError(f"must be a public key in ASCII armour: {_BEGIN} to its END")
    return keys


def _read_block(lines: list[str]) -> bytes:
    """Return the packets of one block.  Raise FieldError if they are not those of a public key.

    The block has headers, base64 text and a checksum, which may be missing.
    """
    encoded = ""
    checksum = None
    for line in lines:
        if ":" in line:
            continue  # a header
        if line.startswith("="):
            checksum = line[1:] if checksum is None else checksum
        else:
            encoded += line
    packets = base64(encoded)
    if checksum is not None and base64(checksum) != _crc(packets):
        raise FieldError("is a public key whose checksum is wrong")
    if not packets or _packet_type(packets[0]) != _PUBLIC_KEY:
        raise FieldError("is not a public key")
    return packets


def _packet_type(header: int) -> int | None:
    """Return the type ID that the first byte of a packet holds, section 4.2; None if it is none."""
    if not header & 0x80:
        return None
    if header & 0x40:
        return header & 0x3F  # the present format
    return (header & 0x3C) >> 2  # the legacy format


def _crc(data: bytes) -> bytes:
    """Return the CRC-24 of RFC 9580, section 6.1."""
    crc = _CRC_START
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= 0x1000000 | _CRC_POLYNOMIAL
    return crc.to_bytes(3, "big")


def key_id(text: str) -> str:
    """Return a fingerprint or key id as capital hexadecimal digits without spaces.

    Raise FieldError for anything else, such as an id of eight digits.
    """
    digits = "".join(text.split()).upper().removeprefix("0X")
    if not digits or not _HEX.issuperset(digits):
        raise FieldError(_NO_ID)
    if len(digits) == _SHORT_ID:
        raise FieldError(_SHORT)
    if len(digits) not in (*_FINGERPRINTS, _LONG_ID):
        raise FieldError(_NO_ID)
    return digits


def select(content: bytes, wanted: str) -> bytes:
    """Return the one key with a fingerprint or key id, as a file that apt takes for a keyring.

    ``content`` is what somebody else sent, in armour or not, maybe with further keys in it, which
    are left out: apt would trust them, too.  Only primary keys count, because anybody can put
    somebody else's subkey beside a key.  Raise FieldError if the key is not there.
    """
    packets = content
    if not content or not content[0] & 0x80:  # as that of every packet has
        packets = unarmor(content.decode("utf-8", "replace"))
    found = b""
    fingerprints = set()
    is_wanted = False
    for packet, body in _packets(packets):
        if packet == _PUBLIC_KEY:
            fingerprint = _fingerprint(body)
            is_wanted = _has_id(fingerprint, wanted)
            if is_wanted:
                fingerprints.add(fingerprint)
        if is_wanted and packet in _OF_A_KEY:
            found += _encode(packet, body)
    if not found:
        raise FieldError(_OTHER_KEY)
    if len(fingerprints) > 1:
        raise FieldError(_SEVERAL)
    return found


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type ID and body of each packet, section 4.2.  Raise FieldError if one is cut off.

    Lengths that are not given at the beginning are not allowed for keys, and cut off here.
    """
    while data:
        packet = _packet_type(data[0])
        if packet is None:
            raise FieldError(_CUT_OFF)
        size, data = _size_of_body(data)
        if size > len(data):
            raise FieldError(_CUT_OFF)
        yield packet, data[:size]
        data = data[size:]


def _size_of_body(data: bytes) -> tuple[int, bytes]:
    """Return the length that a packet's header gives, and what comes after the header."""
    header, rest = data[0], data[1:]
    if header & 0x40:  # the present format, section 4.2.1
        first = rest[0] if rest else 0xE0
        if first < 0xC0:
            return first, rest[1:]
        if first < 0xE0 and len(rest) > 1:
            return ((first - 0xC0) << 8) + rest[1] + 0xC0, rest[2:]
        octets, rest = (4, rest[1:]) if first == 0xFF else (0, b"")
    else:  # the legacy format, section 4.2.2
        octets = (1, 2, 4, 0)[header & 3]
    if not octets or len(rest) < octets:
        raise FieldError(_CUT_OFF)
    return int.from_bytes(rest[:octets], "big"), rest[octets:]


def _encode(packet: int, body: bytes) -> bytes:
    """Return a packet in the present format, with a length of four octets."""
    return bytes((0xC0 | packet, 0xFF)) + len(body).to_bytes(4, "big") + body


def _fingerprint(body: bytes) -> str:
    """Return the fingerprint of a public key, section 5.5.4.3; empty for one of an old version."""
    from hashlib import sha1, sha256

    if body[:1] == b"\x04" and len(body) < 1 << 16:
        hashed = b"\x99" + len(body).to_bytes(2, "big") + body
        return sha1(hashed, usedforsecurity=False).hexdigest().upper()
    if body[:1] == b"\x06":
        return sha256(b"\x9b" + len(body).to_bytes(4, "big") + body).hexdigest().upper()
    return ""


def _has_id(fingerprint: str, wanted: str) -> bool:
    """Tell whether an id is a key's fingerprint, or the part of it that is the key id."""
    if len(wanted) != _LONG_ID:
        return fingerprint == wanted
    if len(fingerprint) == _FINGERPRINTS[0]:
        return fingerprint.endswith(wanted)
    return fingerprint.startswith(wanted)
