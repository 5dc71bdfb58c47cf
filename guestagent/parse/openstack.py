"""The OpenStack layout of a source: ``openstack/VERSION/…`` and ``openstack/content/…``.

Sources: Nova's ``api/metadata/base.py`` and the metadata page of its user guide.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError, Origin, Problems
from guestagent.model import Blob, InjectedFile, InstanceData, Network, Password, Secret, Text
from guestagent.parse import fields
from guestagent.parse.items import Item, quote_type
from guestagent.sources.bundle import Unreadable, is_dated
from guestagent.system.jsontext import loads_of_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from guestagent.parse.userdata.signatures import Signatures
    from guestagent.sources.bundle import Bundle

_META = "meta_data.json"
_NETWORK = "network_data.json"
_EC2_META = "ec2/latest/meta-data.json"
_EC2_ADDRESS = "ec2/latest/meta-data/local-ipv4"  # of a metadata service
_CLOUDSTACK_PASSWORD = "cloudstack/password/vm_password.txt"  # noqa: S105 - a name
# The signature of user data, as a file of the folder or as a key of the metadata.
_SIGNATURE_FILE, _SIGNATURE_KEY = "user_data.sig", "user_data_signature"
_VENDORS = ("vendor_data.json", "vendor_data2.json")
# Keys of other producers (Ironic, Metal3, small tools), which write what cloud-init reads.
_IDS = ("uuid", "instance-id", "instance_id")
_HOST_NAMES = ("hostname", "local-hostname", "local_hostname")
_ODD_NAME = (
    "has a name with a bad character (not UTF-8, a lone surrogate or a control character): what it "
    "names may be left out; correct the name"
)
_READ_FROM_EC2 = (
    "host name, SSH keys and disks are read from the folder ec2 instead, at a first boot alone: "
    "the source does not say for which instance it is"
)
_CERTIFICATE = "-----BEGIN CERTIFICATE-----"
# PEM (RFC 7468) and the format of RFC 4716.
_OTHER_FORMATS = ("-----BEGIN ", "---- BEGIN ")
_DOCUMENTS = frozenset((_META, _NETWORK, *_VENDORS, "user_data", "password", "content"))


def find_folder(bundle: Bundle) -> str | None:
    """Return the folder of the version to read; None where a source has no such layout.

    It is ``openstack/latest``, else that of the newest date.  Raises SourceBroken.
    """
    for version in _versions(bundle):
        if _META in bundle.names(f"openstack/{version}"):
            return f"openstack/{version}"
    return None


def _versions(bundle: Bundle) -> list[str]:
    """Return the versions that a source has, in the order in which they are looked at."""
    names = bundle.names("openstack")
    # Other names may be anything: a service lists what it likes.
    dated = sorted((name for name in names if is_dated(name)), reverse=True)[: defs.MAX_VERSIONS]
    return [version for version in ("latest", *dated) if version in names]


def _warn_of_skipped(bundle: Bundle, where: str, problems: Problems) -> None:
    """Warn of documents that are not read: in newer folders, and with names that are unknown.

    A service may list what it likes: only other sources are checked for unknown names.
    """
    for version in _versions(bundle):
        folder = f"openstack/{version}"
        names = bundle.names(folder)
        if folder == where:
            break
        if names:
            reason = f"has no {_META}: nothing in it is read; {where} is read instead"
            problems.warn(Origin(bundle.label, folder, ""), reason)
    if bundle.service:
        return
    for name in names:
        if name not in _DOCUMENTS and not name.startswith("."):
            known = ", ".join(sorted(_DOCUMENTS))
            reason = f"has a document that is not read; known are {known}"
            problems.warn(Origin(bundle.label, where, name if name.isprintable() else ""), reason)


def read_instance_id(bundle: Bundle) -> str | None:
    """Return the uuid of a source, in lower case; None where it has none that is valid.

    Raises SourceBroken.
    """
    where = find_folder(bundle)
    assert where  # the layout was recognised by it
    found = _Reader(bundle, where, Problems()).read_instance_id()
    return found.value if found else None


def parse(
    bundle: Bundle,
    problems: Problems,
    guest: Callable[[], Mapping[str, str]] = dict,
    signatures: Signatures | None = None,
) -> InstanceData:
    """Return what a source of this layout says; values that cannot be used are reported.

    ``guest`` and ``signatures`` are as for ``layouts.parse``.
    Raises SourceBroken where the source fails while it is read, and nothing else.
    """
    where = find_folder(bundle)
    assert where  # the layout was recognised by it
    _warn_of_skipped(bundle, where, problems)
    reader = _Reader(bundle, where, problems, guest, signatures)
    if reader.damaged and not bundle.service and bundle.names("ec2"):
        return reader.read_beside_ec2()
    return reader.read()


class _Reader:
    """Reads the documents of one version folder."""

    def __init__(
        self,
        bundle: Bundle,
        where: str,
        problems: Problems,
        guest: Callable[[], Mapping[str, str]] = dict,
        signatures: Signatures | None = None,
    ) -> None:
        self.bundle = bundle
        self.signatures = signatures
        self.guest = guest
        self.where = where
        self.problems = problems
        self.odd_names: set[str] = set()  # documents in which a name cannot be read
        self.network: dict[str, Any] | None = None  # network_data.json
        meta = self._read_json_object(_META)
        self.damaged = meta is None
        self.meta = Item(meta or {}, self._origin(_META), problems)

    def read(self) -> InstanceData:
        """Return what all documents say."""
        # In the order in which people read the problems.
        instance_id, hostname = self.read_instance_id(), self._read_hostname()
        ssh_keys, partial_keys = self._read_ssh_keys()
        data = InstanceData(
            instance_id=instance_id,
            hostname=hostname,
            ssh_keys=ssh_keys,
            partial_keys=partial_keys,
            admin_pass=self._read_admin_pass(),
            files=tuple(self._read_files()),
            random_seed=self._read_random_seed(),
            network=self._read_network(),
            availability_zone=self._read_text("availability_zone", fields.plain),
            project_id=self._read_text("project_id", fields.plain),
            password_url=self._find_password_url(),
            disks=self._read_disks(),
        )
        return self._add_user_data(data)

    def read_beside_ec2(self) -> InstanceData:
        """Return what all documents say where ``meta_data.json`` cannot be used.

        A drive has most of that in its documents for EC2's layout, too.
        """
        from guestagent.parse import ec2

        self.problems.warn(self._origin(_META), _READ_FROM_EC2)
        data = ec2.read_metadata(self.bundle, self.problems)
        # EC2's id is another one than the uuid: what cannot be read is never a new instance.
        # Which keys there are besides is not known either.
        data = data._replace(
            instance_id=None,
            network=self._read_network(),
            partial_keys=data.ssh_keys is not None,
        )
        return self._add_user_data(data)

    def read_instance_id(self) -> Text | None:
        """Return the instance id: Nova gives a uuid, and any plain word is taken."""
        given = [name for name in _IDS if self.meta.get(name) is not None]
        if not given:
            self.meta.error("uuid", "is missing; a guest that was configured before needs it")
            return None
        return self._read_text(given[0], fields.instance_id)

    # Documents

    def _origin(self, document: str) -> Origin:
        return Origin(self.bundle.label, document, "")

    def _read_json_object(self, name: str) -> dict[str, Any] | None:
        """Return the JSON object of a document: empty if it is missing, None if it is bad."""
        try:
            content = self.bundle.get(f"{self.where}/{name}", defs.JSON_LIMIT)
        except Unreadable as error:
            self.problems.error(self._origin(name), str(error))
            return None
        try:
            value, odd_name = ({}, False) if content is None else loads_of_source(content)
        except FieldError as error:
            found = _load_yaml(content or b"") if name == _META else None
            if found is None:
                self.problems.error(self._origin(name), f"{error}; {fields.NOTHING_OF_IT}")
            return found
        if not isinstance(value, dict):
            self.problems.error(
                self._origin(name), f"must be a JSON object; {fields.NOTHING_OF_IT}"
            )
            return None
        if odd_name:
            self.problems.error(self._origin(name), _ODD_NAME)
            self.odd_names.add(name)
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
        """Return the first host name that can be used, else one that is made of what is given.

        ``name`` is free text.  Where nothing else can be used, the instance's id makes the name:
        two guests with the image's name, or with ``localhost``, could not be told apart.
        """
        given = [name for name in _HOST_NAMES if self.meta.get(name) is not None]
        for name in given:
            found = self._read_host_name(name)
            if found is not None:
                return found
        ignored = Problems()  # what is wrong with these values is reported already
        found = self._read_text("name", fields.display_name)
        for name in given:
            text = self.meta._replace(problems=ignored).take_text(name, fields.display_name)
            if found is None and text is not None:
                found = Text(text, self.meta.origin.under(name))
        if found is None and (given or self.meta.get("name") is not None):
            found = self._make_hostname()
        return found

    def _read_host_name(self, name: str) -> Text | None:
        """Return the host name of a field, without numbers at its end."""
        text = self.meta.get(name)
        if isinstance(text, str) and fields.without_number(text) != text:
            self.meta.warn(name, fields.NUMBER_LEFT_OUT)
        return self._read_text(name, lambda text: fields.host_name(fields.without_number(text)))

    def _make_hostname(self) -> Text | None:
        """Return a host name that is made of the instance's id, as Nova makes them."""
        for name in _IDS:
            quiet = self.meta._replace(problems=Problems())
            text = quiet.take_text(name, fields.instance_id)
            if text is not None:
                return Text(fields.display_name(f"server-{text}"), self.meta.origin.under(name))
        return None

    def _read_ssh_keys(self) -> tuple[tuple[Text, ...] | None, bool]:
        """Return the keys of ``public_keys`` and of ``keys``, each once; and whether some are lost.

        An empty tuple means that the source has none; None, that it gives no keys, or none that
        can be used.
        """
        if self.meta.get("public_keys") is None and self.meta.get("keys") is None:
            return None, False
        problems = Problems()
        meta = self.meta._replace(problems=problems)
        reader = _KeyReader(meta)
        found = reader.read()
        if len(found) > defs.MAX_KEYS:
            meta.error("public_keys", f"has more than {defs.MAX_KEYS} keys; the rest is left out")
        self.problems.add_all(problems)
        errors = any(problem.severity == "error" for problem in problems.problems)
        lost = errors or _META in self.odd_names
        if not found:
            return (None if lost or reader.skipped else ()), False
        return found[: defs.MAX_KEYS], lost

    def _read_admin_pass(self) -> Password | None:
        """Return the password that Nova or CloudStack made; only drives have it."""
        if self.meta.get("admin_pass") is None:
            return self._read_cloudstack_password()
        value = self.meta.take_text("admin_pass", fields.password)
        if value is None:
            return None
        return Password(Secret(value), self.meta.origin.under("admin_pass"))

    def _read_cloudstack_password(self) -> Password | None:
        """Return the password that CloudStack has in a document of its own, beside OpenStack's."""
        if self.bundle.service:
            return None
        origin = Origin(self.bundle.label, _CLOUDSTACK_PASSWORD, "")
        try:
            content = self.bundle.get(_CLOUDSTACK_PASSWORD, defs.NAME_LIMIT) or b""
            text = content.decode().strip("\r\n")
        except Unreadable as error:
            self.problems.error(origin, str(error))
            return None
        except UnicodeDecodeError:
            self.problems.error(origin, f"is not UTF-8 text; {fields.NOTHING_OF_IT}")
            return None
        if not text:
            return None
        value = self.problems.take(origin, fields.password, text)
        return None if value is None else Password(Secret(value), origin)

    def _read_files(self) -> Iterator[InjectedFile]:
        """Yield the injected files of which both path and content can be used."""
        for item in self.meta.objects("files", defs.MAX_FILES):
            path = item.take_needed_text("path", _injected_path)
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
            self.network = document = self._read_json_object(_NETWORK)
            if document is not None:
                from guestagent.parse.network.network_data import parse_network_data

                found = parse_network_data(document, self._origin(_NETWORK), self.problems)
                return found._replace(partial=found.partial or _NETWORK in self.odd_names)
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
        from guestagent.parse.userdata.read import add

        return add(
            data,
            user,
            vendor,
            vendor2,
            source=self.bundle.label,
            problems=self.problems,
            variables=lambda: self._read_variables(data),
            signatures=self.signatures,
            signature=self._read_signature(),
        )

    def _read_signature(self) -> bytes | None:
        """Return the signature beside the user data, if there is one and signatures are demanded.

        Drives that people make themselves may have a file of it.  OpenStack hands over no files of
        its users, but their metadata, of at most 255 characters each.
        """
        if self.signatures is None or self.signatures.user_data == "off":
            return None
        found = self._read_bytes(_SIGNATURE_FILE)
        meta = self.meta.get("meta")
        text = meta.get(_SIGNATURE_KEY) if isinstance(meta, dict) else None
        if found is None and isinstance(text, str):
            return text.encode("utf-8", "replace")
        return found

    def _read_variables(self, data: InstanceData) -> dict[str, Any]:
        """Return the variables of templates in user data."""
        from guestagent.parse.userdata.variables import variables

        meta = dict(self.meta.fields)
        # As in cloud-init, two have its own names as well.
        for name, given in (("local-hostname", "hostname"), ("instance-id", "uuid")):
            if given in meta:
                meta[name] = meta[given]
        ds = {"meta_data": meta, "network_json": self.network or {}}
        bundle = self.bundle
        # cloud-init has one source for drives and another for services, with names of their own.
        if bundle.service:
            cloud, subplatform = "openstack", f"metadata ({bundle.url})"
            ds["ec2_metadata"] = self._read_ec2_address()
        else:
            cloud, subplatform = "configdrive", f"config-disk ({bundle.place})"
            ds["ec2_metadata"] = self._read_ec2_metadata()
        return variables(
            data, ds, cloud=cloud, platform=cloud, subplatform=subplatform, guest=self.guest()
        )

    def _read_disks(self) -> tuple[tuple[str, Text], ...]:
        """Return the disks of a flavor, which a drive names in its documents for EC2's layout."""
        if self.bundle.service:
            return ()
        try:
            content = self.bundle.get(_EC2_META, defs.JSON_LIMIT) or b""
        except Unreadable as error:
            self.problems.warn(Origin(self.bundle.label, _EC2_META, ""), str(error))
            return ()
        # Most flavors have none; their document need not be decoded.
        if b'"ephemeral' not in content and b'"swap"' not in content:
            return ()
        from guestagent.parse.block_devices import read_disks

        mapping = self._read_ec2_metadata().get("block-device-mapping")
        return read_disks(mapping, Origin(self.bundle.label, _EC2_META, ""), self.problems)

    def _read_ec2_metadata(self) -> dict[str, Any]:
        """Return the JSON object that a drive has for EC2's layout; empty if it has none."""
        try:
            content = self.bundle.get(_EC2_META, defs.JSON_LIMIT)
            value = None if content is None else loads_of_source(content)[0]
        except (FieldError, Unreadable):
            return {}
        return value if isinstance(value, dict) else {}

    def _read_ec2_address(self) -> dict[str, Any]:
        """Return what was read of a service's EC2 metadata: the address, if a template has it."""
        try:
            content = self.bundle.get(_EC2_ADDRESS, defs.JSON_LIMIT)
        except Unreadable:
            return {}
        return {} if content is None else {"local-ipv4": content.decode(errors="replace").strip()}

    def _read_vendor_data(self, name: str) -> object:
        """Return the JSON value of vendor data that may be of use; None for other ones."""
        content = (self._read_bytes(name) or b"").strip()
        # Of use are a string, a list, and an object with the key "cloud-init".  Most clouds give
        # an object without it, which need not be decoded.
        is_object = content[:1] == b"{" and content[-1:] == b"}"
        if not content or (is_object and b"cloud-init" not in content):
            if b"#cloud-config" in content or b"#!" in content:
                reason = 'has no key "cloud-init": the user data in it are not read'
                self.problems.warn(self._origin(name), reason)
            return None
        try:
            return loads_of_source(content)[0]
        except FieldError as error:
            self.problems.error(self._origin(name), f"{error}; {fields.NOTHING_OF_IT}")
            return None


