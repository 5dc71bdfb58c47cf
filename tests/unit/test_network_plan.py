"""Which files the network becomes, for which NICs, and what is said about the rest."""

from __future__ import annotations

import pytest
from network_samples import (
    BAD_FIELDS,
    LABEL,
    LABEL2,
    LABEL3,
    MAC,
    MAC2,
    MAC3,
    NICS,
    ORIGIN,
    RESOLV_LINE,
    bond,
    facts,
    interface,
    member,
    network,
    planned,
    route,
    strange_lines,
    vlan,
)

from guestagent import defs
from guestagent.desired.network import files_of_gone_nics, macs_of_nics, plan_new_nics
from guestagent.errors import Problem
from guestagent.model import Facts, InstanceData, Interface, Network, Nic
from guestagent.plan.kinds.file import File
from guestagent.plan.wanted import Ask, Wanted
from guestagent.settings import Settings

PATH, PATH2, PATH3 = (
    f"/etc/systemd/network/10-guestagent-{label}.network" for label in (LABEL, LABEL2, LABEL3)
)
OTHER = "52:54:00:00:00:99"
SETTINGS = Settings(network_other_nics=False)
SECRET_MODES = {"networkmanager": 0o600, "netplan": 0o600}


def resources(
    data: Network | None, given: Facts, backend: str = "", policy: bool = False
) -> tuple[list[File], list[Problem]]:
    """Return what is planned with a back end of the settings, and the problems."""
    settings = SETTINGS._replace(network_backend=backend, network_policy_routing=policy)
    wanted, problems = planned(data, given, settings)
    found = []
    for resource in wanted:
        assert isinstance(resource, File)
        assert (resource.kind, resource.secret) == ("file", False)
        found.append(resource)
    return found, problems


