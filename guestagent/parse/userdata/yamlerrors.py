"""Explains errors in YAML by their kind: PyYAML's own messages quote the text."""

from __future__ import annotations

from guestagent import defs

TYPE_CHECKING = False
if TYPE_CHECKING:
    import yaml

    Place = tuple[int, int]

KEY = "a key cannot be a list or a mapping; text that begins with { or [ must be in quotes"
TAG = "an unknown tag; text that begins with ! must be in quotes"
BAD_ESCAPE = "an unknown escape (\\) in double quotes; single quotes leave \\ as it is"
NO_ANCHOR = (
    "an alias (*) without an anchor (&) of that name before it; "
    "text that begins with * must be in quotes"
)
NESTED = f"lists and mappings are nested more than {defs.YAML_DEPTH} deep"
_TAB = "found a tab where indentation must be spaces"
_NOT_A_START = "text that begins with %, @ or ` must be in quotes"
_NO_COLON = "a colon is missing after a key, or the indentation is wrong"
_BAD_COLON = (
    "a colon where no key can be: the indentation is wrong, a colon is missing above, "
    "or text with a colon and a space in it must be in quotes"
)
_OPEN_LIST = "the list in [ ] above is not closed, or a comma is missing in it"
_OPEN_MAPPING = "the mapping in { } above is not closed, or a comma is missing in it"
_OPEN_QUOTES = "text in quotes that begins here is not closed"
_BAD_ITEM = "a list item (-) where none can be: the indentation is wrong"
_NO_DASH = "the indentation does not fit the list around it, or a dash is missing"
_BAD_NAME = "text that begins with * or & must be in quotes"
_BAD_DIRECTIVE = "a line that begins with % is not text; text must be in quotes"
_OTHER_YAML = "another version of YAML than 1.1"
_AFTER_END = "text after the end of the document, or the indentation is wrong"
_BAD_BLOCK = "a bad character after | or >; text that begins with | or > must be in quotes"
_NO_LINE_END = "more text where the line must end"
_NO_VALUE = "a value is missing, or one is here that must be in quotes"
_BAD_INDENTATION = "the indentation does not fit what is above, or a colon is missing"

# Words in the messages of both parsers, libyaml's and Python's own. The first match counts.
_REASONS = (
    ("mapping values are not allowed", _BAD_COLON),
    ("expected ':'", _NO_COLON),
    ("maximum nesting", NESTED),
    ("expected ',' or ']'", _OPEN_LIST),
    ("expected ',' or '}'", _OPEN_MAPPING),
    ("unexpected end of stream", _OPEN_QUOTES),
    ("unexpected document", _OPEN_QUOTES),
    ("escape", BAD_ESCAPE),
    ("decimal number", BAD_ESCAPE),
    ("entries are not allowed", _BAD_ITEM),
    ("'-' indicator", _NO_DASH),
    ("alphabetic or numeric", _BAD_NAME),
    ("alphabetical", _BAD_NAME),
    ("tag", TAG),
    ("URI", TAG),
    ("expected ' '", TAG),
    ("expected '>'", TAG),
    ("directive", _BAD_DIRECTIVE),
    ("incompatible", _OTHER_YAML),
    ("<document start>", _AFTER_END),
    ("chomping", _BAD_BLOCK),
    ("indentation", _BAD_BLOCK),
    ("line break", _NO_LINE_END),
    ("node content", _NO_VALUE),
    ("block end", _BAD_INDENTATION),
    ("expected key", _BAD_INDENTATION),
)
# For these, PyYAML's first mark is where the quotes or the name begin, the other where they end.
_MARKED_AT_START = ("end of stream", "unexpected document", "alphabetic")


def explain(error: yaml.MarkedYAMLError, text: str) -> tuple[Place, str]:
    """Return place and reason of a parser's error: line and column from 1 on."""
    problem = str(error.problem or "")
    mark = error.problem_mark or error.context_mark
    if any(words in problem for words in _MARKED_AT_START):
        mark = error.context_mark or mark
    if mark is None:
        return (1, 1), _reason(problem)
    place = (mark.line + 1, mark.column + 1)
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if "tab character" in problem or _has_tab_before(line, mark.column):
        return place, _TAB
    if "cannot start any token" in problem:
        return place, _NOT_A_START
    return place, _reason(problem)


def _reason(problem: str) -> str:
    for words, reason in _REASONS:
        if words in problem:
            return reason
    return "is not YAML"


def _has_tab_before(line: str, column: int) -> bool:
    """Tell whether a tab is what makes a line wrong: in its indentation, or right at the column."""
    indentation = line[: len(line) - len(line.lstrip())]
    return "\t" in indentation or line[: column + 1].endswith("\t")


def find_unreadable(text: str) -> tuple[Place, str]:
    """Return place and reason of the first character that YAML does not allow."""
    for number, line in enumerate(text.split("\n"), 1):
        for column, character in enumerate(line, 1):
            if character in "\ufffe\uffff":
                return (number, column), "holds a code that is not a character"
            is_printable = " " <= character <= "~" or character >= "\xa0"
            if not is_printable and character not in "\t\r\x85":
                return (number, column), "holds a control character"
    return (1, 1), BAD_ESCAPE
