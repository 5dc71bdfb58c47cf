"""Which addresses and links are asked."""

from __future__ import annotations

from . import documents
from .documents import META
from .lab import IPV4, IPV6, Lab

UNIQUE = "fd00:ec2::254"


def test_C7_a_complete_read_is_five_requests_on_one_connection(lab: Lab) -> None:
    service = lab.serve(lab.link())
    run = lab.guest.fetch()
    assert run.status == 0, run.err
    answer = run.answer
    assert sorted(f"/{name}" for name in answer.documents) == sorted(documents.FIVE)
    assert answer.url == f"http://{IPV4}%enp0s3"
    log = service.log()
    assert [line["path"] for line in log] == list(documents.FIVE)
    assert len({line["connection"] for line in log}) == 1
    assert answer.requests == len(log)


def test_C8_link_local_ipv6_alone_is_enough(lab: Lab) -> None:
    service = lab.serve(lab.link(ipv4=False, ipv6=True))
    run = lab.guest.fetch(wait=3.0)
    assert run.answer.url == f"http://[{IPV6}%enp0s3]"
    assert {line["host"] for line in service.log()} == {f"[{IPV6}]"}
    assert len({line["connection"] for line in service.log()}) == 1


def test_C8_a_black_hole_does_not_hold_up_the_other_address(lab: Lab) -> None:
    far = lab.link(ipv4=False, ipv6=True)
    service = lab.serve(far)
    # The address has a neighbour, who drops what is not for him.
    mac = far.run("cat", f"{far.top}/sysfs/class/net/eth0/address").strip()
    lab.space.sh(
        f"ip address add 192.0.2.10/24 dev enp0s3\n"
        f"ip route add {IPV4}/32 dev enp0s3\n"
        f"ip neighbour add {IPV4} lladdr {mac} dev enp0s3 nud permanent"
    )
    run = lab.guest.fetch(wait=3.0)
    assert run.answer.url == f"http://[{IPV6}%enp0s3]"
    assert len(service.log()) == 5


def test_C8_32_links_and_the_last_one_has_the_service(lab: Lab) -> None:
    lines = []
    for number in range(32):
        name = f"enp1s{number}"
        lines += [f"ip link add {name} type veth peer name e{number}"]
        lines += [f"ip link set e{number} up", f"ip link set {name} up"]
    lab.space.sh("\n".join(lines))
    service = lab.serve(lab.link(ipv4=False, ipv6=True))
    run = lab.guest.fetch(wait=5.0)
    assert run.answer.url == f"http://[{IPV6}%enp0s3]"
    assert service.paths()[-5:] == list(documents.FIVE)


def test_C8_links_that_hang_do_not_hold_up_one_that_answers(lab: Lab) -> None:
    for _ in range(3):
        lab.serve(lab.link(ipv4=False, ipv6=True), {"steps": {"*": [{"hang": True}]}})
    service = lab.serve(lab.link(ipv4=False, ipv6=True))
    run = lab.guest.fetch(wait=5.0)
    assert run.answer.url == f"http://[{IPV6}%enp0s6]"
    assert len(service.log()) == 5


def test_C8_where_the_route_leads_astray_the_other_links_are_asked(lab: Lab) -> None:
    lab.link()
    service = lab.serve(lab.link())
    answer = lab.guest.fetch().answer
    assert answer.url == f"http://{IPV4}%enp0s4"
    assert {line["host"] for line in service.log()} == {IPV4}


def test_a_link_that_is_down_is_not_asked(lab: Lab) -> None:
    service = lab.serve(lab.link(ipv6=True))
    lab.space.sh("ip link set enp0s3 down")
    run = lab.guest.fetch(wait=0.6)
    assert run.answer.error.startswith("no metadata service answered: no link is up")
    assert run.answer.again
    assert service.log() == []


def test_a_link_that_comes_up_while_the_agent_waits_is_asked(lab: Lab) -> None:
    lab.serve(lab.link(ipv4=False, ipv6=True))
    lab.space.sh("ip link set enp0s3 down")
    script = '(sleep 1; ip link set enp0s3 up) & exec "$@"'
    run = lab.guest.fetch(wrapped=("sh", "-c", script, "sh"))
    assert run.answer.error == ""


def test_ec2_s_own_ipv6_address_is_asked_where_there_is_an_address_for_it(lab: Lab) -> None:
    far = lab.link(ipv4=False)
    service = lab.serve(far, {"documents": documents.ec2(), "imds": {}})
    far.sh(f"ip -6 address add {UNIQUE}/64 dev eth0 nodad")
    lab.space.sh("ip -6 address add fd00:ec2::10/64 dev enp0s3 nodad")
    run = lab.guest.fetch(cloud={"name": "ec2", "tokens": True})
    assert run.answer.url == f"http://[{UNIQUE}%enp0s3]"
    assert {line["host"] for line in service.log()} == {f"[{UNIQUE}]"}


def test_a_black_hole_and_a_service_that_hangs_end_in_time(lab: Lab) -> None:
    far = lab.link(ipv6=True)
    service = lab.serve(far, {"steps": {"*": [{"hang": True}]}})
    mac = far.run("cat", f"{far.top}/sysfs/class/net/eth0/address").strip()
    far.sh(f"ip address delete {IPV4}/16 dev eth0")
    lab.space.sh(f"ip neighbour add 192.0.0.1 lladdr {mac} dev enp0s3 nud permanent")
    limits = {"CONNECT_TIMEOUT": 0.3, "READ_TIMEOUT": 1.0}
    run = lab.guest.fetch(wait=3.0, limits=limits)
    assert run.status == 0, run.err
    assert run.answer.again
    assert service.paths().count(META) >= 2
