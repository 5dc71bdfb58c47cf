"""Accounts and groups of cloud-config: what is planned, and made in a tree by the real tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import rig

from guestagent import defs
from guestagent.errors import Origin
from guestagent.model import Text
from guestagent.parse.userdata.keys.users import USER
from guestagent.plan.kinds.account import Group, User
from guestagent.plan.kinds.block import Block

from .planning import (
    FACTS,
    METADATA,
    SETTINGS,
    apply_twice,
    clean_plan,
    dry_run,
    files,
    make_drive,
    places,
    plan_of,
)

if TYPE_CHECKING:
    from guestagent.plan.kinds import Resource

KEY = rig.KEY
OTHER = KEY.replace("AAAAIAAx", "AAAAIBBx")
DATA = METADATA._replace(ssh_keys=(Text(KEY, Origin("drive", "meta_data.json", "keys")),))


def users(resources: list[Resource]) -> dict[str, User]:
    return {item.name: item for item in resources if item.kind == "user"}


def groups(resources: list[Resource]) -> dict[str, Group]:
    return {item.name: item for item in resources if item.kind == "group"}


def keys(resources: list[Resource]) -> dict[str, tuple[str, ...]]:
    """The lines of authorized_keys by path."""
    return {item.path: item.lines for item in resources if isinstance(item, Block)}


def real_accounts(guest: Path, *programs: str) -> Path:
    """The sample tree with the databases that shadow's tools need, and programs of that name."""
    rig.need_root()
    rig.need_tools("useradd", "groupadd", "usermod", "chpasswd", "chage")
    (guest / "etc/shadow").write_text("root:*:19000:0:99999:7:::\ndebian:!:19000:0:99999:7:::\n")
    (guest / "etc/gshadow").write_text("root:*::\nsudo:*::\ndebian:!::\n")
    (guest / "etc/login.defs").write_text(
        "UID_MIN 1000\nSYS_UID_MAX 999\nUSERGROUPS_ENAB yes\nENCRYPT_METHOD SHA512\n"
    )
    (guest / "etc/shadow").chmod(0o600)
    (guest / "usr/sbin").mkdir(exist_ok=True)
    for program in programs:
        (guest / "usr/sbin" / program).write_text("#!/bin/sh\n")
        (guest / "usr/sbin" / program).chmod(0o755)
    return guest


def lines_of(guest: Path, name: str) -> dict[str, list[str]]:
    """The lines of a database of a tree, split, by their first field."""
    lines = (line.split(":") for line in (guest / "etc" / name).read_text().splitlines())
    return {parts[0]: parts for parts in lines}


