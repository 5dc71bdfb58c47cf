"""Time servers, and the client that asks them: chrony or systemd-timesyncd.

Without servers and pools the client keeps those of its distribution, which are what cloud-init
would write: nothing but the service is seen to.  With some, these are the only ones in the
configuration; what DHCP says may come besides.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.desired import os_release as osrelease
from guestagent.desired.packages.install import APT_GET
from guestagent.desired.shell import quoted
from guestagent.errors import FieldError, Problem
from guestagent.parse.fields import host_name
from guestagent.parse.network.address import address
from guestagent.plan.kinds.file import File
from guestagent.plan.kinds.script import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from guestagent.model import Facts, InstanceData, Setting
    from guestagent.plan.kinds import Resource
    from guestagent.plan.wanted import Ask, Wanted
    from guestagent.settings import Settings

_CHRONY, _TIMESYNCD = "chrony", "systemd-timesyncd"
_OTHERS = ("ntp", "ntpdate", "openntpd", "ntpsec")
_WORDS = {"servers": "server", "pools": "pool", "peers": "peer", "allow": "allow"}
_SOURCES = ("server", "pool", "peer", "sourcedir")
_BEGIN, _END = "# guestagent: ntp of cloud-config", "# guestagent: end of ntp"
_START = """#!/bin/sh
# Has the time client read its configuration, now and at each boot.
systemctl enable {service}
exec systemctl --no-block restart {service}
"""
_INSTALL = """#!/bin/sh
# Installs chrony, and has it ask the servers of cloud-config.
set -e
{install}
{edit}systemctl enable {service}
exec systemctl --no-block restart {service}
"""
_INSTALL_APT = f"{APT_GET}\nupdate\napt install chrony"
_INSTALL_DNF = "dnf -y install chrony"
_REPLACE = r"""sed -i 's/^ *\(server\|pool\|peer\|sourcedir *\/etc\)/#&/' {path}
"""
_ADD = """printf '%s\\n' {lines} >>{path}
"""


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan this module's keys."""
    resources, problems = _plan(ask.data, ask.facts, ask.settings)
    wanted.want(*resources)
    wanted.problems += problems


def _plan(
    data: InstanceData, facts: Facts, settings: Settings
) -> tuple[list[Resource], list[Problem]]:
    """The key ``ntp``: a client's configuration, and a step that starts it."""
    setting = data.setting("ntp")
    if setting is None or setting.value.get("enabled") is False:
        return [], []
    problems: list[Problem] = []
    client = _client(setting, facts, problems)
    if setting.value.get("config"):
        reason = "is not supported: write the file with write_files, and install with packages"
        problems.append(Problem("error", *setting.at("config"), reason))
        return [], problems
    if client == _TIMESYNCD:
        return _timesyncd(setting, problems), problems
    if client == _CHRONY:
        return _chrony(setting, facts, problems), problems
    return [], problems


def _client(setting: Setting, facts: Facts, problems: list[Problem]) -> str:
    """The client to set up, the one that is installed by choice; empty for none."""
    wanted: str = setting.value.get("ntp_client") or "auto"
    place = setting.at("ntp_client") if "ntp_client" in setting.value else setting.at()
    apt = "apt-get" in facts.programs and osrelease.like(facts, "debian")
    can_install = apt or "dnf" in facts.programs
    if wanted == "auto":
        if "chronyd" in facts.programs:
            return _CHRONY
        if _TIMESYNCD in facts.programs:
            return _TIMESYNCD
        if can_install:
            return _CHRONY
        problems.append(Problem("error", *place, "neither chrony nor systemd-timesyncd is here"))
    elif wanted == _CHRONY:
        if "chronyd" in facts.programs or can_install:
            return _CHRONY
        problems.append(Problem("error", *place, "chrony is not installed"))
    elif wanted == _TIMESYNCD:
        if _TIMESYNCD in facts.programs:
            return _TIMESYNCD
        problems.append(Problem("error", *place, "systemd-timesyncd is not installed"))
    else:
        known = wanted in _OTHERS
        reason = "is not supported" if known else "is not a client that guestagent knows"
        problems.append(Problem("error", *place, f"{reason}: use chrony or systemd-timesyncd"))
    return ""


def server(text: str) -> str:
    """A host name, or an IPv4 or IPv6 address."""
    try:
        return address(text)
    except FieldError:
        pass
    try:
        return host_name(text)
    except FieldError:
        raise FieldError("is neither a host name nor an IP address") from None


