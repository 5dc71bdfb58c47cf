"""Documents in memory as a source: those that another process has fetched."""

from __future__ import annotations

from guestagent.sources.bundle import Bundle, Unreadable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.sources.handover import Answer


class Documents:
    """A transport over documents by their names."""

    def __init__(self, documents: dict[str, bytes]) -> None:
        self._documents = documents

    def fetch(self, name: str, limit: int) -> bytes | None:
        """Return a document; see ``Transport``."""
        content = self._documents.get(name)
        if content is not None and len(content) > limit:
            raise Unreadable(f"larger than {limit} bytes")
        return content

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder; see ``Transport``."""
        start = f"{folder}/"
        inside = (name[len(start) :] for name in self._documents if name.startswith(start))
        return sorted({name.partition("/")[0] for name in inside})

    def close(self) -> None:
        """Do nothing: there is nothing to give back."""


def as_bundle(answer: Answer) -> Bundle:
    """Return the documents of an answer as a source."""
    label = f"metadata service {answer.url}"
    return Bundle(label, Documents(answer.documents), answer.url, unchanged=answer.unchanged)
