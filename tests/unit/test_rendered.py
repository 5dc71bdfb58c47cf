"""What reaches the files of the stacks: nothing that could be read as anything else."""

from __future__ import annotations

import pytest
from network_samples import BAD_FIELDS, BAD_LABELS, HOSTILE, interface, rendered

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.stacks.rendered import first_value, section

CONTROL = ("\n", "\r", "\0", "\t", "\u2028", "\ud800", "١", "a\n[Network]", "\x1b", "\x7f", "ä")


@pytest.mark.parametrize("stack", defs.NETWORK_STACKS)
def test_E5_E7_a_model_with_a_bad_field_is_not_rendered(stack: str) -> None:
    for name, bad in BAD_FIELDS + BAD_LABELS:
        for given in ((bad,), (interface(), bad)):
            with pytest.raises(FieldError) as caught:
                pytest.fail(f"{name}: {rendered(stack, *given)}")
            assert "\n" not in str(caught.value), name


def test_a_section_is_its_name_and_its_pairs_after_an_empty_line() -> None:
    assert section("Route", [("Gateway", "192.0.2.1"), ("Metric", "7")]) == (
        "\n[Route]\nGateway=192.0.2.1\nMetric=7\n"
    )


def test_a_key_may_stand_more_than_once() -> None:
    assert section("Network", [("DNS", "1"), ("DNS", "2")]) == "\n[Network]\nDNS=1\nDNS=2\n"


def test_without_pairs_there_is_no_section() -> None:
    assert section("Link", []) == ""


@pytest.mark.parametrize("value", CONTROL)
def test_E5_what_would_not_stay_on_its_line_is_refused(value: str) -> None:
    with pytest.raises(FieldError, match=r"^DNS "):
        section("Network", [("DHCP", "no"), ("DNS", value)])


@pytest.mark.parametrize("value", HOSTILE)
def test_E5_a_hostile_value_is_refused_or_stays_one_value(value: str) -> None:
    try:
        text = section("Network", [("DNS", value)])
    except FieldError:
        return
    assert text.splitlines() == ["", "[Network]", f"DNS={value}"]


@pytest.mark.parametrize("value", ["1", "a=b", "", "x y"])
def test_a_value_is_read_back_as_it_was_written(value: str) -> None:
    text = section("Match", [("Kind", "!*")]) + section("Link", [("Name", value), ("Name", "2")])
    assert first_value(text, "Name") == value


def test_a_key_that_is_not_in_the_file_has_no_value() -> None:
    text = section("Link", [("Name", "Kind=bond")])
    assert first_value(text, "Kind") == first_value("", "Kind") == ""


INFINIBAND = "80:00:02:08:fe:80:00:00:00:00:00:00:f4:52:14:03:00:7b:cb:a1"


@pytest.mark.parametrize(
    ("stack", "line"),
    [
        ("networkd", "Name=ib0"),
        ("networkmanager", "interface-name=ib0"),
        ("networkmanager", "type=infiniband"),
        ("netplan", 'name: "ib0"'),
        ("ifupdown", "auto ib0"),
    ],
)
def test_infiniband_is_known_by_its_name_on_every_stack(stack: str, line: str) -> None:
    files, problems = rendered(stack, interface(mac=INFINIBAND, name="ib0", id="ib0", mtu=2044))
    text = "".join(file.text for file in files)
    assert problems == []
    assert line in text
    assert INFINIBAND not in text
    with pytest.raises(FieldError):
        rendered(stack, interface(mac=INFINIBAND, name="", id="ib0"))
