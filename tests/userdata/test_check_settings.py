"""check(): deprecated and unknown names, null, items that are spoiled alone, marks."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestagent import defs
from guestagent.model import Setting
from guestagent.parse.userdata import keys
from userdata.key_samples import ORIGIN, VALID, check, checked, complaints, values

SECRET = "canary-4711"


def test_nothing_gives_nothing() -> None:
    assert check([]) == ((), [])


def test_a_deprecated_name_becomes_that_of_today_and_keeps_its_place() -> None:
    (setting,), problems = checked("\nca-certs:\n  remove-defaults: yes\n")
    assert problems == []
    assert setting.key == "ca_certs"
    assert setting.at("remove_defaults").key == "ca_certs.remove_defaults (line 3, column 3)"


def test_the_name_of_today_counts_where_both_are_given() -> None:
    found, problems = checked("ca-certs: {trusted: [a]}\nca_certs: {trusted: [b]}")
    assert [setting.value for setting in found] == [{"trusted": ["b"]}]
    assert [problem.text() for problem in problems] == [
        "drive: user_data: ca-certs (line 1, column 1): is an old name of ca_certs, which is also "
        "given; ignored"
    ]
    found, problems = checked("users: [{name: ada, lock-passwd: false, lock_passwd: true}]")
    assert found[0].value == [{"name": "ada", "lock_passwd": True}]
    assert [problem.severity for problem in problems] == ["warning"]


def test_an_old_name_counts_where_that_of_today_is_null() -> None:
    assert values("apt_update: true\npackage_update: null") == {"package_update": True}
    assert values("users: [{name: a, no-log-init: true, no_log_init: }]") == {
        "users": [{"name": "a", "no_log_init": True}]
    }


def test_old_names_of_apt_give_way_to_apt() -> None:
    found, problems = checked("apt: {proxy: a}\napt_proxy: b\napt_http_proxy: null")
    assert [setting.value for setting in found] == [{"proxy": "a"}]
    assert [(problem.severity, problem.key) for problem in problems] == [
        ("warning", "apt_proxy (line 2, column 1)")
    ]


def test_old_names_of_apt_keep_their_places() -> None:
    (setting,), _ = checked("apt_mirror: a\napt_sources:\n- source: b\n  filename: c.list")
    assert setting.at("primary", 0, "uri").key == "apt.primary[0].uri (line 1, column 1)"
    assert setting.at("sources", "c.list", "source").key == (
        "apt.sources.c.list.source (line 3, column 3)"
    )


def test_two_sources_of_one_file_both_count() -> None:
    text = "apt_sources: [{source: a, filename: x}, {source: b, filename: x}]"
    assert len(values(text)["apt"]["sources"]) == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("runcmds: [a]", "is unknown; ignored (did you mean runcmd?)"),
        ("write-files: []", "is unknown; ignored (did you mean write_files?)"),
        ("qqqq: 1", "is unknown; ignored"),
        ("users: [{name: ada, shel: /bin/sh}]", "is unknown; ignored (did you mean shell?)"),
        ("ssh_keys: {rsa_pubic: x}", "is unknown; ignored (did you mean rsa_public?)"),
    ],
)
def test_an_unknown_name_is_a_warning_with_the_nearest_one(text: str, reason: str) -> None:
    ((severity, _, said),) = complaints(text)
    assert (severity, said) == ("warning", reason)


def test_an_unknown_name_leaves_the_rest_as_it_is() -> None:
    found, _ = checked("users: [{name: ada, shel: /bin/sh}]\nhostnam: x\ntimezone: UTC")
    assert {setting.key: setting.value for setting in found} == {
        "users": [{"name": "ada"}],
        "timezone": "UTC",
    }


def test_null_is_the_same_as_not_given() -> None:
    found = {name: checked(f"{name}: null") for name in keys.KEYS}
    assert {name for name, result in found.items() if result != ((), [])} == {"ntp"}


def test_a_field_that_is_null_is_not_there() -> None:
    assert values("users: [{name: ada, uid: null}]") == {"users": [{"name": "ada"}]}


@pytest.mark.parametrize("name", ["merge_how", "merge_type"])
def test_rules_of_merging_are_not_for_this_check(name: str) -> None:
    assert check([Setting(name, "x", ORIGIN, {})]) == ((), [])


def test_a_bad_item_is_left_out_and_those_after_it_keep_their_places() -> None:
    text = "users:\n- default\n- uid: 1\n  name: [ada]\n  gecos: x\n- name: ben\n  uid: 7\n"
    (setting,), problems = checked(text)
    assert setting.value == [{"name": "default"}, {"name": "ben", "uid": 7}]
    assert [problem.key for problem in problems] == ["users[1].name (line 4, column 3)"]
    assert setting.at(1, "uid").key == "users[2].uid (line 7, column 3)"
    assert setting.at(1, "gecos").key == "users[2].gecos (line 6, column 3)"


def test_a_wrong_field_on_which_no_other_depends_costs_only_itself() -> None:
    text = "users:\n- name: ada\n  uid: [1]\n  groups: {adm: x}\n  sudo: a\n  gecos: x\n"
    (setting,), problems = checked(text)
    assert setting.value == [{"name": "ada", "groups": ["adm"], "sudo": ["a"], "gecos": "x"}]
    assert [problem.key for problem in problems] == [
        "users[0].uid (line 3, column 3)",
        "users[0].groups.adm (line 4, column 12)",
    ]
    assert setting.at(0, "gecos").key == "users[0].gecos (line 6, column 3)"
    assert not [path for path in setting.marks if path[:2] == (0, "uid")]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (
            "apt: {conf: [1], sources: {a: {source: deb x}}}",
            {"sources": {"a": {"source": "deb x"}}},
        ),
        ("chpasswd: {expire: [], list: 'a:b'}", {"list": ["a:b"]}),
        ("ntp: {pools: {a: b}, servers: [c]}", {"servers": ["c"]}),
        ("resolv_conf: {domain: [], nameservers: [192.0.2.1]}", {"nameservers": ["192.0.2.1"]}),
    ],
)
def test_fields_that_do_not_depend_on_each_other_spoil_none(text: str, left: object) -> None:
    (setting,), problems = checked(text)
    assert (setting.value, [problem.severity for problem in problems]) == (left, ["error"])


def test_an_item_without_a_field_that_it_needs_is_left_out() -> None:
    text = "chpasswd: {users: [{name: ada}, {password: x}, {name: ben, type: RANDOM}]}"
    (setting,), problems = checked(text)
    assert setting.value == {"users": [{"name": "ben", "type": "RANDOM"}]}
    assert [problem.key.split()[0] for problem in problems] == [
        "chpasswd.users[0].password",
        "chpasswd.users[1].name",
    ]


def test_what_is_left_out_leaves_no_places_behind() -> None:
    text = "apt:\n  primary:\n  - {arches: [5, x], uri: [bad]}\n  - {arches: y}\n"
    (setting,), problems = checked(text)
    assert setting.value == {"primary": [{"arches": ["y"]}]}
    assert [problem.key.split()[0] for problem in problems] == [
        "apt.primary[0].arches[0]",
        "apt.primary[0].uri",
    ]
    place = setting.at("primary", 0, "arches", 0)
    assert place.key == "apt.primary[1].arches[0] (line 4, column 6)"


def test_all_that_is_wrong_with_an_item_is_told() -> None:
    text = "write_files:\n- path: [x]\n  owner: 5\n- path: /srv/b\n"
    (setting,), problems = checked(text)
    assert setting.value == [{"path": "/srv/b"}]
    assert [problem.key for problem in problems] == [
        "write_files[0].path (line 2, column 3)",
        "write_files[0].owner (line 3, column 3)",
    ]


def test_a_command_that_is_wrong_spoils_all_of_them() -> None:
    """Those after it may rely on it."""
    found, problems = checked("runcmd:\n- [rm, -r, {}]\n- null\n- [echo, b]\n")
    assert found == ()
    assert [problem.key for problem in problems] == ["runcmd[0][2] (line 2, column 12)"]


def test_null_among_commands_is_none() -> None:
    (setting,), problems = checked("runcmd:\n- null\n- [echo, b]\n")
    assert (setting.value, problems) == ([["echo", "b"]], [])
    assert setting.at(0, 1).key == "runcmd[1][1] (line 3, column 10)"


def test_a_bad_entry_of_a_map_is_left_out() -> None:
    (setting,), problems = checked("apt:\n  sources:\n    a: x\n    b: {source: y}\n")
    assert setting.value == {"sources": {"b": {"source": "y"}}}
    assert [problem.key for problem in problems] == ["apt.sources.a (line 3, column 5)"]


def test_a_wrong_field_spoils_its_key_and_no_other() -> None:
    found, problems = checked("growpart: {mode: x}\ntimezone: UTC")
    assert [setting.key for setting in found] == ["timezone"]
    assert len(problems) == 1


@pytest.mark.parametrize(
    ("text", "path", "place"),
    [
        ("chpasswd:\n  list:\n  - ''\n  - a:b", ("list", 0), "chpasswd.list[0] (line 4, column 5)"),
        ("chpasswd:\n  list: |\n   a:b", ("list", 0), "chpasswd.list[0] (line 2, column 3)"),
        ("users:\n  a: no\n  b: {uid: 1}", (0, "uid"), "users[0].uid (line 3, column 7)"),
        ("users:\n- [a, b]\n- name: c", (2, "name"), "users[2].name (line 3, column 3)"),
        ("groups:\n- a\n- b: [c]", ("b", 0), "groups.b[0] (line 3, column 7)"),
        ("groups:\n  a: [c]", ("a", 0), "groups.a[0] (line 2, column 7)"),
        ("packages:\n- a\n- apt:\n  - b", (1,), "packages[1] (line 4, column 5)"),
        ("ssh_authorized_keys: x", (0,), "ssh_authorized_keys[0] (line 1, column 1)"),
        ("user: ada", ("name",), "user.name (line 1, column 1)"),
    ],
)
def test_marks_lead_from_the_new_form_to_the_text(
    text: str, path: tuple[str | int, ...], place: str
) -> None:
    (setting,), problems = checked(text)
    assert problems == []
    assert setting.at(*path).key == place


@pytest.mark.parametrize(
    ("text", "value"),
    [("[chmod, 0755, x]", ["chmod", "493", "x"]), ("[install, 1.10]", ["install", "1.1"])],
)
def test_a_number_that_may_have_been_written_otherwise_is_a_warning(
    text: str, value: list[str]
) -> None:
    (setting,), problems = checked(f"runcmd: [{text}]")
    assert setting.value == [value]
    assert [(problem.severity, problem.key) for problem in problems] == [
        ("warning", f"runcmd[0][1] (line 1, column {text.index(',') + 12})")
    ]


@pytest.mark.parametrize("word", ["true", "yes", "True"])
def test_a_boolean_among_the_words_of_a_command_is_cloud_inits_word_and_a_warning(
    word: str,
) -> None:
    (setting,), problems = checked(f"runcmd: [[systemctl, {word}, off]]")
    assert setting.value == [["systemctl", "True", "False"]]
    assert [(problem.severity, problem.key.split()[0]) for problem in problems] == [
        ("warning", "runcmd[0][1]"),
        ("warning", "runcmd[0][2]"),
    ]


@pytest.mark.parametrize(
    ("written", "mode", "told"),
    [
        *(("0644", "0644", False), ("0777", "0777", False), ("'644'", "644", False)),
        *(("644", "644", True), ("420", "420", True), ("400", "400", True)),
        *(("1777", "1777", True), ("644.0", "644", True), ("0", "0", False)),
        *(("493", "0755", False), ("0x1a4", "420", True)),
    ],
)
def test_permissions_are_octal_digits_however_they_are_written(
    written: str, mode: str, told: bool
) -> None:
    (setting,), problems = checked(f"write_files: [{{path: /a, permissions: {written}}}]")
    assert setting.value[0]["permissions"] == mode
    assert [problem.severity for problem in problems] == ["warning"] * told


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "rot13"])
def test_an_encoding_that_is_not_known_is_none_with_a_warning(encoding: str) -> None:
    (setting,), problems = checked(f"write_files: [{{path: /a, encoding: {encoding}}}]")
    assert setting.value == [{"path": "/a", "encoding": "text/plain"}]
    assert [problem.severity for problem in problems] == ["warning"]


def test_no_value_is_ever_told() -> None:
    for name in (*keys.KEYS, *keys.OLD_NAMES, *keys.OLD_APT, *keys.UNSUPPORTED, *keys.IGNORED, "x"):
        for value in (SECRET, [SECRET], {"a b": SECRET}, {f"{SECRET}!": 1}, [{"n": SECRET}]):
            _, problems = check([Setting(name, value, ORIGIN, {})])
            assert SECRET not in "".join(problem.text() for problem in problems), (name, value)


def test_names_that_are_no_plain_words_are_not_told() -> None:
    text = "users:\n- name: ada\n  'a\x1b[31m': 1\n".replace("\x1b", "\\e").replace("'", '"')
    assert complaints(text) == [("warning", "users[0].? (line 3, column 3)", "is unknown; ignored")]
    setting = Setting("a\nb", 1, ORIGIN, {(): (1, 1)})
    (problem,) = check([setting])[1]
    assert problem.text() == "drive: user_data: ? (line 1, column 1): is unknown; ignored"


def test_thousands_of_problems_are_not_told_one_by_one() -> None:
    found, problems = check([Setting("users", [5] * 5000, ORIGIN, {})])
    assert [setting.value for setting in found] == [[]]
    assert len(problems) == defs.MAX_PROBLEMS + 1
    reason = "4900 more problems are not listed; correct those that are, and look again"
    assert problems[-1] == ORIGIN.error(reason)


def test_the_part_of_a_document_is_told() -> None:
    origin = ORIGIN._replace(key="part-002")
    (problem,) = check([Setting("timezone", [], origin, {(): (3, 1)})])[1]
    assert problem.key == "part-002: timezone (line 3, column 1)"


def test_the_difference_of_names_is_only_looked_for_where_it_is_needed() -> None:
    sys.modules.pop("difflib", None)
    for text, _ in VALID:
        checked(text)
    assert "difflib" not in sys.modules


_SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary()
)
_NAMES = st.sampled_from(
    sorted({*keys.KEYS, *keys.OLD_NAMES, *keys.OLD_APT, "name", "list", "apt"})
)
_DOCUMENTS = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(_NAMES | st.text(max_size=5) | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(_NAMES, _DOCUMENTS, max_size=4))
def test_any_document_is_checked(document: dict[str, object]) -> None:
    given_ = [Setting(name, value, ORIGIN, {}) for name, value in document.items()]
    found, problems = check(given_)
    assert {setting.key for setting in found} <= keys.KEYS.keys()
    assert all(problem.severity in ("error", "warning") for problem in problems)
