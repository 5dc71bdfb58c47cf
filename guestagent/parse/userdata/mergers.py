"""How a later part of cloud-config joins the parts before it, where the part asks for its own way.

Such as ``list(append)+dict(recurse_array)+str()``, in a header of the part or in its document.
The words and what they do are those of cloud-init's documentation, "Merging user data sections".
"""

from __future__ import annotations

from guestagent.errors import FieldError
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_UNKNOWN = "has a merge type that is not known; it is left out"
_NO_DICT = "has a merge type without dict(), by which nothing of it would count; it is left out"
_LISTS = ("recurse_list", "recurse_array")
_KINDS = ("dict", "list", "str")


class Rules(NamedTuple):
    """The words given for each kind of value, None for a kind that keeps its earlier value."""

    dicts: tuple[str, ...]
    lists: tuple[str, ...] | None
    texts: tuple[str, ...] | None

    def same_key(self, old: Any, new: Any) -> Any:
        """What counts where both the parts before and this one have the key.

        That is ``old`` or ``new`` itself, or a new value made of both.
        """
        if "replace" in self.dicts:
            return new
        recursive = (
            isinstance(new, dict)
            or (isinstance(new, list) and any(word in self.dicts for word in _LISTS))
            or (isinstance(new, str) and "recurse_str" in self.dicts)
        )
        return self._joined(old, new) if recursive else old

    def deletes(self, new: Any) -> bool:
        """True for a value that takes the key away."""
        return new is None and "allow_delete" in self.dicts

    def mapping(self, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        """Both mappings as one."""
        found = dict(old)
        for key, value in new.items():
            if key in old and self.deletes(value):
                del found[key]
            else:
                found[key] = self.same_key(old[key], value) if key in old else value
        return found

    def _joined(self, old: Any, new: Any) -> Any:
        if isinstance(old, dict):
            return self.mapping(old, new) if isinstance(new, dict) else old
        if isinstance(old, list) and self.lists is not None:
            return self._list(self.lists, old, new)
        if isinstance(old, str) and self.texts is not None:
            both = "append" in self.texts and isinstance(new, str)
            return old + new if both else new
        return old

    def _list(self, words: tuple[str, ...], old: list[Any], new: Any) -> Any:
        if "append" in words or "prepend" in words:
            if not isinstance(new, list):
                return old
            return old + new if "append" in words else new + old
        if "replace" not in words and "no_replace" in words:
            return old
        if not isinstance(new, list):
            return new
        # Replaced by place: the old list keeps its length.
        pairs = zip(old, new, strict=False)
        found = [self._same_place(words, *pair) for pair in pairs]
        return found + old[len(found) :]

    def _same_place(self, words: tuple[str, ...], old: Any, new: Any) -> Any:
        recursive = (
            (isinstance(new, dict) and "recurse_dict" in words)
            or (isinstance(new, list) and any(word in words for word in _LISTS))
            or (isinstance(new, str) and "recurse_str" in words)
        )
        return self._joined(old, new) if recursive else new


DEFAULT = Rules(("replace",), (), ())
"""A later part's value of a key of the top level counts."""


def rules(inside: object, header: str) -> Rules:
    """The rules that a part asks for inside of its document and in a header of it.

    Text, or a list of mappings with "name" and "settings" inside of the document, which comes
    before the header where both speak of the same kind.  Raises FieldError for an unknown one.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name, words in (*_asked(inside), *_asked(header)):
        if name not in _KINDS:
            raise FieldError(_UNKNOWN)
        found.setdefault(name, words)
    if not found:
        return DEFAULT
    if "dict" not in found:
        raise FieldError(_NO_DICT)
    return Rules(found["dict"], found.get("list"), found.get("str"))


def _asked(given: object) -> list[tuple[str, tuple[str, ...]]]:
    """Names of kinds and the words given for each.  FieldError: not of that form."""
    if given is None:
        return []
    if isinstance(given, str):
        return [_from_text(text) for text in given.split("+") if text.strip()]
    if not isinstance(given, list):
        raise FieldError(_UNKNOWN)
    return [_from_item(item) for item in given]


def _from_text(text: str) -> tuple[str, tuple[str, ...]]:
    name, opening, rest = text.strip().lower().partition("(")
    if not opening or not rest.endswith(")"):
        raise FieldError(_UNKNOWN)
    return _name(name), _words(rest[:-1])


def _from_item(item: Any) -> tuple[str, tuple[str, ...]]:
    if isinstance(item, dict):
        name, words = item.get("name"), item.get("settings") or []
    elif isinstance(item, list) and item:
        name, words = item[0], item[1:]
    else:
        raise FieldError(_UNKNOWN)
    words = [words] if isinstance(words, str) else words
    if not isinstance(name, str) or not isinstance(words, list):
        raise FieldError(_UNKNOWN)
    return _name(name), _words(",".join(map(str, words)))


def _name(name: str) -> str:
    return name.strip().lower().replace("-", "_").removeprefix("m_")


def _words(text: str) -> tuple[str, ...]:
    words = (word.strip().lower().replace("-", "_") for word in text.split(","))
    return tuple(filter(None, words))
