"""Read a metadata service: find it, tell its layout, and get its documents.

Layouts: OpenStack's (Nova's ``api/metadata/handler.py``), and EC2's (instance metadata in the EC2
User Guide), which Nova serves too.  Credentials are never asked for.
"""

from __future__ import annotations

import queue
import threading
import time

from guestagent import defs
from guestagent.errors import FieldError, SourceBroken, Unreachable
from guestagent.record import NamedTuple
from guestagent.sources.bundle import digest_document, is_dated
from guestagent.sources.endpoints import Connecting, Endpoint, list_candidates, parse_url
from guestagent.sources.handover import Answer
from guestagent.sources.http import Client, Transient, back_off
from guestagent.system.jsontext import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from guestagent.sources.handover import Request

_META, _NETWORK = "meta_data.json", "network_data.json"
# These do not change in an instance's life: they are read for a new instance, and when another
# document has changed.
_LASTING = ("vendor_data.json", "vendor_data2.json", "user_data")
_EC2_META = "/latest/meta-data"
_POLL = 0.05  # seconds between looks at connections and answers
_REFUSALS = 3  # rounds in which a service refused, until that is believed
_NO_LINK, _UNREACHED = "no link is up", "no address of it can be reached"


class _Found(NamedTuple):
    """A service that gave a sound answer: its client, the layout's folder, the first document."""

    client: Client
    folder: str
    first: bytes


def fetch(request: Request) -> Answer:
    """Find the service and read it.  Raises SourceBroken, Unreachable, UsageError."""
    # The monotonic clock: before NTP has run the other one may be wrong by years, and jump.
    end = time.monotonic() + request.wait
    service = _Race(request, end).winner()
    client = service.client
    try:
        if service.folder.startswith("openstack/"):
            documents, unchanged = _read_openstack(service, request)
        else:
            documents, unchanged = _read_ec2(client, service.first), False
    finally:
        client.close()
    return Answer(client.endpoint.url_with_zone, documents, unchanged, client.requests)


def _read_openstack(service: _Found, request: Request) -> tuple[dict[str, bytes], bool]:
    """Return the documents, and whether the instance has been configured by them already.

    Only those that the request has digests of are read then.
    """
    folder, client = service.folder, service.client
    documents = {f"{folder}/{_META}": service.first}

    def read(name: str) -> None:
        content = client.get(f"/{folder}/{name}", defs.JSON_LIMIT)
        if content is not None:
            documents[f"{folder}/{name}"] = content

    read(_NETWORK)
    for name in _LASTING:
        if f"{folder}/{name}" in request.digests:
            read(name)
    if request.digests:
        # A document that is missing now, or that is new, makes a difference too.
        digests = {
            name: digest_document(content, request.salt) for name, content in documents.items()
        }
        if digests == request.digests:
            return documents, True
    rest = (*_LASTING, "password") if request.password else _LASTING
    for name in rest:
        if f"{folder}/{name}" not in documents:
            read(name)
    for place in _injected_files(service.first):
        content = client.get(f"/openstack/{place}", defs.FILE_LIMIT)
        if content is not None:
            documents[f"openstack/{place}"] = content
    return documents, False


def _injected_files(meta_data: bytes) -> list[str]:
    """Return where the files are that ``meta_data.json`` names, as ``content/NUMBER``.

    Others are left out; the parser reports them.
    """
    files = loads(meta_data).get("files")
    if not isinstance(files, list):
        return []
    places: dict[str, None] = {}  # a dict keeps the order
    for file in files[: defs.MAX_FILES]:
        place = file.get("content_path") if isinstance(file, dict) else None
        folder, _, name = str(place).removeprefix("/").partition("/")
        if folder == "content" and _is_number(name, digits=8):
            places[f"{folder}/{name}"] = None
    return list(places)


def _is_number(text: str, *, digits: int) -> bool:
    """Tell whether a text is a decimal number of at most so many digits."""
    return text.isascii() and text.isdigit() and len(text) <= digits


