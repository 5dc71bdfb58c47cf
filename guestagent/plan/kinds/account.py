"""Groups, accounts and their passwords."""

from __future__ import annotations

from guestagent.memory import applied
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from guestagent.errors import Origin
    from guestagent.model import Secret


class Group(NamedTuple):
    """A group that exists; ``members`` are added to it once per instance."""

    kind: Literal["group"]
    name: str
    members: tuple[str, ...]
    why: Origin

    @property
    def key(self) -> str:
        """The key under which the state remembers this."""
        return applied.group(self.name)


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

    @property
    def key(self) -> str:
        """The key under which the state remembers this."""
        return applied.user(self.name)


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

    @property
    def key(self) -> str:
        """The key under which the state remembers this."""
        return applied.password(self.name)


class PasswordState(NamedTuple):
    """A password is locked, or expired so that the next login changes it; once per instance."""

    kind: Literal["password_state"]
    name: str
    state: Literal["locked", "expired"]
    why: Origin

    @property
    def key(self) -> str:
        """The key under which the state remembers this."""
        return applied.password_state(self.name, self.state)
