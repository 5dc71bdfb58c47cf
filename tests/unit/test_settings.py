"""The settings file and its drop-ins: what is wrong is named, the rest counts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import rig
from rig import collected

from guestagent import defs
from guestagent import settings as settings_module
from guestagent.errors import Problem, Problems
from guestagent.parse import settings_file
from guestagent.parse.settings_file import CHECKS
from guestagent.settings import Known, Settings, load, load_known
from guestagent.system.root import Root

DEMANDING = Settings(signatures_policy="required", signatures_vendor_policy="required")


class Files:
    """The settings files of a tree."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        (tree / defs.SETTINGS_DROPINS[1:]).mkdir(parents=True)

    def put(self, text: str | bytes, dropin: str = "") -> Files:
        name = f"{defs.SETTINGS_DROPINS}/{dropin}" if dropin else defs.SETTINGS_FILE
        (self.tree / name[1:]).write_bytes(text if isinstance(text, bytes) else text.encode())
        return self

    def load(self) -> tuple[Settings, list[Problem]]:
        return collected(load, Root(str(self.tree)))


@pytest.fixture
def files(tree: Path) -> Files:
    return Files(tree)


def test_without_files_the_defaults_count(files: Files) -> None:
    assert files.load() == (Settings(), [])


def test_every_setting_has_a_check() -> None:
    known = {f"{table}_{key}" for table, keys in CHECKS.items() for key in keys}
    assert known == set(Settings._fields)


# A value of each setting that is not its default.
ALL = """
[user]
name = "me"
gecos = "A B"
shell = "/bin/sh"
groups = ["x"]
sudo = false
[hostname]
manage = false
fqdn = true
[hosts]
manage = false
[ssh]
keys_for = ["default", "root"]
host_keys = false
host_key_types = ["rsa"]
[sshd]
password_authentication = "no"
permit_root_login = "yes"
[password]
for = "root"
post = true
random_to_console = true
[files]
manage = false
mode = "0644"
[network]
manage = false
backend = "ifupdown"
policy_routing = true
enable = false
other_nics = false
[random_seed]
manage = false
[source]
order = ["drive", "service"]
[drive]
wait = 5
labels = ["cidata"]
expected = true
[disk]
grow = false
grow_volumes = true
[metadata]
service = "ec2"
urls = ["http://192.0.2.1"]
wait = 6
imds_v1 = true
refresh = "full"
link_local_ipv4 = true
[daemon]
nics = false
drives = false
poll = 60
new_instance = true
[fetch]
enable = true
http = true
[signatures]
policy = "limited"
vendor_policy = "off"
signers = "/etc/signers"
[cloud_init]
files = false
[scripts]
early_limit = 7
late_limit = 8.5
stop_at_failure = true
bootcmd = "late"
"""


def test_all_settings_are_read(files: Files) -> None:
    found, problems = files.put(ALL).load()
    assert problems == []
    same = {name for name in Settings._fields if getattr(found, name) == getattr(Settings(), name)}
    assert same == set()
    assert found == Settings(
        user_name="me",
        user_gecos="A B",
        user_shell="/bin/sh",
        user_groups=("x",),
        user_sudo=False,
        hostname_manage=False,
        hostname_fqdn=True,
        hosts_manage=False,
        ssh_keys_for=("default", "root"),
        ssh_host_keys=False,
        ssh_host_key_types=("rsa",),
        sshd_password_authentication="no",
        sshd_permit_root_login="yes",
        password_for="root",
        drive_labels=("cidata",),
        source_order=("drive", "service"),
        drive_expected=True,
        password_post=True,
        password_random_to_console=True,
        files_manage=False,
        files_mode=0o644,
        network_manage=False,
        network_backend="ifupdown",
        network_policy_routing=True,
        network_enable=False,
        network_other_nics=False,
        random_seed_manage=False,
        drive_wait=5.0,
        disk_grow=False,
        disk_grow_volumes=True,
        metadata_service="ec2",
        metadata_urls=("http://192.0.2.1",),
        metadata_wait=6.0,
        metadata_imds_v1=True,
        metadata_refresh="full",
        metadata_link_local_ipv4=True,
        daemon_nics=False,
        daemon_drives=False,
        daemon_poll=60.0,
        daemon_new_instance=True,
        fetch_enable=True,
        fetch_http=True,
        signatures_policy="limited",
        signatures_vendor_policy="off",
        signatures_signers="/etc/signers",
        cloud_init_files=False,
        scripts_early_limit=7.0,
        scripts_late_limit=8.5,
        scripts_stop_at_failure=True,
        scripts_bootcmd="late",
    )


