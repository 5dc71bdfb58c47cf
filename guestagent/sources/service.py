"""Reading a metadata service: which one, in which layout, which documents.

Layouts: OpenStack's (Nova's ``api/metadata/handler.py``) and EC2's (instance metadata in the EC2
User Guide), as Nova serves it too.  Credentials are never asked for.
"""

from __future__ import annotations

import queue
import threading
import time

from guestagent import defs
from guestagent.errors import FieldError, SourceBroken, Unreachable
from guestagent.record import NamedTuple
from guestagent.sources.bundle import digest_document, is_dated
from guestagent.sources.documents import Answer
from guestagent.sources.endpoints import Connecting, Endpoint, by_url, candidates
from guestagent.sources.http import Client, Transient, back_off
from guestagent.system.jsontext import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from guestagent.sources.cloud import Cloud

_META, _NETWORK = "meta_data.json", "network_data.json"
# What an instance has for its life is asked for where it is not known, or something has changed.
_LASTING = ("vendor_data.json", "vendor_data2.json", "user_data")
_POLL = 0.05
_REFUSALS = 3
_NO_LINK, _UNREACHED = "no link is up", "no address of it can be reached"


class Request(NamedTuple):
    """What to ask for.

    ``urls`` replace the addresses of the link.  ``wait`` is the time for everything, in seconds.
    ``salt`` (hexadecimal) and ``digests`` name what an earlier run was told (``Bundle.digests``).
    ``old_protocol`` allows EC2 without session tokens where the platform has them.
    ``password`` asks if the instance has a password in the service already.
    """

    cloud: Cloud
    urls: tuple[str, ...] = ()
    wait: float = defs.METADATA_WAIT
    salt: str = ""
    digests: dict[str, str] = {}  # noqa: RUF012 - a record's default, never changed
    old_protocol: bool = False
    password: bool = False


class _Sound(NamedTuple):
    """A service that answered soundly: its client, the folder of the layout, the first document."""

    client: Client
    folder: str
    first: bytes


def fetch(request: Request) -> Answer:
    """Find the service and read it.  Raises SourceBroken, Unreachable, UsageError."""
    end = time.monotonic() + request.wait
    sound = _Race(request, end).winner()
    client = sound.client
    try:
        if sound.folder.startswith("openstack/"):
            documents, unchanged = _read_openstack(sound, request)
        else:
            documents, unchanged = _read_ec2(sound), False
    finally:
        client.close()
    return Answer(client.endpoint.zoned, documents, unchanged, client.requests)


def _read_openstack(sound: _Sound, request: Request) -> tuple[dict[str, bytes], bool]:
    """The documents, and if those that can change are as they were; only they are read then."""
    folder, client = sound.folder, sound.client
    found: dict[str, bytes] = {f"{folder}/{_META}": sound.first}

    def read(name: str) -> None:
        content = client.get(f"/{folder}/{name}", defs.JSON_LIMIT)
        if content is not None:
            found[f"{folder}/{name}"] = content

    read(_NETWORK)
    for name in _LASTING:
        if f"{folder}/{name}" in request.digests:
            read(name)
    if request.digests:
        now = {name: digest_document(content, request.salt) for name, content in found.items()}
        if now == request.digests:
            return found, True
    for name in (*_LASTING, *(("password",) if request.password else ())):
        if f"{folder}/{name}" not in found:
            read(name)
    for place in _contents(sound.first):
        content = client.get(f"/openstack/{place}", defs.FILE_LIMIT)
        if content is not None:
            found[f"openstack/{place}"] = content
    return found, False


def _contents(meta: bytes) -> list[str]:
    """Where the injected files are that ``meta_data.json`` names, as Nova does: by a number.

    The parser tells of odd ones.
    """
    listed = loads(meta).get("files")
    entries = listed[: defs.MAX_FILES] if isinstance(listed, list) else []
    places = [entry.get("content_path") for entry in entries if isinstance(entry, dict)]
    found: dict[str, None] = {}
    for place in places:
        folder, _, name = str(place).removeprefix("/").partition("/")
        if folder == "content" and name.isascii() and name.isdigit() and len(name) < 9:
            found[f"{folder}/{name}"] = None
    return list(found)


def _read_ec2(sound: _Sound) -> dict[str, bytes]:
    client = sound.client
    root = "/latest/meta-data"
    found = {"ec2/latest/meta-data/instance-id": sound.first}

    def read(name: str, limit: int = defs.JSON_LIMIT) -> bytes | None:
        content = client.get(f"/latest/{name}", limit)
        if content is not None:
            found[f"ec2/latest/{name}"] = content
        return content

    read("meta-data/local-hostname")
    keys = client.get(f"{root}/public-keys/", defs.JSON_LIMIT) or b""
    for line in keys.decode("ascii", "replace").splitlines()[: defs.MAX_KEYS]:
        number = line.partition("=")[0]
        if number.isascii() and number.isdigit() and len(number) < 4:
            read(f"meta-data/public-keys/{number}/openssh-key", defs.TOKEN_LIMIT)
    read("dynamic/instance-identity/document")
    read("user-data")
    return found


