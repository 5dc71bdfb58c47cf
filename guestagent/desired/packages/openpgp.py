"""Public keys in OpenPGP's ASCII armour, RFC 9580, section 6."""

from __future__ import annotations

from guestagent.errors import FieldError
from guestagent.parse.fields import base64

_BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
_END = "-----END PGP PUBLIC KEY BLOCK-----"
_CRC_START, _CRC_POLYNOMIAL = 0xB704CE, 0x864CFB
_PUBLIC_KEY = 6  # the type ID of a packet, section 5


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
