"""What tools that know only cloud-init find: its files, and a command of that name."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rig
from boot_machine import COMING, KILLED, NEVER, NOW, OVER, WORKING, Machine, machine

from guestagent import VERSION, defs
from guestagent.cli import main
from guestagent.errors import Origin
from guestagent.live.boot import look
from guestagent.options import Options
from guestagent.parse.layouts import LAYOUTS
from guestagent.report.additions import ScriptResult, Unit, add_script
from guestagent.report.cloud_init import _SOURCES, prepare
from guestagent.report.run import Report, write
from guestagent.system.root import Root
from guestagent.verbs import apply, cloud_init, note_failed

FINISHED = "/var/lib/cloud/instance/boot-finished"
RESULT = "/run/cloud-init/result.json"
STATUS = "/run/cloud-init/status.json"
ANSIBLES = "/var/lib/cloud/data/status.json"
INSTALLED = f"/usr/lib/systemd/system/{defs.CLOUD_INIT_UNIT}"
BAD = Origin("drive", "meta_data.json", "hostname").error("too long")


@pytest.fixture
def system(tree: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    found = machine(tree, monkeypatch)
    monkeypatch.setattr(cloud_init, "Root", lambda _: found.root)
    yield found
    found.root.close()


def read(tree: Path, path: str) -> str | None:
    """What a tool in the guest would read: absolute links lead to places in the tree."""
    root = Root(str(tree))
    content = root.read(path)
    root.close()
    return None if content is None else content.decode()


def present(tree: Path) -> set[str]:
    """Which of the files are there."""
    return {path for path in (FINISHED, RESULT, STATUS, ANSIBLES) if read(tree, path)}


def v1(tree: Path, path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(read(tree, path) or "")["v1"]
    return found


class TestFiles:
    def test_the_boot_is_over_when_its_last_unit_is(self, system: Machine) -> None:
        prepare(system.root, wanted=True)
        assert present(system.tree) == set()
        system.write(defs.EARLY_UNIT, source="/dev/sr0", layout="openstack")
        assert present(system.tree) == {STATUS, ANSIBLES}
        assert v1(system.tree, STATUS)["stage"] == "modules-config"
        with Unit(system.root, defs.EARLY_UNIT) as early:
            early.then.append(defs.LATE_UNIT)
        assert v1(system.tree, ANSIBLES)["stage"] == "modules-final"
        assert v1(system.tree, STATUS)["modules-final"]["finished"] is None
        with Unit(system.root, defs.LATE_UNIT):
            add_script(system.root, ScriptResult("late", "50-boot-a", 0, 0.1), [])
        assert present(system.tree) == {FINISHED, RESULT, STATUS, ANSIBLES}
        assert v1(system.tree, STATUS)["stage"] is None
        source = "DataSourceConfigDrive [source=/dev/sr0]"
        assert v1(system.tree, RESULT) == {"datasource": source, "errors": []}
        assert (read(system.tree, FINISHED) or "").endswith(f" - v. guestagent {VERSION}\n")

    def test_the_boot_is_over_although_a_unit_was_killed(
        self, system: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(note_failed, "Root", lambda _: system.root)
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        prepare(system.root, wanted=True)
        system.write(defs.EARLY_UNIT, defs.HOST_KEYS_UNIT)
        system.say(early=KILLED, **{"host-keys": WORKING})
        note_failed.run(Options())
        assert present(system.tree) == {STATUS, ANSIBLES}, "another unit is at work"
        with Unit(system.root, defs.HOST_KEYS_UNIT):
            pass
        assert present(system.tree) == {FINISHED, RESULT, STATUS, ANSIBLES}
        (error,) = v1(system.tree, RESULT)["errors"]
        assert f"{defs.EARLY_UNIT} failed (timeout)" in error
        note_failed.run(Options())
        assert len(v1(system.tree, RESULT)["errors"]) == 1

    def test_the_boot_is_over_although_its_first_unit_was_killed(
        self, system: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(note_failed, "Root", lambda _: system.root)
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        prepare(system.root, wanted=True)
        system.say(local=KILLED)
        note_failed.run(Options())
        assert FINISHED in present(system.tree)
        assert look(system.root).state == "over"

    def test_the_boot_is_over_although_the_unit_that_starts_others_was_killed(
        self, system: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(note_failed, "Root", lambda _: system.root)
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        prepare(system.root, wanted=True)
        system.write(defs.LATER_UNIT, defs.APPLY_UNIT)
        system.say(later=KILLED, apply=NEVER)
        note_failed.run(Options())
        assert FINISHED in present(system.tree)
        assert any(defs.LATER_UNIT in error for error in v1(system.tree, RESULT)["errors"])

    def test_a_later_run_that_mends_an_error_counts(self, system: Machine) -> None:
        prepare(system.root, wanted=True)
        system.write(problems=(BAD,), exit_status=3)
        assert len(v1(system.tree, RESULT)["errors"]) == 1
        write(system.root, Report(boot_id=NOW))
        assert v1(system.tree, RESULT)["errors"] == []
        assert v1(system.tree, STATUS)["stage"] is None

    def test_everyone_can_read_them(self, system: Machine) -> None:
        before = os.umask(0o077)
        try:
            prepare(system.root, wanted=True)
            system.write()
        finally:
            os.umask(before)
        folder = system.path(defs.CLOUD_INIT_DIR)
        assert folder.stat().st_mode & 0o777 == 0o755
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}
        for way in ("var/lib/cloud", "var/lib/cloud/data"):
            assert (system.tree / way).stat().st_mode & 0o777 == 0o755

    def test_no_file_is_a_link_that_leads_nowhere_yet(self, system: Machine) -> None:
        """stat(1), by which many scripts wait, takes a link that leads nowhere for a file."""
        prepare(system.root, wanted=True)
        for path in (FINISHED, RESULT):
            assert system.path(path).parent.is_symlink()
        assert present(system.tree) == set()

    def test_what_an_earlier_boot_left_does_not_count(self, system: Machine) -> None:
        # cloud-init's own link, of the image; and a /run that has outlived the boot.
        link = system.path("/var/lib/cloud/instance")
        (link.parent / "instances/i-0").mkdir(parents=True)
        (link.parent / "instances/i-0/boot-finished").write_text("long ago")
        link.symlink_to("/var/lib/cloud/instances/i-0")
        prepare(system.root, wanted=True)
        assert read(system.tree, FINISHED) is None
        system.write()
        assert read(system.tree, FINISHED)
        prepare(system.root, wanted=True)
        assert present(system.tree) == set()

    @pytest.mark.parametrize("reason", ["setting", "installed"])
    def test_there_are_none_by_setting_and_beside_cloud_init(
        self, system: Machine, reason: str
    ) -> None:
        prepare(system.root, wanted=True)
        system.write()
        if reason == "installed":
            system.path(INSTALLED).parent.mkdir(parents=True)
            system.path(INSTALLED).touch()
        prepare(system.root, wanted=reason != "setting")
        system.write()
        assert present(system.tree) == set()
        for path in ("/run/cloud-init", "/var/lib/cloud/instance", ANSIBLES):
            assert not system.path(path).is_symlink()

    def test_the_files_of_cloud_init_itself_are_left_alone(self, system: Machine) -> None:
        link = system.path("/var/lib/cloud/instance")
        link.parent.mkdir(parents=True)
        link.symlink_to("/var/lib/cloud/instances/i-0")
        system.path("/run/cloud-init").mkdir()
        prepare(system.root, wanted=False)
        assert link.is_symlink()
        assert system.path("/run/cloud-init").is_dir()

    def test_what_is_in_the_way_is_told_and_nothing_fails(
        self, system: Machine, capsys: pytest.CaptureFixture[str]
    ) -> None:
        system.path("/run/cloud-init").mkdir()
        prepare(system.root, wanted=True)
        assert "/run/cloud-init: File exists; who waits" in capsys.readouterr().err
        system.write()
        assert FINISHED in present(system.tree)

    @pytest.mark.parametrize("wanted", [True, False])
    def test_a_run_at_boot_obeys_the_setting(
        self, guest: Path, drive: Path, wanted: bool, tree: Path
    ) -> None:
        settings = guest / defs.SETTINGS_FILE[1:]
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text(f"[cloud_init]\nfiles = {str(wanted).lower()}\n")
        for options in (Options(source=str(drive)), Options(source=str(drive), boot=True)):
            root = Root(str(guest))
            assert apply._apply(options, root) == 0
            root.close()
        assert present(guest) == ({FINISHED, RESULT, STATUS, ANSIBLES} if wanted else set())

    def test_an_unchanged_boot_stays_one(self, guest: Path, drive: Path) -> None:
        for _ in range(3):
            root = Root(str(guest))
            apply._apply(Options(source=str(drive), boot=True), root)
            root.close()
        assert json.loads((guest / defs.REPORT_FILE[1:]).read_text())["unchanged"] is True


class TestCommand:
    """``cloud-init status``, as packaging/bin/cloud-init calls it."""

    @pytest.mark.parametrize(
        ("pending", "unit", "fields", "words", "status"),
        [
            ((), OVER, {}, ("done", "done"), 0),
            (("early",), WORKING, {}, ("running", "running"), 0),
            ((), OVER, {"problems": (BAD,), "exit_status": 1}, ("done", "degraded done"), 2),
            ((), OVER, {"problems": (BAD,), "exit_status": 3}, ("error", "error - done"), 1),
            (("early",), KILLED, {}, ("error", "error - done"), 1),
        ],
    )
    def test_says_how_it_went_in_cloud_init_s_words(
        self,
        system: Machine,
        capsys: pytest.CaptureFixture[str],
        pending: tuple[str, ...],
        unit: str,
        fields: dict[str, Any],
        words: tuple[str, str],
        status: int,
    ) -> None:
        system.write(*(f"guestagent-{name}.service" for name in pending), **fields)
        system.say(early=unit)
        assert main(["cloud-init", "status"]) == status
        assert capsys.readouterr().out == f"status: {words[0]}\n"
        assert main(["cloud-init", "status", "--format", "json"]) == status
        told = json.loads(capsys.readouterr().out)
        assert (told["status"], told["extended_status"]) == words
        assert bool(told["errors"]) == (status == 1)
        assert bool(told["recoverable_errors"]) == (status == 2)

    def test_a_script_that_failed_is_an_error(self, system: Machine) -> None:
        system.write()
        failed = Origin("scripts", "late", "50-boot-a").error("exit status 3")
        add_script(system.root, ScriptResult("late", "50-boot-a", 3, 0.1), [failed])
        assert main(["cloud-init", "status"]) == 1

    def test_before_the_first_report(
        self, system: Machine, capsys: pytest.CaptureFixture[str]
    ) -> None:
        system.say(local=COMING)
        assert main(["cloud-init", "status"]) == 0
        assert capsys.readouterr().out == "status: not started\n"
        system.say(local=KILLED)
        assert main(["cloud-init", "status", "--wait"]) == 1
        assert capsys.readouterr().out == "status: error\n"
        (system.tree / "cmdline").write_text("guestagent=disabled\n")
        assert main(["cloud-init", "status", "--wait", "--format=json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["status"] == "disabled"
        assert told["boot_status_code"] == "disabled-by-kernel-cmdline"

    def test_long(self, system: Machine, capsys: pytest.CaptureFixture[str]) -> None:
        system.write(source="/dev/sr0", layout="openstack", problems=(BAD,), exit_status=1)
        assert main(["cloud-init", "status", "-l"]) == 2
        lines = capsys.readouterr().out.splitlines()
        assert lines[:3] == [
            "status: done",
            "extended_status: degraded done",
            "boot_status_code: enabled-by-generator",
        ]
        assert lines[4:] == [
            "detail: DataSourceConfigDrive [source=/dev/sr0]",
            "errors: []",
            "recoverable_errors:",
            "ERROR:",
            "\t- drive: meta_data.json: hostname: too long",
        ]

    @pytest.mark.parametrize(
        ("source", "layout", "kind"),
        [
            ("/dev/sr0", "openstack", "configdrive"),
            ("/dev/sr0", "ec2", "configdrive"),
            ("/dev/sr0", "nocloud", "nocloud"),
            ("/dev/sr0", "no_layout", "none"),
            ("metadata service http://192.0.2.1/", "openstack", "openstack"),
            ("metadata service http://192.0.2.1/", "ec2", "ec2"),
            ("", "", "none"),
        ],
    )
    def test_names_the_source(
        self,
        system: Machine,
        capsys: pytest.CaptureFixture[str],
        source: str,
        layout: str,
        kind: str,
    ) -> None:
        system.write(source=source, layout=layout)
        main(["cloud-init", "status", "--format=yaml"])
        assert json.loads(capsys.readouterr().out)["datasource"] == kind

    @pytest.mark.parametrize("verb", cloud_init._INSTEAD)
    def test_names_a_command_for_what_else_it_is_asked(
        self, verb: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["cloud-init", verb, "--all"]) == 1
        told = capsys.readouterr().err
        assert f"cloud-init {verb}: this machine has guestagent instead; " in told

    def test_tells_its_version_and_usage(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["cloud-init", "--version"]) == 0
        assert main(["cloud-init", "-h"]) == 0
        assert VERSION in capsys.readouterr().out

    @pytest.mark.parametrize(
        "words", ["", "stauts", "status --wiat", "status --format xml", "status --wait=5"]
    )
    def test_refuses_what_it_does_not_know(self, words: str) -> None:
        assert main(["cloud-init", *words.split()]) == defs.EXIT_USAGE


class TestPackage:
    def test_the_command_is_in_a_package_that_excludes_cloud_init(self) -> None:
        packaging = rig.REPOSITORY / "packaging"
        blocks = (packaging / "debian/control").read_text().split("\n\n")
        (block,) = [block for block in blocks if "Package: guestagent-cloud-init\n" in block]
        assert "\nConflicts: cloud-init\n" in block
        installed = (packaging / "debian/guestagent-cloud-init.install").read_text().split()
        assert installed == ["packaging/bin/cloud-init", "usr/bin/"]
        for block in blocks:
            assert "cloud-init" not in block or "guestagent-cloud-init" in block

    def test_the_command_passes_everything_on(self, tmp_path: Path) -> None:
        program = (rig.REPOSITORY / "packaging/bin/cloud-init").read_text()
        copy = tmp_path / "cloud-init"
        copy.write_text(program.replace("/usr/bin/guestagent", "/bin/echo"))
        argv = ["/bin/sh", str(copy), "status", "--wait", "a b"]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        assert done.stdout == "cloud-init status --wait a b\n"


def test_each_layout_has_its_name_in_cloud_init() -> None:
    assert set(_SOURCES) == {layout.name for layout in LAYOUTS}
