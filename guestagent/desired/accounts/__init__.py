"""Accounts, and the keys and passwords to log in with: of metadata and cloud-config."""

from __future__ import annotations

from guestagent import defs
from guestagent.desired.accounts import default_user
from guestagent.desired.accounts.access import lets_in
from guestagent.errors import FieldError
from guestagent.plan.kinds.block import Block
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from guestagent.desired.accounts.people import Person
    from guestagent.errors import Origin
    from guestagent.plan.kinds.account import PasswordState, UserPassword
    from guestagent.plan.kinds.random_password import ConsolePassword
    from guestagent.plan.wanted import Ask, Wanted

    # Lines of authorized_keys, each with its origin.
    Lines = list[tuple[str, Origin]]
    Login = Block | UserPassword | PasswordState | ConsolePassword

_LOST_KEYS = (
    "keys of the boot before stay: one that the source gives cannot be used; correct the value "
    "that is named in the error"
)
_NO_HOME = (
    "are for {user}, whose home in /etc/passwd is no absolute path; they are not written, and let "
    "no one in; give it one: usermod --home"
)
_NO_WORD_OF_KEYS = (
    "keys of the boot before stay: the metadata do not say which keys the instance has; "
    "public_keys: {} says that it has none"
)


class Accounts(NamedTuple):
    """The accounts that keys and passwords can be for.

    ``default`` is the default user's name, empty where there is none.  ``people`` are the accounts
    that cloud-config describes.  ``known`` are the names of all that exist or will be made.
    """

    default: str
    people: tuple[Person, ...]
    known: frozenset[str]


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan accounts, their SSH keys and their passwords.

    The default user is made where cloud-config names it, or where it gets a key or a password.
    """
    data = ask.data
    if data.config:
        from guestagent.desired.accounts import authorized, people, users

        default, found = people.read(ask, wanted)
        made = users.plan(ask, found, wanted)
        keys = authorized.keys(ask, default, made, wanted=wanted)
    else:
        default, made = default_user.usual_name(ask), ()
        keys = _metadata_keys(ask, default)
    keys = _with_imported(ask, keys, _who_imports(ask, default, made))
    accounts = Accounts(default, made, _known(ask, default, made))
    logins: list[Login] = [*_authorized_keys(ask, accounts, keys, wanted=wanted)]
    if ask.facts.sshd or _are_kept_out(ask, keys, wanted):
        from guestagent.desired.accounts import reach

        # Before passwords are locked, because others may not get in.
        logins = reach.without_obstructed(ask, logins, wanted)
    if data.config or data.admin_pass or data.password_url:
        from guestagent.desired.accounts import passwords

        logins += passwords.passwords_and_locks(ask, accounts, logins, wanted=wanted)
    if data.config:
        authorized.warn_of_unused(ask, default, [*ask.planned, *logins], wanted=wanted)
    if default not in ("", "root", *(person.name for person in made)):
        _make_default_user(ask, default, logins, wanted=wanted)
    if ask.facts.sshd:
        from guestagent.desired.accounts import reach

        logins = reach.without_locked(ask, logins, wanted)
    wanted.want(*logins)


def plan_imported(ask: Ask, wanted: Wanted) -> None:
    """Plan the SSH keys alone that were fetched for accounts, beside those that these have."""
    accounts = Accounts("", (), _known(ask, "", ()))
    everyone = frozenset(name for name, _ in ask.data.imported_keys)
    keys = _with_imported(ask, {}, everyone)
    wanted.want(*_authorized_keys(ask, accounts, keys, wanted=wanted))


def _who_imports(ask: Ask, default: str, people: Iterable[Person]) -> frozenset[str]:
    """Return the accounts whose fetched keys stay: user data ask for some, or may do so."""
    if not ask.complete:
        return frozenset(name for name, _ in ask.data.imported_keys)
    found = {each.name for each in people if "ssh_import_id" in each.fields}
    if ask.data.setting("ssh_import_id") is not None:
        found.add(default)
    return frozenset(found)


def _with_imported(ask: Ask, keys: dict[str, Lines], names: frozenset[str]) -> dict[str, Lines]:
    """Return the lines for each account, for ``names`` with those of the keys fetched for it."""
    found = dict(keys)
    for name, key in ask.data.imported_keys:
        if name not in names:
            continue
        lines = found.get(name, [])
        if not any(key.value.split()[1] in line for line, _ in lines):
            found[name] = [*lines, (key.value, key.origin)]
    return found


def _are_kept_out(ask: Ask, keys: dict[str, Lines], wanted: Wanted) -> bool:
    """Tell whether an account with keys may be kept out by its shell, or root by the settings."""
    if "root" in keys and ask.settings.sshd_permit_root_login in ("no", "forced-commands-only"):
        return True
    shells = [account.shell for account in ask.facts.accounts if account.name in keys]
    shells += [item.shell for item in wanted.resources if item.kind == "user" and item.name in keys]
    return any(shell.endswith(("/nologin", "/false")) for shell in shells)


def _metadata_keys(ask: Ask, default: str) -> dict[str, Lines]:
    """Return the metadata's keys for each account that the settings give them to."""
    lines = [(key.value, key.origin) for key in ask.data.ssh_keys or ()]
    if not lines:
        return {}
    return dict.fromkeys(default_user.names_of(ask.settings.ssh_keys_for, default), lines)


