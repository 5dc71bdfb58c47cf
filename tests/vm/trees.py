"""What a machine is like, as far as an agent may have made it so: read, and compared.

Run by itself as root of a machine (`python3 trees.py`; it needs nothing but the standard
library) it prints that machine's state in JSON. A state is groups of named values, all text.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

State = Mapping[str, Mapping[str, str]]

# Where files are compared with their content, and where only names, modes and owners are.
TREES = ("/etc", "/opt", "/srv", "/usr/local", "/var/spool/cron")
HOMES = ("/home", "/root")
# Compared by their fields, or a copy of what is.
_COMPARED_BY_FIELDS = re.compile(r"/etc/((passwd|g?shadow|group|sub[ug]id-)-?|fstab)")
_CONTENT_LIMIT = 64 << 10
_PASSWORD_KINDS = {
    "y": "yescrypt",
    "gy": "gost-yescrypt",
    "7": "scrypt",
    "6": "sha512crypt",
    "5": "sha256crypt",
    "1": "md5crypt",
    "2a": "bcrypt",
    "2b": "bcrypt",
    "2y": "bcrypt",
}
_FIELDS = {
    "passwd": ("", "uid", "gid", "gecos", "home", "shell"),
    "shadow": ("password", "changed", "minimum", "maximum", "warning", "inactive", "expires", ""),
    "group": ("", "gid", "members"),
    "gshadow": ("password", "administrators", "members"),
}
# Started by whoever asks them something, and gone soon after.
_PASSING = re.compile(r"systemd-(hostnamed|localed|timedated)\.service|user.*@\d+\.service")


# Reading


def state() -> State:
    """Read the state of the machine that this runs on."""
    return {
        "files": {path: kind for top in (*TREES, *HOMES) for path, kind in _entries(top)},
        "contents": {path: text for top in TREES for path, text in _contents(top)},
        "accounts": accounts({name: _text(f"/etc/{name}") for name in _FIELDS}),
        "authorized keys": dict(_authorized_keys()),
        "sudo rules": _sudo_rules(),
        "enabled units": _enabled_units(),
        "services": _services(),
        "sshd": repeated(_run("sshd", "-T")),
        "system": _system(),
        "mounts": _mounts(),
        "fstab": fstab(_text("/etc/fstab")),
        "disks": _disks(),
        "network": _network(),
        "listening sockets": _sockets(),
    }


def _run(*argv: str) -> str:
    # A busy machine may take longer to answer systemctl than it waits by itself.
    patient = {**os.environ, "SYSTEMD_BUS_TIMEOUT": "300"}
    done = subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=patient
    )
    return done.stdout


def _text(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _bare(text: str) -> list[str]:
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _table(text: str) -> list[list[str]]:
    """Return the words of each line, without comments."""
    lines = (line.partition("#")[0].split() for line in text.splitlines())
    return [words for words in lines if words]


def _walk(top: str) -> Iterator[str]:
    if os.path.lexists(top):
        yield top
    for where, directories, files in os.walk(top):
        yield from (os.path.join(where, name) for name in (*directories, *files))


def _entries(top: str) -> Iterator[tuple[str, str]]:
    owners = {line.split(":")[2]: line.split(":")[0] for line in _text("/etc/passwd").splitlines()}
    groups = {line.split(":")[2]: line.split(":")[0] for line in _text("/etc/group").splitlines()}
    for path in _walk(top):
        found = os.lstat(path)
        owner = owners.get(str(found.st_uid), found.st_uid)
        owned = f"{owner}:{groups.get(str(found.st_gid), found.st_gid)}"
        if stat.S_ISLNK(found.st_mode):
            yield path, f"link to {os.readlink(path)} {owned}"
        else:
            yield path, f"{stat.filemode(found.st_mode)} {owned}"


def _contents(top: str) -> Iterator[tuple[str, str]]:
    for path in _walk(top):
        plain = os.path.isfile(path) and not os.path.islink(path)
        if plain and not _COMPARED_BY_FIELDS.fullmatch(path):
            with open(path, "rb") as file:
                yield path, content(path, file.read())


def content(path: str, data: bytes) -> str:
    """Return what of a file's content is compared: what differs by nature is left out."""
    digest = "sha256 " + hashlib.sha256(data).hexdigest()
    try:
        text = data.decode()
    except ValueError:
        return digest
    if re.fullmatch(r"/etc/ssh/ssh_host_\w+_key(\.pub)?", path):
        kind = text.split(maxsplit=1)[0] if path.endswith(".pub") else "a private key"
        return f"{kind} and its data\n"
    if path == "/etc/ssl/certs/ca-certificates.crt":
        certificates = sorted(text.split("-----BEGIN "))
        digest = "sha256 " + hashlib.sha256("".join(certificates).encode()).hexdigest()
    if path == "/etc/hosts":
        return "".join(f"{' '.join(words)}\n" for words in _table(text))
    return digest if len(data) > _CONTENT_LIMIT else text


