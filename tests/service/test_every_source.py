"""The same instance through every source: the guest that comes of it is the same."""

from __future__ import annotations

import json
import re
import shutil
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import rig
from lxd_server import ANSWERS, served

from guestagent import defs

from . import documents
from .lab import IPV4, Lab, Machine, Service, documents_and

SETTINGS = "[drive]\nwait = 0\n[network]\nmanage = false\n[ssh]\nhost_keys = false\n"
MARK_AT, MARK = 32769, b"CD001"
NAME, IDENTITY = "web-1.example.org", "0c1a9b2e-6f0d-4d3e-9a57-3f1f5e9b7a10"
USER = """#cloud-config
fqdn: app.example.org
groups: [crew]
users:
- default
- {name: ada, groups: [crew], ssh_authorized_keys: [%(key)s]}
write_files:
- {path: /etc/given, content: given, permissions: "0640"}
- {path: /var/lib/deep/er, content: !!binary AP8=}
timezone: Etc/UTC
ntp: {enabled: false}
runcmd: [[echo, "a b"], echo c >> /etc/later]
bootcmd: [[touch, /etc/booted]]
""" % {"key": documents.KEY}  # noqa: UP031 - there are braces in it
OPENSTACK = {
    "openstack/latest/meta_data.json": json.dumps(
        {"uuid": IDENTITY, "hostname": NAME, "public_keys": {"a": documents.KEY}}
    ),
    "openstack/latest/user_data": USER,
}
EC2 = {
    "ec2/latest/meta-data.json": json.dumps(
        {
            "instance-id": "i-00000042",
            "local-hostname": NAME,
            "public-keys": {"0": {"openssh-key": documents.KEY}},
        }
    ),
    "ec2/latest/user-data": USER,
}
NOCLOUD = {
    "meta-data": f"instance-id: iid-1\nlocal-hostname: {NAME}\npublic-keys: [{documents.KEY}]\n",
    "user-data": USER,
}
VMWARE = f"instance-id: i-1\nlocal-hostname: {NAME}\npublic-keys-data: |\n  {documents.KEY}\n"
OVF = {
    "ovf-env.xml": rig.ovf(
        {
            "instance-id": "i-1",
            "hostname": NAME,
            "public-keys": documents.KEY,
            "user-data": b64encode(USER.encode()).decode(),
        }
    )
}
# Without metadata, the user data have to say it all.
WHOLE = f"{USER}ssh_authorized_keys: [{documents.KEY}]\n"
ALT_CLOUD = {"user-data.txt": WHOLE}
INTERFACES = "auto eth0\niface eth0 inet dhcp\n"
CLOUDSTACK = {
    **OPENSTACK,
    "openstack/latest/network_data.json": "{}",
    "openstack/latest/vendor_data.json": "{}",
    "cloudstack/metadata/local-hostname.txt": NAME,
    "cloudstack/metadata/public-keys.txt": documents.KEY,
    "cloudstack/userdata/user_data.txt": USER,
}
PROXMOX = {
    "openstack/latest/meta_data.json": json.dumps(
        {"uuid": IDENTITY, "network_config": {"content_path": "/content/0000"}}
    ),
    "openstack/latest/user_data": WHOLE,
    "openstack/content/0000": INTERFACES,
}
OVIRT = {
    **OPENSTACK,
    "openstack/latest/meta_data.json": json.dumps(
        {
            "launch_index": "0",
            "name": "web-1",
            "hostname": NAME,
            "uuid": IDENTITY,
            "meta": {"dsmode": "local", "essential": "false"},
            "public_keys": [documents.KEY],
            "network-interfaces": INTERFACES,
            "network_config": {"content_path": "/content/0000", "path": "/etc/network/interfaces"},
        }
    ),
    "openstack/content/0000": INTERFACES,
}
NUTANIX = {
    **OPENSTACK,
    "openstack/latest/meta_data.json": (
        f"uuid: {IDENTITY}\nhostname: {NAME}\npublic_keys: {{a: {documents.KEY}}}\n"
    ),
}
DAMAGED = {**OPENSTACK, **EC2, "openstack/latest/meta_data.json": "{"}


