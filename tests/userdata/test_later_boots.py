"""What later boots and other instances find, and runs that could not finish: nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import rig

from guestagent import cli, defs
from guestagent.errors import Origin, Problems
from guestagent.facts import keycheck
from guestagent.model import Text
from guestagent.parse.userdata import read as user_data
from guestagent.system import jinja, tools

from .planning import apply_twice, dry_run, make_drive
from .test_plan_users import lines_of, real_accounts

OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBnXGPTYVDg0mLdLYgdTFrcN7pSYKlXwWmDlj3cNdXZ5 other"
THIRD = OTHER.replace("AAAIBnX", "AAAIBnY").replace("other", "third")
GOOD = f"""\
hostname: mine
ssh_authorized_keys: ['{OTHER}']
ssh_pwauth: true
write_files: [{{path: /etc/x, content: good}}]
runcmd: [echo a]
bootcmd: [echo b]
"""
META = {"hostname": "meta", "public_keys": {"a": rig.KEY}}


def configured(guest: Path, tmp_path: Path, text: str = GOOD) -> Path:
    """A drive whose user data a tree was configured by."""
    drive = make_drive(tmp_path, text, **META)
    apply_twice(drive, guest)
    return drive


def tree(guest: Path) -> dict[str, rig.Entry]:
    """Everything but guestagent's own records."""
    records = (defs.STATE_FILE, defs.RUN_DIR)
    found = rig.snapshot(guest)
    return {name: entry for name, entry in found.items() if not name.startswith(records)}


def agent(drive: Path, guest: Path) -> rig.Result:
    return rig.agent("apply", "--source", drive, "--root", guest)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"#cloud-config\n\thostname: x\n", 1),
        (b"#" * (defs.FILE_LIMIT + 1), 1),
        (GOOD.replace("mine", "[1]"), 1),
        (GOOD.replace("'ssh-ed25519", "'ssh-nothing"), 1),
        (b"\x7fELF junk", 1),
        (b"", 0),
        (None, 0),
    ],
)
def test_D8_other_user_data_that_cannot_be_used_change_nothing(
    guest: Path, tmp_path: Path, content: bytes | str | None, status: int
) -> None:
    drive = configured(guest, tmp_path)
    before = tree(guest)
    make_drive(tmp_path, content or b"", **META)
    if content is None:
        (drive / "openstack/latest/user_data").unlink()
    done = agent(drive, guest)
    assert done.status == status, done.err
    assert "all but the network stays" in done.err
    assert tree(guest) == before
    assert agent(drive, guest).status == status
    assert tree(guest) == before
    make_drive(tmp_path, GOOD.replace("mine", "new"), **META)
    assert agent(drive, guest).status == 0
    assert (guest / "etc/hostname").read_text() == "new\n"


def test_the_network_follows_its_source_meanwhile(guest: Path, tmp_path: Path) -> None:
    drive = configured(guest, tmp_path)
    make_drive(tmp_path, b"#cloud-config\n{", **META)
    sample = rig.SAMPLES / "nova/drive/openstack/latest/network_data.json"
    (drive / "openstack/latest/network_data.json").write_bytes(sample.read_bytes())
    assert agent(drive, guest).status == 1
    (file,) = (guest / "etc/systemd/network").iterdir()
    assert "Address=192.0.2.10/24" in file.read_text()
    assert (guest / "etc/hostname").read_text() == "mine\n"


def test_a_host_key_that_is_made_after_the_run_is_nothing_to_look_at_again(
    guest: Path, tmp_path: Path
) -> None:
    drive = make_drive(tmp_path, GOOD, **META)
    assert agent(drive, guest).status == 0
    (guest / "etc/ssh").mkdir(exist_ok=True)
    (guest / "etc/ssh/ssh_host_rsa_key.pub").write_text("made by a unit, after sshd has started\n")
    assert agent(drive, guest).status == 0
    report = json.loads((guest / defs.REPORT_FILE[1:]).read_text())
    assert report["unchanged"]


