"""How a part of cloud-config joins the parts before it, if it asks for a way of its own.

For instance ``list(append)+dict(recurse_array)+str()``, in a header of the part or in its text.
Words and meaning are those of cloud-init's documentation, "Merging user data sections".
"""

from __future__ import annotations

from guestagent.errors import FieldError
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Words = tuple[str, ...]

_UNKNOWN = "has an unknown merge type; the part is ignored"
_NO_DICT = "has a merge type without dict(), which would take nothing from it; the part is ignored"
_RECURSE_LIST = frozenset(("recurse_list", "recurse_array"))
_TYPES = ("dict", "list", "str")


class Rules(NamedTuple):
    """The words that are given for each type of value.

    A list or a string whose type has no words at all (None) keeps the value of the earlier part.
    """

    dicts: Words
    lists: Words | None
    strings: Words | None

    def merge_values(self, old: Any, new: Any) -> Any:
        """Return the value of a key that the parts before and this one have.

        That is ``old`` or ``new`` itself, or a new value that is made of both.
        """
        if "replace" in self.dicts:
            return new
        if isinstance(new, dict) or _recurses(self.dicts, new):
            return self._join(old, new)
        return old

    def deletes(self, new: Any) -> bool:
        """Tell whether a value removes its key."""
        return new is None and "allow_delete" in self.dicts

    def merge_mappings(self, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        """Return one mapping that is made of both."""
        found = dict(old)
        for key, value in new.items():
            if key not in old:
                found[key] = value
            elif self.deletes(value):
                del found[key]
            else:
                found[key] = self.merge_values(old[key], value)
        return found

    def _join(self, old: Any, new: Any) -> Any:
        """Return one value of both, by the rules for the type of the old one."""
        if isinstance(old, dict):
            return self.merge_mappings(old, new) if isinstance(new, dict) else old
        if isinstance(old, list) and self.lists is not None:
            return self._join_lists(self.lists, old, new)
        if isinstance(old, str) and self.strings is not None:
            if "append" in self.strings and isinstance(new, str):
                return old + new
            return new
        return old

    def _join_lists(self, words: Words, old: list[Any], new: Any) -> Any:
        if "append" in words:
            return old + new if isinstance(new, list) else old
        if "prepend" in words:
            return new + old if isinstance(new, list) else old
        if "no_replace" in words and "replace" not in words:
            return old
        if not isinstance(new, list):
            return new
        # Items are replaced one by one. The old list keeps its length: more new items are ignored.
        found = list(old)
        for index in range(min(len(old), len(new))):
            found[index] = self._merge_items(words, old[index], new[index])
        return found

    def _merge_items(self, words: Words, old: Any, new: Any) -> Any:
        recurses = isinstance(new, dict) and "recurse_dict" in words
        return self._join(old, new) if recurses or _recurses(words, new) else new


def _recurses(words: Words, new: Any) -> bool:
    """Tell whether words ask to merge such a list or string, instead of taking one of two."""
    if isinstance(new, list):
        return not _RECURSE_LIST.isdisjoint(words)
    return isinstance(new, str) and "recurse_str" in words


DEFAULT = Rules(dicts=("replace",), lists=(), strings=())
"""The later part's value of a key at the top level replaces the earlier one."""


def read_rules(in_text: object, in_header: str) -> Rules:
    """Return the rules that a part asks for in its text and in its header.

    The text may have a string, or a list of mappings with ``name`` and ``settings``.  Where both
    name the same type, the text wins.  Raises FieldError if they cannot be understood.
    """
    found: dict[str, Words] = {}
    for name, words in (*_read(in_text), *_read(in_header)):
        if name not in _TYPES:
            raise FieldError(_UNKNOWN)
        found.setdefault(name, words)
    if not found:
        return DEFAULT
    if "dict" not in found:
        raise FieldError(_NO_DICT)
    return Rules(dicts=found["dict"], lists=found.get("list"), strings=found.get("str"))


def _read(given: object) -> list[tuple[str, Words]]:
    """Return names of types and the words for each.  Raises FieldError for another form."""
    if given is None:
        return []
    if isinstance(given, str):
        return [_read_text(text) for text in given.split("+") if text.strip()]
    if isinstance(given, list):
        return [_read_item(item) for item in given]
    raise FieldError(_UNKNOWN)


def _read_text(text: str) -> tuple[str, Words]:
    """Read ``name(word, word)``."""
    name, opening, rest = text.strip().lower().partition("(")
    if not opening or not rest.endswith(")"):
        raise FieldError(_UNKNOWN)
    return _normal_name(name), _split_words(rest[:-1])


def _read_item(item: Any) -> tuple[str, Words]:
    """Read ``{name: …, settings: […]}`` or ``[name, word, word]``."""
    if isinstance(item, dict):
        name = item.get("name")
        words = item.get("settings") or []
    elif isinstance(item, list) and item:
        name, *words = item
    else:
        raise FieldError(_UNKNOWN)
    if isinstance(words, str):
        words = [words]
    if not isinstance(name, str) or not isinstance(words, list):
        raise FieldError(_UNKNOWN)
    return _normal_name(name), _split_words(",".join(map(str, words)))


def _normal_name(name: str) -> str:
    return name.strip().lower().replace("-", "_").removeprefix("m_")


def _split_words(text: str) -> Words:
    return tuple(word.strip().lower().replace("-", "_") for word in text.split(",") if word.strip())
