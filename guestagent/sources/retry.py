"""Try again: one document until its time is over, and all endpoints until one answers.

What may be tried again is a ``Transient``; everything else that is raised ends the tries.
"""

from __future__ import annotations

import random
import threading
import time

from guestagent import defs
from guestagent.errors import FieldError, SourceBroken, Unreachable, WrongSource
from guestagent.record import NamedTuple
from guestagent.sources.bundle import digest_document
from guestagent.sources.endpoints import Connecting, Endpoint, list_candidates, parse_url
from guestagent.system.jsontext import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import TypeVar

    from guestagent.sources.handover import Request
    from guestagent.sources.http import Client

    T = TypeVar("T")
    Ask = Callable[[Endpoint, socket.socket], "Found"]

_POLL = 0.05  # seconds between looks at connections and answers
_REFUSALS = 3  # rounds in which a service refused, until that is believed
# Rounds in which a service had no document at all, until that is believed: some 3 seconds.  One
# that has only just heard of the instance may say so at first.
_EMPTY_ROUNDS = 6
_NO_LINK = "no link is up that may be asked: hardware, or a bond, VLAN or bridge over it"
_UNREACHED = "no address of it can be reached"
_NOBODY = "no metadata service answered"
_DIFFER = "two metadata services say different things"
_DIFFER_DO = "not applied; name the right one in metadata.urls, as http://ADDRESS%LINK"


