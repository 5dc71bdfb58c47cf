"""Open the source of a run: one that is named, else the first of a table that is there."""

from __future__ import annotations

import os
import time

from guestagent import defs, log
from guestagent.errors import Origin, Problems, Unreachable, UsageError
from guestagent.memory.state import is_tree_unchanged
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from guestagent.errors import Problem
    from guestagent.memory.state import State
    from guestagent.options import Options
    from guestagent.settings import Settings
    from guestagent.sources.bundle import Bundle
    from guestagent.sources.cloud import Cloud
    from guestagent.sources.seed import Given
    from guestagent.system.root import Root

_NONE = "no source found, and no sign of a cloud whose metadata service could be asked"
_STAYS = "what was applied before stays"
_GONE = (
    "a source of the kind {kind} configured this machine, and {missing}; none that is searched for "
    "later takes its place, and the last good configuration stays (to use another source, name it: "
    f"{defs.SOURCE_ARGUMENT})"
)
_NOT_IN_ORDER = "source.order does not have that"
_NO_SEED = (
    "{where} says ds=nocloud, and there is no drive, no directory of a seed, and no value; nothing "
    "is applied"
)
_NOBODY_YET = (
    "sshd lets nobody in until it is; the service is asked again; to let people in by hand, until"
    f" the next boot, remove {defs.SSHD_CLOSED} and reload sshd"
)
_DRIVE_CAME = (
    "a config drive came after the metadata service was asked: the service's answer is not used, "
    "and the drive is read when the boot is over"
)
_OFF = "none"
_NOT_A_SOURCE = (
    "names no source: it must be a path that begins with /, an http:// URL, or one of "
    f"{', '.join((*defs.SOURCES, _OFF))}; nothing is applied: correct it"
)
_SEED = "seed"
_IS_OFF = "guestagent.source says none; nothing is searched for, and nothing is applied"
_NOT_FOUND = "no source found, of the kinds that source.order has: {}; " + _STAYS
_ONE_NOT_FOUND = (
    "names {kind} alone, and {missing}; no other kind is searched for, and {follows}: see that it "
    "is there, or name another kind"
)
_EMPTY_ORDER = (
    "is empty, so that nothing is searched for, and {follows}: name some of "
    f"{', '.join(defs.SOURCES)}, or remove the setting, to search for all of them; if nothing is to"
    f" be searched for, write {defs.SOURCE_ARGUMENT}{_OFF} on the kernel command line instead"
)
_HERE = Origin("guestagent", "", "")
_ORDER = Origin("settings", "", "source.order")


class DriveCame(Unreachable):
    """A drive came when a metadata service had been asked."""


class Opened(NamedTuple):
    """The source of a run, None where there is none.

    ``asked`` tells whether a later unit asks a metadata service, ``stranger`` that the machine is
    not the one that was configured.  ``deferrable``: once sshd lets nobody in, it need not wait for
    the answer.
    """

    bundle: Bundle | None = None
    problems: tuple[Problem, ...] = ()
    asked: bool = False
    stranger: bool = False
    deferrable: bool = False


class Search(NamedTuple):
    """What the search for a source starts from (``find.Search`` is that of the drive alone).

    ``given`` is what kernel command line or firmware say of a seed, ``directory`` that of a seed,
    ``credentials`` that of system credentials for guestagent; both are empty if there is none.
    ``order`` are the names of the kinds that are searched for, and ``named_by`` is what names the
    only one of them, empty if the settings do.  ``problems`` takes warnings that are given whatever
    is found.
    """

    options: Options
    settings: Settings
    root: Root
    before: State
    problems: Problems
    given: Given | None = None
    directory: str = ""
    credentials: str = ""
    order: tuple[str, ...] = defs.SOURCES
    named_by: str = ""

    @property
    def kind(self) -> str:
        """The only kind that is searched for, where somebody names it; empty elsewhere."""
        return self.order[0] if self.named_by else ""

    @property
    def providers(self) -> list[Provider]:
        """The kinds that are searched for, in their order."""
        names = dict.fromkeys(self.order)  # each once
        return [row for name in names for row in PROVIDERS if row.name == name]


