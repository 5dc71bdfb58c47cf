"""From a source and a tree to a plan: everything that decides, nothing that changes the guest."""

from __future__ import annotations

from guestagent import defs, facts
from guestagent.desired import desired, network, sshd
from guestagent.desired.accounts.default_user import names_of, usual_name
from guestagent.errors import Origin, Problems, Refused, internal
from guestagent.memory import applied
from guestagent.memory.applied import network_digest, of_network
from guestagent.memory.state import State
from guestagent.model import InstanceData, Text
from guestagent.parse import layouts
from guestagent.plan.difference import Plan, diff
from guestagent.plan.wanted import Ask, Wanted
from guestagent.record import NamedTuple
from guestagent.sources.bundle import is_one_of
from guestagent.stacks import starts_at_boot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from guestagent.errors import Problem
    from guestagent.model import Facts, Network
    from guestagent.parse.layouts import Layout
    from guestagent.plan.kinds import Change, Resource
    from guestagent.settings import Settings
    from guestagent.sources.bundle import Bundle
    from guestagent.system.root import Root

_HELD = "all but the network stays as it is"
_KEPT_NETWORK = (
    "a part of it cannot be used: the NICs concerned keep the configuration of the boot before; "
    "correct the values that are named in the errors"
)
_OTHER_CONTENT = "is not as it was written in this run; the next run writes it again"
_VERIFIED = Origin("guestagent", "", "")
_IMPORTED = Origin("guestagent", defs.STATE_FILE, "imported_keys")
_WITHHELD = (
    "is not applied: a metadata service may change SSH keys, host name and network of an instance "
    'that is configured; all else needs the setting metadata.refresh = "full"'
)
_WITHHELD_NOW = (
    "is not applied to the running system, of which a drive may change SSH keys, host name and "
    "network; the next boot applies it"
)
_NOT_CONFIRMED = "the network (this change was not confirmed)"


class Said(NamedTuple):
    """What the documents of a source say, and what of it cannot be used.

    ``lasting``: what is wrong stays so while the documents stay as they are.  ``signatures`` says
    of each signature that holds for what, and by which key.
    """

    bundle: Bundle
    data: InstanceData
    problems: tuple[Problem, ...]
    layout: Layout
    lasting: bool = True
    signatures: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """True if all that the source says is known and understood.

        Only then is what it does not name no longer wanted.
        """
        errors = any(problem.severity == "error" for problem in self.problems)
        return not errors and not self.bundle.unchanged

    @property
    def instance_id(self) -> str:
        """The id of the instance, empty if the source gives none."""
        return _value(self.data.instance_id)

    @property
    def availability_zone(self) -> str:
        """The name of the part of the cloud that the instance is in, empty if it is not given."""
        return _value(self.data.availability_zone)

    @property
    def project_id(self) -> str:
        """The id of the project that the instance belongs to, empty if it is not given."""
        return _value(self.data.project_id)


def _value(text: Text | None) -> str:
    return text.value if text else ""


class Intent(NamedTuple):
    """What a run wants to be true, and how far it may go for that.

    ``first``: this instance was not configured before, so that everything applies again.
    ``complete``: what guestagent wrote earlier, and is not intended any more, is removed.
    ``held``: everything but the network is left as it is.  ``access``: nothing is changed but host
    name, network and SSH keys, as the source is trusted with no more; ``withheld`` is what is said
    of the rest.
    ``rejected`` is the digest of a network that was not confirmed in time: it is not applied.
    """

    data: InstanceData
    settings: Settings
    first: bool = False
    complete: bool = True
    held: bool = False
    access: bool = False
    withheld: str = _WITHHELD
    rejected: str = ""


class Planned(NamedTuple):
    """The plan that was made for an intent, and all that cannot be planned.

    ``withheld``: the source asks for changes with which it is not trusted.  ``lasting``: what is
    wrong stays so while the documents, and what was looked at of the guest, stay as they are.
    ``macs`` are as in the state.
    """

    intent: Intent
    plan: Plan
    problems: tuple[Problem, ...] = ()
    withheld: bool = False
    lasting: bool = True
    macs: tuple[str, ...] = ()


