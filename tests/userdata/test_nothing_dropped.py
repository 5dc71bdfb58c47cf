"""Each part of each key does something, or a problem says that it does not.

The documents below give every field another value than its default; a part that could be left
out without a difference would be dropped in silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import rig
import yaml

from guestagent.parse.userdata import keys

from .dropping import dropped, outcome, paths, place

KEY = rig.KEY
DOCUMENTS = {
    "names": """
hostname: other
fqdn: web-1.lab.example
prefer_fqdn_over_hostname: true
manage_etc_hosts: true
""",
    "preserved name": "{preserve_hostname: true, hostname: web-1}",
    "language and time": """
timezone: Europe/Berlin
locale: de_DE.UTF-8
locale_configfile: /etc/locale.conf
keyboard: {layout: de, model: pc104, variant: nodeadkeys, options: "compose:rwin"}
""",
    "ntp of chrony": """
ntp:
  ntp_client: chrony
  pools: [p.example, q.example]
  servers: [s.example, 192.0.2.1]
  peers: [r.example]
  allow: [192.0.2.0/24]
""",
    "ntp of timesyncd": """
ntp:
  ntp_client: systemd-timesyncd
  pools: [p.example]
  servers: [s.example]
  peers: [r.example]
  allow: [192.0.2.0/24]
""",
    "ntp of no kind": "ntp: {enabled: false}",
    "ntp of an unknown kind": """
ntp:
  config: {confpath: /etc/x, check_exe: x, packages: [x], service_name: x, template: y}
""",
    "resolv_conf": """
manage_resolv_conf: true
resolv_conf:
  nameservers: [192.0.2.1, "2001:db8::1"]
  searchdomains: [a.example, b.example]
  sortlist: [192.0.2.0/24]
  options: {rotate: true, ndots: 2}
""",
    "resolv_conf's domain": """
manage_resolv_conf: true
resolv_conf: {nameservers: [192.0.2.1], domain: lab.example}
""",
    "disks": """
growpart: {mode: growpart, devices: [/, /srv], ignore_growroot_disabled: true}
resize_rootfs: noblock
mounts:
- [vdb, /srv, xfs, noatime, "2", "4"]
- [vdc, /opt]
mount_default_fields: [null, null, ext4, "nofail,noexec", "1", "3"]
swap: {filename: /swap, size: auto, maxsize: 2G}
""",
    "no growing": "{growpart: {mode: 'off'}, resize_rootfs: false}",
    "accounts": f"""
groups: {{lab: [root, ada], ops: []}}
users:
- name: ada
  gecos: Ada
  groups: [adm, more]
  homedir: /srv/ada
  no_log_init: true
  shell: /bin/zsh
  uid: 1111
  expiredate: "2032-09-01"
  inactive: 5
  lock_passwd: false
  passwd: $6$salt$hashhashhash
  sudo: ["ALL=(ALL) ALL", "ALL=(root) NOPASSWD: /bin/ls"]
  doas: [permit ada as root]
  selinux_user: staff_u
  ssh_authorized_keys: ["{KEY}"]
- {{name: ben, primary_group: lab, plain_text_passwd: word, lock_passwd: false}}
- {{name: cyd, no_user_group: true, no_create_home: true, create_groups: false, groups: [none]}}
- {{name: dan, hashed_passwd: $6$salt$hashhash, lock_passwd: false, ssh_redirect_user: true}}
- {{name: eve, system: true}}
- {{name: fay, snapuser: a@b.example, ssh_import_id: "gh:fay"}}
""",
    "the default user of cloud-init's own settings": """
system_info:
  default_user: {name: gus, groups: [adm, more], shell: /bin/zsh}
""",
    "the default user": f"""
user:
  name: gus
  gecos: Gus
  groups: [adm, more]
  primary_group: users
  homedir: /srv/gus
  no_create_home: true
  no_log_init: true
  shell: /bin/zsh
  uid: 1111
  expiredate: "2032-09-01"
  inactive: 5
  sudo: ALL=(ALL) ALL
  doas: [permit gus]
  selinux_user: staff_u
