"""Certificates of authorities: their files, and the step that has them trusted."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import rig

from guestagent import defs
from guestagent.desired.ca_certs import split_certificates
from guestagent.errors import FieldError
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

DEBIAN = FACTS._replace(programs=frozenset({"update-ca-certificates"}))
FEDORA = FACTS._replace(os_id="fedora", programs=frozenset({"update-ca-trust"}))
SUSE = DEBIAN._replace(os_id="opensuse-leap", texts={defs.OS_RELEASE: 'ID_LIKE="suse opensuse"\n'})
STEP = "early/70-instance-ca-certificates"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A certificate of an authority, in PEM."""
    rig.need_tools("openssl")
    folder = tmp_path_factory.mktemp("authority")
    subject = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=guestagent-test"
    places = ("-keyout", f"{folder}/key", "-out", f"{folder}/crt")
    argv = ["openssl", "req", *subject.split(), *places]
    subprocess.run(argv, check=True, capture_output=True)
    return (folder / "crt").read_text()


def trusted(*certificates: str, more: str = "") -> str:
    """Text of cloud-config that has certificates trusted."""
    texts = (f"    - |\n{''.join(f'      {line}' for line in text.splitlines(True))}\n"
             for text in certificates)  # fmt: skip
    return f"ca_certs:\n{more}  trusted:\n{''.join(texts)}"


@pytest.mark.parametrize(
    ("facts", "folder", "tool"),
    [
        (DEBIAN, "/usr/local/share/ca-certificates", "update-ca-certificates"),
        (FEDORA, "/etc/pki/ca-trust/source/anchors", "update-ca-trust"),
        (SUSE, "/etc/pki/trust/anchors", "update-ca-certificates"),
    ],
)
def test_each_certificate_is_a_file_where_the_system_looks(
    facts: Facts, folder: str, tool: str, authority: str
) -> None:
    resources = clean_plan(trusted(authority, authority * 2), facts=facts)
    found = files(resources)
    assert list(found) == [f"{folder}/guestagent-ca-cert-{number}.crt" for number in (1, 2, 3)]
    assert {(item.content.decode(), item.mode) for item in found.values()} == {(authority, 0o644)}
    assert steps(resources)[STEP].content.endswith(f"exec {tool}\n".encode())


def test_what_stands_around_a_certificate_is_left_out(authority: str) -> None:
    text = f"Subject: $(id)\n\n{authority.replace(chr(10), chr(13) + chr(10))}\n# end"
    assert split_certificates(text) == [authority]


def test_a_certificate_is_whole_and_one_openssl_reads(authority: str) -> None:
    argv = ["openssl", "x509", "-noout", "-subject"]
    text = split_certificates(authority.replace("\n", "\n\n"))[0]
    done = subprocess.run(argv, input=text, capture_output=True, text=True)
    assert "guestagent-test" in done.stdout


def damaged(text: str) -> dict[str, str]:
    """Texts that are no certificates, by what is wrong with them."""
    lines = text.splitlines(keepends=True)
    return {
        "empty": "",
        "single": "single_line_cert",
        "cut off": "".join(lines[:-1]),
        "no begin": "".join(lines[1:]),
        "a line less": "".join((*lines[:3], *lines[4:])),
        "not base64": text.replace(lines[2], "$(id)\n"),
        "a key": text.replace("CERTIFICATE", "PRIVATE KEY"),
        "another": text.replace("BEGIN CERT", "BEGIN TRUSTED CERT"),
        "a placeholder": "-----BEGIN CERTIFICATE-----\nYOUR-ORGS-CERT-HERE\n"
        "-----END CERTIFICATE-----\n",
        "nothing inside": "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        "twice begun": lines[0] + text,
    }


@pytest.mark.parametrize("what", damaged("a\nb\nc\nd\ne\n"))
def test_what_is_no_certificate_is_refused(what: str, authority: str) -> None:
    text = damaged(authority)[what]
    if what == "twice begun":
        assert split_certificates(text) == [authority]
        return
    with pytest.raises(FieldError):
        split_certificates(text)


def test_a_wrong_one_is_an_error_and_the_others_count(authority: str) -> None:
    resources, problems = plan_of(trusted(authority, "no certificate", authority), DEBIAN)
    assert [key.split()[0] for _, key in places(problems)] == ["ca_certs.trusted[1]"]
    assert len(files(resources)) == 2
    assert STEP in steps(resources)


