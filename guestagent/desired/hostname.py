"""The host name: in hostname(5), in the running kernel, and on its own line in hosts(5)."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.model import Text
from guestagent.parse import fields
from guestagent.plan.kinds.file import File

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import InstanceData
    from guestagent.plan.wanted import Ask, Wanted

_NO_UNDERSCORE = "has an underscore, which no host name may have; it becomes a hyphen"
# A key of cloud-config, the image's setting that it overrides, and what its values mean there.
_SWITCHES = (
    ("preserve_hostname", "hostname_manage", {True: False, False: True}),
    ("prefer_fqdn_over_hostname", "hostname_fqdn", {True: True, False: False}),
    ("manage_etc_hosts", "hosts_manage", {True: True, "localhost": True, False: False}),
)


def names(data: InstanceData) -> tuple[str, str]:
    """Return the short host name and the full one; both are empty where no name is given."""
    if data.hostname is None:
        return "", ""
    name = data.hostname.value
    if data.fqdn is not None:
        return name, data.fqdn.value
    return name.split(".")[0], name


def overridden(ask: Ask, wanted: Wanted) -> Ask:
    """Return what to plan from once cloud-config has overridden the host name and its settings.

    As in cloud-init, the full name is ``fqdn``, else a ``hostname`` with a dot, else the
    metadata's; the short name is ``hostname``, else the full name up to its first dot.
    """
    data, settings = ask.data, ask.settings
    hostname = _name(ask, "hostname", wanted)
    fqdn = _name(ask, "fqdn", wanted)
    if fqdn is not None:
        data = data._replace(hostname=hostname or fqdn, fqdn=fqdn if hostname else None)
    elif hostname is not None:
        full = data.hostname
        if "." in hostname.value or full is None or "." not in full.value:
            full = None  # the metadata know no full name that goes with it
        data = data._replace(hostname=hostname, fqdn=full)
    for key, field, meanings in _SWITCHES:
        setting = data.setting(key)
        if setting is not None:
            settings = settings._replace(**{field: meanings[setting.value]})  # type: ignore[arg-type]
    return ask._replace(data=data, settings=settings)


def _name(ask: Ask, key: str, wanted: Wanted) -> Text | None:
    """Return the host name that a key gives; None for a bad one, or where the key is not given."""
    setting = ask.data.setting(key)
    if setting is None:
        return None
    text = fields.without_number(setting.value)
    if text != setting.value:
        wanted.warn(setting.at(), fields.NUMBER_LEFT_OUT)
    if "_" in text and _is_host_name(text.replace("_", "-")):
        wanted.warn(setting.at(), _NO_UNDERSCORE)
        text = text.replace("_", "-")
    name = wanted.take(setting.at(), fields.host_name, text)
    return Text(name, setting.at()) if name is not None else None


def _is_host_name(text: str) -> bool:
    try:
        fields.host_name(text)
    except FieldError:
        return False
    return True


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan hostname(5), the kernel's name on a running system, and hosts(5), each by setting.

    The first two get the short name; the setting ``hostname.fqdn`` gives them the full one, unless
    it is longer than Linux holds.
    """
    data, settings = ask.data, ask.settings
    if data.hostname is None:
        return
    short, full = names(data)
    static, why = short, data.hostname.origin
    if settings.hostname_fqdn:
        static, why = full, (data.fqdn or data.hostname).origin
    if settings.hostname_manage:
        if len(static) > defs.HOSTNAME_LIMIT:
            reason = f"longer than {defs.HOSTNAME_LIMIT} bytes: cut at the first dot"
            wanted.warn(why, reason)
            static = static.split(".")[0]
        content = f"{static}\n".encode()
        wanted.want(File("file", defs.HOSTNAME_FILE, content, mode=0o644, why=why))
        if ask.facts.live:
            from guestagent.plan.kinds.hostname import Hostname

            wanted.want(Hostname("hostname", static, why))
    if settings.hosts_manage and _has_hosts(ask):
        from guestagent.plan.kinds.block import Hosts

        # Debian's convention: 127.0.0.1 is for localhost alone.
        address = "127.0.1.1" if ask.facts.is_like("debian") else "127.0.0.1"
        given = tuple(dict.fromkeys((full, short)))
        wanted.want(Hosts("hosts", address, given, own=static, why=data.hostname.origin))


def _has_hosts(ask: Ask) -> bool:
    """Tell whether hosts(5) gets the names: what user data do not ask for must be of use."""
    if ask.data.setting("manage_etc_hosts") is not None:
        return True
    # Without that these may not be the guest's own names, and a file of the source's is whole.
    written = {item.path for item in ask.planned if item.kind == "file"}
    return ask.settings.hostname_manage and defs.HOSTS_FILE not in written