password: word
ssh_authorized_keys: ["{KEY}"]
""",
    "passwords": """
users: [default, {name: ada, lock_passwd: false}, {name: ben, lock_passwd: false}]
chpasswd:
  expire: false
  users:
  - {name: ada, password: word, type: text}
  - {name: ben, type: RANDOM}
  list: ["root:word", "debian:RANDOM"]
ssh_pwauth: true
""",
    "ssh": """
disable_root_opts: no-pty,command="echo no"
ssh_deletekeys: false
ssh_genkeytypes: [ed25519]
""",
    "root": "disable_root: false",
    "no keys of the metadata": "allow_public_ssh_keys: false",
    "two mounts of one place": "mounts: [[vdb, /srv, xfs], [vdc, /srv, ext4]]",
    "vendor data": "{vendor_data: {enabled: false}, vendor_data2: {enabled: false}}",
    "packages of another system": "packages: [{dnf: [nano]}]",
    "files": """
write_files:
- {path: /srv/a, content: aGk=, encoding: base64, owner: "games:games", permissions: "0750"}
- {path: /srv/b, content: text, append: true}
- {path: /srv/c, content: text, defer: true}
- {path: /srv/d, source: {uri: "http://a.example"}}
- {path: /srv/e, content: text}
- {path: /srv/e, content: more, append: true}
""",
    "commands": """
bootcmd: [echo a, [echo, b]]
runcmd: [echo a, [echo, b]]
final_message: up after $UPTIME
phone_home: {url: "http://a.example/", post: [hostname, pub_key_rsa], tries: 3}
power_state: {mode: halt, delay: 5, message: bye, timeout: 60, condition: [test, -e, /srv]}
""",
    "packages": """
package_update: true
package_reboot_if_required: true
package_upgrade: true
packages: [git, [nginx, 1.22.1-9], {apt: [less, [vim, "2:9"]], snap: [hello]}]
""",
    "only lists of packages": "{package_update: true}",
    "apt": """
apt:
  conf: A::B "1";
  proxy: http://p.example
  http_proxy: http://o.example
  https_proxy: http://q.example
  ftp_proxy: http://r.example
  generate_mirrorlists: true
  add_apt_repo_match: x
  primary: [{arches: [amd64], uri: "http://m.example/debian"}]
  security: [{arches: [default], uri: "http://n.example/debian", keyid: AB12, keyserver: k}]
  disable_suites: [updates]
  debconf_selections: {set1: a a/b string c}
  sources:
    lab: {source: "deb http://lab.example trixie main", filename: other.list}
    shared: {source: "deb http://a.example trixie main", filename: other.list, append: false}
    key: {source: "deb http://b.example trixie main", keyid: AB12, keyserver: k.example}
""",
    "apt left alone": """
apt:
  preserve_sources_list: true
  primary: [{arches: [default], uri: "http://m.example/debian"}]
  security: [{arches: [default], uri: "http://n.example/debian"}]
  sources_list: deb http://deb.example trixie main
  disable_suites: [updates]
""",
    "apt with a template": "apt: {sources_list: 'deb $MIRROR $RELEASE main'}",
    "mirrors to be searched for": """
apt:
  primary: [{arches: [default], search: ["http://m.example"]}]
  security: [{arches: [default], search_dns: true}]
""",
    "mirrors to be searched for the other way": """
apt:
  primary: [{arches: [default], search_dns: true}]
  security: [{arches: [default], search: ["http://m.example"]}]
""",
    "certificates": "ca_certs: {remove_defaults: true, trusted: [none, none]}",
    "vendor data by prefix": """
