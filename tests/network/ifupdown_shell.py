"""Facts from an interfaces(5) file: read by the real ifquery, its commands run by a real shell.

In the shell ``ip`` and the DHCP clients are functions that write down how they are called, and
there is no other program: a command that the agent never meant to write fails and is seen.  What
the commands write below /proc/sys, /sys and /var/lib lands in a private mount.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from .case import NAMES
from .facts import MAIN_TABLE, Bond, Dhcp6, Link, Route, Rule, Vlan, gets_address

REPOSITORY = Path(__file__).parents[2]
_VENV = REPOSITORY / ".venv"
# Unpacked, not installed: Debian 12 has programs in /sbin, later ones in /usr/sbin.
_FOLDERS = (_VENV / "ifupdown/sbin", _VENV / "ifupdown/usr/sbin", Path("/usr/sbin"))
_FOLDERS_NG = (_VENV / "ifupdown-ng/sbin", _VENV / "ifupdown-ng/usr/sbin")
_CONF = "/proc/sys/net/ipv6/conf"
_SETTINGS = ("accept_ra", "ra_defrtr_metric")
# "ip link add" makes the folders that later commands look for or write to.
_SET_UP = r"""
mount -t tmpfs none /sys/class
mount -t tmpfs none /proc/sys/net
mount -t tmpfs none /var/lib
/bin/mkdir /var/lib/dhcp
exec 2>&1
PATH=/nonexistent
ip() {
    say ip "$@"
    case "$*" in "link add name "*" type bond "*) /bin/mkdir -p "/sys/class/net/$4/bonding";; esac
}
dhclient() { say dhclient "$@"; }
say() { printf '%s\036' "$IFACE" "$@"; echo; }
kill() { return 1; }
grep() { return 1; }
cat() { :; }
rm() { :; }
sleep() { :; }
fresh() {
    /bin/rm -rf /sys/class/net /proc/sys/net/ipv6
    /bin/mkdir -p /proc/sys/net/ipv6/conf/default
}
holds() { [ ! -e "$2" ] || { read -r value <"$2"; IFACE=$1 say "$3" "$value"; }; }
"""
Calls = list[list[str]]


def missing() -> str:
    """Why the file cannot be read here; empty if it can."""
    if os.geteuid() != 0:
        return "needs root"
    return "" if _query() else "needs ifupdown's ifquery"


def missing_ng() -> str:
    """Why ifupdown-ng cannot be asked here; empty if it can."""
    return "" if _query(_FOLDERS_NG) else "needs ifupdown-ng's ifquery"


def _query(folders: tuple[Path, ...] = _FOLDERS) -> str | None:
    return shutil.which("ifquery", path=":".join(map(str, folders)))


def options(path: Path) -> dict[str, list[tuple[str, str]]]:
    """Return the options of every interface that is brought up at boot, as ifquery gives them."""
    names = [name for name in _asked(_query(), path, "--list") if name != "lo"]
    return {name: [_pair(line, ": ") for line in _asked(_query(), path, name)] for name in names}


def options_ng(path: Path) -> dict[str, list[tuple[str, str]]]:
    """Do the same with ifupdown-ng, without the executors that it guesses from the keys."""
    query = _query(_FOLDERS_NG)
    names = [name for name in _asked(query, path, "--list", "--auto") if name != "lo"]
    return {
        name: [
            _pair(line.strip(), " ")
            for line in _asked(query, path, name)
            if line.startswith("  ") and not line.startswith("  use ")
        ]
        for name in names
    }


def _pair(line: str, mark: str) -> tuple[str, str]:
    key, _, value = line.partition(mark)
    return key, value


def _asked(query: str | None, path: Path, *arguments: str) -> list[str]:
    argv = [str(query), "--interfaces", str(path), *arguments]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return done.stdout.splitlines()


class Shell:
    """A shell without programs, for the commands of many files."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-s"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )
        self._ask(_SET_UP)

    def close(self) -> None:
        """End the shell."""
        self._process.communicate()

    def _ask(self, script: str) -> Calls:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(f"{script}\necho END", file=self._process.stdin, flush=True)
        calls = []
        while (line := self._process.stdout.readline()) != "END\n":
            assert line.endswith("\036\n"), f"a command failed: {line or 'the shell has ended'}"
            calls.append(line.split("\036")[:-1])
        return calls

    def links(self, path: Path) -> dict[str, Link]:
        """Return the links that a file of interfaces(5) describes."""
        found = options(path)
        script = ["fresh"]
        for name, pairs in found.items():
            script.append(f"/bin/mkdir -p {_CONF}/{name}")
            script += _commands(name, pairs, ("pre-up", "up"))
        for name in found:
            script += [f"holds {name} {_CONF}/{name}/{key} {key}" for key in _SETTINGS]
            validated = f"/sys/class/net/{name}/bonding/arp_validate"
            script.append(f"holds {name} {validated} arp_validate")
        calls = self._ask("\n".join(script))
        down = [
            command
            for name, pairs in found.items()
            for command in _commands(name, pairs, ("down", "post-down"))
        ]
        assert {call[1] for call in self._ask("\n".join(down))} <= {"ip"}
        return {name: _link(name, dict(pairs), calls) for name, pairs in found.items()}


