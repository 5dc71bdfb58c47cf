"""hostname, fqdn, prefer_fqdn_over_hostname, preserve_hostname, manage_etc_hosts."""

from __future__ import annotations

from pathlib import Path

import pytest
import rig

from guestagent import defs
from guestagent.errors import Origin
from guestagent.model import InjectedFile, InstanceData
from guestagent.plan.kinds.hostname import Hostname
from userdata.planning import (
    FACTS,
    METADATA,
    SETTINGS,
    apply_twice,
    clean_plan,
    dry_run,
    files,
    make_drive,
    places,
    plan_of,
)

PREFERRED = "prefer_fqdn_over_hostname: true\n"


def static(text: str, **more: object) -> str:
    """The name that /etc/hostname gets."""
    return files(clean_plan(text, **more))["/etc/hostname"].content.decode()


def hosts(text: str, data: InstanceData = METADATA, **more: object) -> list[str]:
    """The line for the host's own name that /etc/hosts gets."""
    found = [item for item in clean_plan(text, data=data, **more) if item.kind == "hosts"]
    return [" ".join((item.address, *item.names)) for item in found]


@pytest.mark.parametrize(
    ("text", "short", "full"),
    [
        ("hostname: web\n", "web", "meta.example.org"),
        ("hostname: web.example.net\n", "web", "web.example.net"),
        ("fqdn: db.example.net\n", "db", "db.example.net"),
        ("fqdn: db\n", "db", "db"),
        ("hostname: web\nfqdn: db.example.net\n", "web", "db.example.net"),
        ("hostname: web.a.org\nfqdn: db.b.org\n", "web.a.org", "db.b.org"),
        ("locale: false\n", "meta", "meta.example.org"),
    ],
)
def test_the_names_are_those_that_cloud_init_takes(text: str, short: str, full: str) -> None:
    assert static(text, data=METADATA) == f"{short}\n"
    assert static(text + PREFERRED, data=METADATA) == f"{full}\n"
    expected = " ".join(["127.0.1.1", full, *([short] if short != full else [])])
    assert hosts(f"{text}manage_etc_hosts: true\n") == [expected]


def test_without_metadata_the_host_name_is_all_there_is() -> None:
    assert static("hostname: web\n" + PREFERRED) == "web\n"


def test_the_running_name_is_the_static_one_and_tells_where_it_comes_from() -> None:
    text = f"hostname: web\nfqdn: db.example.net\n{PREFERRED}"
    names = [item for item in clean_plan(text) if isinstance(item, Hostname)]
    assert [name.name for name in names] == ["db.example.net"]
    assert names[0].why.text() == "drive, user_data, fqdn (line 3, column 1)"
    offline = clean_plan(text, facts=FACTS._replace(live=False))
    assert not any(item.kind == "hostname" for item in offline)


def test_a_preserved_host_name_is_left_alone_and_the_hosts_line_is_not() -> None:
    text = "preserve_hostname: true\nhostname: web\nmanage_etc_hosts: true\n"
    resources = clean_plan(text, data=METADATA)
    assert "/etc/hostname" not in files(resources)
    assert not any(item.kind == "hostname" for item in resources)
    assert hosts(text) == ["127.0.1.1 meta.example.org web"]


def test_user_data_counts_more_than_the_image_s_settings() -> None:
    settings = SETTINGS._replace(hostname_manage=False, hostname_fqdn=True, hosts_manage=True)
    text = (
        "preserve_hostname: false\nprefer_fqdn_over_hostname: false\n"
        "manage_etc_hosts: false\nfqdn: db.example.net\n"
    )
    resources = clean_plan(text, settings=settings)
    assert files(resources)["/etc/hostname"].content == b"db\n"
    assert not any(item.kind == "hosts" for item in resources)


@pytest.mark.parametrize(
    "text", ["", *(f"manage_etc_hosts: {word}\n" for word in ("true", "template", "localhost"))]
)
def test_the_own_name_is_in_hosts_unless_user_data_say_no(text: str) -> None:
    named = "fqdn: db.b.org\n"
    assert hosts(f"{named}{text}") == ["127.0.1.1 db.b.org db"]
    assert hosts(f"{named}manage_etc_hosts: false\n") == []
    off = SETTINGS._replace(hosts_manage=False)
    assert hosts(f"{named}{text}", settings=off) == (["127.0.1.1 db.b.org db"] if text else [])


