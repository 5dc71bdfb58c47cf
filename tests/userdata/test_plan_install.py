"""Packages: the script that updates, upgrades and installs, with a stand-in for the tool."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import rig

from guestagent.model import Facts
from userdata.planning import (
    FACTS,
    apply_twice,
    clean_plan,
    dry_run,
    files,
    make_drive,
    places,
    plan_of,
    steps,
)

APT = FACTS._replace(programs=frozenset({"apt-get"}))
DNF = FACTS._replace(os_id="fedora", programs=frozenset({"dnf"}))
STEP = "late/10-instance-packages"


def script(text: str, facts: Facts = APT) -> str:
    return steps(clean_plan(text, facts=facts))[STEP].content.decode()


class Tools:
    """Stand-ins for programs, and what they were called with."""

    def __init__(self, folder: Path, bad: str = "-") -> None:
        self.calls_file = folder / "calls"
        self.folder = folder / "tools"
        self.folder.mkdir()
        for name in ("apt-get", "dnf", "systemctl", "sleep"):
            text = f'#!/bin/sh\necho "{name} $DEBIAN_FRONTEND $*" >>{self.calls_file}\n'
            text += f'for word; do [ "$word" != "{bad}" ] || exit 100; done\n'
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o755)

    def run(self, text: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.folder}:/usr/bin:/bin"
        argv = ["sh", "-c", text]
        return subprocess.run(argv, capture_output=True, text=True, env={"PATH": path})

    def calls(self, name: str) -> list[str]:
        lines = self.calls_file.read_text().splitlines()
        return [line for line in lines if line.startswith(f"{name} ")]


OPTIONS = (
    "apt-get noninteractive --quiet --assume-yes --option=DPkg::Lock::Timeout=300 "
    "--option=Dpkg::Options::=--force-confold"
)


def test_apt_updates_upgrades_and_installs_all_at_once(tmp_path: Path) -> None:
    tools = Tools(tmp_path)
    text = "package_upgrade: true\npackages: [curl, [nginx, '1.22.1-9'], 'libc6:i386']"
    assert tools.run(script(text)).returncode == 0
    assert tools.calls("apt-get") == [
        f"{OPTIONS} update",
        f"{OPTIONS} dist-upgrade",
        f"{OPTIONS} install curl nginx=1.22.1-9 libc6:i386",
    ]


def test_a_package_that_cannot_be_installed_keeps_no_other_from_it(tmp_path: Path) -> None:
    tools = Tools(tmp_path, bad="nosuch")
    done = tools.run(script("packages: [curl, nosuch, vim]"))
    assert done.returncode == 1
    assert "not installed: nosuch" in done.stdout
    assert [call.partition(" install ")[2] for call in tools.calls("apt-get")[1:]] == [
        *("curl nosuch vim", "curl", "nosuch", "vim"),
    ]


def test_one_package_is_tried_once(tmp_path: Path) -> None:
    tools = Tools(tmp_path, bad="nosuch")
    assert tools.run(script("packages: nosuch")).returncode == 1
    assert len(tools.calls("apt-get")) == 2


def test_lists_are_fetched_again_while_somebody_else_has_them_locked(tmp_path: Path) -> None:
    tools = Tools(tmp_path, bad="update")
    assert tools.run(script("packages: [curl]")).returncode == 1
    assert [call.split()[-1] for call in tools.calls("sleep")] == ["5", "15", "30"]
    assert [call.split()[-1] for call in tools.calls("apt-get")] == [*["update"] * 4, "curl"]


def test_dnf_does_the_same(tmp_path: Path) -> None:
    tools = Tools(tmp_path)
    packages = "[curl, [nginx, '1.20'], '@core', '@Web  Server', 'a~1^b', 'perl(A::B)']"
    text = f"package_upgrade: true\npackages: {packages}"
    assert tools.run(script(text, DNF)).returncode == 0
    assert tools.calls("dnf") == [
        "dnf  -y makecache",
        "dnf  -y upgrade",
        "dnf  -y install curl nginx-1.20 @core @Web Server a~1^b perl(A::B)",
    ]


def test_a_group_of_packages_is_one_word_and_apt_has_none() -> None:
    text = "packages: ['@Development Tools', jq]"
    assert "install '@Development Tools' 'jq' ||" in script(text, DNF)
    resources, problems = plan_of(text, APT)
    assert [(problem.severity, problem.key.split()[0]) for problem in problems] == [
        ("error", "packages[0]")
    ]
    assert "is a group of packages, which apt does not have" in problems[0].reason
    assert "install 'jq' ||" in steps(resources)[STEP].content.decode()


def test_update_alone(tmp_path: Path) -> None:
    tools = Tools(tmp_path)
    assert tools.run(script("package_update: true")).returncode == 0
    assert [call.split()[-1] for call in tools.calls("apt-get")] == ["update"]


def test_packages_for_one_manager_are_for_its_guests() -> None:
    text = "packages: [vim, {apt: [dpkg-dev, [a-b, '1']], dnf: [rpm-build]}]"
    assert "install 'vim' 'dpkg-dev' 'a-b=1' ||" in script(text)
    assert "install 'vim' 'rpm-build' ||" in script(text, DNF)


def test_packages_for_other_guests_alone_are_nothing_to_do() -> None:
    assert steps(clean_plan("packages: [{dnf: [rpm-build]}]", facts=APT)) == {}


@pytest.mark.parametrize("there", [True, False])
def test_a_reboot_where_the_packages_ask_for_it(there: bool, tmp_path: Path) -> None:
    text = script("packages: [curl]\npackage_reboot_if_required: true")
    marker = tmp_path / "reboot-required"
    if there:
        marker.touch()
    tools = Tools(tmp_path)
    assert tools.run(text.replace("/run/reboot-required", str(marker))).returncode == 0
    calls = tools.calls_file.read_text()
    assert ("start reboot.target" in calls) == there


def test_no_reboot_without_anything_installed() -> None:
    assert "reboot" not in script("package_update: true\npackage_reboot_if_required: true")
    assert steps(clean_plan("package_reboot_if_required: true", facts=APT)) == {}


@pytest.mark.parametrize("text", ["package_update: false", "packages: []", "package_upgrade: no"])
def test_nothing_asked_is_nothing_done(text: str) -> None:
    resources, _ = plan_of(text, APT)
    assert steps(resources) == {}


def test_without_a_package_manager_each_key_is_an_error() -> None:
    resources, problems = plan_of("package_update: true\npackages: [curl]")
    assert places(problems) == [
        ("error", "package_update (line 2, column 1)"),
        ("error", "packages (line 3, column 1)"),
    ]
    assert steps(resources) == {}


@pytest.mark.parametrize(
    "name", ["g++", "libstdc++6", "curl=7.88.1-10+deb12u5", "docker-ce=5:20.10~3", "vim/stable",
             "lamp-server^", "python3.11-venv", "gcc:arm64=4:12", "kubelet=1.28.*", "php8.*",
             "*-doc", "lib?", "/tmp/x_1.2.deb"]
)  # fmt: skip
def test_names_that_apt_takes(name: str) -> None:
    assert f"install '{name}' ||" in script(f"packages: ['{name}']")


@pytest.mark.parametrize("name", ["nginx-1.2*", "*-devel", "lib[ab]?", "/tmp/x.rpm", "/usr/bin/x"])
def test_names_that_dnf_takes(name: str) -> None:
    assert f"install '{name}' ||" in script(f"packages: ['{name}']", DNF)


def test_a_list_is_a_package_and_its_version_if_it_has_one() -> None:
    assert "install 'a1' 'b1=1.18.*' ||" in script("packages: [[a1], [b1, '1.18.*']]")


def test_wildcards_reach_the_tool_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "ab").touch()
    tools = Tools(tmp_path, bad="install")
    text = script("packages: ['a?', 'curl=1.*']")
    tools.run(f"cd {tmp_path}\n{text}")
    installs = [call.partition(" install ")[2] for call in tools.calls("apt-get")[1:]]
    assert installs == ["a? curl=1.*", "a?", "curl=1.*"]


@pytest.mark.parametrize(
    "name",
    ["'-o=x'", "'--reinstall'", "'vim-'", "'a b'", "'a;id'", "'$(id)'", '"a\\nb"', "\"a'b\"", "''",
     "'../x.deb'", "'a='", "'a=1 2'", "'a=-1'", "'a/'", "'a:'", "'x*-'", "x", "Vim",
     "'**'", "'?essential'", "'a=*'", "'/tmp/../x.deb'", "'/tmp/x.rpm'", '"/tmp/x\\n.deb"', "[]",
     '"a\\0b"', "[curl, '1;id']", "'ab/c d'"],
)  # fmt: skip
def test_what_is_no_package_is_an_error_for_it_alone(name: str) -> None:
    resources, problems = plan_of(f"packages: [good-one, {name}]", APT)
    assert [key.split()[0] for _, key in places(problems)] == ["packages[1]"]
    assert "install 'good-one' ||" in steps(resources)[STEP].content.decode()


@pytest.mark.parametrize("name", ["'-x'", "'a b'", "'a;b'", "'$(id)'", '"a\\nb"', '"a\'b"', "'*'"])
def test_what_dnf_does_not_take_is_an_error(name: str) -> None:
    resources, problems = plan_of(f"packages: [good-one, {name}]", DNF)
    assert [key.split()[0] for _, key in places(problems)] == ["packages[1]"]
    assert "install 'good-one' ||" in steps(resources)[STEP].content.decode()


def test_the_real_apt_reads_the_script(tmp_path: Path) -> None:
    rig.need_tools("apt-get")
    text = script("packages: [no-such-package-of-guestagent, 'bash=0:1~none']")
    config = tmp_path / "apt.conf"
    folders = "".join(f'Dir::{name} "{tmp_path}";\n' for name in ("Etc", "State", "Cache"))
    config.write_text(f'{folders}APT::Get::Simulate "true";\n')
    (tmp_path / "lists").mkdir()
    (tmp_path / "status").touch()
    environment = {"PATH": "/usr/bin:/bin", "APT_CONFIG": str(config)}
    text = text.replace("sleep $pause", ":")
    argv = ["sh", "-c", text]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert "not installed: no-such-package-of-guestagent bash=0:1~none" in done.stdout
    assert "Unable to locate package no-such-package-of-guestagent" in done.stderr
    assert "Command line option" not in done.stderr


@pytest.mark.parametrize("tool", ["apt-get", "dnf"])
def test_a_tree_gets_the_script(tool: str, guest: Path, tmp_path: Path) -> None:
    (guest / "usr/bin" / tool).touch(0o755)
    drive = make_drive(tmp_path, "packages: [curl, '-bad']\npackage_update: true")
    plan = dry_run(drive, guest)
    found = [change for change in plan["changes"] if change["path"].endswith(STEP)]
    assert "install 'curl' || status=1" in "".join(map(str, found[0].values()))
    apply_twice(drive, guest, status=1)
    step = guest / "var/lib/guestagent" / STEP
    assert subprocess.run(["sh", "-n", step]).returncode == 0
    assert step.stat().st_mode & 0o777 == 0o700


def test_nothing_else_is_written() -> None:
    assert files(clean_plan("packages: [curl]", facts=APT)) == {}
