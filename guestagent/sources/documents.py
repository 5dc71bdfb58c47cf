"""Documents in memory as a source: those that another process has fetched."""

from __future__ import annotations

from guestagent.sources.bundle import Bundle, Unreadable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.sources.handover import Answer

_LATER = "the rest is applied, and this document is asked for again at the next boot"


class Documents:
    """A transport over documents by their names; ``failed`` are those that could not be read."""

    def __init__(self, documents: dict[str, bytes], failed: dict[str, str] | None = None) -> None:
        self._documents, self._failed = documents, failed or {}

    def fetch(self, name: str, limit: int) -> bytes | None:
        """Return a document; see ``Transport``."""
        if name in self._failed:
            raise Unreadable(f"{self._failed[name]}; {_LATER}")
        content = self._documents.get(name)
        if content is not None and len(content) > limit:
            raise Unreadable(f"larger than {limit} bytes")
        return content

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder; see ``Transport``."""
        start = f"{folder}/" if folder else ""
        names = (*self._documents, *self._failed)
        inside = (name[len(start) :] for name in names if name.startswith(start))
        return sorted({name.partition("/")[0] for name in inside})

    def close(self) -> None:
        """Do nothing: there is nothing to give back."""


def as_bundle(answer: Answer) -> Bundle:
    """Return the documents of an answer as a source."""
    label = f"metadata service {answer.url}"
    documents = Documents(answer.documents, answer.failed)
    return Bundle(label, documents, answer.url, unchanged=answer.unchanged)
