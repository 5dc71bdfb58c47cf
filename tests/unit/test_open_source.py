"""The source of a run: what was named, a drive, else the metadata service."""

from __future__ import annotations

import time
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import rig
from pytest_mock import MockerFixture

from guestagent import defs
from guestagent.errors import Origin, Unreachable, UsageError
from guestagent.memory import applied
from guestagent.memory.state import State
from guestagent.options import Options
from guestagent.settings import Settings
from guestagent.sources import cloud, find, remote
from guestagent.sources.bundle import Bundle
from guestagent.sources.cloud import NO_CLOUD, Cloud
from guestagent.sources.documents import Documents
from guestagent.sources.handover import Request
from guestagent.system import machine as machine_facts
from guestagent.system.root import Root
from guestagent.verbs import source as verb
from guestagent.verbs.source import Opened, Provider, Search, describe_age, open_source

REQUEST = Request(Cloud("openstack", "a test"))
KNOWN = State(configured=True, instance_id="u-1", salt="0f", fingerprint="x", time=1_700_000_000)
KNOWN_BY_DRIVE = KNOWN._replace(source="drive")
UNKNOWN = State()
SETTINGS = Settings()
URL = "http://192.0.2.1"


def stand_in(label: str) -> Bundle:
    return Bundle(label, Documents({}))


class Scene:
    """What drives and services there are: stand-ins by their labels."""

    def __init__(self, tree: Path, mocker: MockerFixture) -> None:
        self.root = Root(str(tree))
        self.command_line = tree / "cmdline"
        mocker.patch.object(defs, "KERNEL_COMMAND_LINE", str(self.command_line))
        mocker.patch.object(defs, "CONTAINER_FILE", str(tree / "container"))
        self.find = mocker.patch.object(find, "find_drive", return_value=None)
        self.cloud = mocker.patch.object(cloud, "choose", return_value=REQUEST.cloud)
        self.request = mocker.patch.object(remote, "request_for", return_value=REQUEST)
        self.ask = mocker.patch.object(remote, "ask_now", return_value=stand_in("service"))
        self.fetched = mocker.patch.object(remote, "read_answer", return_value=stand_in("fetched"))

    def open(
        self, before: State = UNKNOWN, settings: Settings = SETTINGS, **options: Any
    ) -> Opened:
        return open_source(Options(**options), settings, self.root, before=before)

    def source(self, before: State = UNKNOWN, **options: Any) -> str | None:
        """What the source is called, if there is one."""
        bundle = self.open(before, **options).bundle
        return bundle.label if bundle else None

    def left(self) -> bool:
        """True if a request was left for the unit that asks."""
        return self.root.exists(defs.REQUEST_FILE)


@pytest.fixture
def scene(tree: Path, mocker: MockerFixture) -> Scene:
    return Scene(tree, mocker)


def test_a_drive_goes_before_a_service(scene: Scene) -> None:
    scene.find.return_value = stand_in("drive")
    for boot in (True, False):
        assert scene.source(boot=boot) == "drive"
    assert not scene.request.called
    assert not scene.left()


def test_at_boot_the_question_is_left_for_who_may_ask(scene: Scene) -> None:
    assert scene.open(boot=True) == Opened(asked=True, stranger=True)
    assert scene.left()
    assert not scene.ask.called


def test_by_hand_it_is_asked_at_once(scene: Scene) -> None:
    assert scene.source() == "service"
    assert not scene.left()


def test_C1_without_a_sign_of_a_cloud_nobody_asks(scene: Scene) -> None:
    scene.cloud.return_value = NO_CLOUD
    assert scene.open(boot=True) == Opened()
    (problem,) = scene.open().problems
    assert (problem.severity, "no sign of a cloud" in problem.reason) == ("error", True)
    assert not scene.left()
    assert not scene.ask.called


@pytest.mark.parametrize("boot", [True, False])
@pytest.mark.parametrize("before", [UNKNOWN, KNOWN_BY_DRIVE])
@pytest.mark.parametrize("found", [None, stand_in("drive")])
def test_a_warning_of_the_search_is_given_whatever_is_found(
    scene: Scene, found: Bundle | None, before: State, boot: bool
) -> None:
    def find_drive(*given: Any) -> Bundle | None:
        given[-1].warn(Origin("config drive /dev/vdc", "", ""), "is not read")
        return found

    scene.find.side_effect = find_drive
    for service in (REQUEST.cloud, NO_CLOUD):
        scene.cloud.return_value = service
        opened = scene.open(before, boot=boot)
        first, *others = opened.problems
        assert first.text() == "config drive /dev/vdc: is not read"
        assert len(others) == (
            found is None and (before == KNOWN_BY_DRIVE or (service == NO_CLOUD and not boot))
        )