@pytest.mark.parametrize("backend", ["networkd", "networkmanager", "ifupdown", "netplan"])
def test_a_back_end_is_chosen_by_name(files: Files, backend: str) -> None:
    found, problems = files.put(f'[network]\nbackend = "{backend}"\n').load()
    assert (found, problems) == (Settings(network_backend=backend), [])


def test_auto_is_no_back_end_by_name(files: Files) -> None:
    assert files.put('[network]\nbackend = "auto"\n').load()[0].network_backend == ""


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("[hots]\nmanage = true\n", "hots", "hosts"),
        ("[hosts]\nmanaged = true\n", "hosts.managed", "manage"),
        ('[sshd]\npassword_auth = "no"\n', "sshd.password_auth", "password_authentication"),
        ("[zzz]\n", "zzz", ""),
        ("hosts = true\n", "hosts", "hosts"),
    ],
)
def test_an_unknown_key_names_the_nearest_one(
    files: Files, text: str, key: str, nearest: str
) -> None:
    found, problems = files.put(text + "[drive]\nwait = 1\n").load()
    (problem,) = problems
    assert problem[:4] == ("error", "settings", defs.SETTINGS_FILE, key)
    assert nearest in problem.reason
    assert found == Settings(drive_wait=1.0)


WRONG = [
    ("user", "name", ['""', '"Root"', '"a:b"', "7", '"default user"']),
    ("user", "gecos", ['"a:b"', '"a\\nb"', "1"]),
    ("user", "shell", ['"bash"', '"/bin/../x"', "true", '"/bin/sh\\n"']),
    ("user", "groups", ['"adm"', "[1]", '["a b"]', "{}"]),
    ("user", "sudo", ['"yes"', "1"]),
    ("ssh", "host_key_types", ['["dsa"]', '"rsa"', '["rsa\\n"]']),
    ("sshd", "password_authentication", ["true", '"maybe"', '"yes\\nPermitRootLogin yes"']),
    ("sshd", "permit_root_login", ["true", '"without-password"']),
    ("files", "mode", ["600", '"rw"', '"04755"', '"-1"', '"0o9"']),
    ("network", "backend", ['"wicked"', '"Netplan"', '""', "[]"]),
    ("network", "policy_routing", ['"yes"', "1"]),
    ("network", "enable", ['"yes"', "1"]),
    ("network", "other_nics", ['"yes"', "1"]),
    ("drive", "wait", ['"5"', "-1", "601", "true", "nan", "inf"]),
    ("metadata", "wait", ["0", "0.5", "301"]),
]


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [(table, key, value) for table, key, values in WRONG for value in values],
)
def test_a_wrong_value_is_an_error_and_its_default_stays(
    files: Files, table: str, key: str, value: str
) -> None:
    found, problems = files.put(f"[{table}]\n{key} = {value}\n").load()
    assert [problem.key for problem in problems] == [f"{table}.{key}"]
    assert found == Settings()
    assert value.strip('"') not in problems[0].reason or len(value) < 4


@pytest.mark.parametrize(
    "text", ["[user", "a = ", b"\xff = 1", "[user]\n[user]\n", "x = 1\nx = 2\n"]
)
def test_a_file_that_is_not_toml_is_an_error_and_the_others_count(
    files: Files, text: str | bytes
) -> None:
    found, problems = files.put(text).put("[drive]\nwait = 1\n", "a.toml").load()
    assert [problem.document for problem in problems] == [defs.SETTINGS_FILE]
    assert problems[0].reason.endswith("; the settings of this file have no effect: correct it")
    assert found == Settings(drive_wait=1.0)


def test_later_dropins_win_key_by_key(files: Files) -> None:
    files.put("[drive]\nwait = 1\n[hosts]\nmanage = false\n")
    files.put("[drive]\nwait = 3\n", "90.toml").put("[drive]\nwait = 2\n", "10.toml")
    files.put("[drive]\nwait = 4\n", "99.conf").put("", "95.toml")
    found, problems = files.load()
    assert (found.drive_wait, found.hosts_manage, problems) == (3.0, False, [])


def test_a_folder_of_dropins_that_cannot_be_read_is_a_problem(files: Files) -> None:
    files.put("[drive]\nwait = 1\n")
    place = files.tree / defs.SETTINGS_DROPINS[1:]
    place.rmdir()
    place.symlink_to(place.name)
    found, problems = files.load()
    assert found == DEMANDING._replace(drive_wait=1.0)
    assert [problem.document for problem in problems] == [defs.SETTINGS_DROPINS]


def test_files_that_cannot_be_read_are_problems(files: Files) -> None:
    (files.tree / defs.SETTINGS_FILE[1:]).mkdir()
    (files.tree / defs.SETTINGS_DROPINS[1:] / "a.toml").symlink_to("a.toml")
    found, problems = files.load()
    assert found == DEMANDING
    assert [problem.document for problem in problems] == [
        defs.SETTINGS_FILE,
        f"{defs.SETTINGS_DROPINS}/a.toml",
    ]


