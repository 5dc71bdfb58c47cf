"""Templates of user data, rendered by guestagent itself and by Jinja2: both must say the same."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jinja2 import Undefined, UndefinedError
from jinja2.sandbox import SandboxedEnvironment
from pytest_mock import MockerFixture

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.parse.userdata.templates import TooHard, render, render_simple
from guestagent.parse.userdata.unpack import TooMuch
from guestagent.system import jinja

VALUES: dict[str, Any] = {
    "text": "web-1",
    "many": "one\ntwo  \n",
    "empty": "",
    "nothing": None,
    "yes": True,
    "zero": 0,
    "list": ["a", {"b": "c"}, 5],
    "ds": {
        "meta_data": {"hostname": "web-1.example", "a-b": 1, "keys": [{"data": "k"}], "deep": {}},
        "_doc": "…",
        "1": "one",
    },
}


def by_jinja2(text: str, values: dict[str, Any] = VALUES) -> tuple[str, list[str]]:
    """What cloud-init's way of calling Jinja2 makes of a template, and what is missing."""
    missing = []

    class Named(Undefined):
        def __str__(self) -> str:
            missing.append(str(self._undefined_name))
            return f"CI_MISSING_JINJA_VAR/{self._undefined_name}"

    environment = SandboxedEnvironment(
        undefined=Named, trim_blocks=True, extensions=["jinja2.ext.do"]
    )
    rendered = environment.from_string(text).render(values)
    return rendered + ("\n" if text.endswith("\n") else ""), missing


def simple(text: str) -> tuple[str, list[str]]:
    rendered = render_simple(text, VALUES)
    return rendered.text, [name.rpartition(".")[2] for _, name in rendered.missing]


