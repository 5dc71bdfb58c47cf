"""What sshd(8) is told: its policy, in a drop-in of sshd_config(5), and its host keys."""

from __future__ import annotations

from guestagent import defs
from guestagent.desired.accounts.access import who_gets_in
from guestagent.errors import Origin
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from guestagent.desired.accounts.access import Access
    from guestagent.desired.accounts.reach import Way
    from guestagent.model import Facts
    from guestagent.plan.wanted import Ask, Wanted

_SETTINGS = Origin("settings", defs.SETTINGS_FILE, "sshd")
_NO_KEY = (
    "passwords are not switched off, because no account gets an SSH key that lets it in, and so no"
    " one could log in over ssh; give an account a key"
)
_RELIES = (
    "passwords are switched off although no account gets an SSH key that lets it in: people must"
    " log in by {ways}"
)
_OTHER_HOST_KEYS = (
    "sshd is told to use host keys that are the image's, and so every instance's ({paths}); whoever"
    " has the image can take this guest's place: remove their HostKey lines in the image, so that"
    " sshd uses those that are made in /etc/ssh"
)
_NOBODY_YET = Origin("guestagent", "", "sshd")
# What a Match block denies takes the place of what is denied outside; several of them add up.
_CLOSED = b"""\
# Written by guestagent at a first boot, and removed when this guest is configured: until then
# there are only the keys and passwords of its image, by which nobody may log in.
DenyUsers *
Match all
DenyUsers *
"""
_STAYS_OPEN = (
    "until this guest is configured, keys and passwords of the image let in over ssh: correct that"
    " in the image"
)
_ROOT_NOTE = "root has a password by user data, and ssh_pwauth lets it log in with that"


class Policy(NamedTuple):
    """What the drop-in says, and where most of it comes from.

    ``password`` and ``root`` are the values of PasswordAuthentication and PermitRootLogin, empty
    to leave them as they are; ``notes`` become comments, ``certificates`` are paths.  ``ways`` are
    those into the guest without a file of keys.
    """

    password: str
    root: str
    why: Origin
    notes: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()
    ways: tuple[Way, ...] = ()