class Provider(NamedTuple):
    """A kind of source that is searched for: a row of ``PROVIDERS``.

    ``sign`` returns what shows that it is there, as messages name it, and an empty text if nothing
    does.  It is asked on most boots: no program, no network, no wait, and no import but of what is
    loaded anyway.  Without one, only ``open`` can tell.  ``unused`` returns the same where another
    source is used; without it, ``sign`` does.

    ``open`` returns None where there is none after all, and the search goes on; it raises what
    ``open_source`` does.  Without one, ``sources.NAME`` is imported, and its ``open_source`` called
    with a list for problems: it returns a Bundle or None, and raises SourceBroken.

    ``missing`` says in a message what was looked for and is not there; ``{labels}`` in it stands
    for those of drives.  ``stays``: whoever gives such a source mostly leaves it there, so that a
    boot without it is worth a warning.  Others are often taken away on purpose when they have done
    their work: guestinfo is cleared, a CD without a label ejected, a seed removed, a socket
    switched off.

    ``named``: whoever controls the machine put this very source there, and it needs no instance id
    to be obeyed later.  Without that it is believed as a drive is: see SECURITY.md.
    """

    name: str
    sign: Callable[[Search], str] | None = None
    open: Callable[[Search], Opened | None] | None = None
    named: bool = False
    unused: Callable[[Search], str] | None = None
    missing: str = ""
    stays: bool = False


def open_source(options: Options, settings: Settings, root: Root, *, before: State) -> Opened:
    """Find and open the source of this run.

    Raises SourceBroken, Unreachable, UsageError, NoPermission, OSError.
    """
    folder = _find_credentials() if root.live else ""
    named, named_by = _name(options, folder)
    order = settings.source_order
    search = Search(options, settings, root, before, Problems(), credentials=folder, order=order)
    if named in defs.SOURCES and not options.source:
        search = search._replace(order=(named,), named_by=named_by)
        named = ""
    if options.fetched:
        return _take_answer(search, named or search.kind)
    if named:
        return _open_named(named, search)
    if options.poll:
        return _poll(search)
    return _find(search)


def _take_answer(search: Search, named: str) -> Opened:
    """Take what a unit has fetched, where no drive has come meanwhile.

    ``named`` is the source or the kind of one that is named.
    """
    from guestagent.sources import remote

    root, labels = search.root, search.settings.drive_labels
    if root.live and "drive" in search.order and remote.has_drive_come(root, labels):
        raise DriveCame(_DRIVE_CAME)
    answer = remote.read_answer if search.options.dry_run else remote.take_answer
    return _with_values(Opened(answer(root)), _find_given(root, named))


def _open_named(named: str, search: Search) -> Opened:
    """Open the source that is named: none, a service by its URL, or a path."""
    options = search.options
    if named == _OFF and not options.source:
        silent = options.boot or options.refresh
        return Opened() if silent else Opened(problems=(_HERE.error(_IS_OFF),))
    if named.startswith(("http://", "https://")):
        return _ask(named, search)
    from guestagent.sources.path import open_path

    return _choose(Opened(open_path(named)))


def _poll(search: Search) -> Opened:
    """Ask the metadata service of a machine that was configured by it, or where it is named."""
    is_served = search.before.configured and "service" in search.order
    if not is_served or _may_not_follow("service", search):
        return Opened()
    return _ask("", search)


def _find(search: Search) -> Opened:
    """Find a source: a seed that this machine is told the place of, or the first that is there."""
    from guestagent.sources import seed

    given = _find_given(search.root, search.kind)
    if given and given.is_remote:
        return _with_values(_ask(given.place, search, seed=True), given)
    if given and given.place:
        return _with_values(_choose(Opened(seed.open_named(given))), given)
    directory = seed.find_directory() if search.root.live else ""
    opened = _search(search._replace(given=given, directory=directory))
    return opened._replace(problems=(*search.problems.problems, *opened.problems))


def _search(search: Search) -> Opened:
    """Return the first source of ``PROVIDERS`` that is there, and name the others in warnings."""
    providers = search.providers
    for number, provider in enumerate(providers):
        if _may_not_follow(provider.name, search):
            continue
        opened = _try(provider, search)
        if opened is not None and opened.bundle is not None:
            opened.bundle.kind = provider.name
            for other in providers[number + 1 :]:
                opened = _name_unused(opened, other, search)
            return _with_values(opened, search.given)
        if opened is not None:
            return opened if opened != Opened() else _find_nothing(search)
    return _find_nothing(search)


