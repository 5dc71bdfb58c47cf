"""The document ``network-config`` of a NoCloud seed, of version 1 or 2.

What the model of the network can say is read; all else is an error that names its key, and is left
out.  Sources: "Networking config Version 1" and "Version 2" of cloud-init's documentation, and
netplan(5), whose format version 2 is.
"""

from __future__ import annotations

from guestagent.errors import FieldError, Problems
from guestagent.model import Network
from guestagent.parse.fields import NOTHING_OF_IT
from guestagent.parse.items import Item
from guestagent.parse.network import address
from guestagent.parse.network.drafts import make_route, settle_routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from guestagent.errors import Origin
    from guestagent.model import Route

_DISABLED = (
    "is not supported: a source cannot switch the network off; set network.manage = false in the "
    "settings"
)


def parse_network_config(content: bytes, origin: Origin, problems: Problems) -> Network:
    """Return the network that the document at ``origin`` describes.  Raises nothing.

    It is ``partial`` where something of it cannot be used.
    """
    from guestagent.parse.userdata import yamltree

    try:
        value = yamltree.load(content).value
    except FieldError as error:
        problems.error(origin, f"{error}; {NOTHING_OF_IT}")
        return Network((), origin, partial=True)
    return read_network_config(value, origin, problems)


def read_network_config(value: object, origin: Origin, problems: Problems) -> Network:
    """Return the network that a value of YAML describes, as ``parse_network_config`` does."""
    found = Problems()
    network = _read(value, origin, found)
    problems.add_all(found)
    partial = any(problem.severity == "error" for problem in found.problems)
    return network._replace(partial=partial)


def _read(value: object, origin: Origin, problems: Problems) -> Network:
    nothing = Network((), origin)
    if not isinstance(value, dict):
        problems.error(origin, f"must be a mapping; {NOTHING_OF_IT}")
        return nothing
    item = Item(value, origin, problems)
    # As in netplan's own files, all of it may be in one key.
    if "network" in value:
        inner = item.child("network")
        if inner is None:
            return nothing
        item = inner
    version = item.get("version")
    if version == 1 and item.get("config") == "disabled":
        item.error("config", _DISABLED)
        return nothing
    if version == 1:
        from guestagent.parse.network.config_1 import read as read_1

        drafts = read_1(item)
    elif version == 2:
        from guestagent.parse.network.config_2 import read as read_2

        drafts = read_2(item)
    else:
        item.error("version", f"must be 1 or 2; {NOTHING_OF_IT}")
        return nothing
    return Network(settle_routes(draft.freeze() for draft in drafts), origin)


def refuse_others(item: Item, known: frozenset[str]) -> None:
    """Report each field that is none of those known.

    One without a value says nothing.
    """
    for name, value in item.fields.items():
        if name not in known and value is not None:
            item.error(name if name.isprintable() else "(a key)", "is not supported; it is ignored")


def read_gateway(item: Item, name: str) -> Route:
    """Return the default route over the gateway in a field, with the item's metric if it has one.

    Raises BadItem.
    """
    gateway = item.require_text(name)
    metric = None
    if item.get("metric") is not None:
        metric = item.require("metric", address.metric, address.whole_number(item.get("metric")))
    everything = "0.0.0.0/0" if address.family(gateway) == 4 else "::/0"
    return item.require(name, make_route, everything, gateway, metric)


def read_mac(item: Item, name: str, check: Callable[[str], str]) -> str:
    """Return the MAC address in a field of YAML.  Raises BadItem."""
    value = item.get(name)
    if not isinstance(value, str):
        raise item.bad(name, "must be a string: YAML takes it for a number without quotes")
    return item.require(name, check, value)


def switch(value: object) -> bool:
    """Return what is true or false.  Raises FieldError for all else."""
    if not isinstance(value, bool):
        raise FieldError("must be true or false")
    return value
