"""The image's settings: ``/etc/guestagent/guestagent.toml`` and its drop-ins.

A value of a drop-in replaces an earlier one.  ``parse.settings_file`` reads a file's text.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import GuestagentError, Origin
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.errors import Problems
    from guestagent.system.root import Root


class Settings(NamedTuple):
    """The settings, with their defaults: field ``table_key`` is ``key`` below ``[table]``.

    Their meaning is described in the shipped guestagent.toml.
    """

    user_name: str = ""
    user_gecos: str = "Default user"
    user_shell: str = "/bin/bash"
    user_groups: tuple[str, ...] = ("adm", "sudo", "wheel", "systemd-journal")
    user_sudo: bool = True
    hostname_manage: bool = True
    hostname_fqdn: bool = False
    hosts_manage: bool = True
    ssh_keys_for: tuple[str, ...] = ("default",)
    ssh_host_keys: bool = True
    ssh_host_key_types: tuple[str, ...] = ("ed25519", "ecdsa", "rsa")
    sshd_password_authentication: str = ""
    sshd_permit_root_login: str = ""
    password_for: str = "default"  # noqa: S105 - an account, not a password
    files_manage: bool = True
    files_mode: int = 0o600
    network_manage: bool = True
    network_backend: str = ""
    network_policy_routing: bool = False
    network_enable: bool = True
    network_other_nics: bool = True
    random_seed_manage: bool = True
    drive_wait: float = defs.DRIVE_WAIT
    disk_grow: bool = True
    metadata_service: str = "auto"
    metadata_urls: tuple[str, ...] = ()
    metadata_wait: float = defs.METADATA_WAIT
    metadata_imds_v1: bool = False
    metadata_refresh: str = "access"
    metadata_link_local_ipv4: bool = False
    password_post: bool = False
    password_random_to_console: bool = False
    daemon_nics: bool = True
    daemon_drives: bool = True
    daemon_poll: float = 0.0
    daemon_new_instance: bool = False
    cloud_init_files: bool = True
    scripts_early_limit: float = defs.SCRIPTS_EARLY_LIMIT
    scripts_late_limit: float = defs.SCRIPTS_LATE_LIMIT


def load(root: Root, problems: Problems) -> Settings:
    """Read the settings of a guest: the main file, then the drop-ins in the order of their names.

    Raises nothing: what cannot be read or used is reported, and its default applies.
    """
    names = [name for name in root.listdir(defs.SETTINGS_DROPINS) if name.endswith(".toml")]
    paths = [defs.SETTINGS_FILE, *(f"{defs.SETTINGS_DROPINS}/{name}" for name in names)]
    found: dict[str, Any] = {}
    for path in paths:
        try:
            content = root.read(path)
        except (GuestagentError, OSError) as error:
            problems.error(_origin(path), str(error))
            continue
        if content is not None and _says_something(content):
            from guestagent.parse.settings_file import parse_settings

            found |= parse_settings(content, _origin(path), problems)
    # Everywhere else the empty name means the stack that is in use.
    if found.get("network_backend") == "auto":
        found["network_backend"] = ""
    return Settings(**found)


def _says_something(content: bytes) -> bool:
    """Tell whether a file has a line that is neither empty nor a comment.

    The shipped file has none, and to import tomllib takes twice as long as the interpreter's start.
    """
    lines = (line.strip() for line in content.splitlines())
    return any(line and not line.startswith(b"#") for line in lines)


def _origin(path: str) -> Origin:
    return Origin("settings", path, "")
