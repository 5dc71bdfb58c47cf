"""The sources of apt: the distribution's own from mirrors, and those that come besides."""

from __future__ import annotations

from guestagent import defs
from guestagent.desired import os_release
from guestagent.desired.packages import deb822
from guestagent.desired.packages.openpgp import public_keys
from guestagent.errors import FieldError, Problem
from guestagent.plan.kinds.file import File
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.desired.packages.deb822 import Stanza
    from guestagent.errors import Origin
    from guestagent.model import Facts, Setting
    from guestagent.plan.kinds import Resource

_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_ARCHITECTURES = {
    "x86_64": "amd64",
    "i686": "i386",
    "aarch64": "arm64",
    "armv7l": "armhf",
    "ppc64le": "ppc64el",
}
_KNOWN_SUITES = ("updates", "backports", "security", "proposed")
_KEY_SERVER = (
    "has only a keyid, and nothing is fetched from key servers: give key "
    "(gpg --armor --export KEYID)"
)
_WITHOUT_SOURCE = "; the source is left out, so its packages will be missing"
_REPLACED_FILE = "is of no effect: another source replaces its file"
_REPLACED = b"# The sources of this system are in sources.list.d, written by guestagent.\n"


class _Distribution(NamedTuple):
    """What the sources of a distribution say: mirrors, suites besides the release, the rest."""

    primary: str
    security: str
    suites: tuple[str, ...]
    types: str
    components: str
    security_follows: bool  # security updates are on the primary mirror, too


_DISTRIBUTIONS = {
    "debian": _Distribution(
        "http://deb.debian.org/debian",
        "http://deb.debian.org/debian-security",
        ("-updates", "-backports"),
        "deb deb-src",
        "main",
        False,
    ),
    "ubuntu": _Distribution(
        "http://archive.ubuntu.com/ubuntu",
        "http://security.ubuntu.com/ubuntu",
        ("-updates", "-backports"),
        "deb",
        "main restricted universe multiverse",
        True,
    ),
}
_UBUNTU_PORTS = "http://ports.ubuntu.com/ubuntu-ports"


def plan(setting: Setting, facts: Facts, problems: list[Problem]) -> list[Resource]:
    """Files of sources and keys; problems are added to the list."""
    work = _Work(setting, facts, problems)
    work.mirrors()
    if setting.value.get("preserve_sources_list"):
        work.preserved()
    else:
        work.main()
    work.others()
    return work.resources


