"""Seeds of NoCloud that root has put or named: directories, kernel command line, serial number."""

from __future__ import annotations

from pathlib import Path

import pytest
import rig

from guestagent import defs

from .lab import IPV4, Lab, Machine, Run

SETTINGS = "[drive]\nwait = 0\n[network]\nmanage = false\n[ssh]\nhost_keys = false\n"
USER = "#cloud-config\nwrite_files: [{path: /etc/given, content: given}]\n"


class Guest:
    """A machine of no cloud, with seeds."""

    def __init__(self, lab: Lab, tree: Path) -> None:
        lab.space.dmi(product_name="KVM", product_serial="none")
        (tree / "etc/hostname").write_text("image\n")
        self.lab, self.machine = lab, Machine(lab, tree, SETTINGS)

    def seed(self, place: str, name: str, identity: str = "iid-1") -> None:
        """Put a seed into a directory of the guest."""
        folder = self.machine.path(place)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "meta-data").write_text(f"instance-id: {identity}\nlocal-hostname: {name}\n")
        (folder / "user-data").write_text(USER)

    def boot(self, command_line: str = "") -> Run:
        self.lab.space.put("cmdline", f"quiet {command_line}\n")
        return self.machine.boot()[0]

    def boots(self, command_line: str) -> list[int]:
        """Exit statuses of all that runs at a boot."""
        self.lab.space.put("cmdline", f"quiet {command_line}\n")
        return [run.status for run in self.machine.boot()]

    def name(self) -> str:
        return self.machine.path(defs.HOSTNAME_FILE).read_text().strip()

    def has_user_data(self) -> bool:
        return self.machine.path("/etc/given").exists()


@pytest.fixture
def guest(lab: Lab, tmp_path: Path) -> Guest:
    return Guest(lab, rig.copy_root(rig.SAMPLES / "nova" / "root", tmp_path / "tree"))


@pytest.mark.parametrize("place", defs.SEED_DIRS)
def test_a_directory_is_read_at_each_boot(guest: Guest, place: str) -> None:
    guest.seed(place, "seeded")
    for _ in range(2):
        assert guest.boot().status == 0
        assert (guest.name(), guest.has_user_data()) == ("seeded", True)
    report = guest.machine.report()
    assert (report["source"], report["layout"], report["unchanged"]) == (place, "nocloud", True)
    guest.seed(place, "renamed")
    assert guest.boot().status == 0
    assert guest.name() == "renamed"


def test_the_first_directory_is_read(guest: Guest) -> None:
    for number, place in enumerate(defs.SEED_DIRS):
        guest.seed(place, f"seed-{number}")
    assert guest.boot().status == 0
    assert guest.name() == "seed-0"


@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_the_command_line_names_a_directory(guest: Guest, scheme: str, quote: str) -> None:
    guest.seed("/var/lib/elsewhere", "named")
    guest.seed(defs.SEED_DIRS[0], "not-this")
    assert guest.boot(f"ds={quote}nocloud;s={scheme}/var/lib/elsewhere/{quote}").status == 0
    assert (guest.name(), guest.has_user_data()) == ("named", True)


@pytest.mark.parametrize("where", ["command line", "serial number"])
def test_values_go_before_those_of_the_seed(guest: Guest, where: str) -> None:
    guest.seed(defs.SEED_DIRS[0], "of-the-seed")
    said = "ds=nocloud-net;h=given.example.org;i=iid-given"
    if where == "serial number":
        guest.lab.space.dmi(product_serial=said)
        said = ""
    assert guest.boot(said).status == 0
    assert (guest.name(), guest.has_user_data()) == ("given", True)
    assert guest.machine.report()["instance_id"] == "iid-given"


def test_who_names_the_kind_seed_means_what_the_kernel_is_told_of_one(guest: Guest) -> None:
    guest.seed(defs.SEED_DIRS[0], "of-the-seed")
    guest.seed("/var/lib/elsewhere", "named")
    assert guest.boot("guestagent.source=seed ds=nocloud;h=given").status == 0
    assert (guest.name(), guest.machine.report()["source"]) == ("given", defs.SEED_DIRS[0])
    assert guest.boot("guestagent.source=seed ds=nocloud;s=/var/lib/elsewhere").status == 0
    assert (guest.name(), guest.machine.report()["source"]) == ("named", "/var/lib/elsewhere")


