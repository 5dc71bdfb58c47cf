"""Every key of cloud-config: what is taken, what it becomes, and where a wrong type is."""

from __future__ import annotations

from typing import Any

import pytest
import rig

from guestagent.parse.userdata import keys
from userdata.key_samples import VALID, checked, complaints, values

QUOTES = "must be a string: put it in quotes"
FLAG = "must be true or false"
STRINGS = "must be a list of strings"
ENABLED = "must be a mapping such as {enabled: false}"

WRONG = [
    ("hostname: [a]", "hostname (line 1, column 1)", "must be a string"),
    ("fqdn: true", "fqdn (line 1, column 1)", QUOTES),
    ("prefer_fqdn_over_hostname: maybe", "prefer_fqdn_over_hostname (line 1, column 1)", FLAG),
    ("preserve_hostname: []", "preserve_hostname (line 1, column 1)", FLAG),
    (
        "manage_etc_hosts: remote",
        "manage_etc_hosts (line 1, column 1)",
        "must be true, false or localhost",
    ),
    ("timezone: 5", "timezone (line 1, column 1)", QUOTES),
    ("locale: true", "locale (line 1, column 1)", "must be false"),
    ("locale: []", "locale (line 1, column 1)", "must be false or a string"),
    ("locale_configfile: {}", "locale_configfile (line 1, column 1)", "must be a string"),
    ("keyboard: de", "keyboard (line 1, column 1)", "must be a mapping such as {layout: de}"),
    ("keyboard:\n  model: pc105", "keyboard.layout (line 1, column 1)", "is missing"),
    ("keyboard:\n  layout: null", "keyboard.layout (line 2, column 3)", "is missing"),
    ("ntp:\n  pools: {a: b}", "ntp.pools (line 2, column 3)", STRINGS),
    ("ntp:\n  config:\n    packages: 5", "ntp.config.packages (line 3, column 5)", STRINGS),
    ("manage_resolv_conf: 2", "manage_resolv_conf (line 1, column 1)", FLAG),
    (
        "resolv_conf:\n  options:\n    ndots: []",
        "resolv_conf.options.ndots (line 3, column 5)",
        "must be true or false or a whole number or a string",
    ),
    (
        "growpart:\n  mode: grow",
        "growpart.mode (line 2, column 3)",
        "must be auto, growpart, gpart or off",
    ),
    ("growpart: auto", "growpart (line 1, column 1)", "must be a mapping such as {mode: auto}"),
    (
        "resize_rootfs: later",
        "resize_rootfs (line 1, column 1)",
        "must be true, false or noblock",
    ),
    ("mounts: [vdb]", "mounts[0] (line 1, column 10)", STRINGS),
    (
        "mounts:\n- [a, b, c, d, e, f, g]",
        "mounts[0] (line 2, column 3)",
        "must have 1 to 6 items",
    ),
    ("mounts:\n- [vdb,\n   {}]", "mounts[0][1] (line 3, column 4)", "must be a string"),
    (
        "mount_default_fields: [a]",
        "mount_default_fields (line 1, column 1)",
        "must have 6 items",
    ),
    (
        "device_aliases: [vdb]",
        "device_aliases (line 1, column 1)",
        "must be a mapping",
    ),
    (
        "disk_setup:\n  vdb: {layout: [-1]}",
        "disk_setup.vdb.layout[0] (line 2, column 18)",
        "must be at least 1",
    ),
    ("fs_setup:\n- {label: x}", "fs_setup[0].device (line 2, column 3)", "is missing"),
    ("swap:\n  size: true", "swap.size (line 2, column 3)", "must be a whole number or a string"),
    ("swap:\n  size: -1", "swap.size (line 2, column 3)", "must be at least 0"),
    (
        "users: 5",
        "users (line 1, column 1)",
        "must be a list of strings or lists of strings or mappings or a string or a mapping",
    ),
    ("users:\n- uid: 5", "users[0].name (line 2, column 3)", "is missing"),
    (
        "users:\n- name: ada\n  uid: many",
        "users[0].uid (line 3, column 3)",
        "must be a whole number",
    ),
    (
        "users:\n- name: ada\n  sudo: true",
        "users[0].sudo (line 3, column 3)",
        "must be false, null or a rule such as ALL=(ALL) NOPASSWD:ALL",
    ),
    (
        "users:\n- name: ada\n  groups: {kvm: 1}",
        "users[0].groups.kvm (line 3, column 12)",
        "takes no value",
    ),
    ("user:\n  shell: [x]", "user.shell (line 2, column 3)", "must be a string"),
    ("system_info: debian", "system_info (line 1, column 1)", "must be a mapping"),
    (
        "system_info:\n  default_user: ada",
        "system_info.default_user (line 2, column 3)",
        "must be a mapping",
    ),
    ("groups: {lab: {}}", "groups.lab (line 1, column 10)", STRINGS),
    ("password: [x]", "password (line 1, column 1)", "must be a string"),
    (
        "chpasswd:\n  list:\n  - root: passw0rd",
        "chpasswd.list[0] (line 3, column 5)",
        "must be a string",
    ),
    (
        "chpasswd:\n  users:\n  - name: ada",
        "chpasswd.users[0].password (line 3, column 5)",
        "is missing; only type: RANDOM needs none",
    ),
    (
        "chpasswd:\n  users:\n  - {name: ada, type: clear, password: x}",
        "chpasswd.users[0].type (line 3, column 17)",
        "must be hash, text or RANDOM",
    ),
    ("ssh_pwauth: maybe", "ssh_pwauth (line 1, column 1)", FLAG),
    ("disable_root: {}", "disable_root (line 1, column 1)", FLAG),
    ("disable_root_opts: 1", "disable_root_opts (line 1, column 1)", QUOTES),
    ("allow_public_ssh_keys: never", "allow_public_ssh_keys (line 1, column 1)", FLAG),
    (
        "ssh_authorized_keys:\n- ok\n- [no]",
        "ssh_authorized_keys[1] (line 3, column 3)",
        "must be a string",
    ),
    ("ssh_keys:\n  rsa_private: {}", "ssh_keys.rsa_private (line 2, column 3)", "must be a string"),
    ("ssh_import_id: 2", "ssh_import_id (line 1, column 1)", "must be a list of strings"),
    ("ssh_deletekeys: 2", "ssh_deletekeys (line 1, column 1)", FLAG),
    (
        "ssh_genkeytypes: [rsa1]",
        "ssh_genkeytypes[0] (line 1, column 19)",
        "must be rsa, ecdsa, ed25519 or dsa",
    ),
    ("write_files: {}", "write_files (line 1, column 1)", "must be a list of mappings"),
    ("write_files:\n- content: x", "write_files[0].path (line 2, column 3)", "is missing"),
    (
        "write_files:\n- path: /a\n  encoding: 64",
        "write_files[0].encoding (line 3, column 3)",
        "must be text/plain, base64, gzip or gzip+base64",
    ),
    (
        "write_files:\n- path: /a\n  permissions: true",
        "write_files[0].permissions (line 3, column 3)",
        "must be a whole number or a string",
    ),
    (
        "bootcmd: echo",
        "bootcmd (line 1, column 1)",
        "must be a list of strings or lists of strings",
    ),
    (
        "runcmd:\n- a: b",
        "runcmd[0] (line 2, column 3)",
        "must be a string or a list of strings; a colon and a space make a mapping: put the "
        "command in quotes; none of the commands is run",
    ),
    (
        "runcmd:\n- 5",
        "runcmd[0] (line 2, column 3)",
        "must be a string or a list of strings; none of the commands is run",
    ),
    (
        "runcmd:\n- [rm, [x]]",
        "runcmd[0][1] (line 2, column 8)",
        "must be a string; none of the commands is run",
    ),
    ("power_state: {}", "power_state.mode (line 1, column 1)", "is missing"),
    (
        "power_state:\n  mode: reboot\n  delay: soon",
        "power_state.delay (line 3, column 3)",
        "must be a whole number",
    ),
    (
        "phone_home:\n  url: x\n  post: [pub_key_xmss]",
        "phone_home.post[0] (line 3, column 10)",
        "must be instance_id, hostname, fqdn, pub_key_rsa, pub_key_ecdsa, pub_key_ed25519 or "
        "pub_key_dsa",
    ),
    ("final_message: []", "final_message (line 1, column 1)", "must be a string"),
    ("vendor_data: false", "vendor_data (line 1, column 1)", ENABLED),
    ("vendor_data2: []", "vendor_data2 (line 1, column 1)", ENABLED),
    (
        "vendor_data:\n  prefix: nice",
        "vendor_data.prefix (line 2, column 3)",
        "is not supported: vendor scripts run as they are",
    ),
    ("package_update: daily", "package_update (line 1, column 1)", FLAG),
    ("package_upgrade: daily", "package_upgrade (line 1, column 1)", FLAG),
    ("apt_upgrade: daily", "apt_upgrade (line 1, column 1)", FLAG),
    (
        "package_reboot_if_required: []",
        "package_reboot_if_required (line 1, column 1)",
        FLAG,
    ),
    ("packages:\n- [a, b, c]", "packages[0] (line 2, column 3)", "must have 1 to 2 items"),
    ("yum_repos:\n  a: x", "yum_repos.a (line 2, column 3)", "must be a mapping"),
    ("yum_repo_dir: []", "yum_repo_dir (line 1, column 1)", "must be a string"),
    (
        "packages:\n- snap: [x]",
        "packages[0].snap (line 2, column 3)",
        "is not supported: use runcmd with snap install",
    ),
    (
        "apt:\n  primary:\n  - uri: x",
        "apt.primary[0].arches (line 3, column 5)",
        "is missing",
    ),
    (
        "apt:\n  sources:\n    a: deb x",
        "apt.sources.a (line 3, column 5)",
        "must be a mapping",
    ),
    ("apt_proxy: []", "apt.proxy (line 1, column 1)", "must be a string"),
    ("ca_certs:\n  trusted: {}", "ca_certs.trusted (line 2, column 3)", STRINGS),
]