def files(
    data: Network | None, given: Facts, backend: str = "", policy: bool = False
) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Path → text of what is planned, and severity and origin key of the problems."""
    wanted, problems = resources(data, given, backend, policy)
    found = {file.path: file.content.decode() for file in wanted}
    assert len(found) == len(wanted)
    return found, [(problem.severity, problem.key) for problem in problems]


def test_each_interface_is_a_networkd_file_with_its_origin() -> None:
    origin = ORIGIN._replace(key="links[0]")
    data = network(interface(origin=origin), interface(mac=MAC2, addresses=("192.0.2.6/24",)))
    assert list(files(data, facts())[0]) == [PATH, PATH2]
    assert files(data, facts())[1] == []
    assert resources(data, facts())[0][0].why == origin


def test_a_backend_that_is_asked_for_wins_over_the_facts() -> None:
    found, _ = files(network(interface()), facts(), "ifupdown")
    assert list(found) == [f"{defs.IFUPDOWN_DIR}/50-guestagent"]


@pytest.mark.parametrize("backend", defs.NETWORK_STACKS)
@pytest.mark.parametrize("asked", [True, False])
def test_files_are_those_of_the_back_end_and_guestagents_own(backend: str, asked: bool) -> None:
    data = network(interface(), interface(mac=MAC2, addresses=(), dhcp4=True))
    given = facts(stack="" if asked else backend)
    wanted, problems = resources(data, given, backend if asked else "")
    assert (bool(wanted), problems) == (True, [])
    for file in wanted:
        assert file.path.startswith(defs.NETWORK_STACK_FILES[backend])
        assert file.mode == SECRET_MODES.get(backend, 0o644)
        assert file.content.endswith(b"\n")


@pytest.mark.parametrize("data", [None, network(interface())])
def test_without_a_known_backend_nothing_is_written(data: Network | None) -> None:
    found, problems = files(data, facts(stack=""))
    assert (found, [severity for severity, _ in problems]) == ({}, ["error"])


def test_mac_addresses_match_in_any_case() -> None:
    given = facts(nics=(Nic("enp0s3", "52:54:00:AA:BB:CC"),))
    found, problems = files(network(interface(mac="52:54:00:aa:bb:cc")), given)
    assert (list(found), problems) == ([PATH.replace(LABEL, "nic525400aabbcc")], [])


def test_a_nic_known_by_name_gets_its_mac_address() -> None:
    found, problems = files(network(interface(mac="", name="enp0s4")), facts())
    assert (list(found), problems) == ([PATH2], [])


@pytest.mark.parametrize("absent", [{"mac": OTHER}, {"mac": "", "name": "eth9"}])
def test_an_interface_that_the_guest_lacks_is_an_error_and_the_rest_goes_on(
    absent: dict[str, str],
) -> None:
    lost = interface(origin=ORIGIN._replace(key="links[1]"), **absent)
    found, problems = files(network(lost, interface()), facts())
    assert (list(found), problems) == ([PATH], [("error", "links[1]")])


@pytest.mark.parametrize(
    ("absent", "wanted"),
    [({"mac": OTHER}, f"MAC address {OTHER}"), ({"mac": "", "name": "eth9"}, "name eth9")],
)
def test_the_nic_that_is_not_there_is_named_and_those_that_are(
    absent: dict[str, str], wanted: str
) -> None:
    _, problems = resources(network(interface(**absent), interface()), facts())
    (problem,) = problems
    present = ", ".join(f"{nic.name} {nic.mac}" for nic in NICS)
    assert problem.reason == (
        f"no NIC of this guest has the {wanted} (NICs present: {present}); ignored"
    )


def test_of_many_nics_a_message_lists_some() -> None:
    nics = tuple(Nic(f"eth{number}", f"52:54:00:00:02:{number:02x}") for number in range(20))
    _, problems = resources(network(interface(mac=OTHER)), facts(nics=nics))
    assert "eth7 52:54:00:00:02:07, 12 more)" in problems[0].reason
    assert "eth8" not in problems[0].reason


@pytest.mark.parametrize("length", [24, 32])
def test_two_nics_with_one_address_are_a_warning_that_names_both(length: int) -> None:
    again = interface(
        mac=MAC2, addresses=(f"192.0.2.5/{length}",), origin=ORIGIN._replace(key="networks[1]")
    )
    wanted, problems = resources(network(interface(addresses=("192.0.2.5/24",)), again), facts())
    assert [file.path for file in wanted] == [PATH, PATH2]
    assert [(problem.severity, problem.key) for problem in problems] == [("warning", "networks[1]")]
    for word in ("192.0.2.5 is the address of both", "enp0s3 and enp0s4", "of its own"):
        assert word in problems[0].reason


def test_one_link_local_address_on_two_nics_is_no_mistake() -> None:
    local = {"addresses": ("fe80::1/64",)}
    assert files(network(interface(**local), interface(mac=MAC2, **local)), facts())[1] == []


def test_two_interfaces_for_one_nic_are_an_error() -> None:
    twice = interface(mac="", name="enp0s3", origin=ORIGIN._replace(key="line 9"))
    found, problems = files(network(interface(), twice), facts())
    assert (list(found), problems) == ([PATH], [("error", "line 9")])


def test_a_bond_and_a_vlan_are_files_by_the_names_they_get() -> None:
    data = network(
        vlan("lag", 9, id="v", name="data.9", addresses=("198.51.100.5/24",)),
        bond("a", "b", id="lag", name=""),
        member(MAC, id="a"),
        member(MAC2, id="b"),
    )
    found, problems = files(data, facts())
    stem = "/etc/systemd/network/10-guestagent-"
    made = [f"{stem}bond0.netdev", f"{stem}bond0.network"]
    made += [f"{stem}data.9.netdev", f"{stem}data.9.network"]
    assert (list(found), problems) == ([PATH, PATH2, *made], [])
    assert "Bond=bond0" in found[PATH]
    assert "VLAN=data.9" in found[made[1]]


@pytest.mark.parametrize("backend", defs.NETWORK_STACKS)
def test_in_an_offline_tree_all_interfaces_are_rendered(backend: str) -> None:
    data = network(
        interface(),
        interface(mac=OTHER, addresses=("192.0.2.6/24",)),
        interface(mac="", name="eth7", id="eth7", addresses=("192.0.2.7/24",)),
    )
    found, problems = files(data, facts(live=False, nics=None), backend)
    text = "".join(found.values()).lower()
    assert problems == []
    assert all(name in text for name in (MAC, OTHER, "eth7"))


UNUSABLE = [
    None,
    network(),
    network(interface(mac=OTHER)),
    network(interface(addresses=(), mtu=9000)),
    network(member(MAC), bond(LABEL, addresses=())),
    network(member(OTHER, id="x"), bond("x"), vlan("bond0")),
]


@pytest.mark.parametrize("data", UNUSABLE)
@pytest.mark.parametrize("backend", defs.NETWORK_STACKS)
def test_fallback_is_dhcp_on_every_nic_and_the_report_says_so(
    data: Network | None, backend: str
) -> None:
    expected, _ = files(None, facts(), backend)
    wanted, problems = resources(data, facts(), backend)
    assert {file.path: file.content.decode() for file in wanted} == expected
    told = [problem for problem in problems if "every NIC gets DHCP" in problem.reason]
    assert [(problem.severity, problem.key) for problem in told] == [
        ("warning", "network" if data is None else "")
    ]


def test_fallback_is_dhcpv4_and_router_advertisements_not_waited_for() -> None:
    found, _ = files(None, facts())
    online = found.pop(defs.WAIT_ONLINE_FILE)
    names = " ".join(f"--interface={nic.name}" for nic in NICS)
    words = f"--any --operational-state=routable {names}"
    assert online.splitlines()[1:] == [f"GUESTAGENT_WAIT_ONLINE={words}"]
    assert list(found) == [PATH, PATH2, PATH3]
    for text in found.values():
        assert "[Link]\nRequiredForOnline=no\n" in text
        assert "DHCP=ipv4\nIPv6AcceptRA=yes\n" in text
        assert "DHCPv6Client" not in text
    metrics = [text.count("RouteMetric") for text in found.values()]
    assert metrics == [0, 2, 2]
    assert len(set(found.values())) == len(found)


@pytest.mark.parametrize("backend", ["networkmanager", "ifupdown"])
def test_only_systemds_wait_online_is_given_names(backend: str) -> None:
    assert defs.WAIT_ONLINE_FILE not in files(None, facts(), backend)[0]


@pytest.mark.parametrize("data", [None, network()])
@pytest.mark.parametrize("asked", [True, False])
def test_fallback_has_link_local_ipv4_only_where_no_source_was_read(
    data: Network | None, asked: bool
) -> None:
    settings = SETTINGS._replace(metadata_link_local_ipv4=asked)
    wanted, _ = planned(data, facts(), settings)
    found = [file for file in wanted if isinstance(file, File)]
    texts = [file.content for file in found if file.path != defs.WAIT_ONLINE_FILE]
    has = {b"LinkLocalAddressing=yes\n" in text for text in texts}
    assert (len(texts), has) == (len(NICS), {asked and data is None})


def test_fallback_has_one_interface_for_two_nics_with_one_address() -> None:
    nics = (Nic("eth0", MAC), Nic("eth1", MAC2), Nic("enP1s2", MAC))
    found, problems = files(None, facts(nics=nics))
    online = found.pop(defs.WAIT_ONLINE_FILE)
    assert online.count("--interface=") == 2
    assert (list(found), problems) == ([PATH, PATH2], [("warning", "network")])
    text = files(None, facts(nics=nics), "netplan")[0][defs.NETPLAN_FILE]
    assert text.count(MAC) == text.count(MAC2) == 1


def test_fallback_knows_nics_without_a_mac_address_by_name() -> None:
    found, problems = files(None, facts(nics=(Nic("ib0", ""), Nic("ib1", ""))))
    del found[defs.WAIT_ONLINE_FILE]
    assert [path.rpartition("-")[2] for path in found] == ["ib0.network", "ib1.network"]
    assert problems == [("warning", "network")]


@pytest.mark.parametrize(
    "usable",
    [
        {},
        {"addresses": (), "dhcp4": True},
        {"addresses": (), "dhcp6": "slaac", "accept_ra": True},
        {"addresses": (), "accept_ra": True},
        {"addresses": ("2001:db8::5/64",), "accept_ra": False},
    ],
)
def test_no_fallback_where_one_interface_can_have_an_address(usable: dict[str, object]) -> None:
    data = network(interface(mac=OTHER), interface(mac=MAC2, **usable))
    found, problems = files(data, facts())
    assert (list(found), problems) == ([PATH2], [("error", "")])


def test_no_fallback_where_the_nics_are_not_known() -> None:
    assert files(None, facts(nics=None)) == ({}, [])
    assert files(None, facts(nics=None, stack="")) == ({}, [])
    assert files(network(), facts(nics=None)) == ({}, [("warning", "")])


def test_without_nics_nothing_is_written() -> None:
    assert files(None, facts(nics=())) == ({}, [("warning", "network")])
    assert files(network(interface()), facts(nics=()))[0] == {}


def test_default_routes_by_protocol_are_ordered() -> None:
    dynamic = {"addresses": (), "dhcp4": True}
    found, _ = files(network(interface(**dynamic), interface(mac=MAC2, **dynamic)), facts())
    assert "RouteMetric" not in found[PATH]
    assert "[DHCPv4]\nRouteMetric=1074\n" in found[PATH2]


def test_a_static_default_route_never_shares_its_metric_with_an_advertised_one() -> None:
    static = interface(
        accept_ra=False,
        addresses=("2001:db8::5/64",),
        routes=(route(destination="::/0", gateway="fe80::1"),),
    )
    slaac = interface(mac=MAC2, addresses=(), dhcp6="slaac", accept_ra=True)
    for order in ((static, slaac), (slaac, static)):
        found, _ = files(network(*order), facts())
        assert "RouteMetric=1074\n" in found[PATH2]


def test_policy_routing_is_there_only_where_it_is_asked_for() -> None:
    second = interface(mac=MAC2, addresses=("198.51.100.5/24",), routes=(route(metric=100),))
    data = network(interface(routes=(route(),)), second)
    usual, _ = files(data, facts())
    assert not any("Table=" in text for text in usual.values())
    found, _ = files(data, facts(), policy=True)
    assert found[PATH] == usual[PATH]
    assert "[RoutingPolicyRule]\nFrom=198.51.100.5/32\nTable=101\n" in found[PATH2]


def test_what_the_back_end_has_no_word_for_is_a_warning_at_its_origin() -> None:
    origin = ORIGIN._replace(key="links[2]")
    options = (("xmit_hash_policy", "vlan+srcmac"),)
    data = network(member(MAC), bond(LABEL, mode="802.3ad", options=options, origin=origin))
    found, problems = files(data, facts())
    assert problems == [("warning", "links[2]")]
    assert len(found) == 3


@pytest.mark.parametrize(
    ("resolver", "backend", "written", "warned"),
    [
        ("resolved", "networkd", False, False),
        ("resolved", "netplan", False, False),
        ("resolved", "ifupdown", False, False),
        ("resolved", "networkmanager", False, False),
        ("resolvconf", "ifupdown", False, False),
        ("resolvconf", "networkd", False, True),
        ("resolvconf", "networkmanager", False, False),
        ("file", "networkd", True, False),
        ("file", "ifupdown", True, False),
        ("file", "networkmanager", False, False),
    ],
)
def test_resolv_conf_is_written_only_where_nothing_else_does(
    resolver: str, backend: str, written: bool, warned: bool
) -> None:
    data = network(interface(dns=("192.0.2.53",)))
    found, problems = files(data, facts(resolver=resolver), backend)
    assert (defs.RESOLV_CONF in found, bool(problems)) == (written, warned)


def test_resolv_conf_lists_every_server_and_domain_once() -> None:
    data = network(
        interface(dns=("192.0.2.53", "2001:db8::53"), search=("lan",)),
        interface(mac=MAC2, dns=("192.0.2.53", "192.0.2.54"), search=("lan", "example.org")),
    )
    found, _ = files(data, facts(resolver="file"))
    assert found[defs.RESOLV_CONF] == (
        "# Written by guestagent.\nsearch lan example.org\nnameserver 192.0.2.53\n"
        "nameserver 2001:db8::53\nnameserver 192.0.2.54\n"
    )
    assert strange_lines(found[defs.RESOLV_CONF], RESOLV_LINE) == []


@pytest.mark.parametrize("search", [(), ("lan",)])
def test_without_a_server_resolv_conf_is_left_alone(search: tuple[str, ...]) -> None:
    assert list(files(network(interface(search=search)), facts(resolver="file"))[0]) == [PATH]


def test_E5_E7_an_invalid_interface_is_left_out_and_the_rest_goes_on() -> None:
    good = interface(mac=MAC2)
    given = facts(nics=None, resolver="file")
    alone = files(network(good), given)[0]
    for name, bad in BAD_FIELDS:
        found, problems = files(network(good, bad), given)
        assert (found, [severity for severity, _ in problems]) == (alone, ["error"]), name


@pytest.mark.parametrize("backend", defs.NETWORK_STACKS)
def test_the_same_data_give_the_same_files(backend: str) -> None:
    data = network(interface(routes=(route(),), dns=("192.0.2.53",)), interface(mac=MAC3))
    first, second = (files(data, facts(nics=nics), backend) for nics in (NICS, NICS[::-1]))
    assert first == second


DNS = "192.0.2.53"
STATIC = ("192.0.2.7/24",)


@pytest.mark.parametrize(
    ("first", "silent"),
    [
        # What the source says matters most.
        (interface(dhcp4=True, dns=(DNS,)), {"enp0s3", "enp0s4", "enp0s5"}),
        (interface(addresses=STATIC, dns=(DNS,)), {"enp0s4", "enp0s5"}),
        # Then what NICs that it names have of leases.
        (interface(dhcp4=True), {"enp0s4", "enp0s5"}),
        (interface(dhcp6="stateless", accept_ra=True), {"enp0s4", "enp0s5"}),
        (interface(addresses=STATIC), set()),
    ],
)
def test_no_lease_replaces_dns_servers_that_matter_more(first: Interface, silent: set[str]) -> None:
    given = facts(stack="ifupdown", resolver="file")
    wanted, _ = planned(network(first), given, OTHERS)
    found = {item.path: item.content.decode() for item in wanted if item.kind == "file"}
    blocks = found[defs.NETWORK_STACK_FILES["ifupdown"]].split("auto ")
    marked = {block.split()[0] for block in blocks if "GUESTAGENT_DNS=no" in block}
    assert marked == silent
    assert (defs.DHCLIENT_HOOK in found) is bool(silent)
    for resolver, stack in (("resolvconf", "ifupdown"), ("file", "networkd")):
        wanted, _ = planned(network(first), facts(stack=stack, resolver=resolver), OTHERS)
        texts = [item.content.decode() for item in wanted if item.kind == "file"]
        assert "GUESTAGENT_DNS" not in "".join(texts)


OTHERS = Settings(network_other_nics=True)


def others(given: Facts, data: Network | None = None) -> list[str]:
    """Return the NICs that no document names and that are configured, by their labels."""
    wanted, _ = planned(data or network(interface()), given, OTHERS)
    paths = [item.path for item in wanted if item.kind == "file"]
    last = defs.NETWORKD_LAST_FILES
    return [path[len(last) : -len(".network")] for path in paths if path.startswith(last)]


def test_nics_that_no_document_names_are_configured_last() -> None:
    assert others(facts()) == [LABEL2, LABEL3]


def test_a_nic_that_takes_the_place_of_a_named_one_is_configured() -> None:
    """The document still has the MAC address of the NIC that is gone."""
    nics = (Nic("enp0s3", MAC), Nic("enp0s9", MAC3))
    data = network(interface(), interface(mac=MAC2))
    _, problems = planned(data, facts(nics=nics), OTHERS)
    assert others(facts(nics=nics), data) == [LABEL3]
    assert problems


def test_a_nic_that_the_document_gives_no_network_is_named() -> None:
    idle = interface(mac=MAC2, addresses=(), routes=(), dhcp4=False, accept_ra=False)
    assert others(facts(), network(interface(), idle)) == [LABEL3]


def test_members_and_virtual_functions_are_left_alone() -> None:
    member_now = Nic("eth9", MAC3, member=True)
    nics = (Nic("enp0s3", MAC), Nic("eth1", MAC2), member_now, Nic("enP1s2", MAC))
    assert others(facts(nics=nics)) == [LABEL2]


def test_beside_a_network_that_cannot_be_used_no_nic_is_added() -> None:
    assert others(facts(), network(interface())._replace(partial=True)) == []


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ({"enp0s4"}, [3]),
        ({"/enp0s[45]"}, []),
        ({"/enp0s4=wan"}, [3]),
        ({"enp0s45", "/eth*"}, [2, 3]),
    ],
)
def test_a_nic_of_the_image_s_interfaces_file_is_left_alone(
    words: set[str], left: list[int]
) -> None:
    given = facts(stack="ifupdown", interfaces_words=frozenset(words))
    wanted, _ = planned(network(interface()), given, OTHERS)
    text = "".join(item.content.decode() for item in wanted if item.kind == "file")
    assert [number for number in (2, 3) if f"auto enp0s{number + 2}\n" in text] == left


@pytest.mark.parametrize("backend", defs.NETWORK_STACKS)
def test_without_a_source_a_new_nic_gets_a_file_of_its_own(backend: str) -> None:
    old, new = NICS[:2]
    before, _ = files(network(interface(mac=old.mac)), facts(nics=(old,)), backend)
    settings = Settings(network_backend=backend)
    wanted = Wanted()
    plan_new_nics(Ask(InstanceData(), facts(nics=(old, new)), settings), before, wanted)
    assert wanted.problems == []
    (file,) = wanted.resources
    assert isinstance(file, File)
    assert (new.mac.replace(":", "") in file.path, file.path in before) == (True, False)
    # What reads, reloads and takes back the network's files knows it by its name.
    assert file.path.startswith(defs.NETWORK_FILES)
    present = before | {file.path: file.content.decode()}
    for nics, gone in (((old, new), set()), ((old,), {file.path}), ((new,), set())):
        ask = Ask(InstanceData(), facts(nics=nics), settings)
        assert files_of_gone_nics(ask, present, wanted) == gone
    # What has a file keeps it, whatever the NIC would get now.
    again = Wanted()
    ask = Ask(InstanceData(), facts(nics=(old,)), settings)
    plan_new_nics(ask, before, again)
    assert (again.resources, again.problems) == ([], [])


def macs(given: Facts, *interfaces: Interface, complete: bool = True, backend: str = "") -> object:
    """The MAC addresses by which a later boot may compare the NICs."""
    data = network(*interfaces)
    settings = SETTINGS._replace(network_backend=backend)
    ask = Ask(InstanceData(network=data), given, settings, complete=complete)
    return macs_of_nics(ask, planned(data, given, ask.settings)[0])


BY_NAME = interface(mac="", name=NICS[0].name, id=NICS[0].name)
ONLINE_BY_NAME = interface(required=False)


@pytest.mark.parametrize("stack", ["networkd", "networkmanager", "netplan"])
def test_names_make_no_difference_where_files_and_source_go_by_mac(stack: str) -> None:
    assert macs(facts(stack=stack), interface()) == (MAC, MAC2, MAC3)
    stacked = (interface(), member(MAC2), bond(LABEL2), vlan())
    assert macs(facts(stack=stack), *stacked) == (MAC, MAC2, MAC3)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (facts(stack="ifupdown"), interface()),
        (facts(nics=(*NICS, Nic("ib0", ""))), interface()),
        (facts(), BY_NAME),
        (facts(), ONLINE_BY_NAME),
    ],
    ids=["ifupdown", "no MAC", "source by name", "file with a name"],
)
def test_names_make_a_difference(given: Facts, wanted: Interface) -> None:
    assert macs(given, wanted) == ()


def test_what_is_not_all_known_is_compared_as_a_whole() -> None:
    assert macs(facts(), interface(), complete=False) == ()
    assert macs(facts(), interface(), backend="ifupdown") == ()
