"""C4: whatever a service does with the time, each try and the whole end inside their deadlines.

The upper bounds leave room for a machine that is busy.
"""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import rig

from guestagent import defs
from guestagent.sources.endpoints import parse_url
from guestagent.sources.handover import Answer, decode_answer
from guestagent.sources.http import Client
from guestagent.sources.retry import Transient

from . import documents
from .documents import FIVE, META, NETWORK, USER
from .lab import IPV4, Guest, Lab, Service, ask

_SLACK = 3.0
_LONG = {"body": "[" * 1000}


_ASK = """
import sys
sys.path.insert(0, sys.argv[1])
from guestagent.sources.cloud import Cloud
from guestagent.sources.handover import Request, encode_answer
from guestagent.sources.remote import answer_to
request = Request(Cloud("openstack", "a test"), urls=(sys.argv[2],), wait=float(sys.argv[3]))
sys.stdout.buffer.write(encode_answer(answer_to(request)))
"""


class Case(NamedTuple):
    """A step, and when one try has to end, in seconds."""

    step: dict[str, Any]
    least: float
    most: float


# At the real limits: a document has 10 s, a byte 5 s.
REAL = {
    "the head a byte at a time": Case({"drip": 0.5}, 9.5, 10.5),
    "the body a byte at a time": Case({**_LONG, "drip_body": 0.5}, 9.5, 10.5),
    "nothing at all": Case({"hang": True}, 4.5, 5.5),
    "the body just too late": Case({**_LONG, "drip_body": 6.0}, 4.5, 5.5),
}


def test_C4_one_try_ends_at_its_limit(service: Service) -> None:
    paths = {name: f"/{name}".replace(" ", "_") for name in REAL}
    service.say({"steps": {paths[name]: [case.step] for name, case in REAL.items()}})

    def one(name: str) -> float:
        client = Client(parse_url(service.url), time.monotonic() + 60)
        start = time.monotonic()
        with pytest.raises(Transient, match=r"no answer in time|took too long"):
            client.ask(paths[name], defs.JSON_LIMIT)
        return time.monotonic() - start

    with ThreadPoolExecutor() as pool:
        found = dict(zip(REAL, pool.map(one, REAL), strict=True))
    for name, case in REAL.items():
        assert case.least < found[name] < case.most + _SLACK, name


def test_C4_a_packet_that_is_dropped_costs_one_connection_its_limit(
    lab: Lab, tmp_path: Path
) -> None:
    far = lab.link(ipv4=False)
    mac = far.run("cat", f"{far.top}/sysfs/class/net/eth0/address").strip()
    lab.space.sh(
        f"ip address add 192.0.2.10/24 dev enp0s3\n"
        f"ip route add {IPV4}/32 dev enp0s3\n"
        f"ip neighbour add {IPV4} lladdr {mac} dev enp0s3 nud permanent"
    )
    trace = tmp_path / "trace"
    wrapped = ("strace", "-f", "-r", "-e", "trace=connect,close", "-o", str(trace))
    run = lab.guest.fetch(wait=3.0, wrapped=wrapped)
    assert run.answer.again
    assert run.seconds < 3.0 + _SLACK
    # A connection that nobody answers is given up after 2 s, and tried again.
    tries = [line for line in trace.read_text().splitlines() if IPV4 in line]
    assert len(tries) >= 2


@pytest.mark.parametrize("path", [META, NETWORK])
@pytest.mark.parametrize(
    "step",
    [
        {"drip": 0.05},
        {**_LONG, "drip_body": 0.05},
        {"hang": True},
        {"delay": 0.1, "status": 503},
        {"reset": "middle"},
        {"reset": "before"},
        {"length": 100},
    ],
    ids=["head", "body", "silence", "slow refusal", "reset", "no answer", "cut off"],
)
def test_C4_the_whole_ends_at_its_limit(
    service: Service, monkeypatch: pytest.MonkeyPatch, path: str, step: dict[str, Any]
) -> None:
    for name in ("DOCUMENT_TIMEOUT", "READ_TIMEOUT", "BACK_OFF_MOST"):
        monkeypatch.setattr(defs, name, 0.15)
    service.say({"steps": {path: [step]}})
    start = time.monotonic()
    answer = ask(service, wait=0.4)
    assert time.monotonic() - start < 0.4 + _SLACK
    assert path[1:] not in answer.documents
    if path == META:
        assert answer.again
        assert answer.documents == {}
    else:
        assert answer.error == ""
        assert answer.failed[path[1:]]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("path", documents.FIVE)
