"""Packages and certificates: keys of cloud-config, and the form of their values after check().

==========================  ===================================================================
package_update              bool;  package_upgrade  bool;  package_reboot_if_required  bool
packages                    list of {"name": str, "version": str, "manager": "apt" | "dnf"};
                            only name is always there
apt                         {"sources": {name: {"source", "key", "keyid", "keyserver",
                            "filename": str, "append": bool}}, "primary", "security": list of
                            {"arches": list of str, "uri": str, "search": list of str,
                            "search_dns": bool, "key", "keyid", "keyserver": str},
                            "preserve_sources_list", "generate_mirrorlists": bool,
                            "disable_suites": list of str, "debconf_selections": {name: str},
                            "sources_list", "conf", "proxy", "http_proxy", "https_proxy",
                            "ftp_proxy", "add_apt_repo_match": str}
ca_certs                    {"remove_defaults": bool, "trusted": list of str}
==========================  ===================================================================
"""

from __future__ import annotations

from guestagent.model import Setting
from guestagent.parse.userdata.shapes import Field, Refused, Text, flag
from guestagent.parse.userdata.shapes_nested import As, Either, ListOf, MapOf, ObjectOf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.parse.userdata.reader import Moves, Path

_WRITTEN = Text(numbers=True)
_WORDS = ListOf(Text(), single=True)
_MANAGERS = ("apt", "dnf")


def _packages(value: list[Any]) -> tuple[list[dict[str, str]], Moves]:
    """Packages, of names, pairs of name and version, and lists of these by manager."""
    result: list[dict[str, str]] = []
    moves: list[tuple[Path, Path]] = []

    def add(item: Any, place: Path, manager: dict[str, str]) -> None:
        name, *version = item if isinstance(item, list) else [item]
        moves.append((place, (len(result),)))
        result.append({"name": name} | ({"version": version[0]} if version else {}) | manager)

    for index, item in enumerate(value):
        if not isinstance(item, dict):
            add(item, (index,), {})
            continue
        for manager, items in item.items():
            for place, each in enumerate(items):
                add(each, (index, manager, place), {"manager": manager})
    return result, moves


_PACKAGE = Either(_WRITTEN, ListOf(_WRITTEN, whole=True, length=(1, 2)))
_MANAGED = ObjectOf(
    {name: Field(ListOf(_PACKAGE), f"Packages only where {name} is used.") for name in _MANAGERS}
    | {"snap": Field(Refused("is not supported: use runcmd with snap install"), "Not supported.")}
)
_PACKAGES = As(ListOf(Either(_PACKAGE, _MANAGED), single=True), _packages)

_KEY_FIELDS = {
    "key": Field(Text(), "The public key that signs, in ASCII armour."),
    "keyid": Field(_WRITTEN, "Fingerprint of a key to fetch from a key server."),
    "keyserver": Field(Text(), "The key server."),
}
_MIRROR = ObjectOf(
    {
        "arches": Field(_WORDS, "Architectures it is for; default for all.", required=True),
        "uri": Field(Text(), "The mirror."),
        "search": Field(_WORDS, "Mirrors of which the first that answers counts."),
        "search_dns": Field(flag(), "Look for a mirror under names in the local domain."),
    }
    | _KEY_FIELDS
)
_MIRRORS = ListOf(_MIRROR)
_SOURCE = ObjectOf(
    {
        "source": Field(Text(), "A line as in sources.list(5), or ppa:NAME."),
        "filename": Field(Text(), "The file to write instead of one named like the entry."),
        "append": Field(flag(), "Add to that file.  Default: true."),
    }
    | _KEY_FIELDS
)
_SOURCES = MapOf(_SOURCE)
_APT = ObjectOf(
    {
        "sources": Field(_SOURCES, "Repositories by the names of their files."),
        "primary": Field(_MIRRORS, "The distribution's mirror."),
        "security": Field(_MIRRORS, "The mirror of security updates."),
        "preserve_sources_list": Field(flag(), "Leave sources.list alone.  Default: false."),
        "generate_mirrorlists": Field(flag(), "Write lists of mirrors.  Default: false."),
        "disable_suites": Field(_WORDS, "Suites to disable."),
        "sources_list": Field(Text(), "Template of sources.list."),
        "add_apt_repo_match": Field(Text(), "Which sources go through add-apt-repository."),
        "debconf_selections": Field(MapOf(Text()), "Answers to questions of debconf."),
        "conf": Field(Text(), "More of apt.conf(5)."),
        "proxy": Field(Text(), "Proxy for http."),
        "http_proxy": Field(Text(), "Proxy for http."),
        "https_proxy": Field(Text(), "Proxy for https."),
        "ftp_proxy": Field(Text(), "Proxy for ftp."),
    }
)