def close(facts: Facts, wanted: Wanted) -> None:
    """Plan that sshd lets nobody in: who may is known when the source of the guest is.

    Until then there are the keys and passwords of the image, or of another instance.
    """
    if "sshd" not in facts.programs:
        return
    if facts.sshd_dropins:
        from guestagent.plan.kinds.sshd import SshdClosed

        wanted.want(SshdClosed("sshd_closed", _CLOSED, _NOBODY_YET))
    else:
        wanted.warn(_NOBODY_YET, f"{defs.SSHD_CONFIG} includes no drop-ins; {_STAYS_OPEN}")


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan sshd's policy and host keys, by settings and cloud-config, where sshd is installed.

    Accounts must be planned before: what sshd may refuse depends on who gets in.
    """
    if "sshd" not in ask.facts.programs:
        asked = ask.data.setting("ssh_pwauth")
        if asked is not None:
            wanted.warn(asked.at(), "has no effect: sshd is not installed")
        return
    access = who_gets_in(ask.planned)
    policy = _policy(ask, access, wanted)
    if ask.data.config:
        _plan_by_cloud_config(ask, policy, access, wanted=wanted)
    else:
        _plan_drop_in(ask, policy, access, wanted=wanted)
        types = ask.settings.ssh_host_key_types
        if ask.settings.ssh_host_keys and types:
            from guestagent.plan.kinds.host_keys import HostKeys

            wanted.want(HostKeys("host_keys", types, _instance(ask)))
    if ask.first and ask.facts.host_keys:
        _tell_of_other_host_keys(ask, wanted)


def _tell_of_other_host_keys(ask: Ask, wanted: Wanted) -> None:
    """Make it an error that keys of the image stay, where they are to be removed."""
    for item in wanted.resources:
        if item.kind == "host_keys" and item.others == "removed":
            wanted.error(item.why, _OTHER_HOST_KEYS.format(paths=" ".join(ask.facts.host_keys)))


def _plan_by_cloud_config(ask: Ask, policy: Policy, access: Access, wanted: Wanted) -> None:
    """Plan the drop-in and the host keys where cloud-config may ask for them, too."""
    from guestagent.desired.sshd import host_keys

    files: dict[str, str] = {}
    setting = ask.data.setting("ssh_keys")
    if setting is not None:
        files = host_keys.given(setting, wanted)
        policy = _with_certificates(policy, host_keys.certificates(files), setting.at())
    _plan_drop_in(ask, policy, access, wanted=wanted)
    host_keys.plan(ask, files, _instance(ask), wanted=wanted)


def _instance(ask: Ask) -> Origin:
    """Return the origin of what every new instance gets."""
    known = ask.data.instance_id
    return known.origin if known is not None else Origin("settings", "", "ssh")


def _policy(ask: Ask, access: Access, wanted: Wanted) -> Policy:
    """Return the policy: that of the settings, with what cloud-config says instead.

    Password authentication is not switched off where no one can log in by key or certificate, as
    no one could log in by ssh at all then.
    """
    settings = ask.settings
    policy = Policy(
        settings.sshd_password_authentication, settings.sshd_permit_root_login, _SETTINGS
    )
    switch = ask.data.setting("ssh_pwauth")
    if switch is not None:
        policy = policy._replace(password="yes" if switch.value else "no", why=switch.at())
        if switch.value and _root_may_use_password(ask, access, switch.at(), wanted=wanted):
            policy = policy._replace(root="yes", notes=(_ROOT_NOTE,))
    if policy.password != "no":  # noqa: S105 - no password
        return policy
    if ask.facts.sshd:
        from guestagent.desired.accounts import reach

        policy = policy._replace(ways=reach.other_ways(ask, wanted))
    if access.by_key:
        return policy
    if policy.ways:
        names = dict.fromkeys(way.by for way in policy.ways)
        wanted.warn(policy.why, _RELIES.format(ways=" or ".join(names)))
        return policy
    if not ask.first and not ask.complete:
        return policy  # the keys of the boot before are still there, which is checked last
    # The settings are for many guests, user data for this one.
    if switch is None:
        wanted.warn(_SETTINGS._replace(key="sshd.password_authentication"), _NO_KEY)
    else:
        wanted.error(switch.at(), _NO_KEY)
    return policy._replace(password="")


def _root_may_use_password(ask: Ask, access: Access, why: Origin, wanted: Wanted) -> bool:
    """Tell whether to let root log in by password, which the key at ``why`` switches on.

    It is let in if user data give it a password and do not disable it: with the image's usual
    ``PermitRootLogin prohibit-password``, both would have no effect.
    """
    password = access.by_password.get("root")
    if password is None or password in _metadata_origins(ask):
        return False
    disabled = ask.data.setting("disable_root")
    if disabled is not None:
        return not disabled.value
    if ask.settings.sshd_permit_root_login in ("", "yes"):
        return True
    wanted.warn(why, "root cannot use its password over ssh: the settings do not permit it")
    return False


def _metadata_origins(ask: Ask) -> list[Origin]:
    """Return the origins of passwords that the metadata ask for."""
    found = (ask.data.admin_pass, ask.data.password_url)
    return [password.origin for password in found if password is not None]


def _with_certificates(policy: Policy, names: Iterable[str], why: Origin) -> Policy:
    """Return the policy with host certificates, which are files of those names."""
    certificates = tuple(f"{defs.SSH_DIR}/{name}" for name in names)
    if certificates and policy.why == _SETTINGS:
        policy = policy._replace(why=why)
    return policy._replace(certificates=certificates)


def _plan_drop_in(ask: Ask, policy: Policy, access: Access, wanted: Wanted) -> None:
    """Plan the drop-in, unless sshd reads none, or there is nothing to say in it."""
    lines = [f"# {note}." for note in policy.notes]
    if policy.password:
        lines.append(f"PasswordAuthentication {policy.password}")
    if policy.root:
        lines.append(f"PermitRootLogin {policy.root}")
    lines += [f"HostCertificate {path}" for path in policy.certificates]
    if not lines:
        return
    if not ask.facts.sshd_dropins:
        reason = f"{defs.SSHD_CONFIG} includes no drop-ins; not set"
        # The settings are for many guests, user data for this one.
        if policy.why == _SETTINGS:
            wanted.warn(policy.why, reason)
        else:
            wanted.error(policy.why, reason)
        return
    text = "".join(f"{line}\n" for line in ("# Written by guestagent.", *lines))
    from guestagent.plan.kinds.sshd import SshdPolicy

    switches_off = policy.password == "no"  # noqa: S105 - no password
    key_files = tuple(sorted(access.key_files))
    drop_in = SshdPolicy("sshd_policy", text.encode(), policy.why, switches_off, key_files)
    asked, others = tuple(access.asked.items()), tuple(way.files for way in policy.ways)
    wanted.want(drop_in._replace(asked=asked, others=others))
