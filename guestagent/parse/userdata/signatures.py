"""Signed user data: what is covered by a signature, and what may be used without one.

A signed document, or a signed part of one, has the form of RFC 1847, ``multipart/signed``: the
first part is what is signed, with its header, byte by byte as it stands between the boundary
lines; the second is the signature as ssh-keygen(1) writes it.  What is signed is read only once the
signature is verified, and from the very bytes that were.

Where a source has a place for it, the signature may be beside the document, which stays as it is.
Such a signature has a namespace of its own (``DETACHED``): what was signed as a document must not
be read as a part of a message, nor the other way round, as it would mean something else.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError, Origin, Problems
from guestagent.model import InstanceData, Text
from guestagent.parse.userdata import mime
from guestagent.parse.userdata.places import Places
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from guestagent.model import Setting

    Policy = Literal["off", "limited", "required"]
    Signer = Literal["user-data", "vendor-data"]
    Verify = Callable[[bytes, bytes, Signer, str], str]

MEDIA_TYPE = "multipart/signed"
SIGNATURE_TYPE = "application/x-ssh-signature"
IN_MESSAGE, DETACHED = "guestagent", "guestagent-detached"
"""The namespaces of signatures: for those of git, for instance, there is another one."""

_ARMOR = (b"-----BEGIN SSH SIGNATURE-----", b"-----END SSH SIGNATURE-----")
_LINE = 70  # characters
HARMLESS = (
    *("hostname", "fqdn", "prefer_fqdn_over_hostname", "preserve_hostname"),
    *("timezone", "locale", "keyboard", "growpart", "resize_rootfs"),
)
"""Keys that need no signature where the policy is "limited".

Whatever their values are, they run no command of the document, write nothing that programs take
commands, keys or addresses from, and let no one in.  A new key needs a signature until it is here.
"""

NOT_CHECKED = "is signed; that is not checked here, because of the setting signatures.policy"
_FORM = (
    f"is {MEDIA_TYPE} and not of two parts, the second of which is {SIGNATURE_TYPE}: sign it with "
    "guestagent sign"
)
_SIGN = "sign it with guestagent sign, by a key that this image knows"
_UNSIGNED = f"is not signed, as the setting signatures.policy demands: {_SIGN}"
_NOT_HARMLESS = (
    "is not signed, and without a signature the setting signatures.policy admits only "
    f"#cloud-config with some keys: {_SIGN}"
)
_KEY = (
    "is not signed, and not one of the keys that need no signature by the setting "
    f"signatures.policy: {_SIGN}"
)
_FILE = (
    "is not written: an injected file cannot be signed, and the setting signatures.policy demands "
    "signatures; give it by write_files in signed user data"
)


class Rule(NamedTuple):
    """What holds for one document.

    ``signer`` is the name by which allowed_signers must admit the key, ssh-keygen(1).  ``verify``
    is given the signed bytes, the signature, the signer and the namespace; it returns a description
    of the key, and raises FieldError for a signature that does not hold.  ``verified`` collects
    what did.  ``beside`` is the signature that is beside the document, if there is one.
    """

    policy: Policy
    signer: Signer
    verify: Verify
    verified: list[Text]
    beside: bytes | None = None

    def open(self, bodies: list[bytes], origin: Origin) -> bytes:
        """Return what is signed of the parts of a ``multipart/signed``.

        Raises FieldError for another form, and for a signature that does not hold.
        """
        signed, signature = divide(bodies)
        self._verify(signed, signature, IN_MESSAGE, origin)
        return signed

    def check_beside(self, document: bytes, signature: bytes, origin: Origin) -> None:
        """Raise FieldError unless the signature beside the document holds for all of it."""
        self._verify(document, armored(signature), DETACHED, origin)

    def _verify(self, signed: bytes, signature: bytes, namespace: str, origin: Origin) -> None:
        if len(signature) > defs.SIGNATURE_LIMIT:
            raise FieldError(f"has a signature of more than {defs.SIGNATURE_LIMIT >> 10} KiB")
        key = self.verify(signed, signature, self.signer, namespace)
        self.verified.append(Text(key, origin))

    def check_whole(self, document: bytes) -> None:
        """Raise FieldError for a document that does not have the form of a signed one."""
        if not mime.is_message(document) or mime.read_entity(document).type != MEDIA_TYPE:
            raise FieldError(_UNSIGNED)

    def check_unsigned(self, part_type: str) -> None:
        """Raise FieldError for a part without a signature that may not be used at all.

        Of cloud-config it is known later which keys it has.
        """
        if self.policy == "required":
            raise FieldError(_UNSIGNED)
        if part_type not in ("archive", "cloud-config"):
            raise FieldError(_NOT_HARMLESS)


class Signatures(NamedTuple):
    """Which signatures the image demands, and what tells whether they hold; see ``Rule``."""

    user_data: Policy
    vendor_data: Policy
    verify: Verify
    verified: list[Text]

    def rule(self, signer: Signer) -> Rule | None:
        """Return what holds for a document of user data or of vendor data; None for nothing."""
        policy = self.user_data if signer == "user-data" else self.vendor_data
        return None if policy == "off" else Rule(policy, signer, self.verify, self.verified)

    def tell(self) -> tuple[str, ...]:
        """Say in a line of each signature that holds what is signed, and by which key."""
        return tuple(f"{found.origin.text()}: {found.value}" for found in self.verified)

    def without_files(self, data: InstanceData, problems: Problems) -> InstanceData:
        """Return the data without injected files: each could be a job of cron or a unit."""
        if self.user_data == "off":
            return data
        for file in data.files:
            problems.error(file.origin, _FILE)
        return data._replace(files=())


def armored(signature: bytes) -> bytes:
    """Return a signature as ssh-keygen(1) writes it; it may also be its base64 alone, in a line."""
    text = signature.strip()
    if text.startswith(_ARMOR[0]):
        return text + b"\n"
    lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
    return b"\n".join((_ARMOR[0], *lines, _ARMOR[1], b""))


def without_armor(signature: bytes) -> bytes:
    """Return a signature of ssh-keygen(1) as its base64 alone."""
    return b"".join(line for line in signature.splitlines() if line not in _ARMOR)


def divide(bodies: list[bytes]) -> tuple[bytes, bytes]:
    """Return what is signed, and the signature.  Raises FieldError for another form."""
    if len(bodies) != 2:
        raise FieldError(_FORM)
    signed, second = bodies
    entity = mime.read_entity(second)
    if entity.type != SIGNATURE_TYPE:
        raise FieldError(_FORM)
    return signed, mime.decode_body(entity)


def drop_harmful(settings: dict[str, Setting], problems: Problems) -> dict[str, Setting]:
    """Return the settings of unsigned cloud-config that need no signature; report the others."""
    for key, setting in settings.items():
        if key not in HARMLESS:
            Places(setting, problems).error((), _KEY)
    return {key: setting for key, setting in settings.items() if key in HARMLESS}
