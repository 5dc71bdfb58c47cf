"""Input that is too much of something: what is said of it, and kept of it, stays small."""

from __future__ import annotations

import json
import os
import tracemalloc
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import rig

from guestagent import defs, facts
from guestagent.commit import commit
from guestagent.errors import Origin, Problems, Refused, SourceBroken
from guestagent.memory import state
from guestagent.memory.state import State
from guestagent.options import Options
from guestagent.parse import ec2, openstack
from guestagent.plan.difference import diff
from guestagent.plan.kinds.file import File
from guestagent.report.additions import ScriptResult, add_script
from guestagent.report.run import Report, write
from guestagent.settings import Settings
from guestagent.settings import load as load_settings
from guestagent.sources import directory
from guestagent.sources.bundle import Bundle
from guestagent.sources.directory import open_directory
from guestagent.sources.path import open_path
from guestagent.system import ownfiles
from guestagent.system.root import Root
from guestagent.verbs import status
from guestagent.verbs.write_later import write_later

UUID = "83679162-1378-4288-a2d4-70e13ec132aa"
META = {"uuid": UUID, "hostname": "flooded"}
LATEST = "openstack/latest"
ROOT = Origin("drive", "meta_data.json", "")
MANY = 340_000

FLOODS: dict[str, dict[str, Any]] = {
    "a list": {"meta_data.json": {**META, "keys": [1] * MANY}},
    "names": {"meta_data.json": {**META, "public_keys": {f"{n:06}": 1 for n in range(70_000)}}},
    "lines": {"meta_data.json": {**META, "public_keys": {"a": "a\n" * MANY}}},
    "a long name": {"meta_data.json": {**META, "public_keys": {"x" * 500_000: [1] * 150_000}}},
    "links": {"meta_data.json": META, "network_data.json": {"links": [], "services": [1] * MANY}},
    "users": {"meta_data.json": META, "user_data": "#cloud-config\nusers: [" + "1," * 9000 + "]\n"},
    "keys": {
        "meta_data.json": META,
        "user_data": "#cloud-config\n" + "".join(f"k{n}: 1\n" for n in range(4000)),
    },
}


def make_drive(folder: Path, documents: dict[str, Any]) -> Path:
    place = folder / "drive" / LATEST
    place.mkdir(parents=True)
    for name, value in documents.items():
        content = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        assert len(content) <= defs.JSON_LIMIT
        (place / name).write_text(content)
    return folder / "drive"


def test_of_a_document_a_few_problems_are_kept_and_the_others_are_counted() -> None:
    problems = Problems()
    other = ROOT._replace(document="user_data")
    problems.warn(other, "is odd")
    for number in range(defs.MAX_PROBLEMS + 7):
        problems.error(ROOT.under(number), "is wrong")
    assert len(problems.problems) == defs.MAX_PROBLEMS + 2
    assert problems.problems[0] == other.warning("is odd")
    reason = "7 more problems are not listed; correct those that are, and look again"
    assert problems.problems[-1] == ROOT.error(reason)
    assert problems.is_full(ROOT)
    assert not problems.is_full(other)


@pytest.mark.parametrize("given", [0, 1, defs.MAX_PROBLEMS, defs.MAX_PROBLEMS + 1, 5000])
def test_a_collector_takes_over_what_another_one_has_counted(given: int) -> None:
    inner, outer = Problems(), Problems()
    outer.warn(ROOT, "is odd")
    for number in range(given):
        inner.warn(ROOT.under(number), "is odd")
    outer.add_all(inner)
    left_out = given + 1 - defs.MAX_PROBLEMS
    assert len(outer.problems) == min(given + 1, defs.MAX_PROBLEMS) + (left_out > 0)
    if left_out > 0:
        assert outer.problems[-1].severity == "warning"
        more = "1 more problem is" if left_out == 1 else f"{left_out} more problems are"
        assert outer.problems[-1].reason.startswith(f"{more} not listed")


@pytest.mark.parametrize("flood", FLOODS)
def test_C10_a_flood_is_a_few_problems_and_the_rest_is_applied(
    flood: str, guest: Path, tmp_path: Path
) -> None:
    drive = make_drive(tmp_path, FLOODS[flood])
    result = rig.agent("apply", "--root", guest, "--source", drive)
    assert result.status in (0, 1), result.err
    assert len(result.err) < 32_000
    assert "more problems are not listed" in result.err or flood == "a long name"
    assert "internal error" not in result.err
    assert (guest / "etc/hostname").read_text() == "flooded\n"
    assert (guest / "run/guestagent/report.json").stat().st_size < 64_000


