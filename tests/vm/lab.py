"""A laboratory in one guest: three NICs under test, and a router at the other ends of their cables.

The router is a network namespace of the same guest, with three NICs of its own; neither the
agent nor a network stack sees them.  In it dnsmasq serves what a case needs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from network.allowances import allowed
from network.case import MACS, NAMES, Case
from network.facts import Link

from .drives import make_iso, make_tree
from .guest import Guest, Nic, patience
from .image import GuestImage, Network
from .kernel import LOOK, Kernel, Learnt, Route, differences, expected, observed
from .machine import SMBIOS, Drive
from .scenario import REPORT, settings_argument

DNS4, DNS6 = "100.64.0.53", "2001:db8:53::53"
DRIVE = "/run/lab/drive"
_CONFIG, _PID, _LOG = "/run/lab/dnsmasq.conf", "/run/lab/dnsmasq.pid", "/run/lab/dnsmasq.log"
_POLICY = "/etc/guestagent/guestagent.toml.d/20-lab.toml"
# A lease for whoever asks: what is served is forgotten with each start of dnsmasq.
_DNSMASQ = f"""\
port=0
no-ping
leasefile-ro
dhcp-authoritative
enable-ra
pid-file={_PID}
log-facility={_LOG}
log-dhcp
dhcp-option=option:dns-server,{DNS4}
dhcp-option=option6:dns-server,[{DNS6}]
"""


class Segment(NamedTuple):
    """A network of the router: its interface there, and how its addresses begin."""

    interface: str
    four: str
    six: str

    @property
    def lease4(self) -> str:
        return f"{self.four}100"

    @property
    def lease6(self) -> str:
        return f"{self.six}:100"

    @property
    def commands(self) -> str:
        """For ip(8): the addresses of the router."""
        addresses = (f"{self.four}1/24", f"{self.six}:1/64 nodad", "fe80::1/64 nodad")
        return "".join(f"address add {one} dev {self.interface}\n" for one in addresses)


HUBS = (
    Segment("hub0", "192.0.2.", "2001:db8:1:"),
    Segment("hub1", "198.51.100.", "2001:db8:2:"),
    Segment("hub2", "203.0.113.", "2001:db8:3:"),
)
VLAN = Segment("vlan", "10.100.0.", "2001:db8:100:")


def segment_of(link: Link, links: Mapping[str, Link]) -> Segment | None:
    """Where the frames of a link arrive; None for a bond that sends them anywhere."""
    if link.vlan is not None:
        return VLAN
    if link.bond is None:
        return HUBS[NAMES.index(link.name)]
    primary = dict(link.bond.options).get("primary", "")
    if not primary and len(link.bond.members) == 1:
        (primary,) = link.bond.members
    return HUBS[NAMES.index(primary)] if primary else None


def learnt(link: Link, segment: Segment | None, rdnss: bool) -> Learnt:
    """What a link gets from the router; `rdnss` says if its stack reads DNS servers there."""
    if segment is None:
        assert not link.dhcp4, f"{link.name}: nobody knows which router answers"
        assert not link.accept_ra, f"{link.name}: nobody knows which router answers"
        return Learnt()
    addresses, routes, dns = set(), set(), set()
    advertised = (f"{segment.six}:/64", Route("::/0", "fe80::1", None), DNS6)
    if link.dhcp4:
        addresses.add(f"{segment.lease4}/24")
        routes.add(Route("0.0.0.0/0", f"{segment.four}1", link.metric))
        dns.add(DNS4)
    if link.accept_ra:
        addresses.add(f"{segment.lease6}/128" if link.dhcp6 == "stateful" else advertised[0])
        routes.add(advertised[1]._replace(metric=link.metric))
        dns |= {DNS6} if rdnss or link.dhcp6 in ("stateful", "stateless") else set()
    # The kernel's routes to them go when their time is up, whatever becomes of the addresses.
    timed = (advertised[0], f"{segment.lease6}/128")
    stale: set[str | Route] = {Route(destination, "", None) for destination in timed}
    stale |= set(advertised) if link.accept_ra is not False else set()
    return Learnt(frozenset(addresses), frozenset(routes), frozenset(dns), frozenset(stale))


def served(links: Mapping[str, Link]) -> str:
    """Compose dnsmasq's configuration: router advertisements also where they must be ignored."""
    lines = [_DNSMASQ]
    for link in links.values():
        segment = segment_of(link, links)
        if segment is None or not (link.dhcp4 or link.accept_ra is not None):
            continue
        lines.append(f"interface={segment.interface}")
        lines.append(f"dhcp-range={segment.lease4},{segment.lease4},255.255.255.0,1h")
        if link.accept_ra is None:
            continue
        if link.dhcp6 == "stateful":
            lines.append(f"dhcp-range={segment.lease6},{segment.lease6},64,1h")
        else:
            kind = "ra-stateless" if link.dhcp6 == "stateless" else "ra-only"
            lines.append(f"dhcp-range={segment.six}:,{kind},64,1h")
    return "\n".join(lines) + "\n"


