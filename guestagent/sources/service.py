"""Read a metadata service: find it, tell its layout, and get its documents.

Layouts: OpenStack's (Nova's ``api/metadata/handler.py``), and EC2's (instance metadata in the EC2
User Guide), which Nova serves too, and NoCloud's, a seed at a URL.  Credentials are never asked
for.
"""

from __future__ import annotations

import time

from guestagent import defs
from guestagent.errors import FieldError, SourceBroken, Unreachable
from guestagent.sources.bundle import digest_document, is_dated
from guestagent.sources.handover import Answer
from guestagent.sources.http import Client
from guestagent.sources.retry import Found, Race, Reading, Wanted
from guestagent.system.jsontext import loads_of_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from guestagent.sources.endpoints import Endpoint
    from guestagent.sources.handover import Request

_META, _NETWORK = "meta_data.json", "network_data.json"
# These do not change in an instance's life: they are read for a new instance, and when another
# document has changed.
_LASTING = ("vendor_data.json", "vendor_data2.json", "user_data")
_LIMIT = defs.JSON_LIMIT
_NO_LAYOUT = "answers, but has neither OpenStack's nor EC2's layout"
_NO_SEED = "answers, but has no meta-data, without which it is no seed of NoCloud"
_SEED_META, _SEED = "meta-data", ("user-data", "vendor-data", "network-config")
_EC2_META = "/latest/meta-data"
_EC2_ADDRESS = f"{_EC2_META}/local-ipv4"  # for templates of user data
_GZIP = b"\x1f\x8b"
_EC2_KEYS = f"{_EC2_META}/public-keys"
_KEY_LIST = "the list of keys"  # a name of our own, of no document in an answer
# Of the versions that a service lists, the newest are asked for; OpenStack has had a dozen.
_MAX_VERSIONS = 32


def fetch(request: Request) -> Answer:
    """Find the service and read it.  Raises SourceBroken, Unreachable, UsageError, WrongSource."""
    # The monotonic clock: before NTP has run the other one may be wrong by years, and jump.
    end = time.monotonic() + request.wait

    def ask(endpoint: Endpoint, sock: socket.socket) -> Found:
        client = Client(endpoint, end, sock)
        try:
            return _ask_for_first(client, request)
        except BaseException:
            client.close()
            raise

    service = Race(request, end, ask).winner()
    client = service.client
    try:
        reading = Reading(client)
        if service.folder.startswith("openstack/"):
            unchanged = _read_openstack(service, request, reading)
        elif service.folder == _SEED_META:
            unchanged = False
            reading.documents[_SEED_META] = service.first
            reading.read(*(Wanted(f"/{name}", name, _LIMIT) for name in _SEED))
        else:
            unchanged = False
            _read_ec2(service, reading)
    finally:
        client.close()
    return Answer(
        client.endpoint.url_with_zone,
        reading.documents,
        unchanged,
        client.requests,
        failed=reading.failed,
    )


def _read_openstack(service: Found, request: Request, reading: Reading) -> bool:
    """Read the documents, and return whether the instance has been configured by them already.

    Only those that the request has digests of are read then.
    """
    folder, documents = service.folder, reading.documents
    documents[f"{folder}/{_META}"] = service.first

    def wanted(name: str) -> Wanted:
        return Wanted(f"/{folder}/{name}", f"{folder}/{name}", _LIMIT)

    first = f"{folder}/{_META}"
    if request.brief and request.digests.get(first) == digest_document(service.first, request.salt):
        return True
    compared = [_NETWORK, *(name for name in _LASTING if f"{folder}/{name}" in request.digests)]
    reading.read_once(*map(wanted, compared))
    if request.digests:
        # A document that is missing now, or that is new, makes a difference too.
        digests = {
            name: digest_document(content, request.salt) for name, content in documents.items()
        }
        if digests == request.digests and not reading.failed:
            return True
    rest = [name for name in _LASTING if name not in compared]
    if request.password:
        rest.append("password")
    files = (
        Wanted(f"/openstack/{place}", f"openstack/{place}", defs.FILE_LIMIT)
        for place in _injected_files(service.first)
    )
    reading.read(*map(wanted, rest), *files)
    if any(_may_name_address(documents.get(f"{folder}/{name}", b"")) for name in _LASTING):
        reading.read(Wanted(_EC2_ADDRESS, f"ec2{_EC2_ADDRESS}", _LIMIT))
    return False


