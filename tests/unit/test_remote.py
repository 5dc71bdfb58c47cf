"""The metadata service from the side that does not talk to it: what is asked, what is believed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import rig
from pytest_mock import MockerFixture

from guestagent import defs
from guestagent.errors import SourceBroken, Unreachable, UsageError
from guestagent.memory import state
from guestagent.memory.state import State
from guestagent.options import Options
from guestagent.settings import Settings
from guestagent.sources import remote
from guestagent.sources.cloud import Cloud
from guestagent.sources.handover import (
    Answer,
    Request,
    decode_answer,
    encode_answer,
    request_as_json,
)
from guestagent.system.root import Root
from guestagent.verbs import apply

NOVA = Cloud("openstack", "a test", own_uuid=True)
URL = "http://192.0.2.1:8775"
KNOWN = State(
    configured=True,
    instance_id="u-1",
    salt="0f",
    fingerprint="x",
    documents={"a": "b"},
    time=1_700_000_000,
)
FALLBACK = State(record={"file:/etc/x": "ab"})
SERVICE = "http://169.254.169.254"


def test_a_new_machine_asks_for_everything_and_waits_long() -> None:
    request = remote.request_for(NOVA, Settings(), "", State())
    assert request.cloud == NOVA
    assert (request.urls, request.wait) == ((), defs.METADATA_WAIT)
    assert (request.salt, request.digests, request.password) == ("", {}, False)


def test_a_known_machine_compares_and_waits_less(mocker: MockerFixture) -> None:
    mocker.patch.object(remote, "product_uuid", return_value="u-1")
    request = remote.request_for(NOVA, Settings(password_post=True), "", KNOWN)
    assert request.wait == defs.METADATA_WAIT_KNOWN
    assert (request.salt, request.digests) == ("0f", {"a": "b"})
    assert request.password is False
    request = remote.request_for(NOVA, Settings(metadata_wait=7.0), "", KNOWN)
    assert request.wait == 7.0


def test_the_disk_of_a_known_machine_in_another_one_is_new(mocker: MockerFixture) -> None:
    mocker.patch.object(remote, "product_uuid", return_value="u-2")
    request = remote.request_for(NOVA, Settings(password_post=True), "", KNOWN)
    assert (request.wait, request.password) == (defs.METADATA_WAIT, True)


def test_a_machine_that_was_only_given_the_means_to_ask_is_new() -> None:
    request = remote.request_for(NOVA, Settings(password_post=True), "", FALLBACK)
    assert request.wait == defs.METADATA_WAIT
    assert request.password is True


def test_a_url_that_is_given_goes_before_those_of_the_settings() -> None:
    settings = Settings(metadata_urls=(URL, f"{URL}/b"), metadata_imds_v1=True)
    request = remote.request_for(NOVA, settings, "", State())
    assert request.urls == (URL, f"{URL}/b")
    assert request.old_protocol is True
    request = remote.request_for(NOVA, settings, "http://x", State())
    assert request.urls == ("http://x",)


_LEFT = request_as_json(Request(NOVA))
_ODD = [
    *(("wait", "x"), ("wait", 1e999), ("urls", [7]), ("digests", {"a": 7}), ("uuid", "\0")),
    *(("since", "x"), ("since", None)),
    *(("cloud", {"name": "ec2"}), ("salt", 7), ("password", "x"), ("more", 1), ("salt", "x")),
]


def test_a_request_is_read_as_it_was_left(tree: Path) -> None:
    settings = Settings(metadata_urls=(URL,), metadata_imds_v1=True, password_post=True)
    request = remote.request_for(NOVA, settings, "", FALLBACK)
    remote.leave_request(Root(str(tree)), request)
    path = tree / defs.REQUEST_FILE[1:]
    assert path.stat().st_mode & 0o7777 == 0o600
    read = remote.read_request(str(path))
    assert read.cloud == NOVA
    assert (read.urls, read.wait) == ((URL,), defs.METADATA_WAIT)
    assert (read.old_protocol, read.password) == (True, True)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"cloud": 7}',
        '{"cloud": {}, "urls": []}',
        '{"cloud": {"x": 1}}',
        "null",
        *(json.dumps({**_LEFT, key: value}) for key, value in _ODD),
    ],
)
def test_a_request_that_is_none_is_a_usage_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "request"
    path.write_text(content)
    with pytest.raises(UsageError):
        remote.read_request(str(path))
    with pytest.raises(UsageError):
        remote.read_request(str(tmp_path / "missing"))


class Scene:
    """A scratch tree, and what the service would answer to a run by hand."""

    def __init__(self, guest: Path, drive: Path) -> None:
        self.guest = guest
        folder = drive / "openstack/latest"
        self.documents = {
            f"openstack/latest/{name}": (folder / name).read_bytes()
            for name in ("meta_data.json", "network_data.json")
        }
        self.answer: Answer | None = None
        self.asked: list[Request] = []

    def ask(self, request: Request) -> Any:
        self.asked.append(request)
        answer = self.answer or Answer(SERVICE, self.documents, requests=5)
        return remote._documents(decode_answer(encode_answer(answer)))

    def apply(self) -> int:
        return apply.run(Options(source=URL, root=str(self.guest)))

    def text(self, path: str) -> str:
        return (self.guest / path.lstrip("/")).read_text()

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.text(defs.REPORT_FILE))
        return found

    def change(self, old: str, new: str) -> None:
        """Let the service say something else."""
        self.documents = {
            name: content.replace(old.encode(), new.encode())
            for name, content in self.documents.items()
        }

    def etc(self) -> dict[str, rig.Entry]:
        return rig.snapshot(self.guest / "etc")


@pytest.fixture
def scene(guest: Path, drive: Path, mocker: MockerFixture) -> Scene:
    made = Scene(guest, drive)
    mocker.patch.object(remote, "ask_now", made.ask)
    return made


def test_a_service_configures_a_tree_as_a_drive_does(scene: Scene) -> None:
    scene.apply()
    # Nova's service has no injected files; the sample drive's are missed.
    keys = [problem["key"] for problem in scene.report()["problems"]]
    assert keys == ["files[0].content_path", "files[1].content_path"]
    assert scene.text("/etc/hostname") == "web-1\n"
    assert scene.report()["source"] == f"metadata service {SERVICE}"
    assert scene.report()["first_boot"] is True


@pytest.fixture
def configured(scene: Scene) -> Scene:
    """A tree that the service has configured, without the files that it does not have."""
    meta = json.loads(scene.documents["openstack/latest/meta_data.json"])
    del meta["files"]
    scene.documents["openstack/latest/meta_data.json"] = json.dumps(meta).encode()
    assert scene.apply() == 0
    return scene


def test_a_second_run_changes_nothing(configured: Scene) -> None:
    before = configured.etc()
    assert configured.apply() == 0
    assert rig.differences(before, configured.etc()) == set()
    assert configured.report()["changes"] == []
    assert configured.report()["first_boot"] is False


def test_an_answer_that_says_that_nothing_changed_is_compared_with_the_tree(
    configured: Scene,
) -> None:
    configured.answer = Answer(SERVICE, configured.documents, unchanged=True, requests=2)
    assert configured.apply() == 0
    assert configured.report()["unchanged"] is True
    (configured.guest / "etc/hostname").write_text("other\n")
    assert configured.apply() == 0
    assert configured.report()["unchanged"] is False
    assert configured.report()["kept"] == ["/etc/hostname"]


def test_what_is_remembered_is_asked_for_and_no_secret(configured: Scene) -> None:
    kept = state.load(Root(str(configured.guest)))
    assert sorted(kept.documents) == sorted(configured.documents)
    assert (kept.source, kept.configured) == ("", True)
    configured.apply()
    assert configured.asked[-1].digests == kept.documents
    assert configured.asked[-1].salt == kept.salt
    assert "web-1" not in configured.text(defs.STATE_FILE)


@pytest.mark.parametrize(("again", "status"), [(True, defs.EXIT_TRY_AGAIN), (False, 3)])
def test_C7_a_service_that_gives_nothing_changes_nothing(
    configured: Scene, again: bool, status: int
) -> None:
    before, kept = configured.etc(), configured.text(defs.STATE_FILE)
    configured.answer = Answer("", error="no metadata service answered", again=again)
    assert configured.apply() == status
    assert rig.differences(before, configured.etc()) == set()
    assert configured.text(defs.STATE_FILE) == kept
    assert configured.report()["instance_id"] == "0c1a9b2e-6f0d-4d3e-9a57-3f1f5e9b7a10"


def test_another_instance_is_a_first_boot(configured: Scene) -> None:
    configured.change("0c1a9b2e", "ffffffff")
    assert configured.apply() == 0
    assert configured.report()["first_boot"] is True


def test_after_the_fallback_the_first_data_are_a_first_boot(scene: Scene) -> None:
    root = Root(str(scene.guest))
    name = "/etc/systemd/network/10-guestagent-nic525400000001.network"
    file = scene.guest / name[1:]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("[Network]\nDHCP=ipv4\n")
    file.chmod(0o644)
    from guestagent.system.digest import digest

    record = {f"file:{name}": digest(b"644\n" + file.read_bytes())}
    state.save(root, FALLBACK._replace(record=record))
    scene.apply()
    assert scene.report()["first_boot"] is True
    # The fallback of a NIC that the data do not speak of goes.
    assert not file.exists()
    assert "192.0.2.10" in scene.text("/etc/systemd/network/10-guestagent-nic525400123456.network")


def test_a_fallback_file_that_an_administrator_changed_stays(scene: Scene) -> None:
    root = Root(str(scene.guest))
    name = "/etc/systemd/network/10-guestagent-nic525400000001.network"
    file = scene.guest / name[1:]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("[Network]\nAddress=192.0.2.9/24\n")
    state.save(root, FALLBACK._replace(record={f"file:{name}": "another digest"}))
    scene.apply()
    assert file.exists()
    assert name in scene.report()["kept"]


@pytest.mark.parametrize("answer", [Answer("", error="x", again=True), Answer("", error="x")])
def test_an_answer_without_documents_is_no_source(answer: Answer, tree: Path) -> None:
    root = Root(str(tree))
    with pytest.raises(Unreachable, match="nothing was fetched"):
        remote.read_answer(root)
    path = tree / defs.ANSWER_FILE[1:]
    path.parent.mkdir(parents=True)
    path.write_bytes(encode_answer(answer))
    with pytest.raises(Unreachable if answer.again else SourceBroken, match="x"):
        remote.read_answer(root)
    path.write_bytes(b"{}")
    with pytest.raises(SourceBroken):
        remote.take_answer(root)
    assert not path.exists()


def test_a_child_that_dies_is_no_answer(mocker: MockerFixture) -> None:
    mocker.patch("guestagent.system.privsep.ask_as_nobody", return_value=b"")
    request = Request(NOVA, (URL,), 1.0)
    with pytest.raises(Unreachable, match="gave no answer"):
        remote.ask_now(request)


@pytest.mark.parametrize("url", ["https://192.0.2.1", "http://", "ftp://x"])
def test_only_http_is_spoken(mocker: MockerFixture, url: str) -> None:
    asked = mocker.patch("guestagent.system.privsep.ask_as_nobody")
    with pytest.raises(UsageError):
        remote.ask_now(Request(NOVA, (url,), 1.0))
    assert not asked.called


_TELL = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from guestagent.cli import main; "
    "status = main(sys.argv[1:]); print(*sorted(sys.modules)); sys.exit(status)"
)
_OF_SERVICES = {
    *("requests", "urllib3", "socket", "guestagent.sources.remote", "guestagent.sources.cloud"),
    *("guestagent.sources.service", "guestagent.sources.http", "guestagent.sources.endpoints"),
    "guestagent.sources.retry",
    *("guestagent.sources.documents", "guestagent.sources.handover"),
    *("guestagent.commit.random_password", "guestagent.parse.ec2"),
}


def test_a_run_with_a_drive_loads_nothing_of_services(guest: Path, drive: Path) -> None:
    for _ in range(2):
        argv = [sys.executable, "-I", "-S", "-B", "-c", _TELL, str(rig.REPOSITORY)]
        argv += ["--source", str(drive), "--root", str(guest)]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        loaded = set(done.stdout.splitlines()[-1].split())
        assert "guestagent.verbs.apply" in loaded
        assert loaded & _OF_SERVICES == set()
