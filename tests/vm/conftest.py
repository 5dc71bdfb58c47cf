"""Fixtures around guests.

A test that cannot run here, for want of root or of a tool, is skipped; with
GUESTAGENT_REQUIRE_ALL=1 in the environment it fails instead.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from network.cases import IN_GUESTS
from network.produce import BACKENDS

from . import drives
from .guest import Guest, Nic
from .image import GuestImage, build_agent_deb, guest_image
from .scenario import settings_argument

REPOSITORY = Path(__file__).parents[2]
# Too long for every change: these are for ``make test-all``, which reads the same file.
_LONG = (Path(__file__).parent / "long_tests").read_text().split()
TRIES_ALL = "GUESTAGENT_POWER_CUTS" in os.environ
collect_ignore = [] if TRIES_ALL else _LONG
TOOLS = (
    *("debootstrap", "apt-get", "unshare", "chroot", "mke2fs"),
    *("qemu-system-x86_64", "ssh", "ssh-keygen", "sshpass", "openssl"),
    *drives.TOOLS,
)


class GuestMaker:
    """Makes guests that end with the test."""

    def __init__(self, image: GuestImage) -> None:
        self.image = image
        self.guests: list[Guest] = []

    def __call__(self, image: GuestImage | None = None, **hardware: Any) -> Guest:
        """Return a guest, not booted yet; the arguments are those of `Guest`."""
        hardware.setdefault("nics", [Nic()])
        guest = Guest(image or self.image, **hardware)
        self.guests.append(guest)
        return guest

    def close(self) -> None:
        """End all the guests."""
        for guest in self.guests:
            guest.close()


def _missing() -> list[str]:
    missing = [f"{tool} is not installed" for tool in TOOLS if shutil.which(tool) is None]
    return missing if os.geteuid() == 0 else ["not root", *missing]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave every other network case, on two of the stacks the others, to ``make test-all``."""
    if not TRIES_ALL:
        config.hook.pytest_deselected(items=[item for item in items if _is_left_out(item)])
        items[:] = [item for item in items if not _is_left_out(item)]


def _is_left_out(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)  # of parametrized tests alone
    given = callspec.params if callspec else {}
    if given.get("name") not in IN_GUESTS or given.get("lab") not in BACKENDS:
        return False
    return IN_GUESTS.index(given["name"]) % 2 != BACKENDS.index(given["lab"]) % 2


@pytest.fixture(scope="session")
def vm_host() -> None:
    """Everything that guests and their images need of this machine."""
    missing = _missing()
    if missing and os.environ.get("GUESTAGENT_REQUIRE_ALL") == "1":
        pytest.fail("guests cannot run here: " + ", ".join(missing))
    if missing:
        pytest.skip("guests cannot run here: " + ", ".join(missing))


@pytest.fixture(scope="session")
def agent_deb(vm_host: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agent's package, built from this repository."""
    return build_agent_deb(REPOSITORY, tmp_path_factory.mktemp("deb"))


@pytest.fixture(name="guest_image", scope="session")
def _guest_image(agent_deb: Path) -> GuestImage:
    """The image with the agent, its network run by systemd-networkd."""
    return guest_image(agent_deb)


@pytest.fixture(scope="session")
def guest_image_ifupdown(agent_deb: Path) -> GuestImage:
    """The image with the agent, its network run by ifupdown."""
    return guest_image(agent_deb, "ifupdown")


@pytest.fixture(scope="session")
def guest_image_plain(vm_host: None) -> GuestImage:
    """The image without the agent."""
    return guest_image()


@pytest.fixture(scope="session")
def live_guest(guest_image: GuestImage) -> Iterator[Guest]:
    """A booted guest that looks for no configuration, for all tests: leave it as it was."""
    # The daemon would read the drives that tests attach.
    daemon = "[daemon]\nnics = false\ndrives = false\n"
    none = settings_argument(f'[drive]\nwait = 0\n[metadata]\nservice = "none"\n{daemon}')
    with Guest(guest_image, nics=[Nic()], cmdline_extra=none) as guest:
        yield guest.boot()


@pytest.fixture
def new_guest(guest_image: GuestImage) -> Iterator[GuestMaker]:
    """Make guests of one's own: `new_guest(drives=[…]).boot()`."""
    maker = GuestMaker(guest_image)
    yield maker
    maker.close()


def _consoles(item: pytest.Item) -> Iterator[str]:
    for value in getattr(item, "funcargs", {}).values():
        guests = value.guests if isinstance(value, GuestMaker) else [value]
        yield from (guest.console_tail() for guest in guests if isinstance(guest, Guest))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the consoles of a failed test's guests."""
    report = yield
    if report.failed:
        report.sections += [("guest console", text) for text in _consoles(item)]
    return report
