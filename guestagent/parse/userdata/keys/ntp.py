"""The key ``ntp``, and the form of its value after check().

===  ===========================================================
ntp  {"enabled": bool, "pools", "servers", "peers", "allow": list of str, "ntp_client": str,
     "config": {"confpath", "check_exe", "service_name", "template": str, "packages": list of str}};
     null is {}
===  ===========================================================
"""

from __future__ import annotations

from guestagent.parse.userdata.containers import ListOf, Mapping
from guestagent.parse.userdata.scalars import String, flag
from guestagent.parse.userdata.shape import Field

_WORDS = ListOf(String(), single=True)

_CONFIG = Mapping(
    {
        "confpath": Field(String(), "The client's configuration file."),
        "check_exe": Field(String(), "The client's program."),
        "packages": Field(_WORDS, "Packages to install for it."),
        "service_name": Field(String(), "Its service."),
        "template": Field(String(), "Template of the configuration file."),
    }
)
_NTP = Mapping(
    {
        "enabled": Field(flag(), "Set up a time client.  Default: true."),
        "pools": Field(_WORDS, "Names that resolve to many servers each.", alone=True),
        "servers": Field(_WORDS, "Servers.", alone=True),
        "peers": Field(_WORDS, "Peers, which only some clients have.", alone=True),
        "allow": Field(_WORDS, "Networks that may ask this machine for the time.", alone=True),
        "ntp_client": Field(String(), "The client: chrony, systemd-timesyncd…  Default: auto."),
        "config": Field(_CONFIG, "Describes a client that is otherwise unknown."),
    },
    null=True,
    example="{servers: [ntp.example]}",
)

KEYS = {"ntp": Field(_NTP, "Time servers, and the client that asks them.")}
