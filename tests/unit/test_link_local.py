"""``metadata.link_local_ipv4``: a 169.254/16 address for a guest that knows no network yet."""

from __future__ import annotations

import pytest
from network_samples import facts, interface, network, planned

from guestagent.plan.kinds.file import File
from guestagent.settings import Settings

WANTED = Settings(metadata_link_local_ipv4=True)
WORDS = {
    "networkd": "LinkLocalAddressing=yes\n",
    "networkmanager": "link-local=3\n",
    "netplan": 'link-local: ["ipv4", "ipv6"]\n',
}


def text(backend: str, settings: Settings, known: bool = False) -> str:
    data = network(interface(dhcp4=True)) if known else None
    found, _ = planned(data, facts(stack=backend), settings)
    return "".join(item.content.decode() for item in found if isinstance(item, File))


@pytest.mark.parametrize("backend", WORDS)
def test_the_fallback_asks_for_one_by_setting(backend: str) -> None:
    assert WORDS[backend] in text(backend, WANTED)
    assert WORDS[backend] not in text(backend, Settings())


@pytest.mark.parametrize("backend", WORDS)
def test_a_network_of_the_source_does_not(backend: str) -> None:
    assert WORDS[backend] not in text(backend, WANTED, known=True)


def test_ifupdown_says_that_it_cannot() -> None:
    _, problems = planned(None, facts(stack="ifupdown"), WANTED)
    assert any("link-local IPv4" in problem.reason for problem in problems)
    _, problems = planned(None, facts(stack="ifupdown"), Settings())
    assert not any("link-local IPv4" in problem.reason for problem in problems)
