"""The metadata service, from the side that must not talk to the network itself.

At boot the early stage leaves a request; a unit without rights fetches, and a later one reads its
answer.  By hand the same happens in a child process that has become nobody.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError, GuestagentError, SourceBroken, Unreachable, UsageError
from guestagent.sources import cloud
from guestagent.sources.documents import LIMIT, Answer, bundle, decode, encode
from guestagent.system import ownfiles
from guestagent.system.jsontext import loads
from guestagent.system.machine import product_uuid
from guestagent.system.privsep import ask_as_nobody
from guestagent.system.root import read_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.memory.state import State
    from guestagent.settings import Settings
    from guestagent.sources.bundle import Bundle
    from guestagent.sources.service import Request
    from guestagent.system.root import Root

_GRACE = 5.0


def request_for(settings: Settings, source: str, before: State) -> dict[str, Any] | None:
    """What to ask a service for, as JSON can hold it; None where there is no sign of one.

    ``source`` is a URL that was given, or empty.
    """
    found = cloud.identify(settings.metadata_service)
    urls = (source,) if source else settings.metadata_urls
    if not found.name and source:
        found = cloud.Cloud("openstack", "a URL was given")
    if not found.name:
        return None
    known = before.configured
    if found.own_uuid and before.instance_id != product_uuid():
        known = False  # an image of a configured guest, or its disk, as another instance
    longest = defs.METADATA_WAIT_KNOWN if known else settings.metadata_wait
    return {
        "cloud": found._asdict(),
        "urls": urls,
        "wait": min(settings.metadata_wait, longest),
        "salt": before.salt,
        "digests": before.documents,
        "old_protocol": settings.metadata_imds_v1,
        "password": settings.password_post and not known,
    }


def leave(root: Root, request: dict[str, Any]) -> None:
    """Leave the request for the unit that fetches.  Raises OSError, Refused."""
    ownfiles.write(root, defs.REQUEST_FILE, request, 0o600)


def _request(value: dict[str, Any]) -> Request:
    from guestagent.sources.service import Request

    return Request(
        **{**value, "cloud": cloud.Cloud(**value["cloud"]), "urls": tuple(value["urls"])}
    )


def read_request(path: str) -> Request:
    """The request in a file.  Raises UsageError."""
    try:
        with open(path, "rb") as file:
            return _request(loads(file.read(defs.JSON_LIMIT)))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except (FieldError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: {error}") from None


def asked(request: Request) -> Answer:
    """What a request brings, which may be that there is no answer."""
    from guestagent.sources.service import fetch as ask

    try:
        return ask(request)
    except GuestagentError as error:
        return Answer("", error=str(error), again=isinstance(error, Unreachable))


def by_hand(request: dict[str, Any]) -> Bundle:
    """Ask now, in a child without rights.  Raises SourceBroken, Unreachable, UsageError."""
    from guestagent.sources.endpoints import by_url

    wanted = {**request, "salt": "", "digests": {}}
    wait = min(request["wait"], defs.METADATA_WAIT_KNOWN)
    made = _request({**wanted, "wait": wait})
    for url in made.urls:
        by_url(url)
    content = ask_as_nobody(lambda: encode(asked(made)), LIMIT, wait + _GRACE)
    if not content:
        raise Unreachable("the process that asks the metadata service gave no answer")
    return _source(decode(content))


def fetched(root: Root) -> Bundle:
    """What the unit fetched, as a source.  Raises SourceBroken, Unreachable, OSError."""
    try:
        with root.place(defs.ANSWER_FILE) as place:
            content = read_at(place.fd, place.name, LIMIT)
    except FileNotFoundError:
        raise Unreachable("nothing was fetched from the metadata service") from None
    return _source(decode(content))


def _source(answer: Answer) -> Bundle:
    if answer.error:
        raise (Unreachable if answer.again else SourceBroken)(answer.error)
    return bundle(answer)
