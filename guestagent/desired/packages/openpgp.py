"""Public keys in OpenPGP's ASCII armour, RFC 9580, section 6."""

from __future__ import annotations

from guestagent.errors import FieldError
from guestagent.parse.fields import base64

_BEGIN, _END = "-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----END PGP PUBLIC KEY BLOCK-----"
_CRC_START, _CRC_POLYNOMIAL = 0xB704CE, 0x864CFB
_PUBLIC_KEY = 6


def public_keys(text: str) -> bytes:
    """The keys without their armour, as a file that apt takes for a keyring.

    FieldError: there is no block, or one that is cut off, garbled or not of a public key.
    """
    found = b""
    body: list[str] | None = None
    for line in (line.strip() for line in text.splitlines()):
        if line == _BEGIN and body is None:
            body = []
        elif line == _END and body is not None:
            found += _key(body)
            body = None
        elif body is not None:
            body.append(line)
        elif line.startswith("-----"):
            raise FieldError("holds something other than a PGP public key block")
    if body is not None or not found:
        raise FieldError(f"must be a public key in ASCII armour: {_BEGIN} to its END")
    return found


def _key(lines: list[str]) -> bytes:
    """The packets of one block: header lines, base64 and a checksum, which may be missing."""
    lines = [line for line in lines if line and ":" not in line]
    sums = [line[1:] for line in lines if line.startswith("=")]
    packets = base64("".join(line for line in lines if not line.startswith("=")))
    if sums and base64(sums[0]) != _crc(packets):
        raise FieldError("is a public key whose checksum is wrong")
    first = packets[0] if packets else 0
    tag = first & 0x3F if first & 0x40 else (first & 0x3C) >> 2
    if not first & 0x80 or tag != _PUBLIC_KEY:
        raise FieldError("is not a public key")
    return packets


def _crc(data: bytes) -> bytes:
    """CRC-24 of RFC 9580, section 6.1."""
    crc = _CRC_START
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= 0x1000000 | _CRC_POLYNOMIAL
    return crc.to_bytes(3, "big")