def _load_yaml(content: bytes) -> dict[str, Any] | None:
    """Return the mapping of YAML that is not meant as JSON; None for everything else.

    Nutanix has ``meta_data.json`` as its users write it, and lets them write either.
    """
    if content.lstrip()[:1] in (b"", b"{", b"["):
        return None
    from guestagent.parse.userdata import yamltree

    try:
        value = yamltree.load(content).value
    except FieldError:
        return None
    return value if isinstance(value, dict) else None


class _KeyReader:
    """Reads the public keys; ``skipped`` tells whether any value was left out.

    Nova writes a mapping ``public_keys`` of names to texts, and a list ``keys`` of objects with
    ``type`` and ``data``; others write a list of texts, or one text.  A text may hold several
    keys, and may be an X.509 certificate, which Nova writes to both.
    """

    def __init__(self, meta: Item) -> None:
        self.meta = meta
        self.problems = meta.problems
        self.skipped = False
        self.found: dict[str, Text] = {}
        self.certificate: Origin | None = None  # of the first one

    def read(self) -> tuple[Text, ...]:
        """Return the keys of ``public_keys``, then those of ``keys``, each once."""
        self._read_public_keys()
        given = self.meta.get("keys") or []
        if not isinstance(given, list) or not all(isinstance(entry, dict) for entry in given):
            self.skipped = True
        for item in self.meta.objects("keys"):
            self._read_typed_key(item)
        if self.certificate is not None:
            reason = "X.509 certificates are skipped: they are no SSH keys"
            self.problems.warn(self.certificate, reason)
        return tuple(self.found.values())

    def _read_public_keys(self) -> None:
        """Read ``public_keys``: an object, a list or a text.

        The origins have the positions of the values in place of their names, which are free text.
        """
        given = self.meta.get("public_keys")
        origin = self.meta.origin.under("public_keys")
        if isinstance(given, str):
            self._read_value(origin, given)
        elif isinstance(given, dict | list):
            values = given.values() if isinstance(given, dict) else given
            for number, value in enumerate(values):
                self._read_value(origin.under(number), value)
        elif given is not None:
            self.skipped = True
            self.problems.error(origin, "must be an object, a list or a string")

    def _read_typed_key(self, item: Item) -> None:
        kind = item.get("type")
        if kind == "x509":
            self._skip_certificate(item.origin.under("data"))
            return
        if kind is None:
            item.warn("type", "is missing; read as an SSH key")
        elif kind != "ssh":
            item.warn("type", f"{quote_type(kind)} is not a known type of key; read as an SSH key")
        self._read_value(item.origin.under("data"), item.get("data"))

    def _read_value(self, origin: Origin, value: object) -> None:
        """Read each line of a value, which may be a whole file of keys."""
        if not isinstance(value, str) or not value.strip():
            self._read_line(origin, value)
            return
        text = value.strip()
        if text.startswith(_CERTIFICATE):
            self._skip_certificate(origin)
            return
        if text.startswith(_OTHER_FORMATS):
            self.skipped = True
            reason = "is a key in another format than OpenSSH's; convert it: ssh-keygen -i"
            self.problems.error(origin, reason)
            return
        # Not splitlines(): a line that has another separator inside must be refused as it is.
        for line in text.replace("\r\n", "\n").split("\n"):
            bare = line.strip()
            if bare and not bare.startswith("#"):
                self._read_line(origin, bare)

    def _read_line(self, origin: Origin, value: object) -> None:
        line = self.problems.take_text(origin, fields.ssh_key, value)
        if line is None:
            self.skipped = True
            return
        encoded = line.split()[1]  # the same key may have another comment
        self.found.setdefault(encoded, Text(line, origin))

    def _skip_certificate(self, origin: Origin) -> None:
        self.skipped = True
        self.certificate = self.certificate or origin


def _injected_path(text: str) -> str:
    """Return the path of an injected file; Nova's own code puts the missing slash before one."""
    return fields.guest_path(text if text.startswith("/") else f"/{text}")
