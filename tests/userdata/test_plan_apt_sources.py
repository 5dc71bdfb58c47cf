"""Sources of apt: what is planned, what apt-get(8) reads in it, and what a tree then holds."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import rig

from guestagent import defs
from guestagent.model import Facts
from guestagent.settings import Settings
from userdata.planning import (
    FACTS,
    SETTINGS,
    apply_twice,
    clean_plan,
    dry_run,
    files,
    make_drive,
    places,
    plan_of,
    steps,
)

FOLDER = defs.APT_SOURCES_DIR
BOOKWORM = "ID=debian\nVERSION_CODENAME=bookworm\n"
DEBIAN = FACTS._replace(
    programs=frozenset({"apt-get"}), texts={defs.OS_RELEASE: BOOKWORM}, machine="x86_64"
)
NOBLE = "ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\n"
UBUNTU = DEBIAN._replace(os_id="ubuntu", texts={defs.OS_RELEASE: NOBLE})
# A key of RFC 9580's samples would do as well: here it is only the first packet's first byte.
KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmAEC\n-----END PGP PUBLIC KEY BLOCK-----\n"
RAW = bytes.fromhex("980102")


def indented(text: str, by: int) -> str:
    return "".join(f"{' ' * by}{line}" for line in text.splitlines(keepends=True))


def entry(source: str, key: str = "", name: str = "mine", more: str = "") -> str:
    """Text of one entry of sources."""
    text = f"    {name}:\n      source: '{source}'\n{more}"
    return text + (f"      key: |\n{indented(key, 8)}" if key else "")


def sources(*entries: str) -> str:
    return "apt:\n  sources:\n" + "".join(entries)


def content(text: str, name: str = "mine", facts: Facts = DEBIAN) -> str:
    return files(clean_plan(text, facts=facts))[f"{FOLDER}/{name}.sources"].content.decode()


def lists(text: bytes, folder: Path) -> set[str]:
    """The directories from which apt would fetch lists of the packages in a file's sources."""
    rig.need_tools("apt-get")
    (folder / "parts").mkdir(exist_ok=True)
    (folder / "parts" / "x.sources").write_bytes(text)
    (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    options = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": f"{folder}/parts",
        "Dir::State::Lists": f"{folder}/lists",
    }
    argv = ["apt-get", *(f"-o{name}={value}" for name, value in options.items())]
    done = subprocess.run([*argv, "update", "--print-uris"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    lines = (line.split()[0].strip("'").rpartition("/") for line in done.stdout.splitlines())
    found = {where for where, _, name in lines if name.startswith(("Packages", "Sources"))}
    return {where for where in found if not where.endswith("binary-all")}


def test_a_line_becomes_a_stanza() -> None:
    line = "deb [arch=amd64,arm64 trusted=yes lang+=de] https://x.example.org/debian stable a b"
    assert content(sources(entry(line))) == (
        "# Written by guestagent\n"
        "Types: deb\nURIs: https://x.example.org/debian\nSuites: stable\nComponents: a b\n"
        "Architectures: amd64 arm64\nTrusted: yes\nLanguages-Add: de\n"
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "deb [ arch=amd64,arm64 ] http://x.example.org/debian $RELEASE b # comment",
            ["{x}/dists/bookworm/b/binary-amd64", "{x}/dists/bookworm/b/binary-arm64"],
        ),
        ("deb http://x.example.org/debian ./", ["{x}/."]),
        (
            "deb [arch=amd64] ${MIRROR}/ $RELEASE-updates a b",
            [f"{{debian}}/dists/bookworm-updates/{name}/binary-amd64" for name in "ab"],
        ),
        (
            "deb [arch=i386] $SECURITY stable/updates main",
            ["{debian}-security/dists/stable/updates/main/binary-i386"],
        ),
        (
            "deb [arch=amd64] http://x.example.org/debian $(ARCH)/ ",
            ["{x}/amd64"],
        ),
        ("deb-src [trusted=yes] http://x.example.org/debian sid c", ["{x}/dists/sid/c/source"]),
    ],
)  # fmt: skip
def test_apt_reads_what_the_line_said(line: str, expected: list[str], tmp_path: Path) -> None:
    text = content(sources(entry(line)))
    known = {"x": "http://x.example.org/debian", "debian": "http://deb.debian.org/debian"}
    assert lists(text.encode(), tmp_path) == {path.format(**known) for path in expected}


