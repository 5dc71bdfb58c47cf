"""Waiting for NICs, on an invented /sys and udev database."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from guestagent import defs
from guestagent.memory.state import State
from guestagent.system.machine import read_text
from guestagent.system.wait_for_nics import has_only, nics_of_last_run, wait_for_nics
from guestagent.verbs import apply

MAC = "52:54:00:12:34:56"


@pytest.fixture(autouse=True)
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(defs, "NET_DIR", str(tmp_path / "net"))
    monkeypatch.setattr(defs, "UDEV_DATA_DIR", str(tmp_path / "udev"))
    monkeypatch.setattr(defs, "UDEV_CONTROL", str(tmp_path / "control"))
    monkeypatch.setattr(defs, "UDEV_QUEUE", str(tmp_path / "queue"))
    for name in ("net", "udev"):
        (tmp_path / name).mkdir()
    (tmp_path / "control").touch()
    return tmp_path


def add_nic(system: Path, name: str, index: int = 2, device: bool = True) -> None:
    nic = system / "net" / name
    nic.mkdir()
    (nic / "ifindex").write_text(f"{index}\n")
    (nic / "address").write_text(f"{MAC}\n")
    (nic / "addr_assign_type").write_text("0\n")
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


def test_a_nic_that_udev_is_renaming_is_waited_for(system: Path) -> None:
    """Files of ifupdown go by the name."""
    add_nic(system, "eth0")
    entry = system / "udev/n2"
    entry.write_text("I:12345\nE:ID_NET_DRIVER=virtio_net\nE:ID_RENAMING=1\nV:1\n")
    assert not wait_for_nics({MAC}, 0.05)
    (system / "net/eth0").rename(system / "net/enp0s3")
    entry.write_text("I:12345\nE:ID_NET_DRIVER=virtio_net\nV:1\n")
    assert wait_for_nics({MAC}, 0)


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
    (system / "control").unlink()
    before = time.monotonic()
    assert not wait_for_nics({MAC}, 30)
    assert time.monotonic() - before < 5


def test_a_udev_that_has_seen_to_no_device_yet_is_waited_for(system: Path) -> None:
    (system / "udev").rmdir()

    def begin() -> None:
        (system / "udev").mkdir()
        add_nic(system, "eth0")
        name_it(system)

    threading.Timer(0.1, begin).start()
    assert wait_for_nics({MAC}, 30)


def test_while_udev_is_at_work_a_nic_may_come(
    system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (system / "queue").touch()

    def finish() -> None:
        add_nic(system, "eth0")
        name_it(system)
        (system / "queue").unlink()

    threading.Timer(0.1, finish).start()
    assert wait_for_nics({MAC}, 0)
    (system / "queue").touch()
    monkeypatch.setattr(defs, "UDEV_BUSY_WAIT", 0.1)
    assert not wait_for_nics({"52:54:00:00:00:01"}, 0)


def test_nics_of_the_last_run_are_those_whose_address_it_read() -> None:
    watched = ("/etc/hosts", f"{defs.NET_DIR}/", f"{defs.NET_DIR}/lo/device")
    assert nics_of_last_run((*watched, f"{defs.NET_DIR}/eth0/address")) == {"eth0"}


@pytest.mark.parametrize("macs", [(MAC,), (MAC, "52:54:00:00:00:01")])
def test_nics_that_are_known_by_their_macs_are_not_waited_for(
    system: Path, macs: tuple[str, ...]
) -> None:
    """udev has not named it, and another one is not there yet, if it is still attached."""
    add_nic(system, "eth0")
    add_nic(system, "lo", 1, device=False)
    (system / "net/lo/address").write_text("00:00:00:00:00:00\n")
    assert has_only(macs)
    before = time.monotonic()
    watched = (f"{defs.NET_DIR}/ens3/address",)
    assert apply._is_by_mac(State(macs=macs, watched=watched))
    assert time.monotonic() - before < 1


def test_a_nic_of_another_mac_is_a_change(system: Path) -> None:
    add_nic(system, "eth0")
    assert not has_only(("52:54:00:00:00:01",))
    assert not apply._is_by_mac(State(macs=("52:54:00:00:00:01",)))


def test_where_names_matter_udev_is_waited_for(system: Path) -> None:
    add_nic(system, "eth0")
    threading.Timer(0.3, name_it, [system]).start()
    before = time.monotonic()
    assert not apply._is_by_mac(State(watched=(f"{defs.NET_DIR}/eth0/address",)))
    assert time.monotonic() - before >= 0.3


def test_a_nic_that_is_named_while_it_is_looked_at_is_looked_at_again(
    system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_nic(system, "eth0")

    def rename(path: str) -> str:
        if path.endswith("eth0/addr_assign_type"):
            (system / "net/eth0").rename(system / "net/ens3")
        return read_text(path)

    monkeypatch.setattr("guestagent.system.wait_for_nics.read_text", rename)
    monkeypatch.setattr("guestagent.system.libc.permanent_mac", lambda _: "")
    assert has_only((MAC,))


def test_without_sysfs_no_nic_is_another(system: Path) -> None:
    (system / "net").rmdir()
    assert has_only(())
