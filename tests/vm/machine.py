"""The hardware of a guest, as arguments for QEMU."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .image import GuestImage

Bus = Literal["virtio", "scsi", "cdrom-ide", "cdrom-sata", "cdrom-scsi", "floppy"]

PORT_NAME = "org.guestagent.harness"
HOT_PLUG_SLOTS = 2
# Places on the PCI bus are fixed, so that cards have names (enp0s3, enp0s4, …) and disks
# have letters (vda is the root disk) that do not depend on what else is there.
_NICS, _ROOT, _FIRST_DRIVE = (*range(3, 8), *range(16, 24)), 8, 9
SMBIOS = {
    "manufacturer": "OpenStack Foundation",
    "product": "OpenStack Nova",
    "version": "31.0.0",
    "serial": "6f0c9fd6-0a7b-4c5b-9a55-3c1f5f3f9a01",
    "uuid": "6f0c9fd6-0a7b-4c5b-9a55-3c1f5f3f9a01",
    "family": "Virtual Machine",
}


@dataclass(frozen=True)
class Drive:
    """A disk besides the root disk, or a CD in a CD-ROM drive."""

    path: Path
    bus: Bus = "virtio"
    readonly: bool = True
    serial: str = ""

    @property
    def is_cdrom(self) -> bool:
        return self.bus.startswith("cdrom-")

    def blockdev(self, node: str) -> dict[str, Any]:
        """Describe the drive's content to QEMU."""
        readonly = self.readonly or self.is_cdrom
        file = {"driver": "file", "filename": str(self.path.absolute())}
        if readonly:
            file["locking"] = "off"
        return {"driver": "raw", "node-name": node, "read-only": readonly, "file": file}

    def device(self, node: str, **where: str) -> dict[str, Any]:
        """Describe the drive's hardware to QEMU."""
        drivers = {
            "virtio": "virtio-blk-pci",
            "scsi": "scsi-hd",
            "cdrom-scsi": "scsi-cd",
            "cdrom-ide": "ide-cd",
            "cdrom-sata": "ide-cd",
            "floppy": "floppy",
        }
        device = {"driver": drivers[self.bus], "drive": node, "id": f"dev-{node}"}
        if self.serial:
            device["serial"] = self.serial
        return device | where


@dataclass(frozen=True)
class Nic:
    """A network card on a network of its own, which reaches the host and no further.

    `address` is where `Guest.ssh` finds the guest; DHCP gives the same one. A card with a
    `hub` is instead on one with all the machine's cards that have the same, and nothing else.
    """

    mac: str = "52:54:00:12:34:56"
    address: str = "192.0.2.10"
    network: str = "192.0.2.0/24"
    gateway: str = "192.0.2.2"
    nameserver: str = "192.0.2.3"
    ipv6_prefix: str = "2001:db8:c0de::"
    connected: bool = True
    restrict: bool = False
    hub: int | None = None

    def netdev(self, node: str) -> dict[str, Any]:
        """Describe the network to QEMU; it picks the host port for SSH itself."""
        if self.hub is not None:
            return {"type": "hubport", "id": node, "hubid": self.hub}
        return {
            "type": "user",
            "id": node,
            "net": self.network,
            "host": self.gateway,
            "dns": self.nameserver,
            "dhcpstart": self.address,
            "ipv6-prefix": self.ipv6_prefix,
            "ipv6-host": self.ipv6_prefix + "2",
            "ipv6-dns": self.ipv6_prefix + "3",
            "restrict": self.restrict,
            "hostfwd": [{"str": f"tcp:127.0.0.1:0-{self.address}:22"}],
        }

    def device(self, node: str) -> dict[str, Any]:
        """Describe the card to QEMU."""
        card = {"driver": "virtio-net-pci", "id": f"dev-{node}", "netdev": node, "mac": self.mac}
        # As a real card would say; LACP makes nothing of cards without a speed.
        return card if self.hub is None else card | {"speed": 1000, "duplex": "full"}


def _device(description: Mapping[str, Any]) -> list[str]:
    # Always in JSON: QEMU places devices given the other way first, whatever the order.
    return ["-device", json.dumps(description)]


def _pci(slot: int) -> dict[str, str]:
    return {"addr": f"{slot:x}"}


