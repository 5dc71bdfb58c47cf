"""Time zone, locale and keyboard.

What is set stands in blocks of guestagent's own, behind the image's lines: of two assignments
all readers of these files take the last one.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.desired import os_release as osrelease
from guestagent.desired.shell import quoted
from guestagent.errors import FieldError, Problem
from guestagent.parse.fields import guest_path
from guestagent.plan.kinds.block import Block
from guestagent.plan.kinds.file import File
from guestagent.plan.kinds.link import Link
from guestagent.plan.kinds.script import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Facts, InstanceData, Setting
    from guestagent.plan.kinds import Resource
    from guestagent.plan.wanted import Ask, Wanted
    from guestagent.settings import Settings

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_BUILT_IN = ("c", "posix", "c.utf-8", "c.utf8")
_NOT_MADE = "is not known to be there, and nothing here can make it; it is set all the same"
_MISSING = """missing() {{
    [ -n "$(LC_ALL={name} locale charmap 2>&1 >/dev/null)" ]
}}
missing || exit 0
"""
_MADE = f"""#!/bin/sh
# Makes the locale, unless it is there.
{_MISSING}{{command}}
! missing
"""
_CHECKED = f"""#!/bin/sh
# Says so if the locale is not there, now that packages are installed.
{_MISSING}echo {{advice}}
exit 1
"""
_SETUPCON = """#!/bin/sh
# Brings the keyboard's layout to the consoles, and to what the next boot begins with.
exec setupcon -k --force --save
"""
_VCONSOLE = """#!/bin/sh
# Brings the keyboard's layout to the consoles.
exec systemctl --no-block restart systemd-vconsole-setup.service
"""


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan this module's keys."""
    resources, problems = _plan(ask.data, ask.facts, ask.settings)
    wanted.want(*resources)
    wanted.problems += problems


def _plan(
    data: InstanceData, facts: Facts, settings: Settings
) -> tuple[list[Resource], list[Problem]]:
    """The keys ``timezone``, ``locale``, ``locale_configfile`` and ``keyboard``."""
    resources: list[Resource] = []
    problems: list[Problem] = []
    timezone, language, keyboard = map(data.setting, ("timezone", "locale", "keyboard"))
    if timezone is not None:
        _timezone(timezone, facts, resources, problems)
    if language is not None and language.value is not False:
        path = _locale_path(data.setting("locale_configfile"), facts, problems)
        _locale(language, path, facts, resources, problems)
    if keyboard is not None:
        _keyboard(keyboard, facts, resources, problems)
    return resources, problems


def _timezone(
    setting: Setting, facts: Facts, resources: list[Resource], problems: list[Problem]
) -> None:
    """localtime(5), and Debian's file of the name, which newer releases do not have."""
    why = setting.at()
    try:
        name = _zone(setting.value)
    except FieldError as error:
        problems.append(Problem("error", *why, str(error)))
        return
    resources.append(Link("link", defs.LOCALTIME, f"{defs.ZONEINFO_DIR}/{name}", why))
    if facts.texts.get(defs.TIMEZONE_FILE):
        resources.append(File("file", defs.TIMEZONE_FILE, f"{name}\n".encode(), 0o644, why))


def _zone(text: str) -> str:
    """The name of a time zone, as Europe/Berlin or Etc/GMT+1."""
    allowed = all(part and (_LETTERS | set("+-_")).issuperset(part) for part in text.split("/"))
    if not allowed or len(text) > defs.NAME_LIMIT:
        raise FieldError("is not the name of a time zone, such as Europe/Berlin")
    return text


def _locale_path(setting: Setting | None, facts: Facts, problems: list[Problem]) -> str:
    """The file that names the locale.

    Debian's /etc/default/locale is a link to locale.conf(5) from Debian 13 on.
    """
    if setting is not None:
        try:
            return guest_path(setting.value)
        except FieldError as error:
            problems.append(Problem("error", *setting.at(), str(error)))
    linked = facts.links.get(defs.DEFAULT_LOCALE, "").endswith("/locale.conf")
    debian = osrelease.like(facts, "debian")
    return defs.DEFAULT_LOCALE if debian and not linked else defs.LOCALE_CONF