def test_several_lines_and_entries_of_one_file_are_put_together(tmp_path: Path) -> None:
    lines = "deb http://a.example.org/a ./\\n\\n# x\\ndeb http://a.example.org/b ./"
    first = f'    one:\n      filename: both.list\n      source: "{lines}"\n'
    more = "      filename: both.list\n"
    second = entry("deb http://a.example.org/c ./", name="two", more=more)
    text = content(sources(first, second), "both")
    found = lists(text.encode(), tmp_path)
    assert found == {f"http://a.example.org/{name}/." for name in "abc"}
    resources, problems = plan_of(sources(first, second + "      append: false\n"), facts=DEBIAN)
    assert places(problems) == [("warning", "apt.sources.one (line 4, column 5)")]
    alone = files(resources)[f"{FOLDER}/both.sources"].content
    assert b"example.org/c" in alone
    assert b"example.org/a" not in alone


def test_stanzas_are_taken_as_they_are(tmp_path: Path) -> None:
    stanza = "types: deb\nURIs: http://x.example.org/\n https://y.example.org\nSuites: $RELEASE\n"
    stanza += "Components: main\nArchitectures: amd64\n# comment\n\n"
    stanza += "Types: deb\nURIs: http://z.example.org\nSuites: ./\n"
    text = f"apt:\n  sources:\n    mine:\n      source: |\n{indented(stanza, 8)}"
    text += f"      key: |\n{indented(KEY, 8)}"
    found = content(text)
    assert lists(found.encode(), tmp_path) == {
        "http://x.example.org/dists/bookworm/main/binary-amd64",
        "https://y.example.org/dists/bookworm/main/binary-amd64",
        "http://z.example.org/.",
    }
    assert found.count("Signed-By: /etc/apt/keyrings/guestagent-mine.gpg\n") == 2


def test_a_key_counts_for_its_source_alone() -> None:
    resources = clean_plan(sources(entry("deb http://x.example.org s main", KEY)), facts=DEBIAN)
    found = files(resources)
    assert found["/etc/apt/keyrings/guestagent-mine.gpg"][2:4] == (RAW, 0o644)
    stanza = found[f"{FOLDER}/mine.sources"].content
    assert stanza.endswith(b"Signed-By: /etc/apt/keyrings/guestagent-mine.gpg\n")


@pytest.mark.parametrize("option", ["$KEY_FILE", "/usr/share/keyrings/other.gpg"])
def test_a_line_may_say_itself_what_signs_it(option: str) -> None:
    line = f"deb [signed-by={option}] http://x.example.org s main"
    expected = option.replace("$KEY_FILE", "/etc/apt/keyrings/guestagent-mine.gpg")
    assert content(sources(entry(line, KEY))).endswith(f"Signed-By: {expected}\n")


def test_a_key_without_a_source_is_trusted_for_all() -> None:
    text = f"apt:\n  sources:\n    mine.list:\n      key: |\n{indented(KEY, 8)}"
    found = files(clean_plan(text, facts=DEBIAN))
    assert {path: item.content for path, item in found.items()} == {
        "/etc/apt/trusted.gpg.d/guestagent-mine.gpg": RAW
    }


def test_a_source_with_a_password_is_for_root_alone_and_not_shown() -> None:
    text = sources(entry("deb https://user:word@x.example.org s main"))
    file = files(clean_plan(text, facts=DEBIAN))[f"{FOLDER}/mine.sources"]
    assert (file.mode, file.secret) == (0o600, True)
    text = text.replace("user:word@", "")
    file = files(clean_plan(text, facts=DEBIAN))[f"{FOLDER}/mine.sources"]
    assert (file.mode, file.secret) == (0o644, False)


