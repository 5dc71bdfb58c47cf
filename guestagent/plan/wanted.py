"""What every planner is given: what it plans from, and where it puts what it wants."""

from __future__ import annotations

from guestagent.errors import Problems
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Facts, InstanceData
    from guestagent.plan.kinds import Resource
    from guestagent.settings import Settings


class Ask(NamedTuple):
    """What planners plan from: what the source says, what the guest is like, what the image wants.

    ``first`` is true where this instance was not configured before.
    """

    data: InstanceData
    facts: Facts
    settings: Settings
    first: bool = False


class Wanted(Problems):
    """Collect the resources that planners want, and what of the source they cannot use."""

    def __init__(self) -> None:
        super().__init__()
        self.resources: list[Resource] = []

    def want(self, *resources: Resource) -> None:
        """Have resources be true of the guest when the run is over."""
        self.resources += resources
