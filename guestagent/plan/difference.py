"""The difference between what must be true and what is: the plan of a run.

Three states decide: what is wanted, what is in the tree, and what guestagent recorded when it
last applied.  Where the last two differ, an administrator has changed something, and that is
left alone until the next instance.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import Refused
from guestagent.memory import applied
from guestagent.plan.view import Outcome, View
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from guestagent.errors import Problem
    from guestagent.model import Facts
    from guestagent.plan.kinds import Change, Resource
    from guestagent.plan.view import Tree


class Plan(NamedTuple):
    """What a run does.

    ``kept`` names what an administrator changed.  ``record`` is what the state remembers once
    all is done: keys of ``memory.applied``, most of them with digests of what was applied.
    """

    changes: tuple[Change, ...] = ()
    kept: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    record: dict[str, str] = {}  # noqa: RUF012 - a record's default, never changed


def diff(
    resources: Iterable[Resource],
    root: Tree,
    facts: Facts,
    *,
    recorded: Mapping[str, str],
    first: bool,
    complete: bool,
) -> Plan:
    """Compare resources with a tree, and with what was recorded of it.

    ``first``: the instance is new, so that everything applies again.  ``complete``: all of
    the source was understood, so that what it no longer names may go.
    """
    wanted = list(resources)
    lets_in = any(item.kind == "block" and item.lets_in for item in wanted)
    view = View(root, facts, recorded, first=first, lets_in=lets_in)
    keys = {resource.key for resource in wanted}
    may_undo = first or complete
    if may_undo:
        _empty_former_files(wanted, keys, view)
    for resource in wanted:
        view.take(_compare(resource, view))
    if first and root.exists(defs.STATE_DIR):  # guestagent ran before, for another instance
        from guestagent.plan.kinds.script import remove_leftovers

        view.take(remove_leftovers(wanted, view))
    gone = [key for key in recorded if key not in keys]
    if may_undo:
        _undo_all(gone, wanted, view)
    else:
        view.take(Outcome(record={key: recorded[key] for key in gone}))
    return Plan(tuple(view.changes), tuple(view.kept), tuple(view.problems.problems), view.record)


def _empty_former_files(wanted: list[Resource], keys: set[str], view: View) -> None:
    """Take the content out of files of guestagent's own in which only lines are wanted now."""
    from guestagent.plan.kinds.file import empty

    edited = {item.path for item in wanted if item.kind in ("block", "hosts", "append")}
    for key in view.recorded:
        is_file = applied.kind_of(key) == "file" and applied.place(key) in edited
        if is_file and key not in keys:
            view.take(empty(key, view))


def _undo_all(gone: list[str], wanted: list[Resource], view: View) -> None:
    """Undo what the source no longer asks for."""
    paths = {getattr(resource, "path", "") for resource in wanted} - {""}
    for key in gone:
        # Where something of another kind takes its place, to undo it would undo that.
        if applied.place(key) not in paths:
            view.take(_undo(key, view))


def _compare(resource: Resource, view: View) -> Outcome:
    """Return what a resource needs; where that cannot be told, a problem, and nothing changes."""
    try:
        return resource.compare(view)
    except (Refused, OSError) as error:
        view.problems.add(_problem(resource, error))
        return view.remember(resource.key)


def _problem(resource: Resource, error: Refused | OSError) -> Problem:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    name = getattr(resource, "path", "") or getattr(resource, "name", "")
    return resource.why.error(f"{name}: {reason}" if name else reason)


def _undo(key: str, view: View) -> Outcome:
    """Return what follows when the source no longer asks for a thing that was applied."""
    kind = applied.kind_of(key)
    if not kind:
        return Outcome()  # another version of guestagent remembered that
    module = __import__(f"guestagent.plan.kinds.{kind}", fromlist=["undo"])
    outcome: Outcome = module.undo(key, view)
    return outcome
