"""The EC2 layout of a source: a metadata service's tree, or one JSON document of a config drive.

The tree is ``ec2/VERSION/meta-data/…``, the document ``ec2/VERSION/meta-data.json``.  Sources:
"Instance metadata categories" of the EC2 User Guide for the tree; Nova's ``api/metadata/base.py``
(``get_ec2_metadata``) for the document.  Credentials are never read.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError, Origin, Problems
from guestagent.model import InstanceData, Text
from guestagent.parse import fields
from guestagent.parse.block_devices import read_disks
from guestagent.sources.bundle import Unreadable
from guestagent.system.jsontext import loads_of_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from guestagent.parse.userdata.signatures import Signatures
    from guestagent.sources.bundle import Bundle

_LATEST = "latest"
_TREE = "meta-data"
_FILE = "meta-data.json"
_IDENTITY = "dynamic/instance-identity/document"
_NAMES = ("instance-id", "local-hostname")
# What only templates use; of a service it is the first.
_FOR_TEMPLATES = ("local-ipv4", "hostname", "public-hostname", "public-ipv4", "instance-type")

_NO_STRING = "must be a string"


def read_instance_id(bundle: Bundle) -> str | None:
    """Return the instance id of a source; None where it has none that is valid.

    Raises SourceBroken.
    """
    found = _Reader(bundle, Problems()).read_instance_id()
    return found.value if found else None


def parse(
    bundle: Bundle,
    problems: Problems,
    guest: Callable[[], Mapping[str, str]] = dict,
    signatures: Signatures | None = None,
) -> InstanceData:
    """Return what a source of this layout says; values that cannot be used are reported.

    ``guest`` and ``signatures`` are as for ``layouts.parse``.
    Raises SourceBroken, and nothing else.
    """
    return _Reader(bundle, problems, guest, signatures).read()


def read_metadata(bundle: Bundle, problems: Problems) -> InstanceData:
    """Return what a source says besides user data, as ``parse`` does.  Raises SourceBroken."""
    return _Reader(bundle, problems).read_metadata()


class _Reader:
    """Reads the documents of one version.

    ``values`` are the values of the metadata, by their paths in a service's tree, whichever form
    the source has; ``document`` is the document that they come from.
    """

    def __init__(
        self,
        bundle: Bundle,
        problems: Problems,
        guest: Callable[[], Mapping[str, str]] = dict,
        signatures: Signatures | None = None,
    ) -> None:
        self.bundle = bundle
        self.signatures = signatures
        self.guest = guest
        self.problems = problems
        self.disks: tuple[tuple[str, Text], ...] = ()
        self.lost_keys = False  # whether one is listed and cannot be read
        versions = bundle.names("ec2")
        # Their names are dates but for the first, 1.0: the newest is the last as text, too.
        version = _LATEST if _LATEST in versions else max(versions, default=_LATEST)
        self.where = f"ec2/{version}"
        if _TREE in bundle.names(self.where):
            self.document, self.values = _TREE, self._read_tree()
        else:
            self.document, self.values = _FILE, self._read_file()

    def read(self) -> InstanceData:
        """Return what all documents say."""
        return self._add_user_data(self.read_metadata())

    def read_metadata(self) -> InstanceData:
        """Return what all documents but the user data say."""
        ssh_keys, partial_keys = self._read_ssh_keys()
        return InstanceData(
            instance_id=self.read_instance_id(),
            hostname=self._read_hostname(),
            ssh_keys=ssh_keys,
            partial_keys=partial_keys,
            availability_zone=self._read_availability_zone(),
            disks=self.disks,
        )

    def read_instance_id(self) -> Text | None:
        """Return the instance id."""
        if "instance-id" not in self.values:
            reason = "is missing; a guest that was configured before needs it"
            self.problems.error(self._origin(self.document, "instance-id"), reason)
        return self._read_text("instance-id", fields.instance_id)

    def _read_hostname(self) -> Text | None:
        """Return the host name, else one that is made of it or of the instance's id."""
        name = "local-hostname"
        found = self._read_text(name, fields.host_name)
        if found is not None or name not in self.values:
            return found
        for key in (name, "instance-id"):
            try:
                made = fields.display_name(self.values.get(key, ""))
            except FieldError:
                continue
            return Text(made, self._origin(self.document, key))
        return None

    def _read_text(self, name: str, check: Callable[[str], str]) -> Text | None:
        if name not in self.values:
            return None
        return self._check(self._origin(self.document, name), self.values[name], check)

    def _read_ssh_keys(self) -> tuple[tuple[Text, ...] | None, bool]:
        """Return the keys, one for each line of a value, and whether others cannot be used.

        None if there are no keys.
        """
        found = []
        lost = self.lost_keys
        for name, value in self.values.items():
            if not name.startswith("public-keys/"):
                continue
            for line in value.splitlines():
                if not line.strip():
                    continue
                origin = self._origin(self.document).under(name)
                key = self._check(origin, line, fields.ssh_key)
                if key is not None:
                    found.append(key)
                else:
                    lost = True
        if not found:
            return None, False
        return tuple(found[: defs.MAX_KEYS]), lost or len(found) > defs.MAX_KEYS

    def _read_availability_zone(self) -> Text | None:
        zone = self._read_json_object(_IDENTITY).get("availabilityZone")
        if not isinstance(zone, str):
            return None
        return self._check(self._origin(_IDENTITY, "availabilityZone"), zone, fields.plain)

    def _add_user_data(self, data: InstanceData) -> InstanceData:
        """Add cloud-config and scripts of user data."""
        content = self._read_bytes("user-data") or b""
        if not content.strip():
            return data
        from guestagent.parse.userdata.read import add

        return add(
            data,
            content,
            source=self.bundle.label,
            problems=self.problems,
            documents=("user-data", "", ""),
            variables=lambda: self._read_variables(data),
            signatures=self.signatures,
        )

    def _read_variables(self, data: InstanceData) -> dict[str, Any]:
        """Return the variables of templates in user data."""
        from guestagent.parse.userdata.variables import variables

        if self.document == _FILE:
            meta = self._read_json_object(_FILE)
        else:
            names = (*_NAMES, *_FOR_TEMPLATES)
            texts = {name: self._read_bytes(f"{_TREE}/{name}") for name in names}
            meta = {
                name: text.decode("utf-8", "replace").strip()
                for name, text in texts.items()
                if text is not None
            }
        return variables(
            data,
            {"meta_data": meta},
            cloud="unknown",  # as cloud-init has it where it does not know whose cloud it is
            platform="ec2",
            subplatform=f"metadata ({self.bundle.url or self.bundle.label})",
            guest=self.guest(),
        )

    def _read_tree(self) -> dict[str, str]:
        found = {}
        for name in _NAMES:
            content = self._read_bytes(f"{_TREE}/{name}")
            if content is not None:
                # What is not UTF-8 becomes a character that no validator lets through.
                found[name] = content.decode("utf-8", "replace").strip()
        numbers = self.bundle.names(f"{self.where}/{_TREE}/public-keys")
        self.lost_keys = len(numbers) > defs.MAX_KEYS
        for number in numbers[: defs.MAX_KEYS]:
            name = f"public-keys/{number}/openssh-key"
            content = self._read_bytes(f"{_TREE}/{name}")
            self.lost_keys |= content is None
            found[name] = (content or b"").decode("utf-8", "replace")
        return found

    def _read_file(self) -> dict[str, str]:
        given = self._read_json_object(_FILE)
        found = {name: given[name] for name in _NAMES if isinstance(given.get(name), str)}
        if "local-hostname" not in found and given.get("local-hostname") is not None:
            self.problems.error(self._origin(_FILE, "local-hostname"), _NO_STRING)
        mapping = given.get("block-device-mapping")
        self.disks = read_disks(mapping, self._origin(_FILE), self.problems)
        keys = given.get("public-keys")
        if not isinstance(keys, dict):
            return found
        for number, entry in keys.items():
            name = f"public-keys/{number}/openssh-key"
            # Nova wraps each key in an object; elsewhere it is given as it is.
            line = entry.get("openssh-key") if isinstance(entry, dict) else entry
            if isinstance(line, str):
                found[name] = line
            else:
                self.lost_keys = True
                self.problems.error(self._origin(_FILE).under(name), _NO_STRING)
        return found

    def _read_bytes(self, name: str) -> bytes | None:
        """Return a document as it is; None where it is missing or unreadable."""
        try:
            return self.bundle.get(f"{self.where}/{name}", defs.JSON_LIMIT)
        except Unreadable as error:
            self.problems.error(self._origin(name), str(error))
            return None

    def _read_json_object(self, name: str) -> dict[str, Any]:
        """Return the JSON object of a document; an empty one where it is missing or bad."""
        content = self._read_bytes(name)
        if content is None:
            return {}
        try:
            value, _ = loads_of_source(content)
        except FieldError as error:
            self.problems.error(self._origin(name), f"{error}; {fields.NOTHING_OF_IT}")
            return {}
        if not isinstance(value, dict):
            self.problems.error(
                self._origin(name), f"must be a JSON object; {fields.NOTHING_OF_IT}"
            )
            return {}
        return value

    def _check(self, origin: Origin, text: str, check: Callable[[str], str]) -> Text | None:
        value = self.problems.take(origin, check, text)
        return None if value is None else Text(value, origin)

    def _origin(self, document: str, key: str = "") -> Origin:
        return Origin(self.bundle.label, document, key)
