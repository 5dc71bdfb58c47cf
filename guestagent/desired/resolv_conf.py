"""What resolv.conf(5) says, for whoever writes that file here."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError, Problem
from guestagent.parse.fields import host_name
from guestagent.parse.network.address import address
from guestagent.plan.kinds.file import File
from guestagent.plan.kinds.script import Script
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from guestagent.model import Facts, InstanceData, Setting
    from guestagent.plan.kinds import Resource
    from guestagent.plan.wanted import Ask, Wanted
    from guestagent.settings import Settings

_MOST_SERVERS = 3  # MAXNS of the C library
_OPTION = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_RELOAD = """#!/bin/sh
# Has the resolver's service read its configuration.
exec systemctl --no-block try-reload-or-restart {service}
"""


class _Wanted(NamedTuple):
    servers: list[str]
    search: list[str]
    domain: str
    sortlist: list[str]
    options: list[str]


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan this module's keys."""
    resources, problems = _plan(ask.data, ask.facts, ask.settings)
    wanted.want(*resources)
    wanted.problems += problems


def _plan(
    data: InstanceData, facts: Facts, settings: Settings
) -> tuple[list[Resource], list[Problem]]:
    """The keys ``manage_resolv_conf`` and ``resolv_conf``."""
    switch, setting = data.setting("manage_resolv_conf"), data.setting("resolv_conf")
    if switch is None or not switch.value:
        return [], []
    if setting is None:
        return [], [Problem("warning", *switch.at(), "does nothing without resolv_conf")]
    problems: list[Problem] = []
    wanted = _checked(setting, problems)
    if not any(wanted):
        return [], problems
    if facts.resolver == "resolvconf":
        reason = "resolvconf writes resolv.conf here: give name servers in the network data"
        problems.append(Problem("error", *setting.at(), reason))
        return [], problems
    if facts.resolver == "file":
        if len(wanted.servers) > _MOST_SERVERS:
            reason = f"more than {_MOST_SERVERS}: the system asks only the first ones"
            problems.append(Problem("warning", *setting.at("nameservers"), reason))
        content = _resolv_conf(wanted)
        return [File("file", defs.RESOLV_CONF, content, 0o644, setting.at())], problems
    resolved = facts.resolver == "resolved"
    service = "systemd-resolved.service" if resolved else "NetworkManager.service"
    path = defs.RESOLVED_DROPIN if resolved else defs.NETWORKMANAGER_DROPIN
    text = (_resolved if resolved else _networkmanager)(setting, wanted, problems)
    if not text:
        return [], problems
    script = _RELOAD.format(service=service).encode()
    return [
        File("file", path, text.encode(), 0o644, setting.at()),
        Script("script", "early", 70, "instance", "resolver", script, setting.at()),
    ], problems


def _checked(setting: Setting, problems: list[Problem]) -> _Wanted:
    """What is valid of the setting."""

    def checked(check: Callable[[str], str], *path: str | int) -> list[str]:
        value = setting.value
        for step in path:
            value = value[step]
        try:
            return [check(value)]
        except FieldError as error:
            problems.append(Problem("error", *setting.at(*path), str(error)))
            return []

    def each(field: str, check: Callable[[str], str]) -> list[str]:
        count = len(setting.value.get(field) or ())
        return [text for index in range(count) for text in checked(check, field, index)]

    options = []
    for name, value in (setting.value.get("options") or {}).items():
        if value is not False:
            try:
                options.append(_option(name, value))
            except FieldError as error:
                problems.append(Problem("error", *setting.at("options"), str(error)))
    domain = checked(host_name, "domain") if setting.value.get("domain") else []
    return _Wanted(
        each("nameservers", address),
        each("searchdomains", host_name),
        "".join(domain),
        each("sortlist", _sorted_network),
        options,
    )


def _option(name: str, value: bool | int | str) -> str:
    """``NAME`` or ``NAME:VALUE`` of the options of resolv.conf(5)."""
    text = "" if value is True else str(value)
    if not name or not _OPTION.issuperset(name) or not _OPTION.issuperset(text):
        raise FieldError("has an option that is none: small letters, digits and - only")
    return f"{name}:{text}" if text else name


def _sorted_network(text: str) -> str:
    """An address of ``sortlist``, with a netmask or without: IPv4 only."""
    where, slash, mask = text.partition("/")
    digits = mask.replace(".", "")
    if ":" in where or (slash and not (digits.isascii() and digits.isdigit() and len(mask) < 16)):
        raise FieldError("is not an IPv4 address, with a netmask or without")
    return address(where) + slash + mask


def _resolv_conf(wanted: _Wanted) -> bytes:
    """The file.  Of domain and search the last one counts: search is that, if there is any."""
    lines = [f"nameserver {name}" for name in wanted.servers]
    lines += [f"domain {wanted.domain}"] if wanted.domain else []
    lines += [f"search {' '.join(wanted.search)}"] if wanted.search else []
    lines += [f"sortlist {' '.join(wanted.sortlist)}"] if wanted.sortlist else []
    lines += [f"options {' '.join(wanted.options)}"] if wanted.options else []
    return "".join(f"{line}\n" for line in ("# Written by guestagent", *lines)).encode()


def _search(wanted: _Wanted) -> list[str]:
    return wanted.search or ([wanted.domain] if wanted.domain else [])


def _resolved(setting: Setting, wanted: _Wanted, problems: list[Problem]) -> str:
    """A drop-in of resolved.conf(5); an empty assignment drops what the image has."""
    for field, given in (("sortlist", wanted.sortlist), ("options", wanted.options)):
        if given:
            reason = "systemd-resolved has no such setting"
            problems.append(Problem("warning", *setting.at(field), reason))
    lists = (("DNS", wanted.servers), ("Domains", _search(wanted)))
    lines = [f"{key}=\n{key}={' '.join(values)}\n" for key, values in lists if values]
    return "".join(("[Resolve]\n", *lines)) if lines else ""


def _networkmanager(setting: Setting, wanted: _Wanted, problems: list[Problem]) -> str:
    """A drop-in of NetworkManager.conf(5) whose global DNS goes before that of connections.

    Such a section counts only with the servers of the domain ``*``.
    """
    if wanted.sortlist:
        reason = "NetworkManager has no such setting"
        problems.append(Problem("warning", *setting.at("sortlist"), reason))
    if not wanted.servers:
        reason = "without nameservers, NetworkManager takes nothing of it"
        problems.append(Problem("error", *setting.at(), reason))
        return ""
    lists = (("searches", _search(wanted)), ("options", wanted.options))
    lines = [f"{key}={','.join(values)}\n" for key, values in lists if values]
    servers = f"[global-dns-domain-*]\nservers={','.join(wanted.servers)}\n"
    return "".join(("[global-dns]\n", *lines, servers))
