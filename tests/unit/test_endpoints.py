"""Where a metadata service may be: URLs, links, and connecting to several at once."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest

from guestagent import defs
from guestagent.errors import UsageError
from guestagent.sources.endpoints import Connecting, Endpoint, list_candidates, parse_url

GOOD = [
    ("http://169.254.169.254", Endpoint("http://169.254.169.254", "169.254.169.254", 80)),
    ("http://169.254.169.254/", Endpoint("http://169.254.169.254", "169.254.169.254", 80)),
    ("http://10.0.0.1:8775/a/b/", Endpoint("http://10.0.0.1:8775/a/b", "10.0.0.1", 8775)),
    ("http://[fd00:ec2::254]", Endpoint("http://[fd00:ec2::254]", "fd00:ec2::254", 80)),
    (
        "http://[fe80::a9fe:a9fe%enp0s3]:81/x",
        Endpoint("http://[fe80::a9fe:a9fe]:81/x", "fe80::a9fe:a9fe", 81, "enp0s3"),
    ),
    (
        "http://[fe80::a9fe:a9fe%25eth0]",
        Endpoint("http://[fe80::a9fe:a9fe]", "fe80::a9fe:a9fe", 80, "eth0"),
    ),
    (
        "http://169.254.169.254%Eth1",
        Endpoint("http://169.254.169.254", "169.254.169.254", 80, "Eth1"),
    ),
    ("http://metadata.example/", Endpoint("http://metadata.example", "metadata.example", 80)),
]


@pytest.mark.parametrize(("url", "wanted"), GOOD)
def test_a_url_is_an_endpoint(url: str, wanted: Endpoint) -> None:
    assert parse_url(url) == wanted


@pytest.mark.parametrize(("url", "wanted"), GOOD)
def test_a_zone_reaches_no_request(url: str, wanted: Endpoint) -> None:
    assert "%" not in parse_url(url).url


@pytest.mark.parametrize("name", ["enp0s3", "Eth0", "25g0", "a.5", "x" * 15])
@pytest.mark.parametrize("host", ["fe80::a9fe:a9fe", "169.254.169.254"])
@pytest.mark.parametrize("rest", ["", ":81", "/a/b"])
def test_an_endpoint_is_found_again_by_its_own_url(name: str, host: str, rest: str) -> None:
    shown = f"[{host}]" if ":" in host else host
    endpoint = Endpoint(f"http://{shown}{rest}", host, 81 if ":" in rest else 80, name)
    assert parse_url(endpoint.url_with_zone) == endpoint
    without = endpoint._replace(interface="")
    assert (without.url_with_zone, parse_url(without.url_with_zone)) == (without.url, without)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://10.0.0.1", ""),
        ("http://[fe80::1%eth0]:81/a/b/", "/a/b"),
        ("http://x/\u00fc", "/%C3%BC"),
        ("http://x/a b/%c3%bc", "/a%20b/%c3%bc"),
    ],
)
def test_every_request_begins_with_the_path_of_the_url(url: str, path: str) -> None:
    assert parse_url(url).path == path


BAD = [
    *("", "x", "169.254.169.254", "http://", "http:///x", "https://169.254.169.254", "file:///etc"),
    *(
        "ftp://x/",
        "http://x:y/",
        "http://x:99999/",
        "http://x:-1/",
        "http://[fe80::1/",
        "http://]/",
    ),
    *("http://u@x/", "http://u:p@x/", "http://x/?a=b", "http://x/#f", "//169.254.169.254/"),
    *("http://[x]/", "http://%eth0/", "http://a\u2028b/", "http://x/a\nb", "http://x/\udcff"),
]


@pytest.mark.parametrize("url", BAD)
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_url(url)
    assert "http://HOST" in str(caught.value) or "malformed" in str(caught.value)


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".example", "a b", "\u00fc" * 70])
def test_a_name_that_is_none_is_an_unreachable_service(host: str) -> None:
    with pytest.raises(OSError, match=r"."):
        Endpoint(f"http://{host}", host, 80).start_connecting()
    assert not Connecting([Endpoint(f"http://{host}", host, 80)])


class Links:
    """A made-up /sys/class/net, if_inet6 and route; the first link has the default route."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.lines = ["00000000000000000000000000000001 01 80 10 80 lo\n"]
        self.add("lo", "0x9")

    def add(
        self,
        name: str,
        flags: str = "0x1003",
        *,
        master: bool = False,
        kind: str = "",
        over: tuple[str, ...] = (),
    ) -> None:
        """Add a link: a NIC, or what is stacked on others."""
        path = self.top / "net" / name
        path.mkdir(parents=True)
        (path / "flags").write_text(f"{flags}\n")
        (path / "uevent").write_bytes(os.fsencode(f"{kind}INTERFACE={name}\n"))
        for lower in over:
            (path / f"lower_{lower}").mkdir()
        if master:
            (path / "master").mkdir()
        if not kind and name != "lo":
            (path / "device").mkdir()

    def route(self, link: str, to: str = "0.0.0.0/0", metric: int = 0, flags: int = 3) -> None:
        net = ip_network(to)
        address, mask = (
            f"{int.from_bytes(item.packed, sys.byteorder):08X}"
            for item in (net.network_address, net.netmask)
        )
        line = f"{link}\t{address}\t00000000\t{flags:04X}\t0\t0\t{metric}\t{mask}\t0\t0\t0\n"
        place = self.top / "route"
        old = place.read_text() if place.exists() else "Iface\tDestination\n"
        place.write_text(old + line)

    def address(self, name: str, scope: str = "20", flags: str = "80") -> None:
        self.lines.append(f"{'0' * 32} 02 40 {scope} {flags} {name}\n")
        lines = "".join(self.lines).encode("utf-8", "surrogateescape")
        (self.top / "if_inet6").write_bytes(lines)

    def found(self, ec2: bool = False) -> list[str]:
        return [endpoint.url_with_zone for endpoint in list_candidates(ec2=ec2)]


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Links:
    monkeypatch.setattr(defs, "NET_DIR", str(tmp_path / "net"))
    monkeypatch.setattr(defs, "IPV6_ADDRESSES", str(tmp_path / "if_inet6"))
    monkeypatch.setattr(defs, "IPV4_ROUTES", str(tmp_path / "route"))
    monkeypatch.setattr(defs, "CONTAINER_FILE", str(tmp_path / "container"))
    return Links(tmp_path)


