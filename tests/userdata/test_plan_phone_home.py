"""phone_home: the script, run by a shell among stub programs."""

from __future__ import annotations

import json

import pytest

from userdata.planning import plan_of, steps

from .script_place import MESSAGE, PHONE, Place, key, step


def handed(url: str, place: Place, **more: object) -> dict[str, object]:
    """What the step hands to the verb on standard input."""
    place.stub("guestagent", "#!/bin/sh\necho $*\ncat\n")
    script = step(key("phone_home", {"url": url, **more}), PHONE).content
    verb, _, parameters = place.run(script).stdout.partition("\n")
    assert verb == "phone-home"
    found: dict[str, object] = json.loads(parameters)
    return found


def test_phone_home_hands_over_all_that_is_to_be_sent(place: Place) -> None:
    assert handed("http://example.org/$INSTANCE_ID/", place) == {
        "url": "http://example.org/$INSTANCE_ID/",
        "post": [
            *("pub_key_rsa", "pub_key_ecdsa", "pub_key_ed25519"),
            *("instance_id", "hostname", "fqdn"),
        ],
        "tries": 10,
        "hostname": "meta",
        "fqdn": "meta.example.org",
    }


def test_phone_home_sends_what_it_is_told_to(place: Place) -> None:
    found = handed("https://example.org", place, post=["fqdn", "pub_key_dsa"], tries=3)
    assert (found["post"], found["tries"]) == (["fqdn", "pub_key_dsa"], 3)


def test_no_url_gets_out_of_the_script_s_data(place: Place) -> None:
    url = "http://example.org/'\"$(touch${IFS}evil)`id`;\\END"
    assert handed(url, place)["url"] == url


@pytest.mark.parametrize("url", ["http://user:pass@example.org/", "https://example.org/?token=x"])
def test_a_url_that_may_hold_a_secret_is_not_shown(url: str) -> None:
    assert step(key("phone_home", {"url": url}), PHONE).secret
    assert not step(key("phone_home", {"url": "http://example.org/a"}), PHONE).secret


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://example.org/", "file:///etc/passwd", "example.org", "http://", "http://:80/"),
        *("http:///x", "http://user@/", "http://a b/", "http://a\nEND\nid", "http://a/\0"),
        *("HTTP:/a", "", "/x"),
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    resources, problems = plan_of(key("phone_home", {"url": url}) + "final_message: a\n")
    assert list(steps(resources)) == [f"late/{MESSAGE}"]
    assert [(p.severity, p.key.partition(" (")[0]) for p in problems] == [
        ("error", "phone_home.url")
    ]
