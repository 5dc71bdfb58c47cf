"""SSH host keys, by the real ssh-keygen(1): when each is made, and what comes of the image's."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rig

from guestagent import commit as apply
from guestagent import defs
from guestagent.commit import host_keys
from guestagent.errors import Origin, Problem
from guestagent.facts import gather
from guestagent.memory import applied
from guestagent.model import Secret
from guestagent.plan.difference import Plan, diff
from guestagent.plan.kinds.host_keys import HostKeys
from guestagent.report.plan import plan_object, text
from guestagent.system.root import Root
from guestagent.verbs import make_host_keys

WHY = Origin("drive", "meta_data.json", "uuid")
ALL = HostKeys("host_keys", ("rsa", "ecdsa", "ed25519"), WHY)
RSA = ALL._replace(types=("rsa",))


class Lab:
    """A guest with an image's host keys, and a stand-in for ssh-keygen that may be slow."""

    def __init__(self, tree: Path, programs: Path, patch: pytest.MonkeyPatch) -> None:
        self.root, self.ssh, self._tool = Root(str(tree)), tree / "etc/ssh", programs / "ssh-keygen"
        self._patch = patch
        self.record: dict[str, str] = {}
        self.left = tree / defs.HOST_KEYS_FILE[1:]
        for kind in ("rsa", "dsa"):
            (self.ssh / f"ssh_host_{kind}_key").write_text("the image's")
        self.fail()

    def fail(self, *kinds: str, how: str = "exec sleep 60") -> None:
        """Have ssh-keygen take too long, or do something else, for keys of some types."""
        for module in (host_keys, make_host_keys):
            self._patch.setattr(module, "WITHOUT_HURRY", 3.0 if kinds and "sleep" in how else 60.0)
        cases = "".join(f"  {kind}) {how} ;;\n" for kind in kinds)
        self._tool.write_text(
            f'#!/bin/sh\ncase "$3" in\n{cases}  none) ;;\nesac\nexec ssh-keygen "$@"\n'
        )
        self._tool.chmod(0o755)

    def plan(self, wanted: HostKeys, *, first: bool = True, systemd: bool = True) -> Plan:
        facts = gather(self.root)._replace(systemd=systemd)
        return diff([wanted], self.root, facts, recorded=self.record, first=first, complete=True)

    def run(self, plan: Plan) -> list[Problem]:
        """Carry out a plan, and remember what was done; return the problems."""
        failures = apply.commit(plan.changes, self.root)
        again = {key for change, _ in failures for key in change.keys}
        self.record = {key: value for key, value in plan.record.items() if key not in again}
        return [problem for _, problem in failures]

    def names(self) -> list[str]:
        """The types of the keys in /etc/ssh; each has its public half."""
        names = sorted(path.name for path in self.ssh.glob("ssh_host_*"))
        private = [name for name in names if not name.endswith(".pub")]
        assert names == sorted([*private, *(f"{name}.pub" for name in private)])
        return [name.split("_")[2] for name in private]

    def public(self, kind: str) -> str:
        """The public key by the private file of a type; both halves fit, or this fails."""
        path = self.ssh / f"ssh_host_{kind}_key"
        done = subprocess.run(
            ["ssh-keygen", "-y", "-f", path], check=True, capture_output=True, text=True
        )
        assert done.stdout.split()[:2] == path.with_suffix(".pub").read_text().split()[:2]
        return done.stdout


