"""The verbs' objects: what shall be true of the guest when a run is over.

``desired()`` yields these, ``changes.diff`` compares them with the root, ``apply.commit``
makes the difference.  ``kind`` comes first in each, so that two records of different
types never compare equal.
"""

from __future__ import annotations

from guestagent.model import Origin, Secret
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal


class File(NamedTuple):
    """A whole file.  ``secret`` hides its content in plans; mode is the permission bits."""

    kind: Literal["file"]
    path: str
    content: bytes
    mode: int
    why: Origin
    secret: bool = False


class Block(NamedTuple):
    """Lines that guestagent owns in a file of somebody else.

    ``style`` "block" keeps them between two marker lines, "line" marks each line's end.
    The file belongs to ``user``; a new one gets ``mode``.
    """

    kind: Literal["block"]
    path: str
    lines: tuple[str, ...]
    style: Literal["block", "line"]
    user: str
    mode: int
    why: Origin


class User(NamedTuple):
    """A login account that exists; an account that is there already is left as it is."""

    kind: Literal["user"]
    name: str
    gecos: str
    shell: str
    groups: tuple[str, ...]
    why: Origin


class UserPassword(NamedTuple):
    """The password of an account, set once per instance."""

    kind: Literal["password"]
    name: str
    secret: Secret
    why: Origin


class ConsolePassword(NamedTuple):
    """A random password, set once per instance, sent encrypted to ``url``."""

    kind: Literal["console_password"]
    name: str
    exponent: int
    modulus: int
    url: str
    why: Origin


class Hostname(NamedTuple):
    """The running kernel's host name."""

    kind: Literal["hostname"]
    name: str
    why: Origin


class HostKeys(NamedTuple):
    """SSH host keys made anew, once per instance: one key of each type in ``types``."""

    kind: Literal["host_keys"]
    types: tuple[str, ...]
    why: Origin


class Entropy(NamedTuple):
    """Bytes mixed into the kernel's random pool, once per instance, not credited."""

    kind: Literal["entropy"]
    content: bytes
    why: Origin


if TYPE_CHECKING:
    Resource = File | Block | User | UserPassword | ConsolePassword | Hostname | HostKeys | Entropy


def identity(resource: Resource) -> str:
    """The name under which the state remembers a resource."""
    if isinstance(resource, File | Block):
        return f"{resource.kind}:{resource.path}"
    if isinstance(resource, UserPassword | ConsolePassword):
        return f"password:{resource.name}"
    if isinstance(resource, User):
        return f"{resource.kind}:{resource.name}"
    return resource.kind