FOUR, SIX = "http://169.254.169.254%{}", "http://[fe80::a9fe:a9fe%{}]"
NIC = FOUR.format("enp0s3")


def test_without_a_link_nobody_is_asked(links: Links) -> None:
    assert links.found() == []
    links.add("enp0s3", "0x1002")
    assert links.found() == []


def test_one_link_is_asked_by_ipv4_and_by_what_ipv6_it_has(links: Links) -> None:
    links.add("enp0s3")
    assert links.found() == []
    links.route("enp0s3")
    assert links.found() == [NIC]
    links.address("enp0s3")
    assert links.found() == [NIC, SIX.format("enp0s3")]


def test_several_links_are_each_asked_the_routed_one_first(links: Links) -> None:
    for name in ("enp0s3", "enp0s4", "enp0s5"):
        links.add(name)
    links.address("enp0s3")
    links.route("enp0s4")
    wanted = [f"enp0s{number}" for number in (4, 3, 5)]
    found = [FOUR.format(name) for name in wanted]
    assert links.found() == [found[0], SIX.format("enp0s3"), *found[1:]]
    assert [endpoint.routed for endpoint in list_candidates(ec2=False)] == [True, *[False] * 3]


@pytest.mark.parametrize("flags", ["40", "08", "c0", "48"])
def test_an_address_that_is_not_usable_yet_is_not_used(links: Links, flags: str) -> None:
    links.add("enp0s3")
    links.route("enp0s3")
    links.address("enp0s3", flags=flags)
    assert links.found() == [NIC]


def test_a_member_of_a_bond_is_not_asked(links: Links) -> None:
    links.add("bond0", kind="DEVTYPE=bond\n", over=("enp0s3",))
    links.add("enp0s3", master=True)
    links.route("bond0")
    links.address("enp0s3")
    links.address("bond0")
    assert links.found() == [FOUR.format("bond0"), SIX.format("bond0")]