def password_kind(field: str) -> str:
    """Say what kind of password a field of shadow(5) has; the hash itself is left out."""
    locked = field.startswith("!")
    field = field.lstrip("!")
    if field in ("", "*"):
        return "locked, no password" if locked or field == "*" else "empty"
    method = re.match(r"\$([^$]*)\$", field)
    if method is not None:
        kind = _PASSWORD_KINDS.get(method[1], f"method {method[1]}")
    else:
        kind = "descrypt" if re.fullmatch(r"[./0-9A-Za-z]{13}", field) else "not a hash"
    return ("locked, " if locked else "") + kind


def _account_value(field: str, value: str) -> str:
    if field == "password":
        return password_kind(value)
    if field == "changed":
        return {"": "never", "0": "must be changed"}.get(value, "some day")
    if field in ("members", "administrators"):
        return ",".join(sorted(filter(None, value.split(","))))
    return value


def accounts(databases: Mapping[str, str]) -> dict[str, str]:
    """Return the fields of passwd(5), shadow(5), group(5) and gshadow(5) by name and account."""
    found = {}
    for database, text in databases.items():
        for line in text.splitlines():
            name, *values = line.split(":")
            for field, value in zip(_FIELDS[database], values, strict=False):
                if field:
                    found[f"{database} {name} {field}"] = _account_value(field, value)
    return found


def _authorized_keys() -> Iterator[tuple[str, str]]:
    for line in _text("/etc/passwd").splitlines():
        name, *_, home, _ = line.split(":")
        keys = _bare(_text(f"{home}/.ssh/authorized_keys"))
        if keys:
            yield name, "".join(f"{key}\n" for key in sorted(keys))


def _sudo_rules() -> dict[str, str]:
    """All rules in force, whichever file they come from (cvtsudoers(1))."""
    rules = _run("cvtsudoers", "-e", "-f", "sudoers", "/etc/sudoers").replace("\\\n", "")
    lines = (" ".join(rule.split()) for rule in rules.splitlines())
    return dict.fromkeys(filter(None, lines), "there")


def _enabled_units() -> dict[str, str]:
    shown = _run("systemctl", "list-unit-files", "--state=enabled", "--plain", "--no-legend")
    return {line.split()[0]: "enabled" for line in shown.splitlines()}


def _services() -> dict[str, str]:
    list_units = ("systemctl", "list-units", "--type=service", "--state=active,failed")
    lines = [line.split() for line in _run(*list_units, "--plain", "--no-legend").splitlines()]
    return {unit: sub for unit, _, _, sub, *_ in lines if not _PASSING.fullmatch(unit)}


