"""Decide whether the source is for the instance that is configured, or for a new one."""

from __future__ import annotations

from guestagent.errors import WrongSource
from guestagent.memory.state import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.system.root import Root
    from guestagent.verbs.planning import Said


def of_this_instance(before: State, said: Said, root: Root) -> State:
    """Return what was remembered of the instance that the source is for.

    Of another instance's run nothing counts but the record of what was written.  A source without
    an id is never for another instance.  Raises WrongSource where the machine is still the known
    instance and the source is for another one, and where a metadata service speaks of another
    machine.
    """
    told, known = said.instance_id, before.instance_id
    # A drive is attached by the hypervisor; a service is whoever answers.
    if said.bundle.service and root.live:
        _check_uuid(told)
    if not before.configured:
        return before
    if not told or not known or told == known:
        return before
    if root.live:
        from guestagent.system.machine import product_uuid

        if product_uuid() == known:
            raise WrongSource("the source is for another instance than this machine; not applied")
    return State(record=before.record)


def _check_uuid(told: str) -> None:
    """Raise WrongSource if the hypervisor gives this machine another uuid than the service told.

    An id of another form, such as EC2's, is refused too: whoever answers in place of the cloud
    would choose that form.
    """
    from guestagent.sources.cloud import identify
    from guestagent.system.machine import product_uuid

    own = product_uuid()
    if own and identify().own_uuid and own != told:
        raise WrongSource("the metadata service speaks of another machine; not applied")
