"""Jinja2, where it is installed, for templates that come from a source.

Its sandbox keeps a template from the interpreter's own objects; but it bounds neither time nor
memory, and it has had holes.  So Jinja2 works in a child that has become the user nobody, and that
is ended when it needs more than a template of user data may.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.log import printable
from guestagent.record import NamedTuple
from guestagent.system.jsontext import dumps, has_form, loads
from guestagent.system.privsep import ask_as_nobody

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_MOST_OF_REASON = 200  # characters
_HEAD_LIMIT = 64 << 10
_NAME_OF_TEMPLATE = "<template>"  # Jinja2's, in tracebacks
_REASONS = {
    "TemplateSyntaxError": "is not valid in Jinja",
    "TemplateAssertionError": "names a filter or a test that Jinja2 does not have",
    "UndefinedError": "uses something inside a variable that is not given for this instance",
    "SecurityError": "is not allowed in Jinja2's sandbox",
}


class Outcome(NamedTuple):
    """What became of a template.

    ``text`` is what it renders to; ``missing`` are the last names of variables that are not given
    and were written into it.  Where Jinja2 refused it, ``reason`` says why, without quoting
    anything, and ``line`` where, 0 if that is not known.  ``given_up``: it took too much.
    """

    text: str = ""
    missing: tuple[str, ...] = ()
    reason: str = ""
    line: int = 0
    given_up: bool = False


def render(text: str, variables: Mapping[str, Any], *, prefix: str) -> Outcome | None:
    """Render a template with the options that cloud-init uses; None where there is no Jinja2.

    A variable that is not given becomes ``prefix`` and its name.
    """
    try:
        from jinja2 import Undefined, debug, ext  # noqa: F401 - so that the child has them
        from jinja2.sandbox import SandboxedEnvironment
    except ImportError:
        return None

    missing: dict[str, None] = {}

    class _Named(Undefined):
        """A variable that is not given, and that becomes text with its name."""

        def __str__(self) -> str:
            name = str(self._undefined_name)
            if len(missing) < defs.MAX_PROBLEMS:
                missing[name[: defs.NAME_LIMIT]] = None
            return f"{prefix}{name}"

    environment = SandboxedEnvironment(
        undefined=_Named, trim_blocks=True, extensions=["jinja2.ext.do"]
    )
    # Before the child starts, which may not be able to read modules: what is imported late.
    environment.from_string("{{ 'a'|upper }}").render()

    def work() -> bytes:
        try:
            content = environment.from_string(text).render(variables).encode()
        except MemoryError:
            return b""
        except Exception as error:
            return dumps({"line": _line(error), "reason": _reason(error)}, "").encode()
        head = {"missing": list(missing), "size": len(content)}
        return dumps(head, "").encode() + b"\n" + content

    answer = ask_as_nobody(
        work,
        defs.UNPACKED_LIMIT + _HEAD_LIMIT,
        defs.TEMPLATE_TIMEOUT,
        memory=defs.TEMPLATE_MEMORY,
    )
    return _read_answer(answer, end="\n" if text.endswith("\n") else "")


def _read_answer(answer: bytes, *, end: str) -> Outcome:
    """Return what the child says; ``end`` is what cloud-init adds, as Jinja2 drops it.

    The child is trusted no more than the template: what is no answer is as if it had been killed.
    """
    first, _, content = answer.partition(b"\n")
    try:
        told, text = loads(first), content.decode()
    except ValueError:  # FieldError, or not UTF-8
        return Outcome(given_up=True)
    if has_form(told, {"line": int, "reason": str}):
        return Outcome(reason=printable(told["reason"][:_MOST_OF_REASON]), line=told["line"])
    if not has_form(told, {"missing": list, "size": int}) or len(content) != told["size"]:
        return Outcome(given_up=True)
    names = [name for name in told["missing"][: defs.MAX_PROBLEMS] if isinstance(name, str)]
    return Outcome(text + end, tuple(names))


def _reason(error: Exception) -> str:
    """Return why Jinja2 failed.  Its own message may quote the text, which may hold a secret."""
    for kind in type(error).__mro__:
        if kind.__name__ in _REASONS:
            return _REASONS[kind.__name__]
    return f"fails in Jinja2 with {type(error).__name__}"


def _line(error: Exception) -> int:
    """Return the line of the template at which an error occurred, 0 if that is not known."""
    line = getattr(error, "lineno", None)
    traceback = error.__traceback__
    # Jinja2 puts lines of the template into the traceback.
    while traceback is not None and not line:
        if traceback.tb_frame.f_code.co_filename == _NAME_OF_TEMPLATE:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line if isinstance(line, int) else 0
