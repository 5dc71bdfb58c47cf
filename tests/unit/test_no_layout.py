"""Sources that hold no layout: why, and what to do about it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import rig

from guestagent import defs
from guestagent.errors import Problems
from guestagent.parse import layouts
from guestagent.sources.path import open_path

LEVEL_1 = ("-iso-level", "1")
EMPTY = "is empty"
SHORT = "its file names are cut short or in capitals"
SEED = "is a seed of NoCloud without meta-data"
DEEP = "is a version folder of a config drive; give the folder two levels above it"
DEEPER = "is the folder openstack of a config drive; give the folder that contains it"
HIGH = "has the config drive in a folder below it; give that folder"
NO_META = "has no version folder with meta_data.json in its folder openstack"
OTHER = "has no folder openstack, and is not a config drive"


def _reason(path: Path) -> str:
    """Return the one problem of a source."""
    found = Problems()
    bundle = open_path(str(path))
    layouts.parse(bundle, found)
    bundle.close()
    (problem,) = found.problems
    assert (problem.severity, problem.source) == ("error", str(path))
    return problem.reason


def _tree(top: Path, *files: str) -> Path:
    top.mkdir()
    for name in files:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text("{}")
    return top


TREES: dict[str, tuple[tuple[str, ...], str]] = {
    "empty": ((), EMPTY),
    "a seed": (("user-data", "vendor-data"), SEED),
    "a seed with a network": (("user-data", "network-config"), SEED),
    "a version folder": (("meta_data.json", "user_data"), DEEP),
    "the folder openstack": (("latest/meta_data.json",), DEEPER),
    "the folder openstack without latest": (("2018-08-27/meta_data.json", "x"), DEEPER),
    "the folder above": (("drive/openstack/latest/meta_data.json", "README"), HIGH),
    "no metadata": (("openstack/latest/user_data",), NO_META),
    "another folder": (("etc/hosts",), OTHER),
    "another folder with the document": (("backup/meta_data.json",), OTHER),
    "ISO 9660 at level 1": (("openstac/latest/meta_dat.jso",), SHORT),
    "VFAT without long names": (("OPENST~1/latest/META_D~1.JSO",), SHORT),
    "a seed at level 1": (("meta_dat", "user_dat"), SHORT),
    "a seed in VFAT without long names": (("META-D~1", "USER-D~1"), SHORT),
    "a seed in capitals": (("META-DATA", "USER-DATA"), SHORT),
    "capitals": (("OPENSTACK/LATEST/META_DATA.JSON",), SHORT),
}


@pytest.mark.parametrize("name", TREES)
def test_a_source_without_layout_is_told_apart(tmp_path: Path, name: str) -> None:
    files, reason = TREES[name]
    assert _reason(_tree(tmp_path / "source", *files)).startswith(reason)


def test_each_cause_says_what_to_do() -> None:
    reasons = {reason for _, reason in TREES.values()}
    assert len(reasons) == 8


@pytest.mark.parametrize("options", [(), LEVEL_1], ids=["level 3", "level 1"])
def test_an_image_without_long_names_is_told_apart(
    tmp_path: Path, drive: Path, options: tuple[str, ...]
) -> None:
    rig.need_tools("xorriso")
    image = tmp_path / "drive.iso"
    argv = ["xorriso", "-as", "mkisofs", *options, "--norock", "-V", "config-2"]
    subprocess.run([*argv, "-o", str(image), str(drive)], check=True, capture_output=True)
    assert "make the image with Rock Ridge or Joliet" in _reason(image)
    seed = _tree(tmp_path / "seed", "meta-data", "user-data")
    subprocess.run([*argv, "-o", str(image), str(seed)], check=True, capture_output=True)
    assert "make the image with Rock Ridge or Joliet" in _reason(image)


def test_a_run_from_a_wrong_folder_changes_nothing_and_says_which(
    guest: Path, drive: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from guestagent.options import Options
    from guestagent.verbs import apply

    before = rig.snapshot(guest / "etc")
    copy = shutil.copytree(drive, tmp_path / "copy")
    wrong = copy / "openstack"
    assert apply.run(Options(source=str(wrong), root=str(guest))) == defs.EXIT_ERRORS
    assert rig.differences(before, rig.snapshot(guest / "etc")) == set()
    assert f"{wrong}: {DEEPER}" in capfd.readouterr().err
    assert apply.run(Options(source=str(copy), root=str(guest))) == defs.EXIT_OK
