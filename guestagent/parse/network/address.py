"""IP addresses, prefixes, MAC addresses and names of interfaces, in canonical text.

Everything here takes text from anywhere and returns the one way to write it, or raises
FieldError.  inet_pton(3) and inet_ntop(3) do the work, from ``_socket``: ``socket`` and
``ipaddress`` would each cost up to 0.4 of an interpreter start.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from guestagent.errors import FieldError
from guestagent.parse.fields import host_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

MTU_RANGE = (68, 65535)
METRIC_RANGE = (0, 2**32 - 1)
# What the kernel gives a route without a metric, by IP version; and from one default route to the
# next.
KERNEL_METRICS = {4: 0, 6: 1024}
METRIC_STEP = 100
# Tables 253 to 255 are the kernel's own: default, main and local.
TABLE_RANGE = (1, 252)
TAG_RANGE = (1, 4094)
UNSPECIFIED = ("0.0.0.0", "::")  # noqa: S104

_HEX = frozenset("0123456789abcdef")
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def family(text: str) -> Literal[4, 6]:
    """4 or 6, for an address or a prefix that is valid."""
    return 6 if ":" in text else 4


def address(text: str) -> str:
    """An IPv4 or IPv6 address: no zone, no prefix length, no octet with a leading zero."""
    return _written(_packed(text))


def host(text: str) -> str:
    """An address that one machine can have: not unspecified, loopback or multicast."""
    packed = _packed(text)
    if len(packed) == 4:
        usable = packed[0] not in (0, 127) and packed[0] < 224
    else:
        usable = packed[0] != 0xFF and int.from_bytes(packed, "big") > 1
    if not usable:
        raise FieldError("is not an address that a machine can have")
    return _written(packed)


def prefix_length(mask: str, version: int) -> int:
    """The length of a mask: ``24``, ``/24``, ``255.255.255.0`` or ``ffff:ff00::``."""
    bits = 32 if version == 4 else 128
    digits = mask.removeprefix("/")
    if digits.isascii() and digits.isdigit() and len(digits) <= 3:
        if int(digits) > bits or digits != str(int(digits)):
            raise FieldError(f"is not a prefix length from 0 to {bits}")
        return int(digits)
    packed = _packed(mask)
    holes = int.from_bytes(packed, "big") ^ (1 << bits) - 1
    if len(packed) * 8 != bits or holes & (holes + 1):
        raise FieldError(f"is not a netmask of IPv{version}")
    return bits - holes.bit_length()


def interface_address(text: str, mask: str | None = None) -> str:
    """``address/length`` as a NIC has it; the length stands in the text or comes as mask."""
    bare, length = _cidr(text, mask)
    return f"{host(bare)}/{length}"


def network(text: str, mask: str | None = None) -> str:
    """``address/length`` of a destination, its host bits cleared."""
    bare, length = _cidr(text, mask)
    packed = _packed(bare)
    free = len(packed) * 8 - length
    number = int.from_bytes(packed, "big") >> free << free
    return f"{_written(number.to_bytes(len(packed), 'big'))}/{length}"


def contains(cidr: str, text: str) -> bool:
    """Whether the prefix ``cidr`` covers an address; another family's never."""
    length = cidr.partition("/")[2]
    return family(cidr) == family(text) and network(cidr) == network(text, length)


def link_local(text: str) -> bool:
    """Whether an address is valid on its own link only: 169.254.0.0/16 or fe80::/10."""
    return contains("169.254.0.0/16", text) or contains("fe80::/10", text)


def mac(text: str) -> str:
    """The MAC address of one NIC: six octets, lower case, colons; not multicast, not zero."""
    octets = text.lower().replace("-", ":").split(":")
    if len(octets) != 6 or not all(len(o) == 2 and _HEX.issuperset(o) for o in octets):
        raise FieldError("is not a MAC address of six octets")
    if int(octets[0], 16) & 1 or not any(int(octet, 16) for octet in octets):
        raise FieldError("is not the MAC address of a single interface")
    return ":".join(octets)


def domain(text: str) -> str:
    """A search domain in lower case, under the rules of host names."""
    return host_name(text).lower()


def interface_name(text: str) -> str:
    """A kernel interface name that every configuration syntax takes as it stands."""
    if not 0 < len(text) <= 15 or not _NAME.issuperset(text):
        raise FieldError("is not an interface name: 1 to 15 letters, digits, '.', '_' and '-'")
    if text in (".", "..") or text[0] == "-":
        raise FieldError("is not an interface name")
    return text


def mtu(value: object) -> int:
    """A maximum transmission unit in bytes."""
    return _whole(value, *MTU_RANGE)


def metric(value: object) -> int:
    """A route's metric; the lower one is preferred."""
    return _whole(value, *METRIC_RANGE)


def table(value: object) -> int:
    """The number of a routing table that the kernel does not use itself."""
    return _whole(value, *TABLE_RANGE)


def vlan_tag(value: object) -> int:
    """A VLAN identifier (IEEE 802.1Q)."""
    return _whole(value, *TAG_RANGE)


def _whole(value: object, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise FieldError(f"must be a whole number from {low} to {high}")
    return value


def _packed(text: str) -> bytes:
    try:
        return inet_pton(AF_INET6 if ":" in text else AF_INET, text)
    except (OSError, ValueError):
        raise FieldError("is not an IP address") from None


def _written(packed: bytes) -> str:
    return inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed)


def _cidr(text: str, mask: str | None) -> tuple[str, int]:
    bare, _, inner = text.partition("/")
    chosen = inner or mask
    if not chosen:
        raise FieldError("has no netmask or prefix length")
    return bare, prefix_length(chosen, family(bare))
