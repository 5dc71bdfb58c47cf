"""Read a metadata service: find it, tell its layout, and get its documents.

Layouts: OpenStack's (Nova's ``api/metadata/handler.py``), and EC2's (instance metadata in the EC2
User Guide), which Nova serves too.  Credentials are never asked for.
"""

from __future__ import annotations

import time

from guestagent import defs
from guestagent.errors import FieldError, SourceBroken
from guestagent.sources.bundle import digest_document, is_dated
from guestagent.sources.handover import Answer
from guestagent.sources.http import Client
from guestagent.sources.retry import Found, Race
from guestagent.system.jsontext import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from guestagent.sources.endpoints import Endpoint
    from guestagent.sources.handover import Request

_META, _NETWORK = "meta_data.json", "network_data.json"
# These do not change in an instance's life: they are read for a new instance, and when another
# document has changed.
_LASTING = ("vendor_data.json", "vendor_data2.json", "user_data")
_EC2_META = "/latest/meta-data"


def fetch(request: Request) -> Answer:
    """Find the service and read it.  Raises SourceBroken, Unreachable, UsageError."""
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
        if service.folder.startswith("openstack/"):
            documents, unchanged = _read_openstack(service, request)
        else:
            documents, unchanged = _read_ec2(client, service.first), False
    finally:
        client.close()
    return Answer(client.endpoint.url_with_zone, documents, unchanged, client.requests)


def _read_openstack(service: Found, request: Request) -> tuple[dict[str, bytes], bool]:
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


def _ask_for_first(client: Client, request: Request) -> Found:
    """Ask for the first document of each layout, in one try.

    Raises Transient, SourceBroken, and FieldError for an answer that is not sound.
    """
    if request.cloud.name != "ec2":
        found = _ask_openstack(client)
        if found is not None:
            return found
    return _ask_ec2(client, request)


def _ask_openstack(client: Client) -> Found | None:
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
    return Found(client, folder, content)


def _newest_version(client: Client) -> str:
    """Return the newest dated version that a service lists; an empty string if it has none."""
    listing = client.ask("/openstack", defs.TOKEN_LIMIT) or b""
    dated = [word for word in listing.decode("ascii", "replace").split() if is_dated(word)]
    return max(dated, default="")


def _ask_ec2(client: Client, request: Request) -> Found:
    """Ask for the instance ID, after a session token where the cloud is EC2."""
    cloud = request.cloud
    if cloud.name == "ec2" and not client.get_token() and cloud.tokens and not request.old_protocol:
        reason = "gives no session token, and metadata.imds_v1 is not set"
        raise SourceBroken(f"{client.endpoint.url}: {reason}")
    content = client.ask(f"{_EC2_META}/instance-id", defs.NAME_LIMIT)
    if content is None:
        raise FieldError("has neither OpenStack's nor EC2's layout")
    return Found(client, "ec2/latest", content.strip())
