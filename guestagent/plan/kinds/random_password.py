"""Passwords that are made at random when they are set.

No plan holds one: it is told to the console, to the metadata service (encrypted), or to no one.
"""

from __future__ import annotations

from guestagent.memory import applied
from guestagent.plan.kinds.account import build_chpasswd
from guestagent.plan.view import Outcome
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    from guestagent.errors import Origin
    from guestagent.plan.kinds.account import Command
    from guestagent.plan.view import View


class ConsolePassword(NamedTuple):
    """A random password, set once per instance, sent encrypted to ``url``.

    The exponent and the modulus are those of the RSA key that it is encrypted with.
    """

    kind: Literal["console_password"]
    name: str
    exponent: int
    modulus: int
    url: str
    why: Origin

    @property
    def key(self) -> str:
        """Return the key under which the state remembers this."""
        return applied.password(self.name)

    def compare(self, view: View) -> Outcome:
        """Set the password, unless that was done.  Raises Refused, OSError."""
        if view.is_done(self.key):
            return view.once(self.key)
        change = SetRandomPassword(
            "set_console_password",
            self.name,
            told="service",
            commands=(build_chpasswd(view),),
            why=self.why,
            keys=(self.key,),
            exponent=self.exponent,
            modulus=self.modulus,
            url=self.url,
        )
        return view.once(self.key, change)


class SetRandomPassword(NamedTuple):
    """The commands, of which there is one, set a random password, which is then ``told``.

    ``exponent``, ``modulus`` and ``url`` are those of ``ConsolePassword``.
    """

    kind: Literal["set_password", "set_console_password"]
    name: str
    told: Literal["console", "service", "no one"]
    commands: tuple[Command, ...]
    why: Origin
    keys: tuple[str, ...]
    exponent: int = 0
    modulus: int = 0
    url: str = ""

    def tell(self) -> str:
        """Say in one line what the change does."""
        text = f"set a random password of {self.name}"
        if self.told == "service":
            return f"{text}, and send it encrypted to the service"
        return f"{text}, {'written to the console' if self.told == 'console' else 'told to no one'}"

    def show(self) -> list[str]:
        """Say what the command reads."""
        return [f"standard input: {self.name}:(random, not shown)"]

    def json(self) -> dict[str, Any]:
        """Return what programs are told of the change."""
        return {"user": self.name}
