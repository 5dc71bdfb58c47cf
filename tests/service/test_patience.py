"""C7: missing, broken, not yet and nobody there are four different things."""

from __future__ import annotations

import time
from typing import Any

import pytest
import rig

from guestagent import defs
from guestagent.sources.bundle import digest_document
from guestagent.sources.retry import back_off

from . import documents
from .documents import FIVE, META, NETWORK, PASSWORD, USER, VENDOR, VENDOR2
from .lab import Lab, Machine, Service, ask, documents_and

_BUSY = {"status": 503}


def _told(found: dict[str, bytes]) -> dict[str, str]:
    """Documents without what is new at each request."""
    return {name: digest_document(content, "00") for name, content in found.items()}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("path", FIVE)
def test_C7_a_busy_service_gives_the_same_in_the_end(service: Service, path: str) -> None:
    good = _told(ask(service).documents)
    for times in range(9):
        service.forget()
        service.say({"steps": {path: [*[_BUSY] * times, {}]}})
        answer = ask(service)
        assert (answer.error, _told(answer.documents)) == ("", good), times
        assert len(service.log()) == 5 + times


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("path", [META, VENDOR2])
def test_C7_a_later_try_may_succeed(service: Service, path: str, status: int) -> None:
    service.say({"steps": {path: [{"status": status, "body": "x" * 100}, {}]}})
    assert ask(service).error == ""


@pytest.mark.parametrize("status", [201, 204, 206, 304, 400, 401, 403, 405, 410, 418, 501, 505])
@pytest.mark.parametrize("path", [META, NETWORK, USER])
def test_C7_a_refusal_ends_it_at_once(service: Service, path: str, status: int) -> None:
    service.say({"steps": {path: [{"status": status, "body": "why"}]}})
    answer = ask(service)
    if path == META:
        assert answer.error == f"{service.url}{path}: HTTP status {status}"
        assert (answer.again, answer.documents) == (False, {})
    else:  # all others can be done without
        assert (answer.error, answer.failed) == ("", {path[1:]: f"HTTP status {status}"})
        assert {f"/{name}" for name in answer.documents} == set(FIVE) - {path}
    assert service.paths().count(path) == 1


@pytest.mark.parametrize("path", [NETWORK, VENDOR, VENDOR2, USER])
def test_C7_a_document_that_is_missing_is_no_fault(service: Service, path: str) -> None:
    service.say({"documents": documents_and({path: None})})
    answer = ask(service)
    assert answer.error == ""
    assert {f"/{name}" for name in answer.documents} == set(FIVE) - {path}
    assert len(service.log()) == 5


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("size", "connections"), [(0, 1), (4096, 1), (4097, 2), (100_000, 2)])
@pytest.mark.parametrize("status", [404, 503])
def test_C7_a_short_refusal_keeps_the_connection(
    service: Service, status: int, size: int, connections: int
) -> None:
    service.say({"steps": {VENDOR: [{"status": status, "body": "x" * size}, {}]}})
    assert ask(service).error == ""
    assert len({line["connection"] for line in service.log()}) == connections


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("path", FIVE)
def test_C7_a_document_that_never_comes_spoils_no_other(service: Service, path: str) -> None:
    service.say({"steps": {path: [_BUSY]}})
    answer = ask(service, wait=1.0)
    assert service.paths().count(path) > 2
    if path == META:  # without it nothing is known of the instance
        assert (answer.again, answer.documents, answer.failed) == (True, {}, {})
        assert f"{service.url}: HTTP status 503" in answer.error
    else:
        assert (answer.error, answer.failed) == ("", {path[1:]: "HTTP status 503"})
        assert {f"/{name}" for name in answer.documents} == set(FIVE) - {path}
        others = [asked for asked in service.paths() if asked != path]
        assert others == [name for name in FIVE if name != path]


@pytest.mark.usefixtures("quick")
def test_C7_a_service_that_comes_late_is_waited_for(service: Service) -> None:
    service.say({"steps": {"*": [{"status": 503, "for": 2.0}, {}]}})
    assert len(ask(service).documents) == 5


def test_C7_503_for_ever_changes_nothing(machine: Machine, lab: Lab) -> None:
    service = lab.serve(lab.link(), {"steps": {META: [_BUSY]}})
    lab.guest.agent("apply", "--boot")
    before = rig.snapshot(machine.path("etc")), rig.snapshot(machine.path("home"))
    machine.path("/etc/guestagent/guestagent.toml").write_text(
        "[drive]\nwait = 0\n[metadata]\nwait = 3\n"
    )
    runs = machine.boot()
    assert [run.status for run in runs] == [0, 0, defs.EXIT_TRY_AGAIN]
    assert "HTTP status 503" in runs[-1].err
    assert "was not configured yet" in runs[-1].err
    assert len(service.log()) >= 2
    # What the local unit wrote so that the service can be asked, it wrote before.
    after = rig.snapshot(machine.path("etc")), rig.snapshot(machine.path("home"))
    changed = [rig.differences(*pair) for pair in zip(before, after, strict=True)]
    assert changed[1] == set()
    assert {name for name in changed[0] if "guestagent.toml" not in name} <= {
        "/systemd/network",
        "/systemd/network/10-guestagent-nic525400000101.network",
    }