class Transient(Exception):
    """A try failed, and another may not; ``after`` is what the server asked to wait, in seconds."""

    def __init__(self, reason: str, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


def back_off(tries: int, after: float = 0.0) -> float:
    """Return the seconds to wait after so many failed tries: exponential, with full jitter.

    ``after`` is the least that the server asked for.  It gets jitter too, so that guests that
    were asked the same do not all come back at the same time.
    """
    most = min(defs.BACK_OFF_MOST, defs.BACK_OFF_FIRST * 2 ** min(tries, 64))
    jitter = random.uniform(0, most)  # noqa: S311 - not for secrets
    return min(after, defs.RETRY_AFTER_MOST) + jitter


def patiently(name: str, end: float, work: Callable[[], T]) -> T:
    """Return what ``work`` returns, tried as often as the time until ``end`` allows.

    ``name`` is what messages call it.  Raises Unreachable, and what ``work`` raises but Transient.
    """
    tries, reason = 0, ""
    while True:
        try:
            return work()
        except Transient as error:
            # The end of the time in the middle of a try would hide what was wrong before.
            if not reason or time.monotonic() < end:
                reason = str(error)
            pause = back_off(tries, error.after)
        if time.monotonic() + pause >= end:
            raise Unreachable(f"{name}: {reason}")
        tries += 1
        time.sleep(pause)


class Wanted(NamedTuple):
    """A document to read: its path in the service, its name in the answer, its limit in bytes."""

    path: str
    name: str
    limit: int


class Reading:
    """The reading of documents that a guest can do without: one that fails holds up no other.

    ``documents`` are those that were read, by name.  ``failed`` says of others why they could not
    be, so far; of a document that the service does not have there is no entry in either.
    ``pending`` has those that are to be tried again, each with the time and the number of tries.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.documents: dict[str, bytes] = {}
        self.failed: dict[str, str] = {}
        self.pending: dict[Wanted, tuple[float, int]] = {}

    def read_once(self, *documents: Wanted) -> None:
        """Try to read documents, once each; ``read`` tries again those that may come yet."""
        for document in documents:
            self._try(document, 0)

    def read(self, *documents: Wanted) -> None:
        """Read documents, each tried as often as the time of the client allows."""
        self.read_once(*documents)
        while self.pending:
            document = min(self.pending, key=self.pending.__getitem__)
            when, tries = self.pending.pop(document)
            pause = when - time.monotonic()
            if pause > 0:
                time.sleep(pause)
            self._try(document, tries)

    def _try(self, document: Wanted, tries: int) -> None:
        """Ask for a document after so many tries, and note when to try again if that fails."""
        try:
            self._ask(document)
        except Transient as error:
            # The end of the time in the middle of a try would hide what was wrong before.
            if document.name not in self.failed or time.monotonic() < self.client.end:
                self.failed[document.name] = str(error)
            pause = back_off(tries, error.after)
            if time.monotonic() + pause < self.client.end:
                self.pending[document] = time.monotonic() + pause, tries + 1

    def _ask(self, document: Wanted) -> None:
        """Ask once for a document, and keep what comes of it.  Raises Transient."""
        try:
            content = self.client.ask(document.path, document.limit)
        except SourceBroken as error:
            start = f"{self.client.endpoint.url}{document.path}: "
            self.failed[document.name] = str(error).removeprefix(start)
            return
        self.failed.pop(document.name, None)
        if content is not None:
            self.documents[document.name] = content


class Found(NamedTuple):
    """A service that gave a sound answer: its client, the layout's folder, the first document."""

    client: Client
    folder: str
    first: bytes

    @property
    def said(self) -> tuple[str, str]:
        """What it said, without what is new at each request."""
        return self.folder, digest_document(self.first, "")

    def is_about(self, uuid: str) -> bool:
        """Tell whether it is about the machine that has a UUID."""
        try:
            value = loads(self.first)
        except FieldError:
            return False  # the ID of EC2's layout
        return isinstance(value, dict) and str(value.get("uuid")).lower() == uuid


class _Round:
    """What comes of asking all endpoints once.

    ``ready`` are connections on which nothing was asked yet, ``asked`` counts those from which an
    answer is to come.  ``connected`` says that a service took a connection, ``refused`` why an
    address took none.  ``pauses`` are what services asked to wait, in seconds.  ``refusal`` is the
    answer of a service that will not give documents, ``empty`` that of one which has none.

    The routed endpoint has the word until it fails, or for a moment if it does not connect.  Then
    the others are asked one after the other.  Once somebody gave a sound answer, all that connect
    within a moment are heard too, for ``defs.RACE_LISTEN`` seconds: they may say something else.
    """

    def __init__(self, endpoints: list[Endpoint]) -> None:
        # ``queue`` takes as long to import as eight modules of this package.
        self._answers: list[tuple[Endpoint, Found | None]] = []
        self._to_take = threading.Semaphore(0)
        self.ready: list[tuple[Endpoint, socket.socket]] = []
        self.found: list[Found] = []
        self.asked = 0
        self.began = time.monotonic()
        self.connected = False
        self.refused = ""
        self.pauses: list[float] = []
        self.refusal: SourceBroken | None = None
        self.empty: Unreachable | None = None
        self._routed_is_asked = self._other_was_asked = False
        routed = any(endpoint.routed for endpoint in endpoints)
        self._next = time.monotonic() + (defs.RACE_PAUSE if routed else 0)
        self._heard = 0.0

    def over(self, connecting: Connecting) -> bool:
        """Tell whether no answer is to come, or what was found is all that counts."""
        if not self.found:
            return not (connecting or self.ready or self.asked)
        if self.found[0].client.endpoint.routed and not self._other_was_asked:
            return True
        since = time.monotonic() - self._heard
        if self.ready or self.asked:
            return since >= defs.RACE_LISTEN
        return not connecting or since >= defs.RACE_PAUSE

    def take_next(self) -> list[tuple[Endpoint, socket.socket]]:
        """Return the connections on which to ask now."""
        now = time.monotonic()
        taken = [item for item in self.ready if item[0].routed]
        if taken:
            self._routed_is_asked = True
        elif self.found:
            taken = self.ready[:]
        elif self.ready and not self._routed_is_asked and now >= self._next:
            taken, self._next = self.ready[:1], now + defs.RACE_PAUSE
        self._other_was_asked |= any(not endpoint.routed for endpoint, _ in taken)
        self.ready = [item for item in self.ready if item not in taken]
        self.asked += len(taken)
        return taken

    def give(self, endpoint: Endpoint, found: Found | None) -> None:
        """Take over what came of asking, from the thread that asked."""
        self._answers.append((endpoint, found))
        self._to_take.release()

    def wait(self, seconds: float) -> None:
        """Wait so long for an answer, and take it."""
        if not self._to_take.acquire(timeout=seconds):
            return
        endpoint, found = self._answers.pop(0)
        self.asked -= 1
        if endpoint.routed:
            self._routed_is_asked = False
        if found is not None:
            self._heard = self._heard or time.monotonic()
            self.found.append(found)

    def close(self) -> None:
        """Close the connections on which nothing was asked."""
        for _, sock in self.ready:
            sock.close()


class Race:
    """All endpoints asked, again and again, until one gives a sound answer.

    ``end`` is a time of the monotonic clock; it is earlier where the request has less patience, or
    where nobody is there.  ``ask`` asks one endpoint over a connection, in one
    try: it raises Transient, FieldError for an answer that is not sound, SourceBroken if it is
    refused, and Unreachable if the service has no document, and closes the connection then.
    ``reason`` says why none has answered.
    """

    def __init__(self, request: Request, end: float, ask: Ask) -> None:
        self.request, self.ask = request, ask
        self.reason = _NO_LINK
        self._last, self._is_leased, self._has_connected = end, False, False
        self._refused_since = 0.0  # of all endpoints that answered at all
        self.end = min(end, time.monotonic() + request.patience)

    def winner(self) -> Found:
        """Return the service that answers.

        Raises SourceBroken, Unreachable, UsageError, and WrongSource if two say different things.
        """
        set_by_hand = [parse_url(url) for url in self.request.urls]
        tries = refusals = empty_rounds = 0
        while True:
            endpoints = set_by_hand or list_candidates(ec2=self.request.cloud.name == "ec2")
            if not self._is_leased and any(endpoint.routed for endpoint in endpoints):
                self._is_leased = True
                self._wait_for(defs.METADATA_AFTER_LEASE)
            this = _Round(endpoints)
            self._ask_all(endpoints, this)
            if this.found:
                return self._choose(this.found)
            if this.refusal:
                refusals += 1
                # Another address may come up yet, and answer better than the one that refuses.
                if set_by_hand or refusals == _REFUSALS:
                    raise this.refusal
            if this.empty and not this.pauses:
                empty_rounds += 1
                if empty_rounds == _EMPTY_ROUNDS:
                    raise this.empty
            self._end_if_refused(this)
            if this.connected:
                pause = back_off(tries, min(this.pauses, default=0.0))
                tries += 1
            else:
                # Tries that reach no service burden none, and a lease may come at any moment.
                pause = defs.RACE_PAUSE
            if time.monotonic() + pause >= self.end:
                raise Unreachable(f"{_NOBODY}: {self.reason}")
            time.sleep(pause)

    def _wait_for(self, seconds: float) -> None:
        """Wait at least so long from now on, if the request has as much time."""
        self.end = max(self.end, min(self._last, time.monotonic() + seconds))

    def _end_if_refused(self, this: _Round) -> None:
        """Take it for an answer if for a while nobody has taken a connection, and some refused.

        A service may come up together with its network.  Raises Unreachable.
        """
        now = time.monotonic()
        if this.connected or not this.refused:
            self._refused_since = 0.0
            return
        if self.reason == _UNREACHED:
            self.reason = this.refused
        self._refused_since = self._refused_since or this.began
        if now - self._refused_since >= defs.METADATA_AFTER_REFUSAL:
            raise Unreachable(f"{_NOBODY}: {self.reason}")

    def _ask_all(self, endpoints: list[Endpoint], this: _Round) -> None:
        """Connect to all endpoints, and ask those that connect, until the round is over."""
        connecting = Connecting(endpoints)
        if endpoints and self.reason == _NO_LINK:
            self.reason = _UNREACHED
        give_up = min(self.end, time.monotonic() + defs.CONNECT_TIMEOUT)
        try:
            while not this.over(connecting):
                this.ready += connecting.take_connected(_POLL if connecting else 0)
                this.connected |= bool(this.ready)
                if this.connected and not self._has_connected:
                    self._has_connected = True
                    self._wait_for(defs.READ_TIMEOUT)
                for endpoint, sock in this.take_next():
                    arguments = (endpoint, sock, this)
                    threading.Thread(target=self._ask, args=arguments, daemon=True).start()
                this.wait(0.001 if connecting else _POLL)
                if connecting.refused:
                    # Asked again soon: others than the one that refuses have had their moment.
                    give_up = min(give_up, this.began + 2 * defs.RACE_PAUSE)
                if time.monotonic() >= give_up:
                    connecting.close()
                if time.monotonic() >= self.end:
                    break
        finally:
            this.refused = connecting.refused
            connecting.close()
            this.close()

    def _choose(self, found: list[Found]) -> Found:
        """Return one of the services that gave sound answers, the routed one before others.

        Where one speaks of this machine, those that speak of others do not count.  Raises
        WrongSource if two that count differ: no one can tell which of them is the cloud's.
        """
        uuid = self.request.uuid
        count = [each for each in found if uuid and each.is_about(uuid)] or found[:]
        count.sort(key=lambda each: not each.client.endpoint.routed)
        chosen = count[0]
        for other in found:
            if other is not chosen:
                other.client.close()
        for other in count[1:]:
            if other.said != chosen.said:
                chosen.client.close()
                both = [each.client.endpoint.url_with_zone for each in (chosen, other)]
                raise WrongSource(f"{_DIFFER}: {' and '.join(both)}; {_DIFFER_DO}")
        return chosen

    def _ask(self, endpoint: Endpoint, sock: socket.socket, this: _Round) -> None:
        """Ask one endpoint, and give what came of it to the round."""
        found = None
        try:
            found = self.ask(endpoint, sock)
        except (Transient, FieldError) as error:
            # That the time is over says less than what was wrong before.
            if time.monotonic() < self.end or self.reason == _UNREACHED:
                self.reason = f"{endpoint.url}: {error}"
            this.pauses.append(error.after if isinstance(error, Transient) else 0.0)
        except SourceBroken as error:
            self.reason, this.refusal = str(error), error
        except Unreachable as error:
            self.reason, this.empty = str(error), error
        finally:
            this.give(endpoint, found)
