"""Files that wait for their rename, and children that have become a user, under attack."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rig

from guestagent import defs
from guestagent.commit import commit, file
from guestagent.errors import Origin, Refused
from guestagent.plan.kinds.file import WriteFile
from guestagent.system import ownfiles, privsep
from guestagent.system.root import Root

WHY = Origin("drive", "meta_data.json", "files")
UID = 12345
CONSTANT = "00" * 8


def write(path: str, *, owner: str = "", user: str = "", old: bytes | None = None) -> WriteFile:
    return WriteFile("write", path, old, b"new\n", None, 0o644, user, WHY, False, owner=owner)


@pytest.fixture
def root(guest: Path) -> Iterator[Root]:
    made = Root(str(guest))
    yield made
    made.close()


def failures(root: Root, *changes: WriteFile) -> dict[str, str]:
    return {problem.reason.split(": ")[0]: problem.reason for _, problem in commit(changes, root)}


def test_B1_staged_names_differ_from_run_to_run(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: set[str] = set()
    rename = os.rename

    def note(source: str, target: str, **more: int) -> None:
        if target == "a":
            found.add(source)
        rename(source, target, **more)

    monkeypatch.setattr(os, "rename", note)
    for _ in range(3):
        assert failures(root, write("/etc/a")) == {}
    assert len(found) == 3


def test_B1_a_staged_name_that_exists_spoils_only_itself(
    root: Root, guest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (guest / "etc/one").mkdir()
    victim = guest / "etc/victim"
    victim.write_text("old\n")
    (guest / f"etc/one/{defs.TEMPORARY_PREFIX}{CONSTANT}").symlink_to("../victim")
    (guest / "etc/two").mkdir()
    monkeypatch.setattr(os, "urandom", bytes)
    told = failures(root, write("/etc/one/a"), write("/etc/two/b"))
    assert told == {"/etc/one/a": "/etc/one/a: File exists"}
    assert (guest / "etc/two/b").read_text() == "new\n"
    assert victim.read_text() == "old\n"


@pytest.mark.parametrize("other", ["file", "link"])
def test_B1_a_staged_file_that_is_exchanged_is_not_put_in_place(
    root: Root, guest: Path, other: str
) -> None:
    rig.need_root()
    failed: list[tuple[Any, Exception]] = []
    victim = guest / "etc/victim"
    victim.write_text("root's\n")
    staging = file.Staging(root, lambda change, error: failed.append((change, error)))
    staging.stage([write("/etc/a", owner="debian"), write("/etc/b")])
    first = guest / "etc" / staging.staged[0].temporary
    first.unlink()
    if other == "link":
        os.link(victim, first)
    else:
        first.write_text("other\n")
    staging.give_to_owners()
    staging.rename()
    staging.end()
    ((change, error),) = failed
    assert change.why == WHY
    assert "was exchanged by another program" in str(error)
    assert not (guest / "etc/a").exists()
    assert victim.stat().st_uid == 0
    assert (guest / "etc/b").read_text() == "new\n"


@pytest.mark.parametrize(
    ("mode", "group", "sound"),
    [
        (0o755, UID, True),
        (0o775, UID, False),
        (0o2775, UID, False),
        (0o1775, UID, True),
        (0o775, 0, True),
        (0o757, 0, False),
    ],
)
def test_B1_where_a_group_may_write_nothing_is_staged(
    root: Root, guest: Path, mode: int, group: int, *, sound: bool
) -> None:
    rig.need_root()
    folder = guest / "etc/shared"
    folder.mkdir()
    os.chown(folder, 0, group)
    folder.chmod(mode)
    told = failures(root, write("/etc/shared/a"))
    assert (told == {}) == sound, told
    assert (folder / "a").exists() == sound
    if not sound:
        assert "a group may write to it" in told["/etc/shared/a"]


@pytest.mark.parametrize(("acl", "sound"), [("u:12345:rwx", False), ("u:12345:r-x", True)])
def test_B1_where_an_acl_lets_others_write_nothing_is_staged(
    root: Root, guest: Path, acl: str, *, sound: bool
) -> None:
    rig.need_root()
    rig.need_tools("setfacl")
    folder = guest / "etc/shared"
    folder.mkdir(0o755)
    subprocess.run(["setfacl", "-m", acl, folder], check=True)
    told = failures(root, write("/etc/shared/a"))
    assert (told == {}) == sound, told
    assert (folder / "a").exists() == sound


def test_B1_the_group_of_a_user_may_write_to_the_home(root: Root, guest: Path) -> None:
    rig.need_root()
    (guest / "home/debian").chmod(0o775)
    assert failures(root, write("/home/debian/a", user="debian")) == {}


def test_B1_what_is_in_the_way_of_a_user_s_file_does_not_keep_it_out(
    root: Root, guest: Path
) -> None:
    rig.need_root()
    (guest / "home/debian/.guestagent.tmp").mkdir()
    assert failures(root, write("/home/debian/a", user="debian")) == {}
    assert (guest / "home/debian/a").read_text() == "new\n"


@pytest.fixture
def few_descriptors(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, int], None]]:
    """Limit open files.  The hard limit is a stand-in: not even root can always raise it again."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    real = resource.setrlimit

    def limit(soft: int, hard: int) -> None:
        # A process that has run many tests before has files open already.
        soft, hard = (most + len(os.listdir("/proc/self/fd")) for most in (soft, hard))
        real(resource.RLIMIT_NOFILE, (soft, before[1]))
        monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
        monkeypatch.setattr(resource, "setrlimit", lambda what, to: real(what, (to[0], before[1])))

    yield limit
    real(resource.RLIMIT_NOFILE, before)


