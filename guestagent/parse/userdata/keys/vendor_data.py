"""The keys by which user data admits vendor data, and the form of their values after check().

============  =================
vendor_data   {"enabled": bool}
vendor_data2  the same
============  =================

Before they are checked, ``layers`` has done what they say.
"""

from __future__ import annotations

from guestagent.parse.userdata.containers import Mapping
from guestagent.parse.userdata.scalars import Unsupported, flag
from guestagent.parse.userdata.shape import Field

_PREFIX = Unsupported("is not supported: vendor scripts run as they are")
_VENDOR_DATA = Mapping(
    {
        "enabled": Field(flag(), "Use what the provider sends.  Default: true."),
        "prefix": Field(_PREFIX, "Not supported: vendor scripts run as they are."),
    },
    example="{enabled: false}",
)

KEYS = {
    "vendor_data": Field(_VENDOR_DATA, "Whether the provider's own data is used."),
    "vendor_data2": Field(_VENDOR_DATA, "Whether the provider's dynamic data is used."),
}
