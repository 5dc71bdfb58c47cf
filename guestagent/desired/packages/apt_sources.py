"""The sources of apt: the distribution's own, from mirrors, and further ones."""

from __future__ import annotations

from guestagent import defs
from guestagent.desired.fetching import checker, item_to_fetch
from guestagent.desired.packages import sources_list
from guestagent.desired.packages.openpgp import key_id, unarmor
from guestagent.errors import FieldError
from guestagent.plan.kinds.file import File
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.desired.fetching import Item
    from guestagent.desired.packages.sources_list import Stanza
    from guestagent.errors import Origin
    from guestagent.model import Facts, Setting
    from guestagent.plan.wanted import Ask, Wanted

_NAME_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_NAME_LENGTH = 64
_FILE_LENGTH = 200
# Debian's names of what uname(2) says.
_ARCHITECTURES = {
    "x86_64": "amd64",
    "i686": "i386",
    "aarch64": "arm64",
    "armv7l": "armhf",
    "ppc64le": "ppc64el",
}
# What ``disable_suites`` may give without the release before it.
_SHORT_SUITES = ("updates", "backports", "security", "proposed")
_NOT_FETCHED = (
    "has only a keyid, and its key is not fetched, because the setting fetch.enable is not set: "
    "set it, or give key (gpg --armor --export KEYID)"
)
_MIRRORS_KEY = (
    "the key of a mirror is not fetched: give key (gpg --armor --export KEYID); the mirror is left "
    "out"
)
_NO_KEY_ID = "is a URL, and nothing says which key is right: give its fingerprint as keyid"
_NO_SERVER = "has a keyserver that is none: give it as hkps://HOST, or the URL of the key as key"
# The one of cloud-init.
_KEY_SERVER = "keyserver.ubuntu.com"
_HOST_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-.:[]")
_WITHOUT_SOURCE = "; the source is left out, so its packages will be missing"
_REPLACED_FILE = "has no effect: a later source replaces its file"
_EMPTY_LIST = "# The sources of this system are in sources.list.d, written by guestagent."


class _Distribution(NamedTuple):
    """The sources of a distribution.

    ``suites`` are those of the primary mirror, but for the release itself.  ``security_follows``
    says that the primary mirror has the security updates, too.
    """

    primary: str
    security: str
    suites: tuple[str, ...]
    types: str
    components: str
    security_follows: bool


_DISTRIBUTIONS = {
    "debian": _Distribution(
        primary="http://deb.debian.org/debian",
        security="http://deb.debian.org/debian-security",
        suites=("-updates", "-backports"),
        types="deb deb-src",
        components="main",
        security_follows=False,
    ),
    "ubuntu": _Distribution(
        primary="http://archive.ubuntu.com/ubuntu",
        security="http://security.ubuntu.com/ubuntu",
        suites=("-updates", "-backports"),
        types="deb",
        components="main restricted universe multiverse",
        security_follows=True,
    ),
}
_UBUNTU_PORTS = "http://ports.ubuntu.com/ubuntu-ports"
_UBUNTU_ARCHIVE_ARCHITECTURES = ("amd64", "i386")


class _Context(NamedTuple):
    """What the sources are made from.

    ``variables`` are those of templates.  ``keyring`` is that of the distribution's own sources,
    empty for all keys that apt trusts.
    """

    ask: Ask
    setting: Setting
    facts: Facts
    variables: dict[str, str]
    keyring: str


class _Entry(NamedTuple):
    """One entry of ``sources``: stanzas for a file, and a key in its armour; both may be empty.

    Of a key to fetch there are ``url`` and ``key_id`` in place of the key.
    """

    path: str
    stanzas: list[Stanza]
    key: str
    keyring: str
    url: str = ""
    key_id: str = ""


def plan_sources(setting: Setting, ask: Ask, wanted: Wanted) -> list[Item]:
    """Plan the files of sources and their keys.

    Returns the keys to fetch, each with the file of its source.
    """
    facts = ask.facts
    primary, primary_has_key = _read_mirror("primary", setting, facts, wanted)
    security, security_has_key = _read_mirror("security", setting, facts, wanted)
    keyring = f"{defs.ARCHIVE_KEYRINGS_DIR}/{facts.os_id}-archive-keyring.gpg"
    if primary_has_key or security_has_key:
        keyring = ""
    context = _Context(ask, setting, facts, _variables(primary, security, facts), keyring)
    if setting.value.get("preserve_sources_list"):
        _warn_of_preserved(setting, wanted)
    elif setting.value.get("sources_list"):
        _plan_main("sources_list", context, wanted)
    elif primary:
        _plan_main("primary", context, wanted)
    elif security:
        _plan_main("security", context, wanted)
    elif setting.value.get("disable_suites"):
        _plan_main("disable_suites", context, wanted)
    return _plan_others(context, wanted)


