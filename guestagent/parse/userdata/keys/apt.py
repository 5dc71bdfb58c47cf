"""The key ``apt`` and the keys that it replaced, and the form of its value after check().

===  ===========================================================================================
apt  {"sources": {name: {"source", "key", "keyid", "keyserver", "filename": str, "append": bool}},
     "primary", "security": list of {"arches": list of str, "uri": str, "search": list of str,
     "search_dns": bool, "key", "keyid", "keyserver": str},
     "preserve_sources_list", "generate_mirrorlists": bool, "disable_suites": list of str,
     "debconf_selections": {name: str}, "sources_list", "conf", "proxy", "http_proxy",
     "https_proxy", "ftp_proxy", "add_apt_repo_match": str}
===  ===========================================================================================
"""

from __future__ import annotations

from guestagent.model import Setting
from guestagent.parse.userdata.containers import AnyOf, ListOf, MapOf, Mapping
from guestagent.parse.userdata.scalars import String, flag
from guestagent.parse.userdata.shape import Field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.parse.userdata.places import Path

_WORDS = ListOf(String(), single=True)

_KEY_FIELDS = {
    "key": Field(String(), "The public key that signs, in ASCII armour."),
    "keyid": Field(String(numbers=True), "Fingerprint of a key to fetch from a key server."),
    "keyserver": Field(String(), "The key server."),
}
_MIRROR = Mapping(
    {
        "arches": Field(_WORDS, "Architectures it is for; default means all.", required=True),
        "uri": Field(String(), "The mirror."),
        "search": Field(_WORDS, "Mirrors of which the first that answers is used."),
        "search_dns": Field(flag(), "Look for a mirror under names in the local domain."),
        **_KEY_FIELDS,
    }
)
_MIRRORS = ListOf(_MIRROR)
_SOURCE = Mapping(
    {
        "source": Field(String(), "A line as in sources.list(5), or ppa:NAME."),
        "filename": Field(String(), "The file to write instead of one named like the entry."),
        "append": Field(flag(), "Add to that file.  Default: true."),
        **_KEY_FIELDS,
    }
)
_SOURCES = MapOf(_SOURCE)
_APT = Mapping(
    {
        "sources": Field(_SOURCES, "Repositories by the names of their files.", alone=True),
        "primary": Field(_MIRRORS, "The distribution's mirror.", alone=True),
        "security": Field(_MIRRORS, "The mirror of security updates.", alone=True),
        "preserve_sources_list": Field(flag(), "Leave sources.list alone.  Default: false."),
        "generate_mirrorlists": Field(
            flag(), "Write lists of mirrors.  Default: false.", alone=True
        ),
        "disable_suites": Field(_WORDS, "Suites to disable.", alone=True),
        "sources_list": Field(String(), "Template of sources.list.", alone=True),
        "add_apt_repo_match": Field(
            String(), "Which sources go through add-apt-repository.", alone=True
        ),
        "debconf_selections": Field(
            MapOf(String()), "Answers to questions of debconf.", alone=True
        ),
        "conf": Field(String(), "More of apt.conf(5).", alone=True),
        "proxy": Field(String(), "Proxy for http.", alone=True),
        "http_proxy": Field(String(), "Proxy for http.", alone=True),
        "https_proxy": Field(String(), "Proxy for https.", alone=True),
        "ftp_proxy": Field(String(), "Proxy for ftp.", alone=True),
    }
)

KEYS = {"apt": Field(_APT, "Where apt gets packages from.")}

OLD_APT: dict[str, Path] = {
    "apt_sources": ("sources",),
    "apt_mirror": ("primary", 0, "uri"),
    "apt_mirror_search": ("primary", 0, "search"),
    "apt_mirror_search_dns": ("primary", 0, "search_dns"),
    "apt_proxy": ("proxy",),
    "apt_http_proxy": ("http_proxy",),
    "apt_https_proxy": ("https_proxy",),
    "apt_ftp_proxy": ("ftp_proxy",),
    "apt_preserve_sources_list": ("preserve_sources_list",),
    "apt_custom_sources_list": ("sources_list",),
    "add_apt_repo_match": ("add_apt_repo_match",),
}
"""Keys that were once at the top level, and the paths below ``apt`` that replaced them."""


def old_apt_fields() -> dict[str, Field]:
    """Return the definitions of the keys of ``OLD_APT``."""
    fields: dict[str, Field] = {}
    for name, path in OLD_APT.items():
        mapping = _MIRROR if path[0] == "primary" else _APT
        fields[name] = mapping.fields[str(path[-1])]
    # Sources were once a list, too.
    sources = AnyOf(ListOf(_SOURCE, nulls="drop"), _SOURCES)
    fields["apt_sources"] = Field(sources, fields["apt_sources"].text)
    return fields


def join_old_apt(settings: list[Setting]) -> Setting:
    """Return one setting ``apt`` of several with names of ``OLD_APT``, none of them null.

    The origin, apart from line and column, is that of the first one.
    """
    value: dict[str, Any] = {}
    marks: dict[Path, tuple[int, int]] = {}
    for setting in settings:
        path = OLD_APT[setting.key]
        given = setting.value
        names: dict[str | int, str] = {}
        if setting.key == "apt_sources" and isinstance(given, list):
            given, names = _name_sources(given)
        if path[0] == "primary":
            mirrors = value.setdefault("primary", [{"arches": ["default"]}])
            mirrors[0][path[-1]] = given
        else:
            value[str(path[0])] = given
        for place, mark in setting.marks.items():
            if place and place[0] in names:
                place = (names[place[0]], *place[1:])
            marks[(*path, *place)] = mark
    return Setting("apt", value, settings[0].origin, marks)


def _name_sources(items: list[Any]) -> tuple[dict[str, Any], dict[str | int, str]]:
    """Return a list of sources as a mapping, and the name in it of each index of the list.

    Names are those of the files, or made of the index where there is none or it is taken.
    """
    sources: dict[str, Any] = {}
    names: dict[str | int, str] = {}
    for index, item in enumerate(items):
        name = item.get("filename") if isinstance(item, dict) else None
        if not isinstance(name, str) or name in sources:
            name = f"cloud_config_sources_{index}.list"
        names[index] = name
        sources[name] = item
    return sources, names