def _read_ec2(client: Client, instance_id: bytes) -> dict[str, bytes]:
    documents = {f"ec2{_EC2_META}/instance-id": instance_id}

    def read(path: str, limit: int = defs.JSON_LIMIT) -> None:
        content = client.get(path, limit)
        if content is not None:
            documents[f"ec2{path}"] = content

    read(f"{_EC2_META}/local-hostname")
    # A line for each key, as NUMBER=NAME.
    listing = client.get(f"{_EC2_META}/public-keys/", defs.JSON_LIMIT) or b""
    for line in listing.decode("ascii", "replace").splitlines()[: defs.MAX_KEYS]:
        number, _, _ = line.partition("=")
        if _is_number(number, digits=3):
            read(f"{_EC2_META}/public-keys/{number}/openssh-key", defs.TOKEN_LIMIT)
    read("/latest/dynamic/instance-identity/document")
    read("/latest/user-data")
    return documents


class _Round:
    """What comes of asking all endpoints once.

    ``connected`` says that a service took a connection.  ``pauses`` are what services asked to
    wait, in seconds.  ``refusal`` is the answer of a service that will not give documents.
    """

    def __init__(self) -> None:
        self.answers: queue.SimpleQueue[_Found | None] = queue.SimpleQueue()
        self.connected = False
        self.pauses: list[float] = []
        self.refusal: SourceBroken | None = None


class _Race:
    """All endpoints asked at once, again and again, until one gives a sound answer.

    ``reason`` says why none has.
    """

    def __init__(self, request: Request, end: float) -> None:
        self.request, self.end = request, end
        self.reason = _NO_LINK
        self.over = threading.Event()

    def winner(self) -> _Found:
        """Return the first service that answers.  Raises SourceBroken, Unreachable, UsageError."""
        set_by_hand = [parse_url(url) for url in self.request.urls]
        tries = refusals = 0
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

    def _ask_all(self, endpoints: list[Endpoint], this: _Round) -> _Found | None:
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
        client = Client(endpoint, self.end, sock)
        try:
            if not self.over.wait(later):
                found = _ask_for_first(client, self.request)
        except (Transient, FieldError) as error:
            # That the time is over says less than what was wrong before.
            if time.monotonic() < self.end or self.reason == _UNREACHED:
                self.reason = f"{endpoint.url}: {error}"
            this.pauses.append(error.after if isinstance(error, Transient) else 0.0)
        except SourceBroken as error:
            self.reason, this.refusal = str(error), error
        finally:
            if found is None:
                client.close()
            this.answers.put(found)


def _ask_for_first(client: Client, request: Request) -> _Found:
    """Ask for the first document of each layout, in one try.

    Raises Transient, SourceBroken, and FieldError for an answer that is not sound.
    """
    if request.cloud.name != "ec2":
        found = _ask_openstack(client)
        if found is not None:
            return found
    return _ask_ec2(client, request)


def _ask_openstack(client: Client) -> _Found | None:
    """Ask for ``meta_data.json``; return None if the service does not have OpenStack's layout."""
    folder = "openstack/latest"
    content = client.ask(f"/{folder}/{_META}", defs.JSON_LIMIT)
    if content is None:  # a service need not have "latest"
        version = _newest_version(client)
        if not version:
            return None
        folder = f"openstack/{version}"
        content = client.ask(f"/{folder}/{_META}", defs.JSON_LIMIT)
    if content is None:
        return None
    if not isinstance(loads(content), dict):
        raise FieldError(f"{folder}/{_META} is not a JSON object")
    return _Found(client, folder, content)


def _newest_version(client: Client) -> str:
    """Return the newest dated version that a service lists; an empty string if it has none."""
    listing = client.ask("/openstack", defs.TOKEN_LIMIT) or b""
    dated = [word for word in listing.decode("ascii", "replace").split() if is_dated(word)]
    return max(dated, default="")


def _ask_ec2(client: Client, request: Request) -> _Found:
    """Ask for the instance ID, after a session token where the cloud is EC2."""
    cloud = request.cloud
    if cloud.name == "ec2" and not client.get_token() and cloud.tokens and not request.old_protocol:
        reason = "gives no session token, and metadata.imds_v1 is not set"
        raise SourceBroken(f"{client.endpoint.url}: {reason}")
    content = client.ask(f"{_EC2_META}/instance-id", defs.NAME_LIMIT)
    if content is None:
        raise FieldError("has neither OpenStack's nor EC2's layout")
    return _Found(client, "ec2/latest", content.strip())
