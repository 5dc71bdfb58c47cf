"""Every line that the agent may write for a network stack, so that an injected one is seen."""

from __future__ import annotations

import re

from guestagent import defs

from .produce import Backend

_WORD = r"[0-9A-Za-z._-]+"
_IP = r"[0-9a-f.:]+"
_CIDR = rf"{_IP}/\d+"
_MAC = r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}"
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_OPTION = r"[0-9a-z.,:+_-]+"
_COMMENT = r"\# Written by guestagent; [a-z -]+\."

_NETWORKD = (
    r"\[(?:Match|Link|Network|Route|RoutingPolicyRule|DHCPv4|DHCPv6|IPv6AcceptRA|NetDev|Bond|VLAN)\]",
    rf"PermanentMACAddress={_MAC}",
    r"Kind=(?:!\*|bond|vlan)",
    rf"(?:Name|Bond|VLAN)={_WORD}",
    r"MTUBytes=\d+",
    r"(?:UseMTU|UseDomains)=yes",
    r"RequiredForOnline=no",
    r"DHCP=(?:no|yes|ipv4|ipv6)",
    r"IPv6AcceptRA=(?:yes|no)",
    r"(?:UseMTU|UseDomains)=yes",
    r"DHCPv6Client=(?:no|yes|always)",
    rf"(?:Address|Destination|From)={_CIDR}",
    rf"(?:DNS|Gateway)={_IP}",
    rf"Domains={_WORD}(?: {_WORD})*",
    r"GatewayOnLink=yes",
    r"(?:Metric|RouteMetric|Table|Priority|Id)=\d+",
    r"PrimarySlave=yes",
    rf"MACAddress={_MAC}",
    r"Mode=[a-z0-9.-]+",
    rf"(?:AD|Ad|ARP|LACP|MII)\w+={_OPTION}(?: {_IP})*",
    rf"(?:\w+DelaySec|\w+Policy|GratuitousARP|ResendIGMP|MinLinks|\w+PerSlave)={_OPTION}",
    rf"(?:AllSlavesActive|DynamicTransmitLoadBalancing|LearnPacketIntervalSec)={_OPTION}",
)
_KEYFILE = (
    r"\[(?:connection|ethernet|infiniband|bond|vlan|ipv4|ipv6)\]",
    rf"id=(?:guestagent-{_WORD}|\d+)",
    rf"(?:uuid|master|parent)={_UUID}",
    r"type=(?:ethernet|infiniband|bond|vlan)",
    rf"(?:interface-name|primary)={_WORD}",
    r"autoconnect-priority=(?:\d+|-998)|autoconnect-slaves=\d+",
    r"slave-type=bond",
    r"transport-mode=datagram",
    rf"(?:mac-address|cloned-mac-address|ad_actor_system)={_MAC}",
    r"(?:mtu|dhcp-timeout|ra-timeout|route-metric|ip6-privacy)=\d+",
    r"mode=[a-z0-9.-]+",
    r"method=(?:auto|manual|disabled|ignore|link-local)",
    r"addr-gen-mode=eui64",
    rf"address\d+={_CIDR}",
    rf"dns=(?:{_IP};)+",
    rf"dns-search=(?:{_WORD};)+",
    rf"route\d+={_CIDR},(?:{_IP})?,\d+",
    r"route\d+_options=(?:onlink=true)?,?(?:table=\d+)?",
    rf"routing-rule\d+=priority \d+ from {_CIDR} table \d+",
    rf"(?:ad|all|arp|down|fail|lacp|lp|mii|min|num|packets|primary|resend|tlb|up|xmit)\w*={_OPTION}",
)
_QUOTED = r'"[0-9A-Za-z.,:+/_-]+"'
_NETPLAN = (
    r"network:|  version: 2|  (?:ethernets|bonds|vlans):",
    rf'    "{_WORD}":',
    r"      (?:match|parameters|nameservers|routes|routing-policy|dhcp[46]-overrides):",
    r"      networkmanager:|        passthrough:",
    r'          connection\.autoconnect-priority: "-998"',
    rf'        (?:macaddress: "{_MAC}"|name: "{_WORD}")',
    rf'      (?:macaddress: "{_MAC}"|link: "{_WORD}")',
    r"      (?:id|mtu): \d+",
    r"      (?:optional|dhcp4|dhcp6): true",
    r"      accept-ra: (?:true|false)",
    r'      ipv6-address-generation: "eui64"',
    rf"      (?:addresses|interfaces): \[{_QUOTED}(?:, {_QUOTED})*\]",
    rf"        (?:addresses|search|arp-ip-targets): \[{_QUOTED}(?:, {_QUOTED})*\]",
    r"        route-metric: \d+",
    r"        use-domains: true",
    rf'        - (?:to|from): "{_CIDR}"',
    rf'          (?:via: "{_IP}"|scope: "link"|on-link: true|(?:metric|table|priority): \d+)',
    rf"        (?:mode|primary|[a-z]+-[a-z-]+): (?:{_QUOTED}|true|false|\d+)",
)
# What the commands do is for ``ifupdown_shell`` to see.
_IFUPDOWN = (
    rf"auto {_WORD}",
    rf"iface {_WORD} inet manual",
    r"    (?:pre-up|up|down|post-down) (?:ip|echo|cat|kill|for|grep|rm|\[) [ -~]+[^\\]",
    rf"    dns-nameservers(?: {_IP})+",
    rf"    dns-search(?: {_WORD})+",
)
_RESOLV_CONF = (
    r"\# Written by guestagent\.",
    rf"nameserver {_IP}",
    rf"search {_WORD}(?: {_WORD})*",
)
_GRAMMARS: dict[Backend, tuple[str, ...]] = {
    "networkd": _NETWORKD,
    "ifupdown": _IFUPDOWN,
    "networkmanager": _KEYFILE,
    "netplan": _NETPLAN,
}


def strange(backend: Backend, files: dict[str, str]) -> list[str]:
    """Lines that are none of those above, and files that are not the agent's to write."""
    found = [path for path in files if not path.startswith(defs.NETWORK_FILES) or ".." in path]
    for path, text in files.items():
        words = _RESOLV_CONF if path == defs.RESOLV_CONF else (_COMMENT, *_GRAMMARS[backend])
        pattern = re.compile("|".join(("", *words)), re.ASCII)
        found += [line for line in text.split("\n") if not pattern.fullmatch(line)]
    return found
