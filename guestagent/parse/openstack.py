"""The OpenStack layout of a config drive: ``openstack/VERSION/…`` and ``content/…``.

Sources: Nova's ``api/metadata/base.py`` and the metadata page of its user guide.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError, Origin, Problems, internal
from guestagent.model import Blob, InjectedFile, InstanceData, Network, Password, Secret, Text
from guestagent.parse import fields
from guestagent.sources.bundle import Unreadable, is_dated
from guestagent.system.jsontext import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeVar

    from guestagent.sources.bundle import Bundle

    T = TypeVar("T")

_META = "meta_data.json"
_NETWORK = "network_data.json"
_VENDORS = ("vendor_data.json", "vendor_data2.json")


def folder(bundle: Bundle) -> str | None:
    """The version to read: ``openstack/latest``, else the newest dated one; None for none.

    Raises SourceBroken.
    """
    names = bundle.names("openstack")
    dated = sorted((name for name in names if is_dated(name)), reverse=True)
    for version in ("latest", *dated):
        if version in names and _META in bundle.names(f"openstack/{version}"):
            return f"openstack/{version}"
    return None


def instance_id(bundle: Bundle) -> str | None:
    """The uuid that a source gives, in small letters; None where it gives none that is good.

    Raises SourceBroken.
    """
    where = folder(bundle)
    if where is None:
        return None
    reader = _Reader(bundle, where, Problems())
    found = reader.uuid(reader.document(_META))
    return found.value if found else None


def parse(bundle: Bundle, problems: Problems) -> InstanceData:
    """Return what a source of this layout says; what is wrong with it goes to ``problems``.

    Raises SourceBroken where the source fails while it is read, and nothing else.
    """
    where = folder(bundle)
    if where is None:
        origin = Origin(bundle.label, "openstack", "")
        problems.error(origin, f"no version folder with {_META}")
        return InstanceData()
    return _Reader(bundle, where, problems).everything()


class _Reader:
    """Reads the documents of one version folder and collects problems on the way."""

    def __init__(self, bundle: Bundle, where: str, problems: Problems) -> None:
        self.bundle, self.where, self.problems = bundle, where, problems

    def everything(self) -> InstanceData:
        """All documents."""
        meta = self.document(_META)
        data = InstanceData(
            instance_id=self.uuid(meta),
            hostname=self.hostname(meta),
            ssh_keys=self.ssh_keys(meta),
            admin_pass=self.admin_pass(meta),
            files=tuple(self.files(meta)),
            random_seed=self.random_seed(meta),
            network=self.network(meta),
            availability_zone=self.text(meta, "availability_zone"),
            project_id=self.text(meta, "project_id"),
            meta=tuple(self.pairs(meta, "meta")),
            devices=tuple(self.devices(meta)),
            password_url=self.password_url(),
        )
        return self.with_user_data(data)

    def with_user_data(self, data: InstanceData) -> InstanceData:
        """The data with cloud-config and scripts, of the tenant and of the vendor."""
        user = self.raw("user_data") or b""
        vendor, vendor2 = (self.vendor_data(name) for name in _VENDORS)
        if not user.strip() and vendor is None and vendor2 is None:
            return data
        from guestagent.parse.userdata.reading import read

        try:
            config, scripts, problems = read(user, vendor, vendor2, self.bundle.label)
        except Exception as error:  # the guest must be reachable all the same
            self.error("user_data", "", f"{internal(error)}; nothing of it is applied")
            return data
        self.problems.add(*problems)
        return data._replace(config=config, scripts=scripts)

    def raw(self, name: str) -> bytes | None:
        """A document of the version folder as it is; None where it is missing or unreadable."""
        if name not in self.bundle.names(self.where):
            return None
        try:
            return self.bundle.get(f"{self.where}/{name}", defs.FILE_LIMIT)
        except Unreadable as error:
            self.error(name, "", str(error))
            return None

    def vendor_data(self, name: str) -> object:
        """Vendor data that may hold something; None for none, as most clouds give it."""
        content = (self.raw(name) or b"").strip()
        if content[:1] not in (b'"', b"[") and b"cloud-init" not in content:
            return None
        try:
            return loads(content)
        except FieldError as error:
            self.error(name, "", str(error))
            return None

    def origin(self, document: str, key: str) -> Origin:
        """Where a value of one of the documents stands."""
        return Origin(self.bundle.label, document, key)

    def error(self, document: str, key: str, reason: str) -> None:
        """Note that a value is left out."""
        self.problems.error(self.origin(document, key), reason)

    def warn(self, document: str, key: str, reason: str) -> None:
        """Note something odd."""
        self.problems.warn(self.origin(document, key), reason)

    def document(self, name: str) -> dict[str, Any]:
        """A JSON object of the version folder; empty where it is missing or unsound."""
        try:
            content = self.bundle.get(f"{self.where}/{name}", defs.JSON_LIMIT)
            value = {} if content is None else loads(content)
            if not isinstance(value, dict):
                raise FieldError("must be a JSON object")
        except (FieldError, Unreadable) as error:
            self.error(name, "", str(error))
            return {}
        return value

    def checked(self, key: str, value: object, check: Callable[[str], T]) -> T | None:
        """The value through a validator; None and a problem where it does not fit."""
        try:
            if not isinstance(value, str):
                raise FieldError("must be a string")
            return check(value)
        except FieldError as error:
            self.error(_META, key, str(error))
            return None

    def text(self, meta: dict[str, Any], key: str) -> Text | None:
        """A string of one line."""
        if meta.get(key) is None:
            return None
        value = self.checked(key, meta[key], fields.plain)
        return None if value is None else Text(value, self.origin(_META, key))

    def uuid(self, meta: dict[str, Any]) -> Text | None:
        """The instance id: any plain word up to 64 characters, in small letters."""
        if meta.get("uuid") is None:
            self.error(_META, "uuid", "missing: the run counts as one of the same instance")
            return None
        value = self.checked("uuid", meta["uuid"], fields.instance_id)
        return None if value is None else Text(value, self.origin(_META, "uuid"))

    def hostname(self, meta: dict[str, Any]) -> Text | None:
        """``hostname``, else a name made from ``name``, which is free text."""
        for key, check in (("hostname", fields.host_name), ("name", fields.display_name)):
            if meta.get(key) is not None:
                value = self.checked(key, meta[key], check)
                if value is not None:
                    return Text(value, self.origin(_META, key))
        return None

    def ssh_keys(self, meta: dict[str, Any]) -> tuple[Text, ...] | None:
        """The keys of ``public_keys`` and those of type ssh in ``keys``, none twice."""
        if meta.get("public_keys") is None and meta.get("keys") is None:
            return None
        found: dict[str, Text] = {}
        for key, value in (*self.public_keys(meta), *self.typed_keys(meta)):
            line = self.checked(key, value, fields.ssh_key)
            if line is not None:
                found.setdefault(line.split()[1], Text(line, self.origin(_META, key)))
        if len(found) > defs.MAX_KEYS:
            self.error(
                _META, "public_keys", f"more than {defs.MAX_KEYS} keys, the rest is left out"
            )
        return tuple(found.values())[: defs.MAX_KEYS]

    def public_keys(self, meta: dict[str, Any]) -> Iterator[tuple[str, object]]:
        """Each line of each value; the names are free text, so that positions stand for them."""
        given = self.container(meta, "public_keys", dict)
        for number, value in enumerate(given.values() if given else ()):
            key = f"public_keys[{number}]"
            if isinstance(value, str) and value.strip():
                yield from ((key, line) for line in value.splitlines() if line.strip())
            else:
                yield key, value

    def typed_keys(self, meta: dict[str, Any]) -> Iterator[tuple[str, object]]:
        """The data of each entry of type ssh."""
        for number, entry in enumerate(self.container(meta, "keys", list) or ()):
            if not isinstance(entry, dict):
                self.error(_META, f"keys[{number}]", "must be an object")
            elif entry.get("type") == "ssh":
                yield f"keys[{number}].data", entry.get("data")

    def container(self, meta: dict[str, Any], key: str, kind: type) -> Any:
        """A list or an object under a key; None where it is missing or of another type."""
        value = meta.get(key)
        if value is None or isinstance(value, kind):
            return value
        self.error(_META, key, f"must be {'a list' if kind is list else 'an object'}")
        return None

    def admin_pass(self, meta: dict[str, Any]) -> Password | None:
        """The password Nova made for the instance; only drives carry it."""
        if meta.get("admin_pass") is None:
            return None
        value = self.checked("admin_pass", meta["admin_pass"], fields.password)
        return None if value is None else Password(Secret(value), self.origin(_META, "admin_pass"))

    def files(self, meta: dict[str, Any]) -> Iterator[InjectedFile]:
        """The injected files whose path and content are both sound."""
        entries = self.container(meta, "files", list) or []
        if len(entries) > defs.MAX_FILES:
            self.error(_META, "files", f"more than {defs.MAX_FILES} files, the rest is left out")
        for number, entry in enumerate(entries[: defs.MAX_FILES]):
            key = f"files[{number}]"
            if not isinstance(entry, dict):
                self.error(_META, key, "must be an object")
                continue
            path = self.checked(f"{key}.path", entry.get("path"), fields.guest_path)
            content = self.content(f"{key}.content_path", entry.get("content_path"))
            if path is not None and content is not None:
                yield InjectedFile(path, content, self.origin(_META, key))

    def content(self, key: str, value: object) -> bytes | None:
        """The bytes of a content document."""
        name = self.checked(key, value, fields.content_path)
        if name is None:
            return None
        try:
            content = self.bundle.get(f"openstack/{name}", defs.FILE_LIMIT)
        except Unreadable as error:
            self.error(_META, key, str(error))
            return None
        if content is None and not self.bundle.unchanged:  # else it was not even asked for
            self.error(_META, key, "names a document that is not there")
        return content

    def random_seed(self, meta: dict[str, Any]) -> Blob | None:
        """Random bytes, base64."""
        if meta.get("random_seed") is None:
            return None
        value = self.checked("random_seed", meta["random_seed"], fields.base64)
        return None if value is None else Blob(value, self.origin(_META, "random_seed"))

    def pairs(self, meta: dict[str, Any], key: str) -> Iterator[Text]:
        """The users' own metadata: its values, with their keys in the origins."""
        for name, value in (self.container(meta, key, dict) or {}).items():
            if isinstance(value, str):
                yield Text(value, self.origin(_META, f"{key}.{name}"))

    def devices(self, meta: dict[str, Any]) -> Iterator[Text]:
        """Tagged devices: each one's tag or address, where it is a plain string."""
        for number, entry in enumerate(self.container(meta, "devices", list) or ()):
            if not isinstance(entry, dict):
                self.error(_META, f"devices[{number}]", "must be an object")
                continue
            for name in ("mac", "address", "serial", "path"):
                if isinstance(entry.get(name), str):
                    yield Text(entry[name], self.origin(_META, f"devices[{number}].{name}"))

    def password_url(self) -> Text | None:
        """Where to send the instance's password, if the service has none yet."""
        if not self.bundle.service or "password" not in self.bundle.names(self.where):
            return None
        try:
            taken = self.bundle.get(f"{self.where}/password", defs.JSON_LIMIT)
        except Unreadable:
            taken = b"?"
        if taken:
            self.warn("password", "", "is set in the service already; none is made")
            return None
        return Text(f"{self.bundle.url}/{self.where}/password", self.origin("password", ""))

    def network(self, meta: dict[str, Any]) -> Network | None:
        """``network_data.json``, else the interfaces(5) text that ``network_config`` names."""
        if _NETWORK in self.bundle.names(self.where):
            before = len(self.problems.problems)
            document = self.document(_NETWORK)
            if len(self.problems.problems) > before:
                return None
            from guestagent.parse.network.network_data import parse_network_data

            return parse_network_data(document, self.origin(_NETWORK, ""), self.problems)
        config = self.container(meta, "network_config", dict)
        return None if config is None else self.legacy_network(config)

    def legacy_network(self, config: dict[str, Any]) -> Network | None:
        """Debian's interfaces(5) text, as drives of old versions carry it."""
        content = self.content("network_config.content_path", config.get("content_path"))
        if content is None:
            return None
        from guestagent.parse.network.interfaces_text import parse_interfaces_text

        text = content.decode("utf-8", "replace")
        return parse_interfaces_text(text, self.origin("network_config", ""), self.problems)