class TestDefault:
    """Who the default user is, and whether there is one."""

    def test_without_users_it_is_made_for_keys_only(self) -> None:
        assert users(clean_plan("groups: [lab]")) == {}
        facts = FACTS._replace(accounts=FACTS.accounts[:1])
        made = users(clean_plan("groups: [lab]", data=DATA, facts=facts))["debian"]
        assert (made.gecos, made.shell, made.groups) == ("Default user", "/bin/bash", ("sudo",))

    def test_named_in_users_it_is_made_without_keys(self) -> None:
        facts = FACTS._replace(accounts=FACTS.accounts[:1])
        resources = clean_plan("users: [default]", facts=facts)
        made = users(resources)["debian"]
        assert (made.gecos, made.shell, made.groups) == ("Default user", "/bin/bash", ("sudo",))
        assert (
            b"\ndebian ALL=(ALL:ALL) NOPASSWD: ALL\n" in files(resources)[defs.SUDOERS_FILE].content
        )

    @pytest.mark.parametrize(
        ("text", "someone"),
        [
            ("users: []", False),
            ("users: [ada]", False),
            ("users: []\nssh_authorized_keys: ['{key}']", False),
            ("users: [{{name: ada, plain_text_passwd: word}}]", False),
            ("users: [{{name: debian, ssh_redirect_user: true}}]", False),
            ("users: [{{name: ada, ssh_authorized_keys: ['{key}']}}]", True),
            ("users: [{{name: ada, plain_text_passwd: word, lock_passwd: false}}]", True),
        ],
    )
    def test_D8_keys_that_no_account_gets_are_a_warning(self, text: str, someone: bool) -> None:
        resources, problems = plan_of(text.format(key=KEY), data=DATA)
        assert "/home/debian/.ssh/authorized_keys" not in keys(resources)
        assert defs.SUDOERS_FILE not in files(resources)
        assert [item for item in problems if item.severity == "error"] == []
        (found,) = [item for item in problems if "no account gets the instance's" in item.reason]
        assert found.key == "users (line 2, column 1)"
        assert ("maybe no one can log in" in found.reason) is not someone

    @pytest.mark.parametrize(
        ("text", "someone"),
        [
            ("allow_public_ssh_keys: false", False),
            ("allow_public_ssh_keys: false\nusers: []", False),
            ("allow_public_ssh_keys: false\nssh_authorized_keys: ['{key}']", True),
            ("allow_public_ssh_keys: false\npassword: word", True),
            ("allow_public_ssh_keys: true", True),
        ],
    )
    def test_D8_a_key_that_is_not_allowed_is_a_warning_where_no_one_gets_in(
        self, text: str, someone: bool
    ) -> None:
        _, problems = plan_of(text.format(key=KEY), data=DATA)
        said = [(item.severity, item.key.split()[0]) for item in problems]
        assert said == ([] if someone else [("warning", "allow_public_ssh_keys")])
        assert all("maybe no one can log in" in item.reason for item in problems)
        assert plan_of(text.format(key=KEY))[1] == []  # the instance has no key

    @pytest.mark.parametrize(
        "text",
        [
            "users: []\nallow_public_ssh_keys: false",
            "users: []\ndisable_root: false",
            "users: [default]",
        ],
    )
    def test_keys_that_go_elsewhere_or_are_not_wanted_are_none(self, text: str) -> None:
        _, problems = plan_of(text, data=DATA)
        assert not any("no account gets" in item.reason for item in problems)
        nobody = SETTINGS._replace(ssh_keys_for=())
        assert plan_of("users: []", data=DATA, settings=nobody)[1] == []

    @pytest.mark.parametrize(
        ("more", "name"),
        [
            ("", "debian"),
            ("system_info: {default_user: {name: ada}}", "ada"),
        ],
    )
    def test_D8_listed_by_name_it_gets_the_keys_and_nothing_else(
        self, more: str, name: str
    ) -> None:
        text = f"users: [{{name: {name}, ssh_authorized_keys: ['{OTHER}']}}]\n{more}"
        resources = clean_plan(text, data=DATA)
        assert keys(resources) == {f"/home/{name}/.ssh/authorized_keys": (OTHER, KEY)}
        assert defs.SUDOERS_FILE not in files(resources)

    def test_listed_by_name_it_gets_the_password(self) -> None:
        text = "users: [{name: debian, lock_passwd: false}]\npassword: word"
        found = [item for item in clean_plan(text) if item.kind == "password"]
        assert [item.name for item in found] == ["debian"]

    @pytest.mark.parametrize(
        ("system", "name"),
        [
            *(("fedora", "fedora"), ("rhel", "cloud-user"), ("centos", "cloud-user")),
            *(("rocky", "rocky"), ("amzn", "ec2-user"), ("opensuse-leap", "opensuse")),
        ],
    )
    def test_its_name_is_that_of_the_distribution_s_images(self, system: str, name: str) -> None:
        facts = FACTS._replace(os_id=system)
        assert list(keys(clean_plan("hostname: a", data=DATA, facts=facts))) == [
            f"/home/{name}/.ssh/authorized_keys"
        ]

    def test_root_s_keys_by_setting_stay_without_it(self) -> None:
        settings = SETTINGS._replace(ssh_keys_for=("root", "default"))
        found = keys(clean_plan("users: []", data=DATA, settings=settings))
        assert found == {"/root/.ssh/authorized_keys": (KEY,)}

    def test_user_changes_it(self) -> None:
        text = "user: {name: ada, gecos: Ada L, shell: /bin/sh, groups: [adm], sudo: null}"
        resources = clean_plan(text, data=DATA)
        made = users(resources)["ada"]
        assert (made.gecos, made.shell, made.groups) == ("Ada L", "/bin/sh", ("adm",))
        assert list(keys(resources)) == ["/home/ada/.ssh/authorized_keys"]
        assert not [path for path in files(resources) if "sudoers" in path]

    def test_user_as_a_name_counts_beside_users(self) -> None:
        resources, problems = plan_of("user: ada\nusers: [ben]", data=DATA)
        assert [problem for problem in problems if problem.severity == "error"] == []
        assert list(users(resources)) == ["ben", "ada"]

    def test_its_entry_in_users_has_the_first_word(self) -> None:
        facts = FACTS._replace(accounts=FACTS.accounts[:1])
        text = "users:\n- {name: default, shell: /bin/zsh}\n- {name: debian, groups: [lab]}\n"
        made = users(clean_plan(text, facts=facts))
        assert list(made) == ["debian"]
        assert made["debian"].shell == "/bin/zsh"
        assert made["debian"].groups == ("lab", "sudo")

    def test_root_is_no_account_to_make(self) -> None:
        settings = SETTINGS._replace(user_name="root")
        resources = clean_plan("groups: [lab]", data=DATA, settings=settings)
        assert list(keys(resources)) == ["/root/.ssh/authorized_keys"]
        assert users(resources) == {}
        assert defs.SUDOERS_FILE not in files(resources)

    def test_of_two_entries_for_a_name_the_first_one_decides_each_field(self) -> None:
        text = "users: [{name: ada, shell: /bin/sh}, {name: ada, shell: /bin/zsh, gecos: Ada}]"
        made = users(clean_plan(text))
        assert [(user.name, user.shell, user.gecos) for user in made.values()] == [
            ("ada", "/bin/sh", "Ada")
        ]