def test_with_none_that_is_right_nothing_is_done() -> None:
    resources, problems = plan_of(trusted("no certificate"), DEBIAN)
    assert len(problems) == 1
    assert (files(resources), steps(resources)) == ({}, {})


def test_the_defaults_are_no_longer_trusted_where_that_is_asked(authority: str) -> None:
    text = trusted(authority, more="  remove_defaults: true\n")
    script = steps(clean_plan(text, facts=DEBIAN))[STEP].content.decode()
    assert script.endswith("exec update-ca-certificates --fresh\n")
    assert "sed -i 's/^[^#!]/!&/' /etc/ca-certificates.conf" in script
    script = steps(clean_plan(text, facts=FEDORA))[STEP].content.decode()
    assert "find /usr/share/pki/ca-trust-source -type f -delete" in script
    _, problems = plan_of(text, SUSE)
    assert [key.split()[0] for _, key in places(problems)] == ["ca_certs.remove_defaults"]


def test_without_a_store_it_is_an_error(authority: str) -> None:
    resources, problems = plan_of(trusted(authority))
    assert places(problems) == [("error", "ca_certs (line 2, column 1)")]
    assert files(resources) == {}


@pytest.mark.parametrize("value", ["{remove_defaults: false}", "{trusted: []}", "{}"])
def test_nothing_asked_is_nothing_done_and_needs_no_tool(value: str) -> None:
    for facts in (DEBIAN, FACTS):
        assert steps(clean_plan(f"ca_certs: {value}", facts=facts)) == {}


def test_the_script_has_the_real_tool_take_it_up_and_drop_the_rest(
    authority: str, tmp_path: Path
) -> None:
    rig.need_root()
    rig.need_tools("update-ca-certificates", "unshare")
    resources = clean_plan(trusted(authority, more="  remove_defaults: true\n"), facts=DEBIAN)
    script = steps(resources)[STEP].content.decode().replace("debconf-set-selections", "true")
    (own := tmp_path / "own").mkdir()
    (own / "one.crt").write_text(next(iter(files(resources).values())).content.decode())
    shutil.copytree("/etc/ssl/certs", store := tmp_path / "store", symlinks=True)
    shutil.copy(defs.CA_LIST, listed := tmp_path / "listed")
    inner = (
        f"set -e; mount --bind {store} /etc/ssl/certs; mount -t tmpfs none /etc/ca-certificates;"
        f"mkdir /etc/ca-certificates/update.d; mount --bind {own} /usr/local/share/ca-certificates;"
        f"cp {script_file(script, listed, tmp_path)} /etc/ca-certificates/step;"
        "sh /etc/ca-certificates/step"
    )
    done = subprocess.run(["unshare", "-m", "sh", "-c", inner], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (store / "ca-certificates.crt").read_text() == authority
    assert not [line for line in listed.read_text().splitlines() if line[:1] not in ("#", "!", "")]


def script_file(script: str, listed: Path, folder: Path) -> Path:
    """The step, with the tool reading a copy of the list."""
    tool = Path(shutil.which("update-ca-certificates") or "").read_text()
    (folder / "update-ca-certificates").write_text(tool.replace(defs.CA_LIST, str(listed)))
    (folder / "update-ca-certificates").chmod(0o755)
    script = script.replace(defs.CA_LIST, str(listed))
    path = folder / "step"
    path.write_text(script.replace("exec update", f"exec {folder}/update"))
    os.chmod(path, 0o700)
    return path


def test_a_tree_gets_the_files(guest: Path, tmp_path: Path, authority: str) -> None:
    (guest / "usr/sbin").mkdir()
    (guest / "usr/sbin/update-ca-certificates").touch(0o755)
    drive = make_drive(tmp_path, trusted(authority))
    paths = [change.get("path") for change in dry_run(drive, guest)["changes"]]
    assert "/usr/local/share/ca-certificates/guestagent-ca-cert-1.crt" in paths
    apply_twice(drive, guest)
    found = guest / "usr/local/share/ca-certificates/guestagent-ca-cert-1.crt"
    assert found.read_text() == authority
    step = guest / "var/lib/guestagent" / STEP
    assert subprocess.run(["sh", "-n", step]).returncode == 0
