"""Options of the Linux bonding driver, by the names and values that its sysfs files have.

Source: ``Documentation/networking/bonding.rst`` of the kernel, and ``drivers/net/bonding``
for the modes that take an option.
"""

from __future__ import annotations

from guestagent.errors import FieldError
from guestagent.parse.network import address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# In the order of their numbers.
MODES = (
    *("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad"),
    *("balance-tlb", "balance-alb"),
)
# Ironic's network-data-schema.json allows this spelling alone.
_OTHER_MODES = {"802.1ad": "802.3ad"}
_ONE_ACTIVE = ("active-backup", "balance-tlb", "balance-alb")
_WITH_ARP = ("balance-rr", "active-backup", "balance-xor", "broadcast")
_ARP = ("arp_interval", "arp_ip_target", "arp_validate", "arp_all_targets")
_DELAYS = ("updelay", "downdelay")
_MAX_TARGETS = 16
_MILLISECONDS = 2**31 - 1


def mode(value: object) -> str:
    """A bonding mode by its name, given as name or number."""
    return _choice(*MODES)(_OTHER_MODES.get(value, value) if isinstance(value, str) else value)


def _choice(*names: str) -> Callable[[object], str]:
    """One of the names, given as such or, as the kernel takes it too, by its number."""

    def check(value: object) -> str:
        text = _scalar(value)
        if text in names:
            return text
        if text.isascii() and text.isdigit() and len(text) <= 2 and int(text) < len(names):
            return names[int(text)]
        raise FieldError(f"must be one of {', '.join(names)}")

    return check


def _number(low: int, high: int) -> Callable[[object], str]:
    def check(value: object) -> str:
        text = _scalar(value)
        if text.isascii() and text.isdigit() and len(text) <= 10 and low <= int(text) <= high:
            return str(int(text))
        raise FieldError(f"must be a whole number from {low} to {high}")

    return check


def _switch(value: object) -> str:
    """0 or 1, also as a JSON boolean."""
    return _number(0, 1)(int(value) if isinstance(value, bool) else value)


def _targets(value: object) -> str:
    """IPv4 addresses, separated by commas or in a list; the driver refuses one given twice."""
    words = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(words, list) or not 0 < len(words) <= _MAX_TARGETS:
        raise FieldError(f"must be 1 to {_MAX_TARGETS} IPv4 addresses")
    found = [address.host(word) if isinstance(word, str) else "" for word in words]
    if any(address.family(word) != 4 or not word for word in found):
        raise FieldError(f"must be 1 to {_MAX_TARGETS} IPv4 addresses")
    return ",".join(dict.fromkeys(found))


def _member(value: object) -> str:
    """The id of a link; whether it is a member is for the caller to see."""
    if not isinstance(value, str) or not value:
        raise FieldError("must be the id of a link")
    return value


def _scalar(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise FieldError("must be text or a whole number")
    return value if isinstance(value, str) else str(value)


class _Option:
    """How an option's value is checked, and in which modes it has a meaning."""

    def __init__(self, check: Callable[[object], str], modes: tuple[str, ...] = MODES) -> None:
        self.check = check
        self.modes = modes


_DELAY = _Option(_number(0, _MILLISECONDS))
_LACP = ("802.3ad",)
_HASHED = ("balance-xor", "802.3ad", "balance-tlb")

OPTIONS = {
    "ad_actor_sys_prio": _Option(_number(1, 65535), _LACP),
    "ad_actor_system": _Option(lambda value: address.mac(_scalar(value)), _LACP),
    "ad_select": _Option(_choice("stable", "bandwidth", "count"), _LACP),
    "ad_user_port_key": _Option(_number(0, 1023), _LACP),
    "all_slaves_active": _Option(_switch),
    "arp_all_targets": _Option(_choice("any", "all"), _WITH_ARP),
    "arp_interval": _Option(_number(0, _MILLISECONDS), _WITH_ARP),
    "arp_ip_target": _Option(_targets, _WITH_ARP),
    "arp_validate": _Option(
        _choice(
            *("none", "active", "backup", "all", "filter", "filter_active", "filter_backup"),
        ),
        _WITH_ARP,
    ),
    "downdelay": _DELAY,
    "fail_over_mac": _Option(_choice("none", "active", "follow"), ("active-backup",)),
    "lacp_rate": _Option(_choice("slow", "fast"), _LACP),
    "lp_interval": _Option(_number(1, _MILLISECONDS), ("balance-tlb", "balance-alb")),
    "miimon": _DELAY,
    "min_links": _Option(_number(0, _MILLISECONDS), _LACP),
    "num_grat_arp": _Option(_number(0, 255), ("active-backup",)),
    "packets_per_slave": _Option(_number(0, 65535), ("balance-rr",)),
    "primary": _Option(_member, _ONE_ACTIVE),
    "primary_reselect": _Option(_choice("always", "better", "failure"), _ONE_ACTIVE),
    "resend_igmp": _Option(_number(0, 255)),
    "tlb_dynamic_lb": _Option(_switch, ("balance-tlb", "balance-alb")),
    "updelay": _DELAY,
    "xmit_hash_policy": _Option(
        _choice(*("layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac")),
        _HASHED,
    ),
}
_OTHER_NAMES = {"num_unsol_na": "num_grat_arp"}


def option(name: str, value: object, bond_mode: str) -> tuple[str, str]:
    """An option's name and value as the kernel spells them.

    Raises FieldError for a name or a value that the driver does not know, and for an option that
    the mode has no use for.
    """
    name = _OTHER_NAMES.get(name, name)
    known = OPTIONS.get(name)
    if known is None:
        raise FieldError("is not an option of bonds")
    text = known.check(value)
    if bond_mode not in known.modes:
        raise FieldError(f"has no meaning in mode {bond_mode}")
    return name, text


def conflicts(options: dict[str, str]) -> list[str]:
    """The names of the options that others of the same bond rule out.

    Links are watched either by MII or by ARP, ARP needs a target, and delays need MII.
    """
    mii, arp = (options.get(name, "0") != "0" for name in ("miimon", "arp_interval"))
    if arp and (mii or "arp_ip_target" not in options):
        return [name for name in _ARP if name in options]
    bad = [] if arp else [name for name in _ARP if options.get(name, "0") != "0"]
    return bad + ([] if mii else [name for name in _DELAYS if options.get(name, "0") != "0"])
