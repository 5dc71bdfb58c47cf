"""How a script of user data ended, and what people are told of that."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import Origin
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from guestagent.errors import Problem
    from guestagent.scripts.commands import Failure
    from guestagent.scripts.staged import Stage

_UNITS = {"early": defs.EARLY_UNIT, "late": defs.LATE_UNIT}


class Outcome(NamedTuple):
    """How a script ended: its status (see ``ledger.Entry``), its time, and why it could not start.

    Of one that was interrupted, the reason is the place of the command that ran, if it is known.
    ``failures`` are those of its commands that failed, where these are known one by one.
    """

    status: int | str
    seconds: float = 0.0
    reason: str = ""
    failures: tuple[Failure, ...] = ()

    @property
    def listed(self) -> tuple[Failure, ...]:
        """The failures that people are told one by one."""
        return self.failures[-defs.MAX_PROBLEMS :]

    def problems(self, stage: Stage, name: str, limit: float) -> Iterator[Problem]:
        """Return what went wrong; ``limit`` is how many seconds the script had."""
        origin = Origin("scripts", stage, name)
        output = f"its output is in {defs.SCRIPTS_LOG} and in journalctl -u {_UNITS[stage]}"
        ended = False
        for failure in self.listed:
            what = f"{failure.place}: {self._how(failure.status, limit)}"
            if failure.rest is None:
                # Some fail as they are meant to: what a script makes of it is its own affair.
                yield origin.warning(f"{what}, and the commands after it were run; {output}")
                continue
            ended = True
            rest = f"; commands after it that were not run: {failure.rest}" if failure.rest else ""
            yield origin.error(f"{what}{rest}; {output}")
        earlier = len(self.failures) - len(self.listed)
        if earlier:
            yield origin.warning(f"commands before these that failed, too: {earlier}")
        if self.status == "interrupted" and not ended:
            yield origin.error(f"{self._how(self.status, limit)}; {output}")
        elif self.status != 0 and not ended:
            yield origin.error(self._how(self.status, limit))

    def _how(self, status: int | str, limit: float) -> str:
        """Return how a script, or a command of it, ended that did not end well."""
        if status == "interrupted":
            where = f", at {self.reason} or after it" if self.reason else ""
            return f"interrupted: the system stopped while it ran{where}; it is not run again"
        if status == "timeout":
            return f"took longer than {limit:.0f} s"
        if status == "not started":
            return f"cannot be run: {self.reason}"
        if status == defs.EXIT_TRY_AGAIN and self.reason:
            return self.reason
        if isinstance(status, int) and status < 0:
            return f"killed by signal {-status}"
        return f"exit status {status}"