@pytest.mark.parametrize("boot", [True, False])
def test_who_had_a_drive_waits_for_it_to_come_back(scene: Scene, boot: bool) -> None:
    opened = scene.open(KNOWN_BY_DRIVE, boot=boot)
    assert (opened.bundle, opened.asked) == (None, False)
    (problem,) = opened.problems
    assert problem.severity == ("warning" if boot else "error")
    assert "last good configuration stays" in problem.reason
    assert not scene.request.called


@pytest.mark.parametrize(
    ("before", "machine", "promised", "expected", "keeps"),
    [
        (KNOWN_BY_DRIVE._replace(machine="u-1"), "u-1", False, True, True),
        (KNOWN_BY_DRIVE._replace(machine="u-1"), "u-2", False, True, False),  # a copy of its disk
        (KNOWN_BY_DRIVE._replace(machine="u-1"), "u-1", True, True, False),
        (KNOWN._replace(machine="u-1"), "u-1", False, False, False),
        (UNKNOWN, "u-1", False, False, False),
    ],
)
def test_a_machine_keeps_what_its_own_drive_said(
    scene: Scene,
    mocker: MockerFixture,
    before: State,
    machine: str,
    promised: bool,
    expected: bool,
    keeps: bool,
) -> None:
    mocker.patch.object(machine_facts, "product_uuid", return_value=machine)
    scene.open(before, SETTINGS._replace(drive_expected=promised), boot=True)
    search = scene.find.call_args.args[0]
    assert (search.expected, search.keeps()) == (expected, keeps)
    # Where no service is asked, a drive is not looked for again after that.
    assert search.idle() == defs.UDEV_IDLE or before.source != "drive"


@pytest.mark.parametrize("boot", [True, False])
def test_a_service_that_is_not_there_does_not_end_the_search(scene: Scene, boot: bool) -> None:
    scene.find.return_value = stand_in("drive")
    for order in (("service", "drive"), ("service", "lxd", "drive")):
        scene.cloud.return_value = NO_CLOUD
        settings = Settings(source_order=order)
        opened = scene.open(UNKNOWN, settings, boot=boot)
        assert opened.bundle
        assert opened.bundle.label == "drive"
        scene.cloud.return_value = REQUEST.cloud
        opened = scene.open(UNKNOWN, settings, boot=boot)
        assert (opened.asked, opened.bundle is None) == (boot, boot)


@pytest.mark.parametrize(
    ("before", "machine", "wait"),
    [
        (KNOWN, "u-1", 0.0),
        (KNOWN, "u-2", defs.DRIVE_WAIT),
        (KNOWN._replace(configured=False), "u-1", defs.DRIVE_WAIT),
        (KNOWN_BY_DRIVE, "u-1", defs.DRIVE_WAIT),
        (State(), "u-1", defs.DRIVE_WAIT),
    ],
)
def test_who_was_configured_without_a_drive_waits_for_none(
    scene: Scene, mocker: MockerFixture, before: State, machine: str, wait: float
) -> None:
    mocker.patch.object(machine_facts, "product_uuid", return_value=machine)
    scene.open(before, boot=True)
    assert scene.find.call_args.args[0].wait == wait


@pytest.mark.parametrize(
    ("said", "directory", "expected"),
    [
        ("", False, False),
        ("", True, False),
        ("ds=openstack", False, False),
        ("ds=nocloud", False, True),
        ("ds=nocloud", True, False),
        ("ds=nocloud;h=a;i=b", False, False),
        ("guestagent.source=drive", True, True),
    ],
)
def test_a_drive_is_expected_where_the_command_line_can_mean_nothing_else(
    scene: Scene,
    mocker: MockerFixture,
    tmp_path: Path,
    said: str,
    directory: bool,
    expected: bool,
) -> None:
    mocker.patch.object(defs, "SEED_DIRS", (str(tmp_path),))
    mocker.patch.object(defs, "DMI_DIR", str(tmp_path / "dmi"))
    if directory:
        (tmp_path / "meta-data").write_text("")
    scene.command_line.write_text(f"quiet {said}\n")
    scene.root.live = True
    scene.open(boot=True)
    search = scene.find.call_args.args[0]
    assert search.expected == expected
    # After a seed no drive is looked for again, as it is when a service has answered.
    is_seeded = directory or "h=" in said
    is_without_seed = not is_seeded or said == "guestagent.source=drive"
    assert (search.idle() == defs.UDEV_BRIEFLY_IDLE) == is_without_seed


