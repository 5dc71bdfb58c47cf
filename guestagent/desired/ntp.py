"""``ntp``: time servers, and the client that asks them: chrony or systemd-timesyncd.

Without servers and pools the client keeps those of its distribution, which are what cloud-init
would write; the service is started, and that is all.  With some, these are the only ones in the
configuration; servers by DHCP are used as well.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.desired.packages.install import APT_GET
from guestagent.desired.shell_quoting import quote
from guestagent.errors import FieldError
from guestagent.parse.fields import host_name
from guestagent.parse.network.address import address
from guestagent.plan.kinds.file import File
from guestagent.plan.kinds.script import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Facts, Setting
    from guestagent.plan.wanted import Ask, Wanted

_CHRONY = "chrony"
_TIMESYNCD = "systemd-timesyncd"
_CHRONY_PROGRAM = "chronyd"
_USE_OTHERS = "use chrony or systemd-timesyncd"
# Clients of cloud-init that guestagent does not set up.
_OTHERS = ("ntp", "ntpdate", "openntpd", "ntpsec")

_DIRECTIVES = {"servers": "server", "pools": "pool", "peers": "peer", "allow": "allow"}
# Directives of chrony.conf(5) that bring servers.
_SOURCES = ("server", "pool", "peer", "sourcedir")
_BEGIN = "# guestagent: ntp of cloud-config"
_END = "# guestagent: end of ntp"

_START = """\
#!/bin/sh
# Have the time client read its configuration, now and at each boot.
systemctl enable {service}
exec systemctl --no-block restart {service}
"""
_INSTALL = """\
#!/bin/sh
# Install chrony, and have it ask the servers of cloud-config.
set -e
{install}{edit}systemctl enable {service}
exec systemctl --no-block restart {service}
"""
_INSTALL_APT = f"""\
{APT_GET}update
apt install chrony
"""
_INSTALL_DNF = """\
dnf -y install chrony
"""
# What _edit does, for a file that comes with the package.
_COMMENT_OUT_SOURCES = r"""sed -i 's/^ *\(server\|pool\|peer\|sourcedir *\/etc\)/#&/' {path}
"""
_ADD_LINES = r"""printf '%s\n' {lines} >>{path}
"""


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan the configuration of a client, and a script that starts it, or first installs it."""
    setting = ask.data.setting("ntp")
    if setting is None or setting.value.get("enabled") is False:
        return
    client = _choose_client(setting, ask.facts, wanted)
    if setting.value.get("config"):
        reason = "is not supported: write the file with write_files, and install with packages"
        wanted.error(setting.at("config"), reason)
    elif client == _TIMESYNCD:
        _plan_timesyncd(setting, wanted)
    elif client == _CHRONY:
        _plan_chrony(setting, ask.facts, wanted)


def _choose_client(setting: Setting, facts: Facts, wanted: Wanted) -> str:
    """Return the client to set up, an installed one if possible; empty if there is none."""
    asked: str = setting.value.get("ntp_client") or "auto"
    why = setting.at("ntp_client") if "ntp_client" in setting.value else setting.at()
    has_chrony = _CHRONY_PROGRAM in facts.programs
    has_timesyncd = _TIMESYNCD in facts.programs
    has_apt = "apt-get" in facts.programs and facts.is_like("debian")
    can_install = has_apt or "dnf" in facts.programs
    if asked == "auto":
        if has_chrony:
            return _CHRONY
        if has_timesyncd:
            return _TIMESYNCD
        if can_install:
            return _CHRONY
        wanted.error(why, "neither chrony nor systemd-timesyncd is installed")
    elif asked == _CHRONY:
        if has_chrony or can_install:
            return _CHRONY
        wanted.error(why, "chrony is not installed")
    elif asked == _TIMESYNCD:
        if has_timesyncd:
            return _TIMESYNCD
        wanted.error(why, "systemd-timesyncd is not installed")
    elif asked in _OTHERS:
        wanted.error(why, f"is not supported: {_USE_OTHERS}")
    else:
        wanted.error(why, f"is unknown to guestagent: {_USE_OTHERS}")
    return ""


def _check_server(text: str) -> str:
    """Return a host name, or an IPv4 or IPv6 address.  Raise FieldError for anything else."""
    try:
        return address(text)
    except FieldError:
        pass
    try:
        return host_name(text)
    except FieldError:
        raise FieldError("is neither a host name nor an IP address") from None


