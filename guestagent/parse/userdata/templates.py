"""Renders templates of user data: what begins with ``## template: jinja``.

The language is Jinja's ("Template Designer Documentation" of Jinja2), with the options and the
variables that cloud-init gives it ("Instance data").  The few things that most templates use are
rendered here: lookups, the filter ``default``, comments, ``{% raw %}``, and ``{% if %}`` with
simple conditions.  What is accepted here comes out exactly as Jinja2 would have it.  Everything
else is for Jinja2 itself, where it is installed.
"""

from __future__ import annotations

import re

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.parse.userdata.places import is_plain
from guestagent.parse.userdata.unpack import TookTooLong
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

MISSING = "CI_MISSING_JINJA_VAR/"
"""What cloud-init puts, with the variable's name, where a variable is not given."""

_TOO_LARGE = f"is a template that renders to more than {defs.UNPACKED_LIMIT >> 20} MiB"
_CANNOT = "is a template that cannot be rendered"
_GIVEN_UP = (
    f"has a template for which Jinja2 takes more than {defs.TEMPLATE_TIMEOUT:.0f} s, "
    f"{defs.TEMPLATE_MEMORY >> 20} MiB of memory or {defs.UNPACKED_LIMIT >> 20} MiB of text"
)
_NOT_TEXT = "is a template that is not UTF-8 text"
_OTHER_LANGUAGE = "is a template of another language: only ## template: jinja is rendered"
_MARKS = (b"{{", b"{%", b"{#")  # without any of them there is nothing to render
_HEADER = re.compile(r"##\s*template:(.*)", re.IGNORECASE)
_NEWLINE = re.compile(r"\r\n|\r|\n")
# The beginning of a tag; a sign says what becomes of white space before it.
_BEGIN = re.compile(
    r"\{%(?P<raw_sign>[-+]?)\s*(?P<raw>raw)\s*(?:-%\}\s*|%\})|\{(?P<kind>[{%#])(?P<sign>[-+]?)"
)
# The ends of tags, with the white space that goes with them: a block takes its line's end along.
_END_OF_BLOCK = r"\+%\}|-%\}\s*|%\}\n?"
_END_OF_RAW = re.compile(rf"\{{%(?P<sign>[-+]?)\s*endraw\s*(?:{_END_OF_BLOCK})")
_END_OF_COMMENT = re.compile(r"\+#\}|-#\}\s*|#\}\n?")
_WORD = (
    r"\s+|(?P<name>[A-Za-z_][A-Za-z0-9_]*(?!\w))|(?P<text>'[^'\\]*'|\"[^\"\\]*\")"
    r"|(?P<number>(?:0|[1-9][0-9]{0,8})(?![\w.]))|(?P<operator>==|!=|[.|()\[\],])"
)
_WORDS = {
    "{": re.compile(rf"(?P<end>-\}}\}}\s*|\}}\}})|{_WORD}"),
    "%": re.compile(rf"(?P<end>{_END_OF_BLOCK})|{_WORD}"),
}
_CONSTANTS: Mapping[str, bool | None] = {
    "true": True,
    "True": True,
    "false": False,
    "False": False,
    "none": None,
    "None": None,
}
# Names that mean something else than a variable, or may.
_RESERVED = frozenset(
    (
        *("and", "or", "not", "is", "in", "if", "else", "elif", "recursive", "self", "super"),
        *("loop", "caller", "varargs", "kwargs"),
        *("range", "dict", "lipsum", "cycler", "joiner", "namespace"),
    )
)
_STATEMENTS = frozenset(
    (
        *("for", "set", "macro", "call", "filter", "block", "extends", "include", "import", "from"),
        *("with", "autoescape", "do"),
    )
)
_DEPTH = 20  # of conditions inside each other


class TooHard(Exception):
    """A template has something that only Jinja2 renders: the line of it, and what it is."""

    def __init__(self, line: int, what: str = "this expression") -> None:
        super().__init__(what)
        self.line = line
        self.what = what


class PassingError(FieldError):
    """A template that cannot be rendered for a reason that is not in it, and may pass."""

    passing = True


class Rendered(NamedTuple):
    """What a template has become, and the variables it uses that are not given.

    These are pairs of the line and the variable, in the order in which they were met.
    """

    text: str
    missing: Sequence[tuple[int, str]]