class _Work:
    """One plan as it grows: what is written, and what variables stand for."""

    def __init__(self, setting: Setting, facts: Facts, problems: list[Problem]) -> None:
        self.setting, self.facts, self.problems = setting, facts, problems
        self.resources: list[Resource] = []
        self.values: dict[str, str] = {}
        self.given: set[str] = set()  # of primary and security
        self.own_key = False
        self.distribution = _DISTRIBUTIONS.get(facts.os_id)

    def wrong(self, reason: str, *path: str | int) -> None:
        """Note an error of a part of the setting."""
        self.problems.append(Problem("error", *self.setting.at(*path), reason))

    def mirrors(self) -> None:
        """Find the mirrors and what the variables stand for.

        Ubuntu's security updates come from the primary mirror where that one alone is given.
        """
        known, values = self.distribution, self.values
        release = os_release.get(self.facts, "VERSION_CODENAME")
        if release:
            values["RELEASE"] = values["codename"] = release
        found = {key: self._mirror(key) for key in ("primary", "security")}
        self.given = {key for key, address in found.items() if address}
        primary, security = found["primary"], found["security"]
        if known is not None:
            ports = self.facts.os_id == "ubuntu" and self._architecture() not in ("amd64", "i386")
            follows = primary if known.security_follows else ""
            primary = primary or (_UBUNTU_PORTS if ports else known.primary)
            security = security or follows or (_UBUNTU_PORTS if ports else known.security)
        for name, address in (("PRIMARY", primary), ("SECURITY", security), ("MIRROR", primary)):
            if address:
                values[name] = values[name.lower()] = address

    def _architecture(self) -> str:
        return _ARCHITECTURES.get(self.facts.machine, self.facts.machine)

    def _mirror(self, key: str) -> str:
        """The mirror for this machine; empty for none."""
        items = self.setting.value.get(key) or []
        own = [index for index, item in enumerate(items) if self._architecture() in item["arches"]]
        rest = [index for index, item in enumerate(items) if "default" in item["arches"]]
        if not own and not rest:
            return ""
        index = own[0] if own else rest[-1]
        item = items[index]
        if item.get("keyid") and not item.get("key"):
            self.wrong(f"{_KEY_SERVER}; the mirror is left out", key, index, "keyid")
            return ""
        if item.get("key"):
            path = f"{defs.APT_TRUSTED_DIR}/guestagent-{key}.gpg"
            if not self._key(item["key"], path, key, index, "key"):
                return ""
            self.own_key = True
        if not item.get("uri"):
            if item.get("search") or item.get("search_dns"):
                self.wrong("search is not supported: give the uri", key, index)
            return ""
        try:
            return deb822.uri(item["uri"])
        except FieldError as error:
            self.wrong(str(error), key, index, "uri")
            return ""

    def _key(self, text: str, path: str, *place: str | int) -> bool:
        """Have a key written; False if it is none."""
        try:
            content = public_keys(text)
        except FieldError as error:
            self.wrong(str(error), *place)
            return False
        self.resources.append(File("file", path, content, 0o644, self.setting.at(*place)))
        return True

    def main(self) -> None:
        """The distribution's own sources, where something is said of them."""
        template = self.setting.value.get("sources_list")
        disabled = self.setting.value.get("disable_suites") or []
        reasons: list[str] = [key for key in ("primary", "security") if key in self.given]
        reasons += ["sources_list"] if template else []
        reasons += ["disable_suites"] if disabled else []
        if not reasons:
            return
        place = reasons[0] if not template else "sources_list"
        try:
            items = (
                deb822.stanzas(deb822.filled(template, self.values)) if template else self._own()
            )
            items = deb822.without_suites(items, self._suites(disabled))
        except FieldError as error:
            self.wrong(str(error), place)
            return
        why = self.setting.at(place)
        name = self.facts.os_id if self.distribution is not None else "guestagent"
        path = f"{defs.APT_SOURCES_DIR}/{name}.sources"
        self.resources.append(_file(path, items, why))
        lines = self.facts.texts.get(defs.APT_SOURCES_LIST, "").splitlines()
        if any(line.strip() and not line.lstrip().startswith("#") for line in lines) or (
            _REPLACED.decode().rstrip() in lines
        ):
            self.resources.append(File("file", defs.APT_SOURCES_LIST, _REPLACED, 0o644, why))

    def _own(self) -> list[Stanza]:
        """The distribution's sources.  FieldError: it, or its release, is not known."""
        known, release = self.distribution, self.values.get("RELEASE")
        if known is None or not release:
            raise FieldError("needs sources_list: this distribution's sources are not known")
        keyring = f"{defs.ARCHIVE_KEYRINGS_DIR}/{self.facts.os_id}-archive-keyring.gpg"
        signed = {} if self.own_key else {"Signed-By": keyring}
        suites = " ".join((release, *(release + suite for suite in known.suites)))
        places = (
            (self.values["PRIMARY"], suites),
            (self.values["SECURITY"], f"{release}-security"),
        )
        return [
            {"Types": known.types, "URIs": address, "Suites": names}
            | {"Components": known.components}
            | signed
            for address, names in places
        ]

    def _suites(self, disabled: list[str]) -> list[str]:
        """The suites that names stand for: some are short for ``$RELEASE-NAME``."""
        found = []
        for name in disabled:
            text = f"$RELEASE-{name}" if name in _KNOWN_SUITES else name
            found.append(deb822.filled("$RELEASE" if name == "release" else text, self.values))
        return found

    def preserved(self) -> None:
        """Warn of what is said of the distribution's own sources, which are left alone."""
        mirrors = "only fills in variables of sources: preserve_sources_list is true"
        nothing = "is of no effect: preserve_sources_list is true"
        for key, reason in (
            ("primary", mirrors),
            ("security", mirrors),
            ("sources_list", nothing),
            ("disable_suites", nothing),
        ):
            if self.setting.value.get(key):
                self.problems.append(Problem("warning", *self.setting.at(key), reason))

    def others(self) -> None:
        """The sources that come besides the distribution's own.

        Those of one file are put together, unless one says not to append.
        """
        found: dict[str, tuple[list[Stanza], Origin]] = {}
        for name, item in (self.setting.value.get("sources") or {}).items():
            try:
                path, items = self._other(name, item)
            except FieldError as error:
                self.wrong(str(error), *_place(name))
                continue
            if items:
                before, why = found.get(path, ([], None))
                if why is not None and not item.get("append", True):
                    before = []
                    self.problems.append(Problem("warning", *why, _REPLACED_FILE))
                found[path] = [*before, *items], self.setting.at(*_place(name))
        for path, (items, why) in found.items():
            self.resources.append(_file(path, items, why))

    def _other(self, name: str, item: dict[str, Any]) -> tuple[str, list[Stanza]]:
        """Path and stanzas of one entry, its key being seen to.  FieldError: it is left out."""
        source, key = item.get("source") or "", item.get("key") or ""
        if item.get("keyid") and not key:
            raise FieldError(f"{_KEY_SERVER}{_WITHOUT_SOURCE}")
        if _short(source):
            raise FieldError("is for add-apt-repository: give the line of the source, and its key")
        label = "".join(char if char in _NAME else "-" for char in name)[:64]
        folder = defs.APT_KEYRINGS_DIR if source else defs.APT_TRUSTED_DIR
        keyring = f"{folder}/guestagent-{label.removesuffix('.list')}.gpg"
        values = self.values | ({"KEY_FILE": keyring} if key else {})
        items = deb822.stanzas(deb822.filled(source, values)) if source else []
        path = _path(item.get("filename") or name) if source else ""
        if key and not self._key(key, keyring, *_place(name), "key"):
            return "", []
        if key:
            items = [{**stanza, "Signed-By": stanza.get("Signed-By", keyring)} for stanza in items]
        return path, items


