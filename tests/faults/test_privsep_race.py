"""B1: a user exchanges his .ssh with a link while root writes; nothing ever escapes."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import rig

from guestagent.commit import commit
from guestagent.errors import Origin
from guestagent.plan.kinds.file import WriteFile
from guestagent.system.privsep import run_as_user
from guestagent.system.root import Root

UID = 12345
WRITES = 2000
_EXCHANGE = 2
_AT_FDCWD = -100
_KEYS = "/home/user/.ssh/authorized_keys"


def _exchange_for_ever(one: Path, other: Path) -> None:
    """Runs as the user until it is killed."""
    libc = ctypes.CDLL(None)
    names = os.fsencode(one), os.fsencode(other)
    while True:
        libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE)


@pytest.fixture
def attacked(tree: Path) -> Iterator[Path]:
    """A tree in which a user exchanges ``.ssh`` with a link to a folder of root's."""
    rig.need_root()
    for folder in (tree, *tree.parents):
        if folder.stat().st_uid == 0 and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    home, victim = tree / "home/user", tree / "victim"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    victim.mkdir()
    (victim / "authorized_keys").write_text("root's\n")
    (tree / "etc").mkdir()
    (tree / "etc/passwd").write_text(f"user:x:{UID}:{UID}::/home/user:/bin/sh\n")
    (home / ".lnk").symlink_to(victim)
    for path in (home, home / ".ssh", home / ".lnk"):
        os.chown(path, UID, UID, follow_symlinks=False)
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(UID, UID, UID)
            os.setresuid(UID, UID, UID)
            _exchange_for_ever(home / ".ssh", home / ".lnk")
        finally:
            os._exit(1)
    time.sleep(0.05)
    yield tree
    ended, _ = os.waitpid(pid, os.WNOHANG)
    assert ended == 0, "the attacker died"
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_B1_no_write_escapes_from_a_home_under_attack(
    attacked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda fd: None)  # the disk's speed is not the matter here
    root = Root(str(attacked))
    victim = attacked / "victim"
    escapes = done = refused = 0
    why = Origin("drive", "meta_data.json", "keys")
    old: bytes | None = None
    for number in range(WRITES):
        new = b"key %d\n" % number
        change = WriteFile("write", _KEYS, old, new, None, 0o600, "user", why, False)
        if commit((change,), root):
            refused += 1
        else:
            done, old = done + 1, new
        untouched = (victim / "authorized_keys").read_text() == "root's\n"
        escapes += not (untouched and os.listdir(victim) == ["authorized_keys"])
    assert escapes == 0
    assert done + refused == WRITES
    assert done, "no write was ever completed: the race was not run"
    assert refused, "no write was ever refused: the race was not run"


def test_B1_the_work_is_done_as_the_user_with_no_other_group(tmp_path: Path) -> None:
    rig.need_root()
    out = os.open(tmp_path / "ids", os.O_RDWR | os.O_CREAT)

    def work() -> None:
        os.write(out, repr((os.getresuid(), os.getresgid(), os.getgroups())).encode())

    groups = os.getgroups()
    os.setgroups([*groups, UID + 1])
    try:
        run_as_user(UID, UID, work)
    finally:
        os.setgroups(groups)
    assert (tmp_path / "ids").read_text() == repr(((UID,) * 3, (UID,) * 3, []))
    assert os.geteuid() == 0
    os.close(out)
