"""The default user's first password, readable only by who has the instance's private key.

It is made here, set with chpasswd(8), and handed to the metadata service encrypted, for
``nova get-password`` (Nova's ``api/metadata/password.py``): RSAES-PKCS1-v1_5 (RFC 8017, 7.2) with
the instance's first ssh-rsa key, in base64.  The text itself is kept nowhere.
"""

from __future__ import annotations

import os
from binascii import b2a_base64

from guestagent import defs
from guestagent.errors import FieldError, UsageError
from guestagent.model import Secret
from guestagent.system import ownfiles
from guestagent.system.jsontext import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from guestagent.plan.changes import SetConsolePassword
    from guestagent.system.root import Root

# Without characters that look alike; 20 of them are 116 bits.
_LETTERS = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_LENGTH = 20
_WAIT = 60.0


def generate() -> Secret:
    """A new random password."""
    found: list[str] = []
    while len(found) < _LENGTH:
        found += [_LETTERS[n] for n in os.urandom(_LENGTH) if n < len(_LETTERS)]
    return Secret("".join(found[:_LENGTH]))


def encrypt(secret: Secret, exponent: int, modulus: int) -> str:
    """The password for the owner of the private key, in base64."""
    message, size = secret.reveal().encode(), (modulus.bit_length() + 7) // 8
    wanted = size - len(message) - 3
    padding = b""
    while len(padding) < wanted:
        padding += bytes(n for n in os.urandom(size) if n)
    block = b"\0\2" + padding[:wanted] + b"\0" + message
    number = pow(int.from_bytes(block, "big"), exponent, modulus)
    return b2a_base64(number.to_bytes(size, "big"), newline=False).decode()


def make(
    change: SetConsolePassword, root: Root, set_password: Callable[[str, Secret], None]
) -> None:
    """Set a new password, and leave it encrypted for the step that sends it.

    Raises Refused, AccountsLocked, OSError.
    """
    secret = generate()
    set_password(change.name, secret)
    sent = {"url": change.url, "password": encrypt(secret, change.exponent, change.modulus)}
    ownfiles.write(root, defs.POST_FILE, sent, 0o600)


def post(path: str) -> int:
    """Send what a file of ``apply`` holds; returns the HTTP status.

    Raises UsageError, Unreachable.
    """
    import time

    from guestagent.sources.endpoints import parse_url
    from guestagent.sources.http import Client

    try:
        with open(path, "rb") as file:
            value = loads(file.read(defs.JSON_LIMIT))
        url, body = str(value["url"]), value["password"].encode()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except (FieldError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: {error}") from None
    client = Client(parse_url(url), time.monotonic() + _WAIT)
    return client.patiently("", lambda: client.post("", body))
