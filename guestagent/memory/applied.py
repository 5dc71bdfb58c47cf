"""The keys under which the state remembers what was applied: no other module spells one.

A key is the kind of thing and its name, ``file:/etc/motd``.  With most keys the state keeps a
digest of what was applied, so that a later run can tell what an administrator changed since.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import Origin
from guestagent.system.digest import digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

HOSTNAME = "hostname"
HOST_KEYS = "host_keys"
ENTROPY = "entropy"
SSHD_CLOSED = "sshd_closed"
CLOSED, DRIVE_CAME = "yes", "a drive came too late"  # its values

_AHEAD = "ahead of the instance, for "

# The module below plan/kinds for each kind of key.
_KINDS = {
    "file": "file",
    "replaced": "file",
    "append": "file",
    "late": "file",
    "block": "block",
    "keys": "block",
    "link": "link",
    "step": "script",
    "group": "account",
    "user": "account",
    "password": "account",
    "locked": "account",
    "expired": "account",
    "unlocked": "account",
    "member": "account",
    "hostname": "hostname",
    "host_keys": "host_keys",
    "entropy": "entropy",
    "sshd_closed": "sshd",
}


def kind_of(key: str) -> str:
    """Return the module in plan/kinds that made a key; empty for a key that is not known."""
    return _KINDS.get(key.partition(":")[0], "")


def split(key: str) -> tuple[str, str]:
    """Return the beginning of a key, and the name of the thing."""
    beginning, _, name = key.partition(":")
    return beginning, name


def marked(key: str) -> str:
    """Return the key of the file that a mark, ``replaced``, is about; any other key as it is."""
    beginning, path = split(key)
    return file(path) if beginning == "replaced" else key


def place(key: str) -> str:
    """Return the path of a file, of lines in one, or of a link; empty for another key."""
    beginning, path = split(key)
    return path if beginning in ("file", "block", "keys", "link") else ""


def origin(key: str) -> Origin:
    """Return the origin of a change that undoes what the state has and the source has not."""
    return Origin("guestagent", defs.STATE_FILE, key)


def ahead(machine: str) -> str:
    """Return what is kept of host keys that a machine made before it knew its instance."""
    return f"{_AHEAD}{machine}"


def is_ahead(value: str) -> bool:
    """Tell whether a value is one that ``ahead`` returns."""
    return value.startswith(_AHEAD)


def host_key(kind: str) -> str:
    """Return the key of an SSH host key of a type."""
    return f"{HOST_KEYS}:{kind}"


def file(path: str) -> str:
    """Return the key of a whole file."""
    return f"file:{path}"


def replaced(path: str) -> str:
    """Return the key that tells that a file was there before guestagent wrote it."""
    return f"replaced:{path}"


def appended(path: str, content: bytes) -> str:
    """Return the key of bytes that were appended to a file."""
    return f"append:{path}:{digest(content)}"


def late(path: str) -> str:
    """Return the key of a file that the late stage writes."""
    return f"late:{path}"


def block(path: str) -> str:
    """Return the key of guestagent's lines in a file."""
    return f"block:{path}"


def ssh_keys(path: str) -> str:
    """Return the key of guestagent's lines in a file of SSH keys, wherever that is."""
    return f"keys:{path}"


def link(path: str) -> str:
    """Return the key of a symbolic link."""
    return f"link:{path}"


def script(stage: str, file_name: str) -> str:
    """Return the key of a script, by its stage and its file's name there."""
    return f"step:{stage}/{file_name}"


def group(name: str) -> str:
    """Return the key of a group."""
    return f"group:{name}"


def member(group: str, name: str) -> str:
    """Return the key of the membership of a user in a group."""
    return f"member:{group}:{name}"


def user(name: str) -> str:
    """Return the key of an account."""
    return f"user:{name}"


def password(name: str) -> str:
    """Return the key of an account's password."""
    return f"password:{name}"


def password_state(name: str, state: str) -> str:
    """Return the key of a password that was "locked" or "expired"."""
    return f"{state}:{name}"


def of_ssh_keys(key: str) -> bool:
    """Tell whether a key is that of lines in a file of SSH keys."""
    return key.startswith("keys:")


def unlocked(name: str) -> str:
    """Return the key of an earlier instance's password that could not be locked."""
    return f"unlocked:{name}"


def of_host_name(key: str) -> bool:
    """Tell whether a key is that of the host name, or of its line in hosts(5)."""
    return key in (HOSTNAME, file(defs.HOSTNAME_FILE), block(defs.HOSTS_FILE))


def of_network(key: str) -> bool:
    """Tell whether a key is that of a file of the network's configuration."""
    return key.startswith(tuple(f"file:{path}" for path in defs.NETWORK_FILES))


def network_digest(record: Mapping[str, str]) -> str:
    """Return a name for the network that a record describes."""
    found = (f"{key} {value}\n" for key, value in sorted(record.items()) if of_network(key))
    return digest("".join(found).encode())
