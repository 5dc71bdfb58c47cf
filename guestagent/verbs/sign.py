"""``guestagent sign``: make signed user data of a document, or a signature to put beside it."""

from __future__ import annotations

import os
import sys

from guestagent import defs
from guestagent.errors import FieldError, GuestagentError, UsageError
from guestagent.parse.userdata import mime, part_types, signatures
from guestagent.parse.userdata.unpack import TooMuch, Unpacker
from guestagent.system import ssh_signature

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.options import Options

_BASE64_LINE = 57  # bytes that become a line of 76 characters, RFC 2045


def run(options: Options) -> int:
    """Write a document with its signature, or the signature alone, to a file or standard output.

    Raises UsageError for a document that is none, GuestagentError where ssh-keygen does not sign.
    """
    (path,) = options.files
    with open(0 if path == "-" else path, "rb", closefd=path != "-") as file:
        content = file.read(defs.USER_DATA_LIMIT + 1)
    signed = (sign_beside if options.detached else sign)(content, options.key)
    if options.output:
        with open(options.output, "wb") as file:
            file.write(signed)
    else:
        sys.stdout.buffer.write(signed)
    return defs.EXIT_OK


def sign(document: bytes, key: str) -> bytes:
    """Return a document and its signature by a key, as ``parse.userdata.signatures`` describes."""
    try:
        entity = _entity(Unpacker().document(document))
    except (FieldError, TooMuch) as error:
        raise UsageError(f"sign: the document {error}") from None
    return _with_signature(entity, ssh_signature.sign(entity, key, signatures.IN_MESSAGE))


def sign_beside(document: bytes, key: str) -> bytes:
    """Return the signature of a document by a key in one line, to be put beside it."""
    if not document.strip():
        raise UsageError("sign: the document is empty")
    if len(document) > defs.USER_DATA_LIMIT:
        raise UsageError(f"sign: the document is larger than {defs.USER_DATA_LIMIT >> 20} MiB")
    signature = ssh_signature.sign(document, key, signatures.DETACHED)
    return signatures.without_armor(signature) + b"\n"


def _entity(document: bytes) -> bytes:
    """Return a document as a part of a MIME message, with its header.  Raises FieldError."""
    if not document.strip():
        raise FieldError("is empty")
    if part_types.type_by_marker(document) is None and mime.is_message(document.lstrip()):
        return document.lstrip()
    # Its first line tells what it is, as where it is user data by itself.
    if _is_text(document):
        header = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
        return header.encode() + document
    from binascii import b2a_base64

    header = "Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n"
    starts = range(0, len(document), _BASE64_LINE)
    lines = (b2a_base64(document[start : start + _BASE64_LINE]) for start in starts)
    return header.encode() + b"".join(lines)


def _is_text(document: bytes) -> bool:
    """Tell whether programs that carry text change nothing of a document."""
    try:
        document.decode()
    except UnicodeDecodeError:
        return False
    return b"\r" not in document and b"\0" not in document


def _with_signature(entity: bytes, signature: bytes) -> bytes:
    """Return the message of what is signed and its signature.

    Raises GuestagentError if it would not be read as it was signed.
    """
    boundary = f"=-{os.urandom(16).hex()}"
    head = (
        f'Content-Type: {signatures.MEDIA_TYPE}; protocol="{signatures.SIGNATURE_TYPE}";\n'
        f' boundary="{boundary}"\nMIME-Version: 1.0\n\n'
    )
    second = f"Content-Type: {signatures.SIGNATURE_TYPE}\n\n".encode() + signature
    line = f"\n--{boundary}"
    message = b"".join(
        (head.encode(), f"--{boundary}\n".encode(), entity, f"{line}\n".encode(), second)
    )
    message += f"{line}--\n".encode()
    bodies, _ = mime.split_bodies(mime.read_entity(message), 2)
    if signatures.divide(bodies) != (entity, signature):
        raise GuestagentError("sign: the document would not be read as it is; correct its end")
    if len(message) > defs.USER_DATA_LIMIT:
        raise UsageError(f"sign: what is signed is larger than {defs.USER_DATA_LIMIT >> 20} MiB")
    return message
