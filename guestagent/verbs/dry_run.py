"""``guestagent apply --dry-run``: print the plan of a run, and change nothing."""

from __future__ import annotations

import os
import sys

from guestagent import defs
from guestagent.errors import Origin, Problems
from guestagent.memory import state
from guestagent.plan.difference import Plan
from guestagent.report.plan import plan_object, text
from guestagent.settings import load as load_settings
from guestagent.system.jsontext import dumps
from guestagent.system.root import Root
from guestagent.verbs import planning
from guestagent.verbs.new_instance import of_this_instance
from guestagent.verbs.source import open_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from guestagent.errors import Problem
    from guestagent.options import Options

_HIDDEN = "only root can read it; the plan is made without it"
_NO_RECORD = (
    "only root can read what earlier runs did; "
    "what an administrator changed since, and scripts that have run, may be in the plan again"
)


class _Visible(Root):
    """The tree as an ordinary user sees it: a file that only root can read counts as missing.

    ``hidden`` are the paths of those files.  What is to be changed itself is looked at by
    ``look``, so that it becomes a problem of its own, and no change.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.hidden: dict[str, None] = {}

    def read(self, path: str, *, follow: bool = True) -> bytes | None:
        """Return the content of a file, None where it is missing or hidden; see ``Root``."""
        try:
            return super().read(path, follow=follow)
        except PermissionError:
            self.hidden[path] = None
            return None


def show(options: Options, root: Root) -> int:
    """Print the plan of a run.  Return the exit status.

    Raises GuestagentError, OSError.
    """
    visible = None
    if os.geteuid() != 0:
        visible = root = _Visible(options.root)
    before = state.load(root)
    if visible and defs.STATE_FILE in visible.hidden:
        before = before._replace(configured=True)  # there is one, of a run that configured this
    found = Problems()
    lost = None if visible else state.explain_loss(root, before)
    if lost is not None:
        found.add(lost)
    settings = load_settings(root, found)
    opened = open_source(options, settings, root, before=before)
    problems = [*found.problems, *opened.problems]
    plan = Plan()
    signatures: tuple[str, ...] = ()
    bundle = opened.bundle
    # Where there were errors, they are what somebody looks for.
    if bundle is not None and (before.problems or not state.is_unchanged(before, bundle, root)):
        said = planning.read(bundle, root, settings)
        before = of_this_instance(before, said, root, named=said.bundle.named)
        planned = planning.make_plan(said, settings, root, before=before)
        problems += (*said.problems, *planned.problems)
        plan, signatures = planned.plan, said.signatures
    if visible:
        problems += _tell_hidden(visible)
    if options.json:
        own = [defs.STATE_FILE, defs.REPORT_FILE, defs.LOCK_FILE]  # for itself
        found_out = {**plan_object(plan, problems), "signatures": signatures, "bookkeeping": own}
        print(dumps(found_out))
    else:
        sys.stdout.write(text(plan, problems, signatures))
    if any(problem.severity == "error" for problem in problems):
        return defs.EXIT_ERRORS
    return defs.EXIT_CHANGES if plan.changes else defs.EXIT_OK


def _tell_hidden(root: _Visible) -> Iterator[Problem]:
    """Yield a warning for each file that was not seen."""
    for path in root.hidden:
        own = path.startswith(f"{defs.STATE_DIR}/")
        if not own:
            yield Origin(path, "", "").warning(_HIDDEN)
        elif path == defs.STATE_FILE:
            yield Origin(path, "", "").warning(_NO_RECORD)
