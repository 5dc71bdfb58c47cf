"""JSON (RFC 8259), read strictly and written plainly: a stand-in for ``json``.

``json`` imports ``re``, which costs as much CPU time as starting the interpreter.  The C functions
below it do the work here; what is stricter than in ``json`` is that an object has no key twice,
and that what is read can be encoded again.
"""

from __future__ import annotations

# ``json`` takes 9 ms more to import, where an interpreter's start takes 8.
from _json import encode_basestring_ascii, make_scanner

from guestagent import defs
from guestagent.errors import FieldError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SPACE = " \t\n\r"
_LARGE = 1e15  # above all times and sizes
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # by hand: the codec that knows it is a module to import


class _Rules:
    """How the scanner makes values; it reads these attributes, as those of ``JSONDecoder``."""

    strict = True
    object_hook = None
    parse_float = float
    parse_int = int
    memo: dict[str, str] = {}  # noqa: RUF012 - read by name from C

    @staticmethod
    def parse_constant(name: str) -> object:
        raise FieldError("not JSON: NaN and Infinity are not allowed")

    @staticmethod
    def object_pairs_hook(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise FieldError("not JSON: duplicate key in an object")
        return found


_scan: Any = make_scanner(_Rules())  # type: ignore[arg-type, unused-ignore]


def loads(content: bytes, limit: int = defs.JSON_LIMIT, *, own: bool = False) -> Any:
    """Decode one JSON document of at most ``limit`` bytes.

    ``own``: guestagent wrote it, and paths in it that are not UTF-8 are what ``dumps`` made of
    them, lone surrogates.  Who reads it checks its form, so that how deep it is nested is limited
    by the decoder alone.

    Raises FieldError, whose text names the place by byte or character, never the content:
    not UTF-8, truncated or malformed, nested too deep, a duplicate key, NaN.
    """
    text = _text(content, limit)
    try:
        value, end = _scan(text, _skip_space(text, 0))
        if not own:
            _check(value, 0)
    except StopIteration as stop:
        raise FieldError(f"not JSON: no value at character {stop.value}") from None
    except RecursionError:
        raise FieldError("not JSON: nested too deep") from None
    except FieldError:
        raise
    except (ValueError, SystemError):
        raise FieldError(f"not JSON: malformed or truncated {_place(text)}") from None
    if _skip_space(text, end) != len(text):
        raise FieldError(f"not JSON: more text after the end, at character {end}")
    return value


def loads_own(content: bytes) -> Any:
    """Decode one of guestagent's own files.  Raises FieldError."""
    return loads(content, defs.GUEST_FILE_LIMIT, own=True)


def loads_of_source(content: bytes, limit: int = defs.JSON_LIMIT) -> tuple[Any, bool]:
    """Decode a document of a source, in which one bad character spoils its own text alone.

    In texts, a control character counts as its escape does; a byte that is not UTF-8 and a lone
    surrogate become NUL, which no validator lets through and no system call takes: the value's own
    check reports it at its key.  U+FFFD would not do, because it is printable.  Also returned is
    whether a name of an object has such a character, so that it may be unknown for it.

    Raises FieldError, as ``loads`` does, for what is not JSON otherwise.
    """
    try:
        return loads(content, limit), False
    except FieldError:
        if len(content) > limit:
            raise
        try:
            value = _load_leniently(content)
        except (StopIteration, RecursionError, ValueError, SystemError):
            value = None
        if value is None:  # not JSON: the error says where
            raise
        return value, _has_odd_name(value)


def has_form(value: object, form: dict[str, Any]) -> bool:
    """Tell whether a value is an object with the keys of a form, each with a value of its type.

    No text has a NUL, which no path and no argument of a program can have, and no number is beyond
    those that guestagent writes.
    """
    if not isinstance(value, dict) or value.keys() != form.keys():
        return False
    fits = (isinstance(value[key], types) for key, types in form.items())
    return all(fits) and all(map(_is_usual, value.values()))


def _is_usual(value: object) -> bool:
    if isinstance(value, str):
        return "\0" not in value
    return not isinstance(value, int | float) or abs(value) < _LARGE


def _load_leniently(content: bytes) -> object:
    """Raise one of several exceptions where a document is not JSON."""
    text = content.removeprefix(_BYTE_ORDER_MARK).decode("utf-8", "surrogateescape")
    rules = _Rules()
    rules.strict = False  # a control character in a string counts as its escape does
    scan: Any = make_scanner(rules)  # type: ignore[arg-type, unused-ignore]
    value, end = scan(text, _skip_space(text, 0))
    if _skip_space(text, end) != len(text):
        raise FieldError("not JSON")
    return _without_surrogates(value, 0)


def _has_odd_name(value: object) -> bool:
    if isinstance(value, list):
        return any(_has_odd_name(item) for item in value)
    if not isinstance(value, dict):
        return False
    return any(not name.isprintable() or _has_odd_name(item) for name, item in value.items())


def _without_surrogates(value: object, depth: int) -> object:
    """Return a value with NUL for each lone surrogate, in texts and names.  Raises FieldError."""
    if depth > defs.JSON_DEPTH:
        raise FieldError("not JSON: nested too deep")
    if isinstance(value, str):
        return _encodable_text(value)
    if isinstance(value, list):
        return [_without_surrogates(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, object] = {}
    for key, item in value.items():
        name = _encodable_text(key)
        while name in found:  # names that differ only in bad characters stay different
            name += "\0"
        found[name] = _without_surrogates(item, depth + 1)
    return found


def _encodable_text(text: str) -> str:
    if text.isascii():
        return text
    return "".join("\0" if "\ud800" <= char <= "\udfff" else char for char in text)


def _place(text: str) -> str:
    """Return where a document is malformed, in words, from the library's decoder.

    CPython 3.11's scanner raises SystemError for a malformed document until ``json.decoder``,
    which has the exception that it wants to raise, is imported.
    """
    from json.decoder import JSONDecodeError, JSONDecoder

    try:
        JSONDecoder().decode(text)
    except JSONDecodeError as error:
        return f"at line {error.lineno}, column {error.colno}"
    except (ValueError, RecursionError):
        pass
    return "in a number, or where it is nested too deep"


def _text(content: bytes, limit: int) -> str:
    """Return a document as text.  Raises FieldError."""
    if len(content) > limit:
        raise FieldError(f"larger than {limit} bytes")
    try:
        return content.removeprefix(_BYTE_ORDER_MARK).decode()
    except UnicodeDecodeError as error:
        raise FieldError(f"not UTF-8 at byte {error.start}") from None


def _skip_space(text: str, index: int) -> int:
    """Return the index of the first character from ``index`` on that is no white space."""
    while index < len(text) and text[index] in _SPACE:
        index += 1
    return index


def _check(value: object, depth: int) -> None:
    """Refuse what cannot be encoded again (lone surrogates) or is nested too deep."""
    if depth > defs.JSON_DEPTH:
        raise FieldError("not JSON: nested too deep")
    if isinstance(value, str):
        if not value.isascii():
            _encodable(value)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check(key, depth + 1)
            _check(item, depth + 1)


def _encodable(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise FieldError("not JSON: a lone surrogate") from None


def dumps(value: object, indent: str = "\n") -> str:
    """Encode dicts, lists, tuples, strings, integers, floats, booleans and None, indented.

    ``indent`` is what begins a line of the value.  Raises TypeError for other types.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):  # before integers: a bool is one
        return "true" if value else "false"
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if isinstance(value, int | float):
        return repr(value)
    inner = indent + "  "
    if isinstance(value, dict):
        fields = [f"{encode_basestring_ascii(k)}: {dumps(v, inner)}" for k, v in value.items()]
        return _enclose("{", fields, "}", indent)
    if isinstance(value, list | tuple):
        items = [dumps(item, inner) for item in value]
        return _enclose("[", items, "]", indent)
    raise TypeError(f"cannot be written as JSON: {type(value).__name__}")


def _enclose(start: str, parts: list[str], end: str, indent: str) -> str:
    """Return parts in brackets, each on a line of its own."""
    if not parts:
        return start + end
    inner = indent + "  "
    return start + inner + f",{inner}".join(parts) + indent + end
