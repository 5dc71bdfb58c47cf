"""Options of the Linux bonding driver, with the names and values of its files in sysfs.

Source: ``Documentation/networking/bonding.rst`` of the kernel, and ``drivers/net/bonding``
for the modes that take an option.
"""

from __future__ import annotations

from guestagent.errors import FieldError
from guestagent.parse.network import address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from guestagent.parse.items import Item

# In the order of their numbers, by which the kernel takes them too.
MODES = (
    *("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad"),
    *("balance-tlb", "balance-alb"),
)
# The only spelling that Ironic's network-data-schema.json allows.
_OTHER_MODES = {"802.1ad": "802.3ad"}
_ONE_ACTIVE = ("active-backup", "balance-tlb", "balance-alb")
_WITH_ARP = ("balance-rr", "active-backup", "balance-xor", "broadcast")
_ARP = ("arp_interval", "arp_ip_target", "arp_validate", "arp_all_targets")
_DELAYS = ("updelay", "downdelay")
_MAX_TARGETS = 16
_NOT_TARGETS = f"must be 1 to {_MAX_TARGETS} IPv4 addresses"
# What the kernel's documentation recommends; by default the driver does not monitor links at all.
_MII_MONITOR = ("miimon", "100")
_KEY_LIMIT = 32
# The driver keeps numbers without another limit as C's int.
_INT_MAX = 2**31 - 1


def mode(value: object) -> str:
    """Return the name of a bonding mode that is given by name or number."""
    if isinstance(value, str):
        value = _OTHER_MODES.get(value, value)
    return _choice(*MODES)(value)


def _choice(*names: str) -> Callable[[object], str]:
    """Return a validator of a word: one of the names, or a number that counts them from 0."""

    def check(value: object) -> str:
        text = _scalar(value)
        if text in names:
            return text
        if text.isascii() and text.isdigit() and len(text) <= 2 and int(text) < len(names):
            return names[int(text)]
        raise FieldError(f"must be one of {', '.join(names)}")

    return check


def _number(low: int, high: int) -> Callable[[object], str]:
    """Return a validator of a whole number, given as such or as text."""

    def check(value: object) -> str:
        text = _scalar(value)
        # isdigit() alone is also true of digits of other scripts.
        if text.isascii() and text.isdigit() and len(text) <= 10 and low <= int(text) <= high:
            return str(int(text))
        raise FieldError(f"must be a whole number from {low} to {high}")

    return check


def _switch(value: object) -> str:
    """Return "0" or "1", which may also be given as a JSON boolean."""
    if isinstance(value, bool):
        value = int(value)
    return _number(0, 1)(value)


def _targets(value: object) -> str:
    """Return IPv4 addresses, separated by commas, which may also be given as a list."""
    words = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(words, list) or not 0 < len(words) <= _MAX_TARGETS:
        raise FieldError(_NOT_TARGETS)
    found: dict[str, None] = {}
    for word in words:
        if not isinstance(word, str):
            raise FieldError(_NOT_TARGETS)
        target = address.host(word)
        if address.family(target) != 4:
            raise FieldError(_NOT_TARGETS)
        found[target] = None  # once: the driver refuses an address that is given twice
    return ",".join(found)


def _member(value: object) -> str:
    """Return the id of a link.  The caller checks that it is a member of the bond."""
    if not isinstance(value, str) or not value:
        raise FieldError("must be the id of a link")
    return value


def _scalar(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise FieldError("must be a string or a whole number")
    return str(value)


class _Option:
    """An option: the validator of its values, and the modes that support it."""

    def __init__(self, check: Callable[[object], str], modes: tuple[str, ...] = MODES) -> None:
        self.check = check
        self.modes = modes


_DELAY = _Option(_number(0, _INT_MAX))
_LACP = ("802.3ad",)
_HASHED = ("balance-xor", "802.3ad", "balance-tlb")

OPTIONS = {
    "ad_actor_sys_prio": _Option(_number(1, 65535), _LACP),
    "ad_actor_system": _Option(lambda value: address.mac(_scalar(value)), _LACP),
    "ad_select": _Option(_choice("stable", "bandwidth", "count"), _LACP),
    "ad_user_port_key": _Option(_number(0, 1023), _LACP),
    "all_slaves_active": _Option(_switch),
    "arp_all_targets": _Option(_choice("any", "all"), _WITH_ARP),
    "arp_interval": _Option(_number(0, _INT_MAX), _WITH_ARP),
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
    "lp_interval": _Option(_number(1, _INT_MAX), ("balance-tlb", "balance-alb")),
    "miimon": _DELAY,
    "min_links": _Option(_number(0, _INT_MAX), _LACP),
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
    """Return the name and the value of an option as the kernel spells them.

    Raises FieldError for a name or a value that the driver does not know, and for an option that
    the mode does not support.
    """
    name = _OTHER_NAMES.get(name, name)
    known = OPTIONS.get(name)
    if known is None:
        raise FieldError("is not a bonding option")
    text = known.check(value)
    if bond_mode not in known.modes:
        raise FieldError(f"is not supported in mode {bond_mode}")
    return name, text


def read_options(
    item: Item, given: Mapping[str, str], bond_mode: str
) -> tuple[tuple[str, str], ...]:
    """Return the usable options of a bond, in the order of their names.

    ``given`` has the names of the fields of the item in which they are, by the options' own names.
    What cannot be used is reported.
    """
    found: dict[str, str] = {}
    for name, field in given.items():
        value = item.get(field)
        if value is None:
            continue
        # The source may make up a key that is long or unprintable: the message names the link then.
        readable = field.isprintable() and len(field) <= _KEY_LIMIT
        origin = item.origin.under(field) if readable else item.origin
        try:
            found.update([option(name, value, bond_mode)])
        except FieldError as error:
            item.problems.error(origin, str(error))
    # A bond that is not monitored keeps on using a link that is down.
    monitored_by_arp = found.get("arp_interval", "0") != "0" and "arp_ip_target" in found
    if not monitored_by_arp:
        found.setdefault(*_MII_MONITOR)
    for name in conflicts(found):
        del found[name]
        item.error(given.get(name, name), "conflicts with other options of the bond")
    return tuple(sorted(found.items()))


def conflicts(options: dict[str, str]) -> list[str]:
    """Return the names of the options that conflict with others of the same bond.

    Links are monitored either by MII or by ARP.  ARP needs a target; delays need MII.
    """
    by_mii = _is_on(options, "miimon")
    by_arp = _is_on(options, "arp_interval")
    # Of two ways to monitor, that by MII stays; ARP cannot work without a target.
    if by_arp and (by_mii or "arp_ip_target" not in options):
        return [name for name in _ARP if name in options]
    without_use: tuple[str, ...] = ()
    if not by_arp:
        without_use += _ARP
    if not by_mii:
        without_use += _DELAYS
    return [name for name in without_use if _is_on(options, name)]


def _is_on(options: dict[str, str], name: str) -> bool:
    return options.get(name, "0") != "0"
