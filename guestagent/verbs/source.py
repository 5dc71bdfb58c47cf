"""Opening the source of a run: a path, a config drive, else the metadata service."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import Problem
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.memory.state import State
    from guestagent.options import Options
    from guestagent.settings import Settings
    from guestagent.sources.bundle import Bundle
    from guestagent.system.root import Root

_KEPT = "no config drive found; the last good configuration stays"
_NONE = "no config drive found, and no sign of a cloud whose metadata service could be asked"


class Opened(NamedTuple):
    """The source, None for none; ``asked`` says that a later stage asks the metadata service."""

    bundle: Bundle | None
    problems: list[Problem]
    asked: bool = False


def open_source(options: Options, settings: Settings, root: Root, before: State) -> Opened:
    """Find the source of this run.

    At boot the metadata service is not asked here: a request is left for the unit that does.
    Raises SourceBroken, Unreachable, UsageError, NoPermission, OSError.
    """
    if options.fetched:
        from guestagent.sources.remote import fetched

        return Opened(fetched(root), [])
    source = options.source or _named_at_boot()
    is_url = source.startswith(("http://", "https://"))
    expected = before.drive
    problems: list[Problem] = []
    if source and not is_url:
        from guestagent.sources.path import open_path

        return Opened(open_path(source), problems)
    if not source:
        from guestagent.sources import find

        wait = settings.drive_wait if options.boot and not _served(before) else 0.0
        known = before.instance_id
        search = find.Search(wait, known, expected, lambda: _has_service(settings, before))
        bundle, problems = find.find(search, _instance_of)
        if bundle is not None:
            return Opened(bundle, problems)
    from guestagent.sources import remote

    url = source if is_url else ""
    request = None if expected and not url else remote.request_for(settings, url, before)
    if request is None:
        if not options.boot or expected:
            reason = _KEPT if expected or before.configured else _NONE
            severity = "warning" if options.boot else "error"
            problems.append(Problem(severity, "guestagent", "", "", reason))  # type: ignore[arg-type]
        return Opened(None, problems)
    if options.boot:
        remote.leave(root, request)
        return Opened(None, problems, asked=True)
    return Opened(remote.by_hand(request), problems)


def _named_at_boot() -> str:
    """Return the source that the kernel command line names, or an empty string."""
    from guestagent.system.machine import kernel_argument

    return kernel_argument(defs.SOURCE_ARGUMENT) or ""


def _has_service(settings: Settings, before: State) -> bool:
    from guestagent.sources.remote import request_for

    return request_for(settings, "", before) is not None


def _served(before: State) -> bool:
    """True where this very machine got its configuration without a drive: none will come."""
    if before.drive or not before.configured:
        return False
    from guestagent.system.machine import product_uuid

    return before.instance_id == product_uuid()


def _instance_of(bundle: Bundle) -> str | None:
    from guestagent.parse.layouts import instance_id

    return instance_id(bundle)


def age(before: State) -> str:
    """What stays where a source gives nothing, and how old that is."""
    if not before.configured:
        return "this machine was not configured yet"
    import time

    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(before.time))
    days = int(time.time() - before.time) // 86400
    return f"the configuration of {when} stays" + (f", {days} days old" if days > 0 else "")
