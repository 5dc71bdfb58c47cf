"""The OpenStack layout of a source: ``openstack/VERSION/…`` and ``openstack/content/…``.

Sources: Nova's ``api/metadata/base.py`` and the metadata page of its user guide.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError, Origin, Problems, internal
from guestagent.model import Blob, InjectedFile, InstanceData, Network, Password, Secret, Text
from guestagent.parse import fields
from guestagent.parse.items import Item
from guestagent.sources.bundle import Unreadable, is_dated
from guestagent.system.jsontext import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from guestagent.sources.bundle import Bundle

_META = "meta_data.json"
_NETWORK = "network_data.json"
_VENDORS = ("vendor_data.json", "vendor_data2.json")


def find_folder(bundle: Bundle) -> str | None:
    """Return the folder of the version to read; None where a source has no such layout.

    It is ``openstack/latest``, else that of the newest date.  Raises SourceBroken.
    """
    names = bundle.names("openstack")
    # Other names may be anything: a service lists what it likes.
    dated = sorted((name for name in names if is_dated(name)), reverse=True)
    for version in ("latest", *dated):
        if version in names and _META in bundle.names(f"openstack/{version}"):
            return f"openstack/{version}"
    return None


def read_instance_id(bundle: Bundle) -> str | None:
    """Return the uuid of a source, in lower case; None where it has none that is valid.

    Raises SourceBroken.
    """
    where = find_folder(bundle)
    if where is None:
        return None
    found = _Reader(bundle, where, Problems()).read_instance_id()
    return found.value if found else None


def parse(bundle: Bundle, problems: Problems) -> InstanceData:
    """Return what a source of this layout says; values that cannot be used are reported.

    Raises SourceBroken where the source fails while it is read, and nothing else.
    """
    where = find_folder(bundle)
    if where is None:
        from guestagent.parse.no_layout import explain

        problems.error(Origin(bundle.label, "", ""), explain(bundle))
        return InstanceData()
    return _Reader(bundle, where, problems).read()


class _Reader:
    """Reads the documents of one version folder."""

    def __init__(self, bundle: Bundle, where: str, problems: Problems) -> None:
        self.bundle = bundle
        self.where = where
        self.problems = problems
        self.meta = Item(self._read_json_object(_META) or {}, self._origin(_META), problems)

    def read(self) -> InstanceData:
        """Return what all documents say."""
        data = InstanceData(
            instance_id=self.read_instance_id(),
            hostname=self._read_hostname(),
            ssh_keys=self._read_ssh_keys(),
            admin_pass=self._read_admin_pass(),
            files=tuple(self._read_files()),
            random_seed=self._read_random_seed(),
            network=self._read_network(),
            availability_zone=self._read_text("availability_zone", fields.plain),
            project_id=self._read_text("project_id", fields.plain),
            password_url=self._find_password_url(),
        )
        return self._add_user_data(data)

    def read_instance_id(self) -> Text | None:
        """Return the instance id: Nova gives a uuid, and any plain word is taken."""
        if self.meta.get("uuid") is None:
            self.meta.error("uuid", "is missing; the run counts as one of the same instance")
        return self._read_text("uuid", fields.instance_id)

    # Documents

    def _origin(self, document: str) -> Origin:
        return Origin(self.bundle.label, document, "")

    def _read_json_object(self, name: str) -> dict[str, Any] | None:
        """Return the JSON object of a document: empty if it is missing, None if it is bad."""
        try:
            content = self.bundle.get(f"{self.where}/{name}", defs.JSON_LIMIT)
            value = {} if content is None else loads(content)
        except (FieldError, Unreadable) as error:
            self.problems.error(self._origin(name), str(error))
            return None
        if not isinstance(value, dict):
            self.problems.error(self._origin(name), "must be a JSON object")
            return None
        return value

    def _read_bytes(self, name: str) -> bytes | None:
        """Return a document as it is; None where it is missing or unreadable."""
        if name not in self.bundle.names(self.where):
            return None
        try:
            return self.bundle.get(f"{self.where}/{name}", defs.FILE_LIMIT)
        except Unreadable as error:
            self.problems.error(self._origin(name), str(error))
            return None

    def _read_content(self, item: Item) -> bytes | None:
        """Return the content document that ``content_path`` names; None if it cannot be used."""
        name = item.take_needed_text("content_path", fields.content_path)
        if name is None:
            return None
        try:
            content = self.bundle.get(f"openstack/{name}", defs.FILE_LIMIT)
        except Unreadable as error:
            item.error("content_path", str(error))
            return None
        # Content documents of an instance that did not change are not asked for again.
        if content is None and not self.bundle.unchanged:
            item.error("content_path", "names a document that does not exist")
        return content

    # meta_data.json

    def _read_text(self, name: str, check: Callable[[str], str]) -> Text | None:
        value = self.meta.take_text(name, check)
        return None if value is None else Text(value, self.meta.origin.under(name))

    def _read_hostname(self) -> Text | None:
        """Return ``hostname``, else a host name made of ``name``, which is free text."""
        found = self._read_text("hostname", fields.host_name)
        return found or self._read_text("name", fields.display_name)

    def _read_ssh_keys(self) -> tuple[Text, ...] | None:
        """Return the keys of ``public_keys`` and those of type ssh in ``keys``, each once."""
        if self.meta.get("public_keys") is None and self.meta.get("keys") is None:
            return None
        found: dict[str, Text] = {}
        for origin, value in (*self._read_public_keys(), *self._read_typed_keys()):
            line = self.problems.take_text(origin, fields.ssh_key, value)
            if line is not None:
                encoded = line.split()[1]  # the same key may have another comment
                found.setdefault(encoded, Text(line, origin))
        if len(found) > defs.MAX_KEYS:
            reason = f"has more than {defs.MAX_KEYS} keys; the rest is left out"
            self.meta.error("public_keys", reason)
        return tuple(found.values())[: defs.MAX_KEYS]

    def _read_public_keys(self) -> Iterator[tuple[Origin, object]]:
        """Yield each line of each value of ``public_keys``.

        The origins have the positions of the values in place of their names, which are free text.
        """
        given = self.meta.child("public_keys")
        if given is None:
            return
        for number, value in enumerate(given.fields.values()):
            origin = given.origin.under(number)
            if not isinstance(value, str) or not value.strip():
                yield origin, value
                continue
            for line in value.splitlines():
                if line.strip():
                    yield origin, line

    def _read_typed_keys(self) -> Iterator[tuple[Origin, object]]:
        for item in self.meta.objects("keys"):
            if item.get("type") == "ssh":
                yield item.origin.under("data"), item.get("data")

    def _read_admin_pass(self) -> Password | None:
        """Return the password that Nova made for the instance; only drives have it."""
        value = self.meta.take_text("admin_pass", fields.password)
        if value is None:
            return None
        return Password(Secret(value), self.meta.origin.under("admin_pass"))

    def _read_files(self) -> Iterator[InjectedFile]:
        """Yield the injected files of which both path and content can be used."""
        for item in self.meta.objects("files", defs.MAX_FILES):
            path = item.take_needed_text("path", fields.guest_path)
            content = self._read_content(item)
            if path is not None and content is not None:
                yield InjectedFile(path, content, item.origin)

    def _read_random_seed(self) -> Blob | None:
        value = self.meta.take_text("random_seed", fields.base64)
        return None if value is None else Blob(value, self.meta.origin.under("random_seed"))

    # Other documents

    def _find_password_url(self) -> Text | None:
        """Return where to post the instance's password, if the service has none yet."""
        if not self.bundle.service or "password" not in self.bundle.names(self.where):
            return None
        origin = self._origin("password")
        try:
            existing = self.bundle.get(f"{self.where}/password", defs.JSON_LIMIT)
        except Unreadable as error:
            self.problems.error(origin, f"{error}; no password is generated")
            return None
        if existing:
            self.problems.warn(origin, "is set in the service already; no password is generated")
            return None
        return Text(f"{self.bundle.url}/{self.where}/password", origin)

    def _read_network(self) -> Network | None:
        """Return what network_data.json says, else what ``network_config`` leads to."""
        if _NETWORK in self.bundle.names(self.where):
            document = self._read_json_object(_NETWORK)
            if document is None:
                return None
            from guestagent.parse.network.network_data import parse_network_data

            return parse_network_data(document, self._origin(_NETWORK), self.problems)
        config = self.meta.child("network_config")
        return None if config is None else self._read_legacy_network(config)

    def _read_legacy_network(self, config: Item) -> Network | None:
        """Return what interfaces(5) text says, which drives of old versions have."""
        content = self._read_content(config)
        if content is None:
            return None
        from guestagent.parse.network.interfaces_text import parse_interfaces_text

        text = content.decode("utf-8", "replace")
        return parse_interfaces_text(text, self._origin("network_config"), self.problems)

    def _add_user_data(self, data: InstanceData) -> InstanceData:
        """Add cloud-config and scripts, of user data and of vendor data."""
        user = self._read_bytes("user_data") or b""
        vendor, vendor2 = (self._read_vendor_data(name) for name in _VENDORS)
        if not user.strip() and vendor is None and vendor2 is None:
            return data
        from guestagent.parse.userdata.read import read

        try:
            config, scripts = read(
                user, vendor, vendor2, source=self.bundle.label, problems=self.problems
            )
        except Exception as error:  # without user data one can still log in, and look
            reason = f"{internal(error)}; nothing of it is applied"
            self.problems.error(self._origin("user_data"), reason)
            return data
        return data._replace(config=config, scripts=scripts)

    def _read_vendor_data(self, name: str) -> object:
        """Return the JSON value of vendor data that may be of use; None for other ones."""
        content = (self._read_bytes(name) or b"").strip()
        # Of use are a string, a list, and an object with the key "cloud-init".  Most clouds give
        # an object without it, which need not be decoded.
        if content[:1] not in (b'"', b"[") and b"cloud-init" not in content:
            return None
        try:
            return loads(content)
        except FieldError as error:
            self.problems.error(self._origin(name), str(error))
            return None
