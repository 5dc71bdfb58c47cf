"""Keys of the host name, and the form of their values after check().

=========================  =======================================
hostname, fqdn             str
prefer_fqdn_over_hostname  bool
preserve_hostname          bool
manage_etc_hosts           True | False | "localhost" ("template" is True)
=========================  =======================================
"""

from __future__ import annotations

from guestagent.parse.userdata.scalars import FLAG_WORDS, Choice, String, flag
from guestagent.parse.userdata.shape import Field

_NAME = String(numbers=True, blank=False)

KEYS = {
    "hostname": Field(_NAME, "The host name."),
    "fqdn": Field(_NAME, "The host name with its domain."),
    "prefer_fqdn_over_hostname": Field(flag(), "Make fqdn the host name if both are given."),
    "preserve_hostname": Field(flag(), "Leave the host name alone.  Default: false."),
    "manage_etc_hosts": Field(
        Choice(True, False, "localhost", old=(*FLAG_WORDS, ("template", True))),
        "Keep the host's own name, and localhost, in /etc/hosts.  Default: true.",
    ),
}
