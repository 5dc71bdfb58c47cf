"""sshd's policy and host keys: ``ssh_pwauth``, ``disable_root``, ``ssh_keys`` and more.

Root may log in by password, ``PermitRootLogin yes``, where user data set its password, let
``ssh_pwauth`` switch passwords on, and do not disable root: with the image's prohibit-password it
could not, and both wishes would come to nothing.
"""

from __future__ import annotations

from binascii import b2a_base64

from guestagent import defs
from guestagent.errors import FieldError, Problem
from guestagent.model import Secret
from guestagent.parse import fields
from guestagent.plan.kinds.host_keys import HostKeys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from guestagent.desired.sshd import Policy
    from guestagent.errors import Origin
    from guestagent.model import Facts, InstanceData, Setting
    from guestagent.plan.kinds import Resource
    from guestagent.settings import Settings

_TYPES = ("rsa", "ecdsa", "ed25519")
_MAGIC = b"openssh-key-v1\0"
_BEGIN, _END = "-----BEGIN ", "PRIVATE KEY-----"
_ROOT_NOTE = "root has a password by user data, and ssh_pwauth lets it log in with that"
_ALONE = "needs the private key of its type, which is missing or wrong; left out"
_SMALL = "holds no key that sshd takes: it is damaged, or RSA of less than 1024 bits"
_OLD_TYPE = "is of type dsa, which sshd does not take any more; left out"
_NO_KEY = "holds no private key that sshd can use; keys are generated"
_NO_TYPES = "names no type that can be generated; those of the settings are"
_NO_PUBLIC = "is used without its public key's file; give that too, or the key in OpenSSH's format"


def policy(
    data: InstanceData, settings: Settings, before: Policy, logins: Iterable[Resource]
) -> tuple[Policy, list[Problem]]:
    """The policy of the settings, ``before``, with what cloud-config says instead.

    ``logins`` are the resources of accounts, among them the passwords.
    """
    problems: list[Problem] = []
    after = before
    switch, disabled = data.setting("ssh_pwauth"), data.setting("disable_root")
    if switch is not None:
        after = after._replace(password="yes" if switch.value else "no", why=switch.at())
    if switch is not None and switch.value and _root_has_password(data, logins):
        given = disabled is not None
        if disabled is not None and disabled.value:
            pass  # no login of root, whatever its password
        elif not given and settings.sshd_permit_root_login not in ("", "yes"):
            reason = "root cannot use its password over ssh: the settings do not permit it"
            problems.append(Problem("warning", *switch.at(), reason))
        else:
            after = after._replace(root="yes", notes=(_ROOT_NOTE,))
    keys = data.setting("ssh_keys")
    if keys is not None:
        names = tuple(name for name in _given(keys, []) if name.endswith("-cert.pub"))
        after = after._replace(certificates=tuple(f"{defs.SSH_DIR}/{name}" for name in names))
        if names and after.why == before.why:
            after = after._replace(why=keys.at())
    return after, problems


def _root_has_password(data: InstanceData, logins: Iterable[Resource]) -> bool:
    """True where cloud-config gives root a password that is not locked."""
    named = [item for item in logins if getattr(item, "name", "") == "root"]
    if any(item.kind == "password_state" and item.state == "locked" for item in named):
        return False
    metadata = data.admin_pass.origin if data.admin_pass else None
    return any(item.kind == "password" and item.why != metadata for item in named)


def host_keys(
    data: InstanceData, facts: Facts, settings: Settings, why: Origin
) -> tuple[list[Resource], list[Problem]]:
    """The instance's host keys; those of the image go unless ``ssh_deletekeys`` is false.

    With ``ssh_keys`` none are generated, as long as there is one among them that sshd can use.
    """
    problems: list[Problem] = []
    deleted, keys = data.setting("ssh_deletekeys"), data.setting("ssh_keys")
    kinds = data.setting("ssh_genkeytypes")
    kept = deleted is not None and not deleted.value
    given = _given(keys, problems) if keys else {}
    types = _types(data, settings, problems)
    if not settings.ssh_host_keys and not kept and deleted is None and not given:
        return [], problems
    if given:
        types = ()
    elif keys is not None:
        problems.append(Problem("error", *keys.at(), _NO_KEY))
    if kept:
        types = tuple(kind for kind in types if not _there(kind, facts))
    if not types and not given:
        return [], problems
    origin = next((item.at() for item in (keys, kinds, deleted) if item), why)
    others = "kept" if kept else "removed"
    files = tuple((name, Secret(text)) for name, text in given.items())
    return [HostKeys("host_keys", types, origin, files, others)], problems  # type: ignore[arg-type]


def _there(kind: str, facts: Facts) -> bool:
    return bool(facts.texts.get(f"{defs.SSH_DIR}/{_file(kind)}.pub"))


def _types(data: InstanceData, settings: Settings, problems: list[Problem]) -> tuple[str, ...]:
    wanted = data.setting("ssh_genkeytypes")
    if wanted is None:
        return settings.ssh_host_key_types or _TYPES
    found = []
    for index, kind in enumerate(wanted.value):
        if kind in _TYPES:
            found.append(kind)
        else:
            problems.append(Problem("warning", *wanted.at(index), _OLD_TYPE))
    if not found:
        problems.append(Problem("error", *wanted.at(), _NO_TYPES))
        return settings.ssh_host_key_types or _TYPES
    return tuple(dict.fromkeys(found))


def _file(kind: str) -> str:
    return f"ssh_host_{kind}_key"


