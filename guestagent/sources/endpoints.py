"""Where a metadata service may be: addresses and links to try, and which of them connect.

Whoever is on a link could answer in place of the cloud.  So only links are used that lead to the
hypervisor: hardware, and what is stacked on it.  Addresses are literal: no name is ever resolved
for a service of the link.
"""

from __future__ import annotations

import os
import socket
import sys
from errno import EINPROGRESS, EINVAL
from select import POLLERR, POLLHUP, POLLOUT, poll

from guestagent import defs
from guestagent.errors import UsageError
from guestagent.record import NamedTuple
from guestagent.system.machine import is_container, read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from typing import Any

# /proc/net/if_inet6 has a line for each address; scope and flags are hexadecimal.
_LINK_SCOPE = b"20"
_GLOBAL_SCOPE = b"00"
_NOT_USABLE = 0x08 | 0x40  # failed duplicate address detection, or still in it
_UP = 0x1  # in /sys/class/net/NAME/flags: netdevice(7)
# What may be stacked on hardware and still lead to it: DEVTYPE in /sys/class/net/NAME/uevent.
# Others lead elsewhere (tunnels: vxlan, wireguard) or to somebody else's programs (tun, veth).
_STACKED = ("DEVTYPE=bond", "DEVTYPE=vlan", "DEVTYPE=bridge")
_LOWER = "lower_"  # begins the names of links to what a link is stacked on, in its folder
_MOST_LAYERS = 8  # the kernel's own limit
_ROUTE_UP, _ROUTE_REJECT = 0x1, 0x200  # flags of a route: route(8)
_MALFORMED = "the URL of the metadata service is malformed"
_PATH_MARKS = "/%!$&'()*+,;=:@[]~"  # kept in the path of a URL (RFC 3986); the rest is quoted


class Endpoint(NamedTuple):
    """The address of a service: ``host`` is literal, or a name for a service set by hand.

    ``interface`` is the link to use, empty for the one that the routing table says.  ``url`` is
    what requests begin with: it has no zone, so that none gets into the Host header.  ``routed``:
    the routing table leads to it by this link, so that it is asked before all others.
    """

    url: str
    host: str
    port: int
    interface: str = ""
    routed: bool = False

    @property
    def url_with_zone(self) -> str:
        """The URL with the interface as a zone, as ``parse_url`` takes it."""
        if not self.interface:
            return self.url
        host = f"[{self.host}" if ":" in self.host else self.host
        # Both "%25" (RFC 6874) and "%" alone introduce a zone.  It matters only for a name that
        # itself begins with 25.
        mark = "%25" if self.interface.startswith("25") else "%"
        return self.url.replace(host, f"{host}{mark}{self.interface}", 1)

    @property
    def path(self) -> str:
        """What the path of every request begins with."""
        _, slash, path = self.url.partition("://")[2].partition("/")
        return slash + path

    def connect(self, timeout: float) -> socket.socket:
        """Return a connected socket.  Raises OSError."""
        sock, address = self._make_socket()
        try:
            sock.settimeout(timeout)
            sock.connect(address)
        except OSError:
            sock.close()
            raise
        return sock

    def start_connecting(self) -> socket.socket:
        """Return a socket that is being connected.  Raises OSError."""
        sock, address = self._make_socket()
        sock.setblocking(False)
        error = sock.connect_ex(address)
        if error not in (0, EINPROGRESS):
            sock.close()
            raise OSError(error, os.strerror(error))
        return sock

    def _make_socket(self) -> tuple[socket.socket, tuple[Any, ...]]:
        """Return a socket bound to the link, and the address to connect it to."""
        host: str | bytes = self.host
        flags = 0
        if self.host in defs.METADATA_ADDRESSES:
            # As bytes, it does not go through a codec for names that is a fifth of the interpreter.
            host, flags = self.host.encode(), socket.AI_NUMERICHOST
        try:
            found = socket.getaddrinfo(host, self.port, type=socket.SOCK_STREAM, flags=flags)
        except UnicodeError:  # a name with an empty label, or one that is too long
            raise OSError(EINVAL, "not a host name") from None
        family, kind, protocol = found[0][:3]
        address: tuple[Any, ...] = found[0][4]
        sock = socket.socket(family, kind, protocol)
        try:
            if self.interface and family == socket.AF_INET6:
                address = (*address[:3], socket.if_nametoindex(self.interface))
            if self.interface:
                # The zone of an IPv6 address that is not link-local binds to nothing, and an IPv4
                # address has none.
                name = os.fsencode(self.interface)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)
            # A request is one small packet, which must not wait for more to send.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            sock.close()
            raise
        return sock, address