def test_E13_a_file_that_cannot_be_read_demands_signatures_in_its_place(files: Files) -> None:
    """Nobody knows what is in it: only what comes after it may say otherwise."""
    off = '[signatures]\npolicy = "off"\nvendor_policy = "off"\n'
    unread = files.tree / defs.SETTINGS_DROPINS[1:] / "50.toml"
    unread.symlink_to("missing")
    found, (problem,) = files.put(off).put(off, "10.toml").load()
    assert found == DEMANDING
    assert problem.reason.startswith("its symbolic link leads to nothing")
    unread.unlink()
    unread.mkdir()
    assert files.load()[0] == DEMANDING
    found, _ = files.put('[signatures]\npolicy = "off"\n', "90.toml").load()
    assert found.signature_policies == ("off", "required")


@pytest.mark.parametrize(
    "text",
    [
        '[signature]\npolicy = "limited"\n',
        '[Signatures]\npolicy = "limited"\n',
        '[image.signatures]\npolicy = "limited"\n',
        'signatures_policy = "limited"\n',
        # The line above is still a comment.
        'policy = "limited"\n',
        '[daemon]\npoll = 1\npolicy = "limited"\n',
        '[signatures]\npolicy = "off"\n[daemon]\nsigners = "/x"\n',
        '[signatures]\npolicy = "limited"\n'.encode("utf-16"),
    ],
)
def test_E13_what_may_be_about_signatures_demands_them(files: Files, text: str | bytes) -> None:
    found, problems = files.put(text).load()
    assert found.signature_policies == ("required", "required")
    assert problems


def test_no_other_setting_looks_like_one_about_signatures() -> None:
    others = {table: keys for table, keys in CHECKS.items() if table != "signatures"}
    assert not settings_file._may_demand_signatures(others, {})


@pytest.mark.parametrize(("text", "imported"), [("# [x]\n  #y\n\n", False), ("[hosts]\n", True)])
def test_a_file_of_comments_does_not_cost_tomllib(files: Files, text: str, imported: bool) -> None:
    files.put(text)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from guestagent.system.root import Root; "
        "from guestagent.errors import Problems; from guestagent.settings import load; "
        "load(Root(sys.argv[2]), Problems()); "
        "print('tomllib' in sys.modules)"
    )
    argv = [sys.executable, "-IBS", "-c", code, str(rig.REPOSITORY), str(files.tree)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout == f"{imported}\n"


_ALL_KINDS = (
    '[user]\nname = "ada"\ngroups = ["a", "b"]\n[hosts]\nmanage = false\n[drive]\nwait = 3\n'
)


def test_known_settings_are_not_parsed_again(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    files.put(_ALL_KINDS)
    root = Root(str(files.tree))
    settings, known = load_known(root, Problems(), Known())
    assert (settings.user_groups, settings.drive_wait) == (("a", "b"), 3.0)
    monkeypatch.setattr(settings_file, "parse_settings", None)
    assert load_known(root, Problems(), known) == (settings, known)


@pytest.mark.parametrize(
    "change",
    [
        lambda known: known._replace(values={**known.values, "user_name": "a\nb"}),
        lambda known: known._replace(values={}),
        lambda known: known._replace(values={**known.values, "none": 1}),
        lambda known: known._replace(digest="0f"),
    ],
)
def test_damaged_ones_are_parsed_again(files: Files, change: Callable[[Known], Known]) -> None:
    files.put(_ALL_KINDS)
    root = Root(str(files.tree))
    settings, known = load_known(root, Problems(), Known())
    assert load_known(root, Problems(), change(known)) == (settings, known)


def test_settings_of_another_version_or_file_are_parsed_again(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.put(_ALL_KINDS)
    root = Root(str(files.tree))
    _, known = load_known(root, Problems(), Known())
    files.put(_ALL_KINDS.replace("ada", "bob"))
    settings, changed = load_known(root, Problems(), known)
    assert settings.user_name == "bob"
    assert changed.digest != known.digest
    files.put("")
    assert load_known(root, Problems(), known) == (Settings(), Known())
    files.put(_ALL_KINDS)
    monkeypatch.setattr(settings_module, "VERSION", "9.9")
    assert load_known(root, Problems(), known)[1].digest != known.digest


def test_what_is_wrong_in_settings_is_told_each_time(files: Files) -> None:
    files.put("[hosts]\nmanage = false\nnone = 1\n")
    root, known = Root(str(files.tree)), Known()
    for _ in range(2):
        problems = Problems()
        settings, known = load_known(root, problems, known)
        assert not settings.hosts_manage
        assert [problem.key for problem in problems.problems] == ["hosts.none"]
        assert known.digest == ""