def repeated(text: str) -> dict[str, str]:
    """Return lines of a keyword and a value as a mapping; a keyword may have several values."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        keyword, _, value = line.partition(" ")
        found.setdefault(keyword, []).append(value)
    return {keyword: "\n".join(sorted(values)) for keyword, values in found.items()}


def _system() -> dict[str, str]:
    swaps = [line.split() for line in _text("/proc/swaps").splitlines()[1:]]
    return {
        "running host name": os.uname().nodename,
        "full host name": _run("hostname", "-f").strip(),
        "time zone": os.path.realpath("/etc/localtime"),
        "locales": _run("locale", "-a"),
        "time servers": _run("timedatectl", "show-timesync", "--property=SystemNTPServers"),
    } | {f"swap {name}": f"{kind}, {size} KiB" for name, kind, size, *_ in swaps}


def _mounts() -> dict[str, str]:
    kinds = "ext4,xfs,btrfs,vfat,iso9660,nfs,nfs4,tmpfs,overlay"
    shown = _run("findmnt", "-rn", "-t", kinds, "-o", "TARGET,SOURCE,FSTYPE,OPTIONS")
    mounts = dict(line.split(" ", 1) for line in shown.splitlines())
    # Of these the size depends on how much memory the kernel found.
    for target in mounts.keys() & {"/tmp", "/run", "/dev/shm"}:
        mounts[target] = re.sub(r",(size|nr_inodes)=\w+", "", mounts[target])
    return {target: rest for target, rest in mounts.items() if not target.startswith("/run/")}


def _disks() -> dict[str, str]:
    """Return what each disk and partition is: sizes, tables, types, file systems and labels."""
    columns = "path,type,size,pttype,parttype,fstype,label"
    shown = _run("lsblk", "--json", "--bytes", "--output", columns)
    found = {}
    for disk in _below(json.loads(shown)["blockdevices"]):
        path, size = disk.pop("path"), disk.pop("size")
        disk.pop("children", None)
        found[path] = ", ".join(f"{name} {value}" for name, value in disk.items() if value)
        found[f"{path} size"] = f"{size} bytes"
    return found


def _below(disks: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield disks and what is on them."""
    for disk in disks:
        yield disk
        yield from _below(disk.get("children", ()))


def fstab(text: str) -> dict[str, str]:
    """Return the lines of fstab(5) by what is mounted where."""
    # cloud-init marks its lines by an option that means nothing to mount(8).
    lines = _table(text.replace(",comment=cloudconfig", ""))
    return {" on ".join(words[:2]): " ".join(words[2:]) for words in lines}


def _network() -> dict[str, str]:
    found = {}
    for link in json.loads(_run("ip", "-j", "address", "show")):
        addresses = (
            f"{a['local']}/{a['prefixlen']} {'dynamic' if a.get('dynamic') else 'static'}"
            for a in link["addr_info"]
            if a["scope"] == "global"
        )
        found[f"{link['ifname']} addresses"] = "\n".join(sorted(addresses))
        found[f"{link['ifname']} MTU"] = str(link["mtu"])
    for family in ("-4", "-6"):
        routes = json.loads(_run("ip", "-j", family, "route", "show") or "[]")
        for route in routes:
            name = f"route {family} {route['dst']} dev {route.get('dev')}"
            found[name] = f"gateway {route.get('gateway')} protocol {route.get('protocol')}"
    found["DNS"] = _run("resolvectl", "dns")
    found["DNS domains"] = _run("resolvectl", "domain")
    return found


def _sockets() -> dict[str, str]:
    found = {}
    for line in _run("ss", "-Hlntup").splitlines():
        protocol, _, _, _, local, *_ = line.split()
        users = sorted(set(re.findall(r'"([^"]+)",pid', line)))
        found[f"{protocol} {local}"] = ",".join(users)
    return found


# Comparing


class Difference(NamedTuple):
    """One value that two states do not share; None: one has no such value."""

    group: str
    name: str
    left: str | None
    right: str | None


class Reason(NamedTuple):
    """Why a difference is right.

    All but `why` are regular expressions for the whole of the difference's fields; a value that
    is not there is matched as the empty text.
    """

    group: str
    name: str
    why: str
    left: str = ".*"
    right: str = ".*"

    def explains(self, difference: Difference) -> bool:
        """Whether this is the reason of a difference."""
        patterns = (self.group, self.name, self.left, self.right)
        fields = (text or "" for text in difference)
        return all(
            re.fullmatch(pattern, text, re.DOTALL)
            for pattern, text in zip(patterns, fields, strict=True)
        )


def differences(left: State, right: State) -> list[Difference]:
    """Compare two states, value by value."""
    found = []
    for group in left.keys() | right.keys():
        ours, theirs = left.get(group, {}), right.get(group, {})
        for name in ours.keys() | theirs.keys():
            if ours.get(name) != theirs.get(name):
                found.append(Difference(group, name, ours.get(name), theirs.get(name)))
    return sorted(found, key=lambda difference: difference[:2])


def reason(difference: Difference, reasons: Iterable[Reason]) -> str | None:
    """Return why a difference is right, None where nobody knows."""
    group, _, left, right = difference
    if group == "contents" and left and right and _bare(left) == _bare(right):
        return "only comments differ"
    return next((known.why for known in reasons if known.explains(difference)), None)


if __name__ == "__main__":
    print(json.dumps(state()))
