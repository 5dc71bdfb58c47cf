"""What guestagent remembers between runs: versioned JSON that only root can read.

It holds digests of what was applied, and no secret.
"""

from __future__ import annotations

from time import gmtime

from guestagent import VERSION, defs
from guestagent.errors import Origin, Problem
from guestagent.record import NamedTuple
from guestagent.system import ownfiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.sources.bundle import Bundle
    from guestagent.system.root import Root

_VERSION = 1
_SERVICE = "service"  # the part of a fingerprint that is about a metadata service
_OF_NICS = f"{defs.NET_DIR}/"
_LOST = (
    "is damaged, or of another version: what was applied before is not known, so this run is taken "
    "for the first, applies everything and writes a new one; if it happens again, check the disk"
)


class State(NamedTuple):
    """The last complete run; every default is that of a guest on which there was none.

    ``configured`` tells whether this was for an instance; a guest that is not configured has at
    most the means to ask a metadata service.  ``instance_id``, ``availability_zone`` and
    ``project_id`` are the instance's, empty where its source gives none.  ``layout`` is the name of
    its source's (``parse.layouts``).  ``record`` maps resources to digests of what was applied.

    ``seen`` and ``watched`` are the documents and paths that the run looked at; while their
    ``fingerprint``, made with ``salt``, stays the same, another run would find nothing to do.

    ``source`` is the kind of source that the machine was configured by (``defs.SOURCES``), empty
    where somebody named it by hand.  ``documents`` are digests, made with ``salt``, of what a
    metadata service may say differently later.  ``time`` is when the source was read, in seconds
    since the epoch.  ``user_data`` is a digest, made with ``user_data_salt``, of the user and
    vendor data that were applied; both are empty without any.

    ``unfinished``: the first boot of the instance could not read all that it needs, or not do all
    of it; until one can, a metadata service is trusted as at the first.  ``machine`` is the UUID
    that the hypervisor gave the machine that was configured, empty if none; of one that is not
    configured, only where it has started and its users can write to a source (``new_instance``).

    ``problems`` are those of the source, if a part of it cannot be used while all of this stays.

    ``imported_keys`` are accounts and the SSH keys that were fetched for them.

    ``macs`` are the MAC addresses of the NICs, if what was applied is the same whatever these are
    named, and the daemon sees to it when one is missing; otherwise empty.

    ``settings`` are what the settings files meant, with their digest (``settings.Known``).

    ``rejected`` is the digest of a network that was not confirmed in time
    (``applied.network_digest``): it is not applied until it is asked for again.
    """

    configured: bool = False
    instance_id: str = ""
    availability_zone: str = ""
    project_id: str = ""
    record: dict[str, str] = {}  # noqa: RUF012 - a record's default, never changed
    seen: tuple[str, ...] = ()
    watched: tuple[str, ...] = ()
    salt: str = ""
    fingerprint: str = ""
    source: str = ""
    documents: dict[str, str] = {}  # noqa: RUF012 - a record's default, never changed
    time: int = 0
    user_data: str = ""
    user_data_salt: str = ""
    rejected: str = ""
    unfinished: bool = False
    machine: str = ""
    settings: dict[str, Any] = {}  # noqa: RUF012 - a record's default, never changed
    settings_digest: str = ""
    layout: str = ""
    problems: tuple[Problem, ...] = ()
    imported_keys: tuple[tuple[str, str], ...] = ()
    macs: tuple[str, ...] = ()


def load(root: Root) -> State:
    """Return the state of the tree; the defaults where there is none that can be understood.

    Raises OSError where the tree fails.
    """
    # A state that cannot be understood must not stop every run: the next one is a first one.
    return _read(root) or State()


def explain_loss(root: Root, found: State) -> Problem | None:
    """Return a warning if ``load`` found nothing because the file cannot be understood.

    Raises OSError.
    """
    if found.configured or not root.exists(defs.STATE_FILE) or _read(root) is not None:
        return None
    return Origin("guestagent", defs.STATE_FILE, "").warning(_LOST)


def _read(root: Root) -> State | None:
    value = ownfiles.read(root, defs.STATE_FILE)
    if not isinstance(value, dict) or value.get("version") != _VERSION:
        return None
    try:
        return _decode(value)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, OSError):
        return None


