"""The verbs' objects: what shall be true of the guest when a run is over.

``desired()`` yields these, ``difference.diff`` compares them with the root, ``apply.commit``
makes the difference.  ``kind`` comes first in each, so that two records of different
types never compare equal.
"""

from __future__ import annotations

from guestagent.errors import Origin
from guestagent.model import Secret
from guestagent.record import NamedTuple
from guestagent.system.digest import digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal


class File(NamedTuple):
    """A whole file, or bytes to "append", once per instance, to the end of one.

    ``secret`` hides the content in plans; mode is the permission bits.  ``owner`` is "user",
    "user:group" or ":group" by name; empty for root, or for the user whose directory the file lies
    in.  ``late``: written once per instance, when packages are installed.
    """

    kind: Literal["file", "append"]
    path: str
    content: bytes
    mode: int
    why: Origin
    secret: bool = False
    owner: str = ""
    late: bool = False


class Link(NamedTuple):
    """A symbolic link to an absolute path, which must be there."""

    kind: Literal["link"]
    path: str
    target: str
    why: Origin


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


class Group(NamedTuple):
    """A group that exists; ``members`` are added to it once per instance."""

    kind: Literal["group"]
    name: str
    members: tuple[str, ...]
    why: Origin


class User(NamedTuple):
    """A login account that exists; an account that is there already is left as it is.

    ``arguments`` are further ones of useradd(8).  An empty shell or gecos is the tool's default.
    """

    kind: Literal["user"]
    name: str
    gecos: str
    shell: str
    groups: tuple[str, ...]
    why: Origin
    arguments: tuple[str, ...] = ()

    def option(self, name: str) -> str:
        """The value of one of the arguments; empty if it is not among them."""
        if name not in self.arguments:
            return ""
        return self.arguments[self.arguments.index(name) + 1]

    @property
    def home(self) -> str:
        """The home directory, without a slash at its end."""
        return self.option("--home-dir").rstrip("/") or f"/home/{self.name}"

    @property
    def makes_home(self) -> bool:
        """True if the home is made with the account."""
        return "--no-create-home" not in self.arguments


class UserPassword(NamedTuple):
    """The password of an account, set once per instance.

    ``form``: the secret is the password itself, or its hash, crypt(5), or is made at random;
    that one is written to the console if ``shown``.
    """

    kind: Literal["password"]
    name: str
    secret: Secret
    why: Origin
    form: Literal["plain", "hash", "random"] = "plain"
    shown: bool = False


class PasswordState(NamedTuple):
    """A password is locked, or expired so that the next login changes it; once per instance."""

    kind: Literal["password_state"]
    name: str
    state: Literal["locked", "expired"]
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
    """SSH host keys of this instance, once: one made anew of each type in ``types``.

    ``given`` are files of ready keys, by name.  ``others`` says what comes of those of the image.
    """

    kind: Literal["host_keys"]
    types: tuple[str, ...]
    why: Origin
    given: tuple[tuple[str, Secret], ...] = ()
    others: Literal["removed", "kept"] = "removed"


class Entropy(NamedTuple):
    """Bytes mixed into the kernel's random pool, once per instance, not credited."""

    kind: Literal["entropy"]
    content: bytes
    why: Origin


class Step(NamedTuple):
    """A script that a later unit runs, as root and not confined.

    ``name`` is ``NN-FREQUENCY-NAME``: the order in the stage; once per "instance", at each "boot",
    or "once" in the life of the disk; what people call it.
    """

    kind: Literal["step"]
    stage: Literal["early", "late"]
    name: str
    script: bytes
    why: Origin
    secret: bool = False


if TYPE_CHECKING:
    Resource = (
        File
        | Link
        | Block
        | Group
        | User
        | UserPassword
        | PasswordState
        | ConsolePassword
        | Hostname
        | HostKeys
        | Entropy
        | Step
    )


def identity(resource: Resource) -> str:
    """The name under which the state remembers a resource."""
    match resource.kind:
        case "append":
            return f"append:{resource.path}:{digest(resource.content)}"
        case "file" if resource.late:
            return f"late:{resource.path}"
        case "file" | "block" | "link":
            return f"{resource.kind}:{resource.path}"
        case "password" | "console_password":
            return f"password:{resource.name}"
        case "password_state":
            return f"{resource.state}:{resource.name}"
        case "user" | "group":
            return f"{resource.kind}:{resource.name}"
        case "step":
            return f"step:{resource.stage}/{resource.name}"
    return resource.kind


def frequency(name: str) -> str:
    """How often a step runs, from its name ``NN-FREQUENCY-NAME``, a folder before it or not."""
    return name.rpartition("/")[2].split("-")[1]
