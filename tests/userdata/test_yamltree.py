"""YAML is read as PyYAML's safe loader does, with the place of each value, and bounded."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.parse.userdata.yamltree import Tree, load

ANCHORS = b"""#cloud-config
x-common: &common
  shell: /bin/bash
  groups: &groups [adm, sudo]
x-sudo: &sudo {sudo: "ALL=(ALL) NOPASSWD:ALL", shell: /bin/sh}
users:
  - <<: *common
    name: ann
  - <<: [*common, *sudo]
    name: bob
    groups: *groups
  - {<<: *sudo, shell: /bin/zsh, name: cid}
"""
YAML_11 = b"""
yes: off
flags: [yes, No, ON, true, FALSE, y, n]
numbers: [0644, 0x1F, 0b101, 1_000, -7, +3, 22:30, 1.5, 1.5e+3, 1e3, 08, -0.5, 1:30.5]
nothing: [~, null, Null, ]
text: ['12', "yes", 2001-12-14, 2001-12-14t21:59:43.10-05:00, <<, =, 1.2.3]
8080: port
~: tilde
=: sign
12:30: clock
block: |
  one
    two
folded: >-
  one
  two
"""
LAUGHS = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (letter, letter, b",".join([b"*%c" % (letter - 1)] * 9))
    for letter in range(98, 106)
)


@pytest.fixture(params=["libyaml", "Python"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of PyYAML's two parsers."""
    if request.param == "Python":
        monkeypatch.delattr(yaml, "CSafeLoader")
    elif not hasattr(yaml, "CSafeLoader"):
        pytest.skip("PyYAML is built without libyaml")
    return str(request.param)


def error(content: bytes) -> str:
    with pytest.raises(FieldError) as caught:
        load(content)
    return str(caught.value)


def test_anchors_aliases_and_merge_keys_work_as_people_use_them(parser: str) -> None:
    tree = load(ANCHORS)
    assert tree.value["users"] == [
        {"shell": "/bin/bash", "groups": ["adm", "sudo"], "name": "ann"},
        {
            "shell": "/bin/bash",
            "groups": ["adm", "sudo"],
            "sudo": "ALL=(ALL) NOPASSWD:ALL",
            "name": "bob",
        },
        {"shell": "/bin/zsh", "sudo": "ALL=(ALL) NOPASSWD:ALL", "name": "cid"},
    ]
    assert tree.notes == ()


def test_places_are_those_of_keys_and_items_and_lead_into_anchors(parser: str) -> None:
    marks = load(ANCHORS).marks
    assert marks[()] == (2, 1)
    assert marks[("users",)] == (6, 1)
    assert marks[("users", 0)] == (7, 5)
    assert marks[("users", 0, "shell")] == (3, 3)
    assert marks[("users", 0, "groups", 1)] == (4, 25)
    assert marks[("users", 1, "groups")] == (11, 5)
    assert marks[("users", 2, "shell")] == (12, 17)
    assert load(b"a: &x [1]\nb:\n- *x\n").marks[("b", 0)] == (3, 3)


def test_nothing_is_shared_between_the_places_of_an_alias() -> None:
    value = load(b"a: &x [1]\nb: *x\n").value
    value["a"].append(2)
    assert value["b"] == [1]


def test_values_are_those_of_yaml_1_1_and_keys_and_time_stamps_text(parser: str) -> None:
    value = load(YAML_11).value
    assert value == {
        "yes": False,
        "flags": [True, False, True, True, False, "y", "n"],
        "numbers": [420, 31, 5, 1000, -7, 3, 1350, 1.5, 1500.0, "1e3", "08", -0.5, 90.5],
        "nothing": [None, None, None],
        "text": ["12", "yes", "2001-12-14", "2001-12-14t21:59:43.10-05:00", "<<", "=", "1.2.3"],
        "8080": "port",
        "~": "tilde",
        "=": "sign",
        "12:30": "clock",
        "block": "one\n  two\n",
        "folded": "one two",
    }
    assert [type(item) for item in value["flags"][:5]] == [bool] * 5


