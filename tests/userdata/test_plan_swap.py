"""swap: the line of fstab(5), and the script run by a shell."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .test_plan_mounts import fstab, steps


def test_a_swap_file_is_made_once_and_named_in_fstab() -> None:
    found = steps("swap: {size: 64M, filename: /var/swap file}\n")
    assert "size=67108864\n" in found["50-instance-swap"]
    assert "file='/var/swap file'\n" in found["50-instance-swap"]
    lines, _ = fstab("swap: {size: 64M, filename: /var/swap file}\n")
    assert lines == [r"/var/swap\040file none swap sw,nofail 0 0"]


@pytest.mark.parametrize(
    ("size", "octets"),
    [
        *(("1.5G", 1610612736), ("512", 512), ("2T", 2 << 40), ("10k", 10240)),
        *(("4GB", 4 << 30), ("512mb", 512 << 20), ("10B", 10)),
    ],
)
def test_sizes_have_units(size: str, octets: int) -> None:
    assert f"size={octets}\n" in steps(f"swap: {{size: {size}}}")["50-instance-swap"]


@pytest.mark.parametrize("size", ["0", "0M", ""])
def test_no_size_is_no_swap(size: str) -> None:
    text = f"swap: {{size: {size}}}" if size else "swap: {filename: /swap.img}"
    assert fstab(text) == ([], [])


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("{size: many}", "swap.size"),
        ("{size: 4BB}", "swap.size"),
        ("{size: 1M, maxsize: -1}", "swap.maxsize"),
        ("{size: 1M, filename: swap}", "swap.filename"),
        ('{size: 1M, filename: "/a$(id)\\n"}', "swap.filename"),
    ],
)
def test_an_unsound_swap_is_an_error(text: str, key: str) -> None:
    lines, (problem,) = fstab(f"swap: {text}")
    assert lines == []
    assert problem.startswith(key)


def run_swap(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Run the script of a swap file below a directory, with tools that only say what they get."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("swapon", "mkswap"):
        (tools / name).write_text(f'#!/bin/sh\necho {name} "$@"\n')
        (tools / name).chmod(0o755)
    script = steps(text)["50-instance-swap"]
    environment = {"PATH": f"{tools}:/usr/sbin:/usr/bin:/sbin:/bin"}
    argv = ["sh", "-c", script]
    return subprocess.run(argv, capture_output=True, text=True, env=environment)


def test_B4_the_swap_file_is_root_s_from_its_first_moment(tmp_path: Path) -> None:
    file = tmp_path / "swap.img"
    done = run_swap(tmp_path, f"swap: {{size: 2M, filename: {file}}}")
    assert done.returncode == 0, done.stderr
    assert file.stat().st_size == 2 << 20
    assert file.stat().st_mode & 0o777 == 0o600
    assert done.stdout.splitlines()[-1] == f"swapon {file}"


def test_a_swap_file_larger_than_the_disk_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "swap.img"
    done = run_swap(tmp_path, f"swap: {{size: 100T, filename: {file}}}")
    assert done.returncode == 1
    assert "no room" in done.stderr
    assert not list(tmp_path.glob("*swap*"))


def test_automatic_swap_stays_below_its_limit(tmp_path: Path) -> None:
    file = tmp_path / "swap.img"
    done = run_swap(tmp_path, f"swap: {{size: auto, maxsize: 1M, filename: {file}}}")
    assert done.returncode == 0, done.stderr
    assert file.stat().st_size == 1 << 20
