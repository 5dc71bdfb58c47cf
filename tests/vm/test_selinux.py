"""A guest whose kernel enforces Debian's SELinux policy: what is written has its label (bar D9)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from .guest import Guest
from .image import guest_image
from .scenario import NIC, SETTINGS, Instance, new_instance, report

pytestmark = pytest.mark.vm

PACKAGES = ("selinux-policy-default", "policycoreutils", "selinux-utils")
# The policy keeps systemd-tmpfiles from the credential that has the settings in other guests.
FILES = {
    "etc/selinux/config": "SELINUX=enforcing\nSELINUXTYPE=default\n",
    "etc/guestagent/guestagent.toml.d/10-test.toml": SETTINGS,
}
# Of two words "lsm=" the last one counts. Else the kernel would drop some lines about denials.
KERNEL = "lsm=landlock,yama,selinux enforcing=1 sysctl.kernel.printk_ratelimit=0"
USER_DATA = """\
#cloud-config
users:
  - default
  - {name: ada, shell: /bin/bash, sudo: "ALL=(ALL) NOPASSWD:ALL", ssh_authorized_keys: [KEY]}
  - {name: eve, shell: /bin/bash, homedir: /srv/eve, ssh_authorized_keys: [KEY]}
write_files:
  - {path: /etc/app/app.conf, content: plain}
  - {path: /etc/security/limits.conf, content: "# more\\n", append: true}
  - {path: /root/.config/app.conf, content: plain}
  - {path: /usr/local/bin/tool, content: "#!/bin/sh\\n", permissions: "0755"}
  - {path: /home/ada/.config/app.conf, content: plain, owner: "ada:ada", defer: true}
runcmd:
  - id -Z > /var/lib/domain
"""
PLACES = "/etc /home /root /srv /usr/local /var/lib/guestagent /var/log/guestagent-scripts.log"
# Denials of Debian's own services, and of programs that print into the harness's files. useradd
# may make homes in /home alone; guestagent makes the other one itself.
OTHERS = re.compile(
    r'comm="systemd-|tcontext=system_u:object_r:initrc_tmp_t|comm="useradd" name="srv" '
)


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Instance:
    made = new_instance(tmp_path_factory.mktemp("keys"))
    text = USER_DATA.replace("KEY", made.public_key.strip())
    return replace(made, user_data=text.encode())


@pytest.fixture(scope="module")
def guest(
    agent_deb: Path, instance: Instance, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guest]:
    """The guest after its first boot with a drive."""
    image = guest_image(agent_deb, packages=PACKAGES, files=FILES)
    drives = [instance.drive(tmp_path_factory.mktemp("drive"))]
    with Guest(image, drives, [NIC], smbios=instance.smbios, cmdline_extra=KERNEL) as made:
        yield made.boot(timeout=180.0)


def wrong_labels(guest: Guest) -> list[str]:
    """What restorecon would correct; it may print into a pipe, but not into the harness's files."""
    guest.check("touch /etc/canary && chcon -t tmp_t /etc/canary")
    found = guest.check(f"restorecon -nRv {PLACES} | cat").splitlines()
    others = [line for line in found if "/etc/canary" not in line]
    assert len(found) == len(others) + 1, "restorecon sees nothing"
    return others


def denials(guest: Guest) -> list[str]:
    found = [line for line in guest.check("dmesg | cat").splitlines() if "avc:  denied" in line]
    assert found, "the kernel recorded nothing"
    return [line for line in found if not OTHERS.search(line)]


def test_D9_with_selinux_enforced_all_is_applied(guest: Guest) -> None:
    assert guest.check("cat /sys/fs/selinux/enforce") == "1"
    guest.wait_for("test -s /etc/ssh/ssh_host_rsa_key -a -s /var/lib/domain", timeout=120.0)
    found = report(guest)
    (warning,) = found["problems"]
    assert warning["severity"] == "warning"
    assert "domain system_u:system_r:sshd_t:s0 read a file with the label" in warning["reason"]
    assert warning["reason"].startswith("/srv/eve/.ssh/authorized_keys: ")
    assert found["exit_status"] == 0
    assert guest.get("/proc/sys/kernel/hostname") == b"web-1\n"
    # The domain of services that the policy does not know: docs/guestagent.8 says so.
    assert guest.check("cat /var/lib/domain").strip() == "system_u:system_r:initrc_t:s0"
    units = "guestagent-local guestagent-early guestagent-late guestagent-host-keys ssh"
    results = guest.check(f"systemctl show -p Result {units} | cat").split()
    assert results == ["Result=success"] * 5


def test_D9_what_is_written_has_the_label_that_the_policy_wants(guest: Guest) -> None:
    guest.wait_for("test -e /home/ada/.config/app.conf", timeout=120.0)
    assert wrong_labels(guest) == []
    labels = guest.check("ls -Z /home/ada/.ssh/authorized_keys /etc/ssh/ssh_host_*_key")
    types = [line.split(":")[2] for line in labels.splitlines()]
    assert sorted(types) == ["ssh_home_t", *["sshd_key_t"] * 3]


def test_D9_the_key_lets_in(guest: Guest, instance: Instance) -> None:
    for user in ("debian", "ada"):
        found = guest.ssh(user, "id -Z; sudo -n id -u", key=instance.key).check().stdout
        assert found.split() == ["unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023", "0"]


def test_D9_a_home_that_guestagent_makes_itself_has_its_labels(
    guest: Guest, instance: Instance
) -> None:
    guest.check("rm -r /home/ada && guestagent apply", timeout=120.0)
    assert wrong_labels(guest) == []
    guest.ssh("ada", key=instance.key).check()


def test_D9_nothing_is_denied(guest: Guest) -> None:
    assert denials(guest) == []


def test_D9_what_a_warning_says_of_selinux_is_true(guest: Guest, instance: Instance) -> None:
    assert guest.ssh("eve", key=instance.key).status == 255
    assert [line for line in denials(guest) if 'comm="sshd' in line]
    label = guest.check("chcon -R -t ssh_home_t /srv/eve/.ssh && ls -Z /srv/eve/.ssh")
    assert "ssh_home_t" in label
    guest.ssh("eve", key=instance.key).check()