def _file(path: str, items: list[Stanza], why: Origin) -> File:
    """A file of stanzas.  With a password in a URI only root may read it, and none is shown."""
    secret = any("@" in stanza["URIs"] for stanza in items)
    return File("file", path, deb822.written(items), 0o600 if secret else 0o644, why, secret)


def _place(name: str) -> tuple[str, ...]:
    """Where an entry stands; names that are no plain ones are not repeated to people."""
    return ("sources", name) if _NAME.issuperset(name) and len(name) <= 64 else ("sources",)


def _short(source: str) -> bool:
    """True for ``ppa:NAME`` and the like, which add-apt-repository(1) makes a source of."""
    head, _, rest = source.strip().partition(":")
    one_line = "\n" not in source.strip()
    return one_line and rest[:1].isalnum() and (_NAME - {"."}).issuperset(head)


def _path(name: str) -> str:
    """The file of an entry: apt reads only plain names."""
    stem = name.removeprefix(f"{defs.APT_SOURCES_DIR}/")
    stem = stem.removesuffix(".list").removesuffix(".sources")
    if not 0 < len(stem) <= 200 or not _NAME.issuperset(stem) or stem.startswith("."):
        raise FieldError("has the name of a file that apt would not read in its directory")
    path = f"{defs.APT_SOURCES_DIR}/{stem}.sources"
    return (
        f"{defs.APT_SOURCES_DIR}/cloud-config-{stem}.sources" if path in defs.SYSTEM_FILES else path
    )
