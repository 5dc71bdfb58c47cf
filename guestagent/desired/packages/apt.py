"""Where apt gets packages from, and how: the key ``apt``.

Sources are written as stanzas, deb822(5), each with its own key where one is given.  The
distribution's own sources are written anew only where mirrors, suites or a list of them are
given, not whenever ``preserve_sources_list`` is false.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.desired.packages import apt_sources as aptsources
from guestagent.desired.packages.install import APT_GET
from guestagent.desired.shell_quoting import quote
from guestagent.errors import FieldError, Problem
from guestagent.plan.kinds.file import File
from guestagent.plan.kinds.script import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Facts, InstanceData, Setting
    from guestagent.plan.kinds import Resource
    from guestagent.plan.wanted import Ask, Wanted
    from guestagent.settings import Settings

# In this order: of two values for one proxy the last one counts.
_PROXIES = {
    "proxy": "http",
    "http_proxy": "http",
    "https_proxy": "https",
    "ftp_proxy": "ftp",
}
_PROXY_METHODS = ("http://", "https://", "socks5h://", "ftp://")
_BRINGS_UPDATE = ("package_update", "package_upgrade", "packages")
_SELECT = "printf '%s\\n' {text} | debconf-set-selections || status=1\n"
_UPDATE = f"{APT_GET}\nupdate || status=1\n"


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan this module's keys."""
    resources, problems = _plan(ask.data, ask.facts, ask.settings)
    wanted.want(*resources)
    wanted.problems += problems


def _plan(
    data: InstanceData, facts: Facts, settings: Settings
) -> tuple[list[Resource], list[Problem]]:
    """The key ``apt``: files below /etc/apt, and a step for debconf and the lists of packages."""
    setting = data.setting("apt")
    if setting is None or not setting.value:
        return [], []
    if "apt-get" not in facts.programs:
        return [], [Problem("warning", *setting.at(), "does nothing: there is no apt here")]
    problems: list[Problem] = []
    resources = aptsources.plan(setting, facts, problems)
    resources += _proxies(setting, problems)
    resources += _conf(setting, problems)
    if "add_apt_repo_match" in setting.value:
        reason = "does nothing: add-apt-repository is not used"
        problems.append(Problem("warning", *setting.at("add_apt_repo_match"), reason))
    if setting.value.get("generate_mirrorlists"):
        reason = "is not supported: give the mirror as primary"
        problems.append(Problem("error", *setting.at("generate_mirrorlists"), reason))
    others = any((given := data.setting(key)) and given.value for key in _BRINGS_UPDATE)
    resources += _step(setting, facts, bool(setting.value.get("sources")) and not others, problems)
    return resources, problems


def _proxies(setting: Setting, problems: list[Problem]) -> list[Resource]:
    """Proxies of apt.conf(5).  With a password in them only root may read the file."""
    lines, secret = [], False
    for field, method in _PROXIES.items():
        text = setting.value.get(field)
        if not text:
            continue
        try:
            lines.append(f'Acquire::{method}::Proxy "{_proxy(text)}";\n')
        except FieldError as error:
            problems.append(Problem("error", *setting.at(field), str(error)))
        secret = secret or "@" in text
    if not lines:
        return []
    mode = 0o600 if secret else 0o644
    return [File("file", defs.APT_PROXY_FILE, "".join(lines).encode(), mode, setting.at(), secret)]


def _proxy(text: str) -> str:
    """A URL that a string of apt.conf(5) can hold, or DIRECT."""
    plain = text.isascii() and text.isprintable() and not set(" \"'\\{};") & set(text)
    if not plain or not (text == "DIRECT" or text.startswith(_PROXY_METHODS)):
        raise FieldError("is not the URL of a proxy, such as http://proxy.example.org:3128")
    return text


def _conf(setting: Setting, problems: list[Problem]) -> list[Resource]:
    """Text of apt.conf(5) as it is; it may name a proxy with its password."""
    text: str = setting.value.get("conf") or ""
    if not text:
        return []
    why = setting.at("conf")
    if not text.replace("\n", "").replace("\t", "").isprintable():
        reason = "holds a control character or another unprintable one"
        problems.append(Problem("error", *why, reason))
        return []
    secret = "@" in text
    content = f"{text.rstrip()}\n".encode()
    return [File("file", defs.APT_CONF_FILE, content, 0o600 if secret else 0o644, why, secret)]


def _step(setting: Setting, facts: Facts, update: bool, problems: list[Problem]) -> list[Resource]:
    """The late step: answers for debconf(1), then the lists of new sources."""
    selections = _selections(setting, facts, problems)
    if not selections and not update:
        return []
    script = (
        "#!/bin/sh\n# Answers for debconf, and lists of packages, as cloud-config asks.\nstatus=0\n"
    )
    if selections:
        script += _SELECT.format(text=quote("\n".join(selections)))
    if update:
        script += _UPDATE
    script += "exit $status\n"
    hidden = bool(selections)
    return [Script("script", "late", 10, "instance", "apt", script.encode(), setting.at(), hidden)]


def _selections(setting: Setting, facts: Facts, problems: list[Problem]) -> list[str]:
    """Lines of debconf-set-selections(1): owner, question, type and value."""
    given = setting.value.get("debconf_selections") or {}
    if given and "debconf-set-selections" not in facts.programs:
        reason = "there is no debconf-set-selections here"
        problems.append(Problem("error", *setting.at("debconf_selections"), reason))
        return []
    found = []
    for name in sorted(given):
        lines = [line.strip() for line in given[name].splitlines() if line.strip()]
        lines = [line for line in lines if not line.startswith("#")]
        if all(line.isprintable() and len(line.split()) >= 3 for line in lines):
            found += lines
        else:
            reason = "must be lines of an owner, a question, a type and a value"
            shown = (name,) if name.isidentifier() and name.isascii() else ()
            where = setting.at("debconf_selections", *shown)
            problems.append(Problem("error", *where, reason))
    return found
