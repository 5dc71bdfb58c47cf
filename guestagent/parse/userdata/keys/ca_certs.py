"""The key ``ca_certs``, and the form of its value after check().

========  ==============================================
ca_certs  {"remove_defaults": bool, "trusted": list of str}
========  ==============================================
"""

from __future__ import annotations

from guestagent.parse.userdata.containers import ListOf, Mapping
from guestagent.parse.userdata.scalars import String, flag
from guestagent.parse.userdata.shape import Field

_CA_CERTS = Mapping(
    {
        "remove_defaults": Field(
            flag(),
            "Trust none of the image's own certificates.  Default: false.",
            old=("remove-defaults",),
        ),
        "trusted": Field(ListOf(String(), single=True), "Certificates to trust, in PEM."),
    }
)

KEYS = {"ca_certs": Field(_CA_CERTS, "Certificate authorities to trust.", old=("ca-certs",))}
