"""cloud-init's own examples: each is applied, or a problem says what is not."""

from __future__ import annotations

import pytest
import rig
import yaml

from guestagent.verbs.validate import validate

from . import examples
from .dropping import dropped, place

ALL = examples.examples()
CONFIGS = [name for name, content in ALL.items() if content.startswith(b"#cloud-config\n")]

# Parts that may be left out without a difference, and why.
ALLOWED = {
    ("cloud-config-disk-setup.txt", "disk_setup.ephemeral0.table_type"): "mbr is the default",
    ("cloud-config-disk-setup.txt", "disk_setup./dev/xvdh.table_type"): "mbr is the default",
    ("cloud-config-disk-setup.txt", "fs_setup[1].filesystem"): "ext4 is the default",
    ("cloud-config-gluster.txt", "mounts[0][5]"): "2 is the default",
    ("cloud-config-mount-points.txt", "mount_default_fields"): "all six are the default",
    ("cloud-config-mount-points.txt", "swap.filename"): "/swap.img is the default",
    ("cloud-config-user-groups.txt", "users[2].lock_passwd"): "true is the default",
    ("cloud-config-user-groups.txt", "users[4].sudo"): "false is the default",
    ("cloud-config-write-files.txt", "write_files[0].owner"): "the content cannot be used",
    ("cloud-config-write-files.txt", "write_files[0].permissions"): "the content cannot be used",
    ("cloud-config.txt", "package_update"): "false is the default, and packages need it anyway",
    ("cloud-config.txt", "mount_default_fields"): "all six are the default",
    ("cloud-config.txt", "locale_configfile"): "/etc/default/locale is the default",
}


def test_the_examples_are_here() -> None:
    rig.need(not examples.missing(), examples.missing())
    assert len(ALL) > 30
    assert len(CONFIGS) > 20


@pytest.mark.parametrize("name", ALL)
def test_an_example_is_applied_or_its_problems_name_their_places(name: str) -> None:
    verdict = validate(name, ALL[name])
    for problem in verdict.problems:
        assert problem.source == name
        if name in CONFIGS:
            assert "(line " in problem.key, problem
        elif ALL[name].startswith(b"#cloud-config-archive"):
            assert problem.key.startswith("part "), problem
    assert verdict.plan.changes or verdict.problems


@pytest.mark.parametrize("name", CONFIGS)
def test_every_part_of_an_example_counts_or_is_told_of(name: str) -> None:
    """Leaving a part out changes what is done or what is said, or a problem names the part."""
    allowed = {path for example, path in ALLOWED if example == name}
    assert dropped(yaml.safe_load(ALL[name])) == allowed


@pytest.mark.parametrize("name", CONFIGS)
def test_a_whole_key_without_effect_is_told_of_or_is_the_reason_of_a_change(name: str) -> None:
    allowed = {path for example, path in ALLOWED if example == name and path.isidentifier()}
    verdict = validate(name, ALL[name])
    reasons = {place(change.why.key) for change in verdict.plan.changes}
    assert set(verdict.without_effect) == allowed - reasons


def test_the_page_is_what_validate_says() -> None:
    rig.need(not examples.missing(), examples.missing())
    text = examples.PAGE.read_text()
    if f"cloud-init {examples.version()} " not in text:
        pytest.skip("the page is about the examples of another version of cloud-init")
    assert text == examples.page(), "run: python -m tests.userdata.examples"
