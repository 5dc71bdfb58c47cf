"""hosts(5): the host's own name and localhost resolve, and lines of others stay."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import rig

from guestagent.commit import commit
from guestagent.errors import Origin
from guestagent.facts import gather
from guestagent.plan.difference import Plan, diff
from guestagent.plan.kinds.block import Hosts
from guestagent.system.root import Root

WHY = Origin("drive", "meta_data.json", "hostname")
HOSTS = Hosts("hosts", "127.0.1.1", ("web.example.org", "web"), "web", WHY)
MARK = " # guestagent"
OWN = f"127.0.1.1 web.example.org web{MARK}"
LOCAL = [f"127.0.0.1 localhost{MARK}", f"::1 localhost ip6-localhost ip6-loopback{MARK}"]


class Guest:
    """A tree with /etc/hosts, and what guestagent remembers of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path / "etc/hosts"
        self.record: dict[str, str] = {}

    def apply(self, *resources: Hosts, first: bool = False) -> Plan:
        root = Root(str(self.path))
        plan = diff(resources, root, gather(root), recorded=self.record, first=first, complete=True)
        assert plan.problems == ()
        assert commit(plan.changes, root) == []
        self.record = plan.record
        return plan

    def lines(self) -> list[str]:
        return self.file.read_text().splitlines()


@pytest.fixture
def there(guest: Path) -> Guest:
    return Guest(guest)


def test_E2_the_own_name_resolves_after_the_first_run(there: Guest) -> None:
    there.file.write_text("127.0.0.1 localhost\n127.0.1.1 debian\n")
    there.apply(HOSTS, first=True)
    assert there.lines() == ["127.0.0.1 localhost", "127.0.1.1 debian", OWN]
    assert rig.resolve(there.file, "web", "web.example.org", "debian", "localhost") == [
        ["127.0.1.1", "web.example.org", "web"],
        ["127.0.1.1", "web.example.org", "web"],
        ["127.0.1.1", "debian"],
        ["127.0.0.1", "localhost"],
    ]


@pytest.mark.parametrize("content", [None, "", "# a comment, localhost web\n", "10.0.0.7 db\n"])
def test_localhost_resolves_where_no_line_has_it(there: Guest, content: str | None) -> None:
    there.file.unlink()
    if content is not None:
        there.file.write_text(content)
    there.apply(HOSTS, first=True)
    assert there.lines() == [*(content or "").splitlines(), *LOCAL, OWN]
    assert there.file.stat().st_mode & 0o777 == 0o644
    assert rig.resolve(there.file, "web", "localhost") == [
        ["127.0.1.1", "web.example.org", "web"],
        ["::1", "localhost", "ip6-localhost", "ip6-loopback"],
    ]
    again = there.apply(HOSTS)
    assert (again.changes, again.kept) == ((), ())


@pytest.mark.parametrize("line", ["10.0.0.5 web", "10.0.0.5\tx.example  WEB # mine", "::1 web y"])
def test_a_file_in_which_the_name_resolves_is_left_alone(there: Guest, line: str) -> None:
    there.file.write_text(f"127.0.0.1 localhost\n{line}\n")
    assert there.apply(HOSTS, first=True).changes == ()
    assert there.apply(HOSTS).changes == ()
    assert there.apply().changes == ()
    # As soon as it does not resolve any more, there is a need.
    there.apply(HOSTS, first=True)
    there.file.write_text("127.0.0.1 localhost\n")
    there.apply(HOSTS)
    assert there.lines() == ["127.0.0.1 localhost", OWN]


def test_the_full_name_alone_is_not_enough(there: Guest) -> None:
    there.file.write_text("::1 localhost\n10.0.0.5 web.example.org\n")
    there.apply(HOSTS, first=True)
    assert there.lines()[-1] == OWN


def test_D8_lines_that_others_add_later_change_nothing(there: Guest) -> None:
    there.file.unlink()
    there.apply(HOSTS, first=True)
    with there.file.open("a") as file:
        file.write("127.0.0.1 localhost\n10.0.0.5 web\n")
    before = there.lines()
    again = there.apply(HOSTS)
    assert (again.changes, again.kept, there.lines()) == ((), (), before)


def test_D8_an_administrator_may_take_the_line_away(there: Guest) -> None:
    there.apply(HOSTS, first=True)
    there.file.write_text("127.0.0.1 localhost\n")
    plan = there.apply(HOSTS)
    assert (plan.changes, plan.kept) == ((), ("/etc/hosts",))


def test_another_name_takes_the_place_of_the_first(there: Guest) -> None:
    there.apply(HOSTS, first=True)
    there.file.write_text(there.file.read_text() + "# after\n")
    there.apply(HOSTS._replace(names=("db",), own="db"))
    assert there.lines()[-2:] == [f"127.0.1.1 db{MARK}", "# after"]


def test_D4_the_line_of_the_image_s_instance_goes(there: Guest) -> None:
    there.apply(HOSTS, first=True)
    there.file.write_text(there.file.read_text() + "10.0.0.9 db\n")
    there.apply(HOSTS._replace(names=("db",), own="db"), first=True)
    assert there.lines()[-1] == "10.0.0.9 db"
    assert not any(line.endswith(MARK) for line in there.lines())


def test_C10_a_file_full_of_marked_lines_takes_no_time(there: Guest) -> None:
    there.file.write_text(f"1 a{MARK}\n" * 70000 + "10.0.0.9 db\n")
    before = time.process_time()
    there.apply(HOSTS, first=True)
    assert time.process_time() - before < 5
    assert there.lines() == [*LOCAL, OWN, "10.0.0.9 db"]