def parse_url(url: str) -> Endpoint:
    """Return the endpoint of a URL that was set by hand.  Raises UsageError.

    A host may have a zone, the link to use, as in ``http://[fe80::a9fe:a9fe%eth0]``.
    """
    from urllib.parse import quote, urlsplit

    try:
        parts = urlsplit(url)
        host, _, zone = (parts.hostname or "").partition("%")
        port = parts.port
    except ValueError:
        raise UsageError(_MALFORMED) from None
    if not url.isprintable():
        raise UsageError(_MALFORMED)
    if parts.scheme != "http" or not host or parts.query or parts.fragment or parts.username:
        raise UsageError("the URL of the metadata service must be http://HOST[:PORT][/PATH]")
    host_part = f"[{host}]" if ":" in host else host
    port_part = f":{port}" if port else ""
    path = quote(parts.path.rstrip("/"), safe=_PATH_MARKS)
    base = f"http://{host_part}{port_part}{path}"
    return Endpoint(base, host, port or 80, zone.removeprefix("25"))


def list_candidates(*, ec2: bool) -> list[Endpoint]:
    """Return the endpoints of the link that this machine could reach now, the routed one first.

    IPv6 needs no lease, so that its link-local address is tried on every link that may be asked.
    IPv4 follows the routing table, and with several links is tried over each of them too.
    """
    links, routed = _choose_links()
    ipv4, link_local, unique_local = (
        Endpoint(f"http://{f'[{host}]' if ':' in host else host}", host, 80)
        for host in defs.METADATA_ADDRESSES
    )
    with_link_local, with_global = _read_ipv6_addresses()
    found = [ipv4._replace(interface=routed, routed=True)] if routed else []
    found += [link_local._replace(interface=name) for name in links if name in with_link_local]
    if ec2:
        found += [unique_local._replace(interface=name) for name in links if name in with_global]
    if len(links) > 1:
        found += [ipv4._replace(interface=name) for name in links if name != routed]
    return found


def _choose_links() -> tuple[list[str], str]:
    """Return the links to ask, and the one of them that the routing table says; empty if none."""
    links = _links_to_ask()
    if links or not is_container():
        return links, _routed_link(links)
    # A container has no hardware.  Its host gives it the link of its routes to the outside;
    # others may lead to containers inside it, and cannot be told from that one.
    routed = _routed_link(_links_up())
    return ([routed] if routed else []), routed


def _links_to_ask() -> list[str]:
    """Return the links that are up and lead to the hypervisor."""
    return [name for name in _links_up() if _is_hardware(name, _MOST_LAYERS)]


def _links_up() -> list[str]:
    try:
        names = sorted(os.listdir(defs.NET_DIR))
    except OSError:
        return []
    return [name for name in names if name != "lo" and _may_be_zone(name) and _is_up(name)]


def _may_be_zone(name: str) -> bool:
    """Tell whether a URL can hold the name of a link: the kernel allows others, as "eth[0".

    RFC 6874 has other characters quoted, which urllib.parse refuses in the brackets of IPv6.
    """
    return all(mark.isalnum() or mark in "-._~" for mark in name)


def _is_up(name: str) -> bool:
    flags = _number(read_text(f"{defs.NET_DIR}/{name}/flags"))
    # A member of a bond or bridge has no address of its own.
    is_member = os.path.exists(f"{defs.NET_DIR}/{name}/master")
    return bool(flags & _UP) and not is_member


