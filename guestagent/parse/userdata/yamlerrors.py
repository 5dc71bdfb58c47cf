"""What is wrong with a YAML text, told by kind: PyYAML's own messages quote the text."""

from __future__ import annotations

from guestagent import defs

TYPE_CHECKING = False
if TYPE_CHECKING:
    import yaml

    Place = tuple[int, int]

KEY = "a key cannot be a list or a mapping; text that begins with { or [ must stand in quotes"
TAG = "a tag that is not known; text that begins with ! must stand in quotes"
BAD_ESCAPE = "an unknown escape (\\) in double quotes; single quotes leave \\ as it is"
NO_ANCHOR = (
    "an alias (*) without an anchor (&) of that name before it; "
    "text that begins with * must stand in quotes"
)
NESTED = f"lists and mappings are nested more than {defs.YAML_DEPTH} deep"
_TAB = "found a tab where indentation must be spaces"
_COLON = "a colon is missing after a key, or indentation is wrong"

# By what both parsers, libyaml's and Python's own, say of the kind of error; the first fits.
_REASONS = (
    ("mapping values are not allowed", "a colon where no key can stand: indentation is wrong, "
     "a colon is missing above, or text with a colon and a space in it must stand in quotes"),
    ("expected ':'", _COLON),
    ("maximum nesting", NESTED),
    ("expected ',' or ']'", "the list in [ ] above is not closed, or a comma is missing in it"),
    ("expected ',' or '}'", "the mapping in { } above is not closed, or a comma is missing in it"),
    ("unexpected end of stream", "text in quotes that begins here is not closed"),
    ("unexpected document", "text in quotes that begins here is not closed"),
    ("escape", BAD_ESCAPE),
    ("decimal number", BAD_ESCAPE),
    ("entries are not allowed", "a list item (-) where none can stand: indentation is wrong"),
    ("'-' indicator", "indentation does not fit the list it stands in, or a dash is missing"),
    ("alphabetic or numeric", "text that begins with * or & must stand in quotes"),
    ("alphabetical", "text that begins with * or & must stand in quotes"),
    ("tag", TAG),
    ("URI", TAG),
    ("expected ' '", TAG),
    ("expected '>'", TAG),
    ("directive", "a line that begins with % is not text; text must stand in quotes"),
    ("incompatible", "another version of YAML than 1.1"),
    ("<document start>", "text after the end of the document, or indentation is wrong"),
    ("chomping", "a bad sign after | or >; text that begins with | or > must stand in quotes"),
    ("indentation", "a bad sign after | or >; text that begins with | or > must stand in quotes"),
    ("line break", "more text where the line must end"),
    ("node content", "a value is missing, or one is here that must stand in quotes"),
    ("block end", "indentation does not fit what is above, or a colon is missing"),
    ("expected key", "indentation does not fit what is above, or a colon is missing"),
)  # fmt: skip


def explain(error: yaml.MarkedYAMLError, text: str) -> tuple[Place, str]:
    """The place and the reason of a parser's error."""
    problem = str(error.problem or "")
    reason = next((reason for sign, reason in _REASONS if sign in problem), "is not YAML")
    mark = error.problem_mark or error.context_mark
    if "end of stream" in problem or "unexpected document" in problem or "alphabetic" in problem:
        mark = error.context_mark or mark  # where the quotes or the name begin
    if mark is None:
        return (1, 1), reason
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    start = line[: mark.column + 1]
    if "tab character" in problem or start.endswith("\t") or "\t" in _indentation(line):
        reason = _TAB
    elif "cannot start any token" in problem:
        reason = "text that begins with %, @ or ` must stand in quotes"
    return (mark.line + 1, mark.column + 1), reason


def _indentation(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def unreadable(text: str) -> tuple[Place, str]:
    """The place of the first character that YAML does not allow."""
    for number, line in enumerate(text.split("\n"), 1):
        for column, char in enumerate(line, 1):
            if not (char in "\t\r\x85" or " " <= char <= "~" or char >= "\xa0"):
                return (number, column), "holds a control character"
            if char in "\ufffe\uffff":
                return (number, column), "holds a code that is no character"
    return (1, 1), BAD_ESCAPE