@pytest.mark.parametrize("settings", [SETTINGS, Settings(source_order=("drive",))])
def test_a_drive_that_is_named_alone_is_expected_until_the_machine_is_configured(
    scene: Scene, settings: Settings
) -> None:
    """A setting names what to search for, and not what there is."""
    scene.open(settings=settings, boot=True)
    assert not scene.find.call_args.args[0].expected
    scene.command_line.write_text("guestagent.source=drive\n")
    for before in (UNKNOWN, KNOWN):
        scene.open(before, settings, boot=True)
        assert scene.find.call_args.args[0].expected == (before == UNKNOWN)


@pytest.mark.parametrize("before", [State(), KNOWN, KNOWN_BY_DRIVE])
def test_a_url_that_is_named_is_asked_whatever_was_before(scene: Scene, before: State) -> None:
    assert scene.source(before, source=URL) == "service"
    assert scene.cloud.call_args.args[1] == scene.request.call_args.args[2] == URL
    assert not scene.find.called


def test_the_command_line_may_name_a_url(scene: Scene) -> None:
    scene.command_line.write_text(f"quiet guestagent.source={URL}\n")
    assert scene.open(boot=True).asked
    assert scene.cloud.call_args.args[1] == scene.request.call_args.args[2] == URL
    assert not scene.find.called


def test_a_path_that_is_named_is_opened_without_a_search(scene: Scene, tmp_path: Path) -> None:
    bundle = scene.open(source=str(tmp_path)).bundle
    assert bundle is not None
    assert bundle.label == str(tmp_path)
    assert not scene.find.called
    with pytest.raises(UsageError, match="/none"):
        scene.open(source="/none")


def test_what_was_fetched_is_all_that_the_later_unit_reads(scene: Scene) -> None:
    assert scene.source(fetched=True) == "fetched"
    assert not scene.find.called
    assert not scene.ask.called
    scene.fetched.side_effect = Unreachable("x")
    with pytest.raises(Unreachable):
        scene.open(fetched=True)


@pytest.mark.parametrize("uuid", ["", "u-1"])
@pytest.mark.parametrize("came", [True, False])
def test_A1_a_drive_that_came_after_the_question_goes_before_the_answer(
    scene: Scene, mocker: MockerFixture, came: bool, uuid: str
) -> None:
    scene.root.live = True
    remote.leave_request(scene.root, REQUEST._replace(since=1.0, uuid=uuid))
    late = mocker.patch.object(find, "came_late", return_value=came)
    if came:
        with pytest.raises(Unreachable, match="a config drive came"):
            scene.open(fetched=True)
        assert not scene.fetched.called
    else:
        assert scene.source(fetched=True) == "fetched"
    # Only with its own uuid is the answer sure to be about the instance of a drive.
    late.assert_called_once_with(defs.LABELS, 1.0, same_instance=bool(uuid))


@pytest.mark.parametrize("request_", [REQUEST, None])
def test_nobody_looks_for_a_drive_again_where_the_search_was_whole(
    scene: Scene, mocker: MockerFixture, request_: Request | None
) -> None:
    scene.root.live = True
    if request_:
        remote.leave_request(scene.root, request_)
    late = mocker.patch.object(find, "came_late", return_value=True)
    assert scene.source(fetched=True) == "fetched"
    assert not late.called


@pytest.mark.parametrize(
    ("before", "boot", "again"),
    [
        (UNKNOWN, True, True),
        (UNKNOWN, False, False),  # a search of the daemon's
        (KNOWN, True, False),  # the machine itself
        (KNOWN._replace(instance_id="u-2"), True, True),  # another one's image
        (UNKNOWN._replace(record={applied.SSHD_CLOSED: "yes"}), True, False),  # it was too late
    ],
)
def test_A1_a_search_is_brief_only_where_it_is_made_again(
    scene: Scene, mocker: MockerFixture, before: State, boot: bool, again: bool
) -> None:
    mocker.patch.object(machine_facts, "product_uuid", return_value="u-1")
    scene.open(before, verb="apply" if boot else "refresh", boot=boot, confined=True)
    (search, *_), _ = scene.find.call_args
    assert (search.idle() == defs.UDEV_BRIEFLY_IDLE) == again
    later = boot and before == KNOWN
    path = defs.LATER_REQUEST_FILE if later else defs.REQUEST_FILE
    left = remote.read_request(f"{scene.root.path}{path}")
    assert bool(left.since) == again
    assert left.since <= time.monotonic()