def test_every_field_becomes_an_argument_of_useradd() -> None:
    text = """users:
- {name: ada, gecos: Ada, shell: /bin/sh, uid: 1234, homedir: /srv/ada, inactive: 5,
   expiredate: 2032-09-01, primary_group: lab, groups: 'adm, kvm', no_user_group: true,
   no_log_init: true}
- {name: daemon1, system: true}
- {name: ghost, no_create_home: true}
"""
    resources = clean_plan(text)
    made = users(resources)
    assert (made["ada"].gecos, made["ada"].shell) == ("Ada", "/bin/sh")
    assert made["ada"].groups == ("adm", "kvm")
    assert set(groups(resources)) == {"lab", "adm", "kvm"}
    assert " ".join(made["ada"].arguments) == (
        "--no-user-group --no-log-init --home-dir /srv/ada --uid 1234 "
        "--expiredate 2032-09-01 --inactive 5 --gid lab"
    )
    assert made["daemon1"].arguments == ("--system", "--no-create-home")
    assert made["ghost"].arguments == ("--no-create-home",)


def test_groups_come_before_users_and_these_before_keys() -> None:
    text = f"users: [{{name: ada, groups: lab, ssh_authorized_keys: ['{KEY}']}}]"
    kinds = [item.kind for item in clean_plan(text)]
    assert kinds.index("group") < kinds.index("user") < kinds.index("block")