def network(text: str) -> str:
    """A subnet as chrony's ``allow`` takes it: an address, with a prefix length or without; all."""
    where, slash, length = text.partition("/")
    if text == "all":
        return text
    found = address(where)
    most = 128 if ":" in found else 32
    if slash and not (length.isascii() and length.isdigit() and int(length[:4]) <= most):
        raise FieldError("is not a network, such as 192.0.2.0/24")
    return found + slash + length


def _checked(
    setting: Setting, field: str, check: Callable[[str], str], problems: list[Problem]
) -> list[str]:
    """The items of a list that are valid."""
    found = []
    for index, text in enumerate(setting.value.get(field) or ()):
        try:
            found.append(check(text))
        except FieldError as error:
            problems.append(Problem("error", *setting.at(field, index), str(error)))
    return found


def _timesyncd(setting: Setting, problems: list[Problem]) -> list[Resource]:
    """A drop-in of timesyncd.conf(5); the empty assignment drops the image's servers."""
    names = [*_checked(setting, "servers", server, problems)]
    names += _checked(setting, "pools", server, problems)
    for field in ("peers", "allow"):
        if setting.value.get(field):
            reason = "systemd-timesyncd has no such thing: use chrony"
            problems.append(Problem("error", *setting.at(field), reason))
    found: list[Resource] = []
    if names:
        text = f"[Time]\nNTP=\nNTP={' '.join(names)}\n".encode()
        found.append(File("file", defs.TIMESYNCD_DROPIN, text, 0o644, setting.at()))
    elif any(setting.value.get(field) for field in ("servers", "pools")):
        return []  # all are wrong
    script = _START.format(service="systemd-timesyncd.service").encode()
    return [*found, Script("script", "early", 70, "instance", "ntp", script, setting.at())]


def _chrony(setting: Setting, facts: Facts, problems: list[Problem]) -> list[Resource]:
    """chrony.conf(5) with these sources instead of others, or a step that installs chrony.

    An edit of the file, because none of chrony's directories can take a source away.
    """
    lines: list[str] = []
    for field, word in _WORDS.items():
        values = _checked(setting, field, network if field == "allow" else server, problems)
        option = " iburst" if word in ("server", "pool") else ""
        lines += [f"{word} {value}{option}" for value in values]
    if not lines and any(setting.value.get(field) for field in _WORDS):
        return []  # all are wrong
    debian = osrelease.like(facts, "debian")
    path = defs.CHRONY_CONFS[0 if debian else 1]
    service = "chrony.service" if debian else "chronyd.service"
    why = setting.at()
    if "chronyd" not in facts.programs:
        install = _INSTALL_APT if debian else _INSTALL_DNF
        text = _INSTALL.format(install=install, edit=_edit(lines, path), service=service)
        script = text.encode()
        return [Script("script", "late", 10, "instance", "ntp", script, why)]
    found: list[Resource] = []
    if lines:
        text = _edited(facts.texts.get(path, ""), lines)
        found.append(File("file", path, text.encode(), 0o644, why))
    script = _START.format(service=service).encode()
    return [*found, Script("script", "early", 70, "instance", "ntp", script, why)]


def _replaced(lines: list[str]) -> bool:
    """True if the lines name sources, in whose place the image's go."""
    return any(line.split()[0] in _SOURCES for line in lines)


def _edited(text: str, lines: list[str]) -> str:
    """The file with the lines at its end, in place of those of an earlier edit.

    Other sources become comments.  A directory of them stays if DHCP fills it, below /run.
    """
    kept, mine = [], False
    for line in text.splitlines():
        mine = mine or line == _BEGIN
        word, *rest = line.split() or [""]
        source = word in _SOURCES and not (word == "sourcedir" and "".join(rest).startswith("/run"))
        if not mine:
            kept.append(f"#{line}" if source and _replaced(lines) else line)
        mine = mine and line != _END
    return "\n".join([*kept, _BEGIN, *lines, _END, ""])


def _edit(lines: list[str], path: str) -> str:
    """Commands for what ``_edited`` does, for a file that is not there yet."""
    if not lines:
        return ""
    text = " ".join(quoted(line) for line in (_BEGIN, *lines, _END))
    replace = _REPLACE if _replaced(lines) else ""
    return (replace + _ADD).format(lines=text, path=path)