def test_an_error_that_was_there_from_the_first_holds_nothing_back(
    guest: Path, tmp_path: Path
) -> None:
    drive = make_drive(tmp_path, f"{GOOD}timezone: [1]\n", **META)
    for _ in range(2):
        assert agent(drive, guest).status == 1
    assert (guest / "etc/hostname").read_text() == "mine\n"
    make_drive(tmp_path, f"{GOOD}timezone: [1]\n", hostname="other", public_keys={})
    done = agent(drive, guest)
    assert "all but the network" not in done.err
    assert rig.KEY not in (guest / "home/debian/.ssh/authorized_keys").read_text()


def test_D8_a_key_that_cannot_be_used_takes_no_key_away(guest: Path, tmp_path: Path) -> None:
    """Neither at its own place nor at another: the good ones come, and those before stay."""
    drive = make_drive(tmp_path, "", uuid="i-1", public_keys={"a": rig.KEY, "b": OTHER})
    apply_twice(drive, guest)
    keys = guest / "home/debian/.ssh/authorized_keys"
    make_drive(tmp_path, "", uuid="i-1", public_keys={"a": THIRD, "b": "ssh-nothing AAAA"})
    for _ in range(2):
        done = agent(drive, guest)
        assert done.status == 1
        assert "keys of the boot before stay: one that the source gives cannot be used" in done.err
        assert keys.read_text().splitlines()[1:-1] == [THIRD, rig.KEY, OTHER]
    make_drive(tmp_path, "", uuid="i-1", public_keys={"a": THIRD, "b": OTHER})
    apply_twice(drive, guest)
    assert keys.read_text().splitlines()[1:-1] == [THIRD, OTHER]
    # Another instance has no claim to the keys of the one before.
    make_drive(tmp_path, "", uuid="i-2", public_keys={"a": rig.KEY, "b": "ssh-nothing AAAA"})
    assert agent(drive, guest).status == 1
    assert keys.read_text().splitlines()[1:-1] == [rig.KEY]


@pytest.mark.parametrize("text", ["", f"ssh_authorized_keys: ['{THIRD}']\n"])
def test_D8_keys_go_only_where_the_source_says_that_there_are_none(
    guest: Path, tmp_path: Path, text: str
) -> None:
    mine = [THIRD] if text else []
    drive = make_drive(tmp_path, text, **META)
    apply_twice(drive, guest)
    keys = guest / "home/debian/.ssh/authorized_keys"
    make_drive(tmp_path, text, hostname="other")
    apply_twice(drive, guest)
    assert (guest / "etc/hostname").read_text() == "other\n"
    assert keys.read_text().splitlines()[1:-1] == [*mine, rig.KEY]
    make_drive(tmp_path, text, hostname="other", public_keys={})
    apply_twice(drive, guest)
    assert keys.read_text().splitlines()[1:-1] == mine


def test_D8_what_a_source_with_errors_does_not_name_stays(guest: Path, tmp_path: Path) -> None:
    files = [{"path": f"/etc/{name}", "content_path": "/content/0000"} for name in "ab"]
    drive = make_drive(tmp_path, "", files=files)
    (drive / "openstack/content").mkdir()
    (drive / "openstack/content/0000").write_text("x\n")
    apply_twice(drive, guest)
    make_drive(tmp_path, "", files=[{**files[0], "path": "/etc/../a"}, files[1]])
    assert agent(drive, guest).status == 1
    assert (guest / "etc/a").read_text() == "x\n"
    make_drive(tmp_path, "", files=files[1:])
    apply_twice(drive, guest)
    assert not (guest / "etc/a").exists()


def test_D8_keys_that_an_administrator_changed_stay_beside_a_bad_one(
    guest: Path, tmp_path: Path
) -> None:
    drive = make_drive(tmp_path, "", public_keys={"a": rig.KEY, "b": OTHER})
    apply_twice(drive, guest)
    keys = guest / "home/debian/.ssh/authorized_keys"
    changed = keys.read_text().replace(f"{OTHER}\n", "")
    keys.write_text(changed)
    make_drive(tmp_path, "", public_keys={"a": THIRD, "b": "ssh-nothing AAAA"})
    assert agent(drive, guest).status == 1
    assert keys.read_text() == changed


