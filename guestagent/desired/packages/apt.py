"""``apt``: where apt gets packages from, and how.

Sources are written as stanzas, deb822(5), each with its own key where one is given.  The
distribution's own sources are written again only where mirrors, suites or a list of them are
given, not whenever ``preserve_sources_list`` is false.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.desired import fetching
from guestagent.desired.packages.apt_sources import plan_sources
from guestagent.desired.packages.install import APT_GET
from guestagent.desired.shell_quoting import quote
from guestagent.errors import FieldError
from guestagent.plan.kinds.file import File
from guestagent.plan.kinds.script import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Setting
    from guestagent.plan.wanted import Ask, Wanted

# In this order, because the last of two values for one proxy wins.
_PROXIES = {
    "proxy": "http",
    "http_proxy": "http",
    "https_proxy": "https",
    "ftp_proxy": "ftp",
}
_PROXY_METHODS = ("http://", "https://", "socks5h://", "ftp://")
# Keys whose script updates the lists of packages.
_UPDATING_KEYS = ("package_update", "package_upgrade", "packages")
_SCRIPT_HEAD = """\
#!/bin/sh
# Answers for debconf, and lists of packages, as cloud-config asks.
status=0
"""
_SELECT = """\
printf '%s\\n' {text} | debconf-set-selections || status=1
"""
_UPDATE = f"""\
{APT_GET}update || status=1
"""


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan files below /etc/apt, and a script for debconf and the lists of packages."""
    setting = ask.data.setting("apt")
    if setting is None or not setting.value:
        return
    if "apt-get" not in ask.facts.programs:
        wanted.warn(setting.at(), "has no effect: apt is not installed")
        return
    to_fetch = plan_sources(setting, ask, wanted)
    # Before the lists of packages are updated.
    fetching.want_script(to_fetch, ask, wanted)
    _plan_proxies(setting, wanted)
    _plan_conf(setting, wanted)
    if "add_apt_repo_match" in setting.value:
        reason = "has no effect: add-apt-repository is not used"
        wanted.warn(setting.at("add_apt_repo_match"), reason)
    if setting.value.get("generate_mirrorlists"):
        reason = "is not supported: give the mirror as primary"
        wanted.error(setting.at("generate_mirrorlists"), reason)
    _plan_script(setting, ask, wanted)


def _plan_proxies(setting: Setting, wanted: Wanted) -> None:
    """Plan a file of apt.conf(5) with the proxies; only root may read one with a password."""
    lines = []
    secret = False
    for field, method in _PROXIES.items():
        text = setting.value.get(field)
        if not text:
            continue
        secret = secret or "@" in text
        url = wanted.take(setting.at(field), _check_proxy, text)
        if url is not None:
            lines.append(f'Acquire::{method}::Proxy "{url}";\n')
    if lines:
        content = "".join(lines).encode()
        mode = 0o600 if secret else 0o644
        why = setting.at()
        wanted.want(File("file", defs.APT_PROXY_FILE, content, mode, why=why, secret=secret))


def _check_proxy(text: str) -> str:
    """Return DIRECT or a URL that a string of apt.conf(5) can hold.  Raise FieldError otherwise."""
    is_plain = text.isascii() and text.isprintable() and not set(" \"'\\{};") & set(text)
    is_proxy = text == "DIRECT" or text.startswith(_PROXY_METHODS)
    if not is_plain or not is_proxy:
        raise FieldError("is not the URL of a proxy, such as http://proxy.example.org:3128")
    return text


def _plan_conf(setting: Setting, wanted: Wanted) -> None:
    """Plan a file of apt.conf(5) with the text of ``conf`` as it is."""
    text: str = setting.value.get("conf") or ""
    if not text:
        return
    why = setting.at("conf")
    if not text.replace("\n", "").replace("\t", "").isprintable():
        wanted.error(why, "contains a control character or another unprintable one")
        return
    # It may name a proxy with its password.
    secret = "@" in text
    mode = 0o600 if secret else 0o644
    content = f"{text.rstrip()}\n".encode()
    wanted.want(File("file", defs.APT_CONF_FILE, content, mode, why=why, secret=secret))


def _plan_script(setting: Setting, ask: Ask, wanted: Wanted) -> None:
    """Plan a late script with answers for debconf(1), and an update for new sources.

    Where another key updates the lists, its script does, which runs after this one.
    """
    update = bool(setting.value.get("sources"))
    for key in _UPDATING_KEYS:
        other = ask.data.setting(key)
        if other is not None and other.value:
            update = False
    selections = _read_selections(setting, ask, wanted)
    if not selections and not update:
        return
    script = _SCRIPT_HEAD
    if selections:
        script += _SELECT.format(text=quote("\n".join(selections)))
    if update:
        script += _UPDATE
    script += "exit $status\n"
    wanted.want(
        Script(
            "script",
            "late",
            10,
            "instance",
            name="apt",
            content=script.encode(),
            why=setting.at(),
            # Answers for debconf may be passwords.
            secret=bool(selections),
        )
    )


def _read_selections(setting: Setting, ask: Ask, wanted: Wanted) -> list[str]:
    """Return lines of debconf-set-selections(1): owner, question, type and value."""
    given = setting.value.get("debconf_selections") or {}
    if given and "debconf-set-selections" not in ask.facts.programs:
        reason = "debconf-set-selections is not installed"
        wanted.error(setting.at("debconf_selections"), reason)
        return []
    found = []
    for name in sorted(given):
        # A name that is not plain is not shown.
        shown = (name,) if name.isidentifier() and name.isascii() else ()
        why = setting.at("debconf_selections", *shown)
        found += wanted.take(why, _split_selections, given[name]) or []
    return found


def _split_selections(text: str) -> list[str]:
    """Return the lines, without comments.  Raise FieldError if one cannot be a selection."""
    lines = []
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if not line.isprintable() or len(line.split()) < 3:
            raise FieldError("must be lines of an owner, a question, a type and a value")
        lines.append(line)
    return lines
