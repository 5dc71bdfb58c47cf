"""The variables of templates, by the names that cloud-init has for them.

``v1`` has what is the same for every cloud, and each name in it is a variable of its own too;
``ds`` has the documents of the source ("Instance data" in cloud-init's documentation).  Unlike
there, secrets are no variables, and what is not known is not given rather than None.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from guestagent.model import InstanceData

# At any depth, and with hyphens too.
_SECRET = frozenset(
    (
        *("admin_pass", "adminpass", "password", "passwd", "random_seed", "security_credentials"),
        *("user_data", "userdata", "vendor_data", "vendordata", "vendor_data2", "vendordata2"),
    )
)
# Of these no text can be made that is more than one word, to a shell or in YAML.
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:/@+-")
# The operators of Jinja, none of which can be part of a name: each becomes "_" in another name.
_OPERATOR = re.compile(r"//|\*\*|==|!=|>=|<=|[-+/*%~\[\](){}<>=.:|,;]")


def variables(
    data: InstanceData,
    ds: Mapping[str, Any],
    *,
    cloud: str,
    platform: str,
    subplatform: str,
    guest: Mapping[str, str],
) -> dict[str, Any]:
    """Return all variables.

    ``ds`` are documents of the source by cloud-init's names, ``guest`` is what is known of the
    guest, by the names that ``v1`` has for it.
    """
    v1: dict[str, Any] = dict(guest)
    v1 |= {"platform": platform, "subplatform": subplatform}
    v1 |= {"cloud_id": cloud, "cloud_name": cloud, "cloud-name": cloud}
    if data.instance_id:
        v1["instance_id"] = v1["instance-id"] = data.instance_id.value
    if data.hostname:
        v1["local_hostname"] = v1["local-hostname"] = data.hostname.value.partition(".")[0]
    if data.availability_zone:
        v1["availability_zone"] = v1["availability-zone"] = data.availability_zone.value
    region = ds.get("meta_data", {}).get("region")
    if isinstance(region, str):
        v1["region"] = region
    v1["public_ssh_keys"] = [key.value for key in data.ssh_keys or ()]
    documents: dict[str, Any] = _usable(ds)
    found = {**v1, "ds": documents, "v1": v1}
    address = _address(data) or documents.get("ec2_metadata", {}).get("local_ipv4")
    address = address or documents.get("meta_data", {}).get("local_ipv4")
    if isinstance(address, str):
        found["local_ipv4"] = address
    return found


def _usable(value: Any) -> Any:
    """Return a JSON value without secrets, and with names that Jinja can read after a dot."""
    if not isinstance(value, dict):
        return [_usable(item) for item in value] if isinstance(value, list) else value
    found = {
        name: _usable(item)
        for name, item in value.items()
        if name.replace("-", "_").lower() not in _SECRET
    }
    for name in list(found):
        found.setdefault(_OPERATOR.sub("_", name), found[name])
    return found


def plain_words(value: Any) -> Any:
    """Return variables without names and values that are not plain words, at any depth.

    Where signatures are demanded, metadata that nobody signed cannot add a line or a command to
    what they are put into.
    """
    if isinstance(value, dict):
        pairs = [(name, item) for name, item in value.items() if _is_plain(name)]
        return {name: plain_words(item) for name, item in pairs if _is_plain(item)}
    if isinstance(value, list):
        return [plain_words(item) for item in value if _is_plain(item)]
    return value


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return _PLAIN.issuperset(value)
    # Not what YAML has besides, as bytes.
    return value is None or isinstance(value, int | float | dict | list)


def _address(data: InstanceData) -> str:
    """Return the first IPv4 address that the source gives, empty if it gives none."""
    for interface in data.network.interfaces if data.network else ():
        for address in interface.addresses:
            if ":" not in address:
                return address.partition("/")[0]
    return ""
