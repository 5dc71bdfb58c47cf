"""timezone: what is planned, and what a tree then holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from userdata.planning import (
    apply_twice,
    clean_plan,
    files,
    make_drive,
    places,
    plan_of,
)

from .test_plan_locale import DEBIAN


def links(text: str) -> list[tuple[str, str]]:
    found = clean_plan(text, facts=DEBIAN)
    return [(item.path, item.target) for item in found if item.kind == "link"]


@pytest.mark.parametrize("name", ["Europe/Berlin", "Etc/GMT+1", "America/Port-au-Prince", "UTC"])
def test_a_time_zone_is_a_link_and_debians_file(name: str) -> None:
    text = f"timezone: {name}"
    assert links(text) == [("/etc/localtime", f"/usr/share/zoneinfo/{name}")]
    assert files(clean_plan(text, facts=DEBIAN))["/etc/timezone"].content == f"{name}\n".encode()


def test_a_system_without_debians_file_gets_none() -> None:
    assert files(clean_plan("timezone: UTC")) == {}


@pytest.mark.parametrize("name", ["../../etc/passwd", "/UTC", "a//b", '"a\\nb"', "'$(id)'"])
def test_what_is_no_time_zone_is_an_error_for_it_alone(name: str) -> None:
    resources, problems = plan_of(f"timezone: {name}\nlocale: C.UTF-8", DEBIAN)
    assert places(problems) == [("error", "timezone (line 2, column 1)")]
    assert [item.kind for item in resources if item.kind in ("link", "block")] == ["block"]


def test_a_zone_that_the_tree_does_not_have_is_an_error(guest: Path, tmp_path: Path) -> None:
    drive = make_drive(tmp_path, "timezone: Europe/Atlantis\nlocale: C.UTF-8")
    done = apply_twice(drive, guest, status=1)
    assert "timezone (line 2, column 1)" in done.err
    assert (guest / "etc/default/locale").exists()
    assert not (guest / "etc/localtime").is_symlink()