CLOSED = UNKNOWN._replace(
    record={applied.SSHD_CLOSED: applied.CLOSED, applied.HOST_KEYS: applied.ahead("u-1")}
)


@pytest.mark.parametrize("own_uuid", [True, False])
@pytest.mark.parametrize("before", [UNKNOWN, CLOSED])
def test_D4_sshd_need_not_wait_where_it_was_closed_on_this_very_machine(
    scene: Scene, mocker: MockerFixture, before: State, own_uuid: bool
) -> None:
    mocker.patch.object(machine_facts, "product_uuid", return_value="u-1")
    told = Cloud("openstack", "a test", own_uuid=own_uuid)
    mocker.patch("guestagent.sources.cloud.identify", return_value=told)
    scene.request.return_value = REQUEST._replace(cloud=told)
    deferrable = own_uuid and before == CLOSED
    assert scene.open(before, boot=True).deferrable == deferrable
    (search, *_), _ = scene.find.call_args
    assert (search.idle() == 0) == deferrable
    # Whether it is closed now is not known yet: until then it waits.
    assert scene.left()
    assert not scene.root.exists(defs.LATER_REQUEST_FILE)
    left = remote.read_request(f"{scene.root.path}{defs.REQUEST_FILE}")
    assert bool(left.since) == (deferrable or before == UNKNOWN)
    assert left.patience == defs.METADATA_PATIENCE
    verb.postpone(scene.root)
    assert remote.read_request(f"{scene.root.path}{defs.LATER_REQUEST_FILE}") == left
    assert not scene.left()


class Row:
    """A provider, and how often it was asked."""

    def __init__(self, name: str, sign: str, source: bool = True) -> None:
        self.name, self.shown, self.source = name, sign, source
        self.opened = 0
        self.bundle = Bundle(name, Documents({}))

    def sign(self, _: Search) -> str:
        return self.shown

    def open(self, _: Search) -> Opened | None:
        self.opened += 1
        return Opened(self.bundle) if self.source else None


def test_the_first_provider_that_is_there_is_the_source(
    scene: Scene, mocker: MockerFixture
) -> None:
    rows = [Row("a", ""), Row("b", "B", source=False), Row("c", "C"), Row("d", ""), Row("e", "E")]
    table = tuple(Provider(row.name, row.sign, row.open, named=row.name == "c") for row in rows)
    mocker.patch.object(verb, "PROVIDERS", table)
    opened = scene.open(settings=Settings(source_order=tuple("abcde")))
    assert opened.bundle is rows[2].bundle
    assert opened.bundle.named
    assert [row.opened for row in rows] == [0, 1, 1, 0, 0]
    # Those that were not asked and show that they are there are named.
    (problem,) = opened.problems
    assert (problem.source, problem.reason) == ("E", "is not used, because c is")


def test_without_any_provider_there_is_no_source(scene: Scene, mocker: MockerFixture) -> None:
    mocker.patch.object(verb, "PROVIDERS", (Provider("drive", lambda _: ""),))
    assert scene.open(boot=True) == Opened()
    assert scene.open(verb="refresh") == Opened()
    (problem,) = scene.open().problems
    assert (problem.severity, problem.reason.count("drive")) == ("error", 1)


# What is looked for, as an operator knows it.
LOOKED_FOR = {
    "credentials": "begins with guestagent.",
    "drive": "with the label config-2 or cidata;",
    "lxd": "/dev/lxd/sock or /dev/incus/sock",
    "seed": "/var/lib/guestagent/seed, ",
    "guestinfo": "VMware, open-vm-tools",
    "media": "CD-ROM or floppy disk",
    "service": "no sign of a cloud",
}


@pytest.mark.parametrize("kind", defs.SOURCES)
def test_a_kind_that_is_named_and_missing_is_told_at_boot(scene: Scene, kind: str) -> None:
    scene.cloud.return_value = NO_CLOUD
    scene.command_line.write_text(f"guestagent.source={kind}")
    for before, severity, follows in (
        (UNKNOWN, "error", "nothing is applied"),
        (KNOWN, "warning", "what was applied before stays"),
    ):
        (problem,) = scene.open(before, boot=True).problems
        assert problem.severity == severity
        assert problem.key == "guestagent.source= on the kernel command line"
        assert problem.reason.startswith(f"names {kind} alone, and ")
        assert LOOKED_FOR[kind] in problem.reason
        assert follows in problem.reason
        # The daemon may look every minute.
        assert scene.open(before, verb="refresh") == Opened()


