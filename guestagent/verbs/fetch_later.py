"""``guestagent fetch-later``: have fetched what a script of the late stage names, and write it.

A unit without rights fetches, ``guestagent-download``; where systemd does not manage services, a
child that has become the user nobody.  What came is taken for what it was to be, a file's content,
SSH keys or user data, whatever else it may say.
"""

from __future__ import annotations

import os
import sys
import time

from guestagent import defs, facts, log
from guestagent.desired import fetching
from guestagent.desired.accounts import plan_imported
from guestagent.desired.packages.openpgp import select
from guestagent.errors import FieldError, NoPermission, Origin, Problems, Refused, UsageError
from guestagent.memory import state
from guestagent.model import InstanceData, Text
from guestagent.parse import fields
from guestagent.plan.difference import diff
from guestagent.plan.kinds.block import Block, extract
from guestagent.plan.kinds.file import File
from guestagent.plan.wanted import Ask, Wanted
from guestagent.record import NamedTuple
from guestagent.report.additions import Fetched, add_fetched
from guestagent.settings import load
from guestagent.sources.downloads import (
    ANSWER_LIMIT,
    Download,
    Downloaded,
    Request,
    decode_answer,
    encode_answer,
    request_as_json,
    shown,
)
from guestagent.system import ownfiles
from guestagent.system.lock import lock
from guestagent.system.root import Root, read_at
from guestagent.system.tools import find_program
from guestagent.system.tools import run as run_program
from guestagent.verbs.change import without
from guestagent.verbs.write_later import commit_late, write_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from guestagent.options import Options
    from guestagent.settings import Settings
    from guestagent.verbs.include import Included

_DAMAGED = "not what guestagent's own script says; nothing is fetched"
_FORM = {"http": bool, "again": int, "items": list}
_ITEM = {
    "url": str,
    "headers": dict,
    "file": dict | None,
    "keys_for": str,
    "include": str,
    "apt_key": dict | None,
    "why": list,
}
_FILE = {"path": str, "mode": int, "owner": str, "append": bool}
_APT_KEY = {"id": str, "keyring": str, "source": str, "content": str, "mode": int}
_ALL_BITS = 0o7777  # of a mode
_GRACE = 25.0  # seconds that the unit has to start, beyond the time for what it fetches
_FALLBACK = "its content is used instead"
_TRIED_AGAIN = "it is tried again in some minutes, or at the next boot"
_GIVEN_UP = "it is not tried again"
_TOO_MANY = f"is left out: more than {defs.FETCH_COUNT} documents are to be fetched"
_TOO_DEEP = f"is left out: is included more than {defs.PART_DEPTH} deep"
_WITHOUT_KEY = "its source is left out, so its packages will be missing"
_NO_KEYS = "there are no keys of that name"
_TOO_MANY_KEYS = (
    f"has keys beyond {defs.MAX_KEYS}, or {defs.FILE_LIMIT >> 20} MiB, of all that are imported; "
    "they are left out"
)


class _AptKey(NamedTuple):
    """The key of a source of apt: its id, its file, and the file of the source, if there is one."""

    id: str
    keyring: str
    source: File | None

    def as_json(self) -> dict[str, Any]:
        """Return the key as a script names it."""
        return {
            "id": self.id,
            "keyring": self.keyring,
            "source": self.source.path if self.source else "",
            "content": self.source.content.decode() if self.source else "",
            "mode": self.source.mode if self.source else 0,
        }