vendor_data: {enabled: true, prefix: [a]}
vendor_data2: {enabled: true, prefix: a}
""",
}
# What a problem names in each document; in the others nothing is wrong.
TOLD = {
    "ntp of timesyncd": "ntp.peers ntp.allow",
    "ntp of an unknown kind": "ntp.config",
    "accounts": "users[5].snapuser users[5].ssh_import_id users[0].selinux_user users[2].groups[0] "
    "users[3].ssh_redirect_user",
    "the default user": "user.selinux_user",
    "passwords": "chpasswd.users[1] chpasswd.list[1]",
    "two mounts of one place": "mounts[0]",
    "files": "write_files[3].source",
    "packages": "packages[2].snap",
    "apt": "apt.security[0].keyid apt.sources.lab apt.sources.key apt.add_apt_repo_match "
    "apt.generate_mirrorlists",
    "apt left alone": "apt.primary apt.security apt.sources_list apt.disable_suites",
    "mirrors to be searched for": "apt.primary[0] apt.security[0]",
    "mirrors to be searched for the other way": "apt.primary[0] apt.security[0]",
    "certificates": "ca_certs.trusted[0] ca_certs.trusted[1]",
    "vendor data by prefix": "vendor_data.prefix vendor_data2.prefix",
}
# Parts that may be left out without a difference, and why.
ALLOWED = {
    ("preserved name", "hostname"): "the other key says so",
    ("ntp of chrony", "ntp.ntp_client"): "chrony is taken first where it is installed",
    ("ntp of no kind", "ntp"): "it asks for nothing",
    ("disks", "growpart.mode"): "growpart is taken first where it is installed",
    ("passwords", "users[1].lock_passwd"): "a password that is set by another key is not locked",
    ("passwords", "users[2].lock_passwd"): "a password that is set by another key is not locked",
    ("no keys of the metadata", "allow_public_ssh_keys"): "what it takes away is not shown",
    ("vendor data", "vendor_data"): "there is none here",
    ("vendor data", "vendor_data.enabled"): "there is none here",
    ("vendor data", "vendor_data2"): "there is none here",
    ("vendor data", "vendor_data2.enabled"): "there is none here",
    ("packages of another system", "packages"): "this is a Debian",
    ("packages of another system", "packages[0]"): "this is a Debian",
    ("packages of another system", "packages[0].dnf"): "this is a Debian",
    ("packages of another system", "packages[0].dnf[0]"): "this is a Debian",
    ("ssh", "disable_root_opts"): "root gets no keys, by the settings",
    ("packages", "package_update"): "packages need it anyway",
    ("commands", "power_state.timeout"): "the step that switches off is the last one of all",
    ("apt", "apt.security[0].keyserver"): "the keyid beside it cannot be used",
    ("apt", "apt.security[0].uri"): "the keyid beside it cannot be used",
    ("vendor data by prefix", "vendor_data.enabled"): "true is the default",
    ("vendor data by prefix", "vendor_data2.enabled"): "true is the default",
}
# Fields that need real keys, or are those of ``users`` again.
ELSEWHERE = (
    *("ssh_keys", "apt.sources.key", "apt.primary.key", "apt.security.key"),
    *("user.", "system_info.default_user."),
)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_nothing_is_dropped_in_silence(name: str) -> None:
    allowed = {path for document, path in ALLOWED if document == name}
    assert dropped(yaml.safe_load(DOCUMENTS[name])) == allowed


@pytest.mark.parametrize("name", DOCUMENTS)
def test_nothing_is_refused_that_is_known(name: str) -> None:
    verdict, _ = outcome(yaml.safe_load(DOCUMENTS[name]))
    told = {place(problem.key) for problem in verdict.problems}
    assert told == set(TOLD.get(name, "").split())


def test_every_field_of_every_key_stands_in_a_document() -> None:
    documents = [yaml.safe_load(text) for text in DOCUMENTS.values()]
    given = {
        ".".join(step for step in path if isinstance(step, str))
        for document in documents
        for path in paths(document)
    }
    missing = {name for key in keys.KEYS for name in fields(key)} - given
    assert {name for name in missing if not name.startswith(ELSEWHERE)} == set()


def fields(key: str) -> set[str]:
    """The dotted names of a key of cloud-config and of all its fields."""
    return {key, *_fields(keys.KEYS[key].json(), f"{key}.")}


def _fields(schema: dict[str, Any], above: str) -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        if not field.get("deprecated") and field.get("type") != "null":
            yield above + name
            yield from _fields(field, f"{above}{name}.")
    for inner in (*filter(None, (schema.get("items"),)), *schema.get("anyOf", ())):
        yield from _fields(inner, above)