def test_new_sources_are_fetched_once_by_whoever_does_it() -> None:
    text = sources(entry("deb http://x.example.org s main"))
    assert (
        "\nupdate || status=1\n"
        in steps(clean_plan(text, facts=DEBIAN))["late/10-instance-apt"].content.decode()
    )
    assert list(steps(clean_plan(f"{text}packages: [vim]", facts=DEBIAN))) == [
        "late/10-instance-packages"
    ]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a.list", "a.sources"),
        ("a.sources", "a.sources"),
        (f"{FOLDER}/b.list", "b.sources"),
        ("debian.list", "cloud-config-debian.sources"),
    ],
)
def test_the_file_has_a_name_that_apt_reads_and_not_one_of_the_system(name: str, path: str) -> None:
    text = sources(entry("deb http://x.example.org s main", name=name))
    assert list(files(clean_plan(text, facts=DEBIAN))) == [f"{FOLDER}/{path}"]


WRONG = {
    "ppa": "ppa:team/archive",
    "no type": "rpm http://x.example.org s main",
    "no components": "deb http://x.example.org stable",
    "no uri": "deb stable main",
    "method": "deb ssh://x.example.org stable main",
    "option": "deb [arch=amd64 exec=x] http://x.example.org stable main",
    "bracket": "deb [arch=amd64 http://x.example.org stable main",
    "variable": "deb http://x.example.org $CODENAME main",
    "key file": "deb [signed-by=$KEY_FILE] http://x.example.org stable main",
    "jinja": "deb {{ mirror }} stable main",
    "control": "deb http://x.example.org stable \x07main",
    "empty": "# only a comment",
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_source_is_an_error_and_the_others_count(what: str) -> None:
    wrong = WRONG[what].replace("\x07", "\\a")
    item = f'    bad:\n      source: "{wrong}"\n'
    good = entry("deb http://x.example.org s main", name="good")
    resources, problems = plan_of(sources(item, good), DEBIAN)
    assert places(problems) == [("error", "apt.sources.bad (line 4, column 5)")]
    assert list(files(resources)) == [f"{FOLDER}/good.sources"]


@pytest.mark.parametrize(
    "stanza",
    ["Types: deb\nSuites: s\n", "Types: rpm\nURIs: http://a\nSuites: s\n", "Types: deb\nnothing\n",
     "Types: deb\nURIs: ssh://a\nSuites: s\n", "Types: deb\nTypes: deb\n"],
)  # fmt: skip
def test_a_wrong_stanza_is_an_error(stanza: str) -> None:
    text = f"apt:\n  sources:\n    bad:\n      source: |\n{indented(stanza, 8)}"
    resources, problems = plan_of(text, DEBIAN)
    assert [key.split()[0] for _, key in places(problems)] == ["apt.sources.bad"]
    assert files(resources) == {}


@pytest.mark.parametrize("name", ["../x", "/etc/cron.d/x", ".x", "a b", "$(id)", "x/y"])
def test_a_name_that_is_no_file_there_is_an_error_that_does_not_repeat_it(name: str) -> None:
    text = sources(entry("deb http://x.example.org s main", KEY, name=f"'{name}'"))
    resources, problems = plan_of(text, DEBIAN)
    assert [severity for severity, _ in places(problems)] == ["error"]
    assert name in ("../x", ".x") or name not in problems[0].text()
    assert files(resources) == {}


def test_a_key_that_would_have_to_be_fetched_leaves_its_source_out() -> None:
    text = sources(entry("deb http://x.example.org s main", more="      keyid: F430BBA5\n"))
    resources, problems = plan_of(text, DEBIAN)
    assert places(problems) == [("error", "apt.sources.mine (line 4, column 5)")]
    assert problems[0].reason == (
        "has only a keyid, and its key is not fetched, because the setting fetch.enable is not "
        "set: set it, or give key (gpg --armor --export KEYID); the source is left out, so its "
        "packages will be missing"
    )
    assert files(resources) == {}
    assert list(steps(resources)) == ["late/10-instance-apt"]


FINGERPRINT = "0123456789ABCDEF0123456789ABCDEF01234567"
FETCHING = SETTINGS._replace(fetch_enable=True)
LOOKUP = f"/pks/lookup?op=get&options=mr&search=0x{FINGERPRINT}"


def to_fetch(text: str, settings: Settings = FETCHING) -> list[dict[str, Any]]:
    """What the script that fetches keys has, of a plan without problems."""
    resources, problems = plan_of(text, DEBIAN, settings)
    assert problems == []
    first = steps(resources)["late/05-resumed-apt-keys"]
    assert first.secret
    given = first.content.split(b"\n", 2)[2].rpartition(b"\nEND")[0]
    found: list[dict[str, Any]] = json.loads(given)["items"]
    return found


def with_keyid(more: str = "", name: str = "mine", keyid: str = FINGERPRINT) -> str:
    given = f"      keyid: '{keyid}'\n{more}"
    return entry("deb http://x.example.org s main", name=name, more=given)


def test_a_key_is_fetched_and_its_source_written_with_it() -> None:
    """A source without its key would make apt-get update fail."""
    static = entry("deb http://y.example.org s main", name="static")
    text = sources(with_keyid(name="shop.list"), static)
    resources, _ = plan_of(text, DEBIAN, FETCHING)
    assert list(files(resources)) == [f"{FOLDER}/static.sources"]
    assert list(steps(resources)) == ["late/05-resumed-apt-keys", "late/10-instance-apt"]
    (item,) = to_fetch(text)
    assert item["url"] == f"https://keyserver.ubuntu.com{LOOKUP}"
    assert item["why"][2].startswith("apt.sources.shop.list.keyid")
    key = item["apt_key"]
    assert (key["id"], key["mode"]) == (FINGERPRINT, 0o644)
    assert key["keyring"] == "/etc/apt/keyrings/guestagent-shop.gpg"
    assert key["source"] == f"{FOLDER}/shop.sources"
    assert "Signed-By: /etc/apt/keyrings/guestagent-shop.gpg\n" in key["content"]


def test_a_source_whose_key_is_fetched_has_a_file_of_its_own() -> None:
    where = "      filename: static\n"
    static = entry("deb http://y.example.org s main", name="static")
    text = sources(with_keyid(where, "a"), static, with_keyid(where, "b"), with_keyid("", "c"))
    paths = [item["apt_key"]["source"] for item in to_fetch(text)]
    assert paths == [f"{FOLDER}/{name}.sources" for name in ("static-a", "static-b", "c")]


def test_a_key_without_a_source_is_for_all_of_them() -> None:
    (item,) = to_fetch(f"apt: {{sources: {{a: {{keyid: '{FINGERPRINT}'}}}}}}\n")
    assert item["apt_key"]["keyring"] == "/etc/apt/trusted.gpg.d/guestagent-a.gpg"
    assert (item["apt_key"]["source"], item["apt_key"]["content"]) == ("", "")


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ("keyserver: keys.example.org", f"https://keys.example.org{LOOKUP}"),
        ("keyserver: 'hkps://keys.example.org:8443'", f"https://keys.example.org:8443{LOOKUP}"),
        ("keyserver: 'https://keys.example.org/'", f"https://keys.example.org{LOOKUP}"),
        ("keyserver: 'hkp://keys.example.org:80'", f"https://keys.example.org{LOOKUP}"),
        ("keyserver: 'hkp://keys.example.org'", f"https://keys.example.org{LOOKUP}"),
        ("keyserver: 'https://x.example.org/key.asc'", "https://x.example.org/key.asc"),
        ("key: 'https://x.example.org/key.asc'", "https://x.example.org/key.asc"),
    ],
)
def test_C11_a_key_server_is_asked_over_tls(fields: str, url: str) -> None:
    (item,) = to_fetch(sources(with_keyid(f"      {fields}\n")))
    assert item["url"] == url