def test_an_account_that_exists_keeps_all_but_password_rules_and_keys() -> None:
    text = f"""users:
- {{name: debian, shell: /bin/zsh, groups: lab, primary_group: lab, uid: 5, passwd: $6$a$b,
   hashed_passwd: $6$c$d, lock_passwd: false, sudo: ALL=(ALL) ALL, ssh_authorized_keys: ['{KEY}']}}
"""
    resources = clean_plan(text)
    assert groups(resources) == {}
    assert users(resources)["debian"].arguments == ()
    (password,) = (item for item in resources if item.kind == "password")
    assert password.secret.reveal() == "$6$c$d"
    assert defs.SUDOERS_USERS_FILE in files(resources)
    assert keys(resources) == {"/home/debian/.ssh/authorized_keys": (KEY,)}


def test_selinux_users_are_for_guests_with_selinux() -> None:
    text = "users: [{name: ada, selinux_user: staff_u}]"
    resources, problems = plan_of(text)
    assert places(problems) == [("warning", "users[0].selinux_user (line 2, column 21)")]
    assert users(resources)["ada"].arguments == ()
    facts = FACTS._replace(texts={defs.SELINUX_CONFIG: "SELINUX=enforcing\n"})
    made = users(clean_plan(text, facts=facts))["ada"]
    assert made.arguments == ("--selinux-user", "staff_u")


class TestGroups:
    """The key ``groups``, and the groups that users name."""

    def test_members_are_added(self) -> None:
        text = "groups:\n- lab: [root, debian, ada]\n- empty\nusers: [ada]"
        resources = clean_plan(text)
        assert groups(resources)["lab"].members == ("root", "debian")
        assert groups(resources)["empty"].members == ()
        assert users(resources)["ada"].groups == ("lab",)  # by useradd, as it is new

    def test_a_member_that_does_not_exist_is_a_warning(self) -> None:
        resources, problems = plan_of("groups: {lab: [nobody-here, root]}")
        assert places(problems) == [("warning", "groups.lab[0] (line 2, column 16)")]
        assert groups(resources)["lab"].members == ("root",)

    @pytest.mark.parametrize("name", ["a:b", "-x", "a,b c", "$(id)", '"a\\nb"', "9"])
    def test_a_bad_name_is_an_error_and_the_others_count(self, name: str) -> None:
        quoted = name if name.startswith('"') else f"'{name}'"
        resources, problems = plan_of(f"groups: [{{{quoted}: [root]}}, lab]")
        assert [problem.severity for problem in problems] == ["error"] * len(problems)
        assert problems
        assert "lab" in groups(resources)
        assert all(item.isalnum() for item in groups(resources))

    def test_without_create_groups_a_missing_one_is_an_error(self) -> None:
        text = "users: [{name: ada, groups: [lab, sudo], create_groups: false}]"
        resources, problems = plan_of(text)
        assert places(problems) == [("error", "users[0].groups[0] (line 2, column 30)")]
        assert users(resources)["ada"].groups == ("sudo",)

    def test_a_user_whose_group_is_there_gets_that_one(self) -> None:
        made = users(clean_plan("users: [{name: sudo}, {name: ben, groups: eve}, {name: eve}]"))
        assert made["sudo"].arguments == ("--gid", "sudo")
        assert made["eve"].arguments == ("--gid", "eve")


