"""From a source's documents and the tree to a plan: everything that decides, nothing that acts."""

from __future__ import annotations

from guestagent import defs
from guestagent import facts as facts_of_tree
from guestagent.desired import desired
from guestagent.errors import Origin, Problem, Problems, WrongSource, internal
from guestagent.memory.applied import network_digest, of_network
from guestagent.model import InstanceData
from guestagent.parse import layouts
from guestagent.plan.difference import diff
from guestagent.plan.wanted import Ask, Wanted
from guestagent.sources.bundle import USER_DATA
from guestagent.system.machine import product_uuid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.memory.state import State
    from guestagent.plan.changes import Change, Plan
    from guestagent.settings import Settings
    from guestagent.sources.bundle import Bundle
    from guestagent.system.root import Root


def instance_data(bundle: Bundle, live: bool) -> tuple[InstanceData, list[Problem]]:
    """What a source says, and what in it cannot be used.  Raises SourceBroken.

    On a running system ssh-keygen reads the keys too; for an offline tree, whose own
    ssh-keygen may be another, the parser's checks are enough.
    """
    problems = Problems()
    data = layouts.parse(bundle, problems)
    if not live or not data.ssh_keys:
        return data, problems.problems
    from guestagent.facts.keycheck import usable_keys

    keys = usable_keys(data.ssh_keys, problems)
    return data._replace(ssh_keys=keys), problems.problems


def is_first(data: InstanceData, before: State, root: Root, service: bool) -> bool:
    """True if the source is for an instance that this tree was not configured for.

    A source without an id is never a new instance.  Raises WrongSource where the machine is
    still the known instance, and the source is for another one, or where a metadata ``service``
    speaks of another machine than this one.
    """
    name = data.instance_id.value if data.instance_id else ""
    if service and root.live:
        _check_uuid(name)
    if not before.configured:
        return True
    if not name or not before.instance_id or name == before.instance_id:
        return False
    if root.live and product_uuid() == before.instance_id:
        raise WrongSource("the source is for another instance than this machine; not applied")
    return True


def _check_uuid(told: str) -> None:
    """Where the hypervisor tells the instance's uuid, another id, or none, is another machine's.

    An id of another form, EC2's, too: who answers in its place would choose that form.
    """
    from guestagent.sources.cloud import identify

    own = product_uuid()
    if own and identify().own_uuid and own != told:
        raise WrongSource("the metadata service speaks of another machine; not applied")


def lost_user_data(
    bundle: Bundle, data: InstanceData, problems: list[Problem], before: State
) -> Problem | None:
    """What to say where the known instance's user data are gone, or other ones cannot be used.

    The last good configuration stays then: half of it may be what lets people in.
    """
    if not before.user_data or bundle.unchanged:
        return None
    known = bundle.user_data(before.user_data_salt) == before.user_data
    names = tuple(name[1:] for name in USER_DATA)
    wrong = any(item.severity == "error" and item.document in names for item in problems)
    if wrong and not known:
        reason = "differs from what was applied, and has errors: all but the network stays"
        return Problem("error", bundle.label, "user_data", "", reason)
    if not data.config and not data.scripts:
        reason = "is not there any more: all but the network stays as it is"
        return Problem("warning", bundle.label, "user_data", "", reason)
    return None


def fallback_plan(
    settings: Settings, root: Root, record: dict[str, str]
) -> tuple[Plan, list[Problem]]:
    """The network of a guest that knows nothing yet.  Raises Refused, OSError."""
    from guestagent.desired import network

    facts = facts_of_tree.gather(root)
    wanted = Wanted()
    network.plan(Ask(InstanceData(), facts, settings), wanted)
    plan = diff(wanted.resources, root, facts, record, False, True)
    errors = [problem for problem in wanted.problems if problem.severity == "error"]
    return plan, [*errors, *plan.problems]


def make_plan(
    data: InstanceData,
    settings: Settings,
    root: Root,
    record: dict[str, str],
    first: bool,
    complete: bool,
    rejected: str = "",
    held: bool = False,
) -> tuple[Plan, list[Problem]]:
    """Compare what the data ask for with the tree.  Raises Refused, OSError.

    ``held``: all but the network stays as it is.  ``rejected`` is the digest of a
    network that nobody confirmed: if the data ask for that one, the network stays as it is.
    """
    facts = facts_of_tree.gather(root)
    if data == type(data)():
        return diff((), root, facts, record, False, False), []
    if data.config or data.scripts:
        from guestagent.facts.system import extend

        facts = extend(facts, root)
    ask, wanted = Ask(data, facts, settings, first), Wanted()
    try:
        desired(ask, wanted)
    except Exception as error:
        if not (data.config or data.scripts):
            raise
        # A guest that can be reached comes before one that is as its user data want it.
        held, bare, wanted = not first, data._replace(config=(), scripts=()), Wanted()
        desired(ask._replace(data=bare), wanted)
        reason = f"{internal(error)}; nothing of the user data is applied"
        wanted.error(Origin("guestagent", "", ""), reason)
    resources = wanted.resources
    keys = {resource.key for resource in resources}
    kept = {} if first else _untold(data, record, keys)
    if held:
        complete = False
        resources = [item for item in resources if of_network(item.key)]
        kept |= {key: value for key, value in record.items() if not of_network(key)}

    def difference() -> Plan:
        open_to_change = {key: value for key, value in record.items() if key not in kept}
        return diff(resources, root, facts, open_to_change, first, complete)

    plan = difference()
    if rejected and network_digest(plan.record) == rejected:
        resources = [item for item in resources if not of_network(item.key)]
        kept = {key: value for key, value in record.items() if of_network(key)}
        plan = difference()
        plan = plan._replace(kept=(*plan.kept, "the network (this change was not confirmed)"))
    plan = plan._replace(record={**kept, **plan.record})
    return plan, [*wanted.problems, *plan.problems]


def _untold(data: InstanceData, record: dict[str, str], wanted: set[str]) -> dict[str, str]:
    """What stays because the source says nothing of it: the files of the network in use.

    They may be those of an earlier boot's data, or the DHCP that a new instance gets.
    """
    if data.network is not None and data.network.interfaces:
        return {}
    return {key: record[key] for key in record.keys() - wanted if of_network(key)}


def without(record: dict[str, str], change: Change) -> dict[str, str]:
    """The record without what would tell that a change was made."""
    names = _recorded_as(change)
    prefixes = tuple(name for name in names if name.endswith(":"))
    left = (key for key in record if key not in names and not key.startswith(prefixes))
    return {key: record[key] for key in left}


def _recorded_as(change: Change) -> tuple[str, ...]:
    """The keys under which the state would remember what a change did, or how they begin."""
    match change.kind:
        case "write" | "remove" | "link":
            path = change.path
            return (f"file:{path}", f"block:{path}", f"link:{path}", f"append:{path}:")
        case "write_later":
            return (f"late:{change.path}",)
        case "step":
            return (f"step:{change.path.removeprefix(defs.STATE_DIR)[1:]}",)
        case "add_user":
            return (f"user:{change.user.name}",)
        case "add_group":
            return (f"group:{change.group.name}",)
        case "add_member":
            return (f"group:{change.group}",)
        case "set_password" | "set_console_password":
            return (f"password:{change.name}",)
        case "expire_password" | "lock_password":
            return (f"expired:{change.name}", f"locked:{change.name}")
        case "set_hostname":
            return ("hostname",)
        case "make_host_keys":
            return ("host_keys",)
        case "add_entropy":
            return ("entropy",)
