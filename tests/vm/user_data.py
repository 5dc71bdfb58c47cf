"""User data on a config drive, and what a guest shows of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from .guest import Guest
from .image import GuestImage
from .machine import Drive, Nic
from .qcow2 import make_overlay
from .scenario import Instance, report

EARLY, LATE = "guestagent-early.service", "guestagent-late.service"
SCRIPTS_LOG = "/var/log/guestagent-scripts.log"
# Everywhere a secret could be left, but for the programs themselves.
PLACES = ("/boot", "/etc", "/home", "/root", "/run", "/srv", "/tmp", "/var")
# User data may do anything, and emulation makes it slow.
PATIENCE = 300.0
# Nothing but the host's side of SSH: no name server, no metadata service.
NIC = Nic(restrict=True)


def machine(
    image: GuestImage,
    instance: Instance,
    where: Path,
    drives: Sequence[Drive] = (),
    **hardware: Any,
) -> Guest:
    """A guest with the instance's drive, and others after it; not booted yet."""
    return Guest(
        image,
        drives=[instance.drive(where), *drives],
        nics=[NIC],
        smbios=instance.smbios,
        **hardware,
    )


def larger_disk(image: GuestImage, where: Path) -> Path:
    """The image's disk with a gibibyte more, as instances have it."""
    overlay = where / "root.qcow2"
    make_overlay(overlay, image.disk, image.disk.stat().st_size + (1 << 30))
    return overlay


def multipart(parts: Iterable[tuple[str, str, str]]) -> bytes:
    """A MIME archive of texts, each with its media subtype and file name."""
    message = EmailMessage()
    message["MIME-Version"] = "1.0"
    message.make_mixed()
    for subtype, name, text in parts:
        message.add_attachment(text, subtype=subtype, filename=name)
    return message.as_bytes()


def results(guest: Guest) -> dict[str, int | str]:
    """How each script of the present boot ended: exit statuses by stage and name."""
    return {
        f"{one['stage']}/{one['name']}": one["status"] for one in report(guest).get("scripts", ())
    }


def lines(guest: Guest, path: str) -> list[str]:
    """The lines of a file."""
    return guest.get(path).decode().splitlines()


def failed_units(guest: Guest) -> str:
    """The units that failed in the present boot."""
    return guest.check("systemctl list-units --failed --plain --no-legend")
