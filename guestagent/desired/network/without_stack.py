"""Plan for a guest in which no network stack starts at boot: enable one, or say how to."""

from __future__ import annotations

from guestagent.plan.kinds.link import Link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.errors import Origin
    from guestagent.plan.wanted import Ask, Wanted

_ENABLE = {
    "networkd": "systemctl enable systemd-networkd",
    "networkmanager": "systemctl enable NetworkManager",
    "netplan": "systemctl enable systemd-networkd",
    "ifupdown": (
        "systemctl enable networking, with the line 'source /etc/network/interfaces.d/*' in"
        " /etc/network/interfaces"
    ),
}
_NO_DNS = (
    "systemd-networkd, which is enabled now, passes the DNS servers of leases on to"
    " systemd-resolved only, which does not start at boot; names do not resolve by them:"
    " install or enable it in the image"
)


def is_enabled(ask: Ask, stack: str) -> bool:
    """Tell whether systemd-networkd is to be enabled.

    That is so once for each instance: whoever disables it later has a reason.  ``stack`` is that
    of the settings.
    """
    if not (ask.settings.network_enable and ask.first and ask.facts.enabling):
        return False
    return stack == "networkd" or (not stack and ask.facts.idle == ("networkd",))


def enable(ask: Ask, wanted: Wanted, origin: Origin) -> None:
    """Plan the links that have systemd-networkd start at boot."""
    for path, target in ask.facts.enabling:
        wanted.want(Link("link", path, target, origin))
    if ask.facts.resolver == "file":
        wanted.warn(origin, _NO_DNS)


def remedy(ask: Ask) -> str:
    """Say that no network is configured, and what would change that."""
    idle = ask.facts.idle
    reason = "no supported network stack starts at boot; no network is configured: "
    commands = list(dict.fromkeys(_ENABLE[name] for name in idle if name in _ENABLE))
    if commands:
        return f"{reason}in the image, run {', or '.join(commands)}"
    return f"{reason}install systemd-networkd, NetworkManager, netplan or ifupdown in the image"
