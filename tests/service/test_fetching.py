"""What user data name by URLs, fetched from a real server with TLS in a network namespace."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import rig
from openpgp_keys import Keys
from userdata.part_samples import mime
from userdata.planning import make_drive

from guestagent import defs
from guestagent.sources.downloads import (
    Download,
    Downloaded,
    Request,
    decode_answer,
    decode_request,
    request_as_json,
)
from guestagent.system.jsontext import dumps
from guestagent.verbs.sign import sign

from . import fetched

ON = "[fetch]\nenable = true\n"


class Web(NamedTuple):
    """A running server: the words that start a program where it is, and its folder."""

    enter: tuple[str, ...]
    folder: Path

    def requests(self) -> list[dict[str, Any]]:
        lines = (self.folder / "requests").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def get(self, *urls: str, http: bool = False, **headers: str) -> list[Downloaded]:
        """What the verb that fetches makes of URLs."""
        request = self.folder / "request.json"
        downloads = [Download(url, headers) for url in urls]
        request.write_text(json.dumps(request_as_json(Request(downloads, http))))
        done = rig.agent("download", "--source", request, before=self.enter)
        assert done.status == 0, done.err
        return decode_answer(done.out.encode(), len(urls))

    def one(self, path: str, **more: Any) -> Downloaded:
        url = path if "://" in path else f"https://{fetched.HOST}{path}"
        (found,) = self.get(url, **more)
        return found


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    """A server in namespaces of its own, where its names and its authority are known."""
    rig.need_root()
    rig.need_tools("unshare", "nsenter", "ip", "openssl", "mount")
    folder = tmp_path / "web"
    folder.mkdir()
    fetched.make_certificates(folder)
    hosts = [f"{address} {name}" for name, found in fetched.NAMES.items() for address in found]
    (folder / "hosts").write_text("".join(f"{line}\n" for line in hosts))
    (folder / "nsswitch").write_text("hosts: files dns\n")
    (folder / "resolv.conf").write_text(f"nameserver {fetched.ADDRESS}\n")
    bundle = next(path for path in defs.CA_BUNDLES if os.path.exists(path))
    set_up = (
        "ip link set lo up && ip addr add 192.0.2.1/32 dev lo && "
        "ip addr add 169.254.169.254/32 dev lo && "
        f"mount --bind {folder}/hosts /etc/hosts && mount --bind {folder}/ca.pem {bundle} && "
        f"mount --bind {folder}/nsswitch /etc/nsswitch.conf && "
        f"mount --bind {folder}/resolv.conf /etc/resolv.conf && "
        f"exec {sys.executable} {fetched.__file__} {folder}"
    )
    argv = ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", set_up]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as server:
        assert server.stdout
        assert server.stdout.readline() == b"serving\n"
        enter = (
            "nsenter",
            f"--net=/proc/{server.pid}/ns/net",
            f"--mount=/proc/{server.pid}/ns/mnt",
        )
        yield Web((*enter, "--"), folder)
        server.kill()


def test_C11_a_document_is_fetched_over_tls(web: Web) -> None:
    assert web.one("/file") == Downloaded(b"content\n")
    (request,) = web.requests()
    assert request["headers"]["Accept-Encoding"] == "identity"
    assert web.one("/moved") == Downloaded(b"content\n")
    assert web.one("/accent") == Downloaded(b"content\n")
    assert web.requests()[-1]["path"] == "/caf%C3%A9/headers"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"https://{fetched.HOST}:8443/file", "certificate is not trusted"),
        ("https://192.0.2.1/file", "certificate is not trusted"),
        (f"http://{fetched.HOST}/file", "is not https"),
        ("/plain", "redirects to what is not https"),
        ("/to-file", "redirects to what is not https"),
        ("/loop", "redirects more than 5 times"),
        ("/none", "HTTP status 404"),
        ("/large", "is larger than 1048576 bytes"),
        ("/compressed", "comes compressed"),
        ("/latin", "is not a URL"),
        ("/without-length", "comes without its length"),
        (f"https://{fetched.HOST}:none/file", "is not a URL"),
        ("https://nowhere.example.org/file", "cannot be reached"),
    ],
)
def test_C11_what_is_not_as_it_must_be_is_an_error(web: Web, url: str, reason: str) -> None:
    found = web.one(url)
    assert found.content == b""
    assert reason in found.error


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/file",
        "https://localhost/file",
        "https://[::1]/file",
        "https://[::ffff:127.0.0.1]/file",
        "https://169.254.169.254/file",
        "https://0.0.0.0/file",
        "https://2130706433/file",
        "https://loopback.example.org/file",
        "https://mapped.example.org/file",
        "https://metadata.example.org/file",
        "/to-metadata",
        "/to-address",
        "/to-loopback",
        "http://169.254.169.254/latest/meta-data",
    ],
)
def test_C11_no_address_of_loopback_a_link_or_a_metadata_service_is_asked(
    web: Web, url: str
) -> None:
    """Whatever name, spelling or redirect leads there; the server listens at all of them."""
    found = web.one(url, http=True)
    assert found.content == b""
    assert all(request["at"] == fetched.ADDRESS for request in web.requests())
    assert len(web.requests()) == url.startswith("/")


def test_C11_of_several_addresses_only_those_that_may_be_are_asked(web: Web) -> None:
    assert web.one("https://both.example.org/file") == Downloaded(b"content\n")
    assert [request["at"] for request in web.requests()] == [fetched.ADDRESS]


def test_C11_http_is_allowed_by_setting_alone_and_never_after_https(web: Web) -> None:
    assert web.one(f"http://{fetched.HOST}/file", http=True) == Downloaded(b"content\n")
    assert "not https" in web.one("/plain", http=True).error


@pytest.mark.parametrize("path", ["/away", "/backslash"])
def test_C11_header_fields_go_to_the_host_that_they_are_for(web: Web, path: str) -> None:
    assert web.one(path, Authorization="CANARY").content
    first, second = web.requests()
    assert first["headers"]["Authorization"] == "CANARY"
    assert "Authorization" not in second["headers"]


def test_C11_what_ends_in_the_middle_is_not_used(web: Web) -> None:
    assert "ended in the middle" in web.one("/short").error


def test_a_server_that_is_busy_is_asked_again(web: Web) -> None:
    assert web.one("/again") == Downloaded(b"content\n")


def test_C11_no_more_of_a_redirect_is_read_than_where_it_leads(web: Web) -> None:
    assert web.one("/moved-flood") == Downloaded(b"content\n")
    assert not any(request["taken"] for request in web.requests())


@pytest.mark.parametrize("path", ["/line", "/chunk"])
def test_C11_what_has_no_end_costs_its_document_alone(web: Web, path: str) -> None:
    """A line or a chunk without an end: the limit is the one of the unit, LimitDATA=."""
    unit = (rig.REPOSITORY / "systemd/guestagent-download.service").read_text()
    (limit,) = re.findall(r"(?m)^LimitDATA=(\d+)M$", unit)
    rig.need_tools("prlimit")
    confined = web._replace(enter=(*web.enter, "prlimit", f"--data={int(limit) << 20}", "--"))
    names = (path, *["/large-enough"] * 7, "/file")
    urls = [f"https://{fetched.HOST}{name}" for name in names]
    flood, *others = confined.get(*urls)
    assert flood.error
    assert {other.error for other in others} == {""}
    assert not any(request["taken"] for request in web.requests())


def test_C11_what_a_flood_does_to_memory_is_over_with_its_document(web: Web) -> None:
    """Else the next one, or the thread that asks for its address, may have none left."""
    script = (
        "import resource, sys; sys.path.insert(0, sys.argv[1]); "
        "from guestagent.sources.https import fetch_all; "
        "from guestagent.sources.downloads import Download, Request; "
        "assert fetch_all(Request([Download(sys.argv[2])]))[0].error; "
        "print(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0], "
        "resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    url = f"https://{fetched.HOST}/chunk"
    limit = ("prlimit", f"--data={112 << 20}", "--")
    argv = [*web.enter, *limit, sys.executable, "-c", script, str(rig.REPOSITORY), url]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
    own, of_child = (int(peak) >> 10 for peak in done.stdout.split())
    assert own < 70 < of_child  # MiB


def fetch_impatiently(web: Web, *urls: str) -> str:
    """What becomes of the documents of URLs, as text, with 1.5 s for everything."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); "
        "from guestagent import defs; defs.FETCH_TIMEOUT = 1.5; defs.FETCH_CONNECT = 1.0; "
        "from guestagent.sources.https import fetch_all; "
        "from guestagent.sources.downloads import Download, Request; "
        "print(fetch_all(Request([Download(url) for url in sys.argv[2:]])))"
    )
    done = subprocess.run(
        [*web.enter, sys.executable, "-c", script, str(rig.REPOSITORY), *urls],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("slow", ["silent.example.org/file", f"{fetched.HOST}/slow"])
def test_C11_what_is_too_slow_costs_its_document_alone(web: Web, slow: str) -> None:
    """A name server that is silent, and a server that sends a byte now and then."""
    said = fetch_impatiently(web, f"https://{slow}", f"https://{fetched.HOST}/file")
    assert "took longer than 2 s" in said
    assert "content\\n" in said


# From user data to the guest


def configured(guest: Path, drive: Path, settings: str = ON) -> rig.Result:
    folder = guest / "etc/guestagent"
    folder.mkdir(exist_ok=True)
    (folder / "guestagent.toml").write_text(settings)
    return rig.agent("apply", "--source", drive, "--root", guest)


def script_of(guest: Path, name: str = "25-resumed-fetch") -> bytes:
    """The script that has what is to be fetched."""
    (script,) = (guest / "var/lib/guestagent/late").glob(name)
    return script.read_bytes().split(b"\n", 2)[2].rpartition(b"\nEND")[0]


# The last argument is code that puts something in the way.
_LATER = (
    "import os, sys; sys.path.insert(0, sys.argv[1]); from guestagent.verbs.fetch_later import *; "
    "from guestagent import defs; defs.SYSTEMD_DIR = '/none'; "
    "exec(sys.argv[3]); "
    "sys.exit(fetch_later(Root(sys.argv[2]), sys.stdin.buffer.read()))"
)


def fetch(
    web: Web, guest: Path, in_the_way: str = "", script: str = "25-resumed-fetch"
) -> subprocess.CompletedProcess[bytes]:
    """Do what the late stage does."""
    return subprocess.run(
        [*web.enter, sys.executable, "-c", _LATER, str(rig.REPOSITORY), str(guest), in_the_way],
        input=script_of(guest, script),
        capture_output=True,
        timeout=120,
    )


def report(guest: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((guest / "run/guestagent/report.json").read_text())
    return found


def source(path: str, url: str, more: str = "") -> str:
    return f"- {{path: {path}, source: {{uri: '{url}'}}{more}}}\n"


def test_a_file_is_fetched_and_told(web: Web, guest: Path, tmp_path: Path) -> None:
    url = f"https://user:CANARY@{fetched.HOST}/file?token=CANARY"
    text = "write_files:\n" + source("/etc/a", url, ", permissions: '0640'")
    text += source("/etc/b", f"https://{fetched.HOST}/file", ", append: true")
    text += source("/etc/c", f"https://{fetched.HOST}/none", ", content: instead")
    text += source("/etc/d", f"https://{fetched.HOST}/none")
    (guest / "etc/b").write_text("before\n")
    done = configured(guest, make_drive(tmp_path, text))
    assert done.status == 0, done.err
    assert not (guest / "etc/a").exists()
    later = fetch(web, guest)
    assert later.returncode == 1, later.stderr
    assert (guest / "etc/a").read_text() == "content\n"
    assert (guest / "etc/a").stat().st_mode & 0o777 == 0o640
    assert (guest / "etc/b").read_text() == "before\ncontent\n"
    assert (guest / "etc/c").read_text() == "instead"
    assert not (guest / "etc/d").exists()
    found = report(guest)
    digest = sha256(b"content\n").hexdigest()
    assert found["fetched"] == [
        {"url": f"https://{fetched.HOST}/file?…", "size": 8, "sha256": ""},
        {"url": f"https://{fetched.HOST}/file", "size": 8, "sha256": digest},
    ]
    reasons = [problem["reason"] for problem in found["problems"]]
    assert reasons == [
        f"https://{fetched.HOST}/none: HTTP status 404; its content is used instead",
        f"https://{fetched.HOST}/none: HTTP status 404",
    ]
    for said in (done.out, done.err, later.stderr.decode(), json.dumps(found)):
        assert "CANARY" not in said
    assert "token=CANARY" in web.requests()[0]["path"]
    # A run that was interrupted is made again.
    fetch(web, guest)
    assert (guest / "etc/b").read_text() == "before\ncontent\n"
    assert digest in rig.agent("status", "--root", guest).out


def test_keys_are_imported_and_stay(web: Web, guest: Path, tmp_path: Path) -> None:
    """Beside the metadata's keys, in this instance alone, as long as user data name them."""
    text = "ssh_import_id: [gh:alice]\n"
    drive = make_drive(tmp_path, text, public_keys={"a": rig.KEY})
    assert configured(guest, drive).status == 0
    (keys,) = guest.glob("home/*/.ssh/authorized_keys")
    assert fetched.KEY not in keys.read_text()
    later = fetch(web, guest)
    assert later.returncode == 0, later.stderr
    assert b"a line of it" in later.stderr
    assert keys.read_text().count(fetched.KEY) == 1
    assert rig.KEY in keys.read_text()
    written = keys.read_text()
    assert report(guest)["fetched"][0]["url"] == "https://github.com/alice.keys"
    for _ in range(2):
        done = rig.agent("apply", "--source", drive, "--root", guest)
        assert done.status == 0, done.err
        assert keys.read_text() == written
    assert "unchanged" in done.err
    # The metadata's key changes, and the others stay.
    other = rig.KEY.replace("sample", "other")
    make_drive(tmp_path, text, public_keys={"a": other})
    assert configured(guest, drive).status == 0
    assert (other in keys.read_text(), fetched.KEY in keys.read_text()) == (True, True)
    # User data do not ask for them any more.
    make_drive(tmp_path, "hostname: x\n", public_keys={"a": other})
    assert configured(guest, drive).status == 0
    assert fetched.KEY not in keys.read_text()


def test_keys_are_imported_although_the_first_try_was_killed(
    web: Web, guest: Path, tmp_path: Path
) -> None:
    """After they were written, and before that was remembered; and with a run at boot between."""
    drive = make_drive(tmp_path, "ssh_import_id: gh:alice\n", public_keys={"a": rig.KEY})
    assert configured(guest, drive).status == 0
    (keys,) = guest.glob("home/*/.ssh/authorized_keys")
    later = fetch(web, guest, "state.save = lambda *_: os.kill(os.getpid(), 9)")
    assert later.returncode == -9
    assert fetched.KEY in keys.read_text()
    for _ in range(2):
        assert configured(guest, drive).status == 0
        later = fetch(web, guest)
        assert (later.returncode, b"administrator" in later.stderr) == (0, False), later.stderr
        assert keys.read_text().count(fetched.KEY) == 1
    # They are guestagent's own, which another instance does not have.
    drive = make_drive(tmp_path, "hostname: x\n", uuid="i-2", public_keys={"a": rig.KEY})
    assert configured(guest, drive).status == 0
    assert fetched.KEY not in keys.read_text()


def test_C11_no_more_keys_are_imported_than_the_state_can_remember(
    web: Web, guest: Path, tmp_path: Path
) -> None:
    text = "ssh_import_id: [gh:long, gh:long, gh:many, gh:alice]\n"
    assert configured(guest, make_drive(tmp_path, text, public_keys={"a": rig.KEY})).status == 0
    later = fetch(web, guest)
    assert (later.returncode, later.stderr.count(b"has keys beyond 256")) == (1, 3), later.stderr
    (keys,) = guest.glob("home/*/.ssh/authorized_keys")
    text = keys.read_text()
    assert (text.count("ssh-rsa "), text.count("ssh-ed25519 ")) == (1, 256)
    state = json.loads((guest / "var/lib/guestagent/state.json").read_text())
    assert len(state["imported_keys"]) == 256


def test_C11_keys_beside_what_is_not_text_are_left_alone(
    web: Web, guest: Path, tmp_path: Path
) -> None:
    """Users may write to their file of keys what they like."""
    drive = make_drive(tmp_path, "ssh_import_id: gh:alice\n", public_keys={"a": rig.KEY})
    assert configured(guest, drive).status == 0
    (keys,) = guest.glob("home/*/.ssh/authorized_keys")
    content = keys.read_bytes().replace(rig.KEY.encode(), b"\xff" + rig.KEY.encode())
    keys.write_bytes(content)
    later = fetch(web, guest)
    assert (later.returncode, b"changed by an administrator" in later.stderr) == (1, True)
    assert keys.read_bytes() == content


def test_what_is_fetched_for_one_path_comes_in_its_order(
    web: Web, guest: Path, tmp_path: Path
) -> None:
    url = f"https://{fetched.HOST}/"
    text = "write_files:\n" + source("/etc/a", f"{url}file")
    text += source("/etc/a", f"{url}secret", ", append: true")
    text += source("/etc/b", f"{url}secret")
    text += source("/etc/b", f"{url}file")
    assert configured(guest, make_drive(tmp_path, text)).status == 0
    for _ in range(2):
        later = fetch(web, guest)
        assert later.returncode == 0, later.stderr
        assert (guest / "etc/a").read_text() == "content\nhunter2\n"
        assert (guest / "etc/b").read_text() == "content\n"


def test_imported_keys_are_not_for_another_instance(web: Web, guest: Path, tmp_path: Path) -> None:
    drive = make_drive(tmp_path, "ssh_import_id: gh:alice\n", public_keys={"a": rig.KEY})
    configured(guest, drive)
    fetch(web, guest)
    (keys,) = guest.glob("home/*/.ssh/authorized_keys")
    assert fetched.KEY in keys.read_text()
    drive = make_drive(tmp_path, "hostname: x\n", uuid="i-2", public_keys={"a": rig.KEY})
    assert configured(guest, drive).status == 0
    assert fetched.KEY not in keys.read_text()


def test_keys_of_one_user_are_that_users(web: Web, guest: Path, tmp_path: Path) -> None:
    rig.need_tools("useradd")
    text = "users: [{name: carol, ssh_import_id: [alice, 'gh:none', '../x', 'gl:x']}]\n"
    done = configured(guest, make_drive(tmp_path, text))
    assert done.err.count("must be gh:NAME or lp:NAME") == 2
    assert fetch(web, guest).returncode == 1  # gh:none has no document
    assert (guest / "home/carol/.ssh/authorized_keys").read_text().count(fetched.KEY) == 1
    assert [each["url"] for each in report(guest)["fetched"]] == [
        "https://launchpad.net/~alice/+sshkeys"
    ]


def test_keys_of_one_account_go_although_another_still_asks_for_some(
    web: Web, guest: Path, tmp_path: Path
) -> None:
    rig.need_tools("useradd")
    carol, dave = (f"{{name: {name}, ssh_import_id: [gh:alice]}}" for name in ("carol", "dave"))
    drive = make_drive(tmp_path, f"users: [{carol}, {dave}]\n", public_keys={})
    assert configured(guest, drive).status == 0
    assert fetch(web, guest).returncode == 0
    keys = [guest / f"home/{name}/.ssh/authorized_keys" for name in ("carol", "dave")]
    assert [fetched.KEY in path.read_text() for path in keys] == [True, True]
    make_drive(tmp_path, f"users: [{carol}, {{name: dave}}]\n", public_keys={})
    assert configured(guest, drive).status == 0
    assert fetched.KEY in keys[0].read_text()
    assert not keys[1].exists() or fetched.KEY not in keys[1].read_text()


def test_a_default_user_is_made_for_keys_that_are_to_come(
    web: Web, guest: Path, tmp_path: Path
) -> None:
    rig.need_tools("useradd")
    settings = f'{ON}[user]\nname = "newcomer"\n'
    assert (
        configured(guest, make_drive(tmp_path, "ssh_import_id: gh:alice\n"), settings).status == 0
    )
    assert "newcomer" in (guest / "etc/passwd").read_text()
    assert fetch(web, guest).returncode == 0
    assert fetched.KEY in (guest / "home/newcomer/.ssh/authorized_keys").read_text()


# What can be had later


def test_what_cannot_be_reached_is_tried_again_and_nothing_else(
    web: Web, guest: Path, tmp_path: Path
) -> None:
    text = "write_files:\n"
    for name in ("busy", "file", "none"):
        text += source(f"/etc/{name}", f"https://{fetched.HOST}/{name}")
    text += source("/etc/own", f"https://{fetched.HOST}/busy", ", content: own")
    message = mime(
        b"Content-Type: text/cloud-config\n\n" + text.encode(), b"\n" + including("/nested-busy")
    )
    assert configured(guest, make_drive(tmp_path, message)).status == 0
    assert fetch(web, guest).returncode == defs.EXIT_TRY_AGAIN
    assert (guest / "etc/file").read_text() == "content\n"
    assert (guest / "etc/own").read_text() == "own"
    assert not (guest / "etc/busy").exists()
    reasons = [each["reason"] for each in report(guest)["problems"]]
    assert sum("HTTP status 503; it is tried again" in reason for reason in reasons) == 2
    # Another run at boot leaves what is left as it is.
    assert configured(guest, tmp_path / "drive").status == 0
    left = json.loads(script_of(guest))
    assert [each["include"] for each in left["items"]] == ["", "include-5-1"]
    before = len(web.requests())
    (web.folder / "ready").touch()
    later = fetch(web, guest)
    assert later.returncode == 0, later.stderr
    assert [each["path"] for each in web.requests()[before:]] == ["/busy", "/busy-script"]
    assert (guest / "etc/busy").read_text() == "content\n"
    assert "50-instance-part-001-include-5-1" in staged(guest)


def test_there_is_an_end_to_trying_again(web: Web, guest: Path, tmp_path: Path) -> None:
    text = "write_files:\n" + source("/etc/busy", f"https://{fetched.HOST}/busy")
    assert configured(guest, make_drive(tmp_path, text)).status == 0
    found = [fetch(web, guest).returncode for _ in range(defs.FETCH_AGAIN + 1)]
    assert found == [defs.EXIT_TRY_AGAIN] * defs.FETCH_AGAIN + [defs.EXIT_ERRORS]
    (problem,) = report(guest)["problems"]
    assert problem["reason"].endswith("HTTP status 503; it is not tried again")


def test_all_is_told_as_well_once_it_came(web: Web, guest: Path, tmp_path: Path) -> None:
    text = "write_files:\n" + source("/etc/busy", f"https://{fetched.HOST}/busy")
    assert configured(guest, make_drive(tmp_path, text)).status == 0
    assert fetch(web, guest).returncode == defs.EXIT_TRY_AGAIN
    assert report(guest)["exit_status"] == defs.EXIT_ERRORS
    (web.folder / "ready").touch()
    assert fetch(web, guest).returncode == defs.EXIT_OK
    found = report(guest)
    assert (found["problems"], found["exit_status"]) == ([], defs.EXIT_OK)


def test_C11_includes_of_includes_share_what_all_may_use(
    web: Web, guest: Path, tmp_path: Path
) -> None:
    paths = ["/includes-large", *["/large-enough"] * 4]
    configured(guest, make_drive(tmp_path, including(*paths)))
    later = fetch(web, guest)
    assert later.returncode == 1
    found = [each["size"] for each in report(guest)["fetched"]]
    assert 7 << 20 < sum(found) <= defs.TOTAL_LIMIT
    assert b"which are left of all that may be fetched" in later.stderr
    # The same for the time: nothing is left for the second level.
    later = fetch(web, guest, "defs.FETCH_WAIT = 0")
    assert b"there was no time left for it" in later.stderr
    assert later.returncode == defs.EXIT_TRY_AGAIN


def test_an_empty_answer_is_an_error(web: Web, guest: Path, tmp_path: Path) -> None:
    configured(guest, make_drive(tmp_path, "ssh_import_id: gh:empty\n", public_keys={"a": rig.KEY}))
    later = fetch(web, guest)
    assert (later.returncode, b"no keys of that name" in later.stderr) == (1, True)


# What user data include


def including(*paths: str) -> bytes:
    return b"#include\n" + "".join(f"https://{fetched.HOST}{path}\n" for path in paths).encode()


def staged(guest: Path) -> dict[str, str]:
    """The scripts that wait in the late stage, but the one that fetches."""
    folder = guest / "var/lib/guestagent/late"
    return {path.name: path.read_text() for path in folder.iterdir() if "fetch" not in path.name}


def test_included_scripts_and_commands_run_in_the_late_stage(
    web: Web, guest: Path, tmp_path: Path
) -> None:
    apt = guest / "usr/bin/apt-get"
    apt.parent.mkdir(parents=True, exist_ok=True)
    apt.write_text("")
    apt.chmod(0o755)
    done = configured(guest, make_drive(tmp_path, including("/script", "/config")))
    assert done.status == 0, done.err
    later = fetch(web, guest)
    assert (guest / "etc/included").read_text() == "mine"
    assert not (guest / "home/mallory").exists()
    scripts = staged(guest)
    assert set(scripts) == {
        "50-instance-part-001-include-1",
        "10-instance-packages-include-2",
        "50-instance-runcmd-include-2",
    }
    assert scripts["50-instance-part-001-include-1"] == "#!/bin/sh\necho included\n"
    assert "echo ran" in scripts["50-instance-runcmd-include-2"]
    # Each other key is an error that says where it is.
    assert later.returncode == 1
    url = f"https://{fetched.HOST}/config"
    places = [(each["source"], each["key"].partition(" ")[0]) for each in report(guest)["problems"]]
    assert places == [(url, "hostname"), (url, "users")]
    assert (guest / "etc/hostname").read_text() != "late\n"
    digest = sha256(fetched.DOCUMENTS["/config"]).hexdigest()
    assert digest in [each["sha256"] for each in report(guest)["fetched"]]
    # The next boot leaves it all, and a run that was interrupted is made again.
    assert rig.agent("apply", "--source", tmp_path / "drive", "--root", guest).status == 0
    assert staged(guest) == scripts
    fetch(web, guest)
    assert staged(guest) == scripts
    # Another instance does not run them.
    drive = make_drive(tmp_path, "hostname: x\n", uuid="i-2")
    assert configured(guest, drive).status == 0
    assert not staged(guest)


def test_an_include_may_include_others(web: Web, guest: Path, tmp_path: Path) -> None:
    configured(guest, make_drive(tmp_path, including("/nested", "/boothook", "/source")))
    later = fetch(web, guest)
    assert later.returncode == 1
    assert set(staged(guest)) == {"50-instance-part-001-include-1-1"}
    reasons = [each["reason"] for each in report(guest)["problems"]]
    assert len(reasons) == 3
    for word in ("HTTP status 404; nothing of it", "too late for it", "by what is itself fetched"):
        assert any(word in reason for reason in reasons), reasons


def test_C11_includes_have_an_end(web: Web, guest: Path, tmp_path: Path) -> None:
    configured(guest, make_drive(tmp_path, including("/endless", "/to-metadata-service")))
    later = fetch(web, guest)
    assert later.returncode == 1
    assert len(web.requests()) == defs.PART_DEPTH + 1
    assert all(request["at"] == fetched.ADDRESS for request in web.requests())
    assert f"is included more than {defs.PART_DEPTH} deep" in later.stderr.decode()
    assert not staged(guest)


@pytest.mark.parametrize("kind", ["user_data", "vendor_data.json"])
def test_C11_what_is_included_must_be_signed_as_what_includes_it(
    web: Web, guest: Path, tmp_path: Path, kind: str
) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    signer = "user-data" if kind == "user_data" else "vendor-data"
    (web.folder / "documents").mkdir()
    (web.folder / "documents/signed").write_bytes(sign(fetched.DOCUMENTS["/script"], str(key)))
    message = sign(including("/script", "/signed"), str(key))
    drive = make_drive(tmp_path, message if kind == "user_data" else b"")
    if kind != "user_data":
        vendor = drive / "openstack/latest" / kind
        vendor.write_text(json.dumps({"cloud-init": message.decode()}))
    folder = guest / "etc/guestagent"
    folder.mkdir()
    (folder / "allowed_signers").write_text(f"{signer} {key.with_suffix('.pub').read_text()}")
    done = configured(guest, drive, f'{ON}[signatures]\npolicy = "required"\n')
    assert done.status == 0, done.err
    later = fetch(web, guest)
    assert later.returncode == 1
    assert b"is not signed, as the setting" in later.stderr
    (script,) = staged(guest)
    assert script.endswith("include-2")


def test_C11_the_key_of_a_source_of_apt_is_the_one_that_was_named(
    web: Web, guest: Path, tmp_path: Path
) -> None:
    """From a key server and from a URL; with another key the source is not written either."""
    (guest / "usr/bin/apt-get").touch(0o755)
    keys = Keys(tmp_path / "gpg")
    (shop,), (other,) = keys.make("shop"), keys.make("other")
    (web.folder / "documents").mkdir(exist_ok=True)
    (web.folder / "documents/archive.gpg").write_bytes(keys.gpg("--armor", "--export", shop, other))
    entries = {
        "served": f"keyid: '{shop}'",
        "by-id": f"keyid: '0x{shop[-16:]}', keyserver: 'hkp://{fetched.HOST}:80'",
        "by-url": f"keyid: '{other}', key: 'https://{fetched.HOST}/archive.gpg'",
        "wrong": f"keyid: '{'0' * 40}'",
        "missing": f"keyid: '{shop}', key: 'https://{fetched.HOST}/none'",
    }
    text = "apt:\n  sources:\n"
    for name, given in entries.items():
        text += f"    {name}: {{source: 'deb http://{name}.example.org s main', {given}}}\n"
    done = configured(guest, make_drive(tmp_path, text))
    assert done.status == 0, done.err
    later = fetch(web, guest, script="05-resumed-apt-keys")
    assert later.returncode == 1, later.stderr
    found = {path.name: path for path in (guest / "etc/apt").glob("*/*")}
    good = {"served": shop, "by-id": shop, "by-url": other}
    assert found.keys() == {
        *(f"guestagent-{name}.gpg" for name in good),
        *(f"{name}.sources" for name in good),
    }
    for name, fingerprint in good.items():
        keyring = found[f"guestagent-{name}.gpg"]
        assert keys.fingerprints(keyring.read_bytes()) == [fingerprint]
        assert keyring.stat().st_mode & 0o777 == 0o644
        source_file = found[f"{name}.sources"].read_text()
        assert f"Signed-By: /etc/apt/keyrings/{keyring.name}" in source_file
    keys.close()
    problems = report(guest)["problems"]
    reasons = {problem["key"].partition(" ")[0]: problem["reason"] for problem in problems}
    assert reasons == {
        "apt.sources.wrong.keyid": "https://keyserver.ubuntu.com/pks/lookup?…: does not have the "
        "key that keyid names; the id of a subkey is not enough; its source is left out, so its "
        "packages will be missing",
        "apt.sources.missing.keyid": f"https://{fetched.HOST}/none: HTTP status 404; its source is "
        "left out, so its packages will be missing",
    }
    asked = [request["path"] for request in web.requests()]
    assert asked[0] == f"/pks/lookup?op=get&options=mr&search=0x{shop}"
    # A run that was interrupted is made again, and finds what is written.
    before = {path: path.stat().st_mtime_ns for path in found.values()}
    fetch(web, guest, script="05-resumed-apt-keys")
    assert {path: path.stat().st_mtime_ns for path in found.values()} == before


def test_the_key_of_a_source_that_cannot_be_reached_is_fetched_later(
    web: Web, guest: Path, tmp_path: Path
) -> None:
    """By a script of the same name, with all that the source needs."""
    (guest / "usr/bin/apt-get").touch(0o755)
    keys = Keys(tmp_path / "gpg")
    (shop,) = keys.make("shop")
    (web.folder / "documents").mkdir(exist_ok=True)
    (web.folder / "documents/busy-key").write_bytes(keys.gpg("--export", shop))
    url = f"https://{fetched.HOST}/busy-key"
    text = f"apt: {{sources: {{a: {{source: deb http://a s m, keyid: '{shop}', key: '{url}'}}}}}}\n"
    assert configured(guest, make_drive(tmp_path, text)).status == 0
    first = script_of(guest, "05-resumed-apt-keys")
    assert fetch(web, guest, script="05-resumed-apt-keys").returncode == 75
    assert not (guest / "etc/apt").exists()
    (web.folder / "ready").touch()
    assert script_of(guest, "05-resumed-apt-keys") != first
    later = fetch(web, guest, script="05-resumed-apt-keys")
    assert later.returncode == 0, later.stderr
    (keyring,) = (guest / "etc/apt/keyrings").iterdir()
    assert keys.fingerprints(keyring.read_bytes()) == [shop]
    assert (guest / "etc/apt/sources.list.d/a.sources").exists()
    keys.close()


@pytest.mark.parametrize("settings", ["", "[fetch]\nhttp = true\n"])
def test_C11_nothing_is_fetched_unless_a_setting_says_so(
    guest: Path, tmp_path: Path, settings: str
) -> None:
    text = "write_files:\n" + source("/etc/a", "https://x.org/", ", content: own")
    text += source("/etc/b", "https://x.org/")
    text += "ssh_import_id: gh:alice\n"
    document = mime(
        b"Content-Type: text/cloud-config\n\n" + text.encode(), b"\n" + including("/script")
    )
    done = configured(guest, make_drive(tmp_path, document, public_keys={"a": rig.KEY}), settings)
    assert done.status == 1
    assert done.err.count("because the setting fetch.enable is not set") == 4
    assert (guest / "etc/a").read_text() == "own"
    assert not (guest / "var/lib/guestagent/late").exists()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://x.org/", "must be an https:// URL"),
        ("file:///etc/shadow", "must be an http:// or https:// URL"),
        ("https://", "with a host"),
        ("x.org", "must be an http:// or https:// URL"),
        ("https://x.org/a b", "is not a URL"),
        ("https://user:pass/word@x.org/", "has a port that is not a number"),
        ("https://x.org/" + "é" * 700, "is too long"),
        ("https://x.org:65536/", "has a port that is not a number"),
    ],
)
def test_C11_a_url_is_checked_when_it_is_planned(
    guest: Path, tmp_path: Path, url: str, reason: str
) -> None:
    done = configured(guest, make_drive(tmp_path, "write_files:\n" + source("/etc/a", url)))
    assert (done.status, reason in done.err) == (1, True), done.err


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"X": "a\nEvil: b"}, "cannot be sent"),
        ({"X:": "a"}, "cannot be sent"),
        ({"X": " a"}, "cannot be sent"),
        ({f"X-{number}": "a" * 4000 for number in range(3)}, "of more than 8192 characters"),
    ],
)
def test_C11_header_fields_are_checked_when_they_are_planned(
    guest: Path, tmp_path: Path, headers: dict[str, str], reason: str
) -> None:
    item = {"path": "/etc/a", "source": {"uri": "https://x.org/", "headers": headers}}
    text = "write_files:\n" + f"- {json.dumps(item)}\n"
    done = configured(guest, make_drive(tmp_path, text))
    assert (done.status, reason in done.err) == (1, True), done.err
    assert not (guest / "var/lib/guestagent/late").exists()