def _known(ask: Ask, default: str, people: tuple[Person, ...]) -> frozenset[str]:
    """Return the names of the accounts that exist or will be made."""
    names = {account.name for account in ask.facts.accounts}
    names.update(person.name for person in people)
    if default and default != "root":
        names.add(default)
    return frozenset(names)


def _authorized_keys(
    ask: Ask, accounts: Accounts, keys: dict[str, Lines], wanted: Wanted
) -> list[Block]:
    """Return the lines for each account's authorized_keys, sshd(8)."""
    homes = {person.name: person.home for person in accounts.people}
    # A key goes only where the source says which keys there are, and all of them can be used.
    partial = _LOST_KEYS if ask.data.partial_keys else ""
    if ask.data.ssh_keys is None:
        partial = _NO_WORD_OF_KEYS
    blocks = []
    for name, lines in keys.items():
        why = lines[0][1]
        if name not in accounts.known:
            wanted.error(why, default_user.MISSING_ACCOUNT)
            continue
        try:
            home = homes.get(name) or _home(ask, name)
            path, user, mode = home + defs.AUTHORIZED_KEYS, name, 0o600
            if ask.facts.sshd:
                from guestagent.desired.accounts import reach

                path, user, mode = reach.key_file(ask, name, home, wanted)
        except FieldError as error:
            wanted.error(why, str(error))
            continue
        texts = tuple(line for line, _ in lines)
        block = Block("block", path, texts, style="block", user=user, mode=mode, why=why)
        block = block._replace(account=name, ask_sshd=bool(ask.facts.sshd))
        blocks.append(block._replace(lets_in=lets_in(texts), partial=partial))
    return blocks


def _home(ask: Ask, name: str) -> str:
    """Return an account's home directory, or the one it gets when it is made.

    Raises FieldError for an account without one that can be used.
    """
    account = ask.facts.account(name)
    if account is None:
        return f"/home/{name}"
    if not account.home:
        raise FieldError(_NO_HOME.format(user=name))
    return account.home.rstrip("/")


def _make_default_user(ask: Ask, name: str, logins: list[Login], wanted: Wanted) -> None:
    """Plan the default user's account if there is a key or a password for it, or is to be."""
    fetched = ask.data.setting("ssh_import_id")
    if fetched is not None and fetched.value and ask.settings.fetch_enable:
        default_user.want_account(name, fetched.at(), ask, wanted=wanted)
        return
    for item in logins:
        owner = item.account if item.kind == "block" else item.name
        if owner == name:
            default_user.want_account(name, item.why, ask, wanted=wanted)
            return