@dataclass
class Machine:
    """Everything about the hardware that stays the same while QEMU runs."""

    image: GuestImage
    overlay: Path
    run_dir: Path
    drives: Sequence[Drive] = ()
    nics: Sequence[Nic] = ()
    smbios: Mapping[str, str] = field(default_factory=dict)
    cmdline_extra: str = ""
    memory: str = "512M"
    cpus: int = 2
    write_log: Path | None = None
    strings: Sequence[str] = ()  # of SMBIOS type 11

    @property
    def is_old(self) -> bool:
        """Whether it is the machine type that has IDE proper."""
        return any(drive.bus == "cdrom-ide" for drive in self.drives)

    def arguments(self) -> list[str]:
        """Return QEMU's whole command line."""
        return [
            os.environ.get("GUESTAGENT_QEMU", "qemu-system-x86_64"),
            *self._platform(),
            *self._kernel(),
            # First what has its place, then what takes any that is left.
            *self._nic_arguments(),
            *self._root_disk(),
            *self._drive_arguments(),
            *self._control(),
            *self._slots(),
        ]

    def _platform(self) -> list[str]:
        sata = "on" if any(drive.bus == "cdrom-sata" for drive in self.drives) else "off"
        machine = "pc" if self.is_old else f"q35,smm=off,sata={sata}"
        fields = {**SMBIOS, **self.smbios}
        smbios = ",".join(f"{key}={value.replace(',', ',,')}" for key, value in fields.items())
        strings = [text.replace(",", ",,") for text in self.strings]
        return [
            *("-machine", f"{machine},accel=tcg", "-cpu", "qemu64,-svm", "-smp", str(self.cpus)),
            *("-m", self.memory, "-nodefaults", "-no-user-config", "-display", "none"),
            *("-smbios", f"type=1,{smbios}"),
            *[word for text in strings for word in ("-smbios", f"type=11,value={text}")],
        ]

    def _kernel(self) -> list[str]:
        # Colours and status lines would only make the console slow and hard to read.
        cmdline = (
            "root=/dev/vda rw console=ttyS0 quiet systemd.show_status=0 "
            "systemd.log_color=0 panic=-1 lsm=landlock,yama,apparmor "
            # On a busy machine the kernel takes the emulated timer for broken, and stops. What it
            # does against neighbours that look into it costs a tenth of an emulated processor.
            f"no_timer_check mitigations=off {self.cmdline_extra}"
        )
        kernel, initramfs = str(self.image.kernel), str(self.image.initramfs)
        return ["-kernel", kernel, "-initrd", initramfs, "-append", cmdline.strip()]

    def _control(self) -> list[str]:
        run = str(self.run_dir).replace(",", ",,")
        return [
            *("-chardev", f"file,id=console,path={run}/console.log,append=on"),
            *("-serial", "chardev:console"),
            *("-qmp", f"unix:{run}/qmp.sock,server=on,wait=off"),
            *("-chardev", f"socket,id=channel,path={run}/channel.sock,server=on,wait=off"),
            *_device({"driver": "virtio-serial-pci"}),
            *_device({"driver": "virtserialport", "chardev": "channel", "name": PORT_NAME}),
        ]

    def _root_disk(self) -> list[str]:
        # Only this process writes the overlay, and it closes it before it ends.
        root: dict[str, Any] = {
            "driver": "qcow2",
            "file": {"driver": "file", "filename": str(self.overlay.absolute())},
            "cache": {"no-flush": True},
        }
        if self.write_log is not None:
            log = {"driver": "file", "filename": str(self.write_log.absolute())}
            root = {"driver": "blklogwrites", "file": root, "log": log}
        root["node-name"] = "root"
        device = {"driver": "virtio-blk-pci", "drive": "root", "id": "dev-root"} | _pci(_ROOT)
        return ["-blockdev", json.dumps(root), *_device(device)]

    def _drive_arguments(self) -> list[str]:
        arguments: list[str] = []
        if any("scsi" in drive.bus for drive in self.drives):
            arguments += _device({"driver": "virtio-scsi-pci", "id": "scsi"})
        if any(drive.bus == "floppy" for drive in self.drives):
            arguments += _device({"driver": "isa-fdc", "id": "floppies"})
        for number, drive in enumerate(self.drives):
            node = f"drive{number}"
            arguments += ["-blockdev", json.dumps(drive.blockdev(node))]
            where = _pci(_FIRST_DRIVE + number) if drive.bus == "virtio" else {}
            arguments += _device(drive.device(node, **where))
        return arguments

    def _nic_arguments(self) -> list[str]:
        arguments: list[str] = []
        for number, (nic, slot) in enumerate(zip(self.nics, _NICS[: len(self.nics)], strict=True)):
            node = f"net{number}"
            arguments += ["-netdev", json.dumps(nic.netdev(node))]
            arguments += _device(nic.device(node) | _pci(slot))
        return arguments

    def _slots(self) -> list[str]:
        # The old machine's only bus takes devices while it runs as it is.
        arguments = _device({"driver": "virtio-rng-pci"})
        for number in range(0 if self.is_old else HOT_PLUG_SLOTS):
            port = {"driver": "pcie-root-port", "id": f"slot{number}", "chassis": number + 1}
            arguments += _device(port)
        return arguments