def often(*usual: str, seldom: tuple[str, ...]) -> st.SearchStrategy[str]:
    """One of the usual texts, and sometimes one of the others, which take Jinja2 or are wrong."""
    return st.sampled_from([*usual * (1 + 10 * len(seldom) // len(usual)), *seldom])


NAMES = often(
    *("text", "many", "empty", "nothing", "yes", "zero", "list", "ds", "not_given", "x"),
    *("ds.meta_data", "ds.meta_data.hostname", "ds['meta_data']['a-b']", "ds . meta_data"),
    *("ds.meta_data.nothing", "list[0]", "list[1].b", 'list[1]["b"]', "list[9]"),
    *("ds.meta_data['keys']", "text[0]", "ds.meta_data.deep", "ds._doc", "ds['1']", "ds[1]"),
    *("nothing.x", "zero.x", "true", "None", "5", "'a'", '"}}"', "'{{'", "''", "text.if", "_"),
    *("text['x']", "class", "print", "ds.meta_data.keys[0].data", "block"),
    seldom=(
        *(
            "ds.nothing.more",
            "ds.meta_data.keys",
            "text.upper",
            "loop",
            "self",
            "range",
            "ds.items",
        ),
        *("list['append']", "zero['real']", "'\\n'", "1.5", "ds[text]", "über", "text.0", "-1"),
    ),
)
FILTERS = often(
    *("", "", "", "|default('x')", " | default(text)", "|d", "|default", "|default()"),
    *("|default('', true)", "|d(not_given)|d('y')", "|default('x', zero)", "|default(x, x)"),
    seldom=(
        *("|upper", "|default(ds.nothing.more)", "|default('x', boolean=true)", "|default(1,)"),
        "|default(1)(2)",
    ),
)
OPERANDS = st.builds(lambda name, filters: f"{name}{filters}", NAMES, FILTERS)
CONDITIONS = st.one_of(
    st.builds(
        lambda start, operand, end: f"{start}{operand}{end}",
        often("", "not ", seldom=("not not ",)),
        OPERANDS,
        often("", " is defined", " is not defined", " is undefined", seldom=(" is none",)),
    ),
    st.builds(
        lambda left, sign, right: f"{left}{sign}{right}",
        OPERANDS,
        often(" == ", " != ", "==", seldom=(" is defined == ", " in ", " < ")),
        OPERANDS,
    ),
)
SIGNS = st.sampled_from(["", "", "", "", "", "-", "-", "+"])
SPACES = st.sampled_from(["", " ", " ", "  ", "\n", "\t"])
STATEMENTS = st.one_of(
    CONDITIONS.map(lambda condition: f"if {condition}"),
    CONDITIONS.map(lambda condition: f"elif {condition}"),
    st.sampled_from(["else", "endif", "endif", "endif", "raw", "endraw", "set x = 1", "if", ""]),
)
TEXTS = often(
    *("a", " ", "\n", "\n\n", "\r\n", "\r", "  b  ", "- x: y\n", "{", "}", "}}", "%}", "#}"),
    *("{ {", "\u00a0", "\u2028", "\x0b", "#", "-", "+", "é"),
    seldom=("{#", "{{", "{%", "{% raw %}"),
)
PIECES = st.one_of(
    TEXTS,
    st.just("{% raw %}{{ x {%- endraw %}\n"),
    st.builds(
        lambda sign, before, operand, after, end: f"{{{{{sign}{before}{operand}{after}{end}}}}}",
        *(SIGNS, SPACES, OPERANDS, SPACES, SIGNS),
    ),
    st.builds(
        lambda sign, text, end: f"{{#{sign}{text}{end}#}}",
        *(SIGNS, TEXTS, SIGNS),
    ),
)


# Statements where they need not make sense.
STRAY = st.builds(
    lambda sign, before, statement, after, end: f"{{%{sign}{before}{statement}{after}{end}%}}",
    *(SIGNS, SPACES, STATEMENTS, SPACES, SIGNS),
)


def _block(sign: str, condition: str, inner: str, others: list[tuple[str, str]]) -> str:
    middle = "".join(f"{{% {word} {sign}%}}{other}" for word, other in others)
    return f"{{%{sign} if {condition} %}}{inner}{middle}{{% endif {sign}%}}"


OTHERS = st.sampled_from(["else", "elif yes", "elif x is defined"])


DOCUMENTS = st.recursive(
    st.lists(PIECES, max_size=4).map("".join),
    lambda inner: st.lists(
        st.one_of(
            *(inner, inner, TEXTS, TEXTS, STRAY),
            *[
                st.builds(
                    _block, SIGNS, CONDITIONS, inner, st.lists(st.tuples(OTHERS, inner), max_size=2)
                )
            ]
            * 4,
        ),
        max_size=4,
    ).map("".join),
    max_leaves=6,
)


@pytest.mark.parametrize(
    "text", ["{{ ds.meta_data.keys }}", "{{ ds.items }}", "{{ list['append'] }}"]
)
def test_names_that_are_methods_too_are_left_to_jinja2(text: str) -> None:
    with pytest.raises(TooHard):
        simple(text)


@settings(max_examples=400, deadline=None)
@given(DOCUMENTS)
@example("{% if x is defined -%}\n a\n{%- else %}\n b\n{% endif %}\n")
@example("{%- raw -%} {{ x }} \n{%- endraw %}\n")
@example("{{ text }}\n\n")
@example("{# a #}\n{#- b -#}\n")
def test_what_is_rendered_without_jinja2_is_what_it_would_be_with_it(text: str) -> None:
    try:
        found = simple(text)
    except TooHard:
        return
    except FieldError:
        with pytest.raises(UndefinedError):
            by_jinja2(text)
        return
    assert found == by_jinja2(text)


def rendered(text: str, values: dict[str, Any] = VALUES) -> tuple[str, list[str]]:
    """What becomes of a template with its first line, and the warnings."""
    content, warnings = render(f"## template: jinja\n{text}".encode(), lambda: values)
    return content.decode(), warnings


def refused(text: str, values: dict[str, Any] = VALUES) -> str:
    with pytest.raises(FieldError) as error:
        rendered(text, values)
    return str(error.value)


def without_jinja2(mocker: MockerFixture) -> None:
    """Be a guest in which Jinja2 is not installed."""
    mocker.patch.dict(sys.modules, {"jinja2": None})


def test_the_first_line_becomes_an_empty_one() -> None:
    assert rendered("#cloud-config\nhostname: {{ text }}\n") == (
        "\n#cloud-config\nhostname: web-1\n",
        [],
    )


def test_a_document_without_an_expression_needs_no_variables() -> None:
    content = b"\xff ## \r\n"
    found, warnings = render(b"\n## Template:JINJA \r\n" + content, mock_failure)
    assert (found, warnings) == (b"\n\n" + content, [])


def mock_failure() -> dict[str, Any]:
    raise AssertionError("variables are not needed")


def test_a_media_type_alone_makes_a_template() -> None:
    assert render(b"#!/bin/sh\necho {{ text }}\n", lambda: VALUES)[0] == b"#!/bin/sh\necho web-1\n"


def test_a_missing_variable_is_shown_as_cloud_init_does_and_told_with_its_line() -> None:
    found, warnings = rendered("a\n{{ ds.meta_data.nothing }} {{ x }}\n{{ ds['odd name?'] }}")
    assert found == (
        "\na\nCI_MISSING_JINJA_VAR/nothing CI_MISSING_JINJA_VAR/x\nCI_MISSING_JINJA_VAR/odd name?"
    )
    assert [warning.split(" is ")[0] for warning in warnings] == [
        *("line 3: ds.meta_data.nothing", "line 3: x", "line 4: ds.?"),
    ]


@pytest.mark.parametrize("more", ["", "{{ text|upper }}"])
def test_names_of_missing_variables_flood_no_log(more: str) -> None:
    names = " ".join(f"{{{{ v{number} }}}}" for number in range(500))
    found, warnings = rendered(f"{more}{{{{ {'v' * 9999} }}}}{names}")
    assert found.count("CI_MISSING_JINJA_VAR/v") == 501
    assert len(warnings) == defs.MAX_PROBLEMS
    assert max(map(len, warnings)) < 200


@pytest.mark.parametrize("with_jinja2", [False, True])
def test_what_is_inside_of_a_missing_variable_spoils_the_part(
    mocker: MockerFixture, with_jinja2: bool
) -> None:
    if not with_jinja2:
        without_jinja2(mocker)
    more = "{{ text|upper }}" if with_jinja2 else ""
    reason = refused(f"a\n{more}\n{{{{ ds.nothing.more }}}}\n")
    assert "line 4: " in reason
    assert "not given" in reason


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("runcmd:\n{% for key in list %}\n- {{ key | length }}\n{% endfor %}\n", "{% for %}"),
        ("\n{{ text|upper }}", "this expression"),
        ("\n{% if text %}", "this expression"),
        ("\n{{ CANARY", "this expression"),
        ("\n{% set CANARY = 1 %}", "{% set %}"),
        ("\n{% CANARY %}", "this expression"),
        ("\n{# CANARY", "this expression"),
        ("\n{% raw %} CANARY", "this expression"),
    ],
)
def test_what_takes_jinja2_is_told_with_its_line_and_the_package(
    mocker: MockerFixture, text: str, what: str
) -> None:
    without_jinja2(mocker)
    reason = refused(text)
    assert f"line 3: {what} takes Jinja2, which is not installed" in reason
    assert "python3-jinja2" in reason
    assert "CANARY" not in reason


@pytest.mark.parametrize(
    "text", ["# x\nx {{ x|upper }} x", "{# x #}\n{% if 1 in list + [x] %}{% endif %}{{ x|e }}",
             "{{ 'a'|upper }} x {%\ndo [x|e] %}{{ x }}"]
)  # fmt: skip
def test_with_jinja2_the_line_is_that_of_a_tag(text: str) -> None:
    """Not that of a comment or of other text with the same word in it."""
    assert [one.partition(":")[0] for one in rendered(text)[1]] == ["line 3"]


def test_jinja2_renders_the_rest() -> None:
    text = "{% for name in list[:1] %}\n- {{ name | upper }} {{ x }}\n{% endfor %}\n"
    assert rendered(f"#cloud-config\n{text}") == (
        "\n#cloud-config\n- A CI_MISSING_JINJA_VAR/x\n\n",
        ["line 4: x is not given for this instance; the text gets CI_MISSING_JINJA_VAR/x"],
    )
    assert rendered(text)[0] == f"\n{by_jinja2(text)[0]}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("\n{% for CANARY %}", "line 3: is not valid in Jinja"),
        ("\n\n{{ text|CANARY }}", "line 4: names a filter or a test"),
        ("\n{{ text.__class__.__mro__ }}", "line 3: is not allowed in Jinja2's sandbox"),
        ("\n{{ text.x.y|upper }}", "line 3: uses something inside a variable"),
        ("\n{{ 1 / 0 }}", "line 3: fails in Jinja2 with ZeroDivisionError"),
        ("{% include 'CANARY' %}", "line 2: fails in Jinja2 with TypeError"),
        ("{{ '\\ud800'|upper }}", "fails in Jinja2 with UnicodeEncodeError"),
    ],
)
def test_what_jinja2_refuses_is_told_with_its_line_and_quotes_nothing(
    text: str, reason: str
) -> None:
    assert reason in refused(text)
    assert "CANARY" not in refused(text)


