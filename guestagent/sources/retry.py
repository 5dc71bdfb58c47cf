"""Try again: one document until its time is over, and all endpoints until one answers.

What may be tried again is a ``Transient``; everything else that is raised ends the tries.
"""

from __future__ import annotations

import queue
import random
import threading
import time

from guestagent import defs
from guestagent.errors import FieldError, SourceBroken, Unreachable
from guestagent.record import NamedTuple
from guestagent.sources.endpoints import Connecting, Endpoint, list_candidates, parse_url

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
_NO_LINK, _UNREACHED = "no link is up", "no address of it can be reached"


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


class _Round:
    """What comes of asking all endpoints once.

    ``connected`` says that a service took a connection.  ``pauses`` are what services asked to
    wait, in seconds.  ``refusal`` is the answer of a service that will not give documents,
    ``empty`` that of one which has none.
    """

    def __init__(self) -> None:
        self.answers: queue.SimpleQueue[Found | None] = queue.SimpleQueue()
        self.connected = False
        self.pauses: list[float] = []
        self.refusal: SourceBroken | None = None
        self.empty: Unreachable | None = None


class Race:
    """All endpoints asked at once, again and again, until one gives a sound answer.

    ``end`` is a time of the monotonic clock.  ``ask`` asks one endpoint over a connection, in one
    try: it raises Transient, FieldError for an answer that is not sound, SourceBroken if it is
    refused, and Unreachable if the service has no document, and closes the connection then.
    ``reason`` says why none has answered.
    """

    def __init__(self, request: Request, end: float, ask: Ask) -> None:
        self.request, self.end, self.ask = request, end, ask
        self.reason = _NO_LINK
        self.over = threading.Event()

    def winner(self) -> Found:
        """Return the first service that answers.  Raises SourceBroken, Unreachable, UsageError."""
        set_by_hand = [parse_url(url) for url in self.request.urls]
        tries = refusals = empty_rounds = 0
        while True:
            endpoints = set_by_hand or list_candidates(ec2=self.request.cloud.name == "ec2")
            this = _Round()
            found = self._ask_all(endpoints, this)
            if found is not None:
                self.over.set()
                return found
            if this.refusal:
                refusals += 1
                # Another address may come up yet, and answer better than the one that refuses.
                if set_by_hand or refusals == _REFUSALS:
                    raise this.refusal
            if this.empty and not this.pauses:
                empty_rounds += 1
                if empty_rounds == _EMPTY_ROUNDS:
                    raise this.empty
            if this.connected:
                pause = back_off(tries, min(this.pauses, default=0.0))
                tries += 1
            else:
                # Tries that reach no service burden none, and a lease may come at any moment.
                pause = defs.RACE_PAUSE
            if time.monotonic() + pause >= self.end:
                self.over.set()
                raise Unreachable(f"no metadata service answered: {self.reason}")
            time.sleep(pause)

    def _ask_all(self, endpoints: list[Endpoint], this: _Round) -> Found | None:
        """Connect to all endpoints, ask those that connect, and return the first that answers."""
        connecting = Connecting(endpoints)
        if endpoints and self.reason == _NO_LINK:
            self.reason = _UNREACHED
        give_up = min(self.end, time.monotonic() + defs.CONNECT_TIMEOUT)
        started = ended = 0
        try:
            while connecting or started > ended:
                for endpoint, sock in connecting.take_connected(_POLL if connecting else 0):
                    # Each is asked a little later than the one before, whose answer mostly does.
                    arguments = (endpoint, sock, started * defs.RACE_PAUSE, this)
                    threading.Thread(target=self._ask, args=arguments, daemon=True).start()
                    started += 1
                    this.connected = True
                try:
                    found = this.answers.get(timeout=0.001 if connecting else _POLL)
                except queue.Empty:
                    pass
                else:
                    ended += 1
                    if found is not None:
                        return found
                if time.monotonic() >= give_up:
                    connecting.close()
                if time.monotonic() >= self.end:
                    break
        finally:
            connecting.close()
        return None

    def _ask(self, endpoint: Endpoint, sock: socket.socket, later: float, this: _Round) -> None:
        """Ask one endpoint ``later`` seconds from now, and put what it gave into the queue."""
        found = None
        try:
            if self.over.wait(later):
                sock.close()
            else:
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
            this.answers.put(found)
