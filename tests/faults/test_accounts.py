"""Accounts that are half made: the next run ends as an undisturbed one."""

from __future__ import annotations

import shutil
import subprocess

import pytest
import rig

from .rig import Call, Entry, Scene

# Only the tools of shadow(5) call these: the agent itself names open directories.
_OF_TOOLS = ("link", "rename", "unlink", "mkdir", "chown", "chmod", "lchown", "fchown")
# What the tools leave behind themselves, or write with a salt of their own.
_LEFT = ("etc/passwd", "etc/group", "etc/shadow", "etc/gshadow", "etc/subuid", "etc/subgid")


def _found(scene: Scene) -> dict[str, Entry]:
    """The tree, without backups, locks and salts, and without the order of lines."""
    found = {}
    for name, entry in scene.snapshot().items():
        if (name.startswith(_LEFT) and name not in _LEFT) or name == "etc/.pwd.lock":
            continue
        if name in _LEFT:
            entry = entry._replace(content=b"\n".join(sorted(entry.content.splitlines())))
        if name == "etc/shadow":
            lines = [line.split(b":") for line in entry.content.splitlines()]
            texts = [line[0] + (b" set" if line[1].startswith(b"$") else b"") for line in lines]
            entry = entry._replace(content=b" ".join(texts))
        found[name] = entry
    return found


def _whole(scene: Scene) -> dict[str, Entry]:
    done = scene.run()
    assert done.returncode == 0, done.stderr
    return _found(scene)


def _points(scene: Scene) -> list[Call]:
    scene.fresh()
    calls = {(call.name, call.number): call for call in scene.calls(*_OF_TOOLS)}
    return list(calls.values())


@pytest.mark.parametrize("agent_too", [False, True], ids=["tool", "tool-and-agent"])
def test_D1_a_tool_killed_under_the_agent_leaves_no_account_half_made(
    account: Scene, agent_too: bool
) -> None:
    after = _whole(account)
    assert after["home/ada/.bashrc"].user == after["home/ada"].user > 1000
    assert "home/ada/.ssh/authorized_keys" in after
    # Each half of the points with one of the two faults: all take minutes.
    points = _points(account)[agent_too::2]
    assert len(points) >= 12
    for call in points:
        account.fresh()
        faults = [f"inject={call.name}:signal=KILL:when={call.number}"]
        if agent_too:
            # The agent asks for a descriptor of each program that has closed its outputs.
            faults.append("inject=pidfd_open:signal=KILL:when=1")
        account.strace(*(word for fault in faults for word in ("-e", fault)))
        again = account.run()
        assert again.returncode == 0, (call, again.stderr)
        assert _found(account) == after, call


def test_D2_an_account_whose_home_cannot_be_made_gets_it_in_the_next_run(account: Scene) -> None:
    rig.need_tools("mount", "unshare")
    after = _whole(account)
    account.fresh()
    home = account.tree / "home"
    script = f'mount -t tmpfs -o ro tmpfs "{home}" && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", *account.command()]
    failed = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert failed.returncode != 0
    assert "/home/ada: Read-only file system; the account has no home directory" in failed.stderr
    assert "ada:" in (account.tree / "etc/passwd").read_text()
    assert _whole(account) == after


def test_D3_a_home_that_a_power_cut_took_away_is_made_again(account: Scene) -> None:
    after = _whole(account)
    shutil.rmtree(account.tree / "home/ada")
    password = (account.tree / "etc/shadow").read_text()
    folder = account.tree / "etc/skel/.config/app"
    folder.mkdir(parents=True)
    (folder / "settings").write_text("usual\n")
    found = _whole(account)
    assert {name: found[name] for name in after} == after
    assert found["home/ada/.config/app/settings"].user == found["home/ada"].user
    assert (account.tree / "etc/shadow").read_text() == password


@pytest.mark.parametrize("lost", [b"", bytes(6)], ids=["empty", "zeros"])
def test_D3_copies_of_the_skeleton_that_a_power_cut_spoilt_are_made_again(
    account: Scene, lost: bytes
) -> None:
    after = _whole(account)
    account.fresh()
    folder = account.tree / "etc/skel/.config/app"
    folder.mkdir(parents=True)
    (folder / "settings").write_text("usual\n")
    # The account is made, and nothing after it.
    account.strace("-e", "inject=syncfs:signal=KILL:when=1")
    home = account.tree / "home/ada"
    (home / ".profile").write_text("ada's own\n")
    for name in (".bashrc", ".config/app/settings"):
        assert (home / name).read_bytes()
        (home / name).write_bytes(lost)
    found = _whole(account)
    assert {name: found[name] for name in after} == {
        **after,
        "home/ada/.profile": found["home/ada/.profile"],
    }
    assert (home / ".profile").read_text() == "ada's own\n"
    assert (home / ".config/app/settings").read_text() == "usual\n"


def test_an_account_without_a_home_that_guestagent_did_not_make_is_left_alone(
    account: Scene,
) -> None:
    with (account.tree / "etc/passwd").open("a") as file:
        file.write("ada:x:1500:1000::/home/elsewhere:/bin/sh\n")
    account.run()
    assert account.run().returncode in (0, 1)
    assert not (account.tree / "home/ada").exists()