@pytest.mark.parametrize("kind", defs.SOURCES)
def test_the_only_kind_of_the_settings_is_a_warning_where_it_is_missing(
    scene: Scene, kind: str
) -> None:
    scene.cloud.return_value = NO_CLOUD
    settings = Settings(source_order=(kind, kind), drive_labels=("cidata",))
    (problem,) = scene.open(settings=settings, boot=True).problems
    assert (problem.severity, problem.key) == ("warning", "source.order")
    assert problem.reason.startswith(f"names {kind} alone, and ")
    assert ("the label cidata;" in problem.reason) == (kind == "drive")
    (problem,) = scene.open(settings=settings).problems
    assert problem.severity == "error"
    assert scene.open(settings=settings, verb="refresh") == Opened()
    assert scene.open(settings=Settings(source_order=("drive", "lxd")), boot=True) == Opened()


@pytest.mark.parametrize(("boot", "severity"), [(True, "warning"), (False, "error")])
def test_an_empty_order_says_what_to_write(scene: Scene, boot: bool, severity: str) -> None:
    settings = Settings(source_order=())
    (problem,) = scene.open(settings=settings, boot=boot).problems
    assert (problem.severity, problem.source, problem.key) == (
        severity,
        "settings",
        "source.order",
    )
    assert "nothing is searched for" in problem.reason
    assert ", ".join(defs.SOURCES) in problem.reason
    assert "guestagent.source=none on the kernel command line" in problem.reason
    assert scene.open(settings=settings, verb="refresh") == Opened()
    assert not scene.find.called


def test_the_names_of_providers_are_those_of_settings() -> None:
    assert tuple(dict.fromkeys(row.name for row in verb.PROVIDERS)) == defs.SOURCES


def test_the_documentation_has_the_names_in_their_order() -> None:
    text = (rig.REPOSITORY / "docs/sources.md").read_text()
    listed = text.partition("The kinds, ")[2].partition("\n\n")[0].partition("search: ")[2]
    assert [word for word in listed.split("`")[1::2] if word in defs.SOURCES] == [*defs.SOURCES]


def rows_in_order(mocker: MockerFixture, *names: str) -> list[Row]:
    """Make providers of these names that are all there."""
    rows = [Row(name, name) for name in names]
    table = tuple(Provider(row.name, row.sign, row.open) for row in rows)
    mocker.patch.object(verb, "PROVIDERS", table)
    return rows


@pytest.mark.parametrize(
    ("order", "chosen", "others"),
    [
        (defs.SOURCES, "drive", ["seed", "service"]),
        (("service", "drive"), "service", ["drive"]),
        (("seed",), "seed", []),
    ],
)
def test_the_settings_may_give_another_order(
    scene: Scene, mocker: MockerFixture, order: tuple[str, ...], chosen: str, others: list[str]
) -> None:
    rows_in_order(mocker, "drive", "seed", "service")
    opened = scene.open(settings=Settings(source_order=order))
    assert opened.bundle is not None
    assert opened.bundle.label == chosen
    assert [problem.source for problem in opened.problems] == others


def test_the_command_line_may_name_a_kind_of_source(scene: Scene, mocker: MockerFixture) -> None:
    rows = rows_in_order(mocker, "drive", "seed", "service")
    scene.command_line.write_text("guestagent.source=seed")
    opened = scene.open(settings=Settings(source_order=("drive",)), boot=True)
    assert (opened.bundle, opened.problems) == (rows[1].bundle, ())
    # Only there: a directory may have that name.
    with pytest.raises(UsageError):
        scene.open(source="seed")


@pytest.mark.parametrize(
    "name", ["drvie", "Drive", "none,", "relative/path", "ftp://192.0.2.1/", "/\a"]
)
@pytest.mark.parametrize("boot", [True, False])
def test_a_name_that_is_no_source_is_told_with_those_that_are(
    scene: Scene, name: str, boot: bool
) -> None:
    scene.command_line.write_text(f"guestagent.source={name}")
    with pytest.raises(UsageError, match="on the kernel command line names no source") as caught:
        scene.open(boot=boot)
    assert ", ".join((*defs.SOURCES, "none")) in str(caught.value)
    assert name not in str(caught.value)  # it may have any characters


