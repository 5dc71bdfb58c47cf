"""Decide whether the source is for the instance that is configured, or for a new one."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import WrongSource
from guestagent.memory.state import State, is_same_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.system.root import Root
    from guestagent.verbs.planning import Said

_ANOTHER = (
    "the source is for another instance than this machine, which is configured; not applied (if it "
    f"is a new instance all the same, remove {defs.STATE_FILE})"
)
_NO_STRANGER = (
    "this machine is not configured, and the drive does not have its UUID; not applied while the "
    "system runs (to apply it all the same, run: guestagent apply)"
)
_NAMELESS = (
    "the source does not say which instance it is for, and this machine is configured; not applied "
    "(to apply it all the same, name it: guestagent apply --source)"
)


def of_this_instance(
    before: State, said: Said, root: Root, *, named: bool, trusted: bool = False
) -> State:
    """Return what was remembered of the instance that the source is for.

    Of another instance's run nothing counts but the record of what was written.  ``named``:
    somebody chose this very source, by hand or on the kernel command line.  ``trusted``: the
    settings allow another instance on the same machine.  Raises WrongSource
    where the machine is still the one that was configured and the source is for another instance
    or does not say for which, and where a metadata service speaks of another machine.
    """
    told, known = said.instance_id, before.instance_id
    # A drive is attached by the hypervisor; a service is whoever answers.
    if said.bundle.service and root.live:
        _check_uuid(told)
    if not before.configured:
        return before
    if not told:
        if root.live and not named and not is_same_source(before, said.bundle):
            raise WrongSource(_NAMELESS)
        return before
    if not known or told == known:
        return before
    known_machine = root.live and not trusted and _is_same_machine(before)
    if known_machine and not _is_of_the_hypervisor(told, said):
        raise WrongSource(_ANOTHER)
    return State(record=before.record)


def check_while_running(before: State, said: Said) -> None:
    """Raise WrongSource for a source that a running system must not become configured by.

    That is a drive of another instance than the one that is configured, and, where none is, one
    that does not have the machine's UUID: whoever can attach a device is not always the cloud.
    """
    told = said.instance_id
    if before.configured and told and before.instance_id and told != before.instance_id:
        raise WrongSource(_ANOTHER)
    if not before.configured and not said.bundle.service and not _is_of_the_hypervisor(told, said):
        raise WrongSource(_NO_STRANGER)


def _is_same_machine(before: State) -> bool:
    """Tell whether this is still the machine that was configured, and not a copy of its disk."""
    from guestagent.system.machine import product_uuid

    own = product_uuid()
    return bool(own) and own in (before.instance_id, before.machine)


def _is_of_the_hypervisor(told: str, said: Said) -> bool:
    """Tell whether a source is a drive with the UUID that the hypervisor gave the machine."""
    from guestagent.system.machine import product_uuid

    return bool(told) and told == product_uuid() and not said.bundle.service


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
