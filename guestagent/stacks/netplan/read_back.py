"""What a reload needs to know of the file that ``render`` wrote for netplan."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Keys of bonds and VLANs that count only when these are made.
_MADE_WITH = ("id", "link", "macaddress", "parameters")


def made_devices(text: str) -> dict[str, dict[str, Any]]:
    """Return what each bond and VLAN of a file is made with, by its name.

    Of a text that is no file of netplan, an empty one for instance, nothing is made.
    """
    import yaml  # 17 ms, which a boot does not need

    try:
        # All scalars as texts: what YAML makes a date or a number need not be one.
        whole = yaml.load(text, yaml.BaseLoader)  # noqa: S506 - it makes nothing but these
    except (yaml.YAMLError, RecursionError):
        return {}
    network = _mapping(_mapping(whole).get("network"))
    made: dict[str, dict[str, Any]] = {}
    for kind in ("vlans", "bonds"):
        for name, described in _mapping(network.get(kind)).items():
            settings = _mapping(described)
            if name.isprintable():  # no other device can have been made
                made[name] = {key: settings.get(key) for key in _MADE_WITH}
    return made


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
