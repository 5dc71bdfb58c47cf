"""What user data name by URLs, fetched in a booted guest by the unit that has no rights.

The server is in the guest, at an address that is no loopback one, and also where nothing may be
fetched from: at 127.0.0.1 and 169.254.169.254.  The image demands signatures, so that what is
included has to be signed, too.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from service import fetched

from guestagent import defs
from guestagent.verbs.sign import sign

from .guest import Guest
from .image import GuestImage
from .scenario import Instance, new_instance, report, settings_argument
from .user_data import PATIENCE, failed_units, machine, multipart, results

pytestmark = pytest.mark.vm

SETTINGS = '[fetch]\nenable = true\n[signatures]\npolicy = "required"\n'
WEB = "/root/web"
URL = f"https://{fetched.HOST}"
# Where each file is fetched from, and why the others are not there.
FETCHED = {"/etc/fetched": f"{URL}/file", "/etc/again": f"{URL}/again"}
REFUSED = {
    "https://169.254.169.254/file": "leads to an address of loopback, of a link",
    "https://metadata.example.org/file": "leads to an address of loopback, of a link",
    f"{URL}/to-metadata": "leads to an address of loopback, of a link",
    "https://loopback.example.org/file": "leads to an address of loopback, of a link",
    f"{URL}/large": "is larger than 1048576 bytes",
    f"{URL}/none": "HTTP status 404",
    f"{URL}:8443/file": "its certificate is not trusted",
}
INCLUDED = b"""\
#cloud-config
write_files: [{path: /etc/included, content: "by an include\\n"}]
runcmd: [echo ran >>/root/included]
"""
CERTIFICATES = ("own.pem", "own.key", "stranger.pem", "stranger.key")


class Fetching(NamedTuple):
    """A guest, its instance, and the private half of the keys that are imported."""

    guest: Guest
    instance: Instance
    imported: Path

    def asked(self) -> list[dict[str, Any]]:
        """Return what the server was asked for, in all boots."""
        lines = self.guest.check(f"cat {WEB}/requests").splitlines()
        return [json.loads(line) for line in lines]


def cloud_config(certificates: Path, documents: dict[str, bytes]) -> str:
    """Return the user data that make the guest its own server, and name what it serves."""
    files: list[dict[str, Any]] = [
        {"path": f"{WEB}/server.py", "content": Path(fetched.__file__).read_text()},
        *(
            {"path": f"{WEB}/{name}", "content": (certificates / name).read_text()}
            for name in CERTIFICATES
        ),
        *(
            {"path": f"{WEB}/documents/{name}", "content": content.decode()}
            for name, content in documents.items()
        ),
        *({"path": path, "source": {"uri": url}} for path, url in FETCHED.items()),
        {"path": "/etc/secret", "source": {"uri": f"{URL}/secret"}, "permissions": "0600"},
        {"path": "/etc/busy", "source": {"uri": f"{URL}/busy"}},
        {"path": "/etc/fallback", "source": {"uri": f"{URL}/none"}, "content": "instead\n"},
        *(
            {"path": f"/etc/refused-{number}", "source": {"uri": url}}
            for number, url in enumerate(REFUSED)
        ),
    ]
    names = [f"{address} {name}" for name, all_ in fetched.NAMES.items() for address in all_]
    start = ["systemd-run", "-q", "--unit=web", "python3", f"{WEB}/server.py", WEB]
    bootcmd: list[str | list[str]] = [
        # Each authority costs the emulated machine a third of a second.
        "echo mozilla/ISRG_Root_X1.crt >/etc/ca-certificates.conf",
        f"grep -q {fetched.HOST} /etc/hosts || printf '%s\\n' '{chr(10).join(names)}' >>/etc/hosts",
        f"ip addr add {fetched.ADDRESS}/32 dev lo; ip addr add 169.254.169.254/32 dev lo",
        start,
    ]
    return "#cloud-config\n" + json.dumps(
        {
            "ca_certs": {"trusted": [(certificates / "ca.pem").read_text()]},
            "users": ["default", {"name": "carol", "ssh_import_id": ["lp:carol"]}],
            "ssh_import_id": ["gh:bob"],
            "write_files": files,
            "bootcmd": bootcmd,
        }
    )


@pytest.fixture(scope="module")
def booted(guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fetching]:
    """A guest after its first boot."""
    where = tmp_path_factory.mktemp("fetching")
    instance = new_instance(where / "keys", password="", files=())
    certificates = where / "certificates"
    certificates.mkdir()
    fetched.make_certificates(certificates)
    imported = where / "imported"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", imported], check=True)
    key = imported.with_suffix(".pub").read_bytes()
    documents = {
        "bob.keys": key,
        "~carol/+sshkeys": key,
        "included": sign(INCLUDED, str(instance.key)),
    }
    content = multipart(
        [
            ("cloud-config", "config", cloud_config(certificates, documents)),
            ("x-include-url", "include", f"#include\n{URL}/included\n{URL}/script\n"),
        ]
    )
    instance = replace(instance, user_data=sign(content, str(instance.key)))
    signers = settings_argument(SETTINGS, signers=f"user-data {instance.public_key}")
    with machine(guest_image, instance, where, cmdline_extra=signers) as guest:
        guest.boot(PATIENCE)
        guest.check("guestagent status --wait 600 || true", timeout=620)
        yield Fetching(guest, instance, imported)


class TestFirstBoot:
    def test_files_have_what_was_fetched(self, booted: Fetching) -> None:
        for path in FETCHED:
            assert booted.guest.get(path) == b"content\n"
        assert booted.guest.get("/etc/secret") == b"hunter2\n"
        assert booted.guest.get("/etc/fallback") == b"instead\n"

    def test_nothing_forbidden_is_fetched_and_each_is_told(self, booted: Fetching) -> None:
        guest = booted.guest
        assert guest.check("ls -d /etc/refused-* || true") == ""
        reasons = [problem["reason"] for problem in report(guest)["problems"]]
        for url, why in REFUSED.items():
            assert any(text.startswith(f"{url}: {why}") for text in reasons), (url, reasons)
        asked = booted.asked()
        assert {request["at"] for request in asked} == {fetched.ADDRESS}
        assert not any(request["taken"] for request in asked)

    def test_imported_keys_let_in(self, booted: Fetching) -> None:
        for user in ("debian", "carol"):
            said = booted.guest.ssh(user, "id -un", key=booted.imported)
            assert said.check().stdout == f"{user}\n"

    def test_only_the_signed_include_is_applied(self, booted: Fetching) -> None:
        guest = booted.guest
        assert guest.get("/etc/included") == b"by an include\n"
        assert guest.get("/root/included") == b"ran\n"
        (problem,) = [p for p in report(guest)["problems"] if p["source"] == f"{URL}/script"]
        assert problem["reason"].startswith("is not signed, as the setting")

    def test_the_report_has_what_was_fetched_with_its_digest(self, booted: Fetching) -> None:
        found = {one["url"]: one for one in report(booted.guest)["fetched"]}
        assert found[f"{URL}/file"]["sha256"] == sha256(b"content\n").hexdigest()
        assert found[f"{URL}/included"]["size"] > len(INCLUDED)
        assert found[f"{URL}/secret"]["sha256"] == ""
        assert "https://github.com/bob.keys" in found
        assert "https://launchpad.net/~carol/+sshkeys" in found
        shown = booted.guest.run("guestagent status").stdout
        assert found[f"{URL}/file"]["sha256"] in shown

    def test_the_unit_without_rights_fetched_it(self, booted: Fetching) -> None:
        guest = booted.guest
        unit = "guestagent-download.service"
        shown = guest.check(f"systemctl show -P Result -P DynamicUser {unit}")
        assert shown.split() == ["success", "yes"]
        said = guest.check(f"journalctl -b -o cat -u {unit}")
        assert "Finished guestagent-download.service" in said
        # It has nothing to complain of, and neither URLs nor contents stay behind.
        assert "Traceback" not in said
        assert "guestagent:" not in said
        assert guest.check("ls -A /run/guestagent | grep download || true") == ""

    def test_what_cannot_be_reached_is_tried_again(self, booted: Fetching) -> None:
        guest = booted.guest
        assert not guest.exists("/etc/busy")
        assert results(guest)["late/25-resumed-fetch"] == defs.EXIT_TRY_AGAIN
        reasons = [problem["reason"] for problem in report(guest)["problems"]]
        waits = (
            f"{URL}/busy: HTTP status 503; it is tried again in some minutes, or at the next boot"
        )
        assert waits in reasons
        assert guest.check("systemctl is-active guestagent-late.timer") == "active\n"

    def test_nothing_else_has_failed(self, booted: Fetching) -> None:
        failed = [line.split()[0] for line in failed_units(booted.guest).splitlines()]
        assert failed == ["guestagent-late.service"]
        assert set(results(booted.guest).values()) == {0, defs.EXIT_TRY_AGAIN}


@pytest.fixture(scope="module")
def tried_again(booted: Fetching) -> list[dict[str, Any]]:
    """What was asked for until the late stage, which the timer stands for, ran once more."""
    guest = booted.guest
    # Not after five minutes, but now.
    guest.check("systemctl stop guestagent-late.timer")
    guest.wait_for("systemctl show -P ActiveState guestagent-late | grep -qv ing", PATIENCE)
    asked = booted.asked()
    guest.check(f"touch {WEB}/ready")
    done = guest.run("systemctl start guestagent-late.service", timeout=PATIENCE)
    assert done.ok, report(guest)
    return asked


class TestTriedAgain:
    def test_only_what_was_left_is_fetched(
        self, booted: Fetching, tried_again: list[dict[str, Any]]
    ) -> None:
        assert booted.guest.get("/etc/busy") == b"content\n"
        assert [one["path"] for one in booted.asked()[len(tried_again) :]] == ["/busy"]

    @pytest.mark.usefixtures("tried_again")
    def test_what_is_mended_is_no_longer_told(self, booted: Fetching) -> None:
        found = report(booted.guest)
        assert not any("/busy" in problem["reason"] for problem in found["problems"])
        assert f"{URL}/busy" in [one["url"] for one in found["fetched"]]
        assert results(booted.guest)["late/25-resumed-fetch"] == 0
        assert failed_units(booted.guest) == ""

    @pytest.mark.usefixtures("tried_again")
    def test_commands_ran_once(self, booted: Fetching) -> None:
        assert booted.guest.get("/root/included") == b"ran\n"


@pytest.fixture(scope="module")
def again(booted: Fetching, tried_again: list[dict[str, Any]]) -> Fetching:
    """The guest in its second boot."""
    booted.guest.reboot(PATIENCE)
    booted.guest.check("guestagent status --wait 600 || true", timeout=620)
    return booted


class TestSecondBoot:
    def test_nothing_is_fetched_again(
        self, again: Fetching, tried_again: list[dict[str, Any]]
    ) -> None:
        assert len(again.asked()) == len(tried_again) + 1
        assert report(again.guest).get("fetched", []) == []
        assert again.guest.get("/root/included") == b"ran\n"

    def test_imported_keys_still_let_in(self, again: Fetching) -> None:
        for user in ("debian", "carol"):
            said = again.guest.ssh(user, "id -un", key=again.imported)
            assert said.check().stdout == f"{user}\n"

    def test_nothing_is_changed_and_nothing_has_failed(self, again: Fetching) -> None:
        found = report(again.guest)
        assert (found["changes"], found["problems"], found["exit_status"]) == ([], [], 0)
        assert failed_units(again.guest) == ""