def _read_mirror(key: str, setting: Setting, facts: Facts, wanted: Wanted) -> tuple[str, bool]:
    """Plan the key of a mirror.  Return the mirror's address, or "", and if it has a key."""
    items: list[dict[str, Any]] = setting.value.get(key) or []
    index = _index_for_machine(items, facts)
    if index is None:
        return "", False
    item = items[index]
    if item.get("keyid") and not item.get("key"):
        wanted.error(setting.at(key, index, "keyid"), _MIRRORS_KEY)
        return "", False
    has_key = False
    if item.get("key"):
        path = f"{defs.APT_TRUSTED_DIR}/guestagent-{key}.gpg"
        has_key = _plan_key(item["key"], path, setting.at(key, index, "key"), wanted)
        if not has_key:
            return "", False
    address = None
    if item.get("uri"):
        uri_origin = setting.at(key, index, "uri")
        address = wanted.take(uri_origin, sources_list.check_uri, item["uri"])
    elif item.get("search") or item.get("search_dns"):
        wanted.error(setting.at(key, index), "search is not supported: give the uri")
    return address or "", has_key


def _index_for_machine(items: list[dict[str, Any]], facts: Facts) -> int | None:
    """Return which of the mirrors is for this machine; None if there is none.

    The first one for its architecture comes before the last default one, as in cloud-init.
    """
    architecture = _architecture(facts)
    default = None
    for index, item in enumerate(items):
        if architecture in item["arches"]:
            return index
        if "default" in item["arches"]:
            default = index
    return default


def _architecture(facts: Facts) -> str:
    """Return Debian's name of the machine's architecture."""
    return _ARCHITECTURES.get(facts.machine, facts.machine)


def _plan_key(armored: str, path: str, why: Origin, wanted: Wanted) -> bool:
    """Plan the file of a key.  Return False if it is not one."""
    content = wanted.take(why, unarmor, armored)
    if content is None:
        return False
    wanted.want(File("file", path, content, mode=0o644, why=why))
    return True


def _variables(primary: str, security: str, facts: Facts) -> dict[str, str]:
    """Return the values of the variables of templates, from the mirrors that are given."""
    variables: dict[str, str] = {}
    release = facts.os_release("VERSION_CODENAME")
    if release:
        variables["RELEASE"] = variables["codename"] = release
    distribution = _DISTRIBUTIONS.get(facts.os_id)
    if distribution is not None:
        default_primary, default_security = distribution.primary, distribution.security
        is_port = _architecture(facts) not in _UBUNTU_ARCHIVE_ARCHITECTURES
        if facts.os_id == "ubuntu" and is_port:
            default_primary = default_security = _UBUNTU_PORTS
        if primary and distribution.security_follows:
            default_security = primary
        primary = primary or default_primary
        security = security or default_security
    if primary:
        variables["PRIMARY"] = variables["primary"] = primary
        variables["MIRROR"] = variables["mirror"] = primary
    if security:
        variables["SECURITY"] = variables["security"] = security
    return variables


def _warn_of_preserved(setting: Setting, wanted: Wanted) -> None:
    """Warn of the keys on the distribution's own sources, which are left as they are."""
    for key in ("primary", "security"):
        if setting.value.get(key):
            reason = "only fills in variables of sources: preserve_sources_list is true"
            wanted.warn(setting.at(key), reason)
    for key in ("sources_list", "disable_suites"):
        if setting.value.get(key):
            wanted.warn(setting.at(key), "has no effect: preserve_sources_list is true")


def _plan_main(key: str, context: _Context, wanted: Wanted) -> None:
    """Plan the distribution's own sources, because this key says something of them."""
    why = context.setting.at(key)
    try:
        stanzas = _main_stanzas(context)
    except FieldError as error:
        wanted.error(why, str(error))
        return
    facts = context.facts
    name = facts.os_id if facts.os_id in _DISTRIBUTIONS else "guestagent"
    wanted.want(_sources_file(f"{defs.APT_SOURCES_DIR}/{name}.sources", stanzas, why))
    lines = facts.texts.get(defs.APT_SOURCES_LIST, "").splitlines()
    has_sources = any(line.strip() and not line.lstrip().startswith("#") for line in lines)
    # A list that guestagent has emptied stays so.
    if has_sources or _EMPTY_LIST in lines:
        content = f"{_EMPTY_LIST}\n".encode()
        wanted.want(File("file", defs.APT_SOURCES_LIST, content, mode=0o644, why=why))


