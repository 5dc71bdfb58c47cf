"""keyboard: what is planned on each distribution."""

from __future__ import annotations

import pytest

from userdata.planning import (
    FACTS,
    places,
    plan_of,
    steps,
)

from .test_plan_locale import ALL, DEBIAN, FEDORA, blocks


def test_the_keyboard_of_debian() -> None:
    lines = (
        *('XKBMODEL="pc105"', 'XKBLAYOUT="de"', 'XKBVARIANT="nodeadkeys"'),
        'XKBOPTIONS="compose:rwin"',
    )
    assert blocks(ALL)["/etc/default/keyboard"] == lines
    assert b"setupcon -k --force" in _keyboard_step(DEBIAN)
    assert _keyboard_step(FACTS) == b""


def test_the_keyboard_elsewhere_has_a_map_for_the_console_besides() -> None:
    resources, _ = plan_of(ALL, FEDORA)
    found = {item.path: item.lines for item in resources if item.kind == "block"}
    assert found["/etc/vconsole.conf"][:2] == ('KEYMAP="de-nodeadkeys"', 'XKBMODEL="pc105"')
    assert b"systemd-vconsole-setup.service" in _keyboard_step(FEDORA)
    several = blocks('keyboard: {layout: "us,de", variant: ",neo"}', FEDORA)
    assert several["/etc/vconsole.conf"][0] == 'KEYMAP="us"'


def _keyboard_step(facts: object) -> bytes:
    resources, _ = plan_of(ALL, facts)  # type: ignore[arg-type]
    found = steps(resources).get("early/60-instance-keyboard")
    return found.content if found else b""


@pytest.mark.parametrize("value", ["'a\"b'", '"a\\nX=1"', "'$(id)'", "'`id`'", "'a b'"])
@pytest.mark.parametrize("field", ["layout", "variant", "options", "model"])
def test_a_field_of_the_keyboard_cannot_hold_other_lines_or_commands(
    field: str, value: str
) -> None:
    text = (
        "{layout: de, " + f"{field}: {value}" + "}" if field != "layout" else f"{{layout: {value}}}"
    )
    resources, problems = plan_of(f"keyboard: {text}", DEBIAN)
    assert [key.split(" ")[0] for _, key in places(problems)] == [f"keyboard.{field}"]
    assert "block" not in [item.kind for item in resources]
