"""Waiting for NICs, on an invented /sys and udev database."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from guestagent import defs
from guestagent.system.wait_for_nics import nics_of_last_run, wait_for_nics

MAC = "52:54:00:12:34:56"


@pytest.fixture(autouse=True)
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(defs, "NET_DIR", str(tmp_path / "net"))
    monkeypatch.setattr(defs, "UDEV_DATA_DIR", str(tmp_path / "udev"))
    for name in ("net", "udev"):
        (tmp_path / name).mkdir()
    return tmp_path


def add_nic(system: Path, name: str, index: int = 2, device: bool = True) -> None:
    nic = system / "net" / name
    nic.mkdir()
    (nic / "ifindex").write_text(f"{index}\n")
    (nic / "address").write_text(f"{MAC}\n")
    if device:
        (nic / "device").mkdir()


def name_it(system: Path, index: int = 2) -> None:
    (system / "udev" / f"n{index}").touch()


@pytest.mark.parametrize("wanted", [{MAC}, {"eth0"}, set()])
def test_a_named_nic_is_ready_at_once(system: Path, wanted: set[str]) -> None:
    add_nic(system, "eth0")
    name_it(system)
    before = time.monotonic()
    assert wait_for_nics(wanted, 30)
    assert time.monotonic() - before < 5


@pytest.mark.parametrize("wanted", [{MAC}, {"eth0"}, set()])
def test_a_nic_that_udev_has_not_named_yet_is_waited_for(system: Path, wanted: set[str]) -> None:
    add_nic(system, "eth0")
    threading.Timer(0.1, name_it, [system]).start()
    assert not wait_for_nics(wanted, 0)
    assert wait_for_nics(wanted, 30)


def test_without_sysfs_no_nic_is_ready(system: Path) -> None:
    (system / "net").rmdir()
    assert not wait_for_nics(set(), 0)


def test_all_wanted_nics_are_waited_for(system: Path) -> None:
    add_nic(system, "eth0")
    name_it(system)
    assert not wait_for_nics({MAC, "52:54:00:00:00:01"}, 0.05)


def test_a_nic_of_infiniband_is_ready_by_either_of_its_addresses(system: Path) -> None:
    mac = "80:00:02:08:fe:80:00:00:00:00:00:00:f4:52:14:03:00:7b:cb:a1"
    add_nic(system, "ib0")
    (system / "net/ib0/address").write_text(f"{mac}\n")
    name_it(system)
    assert wait_for_nics({mac.replace("80:00:02:08", "00:00:00:48")}, 0)
    assert wait_for_nics({"f4:52:14:7b:cb:a1"}, 0)
    assert not wait_for_nics({mac.replace("a1", "a2")}, 0)


def test_what_is_no_device_is_no_nic(system: Path) -> None:
    add_nic(system, "lo", 1, device=False)
    name_it(system, 1)
    assert not wait_for_nics((), 0.05)


def test_without_udev_nothing_is_waited_for(system: Path) -> None:
    (system / "udev").rmdir()
    before = time.monotonic()
    assert not wait_for_nics({MAC}, 30)
    assert time.monotonic() - before < 5


def test_nics_of_the_last_run_are_those_whose_address_it_read() -> None:
    watched = ("/etc/hosts", f"{defs.NET_DIR}/", f"{defs.NET_DIR}/lo/device")
    assert nics_of_last_run((*watched, f"{defs.NET_DIR}/eth0/address")) == {"eth0"}