class Guest:
    """A guest that was not configured yet, and a place for its sources."""

    def __init__(self, lab: Lab, top: Path) -> None:
        self.lab, self.top = lab, top
        self.limits: dict[str, Any] = {}  # of the agent's runs
        tree = rig.copy_root(rig.SAMPLES / "nova" / "root", top / "tree")
        self.machine = Machine(lab, tree, SETTINGS)
        lab.space.dmi(product_name="KVM")

    def put(self, tree: dict[str, str], place: Path | None = None) -> Path:
        """Write documents below a directory, which is returned."""
        place = place or self.top / "documents"
        for name, text in tree.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text)
        return place

    def say(self, command_line: str) -> None:
        self.lab.space.put("cmdline", f"quiet {command_line}\n")

    def attach(self, tree: dict[str, str]) -> str:
        """Make a block device with the mark of a CD; what is mounted of it is the folder beside."""
        self.put(tree, self.top / "devices/sr0.d")
        device = self.top / "devices/sr0"
        device.write_bytes(bytes(MARK_AT) + MARK + bytes(4096))
        self.limits["DRIVES"] = {}
        return str(device)

    def serve(self, tree: dict[str, str], **more: object) -> None:
        service = self.lab.serve(self.lab.link())
        service.say({"documents": tree, **more})


def named(tree: dict[str, str], form: str) -> Callable[[Guest], None]:
    """A path on the kernel command line."""

    def make(guest: Guest) -> None:
        image = rig.make_drive(guest.put(tree), form, guest.top)
        guest.say(f"guestagent.source={image}")

    return make


def labelled(label: str, tree: dict[str, str]) -> Callable[[Guest], None]:
    """A drive that udev knows by its label."""

    def make(guest: Guest) -> None:
        device = guest.attach(tree)
        guest.limits["DRIVES"] = {device: {"ID_FS_LABEL": label, "ID_FS_TYPE": "iso9660"}}
        links = guest.top / "by-label"
        links.mkdir()
        (links / label).symlink_to(device)
        guest.limits["BY_LABEL_DIR"] = str(links)

    return make


def without_a_label(tree: dict[str, str]) -> Callable[[Guest], None]:
    """A CD-ROM of vSphere."""

    def make(guest: Guest) -> None:
        device = Path(guest.attach(tree))
        guest.lab.space.dmi(product_name="VMware7,1")
        guest.put({device.name: ""}, guest.top / "block")
        guest.limits["BLOCK_DIR"] = str(guest.top / "block")
        guest.limits["DEVICES_DIR"] = str(device.parent)
        guest.limits["PROGRAM_DIRS"] = ["/usr/sbin", "/usr/bin"]

    return make


def in_directory(place: str) -> Callable[[Guest], None]:
    """A seed in the image."""

    def make(guest: Guest) -> None:
        guest.put(NOCLOUD, guest.machine.path(place))

    return make


def by_credentials(guest: Guest) -> None:
    """As systemd has them of a hypervisor: one document, and values of their own."""
    values = {
        "hostname": NAME,
        "instance-id": "iid-1",
        "ssh-authorized-keys": documents.KEY,
        "user-data": USER,
    }
    tree = {f"guestagent.{name}": text for name, text in values.items()}
    guest.put({**tree, "login.motd": "of others"}, guest.machine.path(defs.CREDENTIAL_DIRS[1]))


def by_nocloud(guest: Guest) -> None:
    guest.say(f"ds=nocloud;s={guest.put(NOCLOUD)}/")