@pytest.mark.parametrize(
    ("server", "url"),
    [
        ("hkp://keys.example.org:80", f"http://keys.example.org:80{LOOKUP}"),
        ("hkp://keys.example.org", f"http://keys.example.org:11371{LOOKUP}"),
        ("keys.example.org", f"https://keys.example.org{LOOKUP}"),
    ],
)
def test_with_a_setting_a_key_server_is_asked_as_it_says(server: str, url: str) -> None:
    settings = FETCHING._replace(fetch_http=True)
    (item,) = to_fetch(sources(with_keyid(f"      keyserver: '{server}'\n")), settings)
    assert item["url"] == url


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (with_keyid(keyid="F430BBA5"), "is a short key id"),
        (with_keyid(keyid="CANARY"), "must be the fingerprint of a key"),
        (
            with_keyid("      keyserver: 'ldap://keys.example.org'\n"),
            "has a keyserver that is none",
        ),
        (with_keyid("      keyserver: '$(id)'\n"), "has a keyserver that is none"),
        (with_keyid("      keyserver: 'http://x.example.org'\n"), "must be an https:// URL"),
        (with_keyid("      key: 'http://x.example.org/k'\n"), "must be an https:// URL"),
        (
            entry("deb http://x.example.org s main", more="      key: https://x.example.org/k\n"),
            "give its fingerprint as keyid",
        ),
    ],
)
def test_a_key_that_cannot_be_fetched_leaves_its_source_out(text: str, reason: str) -> None:
    resources, problems = plan_of(sources(text), DEBIAN, FETCHING)
    assert places(problems) == [("error", "apt.sources.mine (line 4, column 5)")]
    assert reason in problems[0].reason
    assert problems[0].reason.endswith("the source is left out, so its packages will be missing")
    assert "CANARY" not in problems[0].reason
    assert files(resources) == {}
    assert list(steps(resources)) == ["late/10-instance-apt"]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("ppa:lab/tools", "deb https://ppa.launchpadcontent.net/lab/tools/ubuntu $RELEASE main"),
        ("ppa:~lab/ubuntu/tools", "ppa.launchpadcontent.net/lab/tools/ubuntu $RELEASE main"),
        ("ppa:lab", "ppa.launchpadcontent.net/lab/ppa/ubuntu $RELEASE main"),
        ("ppa:a b/CANARY", "give the line of the source, and its key"),
        ("cloud-archive:zed", "give the line of the source, and its key"),
    ],
)
def test_a_shortcut_is_refused_with_the_line_to_write(source: str, words: str) -> None:
    resources, problems = plan_of(f"apt: {{sources: {{a: {{source: '{source}'}}}}}}\n", DEBIAN)
    assert [problem.severity for problem in problems] == ["error"]
    assert words in problems[0].reason
    assert "CANARY" not in problems[0].reason
    assert files(resources) == {}


