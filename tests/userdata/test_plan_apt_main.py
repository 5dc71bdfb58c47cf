"""The distribution's own sources of apt: mirrors, suites, and a template of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from guestagent import defs
from guestagent.model import Facts
from userdata.planning import apply_twice, clean_plan, files, make_drive, places, plan_of
from userdata.test_plan_apt_sources import BOOKWORM, DEBIAN, KEY, RAW, UBUNTU, indented, lists

FOLDER = defs.APT_SOURCES_DIR
MIRROR = "apt:\n  primary:\n    - arches: [default]\n      uri: http://m.example.org/debian/\n"
SECURITY = "  security:\n    - arches: [default]\n      uri: https://s.example.org/sec\n"


def main(text: str, facts: Facts = DEBIAN) -> bytes:
    return files(clean_plan(text, facts=facts))[f"{FOLDER}/{facts.os_id}.sources"].content


def test_debian_gets_stanzas_signed_by_its_own_keys() -> None:
    assert main(MIRROR).decode() == (
        "# Written by guestagent\n"
        "Types: deb deb-src\n"
        "URIs: http://m.example.org/debian\n"
        "Suites: bookworm bookworm-updates bookworm-backports\n"
        "Components: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        "\n"
        "Types: deb deb-src\n"
        "URIs: http://deb.debian.org/debian-security\n"
        "Suites: bookworm-security\n"
        "Components: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    )


def test_apt_reads_the_stanzas(tmp_path: Path) -> None:
    binary = {path for path in lists(main(MIRROR + SECURITY), tmp_path) if "/binary-" in path}
    release = "http://m.example.org/debian/dists/bookworm"
    hosts = {path.rpartition("/main/")[0] for path in binary}
    assert hosts == {
        *(release, f"{release}-updates", f"{release}-backports"),
        "https://s.example.org/sec/dists/bookworm-security",
    }


def test_ubuntus_security_updates_come_from_a_mirror_given_alone() -> None:
    text = main(MIRROR, UBUNTU).decode()
    assert text.count("URIs: http://m.example.org/debian\n") == 2
    assert "Components: main restricted universe multiverse\n" in text
    assert "Suites: noble-security\n" in text
    assert "URIs: https://s.example.org/sec\n" in main(MIRROR + SECURITY, UBUNTU).decode()


@pytest.mark.parametrize(
    ("machine", "host"),
    [("x86_64", "http://archive.ubuntu.com/ubuntu"), ("s390x", "http://ports.ubuntu.com/ubuntu-ports")],
)  # fmt: skip
def test_without_a_mirror_of_primary_it_is_the_distributions(machine: str, host: str) -> None:
    text = main(f"apt:\n{SECURITY}", UBUNTU._replace(machine=machine)).decode()
    assert f"URIs: {host}\n" in text


def test_the_mirror_for_this_architecture_comes_before_the_one_for_all() -> None:
    more = "    - arches: [arm64, s390x]\n      uri: http://arm.example.org/debian\n"
    assert b"m.example.org" in main(MIRROR + more)
    arm = DEBIAN._replace(machine="aarch64")
    assert b"URIs: http://arm.example.org/debian\n" in main(MIRROR + more, arm)
    foreign = MIRROR.replace("default", "arm64")
    assert files(clean_plan(foreign, facts=DEBIAN)) == {}


def test_disabled_suites_are_left_out() -> None:
    text = "apt: {disable_suites: [$RELEASE-updates, backports, security, other]}"
    assert main(text).decode().split("\n\n")[0].splitlines()[3] == "Suites: bookworm"
    assert b"security" not in main(text)


def test_a_template_takes_the_place_of_it_all(tmp_path: Path) -> None:
    text = (
        "apt:\n  sources_list: |\n    deb $MIRROR $RELEASE main\n"
        "    deb $SECURITY $RELEASE-security c\n"
        "  disable_suites: [updates]\n"
    )
    found = lists(main(text, DEBIAN), tmp_path)
    assert {path.rpartition("/binary")[0] for path in found} == {
        "http://deb.debian.org/debian/dists/bookworm/main",
        "http://deb.debian.org/debian-security/dists/bookworm-security/c",
    }


def test_an_old_sources_list_gives_way_and_comments_stay() -> None:
    old = "deb http://deb.debian.org/debian bookworm main\n"
    facts = DEBIAN._replace(texts={**DEBIAN.texts, defs.APT_SOURCES_LIST: old})
    replaced = files(clean_plan(MIRROR, facts=facts))[defs.APT_SOURCES_LIST].content
    assert all(line.startswith(b"#") for line in replaced.splitlines())
    again = facts._replace(texts={**DEBIAN.texts, defs.APT_SOURCES_LIST: replaced.decode()})
    assert files(clean_plan(MIRROR, facts=again))[defs.APT_SOURCES_LIST].content == replaced
    comment = DEBIAN._replace(texts={**DEBIAN.texts, defs.APT_SOURCES_LIST: "# see there\n"})
    assert defs.APT_SOURCES_LIST not in files(clean_plan(MIRROR, facts=comment))


def test_preserved_sources_stay_and_the_mirror_still_has_a_name() -> None:
    text = f"{MIRROR}  preserve_sources_list: true\n  disable_suites: [updates]\n"
    text += "  sources: {mine: {source: deb $MIRROR $RELEASE main}}\n"
    resources, problems = plan_of(text, facts=DEBIAN)
    found = files(resources)
    assert places(problems) == [
        ("warning", "apt.primary (line 3, column 3)"),
        ("warning", "apt.disable_suites (line 7, column 3)"),
    ]
    assert list(found) == [f"{FOLDER}/mine.sources"]
    assert b"URIs: http://m.example.org/debian\n" in found[f"{FOLDER}/mine.sources"].content


def test_nothing_said_of_them_leaves_the_sources_of_the_image() -> None:
    assert list(files(clean_plan("apt: {proxy: 'http://a'}", facts=DEBIAN))) == [
        defs.APT_PROXY_FILE
    ]


def test_a_mirror_with_its_own_key_is_not_tied_to_the_distributions() -> None:
    found = files(clean_plan(f"{MIRROR}      key: |\n{indented(KEY, 8)}", facts=DEBIAN))
    assert found["/etc/apt/trusted.gpg.d/guestagent-primary.gpg"].content == RAW
    assert b"Signed-By" not in found[f"{FOLDER}/debian.sources"].content


@pytest.mark.parametrize(
    ("field", "place"),
    [
        ("uri: ssh://m.example.org", "apt.primary[0].uri"),
        ('uri: "http://m.example.org/a b"', "apt.primary[0].uri"),
        ('uri: "http://m.example.org\\nSigned-By: x"', "apt.primary[0].uri"),
        ("search: [http://m.example.org]", "apt.primary[0]"),
        ("search_dns: true", "apt.primary[0]"),
        ("uri: http://m.example.org\n      keyid: F430BBA5", "apt.primary[0].keyid"),
        ("uri: http://m.example.org\n      key: none", "apt.primary[0].key"),
    ],
)
def test_a_wrong_mirror_is_an_error_and_the_sources_stay(field: str, place: str) -> None:
    text = f"apt:\n  proxy: http://a\n  primary:\n    - arches: [default]\n      {field}\n"
    resources, problems = plan_of(text, DEBIAN)
    assert [(severity, key.split()[0]) for severity, key in places(problems)] == [("error", place)]
    assert list(files(resources)) == [defs.APT_PROXY_FILE]


@pytest.mark.parametrize(
    "template",
    ["## template:jinja\n    deb {{mirror}} x main", "deb {{mirror}} x main", "deb $WHAT x main",
     "rpm http://a x main", "# nothing"],
)  # fmt: skip
def test_a_wrong_template_is_an_error_and_the_sources_stay(template: str) -> None:
    resources, problems = plan_of(f"apt:\n  sources_list: |\n    {template}\n", DEBIAN)
    assert [key.split()[0] for _, key in places(problems)] == ["apt.sources_list"]
    assert files(resources) == {}


@pytest.mark.parametrize(
    "facts",
    [DEBIAN._replace(os_id="kali"), DEBIAN._replace(texts={}), UBUNTU._replace(os_id="linuxmint")],
)
def test_sources_that_are_not_known_are_an_error(facts: Facts) -> None:
    resources, problems = plan_of(MIRROR, facts)
    assert [key.split()[0] for _, key in places(problems)] == ["apt.primary"]
    assert files(resources) == {}


def test_a_tree_has_its_sources_replaced(guest: Path, tmp_path: Path) -> None:
    (guest / "usr/bin/apt-get").touch(0o755)
    (guest / "etc/os-release").write_text(BOOKWORM)
    (guest / FOLDER[1:]).mkdir(parents=True)
    (guest / FOLDER[1:] / "debian.sources").write_text("Types: deb\n")
    (guest / "etc/apt/sources.list").write_text("deb http://a.example.org sid main\n")
    apply_twice(make_drive(tmp_path, MIRROR), guest)
    assert (guest / FOLDER[1:] / "debian.sources").read_bytes() == main(MIRROR)
    assert "a.example.org" not in (guest / "etc/apt/sources.list").read_text()
