"""Every key of cloud-config that guestagent knows, put together from the modules by group.

What a value looks like after check() stands at the head of each of those modules.
"""

from __future__ import annotations

from guestagent.parse.userdata.keys import run as keys_run
from guestagent.parse.userdata.keys import software as keys_software
from guestagent.parse.userdata.keys import system as keys_system
from guestagent.parse.userdata.keys import users as keys_users
from guestagent.parse.userdata.keys.other import HANDLED, IGNORED, UNSUPPORTED
from guestagent.parse.userdata.keys.software import OLD_APT, old_apt, old_apt_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.parse.userdata.shapes import Field

__all__ = [
    "HANDLED",
    "IGNORED",
    "KEYS",
    "OLD",
    "OLD_APT",
    "UNSUPPORTED",
    "old_apt",
    "old_apt_fields",
]

KEYS: dict[str, Field] = keys_system.KEYS | keys_users.KEYS | keys_run.KEYS | keys_software.KEYS
"""The definition of each key by its name of today."""

OLD = {old: name for name, field in KEYS.items() for old in field.old}
"""Deprecated names, and the name of today."""
