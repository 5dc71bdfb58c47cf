"""The guest that ``guestagent validate`` plans for: a new one of some distribution, as data.

It has all programs that planners look for and its distribution has, metadata with a host name and
an SSH key, and a file tree that is empty but for some files.
"""

from __future__ import annotations

import os
from stat import S_IFREG

from guestagent import defs, facts
from guestagent.errors import Origin
from guestagent.facts import system as further_facts
from guestagent.model import Account, Facts, InstanceData, Text
from guestagent.record import NamedTuple
from guestagent.settings import Settings
from guestagent.system.root import Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any, Literal

_ORIGIN = Origin("the metadata of an imagined instance", "", "")

SETTINGS = Settings(network_manage=False)
METADATA = InstanceData(
    instance_id=Text("i-imagined", _ORIGIN),
    hostname=Text("imagined.example.org", _ORIGIN),
    ssh_keys=(Text(f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{'A' * 43} imagined", _ORIGIN),),
)
_NAMES = {
    "uuid": "i-imagined",
    "instance-id": "i-imagined",
    "hostname": "imagined.example.org",
    "local-hostname": "imagined.example.org",
    "name": "imagined",
    "availability_zone": "nova",
    "launch_index": 0,
    "project_id": "0123456789abcdef0123456789abcdef",
    "meta": {},
}


class System(NamedTuple):
    """A distribution: ID_LIKE and VERSION_CODENAME of os-release(5), and who has resolv.conf(5)."""

    like: str = ""
    codename: str = ""
    resolver: Literal["resolved", "networkmanager", "file"] = "networkmanager"


DEBIAN = "debian"
SYSTEMS = {
    DEBIAN: System("", "trixie", "file"),
    "ubuntu": System("debian", "noble", "resolved"),
    "fedora": System(resolver="resolved"),
    "rhel": System("fedora"),
    "centos": System("rhel fedora"),
    "rocky": System("rhel centos fedora"),
    "almalinux": System("rhel centos fedora"),
    "ol": System("fedora"),
    "amzn": System("fedora", resolver="resolved"),
}

# What one family of distributions has and the other has not.
_OF_DEBIAN = frozenset(
    ("apt-get", "debconf-set-selections", "locale-gen", "setupcon", "update-ca-certificates")
)
_OF_FEDORA = frozenset(("dnf", "update-ca-trust"))

# The accounts that user data may name, and their numbers.
_ACCOUNTS = {"root": 0, "daemon": 1, "bin": 2, "sys": 3, "mail": 8, "www-data": 33, "backup": 34}


def imagine_facts(system: str, data: InstanceData) -> Facts:
    """Return the facts of a new guest of one of ``SYSTEMS``, for which the data are."""
    like, codename, resolver = SYSTEMS[system]
    is_debian = DEBIAN in (system, like)
    programs = facts.PROGRAMS | further_facts.PROGRAMS
    accounts = [Account(name, number, number, f"/{name}") for name, number in _ACCOUNTS.items()]
    release = f'ID={system}\nID_LIKE="{like}"\nVERSION_CODENAME={codename}\n'
    return Facts(
        live=True,
        os_id=system,
        hostname=None,
        accounts=tuple(accounts),
        groups=(*_ACCOUNTS, "adm", "sudo" if is_debian else "wheel", "users", "systemd-journal"),
        nics=None,
        stack="networkd" if is_debian else "networkmanager",
        resolver=resolver,
        sshd_dropins=True,
        programs=programs - (_OF_FEDORA if is_debian else _OF_DEBIAN),
        texts={
            defs.OS_RELEASE: release,
            defs.SUPPORTED_LOCALES: _supported_locales(data) if is_debian else "",
            defs.SELINUX_CONFIG: "" if is_debian else "SELINUX=enforcing\n",
        },
        machine="x86_64",
        systemd=True,
    )


def imagine_variables(system: str) -> dict[str, Any]:
    """Return the variables that templates of user data have in that guest, on OpenStack."""
    from guestagent.parse.userdata.variables import variables

    return variables(
        METADATA._replace(availability_zone=Text("nova", _ORIGIN)),
        {"meta_data": _NAMES, "ec2_metadata": {"local-ipv4": "192.0.2.10"}},
        cloud="configdrive",
        platform="configdrive",
        subplatform="config-disk (/dev/sr0)",
        guest={
            "distro": system,
            "variant": system,
            "distro_release": SYSTEMS[system].codename,
            "kernel_release": "6.12.0",
            "machine": "x86_64",
        },
    )


def _supported_locales(data: InstanceData) -> str:
    """Return a list of locales that has the one which the data name, if they give its encoding."""
    locale = data.setting("locale")
    head, dot, rest = str(locale.value if locale else "").partition(".")
    charset, at, variant = rest.partition("@")
    if not dot:
        return ""
    return f"{head}.{charset} UTF-8\n{head}.UTF-8{at}{variant} UTF-8\n"


class ImaginedTree:
    """The file tree of a running system, as data: empty files of root, and nothing else.

    It answers what a plan asks of a ``Root``.
    """

    live = True
    path = "/"
    trusted = frozenset((0,))

    def __init__(self, files: Collection[str]) -> None:
        self._files = files

    def stat(self, path: str) -> os.stat_result | None:
        """Return the status of a file; None for every other path."""
        return os.stat_result((S_IFREG | 0o644, *[0] * 9)) if path in self._files else None

    def exists(self, path: str) -> bool:
        """Tell whether the tree has the file."""
        return path in self._files

    def look(self, path: str) -> Entry | None:
        """Return the status and the content of a file; None for every other path."""
        found = self.stat(path)
        return None if found is None else Entry(found, owner=None, content=b"")

    def text(self, _: str) -> str:
        """Return the text of a file: there is none in any."""
        return ""

    def readlink(self, _: str) -> str | None:
        """Return None: no path is a symbolic link."""
        return None

    def follow(self, path: str) -> str:
        """Return the path: no path is a symbolic link."""
        return path

    def listdir(self, path: str) -> list[str]:
        """Return the sorted names in a directory."""
        start = f"{path.rstrip('/')}/"
        inside = (file.removeprefix(start) for file in self._files if file.startswith(start))
        return sorted({name.partition("/")[0] for name in inside})

    def outside(self, path: str) -> str:
        """Return the path by which other programs would reach a file."""
        return path
