"""EC2's layout: a metadata service's tree, or ``ec2/VERSION/meta-data.json`` of a config drive.

Sources: "Instance metadata categories" of the EC2 User Guide; Nova's ``api/metadata/base.py``
(``get_ec2_metadata``) for the form on a drive.  Credentials are never read.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError, Origin, Problems, internal
from guestagent.model import InstanceData, Text
from guestagent.parse import fields
from guestagent.sources.bundle import Unreadable
from guestagent.system.jsontext import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from guestagent.sources.bundle import Bundle

_LATEST = "latest"
_TREE = "meta-data"
_FILE = "meta-data.json"
_IDENTITY = "dynamic/instance-identity/document"


def instance_id(bundle: Bundle) -> str | None:
    """The instance id of a source; None where it gives none that is good."""
    data = parse(bundle, Problems())
    return data.instance_id.value if data.instance_id else None


def parse(bundle: Bundle, problems: Problems) -> InstanceData:
    """Return what a source of this layout says; what is wrong with it goes to ``problems``.

    Raises SourceBroken, and nothing else.
    """
    return _Reader(bundle, problems).everything()


class _Reader:
    def __init__(self, bundle: Bundle, problems: Problems) -> None:
        self.bundle, self.problems = bundle, problems
        versions = bundle.names("ec2")
        self.where = f"ec2/{_LATEST if _LATEST in versions else max(versions, default=_LATEST)}"

    def everything(self) -> InstanceData:
        """All documents."""
        document, values = self.values()
        identity = self.object_of(_IDENTITY)

        def text(key: str, check: Callable[[str], str]) -> Text | None:
            value = values.get(key)
            return None if value is None else self.checked(document, key, value, check)

        name = text("instance-id", fields.instance_id)
        if "instance-id" not in values:
            reason = "missing: the run counts as one of the same instance"
            self.error(document, "instance-id", reason)
        zone = identity.get("availabilityZone")
        keys = [
            found
            for key, value in values.items()
            if key.startswith("public-keys/")
            for line in value.splitlines()
            if line.strip()
            if (found := self.checked(document, key, line, fields.ssh_key))
        ]
        data = InstanceData(
            instance_id=name,
            hostname=text("local-hostname", fields.host_name),
            ssh_keys=tuple(keys)[: defs.MAX_KEYS] if keys else None,
            availability_zone=self.checked(_IDENTITY, "availabilityZone", zone, fields.plain)
            if isinstance(zone, str)
            else None,
        )
        content = self.document("user-data") or b""
        if content.strip():
            from guestagent.parse.userdata.reading import read

            names = ("user-data", "", "")
            try:
                config, scripts, more = read(content, None, None, self.bundle.label, names)
            except Exception as error:  # the guest must be reachable all the same
                self.error("user-data", "", f"{internal(error)}; nothing of it is applied")
            else:
                self.problems.add(*more)
                data = data._replace(config=config, scripts=scripts)
        return data

    def values(self) -> tuple[str, dict[str, str]]:
        """The document's name, and the values in it by their keys in the service's tree."""
        if _TREE not in self.bundle.names(self.where):
            return _FILE, self.from_file()
        found = {}
        for key in ("instance-id", "local-hostname"):
            content = self.document(f"{_TREE}/{key}")
            if content is not None:
                found[key] = content.decode("utf-8", "replace").strip()
        for number in self.bundle.names(f"{self.where}/{_TREE}/public-keys"):
            key = f"public-keys/{number}/openssh-key"
            found[key] = (self.document(f"{_TREE}/{key}") or b"").decode("utf-8", "replace")
        return _TREE, found

    def from_file(self) -> dict[str, str]:
        """The same from the one JSON document of a drive."""
        value = self.object_of(_FILE)
        found = {
            key: value[key]
            for key in ("instance-id", "local-hostname")
            if isinstance(value.get(key), str)
        }
        keys = value.get("public-keys")
        for number, entry in keys.items() if isinstance(keys, dict) else ():
            line = entry.get("openssh-key") if isinstance(entry, dict) else entry
            if isinstance(line, str):
                found[f"public-keys/{number}/openssh-key"] = line
        return found

    def document(self, name: str) -> bytes | None:
        """A document's bytes; None, and a problem, where it cannot be used."""
        try:
            return self.bundle.get(f"{self.where}/{name}", defs.JSON_LIMIT)
        except Unreadable as error:
            self.error(name, "", str(error))
            return None

    def object_of(self, name: str) -> dict[str, Any]:
        """A JSON object; empty where the document is missing or unsound."""
        content = self.document(name)
        if content is None:
            return {}
        try:
            value = loads(content)
            if not isinstance(value, dict):
                raise FieldError("must be a JSON object")
        except FieldError as error:
            self.error(name, "", str(error))
            return {}
        return value

    def checked(
        self, document: str, key: str, value: str, check: Callable[[str], str]
    ) -> Text | None:
        """The value through a validator; None and a problem where it does not fit."""
        origin = Origin(self.bundle.label, document, key)
        found = self.problems.take(origin, check, value)
        return None if found is None else Text(found, origin)

    def error(self, document: str, key: str, reason: str) -> None:
        """Note that a value is left out."""
        self.problems.error(Origin(self.bundle.label, document, key), reason)