def test_ec2_s_address_needs_a_wider_one(links: Links) -> None:
    links.add("enp0s3")
    links.address("enp0s3")
    links.add("docker0", kind="DEVTYPE=bridge\n")
    links.address("docker0", scope="00")
    assert links.found(ec2=True) == [SIX.format("enp0s3")]
    links.address("enp0s3", scope="00")
    assert links.found(ec2=True)[-1] == "http://[fd00:ec2::254%enp0s3]"
    assert links.found() == [SIX.format("enp0s3")]


BOND, VLAN, BRIDGE = (f"DEVTYPE={kind}\n" for kind in ("bond", "vlan", "bridge"))


@pytest.mark.parametrize("kind", [BOND, VLAN, BRIDGE])
@pytest.mark.parametrize("below", ["enp0s3", "bond7"])
def test_C1_what_is_stacked_on_hardware_is_asked(links: Links, kind: str, below: str) -> None:
    links.add("enp0s3", "0x1002")
    links.add("bond7", "0x1002", kind=BOND, over=("enp0s3",))
    links.add("x0", kind=kind, over=(below,))
    links.route("x0")
    assert links.found() == [FOUR.format("x0")]


@pytest.mark.parametrize(
    ("kind", "over"),
    [
        *((kind, ()) for kind in (BOND, VLAN, BRIDGE, "\n")),  # "\n": tun, tap, veth, dummy
        *((kind, ("veth0",)) for kind in (BOND, VLAN, BRIDGE)),
        *((f"DEVTYPE={kind}\n", ("enp0s3",)) for kind in ("vxlan", "macvlan", "xbond")),
        (BRIDGE, ("loop0",)),
    ],
)
def test_C1_no_other_link_is_asked(links: Links, kind: str, over: tuple[str, ...]) -> None:
    links.add("enp0s3", "0x1002")
    links.add("veth0", "0x1002", kind="\n")
    links.add("loop0", "0x1002", kind=BRIDGE, over=("loop0",))
    links.add("x0", kind=kind, over=over)
    links.address("x0")
    links.address("x0", scope="00")
    links.route("x0")
    assert links.found(ec2=True) == []


def test_C1_a_route_over_another_link_does_not_count(links: Links) -> None:
    """A VPN that takes all traffic; a wider route that leads to the hypervisor is used instead."""
    links.add("enp0s3")
    links.add("tun0", kind="\n")
    links.route("tun0", "169.254.0.0/16")
    assert links.found() == []
    links.route("enp0s3", metric=100)
    assert links.found() == [NIC]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("best", "other"),
    [
        (("169.254.0.0/16", 9), ("0.0.0.0/0", 0)),
        (("169.254.169.254/32", 9), ("169.254.0.0/16", 0)),
        (("0.0.0.0/0", 5), ("0.0.0.0/0", 10)),
        (("0.0.0.0/0", 5), ("169.254.169.253/32", 0)),
    ],
)
def test_C1_the_best_route_is_the_kernel_s(
    links: Links, best: tuple[str, int], other: tuple[str, int], turned: bool
) -> None:
    routes = [("enp0s4", best), ("enp0s3", other)]
    for name, (to, metric) in reversed(routes) if turned else routes:
        links.add(name)
        links.route(name, to, metric)
    links.route("enp0s3", "169.254.169.254/32", flags=0x201)
    links.route("enp0s3", "169.254.169.254/32", flags=0)
    assert links.found() == [FOUR.format("enp0s4"), NIC]


def test_C1_a_container_asks_over_the_link_of_its_route_alone(links: Links) -> None:
    for name in ("eth0", "docker0", "veth7"):
        links.add(name, kind="\n")
        links.address(name)
    links.route("docker0", "172.17.0.0/16")
    links.route("eth0")
    assert links.found() == []
    (links.top / "container").write_text("lxc\n")
    assert links.found() == [FOUR.format("eth0"), SIX.format("eth0")]
    links.add("enp0s3")
    assert links.found() == []  # hardware that was handed to the container goes before