def read(bundle: Bundle, root: Root, settings: Settings) -> Said:
    """Parse the documents of a source.  Raises SourceBroken.

    On a running system ssh-keygen reads the keys too; for an offline tree, whose own
    ssh-keygen may be another, the parser's checks are enough.
    """
    found = Problems()
    layout = layouts.find_layout(bundle)
    signatures = None
    if settings.demands_signatures:
        from guestagent.verbs.signatures import demanded

        signatures = demanded(settings, root)
    data = layouts.parse(bundle, found, lambda: _names_of(root), signatures)
    if signatures:
        data = signatures.without_files(data, found)
    if root.live and data.ssh_keys:
        from guestagent.facts.keycheck import usable_keys

        usable = usable_keys(data.ssh_keys, found)
        if len(usable) < len(data.ssh_keys):
            data = data._replace(ssh_keys=usable or None, partial_keys=bool(usable))
    wrong = any(problem.severity == "error" for problem in found.problems)
    lasting = not wrong or not (found.passing or bundle.unread)
    held = signatures.tell() if signatures else ()
    return Said(bundle, data, tuple(found.problems), layout, lasting=lasting, signatures=held)


def _names_of(root: Root) -> dict[str, str]:
    """Return what templates of user data may know of the guest."""
    from guestagent.facts.system import names

    return names(root)


def make_plan(
    said: Said, settings: Settings, root: Root, *, before: State, refresh: bool = False
) -> Planned:
    """Return the plan of a run: whatever else it does, sshd lets people in again.

    ``before`` is what is remembered ``of_this_instance``.  ``refresh``: if the instance is
    configured, only how it is reached is changed, whatever the source is trusted with.  Raises
    Refused, OSError.
    """
    now = refresh and before.configured and not said.bundle.service
    intent = Intent(
        _with_imported_keys(said.data, before),
        settings,
        first=not before.configured,
        complete=said.complete,
        access=now or _is_for_access(said, settings, before),
        withheld=_WITHHELD_NOW if now else _WITHHELD,
        rejected=before.rejected,
    )
    record = {key: value for key, value in before.record.items() if key != applied.SSHD_CLOSED}
    # The plan itself may show that the user data cannot be used.
    planned = compare(intent, root, record)
    lost = _lost_user_data(said, planned, before)
    if lost is not None:
        # The last good configuration stays: half of the user data may be what lets people in.
        held = compare(intent._replace(held=True), root, record)
        planned = held._replace(
            problems=(*planned.problems, lost), lasting=planned.lasting and held.lasting
        )
    # That somebody has said who the machine is, is enough for this: what is wrong with the rest,
    # or withheld of it, would keep everybody out for ever.
    plan = planned.plan
    return planned._replace(plan=plan._replace(changes=(*plan.changes, *_let_in(root))))


def plan_to_let_in(root: Root, record: dict[str, str]) -> Plan:
    """Return the plan for a machine that asks nobody who may log in: sshd lets people in."""
    left = {key: value for key, value in record.items() if key != applied.SSHD_CLOSED}
    return Plan(_let_in(root), record=left)


def _let_in(root: Root) -> tuple[Change, ...]:
    """Return the change that lets people in, where sshd lets nobody in; otherwise none."""
    try:
        if not root.exists(defs.SSHD_CLOSED):
            return ()
    except (Refused, OSError):
        return ()  # nor could the file be written there
    from guestagent.plan.kinds.sshd import open_again

    return open_again(root)


def _with_imported_keys(data: InstanceData, before: State) -> InstanceData:
    """Return the data with the SSH keys that were fetched for them, if they say anything."""
    if not before.imported_keys or data == InstanceData():
        return data
    keys = tuple((name, Text(key, _IMPORTED)) for name, key in before.imported_keys)
    return data._replace(imported_keys=keys)


def _is_for_access(said: Said, settings: Settings, before: State) -> bool:
    """Tell whether the source may change nothing but how the guest is reached.

    Whoever answers in place of a metadata service at a later boot must not get more out of it than
    the first boot has settled: neither commands nor passwords.
    """
    known = before.configured and not before.unfinished
    return said.bundle.service and known and settings.metadata_refresh != "full"