def _locale(
    setting: Setting, path: str, facts: Facts, resources: list[Resource], problems: list[Problem]
) -> None:
    why, name = setting.at(), setting.value
    if not name[:1].isalpha() or not (_LETTERS | set("_.@-")).issuperset(name) or len(name) > 64:
        problems.append(Problem("error", *why, "is not the name of a locale, such as de_DE.UTF-8"))
        return
    resources.append(Block("block", path, (f"LANG={name}",), "block", "root", 0o644, why))
    if name.lower() in _BUILT_IN:
        return
    script = _making(name, facts)
    if script:
        resources.append(Script("script", "early", 60, "instance", "locale", script.encode(), why))
    elif facts.texts.get(defs.SUPPORTED_LOCALES):
        problems.append(Problem("warning", *why, _NOT_MADE))
    else:
        script = _CHECKED.format(name=quoted(name), advice=quoted(_advice(name, facts)))
        resources.append(Script("script", "late", 20, "instance", "locale", script.encode(), why))


def _advice(name: str, facts: Facts) -> str:
    """What to do for a missing locale where no list of locales is installed."""
    language = name.partition(".")[0].partition("@")[0].partition("_")[0]
    packages = {"dnf": f"glibc-langpack-{language}", "apt-get": "locales"}
    found = next((packages[tool] for tool in packages if tool in facts.programs), "")
    return f"the locale {name} is not there" + (f": install {found}" if found else "")


def _making(name: str, facts: Facts) -> str:
    """A script that makes the locale, empty where that cannot be.

    SUPPORTED has lines of a locale and its character set, as locale.gen(5).
    """
    head, _, rest = name.partition(".")
    charset, at, variant = rest.partition("@")
    source = head + at + variant
    utf8 = charset.lower() in ("utf8", "utf-8")
    full = f"{head}.UTF-8{at}{variant}" if utf8 else name
    lines = facts.texts.get(defs.SUPPORTED_LOCALES, "").splitlines()
    pairs = [(words[0], words[1]) for line in lines if len(words := line.split()) == 2]
    found = [pair for pair in pairs if pair[0] == full]
    if utf8 and (source, "UTF-8") in pairs:  # one that has no other character set
        found = [(source, "UTF-8")]
    if not found:
        return ""
    full, encoding = found[0]
    if "locale-gen" in facts.programs:
        line = quoted(f"{full} {encoding}")
        command = (
            f"grep -qxF {line} {defs.LOCALE_GEN} || echo {line} >>{defs.LOCALE_GEN}\n"
            "locale-gen --keep-existing"
        )
    elif "localedef" in facts.programs:
        command = f"localedef -i {quoted(source)} -f {quoted(encoding)} {quoted(full)}"
    else:
        return ""
    return _MADE.format(name=quoted(name), command=command)


def _keyboard(
    setting: Setting, facts: Facts, resources: list[Resource], problems: list[Problem]
) -> None:
    """keyboard(5) of Debian and its kin, elsewhere vconsole.conf(5)."""
    given = {"model": "pc105", "layout": "", "variant": "", "options": "", **setting.value}
    wrong = [field for field in given if not (_LETTERS | set("_-+,:()")).issuperset(given[field])]
    for field in wrong:
        reason = "must be letters, digits and _ - + , : ( )"
        problems.append(Problem("error", *setting.at(field), reason))
    if wrong or not given["layout"]:
        if not wrong:
            problems.append(Problem("error", *setting.at("layout"), "must not be empty"))
        return
    why = setting.at()
    lines = [f'XKB{field.upper()}="{text}"' for field, text in given.items()]
    debian = osrelease.like(facts, "debian")
    if not debian:
        lines.insert(0, f'KEYMAP="{_keymap(given["layout"], given["variant"])}"')
    path = defs.DEFAULT_KEYBOARD if debian else defs.VCONSOLE_CONF
    resources.append(Block("block", path, tuple(lines), "block", "root", 0o644, why))
    script = _SETUPCON if "setupcon" in facts.programs else "" if debian else _VCONSOLE
    if script:
        content = script.encode()
        resources.append(Script("script", "early", 60, "instance", "keyboard", content, why))


def _keymap(layout: str, variant: str) -> str:
    """The console's map made from the first layout: these are named LAYOUT or LAYOUT-VARIANT."""
    first, with_it = layout.split(",")[0], variant.split(",")[0]
    return f"{first}-{with_it}" if with_it else first
