"""Whom the client talks to, and what it refuses from them."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rig

from guestagent import defs

from . import documents
from .documents import META, NETWORK, USER
from .lab import EC2, IPV4, IPV6, Guest, Lab, Machine, Namespace, Service, ask, documents_and

_PEER = re.compile(r'(?:inet_addr\("|inet_pton\(AF_INET6, ")([^"]+)"')
_PORT = re.compile(r"sin6?_port=htons\((\d+)\)")


def test_C1_only_literal_addresses_are_talked_to(lab: Lab, tmp_path: Path) -> None:
    rig.need_tools("strace")
    lab.serve(lab.link(ipv6=True))
    trace = tmp_path / "trace"
    calls = "trace=connect,sendto,sendmsg,sendmmsg"
    run = lab.guest.fetch(wrapped=("strace", "-f", "-e", calls, "-o", str(trace)))
    assert run.status == 0, run.err
    lines = [line for line in trace.read_text().splitlines() if "AF_INET" in line]
    peers = {peer for line in lines for peer in _PEER.findall(line)}
    assert peers & {IPV4, IPV6}
    assert peers <= {IPV4, IPV6}
    assert {port for line in lines for port in _PORT.findall(line)} == {"80"}


def test_C1_no_sign_of_a_cloud_and_nobody_is_asked(machine: Machine, lab: Lab) -> None:
    service = lab.serve(lab.link(ipv6=True))
    lab.space.dmi(product_name="KVM", product_uuid=documents.UUID)
    before = rig.snapshot(machine.path("etc"))
    (run,) = machine.boot()
    assert run.status == 0
    assert not {"requests", "socket"} & set(run.loaded)
    assert service.log() == []
    assert rig.differences(before, rig.snapshot(machine.path("etc"))) == set()


def test_C1_without_dmi_nobody_is_asked(machine: Machine, lab: Lab) -> None:
    service = lab.serve(lab.link(ipv6=True))
    lab.space.sh(f"rm {lab.space.top}/sys/class/dmi/id/*")
    assert [run.status for run in machine.boot()] == [0]
    assert service.log() == []


@pytest.mark.parametrize("word", ["guestagent.cloud=openstack", "ds=OpenStack"])
def test_C1_without_dmi_the_command_line_can_say_so(machine: Machine, lab: Lab, word: str) -> None:
    service = lab.serve(lab.link())
    lab.space.sh(f"rm {lab.space.top}/sys/class/dmi/id/*")
    lab.space.put("cmdline", f"quiet {word}\n")
    assert [run.status for run in machine.boot()] == [0, 0, 0]
    assert len(service.log()) == 5


# Whoever answers for another machine may say anything as its id, or nothing.
OTHERS = ["11111111-2222-4333-8444-555555555555", "x", None]


@pytest.mark.parametrize("uuid", OTHERS)
def test_C1_another_uuid_than_the_hypervisor_s_changes_nothing(
    machine: Machine, lab: Lab, uuid: str | None
) -> None:
    meta = documents.meta_data(uuid or "")
    if uuid is None:
        del meta["uuid"]
    lab.serve(lab.link(), {"documents": documents_and({META: json.dumps(meta)})})
    machine.boot()
    before = rig.snapshot(machine.path("etc")), rig.snapshot(machine.path("home"))
    runs = machine.boot()
    assert [run.status for run in runs[1:]] == [0, defs.EXIT_WRONG_SOURCE]
    assert "another machine" in runs[-1].err
    after = rig.snapshot(machine.path("etc")), rig.snapshot(machine.path("home"))
    changed = [rig.differences(*pair) for pair in zip(before, after, strict=True)]
    assert changed == [set(), set()]
    assert not machine.path("/home/debian/.ssh/authorized_keys").exists()


def test_C1_another_uuid_in_ec2_s_layout_changes_nothing(machine: Machine, lab: Lab) -> None:
    lab.serve(lab.link(), {"documents": documents.ec2()})
    runs = machine.boot()
    assert runs[-1].status == defs.EXIT_WRONG_SOURCE
    assert not machine.path("/home/debian/.ssh/authorized_keys").exists()


def test_C1_one_service_gives_all_documents(lab: Lab) -> None:
    services = {}
    for name in ("a", "b"):
        changed: dict[str, str | None] = {
            META: json.dumps(documents.meta_data(hostname=name)),
            NETWORK: json.dumps(documents.network_data() | {"name": name}),
            USER: name,
        }
        # The first one also breaks off, so that the client has to connect again.
        steps = {NETWORK: [{"reset": "middle"}, {"status": 503}, {}]}
        script = {"documents": documents_and(changed), "steps": steps}
        services[name] = lab.serve(lab.link(), script)
    run = lab.guest.fetch()
    found = run.answer.documents
    chosen = json.loads(found[META[1:]])["hostname"]
    other = "b" if chosen == "a" else "a"
    assert json.loads(found[NETWORK[1:]])["name"] == chosen
    assert found[USER[1:]].decode() == chosen
    assert len(services[chosen].log()) == 7
    assert set(services[other].paths()) <= {META}


def test_C1_a_link_that_answered_is_kept_though_it_is_not_the_routed_one(lab: Lab) -> None:
    lab.link()  # the routing table prefers it, and nobody answers there
    steps = {NETWORK: [{"reset": "middle"}, {}]}
    service = lab.serve(lab.link(), {"documents": documents_and({}), "steps": steps})
    run = lab.guest.fetch()
    assert (run.answer.error, run.answer.failed) == ("", {}), run.err
    assert run.answer.url == f"http://{IPV4}%enp0s4"
    assert service.paths().count(NETWORK) == 2


def _saying(lab: Lab, name: str, *, uuid: str = documents.UUID, **link: Any) -> Service:
    """A service that says another host name than others, at a new link."""
    meta = json.dumps(documents.meta_data(uuid, name))
    service = lab.serve(lab.link(**link), {"documents": documents_and({META: meta})})
    lab.settle()
    return service


SIX: dict[str, Any] = {"ipv4": False, "ipv6": True}


def test_C1_two_sound_answers_that_differ_are_an_error(lab: Lab) -> None:
    for name in ("a", "b"):
        _saying(lab, name, **SIX)
    answer = lab.guest.fetch().answer
    assert "say different things: http://[" in answer.error
    assert all(f"http://[{IPV6}%{link}]" in answer.error for link in ("enp0s3", "enp0s4"))
    assert (answer.wrong, answer.again, answer.documents) == (True, False, {})


def test_C1_two_sound_answers_that_differ_change_nothing(machine: Machine, lab: Lab) -> None:
    for name in ("a", "b"):
        _saying(lab, name, **SIX)
    assert [run.status for run in machine.boot()] == [0, 0, defs.EXIT_WRONG_SOURCE]
    assert not machine.path("/home/debian/.ssh/authorized_keys").exists()


def test_C1_a_slow_answer_that_differs_is_heard(lab: Lab) -> None:
    _saying(lab, "a", **SIX)
    slow = _saying(lab, "b", **SIX)
    meta: dict[str, str | None] = {META: json.dumps(documents.meta_data(hostname="b"))}
    slow.say({"documents": documents_and(meta), "steps": {META: [{"delay": 0.5}]}})
    assert lab.guest.fetch().answer.wrong


def test_C1_two_links_to_one_service_say_the_same(lab: Lab) -> None:
    services = [_saying(lab, "a", **SIX) for _ in range(2)]
    answer = lab.guest.fetch().answer
    assert answer.error == ""
    assert sorted(len(service.log()) for service in services) == [1, 5]


def test_C1_an_answer_for_another_machine_does_not_count(lab: Lab) -> None:
    """Else any neighbour on any link could keep the guest from its configuration."""
    _saying(lab, "a", uuid="11111111-2222-4333-8444-555555555555", **SIX)
    _saying(lab, "b", **SIX)
    answer = lab.guest.fetch(uuid=documents.UUID).answer
    assert answer.error == ""
    assert answer.url == f"http://[{IPV6}%enp0s4]"


@pytest.mark.parametrize("delay", [0.0, 1.0])
def test_C1_the_link_of_the_route_goes_first(lab: Lab, delay: float) -> None:
    """Nobody else is asked while it works on its answer."""
    other = _saying(lab, "a", **SIX)
    routed = lab.serve(lab.link(), {"steps": {META: [{"delay": delay}]}})
    answer = lab.guest.fetch().answer
    assert answer.url == f"http://{IPV4}%enp0s4"
    assert len(routed.log()) == 5
    assert other.log() == []


# What a guest's own containers, guests and tunnels are to it; each has a service behind it.
_NOT_THE_CLOUD = {
    "veth": "ip link set {port} name x0",
    "docker": "ip link add x0 type bridge; ip link set {port} master x0 up",
    "vxlan over hardware": "ip link add x0 type vxlan id 7 dev enp0s3 dstport 4789",
    "macvlan over hardware": "ip link add link enp0s3 name x0 type macvlan",
    "tun": "ip tuntap add x0 mode tun",
    "tap": "ip tuntap add x0 mode tap",
}


@pytest.mark.parametrize("kind", _NOT_THE_CLOUD)
def test_C1_a_link_that_is_not_hardware_is_not_asked(lab: Lab, kind: str, tmp_path: Path) -> None:
    rig.need_tools("strace")
    lab.link(ipv4=False)
    far = Namespace(tmp_path / "container")
    lab.hold(far)
    port = f"ip link add port type veth peer name eth0 netns {far.pid}"
    far.sh("true")
    make = _NOT_THE_CLOUD[kind].format(port="port")
    route = f"ip address add 169.254.0.1/16 dev x0; ip route add {IPV4}/32 dev x0 metric 1"
    lab.space.sh(f"{port}\n{make}\nip link set x0 up\n{route}")
    far.sh(f"ip address add {IPV4}/16 dev eth0; ip -6 address add {IPV6}/64 dev eth0 nodad")
    far.sh("ip link set eth0 up")
    lab.space.show_links()
    service = lab.serve(far)
    trace = tmp_path / "trace"
    calls = ("strace", "-f", "-e", "trace=connect,setsockopt", "-o", str(trace))
    run = lab.guest.fetch(wait=1.5, wrapped=calls)
    assert run.answer.again
    assert service.log() == []
    text = trace.read_text()
    assert "x0" not in text
    assert "enp0s3" in text  # the only one that is asked


def test_C1_a_bridge_over_hardware_is_asked(lab: Lab) -> None:
    far = lab.link(ipv4=False)
    lab.space.sh(
        "ip link add x0 type bridge\nip link set enp0s3 master x0\nip link set x0 up\n"
        f"ip address add 192.0.2.10/24 dev x0\nip route add {IPV4}/32 dev x0"
    )
    far.sh(f"ip address add {IPV4}/16 dev eth0\nip address add 192.0.2.1/24 dev eth0")
    lab.space.show_links()
    lab.serve(far)
    assert lab.guest.fetch().answer.url == f"http://{IPV4}%x0"


def test_C1_a_container_without_hardware_asks_over_its_route(lab: Lab) -> None:
    far = lab.link()
    service = lab.serve(far)
    lab.space.sh("ip link set enp0s3 down; ip link set enp0s3 name eth0; ip link set eth0 up")
    route = f"ip route add {IPV4}/32 via 192.0.0.1 dev eth0"
    lab.space.sh(route)
    lab.space.show_links()
    assert lab.guest.fetch(wait=0.6).answer.again
    assert service.log() == []
    lab.space.sh("mount -t tmpfs tmpfs /run; mkdir /run/systemd; echo lxc > /run/systemd/container")
    assert lab.guest.fetch().answer.url == f"http://{IPV4}%eth0"


class Trap:
    """A port of loopback that nobody may connect to."""

    def __init__(self) -> None:
        self.plug = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.plug.getsockname()[1]}"

    def sprung(self) -> bool:
        """True if somebody has connected."""
        self.plug.setblocking(False)
        try:
            self.plug.accept()[0].close()
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def trap() -> Iterator[Trap]:
    made = Trap()
    yield made
    made.plug.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("path", [META, NETWORK, USER])
def test_C2_a_redirect_is_a_refusal(service: Service, trap: Trap, path: str, status: int) -> None:
    step = {"status": status, "headers": {"Location": f"{trap.url}/secret"}}
    service.say({"steps": {path: [step]}})
    answer = ask(service)
    if path == META:
        assert answer.error.endswith(f"{path}: HTTP status {status}")
        assert (answer.documents, answer.again) == ({}, False)
    else:
        assert answer.failed == {path[1:]: f"HTTP status {status}"}
        assert path[1:] not in answer.documents
    assert not trap.sprung()
    assert service.paths().count(path) == 1


def test_C2_a_redirect_within_the_service_is_not_followed(service: Service) -> None:
    service.say({"steps": {META: [{"status": 302, "headers": {"Location": "/secret"}}]}})
    assert ask(service).error
    assert service.paths() == [META]


def test_C3_the_environment_names_neither_proxy_nor_password(
    service: Service, here: Guest, trap: Trap, tmp_path: Path
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login CANARY password CANARY\ndefault login CANARY\n")
    netrc.chmod(0o600)
    names = [f"{scheme}_proxy" for scheme in ("http", "https", "all")]
    environment = dict.fromkeys([*names, *map(str.upper, names)], trap.url)
    environment |= {"NETRC": str(netrc), "HOME": str(tmp_path)}
    environment |= dict.fromkeys(("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), "/nowhere")
    run = here.fetch(urls=[service.url], environment=environment)
    assert run.answer.error == ""
    assert not trap.sprung()
    assert {"authorization", "cookie"} & {
        name for line in service.log() for name in line["headers"]
    } == set()
    assert "CANARY" not in str(service.log())


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "x-unknown", "identity, gzip"])
def test_C6_a_compressed_document_is_refused(service: Service, here: Guest, coding: str) -> None:
    bomb = {"encoding": coding, "body": "[]", "repeat": 1 << 24}
    service.say({"steps": {NETWORK: [bomb]}})
    run = here.fetch(urls=[service.url])
    assert "compressed" in run.answer.failed[NETWORK[1:]]
    assert NETWORK[1:] not in run.answer.documents
    assert run.peak < 64 << 10


def test_the_link_s_service_is_asked_without_requests(service: Service, here: Guest) -> None:
    run = here.fetch(urls=[service.url])
    assert run.answer.error == ""
    assert not {"requests", "urllib3"} & set(run.loaded)


def test_C6_nobody_asks_for_compression(service: Service) -> None:
    ask(service)
    assert {line["headers"]["accept-encoding"] for line in service.log()} == {"identity"}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("path", [META, NETWORK])
@pytest.mark.parametrize("kind", ["text/html", "application/json", "text/plain"])
def test_a_page_in_place_of_a_document_is_asked_for_again(
    service: Service, path: str, kind: str
) -> None:
    page = {"body": "\n<!DOCTYPE html><title>503</title>", "headers": {"Content-Type": kind}}
    service.say({"steps": {path: [page, page, {}]}})
    answer = ask(service)
    assert answer.error == ""
    assert answer.documents[path[1:]].startswith(b"{")
    assert service.paths().count(path) == 3


def test_user_data_may_be_a_page(service: Service) -> None:
    service.say({"documents": documents_and({USER: "<powershell></powershell>"})})
    answer = ask(service)
    assert answer.documents[USER[1:]] == b"<powershell></powershell>"


@pytest.mark.parametrize("kind", ["", "text/html", "image/png", "multipart/x; boundary=y", "\xff"])
def test_the_content_type_does_not_matter(service: Service, kind: str) -> None:
    service.say({"steps": {"*": [{"headers": {"Content-Type": kind}}]}})
    assert len(ask(service).documents) == 5


def test_what_a_service_says_of_itself_forges_no_line_of_the_journal(
    service: Service, here: Guest
) -> None:
    service.say(
        {
            "steps": {
                "*": [
                    {
                        "status": 400,
                        "body": "\x1b[31m\nforged",
                        "headers": {"Content-Type": "\x1b[31m"},
                    }
                ]
            }
        }
    )
    run = here.fetch(urls=[service.url])
    assert run.err.isascii()
    assert run.err.count("\n") == 1
    assert "\x1b" not in run.err


def test_credentials_are_never_asked_for(service: Service) -> None:
    service.say({"documents": documents.ec2(), "imds": {}})
    answer = ask(service, EC2)
    assert answer.error == ""
    assert "CANARY" not in str(answer)
    assert not [path for path in service.paths() if "iam" in path or "credentials" in path]


def test_the_answer_can_be_read_by_its_owner_alone(machine: Machine, lab: Lab) -> None:
    lab.serve(lab.link())
    machine.boot()
    mode = os.stat(machine.path(defs.REQUEST_FILE)).st_mode
    assert mode & 0o7777 == 0o600
