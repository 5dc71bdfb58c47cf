"""sshd's host keys by cloud-config: ``ssh_keys``, ``ssh_genkeytypes``, ``ssh_deletekeys``."""

from __future__ import annotations

from binascii import b2a_base64

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.model import Secret
from guestagent.parse import fields
from guestagent.plan.kinds.host_keys import HostKeys, file_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Literal

    from guestagent.errors import Origin
    from guestagent.model import Setting
    from guestagent.plan.wanted import Ask, Wanted

# How public keys of each type begin.
_TYPES = {"rsa": "ssh-rsa ", "ecdsa": "ecdsa-", "ed25519": "ssh-ed25519 "}
_CERTIFIED = {"rsa": "ssh-rsa", "ecdsa": "ecdsa-sha2-nistp", "ed25519": "ssh-ed25519"}
_PUBLIC, _CERTIFICATE = ".pub", "-cert.pub"
_MAGIC = b"openssh-key-v1\0"
_BEGIN, _END = "-----BEGIN ", "PRIVATE KEY-----"
_ALONE = "needs the private key of its type, which is missing or wrong; left out"
_SMALL = "holds no key that sshd accepts: it is damaged, or RSA of less than 1024 bits"
_OLD_TYPE = "is of type dsa, which sshd does not accept any more; left out"
_NO_KEY = "holds no private key that sshd can use; keys are generated"
_NO_TYPES = "names no type that can be generated; those of the settings are"
_NO_PUBLIC = "is used without its public key's file; give that too, or the key in OpenSSH's format"
_ENCRYPTED = "is encrypted, but sshd cannot ask for the passphrase"
_NOT_WHOLE = "is not a whole key"


def plan(ask: Ask, given: Mapping[str, str], why: Origin, wanted: Wanted) -> None:
    """Plan the instance's host keys; ``given`` are files of ready ones.

    Without any, keys are generated.  Those of the image are removed unless ``ssh_deletekeys`` is
    false; then only the types that it lacks are generated.  ``why`` is the origin where no key of
    cloud-config asks for host keys.
    """
    deleted, keys = ask.data.setting("ssh_deletekeys"), ask.data.setting("ssh_keys")
    types = _types(ask, wanted)
    if deleted is None and not given and not ask.settings.ssh_host_keys:
        return
    if given:
        types = ()
    elif keys is not None:
        wanted.error(keys.at(), _NO_KEY)
    others: Literal["kept", "removed"] = "removed"
    if deleted is not None and not deleted.value:
        others = "kept"
        types = tuple(kind for kind in types if not _image_has(ask, kind))
    if types or given:
        files = tuple((name, Secret(text)) for name, text in given.items())
        why = _origin(ask, why)
        wanted.want(HostKeys("host_keys", types, why, given=files, others=others))


def _origin(ask: Ask, otherwise: Origin) -> Origin:
    """Return the origin of the first key of cloud-config that asks for host keys."""
    for key in ("ssh_keys", "ssh_genkeytypes", "ssh_deletekeys"):
        setting = ask.data.setting(key)
        if setting is not None:
            return setting.at()
    return otherwise


def _image_has(ask: Ask, kind: str) -> bool:
    """Tell whether the guest has a host key of a type."""
    return bool(ask.facts.texts.get(f"{defs.SSH_DIR}/{file_name(kind)}{_PUBLIC}"))


def _types(ask: Ask, wanted: Wanted) -> tuple[str, ...]:
    """Return the types to generate: those of cloud-config, else of the settings, else all."""
    usual = ask.settings.ssh_host_key_types or tuple(_TYPES)
    setting = ask.data.setting("ssh_genkeytypes")
    if setting is None:
        return usual
    found = []
    for index, kind in enumerate(setting.value):
        if kind in _TYPES:
            found.append(kind)
        else:
            wanted.warn(setting.at(index), _OLD_TYPE)
    if not found:
        wanted.error(setting.at(), _NO_TYPES)
        return usual
    return tuple(dict.fromkeys(found))


def certificates(files: Iterable[str]) -> list[str]:
    """Return those names of host keys' files that are certificates."""
    return [name for name in files if name.endswith(_CERTIFICATE)]


def given(keys: Setting, wanted: Wanted) -> dict[str, str]:
    """Return the files of ``ssh_keys`` by name, all checked, none without its private key."""
    files: dict[str, str] = {}
    # The private keys first, as the others need them.
    for name in sorted(keys.value, key=lambda name: "_private" not in name):
        try:
            _add(name, keys, files, wanted=wanted)
        except FieldError as error:
            wanted.error(keys.at(name), str(error))
    return files