@pytest.mark.parametrize("name", ["e[*th0", "eth0]", "eth%0", "a@b", "eth#", "et?h", "\u2100"])
def test_C1_a_link_that_no_url_can_name_spoils_itself_alone(links: Links, name: str) -> None:
    for each in (name, "enp0s3"):
        links.add(each)
        links.address(each)
    links.route("enp0s3")
    assert links.found() == [NIC, SIX.format("enp0s3")]


def test_C1_a_name_that_is_not_utf_8_spoils_its_own_link_alone(links: Links) -> None:
    """The kernel takes any bytes in a name but white space, "/" and ":"."""
    links.add("enp0s3")
    for name in ("\udcff0", "a\x1bb", "ä0"):
        links.add(name)
        links.address(name)
    links.route("ä0")
    links.address("enp0s3")
    found = [FOUR.format("ä0"), SIX.format("enp0s3"), SIX.format("ä0"), FOUR.format("enp0s3")]
    assert links.found() == found


@pytest.mark.parametrize("line", ["", "enp0s3", "enp0s3 x 0 3 0 0 0 0", "a b c d e f"])
def test_a_line_of_another_form_is_no_route_and_no_address(links: Links, line: str) -> None:
    links.add("enp0s3", "1003x")
    assert links.found() == []
    links.add("enp0s4")
    (links.top / "route").write_text(f"Iface\n{line}\n")
    links.route("enp0s4")
    links.lines.append(f"{line}\n")
    links.address("enp0s4")
    assert links.found() == [FOUR.format("enp0s4"), SIX.format("enp0s4")]


def test_a_link_that_goes_meanwhile_is_none(links: Links) -> None:
    links.add("enp0s3")
    (links.top / "net/enp0s3/flags").unlink()
    assert links.found() == []


def test_without_ipv6_the_rest_is_asked(links: Links) -> None:
    links.add("enp0s3")
    links.route("enp0s3")
    (links.top / "if_inet6").unlink(missing_ok=True)
    assert links.found() == [NIC]


def test_without_sysfs_nobody_is_asked(links: Links, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defs, "NET_DIR", "/nowhere")
    assert links.found() == []


@pytest.fixture
def listener() -> Iterator[Endpoint]:
    """A server that is there."""
    with socket.create_server(("127.0.0.1", 0)) as plug:
        port = plug.getsockname()[1]
        yield Endpoint(f"http://127.0.0.1:{port}", "127.0.0.1", port)


def _closed() -> Endpoint:
    with socket.create_server(("127.0.0.1", 0)) as plug:
        port = plug.getsockname()[1]
    return Endpoint(f"http://127.0.0.1:{port}", "127.0.0.1", port)


def _all_connected(connecting: Connecting) -> list[Endpoint]:
    found = []
    end = time.monotonic() + 10
    while connecting and time.monotonic() < end:
        for endpoint, plug in connecting.take_connected(0.1):
            plug.close()
            found.append(endpoint)
    return found


def test_those_that_answer_are_told_from_those_that_refuse(listener: Endpoint) -> None:
    connecting = Connecting([_closed(), listener, _closed()])
    assert _all_connected(connecting) == [listener]
    assert not connecting


def test_a_link_that_is_not_there_is_passed_over(listener: Endpoint) -> None:
    assert not Connecting([listener._replace(interface="nothing0")])
    assert not Connecting([Endpoint("http://[fe80::1]", "fe80::1", 80, "nothing0")])


def test_after_giving_up_there_is_nothing_left_to_wait_for(listener: Endpoint) -> None:
    connecting = Connecting([listener, listener])
    connecting.close()
    assert not connecting
    assert connecting.take_connected(0) == []
    connecting.close()


def test_names_are_resolved_only_where_somebody_set_one(monkeypatch: pytest.MonkeyPatch) -> None:
    flags: dict[str, int] = {}

    def resolve(host: str | bytes, *arguments: object, **more: int) -> list[object]:
        flags[os.fsdecode(host)] = more["flags"]
        raise OSError("no")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    hosts = [*defs.METADATA_ADDRESSES, "metadata.example"]
    assert not Connecting([Endpoint("", host, 80) for host in hosts])
    assert [flags[host] == socket.AI_NUMERICHOST for host in hosts] == [True, True, True, False]
