"""Both layouts, and EC2's session tokens (IMDSv2)."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from rig import collected

from guestagent.parse import layouts
from guestagent.parse.layouts import LAYOUTS
from guestagent.sources.cloud import Cloud
from guestagent.sources.documents import as_bundle
from guestagent.sources.handover import Answer

from . import documents
from .documents import EC2_ID, FIVE, IDENTITY, KEY, META, USER
from .lab import EC2, OPENSTACK, Service, ask, documents_and

TOKEN = "/latest/api/token"
OLD = Cloud("ec2", "a test")
TREE = "/latest/meta-data"
ASKED = [
    f"{TREE}/instance-id",
    f"{TREE}/local-hostname",
    f"{TREE}/public-keys/",
    f"{TREE}/public-keys/0/openssh-key",
    IDENTITY,
    "/latest/user-data",
    f"{TREE}/local-ipv4",
]


def serve_ec2(service: Service, **imds: Any) -> None:
    service.say({"documents": documents.ec2(), "imds": imds})


def test_ec2_s_layout_is_read_with_a_token(service: Service) -> None:
    serve_ec2(service)
    answer = ask(service, EC2)
    assert answer.error == ""
    log = service.log()
    assert [line["path"] for line in log] == [TOKEN, *ASKED]
    assert {line["connection"] for line in log} == {log[0]["connection"]}
    assert log[0]["method"] == "PUT"
    assert log[0]["headers"]["x-aws-ec2-metadata-token-ttl-seconds"] == "21600"
    assert {line["headers"].get("x-aws-ec2-metadata-token") for line in log[1:]} == {"TOKEN-1=="}


def test_what_ec2_s_layout_says_is_understood(service: Service) -> None:
    serve_ec2(service)
    data, problems = collected(layouts.parse, as_bundle(ask(service, EC2)))
    assert data.instance_id
    assert data.instance_id.value == EC2_ID
    assert data.hostname
    assert data.hostname.value == "ec2-1.example.org"
    assert [key.value for key in data.ssh_keys or ()] == [KEY]
    assert data.availability_zone
    assert data.availability_zone.value == "eu-1a"
    assert problems == []


@pytest.mark.parametrize(
    ("user_data", "asked"),
    [
        ("## template: jinja\n#cloud-config\nfqdn: a.{{ local_ipv4 }}.org\n", True),
        ("MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\nYQ==\n", True),
        ("## template: jinja\n#cloud-config\nfqdn: a.{{ v1.instance_id }}.org\n", False),
    ],
)
def test_of_ec2_s_layout_openstack_s_is_only_asked_for_the_address_that_a_template_has(
    service: Service, user_data: str, asked: bool
) -> None:
    service.say({"documents": documents.ec2() | documents_and({USER: user_data})})
    answer = ask(service, OPENSTACK)
    assert [line["path"] for line in service.log() if line["path"].startswith(TREE)] == (
        [f"{TREE}/local-ipv4"] if asked else []
    )
    if asked:
        assert answer.documents["ec2/latest/meta-data/local-ipv4"] == b"192.0.2.10"


@pytest.mark.parametrize("uses", [1, 2, 3, 5])
def test_a_token_that_has_run_out_is_renewed(service: Service, uses: int) -> None:
    serve_ec2(service, uses=uses)
    answer = ask(service, EC2)
    assert answer.error == ""
    assert len(answer.documents) == 6
    log = service.log()
    assert [line["status"] for line in log].count(401) == (len(ASKED) - 1) // uses
    assert sum(line["method"] == "PUT" for line in log) == 1 + (len(ASKED) - 1) // uses


def test_a_token_that_is_never_good_is_a_refusal(service: Service) -> None:
    serve_ec2(service, uses=0)
    answer = ask(service, EC2)
    assert answer.error.endswith("HTTP status 401")
    assert not answer.again
    assert len(service.log()) == 4


@pytest.mark.parametrize("status", [404, 405, 501])
def test_without_tokens_amazon_s_service_is_not_believed(service: Service, status: int) -> None:
    serve_ec2(service, put=status, required=False)
    answer = ask(service, EC2)
    assert "imds_v1" in answer.error
    assert [line["method"] for line in service.log()] == ["PUT"]


@pytest.mark.parametrize("status", [404, 405, 501])
def test_the_old_protocol_is_spoken_by_setting(service: Service, status: int) -> None:
    serve_ec2(service, put=status, required=False)
    assert len(ask(service, EC2, old_protocol=True).documents) == 6


def test_a_service_that_has_tokens_gets_one_where_none_is_needed(service: Service) -> None:
    serve_ec2(service, required=False)
    assert ask(service, OLD).error == ""
    sent = [line["headers"].get("x-aws-ec2-metadata-token") for line in service.log()[1:]]
    assert set(sent) == {"TOKEN-1=="}


def test_other_clouds_need_no_tokens(service: Service) -> None:
    serve_ec2(service, put=404, required=False)
    assert len(ask(service, OLD).documents) == 6


@pytest.mark.parametrize("status", [400, 403])
@pytest.mark.parametrize("cloud", [EC2, OLD])
def test_a_token_that_is_refused_ends_it(service: Service, cloud: Cloud, status: int) -> None:
    serve_ec2(service, put=status, required=False)
    answer = ask(service, cloud, old_protocol=True)
    assert f"HTTP status {status}, no token" in answer.error
    assert not answer.again
    assert len(service.log()) == 1


@pytest.mark.parametrize("token", ["", "a\r\nX-Evil: 1", "a\x00b", "\u00fc"])
def test_a_token_that_cannot_stand_in_a_header_is_refused(service: Service, token: str) -> None:
    serve_ec2(service, token=token, required=False)
    answer = ask(service, EC2, old_protocol=True)
    assert "no token" in answer.error
    assert len(service.log()) == 1


@pytest.mark.usefixtures("quick")
def test_a_busy_token_service_is_asked_again(service: Service) -> None:
    busy = {"status": 503}
    service.say({"documents": documents.ec2(), "imds": {}, "steps": {TOKEN: [busy, busy, {}]}})
    assert ask(service, EC2).error == ""


def test_openstack_is_asked_for_ec2_s_layout_last(service: Service) -> None:
    service.say({"documents": documents.ec2()})
    answer = ask(service, OPENSTACK)
    assert answer.error == ""
    assert service.paths() == [META, "/openstack", *ASKED]
    assert sum(line["method"] == "PUT" for line in service.log()) == 0


def test_ec2_is_never_asked_for_openstack_s_layout(service: Service) -> None:
    service.say({"documents": documents_and(dict(documents.ec2())), "imds": {}})
    ask(service, EC2)
    assert not [path for path in service.paths() if path.startswith("/openstack")]


def test_without_latest_the_newest_version_is_read(service: Service) -> None:
    old, new = "/openstack/2012-08-10", "/openstack/2018-08-27"
    listing = "1.0\n2018-08-27\n2012-08-10\n../../x\n9999-99-9x\n\u0663\u0663\u0663\u0663-11-11\n"
    sound = documents.openstack()
    tree = {"/openstack": listing, f"{old}/meta_data.json": "{}"}
    tree |= {path.replace("/openstack/latest", new): sound[path] for path in FIVE}
    service.say({"documents": tree})
    answer = ask(service)
    assert {name.rpartition("/")[0] for name in answer.documents} == {new[1:]}
    assert service.paths()[:3] == [META, "/openstack", f"{new}/meta_data.json"]
    data, _ = collected(layouts.parse, as_bundle(answer))
    assert data.instance_id
    assert data.instance_id.value == documents.UUID


def test_injected_files_are_read_wherever_they_are_sound(service: Service) -> None:
    listed = [
        {"path": "/etc/page", "content_path": "/content/0000"},
        {"path": "/etc/copy", "content_path": "/content/0000"},
        {"path": "/etc/x", "content_path": "/content/../latest/password"},
        {"path": "/etc/y", "content_path": 7},
        {"path": "/etc/z"},
        "odd",
        {"path": "/etc/missing", "content_path": "/content/0001"},
    ]
    meta = json.dumps({**documents.meta_data(), "files": listed})
    page = "/openstack/content/0000"
    service.say({"documents": documents_and({META: meta, page: "<p>a page</p>"})})
    answer = ask(service)
    assert service.paths() == [*FIVE, page, "/openstack/content/0001"]
    data, problems = collected(layouts.parse, as_bundle(answer))
    files = [(file.path, file.content) for file in data.files]
    assert files == [("/etc/page", b"<p>a page</p>"), ("/etc/copy", b"<p>a page</p>")]
    keys = [problem.key for problem in problems if problem.severity == "error"]
    assert [key.partition(".")[0] for key in keys] == [f"files[{n}]" for n in (2, 3, 4, 5, 6)]


def test_injected_files_of_an_instance_that_is_unchanged_are_not_missed(service: Service) -> None:
    listed = [{"path": "/etc/a", "content_path": "/content/0000"}]
    meta = json.dumps({**documents.meta_data(), "files": listed})
    tree = documents_and({META: meta, "/openstack/content/0000": "a"})
    service.say({"documents": tree})
    digests = bundle_digests(ask(service))
    answer = ask(service, salt="0f", digests=digests)
    assert (answer.unchanged, answer.requests) == (True, 2)
    _, problems = collected(layouts.parse, as_bundle(answer))
    assert problems == []


def bundle_digests(answer: Answer) -> dict[str, str]:
    source = as_bundle(answer)
    collected(layouts.parse, source)
    return source.digests("0f", LAYOUTS[0].changing)


@pytest.mark.parametrize("empty", ["", "{}"])
def test_without_latest_the_newest_version_that_has_meta_data_is_read(
    service: Service, empty: str
) -> None:
    """As from a drive: the folder of a newer version may lack the document, or all of them."""
    old, new = "/openstack/2015-10-15", "/openstack/2018-08-27"
    listing = "2012-08-10\n2015-10-15/\n2018-08-27\n"
    tree = {"/openstack": listing, "/openstack/2012-08-10/meta_data.json": "{}"}
    if empty:
        tree[f"{new}/vendor_data.json"] = empty
    tree[f"{old}/meta_data.json"] = documents.openstack()[META]
    service.say({"documents": tree})
    answer = ask(service)
    assert list(answer.documents) == [f"{old}/meta_data.json"[1:]]
    data, problems = collected(layouts.parse, as_bundle(answer))
    assert (data.instance_id and data.instance_id.value, problems) == (documents.UUID, [])


def test_a_listing_without_end_costs_few_requests(service: Service) -> None:
    versions = "\n".join(f"2018-08-{number:02}" for number in range(100))
    service.say({"documents": {"/openstack": versions, **documents.ec2()}})
    assert ask(service).error == ""
    assert len([path for path in service.paths() if path.startswith("/openstack/")]) == 33


def test_a_service_that_has_nothing_is_believed_after_seconds(service: Service) -> None:
    """It has answered: a whole wait of 30 s changes nothing."""
    service.say({"documents": {"/": "hello"}})
    start = time.monotonic()
    answer = ask(service, wait=30.0)
    assert time.monotonic() - start < 10
    assert answer.error.endswith("has neither OpenStack's nor EC2's layout")
    assert answer.again
    assert service.paths().count(META) == 6


@pytest.mark.usefixtures("quick")
def test_a_service_that_knows_the_instance_a_little_later_is_read(service: Service) -> None:
    missing = {"status": 404}
    service.say({"steps": {META: [*[missing] * 5, {}]}})
    assert len(ask(service).documents) == 5


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("path", [META, USER])
@pytest.mark.parametrize("status", ["100 Continue", "102 Processing", "103 Early Hints"])
@pytest.mark.parametrize("times", [1, 3])
def test_an_interim_answer_is_none(service: Service, path: str, status: str, times: int) -> None:
    interim = f"HTTP/1.1 {status}\r\nLink: </x>; rel=preload\r\n\r\n" * times
    body = documents.openstack()[path]
    final = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    service.say({"steps": {path: [{"raw": interim + final}]}})
    answer = ask(service)
    assert (answer.error, answer.failed) == ("", {})
    assert answer.documents[path[1:]].decode() == body
    assert service.paths().count(path) == 1


@pytest.mark.usefixtures("quick")
def test_interim_answers_without_a_last_one_are_no_answer(service: Service) -> None:
    interim = "HTTP/1.1 103 Early Hints\r\n\r\n"
    service.say({"steps": {USER: [{"raw": interim, "repeat": 1000}]}})
    assert list(ask(service, wait=0.5).failed) == [USER[1:]]


def test_ec2_s_user_data_are_read_where_the_list_of_keys_fails(service: Service) -> None:
    broken = {"steps": {f"{TREE}/public-keys/": [{"status": 403}]}}
    service.say({"documents": documents.ec2(), "imds": {}, **broken})
    answer = ask(service, EC2)
    assert "ec2/latest/user-data" in answer.documents
    _, problems = collected(layouts.parse, as_bundle(answer))
    (problem,) = problems
    assert problem.document == "meta-data/public-keys/0/openssh-key"
    assert "HTTP status 403; the rest is applied" in problem.reason


@pytest.mark.usefixtures("quick")
def test_ec2_s_keys_are_read_where_their_list_comes_late(service: Service) -> None:
    late = {"steps": {f"{TREE}/public-keys/": [{"status": 503}, {}]}}
    service.say({"documents": documents.ec2(), "imds": {}, **late})
    answer = ask(service, EC2)
    assert KEY in answer.documents["ec2/latest/meta-data/public-keys/0/openssh-key"].decode()


@pytest.mark.parametrize(
    "listing",
    ["", "0", "x=y", "-1=a", "1234567=a", "0=a\n0=b", "../../iam/=a", "\u0663=a", "0=" * 99],
)
def test_odd_listings_of_keys_lead_nowhere_else(service: Service, listing: str) -> None:
    tree = {**documents.ec2(), f"{TREE}/public-keys/": listing}
    service.say({"documents": tree, "imds": {}})
    assert ask(service, EC2).error == ""
    keys = [path for path in service.paths() if "public-keys/" in path][1:]
    assert set(keys) <= {f"{TREE}/public-keys/0/openssh-key"}