def _lost_user_data(said: Said, planned: Planned, before: State) -> Problem | None:
    """Return a problem if user data that were applied are gone, or can no longer be used."""
    bundle, documents = said.bundle, said.layout.user_data
    if not before.user_data or bundle.unchanged:
        return None
    wrong = [
        problem.document
        for problem in (*said.problems, *planned.problems)
        if problem.severity == "error" and problem.document in documents
    ]
    # Errors in data that were applied before are no reason to hold everything else back.
    if wrong and bundle.digest(before.user_data_salt, documents) != before.user_data:
        origin = Origin(bundle.label, wrong[0], "")
        if any(is_one_of(name, documents) for name in bundle.unread):
            return origin.error(f"cannot be read now; {_HELD}")
        return origin.error(f"differs from what was applied, and has errors; {_HELD}")
    if not said.data.config and not said.data.scripts:
        reason = "can no longer be used" if wrong else "is no longer in the source"
        return Origin(bundle.label, documents[0], "").warning(f"{reason}; {_HELD}")
    return None


def plan_fallback(
    settings: Settings,
    root: Root,
    record: dict[str, str],
    *,
    first: bool,
    closed: bool,
    network_stays: bool = False,
) -> Planned:
    """Return the plan for a guest whose source is yet to be asked: it gets a network.

    ``first``: what was applied was for another instance, and is taken away.  ``closed``: sshd lets
    nobody in.  ``network_stays``: an earlier boot gave it the network.  Raises Refused, OSError.
    """
    found = facts.gather(root)
    wanted, of_sshd = Wanted(), Wanted()
    ask = Ask(InstanceData(), found, settings, first=True)
    if settings.network_manage and not network_stays:
        network.plan(ask, wanted)
    if closed:
        sshd.close(found, of_sshd)
    resources = (*wanted.resources, *of_sshd.resources)
    complete = not network_stays
    plan = diff(resources, root, found, recorded=record, first=first, complete=complete)
    # The warning that the source describes no network would be about a source not yet found.
    errors = [problem for problem in wanted.problems if problem.severity == "error"]
    problems = (*errors, *of_sshd.problems, *plan.problems)
    # What waits for the network goes by names.  Until there is an answer, it may wait in vain.
    waiting = applied.file(defs.WAIT_ONLINE_FILE)
    files = [item for item in wanted.resources if item.key != waiting]
    macs = _macs_of_nics(ask, files, root) if files else ()
    return Planned(Intent(InstanceData(), settings), plan, problems, macs=macs)


def plan_host_keys_ahead(
    settings: Settings, root: Root, record: dict[str, str], value: str
) -> Planned:
    """Return the plan for new host keys where it is not known yet for which instance.

    ``value`` is what the state keeps of them.  Raises Refused, OSError.
    """
    found = facts.gather(root)
    types = settings.ssh_host_key_types if settings.ssh_host_keys else ()
    resources = []
    if types and "sshd" in found.programs:
        from guestagent.plan.kinds.host_keys import HostKeys

        resources = [HostKeys("host_keys", types, _VERIFIED, value=value)]
    plan = diff(resources, root, found, recorded=record, first=False, complete=False)
    return Planned(Intent(InstanceData(), settings), plan, plan.problems)


def plan_new_nics(settings: Settings, root: Root, record: dict[str, str]) -> Planned:
    """Return the plan for NICs that came or went after the source, which is away, was read.

    All else stays.  Raises Refused, OSError.
    """
    found = facts.gather(root)
    wanted = Wanted()
    paths = [applied.place(key) for key in record if of_network(key)]
    present = {path: root.text(path) for path in paths}
    ask = Ask(InstanceData(), found, settings)
    network.plan_new_nics(ask, present, wanted)
    concerned = {applied.file(path) for path in network.files_of_gone_nics(ask, present, wanted)}
    concerned |= {resource.key for resource in wanted.resources}
    scope = _Scope(wanted.resources, record, stays={}, complete=True)
    scope = _without(scope, lambda key: key not in concerned)
    plan = _difference(scope, root, found, first=False)
    return Planned(Intent(InstanceData(), settings), plan, (*wanted.problems, *plan.problems))


