"""The host name as cloud-config has it: it comes before the metadata's."""

from __future__ import annotations

from guestagent.errors import FieldError, Problem
from guestagent.model import Text
from guestagent.parse import fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import InstanceData
    from guestagent.settings import Settings

# A key, the setting of the image that it stands for, and what its values are there.
_SWITCHES = (
    ("preserve_hostname", "hostname_manage", {True: False, False: True}),
    ("prefer_fqdn_over_hostname", "hostname_fqdn", {True: True, False: False}),
    ("manage_etc_hosts", "hosts_manage", {True: True, "localhost": True, False: False}),
)


def overlay(data: InstanceData, settings: Settings) -> tuple[InstanceData, Settings, list[Problem]]:
    """Data and settings with what the keys on the host name say instead, and what is wrong.

    As in cloud-init ``fqdn`` gives the full name, else a ``hostname`` with a dot, else the
    metadata; ``hostname`` gives the short one, else what comes before the full one's first dot.
    """
    problems: list[Problem] = []
    hostname, fqdn = (_name(data, key, problems) for key in ("hostname", "fqdn"))
    if fqdn:
        data = data._replace(hostname=hostname or fqdn, fqdn=fqdn if hostname else None)
    elif hostname:
        told = data.hostname
        full = told if "." not in hostname.value and told and "." in told.value else None
        data = data._replace(hostname=hostname, fqdn=full)
    for key, field, meanings in _SWITCHES:
        setting = data.setting(key)
        if setting is not None:
            settings = settings._replace(**{field: meanings[setting.value]})  # type: ignore[arg-type]
    return data, settings, problems


def _name(data: InstanceData, key: str, problems: list[Problem]) -> Text | None:
    setting = data.setting(key)
    if setting is None:
        return None
    try:
        return Text(fields.host_name(setting.value), setting.at())
    except FieldError as error:
        problems.append(Problem("error", *setting.at(), str(error)))
        return None