def _number(text: str | bytes) -> int:
    """Return a hexadecimal number of the kernel; 0 for any other text."""
    try:
        return int(text, 16)
    except ValueError:
        return 0


def _is_hardware(name: str, layers: int) -> bool:
    """Tell whether a link is a device, or a bond, VLAN or bridge over one.

    ``layers`` is how many links below it are looked at.
    """
    place = f"{defs.NET_DIR}/{name}"
    if os.path.exists(f"{place}/device"):
        return True
    kind = read_text(f"{place}/uevent").splitlines()
    if not layers or not any(line in _STACKED for line in kind):
        return False
    try:
        below = [entry for entry in os.listdir(place) if entry.startswith(_LOWER)]
    except OSError:
        return False
    return any(_is_hardware(entry.removeprefix(_LOWER), layers - 1) for entry in below)


def _routed_link(links: Collection[str]) -> str:
    """Return the one of the links that the routing table leads over to the IPv4 address.

    It is empty where there is no such route.  A route over another link does not count: whoever
    is there is not asked, even if the table prefers it.
    """
    target = int.from_bytes(socket.inet_aton(defs.METADATA_ADDRESSES[0]), sys.byteorder)
    best, found = (-1, 0), ""
    for line in _lines(defs.IPV4_ROUTES)[1:]:  # the first has the names of the columns
        try:
            name, destination, _, flags, _, _, metric, mask = line.split()[:8]
            bits, network, netmask = int(flags, 16), int(destination, 16), int(mask, 16)
            rank = (netmask.bit_count(), -int(metric))
        except ValueError:
            continue  # no route of any kernel that is known
        is_route = bits & (_ROUTE_UP | _ROUTE_REJECT) == _ROUTE_UP and target & netmask == network
        if is_route and os.fsdecode(name) in links and rank > best:
            best, found = rank, os.fsdecode(name)
    return found


def _lines(path: str) -> list[bytes]:
    """Return the lines of a table of the kernel; none where it cannot be read.

    They are bytes: names in them may have any but white space.
    """
    try:
        with open(path, "rb") as file:
            return file.read().split(b"\n")
    except OSError:
        return []


def _read_ipv6_addresses() -> tuple[set[str], set[str]]:
    """Return the links with a usable link-local address, and those with a global one."""
    with_link_local: set[str] = set()
    with_global: set[str] = set()
    for line in _lines(defs.IPV6_ADDRESSES):
        parts = line.split()
        if len(parts) != 6 or _number(parts[4]) & _NOT_USABLE:
            continue
        name = os.fsdecode(parts[5])
        if parts[3] == _LINK_SCOPE:
            with_link_local.add(name)
        elif parts[3] == _GLOBAL_SCOPE:
            with_global.add(name)
    return with_link_local, with_global


class Connecting:
    """Sockets that are being connected, all at once.

    ``refused`` says of the first that failed why it did: that is an answer too, of the address or
    of a router before it.
    """

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._poller = poll()
        self._waiting: dict[int, tuple[Endpoint, socket.socket]] = {}
        self.refused = ""
        for endpoint in endpoints:
            try:
                sock = endpoint.start_connecting()
            except OSError:
                continue  # no route to it now; another round may find one
            self._waiting[sock.fileno()] = (endpoint, sock)
            self._poller.register(sock.fileno(), POLLOUT)

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def take_connected(self, seconds: float) -> list[tuple[Endpoint, socket.socket]]:
        """Return the sockets that are connected now; wait at most ``seconds`` for the first."""
        found = []
        for fd, event in self._poller.poll(seconds * 1000):
            endpoint, sock = self._waiting.pop(fd)
            self._poller.unregister(fd)
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                self.refused = self.refused or f"{endpoint.url}: {os.strerror(error)}"
            if error or event & (POLLERR | POLLHUP):
                sock.close()
            else:
                found.append((endpoint, sock))
        return found

    def close(self) -> None:
        """Give up the sockets that are not connected yet."""
        for fd, (_, sock) in self._waiting.items():
            self._poller.unregister(fd)
            sock.close()
        self._waiting.clear()
