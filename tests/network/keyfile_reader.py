"""Facts from NetworkManager profiles, as libnm understands them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .case import MACS, NAMES
from .facts import MAIN_TABLE, Bond, Link, Route, Rule, Vlan, gets_address

_PYTHON = "/usr/bin/python3"
_WORKER = Path(__file__).with_name("keyfile_worker.py")
_TYPES = {"802-3-ethernet", "bond", "vlan"}
_ACCEPT_RA = {"auto": True, "manual": False, "link-local": False, "ignore": None}
_FAMILIES = (("ipv4", socket.AF_INET), ("ipv6", socket.AF_INET6))
Settings = dict[str, dict[str, Any]]


class Keyfiles:
    """libnm in a process of its own, for many profiles."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [_PYTHON, "-I", str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def links(self, files: dict[str, str]) -> dict[str, Link]:
        """Return the links that profiles describe, by path."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(files), file=self._process.stdin, flush=True)
        found = json.loads(self._process.stdout.readline())
        complaints = [f"{path}: {text}" for path in found for text in found[path]["complaints"]]
        assert not complaints, complaints
        return _links([item["settings"] for item in found.values()])


def missing() -> str:
    """Why libnm cannot be asked here; empty if it can."""
    test = "import gi; gi.require_version('NM', '1.0'); from gi.repository import NM"
    if os.path.exists(_PYTHON):
        done = subprocess.run([_PYTHON, "-I", "-c", test], capture_output=True)
        if done.returncode == 0:
            return ""
    return f"needs {_PYTHON} with python3-gi and gir1.2-nm-1.0"


def _links(profiles: list[Settings]) -> dict[str, Link]:
    # Others refer to a profile by its UUID or by its interface.
    names = {profile["connection"]["uuid"]: _name(profile) for profile in profiles}
    assert len(set(names.values())) == len(profiles), "two profiles are for one interface"
    names |= {name: name for name in names.values()}
    return {_name(profile): _link(profile, profiles, names) for profile in profiles}


def _name(profile: Settings) -> str:
    """Return the kernel's name of the one interface that a profile is for."""
    connection = profile["connection"]
    assert connection["type"] in _TYPES
    assert connection.get("autoconnect", True)
    mac = profile.get("802-3-ethernet", {}).get("mac-address")
    if mac:
        return NAMES[MACS.index(_mac(mac))]
    return str(connection["interface-name"])


def _mac(octets: list[int]) -> str:
    return ":".join(f"{octet:02x}" for octet in octets)


def _link(profile: Settings, profiles: list[Settings], names: dict[str, str]) -> Link:
    ethernet = profile.get("802-3-ethernet", {})
    methods = {key: profile.get(key, {}).get("method", "disabled") for key, _ in _FAMILIES}
    dynamic = [key for key, method in methods.items() if method == "auto"]
    metrics = {profile[key].get("route-metric", -1) for key in dynamic}
    assert len(metrics) <= 1, "metrics of dynamic routes differ"
    metric = metrics.pop() if metrics else -1
    member = "master" in profile["connection"]
    found = Link(
        name=_name(profile),
        addresses=frozenset(
            f"{item['address']}/{item['prefix']}"
            for key, _ in _FAMILIES
            for item in profile.get(key, {}).get("address-data", [])
        ),
        routes=frozenset(r for key, _ in _FAMILIES for r in _routes(profile.get(key, {}))),
        rules=frozenset(
            Rule(f"{item['from']}/{item['from-len']}", item["table"])
            for key, _ in _FAMILIES
            for item in profile.get(key, {}).get("routing-rules", [])
        ),
        dns=tuple(server for key, kind in _FAMILIES for server in _dns(profile.get(key, {}), kind)),
        search=tuple(
            name for key, _ in _FAMILIES for name in profile.get(key, {}).get("dns-search", [])
        ),
        mtu=ethernet.get("mtu") or None,
        dhcp4=methods["ipv4"] == "auto",
        dhcp6="slaac" if methods["ipv6"] == "auto" else "no",
        accept_ra=None if member else _ACCEPT_RA[methods["ipv6"]],
        metric=None if metric == -1 else metric,
        bond=_bond(profile, profiles),
        vlan=_vlan(profile, names),
        mac=_mac(ethernet.get("cloned-mac-address", [])),
    )
    return found._replace(required=gets_address(found))


def _routes(settings: dict[str, Any]) -> Iterator[Route]:
    for item in settings.get("route-data", []):
        yield Route(
            f"{item['dest']}/{item['prefix']}",
            item.get("next-hop", ""),
            # Without one NetworkManager would choose.
            item["metric"],
            item.get("onlink", False),
            item.get("table", MAIN_TABLE),
        )


def _dns(settings: dict[str, Any], kind: socket.AddressFamily) -> Iterator[str]:
    """Old versions of libnm give numbers in network order and lists of octets."""
    yield from settings.get("dns-data", ())
    if "dns-data" not in settings:
        for item in settings.get("dns", ()):
            packed = item.to_bytes(4, "little") if isinstance(item, int) else bytes(item)
            yield socket.inet_ntop(kind, packed)


def _bond(profile: Settings, profiles: list[Settings]) -> Bond | None:
    if profile["connection"]["type"] != "bond":
        return None
    own = (profile["connection"]["uuid"], _name(profile))
    members = {_name(p) for p in profiles if p["connection"].get("master") in own}
    assert all(
        p["connection"]["slave-type"] == "bond" for p in profiles if "master" in p["connection"]
    )
    options = dict(profile["bond"]["options"])
    # Another name of the same option, which netplan writes as well.
    if options.get("num_unsol_na") == options.get("num_grat_arp"):
        options.pop("num_unsol_na", None)
    return Bond(options.pop("mode"), frozenset(members), frozenset(options.items()))


def _vlan(profile: Settings, names: dict[str, str]) -> Vlan | None:
    if profile["connection"]["type"] != "vlan":
        return None
    return Vlan(names[profile["vlan"]["parent"]], profile["vlan"]["id"])
