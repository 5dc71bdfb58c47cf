"""Keys of sshd and of logins by ssh, and the form of their values after check().

=====================  ==========================================================================
ssh_pwauth             bool ("unchanged" is the same as not given)
disable_root           bool
disable_root_opts      str
allow_public_ssh_keys  bool
ssh_authorized_keys    list of str
ssh_import_id          list of str
ssh_keys               {"rsa_private": str (secret), "rsa_public": str, "rsa_certificate": …}
ssh_deletekeys         bool
ssh_genkeytypes        list of "rsa", "ecdsa", "ed25519", "dsa"
=====================  ==========================================================================
"""

from __future__ import annotations

from guestagent.parse.userdata.containers import ListOf, Mapping
from guestagent.parse.userdata.keys.users import IMPORT_IDS, PUBLIC_KEYS
from guestagent.parse.userdata.scalars import FLAG_WORDS, Choice, String, flag
from guestagent.parse.userdata.shape import Field

_KEY_TYPES = ("rsa", "ecdsa", "ed25519", "dsa")
_HOST_KEYS: dict[str, Field] = {}
for _type in _KEY_TYPES:
    _HOST_KEYS[f"{_type}_private"] = Field(
        String(), f"Private host key of type {_type}.", secret=True
    )
    _HOST_KEYS[f"{_type}_public"] = Field(String(), f"Public host key of type {_type}.")
    _HOST_KEYS[f"{_type}_certificate"] = Field(String(), f"Host certificate of type {_type}.")

KEYS = {
    "ssh_pwauth": Field(
        Choice(True, False, old=(*FLAG_WORDS, ("unchanged", None))),
        "Whether sshd accepts passwords.  Default: as in the image.",
    ),
    "disable_root": Field(flag(), "No ssh login as root.  Default: true."),
    "disable_root_opts": Field(String(), "Options before root's keys if its login is disabled."),
    "allow_public_ssh_keys": Field(flag(), "Use the public keys of the metadata.  Default: true."),
    "ssh_authorized_keys": Field(PUBLIC_KEYS, "Public keys that may log in as the default user."),
    "ssh_import_id": Field(IMPORT_IDS, "Whose keys to fetch: gh:NAME or lp:NAME."),
    "ssh_keys": Field(Mapping(_HOST_KEYS), "Host keys to install; then none are generated."),
    "ssh_deletekeys": Field(flag(), "Replace the image's host keys.  Default: true."),
    "ssh_genkeytypes": Field(
        ListOf(Choice(*_KEY_TYPES), single=True), "Types of host keys to generate."
    ),
}
