"""A short run of the fuzzer, which ``make fuzz`` runs for longer."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
from fuzz import search
from fuzz.__main__ import main
from fuzz.inputs import Input, samples
from fuzz.search import inputs, minimal, verdict


def test_C10_no_mutant_does_harm() -> None:
    """The samples, and some seconds of mutants: no error, no secret, no path, no other line."""
    number = len(samples()) + 600
    found = [(place, verdict(given)) for place, given in enumerate(islice(inputs(1), number))]
    assert [(place, wrong) for place, wrong in found if wrong] == []


def test_a_seed_makes_the_same_inputs() -> None:
    number = len(samples()) + 20
    assert list(islice(inputs(7), number)) == list(islice(inputs(7), number))
    assert list(islice(inputs(7), number)) != list(islice(inputs(8), number))


def test_the_smallest_form_of_what_fails_is_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = Input("drive", {"a/b": b"x" * 50 + b"bad" + b"y" * 50, "c": b"z"}, mutated="a/b")

    def findings(tried: Input) -> list[str]:
        if b"bad" in tried.documents["a/b"]:
            raise KeyError("a secret")
        return []

    monkeypatch.setattr(search, "findings", findings)
    monkeypatch.setattr("fuzz.__main__.inputs", lambda _: iter([given]))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(1.0, 3) == 1
    (folder,) = tmp_path.iterdir()
    assert [path.read_bytes() for path in folder.rglob("*") if path.is_file()] == [b"bad"]
    out = capsys.readouterr().out
    assert "seed 3, input 1" in out
    assert str(folder) in out
    assert "a secret" not in out


def test_a_part_of_a_sound_input_that_matters_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = {"a": b'{"x": [1, {"bad": [2]}], "y": "z"}'}
    monkeypatch.setattr(search, "findings", lambda tried: ["w"] * (b"bad" in tried.documents["a"]))
    small = minimal(Input("drive", documents, mutated="a", sound=True), ["w"])
    assert small.documents == {"a": b'{"x": [{"bad": []}]}'}


def test_an_endless_reader_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    def findings(_: Input) -> list[str]:
        while True:
            pass

    monkeypatch.setattr(search, "_TIME", 0.2)
    monkeypatch.setattr(search, "findings", findings)
    assert verdict(Input("drive", {})) == ["takes more than 0.2 s"]
