"""Bar B5: after a run, no secret of the source is left where it need not be.

A guest in namespaces is configured from a metadata service, or from a drive, and its scripts run.
Every secret has the canary in it: passwords, hashes, user data, files.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from binascii import b2a_base64
from collections.abc import Iterator
from pathlib import Path

import pytest
import rig

from guestagent import defs

from . import documents
from .documents import META, USER
from .lab import Lab, Machine, Run, documents_and

CANARY = "CANARY-4f1d"
HASH = f"$6$canary${CANARY.replace('-', '.')}{'x' * 75}"
INJECTED, WRITTEN, DEFERRED = "/etc/injected", "/etc/written", "/etc/deferred"
CONFIG = f"""\
#cloud-config
users:
  - default
  - name: anna
    hashed_passwd: {HASH}
    lock_passwd: false
chpasswd:
  expire: false
  users:
    - {{name: debian, password: {CANARY}-chpasswd, type: text}}
write_files:
  - {{path: {WRITTEN}, content: {CANARY}-written, permissions: "0600"}}
  - {{path: {DEFERRED}, content: {CANARY}-deferred, permissions: "0600", defer: true}}
bootcmd:
  - "true {CANARY}-bootcmd"
runcmd:
  - "true {CANARY}-runcmd; test ! -e /etc/stop-here || kill -9 $PPID"
"""
SCRIPT = f"#!/bin/sh\ntrue {CANARY}-script\n"
USER_DATA = f"""\
Content-Type: multipart/mixed; boundary="x"
MIME-Version: 1.0

--x
Content-Type: text/cloud-config

{CONFIG}
--x
Content-Type: text/x-shellscript

{SCRIPT}
--x--
"""
SAID: dict[str, str | None] = {
    META: json.dumps(
        {
            **documents.meta_data(),
            "admin_pass": f"{CANARY}-admin",
            "files": [{"path": INJECTED, "content_path": "/content/0000"}],
        }
    ),
    "/openstack/content/0000": f"{CANARY}-injected",
    USER: USER_DATA,
}
# What the agent is on an installed guest, where scripts start it.
PROGRAM = """\
#!/bin/sh
exec {python} -IBS -c '
import sys; sys.path.insert(0, "{repository}"); sys.path.append("{libraries}")
from guestagent.cli import main; sys.exit(main(sys.argv[1:]))' "$@"
"""
MOUNT = """
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work"
mount -t overlay overlay -o "lowerdir=/usr/bin,upperdir=$1/upper,workdir=$1/work" /usr/bin
cp "$2/program" /usr/bin/guestagent
chmod 755 /usr/bin/guestagent
mount --bind "$2/var" /var
"""


class Scene:
    """A guest, and what its runs leave at rest."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.guest = machine, machine.lab.guest
        self.tree = machine.tree
        for name in ("var/log", "over"):
            (self.tree / name).mkdir(parents=True, exist_ok=True)
        program = {"python": sys.executable, "repository": rig.REPOSITORY}
        (self.tree / "program").write_text(PROGRAM.format(**program, libraries=rig.LIBRARIES))
        # An image may have it with another mode.
        machine.path(defs.STATE_DIR).mkdir(mode=0o755, exist_ok=True)
        for name in ("pam.d", "security"):  # chpasswd needs them
            shutil.copytree(f"/etc/{name}", self.tree / "etc" / name)
        users = [line.split(":")[0] for line in (self.tree / "etc/passwd").read_text().splitlines()]
        (self.tree / "etc/shadow").write_text("".join(f"{user}:!:1::::::\n" for user in users))
        (self.tree / "etc/shadow").chmod(0o600)
        over = str(self.tree / "over")
        machine.lab.space.run("sh", "-ec", MOUNT, "sh", over, str(self.tree))

    def fetch(self) -> None:
        """What the units do in a boot until there is an answer."""
        shutil.rmtree(self.machine.path(defs.RUN_DIR), ignore_errors=True)
        assert self.guest.agent("apply", "--boot").status == 0
        run = self.guest.agent("fetch", "--source", defs.REQUEST_FILE)
        assert run.status == 0, run.err
        self.machine.path(defs.ANSWER_FILE).write_bytes(run.out)
        assert defs.ANSWER_FILE in self.at_rest()

    def apply(self, *wrapped: str) -> Run:
        """The unit that applies the answer."""
        return self.guest.agent("apply", "--fetched", wrapped=wrapped)

    def scripts(self) -> list[int]:
        """What the units for scripts do; returns their exit statuses."""
        return [self.guest.agent(verb).status for verb in ("run-early", "run-late")]

    def at_rest(self) -> set[str]:
        """The files of the guest that hold a secret, in plain or in base64."""
        found = set()
        for folder in ("etc", "home", "run", "tmp", "var"):
            for path in (self.tree / folder).rglob("*"):
                if path.is_file() and not path.is_symlink():
                    content = path.read_bytes()
                    if any(secret in content for secret in FORMS):
                        found.add(f"/{path.relative_to(self.tree)}")
        return found