@pytest.mark.parametrize("flood", FLOODS)
def test_C10_a_flood_takes_no_more_memory_than_the_document(flood: str, tmp_path: Path) -> None:
    bundle = open_path(str(make_drive(tmp_path, FLOODS[flood])))
    tracemalloc.start()
    openstack.parse(bundle, Problems())
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 32 << 20


DEEP = ("[" * 3000, "[" * 3000 + "]" * 3000, '{"a":' * 3000)


@pytest.mark.parametrize("text", [*DEEP, '{"links":' + "1" * 5000 + "}"])
def test_C10_brackets_and_digits_without_end_spoil_their_document_alone(
    text: str, guest: Path, tmp_path: Path
) -> None:
    documents = {"meta_data.json": META, "network_data.json": text}
    documents["user_data"] = f"#cloud-config\ntimezone: {text}\n"
    result = rig.agent("apply", "--root", guest, "--source", make_drive(tmp_path, documents))
    assert result.status == 1
    assert "error: " in result.err
    assert "internal" not in result.err
    assert "network_data.json: not JSON" in result.err
    assert "user_data" in result.err
    assert (guest / "etc/hostname").read_text() == "flooded\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[drive]\nwait = " + "1" * 5000, "a number in it has too many digits"),
        ("[drive]\nwait = " + "[" * 3000, "nested too deep"),
        ("[drive]\nwait = " + "[" * 3000 + "]" * 3000, "nested too deep"),
        ("[drive]\nwait = " + "{a=" * 3000, "nested too deep"),
    ],
)
def test_C10_settings_that_cannot_be_read_have_no_effect(
    tree: Path, text: str, reason: str
) -> None:
    place = tree / defs.SETTINGS_DROPINS[1:]
    place.mkdir(parents=True)
    (place / "10.toml").write_text("[hosts]\nmanage = true\n")
    (place / "50.toml").write_text(text)
    problems = Problems()
    assert load_settings(Root(str(tree)), problems) == Settings(hosts_manage=True)
    (problem,) = problems.problems
    assert problem.text().startswith("settings: /etc/guestagent/guestagent.toml.d/50.toml: ")
    assert problem.reason == (
        f"not used: {reason}; the settings of this file have no effect: correct it"
    )


def test_a_flood_of_settings_is_a_few_problems(tree: Path) -> None:
    place = tree / defs.SETTINGS_FILE[1:]
    place.parent.mkdir(parents=True)
    place.write_text("".join(f"table{n} = 1\n" for n in range(50_000)))
    problems = Problems()
    load_settings(Root(str(tree)), problems)
    assert len(problems.problems) == defs.MAX_PROBLEMS + 1


def test_C10_a_long_name_is_not_in_every_problem(tmp_path: Path) -> None:
    folder = tmp_path / "drive/ec2/latest"
    folder.mkdir(parents=True)
    keys = {"x" * 500_000: {"openssh-key": "a\n" * 9000}}
    (folder / "meta-data.json").write_text(json.dumps({"public-keys": keys}))
    problems = Problems()
    ec2.parse(open_path(str(tmp_path / "drive")), problems)
    assert len(problems.problems) > defs.MAX_PROBLEMS
    assert sum(len(problem.text()) for problem in problems.problems) < 64_000


def test_A4_a_folder_with_too_many_names_is_an_error_of_the_source(tmp_path: Path) -> None:
    drive = make_drive(tmp_path, {"meta_data.json": META})
    for number in range(defs.MAX_NAMES):
        (drive / LATEST / f"{number:05}").touch()
    bundle = open_path(str(drive))
    with pytest.raises(
        SourceBroken, match=f"^{drive}: {LATEST}: has more than {defs.MAX_NAMES} names"
    ):
        openstack.parse(bundle, Problems())
    (drive / LATEST / "00000").unlink()
    problems = Problems()
    assert openstack.parse(open_path(str(drive)), problems).hostname
    assert len(problems.problems) == defs.MAX_PROBLEMS + 1


