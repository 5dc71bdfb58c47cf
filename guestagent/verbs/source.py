"""Open the source of a run: a path or URL that is named, else a drive, else a metadata service."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import Origin, Problems
from guestagent.memory.state import is_tree_unchanged
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.errors import Problem
    from guestagent.memory.state import State
    from guestagent.options import Options
    from guestagent.settings import Settings
    from guestagent.sources.bundle import Bundle
    from guestagent.system.root import Root

_KEPT = "no config drive found; the last good configuration stays"
_NONE = "no config drive found, and no sign of a cloud whose metadata service could be asked"
_HERE = Origin("guestagent", "", "")


class Opened(NamedTuple):
    """The source of a run, None where there is none.

    ``asked`` tells whether a later unit asks a metadata service.
    """

    bundle: Bundle | None = None
    problems: tuple[Problem, ...] = ()
    asked: bool = False


def open_source(options: Options, settings: Settings, root: Root, *, before: State) -> Opened:
    """Find and open the source of this run.

    Raises SourceBroken, Unreachable, UsageError, NoPermission, OSError.
    """
    if options.fetched:
        from guestagent.sources import remote

        answer = remote.read_answer if options.dry_run else remote.take_answer
        return Opened(answer(root))
    named = _name(options)
    if named.startswith(("http://", "https://")):
        return _ask(named, options, settings, root=root, before=before)
    if named:
        from guestagent.sources.path import open_path

        return Opened(open_path(named))
    if options.poll:
        is_served = before.configured and not before.drive
        return _ask("", options, settings, root=root, before=before) if is_served else Opened()
    found = _find_drive(options, settings, before)
    if found.bundle is not None:
        return found
    if before.drive:
        # The drive of this machine is missing.  Whoever answers on the network is trusted less, and
        # is not asked instead.
        if options.refresh:
            return found  # it may be ejected while the system runs
        missing = _HERE.warning(_KEPT) if options.boot else _HERE.error(_KEPT)
        return found._replace(problems=(*found.problems, missing))
    opened = _ask("", options, settings, root=root, before=before)
    return opened._replace(problems=(*found.problems, *opened.problems))


def remove_fetched(root: Root) -> None:
    """Remove what a unit has fetched for this run, if it is there.  Raises OSError, Refused."""
    from guestagent.sources.remote import remove_answer

    remove_answer(root)


def is_named(options: Options) -> bool:
    """Tell whether somebody chose the path that is the source, and no search has found it."""
    name = _name(options)
    return bool(name) and not name.startswith(("http://", "https://"))


def _name(options: Options) -> str:
    """Return the source that the command line or the kernel's names, or an empty string."""
    if options.source:
        return options.source
    from guestagent.system.machine import kernel_argument

    return kernel_argument(defs.SOURCE_ARGUMENT) or ""


def _find_drive(options: Options, settings: Settings, before: State) -> Opened:
    """Search for the config drive; at boot, wait for one that may come late."""
    from guestagent.sources.find import Search, find_drive

    # By hand, what is attached is known to udev; at boot it may still be looking.
    wait = 0.0
    if options.boot and not _served(before):
        wait = settings.drive_wait
    search = Search(
        wait=wait,
        expected=before.drive,
        has_service=lambda: _has_service(settings, before),
    )
    problems = Problems()
    bundle = find_drive(search, _instance_of, _read_all, problems)
    return Opened(bundle, tuple(problems.problems))


def _served(before: State) -> bool:
    """Tell whether this very machine was configured without a drive: none will come."""
    if before.drive or not before.configured:
        return False
    from guestagent.system.machine import product_uuid

    return before.instance_id == product_uuid()


def _has_service(settings: Settings, before: State) -> bool:
    """Tell whether there is a sign of a metadata service."""
    from guestagent.sources.remote import request_for

    return request_for(settings, "", before) is not None


def _instance_of(bundle: Bundle) -> str | None:
    from guestagent.parse.layouts import read_instance_id

    return read_instance_id(bundle)


def _read_all(bundle: Bundle) -> None:
    from guestagent.parse.layouts import parse

    parse(bundle, Problems())


def _ask(url: str, options: Options, settings: Settings, *, root: Root, before: State) -> Opened:
    """Ask a metadata service: that of the URL, or if it is empty that of this machine's cloud.

    A confined unit only leaves a request, for a unit that may use the network and nothing else.
    Having no cloud to ask is an error for a run by hand, but nothing special at boot.
    """
    from guestagent.sources import remote

    request = remote.request_for(settings, url, before)
    if request is None and (options.boot or options.refresh):
        return Opened()
    if request is None:
        return Opened(problems=(_HERE.error(_KEPT if before.configured else _NONE),))
    if options.boot or options.confined:
        # This unit has no access to the network.
        if options.refresh:
            request = request._replace(
                wait=min(request.wait, defs.METADATA_WAIT_KNOWN),
                brief=options.poll and is_tree_unchanged(before, root),
            )
        remote.leave_request(root, request)
        return Opened(asked=True)
    return Opened(remote.ask_now(request))


def describe_age(before: State) -> str:
    """Return what stays in effect where a source gives nothing, and how old that is."""
    if not before.configured:
        return "this machine was not configured yet"
    import time

    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(before.time))
    days = int(time.time() - before.time) // 86400
    text = f"the configuration of {when} stays"
    return f"{text}, {days} days old" if days > 0 else text
