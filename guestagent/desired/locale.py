"""``locale`` and ``locale_configfile``: the system's language, made where the guest lacks it."""

from __future__ import annotations

from guestagent import defs
from guestagent.desired.shell_quoting import quote
from guestagent.parse.fields import guest_path
from guestagent.plan.kinds.block import Block
from guestagent.plan.kinds.script import Script
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Facts
    from guestagent.plan.wanted import Ask, Wanted

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.@-")
_LENGTH = 64
_BUILT_IN = ("c", "posix", "c.utf-8", "c.utf8")  # of the C library
_NOT_MADE = "may be missing, and nothing on this system can make it; it is set all the same"
# A C library that lacks a locale complains of it, and goes on with its own.
_MISSING = """\
missing() {{
    [ -n "$(LC_ALL={name} locale charmap 2>&1 >/dev/null)" ]
}}
missing || exit 0
"""
_MAKE = f"""\
#!/bin/sh
# Make the locale, if it is missing.
{_MISSING}{{command}}
! missing
"""
_CHECK = f"""\
#!/bin/sh
# Fail if the locale is missing, now that packages are installed.
{_MISSING}echo {{advice}}
exit 1
"""
_LOCALE_GEN = """\
grep -qxF {line} {locale_gen} || echo {line} >>{locale_gen}
locale-gen --keep-existing"""


class _Definition(NamedTuple):
    """What a locale is made of: "de_DE.UTF-8" of the source "de_DE" and the charset "UTF-8"."""

    locale: str
    source: str
    charset: str


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan the file that names the locale, and a script that makes the locale or looks for it.

    The line is a block at the file's end, because its readers take the last of two assignments.
    """
    setting = ask.data.setting("locale")
    if setting is None or setting.value is False:
        return
    path = _file(ask, wanted)
    why = setting.at()
    name: str = setting.value
    if not name[:1].isalpha() or not _LETTERS.issuperset(name) or len(name) > _LENGTH:
        wanted.error(why, "is not the name of a locale, such as de_DE.UTF-8")
        return
    line = f"LANG={name}"
    wanted.want(Block("block", path, (line,), style="block", user="root", mode=0o644, why=why))
    if name.lower() in _BUILT_IN:
        return
    command = _make_command(name, ask.facts)
    if command:
        content = _MAKE.format(name=quote(name), command=command).encode()
        wanted.want(
            Script("script", "early", 60, "instance", name="locale", content=content, why=why)
        )
    elif ask.facts.texts.get(defs.SUPPORTED_LOCALES):
        wanted.warn(why, _NOT_MADE)
    else:
        # Packages of the late stage may bring the locale.
        advice = quote(_advice(name, ask.facts))
        content = _CHECK.format(name=quote(name), advice=advice).encode()
        wanted.want(
            Script("script", "late", 20, "instance", name="locale", content=content, why=why)
        )


def _file(ask: Ask, wanted: Wanted) -> str:
    """Return the path of the file that names the locale: the given one, else the distribution's."""
    setting = ask.data.setting("locale_configfile")
    if setting is not None:
        path = wanted.take(setting.at(), guest_path, setting.value)
        if path is not None:
            return path
    # From Debian 13 on /etc/default/locale is a link to locale.conf(5).
    is_link = ask.facts.links.get(defs.DEFAULT_LOCALE, "").endswith("/locale.conf")
    if ask.facts.is_like("debian") and not is_link:
        return defs.DEFAULT_LOCALE
    return defs.LOCALE_CONF


def _make_command(name: str, facts: Facts) -> str:
    """Return the shell commands that make a locale, empty where that is not possible."""
    definition = _find_definition(name, facts.texts.get(defs.SUPPORTED_LOCALES, ""))
    if definition is None:
        return ""
    if "locale-gen" in facts.programs:
        line = quote(f"{definition.locale} {definition.charset}")
        return _LOCALE_GEN.format(line=line, locale_gen=defs.LOCALE_GEN)
    if "localedef" in facts.programs:
        source, charset = quote(definition.source), quote(definition.charset)
        return f"localedef -i {source} -f {charset} {quote(definition.locale)}"
    return ""


def _find_definition(name: str, supported: str) -> _Definition | None:
    """Return what a locale is made of, by the list of those that the C library supports.

    The list has lines of a locale and its character set, as locale.gen(5).
    """
    listed = []
    for line in supported.splitlines():
        words = line.split()
        if len(words) == 2:
            listed.append((words[0], words[1]))
    # A name is LANGUAGE_COUNTRY.CHARSET@VARIANT, and its source is the same without .CHARSET.
    language, _, rest = name.partition(".")
    charset, at, variant = rest.partition("@")
    source = f"{language}{at}{variant}"
    if charset.lower() in ("utf8", "utf-8"):
        if (source, "UTF-8") in listed:
            # Locales that have no other character set are listed, and made, without .UTF-8.
            return _Definition(source, source, "UTF-8")
        name = f"{language}.UTF-8{at}{variant}"
    for locale, charset in listed:
        if locale == name:
            return _Definition(locale, source, charset)
    return None


def _advice(name: str, facts: Facts) -> str:
    """Return what to tell people of a missing locale where no list of locales is installed."""
    language = name.partition(".")[0].partition("@")[0].partition("_")[0]
    text = f"the locale {name} is missing"
    if "dnf" in facts.programs:
        return f"{text}: install glibc-langpack-{language}"
    if "apt-get" in facts.programs:
        return f"{text}: install locales"
    return text