# In the second case no process may open as many files as are staged here.
@pytest.mark.parametrize(("soft", "hard"), [(256, 4096), (256, 300)])
def test_more_files_than_a_process_may_open_at_first(
    root: Root, guest: Path, few_descriptors: Callable[[int, int], None], soft: int, hard: int
) -> None:
    rig.need_root()
    few_descriptors(soft, hard)
    (guest / "etc/many").mkdir()
    changes = [write(f"/etc/many/{number}", owner="debian:debian") for number in range(400)]
    changes += [write(f"/etc/folder{number}/a") for number in range(400)]
    assert failures(root, *changes) == {}
    assert len(os.listdir(guest / "etc/many")) == 400
    assert {path.owner() for path in guest.glob("etc/folder*/a")} == {"root"}
    assert len([*guest.glob("etc/folder*/a")]) == 400
    assert [*guest.rglob(f"{defs.TEMPORARY_PREFIX}*")] == []


def test_files_that_are_open_already_take_no_place_of_staged_ones(
    root: Root, guest: Path, few_descriptors: Callable[[int, int], None]
) -> None:
    rig.need_root()
    few_descriptors(256, 512)
    others = [os.open("/dev/null", os.O_RDONLY) for _ in range(200)]
    try:
        assert failures(root, *(write(f"/etc/many/{number}") for number in range(200))) == {}
    finally:
        for other in others:
            os.close(other)
    assert len(os.listdir(guest / "etc/many")) == 200


def test_B1_a_staged_file_that_is_not_held_is_not_put_in_place_when_exchanged(
    root: Root, guest: Path, few_descriptors: Callable[[int, int], None]
) -> None:
    rig.need_root()
    few_descriptors(256, 256)
    failed: list[str] = []
    staging = file.Staging(root, lambda change, error: failed.append(f"{change} {error}"))
    staging.stage([write(f"/etc/many/{number}") for number in range(200)])
    last = staging.staged[-1]
    (guest / "etc/many/keep").write_text("")  # takes the next inode
    os.rename(guest / "etc/many/keep", guest / "etc/many" / last.temporary)
    staging.give_to_owners()
    staging.rename()
    staging.end()
    (told,) = failed
    assert "was exchanged by another program" in told
    assert len(os.listdir(guest / "etc/many")) == 200  # with that of the other program
    assert not (guest / "etc/many/199").exists()


def test_a_full_disk_leaves_nothing_of_staged_files_that_are_not_held(
    root: Root,
    guest: Path,
    few_descriptors: Callable[[int, int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig.need_root()
    few_descriptors(256, 256)
    real = ownfiles.write_all

    def fail(fd: int, content: bytes) -> None:
        if len(os.listdir(guest / "etc/many")) == 200:
            raise OSError(28, "No space left on device")
        real(fd, content)

    monkeypatch.setattr(file, "write_all", fail)
    with pytest.raises(OSError, match="No space"):
        commit(tuple(write(f"/etc/many/{number}") for number in range(300)), root)
    assert os.listdir(guest / "etc/many") == []


# Children


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(privsep, "_too_slow", set())
    monkeypatch.setattr(defs, "CHILD_TIMEOUT", 0.3)
    yield
    # One that is left where the test fails would keep the pipes of the tests open.
    for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        os.kill(int(pid), signal.SIGKILL)
        os.waitpid(int(pid), 0)


def stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("work", [stop, lambda: time.sleep(60)])
def test_B1_a_child_that_its_user_stops_is_killed(work: Callable[[], object]) -> None:
    rig.need_root()
    with pytest.raises(Refused, match=r"did not end within .* and was killed"):
        privsep.run_as_user(UID, UID, work)
    with pytest.raises(ChildProcessError):  # none is left
        os.waitpid(-1, os.WNOHANG)
    start = time.monotonic()
    with pytest.raises(Refused):
        privsep.run_as_user(UID, UID, work)
    assert time.monotonic() - start < 0.2
    privsep.run_as_user(UID + 1, UID, lambda: None)


def test_B1_a_child_that_its_user_ends_leaves_no_core_dump(tmp_path: Path) -> None:
    """Its memory is a copy of root's, with the secrets of the source."""
    rig.need_root()
    tmp_path.chmod(0o777)
    said = tmp_path / "limits"

    def tell() -> None:
        said.write_text(str(resource.getrlimit(resource.RLIMIT_CORE)))

    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    try:
        privsep.run_as_user(0, 0, tell)
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)
    assert said.read_text() == "(0, 0)"
    answer = privsep.ask_as_nobody(
        lambda: str(resource.getrlimit(resource.RLIMIT_CORE)).encode(), 100, 10.0
    )
    assert answer == b"(0, 0)"


@pytest.mark.usefixtures("patient")
def test_B1_a_user_who_stops_the_child_spoils_only_what_is_the_user_s(
    root: Root, guest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.need_root()
    monkeypatch.setattr(file, "_write_below", lambda *_, **__: stop())
    told = failures(root, write("/home/debian/a", user="debian"), write("/etc/b"))
    assert list(told) == ["/home/debian/a"]
    assert "the next one tries again" in told["/home/debian/a"]
    assert (guest / "etc/b").read_text() == "new\n"
