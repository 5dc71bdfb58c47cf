"""Files that wait for their rename, and children that have become a user, under attack."""

from __future__ import annotations

import os
import resource
import shutil
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
def few_descriptors() -> Iterator[None]:
    """Let this process open 128 files more than it has open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 128 + len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("few_descriptors")
def test_more_files_than_a_process_may_open(root: Root, guest: Path) -> None:
    rig.need_root()
    (guest / "etc/many").mkdir()
    changes = [write(f"/etc/many/{number}", owner="debian:debian") for number in range(400)]
    changes += [write(f"/etc/folder{number}/a") for number in range(400)]
    changes += [write(f"/home/debian/many/{number}") for number in range(200)]
    changes += [write(f"/home/debian/folder{number}/a") for number in range(200)]
    assert failures(root, *changes) == {}
    assert len(os.listdir(guest / "etc/many")) == 400
    assert {path.owner() for path in guest.glob("etc/folder*/a")} == {"root"}
    assert len([*guest.glob("etc/folder*/a")]) == 400
    assert {path.stat().st_uid for path in guest.glob("home/debian/*/*")} == {1000}
    assert len([*guest.glob("home/debian/*/*")]) == 400
    assert [*guest.rglob(f"{defs.TEMPORARY_PREFIX}*")] == []


@pytest.mark.usefixtures("few_descriptors")
def test_files_of_a_user_in_more_directories_than_a_process_may_open(
    root: Root, guest: Path
) -> None:
    """Each of them is walked to by root, as it exists; the child gets them open."""
    rig.need_root()
    for number in range(200):
        folder = guest / f"home/debian/folder{number}"
        folder.mkdir()
        os.chown(folder, 1000, 1000)
    assert failures(root, *(write(f"/home/debian/folder{i}/a") for i in range(200))) == {}
    assert {path.stat().st_uid for path in guest.glob("home/debian/*/*")} == {1000}
    assert len([*guest.glob("home/debian/*/*")]) == 200


def test_B1_a_folder_that_is_exchanged_while_it_is_closed_gets_nothing(
    root: Root, guest: Path
) -> None:
    """Only root could do that; each folder here comes to be one that was used long ago."""
    rig.need_root()
    failed: list[str] = []
    staging = file.Staging(root, lambda _, error: failed.append(str(error)))
    staging.stage([write(f"/etc/folder{number}/a") for number in range(100)])
    (guest / "etc/folder0").rename(guest / "etc/former")
    shutil.copytree(guest / "etc/former", guest / "etc/folder0")
    staging.give_to_owners()
    staging.rename()
    staging.end()
    (told,) = failed
    assert "was exchanged by another program" in told
    assert not (guest / "etc/folder0/a").exists()
    assert (guest / "etc/folder99/a").exists()


def test_B1_a_staged_file_that_another_takes_the_name_of_is_not_put_in_place(
    root: Root, guest: Path
) -> None:
    rig.need_root()
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
    assert len(os.listdir(guest / "etc/many")) == 199
    assert not (guest / "etc/many/199").exists()


def test_B1_a_new_file_with_the_inode_of_a_staged_one_is_another(root: Root, guest: Path) -> None:
    """A file system may give that away at once; here the file itself gets another content."""
    failed: list[str] = []
    staging = file.Staging(root, lambda _, error: failed.append(str(error)))
    staging.stage([write("/etc/a")])
    time.sleep(0.05)  # the clock of file systems is a coarse one
    (guest / "etc" / staging.staged[0].temporary).write_text("other\n")
    staging.rename()
    staging.end()
    (told,) = failed
    assert "was exchanged by another program" in told
    assert not (guest / "etc/a").exists()


def test_a_full_disk_leaves_nothing_of_staged_files(
    root: Root, guest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    monkeypatch.setattr(privsep, "_too_slow", {})
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
    assert time.monotonic() - start < 5
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
    monkeypatch.setattr(file, "_write_below", lambda _: stop())
    told = failures(root, write("/home/debian/a", user="debian"), write("/etc/b"))
    assert list(told) == ["/home/debian/a"]
    assert "the next one tries again" in told["/home/debian/a"]
    assert (guest / "etc/b").read_text() == "new\n"


def count(monkeypatch: pytest.MonkeyPatch, name: str) -> list[tuple[object, ...]]:
    """Note the arguments of each call of a function of ``os``."""
    real, calls = getattr(os, name), []

    def noted(*arguments: object, **more: object) -> object:
        calls.append(arguments)
        return real(*arguments, **more)

    monkeypatch.setattr(os, name, noted)
    return calls


def test_one_child_writes_all_files_of_a_user(
    root: Root, guest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.need_root()
    with (guest / "etc/passwd").open("a") as accounts:
        accounts.write(f"ada:x:{UID}:{UID}::/home/ada:/bin/sh\n")
    (guest / "home/ada").mkdir()
    os.chown(guest / "home/ada", UID, UID)
    names = [f"{folder}{number}" for number in range(20) for folder in ("", "a/", "a/b/")]
    changes = [write(f"/home/debian/{name}") for name in names]
    changes += [write(f"/home/debian/key{name}", user="debian") for name in names[:3:2]]
    changes += [write(f"/home/ada/{name}", owner="ada") for name in names]
    forks = count(monkeypatch, "fork")
    assert failures(root, *changes) == {}
    # The directory that a file's owner is found by is another one than the home.
    assert len(forks) == 2
    for user, uid in (("debian", 1000), ("ada", UID)):
        made = [path for path in (guest / f"home/{user}").rglob("*") if path.is_file()]
        assert {path.stat().st_uid for path in made} == {uid}
        assert {path.read_text() for path in made} >= {"new\n"}


def test_one_file_of_a_user_that_cannot_be_written_spoils_only_itself(
    root: Root, guest: Path
) -> None:
    rig.need_root()
    home = guest / "home/debian"
    (home / "others").mkdir(mode=0o755)  # root's
    (home / "changed").write_text("meanwhile\n")
    os.chown(home / "changed", 1000, 1000)
    names = ("one", "others/a", "changed", "two", "others/b", "a/b")
    told = failures(root, *(write(f"/home/debian/{name}", user="debian") for name in names))
    assert {path.removeprefix("/home/debian/") for path in told} == {
        *("others/a", "others/b"),
        "changed",
    }
    assert "belongs to another user" in told["/home/debian/others/a"]
    assert "was changed by another program" in told["/home/debian/changed"]
    for name in ("one", "two", "a/b"):
        assert (home / name).read_text() == "new\n"


def test_a_child_that_dies_costs_only_the_file_that_it_was_at(
    root: Root, guest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.need_root()
    real = file._replace_as_planned

    def replace(folder: int, name: str, change: WriteFile) -> None:
        if name == "bad":
            os.kill(os.getpid(), signal.SIGKILL)
        real(folder, name, change)

    monkeypatch.setattr(file, "_replace_as_planned", replace)
    forks = count(monkeypatch, "fork")
    names = ("one", "bad", "two", "three")
    told = failures(root, *(write(f"/home/debian/{name}", user="debian") for name in names))
    assert list(told) == ["/home/debian/bad"]
    assert "the next run tries again" in told["/home/debian/bad"]
    assert len(forks) == 2
    assert {path.name for path in (guest / "home/debian").iterdir()} >= {"one", "two", "three"}


def test_a_child_with_many_files_has_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[float] = []
    real = privsep._read_chunks

    def read(pipe: int, end: float) -> Iterator[bytes]:
        ends.append(end - time.monotonic())
        return real(pipe, end)

    monkeypatch.setattr(privsep, "_read_chunks", read)
    assert privsep.run_all_as_user(0, 0, lambda _: None, range(101)) == [""] * 101
    assert 59 < ends[0] <= defs.CHILD_TIMEOUT + 100 * defs.CHILD_TIMEOUT_MORE == 60


def test_a_folder_is_walked_to_once_for_all_files_in_it(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = count(monkeypatch, "open")
    numbers = []
    for many in (100, 200):
        opened.clear()
        assert failures(root, *(write(f"/etc/many{many}/{number}") for number in range(many))) == {}
        numbers.append(len(opened))
    # For each file the look at who owns its folder, and the file itself.
    assert numbers[1] - numbers[0] <= 200, numbers