@pytest.mark.parametrize(("text", "expected"), VALID, ids=[text for text, _ in VALID])
def test_what_cloud_init_takes_is_taken(text: str, expected: dict[str, Any]) -> None:
    assert values(text) == expected


@pytest.mark.parametrize(("text", "place", "reason"), WRONG, ids=[wrong[0] for wrong in WRONG])
def test_a_wrong_type_is_an_error_at_its_place(text: str, place: str, reason: str) -> None:
    assert complaints(text) == [("error", place, reason)]


def test_each_key_has_samples_of_both_kinds() -> None:
    taken = {key for _, expected in VALID for key in expected}
    assert keys.KEYS.keys() - taken == set()
    refused = {place.split()[0].split(".")[0].split("[")[0] for _, place, _ in WRONG}
    assert keys.KEYS.keys() - refused - set(keys.OLD_NAMES.values()) == set()


def test_what_is_not_supported_is_refused_with_advice() -> None:
    expected = {
        name: [("error", f"{name} (line 1, column 1)", f"is not supported: {advice}")]
        for name, advice in keys.UNSUPPORTED.items()
    }
    assert len(expected) > 20
    assert {name: complaints(f"{name}: {{a: b}}") for name in keys.UNSUPPORTED} == expected
    assert [name for name in keys.UNSUPPORTED if complaints(f"{name}:")] == []


