"""Text from a source can neither forge a line of the journal nor drive a terminal."""

from __future__ import annotations

import pytest

from guestagent import log


@pytest.mark.parametrize("bad", ["\n", "\r", "\x1b[2J", "\0", "\x85", "\u2028", "\u202e", "\ud800"])
def test_E11_what_is_not_printable_is_escaped(
    bad: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    log.error(f"name{bad}<0>forged")
    found = capsys.readouterr().err
    assert found.startswith("guestagent: error: name\\")
    assert found.endswith("<0>forged\n")
    assert found.removesuffix("\n").isprintable()


def test_plain_text_stays_as_it_is() -> None:
    assert log.printable("web-1: ü 'x' \\n") == "web-1: ü 'x' \\n"


@pytest.mark.parametrize(
    ("tell", "level"),
    [(log.error, 3), (log.warning, 4), (log.notice, 5), (log.info, 6)],
)
def test_the_journal_gets_levels(
    tell: object,
    level: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert callable(tell)
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    tell("x")
    assert capsys.readouterr().err.startswith(f"<{level}>guestagent: ")
