"""Cloud-config for the tests of its keys: text, and what check() makes of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from guestagent.errors import Origin, Problem, Problems
from guestagent.model import Setting
from guestagent.parse.userdata import check_settings, yamltree
from guestagent.parse.userdata.merge_parts import ConfigPart, merge

ORIGIN = Origin("drive", "user_data", "")


def settings(text: str) -> list[Setting]:
    """The settings of a document, as they come to check()."""
    problems = Problems()
    found = merge([ConfigPart(yamltree.load(text.encode()), ORIGIN)], problems)
    assert problems.problems == []
    return list(found.values())


def check(settings: Iterable[Setting]) -> tuple[tuple[Setting, ...], list[Problem]]:
    """The settings that can be used, and all problems."""
    problems = Problems()
    return check_settings.check(settings, problems), problems.problems


def checked(text: str) -> tuple[tuple[Setting, ...], list[Problem]]:
    return check(settings(text))


def values(text: str) -> dict[str, Any]:
    """Names and values after check(), which has nothing to say."""
    found, problems = checked(text)
    assert [problem.text() for problem in problems] == []
    return {setting.key: setting.value for setting in found}


def complaints(text: str) -> list[tuple[str, str, str]]:
    return [(problem.severity, problem.key, problem.reason) for problem in checked(text)[1]]


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample ada@lab"

VALID: list[tuple[str, dict[str, Any]]] = [
    ("hostname: web-1", {"hostname": "web-1"}),
    ("hostname: ''\nfqdn: ' '\ntimezone: ''\nlocale: ''\npassword: ''", {}),
    (
        "users: [{name: a, sudo: '', passwd: '', hashed_passwd: '', plain_text_passwd: ''}]",
        {"users": [{"name": "a", "sudo": []}]},
    ),
    (
        "write_files: [{path: /a, encoding: ''}, {path: /b, encoding: GZ+B64}]",
        {"write_files": [{"path": "/a"}, {"path": "/b", "encoding": "gzip+base64"}]},
    ),
    ("fqdn: web-1.lab.example", {"fqdn": "web-1.lab.example"}),
    ("prefer_fqdn_over_hostname: true", {"prefer_fqdn_over_hostname": True}),
    ("preserve_hostname: 'No'", {"preserve_hostname": False}),
    ("manage_etc_hosts: localhost", {"manage_etc_hosts": "localhost"}),
    ("manage_etc_hosts: template", {"manage_etc_hosts": True}),
    ("timezone: Europe/Berlin", {"timezone": "Europe/Berlin"}),
    ("locale: de_DE.UTF-8", {"locale": "de_DE.UTF-8"}),
    ("locale: false", {"locale": False}),
    ("locale_configfile: /etc/default/locale", {"locale_configfile": "/etc/default/locale"}),
    (
        "keyboard: {layout: de, model: pc105, variant: nodeadkeys, options: 'compose:rwin'}",
        {
            "keyboard": {
                "layout": "de",
                "model": "pc105",
                "variant": "nodeadkeys",
                "options": "compose:rwin",
            }
        },
    ),
    ("ntp:", {"ntp": {}}),
    (
        "ntp: {enabled: true, ntp_client: chrony, pools: [p.example], servers: s.example}",
        {
            "ntp": {
                "enabled": True,
                "ntp_client": "chrony",
                "pools": ["p.example"],
                "servers": ["s.example"],
            }
        },
    ),
    (
        "ntp: {config: {confpath: /etc/x, packages: [x], service_name: x, template: y}}",
        {
            "ntp": {
                "config": {
                    "confpath": "/etc/x",
                    "packages": ["x"],
                    "service_name": "x",
                    "template": "y",
                }
            }
        },
    ),
    ("manage_resolv_conf: true", {"manage_resolv_conf": True}),
    (
        "resolv_conf: {nameservers: [192.0.2.1], domain: lab, options: {rotate: true, ndots: 2}}",
        {
            "resolv_conf": {
                "nameservers": ["192.0.2.1"],
                "domain": "lab",
                "options": {"rotate": True, "ndots": 2},
            }
        },
    ),
    ("growpart: {mode: off}", {"growpart": {"mode": "off"}}),
    ("device_aliases: {data: /dev/vdb}", {"device_aliases": {"data": "/dev/vdb"}}),
    (
        "disk_setup:\n  vdb: {table_type: dos, layout: [50, [50, 82]], overwrite: 'no'}",
        {
            "disk_setup": {
                "vdb": {"table_type": "mbr", "layout": [50, [50, 82]], "overwrite": False}
            }
        },
    ),
    ("disk_setup: {vdb: {layout: auto}}", {"disk_setup": {"vdb": {"layout": "auto"}}}),
    ("disk_setup: {vdb: {layout: true}}", {"disk_setup": {"vdb": {"layout": True}}}),
    (
        "fs_setup:\n- {device: data.1, filesystem: xfs, label: null, extra_opts: [-K]}",
        {"fs_setup": [{"device": "data.1", "filesystem": "xfs", "extra_opts": ["-K"]}]},
    ),
    (
        "fs_setup:\n- {device: vdb, partition: auto, cmd: mkfs %(device)s, overwrite: true}",
        {
            "fs_setup": [
                {"device": "vdb", "partition": "auto", "cmd": "mkfs %(device)s", "overwrite": True}
            ]
        },
    ),
    (
        "growpart: {mode: auto, devices: [/, /srv], ignore_growroot_disabled: false}",
        {"growpart": {"mode": "auto", "devices": ["/", "/srv"], "ignore_growroot_disabled": False}},
    ),
    ("resize_rootfs: noblock", {"resize_rootfs": "noblock"}),
    (
        "mounts:\n- [vdb, /srv, ext4, defaults, 0, 2]\n- [vdc, null]",
        {"mounts": [["vdb", "/srv", "ext4", "defaults", "0", "2"], ["vdc", None]]},
    ),
    (
        "mount_default_fields: [null, null, auto, 'defaults,nofail', '0', '2']",
        {"mount_default_fields": [None, None, "auto", "defaults,nofail", "0", "2"]},
    ),
    ("swap: {filename: /swap, size: auto}", {"swap": {"filename": "/swap", "size": "auto"}}),
    ("swap: {size: 1024, maxsize: 2G}", {"swap": {"size": 1024, "maxsize": "2G"}}),
    ("users: []", {"users": []}),
    ("users: default, ada", {"users": [{"name": "default"}, {"name": "ada"}]}),
    ("users: {ada: true, ben: false}", {"users": [{"name": "ada"}]}),
    ("users: {ada: {uid: 1001}}", {"users": [{"name": "ada", "uid": 1001}]}),
    (
        "users:\n- default\n- [ada, ben]\n- name: cyd\n  lock-passwd: 'false'\n  sudo: ALL=(ALL)"
        " ALL\n  groups: adm, audio\n  uid: '1002'\n  inactive: '5'\n  ssh-authorized-keys: " + KEY,
        {
            "users": [
                {"name": "default"},
                {"name": "ada"},
                {"name": "ben"},
                {
                    "name": "cyd",
                    "lock_passwd": False,
                    "sudo": ["ALL=(ALL) ALL"],
                    "groups": ["adm", "audio"],
                    "uid": 1002,
                    "inactive": 5,
                    "ssh_authorized_keys": [KEY],
                },
            ]
        },
    ),
    (
        "users: [{name: ada, sudo: false, groups: {adm: null, kvm: null}, expiredate: 2032-09-01}]",
        {
            "users": [
                {"name": "ada", "sudo": [], "groups": ["adm", "kvm"], "expiredate": "2032-09-01"}
            ]
        },
    ),
    (
        "users: [{name: ada, gecos: Ada, primary_group: lab, homedir: /srv/ada, shell: /bin/sh,\n"
        "  hashed_passwd: $6$salt$hash, no_create_home: true, no_user_group: true, system: true,\n"
        "  no_log_init: true, create_groups: false, selinux_user: staff_u, doas: [permit ada],\n"
        "  ssh_redirect_user: false, passwd: $6$x$y, plain_text_passwd: word}]",
        {
            "users": [
                {
                    "name": "ada",
                    "gecos": "Ada",
                    "primary_group": "lab",
                    "homedir": "/srv/ada",
                    "shell": "/bin/sh",
                    "hashed_passwd": "$6$salt$hash",
                    "no_create_home": True,
                    "no_user_group": True,
                    "system": True,
                    "no_log_init": True,
                    "create_groups": False,
                    "selinux_user": "staff_u",
                    "doas": ["permit ada"],
                    "ssh_redirect_user": False,
                    "passwd": "$6$x$y",
                    "plain_text_passwd": "word",
                }
            ]
        },
    ),
    ("users: [{name: ada, sudo: null}]", {"users": [{"name": "ada", "sudo": []}]}),
    ("user: ada", {"user": {"name": "ada"}}),
    (
        "system_info: {default_user: {name: ada, lock-passwd: false}}",
        {"system_info": {"default_user": {"name": "ada", "lock_passwd": False}}},
    ),
    ("user: {name: ada, uid: 1001}", {"user": {"name": "ada", "uid": 1001}}),
    ("groups: lab, ops", {"groups": {"lab": [], "ops": []}}),
    ("groups: {lab: ada, ops: [ada, ben]}", {"groups": {"lab": ["ada"], "ops": ["ada", "ben"]}}),
    (
        "groups: [lab, {ops: [ada]}, {ops: [ben]}]",
        {"groups": {"lab": [], "ops": ["ada", "ben"]}},
    ),
    ("groups: [{ops: [ada]}, {ops: [ada, ben]}]", {"groups": {"ops": ["ada", "ben"]}}),
    ("password: passw0rd", {"password": "passw0rd"}),
    (
        "chpasswd: {list: ['root:passw0rd'], expire: False}",
        {"chpasswd": {"list": ["root:passw0rd"], "expire": False}},
    ),
    (
        "chpasswd:\n  list: |\n    root:passw0rd\n\n    ada:RANDOM\n",
        {"chpasswd": {"list": ["root:passw0rd", "ada:RANDOM"]}},
    ),
    (
        "chpasswd: {users: [{name: ada, password: x, type: text}, {name: ben, type: RANDOM}]}",
        {
            "chpasswd": {
                "users": [
                    {"name": "ada", "password": "x", "type": "text"},
                    {"name": "ben", "type": "RANDOM"},
                ]
            }
        },
    ),
    ("ssh_pwauth: 'yes'", {"ssh_pwauth": True}),
    ("ssh_pwauth: 0", {"ssh_pwauth": False}),
    ("ssh_pwauth: unchanged", {}),
    ("disable_root: false", {"disable_root": False}),
    ("disable_root_opts: no-pty", {"disable_root_opts": "no-pty"}),
    ("allow_public_ssh_keys: true", {"allow_public_ssh_keys": True}),
    (f"ssh_authorized_keys: [{KEY}]", {"ssh_authorized_keys": [KEY]}),
    (f"ssh_authorized_keys: {KEY}", {"ssh_authorized_keys": [KEY]}),
    (
        "ssh_keys: {rsa_private: a, rsa_public: b, ed25519_certificate: c}",
        {"ssh_keys": {"rsa_private": "a", "rsa_public": "b", "ed25519_certificate": "c"}},
    ),
    ("ssh_import_id: ['gh:ada', lp:ada]", {"ssh_import_id": ["gh:ada", "lp:ada"]}),
    ("ssh_import_id: ada", {"ssh_import_id": ["ada"]}),
    (
        "users: [{name: ada, ssh-import-id: ada}]",
        {"users": [{"name": "ada", "ssh_import_id": ["ada"]}]},
    ),
    ("ssh_deletekeys: 'ON'", {"ssh_deletekeys": True}),
    ("ssh_genkeytypes: [ed25519, rsa]", {"ssh_genkeytypes": ["ed25519", "rsa"]}),
    (
        "write_files: [{path: /srv/a, content: !!binary aGk=, permissions: 0640,\n"
        "  encoding: gz+b64}]",
        {
            "write_files": [
                {
                    "path": "/srv/a",
                    "content": b"hi",
                    "permissions": "0640",
                    "encoding": "gzip+base64",
                }
            ]
        },
    ),
    (
        "write_files: [{path: /srv/a, content: hi, permissions: '0644', owner: 'ada:ada',\n"
        "  append: true, defer: true, encoding: text/plain}]",
        {
            "write_files": [
                {
                    "path": "/srv/a",
                    "content": "hi",
                    "permissions": "0644",
                    "owner": "ada:ada",
                    "append": True,
                    "defer": True,
                    "encoding": "text/plain",
                }
            ]
        },
    ),
    ("bootcmd: [echo early]", {"bootcmd": ["echo early"]}),
    (
        "runcmd:\n- [service, ssh, restart]\n- echo done\n- null\n- [sleep, 5]",
        {"runcmd": [["service", "ssh", "restart"], "echo done", ["sleep", "5"]]},
    ),
    (
        "power_state: {mode: reboot, delay: now, message: bye, timeout: 60, condition: true}",
        {
            "power_state": {
                "mode": "reboot",
                "delay": 0,
                "message": "bye",
                "timeout": 60,
                "condition": True,
            }
        },
    ),
    (
        "power_state: {mode: halt, delay: '+5', condition: [test, -e, /srv/ready]}",
        {"power_state": {"mode": "halt", "delay": 5, "condition": ["test", "-e", "/srv/ready"]}},
    ),
    (
        "phone_home: {url: 'https://lab.example/', post: all, tries: 5}",
        {"phone_home": {"url": "https://lab.example/", "post": "all", "tries": 5}},
    ),
    (
        "phone_home: {url: 'https://lab.example/', post: [hostname, pub_key_rsa]}",
        {"phone_home": {"url": "https://lab.example/", "post": ["hostname", "pub_key_rsa"]}},
    ),
    ("final_message: up after $UPTIME", {"final_message": "up after $UPTIME"}),
    ("vendor_data: {enabled: 'no'}", {"vendor_data": {"enabled": False}}),
    ("vendor_data2: {enabled: true}", {"vendor_data2": {"enabled": True}}),
    ("package_update: true", {"package_update": True}),
    ("apt_update: true", {"package_update": True}),
    ("apt_upgrade: true", {"package_upgrade": True}),
    ("apt_reboot_if_required: true", {"package_reboot_if_required": True}),
    (
        "packages: [git, [nginx, '1.22.1-9'], {apt: [less, [vim, '9']], dnf: [nano]}]",
        {
            "packages": [
                {"name": "git"},
                {"name": "nginx", "version": "1.22.1-9"},
                {"name": "less", "manager": "apt"},
                {"name": "vim", "version": "9", "manager": "apt"},
                {"name": "nano", "manager": "dnf"},
            ]
        },
    ),
    (
        "yum_repos: {a: {baseurl: [https://b/, https://c/], enabled: true, cost: 7, name: d}}\n"
        "yum_repo_dir: /etc/repos",
        {
            "yum_repos": {
                "a": {
                    "baseurl": ["https://b/", "https://c/"],
                    "enabled": True,
                    "cost": 7,
                    "name": "d",
                }
            },
            "yum_repo_dir": "/etc/repos",
        },
    ),
    (
        "apt: {preserve_sources_list: true, conf: 'A::B 1;', http_proxy: 'http://p.example',\n"
        "  sources: {lab.list: {source: 'deb http://r.example s main', keyid: AB12,\n"
        "    append: false}},\n"
        "  primary: [{arches: [amd64, default], uri: 'http://m.example'}],\n"
        "  security: [{arches: default, search: ['http://n.example']}],\n"
        "  disable_suites: [updates], debconf_selections: {set1: 'a b string c'}}",
        {
            "apt": {
                "preserve_sources_list": True,
                "conf": "A::B 1;",
                "http_proxy": "http://p.example",
                "sources": {
                    "lab.list": {
                        "source": "deb http://r.example s main",
                        "keyid": "AB12",
                        "append": False,
                    }
                },
                "primary": [{"arches": ["amd64", "default"], "uri": "http://m.example"}],
                "security": [{"arches": ["default"], "search": ["http://n.example"]}],
                "disable_suites": ["updates"],
                "debconf_selections": {"set1": "a b string c"},
            }
        },
    ),
    (
        "apt_proxy: http://p.example\napt_mirror: http://m.example\napt_sources:\n"
        "- {source: 'ppa:lab/a'}\n- {source: deb x, filename: x.list}",
        {
            "apt": {
                "proxy": "http://p.example",
                "primary": [{"arches": ["default"], "uri": "http://m.example"}],
                "sources": {
                    "cloud_config_sources_0.list": {"source": "ppa:lab/a"},
                    "x.list": {"source": "deb x", "filename": "x.list"},
                },
            }
        },
    ),
    (
        "ca-certs: {remove-defaults: true, trusted: [PEM]}",
        {"ca_certs": {"remove_defaults": True, "trusted": ["PEM"]}},
    ),
]
