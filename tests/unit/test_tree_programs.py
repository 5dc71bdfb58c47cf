"""Tools that change accounts of an offline tree use no program and no library of it (bar B6)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import rig

# Of the tree whose programs and libraries write this file.
CANARY = "canary"
LIBRARY = f"""
#include <stdio.h>
__attribute__((constructor)) static void tell(void) {{
    FILE *file = fopen("/{CANARY}", "a");
    if (file) fputs("used\\n", file), fclose(file);
}}
"""
USER_DATA = """#cloud-config
groups: [staff1]
users:
- {name: app, groups: sudo, lock_passwd: false, hashed_passwd: $6$saltsalt$0123}
- {name: locked, lock_passwd: true}
chpasswd: {expire: true, list: ['debian:secret one']}
"""
# What is mounted in a tree while it is configured, by a shell whose first argument is the tree.
MOUNTS = {
    "nothing": "",
    "usr": "mount --bind $1/usr $1/usr; mount -o remount,bind,exec,suid $1/usr;",
    "home and proc": "mount -t tmpfs none $1/home; mount -t proc none $1/proc;",
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a library and a program that tell that they were used."""
    rig.need_tools("gcc")
    folder = tmp_path_factory.mktemp("planted")
    (folder / "tell.c").write_text(LIBRARY)
    (folder / "main.c").write_text("int main(void) { return 0; }\n")
    for options in (
        ("-shared", "-fPIC", "-o", "library", "tell.c"),
        ("-static", "-o", "program", "tell.c", "main.c"),
    ):
        subprocess.run(["gcc", *options], cwd=folder, check=True)
    return folder


@pytest.fixture
def hostile(guest: Path, planted: Path) -> Path:
    """A tree whose modules of nsswitch.conf(5) and caches tell that they were used."""
    rig.need_root()
    rig.need_tools("useradd", "usermod", "chage", "chpasswd", "unshare")
    for folder in ("usr/sbin", "usr/lib", "proc"):
        (guest / folder).mkdir(parents=True)
    for name in ("lib", "lib64"):
        (guest / name).symlink_to("usr/lib")
    shutil.copy(planted / "library", guest / "usr/lib/libnss_evil.so.2")
    for name in ("nscd", "sss_cache"):
        shutil.copy(planted / "program", guest / "usr/sbin" / name)
    kinds = ("passwd", "group", "shadow", "gshadow", "initgroups", "subid")
    lines = [f"{kind}: evil files\n" for kind in kinds]
    (guest / "etc/nsswitch.conf").write_text("".join(lines))
    (guest / "etc/shadow").write_text("root:*:19000:0:99999:7:::\ndebian:$6$x$y:19000::::::\n")
    (guest / "etc/gshadow").write_text("root:*::\nsudo:*::\ndebian:!::\n")
    (guest / "etc/login.defs").write_text("UID_MIN 1000\nGID_MIN 1000\nUSERGROUPS_ENAB yes\n")
    return guest


def configure(tree: Path, drive: Path, before: Sequence[str] = ()) -> rig.Result:
    """Make accounts and passwords in a tree."""
    folder = drive / "openstack/latest"
    folder.mkdir(parents=True)
    (folder / "meta_data.json").write_text('{"uuid": "i-1", "hostname": "web"}')
    (folder / "user_data").write_text(USER_DATA)
    return rig.agent("apply", "--source", drive, "--root", tree, before=before)


@pytest.mark.parametrize("mounted", MOUNTS)
def test_B6_nothing_of_an_offline_tree_is_run_or_loaded(
    hostile: Path, tmp_path: Path, mounted: str
) -> None:
    with_mounts = ["unshare", "--mount", "sh", "-ec", f'{MOUNTS[mounted]} shift; exec "$@"', "sh"]
    done = configure(hostile, tmp_path / "drive", [*with_mounts, str(hostile)])
    assert done.status == 0, done.err
    assert not (hostile / CANARY).exists()
    accounts = (hostile / "etc/passwd").read_text()
    assert "\napp:x:" in accounts
    assert "\nlocked:x:" in accounts
    assert "\napp:$6$saltsalt$0123:" in (hostile / "etc/shadow").read_text()
    assert (hostile / "home/app").is_dir() is (mounted != "home and proc")  # else in what is gone


def test_what_was_planted_is_used_by_the_tools_themselves(hostile: Path) -> None:
    """Else the test above would show nothing."""
    (hostile / "usr/lib/libnss_evil.so.2").rename(hostile / "library")
    subprocess.run(["useradd", "--root", hostile, "one"], check=True)
    assert (hostile / CANARY).exists()  # by nscd
    (hostile / CANARY).unlink()
    (hostile / "library").rename(hostile / "usr/lib/libnss_evil.so.2")
    for name in ("nscd", "sss_cache"):
        (hostile / "usr/sbin" / name).unlink()
    subprocess.run(["useradd", "--root", hostile, "two"], check=True)
    assert (hostile / CANARY).exists()  # by the library


def test_B6_a_link_through_proc_leads_to_no_program_outside(
    hostile: Path, planted: Path, tmp_path: Path
) -> None:
    """Such links leave a root directory, and what they lead to may be run."""
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            for name in ("nscd", "sss_cache"):
                program = hostile / "usr/sbin" / name
                program.unlink()
                program.symlink_to(f"/proc/{process.pid}/root{planted}/program")
            mount = f'mount -t proc none {hostile}/proc; exec "$@"'
            before = ["unshare", "--mount", "sh", "-ec", mount, "sh"]
            done = configure(hostile, tmp_path / "drive", before)
            assert done.status == 0, done.err
            assert not (hostile / CANARY).exists()
            subprocess.run([*before, "useradd", "--root", hostile, "one"], check=True)
            assert (hostile / CANARY).exists()  # so it would have been used
        finally:
            process.kill()


def test_without_the_right_to_mount_no_tool_runs_on_a_tree(hostile: Path, tmp_path: Path) -> None:
    before = ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"]
    done = configure(hostile, tmp_path / "drive", before)
    assert done.status == 1
    assert "useradd: not run, because programs and libraries of the tree cannot be kept" in done.err
    assert "\napp:" not in (hostile / "etc/passwd").read_text()
    assert (hostile / "etc/hostname").read_text() == "web\n"  # and the rest is applied
    assert not (hostile / CANARY).exists()
