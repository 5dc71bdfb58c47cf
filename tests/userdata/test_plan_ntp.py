"""Time servers: what is planned for each client, and what a tree then holds."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from guestagent import defs
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

DEBIANS = """# Use Debian vendor zone.
pool 2.debian.pool.ntp.org iburst
sourcedir /run/chrony-dhcp
sourcedir /etc/chrony/sources.d
keyfile /etc/chrony/chrony.keys
makestep 1 3
"""
TIMESYNCD = FACTS._replace(programs=frozenset({"systemd-timesyncd"}))
CHRONY = FACTS._replace(
    programs=frozenset({"systemd-timesyncd", "chronyd", "apt-get"}),
    texts={defs.CHRONY_CONFS[0]: DEBIANS},
)
FEDORA = FACTS._replace(os_id="fedora", programs=frozenset({"chronyd", "dnf"}))
TEXT = """ntp:
  servers: [192.0.2.1, ntp.example.org, "2001:db8::1"]
  pools: [0.pool.ntp.org]
"""


def conf(text: str, facts: Facts = CHRONY) -> str:
    return files(clean_plan(text, facts=facts))["/etc/chrony/chrony.conf"].content.decode()


def test_timesyncd_gets_a_drop_in_with_servers_and_pools() -> None:
    resources = clean_plan(TEXT, facts=TIMESYNCD)
    found = files(resources)["/etc/systemd/timesyncd.conf.d/50-guestagent.conf"]
    expected = "[Time]\nNTP=\nNTP=192.0.2.1 ntp.example.org 2001:db8::1 0.pool.ntp.org\n"
    assert (found.content.decode(), found.mode) == (expected, 0o644)
    script = steps(resources)["early/70-instance-ntp"].content
    assert b"systemctl --no-block restart systemd-timesyncd.service\n" in script


def test_chrony_asks_these_servers_and_no_others() -> None:
    assert conf(f"{TEXT}  peers: [peer.example.org]\n  allow: [192.0.2.0/24, all]\n") == (
        "# Use Debian vendor zone.\n"
        "#pool 2.debian.pool.ntp.org iburst\n"
        "sourcedir /run/chrony-dhcp\n"
        "#sourcedir /etc/chrony/sources.d\n"
        "keyfile /etc/chrony/chrony.keys\n"
        "makestep 1 3\n"
        "# guestagent: ntp of cloud-config\n"
        "server 192.0.2.1 iburst\n"
        "server ntp.example.org iburst\n"
        "server 2001:db8::1 iburst\n"
        "pool 0.pool.ntp.org iburst\n"
        "peer peer.example.org\n"
        "allow 192.0.2.0/24\n"
        "allow all\n"
        "# guestagent: end of ntp\n"
    )


def test_an_edit_of_chrony_takes_the_place_of_an_earlier_one() -> None:
    once = conf(TEXT)
    edited = CHRONY._replace(texts={defs.CHRONY_CONFS[0]: f"{once}logchange 0.5\n"})
    again = conf("ntp: {servers: [192.0.2.9]}", edited)
    assert "server 192.0.2.9 iburst" in again
    assert "192.0.2.1 " not in again
    assert "logchange 0.5\n" in again
    same = edited._replace(texts={defs.CHRONY_CONFS[0]: once})
    assert conf(TEXT, same) == once


def test_allow_alone_leaves_the_servers_of_the_image() -> None:
    assert "\npool 2.debian.pool.ntp.org iburst\n" in conf("ntp: {allow: [192.0.2.0/24]}")


def test_elsewhere_chronys_file_and_service_have_other_names() -> None:
    resources = clean_plan(TEXT, facts=FEDORA)
    assert "/etc/chrony.conf" in files(resources)
    assert b"enable chronyd.service" in steps(resources)["early/70-instance-ntp"].content


@pytest.mark.parametrize("text", ["ntp:", "ntp: {}", "ntp: {enabled: true, ntp_client: auto}"])
def test_without_servers_the_client_keeps_those_of_its_distribution(text: str) -> None:
    for facts in (TIMESYNCD, CHRONY):
        resources = clean_plan(text, facts=facts)
        assert not any("ntp" in path or "chrony" in path for path in files(resources))
        assert list(steps(resources)) == ["early/70-instance-ntp"]


def test_disabled_does_nothing() -> None:
    for facts in (CHRONY, FACTS):
        resources = clean_plan(f"{TEXT}  enabled: false\n", facts=facts)
        assert (files(resources), steps(resources)) == ({}, {})


def test_chrony_is_installed_where_it_is_wanted_and_not_there() -> None:
    facts = FACTS._replace(programs=frozenset({"apt-get", "systemd-timesyncd"}))
    resources = clean_plan(f"{TEXT}  ntp_client: chrony\n", facts=facts)
    assert list(steps(resources)) == ["late/10-instance-ntp"]
    assert list(files(resources)) == []


@pytest.mark.parametrize(
    ("system", "tool", "path", "service"),
    [
        ("debian", "apt-get", "/etc/chrony/chrony.conf", "chrony.service"),
        ("fedora", "dnf", "/etc/chrony.conf", "chronyd.service"),
    ],
)
def test_the_script_that_installs_chrony_edits_its_file_as_the_plan_does(
    system: str, tool: str, path: str, service: str, tmp_path: Path
) -> None:
    facts = FACTS._replace(os_id=system, programs=frozenset({tool}))
    step = steps(clean_plan(f"{TEXT}  ntp_client: chrony\n", facts=facts))["late/10-instance-ntp"]
    own = tmp_path / "chrony.conf"
    own.write_text(DEBIANS)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in (tool, "systemctl"):
        (tools / name).write_text(f'#!/bin/sh\necho {name} "$@" >>{tmp_path}/calls\n')
        (tools / name).chmod(0o755)
    script = step.content.decode().replace(path, str(own))
    argv = ["sh", "-c", script]
    subprocess.run(argv, check=True, env={"PATH": f"{tools}:/usr/bin:/bin"})
    assert own.read_text() == conf(TEXT)
    calls = (tmp_path / "calls").read_text().splitlines()
    update = ["update"] if tool == "apt-get" else []
    assert [line.split()[-1] for line in calls] == [*update, "chrony", *[service] * 2]


@pytest.mark.parametrize("client", ["ntp", "ntpdate", "openntpd", "myclient"])
def test_another_client_is_an_error_that_names_those_there_are(client: str) -> None:
    resources, problems = plan_of(f"{TEXT}  ntp_client: {client}\n", CHRONY)
    assert places(problems) == [("error", "ntp.ntp_client (line 5, column 3)")]
    assert "chrony or systemd-timesyncd" in problems[0].reason
    assert (files(resources), steps(resources)) == ({}, {})


@pytest.mark.parametrize("client", ["auto", "chrony", "systemd-timesyncd"])
def test_a_client_that_is_not_there_and_cannot_come_is_an_error(client: str) -> None:
    facts = FACTS._replace(os_id="fedora")
    resources, problems = plan_of(f"{TEXT}  ntp_client: {client}\n", facts)
    assert [severity for severity, _ in places(problems)] == ["error"]
    assert steps(resources) == {}


def test_a_client_of_ones_own_is_refused() -> None:
    text = "ntp:\n  config: {confpath: /etc/x, template: 'x'}\n"
    resources, problems = plan_of(text, CHRONY)
    assert places(problems) == [("error", "ntp.config (line 3, column 3)")]
    assert steps(resources) == {}


def test_what_timesyncd_has_not_is_an_error_and_the_servers_count() -> None:
    text = f"{TEXT}  peers: [a.example.org]\n  allow: [192.0.2.0/24]\n"
    resources, problems = plan_of(text, TIMESYNCD)
    assert [key.split()[0] for _, key in places(problems)] == ["ntp.peers", "ntp.allow"]
    assert defs.TIMESYNCD_DROPIN in files(resources)


@pytest.mark.parametrize(
    "value", ['"a b"', '"a\\nNTP=x"', "'a;b'", "'$(id)'", "''", "-x", '"a\\0"', "a_b"]
)
@pytest.mark.parametrize("facts", [TIMESYNCD, CHRONY])
def test_what_is_no_server_is_an_error_for_it_alone(value: str, facts: Facts) -> None:
    resources, problems = plan_of(f"ntp: {{servers: [good.example.org, {value}]}}", facts)
    assert [key.split()[0] for _, key in places(problems)] == ["ntp.servers[1]"]
    content = b"".join(item.content for item in files(resources).values())
    assert content.count(b"good.example.org") == 1


@pytest.mark.parametrize("value", ["192.0.2.0/33", "x", '"192.0.2.0/24 x"', "192.0.2.0/"])
def test_what_is_no_network_is_an_error(value: str) -> None:
    resources, problems = plan_of(f"ntp: {{allow: [{value}]}}", CHRONY)
    assert [key.split()[0] for _, key in places(problems)] == ["ntp.allow[0]"]
    assert (files(resources), steps(resources)) == ({}, {})


def test_a_tree_with_timesyncd_gets_its_drop_in(guest: Path, tmp_path: Path) -> None:
    (guest / "usr/lib/systemd").mkdir(parents=True, exist_ok=True)
    (guest / "usr/lib/systemd/systemd-timesyncd").touch(0o755)
    drive = make_drive(tmp_path, TEXT)
    paths = [change.get("path") for change in dry_run(drive, guest)["changes"]]
    assert defs.TIMESYNCD_DROPIN in paths
    apply_twice(drive, guest)
    assert "NTP=192.0.2.1 " in (guest / defs.TIMESYNCD_DROPIN[1:]).read_text()
    step = guest / "var/lib/guestagent/early/70-instance-ntp"
    assert subprocess.run(["sh", "-n", step]).returncode == 0


def test_a_tree_with_chrony_has_its_file_edited_once(guest: Path, tmp_path: Path) -> None:
    (guest / "usr/sbin").mkdir()
    (guest / "usr/sbin/chronyd").touch(0o755)
    (guest / "etc/chrony").mkdir()
    (guest / "etc/chrony/chrony.conf").write_text(DEBIANS)
    drive = make_drive(tmp_path, TEXT)
    dry_run(drive, guest)
    apply_twice(drive, guest)
    assert (guest / "etc/chrony/chrony.conf").read_text() == conf(TEXT)
