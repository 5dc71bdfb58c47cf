"""The conformance table for people: ``python -m tests.network.table > docs/network-cases.md``."""

from __future__ import annotations

import sys
from pathlib import Path

from .allowances import ALLOWANCES, NETPLAN_FOR_NETWORKMANAGER
from .case import Case
from .cases import AT_BOOT, CASES, IN_GUESTS
from .networkd_daemon import can_show
from .produce import BACKENDS, Backend

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "network-cases.md"
_TITLES: dict[Backend, str] = {
    "networkd": "systemd-networkd",
    "networkmanager": "NetworkManager",
    "ifupdown": "ifupdown",
    "netplan": "netplan",
}

_HEAD = """\
# What network_data.json becomes

Written by `python -m tests.network.table`; a test holds it to the code.

Each case is one `network_data.json` for a guest with three NICs, with facts about every link
written by hand: addresses, routes with the metric in effect, rules, DNS, MTU, how addresses are
got, bond, VLAN. For each network stack the agent's files are read by the stack's own program, and
must say the same:

* **systemd-networkd**: the daemon loads every file and complains of nothing; facts from the
  text, and for NICs from the kernel.
* **NetworkManager**: libnm reads, normalises and verifies each profile; facts from its settings.
* **ifupdown**: ifquery reads the file, a shell without programs runs the commands; facts from the
  calls of `ip` and of the DHCP client. ifupdown-ng must read the same.
* **netplan**: its generator runs; facts from what it makes for systemd-networkd, which the
  daemon loads as well, and from what it makes for NetworkManager, read by libnm.

`=` means that all facts are there. A number is one of the shortcomings below the table: all other
facts are there.

**Left out** counts the parts of the document that cannot be used, each reported with its place; a
`+` is the warning that every NIC gets DHCP instead.

**Kernel** says where the state of a kernel was compared with the same facts: `namespace` is
systemd-networkd in a network namespace, with our files and with those that netplan makes of ours;
`guest` is a booted guest.
"""


def page() -> str:
    """Return the whole page."""
    return "\n".join([_HEAD, *_table(), "", "## What a stack cannot say", "", *_notes(), ""])


def _table() -> list[str]:
    titles = [_TITLES[backend] for backend in BACKENDS]
    rows = [["Case", "What it is", "Left out", *titles, "Kernel"]]
    rows.append(["---" for _ in rows[0]])
    for case in CASES:
        left_out = (str(len(case.errors)) if case.errors else "") + "+" * len(case.warnings)
        kernel = ["namespace"] if can_show(case) else []
        kernel += ["guest"] if case.id in (*IN_GUESTS, AT_BOOT) else []
        cells = [_cell(case, backend) for backend in BACKENDS]
        rows.append([f"`{case.id}`", case.about, left_out, *cells, ", ".join(kernel)])
    return [f"| {' | '.join(row)} |" for row in rows]


def _cell(case: Case, backend: Backend) -> str:
    """Return the numbers of the allowances that change a fact of the case."""
    numbers = []
    links = case.links
    for number, allowance in enumerate(ALLOWANCES, 1):
        if allowance.backend == backend:
            changed = tuple(map(allowance.change, links))
            numbers += [str(number)] if changed != links else []
            links = changed
    return " ".join(numbers) or "="


def _notes() -> list[str]:
    numbered = [
        f"{number}. {_TITLES[allowance.backend]}: {allowance.reason}"
        + (". The user is warned." if allowance.told else ".")
        for number, allowance in enumerate(ALLOWANCES, 1)
    ]
    return [*numbered, "", f"Where it applies, {NETPLAN_FOR_NETWORKMANAGER}."]


if __name__ == "__main__":
    sys.stdout.write(page())