def test_a_kind_that_the_settings_name_twice_is_searched_for_once(
    scene: Scene, mocker: MockerFixture
) -> None:
    rows_in_order(mocker, "drive")
    assert scene.open(settings=Settings(source_order=("drive", "drive"))).problems == ()
    (row,) = rows_in_order(mocker, "drive")
    row.source = False
    scene.open(settings=Settings(source_order=("drive", "drive")))
    assert row.opened == 1


def test_who_searches_for_a_service_alone_is_not_told_of_drives(scene: Scene) -> None:
    scene.cloud.return_value = NO_CLOUD
    scene.command_line.write_text("guestagent.source=service")
    for before, stays in ((UNKNOWN, False), (KNOWN, True)):
        (problem,) = scene.open(before).problems
        assert "drive" not in problem.reason
        assert problem.reason.endswith("what was applied before stays") == stays


def test_with_none_nothing_is_searched_for(scene: Scene, mocker: MockerFixture) -> None:
    rows = rows_in_order(mocker, "drive", "service")
    scene.command_line.write_text("guestagent.source=none")
    assert scene.open(boot=True) == Opened()
    assert scene.open(KNOWN, verb="refresh", poll=True) == Opened()
    (problem,) = scene.open().problems
    assert (problem.severity, "none" in problem.reason) == ("error", True)
    assert [row.opened for row in rows] == [0, 0]


def test_a_poll_asks_only_a_service_that_is_searched_for(scene: Scene) -> None:
    for order, asked in ((("drive",), False), (("drive", "service"), True)):
        settings = Settings(source_order=order)
        opened = scene.open(KNOWN, settings, verb="refresh", poll=True, confined=True)
        assert opened.asked == asked


class TestCredentials:
    """On the machine itself; the folder is one of the test's."""

    @pytest.fixture
    def folder(self, scene: Scene, mocker: MockerFixture, tmp_path: Path) -> Path:
        found = tmp_path / "credentials"
        found.mkdir()
        (found / "guestagent.hostname").write_text("x")
        mocker.patch.object(defs, "CREDENTIAL_DIRS", (str(found),))
        mocker.patch.object(defs, "DMI_DIR", str(tmp_path / "dmi"))
        mocker.patch.object(defs, "SEED_DIRS", ())
        scene.root.live = True
        return found

    def test_they_go_first_and_a_drive_is_named(
        self, scene: Scene, mocker: MockerFixture, folder: Path
    ) -> None:
        drive = find.Drive(0, "/dev/vdb")
        mocker.patch.object(find, "linked_drives", return_value=[drive])
        opened = scene.open(boot=True)
        assert opened.bundle is not None
        assert opened.bundle.label == "system credentials"
        (problem,) = opened.problems
        assert problem.source == "config drive /dev/vdb"
        assert not scene.find.called
        assert (folder / "guestagent.hostname").exists()

    def test_another_tree_has_none(self, scene: Scene, folder: Path) -> None:
        assert folder.exists()
        scene.root.live = False
        assert scene.source(boot=True) is None

    def test_one_may_say_which_source_to_use(self, scene: Scene, folder: Path) -> None:
        scene.find.return_value = stand_in("drive")
        (folder / "guestagent.source").write_text("drive\n")
        assert scene.source(boot=True) == "drive"
        (folder / "guestagent.source").write_text("none")
        assert scene.open(boot=True) == Opened()
        (folder / "guestagent.source").write_text("drvie")
        with pytest.raises(UsageError, match=r"^system credential .* names no source"):
            scene.open(boot=True)
        (folder / "guestagent.source").write_text(URL)
        assert scene.open(boot=True).asked
        assert scene.cloud.call_args.args[1] == scene.request.call_args.args[2] == URL

    def test_one_that_names_a_kind_that_is_missing_is_told(
        self, scene: Scene, folder: Path
    ) -> None:
        (folder / "guestagent.source").write_text("drive")
        (problem,) = scene.open(boot=True).problems
        assert problem.key == "system credential guestagent.source"
        assert (problem.severity, "the label config-2" in problem.reason) == ("error", True)

    @pytest.mark.parametrize("left", ["", "guestagent.source"])
    def test_A1_nothing_takes_the_place_of_those_that_are_gone(
        self, scene: Scene, folder: Path, left: str
    ) -> None:
        before = KNOWN._replace(source="credentials", machine="u-1")
        assert scene.source(before, boot=True) == "system credentials"
        (folder / "guestagent.hostname").unlink()
        if left:
            (folder / left).write_text("")
        opened = scene.open(before, boot=True)
        (problem,) = opened.problems
        assert (opened.bundle, opened.asked, problem.severity) == (None, False, "warning")
        assert "there is no system credential" in problem.reason
        assert not scene.find.called
        assert not scene.request.called

    def test_the_command_line_goes_before_it(self, scene: Scene, folder: Path) -> None:
        (folder / "guestagent.source").write_text("none")
        scene.command_line.write_text("guestagent.source=service")
        assert scene.open(boot=True).asked

    def test_without_a_source_in_them_the_search_goes_on(self, scene: Scene, folder: Path) -> None:
        scene.find.return_value = None
        (folder / "guestagent.hostname").rename(folder / "guestagent.source")
        (folder / "guestagent.source").write_text("")
        assert scene.open(boot=True).asked
        assert scene.find.called