def documents(network: Any) -> dict[str, bytes | str]:
    """The files of a config drive for the machine that QEMU makes, with this network."""
    meta = {"uuid": SMBIOS["uuid"], "hostname": "lab"}
    where = "openstack/latest"
    return {
        f"{where}/meta_data.json": json.dumps(meta),
        f"{where}/network_data.json": json.dumps(network),
    }


class Lab:
    """A guest with one network stack; use it in a `with` statement, which ends it."""

    def __init__(self, image: GuestImage, network: Network, drive: Path | None = None) -> None:
        self.network = network
        nics = [Nic(mac=mac, hub=number) for number, mac in enumerate(MACS)]
        nics += [Nic(mac=f"52:54:00:00:f0:0{n + 1}", hub=n) for n in range(len(HUBS))]
        drives = [Drive(drive)] if drive else []
        # A NIC that a case does not name is to stay as it is.
        others = settings_argument("[network]\nother_nics = false\n")
        wants = f"systemd.wants=harness-router.service {others}"
        self.guest = Guest(image, drives=drives, nics=nics, cmdline_extra=wants)

    def __enter__(self) -> Self:
        self.guest.boot()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.guest.__exit__(kind, error, trace)

    def serve(self, links: Mapping[str, Link]) -> None:
        """Let the router serve what the links of a case ask for, and nothing else any more."""
        vlans = [link for link in links.values() if link.vlan and (link.dhcp4 or link.accept_ra)]
        commands = ""
        for link in vlans:
            assert link.vlan is not None
            commands += f"link add link hub0 name vlan type vlan id {link.vlan.tag}\n"
            commands += "link set dev vlan addrgenmode none\nlink set dev vlan up\n"
            commands += VLAN.commands
        self.guest.put(_CONFIG, served(links))
        self.guest.run(
            f"kill $(cat {_PID}); ip -n router link del vlan; set -e; rm -f {_PID} {_LOG}; "
            f"ip -n router -batch -; ip netns exec router dnsmasq -C {_CONFIG}",
            input=commands,
        ).check()

    def write(self, case: Case) -> None:
        """Put the drive of a case, and the setting it needs, into the guest."""
        for name, text in documents(case.document).items():
            self.guest.put(f"{DRIVE}/{name}", text)
        policy = str(case.policy_routing).lower()
        self.guest.put(_POLICY, f"[network]\npolicy_routing = {policy}\nother_nics = false\n")

    def apply(self, case: Case, *options: str) -> dict[str, Any]:
        """Have the agent apply the document of a case; return its report, and what it `said`."""
        self.write(case)
        argv = ["guestagent", "apply", "--source", DRIVE, *options]
        done = self.guest.run(argv, timeout=150)
        report: dict[str, Any] = json.loads(self.guest.get(REPORT))
        return report | {"said": done.stdout + done.stderr}

    def expected(self, case: Case) -> Kernel:
        """What the kernel shall have for a case, with this network stack."""
        links = case.expected
        possible, _ = allowed(self.network, links)
        rdnss = self.network != "ifupdown"
        found = {}
        for name, link in links.items():
            segment = segment_of(link, links)
            found[name] = learnt(link, segment, rdnss)
            if self.network == "ifupdown" and link.dns:
                # Debian's hook takes an interface's own servers instead of those by DHCPv4.
                found[name] = found[name]._replace(dns=found[name].dns - {DNS4})
            if possible[name].dhcp6 != link.dhcp6 and segment is not None:
                # Stateful and stateless are the same to the stack, so a lease may last.
                stale = found[name].stale | {f"{segment.lease6}/128"}
                found[name] = found[name]._replace(stale=stale)
        return expected(possible, found)

    def look(self, wanted: Kernel) -> Kernel:
        """What the kernel has now."""
        return observed(self.guest.check(LOOK), wanted)

    def wait(self, wanted: Kernel, timeout: float = 30.0) -> list[str]:
        """Look until the kernel has what is wanted; return what still differs in the end."""
        deadline = time.monotonic() + timeout * patience()
        while True:
            found = differences(wanted, self.look(wanted))
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.3)

    def story(self) -> str:
        """What the agent wrote and what programs said, for a test that failed."""
        files = (
            "/etc/systemd/network/*guestagent* /etc/NetworkManager/system-connections/* "
            "/etc/netplan/* /run/systemd/network/* /etc/network/interfaces.d/*"
        )
        return self.guest.run(
            f'for f in {files}; do [ ! -f $f ] || {{ echo; echo "== $f"; cat $f; }}; done; '
            f"echo; ip address; ip route show table all; ip -6 route show table all; "
            f"cat /run/lab/dnsmasq.log; journalctl -b -o cat -n 60 --no-hostname"
        ).stdout


def boot_drive(where: Path, case: Case) -> Path:
    """A config drive with the document of a case, to be booted with."""
    tree = make_tree(where / "tree", documents(case.document))
    return make_iso(tree, where / "drive")