@pytest.fixture
def lab(guest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    rig.need_tools("ssh-keygen")
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setattr(defs, "PROGRAM_DIRS", (str(programs),))
    return Lab(guest, programs, monkeypatch)


def test_given_keys_are_put_in_place_and_others_go(lab: Lab) -> None:
    given = (("ssh_host_rsa_key", Secret("private\n")), ("ssh_host_rsa_key.pub", Secret("p\n")))
    assert lab.run(lab.plan(ALL._replace(types=(), given=given))) == []
    assert lab.names() == ["rsa"]
    assert (lab.ssh / "ssh_host_rsa_key").read_text() == "private\n"
    modes = {path.name: path.stat().st_mode & 0o777 for path in lab.ssh.glob("ssh_host_*")}
    assert modes == {"ssh_host_rsa_key": 0o600, "ssh_host_rsa_key.pub": 0o644}


def test_given_keys_that_cannot_be_written_leave_none_of_the_image(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "ssh_host_rsa_key")

    wanted = ALL._replace(types=(), given=(("ssh_host_rsa_key", Secret("private\n")),))
    monkeypatch.setattr(host_keys, "replace", full)
    (problem,) = lab.run(lab.plan(wanted))
    assert "ssh_host_rsa_key: No space left on device; sshd has no host key" in problem.reason
    assert list(lab.ssh.glob("ssh_host_*")) == []
    monkeypatch.undo()
    assert lab.run(lab.plan(wanted, first=False)) == []
    assert (lab.ssh / "ssh_host_rsa_key").read_text() == "private\n"


def test_D2_a_key_that_cannot_be_written_is_named_by_its_path(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", "ssh_host_ed25519_key")

    monkeypatch.setattr(host_keys, "replace", read_only)
    (problem,) = lab.run(lab.plan(ALL._replace(types=("ed25519",))))
    assert problem.reason.startswith("/etc/ssh/ssh_host_ed25519_key: Read-only file system; sshd")


def test_D4_an_image_s_key_that_cannot_be_removed_is_named_by_its_path(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def immutable(name: str, *, dir_fd: int) -> None:
        if name.startswith("ssh_host_dsa"):
            raise OSError(errno.EPERM, "Operation not permitted", name)
        unlink(name, dir_fd=dir_fd)

    unlink = os.unlink
    monkeypatch.setattr(os, "unlink", immutable)
    (problem,) = lab.run(lab.plan(ALL._replace(types=("ed25519",))))
    assert problem.reason.startswith("/etc/ssh/ssh_host_dsa_key: Operation not permitted")
    monkeypatch.undo()
    assert lab.record == {}


def test_D4_the_image_s_keys_are_gone_from_the_disk_before_the_state_says_so(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk: list[list[str]] = []

    def fsync(fd: int) -> None:
        if os.path.samestat(os.fstat(fd), lab.ssh.stat()):
            on_disk.append(sorted(os.listdir(fd)))

    monkeypatch.setattr(os, "fsync", fsync)
    assert lab.run(lab.plan(ALL._replace(types=("ed25519",)))) == []
    assert on_disk[-1] == sorted(os.listdir(lab.ssh))
    assert lab.names() == ["ed25519"]


def test_B5_no_key_is_made_where_the_state_is(lab: Lab) -> None:
    state = lab.left.parent
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_text("in the way of everything below")
    problems = lab.run(lab.plan(ALL))
    assert lab.names() == ["ecdsa", "ed25519"]
    # Only what must outlive the boot, that there is a key to make, could not be left there.
    (problem,) = problems
    assert "; sshd has no host key of type rsa; the next run tries again" in problem.reason
    work = (Path(lab.root.path) / path[1:] for path in (defs.HOST_KEYS_WORK, defs.RUN_DIR))
    assert [path.exists() for path in work] == [False, True]


def test_what_a_killed_run_left_at_work_writes_nothing_any_more(lab: Lab) -> None:
    host_keys.Work(lab.root, defs.HOST_KEYS_WORK)  # never ended
    left = Path(lab.root.path) / defs.HOST_KEYS_WORK[1:]
    (left / "ssh_host_rsa_key").write_text("half")
    before = os.open(left, os.O_RDONLY)
    try:
        with host_keys.Work(lab.root, defs.HOST_KEYS_WORK) as work:
            assert os.listdir(work.fd) == []
            assert os.fstat(work.fd).st_mode & 0o777 == 0o700
            with pytest.raises(FileNotFoundError):
                os.open("ssh_host_rsa_key.pub", os.O_CREAT | os.O_WRONLY, dir_fd=before)
    finally:
        os.close(before)


def test_a_costly_key_is_not_deferred_where_the_image_has_only_public_halves(lab: Lab) -> None:
    for path in lab.ssh.glob("ssh_host_*"):
        path.rename(f"{path}.pub")
    assert lab.run(lab.plan(RSA._replace(others="kept"))) == []
    assert lab.public("rsa")
    assert not lab.left.exists()


def test_others_may_stay(lab: Lab) -> None:
    assert lab.run(lab.plan(ALL._replace(types=("ed25519",), others="kept"))) == []
    assert (lab.ssh / "ssh_host_dsa_key").read_text() == "the image's"
    assert lab.public("ed25519")


def test_D4_each_type_is_made_and_kept_by_itself(lab: Lab) -> None:
    lab.fail("rsa")
    (problem,) = lab.run(lab.plan(ALL, systemd=False))
    assert "ssh-keygen: took longer than " in problem.reason
    assert problem.reason.endswith("sshd has no host key of type rsa; the next run tries again")
    assert lab.names() == ["ecdsa", "ed25519"]
    made = {kind: lab.public(kind) for kind in lab.names()}

    lab.fail()
    again = lab.plan(ALL, first=False, systemd=False)
    assert lab.run(again) == []
    assert lab.names() == ["ecdsa", "ed25519", "rsa"]
    assert {kind: lab.public(kind) for kind in made} == made
    rest = lab.plan(ALL, first=False, systemd=False)
    assert (rest.changes, rest.record) == ((), again.record)


@pytest.mark.parametrize("systemd", [False, True])
def test_D4_no_key_of_the_image_stays_where_none_could_be_made(lab: Lab, systemd: bool) -> None:
    lab.fail("ed25519", "ecdsa", "rsa", how="exit 1")
    (problem,) = lab.run(lab.plan(ALL, systemd=systemd))
    assert "sshd has no host key, so that nobody can log in over SSH; " in problem.reason
    assert lab.names() == []
    lab.fail()
    assert lab.run(lab.plan(ALL, first=False, systemd=systemd)) == []
    make_host_keys.make_all(lab.root)
    assert lab.names() == ["ecdsa", "ed25519", "rsa"]


def test_D4_the_costly_key_waits_for_sshd_and_the_image_s_goes_at_once(lab: Lab) -> None:
    lab.fail("rsa")
    plan = lab.plan(ALL)
    assert lab.run(plan) == []
    assert lab.names() == ["ecdsa", "ed25519"]
    assert json.loads(lab.left.read_text()) == ["rsa"]
    assert lab.plan(ALL, first=False).changes == ()

    # The unit of this boot is not given the time; that of the next is, without another run.
    made, (problem,) = make_host_keys.make_all(lab.root)
    assert (made, lab.names()) == ([], ["ecdsa", "ed25519"])
    assert problem.reason.endswith("sshd has no host key of type rsa; the next boot tries again")
    lab.fail()
    assert make_host_keys.make_all(lab.root) == (["rsa"], [])
    assert lab.public("rsa")
    assert (lab.names(), lab.left.exists()) == (["ecdsa", "ed25519", "rsa"], False)
    assert make_host_keys.make_all(lab.root) == ([], [])
    assert lab.plan(ALL, first=False).changes == ()


def test_a_key_that_another_run_tries_again_takes_none_away(lab: Lab) -> None:
    lab.fail("ecdsa", how="exit 1")
    (problem,) = lab.run(lab.plan(ALL))
    assert problem.reason.endswith("sshd has no host key of type ecdsa; the next run tries again")
    assert lab.left.exists()
    lab.fail()
    plan = lab.plan(ALL, first=False)
    assert [change.tell() for change in plan.changes] == ["make SSH host keys: ecdsa"]
    assert lab.run(plan) == []
    assert make_host_keys.make_all(lab.root) == (["rsa"], [])
    assert lab.names() == ["ecdsa", "ed25519", "rsa"]


@pytest.mark.parametrize("wanted", [RSA, ALL], ids=["the only one", "the only one possible"])
def test_sshd_does_not_start_without_a_key(lab: Lab, wanted: HostKeys) -> None:
    lab.fail("ed25519", "ecdsa", how="exit 1")
    problems = lab.run(lab.plan(wanted))
    assert len(problems) == (wanted is ALL)
    assert lab.names() == ["rsa"]
    assert not lab.left.exists()


def test_a_costly_key_that_sshd_needs_and_that_takes_too_long_is_left_to_the_unit(
    lab: Lab,
) -> None:
    lab.fail("rsa")
    (problem,) = lab.run(lab.plan(RSA))
    assert "nobody can log in over SSH; guestagent-host-keys.service tries again" in problem.reason
    assert lab.names() == []
    lab.fail()
    assert make_host_keys.make_all(lab.root) == (["rsa"], [])
    assert lab.plan(RSA, first=False).changes == ()


def test_the_plan_says_what_is_made_when(lab: Lab) -> None:
    plan = lab.plan(ALL)
    later = "make SSH host keys: ed25519, ecdsa; after sshd has started: rsa"
    assert f"# {later}\n" in text(plan, [])
    (told,) = plan_object(plan, [])["changes"]
    assert (told["types"], told["later"]) == (("ed25519", "ecdsa", "rsa"), ("rsa",))
    (alone,) = lab.plan(RSA).changes
    assert alone.tell() == "make SSH host keys: rsa"
    (offline,) = lab.plan(ALL, systemd=False).changes
    assert offline.tell() == "make SSH host keys: ed25519, ecdsa, rsa"


def test_another_instance_that_wants_no_costly_key_gets_none(lab: Lab) -> None:
    assert lab.run(lab.plan(ALL)) == []
    with host_keys.Work(lab.root, defs.HOST_KEYS_LATER_WORK) as work:
        assert lab.run(lab.plan(ALL._replace(types=("ed25519",)))) == []
        assert not host_keys.install_waiting("rsa", work, lab.root)
    assert make_host_keys.make_all(lab.root) == ([], [])
    assert lab.names() == ["ed25519"]


def test_a_key_that_somebody_else_made_meanwhile_stays(lab: Lab) -> None:
    assert lab.run(lab.plan(ALL)) == []
    (lab.ssh / "ssh_host_rsa_key").write_text("an administrator's")
    assert make_host_keys.make_all(lab.root) == ([], [])
    assert (lab.ssh / "ssh_host_rsa_key").read_text() == "an administrator's"
    assert not lab.left.exists()


@pytest.mark.parametrize("content", ["", "{}", "[1]", '["rsa", "dsa"]'])
def test_a_damaged_file_of_what_is_left_to_make_stops_nothing(lab: Lab, content: str) -> None:
    assert lab.run(lab.plan(ALL)) == []
    lab.left.write_text(content)
    _, problems = make_host_keys.make_all(lab.root)
    assert problems == []
    assert lab.plan(ALL, first=False).changes == ()


def test_D2_a_key_that_cannot_be_left_to_the_unit_is_made_by_the_next_run(lab: Lab) -> None:
    lab.left.mkdir(parents=True)
    (lab.left / "x").touch()
    (problem,) = lab.run(lab.plan(ALL))
    assert problem.reason.endswith("sshd has no host key of type rsa; the next run tries again")
    (lab.left / "x").unlink()
    lab.left.rmdir()
    assert lab.run(lab.plan(ALL, first=False)) == []
    assert make_host_keys.make_all(lab.root) == (["rsa"], [])


def test_no_link_of_the_tree_leads_a_new_key_outside(lab: Lab, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    inside = Path(lab.root.path) / str(outside)[1:]
    inside.mkdir(parents=True)
    above = Path(lab.root.path) / defs.RUN_DIR[1:]
    above.parent.mkdir(parents=True, exist_ok=True)
    above.symlink_to(outside)
    assert lab.run(lab.plan(ALL._replace(types=("ed25519",)))) == []
    assert lab.public("ed25519")
    assert list(outside.iterdir()) == []


def test_a_folder_of_sshd_that_root_has_linked_elsewhere_gets_the_keys(lab: Lab) -> None:
    moved = Path(lab.root.path) / "usr/etc-ssh"
    moved.parent.mkdir(exist_ok=True)
    lab.ssh.rename(moved)
    lab.ssh.symlink_to("../usr/etc-ssh")
    assert lab.run(lab.plan(ALL)) == []
    assert make_host_keys.make_all(lab.root) == (["rsa"], [])
    assert (lab.names(), lab.ssh.is_symlink()) == (["ecdsa", "ed25519", "rsa"], True)
    assert moved.is_dir()


def test_D4_a_run_that_ends_at_any_step_leaves_sshd_a_key(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole keys, the image's or new ones, are there after each change to the directory."""
    seen: list[set[str]] = []

    def look() -> None:
        names = {path.name for path in lab.ssh.glob("ssh_host_*_key")}
        if seen or names != {"ssh_host_rsa_key", "ssh_host_dsa_key"}:
            seen.append(names)

    def watched(call: Callable[..., None]) -> Callable[..., None]:
        def wrapper(*arguments: Any, **options: Any) -> None:
            call(*arguments, **options)
            look()

        return wrapper

    for name in ("rename", "unlink"):
        monkeypatch.setattr(os, name, watched(getattr(os, name)))
    assert lab.run(lab.plan(ALL)) == []
    assert len(seen) > 4
    assert all(seen)
    assert seen[-1] == {"ssh_host_ed25519_key", "ssh_host_ecdsa_key"}


AHEAD = applied.ahead("this machine")


def test_keys_made_before_the_instance_was_known_stay(lab: Lab) -> None:
    lab.run(lab.plan(ALL._replace(value=AHEAD)))
    made = {kind: lab.public(kind) for kind in lab.names()}
    plan = lab.plan(ALL)
    assert plan.changes == ()
    assert set(plan.record.values()) == {"done"}
    assert {kind: lab.public(kind) for kind in lab.names()} == made


@pytest.mark.parametrize(
    "wanted",
    [
        ALL._replace(types=("ed25519",)),
        ALL._replace(types=(), given=(("ssh_host_ed25519_key", Secret("given")),)),
    ],
)
def test_others_than_were_made_before_the_instance_was_known_are_made(
    lab: Lab, wanted: HostKeys
) -> None:
    lab.run(lab.plan(ALL._replace(value=AHEAD)))
    old = (lab.ssh / "ssh_host_ed25519_key").read_text()
    lab.run(lab.plan(wanted))
    assert [path.name for path in lab.ssh.glob("ssh_host_*_key")] == ["ssh_host_ed25519_key"]
    assert (lab.ssh / "ssh_host_ed25519_key").read_text() != old


def test_D4_only_what_was_made_ahead_outlasts_a_new_instance(lab: Lab) -> None:
    lab.run(lab.plan(ALL))
    old = lab.public("ed25519")
    lab.run(lab.plan(ALL))
    assert lab.public("ed25519") != old