@pytest.mark.parametrize("where", ["", "openstack", LATEST])
def test_A4_a_folder_that_claims_to_be_endless_is_not_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The kernel would go through all of it, for minutes, and no signal would end that."""
    drive = make_drive(tmp_path, {"meta_data.json": META})
    for number in range(300):
        (drive / where / f"{number:0200}").touch()
    size = (drive / where).stat().st_size
    monkeypatch.setattr(defs, "FOLDER_LIMIT", size // 2)
    searched = [""]
    monkeypatch.setattr(directory, "read_at", lambda _, name, __: searched.append(name))
    place = f"{drive}: {where or 'its top folder'}"
    with pytest.raises(SourceBroken, match=f"^{place}: claims to be a folder of {size} bytes"):
        open_directory(str(drive)).fetch(f"{LATEST}/meta_data.json", 1000)
    with pytest.raises(SourceBroken, match=f"^{place}: claims to be"):
        open_directory(str(drive)).names(where)
    assert searched == [""]


def test_A4_a_folder_with_as_many_of_the_longest_names_as_are_read_is_no_endless_one() -> None:
    """VFAT has 32 bytes for each 13 characters of a name, and 32 for its short form."""
    assert defs.MAX_NAMES * 32 * (1 + -(-defs.NAME_LIMIT // 13)) < defs.FOLDER_LIMIT / 2


def test_A4_versions_without_end_are_looked_at_up_to_a_number(tmp_path: Path) -> None:
    drive = make_drive(tmp_path, {})
    for number in range(defs.MAX_VERSIONS * 2):
        (drive / f"openstack/{3000 + number}-01-01").mkdir()
    bundle = Bundle("drive", open_directory(str(drive)))
    assert openstack.find_folder(bundle) is None
    assert len(bundle.seen) == defs.MAX_VERSIONS + 2


def test_A4_names_that_are_not_utf_8_are_read_and_told(guest: Path, tmp_path: Path) -> None:
    drive = make_drive(tmp_path, {"meta_data.json": META})
    for folder in (drive, drive / "openstack", drive / LATEST):
        os.close(os.open(os.fsencode(folder) + b"/\xff\xfe", os.O_CREAT))
    first = rig.agent("apply", "--root", guest, "--source", drive)
    assert (first.status, "internal" in first.err) == (0, False), first.err
    assert "has a document that is not read" in first.err
    second = rig.agent("apply", "--root", guest, "--source", drive)
    assert ": unchanged, " in second.err


def test_A4_a_drive_of_names_that_are_not_utf_8_is_explained(guest: Path, tmp_path: Path) -> None:
    drive = tmp_path / "drive"
    (drive / os.fsdecode(b"\xff") / LATEST).mkdir(parents=True)
    result = rig.agent("apply", "--root", guest, "--source", drive)
    assert result.status == 1
    assert "has the config drive in a folder below it" in result.err


def test_D5_a_path_that_is_not_utf_8_does_not_spoil_the_state(guest: Path, drive: Path) -> None:
    name = os.fsencode(guest / defs.SETTINGS_DROPINS[1:])
    os.makedirs(name, exist_ok=True)
    with open(name + b"/\xff.toml", "wb") as file:
        file.write(b"[hosts]\nmanage = false\n")
    rig.agent("apply", "--root", guest, "--source", drive)
    second = rig.agent("apply", "--root", guest, "--source", drive)
    assert ": unchanged, " in second.err, second.err


# guestagent's own files


def test_D5_what_could_not_be_read_again_is_not_written(tree: Path) -> None:
    root = Root(str(tree))
    good = State(configured=True, instance_id="u-1")
    state.save(root, good)
    large = good._replace(record={f"file:/{n}" + "x" * 4000: "yes" for n in range(1100)})
    with pytest.raises(Refused, match=r"state.json: would be larger than 4 MiB"):
        state.save(root, large)
    assert state.load(root) == good


def test_D5_a_state_of_more_than_1_mib_is_read_as_it_was_written(tree: Path) -> None:
    root = Root(str(tree))
    large = State(record={f"file:/{n}" + "x" * 4000: "yes" for n in range(900)})
    state.save(root, large)
    assert (tree / defs.STATE_FILE[1:]).stat().st_size > 3 << 20
    assert state.load(root) == large


SPOILED = (
    b"",
    b"null",
    b"[]",
    b"{",
    b'{"version": 1}',
    b"\xff\xfe",
    b"[" * 3000,
    b"[" * 100_000 + b"]" * 100_000,
    b"1" * 5000,
    b"[" + b"0," * (3 << 20) + b"0]",
)


@pytest.mark.parametrize("content", SPOILED, ids=range(len(SPOILED)))
def test_D5_a_spoiled_state_is_told_and_the_run_makes_a_new_one(
    content: bytes, guest: Path, drive: Path
) -> None:
    place = guest / defs.STATE_FILE[1:]
    rig.agent("apply", "--root", guest, "--source", drive)
    place.write_bytes(content)
    again = rig.agent("apply", "--root", guest, "--source", drive)
    assert again.status == 0
    assert f"warning: guestagent: {defs.STATE_FILE}: is damaged, or of another vers" in again.err
    third = rig.agent("apply", "--root", guest, "--source", drive)
    assert ": unchanged, " in third.err
    assert "damaged" not in third.err


def spoiled_values(whole: dict[str, Any]) -> list[dict[str, Any]]:
    odd: tuple[Any, ...] = (None, 7, "x", [7], {"x": 7}, ["a\0"], {"a\0": "x"}, [[]], 1.5, "\0")
    return [{**whole, key: value} for key in whole for value in odd]


def test_D5_no_value_of_a_state_stops_a_run(tree: Path) -> None:
    root = Root(str(tree))
    state.save(root, State(configured=True, salt="00", fingerprint="x"))
    place = tree / defs.STATE_FILE[1:]
    drive = make_drive(tree, {"meta_data.json": META})
    for value in spoiled_values(json.loads(place.read_text())):
        place.write_text(json.dumps(value))
        found = state.load(root)
        with closing(open_path(str(drive))) as bundle:
            assert not state.is_unchanged(found, bundle, root)
            assert not state.is_same_source(found, bundle)
        ownfiles.encode(defs.STATE_FILE, found._asdict())


def report_of(guest: Path, drive: Path) -> dict[str, Any]:
    rig.agent("apply", "--root", guest, "--source", drive)
    found: dict[str, Any] = json.loads((guest / defs.REPORT_FILE[1:]).read_text())
    found["scripts"] = [{"stage": "late", "name": "x", "status": 0, "seconds": 0.5}]
    return found


@pytest.mark.parametrize("content", SPOILED, ids=range(len(SPOILED)))
def test_D5_a_spoiled_report_is_told(content: bytes, tree: Path) -> None:
    place = tree / defs.REPORT_FILE[1:]
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    result = rig.agent("status", "--root", tree)
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith(f"guestagent: error: {defs.REPORT_FILE} is damaged")


def test_D5_no_value_of_a_report_stops_who_reads_it(
    guest: Path, drive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = report_of(guest, drive)
    root = Root(str(guest))
    place = guest / defs.REPORT_FILE[1:]
    odd: tuple[Any, ...] = (None, {}, {"what": 1, "why": 2}, {"stage": 1}, [])
    entries = [
        {**whole, key: [entry]} for key in ("problems", "changes", "scripts") for entry in odd
    ]
    steps = ({"a": 1e999}, {"a": 10**400}, {"\x1b[2J": 1.0}, {"a": True})
    entries += [{**whole, "steps_ms": each} for each in steps]
    entries += [{**whole, "total_ms": 10**400}]
    capsys.readouterr()
    for value in [*spoiled_values(whole), *entries]:
        place.write_text(json.dumps(value).replace("Infinity", "1e999"))
        assert status.run(Options("status", root=str(guest))) in (0, 1)
        assert all(line.isprintable() for line in capsys.readouterr().out.split("\n"))
        add_script(root, ScriptResult("late", "y", 0, 0.1), [])
        assert json.loads(place.read_text())["scripts"][-1]["name"] == "y"
        place.write_text(json.dumps(value))
        write(root, Report())
        assert status.run(Options("status", root=str(guest))) in (0, 1)


# Deferred files


def test_deferred_files_of_more_than_1_mib_together_are_all_written(tree: Path) -> None:
    root = Root(str(tree))
    contents = {f"/etc/late/{n}": os.urandom(900 << 10) for n in range(4)}
    wanted = [
        File("file", path, content, 0o644, ROOT, late=True) for path, content in contents.items()
    ]
    plan = diff(wanted, root, facts.gather(root), recorded={}, first=True, complete=True)
    assert commit(plan.changes, root) == []
    carriers = sorted((tree / defs.STATE_DIR[1:] / "late").iterdir())
    assert len(carriers) == 2
    for carrier in carriers:
        assert carrier.stat().st_size <= defs.GUEST_FILE_LIMIT  # or the runner does not take it
        carried = carrier.read_text().split("\n", 2)[2].removesuffix("END\n")
        assert write_later(root, carried.encode()) == 0
    assert {path: (tree / path[1:]).read_bytes() for path in contents} == contents
