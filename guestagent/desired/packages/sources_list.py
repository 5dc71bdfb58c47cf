"""Sources of apt, sources.list(5): lines and stanzas are read strictly, and written as stanzas.

A stanza, deb822(5), is a dict of field names and values; a value's further lines begin with a
blank.
"""

from __future__ import annotations

from guestagent.errors import FieldError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Stanza = dict[str, str]

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_VARIABLE = "".join(_LETTERS) + "_"
_FIELD_NAME = _LETTERS | {"-"}
_TYPES = ("deb", "deb-src")
_NEEDED = ("Types", "URIs", "Suites")
_METHODS = ("http", "https", "ftp", "file", "copy", "cdrom", "tor+http", "tor+https", "mirror")
_NOT_IN_URIS = frozenset(" \"'[]<>\\^`{|}")
# Options of a line, and the fields of a stanza that mean the same.
_OPTIONS = {
    "arch": "Architectures",
    "lang": "Languages",
    "target": "Targets",
    "pdiffs": "PDiffs",
    "by-hash": "By-Hash",
    "allow-insecure": "Allow-Insecure",
    "allow-weak": "Allow-Weak",
    "allow-downgrade-to-insecure": "Allow-Downgrade-To-Insecure",
    "trusted": "Trusted",
    "signed-by": "Signed-By",
    "check-valid-until": "Check-Valid-Until",
    "valid-until-min": "Valid-Until-Min",
    "valid-until-max": "Valid-Until-Max",
    "check-date": "Check-Date",
    "date-max-future": "Date-Max-Future",
    "inrelease-path": "InRelease-Path",
    "snapshot": "Snapshot",
}
# Options whose values are lists, with commas in a line, and those that can add and remove.
_LISTS = ("arch", "lang", "target", "signed-by")
_CHANGEABLE = ("arch", "lang", "target")
_INCOMPLETE = "is not a line of sources.list(5): a URI, a suite and components"
_JINJA = "is a jinja template, which is not supported: use $MIRROR, $RELEASE…"


def fill_in(text: str, variables: Mapping[str, str]) -> str:
    """Return the text with values for ``$NAME`` and ``${NAME}``; apt's own ``$(ARCH)`` stays.

    Raise FieldError for a variable without a value, or a template of another kind.
    """
    if "{{" in text or "{%" in text or text.startswith("## template"):
        raise FieldError(_JINJA)
    result, *pieces = text.split("$")
    for piece in pieces:
        if piece.startswith("("):
            result += f"${piece}"
            continue
        in_braces = piece.startswith("{")
        name_and_rest = piece.removeprefix("{")
        rest = name_and_rest.lstrip(_VARIABLE)
        name = name_and_rest[: len(name_and_rest) - len(rest)]
        if name not in variables or (in_braces and not rest.startswith("}")):
            raise FieldError("has a variable that has no value on this system")
        if in_braces:
            rest = rest[1:]
        result += variables[name] + rest
    return result


def parse(text: str) -> list[Stanza]:
    """Return the stanzas of a text that has lines, or stanzas, of sources.list(5).

    Raise FieldError if it has neither, or no source at all.
    """
    lines = [line.rstrip().replace("\t", " ") for line in text.splitlines()]
    if not "".join(lines).isprintable():
        raise FieldError("contains a control character or another unprintable one")
    for line in lines:
        if line.strip() and not line.startswith("#"):
            # The first word tells the form: "deb", or the name of a field.
            if line.split()[0].endswith(":"):
                return _parse_stanzas(lines)
            return _parse_lines(lines)
    raise FieldError("names no source")


def _parse_stanzas(lines: list[str]) -> list[Stanza]:
    """Return the stanzas of lines in the form of deb822(5).  Raise FieldError if one is wrong."""
    stanzas: list[Stanza] = []
    stanza: Stanza = {}
    name = ""
    for line in [*lines, ""]:
        if line.startswith("#"):
            continue
        if not line:
            if stanza:
                stanzas.append(stanza)
            stanza, name = {}, ""
        elif line.startswith(" ") and name:
            stanza[name] += f"\n{line}"
        else:
            name, value = _parse_field(line)
            if name in stanza:
                raise FieldError("has a duplicate field in a stanza")
            stanza[name] = value
    for stanza in stanzas:
        _check_stanza(stanza)
    return stanzas


