"""The NoCloud layout of a source: ``meta-data``, ``user-data`` and ``vendor-data`` at its top.

Source: the page "NoCloud" of cloud-init's documentation.  ``meta-data`` is YAML, the others are in
the formats of user data.  Other layouts have the same documents in another form, or under other
names: their readers are made of this one.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError, Origin, Problems
from guestagent.model import InstanceData, Network, Text
from guestagent.parse import fields
from guestagent.parse.items import Item
from guestagent.sources.bundle import Unreadable
from guestagent.system.jsontext import loads_of_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from guestagent.parse.userdata.signatures import Signatures
    from guestagent.sources.bundle import Bundle

KEYS = ("instance-id", "local-hostname", "public-keys")  # of metadata, whatever the layout
_NO_ID = "is missing; a guest that was configured before needs it: add one"
_MISSPELT = "is not known, and ignored; if {} is meant, write that"
_SEED = "is not supported: give user-data instead, or ds=nocloud on the kernel command line"
_MOST_KEYS = 64  # of metadata that are looked at for misspelt ones
_NO_VALUES = "is not a JSON object; a file of this name is not needed"


class Reader:
    """Reads the documents of a seed.

    ``meta_name`` and so on are what problems call the documents, ``keys_name`` is the key of SSH
    keys in ``meta-data``; ``cloud`` is what templates call the cloud and its platform,
    ``subplatform`` how it hands the documents over.  ``given_first``: what kernel command line or
    firmware say goes before ``meta-data``.  ``known_keys`` are those of ``meta-data`` that others
    may be misspelt for.
    """

    meta_name = "meta-data"
    user_name = "user-data"
    vendor_name = "vendor-data"
    network_name = "network-config"
    keys_name = "public-keys"
    cloud = "nocloud"
    subplatform = "config-disk"
    given_first = True
    known_keys: tuple[str, ...] = (*KEYS, "network-interfaces")

    def __init__(
        self,
        bundle: Bundle,
        problems: Problems,
        guest: Callable[[], Mapping[str, str]] = dict,
        signatures: Signatures | None = None,
    ) -> None:
        self.bundle = bundle
        self.signatures = signatures
        self.problems = problems
        self.guest = guest
        self.meta = Item(self.read_fields(), self.origin(self.meta_name), problems)
        self.given = Item(self._read_given(), self.origin(defs.SEED_VALUES), problems)

    @classmethod
    def read_instance_id_of(cls, bundle: Bundle) -> str | None:
        """Return the instance id of a source; None where it has none that is valid.

        Raises SourceBroken.
        """
        found = cls(bundle, Problems()).read_instance_id()
        return found.value if found else None

    @classmethod
    def parse(
        cls,
        bundle: Bundle,
        problems: Problems,
        guest: Callable[[], Mapping[str, str]] = dict,
        signatures: Signatures | None = None,
    ) -> InstanceData:
        """Return what a source of this layout says; values that cannot be used are reported.

        ``guest`` and ``signatures`` are as for ``layouts.parse``.
        Raises SourceBroken, and nothing else.
        """
        return cls(bundle, problems, guest, signatures).read()

    def read(self) -> InstanceData:
        """Return what all documents say."""
        self._look_for_misspelt()
        if self.meta.get("seedfrom"):
            self.meta.error("seedfrom", _SEED)
        ssh_keys, partial_keys = self._read_ssh_keys()
        data = InstanceData(
            instance_id=self.read_instance_id(),
            hostname=self._read_hostname(),
            ssh_keys=ssh_keys,
            partial_keys=partial_keys,
            network=self.read_network(),
        )
        return self._add_user_data(data)

    def read_instance_id(self) -> Text | None:
        """Return the instance id."""
        item = self.item_with("instance-id")
        if item.get("instance-id") is None:
            item.error("instance-id", _NO_ID)
        value = item.take_text("instance-id", fields.instance_id)
        return None if value is None else Text(value, item.origin.under("instance-id"))

    def item_with(self, name: str) -> Item:
        """Return where a value is."""
        is_given = self.given.get(name) is not None
        if is_given and (self.given_first or self.meta.get(name) is None):
            return self.given
        return self.meta

    def _read_given(self) -> dict[str, Any]:
        """Return what kernel command line or firmware say: ``sources.seed``."""
        if defs.SEED_VALUES not in self.bundle.names(""):
            return {}
        try:
            value = loads_of_source(self.read_bytes(defs.SEED_VALUES) or b"")[0]
        except FieldError:
            value = None
        if isinstance(value, dict):
            return value
        # A drive may have a file of that name.
        self.problems.error(self.origin(defs.SEED_VALUES), _NO_VALUES)
        return {}

    def read_fields(self) -> dict[str, Any]:
        """Return the mapping of ``meta-data``; an empty one where it cannot be used."""
        content = self.read_bytes(self.meta_name)
        if content is None:
            return {}
        # The run of an unchanged source reads nothing of it, and needs no parser of YAML.
        from guestagent.parse.userdata import yamltree

        origin = self.origin(self.meta_name)
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

    def _look_for_misspelt(self) -> None:
        """Warn of each key that looks like one that is known, and missing.

        About other keys nothing is said: platforms give some of their own.
        """
        missing = [name for name in self.known_keys if name not in self.meta.fields]
        for key in tuple(self.meta.fields)[:_MOST_KEYS]:
            if isinstance(key, str):
                for name in missing:
                    if _is_misspelt(key, name):
                        self.meta.warn(key, _MISSPELT.format(name))

    def _read_hostname(self) -> Text | None:
        """Return the host name, else one that is made of it or of the instance's id."""
        name = "local-hostname"
        item = self.item_with(name)
        if item.get(name) is None:
            return None
        found = item.take_text(name, fields.host_name)
        if found is not None:
            return Text(found, item.origin.under(name))
        for key in (name, "instance-id"):
            item = self.item_with(key)
            given = item.get(key)
            try:
                # Of a value that is no text, what Python shows of it is no name.
                made = fields.display_name(given if isinstance(given, str) else "")
            except FieldError:
                continue
            return Text(made, item.origin.under(key))
        return None

    def _read_ssh_keys(self) -> tuple[tuple[Text, ...] | None, bool]:
        """Return the keys, and whether others cannot be used.

        An empty tuple means that the source has none; None, that it gives no keys, or none that
        can be used.
        """
        item = self.item_with(self.keys_name)
        given = item.get(self.keys_name)
        if given is None:
            return None, False
        found: list[Text] = []
        lost = False
        for origin, line in self._key_lines(given, item.origin.under(self.keys_name)):
            key = self.problems.take_text(origin, fields.ssh_key, line)
            if key is None:
                lost = True
            else:
                found.append(Text(key, origin))
        if len(found) > defs.MAX_KEYS:
            reason = f"has more than {defs.MAX_KEYS} keys; the rest is left out"
            item.error(self.keys_name, reason)
            lost = True
        if not found:
            return (None if lost else ()), False
        return tuple(found[: defs.MAX_KEYS]), lost

    def _key_lines(self, given: object, origin: Origin) -> Iterator[tuple[Origin, object]]:
        """Yield each line of ``public-keys``, a text or a list or mapping of texts.

        A value of a mapping may have its text in ``openssh-key``, as in EC2's metadata.  Names in
        the mapping are free text, and their positions stand for them in origins.
        """
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

    def read_network(self) -> Network | None:
        """Return what ``network-config`` says, else the interfaces(5) text of ``meta-data``."""
        name = "network-interfaces"
        if self.network_name in self.bundle.names(""):
            if self.meta.get(name) is not None:
                self.meta.warn(name, f"is not used, because there is {self.network_name}")
            return self.read_network_config()
        text = self.meta.take_text(name, str)
        if text is None:
            return None
        from guestagent.parse.network.interfaces_text import parse_interfaces_text

        return parse_interfaces_text(text, self.meta.origin.under(name), self.problems)

    def read_network_config(self) -> Network | None:
        """Return what the document of the network says; None where it says nothing."""
        content = self.read_bytes(self.network_name)
        if content is None or not content.strip():
            return None
        from guestagent.parse.network.config import parse_network_config

        return parse_network_config(content, self.origin(self.network_name), self.problems)

    def _add_user_data(self, data: InstanceData) -> InstanceData:
        """Add cloud-config and scripts, of user data and of vendor data."""
        user = self.read_user_data()
        vendor = self.read_vendor_data()
        if not user.strip() and vendor is None:
            return data
        from guestagent.parse.userdata.read import add

        return add(
            data,
            user,
            vendor,
            source=self.bundle.label,
            problems=self.problems,
            documents=(self.user_name, self.vendor_name, ""),
            variables=lambda: self._read_variables(data),
            signatures=self.signatures,
            signature=self._read_signature(),
        )

    def _read_signature(self) -> bytes | None:
        """Return the signature beside the user data, if there is one and signatures are demanded.

        Of a seed at a URL it is not asked for.
        """
        if self.signatures is None or self.signatures.user_data == "off":
            return None
        name = f"{self.user_name}.sig"
        if self.bundle.service or name not in self.bundle.names(""):
            return None
        return self.read_bytes(name)

    def read_user_data(self) -> bytes:
        """Return user data; empty where there are none that can be used."""
        return self.read_bytes(self.user_name) or b""

    def read_vendor_data(self) -> str | None:
        """Return the text of vendor data; None where there is none that can be used."""
        content = self.read_bytes(self.vendor_name) or b""
        if not content.strip():
            return None
        try:
            return content.decode()
        except UnicodeDecodeError:
            reason = f"is not UTF-8 text; {fields.NOTHING_OF_IT}"
            self.problems.error(self.origin(self.vendor_name), reason)
            return None

    def _read_variables(self, data: InstanceData) -> dict[str, Any]:
        """Return the variables of templates in user data."""
        from guestagent.parse.userdata.variables import variables

        return variables(
            data,
            {"meta_data": dict(self.meta.fields)},
            cloud=self.cloud,
            platform=self.cloud,
            subplatform=f"{self.subplatform} ({self.bundle.place})",
            guest=self.guest(),
        )

    def read_bytes(self, name: str) -> bytes | None:
        """Return a document as it is; None where it is missing or unreadable."""
        try:
            return self.bundle.get(self.path(name), defs.JSON_LIMIT)
        except Unreadable as error:
            self.problems.error(self.origin(name), str(error))
            return None

    def path(self, name: str) -> str:
        """Return the name, with its folders, that the source has for a document."""
        return name

    def origin(self, document: str) -> Origin:
        """Return where a document is."""
        return Origin(self.bundle.label, document, "")


read_instance_id, parse = Reader.read_instance_id_of, Reader.parse


def _is_misspelt(given: str, known: str) -> bool:
    """Tell whether a key is probably meant to be a known one.

    It is the same but for capitals, marks between words and one letter.  ``hostname`` is what other
    layouts call ``local-hostname``.
    """
    one, other = (text.lower().replace("-", "").replace("_", "") for text in (given, known))
    if (one, known) == ("hostname", "local-hostname"):
        return True
    # One letter is missing, too many, another, or at another place.
    is_as_long = abs(len(one) - len(other)) <= 1
    return is_as_long and not _without_a_letter(one).isdisjoint(_without_a_letter(other))


def _without_a_letter(word: str) -> set[str]:
    """Return a word, and the same without each one of its letters."""
    return {word, *(word[:place] + word[place + 1 :] for place in range(len(word)))}