RETRY_AFTER: list[tuple[str, float]] = [
    *[("7", 7.0), ("0", 0.0), ("86400", 30.0), ("999999999", 0.0), ("-3", 0.0), ("1.5", 0.0)],
    *[("Fri, 31 Dec 1999 23:59:59 GMT", 0.0), ("\u00b2", 0.0), ("", 0.0), ("inf", 0.0)],
]


@pytest.mark.parametrize(("text", "least"), RETRY_AFTER)
@pytest.mark.parametrize("path", [META, NETWORK])
def test_C7_the_service_may_ask_for_a_pause(
    service: Service, monkeypatch: pytest.MonkeyPatch, path: str, text: str, least: float
) -> None:
    pauses: list[float] = []
    start = 0.0
    # Other documents are read meanwhile: a pause counts from the answer that asks for it.
    monkeypatch.setattr("time.sleep", lambda pause: pauses.append(time.monotonic() + pause - start))
    monkeypatch.setattr("random.uniform", lambda _, most: most)
    monkeypatch.setattr(defs, "BACK_OFF_FIRST", 4.0)
    step = {"status": 503, "headers": {"Retry-After": text}}
    service.say({"steps": {path: [step, {}]}})
    start = time.monotonic()
    assert ask(service, wait=60.0).error == ""
    (pause,) = pauses
    assert least + 4.0 <= pause <= least + 4.0 + 3.0


def test_C7_pauses_double_up_to_a_limit_and_are_never_the_same() -> None:
    for tries in (*range(12), 5000):
        most = min(defs.BACK_OFF_MOST, 0.2 * 2 ** min(tries, 99))
        found = [back_off(tries) for _ in range(200)]
        assert all(0 <= pause <= most for pause in found)
        assert max(found) > most / 2
        assert len(set(found)) > 100


def test_C7_a_pause_longer_than_the_time_that_is_left_is_not_begun(service: Service) -> None:
    step = {"status": 503, "headers": {"Retry-After": "30"}}
    service.say({"steps": {NETWORK: [step]}})
    assert ask(service, wait=20.0).failed == {NETWORK[1:]: "HTTP status 503"}
    assert service.paths() == list(FIVE)


@pytest.mark.parametrize("content", ["{", "[]", '"x"', "", "nul", "\ufeff[]", '{"a": 1, "a": 2}'])
@pytest.mark.usefixtures("quick")
def test_C10_an_unsound_first_document_is_no_service(service: Service, content: str) -> None:
    service.say({"documents": documents_and({META: content})})
    answer = ask(service, wait=0.2)
    assert answer.again
    assert answer.documents == {}


def test_an_unchanged_boot_is_two_requests(service: Service) -> None:
    first = ask(service)
    salt = "0f" * 16
    changing = [META[1:], NETWORK[1:]]
    digests = {name: digest_document(first.documents[name], salt) for name in changing}
    service.forget()
    again = ask(service, salt=salt, digests=digests)
    assert again.unchanged
    assert sorted(again.documents) == sorted(changing)
    assert (again.requests, service.paths()) == (2, [META, NETWORK])


CHANGES: dict[str, Any] = {
    "another host name": {META: '{"uuid": "u", "hostname": "other"}'},
    "another network": {NETWORK: "{}"},
    "no network": {NETWORK: None},
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_brings_all_documents(service: Service, name: str) -> None:
    first = ask(service)
    digests = {key: digest_document(first.documents[key], "00") for key in (META[1:], NETWORK[1:])}
    service.say({"documents": documents_and(CHANGES[name])})
    again = ask(service, salt="00", digests=digests)
    assert not again.unchanged
    assert USER[1:] in again.documents


def test_the_password_is_the_sixth_request_and_the_last(service: Service) -> None:
    service.say({"documents": documents_and({PASSWORD: ""})})
    answer = ask(service, password=True)
    assert service.paths() == [*FIVE, PASSWORD]
    assert answer.documents[PASSWORD[1:]] == b""
    assert len({line["connection"] for line in service.log()}) == 1
    assert documents.UUID.encode() in answer.documents[META[1:]]