def by_nocloud_with_values(guest: Guest) -> None:
    key = documents.KEY
    tree = {"meta-data": f"instance-id: x\nlocal-hostname: y\npublic-keys: [{key}]\n"}
    place = guest.put({**NOCLOUD, **tree})
    guest.lab.space.dmi(product_serial=f"ds=nocloud;s={place};h={NAME};i=iid-1")


def by_a_url(guest: Guest) -> None:
    guest.serve({f"/seed/{name}": text for name, text in NOCLOUD.items()})
    guest.say(f"ds=nocloud;s=http://{IPV4}/seed/")


def by_openstack_s_service(guest: Guest) -> None:
    guest.lab.space.dmi(product_name="OpenStack Nova", product_uuid=IDENTITY)
    listing = {"/openstack": "latest"}
    guest.serve({**listing, **{f"/{name}": text for name, text in OPENSTACK.items()}})


def by_ec2_s_service(guest: Guest) -> None:
    guest.lab.space.dmi(product_name="KVM", sys_vendor="Amazon EC2")
    tree = documents.ec2(hostname=NAME)
    guest.serve({**tree, "/latest/user-data": USER}, imds={})


def by_lxd(guest: Guest) -> None:
    """The socket of LXD, which answers over HTTP."""
    keys = {"meta-data": NOCLOUD["meta-data"], "config/cloud-init.user-data": USER}
    answers: ANSWERS = {f"/1.0/{name}": text for name, text in keys.items()}
    answers["/1.0/config"] = json.dumps(["/1.0/config/cloud-init.user-data"])
    stack = ExitStack()
    path, _ = stack.enter_context(served(guest.top / "lxd", answers))
    guest.lab.hold(stack)
    guest.limits["LXD_SOCKETS"] = [path]


def by_guestinfo(tree: dict[str, str]) -> Callable[[Guest], None]:
    """VMware's tool, which prints the value of a key."""

    def make(guest: Guest) -> None:
        keys = guest.put(tree)
        tool = guest.top / "vmware-rpctool"
        tool.write_text(f'#!/bin/sh\ncat "{keys}/${{1#info-get guestinfo.}}" 2>/dev/null\n')
        tool.chmod(0o755)
        guest.lab.space.dmi(product_name="VMware7,1")
        guest.limits["PROGRAM_DIRS"] = [str(guest.top), *defs.PROGRAM_DIRS]

    return make


SOURCES: dict[str, Callable[[Guest], None]] = {
    **{
        f"{title}, {form}": named(tree, form)
        for title, tree in {
            "OpenStack": OPENSTACK,
            "EC2": EC2,
            "NoCloud": NOCLOUD,
            "OpenStack damaged": DAMAGED,
            "OVF": OVF,
            "Alt Cloud": ALT_CLOUD,
        }.items()
        for form in ("directory", "iso", "vfat")
    },
    "OpenStack, a drive": labelled("config-2", OPENSTACK),
    "EC2, a drive": labelled("config-2", EC2),
    "CloudStack, a drive": labelled("config-2", CLOUDSTACK),
    "Proxmox, a drive": labelled("config-2", PROXMOX),
    "oVirt, a drive": labelled("config-2", OVIRT),
    "Nutanix, a drive": labelled("config-2", NUTANIX),
    "NoCloud, a drive": labelled("CIDATA", NOCLOUD),
    "OVF, a CD-ROM": without_a_label(OVF),
    "Alt Cloud, a CD-ROM": without_a_label(ALT_CLOUD),
    **{place: in_directory(place) for place in defs.SEED_DIRS},
    "system credentials": by_credentials,
    "ds=nocloud": by_nocloud,
    "ds=nocloud with values, in the serial number": by_nocloud_with_values,
    "a seed at a URL": by_a_url,
    "LXD's socket": by_lxd,
    "VMware's guestinfo": by_guestinfo({"metadata": VMWARE, "userdata": USER}),
    "OVF, by VMware's guestinfo": by_guestinfo({"ovfEnv": OVF["ovf-env.xml"]}),
    "OpenStack's service": by_openstack_s_service,
    "EC2's service": by_ec2_s_service,
}


