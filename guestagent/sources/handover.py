"""The request for a metadata service, and its answer, as two processes hand them over.

The process that talks to the network has no rights, and what it writes is as untrusted as the
network itself.  Both are JSON; an answer holds its documents in base64 (RFC 4648).
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64

from guestagent import defs
from guestagent.errors import FieldError, SourceBroken
from guestagent.log import printable
from guestagent.record import NamedTuple
from guestagent.sources.cloud import NO_CLOUD, Cloud
from guestagent.system.jsontext import dumps, has_form, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ANSWER_LIMIT = 2 * defs.TOTAL_LIMIT  # of an encoded answer, in bytes
_TEXT_LIMIT = 1000  # characters
_NO_REQUEST = "not a request as guestagent leaves it; the next boot leaves another one"
_INVALID = "the answer that was fetched from the metadata service is not valid"


class Request(NamedTuple):
    """What to ask a metadata service for.

    ``urls`` replace the addresses of the link.  ``wait`` is the time for everything, in seconds,
    ``patience`` that for a first answer.
    ``digests`` are those of the documents that an earlier run applied, made with ``salt`` (see
    ``Bundle.digests``).  ``old_protocol`` allows EC2 without session tokens on a platform that has
    them.  ``password`` asks whether the service has a password of the instance already.  ``uuid``
    is the machine's, where the hypervisor gives it that of its instance.  ``brief``: if the first
    document is the one that was applied, no other is asked for.  ``since`` is the moment since when
    no drive may have come before the answer is believed, on the monotonic clock; 0 is none.
    """

    cloud: Cloud
    urls: tuple[str, ...] = ()
    wait: float = defs.METADATA_WAIT
    salt: str = ""
    digests: dict[str, str] = {}  # noqa: RUF012 - a record's default, never changed
    old_protocol: bool = False
    password: bool = False
    uuid: str = ""
    brief: bool = False
    patience: float = defs.METADATA_WAIT
    since: float = 0.0


class Answer(NamedTuple):
    """What a metadata service answered.

    ``url`` is where the answer came from, with the link's name as a zone if it was chosen.
    ``documents`` are by name; ``failed`` says of others, which exist or may exist, why they could
    not be read.  ``unchanged`` says that only the documents that can change were
    asked for, and that they are the ones which were applied.  ``requests`` is how many were sent.
    ``error`` says why there are no documents, ``again`` that a later try may succeed, ``wrong``
    that there are answers and it is not known which one is for this machine.
    """

    url: str
    documents: dict[str, bytes] = {}  # noqa: RUF012 - a record's default, never changed
    unchanged: bool = False
    requests: int = 0
    error: str = ""
    again: bool = False
    wrong: bool = False
    failed: dict[str, str] = {}  # noqa: RUF012 - a record's default, never changed


def _types(record: Request | Cloud) -> dict[str, Any]:
    """Return the types of a record's fields."""
    return {name: type(value) for name, value in record._asdict().items()}


_CLOUD = _types(NO_CLOUD)
_REQUEST = {
    **_types(Request(NO_CLOUD)),
    "cloud": dict,
    "urls": list,
    "wait": (int, float),
    "patience": (int, float),
    "since": (int, float),
}


def request_as_json(request: Request) -> dict[str, Any]:
    """Return a request in types that JSON has."""
    return {**request._asdict(), "cloud": request.cloud._asdict()}


def decode_request(content: bytes) -> Request:
    """Return the request that JSON holds.  Raises FieldError for anything else."""
    value = loads(content)
    if not has_form(value, _REQUEST) or not has_form(value["cloud"], _CLOUD):
        raise FieldError(_NO_REQUEST)
    texts = (*value["urls"], *value["digests"].values())
    if not all(isinstance(text, str) for text in texts) or not _is_hexadecimal(value["salt"]):
        raise FieldError(_NO_REQUEST)
    cloud, urls = Cloud(**value["cloud"]), tuple(value["urls"])
    return Request(**{**value, "cloud": cloud, "urls": urls})


def _is_hexadecimal(text: str) -> bool:
    try:
        bytes.fromhex(text)
    except ValueError:
        return False
    return True


def encode_answer(answer: Answer) -> bytes:
    """Return an answer as JSON."""
    documents = {
        name: b2a_base64(content, newline=False).decode()
        for name, content in answer.documents.items()
    }
    return dumps({**answer._asdict(), "documents": documents}).encode()


def decode_answer(content: bytes) -> Answer:
    """Return the answer that JSON holds.  Raises SourceBroken for anything else."""
    try:
        value = loads(content, ANSWER_LIMIT)
        if not isinstance(value, dict):
            raise FieldError("must be a JSON object")
        return _answer(value)
    except FieldError as error:
        raise SourceBroken(f"{_INVALID}: {error}") from None
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError):
        raise SourceBroken(_INVALID) from None


def _answer(value: dict[str, Any]) -> Answer:
    # Every value is converted, because it may be of any type; texts are parts of messages.
    documents = {
        str(name): a2b_base64(text, strict_mode=True) for name, text in value["documents"].items()
    }
    return Answer(
        url=_shown(value["url"]),
        documents=documents,
        unchanged=value["unchanged"] is True,
        requests=int(value["requests"]),
        error=_shown(value["error"]),
        again=value["again"] is True,
        wrong=value["wrong"] is True,
        failed={str(name): _shown(reason) for name, reason in value["failed"].items()},
    )


def _shown(value: object) -> str:
    """Return a value as text of one line, which is cut where it is long."""
    return printable(str(value)[:_TEXT_LIMIT])
