"""Documents that another process has fetched: the form in which they are handed over.

The process that talks to the network has no rights; what it writes is as untrusted as what the
network says.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64

from guestagent import defs
from guestagent.errors import FieldError, SourceBroken
from guestagent.record import NamedTuple
from guestagent.sources.bundle import Bundle, Unreadable
from guestagent.system.jsontext import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


LIMIT = 2 * defs.TOTAL_LIMIT  # of an encoded answer, in bytes


class Answer(NamedTuple):
    """What asking a metadata service brought.

    ``url`` is where the answer came from, with the link's name as a zone where that was chosen.
    ``documents`` are by name.  ``unchanged`` says that only those that can change were asked for,
    and that they are what they were.  ``error`` says why there are none; ``again`` that a
    later try may succeed.
    """

    url: str
    documents: dict[str, bytes] = {}  # noqa: RUF012 - a record's default, never changed
    unchanged: bool = False
    requests: int = 0
    error: str = ""
    again: bool = False


def encode(answer: Answer) -> bytes:
    """The answer as JSON."""
    documents = {
        name: b2a_base64(content, newline=False).decode()
        for name, content in answer.documents.items()
    }
    return dumps({**answer._asdict(), "documents": documents}).encode()


def decode(content: bytes) -> Answer:
    """The answer from JSON.  Raises SourceBroken for anything else."""
    try:
        value = loads(content, LIMIT)
        if not isinstance(value, dict):
            raise FieldError("must be a JSON object")
        return _answer(value)
    except FieldError as error:
        raise SourceBroken(f"the fetched documents cannot be understood: {error}") from None
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError):
        raise SourceBroken("the fetched documents cannot be understood") from None


def _answer(value: dict[str, Any]) -> Answer:
    documents = {
        str(name): a2b_base64(text, strict_mode=True) for name, text in value["documents"].items()
    }
    return Answer(
        str(value["url"]),
        documents,
        value["unchanged"] is True,
        int(value["requests"]),
        str(value["error"]),
        value["again"] is True,
    )


class Documents:
    """A transport over documents in memory."""

    def __init__(self, documents: dict[str, bytes]) -> None:
        self._documents = documents

    def fetch(self, name: str, limit: int) -> bytes | None:
        """A document; see ``Transport``."""
        content = self._documents.get(name)
        if content is not None and len(content) > limit:
            raise Unreadable(f"larger than {limit} bytes")
        return content

    def names(self, folder: str) -> list[str]:
        """A folder's names; see ``Transport``."""
        start = f"{folder}/"
        inside = (name[len(start) :] for name in self._documents if name.startswith(start))
        return sorted({name.partition("/")[0] for name in inside})

    def close(self) -> None:
        """Nothing is held."""


def bundle(answer: Answer) -> Bundle:
    """The documents of an answer as a source."""
    return Bundle(
        f"metadata service {answer.url}", Documents(answer.documents), answer.url, answer.unchanged
    )
