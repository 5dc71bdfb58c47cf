"""Records behave as those of ``typing.NamedTuple``, of which type checkers take them for."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any

import pytest

from guestagent import record


class Ours(record.NamedTuple):
    """A record."""

    a: str
    b: int = 7
    c: tuple[str, ...] = ()


class Theirs(typing.NamedTuple):
    """The same."""

    a: str
    b: int = 7
    c: tuple[str, ...] = ()


MAKE: list[Callable[[Any], Any]] = [
    lambda kind: kind("x"),
    lambda kind: kind("x", 1),
    lambda kind: kind("x", 1, ("y",)),
    lambda kind: kind("x", c=("y",)),
    lambda kind: kind(c=(), a="x"),
    lambda kind: kind("x")._replace(),
    lambda kind: kind("x")._replace(c=("y",), a="z"),
    lambda kind: kind(**kind("x", 3)._asdict()),
]
FAIL: list[Callable[[Any], Any]] = [
    lambda kind: kind(),
    lambda kind: kind(b=1),
    lambda kind: kind("x", 1, (), 2),
    lambda kind: kind("x", a="y"),
    lambda kind: kind("x", 1, b=2),
    lambda kind: kind("x", d=1),
    lambda kind: kind("x", 1, (), d=1),
]


@pytest.mark.parametrize("make", MAKE)
def test_a_record_holds_what_it_is_given(make: Callable[[Any], Any]) -> None:
    ours, theirs = make(Ours), make(Theirs)
    assert ours == tuple(theirs)
    assert (ours.a, ours.b, ours.c) == tuple(theirs)
    assert (type(ours), ours._fields) == (Ours, theirs._fields)
    assert list(ours._asdict().items()) == list(theirs._asdict().items())
    assert repr(ours) == repr(theirs).replace("Theirs", "Ours")


@pytest.mark.parametrize("make", FAIL)
def test_values_that_fit_no_field_are_an_error(make: Callable[[Any], Any]) -> None:
    for kind in (Ours, Theirs):
        with pytest.raises(TypeError):
            make(kind)


def test_a_field_that_there_is_not_cannot_be_replaced() -> None:
    with pytest.raises(TypeError, match="d"):
        Ours("x")._replace(d=1)  # type: ignore[call-arg]