BOMBS = [
    "{{ 'a' * 10 ** 10 }}",
    "{{ 10 ** (10 ** 10) }}",
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% for a in range(99999) %}{{ 'a' * 1000 }}{% endfor %}",
    "{{ 'a'.ljust(2 * 10 ** 8)|length }}",
]


@pytest.mark.parametrize("text", BOMBS)
def test_D10_a_template_that_takes_too_much_is_given_up(mocker: MockerFixture, text: str) -> None:
    mocker.patch.object(defs, "TEMPLATE_TIMEOUT", 2.0)
    with pytest.raises(TooMuch, match="takes more than"):
        rendered(text)


def test_what_a_template_becomes_is_bounded_without_jinja2_too() -> None:
    values = {"large": "a" * 1_000_000}
    assert "renders to more than 4 MiB" in refused("{{ large }}" * 5, values)


@pytest.mark.parametrize(
    "answer",
    [
        *(b"", b'{"missing": [], "size": 5}\nabcd', b"x", b"[]\n", b"7", b"{}", b'{"line": 1}'),
        *(b'{"reason": 7, "line": 1}', b'{"missing": 7, "size": 0}\n', b"[" * 3000),
        *(b'{"missing": [], "size": 1}\n\xff', b'{"missing": [], "size": "1"}\na'),
    ],
)
def test_C10_a_process_that_is_killed_or_says_other_things_leaves_no_text(
    mocker: MockerFixture, answer: bytes
) -> None:
    mocker.patch.object(jinja, "ask_as_nobody", return_value=answer)
    with pytest.raises(TooMuch):
        rendered("{{ text|upper }}")