def render(content: bytes, variables: Callable[[], Mapping[str, Any]]) -> tuple[bytes, list[str]]:
    """Return what a template becomes, and a warning for each variable that is not given.

    The first line, which says that it is a template, becomes an empty one: so lines keep their
    numbers as long as no statement adds or removes any.  ``variables`` is called if there is
    something to render.  Raises FieldError for what cannot be rendered, TooMuch for what takes too
    long.
    """
    bare = content.lstrip()
    first, _, body = bare.partition(b"\n")
    header = _HEADER.match(first.decode("utf-8", "replace"))
    if header is None:  # its media type alone says that it is one
        body = bare
    elif header[1].strip().lower() != "jinja":
        raise FieldError(_OTHER_LANGUAGE)
    above = content[: len(content) - len(body)].count(b"\n")
    if not any(mark in body for mark in _MARKS):
        return b"\n" * above + body, []
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise FieldError(_NOT_TEXT) from None
    try:
        rendered = render_simple(text, variables(), above=above)
    except TooHard as error:
        rendered = _render_with_jinja2(text, variables(), error, above=above)
    warnings = [_warning(line, name) for line, name in rendered.missing]
    return b"\n" * above + rendered.text.encode("utf-8", "replace"), warnings


def _warning(line: int, name: str) -> str:
    last = name.rpartition(".")[2]
    return f"line {line}: {name} is not given for this instance; the text gets {MISSING}{last}"


def render_simple(text: str, variables: Mapping[str, Any], *, above: int = 0) -> Rendered:
    """Return what a template becomes, if it has nothing that takes Jinja2.

    ``above`` is the number of lines before it.  Raises TooHard, and FieldError where Jinja2 fails
    too.
    """
    writer = _Writer(variables)
    writer.write(_Reader(text, above).read())
    # Jinja2 drops a newline at the end; cloud-init adds it again.
    end = "\n" if text.endswith("\n") else ""
    return Rendered("".join(writer.pieces) + end, writer.missing)


def _render_with_jinja2(
    text: str, variables: Mapping[str, Any], why: TooHard, *, above: int
) -> Rendered:
    """Return what Jinja2 makes of a template.  Raises FieldError, TooMuch."""
    from guestagent.system import jinja

    outcome = jinja.render(text, variables, prefix=MISSING)
    if outcome is None:
        reason = f"line {why.line}: {why.what} takes Jinja2, which is not installed"
        raise PassingError(f"{_CANNOT}: {reason}: add the package python3-jinja2 to the image")
    if outcome.given_up:  # other parts of the document could take as much again
        raise TookTooLong(_GIVEN_UP)
    if outcome.reason:
        place = f"line {outcome.line + above}: " if outcome.line else ""
        raise FieldError(f"{_CANNOT}: {place}{outcome.reason}")
    missing = []
    for name in outcome.missing:
        # Jinja2 does not say which line it was: that of the first tag that has the name.
        before = text[: _find_in_tags(text, name)]
        missing.append((above + 1 + before.count("\n"), name if is_plain(name) else "?"))
    return Rendered(outcome.text, missing)


def _find_in_tags(text: str, name: str) -> int:
    """Return where a name is first in an expression or a statement, 0 if it is in none."""
    begin = _BEGIN.search(text)
    while begin is not None:
        end = text.find({"{": "}}", "#": "#}"}.get(begin["kind"], "%}"), begin.end())
        if end < 0:
            break
        place = text.find(name, begin.end(), end)
        if begin["kind"] in ("{", "%") and place >= 0:
            return place
        begin = _BEGIN.search(text, end)
    return 0


class _Constant(NamedTuple):
    """A value that is written in the template."""

    value: Any


class _Lookup(NamedTuple):
    """A variable, and the way into its value: names after dots, names and numbers in brackets."""

    name: str
    steps: tuple[tuple[bool, str | int], ...]
    line: int

    def path(self, length: int) -> str:
        """Return the variable and the first steps, as people write them."""
        names = (self.name, *(str(step) for _, step in self.steps[:length]))
        return ".".join(name if is_plain(name) else "?" for name in names)


class _Default(NamedTuple):
    """A value, what replaces it where it is not given, and whether "empty" counts as that."""

    operand: Operand
    instead: Operand
    replaces_empty: Operand


class _Condition(NamedTuple):
    """A test of a value: "defined", "undefined", "==", "!=", or empty for its truth."""

    operand: Operand
    test: str
    other: Operand | None
    negated: bool


class _If(NamedTuple):
    """Conditions, each with what is written if it holds; ``else`` has None."""

    branches: list[tuple[_Condition | None, list[Node]]]


if TYPE_CHECKING:
    Operand = _Constant | _Lookup | _Default
    Node = str | _Constant | _Lookup | _Default | _If


