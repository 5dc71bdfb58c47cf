"""``manage_resolv_conf``, ``resolv_conf``: name servers, for what writes resolv.conf(5) here."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.parse.fields import host_name
from guestagent.parse.network.address import address
from guestagent.plan.kinds.file import File
from guestagent.plan.kinds.script import Script
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Setting
    from guestagent.plan.wanted import Ask, Wanted

_MOST_SERVERS = 3  # MAXNS of the C library
_OPTION_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_LONGEST_MASK = len("255.255.255.255")
_RELOAD = """\
#!/bin/sh
# Have the service read its configuration.
exec systemctl --no-block try-reload-or-restart {service}
"""


class _Resolver(NamedTuple):
    """What is valid of ``resolv_conf``, by the keywords of resolv.conf(5)."""

    servers: list[str]
    search: list[str]
    domain: str
    sortlist: list[str]
    options: list[str]

    def search_or_domain(self) -> list[str]:
        """Return the domains that complete short names: those of "search", if there are any."""
        if self.search or not self.domain:
            return self.search
        return [self.domain]


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan resolv.conf(5), or a drop-in for the service that writes it, and its reload."""
    switch = ask.data.setting("manage_resolv_conf")
    if switch is None or not switch.value:
        return
    setting = ask.data.setting("resolv_conf")
    if setting is None:
        wanted.warn(switch.at(), "has no effect without resolv_conf")
        return
    resolver = _read(setting, wanted)
    if not any(resolver):
        return
    match ask.facts.resolver:
        case "file":
            _plan_file(resolver, setting, wanted)
        case "resolved":
            text = _resolved_conf(resolver, setting, wanted)
            _plan_drop_in(defs.RESOLVED_DROPIN, text, "systemd-resolved.service", setting, wanted)
        case "networkmanager":
            text = _networkmanager_conf(resolver, setting, wanted)
            _plan_drop_in(
                defs.NETWORKMANAGER_DROPIN, text, "NetworkManager.service", setting, wanted
            )
        case "resolvconf":
            reason = "resolvconf writes resolv.conf here: give name servers in the network data"
            wanted.error(setting.at(), reason)


def _read(setting: Setting, wanted: Wanted) -> _Resolver:
    """Return what is valid of the setting."""
    value = setting.value
    domain = None
    options = []
    for name, argument in (value.get("options") or {}).items():
        if argument is False:
            continue
        option = wanted.take(setting.at("options"), _read_option, (name, argument))
        if option is not None:
            options.append(option)
    if value.get("domain"):
        domain = wanted.take(setting.at("domain"), host_name, value["domain"])
    return _Resolver(
        wanted.take_each(setting, "nameservers", address),
        wanted.take_each(setting, "searchdomains", host_name),
        domain or "",
        sortlist=wanted.take_each(setting, "sortlist", _check_sortlist),
        options=options,
    )


def _read_option(pair: tuple[str, bool | int | str]) -> str:
    """Return ``NAME`` or ``NAME:VALUE`` as an option of resolv.conf(5).

    Raise FieldError for letters that no option has.
    """
    name, argument = pair
    value = "" if argument is True else str(argument)
    if not name or not _OPTION_LETTERS.issuperset(name) or not _OPTION_LETTERS.issuperset(value):
        raise FieldError("has an invalid option: only small letters, digits and - are allowed")
    return f"{name}:{value}" if value else name


def _check_sortlist(text: str) -> str:
    """Return an IPv4 address with a netmask or without.  Raise FieldError for anything else."""
    base, slash, mask = text.partition("/")
    is_ipv4 = ":" not in base
    digits = mask.replace(".", "")
    is_mask = digits.isascii() and digits.isdigit() and len(mask) <= _LONGEST_MASK
    if not is_ipv4 or (slash and not is_mask):
        raise FieldError("is not an IPv4 address, with a netmask or without")
    return f"{address(base)}{slash}{mask}"


def _plan_file(resolver: _Resolver, setting: Setting, wanted: Wanted) -> None:
    """Plan resolv.conf(5) itself."""
    if len(resolver.servers) > _MOST_SERVERS:
        reason = f"more than {_MOST_SERVERS}: the system asks only the first ones"
        wanted.warn(setting.at("nameservers"), reason)
    lines = ["# Written by guestagent"]
    lines += [f"nameserver {server}" for server in resolver.servers]
    # Of "domain" and "search" the last one counts.
    if resolver.domain:
        lines.append(f"domain {resolver.domain}")
    if resolver.search:
        lines.append(f"search {' '.join(resolver.search)}")
    if resolver.sortlist:
        lines.append(f"sortlist {' '.join(resolver.sortlist)}")
    if resolver.options:
        lines.append(f"options {' '.join(resolver.options)}")
    content = ("\n".join(lines) + "\n").encode()
    wanted.want(File("file", defs.RESOLV_CONF, content, mode=0o644, why=setting.at()))


def _plan_drop_in(path: str, text: str, service: str, setting: Setting, wanted: Wanted) -> None:
    """Plan a drop-in and a script that reloads its service, unless the text is empty."""
    if not text:
        return
    why = setting.at()
    content = _RELOAD.format(service=service).encode()
    wanted.want(
        File("file", path, text.encode(), mode=0o644, why=why),
        Script("script", "early", 70, "instance", name="resolver", content=content, why=why),
    )


def _resolved_conf(resolver: _Resolver, setting: Setting, wanted: Wanted) -> str:
    """Return a drop-in of resolved.conf(5), empty if there is nothing to say."""
    for field, given in (("sortlist", resolver.sortlist), ("options", resolver.options)):
        if given:
            wanted.warn(setting.at(field), "systemd-resolved has no such setting")
    text = ""
    # The empty assignments drop what the image has.
    if resolver.servers:
        text += f"DNS=\nDNS={' '.join(resolver.servers)}\n"
    domains = resolver.search_or_domain()
    if domains:
        text += f"Domains=\nDomains={' '.join(domains)}\n"
    return f"[Resolve]\n{text}" if text else ""


def _networkmanager_conf(resolver: _Resolver, setting: Setting, wanted: Wanted) -> str:
    """Return a drop-in of NetworkManager.conf(5), empty if there are no name servers.

    Its global DNS takes precedence over that of connections.
    """
    if resolver.sortlist:
        wanted.warn(setting.at("sortlist"), "NetworkManager has no such setting")
    if not resolver.servers:
        # The section [global-dns] counts only with the servers of the domain "*".
        wanted.error(setting.at(), "without nameservers, NetworkManager uses none of it")
        return ""
    text = "[global-dns]\n"
    domains = resolver.search_or_domain()
    if domains:
        text += f"searches={','.join(domains)}\n"
    if resolver.options:
        text += f"options={','.join(resolver.options)}\n"
    servers = ",".join(resolver.servers)
    return f"{text}[global-dns-domain-*]\nservers={servers}\n"
