"""What every planner is given: what it plans from, and where it puts what it wants."""

from __future__ import annotations

from guestagent.errors import Problems
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from guestagent.model import Facts, InstanceData, Setting
    from guestagent.plan.kinds import Resource
    from guestagent.settings import Settings

    T = TypeVar("T")


class Ask(NamedTuple):
    """What planners plan from: what the source says, what the guest is like, what the image wants.

    ``first`` is true where this instance was not configured before.  ``planned`` is what planners
    before wanted already, for those that depend on it.  ``complete`` is false where the source says
    only what has changed, or a part of it cannot be used.
    """

    data: InstanceData
    facts: Facts
    settings: Settings
    first: bool = False
    planned: tuple[Resource, ...] = ()
    complete: bool = True


class Wanted(Problems):
    """Collect the resources that planners want, and what of the source they cannot use.

    ``refreshed`` are the keys of those that any source may change later: host name, network, the
    SSH keys of accounts that exist, and what the settings ask for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.resources: list[Resource] = []
        self.refreshed: frozenset[str] = frozenset()

    def want(self, *resources: Resource) -> None:
        """Have resources be true of the guest when the run is over."""
        self.resources += resources

    def include(self, other: Wanted) -> None:
        """Want what another collector has, and keep its problems."""
        self.want(*other.resources)
        self.add_all(other)

    def take_each(self, setting: Setting, field: str, check: Callable[[Any], T]) -> list[T]:
        """Return what a validator makes of the items of a list in a setting, which may be missing.

        Where the validator raises FieldError, keep that as an error at the item.
        """
        found = []
        for index, value in enumerate(setting.value.get(field) or ()):
            item = self.take(setting.at(field, index), check, value)
            if item is not None:
                found.append(item)
        return found