def _add(name: str, keys: Setting, files: dict[str, str], wanted: Wanted) -> None:
    """Add the files that one item of ``ssh_keys`` gives.  Raises FieldError."""
    kind, _, part = name.partition("_")
    text = keys.value[name]
    if kind not in _TYPES:
        wanted.warn(keys.at(name), _OLD_TYPE)
        return
    file = file_name(kind)
    if part == "private":
        private, public = _private_key(kind, text)
        files[file] = private
        if public:
            files[file + _PUBLIC] = f"{public} root@localhost\n"
        elif f"{kind}_public" not in keys.value:
            wanted.warn(keys.at(name), _NO_PUBLIC)
    elif file not in files:
        wanted.error(keys.at(name), _ALONE)
    elif part == "public":
        public = _of_kind(kind, fields.ssh_key(text))
        known = files.get(file + _PUBLIC, public)
        if known.split()[:2] != public.split()[:2]:
            raise FieldError("is not the public key of the private one")
        files[file + _PUBLIC] = f"{public}\n"
    else:
        files[file + _CERTIFICATE] = _certificate(kind, text.strip()) + "\n"


def _of_kind(kind: str, key: str) -> str:
    """Return a public key of a type.  Raises FieldError for one of another type."""
    if not key.startswith(_TYPES[kind]):
        raise FieldError("is a key of another type")
    return key


def _private_key(kind: str, text: str) -> tuple[str, str]:
    """Return a private key, and its public key if it is not hidden in there.  Raises FieldError."""
    lines = [line.strip() for line in text.strip().splitlines()]
    if len(lines) < 3 or not (lines[0].startswith(_BEGIN) and lines[0].endswith(_END)):
        raise FieldError("is not a private key: BEGIN … PRIVATE KEY must come first")
    if lines[-1] != lines[0].replace("BEGIN", "END", 1):
        raise FieldError("is not a private key: its end is missing")
    if any("ENCRYPTED" in line for line in lines[:2]):
        raise FieldError(_ENCRYPTED)
    fields.plain("".join(lines))
    blob = fields.base64("".join(lines[1:-1]))
    private = "\n".join(lines) + "\n"
    if lines[0] == f"{_BEGIN}OPENSSH {_END}":
        return private, _of_kind(kind, _openssh_public(blob))
    if lines[0] == f"{_BEGIN}RSA {_END}":
        return private, _of_kind(kind, _rsa_public(blob))
    return private, ""


def _openssh_public(blob: bytes) -> str:
    """Return the public key in a private one of OpenSSH's format (PROTOCOL.key)."""
    if not blob.startswith(_MAGIC):
        raise FieldError("is not a private key of OpenSSH's format")
    cipher, at = _string(blob, len(_MAGIC))
    _, at = _string(blob, at)  # the key derivation function's name
    _, at = _string(blob, at)  # its options
    key, _ = _string(blob, at + 4)  # after the number of keys
    if cipher != b"none":
        raise FieldError(_ENCRYPTED)
    return _key_line(key)


def _rsa_public(blob: bytes) -> str:
    """Return the public key in an RSAPrivateKey (RFC 8017, A.1.2).

    Its numbers are encoded as in SSH: DER's INTEGER and SSH's mpint have the same content.
    """
    inside, _ = _der(blob, 0, 0x30)
    _, at = _der(inside, 0, 0x02)  # the version
    modulus, at = _der(inside, at, 0x02)
    exponent, _ = _der(inside, at, 0x02)
    parts = (b"ssh-rsa", exponent, modulus)
    return _key_line(b"".join(len(part).to_bytes(4, "big") + part for part in parts))


def _key_line(key: bytes) -> str:
    """Return a public key as one line, type and base64.  Raises FieldError if it is no good one."""
    kind, _ = _string(key, 0)
    text = f"{kind.decode('ascii', 'replace')} {b2a_base64(key, newline=False).decode()}"
    try:
        return fields.ssh_key(text)
    except FieldError:
        raise FieldError(_SMALL) from None


def _der(blob: bytes, at: int, tag: int) -> tuple[bytes, int]:
    """Return the content of the DER element at a place (X.690), and the place behind it."""
    size, start = (blob[at + 1], at + 2) if len(blob) > at + 1 else (0, at)
    if size & 0x80:  # the long form: so many bytes hold the size
        start += size & 0x7F
        size = int.from_bytes(blob[at + 2 : start], "big")
    if blob[at : at + 1] != bytes((tag,)) or start + size > len(blob):
        raise FieldError(_NOT_WHOLE)
    return blob[start : start + size], start + size


def _string(blob: bytes, at: int) -> tuple[bytes, int]:
    """Return SSH's string at a place (RFC 4251, 5), and the place behind it."""
    end = at + 4 + int.from_bytes(blob[at : at + 4], "big")
    if end > len(blob):
        raise FieldError(_NOT_WHOLE)
    return blob[at + 4 : end], end


def _certificate(kind: str, text: str) -> str:
    """Return a certificate: type, base64 with that type inside, comment (PROTOCOL.certkeys).

    Raises FieldError.
    """
    words = fields.plain(text).split()
    named = words[0] if words else ""
    fits = named.startswith(_CERTIFIED[kind]) and named.endswith("-cert-v01@openssh.com")
    if len(words) < 2 or not fits:
        raise FieldError("is not a host certificate of this type")
    inside, _ = _string(fields.base64(words[1]), 0)
    if inside != named.encode():
        raise FieldError("is not a host certificate: the type inside differs")
    return text