class TestRules:
    """sudo and doas."""

    def test_all_rules_stand_in_one_file(self) -> None:
        text = """users:
- {name: ada, sudo: 'ALL=(ALL) NOPASSWD:ALL'}
- {name: ben, sudo: ['ALL=(root) /usr/bin/id', 'ALL=(ALL) NOPASSWD: /bin/ls, !/bin/cat']}
- {name: cyd, sudo: false}
- {name: Dee, sudo: 'ALL=(ALL) ALL'}
"""
        file = files(clean_plan(text))[defs.SUDOERS_USERS_FILE]
        assert file.mode == 0o440
        assert file.content.decode().splitlines()[1:] == [
            "ada ALL=(ALL) NOPASSWD:ALL",
            "ben ALL=(root) /usr/bin/id",
            "ben ALL=(ALL) NOPASSWD: /bin/ls, !/bin/cat",
            '"Dee" ALL=(ALL) ALL',
        ]

    def test_a_wrong_rule_is_left_out_alone(self) -> None:
        text = "users: [{name: ada, sudo: [ALL=(ALL ALL, 'ALL=(ALL) ALL']}]"
        resources, problems = plan_of(text)
        assert places(problems) == [("error", "users[0].sudo[0] (line 2, column 28)")]
        lines = files(resources)[defs.SUDOERS_USERS_FILE].content.decode().splitlines()
        assert lines[1:] == ["ada ALL=(ALL) ALL"]

    def test_doas_gets_lines_of_its_own_where_it_is_installed(self) -> None:
        text = "users: [{name: ada, doas: [permit nopass ada, permit ben, 'deny ada; x']}]"
        _, problems = plan_of(text)
        assert places(problems) == [("error", "users[0].doas (line 2, column 21)")]
        facts = FACTS._replace(programs=FACTS.programs | {"doas"})
        resources, problems = plan_of(text, facts=facts)
        assert [place for _, place in places(problems)] == [
            "users[0].doas[1] (line 2, column 47)",
            "users[0].doas[2] (line 2, column 59)",
        ]
        assert keys(resources) == {defs.DOAS_FILE: ("permit nopass ada",)}


BAD = [
    ("{name: 'a:b'}", "name"),
    ('{name: "a\\nb"}', "name"),
    ("{name: '$(id)'}", "name"),
    ("{name: -x}", "name"),
    ("{name: ada, gecos: 'a:b'}", "gecos"),
    ('{name: ada, gecos: "a\\nroot2:x:0:0"}', "gecos"),
    ("{name: ada, shell: 'sh'}", "shell"),
    ("{name: ada, shell: '/bin/sh:x'}", "shell"),
    ("{name: ada, homedir: /proc/x}", "homedir"),
    ("{name: ada, homedir: '/srv/../etc'}", "homedir"),
    ("{name: ada, expiredate: 2032-13-01}", "expiredate"),
    ("{name: ada, expiredate: '--help'}", "expiredate"),
    ("{name: ada, primary_group: 'a,b'}", "primary_group"),
    ("{name: ada, groups: ['a b']}", "groups[0]"),
    ("{name: ada, groups: ['-x']}", "groups[0]"),
]


@pytest.mark.parametrize(("entry", "field"), BAD, ids=[entry for entry, _ in BAD])
def test_a_bad_value_is_an_error_at_its_place_and_all_else_counts(entry: str, field: str) -> None:
    resources, problems = plan_of(f"users:\n- {entry}\n- {{name: ben, shell: /bin/sh}}\n")
    (problem,) = problems
    assert problem.severity == "error"
    assert problem.key.startswith(f"users[0].{field} (line 3, ")
    assert "root2" not in problem.reason
    made = users(resources)
    assert made["ben"].shell == "/bin/sh"
    for user in made.values():
        words = (user.name, user.gecos, user.shell, *user.groups, *user.arguments)
        assert all(word.isprintable() and ":" not in word for word in words)


@pytest.mark.parametrize("field", sorted(set(USER.fields) - {"name"}))
@pytest.mark.parametrize("value", ["[{a: [b]}]", "{a: {b: c}}", "1.5", "[[]]"])
def test_a_wrong_field_costs_no_user(field: str, value: str) -> None:
    """The rest of the user is made, whatever is wrong with one field."""
    text = f"users:\n- name: ada\n  {field}: {value}\n- {{name: ben, {field}: {value}}}\n"
    resources, problems = plan_of(text)
    made = users(resources)
    assert list(made) == ["ada", "ben"]
    told = [problem for problem in problems if problem.key.startswith(f"users[0].{field}")]
    assert told or value == "1.5" or field in ("groups", "sudo", "doas", "ssh_authorized_keys")
    for user in made.values():
        assert all(word.isprintable() for word in (*user.groups, *user.arguments))