def _commands(name: str, pairs: list[tuple[str, str]], kinds: tuple[str, ...]) -> list[str]:
    """Each in a shell of its own, as ifup runs them."""
    return [
        f"(IFACE={name}; eval {shlex.quote(value)})"
        for kind in kinds
        for key, value in pairs
        if key == kind
    ]


def _link(name: str, texts: dict[str, str], calls: Calls) -> Link:
    own = [call[1:] for call in calls if call[0] == name]
    values = {call[0]: call[1] for call in own if call[0] in _SETTINGS}
    accept_ra = {None: None, "0": False, "2": True}[values.get("accept_ra")]
    clients = [call[1:] for call in own if call[0] == "dhclient"]
    dhcp4 = [call for call in clients if "-4" in call]
    found = Link(
        name=name,
        addresses=frozenset(a for a in (_after(call, "addr", "replace") for call in own) if a),
        routes=frozenset(_routes(own)),
        rules=frozenset(
            Rule(_after(call, "from"), int(_after(call, "lookup")))
            for call in own
            if "rule" in call
        ),
        dns=tuple(texts.get("dns-nameservers", "").split()),
        search=tuple(texts.get("dns-search", "").split()),
        mtu=next((int(_after(call, "mtu")) for call in own if "mtu" in call), None),
        dhcp4=bool(dhcp4),
        dhcp6=_dhcp6(clients, accept_ra),
        accept_ra=accept_ra,
        metric=_metric(dhcp4, values, accept_ra),
        bond=_bond(name, calls),
        vlan=_vlan(name, calls),
        mac=next((_after(c, "address") for c in _makers(name, calls)), ""),
    )
    waited_for = gets_address(found) and not any("-nw" in call for call in clients)
    return found._replace(required=waited_for)


def _after(call: list[str], *words: str) -> str:
    """Return the word after a sequence of words; empty if the sequence is missing."""
    for index in range(len(call) - len(words)):
        if call[index : index + len(words)] == [*words]:
            return call[index + len(words)]
    return ""


def _routes(own: Calls) -> Iterable[Route]:
    for call in own:
        if call[2:4] == ["route", "replace"]:
            yield Route(
                call[4],
                _after(call, "via"),
                int(_after(call, "metric")),
                "onlink" in call,
                int(_after(call, "table") or MAIN_TABLE),
            )


def _dhcp6(clients: Calls, accept_ra: bool | None) -> Dhcp6:
    asked = [call for call in clients if "-6" in call]
    if asked:
        return "stateless" if "-S" in asked[0] else "stateful"
    return "slaac" if accept_ra else "no"


def _metric(dhcp4: Calls, values: dict[str, str], accept_ra: bool | None) -> int | None:
    found = {_after(call, "-e").removeprefix("IF_METRIC=") for call in dhcp4}
    found |= {values.get("ra_defrtr_metric", "")} if accept_ra else set()
    assert len(found) <= 1, "metrics of dynamic routes differ"
    return int("".join(found)) if any(found) else None


def _makers(name: str, calls: Calls) -> Calls:
    """Return the commands that make an interface; where there are several, all the same."""
    found = [call[1:] for call in calls if call[1:4] == ["ip", "link", "add"]]
    found = [call for call in found if _after(call, "name") == name]
    assert all(call == found[0] for call in found)
    return found[:1]


def _bond(name: str, calls: Calls) -> Bond | None:
    for call in _makers(name, calls):
        if "bond" not in call:
            continue
        words = call[call.index("bond") + 1 :]
        given = dict(zip(words[::2], words[1::2], strict=True))
        mode = given.pop("mode")
        members = {c[0] for c in calls if _after(c, "master") == name}
        for owner, *words in calls:
            if words[0] == "arp_validate" and owner == name:
                given["arp_validate"] = words[1]
            if _after(words, "dev") == name and "primary" in words:
                given["primary"] = _after(words, "primary")
        assert members <= {*NAMES}
        return Bond(mode, frozenset(members), frozenset(given.items()))
    return None


def _vlan(name: str, calls: Calls) -> Vlan | None:
    for call in _makers(name, calls):
        if "vlan" in call:
            return Vlan(_after(call, "add", "link"), int(_after(call, "id")))
    return None