def test_E8_tags_of_the_safe_loader_count_and_others_are_refused(parser: str) -> None:
    tagged = b"[!!str 1, !!int '7', !!float '1', !!bool 'yes', !!null x, ! a, !!seq [], !!map {}]"
    assert load(tagged).value == ["1", 7, 1.0, True, None, "a", [], {}]
    assert load(b"!!binary |\n a\n Gk=\n ...\n").value == b"hi"
    assert load(b"!!python/unicode CANARY").value == "CANARY"  # cloud-init's own exception
    for tag in (b"!!python/object:os.system", b"!CANARY", b"!!set", b"!!omap", b"!!python/name:x"):
        for content in (b"a: %s x", b"a: %s [x]", b"a: %s {x: y}", b"%s a: x"):
            assert "unknown tag" in error(content % tag)


@pytest.mark.parametrize(
    "value", ["!!int CANARY", "!!bool CANARY", "!!binary CANAR", "!!binary ä", "!!int ''"]
)
def test_what_does_not_fit_its_tag_is_an_error(value: str) -> None:
    assert error(b"a: " + value.encode()).startswith(
        "line 1, column 4: is not a number, or not what its tag"
    )


def test_numbers_beyond_what_json_and_the_machine_hold_stay_text(parser: str) -> None:
    long = "9" * 5000
    numbers = [".inf", "-.INF", ".nan", "1.0e+400", "-1.0e+400", long, f"0x{long}", f"1.{long}"]
    assert load(f"[{', '.join(numbers)}]".encode()).value == numbers
    assert load(b"9" * 100).value == int("9" * 100)
    assert load(b"!!float nan").value == "nan"


@pytest.mark.parametrize("content", [b"", b"\n", b"# text\n", b"\xef\xbb\xbf", b"---\n...\n", b"~"])
def test_an_empty_document_is_none(content: bytes) -> None:
    assert load(content).value is None
    assert () in load(content).marks


def test_a_byte_order_mark_and_crlf_change_nothing(parser: str) -> None:
    plain = load(ANCHORS)
    assert load(b"\xef\xbb\xbf" + ANCHORS.replace(b"\n", b"\r\n")) == plain


def test_of_a_key_that_stands_twice_the_last_counts_and_it_is_told() -> None:
    tree = load(b"a: {x: 1}\nb:\n- k: 1\n  k: {y: 2}\na: 5\na: 6\n")
    assert tree.value == {"a": 6, "b": [{"k": {"y": 2}}]}
    reason = "duplicate key; the last one wins"
    assert sorted(tree.notes, key=str) == [(("a",), reason), (("b", 0, "k"), reason)]
    assert tree.marks[("a",)] == (6, 1)
    assert ("a", "x") not in tree.marks


def test_a_key_that_overrides_a_merged_one_does_not_stand_twice() -> None:
    content = b"a: &a {user: 1}\nb: &b {user: 2}\nc: {<<: *a, user: 3}\nd: {<<: [*a, *b]}\n"
    tree = load(content + b"e: {<<: [*b, *a]}\nf: {user: 4, <<: *a}\n")
    found = [tree.value[key]["user"] for key in "cdef"]
    assert found == [3, 1, 2, 4]
    assert tree.notes == ()


def test_thousands_of_repeated_keys_are_told_of_a_few_times() -> None:
    content = b"".join(b"k%d: 1\nk%d: 2\n" % (number, number) for number in range(2000))
    assert len(load(content).notes) == 30


@pytest.mark.parametrize(
    "content", [b"a: &a {b: *a}", b"&a [*a]", b"a: &a\n  <<: *a\n", b"&a {*a : 1}"]
)
def test_an_alias_inside_of_its_own_anchor_is_refused(content: bytes) -> None:
    assert "an alias (*) inside of what it refers to" in error(content)


def test_E8_a_document_that_would_expand_is_refused_before_it_does(parser: str) -> None:
    assert len(LAUGHS) < 324
    merges = b"a: &a {%s}\n" % b",".join(b"k%d: 1" % number for number in range(99))
    merges += b"".join(b"m%d: {<<: [%s]}\n" % (n, b",".join([b"*a"] * 99)) for n in range(99))
    long = b"a: &a %s\nb: [%s]\n" % (b"x" * 200_000, b",".join([b"*a"] * 99))
    keys = b"a: &a %s\nb:\n%s" % (b"x" * 900, b"".join(b"- {*a : 1}\n" for _ in range(3000)))
    empty = b"a0: &a0 []\n" + b"".join(
        b"a%d: &a%d [%s]\n" % (n, n, b",".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 6)
    )
    for content in (LAUGHS, merges, long, keys, empty):
        assert "more than 10000 values or 1024 KiB of text" in error(content)


