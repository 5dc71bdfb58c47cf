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
    "the source is for instance {told}, and this machine is configured as {known}; not applied (if "
    f"it is a new instance all the same, remove {defs.STATE_FILE})"
)
_NO_STRANGER = (
    "this machine is not configured, and the drive does not have its UUID; not applied while the "
    "system runs (to apply it all the same, run: guestagent apply)"
)
_NAMELESS = (
    "the source does not say which instance it is for, and this machine is configured; not applied "
    "(to apply it all the same, name it: guestagent apply --source)"
)
_UNNAMED = "one that its source did not name"
_WRITABLE = (
    "this machine is configured, and the source, which every user of it can write to, says "
    f"something else now; not applied (to apply it all the same, remove {defs.STATE_FILE})"
)
_TOO_LATE = (
    "this machine has started before without a source, and every user of it can write to this one; "
    f"not applied (to apply it all the same, remove {defs.STATE_FILE}, and start it again)"
)


def of_this_instance(
    before: State, said: Said, root: Root, *, named: bool, trusted: bool = False
) -> State:
    """Return what was remembered of the instance that the source is for.

    Of another instance's run nothing counts but the record of what was written.  ``named``:
    somebody chose this very source, by hand or on the kernel command line.  ``trusted``: the
    settings allow another instance on the same machine.  Raises WrongSource
    where the machine is still the one that was configured and the source is for another instance,
    does not say for which, or was changed and may be anybody's, and where a metadata service speaks
    of another machine.
    """
    told, known = said.instance_id, before.instance_id
    # A drive is attached by the hypervisor; a service is whoever answers.
    if said.bundle.service and root.live:
        _check_uuid(told)
    if not before.configured:
        if said.bundle.writable and root.live and is_same_machine(before):
            raise WrongSource(_TOO_LATE)
        return before._replace(record=own_host_keys(before.record, root))
    is_anybodys = said.bundle.writable and root.live and not is_other_machine(before)
    if is_anybodys and not is_same_source(before, said.bundle):
        raise WrongSource(_WRITABLE)
    if not told or not known:
        # A copy of the disk may be told by its UUID alone; who answers on the network may lie.
        if root.live and not said.bundle.service and is_other_machine(before):
            return State(record=before.record)
        _check_nameless(before, said, root, named=named, trusted=trusted)
        return before
    if told == known:
        return before
    known_machine = root.live and not trusted and is_same_machine(before)
    if known_machine and not _is_of_the_hypervisor(told, said):
        raise WrongSource(_ANOTHER.format(told=told, known=known))
    return State(record=before.record)


def _check_nameless(before: State, said: Said, root: Root, *, named: bool, trusted: bool) -> None:
    """Raise WrongSource where nothing shows that the source is for the instance.

    Either does not say for which one it is: this source, or the one before.
    """
    told = said.instance_id
    if not root.live or named:
        return
    if not told and not is_same_source(before, said.bundle):
        raise WrongSource(_NAMELESS)
    # What a service may change later is how the guest is reached, and its id may be what the first
    # boot could not read.
    if not told or said.bundle.service or trusted or not is_same_machine(before):
        return
    if not _is_of_the_hypervisor(told, said):
        raise WrongSource(_ANOTHER.format(told=told, known=_UNNAMED))


def check_while_running(before: State, said: Said) -> None:
    """Raise WrongSource for a source that a running system must not become configured by.

    That is a drive of another instance than the one that is configured, and, where none is, one
    that does not have the machine's UUID: whoever can attach a device is not always the cloud.
    """
    told, known = said.instance_id, before.instance_id
    if before.configured and told and known and told != known:
        raise WrongSource(_ANOTHER.format(told=told, known=known))
    if not before.configured and not said.bundle.service and not _is_of_the_hypervisor(told, said):
        raise WrongSource(_NO_STRANGER)


def is_closed(before: State) -> bool:
    """Tell whether sshd lets nobody in, because no source has said who may."""
    from guestagent.memory.applied import SSHD_CLOSED

    return SSHD_CLOSED in before.record


def was_left_closed(before: State) -> bool:
    """Tell whether this very machine has started before, and nobody said who may log in.

    Then sshd has only host keys that were made for this machine, and once it is closed again
    nobody gets in whether it waits for an answer or not.  A copy of the disk, or an image that was
    made of it, is another machine by its UUID.  That a drive came too late is no such start.
    """
    if before.configured:
        return False
    from guestagent.memory import applied
    from guestagent.system.machine import product_uuid

    own, record = product_uuid(), before.record
    if not own or record.get(applied.SSHD_CLOSED) != applied.CLOSED:
        return False
    return record.get(applied.HOST_KEYS) == applied.ahead(own)


def own_host_keys(record: dict[str, str], root: Root) -> dict[str, str]:
    """Return a record without the host keys that were made ahead for another machine.

    An image may have been made of one that no service had answered.
    """
    from guestagent.memory.applied import is_ahead

    if not any(map(is_ahead, record.values())):
        return record
    mine = made_ahead(root)
    known = {key: value for key, value in record.items() if not is_ahead(value)}
    return known | {key: value for key, value in record.items() if value == mine}


def made_ahead(root: Root) -> str:
    """Return what a record has of host keys that this machine made before it knew its instance.

    Where the hypervisor gives no UUID that holds until it is restarted.
    """
    from guestagent.memory.applied import ahead
    from guestagent.report.run import read_boot_id
    from guestagent.system.machine import product_uuid

    return ahead((root.live and product_uuid()) or read_boot_id(root))


def is_same_machine(before: State) -> bool:
    """Tell whether this is still the machine that was configured, and not a copy of its disk."""
    from guestagent.system.machine import product_uuid

    own = product_uuid()
    return bool(own) and own in (before.instance_id, before.machine)


def is_other_machine(before: State) -> bool:
    """Tell whether this is a copy of the machine that was configured, for sure."""
    from guestagent.system.machine import product_uuid

    return bool(product_uuid() and before.machine) and not is_same_machine(before)


def _is_of_the_hypervisor(told: str, said: Said) -> bool:
    """Tell whether a source is the hypervisor's for sure.

    That is a drive with the UUID that it gave the machine, and what nobody else can hand over.
    What every user of the guest can write to is nobody's for sure, whatever id it has.
    """
    from guestagent.system.machine import product_uuid

    if said.bundle.own:
        return True
    if said.bundle.writable:
        return False
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