@pytest.mark.parametrize(
    ("os_id", "like", "address"),
    [
        ("debian", "", "127.0.1.1"),
        ("ubuntu", "debian", "127.0.1.1"),
        ("linuxmint", '"ubuntu debian"', "127.0.1.1"),
        ("fedora", "", "127.0.0.1"),
        ("rocky", '"rhel centos fedora"', "127.0.0.1"),
        ("", "", "127.0.0.1"),
    ],
)
def test_the_own_name_is_where_the_distribution_has_it(os_id: str, like: str, address: str) -> None:
    texts = {defs.OS_RELEASE: f"ID={os_id}\nID_LIKE={like}\n"}
    facts = FACTS._replace(os_id=os_id, texts=texts)
    assert hosts("", facts=facts) == [f"{address} meta.example.org meta"]


def test_hosts_is_left_alone_where_the_name_is_not_the_guest_s_own() -> None:
    assert hosts("preserve_hostname: true\n") == []


@pytest.mark.parametrize("more", ["", ", defer: true"])
def test_a_whole_hosts_of_user_data_is_left_as_it_is(more: str) -> None:
    text = f"write_files:\n- {{path: /etc/hosts, content: x{more}}}\n"
    assert hosts(text) == []
    assert hosts(text.replace("content", "append: true, content")) != []


def test_a_whole_hosts_of_the_metadata_is_left_as_it_is() -> None:
    origin = Origin("drive", "meta_data.json", "files[0]")
    data = METADATA._replace(files=(InjectedFile("/etc/hosts", b"x\n", origin),))
    assert hosts("", data=data) == []


@pytest.mark.parametrize(
    "bad", ["-web", "_", "_web", "a b", "a\\nb", "$(reboot)", "a;b", "a'b", "a\\0b"]
)
def test_a_name_that_is_none_is_an_error_and_the_metadata_counts(bad: str) -> None:
    resources, problems = plan_of(f'hostname: "{bad}"\n', data=METADATA)
    assert places(problems) == [("error", "hostname (line 2, column 1)")]
    assert bad not in problems[0].reason or not bad
    assert files(resources)["/etc/hostname"].content == b"meta\n"


@pytest.mark.parametrize("key", ["hostname", "fqdn"])
def test_an_underscore_in_a_name_becomes_a_hyphen_with_a_warning(key: str) -> None:
    resources, problems = plan_of(f"{key}: k8s_master_1.lab\n", data=METADATA)
    assert places(problems) == [("warning", f"{key} (line 2, column 1)")]
    assert files(resources)["/etc/hostname"].content == b"k8s-master-1\n"


def test_an_address_is_made_a_name_with_a_warning() -> None:
    resources, problems = plan_of('hostname: "127.0.0.1"\n', data=METADATA)
    assert places(problems) == [("warning", "hostname (line 2, column 1)")]
    assert files(resources)["/etc/hostname"].content == b"127-0-0-1\n"


def test_a_wrong_full_name_leaves_the_short_one() -> None:
    resources, problems = plan_of("hostname: web\nfqdn: 'db..org'\n", data=METADATA)
    assert places(problems) == [("error", "fqdn (line 3, column 1)")]
    assert files(resources)["/etc/hostname"].content == b"web\n"


def test_a_long_full_name_is_cut_with_a_warning() -> None:
    name = ".".join(("web", *["a" * 60] * 3))
    resources, problems = plan_of(f"fqdn: {name}\n{PREFERRED}")
    assert places(problems) == [("warning", "fqdn (line 2, column 1)")]
    assert files(resources)["/etc/hostname"].content == b"web\n"


def test_on_a_tree_the_names_are_written_once(guest: Path, tmp_path: Path) -> None:
    rig.need_root()
    (guest / "etc/hosts").write_text("127.0.0.1 localhost\n")
    text = "hostname: web\nfqdn: db.example.net\nmanage_etc_hosts: localhost\n"
    drive = make_drive(tmp_path, text, hostname="meta.example.org")
    paths = {change["path"] for change in dry_run(drive, guest)["changes"] if "path" in change}
    assert {"/etc/hostname", "/etc/hosts"} <= paths
    apply_twice(drive, guest)
    assert (guest / "etc/hostname").read_text() == "web\n"
    first, second = (guest / "etc/hosts").read_text().splitlines()
    assert first == "127.0.0.1 localhost"
    assert second.startswith("127.0.1.1 db.example.net web")