def _may_name_address(content: bytes) -> bool:
    """Tell whether a template in user data or vendor data may have the variable local_ipv4.

    OpenStack's documents have no address of a NIC with DHCP.
    """
    return b"local_ipv4" in content or content.startswith(_GZIP) or b"base64" in content


def _injected_files(meta_data: bytes) -> list[str]:
    """Return where the files are that ``meta_data.json`` names, as ``content/NUMBER``.

    Others are left out; the parser reports them.
    """
    files = loads_of_source(meta_data)[0].get("files")
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


def _read_ec2(service: Found, reading: Reading) -> None:
    """Read the documents, after the list of the keys, which says how many there are."""
    reading.documents[f"ec2{_EC2_META}/instance-id"] = service.first

    def wanted(path: str) -> Wanted:
        return Wanted(path, f"ec2{path}", _LIMIT)

    listing = Wanted(f"{_EC2_KEYS}/", _KEY_LIST, _LIMIT)
    reading.read_once(wanted(f"{_EC2_META}/local-hostname"), listing)
    late = listing in reading.pending
    paths = ("/latest/dynamic/instance-identity/document", "/latest/user-data", _EC2_ADDRESS)
    reading.read(*_keys(reading), *map(wanted, paths))
    if late:
        reading.read(*_keys(reading))
    reading.documents.pop(_KEY_LIST, None)
    if _KEY_LIST in reading.failed:
        # No key is known then, and there is at least one as a rule.
        reading.failed[f"ec2{_EC2_KEYS}/0/openssh-key"] = reading.failed.pop(_KEY_LIST)


def _keys(reading: Reading) -> list[Wanted]:
    """Return the documents of the keys that are listed; none while the list has not come."""
    # A line for each key, as NUMBER=NAME.
    lines = reading.documents.get(_KEY_LIST, b"").decode("ascii", "replace").splitlines()
    numbers = dict.fromkeys(line.partition("=")[0] for line in lines[: defs.MAX_KEYS])
    paths = [
        f"{_EC2_KEYS}/{number}/openssh-key" for number in numbers if _is_number(number, digits=3)
    ]
    return [Wanted(path, f"ec2{path}", defs.TOKEN_LIMIT) for path in paths]


def _ask_for_first(client: Client, request: Request) -> Found:
    """Ask for the first document of each layout, in one try.

    Raises Transient, SourceBroken, FieldError for an answer that is not sound, and Unreachable for
    a service that has neither.
    """
    if request.cloud.name == "nocloud":
        content = client.ask(f"/{_SEED_META}", _LIMIT)
        if content is None:
            raise Unreachable(f"{client.endpoint.url}: {_NO_SEED}")
        return Found(client, _SEED_META, content)
    if request.cloud.name != "ec2":
        found = _ask_openstack(client)
        if found is not None:
            return found
    return _ask_ec2(client, request)


def _ask_openstack(client: Client) -> Found | None:
    """Ask for ``meta_data.json``; return None if the service does not have OpenStack's layout."""
    for version in _versions(client):
        folder = f"openstack/{version}"
        content = client.ask(f"/{folder}/{_META}", defs.JSON_LIMIT)
        if content is not None:
            if not isinstance(loads_of_source(content)[0], dict):
                raise FieldError(f"{folder}/{_META} is not a JSON object")
            return Found(client, folder, content)
    return None


def _versions(client: Client) -> Iterator[str]:
    """Yield "latest", which a service need not have, and the dated versions that it lists.

    They come newest first; the list is asked for when it is needed.
    """
    yield "latest"
    listing = client.ask("/openstack", defs.TOKEN_LIMIT) or b""
    words = listing.decode("ascii", "replace").split()
    dated = {word for word in (word.removesuffix("/") for word in words) if is_dated(word)}
    yield from sorted(dated, reverse=True)[:_MAX_VERSIONS]


def _ask_ec2(client: Client, request: Request) -> Found:
    """Ask for the instance ID, after a session token where the cloud is EC2."""
    cloud = request.cloud
    if cloud.name == "ec2" and not client.get_token() and cloud.tokens and not request.old_protocol:
        reason = "gives no session token, and metadata.imds_v1 is not set"
        raise SourceBroken(f"{client.endpoint.url}: {reason}")
    content = client.ask(f"{_EC2_META}/instance-id", defs.NAME_LIMIT)
    if content is None:
        raise Unreachable(f"{client.endpoint.url}: {_NO_LAYOUT}")
    return Found(client, "ec2/latest", content.strip())