def verify(planned: Planned, root: Root, record: dict[str, str]) -> dict[str, Problem]:
    """Plan again what was carried out; return an error for each thing that differs, by its name.

    ``record`` is what the run has applied.  Raises Refused, OSError.
    """
    again = compare(planned.intent._replace(first=False), root, record)
    problems = {}
    for change in again.plan.changes:
        name = _name(change)
        reason = f"{name}: still differs after the run ({change.kind})"
        problems[name] = change.why.error(reason)
    for name in again.plan.kept:
        # What was left alone by this run is still an administrator's.
        if name not in planned.plan.kept:
            problems[name] = _VERIFIED.error(f"{name}: {_OTHER_CONTENT}")
    return problems


def _name(change: Change) -> str:
    """Return the path of a file's change, the name of an account's, or nothing."""
    return getattr(change, "path", "") or getattr(change, "name", "")


def compare(intent: Intent, root: Root, record: dict[str, str]) -> Planned:
    """Compare an intent with the tree.  Raises Refused, OSError.

    ``record`` is what earlier runs have applied.
    """
    data, first = intent.data, intent.first
    if data == InstanceData():
        return Planned(intent, Plan(record=record))  # the source says nothing: all stays
    found = _gather(data, root)
    ask = Ask(data, found, intent.settings, first, complete=intent.complete)
    wanted, crashed = _want(ask)
    scope = _Scope(wanted.resources, record, stays={}, complete=intent.complete)
    withheld: tuple[Problem, ...] = ()
    # A new instance starts from nothing; a known one keeps what it has.
    if not first:
        scope = _without_unmentioned_network(scope, data)
        scope = _without_partial_network(scope, data, wanted)
        scope = _without_unmentioned_keys(scope, data)
        if intent.access:
            may = _refreshed(ask, wanted, record)
            withheld = _withheld(scope, may, root, found, reason=intent.withheld)
            scope = _without_withheld(scope, may)
        if intent.held or crashed:
            scope = _without(scope, lambda key: not of_network(key))._replace(complete=False)
    plan = _difference(scope, root, found, first=first)
    # Only the whole plan tells whether this is the network that was not confirmed.
    if intent.rejected and network_digest(plan.record) == intent.rejected:
        plan = _difference(_without(scope, of_network), root, found, first=first)
        plan = plan._replace(kept=(*plan.kept, _NOT_CONFIRMED))
    problems = (*wanted.problems, *plan.problems, *withheld)
    # The directories on the way to a file that is refused are not looked at by the next run.
    refused = any(problem.severity == "error" for problem in plan.problems)
    lasting = not wanted.passing and not crashed and not refused
    macs = _macs_of_nics(ask, wanted.resources, root)
    return Planned(intent, plan, problems, withheld=bool(withheld), lasting=lasting, macs=macs)


def _macs_of_nics(ask: Ask, resources: Iterable[Resource], root: Root) -> tuple[str, ...]:
    """Return the MAC addresses of the NICs, if the next boot need not wait for their names."""
    macs = network.macs_of_nics(ask, resources) if ask.settings.daemon_nics else ()
    # Which NICs there are, the daemon compares when it starts.
    return macs if macs and starts_at_boot(root, defs.DAEMON_UNIT) else ()


def _gather(data: InstanceData, root: Root) -> Facts:
    """Return the facts of the tree, and those that only user data need if there are any."""
    found = facts.gather(root)
    if not data.config and not data.scripts:
        return found
    from guestagent.facts.system import extend

    return extend(found, root)


def _want(ask: Ask) -> tuple[Wanted, bool]:
    """Return what the source wants, and whether an error of the program took its user data away.

    A guest that can be reached comes before one that is as its user data want it.
    """
    wanted = Wanted()
    try:
        desired(ask, wanted)
    except Exception as error:
        if not ask.data.config and not ask.data.scripts:
            raise
        reason = f"{internal(error)}; nothing of the user data is applied"
        wanted = Wanted()
        desired(ask._replace(data=ask.data._replace(config=(), scripts=())), wanted)
        wanted.error(Origin("guestagent", "", ""), reason)
        return wanted, True
    return wanted, False


class _Scope(NamedTuple):
    """What of the guest a run may change.

    ``resources`` are compared with the tree, and with ``record``.  ``stays`` is the part of the
    record that this run leaves as it is.
    """

    resources: Sequence[Resource]
    record: dict[str, str]
    stays: dict[str, str]
    complete: bool


