"""An image that demands signatures: in the boot's sandbox ssh-keygen says whose user data count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from guestagent.verbs.sign import sign

from .guest import Guest
from .image import GuestImage
from .scenario import NIC, Instance, new_instance, report, settings_argument

pytestmark = pytest.mark.vm

POLICY = '[signatures]\npolicy = "required"\n'
USER_DATA = """\
#cloud-config
write_files: [{path: /etc/given, content: WHO}]
runcmd: [touch /run/ran-WHO]
"""


def user_data(who: str) -> bytes:
    return USER_DATA.replace("WHO", who).encode()


@pytest.fixture(scope="module")
def booted(
    guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Guest, Instance]]:
    """A guest after its first boot with signed user data; the key signs for its instances."""
    where = tmp_path_factory.mktemp("signed")
    instance = new_instance(where / "keys")
    signed = replace(instance, user_data=sign(user_data("signed"), str(instance.key)))
    signers = settings_argument(POLICY, signers=f"user-data {instance.public_key}")
    drives = [signed.drive(where)]
    with Guest(guest_image, drives, [NIC], instance.smbios, signers) as guest:
        guest.boot()
        yield guest, instance


def test_E13_a_boot_uses_what_is_signed(booted: tuple[Guest, Instance]) -> None:
    guest, _ = booted
    guest.check("guestagent status --wait 300; test -e /run/ran-signed")
    assert guest.get("/etc/given") == b"signed"
    found = report(guest)
    # Injected files cannot be signed.
    reasons = {problem["reason"].partition(":")[0] for problem in found["problems"]}
    assert reasons == {"is not written"}
    (signature,) = found["signatures"]
    assert "user_data: ED25519 key SHA256:" in signature


def test_E13_a_boot_uses_nothing_unsigned(
    booted: tuple[Guest, Instance], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A new instance of the same disk: whoever starts it has no key that the image knows."""
    guest, _ = booted
    where = tmp_path_factory.mktemp("unsigned")
    other = new_instance(where / "keys", files=(), user_data=user_data("unsigned"))
    guest.power_off()
    guest.machine.drives, guest.machine.smbios = (other.drive(where),), other.smbios
    guest.boot()
    guest.check("guestagent status --wait 300; ! test -e /run/ran-unsigned")
    found = report(guest)
    assert found["instance_id"] == other.uuid
    assert not guest.exists("/etc/given")  # what the instance before had written is removed
    reasons = [problem["reason"] for problem in found["problems"]]
    assert any(reason.startswith("is not signed, as the setting") for reason in reasons)