def _may_not_follow(name: str, search: Search) -> bool:
    """Tell whether a kind of source may not take the place of that which configured this machine.

    That is each kind that the search comes to later.  It is believed less, and whoever takes away
    what is believed more must not come to be believed by that.  Whoever names a kind may have
    another one used.  A copy of the disk in another machine is a new instance: any kind may
    configure it.
    """
    known, order = search.before.source, search.order
    # A kind that the settings leave out was named once; its place is the one without settings.
    places = order if known in order else defs.SOURCES
    if not known or search.named_by or places.index(name) <= places.index(known):
        return False
    return _was_configured_by(known, search.before)


def _was_configured_by(kind: str, before: State) -> bool:
    """Tell whether this machine, and not one that it is a copy of, was configured by this kind."""
    if before.source != kind:
        return False
    from guestagent.verbs.new_instance import is_other_machine

    return not is_other_machine(before)


def _find_nothing(search: Search) -> Opened:
    """Report that there is no source; at boot only where that is not to be expected.

    So it is where only one kind is searched for, or none, and where a source that is gone
    configured this machine.  ``guestagent refresh`` reports none of that.
    """
    options, before = search.options, search.before
    kinds = tuple(dict.fromkeys(search.order))
    if options.refresh:
        return Opened()
    if before.source and not search.named_by and _was_configured_by(before.source, before):
        return _tell_gone(search)
    if options.boot and len(kinds) > 1:
        return Opened()
    if len(kinds) > 1:
        return Opened(problems=(_HERE.error(_NOT_FOUND.format(", ".join(kinds))),))
    follows = _STAYS if before.configured else "nothing is applied"
    origin = _HERE.under(search.named_by) if search.named_by else _ORDER
    if kinds:
        missing = _show_missing(kinds[0], search)
        reason = _ONE_NOT_FOUND.format(kind=kinds[0], missing=missing, follows=follows)
    else:
        reason = _EMPTY_ORDER.format(follows=follows)
    # A setting of the image says what to search for, and not that it is there; and a source may be
    # taken away once it has configured the machine.
    may_be_missing = options.boot and (before.configured or not search.named_by)
    report = origin.warning if may_be_missing else origin.error
    return Opened(problems=(report(reason),))


def _tell_gone(search: Search) -> Opened:
    """Say that the source of this machine is not there, as loudly as that is unusual."""
    kind = search.before.source
    missing = _show_missing(kind, search) if kind in search.order else _NOT_IN_ORDER
    reason = _GONE.format(kind=kind, missing=missing)
    if not search.options.boot:
        return Opened(problems=(_HERE.error(reason),))
    if any(row.stays for row in PROVIDERS if row.name == kind):
        return Opened(problems=(_HERE.warning(reason),))
    log.info(reason)
    return Opened()


def _show_missing(kind: str, search: Search) -> str:
    """Return what of this kind was looked for and is not there."""
    text = next(row.missing for row in PROVIDERS if row.name == kind)
    return text.format(labels=" or ".join(search.settings.drive_labels))


def _try(provider: Provider, search: Search) -> Opened | None:
    """Open a source of this kind; None if there is none."""
    if provider.sign is not None and not provider.sign(search):
        return None
    opened = provider.open(search) if provider.open else _open_by_module(provider.name)
    return _choose(opened) if opened is not None and provider.named else opened


def _open_by_module(name: str) -> Opened | None:
    """Open a source by the module of its name."""
    problems = Problems()
    module = __import__(f"guestagent.sources.{name}", fromlist=["open_source"])
    bundle: Bundle | None = module.open_source(problems)
    return None if bundle is None else Opened(bundle, tuple(problems.problems))


def _choose(opened: Opened) -> Opened:
    """Mark a source as put there, or named, by whoever controls the machine."""
    if opened.bundle is not None:
        opened.bundle.named = True
        opened.bundle.kind = opened.bundle.kind or _SEED
    return opened