class _Race:
    """All endpoints at once, again and again until one answers soundly."""

    def __init__(self, request: Request, end: float) -> None:
        self.request, self.end = request, end
        self.reason = _NO_LINK
        self.results: queue.SimpleQueue[_Sound | None] = queue.SimpleQueue()
        self.over = threading.Event()
        self.heard = False
        self.pauses: list[float] = []  # that services asked for, in this round
        self.refused: SourceBroken | None = None

    def winner(self) -> _Sound:
        """The first sound answer.  Raises SourceBroken, Unreachable, UsageError."""
        tries = refusals = 0
        while True:
            listed = [by_url(url) for url in self.request.urls]
            endpoints = listed or candidates(self.request.cloud.name == "ec2")
            sound = self._round(endpoints)
            if sound is not None:
                self.over.set()
                return sound
            # Another address may come up yet that answers better than one that refuses.
            refusals += self.refused is not None
            if self.refused and (listed or refusals == _REFUSALS):
                raise self.refused
            # Nobody is burdened by tries that reach nobody: a lease may come at any moment.
            least = min(self.pauses, default=0.0)
            pause = back_off(tries, least) if self.heard else defs.RACE_PAUSE
            tries += self.heard
            if time.monotonic() + pause >= self.end:
                self.over.set()
                raise Unreachable(f"no metadata service answered: {self.reason}")
            time.sleep(pause)

    def _round(self, endpoints: list[Endpoint]) -> _Sound | None:
        connecting = Connecting(endpoints)
        self.heard, self.refused, self.pauses = False, None, []
        if endpoints and self.reason == _NO_LINK:
            self.reason = _UNREACHED
        give_up = min(self.end, time.monotonic() + defs.CONNECT_TIMEOUT)
        running = started = 0
        try:
            while connecting or running:
                for endpoint, plug in connecting.connected(_POLL if connecting else 0):
                    self._start(endpoint, plug, started * defs.RACE_PAUSE)
                    running, started = running + 1, started + 1
                try:
                    sound = self.results.get(timeout=_POLL if not connecting else 0.001)
                except queue.Empty:
                    sound = None
                else:
                    running -= 1
                if sound is not None:
                    return sound
                if time.monotonic() >= give_up:
                    connecting.close()
                if time.monotonic() >= self.end:
                    break
        finally:
            connecting.close()
        return None

    def _start(self, endpoint: Endpoint, plug: socket.socket, later: float) -> None:
        self.heard = True
        threading.Thread(target=self._ask, args=(endpoint, plug, later), daemon=True).start()

    def _ask(self, endpoint: Endpoint, plug: socket.socket, later: float) -> None:
        """One endpoint's answer; ends in the queue whatever happens.

        Each asks a little later than the one before: mostly that one's answer will do.
        """
        sound = None
        client = Client(endpoint, self.end, plug)
        try:
            if not self.over.wait(later):
                sound = self._first(client)
        except (Transient, FieldError) as error:
            # That the time was over is no reason where there is a better one.
            if time.monotonic() < self.end or self.reason == _UNREACHED:
                self.reason = f"{endpoint.url}: {error}"
            self.pauses.append(getattr(error, "after", 0.0))
        except SourceBroken as error:
            self.reason, self.refused = str(error), error
        finally:
            if sound is None:
                client.close()
            self.results.put(sound)

    def _first(self, client: Client) -> _Sound | None:
        if self.request.cloud.name != "ec2":
            sound = self._openstack(client)
            if sound is not None:
                return sound
        return self._ec2(client)

    def _openstack(self, client: Client) -> _Sound | None:
        folder = "openstack/latest"
        content = client.ask(f"/{folder}/{_META}", defs.JSON_LIMIT)
        if content is None:
            folder = self._dated(client)
            content = client.ask(f"/{folder}/{_META}", defs.JSON_LIMIT) if folder else None
        if content is None:
            return None
        if not isinstance(loads(content), dict):
            raise FieldError(f"{folder}/{_META} is not a JSON object")
        return _Sound(client, folder, content)

    def _dated(self, client: Client) -> str:
        """The folder of the newest version, for a service that has no "latest"."""
        listing = client.ask("/openstack", defs.TOKEN_LIMIT) or b""
        dated = [word for word in listing.decode("ascii", "replace").split() if is_dated(word)]
        return f"openstack/{max(dated)}" if dated else ""

    def _ec2(self, client: Client) -> _Sound | None:
        cloud = self.request.cloud
        if cloud.name == "ec2":
            known = client.get_token()
            if not known and cloud.tokens and not self.request.old_protocol:
                reason = "gives no session token, and metadata.imds_v1 is not set"
                raise SourceBroken(f"{client.endpoint.url}: {reason}")
        content = client.ask("/latest/meta-data/instance-id", defs.NAME_LIMIT)
        if content is None:
            raise FieldError("has neither OpenStack's nor EC2's layout")
        return _Sound(client, "ec2/latest", content.strip())