_CA_CERTS = ObjectOf(
    {
        "remove_defaults": Field(
            flag(), "Trust none of the image's own.  Default: false.", ("remove-defaults",)
        ),
        "trusted": Field(_WORDS, "Certificates to trust, in PEM."),
    }
)

KEYS = {
    "package_update": Field(flag(), "Fetch the lists of packages first.", ("apt_update",)),
    "package_upgrade": Field(flag(), "Upgrade what is installed.", ("apt_upgrade",)),
    "package_reboot_if_required": Field(
        flag(), "Reboot where upgraded packages ask for it.", ("apt_reboot_if_required",)
    ),
    "packages": Field(_PACKAGES, "Packages to install: names, or lists of a name and a version."),
    "apt": Field(_APT, "Where apt gets packages from."),
    "ca_certs": Field(_CA_CERTS, "Authorities to trust.", ("ca-certs",)),
}

OLD_APT: dict[str, tuple[str | int, ...]] = {
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
"""Keys that once stood at the top, and where they belong below ``apt``."""


def old_apt_fields() -> dict[str, Field]:
    """The definitions of the keys of ``OLD_APT``."""
    fields: dict[str, Field] = {}
    for name, path in OLD_APT.items():
        field = (_MIRROR if path[0] == "primary" else _APT).fields[str(path[-1])]
        fields[name] = field
    sources = Either(ListOf(_SOURCE, nulls="drop"), _SOURCES)
    return fields | {"apt_sources": Field(sources, fields["apt_sources"].text)}


def old_apt(settings: list[Setting]) -> Setting:
    """One setting ``apt`` of those that once stood at the top: names of ``OLD_APT``, not null.

    The origin, apart from line and column, is the first one's.
    """
    value: dict[str, Any] = {}
    marks: dict[Path, tuple[int, int]] = {}
    for setting in settings:
        path = OLD_APT[setting.key]
        raw = setting.value
        steps: dict[str | int, str] = {}
        if setting.key == "apt_sources" and isinstance(raw, list):
            raw, steps = _named_sources(raw)
        if path[0] == "primary":
            mirror = value.setdefault("primary", [{"arches": ["default"]}])[0]
            mirror[path[-1]] = raw
        else:
            value[str(path[0])] = raw
        for place, mark in setting.marks.items():
            moved = (steps.get(place[0], place[0]), *place[1:]) if place else ()
            marks[(*path, *moved)] = mark
    return Setting("apt", value, settings[0].origin, marks)


def _named_sources(items: list[Any]) -> tuple[dict[str, Any], dict[str | int, str]]:
    """A list of sources as an object, under the names of their files or numbers."""
    steps: dict[str | int, str] = {}
    result: dict[str, Any] = {}
    for index, item in enumerate(items):
        name = item.get("filename") if isinstance(item, dict) else None
        fresh = isinstance(name, str) and name not in result
        steps[index] = str(name) if fresh else f"cloud_config_sources_{index}.list"
        result[steps[index]] = item
    return result, steps