def _name_unused(opened: Opened, other: Provider, search: Search) -> Opened:
    """Add a warning for a source that is there too, and not used."""
    show = other.unused or other.sign
    where = show(search) if show is not None else ""
    if not where:
        return opened
    assert opened.bundle
    problem = Origin(where, "", "").warning(f"is not used, because {opened.bundle.label} is")
    return opened._replace(problems=(*opened.problems, problem))


def _find_given(root: Root, named: str) -> Given | None:
    """Return what this machine is told of a seed, if it is the one that is configured.

    It counts for no source but a seed where one is ``named``, or a kind.
    """
    if not root.live or named not in ("", _SEED):
        return None
    from guestagent.sources.seed import find_given

    return find_given()


def _with_values(opened: Opened, given: Given | None) -> Opened:
    """Return what was opened, with the values that are given for a seed."""
    if opened.bundle is None or given is None:
        return opened
    problems = Problems()
    problems.add(*opened.problems)
    given.add_to(opened.bundle, problems)
    return opened._replace(problems=tuple(problems.problems))


def postpone(root: Root) -> None:
    """Have a service asked when the boot is over, and not before sshd.  Raises OSError, Refused."""
    from guestagent.sources.remote import postpone_request

    postpone_request(root)


def remove_fetched(root: Root) -> None:
    """Remove what a unit has fetched for this run, if it is there.  Raises OSError, Refused."""
    from guestagent.sources.remote import remove_answer

    remove_answer(root)


def _find_credentials() -> str:
    from guestagent.system.machine import credentials_folder

    return credentials_folder()


def _name(options: Options, credentials: str) -> tuple[str, str]:
    """Return the source that is named, and what names it in messages; empty strings if none is.

    By the command line, else by the kernel's, else by a credential in a folder of them.  Raises
    UsageError.
    """
    if options.source:
        return options.source, ""
    from guestagent.system.machine import kernel_argument, read_text

    where = f"{defs.SOURCE_ARGUMENT} on the kernel command line"
    named = kernel_argument(defs.SOURCE_ARGUMENT) or ""
    if not named and credentials:
        where = f"system credential {defs.SOURCE_CREDENTIAL}"
        named = read_text(f"{credentials}/{defs.SOURCE_CREDENTIAL}")
    if not named:
        return "", ""
    is_place = named.startswith(("/", "http://", "https://")) and named.isprintable()
    if not is_place and named not in (*defs.SOURCES, _OFF):
        raise UsageError(f"{where} {_NOT_A_SOURCE}")
    return named, where


def _open_credentials(search: Search) -> Opened | None:
    return _open_by_module("credentials") if search.credentials else None


def _show_credentials(search: Search) -> str:
    return "system credentials" if search.credentials else ""


def _open_drive(search: Search) -> Opened | None:
    """Search for the config drive; at boot, wait for one that may come late."""
    from guestagent.sources import find

    options, settings, before = search.options, search.settings, search.before
    has_seed = bool(search.directory or (search.given and search.given.values))
    seeded = has_seed and _SEED in search.order
    # Where ds=nocloud says no more, and there is no directory of a seed, it means a drive.  But if
    # a directory configured this machine, that was removed since, and no drive will come.
    promised = search.given is not None and not seeded and not _was_configured_by(_SEED, before)
    # Where somebody names this kind alone, a missing drive is an error: it may still be on its way.
    promised |= bool(search.named_by) and not before.configured
    # By hand, what is attached is known to udev; at boot it may still be looking.
    wait = 0.0
    if options.boot and not _served(before):
        wait = settings.drive_wait
    promised |= settings.drive_expected
    wanted = find.Search(
        wait=wait,
        expected=before.source == "drive" or promised,
        keeps=lambda: not promised and _was_configured_by("drive", before),
        has_service=lambda: seeded or _has_service(search),
        labels=settings.drive_labels,
        idle=lambda: _idle(search, seeded=seeded),
    )
    bundle = find.find_drive(wanted, _instance_of, _read_all, search.problems)
    return None if bundle is None else Opened(bundle)


