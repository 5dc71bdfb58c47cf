"""What the unit that reloads the network may do, with ifupdown: start a DHCP client and hooks."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from network.produce import produce

from .guest import Guest
from .image import GuestImage
from .metadata import RELOAD
from .scenario import NIC, SETTINGS, Instance, card, new_instance, settings_argument

pytestmark = pytest.mark.vm

FILE = "/etc/network/interfaces.d/50-guestagent"
LEASED = {
    "links": [{"id": "a", "type": "phy", "ethernet_mac_address": NIC.mac}],
    "networks": [{"id": "n", "type": "ipv4_dhcp", "link": "a"}],
}
# What administrators have hooks for, and what no hook needs.
HOOK = """\
#!/bin/sh
[ "$IFACE" = lo ] && exit 0
exec >/run/hook 2>&1
mount -t tmpfs none /mnt && touch /mnt/mounted
date -s "$(date +@%s)" >/dev/null && echo clock
systemctl is-active ssh.service
start-stop-daemon --start --background --make-pidfile --pidfile /run/daemon.pid \\
    --exec /usr/bin/sleep -- 3600 && echo daemon
head -c 1 /dev/vda >/dev/null || echo no disk
unshare --user true || echo no user namespace
"""


class Reloaded(NamedTuple):
    """A guest after its static address was exchanged for a lease, and what the hook said."""

    guest: Guest
    instance: Instance
    said: list[str]


@pytest.fixture(scope="module")
def reloaded(
    guest_image_ifupdown: GuestImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Reloaded]:
    where = tmp_path_factory.mktemp("reload")
    instance = new_instance(where / "keys", files=())
    drives, extra = [instance.drive(where)], settings_argument(SETTINGS)
    with Guest(guest_image_ifupdown, drives, [NIC], instance.smbios, extra) as guest:
        guest.boot()
        old = guest.get(FILE).decode()
        # The same interface, and what is set up for a lease.
        new = produce(LEASED, "ifupdown", live=False).files[FILE]
        named = [line for line in old.splitlines() if line.startswith(("#", "auto", "iface"))]
        settings = [line for line in new.splitlines() if line.startswith(" ")]
        guest.put("/etc/network/if-up.d/zz-test", HOOK, 0o755)
        before = [{"path": FILE, "old": b64encode(old.encode()).decode()}]
        guest.put("/run/guestagent/reload.json", json.dumps(before), 0o600)
        guest.put(FILE, "\n".join([*named, *settings, ""]))
        guest.check(f"systemctl start {RELOAD}")
        yield Reloaded(guest, instance, guest.get("/run/hook").decode().splitlines())


def test_a_dhcp_client_gets_a_lease_and_outlives_the_unit(reloaded: Reloaded) -> None:
    guest = reloaded.guest
    (link,) = json.loads(guest.check(f"ip -j -4 address show dev {card(guest)}"))
    assert [address.get("dynamic") for address in link["addr_info"]] == [True]
    assert guest.check("pgrep -c dhclient").strip() != "0"
    assert guest.ssh("debian", key=reloaded.instance.key).check()


def test_hooks_do_what_they_are_for_and_reach_no_disk(reloaded: Reloaded) -> None:
    said = [line for line in reloaded.said if not line.startswith(("head:", "unshare:"))]
    assert said == ["clock", "active", "daemon", "no disk", "no user namespace"]
    assert reloaded.guest.exists("/mnt/mounted"), "what a hook mounts is there for all"
    assert reloaded.guest.check("pgrep -c -F /run/daemon.pid") == "1\n"