def test_D4_another_instance_runs_nothing_of_the_one_before(guest: Path, tmp_path: Path) -> None:
    text = "write_files: [{path: /etc/secret, content: CANARY, defer: true}]\nruncmd: [echo a]\n"
    configured(guest, tmp_path, text)
    drive = make_drive(tmp_path, "write_files: [{path: /etc/x, content: x, defer: true}]")
    (drive / "openstack/latest/meta_data.json").write_text('{"uuid": "i-2"}')
    apply_twice(drive, guest)
    (carrier,) = (guest / f"{defs.STATE_DIR[1:]}/late").iterdir()
    assert "CANARY" not in carrier.read_text()
    assert "30-resumed-write_files-" in carrier.name


def test_a_script_that_goes_and_comes_back_is_staged_again(guest: Path, tmp_path: Path) -> None:
    drive = configured(guest, tmp_path)
    staged = {path: path.read_bytes() for path in guest.glob("var/lib/guestagent/*/*cmd")}
    assert len(staged) == 2
    make_drive(tmp_path, "hostname: mine", **META)
    apply_twice(drive, guest)
    assert not any(path.exists() for path in staged)
    make_drive(tmp_path, GOOD, **META)
    apply_twice(drive, guest)
    assert {path: path.read_bytes() for path in staged} == staged


