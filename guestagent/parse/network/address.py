"""Validators of addresses, names and numbers of networks.

Each takes a value that may be anything, and returns the one way to write it, or raises FieldError.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.parse.fields import host_name
from guestagent.system import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

# From the least that IPv4 allows (RFC 791) to the length that an IPv4 packet can have.
MTU_RANGE = (68, 65535)
# The kernel has 32 bits for it.
METRIC_RANGE = (0, 2**32 - 1)
# The metric that the kernel gives a route without one, by IP version.
KERNEL_METRICS = {4: 0, 6: 1024}
# How far apart the metrics of several default routes are.
METRIC_STEP = 100
# Tables 253 to 255 are the kernel's own: default, main and local.
TABLE_RANGE = (1, 252)
# IEEE 802.1Q reserves 0 and 4095.
TAG_RANGE = (1, 4094)
UNSPECIFIED = ("0.0.0.0", "::")  # noqa: S104

_HEX = frozenset("0123456789abcdef")
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def family(text: str) -> Literal[4, 6]:
    """Return the IP version, 4 or 6, of an address or a prefix that is valid."""
    return 6 if ":" in text else 4


def address(text: str) -> str:
    """Return an IPv4 or IPv6 address: no zone, no prefix length, no octet with a leading zero."""
    return libc.address_text(_pack(text))


def host(text: str) -> str:
    """Return an address that a host can have: not unspecified, loopback or multicast."""
    packed = _pack(text)
    if len(packed) == 4:
        # 0.0.0.0/8 is "this network" (RFC 1122); from 224 on are multicast and reserved addresses.
        usable = packed[0] not in (0, 127) and packed[0] < 224
    else:
        # ff00::/8 is multicast, :: unspecified, ::1 loopback (RFC 4291).
        usable = packed[0] != 0xFF and int.from_bytes(packed, "big") > 1
    if not usable:
        raise FieldError("is not an address that a host can have")
    return libc.address_text(packed)


def prefix_length(mask: str, version: int) -> int:
    """Return the length in bits of a mask: ``24``, ``/24``, ``255.255.255.0``, ``ffff:ff00::``.

    ``version`` is the IP version, 4 or 6.
    """
    bits = 32 if version == 4 else 128
    digits = mask.removeprefix("/")
    if digits.isascii() and digits.isdigit() and len(digits) <= 3:
        # A leading zero could be meant as octal.
        if int(digits) > bits or digits != str(int(digits)):
            raise FieldError(f"is not a prefix length from 0 to {bits}")
        return int(digits)
    packed = _pack(mask)
    # The bits that are not set; of a mask they are all at the end: 2**n - 1.
    holes = int.from_bytes(packed, "big") ^ (1 << bits) - 1
    if len(packed) * 8 != bits or holes & (holes + 1):
        raise FieldError(f"is not a netmask of IPv{version}")
    return bits - holes.bit_length()


def interface_address(text: str, mask: str | None = None) -> str:
    """Return ``address/length`` as a NIC has it; the length comes from the text or ``mask``."""
    bare, length = _split_prefix(text, mask)
    return f"{host(bare)}/{length}"


def network(text: str, mask: str | None = None) -> str:
    """Return ``address/length`` of a destination, its host bits cleared."""
    bare, length = _split_prefix(text, mask)
    packed = _pack(bare)
    free = len(packed) * 8 - length
    number = int.from_bytes(packed, "big") >> free << free
    return f"{libc.address_text(number.to_bytes(len(packed), 'big'))}/{length}"


def contains(cidr: str, text: str) -> bool:
    """Tell whether the prefix ``cidr`` covers an address.  It covers none of the other family."""
    length = cidr.partition("/")[2]
    return family(cidr) == family(text) and network(cidr) == network(text, length)


def link_local(text: str) -> bool:
    """Tell whether an address is valid on its own link only: 169.254.0.0/16 or fe80::/10."""
    return contains("169.254.0.0/16", text) or contains("fe80::/10", text)


def mac(text: str) -> str:
    """Return the MAC address of one NIC: six octets, lower case, colons; not multicast, not 0."""
    octets = text.lower().replace("-", ":").split(":")
    well_formed = all(len(octet) == 2 and _HEX.issuperset(octet) for octet in octets)
    if len(octets) != 6 or not well_formed:
        raise FieldError("is not a MAC address of six octets")
    # The lowest bit of the first octet makes it the address of a group.
    if int(octets[0], 16) & 1 or octets == ["00"] * 6:
        raise FieldError("is not the MAC address of a single interface")
    return ":".join(octets)


def nic_mac(text: str) -> str:
    """Return the MAC address of a NIC: as ``mac`` does, or the 20 octets of InfiniBand (RFC 4391).

    The last eight of those are the port's GUID, which must not be 0.
    """
    octets = text.lower().replace("-", ":").split(":")
    well_formed = all(len(octet) == 2 and _HEX.issuperset(octet) for octet in octets)
    if len(octets) != defs.INFINIBAND_OCTETS or not well_formed:
        return mac(text)
    if octets[-8:] == ["00"] * 8:
        raise FieldError("is not the MAC address of a single interface")
    return ":".join(octets)


def domain(text: str) -> str:
    """Return a search domain in lower case; the rules are those of host names."""
    name = host_name(text).lower()
    if name.isdigit():
        raise FieldError("is not a domain: it is a number")
    return name


def interface_name(text: str) -> str:
    """Return a kernel interface name that every configuration syntax takes without quotes."""
    if not 0 < len(text) <= 15 or not _NAME.issuperset(text):
        raise FieldError("is not an interface name: 1 to 15 letters, digits, '.', '_' and '-'")
    if text in (".", "..") or text[0] == "-":
        raise FieldError("is not an interface name")
    return text


def whole_number(value: object) -> object:
    """Return the number that a short decimal text or a float is, else the value itself."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 10:
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def mtu(value: object) -> int:
    """Return a maximum transmission unit in bytes."""
    return _check_number(value, *MTU_RANGE)


def metric(value: object) -> int:
    """Return the metric of a route; the route with the lower one is preferred."""
    return _check_number(value, *METRIC_RANGE)


def table(value: object) -> int:
    """Return the number of a routing table that the kernel does not use itself."""
    return _check_number(value, *TABLE_RANGE)


def vlan_tag(value: object) -> int:
    """Return a VLAN identifier (IEEE 802.1Q)."""
    return _check_number(value, *TAG_RANGE)


def _check_number(value: object, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise FieldError(f"must be a whole number from {low} to {high}")
    return value


def _pack(text: str) -> bytes:
    try:
        return libc.packed_address(text)
    except (OSError, ValueError):
        raise FieldError("is not an IP address") from None


def _split_prefix(text: str, mask: str | None) -> tuple[str, int]:
    """Return the bare address and the prefix length, of the text if it has one."""
    bare, _, inner = text.partition("/")
    chosen = inner or mask
    if not chosen:
        raise FieldError("has no netmask or prefix length")
    return bare, prefix_length(chosen, family(bare))
