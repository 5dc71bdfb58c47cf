"""The OVF environment: properties in an XML document, ``ovf-env.xml``.

Sources: the document of DMTF "Open Virtualization Format Specification" (DSP0243), chapter 11, and
the page "OVF" of cloud-init's documentation, whose names the properties have.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.model import Password, Secret, Text
from guestagent.parse import fields, nocloud

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.model import InstanceData, Network

_NAMESPACE = "http://schemas.dmtf.org/ovf/environment/1"
_PLACE = ["Environment", "PropertySection", "Property"]
_KNOWN = ("instance-id", "hostname", "public-keys", "password", "user-data", "network-config")
_NOT_AN_ENVIRONMENT = f"is no OVF environment: its first element is not Environment of {_NAMESPACE}"
_NOTHING_FOR_US = (
    "is an OVF environment in which this machine has {found}, and nothing for guestagent; known, "
    f"if they have a value, are {', '.join(_KNOWN)}"
)


class _Reader(nocloud.Reader):
    """Reads the properties of the machine, each of which is a value of NoCloud's documents."""

    cloud = "ovf"
    subplatform = "ovf"
    known_keys = ()  # the environment may have properties for any program

    def read_fields(self) -> dict[str, Any]:
        """Return the properties by their names; none where the document cannot be used."""
        names = self.bundle.names("")
        self.meta_name = self.user_name = next(name for name in names if name in defs.OVF_NAMES)
        origin = self.origin(self.meta_name)
        content = self.read_bytes(self.meta_name) or b""
        try:
            given = properties(content)
        except FieldError as error:
            self.problems.error(origin, f"{error}; {fields.NOTHING_OF_IT}")
            return {}
        found: dict[str, Any] = {key: value for key, value in given.items() if value}
        if found.keys().isdisjoint((*_KNOWN, "seedfrom")):
            shown = "1 property" if len(given) == 1 else f"{len(given) or 'no'} properties"
            self.problems.warn(origin, _NOTHING_FOR_US.format(found=shown))
        if "hostname" in found:
            found["local-hostname"] = found.pop("hostname")
        return found

    def read(self) -> InstanceData:
        """Return what all properties say."""
        secret = self.meta.take_text("password", fields.password)
        data = super().read()
        if secret is None:
            return data
        return data._replace(
            admin_pass=Password(Secret(secret), self.meta.origin.under("password"))
        )

    def read_instance_id(self) -> Text | None:
        """Return the instance id; None where no property has one that is valid."""
        name = "instance-id"
        value = self.meta.take_text(name, fields.instance_id)
        return None if value is None else Text(value, self.meta.origin.under(name))

    def read_network(self) -> Network | None:
        """Return the network that a property has, in base64; None where there is none."""
        content = self.meta.take_text(self.network_name, fields.base64)
        if content is None:
            return None
        from guestagent.parse.network.config import parse_network_config

        return parse_network_config(
            content, self.meta.origin.under(self.network_name), self.problems
        )

    def read_user_data(self) -> bytes:
        """Return user data, which are in base64, or as they are; empty where there are none."""
        text = self.meta.get("user-data") or ""
        try:
            return fields.base64(text)
        except FieldError:
            return str(text).encode()

    def read_vendor_data(self) -> str | None:
        """Return None: there are no vendor data."""
        return None


read_instance_id, parse = _Reader.read_instance_id_of, _Reader.parse


def properties(content: bytes) -> dict[str, str]:
    """Return the properties of this machine: values by keys, empty where one has no value.

    Those of others, in ``Entity``, do not count.  Raises FieldError for what is not such a
    document, or has more in it than it may have; a declaration of a document type, which is where
    entities come from, is refused.
    """
    from xml.parsers.expat import ExpatError, ParserCreate

    found: dict[str, str] = {}
    where: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        namespace, _, local = name.rpartition(" ")
        where.append(local if namespace == _NAMESPACE else "")
        if where[0] != _PLACE[0]:
            raise FieldError(_NOT_AN_ENVIRONMENT)
        if len(where) > defs.XML_DEPTH:
            raise FieldError(f"is nested more than {defs.XML_DEPTH} deep")
        if where == _PLACE:
            key = attributes.get(f"{_NAMESPACE} key", "")
            if key:
                found[key] = attributes.get(f"{_NAMESPACE} value", "")
            if len(found) > defs.MAX_PROPERTIES:
                raise FieldError(f"has more than {defs.MAX_PROPERTIES} properties")

    def end(_: str) -> None:
        where.pop()

    def refuse(*_: object) -> None:
        raise FieldError("has a document type, which an OVF environment has not")

    parser = ParserCreate(namespace_separator=" ")
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(content, True)
    except FieldError:
        raise
    except ExpatError as error:
        raise FieldError(f"is not XML (line {error.lineno})") from None
    except (LookupError, ValueError):
        raise FieldError("is not XML in an encoding that is known") from None
    return found