# Sources by which kinds the machine remembers that it was configured; one of each kind, and those
# that are named.
KINDS = {
    "system credentials": "credentials",
    "OpenStack, a drive": "drive",
    "LXD's socket": "lxd",
    defs.SEED_DIRS[0]: "seed",
    "ds=nocloud": "seed",
    "ds=nocloud with values, in the serial number": "seed",
    "NoCloud, directory": "seed",
    "VMware's guestinfo": "guestinfo",
    "OVF, a CD-ROM": "media",
}
COPY = IDENTITY.replace("0c1a", "0c1b")


def take_away(guest: Guest) -> Service:
    """Take all sources away, and begin a metadata service, whose cloud is named."""
    places = (*defs.SEED_DIRS, defs.CREDENTIAL_DIRS[1])
    for place in (guest.top / "documents", *map(guest.machine.path, places)):
        shutil.rmtree(place, ignore_errors=True)
    none = str(guest.top / "none")
    guest.limits |= {"DRIVES": {}, "BY_LABEL_DIR": none, "BLOCK_DIR": none, "LXD_SOCKETS": []}
    guest.lab.space.dmi(product_serial="none")
    guest.say(f"{defs.CLOUD_ARGUMENT}openstack")
    service = guest.lab.serve(guest.lab.link())
    for_copy = json.dumps(documents.meta_data(COPY, "copy.example.org"))
    service.say({"documents": documents_and({documents.META: for_copy})})
    return service


# What a boot without any source looks at to find one, and how often.
LOOKS = {
    "/proc/cmdline": 1,
    "/run/systemd/container": 1,
    "/proc/1/environ": 1,
    "/sys/hypervisor/uuid": 1,
    "/sys/class/dmi/id/product_name": 1,
    "/sys/class/dmi/id/chassis_asset_tag": 1,
    "/sys/class/dmi/id/product_serial": 1,
    "/sys/class/dmi/id/product_uuid": 1,
    "/sys/class/dmi/id/sys_vendor": 1,
    "/run/guestagent/credentials": 1,
    "/run/credentials/@system": 1,
    "/dev/disk/by-label": 1,
    "/run/udev/control": 1,
    "/dev/lxd/sock": 1,
    "/dev/incus/sock": 1,
    "/etc/sysconfig/cloud-info": 1,
    **{f"{place}/meta-data": 1 for place in defs.SEED_DIRS},
}


# Each layout has a name of its own for the document.
NAMES = (
    *(b"cloud-init.user-data", b"user-data.txt", b"user-data", b"guestinfo.userdata"),
    *(b"ovf-env.xml", b"guestagent.user_data"),
)


def with_one_name(script: bytes) -> bytes:
    for name in NAMES:
        script = script.replace(name, b"user_data")
    return script


def configured(guest: Guest) -> tuple[dict[str, rig.Entry], dict[str, bytes]]:
    """Boot; return the guest's files, and the scripts that wait, by their names."""
    runs = guest.machine.boot(**guest.limits)
    assert all(run.status == 0 or "meta_data.json" in run.err for run in runs), runs[-1].err
    scripts = {
        str(path.relative_to(guest.machine.tree)): with_one_name(path.read_bytes())
        for stage in ("early", "late")
        for path in guest.machine.path(f"{defs.STATE_DIR}/{stage}").rglob("*")
        if path.is_file()
    }
    files = rig.snapshot_of_others(guest.machine.tree)
    # What is there of a source is the test's, and not the run's.
    made = {name: entry for name, entry in files.items() if not name.startswith("/run/credentials")}
    return made, scripts


