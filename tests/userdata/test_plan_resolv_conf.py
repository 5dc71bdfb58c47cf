"""Name servers of resolv_conf: the file, or a drop-in for whoever writes it."""

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

RESOLVED = FACTS._replace(resolver="resolved")
MANAGER = FACTS._replace(resolver="networkmanager")
TEXT = """manage_resolv_conf: true
resolv_conf:
  nameservers: [192.0.2.53, "2001:db8::53"]
  searchdomains: [a.example.org, b.example.org]
  domain: example.org
"""
MORE = f"{TEXT}  options: {{rotate: true, timeout: 1, edns0: false}}\n"
ALL = f"{MORE}  sortlist: [192.0.2.0/255.255.255.0, 198.51.100.0]\n"


def content(text: str, path: str, facts: Facts = FACTS) -> str:
    return files(clean_plan(text, facts=facts))[path].content.decode()


def test_the_file_says_all_of_it_and_search_comes_last() -> None:
    assert content(ALL, "/etc/resolv.conf") == (
        "# Written by guestagent\n"
        "nameserver 192.0.2.53\n"
        "nameserver 2001:db8::53\n"
        "domain example.org\n"
        "search a.example.org b.example.org\n"
        "sortlist 192.0.2.0/255.255.255.0 198.51.100.0\n"
        "options rotate timeout:1\n"
    )


def test_resolved_gets_a_drop_in_in_place_of_what_the_image_says() -> None:
    resources = clean_plan(TEXT, facts=RESOLVED)
    assert files(resources)["/etc/systemd/resolved.conf.d/50-guestagent.conf"].content == (
        b"[Resolve]\nDNS=\nDNS=192.0.2.53 2001:db8::53\n"
        b"Domains=\nDomains=a.example.org b.example.org\n"
    )
    assert b"systemd-resolved" in steps(resources)["early/70-instance-resolver"].content
    assert "/etc/resolv.conf" not in files(resources)


def test_the_domain_completes_names_where_no_search_is_given() -> None:
    text = "manage_resolv_conf: true\nresolv_conf: {domain: example.org}"
    assert content(text, defs.RESOLVED_DROPIN, RESOLVED).endswith("Domains=example.org\n")


def test_networkmanager_gets_global_dns() -> None:
    resources = clean_plan(MORE, facts=MANAGER)
    assert files(resources)["/etc/NetworkManager/conf.d/50-guestagent.conf"].content == (
        b"[global-dns]\nsearches=a.example.org,b.example.org\noptions=rotate,timeout:1\n"
        b"[global-dns-domain-*]\nservers=192.0.2.53,2001:db8::53\n"
    )
    assert b"NetworkManager.service" in steps(resources)["early/70-instance-resolver"].content


def test_what_the_resolver_cannot_do_is_a_warning() -> None:
    for facts, fields in ((RESOLVED, ["sortlist", "options"]), (MANAGER, ["sortlist"])):
        _, problems = plan_of(ALL, facts)
        assert [key.split()[0] for _, key in places(problems)] == [
            f"resolv_conf.{field}" for field in fields
        ]
        assert {severity for severity, _ in places(problems)} == {"warning"}


@pytest.mark.parametrize(
    ("resolver", "text"),
    [("resolvconf", TEXT), ("networkmanager", TEXT.replace("nameservers", "sortlist"))],
)
def test_what_cannot_count_at_all_is_an_error(resolver: str, text: str) -> None:
    facts = FACTS._replace(resolver=resolver)  # type: ignore[arg-type]
    resources, problems = plan_of(text.replace(', "2001:db8::53"', ""), facts)
    assert ("error", "resolv_conf (line 3, column 1)") in places(problems)
    assert (files(resources), steps(resources)) == ({}, {})


def test_unmanaged_is_left_alone() -> None:
    assert files(clean_plan(TEXT.replace("true", "false"))) == {}
    assert files(clean_plan(TEXT.replace("manage_resolv_conf: true\n", ""))) == {}


def test_managed_without_anything_to_say_is_a_warning() -> None:
    resources, problems = plan_of("manage_resolv_conf: true")
    assert places(problems) == [("warning", "manage_resolv_conf (line 2, column 1)")]
    assert files(resources) == {}


def test_more_servers_than_are_asked_is_a_warning() -> None:
    text = (
        f"{TEXT[: TEXT.index('  name')]}  nameservers: [192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4]"
    )
    resources, problems = plan_of(text)
    assert places(problems) == [("warning", "resolv_conf.nameservers (line 4, column 3)")]
    assert b"192.0.2.4" in files(resources)["/etc/resolv.conf"].content


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("nameservers[0]", '{nameservers: ["192.0.2.1\\noptions debug"]}'),
        ("nameservers[0]", "{nameservers: [ns.example.org]}"),
        ("searchdomains[1]", '{searchdomains: [a.example, "b c"]}'),
        ("domain", '{domain: "a\\nnameserver 192.0.2.1"}'),
        ("sortlist[0]", '{sortlist: ["192.0.2.0/24 x"]}'),
        ("sortlist[0]", '{sortlist: ["2001:db8::/32"]}'),
        ("options", '{options: {"a b": true}}'),
        ("options", '{options: {timeout: "1\\nx"}}'),
    ],
)
@pytest.mark.parametrize("facts", [FACTS, RESOLVED, MANAGER])
def test_a_wrong_value_is_an_error_at_its_place(field: str, value: str, facts: Facts) -> None:
    text = f"manage_resolv_conf: true\nresolv_conf: {value}\nmanage_etc_hosts: false"
    resources, problems = plan_of(text, facts)
    assert f"resolv_conf.{field}" in [key.split()[0] for _, key in places(problems)]
    found = b"".join(item.content for item in files(resources).values())
    assert not [text for text in (b"192.0.2", b"b c", b"a b", b"timeout") if text in found]


def test_a_tree_gets_the_file(guest: Path, tmp_path: Path) -> None:
    (guest / "etc/resolv.conf").unlink(missing_ok=True)
    drive = make_drive(tmp_path, ALL)
    paths = [change.get("path") for change in dry_run(drive, guest)["changes"]]
    assert "/etc/resolv.conf" in paths
    apply_twice(drive, guest)
    assert (guest / "etc/resolv.conf").read_text() == content(ALL, "/etc/resolv.conf")


def test_a_tree_with_resolved_gets_the_drop_in(guest: Path, tmp_path: Path) -> None:
    (guest / "etc/resolv.conf").unlink(missing_ok=True)
    (guest / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    drive = make_drive(tmp_path, TEXT)
    dry_run(drive, guest)
    apply_twice(drive, guest)
    assert (guest / defs.RESOLVED_DROPIN[1:]).read_text().startswith("[Resolve]\nDNS=\n")
    assert (guest / "etc/resolv.conf").is_symlink()
    step = guest / "var/lib/guestagent/early/70-instance-resolver"
    assert subprocess.run(["sh", "-n", step]).returncode == 0
