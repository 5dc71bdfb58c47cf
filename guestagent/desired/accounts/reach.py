"""Whether sshd lets an account in with its key, by a configuration that is not the usual one."""

from __future__ import annotations

from guestagent.desired.accounts import default_user
from guestagent.errors import FieldError
from guestagent.parse import sshd_config
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from guestagent.desired.accounts import Login
    from guestagent.errors import Origin
    from guestagent.plan.wanted import Ask, Wanted

_FILES = "authorizedkeysfile"
_USUAL = ".ssh/authorized_keys"
_NONE = (
    "sshd reads no file of keys for {user} (AuthorizedKeysFile none), so that the key would let no"
    " one in; it is not written: change AuthorizedKeysFile in the image"
)
_SHARED = (
    "sshd reads the keys of {user} only from files that are not its own (AuthorizedKeysFile), so"
    " that the key would let no one in; it is not written: name a file with %u or %h there"
)
LOCKED = (
    "UsePAM of sshd is off, so that no one logs in to an account whose password is locked: set"
    " UsePAM yes, or give it a password and lock_passwd: false"
)
KEPT_OUT = "maybe lets no one in as {user}: {reason}"
_FIRST_UID = 1000  # of people; only root has a lower one
_ROOT_STAYS_OUT = ("no", "forced-commands-only")
_SHELLS = ("nologin", "false")


class KeyFile(NamedTuple):
    """Where an account's keys go; a file outside the home is root's, and everyone may read it."""

    path: str
    user: str
    mode: int


def key_file(ask: Ask, name: str, home: str, wanted: Wanted) -> KeyFile:
    """Return the file of keys that sshd reads for an account.  Raises FieldError without one."""
    value = _settings(ask, name, wanted).get(_FILES, _USUAL)
    patterns = sshd_config.words(value)
    if [pattern.lower() for pattern in patterns] == ["none"]:
        raise FieldError(_NONE.format(user=name))
    patterns.sort(key=lambda pattern: pattern not in (_USUAL, f"%h/{_USUAL}"))  # that one first
    for pattern in patterns:
        account = ask.facts.account(name)
        path = expanded(pattern, name, home, str(account.uid) if account else "")
        if path.startswith(f"{home}/"):
            return KeyFile(path, name, 0o600)
        if path:
            return KeyFile(path, "", 0o644)
    raise FieldError(_SHARED.format(user=name))


def expanded(pattern: str, name: str, home: str, uid: str) -> str:
    """Return the path that a pattern of AuthorizedKeysFile means for an account.

    It is empty where that is not a file of this account alone.  ``uid`` is empty where it is not
    known yet.
    """
    if "\ufffd" in pattern:
        return ""  # it is not UTF-8, and so not known
    if not pattern.startswith(("/", "%h")):
        pattern = f"%h/{pattern}"
    values = {"%": "%", "h": home, "u": name, "U": uid}
    parts, own = pattern.split("%"), False
    path, rest = parts[0], parts[1:]
    while rest:
        part = rest.pop(0)
        sign = part[:1] or "%"
        if not values.get(sign):
            return ""
        own = own or sign != "%"
        path += values[sign] + (part[1:] if part else rest.pop(0) if rest else "")
    return path if own else ""


def without_obstructed(ask: Ask, logins: Iterable[Login], wanted: Wanted) -> list[Login]:
    """Return the keys of accounts, those marked that let no one in by a setting outside.

    Each such setting is a warning.
    """
    found = []
    for item in logins:
        if item.kind == "block" and item.lets_in:
            reasons = _obstacles(ask, item.account, wanted)
            _warn(item.account, item.why, reasons, wanted=wanted)
            item = item._replace(lets_in=not reasons)
        found.append(item)
    return found


def without_locked(ask: Ask, logins: Collection[Login], wanted: Wanted) -> list[Login]:
    """Return the keys, passwords and locks of the plan, marked as above.

    What counts here are locked passwords, where PAM is not asked.
    """
    found = []
    for item in logins:
        if item.kind == "block" and item.lets_in:
            settings = _settings(ask, item.account, wanted)
            if settings.get("usepam", "").lower() == "no" and _is_locked(ask, item.account, logins):
                _warn(item.account, item.why, [LOCKED], wanted=wanted)
                item = item._replace(lets_in=False)
        found.append(item)
    return found


class Way(NamedTuple):
    """A way in without a file of keys: what it is by, and the files that must all be there."""

    by: str
    files: tuple[str, ...]


def other_ways(ask: Ask, wanted: Wanted) -> tuple[Way, ...]:
    """Return the ways in that sshd's configuration gives people without a file of keys."""
    names = [entry.name for entry in ask.facts.accounts if not 0 < entry.uid < _FIRST_UID]
    names += [item.name for item in ask.planned if item.kind == "user"]
    ways: dict[Way, None] = {}
    for name in names:
        if not _obstacles(ask, name, wanted):
            ways |= dict.fromkeys(_other_ways(ask, name, _settings(ask, name, wanted)))
    return tuple(ways)


