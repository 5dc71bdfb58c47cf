"""From a source's documents and the tree to a plan: everything that decides, nothing that acts."""

from __future__ import annotations

from guestagent import defs
from guestagent import facts as facts_of_tree
from guestagent.changes import diff
from guestagent.desired import desired
from guestagent.errors import Problem, WrongSource
from guestagent.parse import openstack
from guestagent.resources import identity
from guestagent.sources.find import machine_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.changes import Change, Plan
    from guestagent.model import InstanceData
    from guestagent.root import Root
    from guestagent.settings import Settings
    from guestagent.sources.bundle import Bundle
    from guestagent.state import State


def instance_data(bundle: Bundle, live: bool) -> tuple[InstanceData, list[Problem]]:
    """What a source says, and what in it cannot be used.  Raises SourceBroken.

    On a running system ssh-keygen reads the keys too; for an offline tree, whose own
    ssh-keygen may be another, the parser's checks are enough.
    """
    data, problems = openstack.parse(bundle)
    if not live or not data.ssh_keys:
        return data, problems
    from guestagent.keycheck import check

    keys, more = check(data.ssh_keys)
    return data._replace(ssh_keys=keys), [*problems, *more]


def is_first(data: InstanceData, before: State | None, root: Root) -> bool:
    """True if the source is for an instance that this tree was not configured for.

    A source without an id is never a new instance.  Raises WrongSource where the machine is
    still the known instance, and the source is for another one.
    """
    if before is None:
        return True
    name = data.instance_id.value if data.instance_id else ""
    if not name or not before.instance_id or name == before.instance_id:
        return False
    if root.live and machine_id() == before.instance_id:
        raise WrongSource("the source is for another instance than this machine; not applied")
    return True


def make_plan(
    data: InstanceData,
    settings: Settings,
    root: Root,
    record: dict[str, str],
    first: bool,
    complete: bool,
) -> tuple[Plan, list[Problem]]:
    """Compare what the data ask for with the tree.  Raises Refused, OSError."""
    if data == type(data)():
        return diff((), root, facts_of_tree.gather(root), record, False, False), []
    facts = facts_of_tree.gather(root)
    resources, problems = desired(data, facts, settings, first)
    wanted = {identity(resource) for resource in resources}
    kept = {} if first else _untold(data, record, wanted)
    open_to_change = {key: value for key, value in record.items() if key not in kept}
    plan = diff(resources, root, facts, open_to_change, first, complete)
    plan = plan._replace(record={**kept, **plan.record})
    return plan, [*problems, *plan.problems]


def _untold(data: InstanceData, record: dict[str, str], wanted: set[str]) -> dict[str, str]:
    """What stays because the source says nothing of it: the files of the network in use.

    They may be those of an earlier boot's data, or the DHCP that a new instance gets.
    """
    if data.network is not None and data.network.interfaces:
        return {}
    prefixes = (
        f"file:{defs.NETWORKD_DIR}/",
        f"file:{defs.IFUPDOWN_DIR}/",
        f"file:{defs.RESOLV_CONF}",
    )
    return {key: record[key] for key in record.keys() - wanted if key.startswith(prefixes)}


def recorded_as(change: Change) -> tuple[str, ...]:
    """The names under which the state would remember what a change did."""
    match change.kind:
        case "write" | "remove":
            return (f"file:{change.path}", f"block:{change.path}")
        case "add_user":
            return (f"user:{change.user.name}",)
        case "set_password":
            return (f"password:{change.name}",)
        case "set_hostname":
            return ("hostname",)
        case "make_host_keys":
            return ("host_keys",)
        case "add_entropy":
            return ("entropy",)
    return ()
