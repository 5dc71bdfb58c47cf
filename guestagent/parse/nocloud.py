"""The NoCloud layout of a source: ``meta-data``, ``user-data`` and ``vendor-data`` at its top.

Source: the page "NoCloud" of cloud-init's documentation.  ``meta-data`` is YAML, the others are in
the formats of user data.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError, Origin, Problems, internal
from guestagent.model import InstanceData, Network, Text
from guestagent.parse import fields
from guestagent.parse.items import Item
from guestagent.sources.bundle import Unreadable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from guestagent.sources.bundle import Bundle

_META = "meta-data"
_USER = "user-data"
_VENDOR = "vendor-data"
_NETWORK = "network-config"
_NETWORK_NOT_READ = (
    "is not supported, and nothing of it is applied: the guest's NICs get DHCP as without it; give "
    "the network as interfaces(5) text in network-interfaces of meta-data, or in network_data.json "
    "of a config drive"
)


def read_instance_id(bundle: Bundle) -> str | None:
    """Return the instance id of a source; None where it has none that is valid.

    Raises SourceBroken.
    """
    found = _Reader(bundle, Problems()).read_instance_id()
    return found.value if found else None


def parse(
    bundle: Bundle, problems: Problems, guest: Callable[[], Mapping[str, str]] = dict
) -> InstanceData:
    """Return what a source of this layout says; values that cannot be used are reported.

    ``guest`` is as for ``layouts.parse``.
    Raises SourceBroken, and nothing else.
    """
    return _Reader(bundle, problems, guest).read()


class _Reader:
    """Reads the documents of a seed."""

    def __init__(
        self,
        bundle: Bundle,
        problems: Problems,
        guest: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self.bundle = bundle
        self.problems = problems
        self.guest = guest
        self.meta = Item(self._read_meta(), self._origin(_META), problems)

    def read(self) -> InstanceData:
        """Return what all documents say."""
        ssh_keys, partial_keys = self._read_ssh_keys()
        data = InstanceData(
            instance_id=self.read_instance_id(),
            hostname=self._read_hostname(),
            ssh_keys=ssh_keys,
            partial_keys=partial_keys,
            network=self._read_network(),
        )
        return self._add_user_data(data)

    def read_instance_id(self) -> Text | None:
        """Return the instance id."""
        value = self.meta.take_needed_text("instance-id", fields.instance_id)
        return None if value is None else Text(value, self.meta.origin.under("instance-id"))

    def _read_meta(self) -> dict[str, Any]:
        """Return the mapping of ``meta-data``; an empty one where it cannot be used."""
        content = self._read_bytes(_META)
        if content is None:
            return {}
        # The run of an unchanged source reads nothing of it, and needs no parser of YAML.
        from guestagent.parse.userdata import yamltree

        origin = self._origin(_META)
        try:
            value = yamltree.load(content).value
        except FieldError as error:
            self.problems.error(origin, f"{error}; {fields.NOTHING_OF_IT}")
            return {}
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.problems.error(origin, f"must be a mapping; {fields.NOTHING_OF_IT}")
            return {}
        for name in ("instance-id", "local-hostname"):
            # Without quotes, an id of digits is a number to YAML.
            if type(value.get(name)) is int:
                value[name] = str(value[name])
        return value

    def _read_hostname(self) -> Text | None:
        """Return the host name, else one that is made of it or of the instance's id."""
        name = "local-hostname"
        if self.meta.get(name) is None:
            return None
        found = self.meta.take_text(name, fields.host_name)
        if found is not None:
            return Text(found, self.meta.origin.under(name))
        for key in (name, "instance-id"):
            try:
                made = fields.display_name(str(self.meta.get(key) or ""))
            except FieldError:
                continue
            return Text(made, self.meta.origin.under(key))
        return None

    def _read_ssh_keys(self) -> tuple[tuple[Text, ...] | None, bool]:
        """Return the keys, and whether others cannot be used.

        An empty tuple means that the source has none; None, that it gives no keys, or none that
        can be used.
        """
        given = self.meta.get("public-keys")
        if given is None:
            return None, False
        found: list[Text] = []
        lost = False
        for origin, line in self._key_lines(given):
            key = self.problems.take_text(origin, fields.ssh_key, line)
            if key is None:
                lost = True
            else:
                found.append(Text(key, origin))
        if len(found) > defs.MAX_KEYS:
            reason = f"has more than {defs.MAX_KEYS} keys; the rest is left out"
            self.meta.error("public-keys", reason)
            lost = True
        if not found:
            return (None if lost else ()), False
        return tuple(found[: defs.MAX_KEYS]), lost

    def _key_lines(self, given: object) -> Iterator[tuple[Origin, object]]:
        """Yield each line of ``public-keys``, a text or a list or mapping of texts.

        A value of a mapping may have its text in ``openssh-key``, as in EC2's metadata.  Names in
        the mapping are free text, and their positions stand for them in origins.
        """
        origin = self.meta.origin.under("public-keys")
        if isinstance(given, dict):
            values = list(given.values())
        else:
            values = given if isinstance(given, list) else [given]
        for number, value in enumerate(values):
            place = origin.under(number)
            text = value.get("openssh-key") if isinstance(value, dict) else value
            if not isinstance(text, str):
                yield place, text
                continue
            # Not splitlines(): a line that has another separator inside must be refused as it is.
            for line in text.replace("\r\n", "\n").split("\n"):
                bare = line.strip()
                if bare and not bare.startswith("#"):
                    yield place, bare

    def _read_network(self) -> Network | None:
        """Return what the interfaces(5) text of ``meta-data`` says; report another document."""
        if _NETWORK in self.bundle.names(""):
            self.problems.error(self._origin(_NETWORK), _NETWORK_NOT_READ)
        name = "network-interfaces"
        text = self.meta.take_text(name, str)
        if text is None:
            return None
        from guestagent.parse.network.interfaces_text import parse_interfaces_text

        return parse_interfaces_text(text, self.meta.origin.under(name), self.problems)

    def _add_user_data(self, data: InstanceData) -> InstanceData:
        """Add cloud-config and scripts, of user data and of vendor data."""
        user = self._read_bytes(_USER) or b""
        vendor = self._read_vendor_data()
        if not user.strip() and vendor is None:
            return data
        from guestagent.parse.userdata.read import read

        try:
            config, scripts = read(
                user,
                vendor,
                None,
                source=self.bundle.label,
                problems=self.problems,
                documents=(_USER, _VENDOR, ""),
                variables=lambda: self._read_variables(data),
            )
        except Exception as error:  # without user data one can still log in, and look
            reason = f"{internal(error)}; nothing of it is applied"
            self.problems.error(self._origin(_USER), reason)
            self.problems.passing = True
            return data
        return data._replace(config=config, scripts=scripts)

    def _read_vendor_data(self) -> str | None:
        """Return the text of vendor data; None where there is none that can be used."""
        content = self._read_bytes(_VENDOR) or b""
        if not content.strip():
            return None
        try:
            return content.decode()
        except UnicodeDecodeError:
            reason = f"is not UTF-8 text; {fields.NOTHING_OF_IT}"
            self.problems.error(self._origin(_VENDOR), reason)
            return None

    def _read_variables(self, data: InstanceData) -> dict[str, Any]:
        """Return the variables of templates in user data."""
        from guestagent.parse.userdata.variables import variables

        return variables(
            data,
            {"meta_data": dict(self.meta.fields)},
            cloud="nocloud",
            platform="nocloud",
            subplatform=f"config-disk ({self.bundle.label})",
            guest=self.guest(),
        )

    def _read_bytes(self, name: str) -> bytes | None:
        """Return a document as it is; None where it is missing or unreadable."""
        try:
            return self.bundle.get(name, defs.JSON_LIMIT)
        except Unreadable as error:
            self.problems.error(self._origin(name), str(error))
            return None

    def _origin(self, document: str) -> Origin:
        return Origin(self.bundle.label, document, "")
