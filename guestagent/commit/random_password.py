"""Make a password at random, set it, and tell it to those who need it.

The metadata service gets it for ``nova get-password`` (Nova's ``api/metadata/password.py``), so
that only the owner of the instance's private key can read it: RSAES-PKCS1-v1_5 (RFC 8017, 7.2)
with the instance's first ssh-rsa key, in base64.  The text itself is kept nowhere.
"""

from __future__ import annotations

import os
from binascii import b2a_base64

from guestagent import defs
from guestagent.commit.account import run_tool
from guestagent.model import Secret
from guestagent.system import ownfiles
from guestagent.system.accounts import find_account

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.plan.kinds.random_password import SetRandomPassword
    from guestagent.system.root import Root

# Without characters that look alike; 20 of them are 116 bits.
_LETTERS = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_LENGTH = 20


def carry_out(change: SetRandomPassword, root: Root) -> None:
    """Set a new password and tell it.  Raises Refused, AccountsLocked, OSError."""
    find_account(root, change.name)
    secret = generate()
    if change.told == "console":
        # Opened first: without a console no one would ever know the password.
        with open(defs.CONSOLE_DEVICE, "wb", buffering=0) as console:
            _set(change, secret, root)
            text = f"\r\nguestagent: the password of {change.name} is {secret.reveal()}\r\n"
            console.write(text.encode())
        return
    _set(change, secret, root)
    if change.told == "service":
        # ``guestagent post`` sends this, in a process of its own.
        encrypted = encrypt(secret, change.exponent, change.modulus)
        sent = {"url": change.url, "password": encrypted}
        ownfiles.write(root, defs.POST_FILE, sent, 0o600)


def _set(change: SetRandomPassword, secret: Secret, root: Root) -> None:
    for command in change.commands:
        run_tool(command, f"{change.name}:{secret.reveal()}\n".encode(), root)


def generate() -> Secret:
    """Return a new random password."""
    found: list[str] = []
    while len(found) < _LENGTH:
        found += [_LETTERS[n] for n in os.urandom(_LENGTH) if n < len(_LETTERS)]
    return Secret("".join(found[:_LENGTH]))


def encrypt(secret: Secret, exponent: int, modulus: int) -> str:
    """Return the password in base64, encrypted for the owner of the private key."""
    message, size = secret.reveal().encode(), (modulus.bit_length() + 7) // 8
    wanted = size - len(message) - 3
    padding = b""
    while len(padding) < wanted:
        padding += bytes(n for n in os.urandom(size) if n)
    block = b"\0\2" + padding[:wanted] + b"\0" + message
    number = pow(int.from_bytes(block, "big"), exponent, modulus)
    return b2a_base64(number.to_bytes(size, "big"), newline=False).decode()