class TestGone:
    """The source that configured the machine is not there, and all that come later are."""

    UUID = "u-1"

    @pytest.fixture(autouse=True)
    def kinds(self, scene: Scene, mocker: MockerFixture, tmp_path: Path) -> set[str]:
        """The kinds that are there; which of them were looked at is in ``self.looked``."""
        there: set[str] = set(defs.SOURCES)
        self.looked: list[str] = []

        def look(name: str) -> Opened | None:
            self.looked.append(name)
            return Opened(stand_in(name)) if name in there else None

        def row(provider: Provider) -> Provider:
            return provider._replace(
                sign=None, unused=lambda _: "", open=lambda _: look(provider.name)
            )

        mocker.patch.object(verb, "PROVIDERS", tuple(map(row, verb.PROVIDERS)))
        mocker.patch.object(defs, "DMI_DIR", str(tmp_path))
        mocker.patch.object(defs, "CREDENTIAL_DIRS", ())
        mocker.patch.object(defs, "SEED_DIRS", ())
        (tmp_path / "product_uuid").write_text(self.UUID)
        scene.root.live = True
        return there

    def by(self, kind: str, machine: str = UUID) -> State:
        return KNOWN._replace(source=kind, machine=machine)

    @pytest.mark.parametrize("kind", defs.SOURCES)
    def test_A1_what_is_searched_for_later_does_not_take_its_place(
        self, scene: Scene, kinds: set[str], kind: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = self.by(kind)
        earlier = defs.SOURCES[: defs.SOURCES.index(kind)]
        kinds -= {kind, *earlier}
        for options, severity in (
            ({"boot": True}, "warning" if kind in ("credentials", "drive") else ""),
            ({}, "error"),
            ({"verb": "refresh"}, ""),
        ):
            self.looked.clear()
            opened = scene.open(before, **options)
            said = [*capsys.readouterr().err.splitlines()]
            assert (opened.bundle, opened.asked) == (None, False)
            assert set(self.looked) == {*earlier, kind}
            assert [problem.severity for problem in opened.problems] == [severity] * bool(severity)
            said += [problem.reason for problem in opened.problems]
            assert len(said) == ("verb" not in options)
            for text in said:
                assert f"the kind {kind} configured this machine, and " in text
                assert LOOKED_FOR[kind].rstrip(";, ") in text
                assert "guestagent.source=" in text
        # What is searched for earlier is believed more.
        if earlier:
            kinds.add(earlier[-1])
            assert scene.source(before, boot=True) == earlier[-1]

    @pytest.mark.parametrize("kind", defs.SOURCES)
    def test_A1_a_poll_asks_no_service_instead(self, scene: Scene, kind: str) -> None:
        def is_asked() -> bool:
            return scene.open(self.by(kind), verb="refresh", poll=True, confined=True).asked

        assert is_asked() == (kind == "service")
        scene.command_line.write_text("guestagent.source=service")
        assert is_asked()

    @pytest.mark.parametrize("kind", defs.SOURCES[:-1])
    def test_another_kind_may_be_named(self, scene: Scene, kinds: set[str], kind: str) -> None:
        kinds.remove(kind)
        scene.command_line.write_text("guestagent.source=service")
        assert scene.source(self.by(kind), boot=True) == "service"

    @pytest.mark.parametrize("kind", defs.SOURCES[:-1])
    def test_D4_a_copy_in_another_machine_searches_on(
        self, scene: Scene, kinds: set[str], kind: str
    ) -> None:
        kinds -= set(defs.SOURCES[:-1])
        before = self.by(kind, "u-2")._replace(instance_id="i-1")
        assert scene.source(before, boot=True) == "service"
        kinds.clear()
        assert scene.open(before, boot=True) == Opened()

    @pytest.mark.parametrize("machine", ["", UUID])
    def test_D4_a_machine_that_may_be_the_same_does_not(
        self, scene: Scene, kinds: set[str], machine: str
    ) -> None:
        kinds.remove("seed")
        before = self.by("seed", machine)
        assert scene.source(before, boot=True) == "credentials"
        kinds -= {"credentials", "drive", "lxd"}
        assert scene.source(before, boot=True) is None

    def test_the_order_of_the_settings_counts(self, scene: Scene, kinds: set[str]) -> None:
        kinds.remove("drive")
        for order, found in (
            (("seed", "drive", "service"), "seed"),
            (("drive", "seed", "service"), None),
        ):
            settings = Settings(source_order=order)
            opened = scene.open(KNOWN_BY_DRIVE, settings, boot=True)
            assert (opened.bundle and opened.bundle.label) == found

    def test_one_that_the_settings_leave_out_has_its_usual_place(
        self, scene: Scene, kinds: set[str]
    ) -> None:
        """So it was named when it configured the machine, and is named no more."""
        kinds.remove("drive")
        settings = Settings(source_order=("service", "drive"))
        opened = scene.open(self.by("seed"), settings)
        (problem,) = opened.problems
        assert (opened.bundle, "source.order does not have that" in problem.reason) == (None, True)
        kinds.add("drive")
        opened = scene.open(self.by("seed"), settings)
        assert opened.bundle
        assert opened.bundle.label == "drive"

    def test_the_only_kind_of_the_settings_may_go_in_silence(
        self, scene: Scene, kinds: set[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        kinds.clear()
        settings = Settings(source_order=("guestinfo",))
        assert scene.open(self.by("guestinfo"), settings, boot=True) == Opened()
        assert "configured this machine" in capsys.readouterr().err

    def test_the_kind_of_what_is_found_is_known(self, scene: Scene, kinds: set[str]) -> None:
        for kind in defs.SOURCES:
            bundle = scene.open(boot=True).bundle
            assert bundle is not None
            assert bundle.kind == kind
            kinds.remove(kind)


@pytest.mark.parametrize("values", ["", ";h=a;i=b"])
@pytest.mark.parametrize("machine", ["u-1", "u-2"])
def test_ds_nocloud_alone_is_no_error_where_the_seed_has_done_its_work(
    scene: Scene, mocker: MockerFixture, tmp_path: Path, machine: str, values: str
) -> None:
    mocker.patch.object(defs, "SEED_DIRS", ())
    mocker.patch.object(defs, "DMI_DIR", str(tmp_path))
    mocker.patch.object(defs, "CREDENTIAL_DIRS", ())
    mocker.patch.object(defs, "LXD_SOCKETS", ())
    (tmp_path / "product_uuid").write_text(machine)
    scene.command_line.write_text(f"ds=nocloud{values}")
    scene.root.live = True
    before = KNOWN._replace(source="seed", machine="u-1")
    opened = scene.open(before, boot=True)
    is_copy = machine == "u-2"
    assert bool(opened.bundle) == bool(values)
    assert [problem.severity for problem in opened.problems] == ["error"] * (is_copy and not values)
    # Nor is a drive waited for.
    assert scene.find.call_args.args[0].expected == (is_copy and not values)


def test_a_provider_without_a_function_is_a_module() -> None:
    for provider in verb.PROVIDERS:
        if provider.open is None:
            module = import_module(f"guestagent.sources.{provider.name}")
            assert signature(module.open_source).return_annotation == "Bundle | None"
            assert list(signature(module.open_source).parameters) == ["problems"]
            assert provider.sign is not None  # else it would be imported on every boot


@pytest.mark.parametrize(("days", "words"), [(0, "stays"), (1, "1 days"), (40, "40 days old")])
def test_what_stays_is_told_with_its_age(days: int, words: str) -> None:
    when = int(time.time()) - days * 86400 - 60
    told = describe_age(KNOWN._replace(time=when))
    assert told.startswith("the configuration of 2")
    assert told.endswith("UTC stays") if days == 0 else words in told


def test_a_clock_that_was_set_back_makes_nothing_older() -> None:
    assert describe_age(KNOWN._replace(time=int(time.time()) + 10**8)).endswith("UTC stays")


@pytest.mark.parametrize("before", [State(), KNOWN._replace(configured=False)])
def test_what_was_never_configured_has_no_age(before: State) -> None:
    assert describe_age(before) == "this machine was not configured yet"
