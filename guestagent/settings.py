"""The image's settings: ``/etc/guestagent/guestagent.toml`` and its drop-ins.

A value of a drop-in replaces an earlier one.  ``parse.settings_file`` reads a file's text.
"""

from __future__ import annotations

from guestagent import VERSION, defs
from guestagent.errors import GuestagentError, Origin, Problems, Refused
from guestagent.record import NamedTuple
from guestagent.system.digest import digest
from guestagent.system.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from guestagent.system.root import Root

_LEADS_NOWHERE = "its symbolic link leads to nothing; make that, or remove the link"
# What a file counts as that cannot be read: it may say that user data must be signed.
_UNREADABLE = b'[signatures]\npolicy = "required"\nvendor_policy = "required"\n'


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
    source_order: tuple[str, ...] = defs.SOURCES
    drive_wait: float = defs.DRIVE_WAIT
    drive_labels: tuple[str, ...] = defs.LABELS
    drive_expected: bool = False
    disk_grow: bool = True
    disk_grow_volumes: bool = False
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
    fetch_enable: bool = False
    fetch_http: bool = False
    signatures_policy: str = "off"
    signatures_vendor_policy: str = "same"
    signatures_signers: str = defs.SIGNERS_FILE
    cloud_init_files: bool = True
    scripts_early_limit: float = defs.SCRIPTS_EARLY_LIMIT
    scripts_late_limit: float = defs.SCRIPTS_LATE_LIMIT
    scripts_stop_at_failure: bool = False
    scripts_bootcmd: str = "early"

    @property
    def signature_policies(self) -> tuple[Any, Any]:
        """The policies for signatures of user data and of vendor data, each as it applies."""
        own, vendor = self.signatures_policy, self.signatures_vendor_policy
        return own, own if vendor == "same" else vendor

    @property
    def demands_signatures(self) -> bool:
        """Tell whether anything must be signed."""
        return self.signature_policies != ("off", "off")


class Known(NamedTuple):
    """What settings files mean: values by the fields of ``Settings``.

    The digest is that of the files, of the values and of this version of guestagent; it is empty
    where something in the files cannot be used, which each run has to report.
    """

    values: dict[str, Any] = {}  # noqa: RUF012 - a record's default, never changed
    digest: str = ""


def load(root: Root, problems: Problems) -> Settings:
    """Read the settings of a guest: the main file, then the drop-ins in the order of their names.

    Raises nothing: what cannot be read or used is reported, and its default applies.
    """
    return load_known(root, problems, Known())[0]


def load_known(root: Root, problems: Problems, known: Known) -> tuple[Settings, Known]:
    """Do the same, and parse only files that are not ``known``; return what is known then too.

    To import tomllib takes twice as long as the interpreter's start.
    """
    wrong = Problems()
    contents = _read_files(root, wrong)
    if not contents:
        return Settings(), Known()
    if known.digest and not wrong.problems and known.digest == _digest(contents, known.values):
        return Settings(**known.values), known
    from guestagent.parse.settings_file import parse_settings

    found: dict[str, Any] = {}
    for path, content in contents.items():
        found |= parse_settings(content, _origin(path), wrong)
    # Everywhere else the empty name means the stack that is in use.
    if found.get("network_backend") == "auto":
        found["network_backend"] = ""
    problems.add_all(wrong)
    return Settings(**found), Known(found, "" if wrong.problems else _digest(contents, found))


def _read_files(root: Root, problems: Problems) -> dict[str, bytes]:
    """Return the files that say something, by their paths in the order in which they count."""
    names: list[str] = []
    unread = {}
    try:
        names = [name for name in root.listdir(defs.SETTINGS_DROPINS) if name.endswith(".toml")]
    except (GuestagentError, OSError) as error:
        problems.error(_origin(defs.SETTINGS_DROPINS), str(error))
        unread[defs.SETTINGS_DROPINS] = _UNREADABLE
    contents = {}
    for path in (defs.SETTINGS_FILE, *(f"{defs.SETTINGS_DROPINS}/{name}" for name in names)):
        try:
            content = root.read(path)
            if content is None and root.readlink(path) is not None:
                raise Refused(_LEADS_NOWHERE)
        except (GuestagentError, OSError) as error:
            problems.error(_origin(path), str(error))
            root.exists(path.rpartition("/")[0])  # whose mode may be the reason, and change
            content = _UNREADABLE
        if content is not None and _says_something(content):
            contents[path] = content
    return contents | unread


def _digest(contents: Mapping[str, bytes], values: Mapping[str, Any]) -> str:
    said = f"{VERSION}\n{dumps(values)}\n".encode()
    for path, content in contents.items():
        said += f"{path}\0{len(content)}\n".encode("utf-8", "surrogateescape") + content
    return digest(said)


def _says_something(content: bytes) -> bool:
    """Tell whether a file has a line that is neither empty nor a comment: the shipped has none."""
    lines = (line.strip() for line in content.splitlines())
    return any(line and not line.startswith(b"#") for line in lines)


def _origin(path: str) -> Origin:
    return Origin("settings", path, "")