def test_D1_a_script_staged_by_a_run_that_ends_badly_is_the_instances(
    guest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database of accounts is locked when the password comes: all else is remembered."""
    real_accounts(guest)
    monkeypatch.setattr(defs, "LOCK_WAIT", 0.3)
    text = "chpasswd: {users: [{name: debian, password: a, type: text}]}\nruncmd: [echo a]\n"
    drive = make_drive(tmp_path, text, **META)
    lock = guest / "etc/passwd.lock"
    lock.write_text(f"{os.getpid()}\0")
    assert cli.main(["--source", str(drive), "--root", str(guest)]) == 1
    lock.unlink()
    state = json.loads((guest / defs.STATE_FILE[1:]).read_text())
    assert state["instance_id"] == "i-1"
    assert "step:late/50-instance-runcmd" in state["record"]
    assert "password:debian" not in state["record"]
    plan = dry_run(drive, guest)
    kinds = [change["kind"] for change in plan["changes"]]
    assert "set_password" in kinds
    assert "step" not in kinds


def test_D1_an_account_without_its_home_is_made_anew(guest: Path, tmp_path: Path) -> None:
    """Power was cut within useradd(8): the account has a name, and nothing else."""
    real_accounts(guest)
    drive = make_drive(tmp_path, f"users: [{{name: app, ssh_authorized_keys: ['{OTHER}']}}]")
    subprocess.run(["useradd", "--root", guest, "--no-create-home", "app"], check=True)
    note = guest / defs.NOTE_FILE[1:]
    note.parent.mkdir(mode=0o700, parents=True)
    note.write_text('{"appended": {}, "made": [], "accounts": ["app"], "instance": ""}')
    apply_twice(drive, guest)
    home = guest / "home/app"
    assert OTHER in (home / ".ssh/authorized_keys").read_text()
    assert home.stat().st_uid == int(lines_of(guest, "passwd")["app"][2])


def test_a_resource_that_fails_while_it_is_planned_is_tried_again(
    guest: Path, tmp_path: Path
) -> None:
    item = "{path: /etc/large, content: x, append: true}"
    drive = make_drive(tmp_path, f"write_files: [{item}]", **META)
    (guest / "etc/large").write_bytes(bytes(defs.GUEST_FILE_LIMIT + 1))
    for _ in range(2):
        assert agent(drive, guest).status == 1
    (guest / "etc/large").write_bytes(b"small\n")
    assert agent(drive, guest).status == 0
    assert (guest / "etc/large").read_bytes() == b"small\nx"


@pytest.mark.parametrize("home", ["/var/lib/app", "/srv"])
def test_a_home_that_is_there_already_is_not_the_new_users(
    guest: Path, tmp_path: Path, home: str
) -> None:
    real_accounts(guest)
    (guest / "var/lib/app").mkdir()
    (guest / "srv").mkdir()
    text = f"""\
users: [{{name: app, system: true, homedir: {home}}}]
write_files: [{{path: {home}/conf, content: x}}]
runcmd: [echo a]
"""
    apply_twice(make_drive(tmp_path, text, **META), guest)
    assert (guest / home[1:] / "conf").stat().st_uid == 0
    assert (guest / f"{defs.STATE_DIR[1:]}/late/50-instance-runcmd").exists()


@pytest.mark.parametrize(
    "text", ["timezone: [3]\nhostname: good\n", "chpasswd: {list: ['nobody9:x']}\n", "\t{\n"]
)
def test_what_is_wrong_in_user_data_is_told_again_and_not_parsed_again(
    guest: Path, tmp_path: Path, text: str
) -> None:
    drive = make_drive(tmp_path, text, **META)
    first = agent(drive, guest)
    assert first.status == 1
    again = agent(drive, guest)
    assert again.status == 1
    problems = [line for line in first.err.splitlines() if "error: " in line or "warning: " in line]
    for line in problems:
        assert line in again.err
    assert "unchanged, 1 error, " in again.err
    report = json.loads((guest / defs.REPORT_FILE[1:]).read_text())
    assert report["unchanged"]
    assert report["exit_status"] == 1
    assert len(report["problems"]) == len(problems)
    told = rig.agent("apply", "--source", drive, "--root", guest, "--dry-run")
    assert told.status == 1
    make_drive(tmp_path, "hostname: better\n", **META)
    assert agent(drive, guest).status == 0
    assert (guest / "etc/hostname").read_text() == "better\n"
    assert "0 errors" in agent(drive, guest).err


def test_what_could_not_be_written_is_tried_again_by_each_run(guest: Path, tmp_path: Path) -> None:
    """The mode of a directory on the way is nothing that a run compares."""
    rig.need_root()
    (guest / "srv/open").mkdir(parents=True)
    (guest / "srv/open").chmod(0o777)
    drive = make_drive(tmp_path, "write_files: [{path: /srv/open/a, content: x}]\n", **META)
    for _ in range(2):
        done = agent(drive, guest)
        assert done.status == 1
        assert "unchanged" not in done.err.splitlines()[-1]
    (guest / "srv/open").chmod(0o755)
    assert agent(drive, guest).status == 0
    assert (guest / "srv/open/a").exists()


@pytest.mark.parametrize("fails", ["jinja", "parser"])
def test_what_may_pass_is_looked_at_again(
    guest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """A template that took too long, and an error of the program."""
    text = b"## template: jinja\n#cloud-config\nhostname: {{ 'good'|center(4) }}\n"
    drive = make_drive(tmp_path, text, **META)
    arguments = ["--source", str(drive), "--root", str(guest)]
    with monkeypatch.context() as broken:
        if fails == "jinja":
            broken.setattr(jinja, "render", lambda *_, **__: jinja.Outcome(given_up=True))
        else:
            broken.setattr(user_data, "read", None)
        assert cli.main(arguments) == 1
    assert cli.main(arguments) == 0
    assert (guest / "etc/hostname").read_text() == "good\n"


def test_a_tool_that_does_not_answer_may_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    result = tools.Result(tools.TIMED_OUT, b"", b"")
    monkeypatch.setattr(keycheck, "run", lambda *_: result)
    problems = Problems()
    key = Text(rig.KEY, Origin("drive", "meta_data.json", "public_keys"))
    assert keycheck.usable_keys((key,), problems) == ()
    assert problems.passing