def _forms() -> Iterator[bytes]:
    """The canary as it is, and as base64 has it at each of the three places in a group."""
    yield CANARY.encode()
    yield CANARY.replace("-", ".").encode()
    for before in range(3):
        encoded = b2a_base64(b"\0" * before + CANARY.encode(), newline=False)
        yield encoded[4 if before else 0 : -4]


FORMS = tuple(_forms())
# What the source asks for is where it asks for it; passwd(5) keeps a copy of its old files.
WANTED = {INJECTED, WRITTEN, "/etc/shadow"}
COPIES = {"/etc/shadow-"}


@pytest.fixture
def scene(machine: Machine, lab: Lab) -> Scene:
    """A guest that can ask a service, which says a secret in every way there is."""
    rig.need_tools("useradd", "chpasswd")
    lab.serve(lab.link(), {"documents": documents_and(SAID)})
    return Scene(machine)


def _is_staged(path: str) -> bool:
    return path.startswith((f"{defs.STATE_DIR}/early/", f"{defs.STATE_DIR}/late/"))


def _check_waiting(scene: Scene) -> None:
    """After a run only scripts wait with secrets, for root alone, beside what was asked for."""
    found = scene.at_rest() - COPIES
    waiting = {path for path in found if _is_staged(path)}
    assert found - waiting == WANTED
    assert len(waiting) == 4
    for path in waiting:
        assert scene.machine.path(path).stat().st_mode & 0o777 == 0o700
    assert scene.machine.path(defs.STATE_DIR).stat().st_mode & 0o777 == 0o700


def _check_over(scene: Scene) -> None:
    """After the scripts there is only what was asked for, and what runs at each boot."""
    found = scene.at_rest() - COPIES
    waiting = {path for path in found if _is_staged(path)}
    assert found - waiting == {*WANTED, DEFERRED}
    assert [path.rpartition("/")[2] for path in waiting] == ["20-boot-bootcmd"]


def test_B5_what_a_service_said_is_at_rest_nowhere(scene: Scene) -> None:
    scene.fetch()
    # Who has it open sees that it is gone, and not only its name.
    with scene.machine.path(defs.ANSWER_FILE).open("rb") as answer:
        run = scene.apply()
        assert run.status == 0, run.err
        assert os.fstat(answer.fileno()).st_nlink == 0
    _check_waiting(scene)
    assert scene.scripts() == [0, 0], scene.machine.report()["problems"]
    _check_over(scene)


def test_B5_what_a_drive_said_is_at_rest_nowhere(scene: Scene, tmp_path: Path) -> None:
    for name, text in documents_and(SAID).items():
        if name != "/openstack":  # the service's listing
            path = tmp_path / "drive" / name.removeprefix("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    run = scene.guest.agent("apply", "--boot", "--source", str(tmp_path / "drive"))
    assert run.status == 0, run.err
    _check_waiting(scene)
    assert scene.scripts() == [0, 0], scene.machine.report()["problems"]
    _check_over(scene)


def test_B5_a_run_that_fails_keeps_no_answer(scene: Scene) -> None:
    scene.fetch()
    scene.machine.path(INJECTED).mkdir()
    assert scene.apply().status == defs.EXIT_ERRORS
    found = {path for path in scene.at_rest() - COPIES if not _is_staged(path)}
    assert found == WANTED - {INJECTED}


def test_B5_a_run_that_ends_before_it_begins_keeps_no_answer(scene: Scene) -> None:
    scene.fetch()
    boot = Path(defs.BOOT_ID).read_text().strip()
    unconfirmed = {"boot": boot, "files": [], "rejected": ""}
    scene.machine.path(defs.ROLLBACK_FILE).write_text(json.dumps(unconfirmed))
    assert scene.apply().status == defs.EXIT_TRY_AGAIN
    assert scene.at_rest() == set()


def test_B5_a_run_that_is_killed_and_resumed_leaves_nothing(scene: Scene) -> None:
    rig.need_tools("strace")
    scene.fetch()
    kill = "inject=syncfs:signal=KILL:when=2"  # all files are renamed, and nothing is remembered
    killed = scene.apply("strace", "-qq", "-o", "/dev/null", "-e", "trace=syncfs", "-e", kill)
    assert killed.status != 0
    assert defs.ANSWER_FILE not in scene.at_rest()
    scene.fetch()
    assert scene.apply().status == 0
    _check_waiting(scene)
    # The system stops while a script runs; the next boot goes on with the others.
    scene.machine.path("/etc/stop-here").touch()
    assert scene.scripts()[1] != 0
    scene.machine.path("/etc/stop-here").unlink()
    assert scene.scripts() == [0, 1]
    _check_over(scene)