def test_what_the_kernel_is_told_of_a_seed_counts_for_no_other_source_that_is_named(
    guest: Guest,
) -> None:
    guest.seed("/var/lib/elsewhere", "named")
    guest.lab.serve(guest.lab.link())
    seed = "ds=nocloud;h=given;x=y"
    for named in ("/var/lib/elsewhere", "service guestagent.cloud=openstack", f"http://{IPV4}"):
        guest.machine.path(defs.STATE_FILE).unlink(missing_ok=True)
        assert set(guest.boots(f"guestagent.source={named} {seed}")) == {0}
        assert guest.name() != "given"
        assert guest.machine.report()["problems"] == []


def test_values_alone_are_a_source(guest: Guest) -> None:
    assert guest.boot("ds=nocloud;h=given;i=iid-given").status == 0
    assert guest.name() == "given"
    assert guest.machine.report()["source"] == "seed on the kernel command line"


def test_A1_another_id_changes_nothing_of_the_machine_that_was_configured(guest: Guest) -> None:
    uuid = "0c1a9b2e-6f0d-4d3e-9a57-3f1f5e9b7a10"
    guest.lab.space.dmi(product_uuid=uuid)
    guest.seed(defs.SEED_DIRS[0], "seeded")
    assert guest.boot().status == 0
    guest.seed(defs.SEED_DIRS[0], "other", identity="iid-2")
    assert guest.boot().status == defs.EXIT_WRONG_SOURCE
    assert guest.name() == "seeded"
    guest.lab.space.dmi(product_uuid=uuid.replace("0c1a", "1c1a"))  # a copy of the disk
    assert guest.boot().status == 0
    assert guest.name() == "other"


def test_C1_nobody_is_asked_where_there_is_a_seed_or_one_is_told(guest: Guest) -> None:
    guest.lab.space.dmi(product_name="OpenStack Nova")
    run = guest.boot("ds=nocloud")
    assert run.status == defs.EXIT_ERRORS
    assert "the kernel command line says ds=nocloud, and there is no drive" in run.err
    guest.seed(defs.SEED_DIRS[0], "seeded")
    assert guest.boot().status == 0
    assert guest.name() == "seeded"
    assert not guest.machine.path(defs.REQUEST_FILE).exists()


def test_C1_a_container_takes_nothing_that_its_host_is_told(guest: Guest) -> None:
    """But what its first process is, as systemd does."""
    lab = guest.lab
    folder = guest.machine.path("/run/systemd")
    folder.mkdir()
    (folder / "container").write_text("lxc\n")
    lab.space.put("first", "")
    lab.space.sh(f"mount --bind {lab.space.top}/first /proc/1/cmdline")
    lab.space.dmi(product_serial="ds=nocloud;h=serial-of-the-host")
    run = guest.boot("ds=nocloud;h=of-the-host")
    assert (run.status, guest.name()) == (0, "image")
    assert "no source" in run.err
    words = r"/sbin/init\0ds=nocloud;h=mine;i=iid-1\0"
    lab.space.sh(f"printf '{words}' > {lab.space.top}/first")
    assert guest.boot("guestagent.source=none").status == 0
    assert guest.name() == "mine"


@pytest.mark.parametrize(
    ("said", "status", "words"),
    [
        ("s=relative/path", defs.EXIT_USAGE, "s names neither a path nor an http:// URL"),
        ("s=/nowhere", defs.EXIT_USAGE, "source /nowhere: No such file"),
        ("h=$(reboot);i=iid-1", 1, "ds=nocloud: local-hostname: "),
        ("h=given;i=../../etc", 1, "ds=nocloud: instance-id: "),
        ("h=given", 1, "ds=nocloud"),
        ("i=iid-1;h=given;x=y", 0, "has keys that are ignored; known are s, seedfrom"),
    ],
)
def test_what_cannot_be_used_is_named(guest: Guest, said: str, status: int, words: str) -> None:
    run = guest.boot(f"ds=nocloud;{said}")
    assert run.status == status
    assert words in run.err
    assert guest.name() in ("image", "given", "reboot")