@pytest.mark.parametrize(
    "field",
    [
        *("inactive: false", "inactive: ''", "inactive: never", "expiredate: never"),
        *("expiredate: ''", "expiredate: false"),
    ],
)
def test_what_says_that_nothing_expires_is_left_out_with_a_warning(field: str) -> None:
    resources, problems = plan_of(
        f"users:\n- default\n- name: ada\n  {field}\n  shell: /bin/bash\n"
        f"  sudo: ALL=(ALL) NOPASSWD:ALL\n  ssh_authorized_keys: ['{KEY}']\n"
    )
    key = field.partition(":")[0]
    assert places(problems) == [("warning", f"users[1].{key} (line 5, column 3)")]
    ada = users(resources)["ada"]
    assert (ada.shell, ada.option(f"--{key}")) == ("/bin/bash", "")


def test_a_redirect_to_the_default_user_may_be_called_so() -> None:
    texts = [
        f"users: [default, {{name: ada, ssh_redirect_user: {value}}}]"
        for value in ("true", "default")
    ]
    (first, told), (second, told_too) = (plan_of(text, data=METADATA) for text in texts)
    assert [item.key for item in first] == [item.key for item in second]
    assert told == told_too
    assert "error" not in {problem.severity for problem in told}


@pytest.mark.parametrize(
    "more",
    [
        f"no_create_home: true, ssh_authorized_keys: ['{KEY}']",
        "system: true, ssh_redirect_user: true",
        f"ssh_redirect_user: true, ssh_authorized_keys: ['{KEY}']",
    ],
)
def test_what_contradicts_itself_makes_no_account(more: str) -> None:
    resources, problems = plan_of(f"users: [{{name: ada, {more}}}, ben]")
    assert places(problems) == [("error", "users[0].name (line 2, column 10)")]
    assert list(users(resources)) == ["ben"]


TREE = f"""users:
- default
- {{name: ada, gecos: Ada L, groups: [lab, sudo], shell: /bin/sh, uid: 1234,
   sudo: 'ALL=(ALL) NOPASSWD:ALL', ssh_authorized_keys: ['{OTHER}'], expiredate: 2032-09-01}}
- {{name: work, system: true, homedir: /srv/work}}
- {{name: sudo}}
groups:
- staff: [debian, ada]
"""


def test_a_tree_gets_accounts_groups_rules_and_keys(guest: Path, tmp_path: Path) -> None:
    real_accounts(guest, "sudo")
    drive = make_drive(tmp_path, TREE, public_keys={"k": KEY})
    planned = {change["summary"] for change in dry_run(drive, guest)["changes"]}
    assert {"add group lab", "add user ada", "add debian to group staff"} <= planned
    apply_twice(drive, guest)
    passwd, shadow = lines_of(guest, "passwd"), lines_of(guest, "shadow")
    assert passwd["ada"][2:] == ["1234", "1234", "Ada L", "/home/ada", "/bin/sh"]
    assert shadow["ada"][7] == "22889"  # days since 1970
    assert int(passwd["work"][2]) < 1000
    assert not (guest / "srv/work").exists()
    assert passwd["sudo"][3] == "27"
    members = {name: parts[3].split(",") for name, parts in lines_of(guest, "group").items()}
    assert (members["lab"], sorted(members["staff"])) == (["ada"], ["ada", "debian"])
    assert all(shadow[name][1].startswith("!") for name in ("ada", "work", "debian"))
    own = guest / "home/ada/.ssh/authorized_keys"
    assert OTHER in own.read_text()
    assert own.stat().st_uid == 1234
    assert KEY in (guest / "home/debian/.ssh/authorized_keys").read_text()
    rules = guest / defs.SUDOERS_USERS_FILE[1:]
    assert rules.read_text().endswith("\nada ALL=(ALL) NOPASSWD:ALL\n")
    assert rules.stat().st_mode & 0o7777 == 0o440