@pytest.mark.parametrize("title", SOURCES)
def test_the_guest_is_the_same(title: str, lab: Lab, tmp_path: Path) -> None:
    rig.need_tools("useradd", "groupadd")
    (tmp_path / "other").mkdir()
    other = Lab(tmp_path / "other")
    try:
        first = Guest(other, tmp_path / "first")
        SOURCES["OpenStack, directory"](first)
        wanted, scripts = configured(first)
    finally:
        other.close()
    guest = Guest(lab, tmp_path / "second")
    SOURCES[title](guest)
    found, staged = configured(guest)
    assert rig.differences(wanted, found) == set()
    assert staged == scripts
    assert any(name.endswith("/etc/given") or name == "etc/given" for name in found)
    assert len(scripts) >= 2


@pytest.mark.parametrize("title", KINDS)
def test_C1_no_service_takes_the_place_of_a_source_that_is_gone(
    title: str, lab: Lab, tmp_path: Path
) -> None:
    """A cleared guestinfo, a removed seed and the like are no errors, and no way in."""
    rig.need_tools("useradd", "groupadd")
    guest = Guest(lab, tmp_path)
    lab.space.dmi(product_uuid=IDENTITY)
    SOURCES[title](guest)
    files, _ = configured(guest)
    state = json.loads(guest.machine.path(defs.STATE_FILE).read_text())
    assert state["source"] == KINDS[title]
    service = take_away(guest)
    is_unusual = KINDS[title] in ("credentials", "drive")
    for _ in range(2):
        (run,) = guest.machine.boot(**guest.limits)
        assert (run.status, "configured this machine, and" in run.err) == (0, True)
        severities = [problem["severity"] for problem in guest.machine.report()["problems"]]
        assert severities == ["warning"] * is_unusual
        lab.guest.agent("refresh", "--confined", "--poll", limits=guest.limits)
        assert not guest.machine.path(defs.REQUEST_FILE).exists()
    now = rig.snapshot_of_others(guest.machine.tree)
    kept = {name: entry for name, entry in files.items() if not name.startswith(defs.SEED_DIRS)}
    assert {name for name in rig.differences(files, now) if name in kept} == set()
    assert service.log() == []
    # A copy of the disk is another instance's machine.
    lab.space.dmi(product_uuid=COPY)
    assert [run.status for run in guest.machine.boot(**guest.limits)] == [0, 0, 0]
    assert guest.machine.report()["instance_id"] == COPY
    assert guest.machine.path(defs.HOSTNAME_FILE).read_text() == "copy\n"


def test_a_boot_without_any_source_looks_at_few_names(lab: Lab, tmp_path: Path) -> None:
    """On most machines with an image that has the agent, this is each boot's price."""
    rig.need_tools("strace")
    Guest(lab, tmp_path)
    trace = tmp_path / "trace"
    wrapped = ("strace", "-f", "-qq", "-e", "trace=%file", "-o", str(trace))
    run = lab.guest.agent("apply", "--boot", wrapped=wrapped)
    assert (run.status, "no source: 0 changes, 0 errors" in run.err) == (0, True)
    looks = Counter(re.findall(r'"(/[^"]+)"', trace.read_text()))
    places = (
        "/proc/1/",
        "/proc/cmdline",
        "/sys/",
        "/dev/",
        "/run/",
        "/var/lib/",
        "/etc/sysconfig/",
    )
    # Where a report is written, for cloud-init's tools too, and labels of files.
    others = (
        "/run/guestagent/cloud",
        "/run/cloud-init/",
        "/var/lib/cloud/data",
        "/sys/fs/selinux/",
    )
    folders = ("/run/guestagent", "/var/lib/cloud")
    found = {name: n for name, n in looks.items() if name.startswith(places)}
    found = {name: n for name, n in found.items() if not name.startswith(others)}
    assert {name: n for name, n in found.items() if name not in folders} == LOOKS
    sources = "guestagent.sources."
    loaded = {name.removeprefix(sources) for name in run.loaded if name.startswith(sources)}
    assert loaded == {"cloud", "find", "seed"}
