"""What hypervisors hand over otherwise than by a drive with a label.

VMware's keys, LXD's socket, and media that only their documents tell.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import lxd_server
import pytest
import rig

from .drives import make_iso, make_tree, make_vfat
from .guest import Guest
from .image import GuestImage, guest_image
from .machine import Drive
from .scenario import NIC, PLAIN_MACHINE, report

pytestmark = pytest.mark.vm

VMWARE = {"manufacturer": "VMware, Inc.", "product": "VMware7,1"}
USER = """#cloud-config
write_files: [{path: /etc/given, content: given}]
runcmd: [touch /run/ran]
"""
# No real one can be here: it prints what the real one prints for a key.
TOOL = """#!/bin/sh
key=${1#info-get }
[ "$#" = 1 ] && [ -e "/usr/share/keys/$key" ] && exec cat "/usr/share/keys/$key"
echo "No value found" >&2
exit 1
"""
AGENT = """
import json, os, pathlib, socket, threading
import lxd_server

answers = json.loads(pathlib.Path("/usr/local/lib/lxd/answers").read_text())
with lxd_server.served(pathlib.Path("/dev/lxd"), answers):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.connect(os.environ["NOTIFY_SOCKET"])
        notify.send(b"READY=1")
    threading.Event().wait()
"""
UNIT = """
[Unit]
DefaultDependencies=no
After=systemd-tmpfiles-setup-dev.service
[Service]
Type=notify
ExecStart=/usr/bin/python3 /usr/local/lib/lxd/agent.py
"""
KEY = "/1.0/config/cloud-init.user-data"
ANSWERS = {
    "/1.0/meta-data": "instance-id: of-lxd\nlocal-hostname: of-lxd\n",
    "/1.0/config": json.dumps([KEY]),
    KEY: USER,
}
FILES = {
    "usr/bin/vmware-rpctool": TOOL,
    "usr/lib/tmpfiles.d/tool.conf": "z /usr/bin/vmware-rpctool 0755 root root -\n",
    "usr/share/keys/guestinfo.metadata": "local-hostname: of-vmware\n",
    "usr/share/keys/guestinfo.userdata": base64.b64encode(USER.encode()).decode(),
    "usr/share/keys/guestinfo.userdata.encoding": "base64\n",
    "usr/local/lib/lxd/agent.py": AGENT,
    "usr/local/lib/lxd/answers": json.dumps(ANSWERS),
    "usr/local/lib/lxd/lxd_server.py": Path(lxd_server.__file__).read_text(),
    "etc/systemd/system/lxd-agent.service": UNIT,
}


@pytest.fixture(scope="module")
def image_with_tools(agent_deb: Path) -> GuestImage:
    """The image with stand-ins for VMware's tool and LXD's agent."""
    return guest_image(agent_deb, files=FILES)


def given(guest: Guest) -> tuple[str, str, str]:
    """Instance id, layout and host name, of a guest that has done all that its user data say."""
    guest.check("guestagent status --wait 300")
    found = report(guest)
    assert found["exit_status"] == 0, found["problems"]
    assert guest.check("cat /etc/given") == "given"
    assert guest.exists("/run/ran")
    return found["instance_id"], found["layout"], guest.check("cat /etc/hostname").strip()


def test_vmware_s_keys_configure_the_guest(image_with_tools: GuestImage) -> None:
    with Guest(image_with_tools, nics=[NIC], smbios=VMWARE) as guest:
        guest.boot()
        uuid = guest.check("cat /sys/class/dmi/id/product_uuid").strip()
        assert given(guest) == (uuid, "vmware", "of-vmware")
        # What any of its users could have the tool say.
        guest.check("echo 'local-hostname: evil' > /usr/share/keys/guestinfo.metadata")
        guest.reboot()
        assert report(guest)["exit_status"] == 6
        assert guest.check("cat /etc/hostname") == "of-vmware\n"
        # Who clears them, as nobody need read them any more, is not told of it at each boot, and no
        # service is asked instead.
        guest.check("rm /usr/share/keys/guestinfo.*")
        guest.put("/etc/guestagent/guestagent.toml.d/a.toml", '[metadata]\nservice = "openstack"\n')
        guest.reboot()
        found = report(guest)
        assert (found["exit_status"], found["source"], found["problems"]) == (0, "", [])
        assert guest.check("systemctl show -p ExecMainPID --value guestagent-fetch") == "0\n"
        assert "guestinfo configured this machine, and" in guest.check("journalctl -b -o cat")
        assert guest.check("cat /etc/hostname") == "of-vmware\n"


def test_lxd_s_agent_has_a_socket_before_it_is_looked_for(image_with_tools: GuestImage) -> None:
    wanted = "systemd.wants=lxd-agent.service"
    with Guest(image_with_tools, nics=[NIC], smbios=PLAIN_MACHINE, cmdline_extra=wanted) as guest:
        guest.boot()
        assert given(guest) == ("of-lxd", "lxd", "of-lxd")


OVF = {"instance-id": "of-ovf", "hostname": "of-ovf", "user-data": USER}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("ovf-env.xml", rig.ovf(OVF), ("of-ovf", "ovf", "of-ovf")),
        ("user-data.txt", f"{USER}hostname: of-vsphere\n", ("", "alt_cloud", "of-vsphere")),
    ],
    ids=["ovf", "alt_cloud"],
)
def test_a_cd_of_vsphere_configures_the_guest(
    guest_image: GuestImage, tmp_path: Path, name: str, text: str, expected: tuple[str, str, str]
) -> None:
    """Its controller and its drive get their drivers while the agent starts."""
    image = make_iso(make_tree(tmp_path / "tree", {name: text}), tmp_path / "cd", "OVF ENV")
    drives = [Drive(image, "cdrom-sata")]
    with Guest(guest_image, drives=drives, nics=[NIC], smbios=VMWARE) as guest:
        guest.boot()
        assert given(guest) == expected


def test_a_floppy_disk_of_rhev_configures_the_guest(agent_deb: Path, tmp_path: Path) -> None:
    """Its driver is loaded for it.  The cloud kernel has none: this is Debian's usual one."""
    image = guest_image(agent_deb, packages=("linux-image-amd64",))
    tree = make_tree(tmp_path / "tree", {"user-data.txt": f"{USER}hostname: of-rhev\n"})
    floppy = make_vfat(tree, tmp_path / "floppy", "DATA", "1440K")
    rhev = {"manufacturer": "Red Hat", "product": "RHEV Hypervisor"}
    with Guest(image, drives=[Drive(floppy, "floppy")], nics=[NIC], smbios=rhev) as guest:
        guest.boot()
        assert given(guest) == ("", "alt_cloud", "of-rhev")
