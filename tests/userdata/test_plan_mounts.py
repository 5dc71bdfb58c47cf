"""mounts: lines of fstab(5) and scripts, read by the real tools."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import rig

from guestagent import defs
from guestagent.plan.kinds.block import Block
from guestagent.plan.kinds.script import Script

from .planning import FACTS, plan_of

GROWS = FACTS._replace(room=20480)


def steps(text: str) -> dict[str, str]:
    """The scripts of a text of cloud-config, by their names, each accepted by the shell."""
    resources, problems = plan_of(text, GROWS)
    assert problems == []
    found = {
        item.file_name: item.content.decode() for item in resources if isinstance(item, Script)
    }
    for script in found.values():
        subprocess.run(["sh", "-n"], input=script.encode(), check=True)
    return found


def fstab(text: str, there: str = "") -> tuple[list[str], list[str]]:
    """The lines of fstab(5), as findmnt(8) takes them, and the reasons of problems."""
    facts = FACTS._replace(texts={defs.FSTAB: there}, room=0)
    resources, problems = plan_of(text, facts)
    blocks = [item for item in resources if isinstance(item, Block) and item.path == defs.FSTAB]
    lines = list(blocks[0].lines) if blocks else []
    return lines, [f"{problem.key}: {problem.reason}" for problem in problems]


def test_a_row_gets_the_fields_it_lacks() -> None:
    lines, problems = fstab("mounts:\n- [vdb, /data]\n- ['LABEL=a', /opt/x, xfs, noatime, '1', 0]")
    assert problems == []
    assert lines == [
        "/dev/vdb /data auto defaults,nofail 0 2",
        "LABEL=a /opt/x xfs noatime 1 0",
    ]


def test_options_may_have_values_in_quotes() -> None:
    lines, problems = fstab("mounts: [[vdb, /data, ext4, 'context=\"a:b,c\"']]\n")
    assert (lines, problems) == (['/dev/vdb /data ext4 context="a:b,c" 0 2'], [])


def test_default_fields_are_taken_where_a_row_has_none() -> None:
    text = "mount_default_fields: [null, null, ext4, 'defaults,noatime', '0', '2']\n"
    lines, _ = fstab(f"{text}mounts:\n- [vdb, /data]\n- [vdc, /srv, null, ro]\n")
    assert lines == ["/dev/vdb /data ext4 defaults,noatime 0 2", "/dev/vdc /srv ext4 ro 0 2"]


def test_network_and_memory_file_systems_keep_their_names() -> None:
    lines, problems = fstab(
        "mounts:\n- ['10.0.0.2:/export', /mnt/nfs, nfs]\n- [tmpfs, /scratch, tmpfs, size=1g]\n"
        "- ['//host/share', /mnt/cifs, cifs]\n"
    )
    assert problems == []
    assert [line.split()[0] for line in lines] == ["10.0.0.2:/export", "tmpfs", "//host/share"]


def test_E_white_space_in_a_mount_point_is_escaped(tmp_path: Path) -> None:
    lines, _ = fstab("mounts:\n- [vdb, '/my data\\dir']\n")
    assert lines == [r"/dev/vdb /my\040data\134dir auto defaults,nofail 0 2"]
    rig.need_tools("findmnt")
    table = tmp_path / "fstab"
    table.write_text("\n".join(lines) + "\n")
    argv = ["findmnt", "--fstab", "--tab-file", str(table), "-n", "-r", "-o", "TARGET"]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert shown.strip() == r"/my\x20data\x5cdir"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('[vdb, "/a\\n/dev/sda / ext4"]', "control character"),
        ('[vdb, /data, "ext4 x"]', "its type must be one word"),
        ('[vdb, /data, ext4, "rw\\tx"]', "its options must be one word"),
        ("[vdb, /data, ext4, rw, a, 0]", "small numbers"),
        ("[vdb, relative]", "must begin with /"),
        ("[vdb, /mnt/../etc]", "without .."),
        ("[ephemeral0, /mnt]", "block device mapping"),
        ("['#x', /mnt]", "its device"),
    ],
)
def test_E_a_bad_row_spoils_only_itself(row: str, reason: str) -> None:
    lines, (problem,) = fstab(f"mounts:\n- {row}\n- [vdc, /srv]\n")
    assert lines == ["/dev/vdc /srv auto defaults,nofail 0 2"]
    assert problem.startswith("mounts[0] (line 3, column 3): ")
    assert reason in problem


def test_a_row_without_a_mount_point_takes_away_what_was_never_there() -> None:
    assert fstab("mounts:\n- [ephemeral0, null]\n- [swap, null]\n- [vdc]\n") == ([], [])


def test_options_that_wait_for_cloud_init_are_left_out_with_one_warning() -> None:
    option = "x-systemd.requires=cloud-init.service"
    rows = f"- [vdb, /data, auto, 'nofail,{option}']\n- [vdc, /srv, auto, '{option}']\n"
    rows += "- [vdd, /opt, auto, 'x-systemd.requires=a.service,x-systemd.after=cloud-x.target']\n"
    lines, (problem,) = fstab(f"mounts:\n{rows}")
    assert [line.split()[3] for line in lines] == [
        "nofail",
        "defaults",
        "x-systemd.requires=a.service",
    ]
    assert problem.startswith("mounts[0] (line 3, ")
    assert "cloud-init" in problem


def test_default_fields_that_wait_for_cloud_init_mount_without_it() -> None:
    defaults = "[null, null, auto, 'defaults,nofail,x-systemd.after=cloud-init.service', '0', '2']"
    lines, (problem,) = fstab(f"mount_default_fields: {defaults}\nmounts: [[vdb, /data]]\n")
    assert lines == ["/dev/vdb /data auto defaults,nofail 0 2"]
    assert problem.startswith("mount_default_fields (line 2, ")


@pytest.mark.parametrize(
    "row",
    [
        "['10.0.0.2:/export', /net, nfs, rw]",
        "['[fe80::1]:/', /net, auto, rw]",
        "['//host/share', /net, auto, rw]",
        "['a,b', /net, ceph, rw]",
        "[vdb, /net, xfs, 'rw,_netdev']",
    ],
)
def test_file_systems_of_the_network_are_mounted_late(row: str) -> None:
    text = f"mounts:\n- {row}\n- [vdc, /data]\n"
    lines, problems = fstab(text)
    assert problems == []
    assert lines[0].split()[3] == "rw,_netdev"
    found = steps(text)
    assert "mount '/net'" in found["20-instance-mounts-network"]
    assert "'/data'" not in found["20-instance-mounts-network"]
    assert "'/net'" not in found["40-instance-mounts"]


def test_a_disk_is_none_of_the_network() -> None:
    found = steps("mounts:\n- [/srv/src, /dst, none, bind]\n- ['LABEL=a:b', /y]\n")
    assert "20-instance-mounts-network" not in found


@pytest.mark.parametrize("place", ["/dev/shm", "/sys/fs/cgroup", "/dev/hugepages", "/proc"])
def test_file_systems_of_the_kernel_can_be_mounted(place: str) -> None:
    lines, problems = fstab(f"mounts: [[tmpfs, {place}, tmpfs, size=2g]]\n")
    assert (lines, problems) == ([f"tmpfs {place} tmpfs size=2g 0 2"], [])


def test_what_systemd_mounted_already_gets_its_options() -> None:
    script = steps("mounts: [[tmpfs, /dev/shm, tmpfs, size=2g]]\n")["40-instance-mounts"]
    assert "mount -o remount '/dev/shm' 2>/dev/null || mount '/dev/shm'" in script


def test_a_slash_at_the_end_of_a_mount_point_is_dropped() -> None:
    assert fstab("mounts: [[vdb, /data/]]\n")[0] == ["/dev/vdb /data auto defaults,nofail 0 2"]


def test_the_administrators_lines_win() -> None:
    there = "/dev/sda1 / ext4 defaults 0 1\nUUID=1 /data ext4 defaults 0 2\n"
    lines, (problem,) = fstab("mounts:\n- [vdb, /data]\n- [vdc, /srv]\n", there)
    assert lines == ["/dev/vdc /srv auto defaults,nofail 0 2"]
    assert "already" in problem


def test_what_fstab_names_is_mounted_at_once() -> None:
    script = steps('mounts:\n- [vdb, "/it\'s"]\n- [vdc, none, swap]\n- [vdd, /no, auto, noauto]\n')
    text = script["40-instance-mounts"]
    assert "mkdir -p '/it'\\''s'" in text
    assert "swapon -- '/dev/vdc'" in text
    assert "/no" not in text


def test_a_tree_gets_its_lines_and_keeps_them(guest: Path, tmp_path: Path) -> None:
    drive = tmp_path / "drive/openstack/latest"
    drive.mkdir(parents=True)
    (drive / "meta_data.json").write_text('{"uuid": "i-1"}')
    (drive / "user_data").write_text("#cloud-config\nmounts:\n- [vdb, /data]\nswap: {size: 1M}\n")
    (guest / "etc/fstab").write_text("/dev/vda1 / ext4 defaults 0 1\n")
    arguments = ("--source", tmp_path / "drive", "--root", guest)
    assert rig.agent("apply", *arguments).status == 0
    text = (guest / "etc/fstab").read_text()
    assert text == (
        "/dev/vda1 / ext4 defaults 0 1\n# guestagent: begin\n"
        "/dev/vdb /data auto defaults,nofail 0 2\n/swap.img none swap sw,nofail 0 0\n"
        "# guestagent: end\n"
    )
    staged = guest / "var/lib/guestagent/early"
    names = ["30-instance-grow-0", "40-instance-mounts", "50-instance-swap"]
    assert sorted(path.name for path in staged.iterdir()) == names
    assert {path.stat().st_mode & 0o777 for path in staged.iterdir()} == {0o700}
    assert rig.agent("--dry-run", *arguments).status == 0
    for path in staged.iterdir():
        path.unlink()
    again = rig.agent("--dry-run", *arguments)
    assert (again.status, again.out) == (0, "nothing to change\n")