def _parse_field(line: str) -> tuple[str, str]:
    """Return name and value of a field; the names that are needed get their usual capitals."""
    name, colon, value = line.partition(":")
    if not colon or not name or not _FIELD_NAME.issuperset(name):
        raise FieldError("is not in the form of deb822(5): a field, a colon, a value")
    for known in _NEEDED:
        if known.lower() == name.lower():
            name = known
    return name, value.strip()


def _check_stanza(stanza: Stanza) -> None:
    """Raise FieldError if a stanza lacks what it needs, or apt would not take it."""
    if not all(stanza.get(field) for field in _NEEDED):
        raise FieldError("has a stanza without Types, URIs and Suites")
    if not set(stanza["Types"].split()) <= set(_TYPES):
        raise FieldError("has a type other than deb and deb-src")
    for uri in stanza["URIs"].split():
        check_uri(uri)


def _parse_lines(lines: list[str]) -> list[Stanza]:
    """Return a stanza for each line that is not a comment.  Raise FieldError if one is wrong."""
    stanzas = []
    for line in lines:
        text = line.partition("#")[0].strip()
        if text:
            stanzas.append(_parse_line(text))
    return stanzas


def _parse_line(text: str) -> Stanza:
    """Return the stanza for a line ``deb [OPTIONS] URI SUITE COMPONENT…``.

    Raise FieldError for anything else.
    """
    kind, _, rest = text.partition(" ")
    if kind not in _TYPES:
        raise FieldError("is not a line of sources.list(5): deb or deb-src must come first")
    rest = rest.strip()
    options: Stanza = {}
    if rest.startswith("["):
        inner, end, rest = rest[1:].partition("]")
        if not end:
            raise FieldError("has options without a ] at their end")
        options = _parse_options(inner.split())
    words = rest.split()
    if len(words) < 2:
        raise FieldError(_INCOMPLETE)
    uri, suite, components = words[0], words[1], words[2:]
    # A suite that ends with a slash is a directory, which has no components; any other has some.
    if suite.endswith("/") == bool(components):
        raise FieldError(_INCOMPLETE)
    stanza = {"Types": kind, "URIs": check_uri(uri), "Suites": suite}
    if components:
        stanza["Components"] = " ".join(components)
    return stanza | options


def _parse_options(words: list[str]) -> Stanza:
    """Return the fields for options ``NAME=VALUE``.  Raise FieldError for an unknown option.

    A list can also be added to apt's own with ``NAME+=VALUE``, or removed with ``NAME-=VALUE``.
    """
    found: Stanza = {}
    for word in words:
        name, _, value = word.partition("=")
        suffix = ""
        if name.endswith("+"):
            name, suffix = name[:-1], "-Add"
        elif name.endswith("-"):
            name, suffix = name[:-1], "-Remove"
        is_known = name in _OPTIONS and (not suffix or name in _CHANGEABLE)
        if not is_known or not value:
            raise FieldError("has an option that sources.list(5) does not have")
        if name in _LISTS:
            value = value.replace(",", " ")
        found[_OPTIONS[name] + suffix] = value
    return found


def check_uri(text: str) -> str:
    """Return the URI of a repository, without a / at its end.

    Raise FieldError if apt has no method to fetch from there.
    """
    method, _, rest = text.partition(":")
    is_method = method in _METHODS or method.startswith("mirror+")
    is_plain = text.isascii() and text.isprintable() and not _NOT_IN_URIS & set(rest)
    if not is_method or not rest or not is_plain:
        raise FieldError("is not a URI that apt can fetch from")
    return text.rstrip("/") or text


def remove_suites(stanzas: Iterable[Stanza], disabled: Iterable[str]) -> list[Stanza]:
    """Return the stanzas without some suites, and without the stanzas that have no other."""
    removed = set(disabled)
    found = []
    for stanza in stanzas:
        suites = [suite for suite in stanza["Suites"].split() if suite not in removed]
        if suites:
            found.append(stanza | {"Suites": " ".join(suites)})
    return found


def render(stanzas: Iterable[Stanza]) -> bytes:
    """Return the content of a file ``NAME.sources``."""
    texts = []
    for stanza in stanzas:
        texts.append("".join(f"{name}: {value}\n" for name, value in stanza.items()))
    return ("# Written by guestagent\n" + "\n".join(texts)).encode()