def _given(keys: Setting, problems: list[Problem]) -> dict[str, str]:
    """The files of ``ssh_keys`` by their names, all checked, none without its private key."""
    found: dict[str, str] = {}
    for name, text in sorted(keys.value.items(), key=lambda item: "_private" not in item[0]):
        kind, _, part = name.partition("_")
        try:
            if kind not in _TYPES:
                problems.append(Problem("warning", *keys.at(name), _OLD_TYPE))
            elif part == "private":
                found |= _private(kind, text, keys, problems)
            elif _file(kind) not in found:
                problems.append(Problem("error", *keys.at(name), _ALONE))
            elif part == "public":
                key = _of_kind(kind, fields.ssh_key(text)) + "\n"
                known = found.setdefault(f"{_file(kind)}.pub", key)
                if known.split()[:2] != key.split()[:2]:
                    raise FieldError("is not the public key of the private one")
                found[f"{_file(kind)}.pub"] = key
            else:
                found[f"{_file(kind)}-cert.pub"] = _certificate(kind, text.strip()) + "\n"
        except FieldError as error:
            problems.append(Problem("error", *keys.at(name), str(error)))
    return found


def _of_kind(kind: str, key: str) -> str:
    if not key.startswith({"rsa": "ssh-rsa ", "ecdsa": "ecdsa-", "ed25519": "ssh-ed25519 "}[kind]):
        raise FieldError("is a key of another type")
    return key


def _private(kind: str, text: str, keys: Setting, problems: list[Problem]) -> Mapping[str, str]:
    """The files of a private key: itself, and its public key if that is not given."""
    lines = [line.strip() for line in text.strip().splitlines()]
    if len(lines) < 3 or not (lines[0].startswith(_BEGIN) and lines[0].endswith(_END)):
        raise FieldError("is not a private key: BEGIN … PRIVATE KEY must come first")
    if lines[-1] != lines[0].replace("BEGIN", "END", 1):
        raise FieldError("is not a private key: its end is missing")
    if any("ENCRYPTED" in line for line in lines[:2]):
        raise FieldError("is encrypted, and nobody can give sshd the passphrase")
    found = {_file(kind): "\n".join(lines) + "\n"}
    fields.plain("".join(lines))
    blob = fields.base64("".join(lines[1:-1]))
    reader = _READERS.get(lines[0])
    if reader is not None:
        found[f"{_file(kind)}.pub"] = f"{_of_kind(kind, reader(blob))} root@localhost\n"
    elif f"{kind}_public" not in keys.value:
        problems.append(Problem("warning", *keys.at(f"{kind}_private"), _NO_PUBLIC))
    return found


def _public(blob: bytes) -> str:
    """The public key in a private one of OpenSSH's format (PROTOCOL.key)."""
    if not blob.startswith(_MAGIC):
        raise FieldError("is not a private key of OpenSSH's format")
    cipher, at = _string(blob, len(_MAGIC))
    _, at = _string(blob, at)  # the key derivation function's name
    _, at = _string(blob, at)  # its options
    key, _ = _string(blob, at + 4)  # after the number of keys
    if cipher != b"none":
        raise FieldError("is encrypted, and nobody can give sshd the passphrase")
    return _key_line(key)


def _key_line(key: bytes) -> str:
    kind, _ = _string(key, 0)
    text = f"{kind.decode('ascii', 'replace')} {b2a_base64(key, newline=False).decode()}"
    try:
        return fields.ssh_key(text)
    except FieldError:
        raise FieldError(_SMALL) from None


def _rsa_public(blob: bytes) -> str:
    """The public key in an RSAPrivateKey (RFC 8017, A.1.2): its numbers are DER's, as in SSH."""
    inside, _ = _der(blob, 0, 0x30)
    _, at = _der(inside, 0, 0x02)  # the version
    modulus, at = _der(inside, at, 0x02)
    exponent, _ = _der(inside, at, 0x02)
    parts = (b"ssh-rsa", exponent, modulus)
    return _key_line(b"".join(len(part).to_bytes(4, "big") + part for part in parts))


def _der(blob: bytes, at: int, tag: int) -> tuple[bytes, int]:
    """An element's content, and where the next one stands (X.690)."""
    size, start = (blob[at + 1], at + 2) if len(blob) > at + 1 else (0, at)
    if size & 0x80:
        start += size & 0x7F
        size = int.from_bytes(blob[at + 2 : start], "big")
    if blob[at : at + 1] != bytes((tag,)) or start + size > len(blob):
        raise FieldError("is not a whole key")
    return blob[start : start + size], start + size


def _string(blob: bytes, at: int) -> tuple[bytes, int]:
    end = at + 4 + int.from_bytes(blob[at : at + 4], "big")
    if end > len(blob):
        raise FieldError("is not a whole key")
    return blob[at + 4 : end], end


_READERS = {
    f"{_BEGIN}OPENSSH {_END}": _public,
    f"{_BEGIN}RSA {_END}": _rsa_public,
}


def _certificate(kind: str, text: str) -> str:
    """One line: type, base64 with the same type inside, comment (PROTOCOL.certkeys)."""
    words = fields.plain(text).split()
    named = words[0] if words else ""
    begin = {"rsa": "ssh-rsa", "ecdsa": "ecdsa-sha2-nistp", "ed25519": "ssh-ed25519"}[kind]
    if len(words) < 2 or not (named.startswith(begin) and named.endswith("-cert-v01@openssh.com")):
        raise FieldError("is not a host certificate of this type")
    if _string(fields.base64(words[1]), 0)[0] != named.encode():
        raise FieldError("is not a host certificate: the type inside differs")
    return text
