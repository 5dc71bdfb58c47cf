"""The daemon on every network stack: cards that come and go, with a drive and without."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from network.produce import BACKENDS

from .attached import RUNS, SECOND, THIRD, Scene, advertised, configured_by_cd, static
from .image import guest_image
from .scenario import report

pytestmark = pytest.mark.vm


@pytest.fixture(scope="module", params=BACKENDS)
def scene(
    request: pytest.FixtureRequest, agent_deb: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """A guest of each network stack in turn, which was configured by a CD."""
    image = guest_image(agent_deb, request.param)
    with configured_by_cd(image, tmp_path_factory.mktemp("stack")) as scene:
        yield scene


def test_a_card_that_the_rewritten_drive_describes(scene: Scene) -> None:
    scene.guest.hot_plug_nics(SECOND)
    scene.guest.change_medium(scene.iso("second", replace(scene.instance, cards=(SECOND,))))
    scene.wait_for_address(static(SECOND))
    assert report(scene.guest)["exit_status"] == 0


def test_a_card_that_the_drive_does_not_describe(scene: Scene) -> None:
    scene.guest.hot_plug_nics(THIRD, slot=1)
    assert_dynamic(scene)


def test_the_files_of_cards_that_are_gone_go_too(scene: Scene) -> None:
    scene.guest.hot_unplug_nics()
    scene.guest.hot_unplug_nics(slot=1)
    scene.guest.change_medium(scene.where / "first/drive")
    scene.wait_for_first_files()


def test_a_card_that_comes_when_there_is_no_source(scene: Scene) -> None:
    scene.guest.change_medium(None)
    scene.guest.hot_plug_nics(THIRD)
    assert_dynamic(scene)
    assert scene.files() != scene.first_files


def test_a_drive_that_comes_then_describes_it(scene: Scene) -> None:
    scene.guest.change_medium(scene.iso("third", replace(scene.instance, cards=(THIRD,))))
    scene.wait_for_address(static(THIRD))
    scene.guest.wait_for(f"! ip -o address | grep -F ' {THIRD.address}/'", 60)
    assert report(scene.guest)["exit_status"] == 0


def test_without_a_source_too_the_file_of_a_card_that_is_gone_goes(scene: Scene) -> None:
    scene.guest.change_medium(None)
    scene.guest.hot_plug_nics(SECOND, slot=1)
    scene.wait_for_address(SECOND.address)
    before = scene.files()
    scene.guest.hot_unplug_nics(slot=1)
    scene.guest.wait_for("! ip -o link | grep -F " + SECOND.mac)
    scene.wait_until(lambda: len(scene.files()) < len(before))
    scene.rest(RUNS)
    scene.guest.check(f"ip -o address | grep -F ' {static(THIRD)}/'")


def test_an_address_that_stays_was_never_away(scene: Scene) -> None:
    seen = scene.seen()
    assert any(static(SECOND) in line for line in seen)
    gone = [line for line in seen if line.startswith("Deleted") and " enp0s3 " in line]
    assert not gone, "\n".join(seen)


def assert_dynamic(scene: Scene) -> None:
    """Insist that the third card has a lease and what its router advertises."""
    scene.wait_for_address(THIRD.address)
    scene.wait_for_address(advertised(THIRD))
    assert "proto ra" in scene.guest.check("ip -6 route show default")
    assert report(scene.guest)["exit_status"] == 0
