"""What is to be fetched from URLs, and what came, as two processes hand them over.

As with a metadata service (``handover``), the process that talks to the network has no rights, and
what it writes is as untrusted as the network itself.  Both are JSON, contents in base64 (RFC 4648).
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.log import printable
from guestagent.record import NamedTuple
from guestagent.system.jsontext import dumps, has_form, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

ANSWER_LIMIT = 2 * defs.TOTAL_LIMIT  # of an encoded answer, in bytes
_REASON_LIMIT = 200  # characters
_FORM = {"http": bool, "seconds": int, "size": int, "downloads": list}
_DOWNLOAD = {"url": str, "headers": dict}
_DAMAGED = "not a request as guestagent leaves it; nothing is fetched"
_INVALID = "the unit that fetches gave no valid answer"


class Download(NamedTuple):
    """A document to fetch: its URL, and the header fields to send."""

    url: str
    headers: Mapping[str, str] = {}


class Request(NamedTuple):
    """Documents to fetch, in at most ``seconds``, and of at most ``size`` bytes in all.

    ``http`` allows URLs and redirects without TLS.
    """

    downloads: Sequence[Download]
    http: bool = False
    seconds: int = defs.FETCH_WAIT
    size: int = defs.TOTAL_LIMIT


class Downloaded(NamedTuple):
    """What came of a download: a content, or an error that says why there is none.

    ``again``: a later try may have more success.
    """

    content: bytes = b""
    error: str = ""
    again: bool = False


def request_as_json(request: Request) -> dict[str, Any]:
    """Return a request in types that JSON has."""
    downloads = [download._asdict() for download in request.downloads]
    return {**request._asdict(), "downloads": downloads}


def decode_request(content: bytes) -> Request:
    """Return the request that JSON holds.  Raises FieldError."""
    value = loads(content)
    if not has_form(value, _FORM) or len(value["downloads"]) > defs.FETCH_COUNT:
        raise FieldError(_DAMAGED)
    if value["seconds"] > defs.FETCH_WAIT or value["size"] > defs.TOTAL_LIMIT:
        raise FieldError(_DAMAGED)
    for item in value["downloads"]:
        if not has_form(item, _DOWNLOAD):
            raise FieldError(_DAMAGED)
        if not all(isinstance(text, str) for text in item["headers"].values()):
            raise FieldError(_DAMAGED)
    return Request(**{**value, "downloads": [Download(**item) for item in value["downloads"]]})


def encode_answer(found: Sequence[Downloaded]) -> bytes:
    """Return an answer as JSON."""
    items = [
        {**item._asdict(), "content": b2a_base64(item.content, newline=False).decode()}
        for item in found
    ]
    return dumps(items).encode()


def decode_answer(content: bytes, number: int) -> list[Downloaded]:
    """Return the answer to a request for ``number`` documents.

    One that is not valid is an error of each of them.
    """
    try:
        value = loads(content, ANSWER_LIMIT)
        found = [
            Downloaded(
                a2b_base64(item["content"], strict_mode=True),
                printable(str(item["error"])[:_REASON_LIMIT]),
                again=item["again"] is True,
            )
            for item in value
        ]
        fits = all(len(item.content) <= defs.FILE_LIMIT for item in found)
    except (ValueError, KeyError, TypeError):
        found, fits = [], False
    if not fits or len(found) != number:
        return [Downloaded(error=_INVALID, again=True)] * number
    return found


def shown(url: str) -> str:
    """Return a URL as reports show it: without user, query and fragment, which may be secret."""
    scheme, _, rest = url.partition("://")
    path = rest.partition("#")[0].partition("?")[0]
    authority, slash, below = path.partition("/")
    more = "?…" if "?" in rest else ""
    return printable(f"{scheme}://{authority.rpartition('@')[2]}{slash}{below}{more}")