SEED = {
    "/seeds/a/meta-data": "instance-id: iid-1\nlocal-hostname: served\n",
    "/seeds/a/user-data": USER,
}
URL = f"http://{IPV4}/seeds/a/"


@pytest.mark.parametrize("where", ["command line", "serial number"])
@pytest.mark.parametrize("values", ["", ";h=given;i=iid-given"])
def test_a_seed_at_a_url_is_fetched(guest: Guest, where: str, values: str) -> None:
    service = guest.lab.serve(guest.lab.link(), {"documents": SEED})
    said = f"ds=nocloud;s={URL}{values}"
    if where == "serial number":
        guest.lab.space.dmi(product_serial=said)
        said = ""
    assert guest.boots(said) == [0, 0, 0]
    assert guest.name() == ("given" if values else "served")
    assert guest.has_user_data()
    report = guest.machine.report()
    assert (report["layout"], report["instance_id"]) == (
        "nocloud",
        "iid-given" if values else "iid-1",
    )
    names = ("meta-data", "user-data", "vendor-data", "network-config")
    assert [line["path"] for line in service.log()] == [f"/seeds/a/{name}" for name in names]
    assert not guest.machine.path(defs.ANSWER_FILE).exists()


def test_C1_a_later_boot_changes_access_alone_by_a_url(guest: Guest) -> None:
    service = guest.lab.serve(guest.lab.link(), {"documents": SEED})
    assert guest.boots(f"ds=nocloud;s={URL}") == [0, 0, 0]
    other = {"meta-data": "instance-id: iid-1\nlocal-hostname: renamed\n"}
    user = USER.replace("/etc/given", "/etc/other")
    service.say(
        {"documents": {f"/seeds/a/{k}": v for k, v in {**other, "user-data": user}.items()}}
    )
    assert guest.boots(f"ds=nocloud;s={URL}") == [0, 0, 0]
    assert guest.name() == "renamed"
    assert not guest.machine.path("/etc/other").exists()


def test_C1_another_id_of_a_url_changes_nothing(guest: Guest) -> None:
    guest.lab.space.dmi(product_uuid="0c1a9b2e-6f0d-4d3e-9a57-3f1f5e9b7a10")
    service = guest.lab.serve(guest.lab.link(), {"documents": SEED})
    assert guest.boots(f"ds=nocloud;s={URL}") == [0, 0, 0]
    other = {"/seeds/a/meta-data": "instance-id: iid-2\nlocal-hostname: other\n"}
    service.say({"documents": other})
    assert guest.boots(f"ds=nocloud;s={URL}") == [0, 0, defs.EXIT_WRONG_SOURCE]
    assert guest.name() == "served"


@pytest.mark.parametrize(
    ("documents", "statuses", "name"),
    [
        ({}, [0, 0, 75], "image"),
        ({"/seeds/a/meta-data": "<html>no such page</html>"}, [0, 0, 75], "image"),
        ({"/seeds/a/meta-data": "instance-id: [\n"}, [0, 0, 1], "image"),
        ({**SEED, "/seeds/a/network-config": "version: 7"}, [0, 0, 1], "served"),
    ],
)
def test_an_odd_seed_at_a_url_costs_no_more_than_itself(
    guest: Guest, documents: dict[str, str], statuses: list[int], name: str
) -> None:
    settings = SETTINGS + "[metadata]\nwait = 2\n"
    guest.machine.path(defs.SETTINGS_FILE).write_text(settings)
    guest.lab.serve(guest.lab.link(), {"documents": documents})
    assert guest.boots(f"ds=nocloud;s={URL}") == statuses
    assert guest.name() == name


@pytest.mark.parametrize("url", ["https://192.0.2.1/", "ftp://192.0.2.1/", f"http://x@{IPV4}/"])
def test_a_url_of_another_form_is_an_error(guest: Guest, url: str) -> None:
    assert guest.boots(f"ds=nocloud;s={url}")[-1] == defs.EXIT_SOURCE_BROKEN
    assert "must be http://" in guest.machine.report()["problems"][0]["reason"]
    assert guest.name() == "image"