def _decode(value: dict[str, Any]) -> State:
    """Raise one of several exceptions where a value is not as ``save`` writes it."""
    return State(
        configured=value["configured"] is True,
        instance_id=_text(value["instance_id"]),
        availability_zone=_text(value["availability_zone"]),
        project_id=_text(value["project_id"]),
        record={_text(key): _text(item) for key, item in value["record"].items()},
        seen=_texts(value["seen"]),
        watched=_texts(value["watched"]),
        salt=_hexadecimal(value["salt"]),
        fingerprint=_text(value["fingerprint"]),
        source=_kind(value["source"]),
        documents={_text(key): _text(item) for key, item in value["documents"].items()},
        time=_time(value["time"]),
        user_data=_text(value["user_data"]),
        user_data_salt=_hexadecimal(value["user_data_salt"]),
        rejected=_text(value["rejected"]),
        unfinished=value["unfinished"] is True,
        machine=_text(value["machine"]),
        settings={_text(key): _setting(item) for key, item in value["settings"].items()},
        settings_digest=_text(value["settings_digest"]),
        layout=_text(value["layout"]),
        problems=tuple(_problem(*item) for item in value["problems"]),
        imported_keys=tuple((_text(name), _text(key)) for name, key in value["imported_keys"]),
        macs=_texts(value["macs"]),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:  # no path has a NUL
        raise TypeError
    if not value.isascii():
        value.encode("utf-8", "surrogateescape")  # what stands for no byte raises ValueError
    return value


def _kind(value: Any) -> str:
    if value and value not in defs.SOURCES:
        raise ValueError
    return _text(value)


def _problem(severity: Any, *parts: Any) -> Problem:
    """Return a problem.  Raises TypeError, ValueError for a value that is none."""
    source, document, key, reason = map(_text, parts)
    if severity not in ("error", "warning"):
        raise ValueError
    return Problem(severity, source, document, key, reason)


def _setting(value: Any) -> Any:
    """Return the value of a setting: a text, texts, a number, or true or false."""
    if isinstance(value, list):
        return _texts(value)
    return value if isinstance(value, int | float) else _text(value)


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple(_text(item) for item in value)


def _time(value: Any) -> int:
    gmtime(value)  # raises OverflowError, OSError for what is no time
    return int(value)


def _hexadecimal(value: Any) -> str:
    bytes.fromhex(_text(value))
    return str(value)


def save(root: Root, state: State) -> None:
    """Write the state durably.  Raises OSError, Refused."""
    ownfiles.write(root, defs.STATE_FILE, {"version": _VERSION, **state._asdict()}, 0o600)


def can_compare(run: State, bundle: Bundle) -> bool:
    """Tell whether one look can show that nothing has changed since a run.

    A metadata service was asked only for what can change in an instance's life, and the bundle says
    whether that did.
    """
    return bool(run.fingerprint) and (bundle.unchanged or not bundle.service)


def is_unchanged(run: State, bundle: Bundle, root: Root, *, nics: bool = True) -> bool:
    """Tell whether source and tree are as a run left them.  Raises SourceBroken.

    Without ``nics``, which of those there are and what they are named makes no difference.
    """
    if not can_compare(run, bundle):
        return False
    known, present = run.fingerprint.split(), fingerprint(run, bundle, root).split()
    return known == present if nics else known[:-1] == present[:-1]


def is_tree_unchanged(run: State, root: Root) -> bool:
    """Tell whether the tree is as a run left it whose source was a metadata service."""
    if not run.fingerprint or not run.documents:
        return False
    return run.fingerprint == f"{VERSION} {_SERVICE} {_tree(run, root)}"


def is_same_source(run: State, bundle: Bundle) -> bool:
    """Tell whether a source says what a run has seen, whatever became of the tree since.

    Raises SourceBroken.
    """
    if not can_compare(run, bundle):
        return False
    return bundle.service or [_source(run, bundle)] == run.fingerprint.split()[1:2]


def with_source(run: State, bundle: Bundle, salt: str) -> State:
    """Return the state of a run that could not do all, with what ``is_same_source`` goes by.

    The next run finds a difference all the same, because nothing of the tree is in the fingerprint.
    Raises SourceBroken.
    """
    run = run._replace(salt=salt, seen=tuple(bundle.seen))
    return run._replace(fingerprint=f"{VERSION} {_source(run, bundle)}")


def fingerprint(run: State, bundle: Bundle, root: Root) -> str:
    """Return the present state of all that a run looked at, as keyed digests.

    It holds the version of guestagent too: another one may plan differently.  Raises SourceBroken.
    """
    return f"{VERSION} {_source(run, bundle)} {_tree(run, root)}"


def _tree(run: State, root: Root) -> str:
    """Return the part of a fingerprint that is the tree's: two words, the second of the NICs."""
    salt = bytes.fromhex(run.salt)
    others = [path for path in run.watched if not path.startswith(_OF_NICS)]
    nics = [path for path in run.watched if path.startswith(_OF_NICS)]
    return f"{root.fingerprint(others, salt)} {root.fingerprint(nics, salt)}"


def _source(run: State, bundle: Bundle) -> str:
    """Return the part of a fingerprint that is the source's: one word.  Raises SourceBroken."""
    # What a service says was compared when it was asked.
    return _SERVICE if bundle.service else bundle.fingerprint(run.seen, bytes.fromhex(run.salt))
