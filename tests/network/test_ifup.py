"""The real ifup on our files and across their changes.

Bonds and VLANs are beyond a kernel without their modules: booted guests have them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rig import need_root, need_tools

from guestagent.errors import Origin
from guestagent.model import Interface, Route, Rule

from .ifup_sandbox import MAC, MAC2, NAME, NAME2, Sandbox

ORIGIN = Origin("test", "network_data.json", "")
ADDRESS2 = ("198.51.100.7/32",)
DEFAULT = Route("0.0.0.0/0", "192.0.2.1", None, False)
DEFAULT6 = Route("::/0", "2001:db8::1", None, False)
NOWHERE = Route("10.0.0.0/8", "203.0.113.254", None, False)
MAIN4, MAIN6 = ("-4", "route", "show"), ("-6", "route", "show")


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    need_root()
    need_tools("unshare", "nsenter", "ip", "ifquery")
    ifup = os.path.realpath(str(shutil.which("ifquery", path=f"{os.environ['PATH']}:/usr/sbin")))
    made = Sandbox(tmp_path, ifup)
    yield made
    made.process.kill()
    made.process.communicate()


def interface(name: str, mac: str, given: dict[str, Any]) -> Interface:
    label = f"nic{mac.replace(':', '')}"
    base: dict[str, Any] = {"mtu": None, "dhcp4": False, "dhcp6": "no", "accept_ra": None}
    base |= {"addresses": (), "routes": (), "dns": (), "search": (), "origin": ORIGIN}
    return Interface(**({"name": name, "mac": mac, "id": label} | base | given))


def nic(**changes: Any) -> Interface:
    """Return the first NIC, with an address of each version and default routes."""
    given = {"addresses": ("192.0.2.5/24", "2001:db8::5/64"), "routes": (DEFAULT, DEFAULT6)}
    return interface(NAME, MAC, given | {"accept_ra": False} | changes)


def second(**changes: Any) -> Interface:
    """Return the second NIC, whose gateway lies in none of its subnets."""
    default = Route("0.0.0.0/0", "203.0.113.254", 100, True)
    return interface(NAME2, MAC2, {"addresses": ADDRESS2, "routes": (default,)} | changes)


def up(sandbox: Sandbox, *interfaces: Interface) -> None:
    sandbox.write(*interfaces)
    sandbox.run("ifup", "-a")


def test_static_addresses_and_default_routes(sandbox: Sandbox) -> None:
    up(sandbox, nic(addresses=("192.0.2.5/24", "192.0.2.6/24", "2001:db8::5/64")), second())
    assert sandbox.addresses() == ["192.0.2.5/24", "192.0.2.6/24", "2001:db8::5/64"]
    assert sandbox.addresses(NAME2) == ["198.51.100.7/32"]
    assert sandbox.routes(*MAIN4) == {
        ("default", "192.0.2.1", 0),
        ("default", "203.0.113.254", 100),
    }
    assert sandbox.routes(*MAIN6) == {("default", "2001:db8::1", 1024)}


def test_no_address_is_tentative_when_ifup_is_done(sandbox: Sandbox) -> None:
    sandbox.run("sh", "-c", f"echo 1 >/proc/sys/net/ipv6/conf/{NAME}/accept_dad")
    up(sandbox, nic())
    found = sandbox.ip("addr", "show", "dev", NAME)[0]["addr_info"]
    assert [entry for entry in found if entry.get("tentative")] == []


def test_mtu_router_advertisements_and_policy_routing(sandbox: Sandbox) -> None:
    table = (
        Route("192.0.2.0/24", None, None, False, 101),
        DEFAULT._replace(table=101),
        DEFAULT6._replace(table=101),
    )
    rules = (Rule("192.0.2.5/32", 101), Rule("2001:db8::5/128", 101))
    up(sandbox, nic(mtu=1400, routes=table, rules=rules), second(accept_ra=True, metric=1074))
    assert (sandbox.mtu(), sandbox.mtu(NAME2)) == (1400, 1500)
    where = "/proc/sys/net/ipv6/conf"
    files = (f"{NAME}/accept_ra", f"{NAME2}/accept_ra", f"{NAME2}/ra_defrtr_metric")
    assert sandbox.run("cat", *(f"{where}/{file}" for file in files)).split() == ["0", "2", "1074"]
    assert sandbox.routes(*MAIN4, "table", "101") == {
        ("192.0.2.0/24", None, 0),
        ("default", "192.0.2.1", 0),
    }
    assert sandbox.routes(*MAIN6, "table", "101") == {("default", "2001:db8::1", 1024)}
    assert sandbox.sources("-4") == [("192.0.2.5", "101")]
    assert sandbox.sources("-6") == [("2001:db8::5", "101")]


def test_a_line_that_fails_keeps_nothing_else_from_being_set(sandbox: Sandbox) -> None:
    up(sandbox, nic(routes=(NOWHERE, DEFAULT)), second())
    assert ("default", "192.0.2.1", 0) in sandbox.routes(*MAIN4)
    assert sandbox.addresses(NAME2) == ["198.51.100.7/32"]


def test_ifup_again_changes_nothing(sandbox: Sandbox) -> None:
    up(sandbox, nic(rules=(Rule("192.0.2.5/32", 101),), dhcp4=True), second())
    before = sandbox.snapshot()
    clients = sandbox.run("cat", "/run/clients")
    sandbox.run("ifup", "--force", NAME, NAME2)
    assert without_lifetimes(sandbox.snapshot()) == without_lifetimes(before)
    assert sandbox.run("cat", "/run/clients") == clients


def without_lifetimes(found: list[Any]) -> list[Any]:
    for link in found[0]:
        for entry in link["addr_info"]:
            entry["valid_life_time"] = entry["preferred_life_time"] = 0
    return found


def test_ifdown_leaves_nothing_behind(sandbox: Sandbox) -> None:
    up(sandbox, nic(rules=(Rule("192.0.2.5/32", 101),), dhcp4=True))
    sandbox.run("ifdown", NAME)
    assert (sandbox.addresses(), sandbox.sources("-4"), sandbox.routes(*MAIN4)) == ([], [], set())
    assert sandbox.run("sh", "-c", "ls /run/*.pid 2>&1 || true").startswith("ls: ")


def test_a_nic_is_found_by_its_mac_address(sandbox: Sandbox) -> None:
    up(sandbox, nic(name=""), second(name=""))
    assert sandbox.addresses() == ["192.0.2.5/24", "2001:db8::5/64"]
    assert sandbox.addresses(NAME2) == ["198.51.100.7/32"]


def test_what_stays_is_not_touched_when_the_rest_changes(sandbox: Sandbox, tmp_path: Path) -> None:
    extra = Route("10.0.0.0/8", "192.0.2.9", None, False)
    old = nic(addresses=("192.0.2.5/24", "192.0.2.6/24", "2001:db8::5/64"), routes=(DEFAULT, extra))
    new = nic(addresses=("192.0.2.5/24", "192.0.2.7/24", "2001:db8::5/64"), mtu=1400)
    up(sandbox, old._replace(rules=(Rule("192.0.2.6/32", 101),)))
    with sandbox.watched(tmp_path / "log") as gone:
        assert sandbox.change(new._replace(rules=(Rule("192.0.2.7/32", 102),))) == []
    assert gone == ["192.0.2.6/24"]
    assert sandbox.addresses() == ["192.0.2.5/24", "192.0.2.7/24", "2001:db8::5/64"]
    assert sandbox.routes(*MAIN4) == {("default", "192.0.2.1", 0)}
    assert sandbox.routes(*MAIN6) == {("default", "2001:db8::1", 1024)}
    assert (sandbox.sources("-4"), sandbox.mtu()) == ([("192.0.2.7", "102")], 1400)


def test_the_first_address_of_a_subnet_goes_without_the_others(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    up(sandbox, nic(addresses=("192.0.2.5/24", "192.0.2.6/24"), routes=(DEFAULT,)))
    with sandbox.watched(tmp_path / "log") as gone:
        assert sandbox.change(nic(addresses=("192.0.2.6/24",), routes=(DEFAULT,))) == []
    assert (gone, sandbox.addresses()) == (["192.0.2.5/24"], ["192.0.2.6/24"])
    assert sandbox.routes(*MAIN4) == {("default", "192.0.2.1", 0)}


@pytest.mark.parametrize("metrics", [(None, 50), (50, None), (50, 60)])
@pytest.mark.parametrize("default", [DEFAULT, DEFAULT6])
def test_a_route_changes_its_metric(
    sandbox: Sandbox, default: Any, metrics: tuple[int | None, int | None]
) -> None:
    first, last = (nic(routes=(default._replace(metric=metric),)) for metric in metrics)
    up(sandbox, first)
    assert sandbox.change(last) == []
    version = MAIN6 if default is DEFAULT6 else MAIN4
    metric = metrics[1] or (1024 if default is DEFAULT6 else 0)
    assert sandbox.routes(*version) == {("default", default.gateway, metric)}


def test_an_unchanged_interface_is_left_alone(sandbox: Sandbox) -> None:
    up(sandbox, nic(), second())
    sandbox.run("ip", "addr", "del", "192.0.2.5/24", "dev", NAME)
    assert sandbox.change(nic(), second(mtu=1400)) == []
    assert sandbox.addresses() == ["2001:db8::5/64"]


def test_interfaces_come_and_go(sandbox: Sandbox) -> None:
    up(sandbox, nic())
    assert sandbox.change(second()) == []
    assert (sandbox.addresses(), sandbox.addresses(NAME2)) == ([], ["198.51.100.7/32"])
    assert f"{NAME}=" not in sandbox.run("ifquery", "--state")
    assert sandbox.change() == []
    assert sandbox.addresses(NAME2) == []


def test_a_client_goes_on_when_the_rest_changes(sandbox: Sandbox, tmp_path: Path) -> None:
    up(sandbox, nic(addresses=(), routes=(), dhcp4=True))
    with sandbox.watched(tmp_path / "log") as gone:
        assert sandbox.change(nic(addresses=("198.51.100.9/24",), routes=(), dhcp4=True)) == []
    assert gone == []
    assert set(sandbox.addresses()) == {"192.0.2.77/24", "198.51.100.9/24"}
    assert len(sandbox.run("cat", "/run/clients").splitlines()) == 1


def test_a_leased_address_becomes_a_static_one(sandbox: Sandbox, tmp_path: Path) -> None:
    up(sandbox, nic(addresses=(), routes=(), dhcp4=True))
    with sandbox.watched(tmp_path / "log") as gone:
        assert sandbox.change(nic(addresses=("192.0.2.77/24",), routes=(DEFAULT,))) == []
    assert (gone, sandbox.addresses()) == ([], ["192.0.2.77/24"])
    assert sandbox.routes(*MAIN4) == {("default", "192.0.2.1", 0)}


def test_another_address_takes_the_place_of_a_leased_one(sandbox: Sandbox) -> None:
    up(sandbox, nic(addresses=(), routes=(), dhcp4=True))
    assert sandbox.change(nic(routes=())) == []
    assert sandbox.addresses() == ["192.0.2.5/24", "2001:db8::5/64"]
    assert sandbox.routes(*MAIN4) == set()


def test_a_client_starts_anew_when_its_metric_changes(sandbox: Sandbox) -> None:
    up(sandbox, nic(addresses=(), routes=(), dhcp4=True))
    assert sandbox.change(nic(addresses=(), routes=(), dhcp4=True, metric=1074)) == []
    first, last = sandbox.run("cat", "/run/clients").splitlines()
    assert ("METRIC" in first, "-e IF_METRIC=1074" in last) == (False, True)


def test_what_ip_refuses_is_a_failure(sandbox: Sandbox) -> None:
    up(sandbox, nic())
    (failure,) = sandbox.change(nic(routes=(DEFAULT, NOWHERE)))
    assert failure.startswith(f"ifup {NAME}: ")
    assert ("default", "192.0.2.1", 0) in sandbox.routes(*MAIN4)


def test_dhclient_is_told_the_mtu_of_the_source(sandbox: Sandbox) -> None:
    """As dhclient.conf(5) has it: measured with the real client, see docs/leases.md."""
    up(sandbox, nic(dhcp4=True, mtu=1400))
    assert sandbox.change(nic(dhcp4=True, mtu=1300)) == []
    start = f'include "/etc/dhcp/dhclient.conf"; interface "{NAME}" {{ supersede interface-mtu'
    first, last = sandbox.run("cat", "/run/configurations").splitlines()
    assert (first, last) == (f"{start} 1400; }}", f"{start} 1300; }}")
    assert sandbox.run("ls", "/var/lib/dhcp") == f"dhclient.{NAME}.mtu1300.conf\n"
    assert sandbox.change(nic(dhcp4=True)) == []
    assert sandbox.run("ls", "/var/lib/dhcp") == ""
