"""The guest API of LXD and Incus: its socket, and what its documents say."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
import rig
from lxd_server import ANSWERS, served
from pytest_mock import MockerFixture

from guestagent import defs
from guestagent.errors import Problem, Problems, SourceBroken
from guestagent.model import InstanceData
from guestagent.parse import layouts
from guestagent.sources import lxd
from guestagent.sources.seed import Given

ID = "5e4ea93b-2b9a-4c32-9d0c-3e7ce2d1e5f3"
META = f"#cloud-config\ninstance-id: {ID}\nlocal-hostname: c1\npublic-keys: [{rig.KEY}]\n"
USER = "#cloud-config\nwrite_files: [{path: /etc/given, content: given}]\n"
OTHER = "#cloud-config\nwrite_files: [{path: /etc/other, content: other}]\n"
VENDOR = "#cloud-config\ntimezone: Etc/UTC\n"
NETWORK = "version: 2\nethernets: {eth0: {dhcp4: true}}\n"


def api(keys: dict[str, str]) -> ANSWERS:
    """What an instance with these keys answers."""
    return {
        "/1.0": "{}",
        "/1.0/meta-data": META,
        "/1.0/config": json.dumps([f"/1.0/config/{name}" for name in keys]),
        **{f"/1.0/config/{name}": text for name, text in keys.items()},
    }


def read(place: Path, answers: ANSWERS) -> tuple[InstanceData, list[Problem]]:
    """What the API says, and the problems."""
    with served(place / "lxd", answers) as (path, _):
        return rig.collected(layouts.parse, lxd.open_socket(path))


@pytest.fixture(autouse=True)
def _quick(mocker: MockerFixture) -> None:
    mocker.patch.object(defs, "READ_PAUSE", 0.01)


@pytest.mark.parametrize("kind", ["cloud-init", "user"])
def test_all_values_are_read(tmp_path: Path, kind: str) -> None:
    keys = {"user-data": USER, "vendor-data": VENDOR, "network-config": NETWORK}
    answers = api({f"{kind}.{name}": text for name, text in keys.items()} | {"user.x": "y"})
    with served(tmp_path / "lxd", answers) as (path, asked):
        bundle = lxd.open_socket(path)
        assert layouts.find_layout(bundle).name == "lxd"
        data, problems = rig.collected(layouts.parse, bundle)
    assert problems == []
    assert data.instance_id is not None
    assert data.instance_id.value == ID
    assert data.hostname is not None
    assert data.hostname.value == "c1"
    assert [key.value for key in data.ssh_keys or ()] == [rig.KEY]
    assert data.network is not None
    assert [each.name for each in data.network.interfaces] == ["eth0"]
    written, timezone = data.setting("write_files"), data.setting("timezone")
    assert written is not None
    assert timezone is not None
    assert written.origin.document == f"{kind}.user-data"
    assert timezone.origin.document == f"{kind}.vendor-data"
    # Keys that are another's are not asked for.
    assert "/1.0/config/user.x" not in asked


def test_keys_of_cloud_init_go_before_those_of_the_user(tmp_path: Path) -> None:
    keys = {"cloud-init.user-data": USER, "user.user-data": OTHER}
    data, problems = read(tmp_path, api(keys))
    written = data.setting("write_files")
    assert written is not None
    assert written.value[0]["path"] == "/etc/given"
    (problem,) = problems
    assert (problem.severity, problem.document) == ("warning", "user.user-data")


def test_an_instance_without_keys_has_its_metadata(tmp_path: Path) -> None:
    data, problems = read(tmp_path, api({}))
    assert problems == []
    assert data.instance_id is not None
    assert data.network is None
    assert not data.config


def test_what_the_user_adds_to_the_metadata_counts(tmp_path: Path) -> None:
    """LXD appends the key user.meta-data to its own text."""
    answers = api({}) | {"/1.0/meta-data": f"{META}\nlocal-hostname: named\n"}
    data, _ = read(tmp_path, answers)
    assert data.hostname is not None
    assert data.hostname.value == "named"


def test_values_of_the_kernel_command_line_are_no_layout_of_their_own(tmp_path: Path) -> None:
    with served(tmp_path / "lxd", api({"user.user-data": USER})) as (path, _):
        bundle = lxd.open_socket(path)
        Given("a test", values=(("local-hostname", "named"),)).add_to(bundle, Problems())
        data, problems = rig.collected(layouts.parse, bundle)
    assert problems == []
    assert data.hostname is not None
    assert data.hostname.value == "named"
    assert data.setting("write_files") is not None


@pytest.mark.parametrize(
    "answer",
    [
        403,
        500,
        "x" * (defs.JSON_LIMIT + 1),
    ],
    ids=["refused", "broken", "large"],
)
def test_a_bad_document_costs_only_itself(tmp_path: Path, answer: str | int) -> None:
    answers = api({"user.user-data": USER, "user.vendor-data": VENDOR})
    answers["/1.0/config/user.vendor-data"] = answer
    data, problems = read(tmp_path, answers)
    assert [(p.severity, p.document) for p in problems] == [("error", "user.vendor-data")]
    assert data.setting("write_files") is not None
    assert data.instance_id is not None


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.0 200 OK\r\n",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.0 2xx OK\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nContent-Length: 999\r\n\r\ninstance-id: x\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nX: " + b"x" * (2 << 20),
        "x" * (defs.JSON_LIMIT + 1),
        500,
        403,
        404,
    ],
    ids=[
        "nothing",
        "cut",
        "other",
        "status",
        "short",
        "chunks",
        "head",
        "large",
        "500",
        "403",
        "404",
    ],
)
def test_without_sound_metadata_nothing_is_read(tmp_path: Path, answer: bytes | int) -> None:
    with pytest.raises(SourceBroken, match="meta-data"):
        read(tmp_path, api({}) | {"/1.0/meta-data": answer})


@pytest.mark.parametrize("answer", ["{", "{}", "[7]", "[" * 200, 403, 500])
def test_a_bad_list_of_keys_is_no_empty_one(tmp_path: Path, answer: str | int) -> None:
    with pytest.raises(SourceBroken, match="config"):
        read(tmp_path, api({}) | {"/1.0/config": answer})


def test_a_server_that_has_just_started_is_asked_again(tmp_path: Path) -> None:
    answers = api({}) | {"/1.0/meta-data": [500, b"", META]}
    with served(tmp_path / "lxd", answers) as (path, _):
        assert layouts.read_instance_id(lxd.open_socket(path)) == ID


def test_a_silent_server_has_an_end(tmp_path: Path, mocker: MockerFixture) -> None:
    import socket

    mocker.patch.object(defs, "READ_TIMEOUT", 0.1)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "sock"))
        listener.listen()
        begin = time.monotonic()
        with pytest.raises(SourceBroken, match="timed out, 3 times"):
            lxd.Socket(str(tmp_path / "sock")).fetch("1.0/meta-data", 10)
        assert time.monotonic() - begin < 5


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(SourceBroken, match="No such file"):
        lxd.Socket(str(tmp_path / "sock")).names("1.0/config")


class TestTrust:
    """Which socket is the host's: only root can put it there."""

    @pytest.fixture(autouse=True)
    def _root(self) -> None:
        rig.need_root()

    def test_one_of_root_is_believed(self, tmp_path: Path) -> None:
        with served(tmp_path / "lxd", {}) as (path, _):
            assert lxd.why_not_trusted(path) == ""

    def test_A1_one_of_another_user_is_not(self, tmp_path: Path) -> None:
        with served(tmp_path / "lxd", {}) as (path, _):
            os.chown(path, 1000, 1000)
            assert "another than root" in lxd.why_not_trusted(path)

    @pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777])
    def test_A1_one_in_a_directory_of_others_is_not(self, tmp_path: Path, mode: int) -> None:
        with served(tmp_path / "lxd", {}) as (path, _):
            (tmp_path / "lxd").chmod(mode)
            assert lxd.why_not_trusted(path)

    def test_A1_one_behind_a_link_is_not(self, tmp_path: Path) -> None:
        with served(tmp_path / "real", {}) as (path, _):
            (tmp_path / "lxd").symlink_to(os.path.dirname(path))
            assert lxd.why_not_trusted(str(tmp_path / "lxd/sock"))

    def test_one_that_only_root_can_have_mounted_is_believed(
        self, tmp_path: Path, mocker: MockerFixture
    ) -> None:
        """In a container the host's root is nobody, of whom nobody in there can make a file."""
        place = tmp_path / "lxd"
        usual = os.lstat

        def seen(path: str) -> os.stat_result:
            found = list(usual(path))
            found[4] = found[5] = 65534
            if str(path) != str(tmp_path):
                found[2] += 1  # another file system
            return os.stat_result(found)

        with served(place, {}) as (path, _):
            mocker.patch.object(os, "lstat", seen)
            assert lxd.why_not_trusted(path) == ""

    def test_the_first_socket_is_opened(self, tmp_path: Path, mocker: MockerFixture) -> None:
        (tmp_path / "file").touch()
        paths = (str(tmp_path / "file"), str(tmp_path / "none"), str(tmp_path / "lxd/sock"))
        mocker.patch.object(defs, "LXD_SOCKETS", paths)
        assert lxd.open_source(Problems()) is None
        with served(tmp_path / "lxd", api({})) as (path, _):
            bundle = lxd.open_source(Problems())
            assert bundle is not None
            assert bundle.label == f"LXD {path}"
            assert (bundle.own, bundle.named, bundle.service) == (True, False, False)
            mocker.patch.object(defs, "LXD_SOCKETS", (path, path))
            problems = Problems()
            assert lxd.open_source(problems) is not None
            assert [each.source for each in problems.problems] == [path]
            os.chown(path, 1000, 1000)
            with pytest.raises(SourceBroken, match="may not be the host's"):
                lxd.open_source(Problems())
