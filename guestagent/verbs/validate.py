"""``guestagent validate``: what user data would do, said on any machine.

The documents go through the same parser and the same planners as in a guest, but the guest is an
imagined one.
"""

from __future__ import annotations

import os
import sys
from stat import S_ISREG

from guestagent import defs
from guestagent.desired import desired
from guestagent.desired.accounts.passwords import NO_ACCOUNT
from guestagent.desired.accounts.users import NO_MEMBER
from guestagent.errors import FieldError, Origin, Problem, Problems, UsageError
from guestagent.log import printable
from guestagent.model import InstanceData
from guestagent.parse.userdata.read import read
from guestagent.plan.difference import Plan, diff
from guestagent.plan.wanted import Ask, Wanted
from guestagent.record import NamedTuple
from guestagent.report.plan import plan_object, text
from guestagent.system.jsontext import dumps
from guestagent.verbs.imagined_guest import (
    DEBIAN,
    METADATA,
    SETTINGS,
    SYSTEMS,
    ImaginedTree,
    imagine_facts,
    imagine_variables,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.model import Facts
    from guestagent.options import Options
    from guestagent.parse.userdata.signatures import Signatures
    from guestagent.plan.kinds import Change, Resource
    from guestagent.settings import Settings

_META, _NETWORK = "meta_data.json", "network_data.json"
# What belongs together for whoever misses it: files by their paths, the others by their kinds.
_HOST_NAME = (defs.HOSTNAME_FILE, defs.HOSTS_FILE, "set_hostname")
_ACCOUNT = (defs.SUDOERS_FILE, defs.DOAS_FILE, "add_user", "add_group", "add_member")
METADATA_DOCUMENTS = (_META, _NETWORK, "vendor_data.json", "vendor_data2.json")


class Verdict(NamedTuple):
    """What a document would do on first boot, in the order in which it is done.

    ``without_effect`` are keys that are valid and change nothing: what they ask for is the default,
    or it is about something that the document does not use.  ``taken_away`` is what would be done
    without the document: changes by what they make up together.  ``signatures`` are those that were
    demanded and hold.
    """

    name: str
    plan: Plan
    problems: tuple[Problem, ...] = ()
    without_effect: tuple[str, ...] = ()
    taken_away: tuple[tuple[Change, ...], ...] = ()
    signatures: tuple[str, ...] = ()

    def count(self, severity: str) -> int:
        """Return the number of errors, or of warnings."""
        return sum(problem.severity == severity for problem in self.problems)


def run(options: Options) -> int:
    """Print the verdict on each file.  Return 1 if a file has errors, else 0.

    Raises UsageError for a distribution that is not known.
    """
    system = options.os or DEBIAN
    if system not in SYSTEMS:
        raise UsageError(f"--os must be one of {', '.join(SYSTEMS)}")
    signatures = None
    if options.signers:
        from guestagent.verbs.signatures import by_file

        signatures = by_file(options.signers)
    verdicts = [validate_file(path, system, signatures) for path in options.files]
    if options.json:
        print(dumps([_as_json(verdict) for verdict in verdicts]))
    else:
        sys.stdout.write("\n".join(_text(verdict) for verdict in verdicts))
    failed = any(verdict.count("error") for verdict in verdicts)
    return defs.EXIT_ERRORS if failed else defs.EXIT_OK


def validate_file(path: str, system: str, signatures: Signatures | None = None) -> Verdict:
    """Return the verdict on a file, or on standard input for "-".

    That a file cannot be read is an error of that file.
    """
    name = "standard input" if path == "-" else path
    try:
        content = _content(path)
    except FieldError as error:
        reason = str(error)
    except OSError as error:
        reason = str(error.strerror)
    else:
        signature = None
        if signatures:
            signatures = signatures._replace(verified=[])  # of this file alone
            signature = _signature_beside(path)
        return validate(name, content, system, signatures, signature=signature)
    problem = Origin(name, "", "").error(f"cannot be read: {reason}")
    return Verdict(name, Plan(), (problem,))


def _signature_beside(path: str) -> bytes | None:
    """Return the signature that is in a file beside a document; None where there is none."""
    try:
        return _content(f"{path}.sig") if path != "-" else None
    except (FieldError, OSError):
        return None  # then the document has to be signed itself


def _content(path: str) -> bytes:
    """Return the bytes of a file, and one more than the limit of a larger one.

    Raises FieldError, OSError.
    """
    if path == "-":
        with open(0, "rb", closefd=False) as file:
            return file.read(defs.USER_DATA_LIMIT + 1)
    # O_NONBLOCK, because opening a FIFO without a writer would wait for one for ever.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        if not S_ISREG(os.fstat(fd).st_mode):
            raise FieldError("not a regular file; - reads standard input")
        return file.read(defs.USER_DATA_LIMIT + 1)


def validate(
    name: str,
    content: bytes,
    system: str = DEBIAN,
    signatures: Signatures | None = None,
    *,
    signature: bytes | None = None,
) -> Verdict:
    """Plan a document for a new instance of one of ``SYSTEMS``.

    ``name`` is the source in all origins.  Its last part says whether the document is one of the
    metadata; anything else is user data.  ``signatures`` are those that are demanded, ``signature``
    is what is beside user data.
    """
    problems = Problems()
    if name.rpartition("/")[2] in METADATA_DOCUMENTS:
        data, others, settings = _read_metadata(name, content, problems, signatures)
    else:
        others, settings = METADATA, SETTINGS
        config, scripts = read(
            content,
            None,
            None,
            source=name,
            problems=problems,
            documents=("", "", ""),
            variables=lambda: imagine_variables(system),
            signatures=signatures,
            signature=signature,
        )
        data = METADATA._replace(config=config, scripts=scripts)
    facts = imagine_facts(system, data)
    wanted = _plan(data, facts, settings)
    # What other documents alone make happen is left out: it is not of this one.
    anyway = _plan(others, facts, settings).resources
    own = [resource for resource in wanted.resources if resource not in anyway]
    keys = {resource.key for resource in wanted.resources}
    taken = [resource for resource in anyway if resource.key not in keys]
    tree = ImaginedTree({resource.target for resource in own if resource.kind == "link"})
    plan = diff(own, tree, facts, recorded={}, first=True, complete=True)
    plan = plan._replace(changes=tuple(sorted(plan.changes, key=_order)))
    less = diff(taken, tree, facts, recorded={}, first=True, complete=True)
    problems.add_all(wanted)
    problems.add(*plan.problems)
    weighed = tuple(_weigh(problem) for problem in problems.problems)
    without_effect = _without_effect(data, facts, wanted.resources, weighed)
    held = signatures.tell() if signatures else ()
    return Verdict(name, plan, weighed, without_effect, _together(less.changes), held)


def _together(changes: tuple[Change, ...]) -> tuple[tuple[Change, ...], ...]:
    """Return changes by what they make up: the host name, the default user, or one thing each."""
    found: dict[str, tuple[Change, ...]] = {}
    for index, change in enumerate(changes):
        marks = (change.kind, getattr(change, "path", ""))
        thing = str(index)
        for name, group in (("host name", _HOST_NAME), ("account", _ACCOUNT)):
            if not set(marks).isdisjoint(group):
                thing = name
        found[thing] = (*found.get(thing, ()), change)
    return tuple(found.values())


def _read_metadata(
    name: str, content: bytes, problems: Problems, signatures: Signatures | None
) -> tuple[InstanceData, InstanceData, Settings]:
    """Read one document of OpenStack's metadata as if it were alone on a drive.

    Returns what it says with what the other documents say, which is returned too, and the settings
    with which to plan that.
    """
    from guestagent.parse.layouts import parse
    from guestagent.sources.bundle import Bundle
    from guestagent.sources.documents import Documents

    class Alone(Documents):
        """The document, and an empty one for each file that it names."""

        def fetch(self, name: str, limit: int) -> bytes | None:
            found = super().fetch(name, limit)
            return b"" if found is None and "/content/" in name else found

    folder, _, document = name.rpartition("/")
    documents = {f"openstack/latest/{_META}": b"{}", f"openstack/latest/{document}": content}
    found = Problems()
    data = parse(Bundle(folder, Alone(documents)), found, signatures=signatures)
    if signatures:
        data = signatures.without_files(data, found)
    # What is wrong with the other one is not asked.
    problems.add(*(item for item in found.problems if item.document.endswith(document)))
    if document == _META:
        return data, InstanceData(), SETTINGS
    if document == _NETWORK:
        whole = METADATA._replace(network=data.network)
        return whole, METADATA, SETTINGS._replace(network_manage=True)
    return METADATA._replace(config=data.config, scripts=data.scripts), METADATA, SETTINGS


def _plan(data: InstanceData, facts: Facts, settings: Settings = SETTINGS) -> Wanted:
    """Return what a new instance with these data wants."""
    wanted = Wanted()
    desired(Ask(data, facts, settings, first=True), wanted)
    return wanted


def _weigh(problem: Problem) -> Problem:
    """Return the problem; as a warning if it is about an account that an image may well have."""
    if problem.reason not in (NO_ACCOUNT, NO_MEMBER):
        return problem
    return problem._replace(severity="warning", reason=f"{problem.reason}, unless the image has it")


def _order(change: Change) -> tuple[int, str]:
    """Return where a change comes: at once, in the early stage, or in the late one."""
    if change.kind == "write_later":
        return 2, "30"  # the script that writes it is among the others
    if change.kind != "step":
        return 0, ""
    return (1 if change.script.stage == "early" else 2), change.script.file_name


def _without_effect(
    data: InstanceData, facts: Facts, resources: list[Resource], problems: tuple[Problem, ...]
) -> tuple[str, ...]:
    """Return the keys without which the plan would be the same, and that no problem names."""
    found = []
    # A key has an effect if the plan without it is another one.
    for setting in data.config:
        others = tuple(other for other in data.config if other is not setting)
        less = _plan(data._replace(config=others), facts).resources
        named = any(_names(problem, setting.key) for problem in problems)
        if less == resources and not named:
            found.append(setting.key)
    return tuple(found)


def _names(problem: Problem, key: str) -> bool:
    """Tell whether a problem is about a key of cloud-config, or a part of its value."""
    place = problem.key.rpartition(": ")[2]  # after the name of a part of the document
    return place.startswith(key) and place[len(key) : len(key) + 1] in ("", " ", ".", "[")


def _text(verdict: Verdict) -> str:
    """Return a verdict for people."""
    lines = [f"{printable(verdict.name)}: {_summary(verdict)}\n"]
    lines += [f"{problem.severity}: {printable(problem.text())}\n" for problem in verdict.problems]
    lines += [f"signed: {printable(signature)}\n" for signature in verdict.signatures]
    if verdict.without_effect:
        lines.append(f"keys without effect: {', '.join(verdict.without_effect)}\n")
    lines += [f"taken away: {printable(text)}\n" for text in _tell_taken(verdict)]
    if verdict.plan.changes:
        lines.append(text(verdict.plan, []))
    return "".join(lines)


def _tell_taken(verdict: Verdict) -> list[str]:
    """Return what is taken away, a line for each thing."""
    return ["; ".join(change.tell() for change in changes) for changes in verdict.taken_away]


def _summary(verdict: Verdict) -> str:
    """Return how many things there are to do, and how many problems."""
    changes = len(verdict.plan.changes)
    parts = [_count(changes, "thing to do", "things to do") if changes else "nothing to do"]
    taken = len(verdict.taken_away)
    if taken:
        parts.append(_count(taken, "thing taken away", "things taken away"))
    warnings, errors = verdict.count("warning"), verdict.count("error")
    if warnings:
        parts.append(_count(warnings, "warning", "warnings"))
    if errors:
        parts.append(_count(errors, "error", "errors"))
    return ", ".join(parts)


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def _as_json(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict for programs."""
    return {
        "file": verdict.name,
        "errors": verdict.count("error"),
        "warnings": verdict.count("warning"),
        **plan_object(verdict.plan, verdict.problems),
        "signatures": verdict.signatures,
        "without_effect": verdict.without_effect,
        "taken_away": _tell_taken(verdict),
    }
