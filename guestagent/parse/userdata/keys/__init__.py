"""The definitions of all keys of cloud-config that guestagent knows, one module per family.

The docstring of each module says what the values look like after check().
"""

from __future__ import annotations

from guestagent.parse.userdata.keys import (
    apt,
    ca_certs,
    commands,
    disks,
    files,
    finish,
    hostname,
    locale,
    ntp,
    packages,
    passwords,
    resolv_conf,
    ssh,
    users,
    vendor_data,
)
from guestagent.parse.userdata.keys.apt import OLD_APT, join_old_apt, old_apt_fields
from guestagent.parse.userdata.keys.not_supported import HANDLED, IGNORED, UNSUPPORTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.parse.userdata.shape import Field

__all__ = [
    "HANDLED",
    "IGNORED",
    "KEYS",
    "OLD_APT",
    "OLD_NAMES",
    "UNSUPPORTED",
    "join_old_apt",
    "old_apt_fields",
]

KEYS: dict[str, Field] = {
    **hostname.KEYS,
    **locale.KEYS,
    **ntp.KEYS,
    **resolv_conf.KEYS,
    **disks.KEYS,
    **users.KEYS,
    **passwords.KEYS,
    **ssh.KEYS,
    **files.KEYS,
    **commands.KEYS,
    **finish.KEYS,
    **vendor_data.KEYS,
    **packages.KEYS,
    **apt.KEYS,
    **ca_certs.KEYS,
}
"""The definition of each key under its current name."""

OLD_NAMES = {old: name for name, field in KEYS.items() for old in field.old}
"""Deprecated names of keys, and their current ones."""