class _Item(NamedTuple):
    """A document to fetch, and what for: a file, keys for an account, user data, a key for apt.

    ``fallback`` is the content that the file has if it cannot be fetched, if there is one.
    ``include`` is a name for included user data, which no other document of this instance has;
    ``include-1-2`` is the second that ``include-1`` includes.
    """

    download: Download
    why: Origin
    file: File | None
    fallback: bytes | None
    keys_for: str = ""
    include: str = ""
    apt_key: _AptKey | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the item as a script names it."""
        found = {**self.download._asdict(), "keys_for": self.keys_for, "include": self.include}
        file, apt_key = None, None
        if self.apt_key is not None:
            apt_key = self.apt_key.as_json()
        if self.file is not None:
            file = {
                "path": self.file.path,
                "mode": self.file.mode,
                "owner": self.file.owner,
                "append": self.file.kind == "append",
                "fallback": None if self.fallback is None else self.fallback.hex(),
            }
        return {**found, "file": file, "apt_key": apt_key, "why": list(self.why)}


def run(_: Options) -> int:
    """Fetch and write what standard input describes.  Return the exit status.

    Raises GuestagentError, OSError.
    """
    if os.geteuid() != 0:
        raise NoPermission("only root may change the running system")
    return fetch_later(Root("/"), sys.stdin.buffer.read())


def fetch_later(root: Root, content: bytes) -> int:
    """Fetch what a script names, and write it into a tree.  Return the exit status.

    Raises GuestagentError, OSError.
    """
    try:
        items, http, again = _decode(content)
    except FieldError as error:
        raise UsageError(f"fetch-later: standard input: {error}") from None
    problems = Problems()
    # The run that staged the script has reported what is wrong with the settings.
    settings = load(root, Problems())
    fetch = _Fetch(root, settings, http=http, again=again, problems=problems)
    items, found, included = fetch.all(items)
    left = [item for item, one in zip(items, found, strict=True) if fetch.is_tried_again(item, one)]
    held = lock(root, wait=defs.LOCK_WAIT_LATE)
    try:
        _write_files(root, items, found, problems=problems)
        _write_apt_keys(root, items, found, problems=problems)
        _import_keys(root, items, found, settings, problems=problems)
        _apply(root, included, settings, problems=problems)
        fetched = [
            _tell(item, one) for item, one in zip(items, found, strict=True) if not one.error
        ]
        _leave(root, left, http=http, again=again - 1, problems=problems)
        tried = [(item.why, f"{shown(item.download.url)}: ") for item in items]
        add_fetched(root, fetched, problems.problems, tried)
    finally:
        os.close(held)
    for problem in problems.problems:
        log.problem(problem)
    errors = any(problem.severity == "error" for problem in problems.problems)
    if left:
        return defs.EXIT_TRY_AGAIN
    return defs.EXIT_ERRORS if errors else defs.EXIT_OK


class _Fetch:
    """One run: what it may use in all, includes of includes included.

    ``again`` is how many more runs may follow for what cannot be reached now.
    """

    def __init__(
        self, root: Root, settings: Settings, *, http: bool, again: int, problems: Problems
    ) -> None:
        self._root, self._settings, self._problems = root, settings, problems
        self._http, self._again = http, again
        self._end = time.monotonic() + defs.FETCH_WAIT
        self._room = defs.TOTAL_LIMIT

    def all(self, items: list[_Item]) -> tuple[list[_Item], list[Downloaded], list[Included]]:
        """Fetch items, and what included documents include; return all of them, and what came.

        Included documents come in the order in which they were fetched.
        """
        found: list[Downloaded] = []
        included: list[Included] = []
        while len(items) > len(found):
            fresh = items[len(found) :]
            came = self._download(fresh)
            found += came
            for item, one in zip(fresh, came, strict=True):
                if item.include:
                    document, nested = self._read_included(item, one)
                    included += document
                    items = [*items, *nested]
            for item in items[defs.FETCH_COUNT :]:
                self._problems.error(item.why, f"{shown(item.download.url)}: {_TOO_MANY}")
            items = items[: defs.FETCH_COUNT]
        return items, found, included

    def is_tried_again(self, item: _Item, one: Downloaded) -> bool:
        """Tell whether a later run tries what cannot be had now."""
        return self._again > 0 and _may_come(item, one)

    def _download(self, items: list[_Item]) -> list[Downloaded]:
        """Return what came of each item, with what becomes of it in its error."""
        seconds = max(0, int(self._end - time.monotonic()))
        downloads = [item.download for item in items]
        request = Request(downloads, self._http, seconds, self._room)
        came = _download(self._root, request)
        self._room = max(0, self._room - sum(len(one.content) for one in came))
        outlook = _TRIED_AGAIN if self._again > 0 else _GIVEN_UP
        return [
            one._replace(error=f"{one.error}; {outlook}") if _may_come(item, one) else one
            for item, one in zip(items, came, strict=True)
        ]

    def _read_included(self, item: _Item, one: Downloaded) -> tuple[list[Included], list[_Item]]:
        """Return what an included document says, and the documents that it includes itself."""
        url = shown(item.download.url)
        if one.error:
            self._problems.error(item.why, f"{url}: {one.error}; nothing of it is applied")
            return [], []
        from guestagent.verbs.include import read_included

        document, wrong = read_included(
            one.content, url, item.why, item.include, self._root, self._settings
        )
        self._problems.add(*wrong)
        nested = [
            _Item(Download(each), why, None, None, include=f"{item.include}-{number}")
            for number, (each, why) in enumerate(document.urls, 1)
        ]
        if item.include.count("-") < defs.PART_DEPTH:
            return [document], nested
        for each in nested:
            self._problems.error(each.why, f"{shown(each.download.url)}: {_TOO_DEEP}")
        return [document], []


def _may_come(item: _Item, one: Downloaded) -> bool:
    """Tell whether a later try may have more success, and there is nothing else in its place."""
    return bool(one.error) and one.again and item.fallback is None


def _leave(
    root: Root, left: Sequence[_Item], *, http: bool, again: int, problems: Problems
) -> None:
    """Put a script for what is left in place of the one that runs.

    Its content is another one, so that the ledger does not take it for one that ran.  Raises
    GuestagentError, OSError.
    """
    if not left:
        return
    items = [item.as_json() for item in left]
    script = fetching.script(items, left[0].why, http=http, again=again)
    found = facts.gather(root)
    plan = diff([script], root, found, recorded={}, first=False, complete=False)
    problems.add(*plan.problems, *(problem for _, problem in commit_late(plan, root)))


def _decode(content: bytes) -> tuple[list[_Item], bool, int]:
    """Return what a script names, whether http is allowed, and how many runs may follow.

    Raises FieldError.
    """
    from guestagent.system.jsontext import has_form, loads_own

    value = loads_own(content)
    if not has_form(value, _FORM) or len(value["items"]) > defs.FETCH_COUNT:
        raise FieldError(_DAMAGED)
    return [_item(item) for item in value["items"]], value["http"], value["again"]


def _item(value: Any) -> _Item:
    """Return one item of what a script names.  Raises FieldError."""
    from guestagent.system.jsontext import has_form

    if not has_form(value, _ITEM):
        raise FieldError(_DAMAGED)
    if [type(word) for word in value["why"]] != [str] * 3:
        raise FieldError(_DAMAGED)
    why = Origin(*value["why"])
    download = Download(value["url"], value["headers"])
    if value["apt_key"] is not None:
        return _Item(download, why, None, None, apt_key=_apt_key(value["apt_key"], why))
    given = value["file"]
    if given is None:
        return _Item(download, why, None, None, value["keys_for"], value["include"])
    fallback = given.pop("fallback", None)
    if not has_form(given, _FILE) or not 0 <= given["mode"] <= _ALL_BITS:
        raise FieldError(_DAMAGED)
    file = File(
        "append" if given["append"] else "file",
        given["path"],
        b"",
        given["mode"],
        why=why,
        secret=True,
        owner=given["owner"],
    )
    return _Item(download, why, file, None if fallback is None else bytes.fromhex(fallback))


def _apt_key(value: Any, why: Origin) -> _AptKey:
    """Return what an item says of a key for apt.  Raises FieldError."""
    from guestagent.system.jsontext import has_form

    if not has_form(value, _APT_KEY) or not 0 <= value["mode"] <= _ALL_BITS:
        raise FieldError(_DAMAGED)
    source = None
    if value["source"]:
        content, mode = value["content"].encode(), value["mode"]
        source = File("file", value["source"], content, mode, why=why, secret=True)
    return _AptKey(value["id"], value["keyring"], source)


def _download(root: Root, request: Request) -> list[Downloaded]:
    """Return what came of each download, one way or the other."""
    patience = request.seconds + _GRACE
    if os.path.isdir(defs.SYSTEMD_DIR):
        content = _ask_unit(root, request_as_json(request), patience)
    else:
        from guestagent.sources.https import fetch_all
        from guestagent.system.privsep import ask_as_nobody

        content = ask_as_nobody(
            lambda: encode_answer(fetch_all(request)),
            ANSWER_LIMIT,
            patience,
            memory=defs.FETCH_MEMORY,
        )
    return decode_answer(content, len(request.downloads))


def _ask_unit(root: Root, request: dict[str, Any], patience: float) -> bytes:
    """Return what the unit that fetches has printed; empty where it printed nothing in time."""
    systemctl = find_program("systemctl") or "systemctl"
    ownfiles.remove(root, defs.DOWNLOAD_ANSWER)
    ownfiles.write(root, defs.DOWNLOAD_REQUEST, request, 0o600)
    try:
        result = run_program([systemctl, "start", defs.DOWNLOAD_UNIT], timeout=patience)
        if result.status:
            log.error(f"{defs.DOWNLOAD_UNIT}: {result.reason()}")
        with root.place(defs.DOWNLOAD_ANSWER) as place:
            return read_at(place.fd, place.name, ANSWER_LIMIT)
    except (FileNotFoundError, Refused):
        return b""
    finally:
        # URLs and what is fetched may be secret.
        ownfiles.remove(root, defs.DOWNLOAD_REQUEST)
        ownfiles.remove(root, defs.DOWNLOAD_ANSWER)


def _write_files(
    root: Root, items: Sequence[_Item], found: Sequence[Downloaded], problems: Problems
) -> None:
    """Write the files whose contents came, or have a fallback.

    Each path is written once, with all that comes to it: it is compared with the tree only once.
    """
    files: dict[str, File] = {}
    for item, one in zip(items, found, strict=True):
        if item.file is None:
            continue
        content = one.content
        if one.error:
            more = "" if item.fallback is None else f"; {_FALLBACK}"
            problems.error(item.why, f"{shown(item.download.url)}: {one.error}{more}")
            if item.fallback is None:
                continue
            content = item.fallback
        file = item.file._replace(content=content)
        earlier = files.get(file.path)
        if earlier is not None and file.kind == "append":
            file = earlier._replace(content=earlier.content + content)
        files[file.path] = file
    if files:
        problems.add(*write_files(root, list(files.values())))


def _write_apt_keys(
    root: Root, items: Sequence[_Item], found: Sequence[Downloaded], problems: Problems
) -> None:
    """Write the keys of sources of apt that are those that were named, and their sources."""
    for item, one in zip(items, found, strict=True):
        if item.apt_key is None:
            continue
        reason = one.error
        content = b""
        if not reason:
            try:
                content = select(one.content, item.apt_key.id)
            except FieldError as error:
                reason = str(error)
        if reason:
            problems.error(item.why, f"{shown(item.download.url)}: {reason}; {_WITHOUT_KEY}")
            continue
        files = [File("file", item.apt_key.keyring, content, 0o644, why=item.why)]
        if item.apt_key.source is not None:
            files.append(item.apt_key.source)
        problems.add(*write_files(root, files))


def _import_keys(
    root: Root,
    items: Sequence[_Item],
    found: Sequence[Downloaded],
    settings: Settings,
    problems: Problems,
) -> None:
    """Add the keys that came to those of their accounts, and remember them."""
    imported = _read_all_keys(items, found, problems)
    if not imported:
        return
    before, tree = state.load(root), facts.gather(root)
    data = InstanceData(imported_keys=tuple(imported))
    ask = Ask(data, tree, settings, first=False, complete=False)
    wanted = Wanted()
    plan_imported(ask, wanted)
    problems.add_all(wanted)
    blocks = [_behind_others(item, root) for item in wanted.resources if item.kind == "block"]
    plan = diff(blocks, root, tree, recorded=before.record, first=False, complete=False)
    failures = commit_late(plan, root)
    problems.add(*plan.problems)
    problems.add(*(problem for _, problem in failures))
    for path in plan.kept:
        problems.error(imported[0][1].origin, f"{path}: left alone, changed by an administrator")
    done = without(plan, [change for change, _ in failures], before.record)
    known = dict.fromkeys(before.imported_keys)
    known |= dict.fromkeys((name, key.value) for name, key in imported)
    state.save(root, before._replace(record=done.record, imported_keys=tuple(known)))


def _behind_others(block: Block, root: Root) -> Block:
    """Return a block of new keys with those before them that guestagent has put there."""
    try:
        present = extract(root.read(root.follow(block.path)) or b"", block.style)
    except (Refused, OSError):
        return block  # the plan reports why
    lines = [line.decode("utf-8", "replace") for line in present.splitlines()[1:-1]]
    return block._replace(lines=tuple(dict.fromkeys((*lines, *block.lines))), partial="")


def _apply(
    root: Root, included: Sequence[Included], settings: Settings, problems: Problems
) -> None:
    """Apply what was included."""
    if included:
        from guestagent.verbs.include import apply

        for document in included:
            problems.add(*apply(document, root, settings))


def _read_all_keys(
    items: Sequence[_Item], found: Sequence[Downloaded], problems: Problems
) -> list[tuple[str, Text]]:
    """Return the keys that came, each with its account; no more than the state can remember."""
    keys: list[tuple[str, Text]] = []
    room = defs.FILE_LIMIT
    for item, one in zip(items, found, strict=True):
        if not item.keys_for:
            continue
        name = shown(item.download.url)
        if one.error:
            problems.error(item.why, f"{name}: {one.error}")
            continue
        for key in _read_keys(one.content, item.why, name, problems=problems):
            if len(key.value) > room or len(keys) == defs.MAX_KEYS:
                problems.error(item.why, f"{name}: {_TOO_MANY_KEYS}")
                break
            room -= len(key.value)
            keys.append((item.keys_for, key))
    return keys


def _read_keys(content: bytes, why: Origin, name: str, problems: Problems) -> list[Text]:
    """Return the keys in what was fetched, one on each line; without their options, if any."""
    keys = []
    for line in content.decode("utf-8", "replace").split("\n"):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            keys.append(Text(fields.ssh_key(line), why))
        except FieldError as error:
            problems.warn(why, f"{name}: a line of it {error}; ignored")
    if not keys:
        problems.error(why, f"{name}: {_NO_KEYS}")
    return keys


def _tell(item: _Item, one: Downloaded) -> Fetched:
    """Say what was fetched, to the journal and for the report.

    Of a file that not everyone may read there is no digest: it may be a password.
    """
    from hashlib import sha256

    secret = item.file is not None and not item.file.mode & 0o004
    digest = "" if secret else sha256(one.content).hexdigest()
    found = Fetched(shown(item.download.url), len(one.content), digest)
    log.notice(f"fetched {found.text()}")
    return found