def _without(scope: _Scope, is_left: Callable[[str], bool]) -> _Scope:
    """Return the scope without everything whose key in the record is to be left as it is."""
    left = {key for key in scope.record if is_left(applied.marked(key))}
    return scope._replace(
        resources=[resource for resource in scope.resources if not is_left(resource.key)],
        record={key: value for key, value in scope.record.items() if key not in left},
        stays={key: value for key, value in scope.record.items() if key in left} | scope.stays,
    )


def _without_unmentioned_network(scope: _Scope, data: InstanceData) -> _Scope:
    """Return the scope without the network in use, if the source says nothing of a network.

    Its files may be those of an earlier boot's data, or the DHCP that a new instance gets.
    """
    if data.network is not None and data.network.interfaces:
        return scope
    wanted = {resource.key for resource in scope.resources}
    return _without(scope, lambda key: of_network(key) and key not in wanted)


def _without_unmentioned_keys(scope: _Scope, data: InstanceData) -> _Scope:
    """Return the scope without keys that were applied, if the source does not say which there are.

    That it says so and has none is another thing.
    """
    if data.ssh_keys is not None:
        return scope
    wanted = {resource.key for resource in scope.resources}
    return _without(scope, lambda key: applied.of_ssh_keys(key) and key not in wanted)


def _refreshed(ask: Ask, wanted: Wanted, record: dict[str, str]) -> frozenset[str]:
    """Return the keys of what a source may change that is trusted with access alone.

    The accounts that get SSH keys are those of the settings, and those that had some before.
    """
    names = names_of(ask.settings.ssh_keys_for, usual_name(ask))
    others = {
        item.key
        for item in wanted.resources
        if applied.of_ssh_keys(item.key) and item.key not in record
        if item.kind == "block" and item.account not in names
    }
    return wanted.refreshed - others


def _withheld(
    scope: _Scope, may: frozenset[str], root: Root, found: Facts, *, reason: str
) -> tuple[Problem, ...]:
    """Return a warning, with the reason, for each value that asks for another change."""
    rest = [item for item in scope.resources if item.key not in may]
    scope = scope._replace(resources=rest, complete=False)
    changes = _difference(scope, root, found, first=False).changes
    problems = Problems()
    for change in changes:
        problems.warn(change.why, ": ".join(filter(None, (_name(change), reason))))
    return tuple(problems.problems)


def _without_withheld(scope: _Scope, may: frozenset[str]) -> _Scope:
    """Return the scope without what the source may not change; what was applied of it stays."""
    wanted = {resource.key for resource in scope.resources}

    def is_left(key: str) -> bool:
        if key in wanted:
            return key not in may
        # What the source no longer speaks of.
        kinds = (applied.of_host_name, applied.of_ssh_keys, applied.of_network)
        return not any(is_of(key) for is_of in kinds)

    return _without(scope, is_left)


def _without_partial_network(scope: _Scope, data: InstanceData, wanted: Wanted) -> _Scope:
    """Return the scope without files of NICs of which the source says what cannot be used.

    They have the addresses of an earlier boot, which may be the only way in.  A NIC that has no
    file yet gets what can be used.
    """
    network = data.network
    if network is None:
        return scope
    kept = _of_partial_network(scope.resources, network) & scope.record.keys()
    if kept:
        wanted.warn(network.origin, _KEPT_NETWORK)
    return _without(scope, lambda key: key in kept)


def _of_partial_network(resources: Iterable[Resource], network: Network) -> set[str]:
    """Return the keys of the files of NICs of which the source says what cannot be used."""
    files = [resource for resource in resources if of_network(resource.key)]
    if network.partial:
        return {resource.key for resource in files}
    partial = {interface.origin for interface in network.interfaces if interface.partial}
    if not partial:
        return set()
    # The origin of the network itself is that of files of all NICs, and of the fallback.
    origins = {network.origin, *partial}
    for_all = [applied.file(path) for path in defs.ONE_NETWORK_FILE]
    return {item.key for item in files if item.why in origins or item.key in for_all}


def _difference(scope: _Scope, root: Root, found: Facts, *, first: bool) -> Plan:
    """Return the difference between the scope and the tree, with the whole record after it."""
    plan = diff(
        scope.resources,
        root,
        found,
        recorded=scope.record,
        first=first,
        complete=scope.complete,
    )
    return plan._replace(record={**scope.stays, **plan.record})