@pytest.mark.parametrize(
    "step",
    [{"reset": "middle"}, {"reset": "before"}, {"length": 100}, {"close": True, "length": 1}],
    ids=["reset", "no answer", "cut off", "one byte short"],
)
def test_a_document_that_breaks_off_is_asked_for_again(
    service: Service, path: str, step: dict[str, Any]
) -> None:
    service.say({"steps": {path: [step, step, {}]}})
    answer = ask(service)
    assert answer.error == ""
    whole = documents.openstack()
    assert {f"/{name}" for name in answer.documents} == set(documents.FIVE)
    assert answer.documents[NETWORK[1:]].decode() == whole[NETWORK]
    assert answer.documents[USER[1:]].decode() == whole[USER]
    assert service.paths().count(path) == 3


@pytest.mark.usefixtures("quick")
def test_after_a_silence_another_connection_is_made(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defs, "READ_TIMEOUT", 0.2)
    service.say({"steps": {NETWORK: [{"hang": True}, {}]}})
    answer = ask(service)
    assert (answer.error, len(answer.documents)) == ("", 5)
    assert len({line["connection"] for line in service.log()}) == 2


@pytest.mark.usefixtures("quick")
def test_a_service_that_closes_each_connection_is_read(service: Service) -> None:
    service.say({"steps": {"*": [{"close": True, "headers": {"Connection": "close"}}]}})
    assert len(ask(service).documents) == 5
    assert len(service.log()) == 5


@pytest.mark.usefixtures("quick")
def test_a_service_that_closes_connections_without_a_word_is_read(service: Service) -> None:
    service.say({"steps": {"*": [{"close": True}]}})
    answer = ask(service)
    assert (answer.error, len(answer.documents)) == ("", 5)


_YEAR = 365.0 * 86400


def test_a_clock_that_jumps_by_years_changes_no_deadline(service: Service, here: Guest) -> None:
    service.say({"steps": {NETWORK: [{"status": 503}, {"status": 503}, {}]}})
    run = here.fetch(urls=[service.url], limits={"CLOCK": 20 * _YEAR})
    assert run.answer.error == ""
    assert len(service.log()) == 7
    service.say({"steps": {NETWORK: [{"hang": True}]}})
    run = here.fetch(urls=[service.url], limits={"CLOCK": 20 * _YEAR, "READ_TIMEOUT": 0.2}, wait=1)
    assert list(run.answer.failed) == [NETWORK[1:]]
    assert 0.1 < run.seconds < 1 + _SLACK


@pytest.mark.parametrize("clock", rig.CLOCKS)
def test_D7_whatever_the_wall_clock_says_the_waits_are_the_same(
    service: Service, tmp_path: Path, clock: str
) -> None:
    """In 1970, after 2038 and after 2106, and where it jumps by 20 years, forth and back."""
    script = tmp_path / "ask.py"
    script.write_text(_ASK)

    def ask_at(wait: float) -> tuple[Answer, float]:
        argv = [sys.executable, str(script), str(rig.REPOSITORY), service.url, str(wait)]
        start = time.monotonic()
        command = rig.with_clock(clock, argv)
        done = subprocess.run(command, check=True, capture_output=True, timeout=60)
        return decode_answer(done.stdout), time.monotonic() - start

    busy = {"status": 503, "body": ""}
    service.say({"steps": {META: [busy, busy, busy, {}]}})
    answer, seconds = ask_at(30.0)
    assert (answer.error, set(answer.documents)) == ("", {path[1:] for path in FIVE})
    assert service.paths().count(META) == 4
    assert seconds < 5 + _SLACK
    service.forget()
    service.say({"steps": {META: [busy] * 1000}})
    answer, seconds = ask_at(3.0)
    assert answer.again
    assert seconds < 3 + _SLACK
    # The pauses grow from 0.2 s, with full jitter.
    assert 3 <= service.paths().count(META) <= 40
