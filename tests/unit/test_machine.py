"""What the kernel command line and the firmware say; on a made-up machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import rig

from guestagent import defs
from guestagent.system import machine


class Files:
    """The files of a machine."""

    def __init__(self, top: Path) -> None:
        self.top = top

    def put(self, name: str, text: str) -> None:
        (self.top / name).write_text(text)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    monkeypatch.setattr(defs, "KERNEL_COMMAND_LINE", str(tmp_path / "cmdline"))
    monkeypatch.setattr(defs, "FIRST_COMMAND_LINE", str(tmp_path / "first"))
    monkeypatch.setattr(defs, "CONTAINER_FILE", str(tmp_path / "container"))
    monkeypatch.setattr(defs, "OFF_SWITCH", str(tmp_path / "disabled"))
    return Files(tmp_path)


@pytest.mark.parametrize(
    ("words", "source"),
    [
        ("quiet guestagent.source=/dev/vdb ro", "/dev/vdb"),
        ("guestagent.source=/a guestagent.source=http://192.0.2.1/", "http://192.0.2.1/"),
        ("quiet xguestagent.source=/a", ""),
        ("", ""),
    ],
)
def test_the_command_line_names_a_source(files: Files, words: str, source: str) -> None:
    files.put("cmdline", f"{words}\n")
    assert (machine.kernel_argument(defs.SOURCE_ARGUMENT) or "") == source


@pytest.mark.parametrize("text", ["guestagent=disabled", "a guestagent=disabled b"])
def test_the_command_line_switches_off(files: Files, text: str) -> None:
    assert machine.why_disabled() == ""
    files.put("cmdline", text + "\n")
    assert "command line" in machine.why_disabled()


def test_of_several_starts_the_first_counts_that_a_word_has(files: Files) -> None:
    files.put("cmdline", "b=1 a=2 b=3")
    assert machine.kernel_argument("a=", "b=") == "2"
    assert machine.kernel_argument("c=", "b=") == "3"
    assert machine.kernel_argument("c=", "d=") is None


def test_C1_a_container_is_told_by_its_first_process_and_not_by_the_host_s_kernel(
    files: Files,
) -> None:
    files.put("cmdline", "guestagent=disabled guestagent.source=/of-the-host")
    files.put("first", "/sbin/init\0--log-level=info\0guestagent.source=/a b\0quiet\0")
    assert machine.kernel_argument(defs.SOURCE_ARGUMENT) == "/of-the-host"
    assert machine.why_disabled()
    files.put("container", "lxc")
    assert machine.kernel_argument(defs.SOURCE_ARGUMENT) == "/a b"
    assert not machine.why_disabled()
    files.put("first", "/sbin/init\0guestagent=disabled\0")
    assert machine.kernel_argument(defs.SOURCE_ARGUMENT) is None
    assert machine.why_disabled()


@pytest.mark.parametrize("text", ["guestagent=disabled2", "xguestagent=disabled", "guestagent"])
def test_other_words_do_not_switch_off(files: Files, text: str) -> None:
    files.put("cmdline", text)
    assert machine.why_disabled() == ""


def test_a_file_switches_off(files: Files) -> None:
    files.put("disabled", "")
    assert defs.OFF_SWITCH in machine.why_disabled()


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("0C1A9B2E-6F0D-4D3E-9A57-3F1F5E9B7A10\n", "0c1a9b2e-6f0d-4d3e-9a57-3f1f5e9b7a10"),
        ("03000200-0400-0500-0006-000700080009\n", ""),
    ],
)
def test_A1_a_uuid_that_many_boards_have_is_none(
    files: Files, monkeypatch: pytest.MonkeyPatch, said: str, wanted: str
) -> None:
    monkeypatch.setattr(defs, "DMI_DIR", str(files.top))
    files.put("product_uuid", said)
    assert machine.product_uuid() == wanted


@pytest.mark.parametrize("text", ["a\0b", "\x1b[2J", "a\nb"])
def test_a_field_of_the_firmware_with_a_control_character_counts_as_not_set(
    files: Files, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """What is read of it goes into requests and messages."""
    monkeypatch.setattr(defs, "DMI_DIR", str(files.top))
    files.put("product_uuid", "03AA-1\n")
    assert machine.product_uuid() == "03aa-1"
    files.put("product_uuid", text)
    assert machine.product_uuid() == ""


def test_what_stays_until_the_next_boot_is_read_once(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defs, "DMI_DIR", str(files.top))
    monkeypatch.setattr(machine, "_said", {})
    said = []
    for text in ("a", "b"):
        files.put("product_name", text)
        files.put("cmdline", f"x={text}")
        said.append((machine.dmi("product_name"), machine.kernel_argument("x=")))
        said.append((machine.dmi("sys_vendor"), None))
        files.put("sys_vendor", text)
    assert said == [("a", "a"), ("", None)] * 2


_RENAME = (
    "import os, sys; sys.path.insert(0, sys.argv[1]); "
    "from guestagent.system.machine import set_hostname; "
    "set_hostname('web-7'); print(os.uname().nodename)"
)


@pytest.mark.parametrize("rights", ["-sys_admin", "+all"])
def test_the_host_name_is_set_with_and_without_the_right_to_do_anything(rights: str) -> None:
    """In a namespace of its own; a unit has no more than the first."""
    rig.need_root()
    rig.need_tools("unshare", "setpriv")
    before = os.uname().nodename
    argv = ["unshare", "--uts", "setpriv", f"--bounding-set={rights}", sys.executable, "-IBS"]
    argv += ["-c", _RENAME, str(rig.REPOSITORY)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("web-7\n", "")
    assert os.uname().nodename == before