def test_what_only_concerns_cloud_init_is_ignored_with_a_warning() -> None:
    expected = {
        name: [("warning", f"{name} (line 1, column 1)", reason)]
        for name, reason in keys.IGNORED.items()
    }
    assert len(expected) > 20
    assert {name: complaints(f"{name}: [a]") for name in keys.IGNORED} == expected


@pytest.mark.parametrize("name", ["snapuser"])
def test_a_user_counts_without_the_fields_that_are_refused(name: str) -> None:
    found, problems = checked(f"users:\n- name: ada\n  {name}: ['gh:ada']")
    assert [setting.value for setting in found] == [[{"name": "ada"}]]
    assert problems[0].severity == "error"
    assert problems[0].key == f"users[0].{name} (line 3, column 3)"


@pytest.mark.parametrize("keys_of", ["ssh_authorized_keys", "ssh-authorized-keys"])
@pytest.mark.parametrize("name", ["snapuser"])
@pytest.mark.parametrize(
    "document", ["users: [{name: ada, %s}]", "users: {ada: {%s}}", "user: {%s}"]
)
def test_beside_keys_of_its_own_that_is_a_warning_only(
    document: str, name: str, keys_of: str
) -> None:
    for given, severity in (("KEY", "warning"), ("[KEY]", "warning"), ("[]", "error")):
        fields = f"{name}: 'gh:ada', {keys_of}: {given}"
        (problem,) = complaints(document % fields)
        assert problem[0] == severity


@pytest.mark.parametrize(
    ("field", "advice"), [("password", "plain_text_passwd"), ("chpasswd", "at the top level")]
)
def test_what_is_no_field_of_a_user_is_a_warning_that_says_what_is(field: str, advice: str) -> None:
    ((severity, key, reason),) = complaints(f"users: [{{name: ada, {field}: {{a: b}}}}]")
    assert (severity, key) == ("warning", f"users[0].{field} (line 1, column 21)")
    assert advice in reason


def test_the_rest_of_system_info_is_for_cloud_init_only() -> None:
    text = "system_info:\n  distro: debian\n  paths: {run_dir: /run}\n  default_user: {name: ada}\n"
    (setting,), problems = checked(text)
    assert setting.value == {"default_user": {"name": "ada"}}
    assert setting.at("default_user", "name").key.endswith("(line 4, column 18)")
    assert [(problem.severity, problem.reason) for problem in problems] == 2 * [
        ("warning", "only concerns cloud-init itself; ignored")
    ]


def test_a_file_may_have_a_source() -> None:
    (setting,), problems = checked(
        "write_files: [{path: /a, source: {uri: 'https://lab.example/a', headers: {X-A: b}}}]"
    )
    assert problems == []
    assert setting.value[0]["source"] == {"uri": "https://lab.example/a", "headers": {"X-A": "b"}}
    (problem,) = complaints("write_files: [{path: /a, source: {headers: {}}}]")
    assert problem[0] == "error"


def test_the_documentation_names_every_key() -> None:
    text = (rig.REPOSITORY / "docs" / "user-data.md").read_text()
    table = text.partition("\n## Keys\n")[2].partition("\n## ")[0]
    missing = [name for name in (*keys.KEYS, *keys.UNSUPPORTED) if f"`{name}`" not in table]
    assert missing == []