def _other_ways(ask: Ask, name: str, found: Mapping[str, str]) -> list[Way]:
    ways = []
    authority = sshd_config.words(found.get("trustedusercakeys", "none"))[:1]
    if authority and authority[0].startswith("/"):
        files = [*authority, *_principals(ask, name, found)]
        ways.append(Way(f"certificates (TrustedUserCAKeys {authority[0]})", tuple(files)))
    command = sshd_config.words(found.get("authorizedkeyscommand", "none"))[:1]
    user = found.get("authorizedkeyscommanduser", "").strip('"')
    if command and command[0].startswith("/") and ask.facts.account(user) is not None:
        ways.append(Way(f"keys that AuthorizedKeysCommand prints ({command[0]})", (command[0],)))
    return ways


def _principals(ask: Ask, name: str, found: Mapping[str, str]) -> list[str]:
    """Return the file that must name whose certificates an account takes, if there must be one."""
    pattern = sshd_config.words(found.get("authorizedprincipalsfile", "none"))[:1]
    account = ask.facts.account(name)
    if not pattern or pattern[0].lower() == "none" or account is None:
        return []
    path = expanded(pattern[0], name, account.home.rstrip("/"), str(account.uid))
    return [path or pattern[0]]


def _is_root_let_in(ask: Ask) -> bool:
    """Tell whether user data may let root in with a password, whatever the settings say."""
    switch = ask.data.setting("ssh_pwauth")
    return switch is not None and bool(switch.value)


def _warn(name: str, why: Origin, reasons: Iterable[str], wanted: Wanted) -> None:
    for reason in reasons:
        wanted.warn(why, KEPT_OUT.format(user=name, reason=reason))


def _obstacles(ask: Ask, name: str, wanted: Wanted) -> list[str]:
    """Return why an account's key lets no one in, whether or not its password is locked."""
    found = _settings(ask, name, wanted)
    reasons = [*_by_lists(found, name, _groups(ask, name, wanted)), *_by_methods(found)]
    root = found.get("permitrootlogin", "").lower()
    if ask.settings.sshd_permit_root_login in _ROOT_STAYS_OUT and not _is_root_let_in(ask):
        root = ask.settings.sshd_permit_root_login  # the drop-in will say so
    if name == "root" and root in _ROOT_STAYS_OUT:
        reasons.append(f"PermitRootLogin of sshd is {root}: set it to prohibit-password")
    if _shell(ask, name, wanted).rpartition("/")[2] in _SHELLS:
        reasons.append("its shell takes no logins: give it another one")
    return reasons


def _shell(ask: Ask, name: str, wanted: Wanted) -> str:
    """Return the login shell of an account, or the one that is planned; empty for the usual."""
    account = ask.facts.account(name)
    if account is not None:
        return account.shell
    planned = [item for item in wanted.resources if item.kind == "user" and item.name == name]
    return planned[0].shell if planned else ask.settings.user_shell


def _is_locked(ask: Ask, name: str, logins: Iterable[Login]) -> bool:
    """Tell whether an account's password will be locked: useradd(8) leaves a new one so."""
    kinds = {item.kind for item in logins if item.kind != "block" and item.name == name}
    if not kinds and name in ask.facts.locked:
        return True
    if "password_state" in kinds:
        return any(
            item.kind == "password_state" and item.name == name and item.state == "locked"
            for item in logins
        )
    return ask.facts.account(name) is None and not kinds


def _settings(ask: Ask, name: str, wanted: Wanted) -> Mapping[str, str]:
    return sshd_config.settings_for(ask.facts.sshd, name, _groups(ask, name, wanted))


def _groups(ask: Ask, name: str, wanted: Wanted) -> set[str]:
    """Return the groups that an account is in, or will be; a group of its own name is assumed."""
    groups = {name}
    for membership in ask.facts.memberships:
        group, _, member = membership.partition(":")
        if member == name:
            groups.add(group)
    if ask.facts.account(name) is not None:
        return groups
    planned = [item for item in wanted.resources if item.kind == "user" and item.name == name]
    for user in planned:
        groups.update(user.groups)
    if not planned:  # the default user, which is made for the key
        groups.update(default_user.usual_groups(ask))
    return groups


def _by_lists(found: Mapping[str, str], name: str, groups: Collection[str]) -> list[str]:
    """Return which lists of users and groups keep an account out."""
    reasons = []
    for keyword, label, names in (
        ("allowusers", "AllowUsers", (name,)),
        ("allowgroups", "AllowGroups", groups),
        ("denyusers", "DenyUsers", (name,)),
        ("denygroups", "DenyGroups", groups),
    ):
        if keyword not in found:
            continue
        # What follows an @ is where someone must come from.
        patterns = [pattern.partition("@")[0] for pattern in sshd_config.words(found[keyword])]
        listed = sshd_config.is_listed(patterns, names)
        if keyword.startswith("allow") and not listed:
            reasons.append(f"{label} of sshd does not name it: add it, or one of its groups")
        if keyword.startswith("deny") and listed:
            reasons.append(f"{label} of sshd names it: remove it there")
    return reasons


def _by_methods(found: Mapping[str, str]) -> list[str]:
    """Return which settings of sshd do not take a key, or not a key alone."""
    reasons = []
    if found.get("pubkeyauthentication", "yes").lower() == "no":
        reasons.append("PubkeyAuthentication of sshd is off: set it to yes")
    methods = sshd_config.words(found.get("authenticationmethods", "any").lower())
    if not {"any", "publickey"} & set(methods):
        reasons.append("AuthenticationMethods of sshd want more than a key: add publickey alone")
    return reasons