def _idle(search: Search, *, seeded: bool) -> float:
    """Return how many seconds udev must be idle before a boot goes on without a drive."""
    if seeded or search.before.source == "drive":
        return defs.UDEV_IDLE  # no service is asked, after which a drive is looked for again
    from guestagent.sources.cloud import identify

    cloud = identify(search.settings.metadata_service)
    if _is_deferrable(cloud, search.options, search.root, search.before):
        return 0.0
    brief = _looks_again(search.options, search.before)
    return defs.UDEV_BRIEFLY_IDLE if brief else defs.UDEV_IDLE


def _is_deferrable(cloud: Cloud, options: Options, root: Root, before: State) -> bool:
    """Tell whether sshd need not wait for the answer of a machine that is not configured.

    So it is where nobody gets in by sshd anyhow, whoever asks, and whenever.  Only where the
    hypervisor gives the machine its instance's UUID, a copy of its disk is known for sure.
    """
    if not options.boot or not cloud.own_uuid:
        return False
    from guestagent.verbs.new_instance import was_left_closed

    return was_left_closed(before) and not _closes_service(root)


def _looks_again(options: Options, before: State) -> bool:
    """Tell whether a drive is looked for again when the service has answered.

    Then the first look may end earlier, so that the network starts earlier.  It may not where an
    earlier boot ended without a source: a drive may have come too late for that.
    """
    from guestagent.verbs.new_instance import is_closed, is_same_machine

    return options.boot and not is_same_machine(before) and not is_closed(before)


def _show_drive(search: Search) -> str:
    """Return the name of a drive that udev knows; empty if it knows none."""
    from guestagent.sources.find import linked_drives

    drives = linked_drives(search.settings.drive_labels)
    return f"config drive {drives[0].device}" if drives else ""


def _served(before: State) -> bool:
    """Tell whether this very machine was configured without a drive: none will come."""
    if before.source == "drive" or not before.configured:
        return False
    from guestagent.system.machine import product_uuid

    return before.instance_id == product_uuid()


def _has_service(search: Search) -> bool:
    """Tell whether there is a sign of a metadata service, and one may be asked."""
    from guestagent.sources.cloud import identify

    return "service" in search.order and bool(identify(search.settings.metadata_service).name)


def _instance_of(bundle: Bundle) -> str | None:
    from guestagent.parse.layouts import read_instance_id

    return read_instance_id(bundle)


def _read_all(bundle: Bundle) -> None:
    from guestagent.parse.layouts import parse

    parse(bundle, Problems())


def _find_lxd(search: Search) -> str:
    """Return the path of LXD's or Incus's socket; empty if there is none."""
    paths = defs.LXD_SOCKETS if search.root.live else ()
    return next(filter(os.path.exists, paths), "")


def _open_directory(search: Search) -> Opened:
    from guestagent.sources.path import open_path

    return Opened(open_path(search.directory))


def _open_values(search: Search) -> Opened | None:
    """Take the values that ds=nocloud gives as a source of their own; without any, report an error.

    Where a seed configured this machine, it is no error: that may have been removed since.
    """
    given = search.given
    if given is None or (not given.values and _was_configured_by(_SEED, search.before)):
        return None
    if given.values:
        from guestagent.sources.seed import open_nothing

        return Opened(open_nothing(given))
    return Opened(problems=(_HERE.error(_NO_SEED.format(where=given.where)),))


def _open_guestinfo(search: Search) -> Opened | None:
    """Ask VMware's hypervisor, where DMI says that it is one."""
    from guestagent.system.machine import is_vmware

    return _open_by_module("guestinfo") if search.root.live and is_vmware() else None


def _open_media(search: Search) -> Opened | None:
    """Look for media without a label, where DMI or the image says that there may be one."""
    from guestagent.system.machine import dmi

    if not search.root.live:
        return None
    product = dmi("product_name").upper()
    is_known = product.startswith((defs.RHEV, defs.VSPHERE)) or os.path.exists(defs.CLOUD_INFO)
    return _open_by_module("media") if is_known else None


def _open_service(search: Search) -> Opened | None:
    """Ask the service of this machine's cloud; None if there is none, and other kinds follow."""
    if search.order[-1] != "service":
        from guestagent.sources.cloud import choose

        if not choose(search.settings.metadata_service, "").name:
            return None
    return _ask("", search)


