"""``guestagent apply --dry-run``: print the plan of a run, and change nothing."""

from __future__ import annotations

import sys

from guestagent import defs
from guestagent.errors import Problems
from guestagent.memory import state
from guestagent.plan.difference import Plan
from guestagent.report.plan import plan_object, text
from guestagent.settings import load as load_settings
from guestagent.system.jsontext import dumps
from guestagent.verbs import planning
from guestagent.verbs.new_instance import of_this_instance
from guestagent.verbs.source import open_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.options import Options
    from guestagent.system.root import Root


def show(options: Options, root: Root) -> int:
    """Print the plan of a run.  Return the exit status.

    Raises GuestagentError, OSError.
    """
    before = state.load(root)
    found = Problems()
    settings = load_settings(root, found)
    opened = open_source(options, settings, root, before=before)
    found.add(*opened.problems)
    plan = Plan()
    if opened.bundle is not None and not state.is_unchanged(before, opened.bundle, root):
        said = planning.read(opened.bundle, root)
        before = of_this_instance(before, said, root)
        planned = planning.make_plan(said, settings, root, before=before)
        found.add(*said.problems, *planned.problems)
        plan = planned.plan
    if options.json:
        own = [defs.STATE_FILE, defs.REPORT_FILE, defs.LOCK_FILE]  # for itself
        print(dumps({**plan_object(plan, found.problems), "bookkeeping": own}))
    else:
        sys.stdout.write(text(plan, found.problems))
    if any(problem.severity == "error" for problem in found.problems):
        return defs.EXIT_ERRORS
    return defs.EXIT_CHANGES if plan.changes else defs.EXIT_OK
