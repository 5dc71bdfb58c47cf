"""Sources of apt: lines and stanzas of sources.list(5), read strictly, written as stanzas.

A stanza is a dict of field names and values; a value's further lines begin with a blank.
"""

from __future__ import annotations

from guestagent.errors import FieldError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Stanza = dict[str, str]

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_TYPES = ("deb", "deb-src")
_NEEDED = ("Types", "URIs", "Suites")
_METHODS = ("http", "https", "ftp", "file", "copy", "cdrom", "tor+http", "tor+https", "mirror")
_OPTIONS = {  # of a line, and the fields that mean the same
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
_LISTS = ("arch", "lang", "target", "signed-by")


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with values for ``$NAME`` and ``${NAME}``; apt's own ``$(ARCH)`` stays.

    FieldError: a name without a value, or a template of another kind.
    """
    if "{{" in text or "{%" in text or text.startswith("## template"):
        raise FieldError("is a jinja template, which is not supported: use $MIRROR, $RELEASE…")
    result, *rest = text.split("$")
    for part in rest:
        if part.startswith("("):
            result += f"${part}"
            continue
        body = part.removeprefix("{")
        length = next((n for n, c in enumerate(body) if c not in _LETTERS | {"_"}), len(body))
        name, after = body[:length], body[length:]
        if name not in values or (body != part and not after.startswith("}")):
            raise FieldError("has a variable of which no value is known here")
        result += values[name] + (after if body == part else after[1:])
    return result


def stanzas(text: str) -> list[Stanza]:
    """What lines, or stanzas, of sources.list(5) say.  FieldError: neither, or nothing."""
    lines = [line.rstrip().replace("\t", " ") for line in text.splitlines()]
    if not "".join(lines).isprintable():
        raise FieldError("holds a control character or another unprintable one")
    words = (line.split()[0] for line in lines if line.strip() and not line.startswith("#"))
    first = next(words, "")
    if not first:
        raise FieldError("names no source")
    if first.endswith(":"):
        return _of_fields(lines)
    return [found for line in lines if (found := of_line(line))]


def _of_fields(lines: list[str]) -> list[Stanza]:
    found: list[Stanza] = [{}]
    name = ""
    for line in lines:
        if line.startswith("#"):
            continue
        if not line:
            found, name = [*found, {}], ""
        elif line.startswith(" ") and name:
            found[-1][name] += f"\n{line}"
        else:
            name, colon, value = line.partition(":")
            if not colon or not name or not (_LETTERS | {"-"}).issuperset(name):
                raise FieldError("is not in the form of deb822(5): a field, a colon, a value")
            name = next((known for known in _NEEDED if known.lower() == name.lower()), name)
            if name in found[-1]:
                raise FieldError("has a field twice in one stanza")
            found[-1][name] = value.strip()
    found = [stanza for stanza in found if stanza]
    for stanza in found:
        if any(not stanza.get(field) for field in _NEEDED):
            raise FieldError("has a stanza without Types, URIs and Suites")
        if not set(stanza["Types"].split()) <= set(_TYPES):
            raise FieldError("has a type other than deb and deb-src")
        for address in stanza["URIs"].split():
            uri(address)
    return found


def of_line(line: str) -> Stanza:
    """The stanza for a line ``deb [OPTIONS] URI SUITE COMPONENT…``, empty for a comment."""
    text = line.partition("#")[0].strip()
    if not text:
        return {}
    kind, _, rest = text.partition(" ")
    if kind not in _TYPES:
        raise FieldError("is not a line of sources.list(5): deb or deb-src must come first")
    options: Stanza = {}
    rest = rest.strip()
    if rest.startswith("["):
        inner, end, rest = rest[1:].partition("]")
        if not end:
            raise FieldError("has options without a ] at their end")
        options = _of_options(inner.split())
    words = rest.split()
    if len(words) < 2 or (len(words) < 3) != words[1].endswith("/"):
        raise FieldError("is not a line of sources.list(5): a URI, a suite and components")
    where = {"Types": kind, "URIs": uri(words[0]), "Suites": words[1]}
    return where | ({"Components": " ".join(words[2:])} if words[2:] else {}) | options


def _of_options(words: list[str]) -> Stanza:
    found: Stanza = {}
    for word in words:
        name, equals, value = word.partition("=")
        change = {"+": "-Add", "-": "-Remove"}.get(name[-1:], "")
        base = name[:-1] if change else name
        if base not in _OPTIONS or not equals or not value or (change and base not in _LISTS[:3]):
            raise FieldError("has an option that is none of sources.list(5)")
        text = value.replace(",", " ") if base in _LISTS else value
        found[_OPTIONS[base] + change] = text
    return found


def uri(text: str) -> str:
    """The place of a repository, without a / at its end.  FieldError: no method of apt's."""
    method, colon, rest = text.partition(":")
    known = method in _METHODS or method.startswith("mirror+")
    printable = text.isascii() and text.isprintable()
    if not known or not colon or not rest or not printable or set(" \"'[]<>\\^`{|}") & set(rest):
        raise FieldError("is not a URI that apt can fetch from")
    return text.rstrip("/") or text


def without_suites(items: Iterable[Stanza], disabled: Iterable[str]) -> list[Stanza]:
    """The stanzas without some suites; one that has none left is gone."""
    gone = set(disabled)
    found = []
    for stanza in items:
        suites = [suite for suite in stanza["Suites"].split() if suite not in gone]
        if suites:
            found.append(stanza | {"Suites": " ".join(suites)})
    return found


def written(items: Iterable[Stanza]) -> bytes:
    """A file of stanzas, ``NAME.sources``."""
    texts = ("".join(f"{name}: {value}\n" for name, value in stanza.items()) for stanza in items)
    return ("# Written by guestagent\n" + "\n".join(texts)).encode()
