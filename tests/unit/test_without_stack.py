"""A guest in which no network stack starts at boot: one is enabled, or the message says how."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import rig
from network_samples import MAC, facts, interface, network
from network_tree import IFUPDOWN, MANAGER, NETWORKD, UNITS, Tree
from pytest_mock import MockerFixture

from guestagent import defs, stacks
from guestagent.desired.network import plan
from guestagent.errors import Problem
from guestagent.model import Facts, InstanceData
from guestagent.plan.wanted import Ask, Wanted
from guestagent.settings import Settings
from guestagent.stacks import enabling
from guestagent.verbs import planning

if TYPE_CHECKING:
    from guestagent.plan.kinds import Resource

ETC = "/etc/systemd/system"
INSTALL = {
    NETWORKD: """\
[Unit]
Also=not-this.service
[Install]
WantedBy=multi-user.target
Also=systemd-networkd.socket
; Also=nor-this.service
Alias=dbus-org.freedesktop.network1.service
Also=systemd-networkd-wait-online.service systemd-network-generator.service
""",
    "systemd-networkd.socket": f"[Install]\nWantedBy=sockets.target\nAlso={NETWORKD}\n",
    "systemd-networkd-wait-online.service": "[Install]\nWantedBy=network-online.target\n",
    "not-this.service": "[Install]\nWantedBy=multi-user.target\n",
    "nor-this.service": "[Install]\nWantedBy=multi-user.target\n",
}
LINKS = {
    f"{ETC}/multi-user.target.wants/{NETWORKD}": f"{UNITS}/{NETWORKD}",
    f"{ETC}/dbus-org.freedesktop.network1.service": f"{UNITS}/{NETWORKD}",
    f"{ETC}/sockets.target.wants/systemd-networkd.socket": f"{UNITS}/systemd-networkd.socket",
    f"{ETC}/network-online.target.wants/systemd-networkd-wait-online.service": (
        f"{UNITS}/systemd-networkd-wait-online.service"
    ),
}
PATH = f"{defs.NETWORK_STACK_FILES['networkd']}nic{MAC.replace(':', '')}.network"
DATA = network(interface())


@pytest.fixture
def there(tree: Path) -> Tree:
    found = Tree(tree)
    for unit, text in INSTALL.items():
        found.put(f"{UNITS}/{unit}", text)
    return found


def of(there: Tree, **more: object) -> Facts:
    """The facts of a guest with a tree."""
    return facts(
        stack=there.stack,
        idle=enabling.installed(there.root),
        enabling=enabling.links(there.root),
        **more,
    )


def planned_for(
    found: Facts, settings: Settings | None = None, first: bool = True
) -> tuple[list[Resource], list[Problem]]:
    wanted = Wanted()
    plan(Ask(InstanceData(network=DATA), found, settings or Settings(), first=first), wanted)
    return wanted.resources, wanted.problems


def test_networkd_is_enabled_where_it_is_the_only_stack(there: Tree) -> None:
    resources, problems = planned_for(of(there))
    links = {item.path: item.target for item in resources if item.kind == "link"}
    assert (links, problems) == (LINKS, [])
    assert next(item.path for item in resources if item.kind == "file") == PATH


def test_once_it_is_enabled_nothing_more_is_asked_for(there: Tree) -> None:
    for path, target in LINKS.items():
        there.link(path, target)
    assert {item.kind for item in planned_for(of(there))[0]} == {"file"}


def test_the_links_are_those_that_systemctl_makes(tree: Path) -> None:
    """With the unit files of this machine, of whatever version."""
    units = Path(UNITS)
    rig.need(bool(shutil.which("systemctl")), "needs systemctl")
    rig.need((units / NETWORKD).exists(), "needs systemd-networkd")
    copy = tree / UNITS[1:]
    copy.mkdir(parents=True)
    for path in units.glob("systemd-network*"):
        if path.is_file():
            shutil.copy(path, copy)
    found = dict(enabling.links(Tree(tree).root))
    subprocess.run(["systemctl", f"--root={tree}", "enable", NETWORKD], check=True)
    made = {f"/{path.relative_to(tree)}": path for path in (tree / "etc").rglob("*")}
    expected = {name: str(path.readlink()) for name, path in made.items() if path.is_symlink()}
    assert expected
    assert found == {
        name: target.replace("/lib/", "/usr/lib/") if target.startswith("/lib/") else target
        for name, target in expected.items()
    }


def refused(found: Facts, **more: object) -> str:
    """The one error of a plan in which no network is configured."""
    resources, (problem,) = planned_for(found, **more)  # type: ignore[arg-type]
    assert (resources, problem.severity) == ([], "error")
    assert "no network is configured" in problem.reason
    return problem.reason


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (MANAGER, "systemctl enable NetworkManager"),
        (IFUPDOWN, "source /etc/network/interfaces.d/*"),
        ("connman.service", "systemctl enable systemd-networkd"),
    ],
)
def test_beside_another_stack_the_message_says_what_to_run(
    there: Tree, more: str, words: str
) -> None:
    there.installed(more)
    if more == IFUPDOWN:
        there.ifupdown("")
    assert words in refused(of(there))


def test_without_any_stack_the_message_says_what_to_install(tree: Path) -> None:
    assert "install systemd-networkd, NetworkManager" in refused(of(Tree(tree)))


def test_masked_networkd_stays_masked(there: Tree) -> None:
    there.link(f"{ETC}/{NETWORKD}", "/dev/null")
    assert "install systemd-networkd" in refused(of(there))


def test_who_disables_it_later_has_a_reason(there: Tree) -> None:
    assert "systemctl enable systemd-networkd" in refused(of(there), first=False)


def test_a_setting_leaves_it_to_the_image(there: Tree) -> None:
    settings = Settings(network_enable=False)
    assert "systemctl enable systemd-networkd" in refused(of(there), settings=settings)


def test_names_that_will_not_resolve_are_a_warning(there: Tree) -> None:
    _, (problem,) = planned_for(of(there, resolver="file"))
    assert (problem.severity, "systemd-resolved" in problem.reason) == ("warning", True)


def test_facts_say_it_only_where_no_stack_starts(there: Tree) -> None:
    assert stacks.in_use(there.root) == ""
    assert enabling.installed(there.root) == ("networkd",)


def test_it_is_enabled_before_the_metadata_service_is_asked(
    there: Tree, mocker: MockerFixture
) -> None:
    mocker.patch("guestagent.verbs.planning.facts.gather", return_value=of(there))
    plan_made = planning.plan_fallback(Settings(), there.root, {}, first=False, closed=False).plan
    assert {item.path for item in plan_made.changes if item.kind == "link"} == set(LINKS)
