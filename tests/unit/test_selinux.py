"""Labels of SELinux: by the real libselinux, with a stand-in for the kernel's part.

That a kernel which enforces a policy has nothing to say is shown by ``vm/test_selinux.py``.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from stat import S_IFREG
from typing import Any

import pytest
import rig

from guestagent import defs
from guestagent.commit import commit, home, host_keys, sshd
from guestagent.errors import Origin, Problems
from guestagent.plan.kinds.file import WriteFile
from guestagent.plan.kinds.home import MakeHome
from guestagent.plan.kinds.host_keys import MakeHostKeys, command
from guestagent.plan.kinds.link import MakeLink
from guestagent.plan.kinds.sshd import SetSshd
from guestagent.scripts.output import ScriptLog
from guestagent.system import ownfiles, selinux
from guestagent.system.root import Making, Root
from guestagent.system.tools import Result
from guestagent.verbs.change import _warn_of_unread

WHY = Origin("drive", "meta_data.json", "files")
# As in file_contexts(5): the last rule that matches a path wins. "--" is a regular file.
POLICY = r"""
/.*                                 u:r:default_t
/etc(/.*)?                          u:r:etc_t
/etc/linked                  -l     u:r:etc_link_t
/etc/hostname                --     u:r:net_conf_t
/etc/ssh/ssh_host_.*         --     u:r:sshd_key_t
/home/[^/]+                  -d     u:r:user_home_dir_t
/home/[^/]+/.+                      u:r:user_home_t
/home/[^/]+/\.ssh(/.*)?             u:r:ssh_home_t
/var/lib(/.*)?                      u:r:var_lib_t
/var/log(/.*)?                      u:r:var_log_t
/run/.*                             <<none>>
"""


class Kernel:
    """Remembers with which label each file was made: what was last written to fscreate."""

    def __init__(self, tree: Path, patch: pytest.MonkeyPatch) -> None:
        self.tree = tree
        # Both are shared with children, which write to them as other users.
        self._label = os.memfd_create("fscreate")
        self._made = os.memfd_create("made")
        os.fchmod(self._label, 0o666)
        self._path = f"/proc/self/fd/{self._label}"
        patch.setattr(defs, "LABEL_OF_NEW_FILES", self._path)
        self.open, self.mkdir, self.symlink = os.open, os.mkdir, os.symlink
        patch.setattr(os, "open", self._open)
        patch.setattr(os, "mkdir", self._mkdir)
        patch.setattr(os, "symlink", self._symlink)

    def close(self) -> None:
        os.close(self._label)
        os.close(self._made)

    @property
    def label(self) -> str:
        """The label of what is made now; empty for the kernel's choice."""
        return os.pread(self._label, 100, 0).decode().strip()

    def _note(self, name: Any, dir_fd: int | None) -> None:
        found = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        os.write(self._made, f"{found.st_ino} {self.label}\n".encode())

    def _open(self, name: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if name == self._path:
            os.ftruncate(self._label, 0)
        fd = self.open(name, flags, mode, dir_fd=dir_fd)
        if flags & os.O_CREAT:
            self._note(name, dir_fd)
        return fd

    def _mkdir(self, name: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        self.mkdir(name, mode, dir_fd=dir_fd)
        self._note(name, dir_fd)

    def _symlink(self, target: Any, name: Any, *, dir_fd: int | None = None) -> None:
        self.symlink(target, name, dir_fd=dir_fd)
        self._note(name, dir_fd)

    def labels(self, *paths: str) -> list[str]:
        """With which types files of the tree were made."""
        lines = os.pread(self._made, 1 << 20, 0).decode().splitlines()
        made = dict(line.split(" ", 1) for line in lines)
        inodes = [str((self.tree / path[1:]).lstat().st_ino) for path in paths]
        return [made[inode].rpartition(":")[2] for inode in inodes]


@pytest.fixture
def policy(guest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy for the paths of the tree, and of the machine's /etc/ssh."""
    place = tmp_path / "policy/contexts/files/file_contexts"
    place.parent.mkdir(parents=True)
    rules = [f"{guest}{rule}\n" for rule in POLICY.strip().splitlines()]
    place.write_text("".join([*rules, f"{defs.SSH_DIR} -d u:r:of_ssh_dir_t\n"]))
    ctypes.CDLL("libselinux.so.1").selinux_set_policy_root(os.fsencode(tmp_path / "policy"))
    monkeypatch.setattr(selinux, "_opened", None)
    monkeypatch.setattr(defs, "SELINUX", "/proc/version")  # as anyone can see that of a kernel
    assert selinux.find_label("/", S_IFREG) == b""  # here, as no user can read this policy


@pytest.fixture
def root(guest: Path, policy: None) -> Iterator[Root]:
    made = Root(str(guest))
    made.live = True  # as labels are for the running system only
    yield made
    made.close()


@pytest.fixture
def kernel(guest: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    made = Kernel(guest, monkeypatch)
    yield made
    made.close()


def write(path: str, *, user: str = "") -> WriteFile:
    return WriteFile("write", path, None, b"new\n", None, 0o644, user, WHY, False)


def test_D9_files_links_and_folders_are_made_with_the_label_of_their_path(
    root: Root, kernel: Kernel
) -> None:
    (kernel.tree / "etc/hostname").unlink(missing_ok=True)
    link = MakeLink("link", "/etc/linked", "", "/etc/app/app.conf", WHY)
    assert commit((write("/etc/app/app.conf"), write("/etc/hostname"), link), root) == []
    found = kernel.labels("/etc/app", "/etc/app/app.conf", "/etc/hostname", "/etc/linked")
    assert found == ["etc_t", "etc_t", "net_conf_t", "etc_link_t"]
    assert kernel.label == ""


def test_D9_a_link_on_the_way_does_not_change_the_label(root: Root, kernel: Kernel) -> None:
    (kernel.tree / "srv").mkdir(exist_ok=True)
    os.symlink("../etc", kernel.tree / "srv/conf")
    assert commit((write("/srv/conf/new.conf"),), root) == []
    assert kernel.labels("/etc/new.conf") == ["etc_t"]


def test_D9_what_is_written_as_a_user_is_made_with_its_label(root: Root, kernel: Kernel) -> None:
    rig.need_root()
    rig.own_homes(kernel.tree)
    keys = "/home/debian/.ssh/authorized_keys"
    (kernel.tree / keys[1:]).unlink(missing_ok=True)
    files = (write(keys, user="debian"), write("/home/debian/.config/a", user="debian"))
    assert commit(files, root) == []
    found = kernel.labels(keys, "/home/debian/.config", "/home/debian/.config/a")
    assert found == ["ssh_home_t", "user_home_t", "user_home_t"]


def test_D9_a_home_is_made_with_its_labels_under_its_temporary_name(
    root: Root, kernel: Kernel
) -> None:
    rig.need_root()
    skeleton = kernel.tree / "etc/skel"
    (skeleton / ".ssh").mkdir(parents=True)
    (skeleton / ".ssh/config").write_text("x\n")
    (skeleton / ".profile").write_text("x\n")
    os.symlink(".profile", skeleton / ".login")
    with (kernel.tree / "etc/passwd").open("a") as passwd:
        passwd.write("ada:x:4321:4321::/home/ada:/bin/sh\n")
    home.carry_out(MakeHome("make_home", "ada", "/home/ada", WHY), root)
    names = ("", "/.ssh", "/.ssh/config", "/.profile", "/.login")
    found = kernel.labels(*(f"/home/ada{name}" for name in names))
    assert found == ["user_home_dir_t", "ssh_home_t", "ssh_home_t", "user_home_t", "user_home_t"]


def test_D9_the_rest_of_a_home_is_made_with_its_labels(root: Root, kernel: Kernel) -> None:
    rig.need_root()
    rig.own_homes(kernel.tree)
    skeleton = kernel.tree / "etc/skel"
    (skeleton / ".ssh").mkdir(parents=True)
    (skeleton / ".ssh/rc").write_text("x\n")
    (skeleton / ".inputrc").write_text("x\n")
    (kernel.tree / "home/debian/.inputrc").write_text("")
    home.carry_out(MakeHome("make_home", "debian", "/home/debian", WHY), root)
    found = kernel.labels("/home/debian/.inputrc", "/home/debian/.ssh/rc")
    assert found == ["user_home_t", "ssh_home_t"]


def test_D9_host_keys_have_their_label_and_are_made_where_ssh_keygen_may_write(
    root: Root, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    make = host_keys.Work.make

    def note(work: host_keys.Work, *arguments: Any) -> None:
        seen.extend(kernel.labels(defs.HOST_KEYS_WORK))
        make(work, *arguments)

    monkeypatch.setattr(host_keys.Work, "make", note)
    change = MakeHostKeys("make_host_keys", ("ed25519",), WHY, commands=(command("ed25519"),))
    host_keys.carry_out(change, root)
    assert seen == ["of_ssh_dir_t"]
    key = "/etc/ssh/ssh_host_ed25519_key"
    assert kernel.labels(key, f"{key}.pub") == ["sshd_key_t", "sshd_key_t"]


def test_D9_guestagents_own_files_have_their_label(root: Root, kernel: Kernel) -> None:
    rig.need_root()
    ownfiles.write(root, defs.STATE_FILE, {}, 0o600)
    (kernel.tree / "var/log").mkdir(parents=True, exist_ok=True)
    os.close(ScriptLog(root).fd)
    found = kernel.labels(defs.STATE_DIR, defs.STATE_FILE, defs.SCRIPTS_LOG)
    assert found == ["var_lib_t", "var_lib_t", "var_log_t"]


def test_what_the_policy_leaves_to_the_kernel_has_no_label(root: Root, kernel: Kernel) -> None:
    (kernel.tree / "run").mkdir(exist_ok=True)
    assert commit((write("/run/app/a"),), root) == []
    assert kernel.labels("/run/app/a") == [""]


def test_a_file_whose_label_cannot_be_set_is_written_and_told(
    root: Root,
    guest: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(defs, "LABEL_OF_NEW_FILES", str(guest / "missing"))
    assert commit((write("/etc/new"),), root) == []
    assert (guest / "etc/new").read_text() == "new\n"
    assert (
        f"{guest}/etc/new: its SELinux label cannot be set: No such file" in capsys.readouterr().err
    )


@pytest.mark.usefixtures("policy")
@pytest.mark.parametrize(
    "change",
    [
        lambda root, _: setattr(root, "live", False),  # a tree that is not running
        lambda _, patch: patch.setattr(defs, "SELINUX", "/proc/none"),  # no policy
        lambda _, patch: patch.setattr(selinux, "find_label", None),  # /run
    ],
)
def test_without_a_policy_nothing_is_looked_up(
    root: Root, monkeypatch: pytest.MonkeyPatch, change: Callable[..., None]
) -> None:
    path = f"{defs.RUN_DIR}/report.json"
    change(root, monkeypatch)
    if root.live and os.path.exists(defs.SELINUX):
        assert type(root.labelled_as(path)) is Making
    else:
        assert type(root.labelled_as("/etc/hosts", S_IFREG)) is Making
        assert type(root.labelled(root.fd, "hosts")) is Making


@pytest.mark.parametrize("missing", ["policy", "library"])
def test_labels_that_cannot_be_read_stop_no_run_and_are_told_once(
    root: Root,
    guest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    missing: str,
) -> None:
    assert selinux.find_label(f"{guest}/etc/hosts", S_IFREG) == b"u:r:etc_t"
    monkeypatch.setattr(selinux, "_opened", None)
    if missing == "policy":
        ctypes.CDLL("libselinux.so.1").selinux_set_policy_root(os.fsencode(tmp_path / "none"))
    else:
        monkeypatch.setattr(selinux, "_LIBRARY", "libmissing.so.1")
    assert commit((write("/etc/one"), write("/etc/two")), root) == []
    assert (guest / "etc/two").read_text() == "new\n"
    assert capsys.readouterr().err.count("files are made without") == 1


@pytest.mark.parametrize("status", [0, 255])
def test_D9_sshd_is_asked_by_its_command_line_as_it_may_open_no_file_or_pipe_of_ours(
    root: Root, kernel: Kernel, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    def run(argv: list[str]) -> Result:
        options = ["-o", "PasswordAuthentication yes", "-o", "PermitRootLogin no"]
        assert argv == ["sshd", "-t", "-f", "/dev/null", *options]
        return Result(status, b"", b"command-line: Bad configuration option\n")

    monkeypatch.setattr(sshd, "find_program", lambda name: name)
    monkeypatch.setattr(sshd, "make_run_folder", lambda _: None)
    monkeypatch.setattr(sshd, "run", run)
    text = b"# Written by guestagent.\nPasswordAuthentication yes\nPermitRootLogin no\n"
    file = write(defs.SSHD_DROPIN)._replace(new=text)
    failures = commit((SetSshd("set_sshd", file, switches_off=False, key_files=()),), root)
    if status:
        ((_, problem),) = failures
        assert "not written, because sshd does not accept it: exit status 255" in problem.reason
    else:
        assert failures == []
        assert kernel.labels(defs.SSHD_DROPIN) == ["etc_t"]


KEYS = "/srv/keys/debian"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBmv90jZ26+L7GGTIETHpnKzxlk0tvUUfNqTfg0xST38 me"


@pytest.fixture
def refused(root: Root, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a key that the policy keeps from sshd, by the kernel's answers."""
    place = root.path + KEYS
    answers = {"create": "u:r:sshd_t", "access": "2 ffffffff 0 ffffffff 7 0"}
    read = {defs.SELINUX: "1", f"{defs.SELINUX_DIR}/class/file/perms/read": "3"}
    monkeypatch.setattr(selinux, "_ask", lambda what, *_: answers[what])
    monkeypatch.setattr(selinux, "_read", lambda path: read.get(path, "u:r:init_t"))
    monkeypatch.setattr(selinux, "_label_of", lambda path: f"of {path.removeprefix(root.path)}")
    monkeypatch.setattr(sshd, "find_program", lambda name: f"/usr/sbin/{name}")
    Path(place).parent.mkdir(parents=True)
    Path(place).write_text(f"{KEY}\n")
    return Path(place)


@pytest.mark.usefixtures("refused")
def test_D9_keys_that_selinux_keeps_from_sshd_are_told(root: Root) -> None:
    problems = Problems()
    keys = write(KEYS)._replace(keys=(f"keys:{KEYS}",))
    _warn_of_unread([keys], [], root, problems=problems)
    (problem,) = problems.problems
    assert problem.severity == "warning"
    assert f"its domain u:r:sshd_t read a file with the label of {KEYS};" in problem.reason


@pytest.mark.usefixtures("refused", "kernel")
def test_D9_keys_that_selinux_keeps_from_sshd_switch_no_passwords_off(root: Root) -> None:
    change = SetSshd("set_sshd", write(defs.SSHD_DROPIN), switches_off=True, key_files=(KEYS,))
    ((_, problem),) = commit((change,), root)
    assert "as sshd refuses to read it: SELinux does not let" in problem.reason
    assert "passwords are not switched off" in problem.reason


@pytest.mark.usefixtures("refused")
@pytest.mark.parametrize(
    ("enforced", "answer"),
    [("1", "6 ffffffff 0 ffffffff 7 0"), ("1", "0 ffffffff 0 ffffffff 7 1"), ("0", "")],
)
def test_what_sshd_may_read_or_is_not_enforced_is_no_problem(
    monkeypatch: pytest.MonkeyPatch, enforced: str, answer: str
) -> None:
    read = {defs.SELINUX: enforced, f"{defs.SELINUX_DIR}/class/file/perms/read": "3"}
    monkeypatch.setattr(selinux, "_read", lambda path: read.get(path, "u:r:init_t"))
    monkeypatch.setattr(selinux, "_ask", lambda *_: answer)
    assert selinux.why_denied(KEYS, "/usr/sbin/sshd") == ""