class _Reader:
    """Reads a template into text, operands whose values are put in, and conditions."""

    def __init__(self, text: str, above: int) -> None:
        self.text = _NEWLINE.sub("\n", text).removesuffix("\n")
        self.position = 0
        self.counted = 0  # position up to which lines are counted
        self.line = above + 1
        self.whole: list[Node] = []
        self.stack: list[_If] = []  # conditions that are not closed
        self.nodes = self.whole  # where what comes next belongs

    def read(self) -> list[Node]:
        """Return the whole template.  Raises TooHard."""
        while begin := _BEGIN.search(self.text, self.position):
            self._add_text(begin.start(), begin["raw_sign"] or begin["sign"])
            self._count_lines(begin.start())
            self.position = begin.end()
            if begin["raw"]:
                end = self._find(_END_OF_RAW)
                self._add_text(end.start(), end["sign"])
                self.position = end.end()
            elif begin["kind"] == "#":
                self.position = self._find(_END_OF_COMMENT).end()
            else:
                tag = _Tag(self._tokens(begin["kind"]), self.line)
                if begin["kind"] == "{":
                    self.nodes.append(tag.operand())
                else:
                    self._take_statement(tag)
                tag.expect_end()
        if self.stack:
            raise TooHard(self.line)
        self._add_text(len(self.text), "")
        return self.whole

    def _add_text(self, end: int, sign: str | None) -> None:
        text = self.text[self.position : end]
        self.nodes.append(text.rstrip() if sign == "-" else text)

    def _count_lines(self, position: int) -> None:
        self.line += self.text.count("\n", self.counted, position)
        self.counted = position

    def _find(self, pattern: re.Pattern[str]) -> re.Match[str]:
        found = pattern.search(self.text, self.position)
        if found is None:
            raise TooHard(self.line)
        return found

    def _tokens(self, kind: str) -> list[tuple[str, str]]:
        """Return the tokens of a tag, each with its kind, and go on behind the tag."""
        tokens: list[tuple[str, str]] = []
        while True:
            found = _WORDS[kind].match(self.text, self.position)
            if found is None:
                word = tokens[0][1] if kind == "%" and tokens else ""
                raise TooHard(self.line, _statement(word))
            self.position = found.end()
            if found.lastgroup == "end":
                return tokens
            if found.lastgroup:  # white space has none
                tokens.append((found.lastgroup, found[0]))

    def _take_statement(self, tag: _Tag) -> None:
        word = tag.word()
        if word == "if" and len(self.stack) < _DEPTH:
            condition = tag.condition()
            inner = _If([(condition, [])])
            self.nodes.append(inner)
            self.stack.append(inner)
        elif word in ("elif", "else") and self.stack and self.stack[-1].branches[-1][0]:
            self.stack[-1].branches.append((tag.condition() if word == "elif" else None, []))
        elif word == "endif" and self.stack:
            self.stack.pop()
        else:
            raise TooHard(self.line, _statement(word))
        self.nodes = self.stack[-1].branches[-1][1] if self.stack else self.whole


def _statement(word: str) -> str:
    return f"{{% {word} %}}" if word in _STATEMENTS else "this expression"


class _Tag:
    """Reads what is between the marks of a tag.  All methods raise TooHard for anything else."""

    def __init__(self, tokens: list[tuple[str, str]], line: int) -> None:
        self.tokens = tokens
        self.line = line
        self.position = 0

    def word(self) -> str:
        """Return a name, and go on behind it."""
        kind, text = self._next()
        if kind != "name":
            raise TooHard(self.line)
        return text

    def expect_end(self) -> None:
        """Check that there is nothing more."""
        if self.position < len(self.tokens):
            raise TooHard(self.line)

    def condition(self) -> _Condition:
        """Return a condition: ``[not] OPERAND [is [not] defined | == OPERAND]``."""
        negated = self._take("name", "not")
        operand = self.operand()
        if self._take("name", "is"):
            negated ^= self._take("name", "not")
            test = self.word()
            if test not in ("defined", "undefined"):
                raise TooHard(self.line)
            return _Condition(operand, test, None, negated)
        for test in ("==", "!="):
            if self._take("operator", test):
                return _Condition(operand, test, self.operand(), negated)
        return _Condition(operand, "", None, negated)

    def operand(self) -> Operand:
        """Return a value, with the filters that follow it."""
        found = self._value()
        while self._take("operator", "|"):
            found = self._filtered(found)
        return found

    def _filtered(self, operand: Operand) -> Operand:
        if self.word() not in ("default", "d"):
            raise TooHard(self.line)
        instead: Operand = _Constant("")
        replaces_empty: Operand = _Constant(False)
        if self._take("operator", "(") and not self._take("operator", ")"):
            instead = self._value()
            if self._take("operator", ","):
                replaces_empty = self._value()
            self._expect(")")
        return _Default(operand, instead, replaces_empty)

    def _value(self) -> Operand:
        """Return a constant, or a lookup."""
        kind, text = self._next()
        if kind == "text":
            return _Constant(text[1:-1])
        if kind == "number":
            return _Constant(int(text))
        if kind != "name" or text in _RESERVED:
            raise TooHard(self.line)
        if text in _CONSTANTS:
            return _Constant(_CONSTANTS[text])
        steps: list[tuple[bool, str | int]] = []
        while True:
            if self._take("operator", "."):
                steps.append((True, self.word()))
            elif self._take("operator", "["):
                kind, step = self._next()
                if kind not in ("text", "number"):
                    raise TooHard(self.line)
                steps.append((False, step[1:-1] if kind == "text" else int(step)))
                self._expect("]")
            else:
                return _Lookup(text, tuple(steps), self.line)

    def _next(self) -> tuple[str, str]:
        if self.position == len(self.tokens):
            raise TooHard(self.line)
        self.position += 1
        return self.tokens[self.position - 1]

    def _take(self, kind: str, text: str) -> bool:
        """Go on behind a token if it comes next, and tell whether it does."""
        found = self.tokens[self.position : self.position + 1] == [(kind, text)]
        self.position += found
        return found

    def _expect(self, operator: str) -> None:
        if not self._take("operator", operator):
            raise TooHard(self.line)


