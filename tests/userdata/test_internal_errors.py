"""An error of the program itself costs the user data, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import rig
from pytest_mock import MockerFixture
from rig import collected

from guestagent import cli
from guestagent.parse import ec2, openstack
from guestagent.sources.path import open_path

from .planning import make_drive

CANARY = "CANARY"
BROKEN = (
    "guestagent.parse.userdata.read.read",
    "guestagent.desired.cloud_config.plan",
    "guestagent.desired.hostname.overridden",
    "guestagent.desired.accounts.users.plan",
    "guestagent.desired.write_files.plan",
)


@pytest.mark.parametrize("broken", BROKEN)
def test_the_guest_is_configured_without_its_user_data(
    guest: Path,
    tmp_path: Path,
    mocker: MockerFixture,
    capfd: pytest.CaptureFixture[str],
    broken: str,
) -> None:
    mocker.patch(broken, side_effect=KeyError(CANARY))
    text = "timezone: UTC\nwrite_files: [{path: /etc/x, content: x}]\nusers: [default]\n"
    drive = make_drive(tmp_path, text, hostname="web-1", public_keys={"a": rig.KEY})
    status = cli.main(["--source", str(drive), "--root", str(guest)])
    shown = capfd.readouterr()
    assert status == 1
    assert (guest / "etc/hostname").read_text() == "web-1\n"
    assert rig.KEY in (guest / "home/debian/.ssh/authorized_keys").read_text()
    assert not (guest / "etc/x").exists()
    assert "internal error: KeyError at " in shown.err
    assert CANARY not in shown.out + shown.err
    assert "internal error" in (guest / "run/guestagent/report.json").read_text()


@pytest.mark.parametrize("layout", ["openstack", "ec2"])
def test_metadata_are_read_where_user_data_cannot_be(
    tmp_path: Path, mocker: MockerFixture, layout: str
) -> None:
    mocker.patch("guestagent.parse.userdata.read.read", side_effect=RecursionError)
    if layout == "openstack":
        data, problems = collected(openstack.parse, open_path(str(make_drive(tmp_path, "a: b"))))
    else:
        tree = tmp_path / "ec2/latest"
        tree.mkdir(parents=True)
        (tree / "meta-data.json").write_text('{"instance-id": "i-1"}')
        (tree / "user-data").write_text("#cloud-config\n")
        data, problems = collected(ec2.parse, open_path(str(tmp_path)))
    assert data.instance_id
    assert [problem.severity for problem in problems] == ["error"]


def test_an_internal_error_elsewhere_is_in_the_report(
    guest: Path, drive: Path, mocker: MockerFixture
) -> None:
    mocker.patch("guestagent.verbs.planning.desired", side_effect=KeyError(CANARY))
    assert cli.main(["--source", str(drive), "--root", str(guest)]) == 1
    report = (guest / "run/guestagent/report.json").read_text()
    assert "internal error: KeyError at " in report
    assert CANARY not in report