def _ask(url: str, search: Search, *, seed: bool = False) -> Opened:
    """Ask a metadata service: that of the URL, or if it is empty that of this machine's cloud.

    ``seed``: the URL is that of a seed of NoCloud.

    A confined unit only leaves a request, for a unit that may use the network and nothing else.
    Having no cloud to ask is an error for a run by hand, but nothing special at boot.
    """
    from guestagent.sources.cloud import choose

    options, settings, root, before = search.options, search.settings, search.root, search.before
    cloud = choose(settings.metadata_service, url, seed=seed)
    if not cloud.name and (options.boot or options.refresh):
        return Opened()
    if not cloud.name:
        reason = f"{_NONE}; {_STAYS}" if before.configured else _NONE
        return Opened(problems=(_HERE.error(reason),))
    # Only now: most boots without a drive are of machines in no cloud.
    from guestagent.sources import remote

    request = remote.request_for(cloud, settings, url, before)
    if not options.boot and not options.confined:
        return Opened(remote.ask_now(request))
    # This unit has no access to the network.
    from guestagent.system.machine import product_uuid
    from guestagent.verbs.new_instance import is_same_machine

    same = before.configured and is_same_machine(before)
    # Only where the hypervisor gives the machine its instance's UUID, another one is another
    # instance for sure.
    tells = cloud.own_uuid and bool(product_uuid())
    stranger = not before.configured or (tells and not same)
    if options.refresh:
        request = request._replace(
            wait=min(request.wait, defs.METADATA_WAIT_KNOWN),
            brief=options.poll and is_tree_unchanged(before, root),
        )
    # At the first boot sshd waits for the answer, at later ones the answer for sshd.
    later = options.boot and same and not _closes_service(root)
    if not later:
        request = request._replace(patience=defs.METADATA_PATIENCE)
    deferrable = not url and _is_deferrable(request.cloud, options, root, before)
    if deferrable or (not url and _looks_again(options, before)):
        request = request._replace(since=time.monotonic())
    remote.leave_request(root, request, later=later)
    return Opened(asked=True, stranger=stranger, deferrable=deferrable)


def _closes_service(root: Root) -> bool:
    """Tell whether this boot closes the service to other users, which must come after the answer.

    The one that asks is such a user.
    """
    from guestagent.stacks import starts_at_boot

    return starts_at_boot(root, defs.LOCKDOWN_UNIT)


def describe_age(before: State) -> str:
    """Return what stays in effect where a source gives nothing, and how old that is."""
    if not before.configured:
        from guestagent.verbs.new_instance import is_closed

        text = "this machine was not configured yet"
        return f"{text}, and {_NOBODY_YET}" if is_closed(before) else text
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(before.time))
    days = int(time.time() - before.time) // 86400
    text = f"the configuration of {when} stays"
    return f"{text}, {days} days old" if days > 0 else text


# The kinds of sources: the first that is there is the source, in whatever state it is.  Their order
# is that of settings, and of defs.SOURCES without any.
PROVIDERS = (
    Provider(
        "credentials",
        open=_open_credentials,
        unused=_show_credentials,
        missing=f"there is no system credential whose name begins with {defs.CREDENTIAL_PREFIX}",
        stays=True,
    ),
    Provider(
        "drive",
        open=_open_drive,
        unused=_show_drive,
        missing="there is no block device with the label {labels}",
        stays=True,
    ),
    # Before a directory: LXD writes one when it makes an instance, and the socket has what it says
    # now.
    Provider("lxd", _find_lxd, missing=f"there is no socket {' or '.join(defs.LXD_SOCKETS)}"),
    Provider(
        "seed",
        lambda search: search.directory,
        _open_directory,
        named=True,
        missing=f"there is no meta-data in {', '.join(defs.SEED_DIRS)}, and no value of ds=nocloud",
    ),
    Provider("seed", open=_open_values, named=True),
    Provider(
        "guestinfo",
        open=_open_guestinfo,
        missing="DMI does not say VMware, open-vm-tools is missing, or guestinfo has no key",
    ),
    Provider(
        "media",
        open=_open_media,
        missing=(
            f"neither DMI nor {defs.CLOUD_INFO} says vSphere or RHEV, or there is no CD-ROM or "
            "floppy disk with an OVF environment or user data"
        ),
    ),
    Provider("service", open=_open_service, missing="there is no sign of a cloud that has one"),
)