def _main_stanzas(context: _Context) -> list[Stanza]:
    """Return the distribution's own sources, without the suites that are disabled.

    Raise FieldError if the template is wrong, or is missing for an unknown distribution.
    """
    template = context.setting.value.get("sources_list")
    if template:
        stanzas = sources_list.parse(sources_list.fill_in(template, context.variables))
    else:
        stanzas = _default_stanzas(context)
    disabled = []
    for name in context.setting.value.get("disable_suites") or []:
        if name == "release":
            name = "$RELEASE"
        elif name in _SHORT_SUITES:
            name = f"$RELEASE-{name}"
        disabled.append(sources_list.fill_in(name, context.variables))
    return sources_list.remove_suites(stanzas, disabled)


def _default_stanzas(context: _Context) -> list[Stanza]:
    """Return the sources of a distribution.  Raise FieldError if it or its release is unknown."""
    distribution = _DISTRIBUTIONS.get(context.facts.os_id)
    release = context.variables.get("RELEASE")
    if distribution is None or not release:
        raise FieldError("needs sources_list: this distribution's sources are not known")
    suites = " ".join([release, *(f"{release}{suite}" for suite in distribution.suites)])
    primary: Stanza = {
        "Types": distribution.types,
        "URIs": context.variables["PRIMARY"],
        "Suites": suites,
        "Components": distribution.components,
    }
    if context.keyring:
        primary["Signed-By"] = context.keyring
    security = primary | {
        "URIs": context.variables["SECURITY"],
        "Suites": f"{release}-security",
    }
    return [primary, security]


def _plan_others(context: _Context, wanted: Wanted) -> list[Item]:
    """Plan the further sources; return the keys to fetch, each with the file of its source.

    Sources of one file are put together, unless one of them says not to append.  One whose key is
    fetched has a file of its own, which is written with the key.
    """
    setting = context.setting
    to_fetch: list[tuple[_Entry, Origin]] = []
    stanzas_of: dict[str, list[Stanza]] = {}
    origins: dict[str, Origin] = {}
    for name, item in (setting.value.get("sources") or {}).items():
        place = _place(name)
        why = setting.at(*place)
        try:
            entry = _read_entry(name, item, context)
        except FieldError as error:
            wanted.error(why, str(error))
            continue
        if entry.url:
            to_fetch.append((entry, setting.at(*place, "keyid")))
            continue
        if entry.key:
            key_origin = setting.at(*place, "key")
            if not _plan_key(entry.key, entry.keyring, key_origin, wanted):
                continue
        if not entry.stanzas:
            continue
        if entry.path in stanzas_of and not item.get("append", True):
            wanted.warn(origins[entry.path], _REPLACED_FILE)
            stanzas_of[entry.path] = []
        stanzas_of[entry.path] = [*stanzas_of.get(entry.path, []), *entry.stanzas]
        origins[entry.path] = why
    for path, stanzas in stanzas_of.items():
        wanted.want(_sources_file(path, stanzas, origins[path]))
    taken = set(stanzas_of)
    items = []
    for entry, why in to_fetch:
        items.append(_to_fetch(entry, taken, why))
        taken.add(entry.path)
    return items


def _to_fetch(entry: _Entry, taken: set[str], why: Origin) -> Item:
    """Return a key to fetch, with the file of its source; other sources have the ``taken`` ones."""
    path = entry.path
    if path in taken:
        label = entry.keyring.rpartition("/guestagent-")[2].removesuffix(".gpg")
        path = f"{path.removesuffix('.sources')}-{label}.sources"
    file = _sources_file(path, entry.stanzas, why)
    apt_key = {
        "id": entry.key_id,
        "keyring": entry.keyring,
        "source": path,
        "content": file.content.decode() if path else "",
        "mode": file.mode,
    }
    return item_to_fetch(entry.url, why, apt_key=apt_key)


def _read_entry(name: str, item: dict[str, Any], context: _Context) -> _Entry:
    """Return one entry of ``sources``.  Raise FieldError if it must be left out."""
    source = item.get("source") or ""
    key = item.get("key") or ""
    if _is_shortcut(source):
        raise FieldError(_explain_shortcut(source))
    url = ""
    wanted_id = ""
    if (item.get("keyid") and not key) or _is_url(key):
        try:
            url, wanted_id = _key_url(item, context.ask)
        except FieldError as error:
            raise FieldError(f"{error}{_WITHOUT_SOURCE}") from None
        key = ""
    # A key without a source is trusted for all sources.
    folder = defs.APT_KEYRINGS_DIR if source else defs.APT_TRUSTED_DIR
    plain = "".join(char if char in _NAME_LETTERS else "-" for char in name)
    label = plain[:_NAME_LENGTH].removesuffix(".list")
    keyring = f"{folder}/guestagent-{label}.gpg"
    if not source:
        return _Entry("", [], key, keyring, url, wanted_id)
    variables = context.variables
    if key or url:
        variables = variables | {"KEY_FILE": keyring}
    stanzas = sources_list.parse(sources_list.fill_in(source, variables))
    path = _sources_path(item.get("filename") or name)
    if key or url:
        for stanza in stanzas:
            stanza.setdefault("Signed-By", keyring)
    return _Entry(path, stanzas, key, keyring, url, wanted_id)


