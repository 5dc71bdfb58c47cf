"""Many guests at once: a smaller run of the load simulation."""

from __future__ import annotations

from pathlib import Path

from . import load


def test_many_first_boots_from_a_busy_service_all_end_configured(tmp_path: Path) -> None:
    found = load.run(tmp_path / "load", guests=40, seconds=2.0)
    assert found.configured == 40
    # Five documents each; half of the requests fail for a while, and are paused after.
    assert 5 * 40 <= found.requests <= 15 * 40


def test_one_guest_asks_less_than_with_cloud_init(tmp_path: Path) -> None:
    theirs = load.cloud_init(tmp_path / "theirs")
    ours = load.run(tmp_path / "ours", guests=1, seconds=0.0)
    assert (ours.requests, theirs) == (5, 28)