def test_C11_the_largest_request_can_be_read(guest: Path, tmp_path: Path) -> None:
    """By the process that fetches, and by systemd as a credential: 1 MiB."""
    long = "https://x.org/" + "\u00e9" * 640 + '"' * 100
    headers = {"X": '"' * 4000}
    source = json.dumps({"uri": long, "headers": headers})
    text = f"write_files:\n- {{path: /etc/0, source: &long {source}}}\n"
    text += "".join(
        f"- {{path: /etc/{number}, source: *long}}\n" for number in range(1, defs.FETCH_COUNT)
    )
    done = configured(guest, make_drive(tmp_path, text))
    assert done.status == 0, done.err
    found = json.loads(script_of(guest))
    downloads = [Download(each["url"], each["headers"]) for each in found["items"]]
    assert len(downloads) == defs.FETCH_COUNT
    request = Request(downloads, http=True)
    assert decode_request(dumps(request_as_json(request)).encode()) == request


def test_C11_what_the_confined_process_says_is_not_believed() -> None:
    good = {"content": "YQ==", "error": "", "again": False}
    for said in (
        b"",
        b"[]",
        b"{}",
        b"[1]",
        json.dumps([good, good]).encode(),
        json.dumps([{**good, "content": "?"}]).encode(),
        json.dumps([{"content": "YQ=="}]).encode(),
        json.dumps([{**good, "content": "YQ==" * (1 << 20)}]).encode(),
    ):
        (found,) = decode_answer(said, 1)
        assert found.content == b""
        assert found.error
    (found,) = decode_answer(json.dumps([{**good, "error": "\x1b[2J" * 99}]).encode(), 1)
    assert found.error.isprintable()
    assert decode_answer(json.dumps([good]).encode(), 1) == [Downloaded(b"a")]