def test_a_key_that_is_none_leaves_its_source_out() -> None:
    resources, problems = plan_of(
        sources(entry("deb http://x.example.org s main", "no key\n")), DEBIAN
    )
    assert [key.split()[0] for _, key in places(problems)] == ["apt.sources.mine.key"]
    assert files(resources) == {}


def test_a_tree_gets_sources_that_apt_reads(guest: Path, tmp_path: Path) -> None:
    (guest / "usr/bin/apt-get").touch(0o755)
    (guest / "etc/os-release").write_text(BOOKWORM)
    text = sources(entry("deb [arch=amd64] $MIRROR $RELEASE main", KEY))
    drive = make_drive(tmp_path, text)
    paths = [change.get("path") for change in dry_run(drive, guest)["changes"]]
    assert f"{FOLDER}/mine.sources" in paths
    apply_twice(drive, guest)
    written = (guest / FOLDER[1:] / "mine.sources").read_bytes()
    debian = "http://deb.debian.org/debian"
    assert lists(written, tmp_path) == {f"{debian}/dists/bookworm/main/binary-amd64"}
    keyring = guest / "etc/apt/keyrings/guestagent-mine.gpg"
    assert (keyring.read_bytes(), keyring.stat().st_mode & 0o777) == (RAW, 0o644)