class _Undefined(NamedTuple):
    """The value of a variable that is not given: the last name of the lookup, and the lookup."""

    name: str | int
    lookup: _Lookup
    length: int  # of the steps to it

    def path(self) -> str:
        """Return how the template names it."""
        return self.lookup.path(self.length)


class _Writer:
    """Puts values into a template."""

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self.variables = variables
        self.pieces: list[str] = []
        self.size = 0
        self.missing: list[tuple[int, str]] = []

    def write(self, nodes: list[Node]) -> None:
        """Write nodes.  Raises TooHard, FieldError."""
        for node in nodes:
            if isinstance(node, str):
                self._add(node)
            elif isinstance(node, _If):
                for condition, inner in node.branches:
                    if condition is None or self._holds(condition):
                        self.write(inner)
                        break
            else:
                self._put(self._value(node))

    def _put(self, value: Any) -> None:
        if isinstance(value, _Undefined):
            if len(self.missing) < defs.MAX_PROBLEMS:
                self.missing.append((value.lookup.line, value.path()))
            value = f"{MISSING}{value.name}"
        self._add(str(value))

    def _add(self, text: str) -> None:
        self.size += len(text)
        if self.size > defs.UNPACKED_LIMIT:
            raise FieldError(_TOO_LARGE)
        self.pieces.append(text)

    def _holds(self, condition: _Condition) -> bool:
        value = self._value(condition.operand)
        is_undefined = isinstance(value, _Undefined)
        if condition.other is not None:
            other = self._value(condition.other)
            # In Jinja2 any two values that are not given are equal, and no other is equal to one.
            if is_undefined or isinstance(other, _Undefined):
                is_true = is_undefined and isinstance(other, _Undefined)
            else:
                is_true = value == other
            is_true ^= condition.test == "!="
        elif condition.test:
            is_true = is_undefined == (condition.test == "undefined")
        else:
            is_true = not is_undefined and bool(value)
        return is_true != condition.negated

    def _value(self, operand: Operand) -> Any:
        if isinstance(operand, _Constant):
            return operand.value
        if isinstance(operand, _Lookup):
            return self._look_up(operand)
        value, instead = self._value(operand.operand), self._value(operand.instead)
        replaces_empty = self._value(operand.replaces_empty)
        if isinstance(value, _Undefined):
            return instead
        if replaces_empty and not isinstance(replaces_empty, _Undefined) and not value:
            return instead
        return value

    def _look_up(self, lookup: _Lookup) -> Any:
        """Return the value of a lookup.

        Raises FieldError for one that goes on where nothing is given, as Jinja2 does.
        """
        if lookup.name not in self.variables:
            value: Any = _Undefined(lookup.name, lookup, 0)
        else:
            value = self.variables[lookup.name]
        for number, (is_dotted, step) in enumerate(lookup.steps):
            if isinstance(value, _Undefined):
                reason = f"{value.path()} is not given for this instance, so nothing can be in it"
                raise FieldError(f"{_CANNOT}: line {lookup.line}: {reason}")
            is_method = isinstance(step, str) and hasattr(value, step)
            if is_dotted and is_method:
                raise TooHard(lookup.line)
            try:
                value = value[step]
            except (TypeError, LookupError):
                if is_method:
                    raise TooHard(lookup.line) from None
                value = _Undefined(step, lookup, number + 1)
        return value
