"""Where a metadata service may be: addresses and links to try, and which of them connect.

All candidates are connected to at the same time, without blocking; whoever answers soundly first
is used.  Addresses are literal: no name is ever resolved for a service of the link.
"""

from __future__ import annotations

import os
import socket
from errno import EINPROGRESS, EINVAL
from select import POLLERR, POLLHUP, POLLOUT, poll

from guestagent import defs
from guestagent.errors import UsageError
from guestagent.record import NamedTuple
from guestagent.system.machine import read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_LINK_SCOPE = "20"  # columns of if_inet6: scope, flags
_GLOBAL_SCOPE = "00"
_NOT_USABLE = 0x08 | 0x40  # failed duplicate address detection, or still in it
_PATH_MARKS = "/%!$&'()*+,;=:@[]~"  # kept in the path of a URL (RFC 3986); the rest is quoted
_UP = 0x1  # /sys/class/net/NAME/flags, netdevice(7)


class Endpoint(NamedTuple):
    """A service's address: ``host`` is literal, or a name for a service that was set by hand.

    ``interface`` is the link to go out by, empty for what the routing table says.  ``url`` is
    what requests start with: it has no zone, so that none reaches the Host header.
    """

    url: str
    host: str
    port: int
    interface: str = ""

    @property
    def zoned(self) -> str:
        """The URL with the interface as a zone, as ``by_url`` takes it."""
        if not self.interface:
            return self.url
        host = f"[{self.host}" if ":" in self.host else self.host
        # A zone may stand with "%25" or with "%" alone (RFC 6874): here only where it matters.
        mark = "%25" if self.interface.startswith("25") else "%"
        return self.url.replace(host, f"{host}{mark}{self.interface}", 1)

    @property
    def path(self) -> str:
        """What the path of every request begins with."""
        _, slash, path = self.url.partition("://")[2].partition("/")
        return slash + path

    def open(self, timeout: float) -> socket.socket:
        """A connected socket.  Raises OSError."""
        plug, address = self._plug()
        try:
            plug.settimeout(timeout)
            plug.connect(address)
        except OSError:
            plug.close()
            raise
        return plug

    def start(self) -> socket.socket:
        """A socket that is being connected.  Raises OSError."""
        plug, address = self._plug()
        plug.setblocking(False)
        error = plug.connect_ex(address)
        if error not in (0, EINPROGRESS):
            plug.close()
            raise OSError(error, os.strerror(error))
        return plug

    def _plug(self) -> tuple[socket.socket, tuple[Any, ...]]:
        literal = socket.AI_NUMERICHOST if self.host in defs.METADATA_ADDRESSES else 0
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=literal)
        except UnicodeError:  # a name with an empty label, or one that is too long
            raise OSError(EINVAL, "not a host name") from None
        family, kind, protocol = found[0][:3]
        address: tuple[Any, ...] = found[0][4]
        plug = socket.socket(family, kind, protocol)
        try:
            if self.interface and family == socket.AF_INET6:
                address = (*address[:3], socket.if_nametoindex(self.interface))
            elif self.interface:
                name = self.interface.encode()
                plug.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)
            plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            plug.close()
            raise
        return plug, address


def by_url(url: str) -> Endpoint:
    """The endpoint of a URL that somebody set.  Raises UsageError.

    A host may have a zone, the link to go out by, as in ``http://[fe80::a9fe:a9fe%eth0]``.
    """
    from urllib.parse import quote, urlsplit

    try:
        parts = urlsplit(url)
        host, zone = (parts.hostname or "").partition("%")[::2]
        port = parts.port or 80
    except ValueError:
        raise UsageError("the URL of the metadata service is malformed") from None
    if parts.scheme != "http" or not host or parts.query or parts.fragment or parts.username:
        raise UsageError("the URL of the metadata service must be http://HOST[:PORT][/PATH]")
    shown = f"[{host}]" if ":" in host else host
    port_shown = f":{parts.port}" if parts.port else ""
    path = quote(parts.path.rstrip("/"), safe=_PATH_MARKS)
    base = f"http://{shown}{port_shown}{path}"
    return Endpoint(base, host, port, zone.removeprefix("25"))


def candidates(ec2: bool) -> list[Endpoint]:
    """The endpoints of the link that this machine could reach now.

    IPv6 needs no lease, so that its link-local address is tried on every link that is up.  IPv4
    goes by the routing table, and where there are several links by each of them too.
    """
    links = _links_up()
    four, link_local, unique = (
        Endpoint(f"http://{f'[{host}]' if ':' in host else host}", host, 80)
        for host in defs.METADATA_ADDRESSES
    )
    local, wide = _ipv6_links()
    found = [four] if links else []
    found += [link_local._replace(interface=name) for name in links if name in local]
    if ec2 and wide:
        found.append(unique)
    if len(links) > 1:
        found += [four._replace(interface=name) for name in links]
    return found


def _links_up() -> list[str]:
    try:
        names = sorted(os.listdir(defs.NET_DIR))
    except OSError:
        return []
    return [name for name in names if name != "lo" and _is_up(name)]


def _is_up(name: str) -> bool:
    flags = read_text(f"{defs.NET_DIR}/{name}/flags")
    # A member of a bond or bridge has no address of its own.
    joined = os.path.exists(f"{defs.NET_DIR}/{name}/master")
    return bool(flags) and bool(int(flags, 16) & _UP) and not joined


def _ipv6_links() -> tuple[set[str], bool]:
    """The links with a usable link-local address, and if there is a wider one on any."""
    local: set[str] = set()
    wide = False
    try:
        with open(defs.IPV6_ADDRESSES, encoding="ascii") as file:
            lines = [line.split() for line in file]
    except OSError:
        return local, wide
    for _, _, _, scope, flags, name in lines:
        if int(flags, 16) & _NOT_USABLE:
            continue
        if scope == _LINK_SCOPE:
            local.add(name)
        wide = wide or (scope == _GLOBAL_SCOPE and name != "lo")
    return local, wide


class Connecting:
    """Sockets that are being connected, all at once."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._poller = poll()
        self._waiting: dict[int, tuple[Endpoint, socket.socket]] = {}
        for endpoint in endpoints:
            try:
                plug = endpoint.start()
            except OSError:
                continue
            self._waiting[plug.fileno()] = (endpoint, plug)
            self._poller.register(plug.fileno(), POLLOUT)

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def connected(self, seconds: float) -> list[tuple[Endpoint, socket.socket]]:
        """Those that have come up; waits at most ``seconds`` for the first."""
        found = []
        for fd, event in self._poller.poll(seconds * 1000):
            endpoint, plug = self._waiting.pop(fd)
            self._poller.unregister(fd)
            failed = event & (POLLERR | POLLHUP)
            if failed or plug.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                plug.close()
            else:
                found.append((endpoint, plug))
        return found

    def close(self) -> None:
        """Give up those that still are on the way."""
        for fd, (_, plug) in self._waiting.items():
            self._poller.unregister(fd)
            plug.close()
        self._waiting.clear()