def test_E11_what_the_process_says_adds_no_line_to_a_message(mocker: MockerFixture) -> None:
    answer = b'{"line": 1, "reason": "a\\n\\u001b[2J' + b"x" * 5000 + b'"}'
    mocker.patch.object(jinja, "ask_as_nobody", return_value=answer)
    reason = refused("{{ text|upper }}", {})
    assert r"a\n\x1b[2J" in reason
    assert len(reason) < 300
    answer = b'{"missing": [7, "\\u001b", "a"], "size": 1}\nb'
    mocker.patch.object(jinja, "ask_as_nobody", return_value=answer)
    assert jinja.render("x", {}, prefix="") == jinja.Outcome("b", ("\x1b", "a"))


def test_only_what_takes_jinja2_starts_a_process(mocker: MockerFixture) -> None:
    ask = mocker.spy(jinja, "ask_as_nobody")
    rendered("{{ text }}")
    assert ask.call_count == 0
    rendered("{{ text|upper }}")
    assert ask.call_count == 1


@pytest.mark.parametrize("line", ["## template: basic", "## template: jinja2", "## template:"])
def test_another_language_is_refused(line: str) -> None:
    with pytest.raises(FieldError, match="another language"):
        render(f"{line}\n{{{{ text }}}}".encode(), mock_failure)


def test_a_template_that_is_no_text_is_refused() -> None:
    with pytest.raises(FieldError, match="UTF-8"):
        render(b"## template: jinja\n{{ text }}\xff", lambda: VALUES)


def test_conditions_inside_each_other_have_a_limit(mocker: MockerFixture) -> None:
    deep = "{% if yes %}" * 20 + "x" + "{% endif %}" * 20
    assert rendered(deep) == ("\nx", [])
    without_jinja2(mocker)
    assert "takes Jinja2" in refused(f"{{% if yes %}}{deep}{{% endif %}}")