def _check_network(text: str) -> str:
    """Return a subnet as ``allow`` of chrony.conf(5) takes it: "all", or ADDRESS[/LENGTH].

    Raise FieldError for anything else.
    """
    if text == "all":
        return text
    base, slash, length = text.partition("/")
    base = address(base)
    longest = 128 if ":" in base else 32
    if slash:
        is_number = length.isascii() and length.isdigit()
        # int() takes a long time for very many digits.
        if not is_number or int(length[:4]) > longest:
            raise FieldError("is not a network, such as 192.0.2.0/24")
    return f"{base}{slash}{length}"


def _plan_timesyncd(setting: Setting, wanted: Wanted) -> None:
    """Plan a drop-in of timesyncd.conf(5), and a script that restarts the service."""
    servers = wanted.take_each(setting, "servers", _check_server)
    servers += wanted.take_each(setting, "pools", _check_server)
    for field in ("peers", "allow"):
        if setting.value.get(field):
            wanted.error(setting.at(field), "systemd-timesyncd has no such setting: use chrony")
    why = setting.at()
    if servers:
        # The empty assignment drops the image's servers.
        text = f"[Time]\nNTP=\nNTP={' '.join(servers)}\n"
        wanted.want(File("file", defs.TIMESYNCD_DROPIN, text.encode(), mode=0o644, why=why))
    elif setting.value.get("servers") or setting.value.get("pools"):
        return  # not one of them is valid
    _plan_start("systemd-timesyncd.service", setting, wanted)


def _plan_start(service: str, setting: Setting, wanted: Wanted) -> None:
    """Plan a script that starts a service of an installed client."""
    content = _START.format(service=service).encode()
    why = setting.at()
    wanted.want(Script("script", "early", 70, "instance", name="ntp", content=content, why=why))


def _plan_chrony(setting: Setting, facts: Facts, wanted: Wanted) -> None:
    """Plan an edit of chrony.conf(5), or a script that installs chrony and makes the edit then.

    The file itself is edited, because chrony's directories can only add servers to it.
    """
    lines: list[str] = []
    for field, directive in _DIRECTIVES.items():
        check = _check_network if field == "allow" else _check_server
        option = " iburst" if directive in ("server", "pool") else ""
        for value in wanted.take_each(setting, field, check):
            lines.append(f"{directive} {value}{option}")
    if not lines and any(setting.value.get(field) for field in _DIRECTIVES):
        return  # not one of them is valid
    if facts.is_like("debian"):
        path, service, install = defs.CHRONY_CONFS[0], "chrony.service", _INSTALL_APT
    else:
        path, service, install = defs.CHRONY_CONFS[1], "chronyd.service", _INSTALL_DNF
    why = setting.at()
    if _CHRONY_PROGRAM not in facts.programs:
        edit = _edit_commands(lines, path)
        content = _INSTALL.format(install=install, edit=edit, service=service).encode()
        wanted.want(Script("script", "late", 10, "instance", name="ntp", content=content, why=why))
        return
    if lines:
        text = _edit(facts.texts.get(path, ""), lines)
        wanted.want(File("file", path, text.encode(), mode=0o644, why=why))
    _plan_start(service, setting, wanted)


def _bring_servers(lines: list[str]) -> bool:
    """Tell whether the lines bring servers, which then are used instead of the image's."""
    return any(line.split()[0] in _SOURCES for line in lines)


def _edit(text: str, lines: list[str]) -> str:
    """Return the text of chrony.conf(5) with the lines at its end, instead of an earlier edit's.

    Where they bring servers, the image's become comments.
    """
    replace = _bring_servers(lines)
    kept = []
    in_earlier_edit = False
    for line in text.splitlines():
        if line == _BEGIN:
            in_earlier_edit = True
        if in_earlier_edit:
            in_earlier_edit = line != _END
        elif replace and _is_source(line):
            kept.append(f"#{line}")
        else:
            kept.append(line)
    return "\n".join([*kept, _BEGIN, *lines, _END]) + "\n"


def _is_source(line: str) -> bool:
    """Tell whether a line of chrony.conf(5) brings servers that must not be used.

    A directory below /run has those by DHCP, which may be used.
    """
    words = line.split()
    if not words:
        return False
    if words[0] == "sourcedir":
        return not "".join(words[1:]).startswith("/run")
    return words[0] in _SOURCES


def _edit_commands(lines: list[str], path: str) -> str:
    """Return shell commands that do what ``_edit`` does."""
    if not lines:
        return ""
    words = " ".join(quote(line) for line in (_BEGIN, *lines, _END))
    commands = ""
    if _bring_servers(lines):
        commands = _COMMENT_OUT_SOURCES.format(path=path)
    return commands + _ADD_LINES.format(lines=words, path=path)