def test_aliases_of_a_long_list_work_below_the_limit(parser: str) -> None:
    items = b",".join(b"%d" % number for number in range(1000))
    value = load(b"a: &a [%s]\nb: [%s]\n" % (items, b",".join([b"*a"] * 8))).value
    assert value["b"][7] == list(range(1000))


def test_E8_size_is_looked_at_first() -> None:
    assert error(b"a: b\n" * 400_000) == "larger than 256 KiB"
    assert load(b"#" * defs.YAML_LIMIT).value is None
    assert error(b"#" * (defs.YAML_LIMIT + 1)) == "larger than 256 KiB"


def test_E8_depth_is_bounded_in_the_text_and_through_aliases(parser: str) -> None:
    deep = load(b"[" * 20 + b"]" * 20).value
    for _ in range(19):
        (deep,) = deep
    assert deep == []
    half = b"a: &a " + b"[" * 12 + b"]" * 12 + b"\n"
    assert load(half + b"b: [[[[[[[*a]]]]]]]\n").value["b"]
    tower = b"".join(b"a%d: &a%d [*a%d]\n" % (n, n, n - 1) for n in range(1, 30))
    for content in (
        b"[" * 21 + b"]" * 21,
        b"[" * 2000,
        b"{" * 2000,
        b"- " * 2000,
        b"? " * 2000,
        b"".join(b" " * level + b"a:\n" for level in range(500)),
        half + b"b: [[[[[[[[*a]]]]]]]]\n",
        b"a0: &a0 []\n" + tower,
    ):
        assert "nested more than 20 deep" in error(content)


JSON_LIKE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=12,
)
STYLES = st.sampled_from([None, True, False])


@settings(max_examples=300, derandomize=True, deadline=None)
@given(JSON_LIKE, STYLES, st.integers(1, 6), st.sampled_from([20, 80]))
def test_what_pyyaml_writes_is_read_as_it_was(
    value: Any, style: bool | None, indent: int, width: int
) -> None:
    content = yaml.safe_dump(value, default_flow_style=style, indent=indent, width=width)
    assert load(content.encode()).value == yaml.safe_load(content) == value


def _places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    found = [path]
    for step, inner in pairs:
        below = (*path, step)
        found += _places(inner, below) if isinstance(inner, dict | list) else [below]
    return found


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    st.dictionaries(st.text("abnoy", min_size=1, max_size=8), JSON_LIKE, min_size=1, max_size=5),
    STYLES,
    st.integers(1, 6),
)
def test_marks_point_at_the_text_of_every_key_and_item(
    value: dict[str, Any], style: bool | None, indent: int
) -> None:
    content = yaml.safe_dump(value, default_flow_style=style, indent=indent, width=10_000)
    tree = load(content.encode())
    assert set(tree.marks) == set(_places(value))
    lines = content.split("\n")
    for path, (line, column) in tree.marks.items():
        if path and isinstance(path[-1], str) and path[-1].isascii() and path[-1].isalpha():
            key = yaml.safe_dump(path[-1], explicit_end=False).split("\n")[0]
            assert lines[line - 1][column - 1 :].startswith(key)


YAMLISH = st.text(alphabet="ab19 \n\t-:?[]{}&*!|>'\"%@#,<=.~\\\u2028\ud7ff0x_", max_size=60)


@settings(max_examples=400, derandomize=True, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode) | YAMLISH.map(str.encode))
def test_E8_anything_gives_a_tree_or_a_field_error(content: bytes) -> None:
    told, tree = "", None
    try:
        tree = load(content)
    except FieldError as caught:
        told = str(caught)
    assert isinstance(tree, Tree) != told.startswith(("line ", "not UTF-8"))


def _plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(_plain, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | int)


@settings(max_examples=400, derandomize=True, deadline=None)
@given(YAMLISH)
def test_whatever_the_safe_loader_takes_as_plain_data_is_read_the_same(content: str) -> None:
    try:
        value = yaml.load(content, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError):
        return
    if _plain(value) and "<<" not in content:
        assert load(content.encode()).value == value
