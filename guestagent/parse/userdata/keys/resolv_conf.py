"""Keys of resolv.conf(5), and the form of their values after check().

==================  ===================================================
manage_resolv_conf  bool
resolv_conf         {"nameservers", "searchdomains", "sortlist": list of str, "domain": str,
                    "options": {name: bool | int | str}}
==================  ===================================================
"""

from __future__ import annotations

from guestagent.parse.userdata.containers import AnyOf, ListOf, MapOf, Mapping
from guestagent.parse.userdata.scalars import Choice, Integer, String, flag
from guestagent.parse.userdata.shape import Field

_WORDS = ListOf(String(), single=True)

_RESOLV_CONF = Mapping(
    {
        "nameservers": Field(_WORDS, "Addresses of name servers.", alone=True),
        "searchdomains": Field(_WORDS, "Domains to complete short names with.", alone=True),
        "domain": Field(String(), "The local domain.", alone=True),
        "sortlist": Field(_WORDS, "Networks whose addresses come first.", alone=True),
        "options": Field(
            MapOf(AnyOf(Choice(True, False), Integer(text=False), String())),
            "Options of resolv.conf(5); true for those without a value.",
            alone=True,
        ),
    }
)

KEYS = {
    "manage_resolv_conf": Field(flag(), "Write what resolv_conf says.  Default: false."),
    "resolv_conf": Field(_RESOLV_CONF, "The content of resolv.conf(5)."),
}
