"""Signatures that ssh-keygen(1) makes and verifies with SSH keys, by its option -Y."""

from __future__ import annotations

import os

from guestagent import defs
from guestagent.errors import FieldError, GuestagentError
from guestagent.log import printable
from guestagent.system.tools import find_program, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.system.tools import Result

_TOOL = "ssh-keygen"
_GOOD = 'Good "'
_MISSING = "ssh-keygen is not installed (in Debian, the package openssh-client)"


def verify(
    content: bytes, signature: bytes, signer: str, namespace: str, *, signers: bytes, path: str
) -> str:
    """Return type and fingerprint of the key that signed the content for a namespace.

    ``signers`` is the text of the allowed_signers file ``path``; ``signer`` is the name by which it
    must admit the key.  Raises FieldError unless ssh-keygen says that the signature is good.
    """
    tool = find_program(_TOOL)
    if tool is None:
        raise _refused(f"is signed, and cannot be verified: {_MISSING}")
    # What was read is what is verified: nobody can exchange these, and nothing of them stays.
    files = [os.memfd_create("signers", 0), os.memfd_create("signature", 0)]
    allowed, signed = (f"{defs.OWN_FILES}/{fd}" for fd in files)
    try:
        for fd, text in zip(files, (signers, signature), strict=True):
            with open(fd, "wb", closefd=False) as file:
                file.write(text)
        argv = [tool, "-Y", "verify", "-n", namespace, "-I", signer, "-f", allowed, "-s", signed]
        result = run(argv, content)
        key = _find_key(result)
        if key:
            return key
        # Whose it would be: another key and another text are mended in different ways.
        argv = [tool, "-Y", "check-novalidate", "-n", namespace, "-s", signed]
        other_key = _find_key(run(argv, content))
    finally:
        for fd in files:
            os.close(fd)
    why = "it was not made for exactly this, from its header to its last line end"
    if other_key:
        why = f"{path} does not admit its key, {other_key}, for {signer}, or not at this time"
    reason = printable(result.reason()).replace(allowed, path)
    raise _refused(f"has a signature that does not hold: {why} ({_TOOL}: {reason})")


def _find_key(result: Result) -> str:
    """Return type and fingerprint of the key of a signature; empty unless it is called good."""
    said = result.output.decode("utf-8", "replace").strip()
    if result.status != 0 or not said.startswith(_GOOD):
        return ""
    return printable(said.rpartition(" with ")[2])


def _refused(reason: str) -> FieldError:
    """Return an error that may pass: ssh-keygen may be there tomorrow, and keys have dates."""
    error = FieldError(reason)
    error.passing = True
    return error


def sign(content: bytes, key: str, namespace: str) -> bytes:
    """Return a signature of the content by a key file, or by the key of it that an agent holds.

    ssh-keygen may ask for a passphrase at the terminal.  Raises GuestagentError.
    """
    # Unlike what guestagent runs in a guest, this needs the terminal and the agent of its user.
    import subprocess

    tool = find_program(_TOOL)
    if tool is None:
        raise GuestagentError(f"sign: {_MISSING}")
    argv = [tool, "-q", "-Y", "sign", "-n", namespace, "-f", key]
    done = subprocess.run(argv, input=content, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0 or not done.stdout:
        raise GuestagentError(f"sign: ssh-keygen made no signature with {key}")
    return done.stdout
