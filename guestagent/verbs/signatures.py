"""Which signatures of user data a run demands, and who tells whether they hold."""

from __future__ import annotations

from guestagent.errors import FieldError, Refused
from guestagent.parse.userdata.signatures import Signatures
from guestagent.system import ssh_signature

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.parse.userdata.signatures import Signer
    from guestagent.settings import Settings
    from guestagent.system.root import Root


def demanded(settings: Settings, root: Root) -> Signatures:
    """Return what the settings demand, by the keys that the tree's file of signers admits."""
    path = settings.signatures_signers

    def verify(content: bytes, signature: bytes, signer: Signer, namespace: str) -> str:
        signers = _read_signers(root, path)
        return ssh_signature.verify(
            content, signature, signer, namespace, signers=signers, path=path
        )

    policy, vendor = settings.signature_policies
    return Signatures(policy, vendor, verify, [])


def _read_signers(root: Root, path: str) -> bytes:
    """Return the text of the file that says who may sign.  Raises FieldError."""
    try:
        signers = root.read_roots_own(path)
    except Refused as error:
        reason = str(error)
    except OSError as error:
        reason = str(error.strerror)
    else:
        if signers is not None:
            return signers
        reason = "does not exist; put the keys that may sign there, as SECURITY.md describes"
    refused = FieldError(f"is signed, and cannot be verified: {path}: {reason}")
    refused.passing = True  # what is corrected may be a directory, which is not looked at
    raise refused


def look_at_signers(settings: Settings, root: Root) -> None:
    """Look at the file of signers, so that the next run notices when it changes."""
    try:
        root.exists(root.follow(settings.signatures_signers))
    except (Refused, OSError):
        pass  # why it cannot be used was said where it was needed


def by_file(path: str) -> Signatures:
    """Return the demand that everything is signed, by a key that a file of this machine admits.

    Raises OSError.
    """
    with open(path, "rb") as file:
        signers = file.read()

    def verify(content: bytes, signature: bytes, signer: Signer, namespace: str) -> str:
        return ssh_signature.verify(
            content, signature, signer, namespace, signers=signers, path=path
        )

    return Signatures("required", "required", verify, [])