def _is_url(key: str) -> bool:
    """Tell whether ``key`` is not a key but says where there is one."""
    return key.strip().lower().startswith(("https://", "http://"))


def _key_url(item: dict[str, Any], ask: Ask) -> tuple[str, str]:
    """Return where to fetch the key of an entry, and its id.

    Raise FieldError if it cannot be fetched, or not be told from other keys.
    """
    key = (item.get("key") or "").strip()
    if not item.get("keyid"):
        raise FieldError(_NO_KEY_ID)
    if not ask.settings.fetch_enable:
        raise FieldError(_NOT_FETCHED)
    wanted_id = key_id(item["keyid"])
    server = (item.get("keyserver") or _KEY_SERVER).strip()
    if key:
        url = key
    elif _is_url(server) and "/" in server.partition("://")[2].rstrip("/"):
        url = server
    else:
        url = _lookup(server, wanted_id, http=ask.settings.fetch_http)
    try:
        return checker(ask)(url), wanted_id
    except FieldError as error:
        raise FieldError(f"has a URL for its key that {error}") from None


def _lookup(server: str, wanted_id: str, *, http: bool) -> str:
    """Return the URL by which a key server is asked for a key (HKP).

    A server that is named by hkp:// is asked over TLS, unless ``http`` allows to go without.
    Raise FieldError for what is no key server.
    """
    scheme, mark, rest = server.lower().partition("://")
    if not mark:
        scheme, rest = "hkps", scheme
    host = rest.rstrip("/")
    known = scheme in ("hkps", "https", "hkp", "http")
    if not known or not host or not _HOST_LETTERS.issuperset(host):
        raise FieldError(_NO_SERVER)
    if scheme == "hkp":
        name, colon, port = host.rpartition(":")
        named = bool(colon) and port.isdigit()
        if http:
            host = host if named else f"{host}:11371"
        else:
            host = name if named else host
            scheme = "hkps"
    protocol = "https" if scheme in ("hkps", "https") else "http"
    return f"{protocol}://{host}/pks/lookup?op=get&options=mr&search=0x{wanted_id}"


def _is_shortcut(source: str) -> bool:
    """Tell whether a source is ``ppa:NAME`` or the like, which add-apt-repository(1) expands."""
    source = source.strip()
    word, _, rest = source.partition(":")
    is_word = (_NAME_LETTERS - {"."}).issuperset(word)
    return "\n" not in source and is_word and rest.removeprefix("~")[:1].isalnum()


def _explain_shortcut(source: str) -> str:
    """Return what to write instead of a shortcut."""
    word, _, archive = source.strip().partition(":")
    parts = archive.removeprefix("~").replace("/ubuntu/", "/").split("/")
    parts = parts if len(parts) == 2 else [parts[0], "ppa"]
    if word != "ppa" or not all(_NAME_LETTERS.issuperset(part) for part in parts):
        return "is for add-apt-repository: give the line of the source, and its key"
    line = f"deb https://ppa.launchpadcontent.net/{'/'.join(parts)}/ubuntu $RELEASE main"
    return f"is for add-apt-repository: as source give {line}, and the archive's key as key"


def _place(name: str) -> tuple[str, ...]:
    """Return the path of an entry in the setting; a name that is not plain is not shown."""
    if _NAME_LETTERS.issuperset(name) and len(name) <= _NAME_LENGTH:
        return ("sources", name)
    return ("sources",)


def _sources_path(name: str) -> str:
    """Return the path of an entry's file.  Raise FieldError for a name that apt would not read."""
    stem = name.removeprefix(f"{defs.APT_SOURCES_DIR}/")
    stem = stem.removesuffix(".list").removesuffix(".sources")
    is_plain = _NAME_LETTERS.issuperset(stem) and not stem.startswith(".")
    if not is_plain or not 0 < len(stem) <= _FILE_LENGTH:
        raise FieldError("has the name of a file that apt would not read in its directory")
    path = f"{defs.APT_SOURCES_DIR}/{stem}.sources"
    if path in defs.SYSTEM_FILES:
        # The distribution's own file is not replaced by an entry that has its name.
        return f"{defs.APT_SOURCES_DIR}/cloud-config-{stem}.sources"
    return path


def _sources_file(path: str, stanzas: list[Stanza], why: Origin) -> File:
    """Return a file of stanzas; only root may read one with a password in a URI."""
    secret = any("@" in stanza["URIs"] for stanza in stanzas)
    mode = 0o600 if secret else 0o644
    return File("file", path, sources_list.render(stanzas), mode, why=why, secret=secret)
