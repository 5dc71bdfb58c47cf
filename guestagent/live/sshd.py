"""Check that sshd of the running system uses the settings that guestagent wrote for it."""

from __future__ import annotations

from guestagent import defs
from guestagent.commit.sshd import PASSWORDS_STAY, make_run_folder, take_back
from guestagent.desired.accounts.reach import expanded
from guestagent.errors import Origin, Refused
from guestagent.system.accounts import find_account
from guestagent.system.tools import find_program, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from guestagent.errors import Problems
    from guestagent.plan.kinds import Change
    from guestagent.plan.kinds.sshd import SetSshd
    from guestagent.system.root import Root

# Of these keywords a wrong value may lock people out, or let others in.
_CHECKED = ("passwordauthentication", "permitrootlogin")
_PASSWORDS = "passwordauthentication"
_KEY_FILES = "authorizedkeysfile "
_NOT_READ = (
    "{path}: sshd does not read this file for {user}, but: {files}; so the key lets no one in:"
    " correct AuthorizedKeysFile"
)
_NO_FILE_READ = (
    "sshd reads none of the files of keys that were written ({paths}), so that no one could log in:"
    " correct AuthorizedKeysFile"
)
# With both, PAM asks for passwords whatever PasswordAuthentication says.
_BY_PAM = ("kbdinteractiveauthentication", "usepam")
_ANOTHER_WAY = (
    "KbdInteractiveAuthentication is on, and UsePAM, so that PAM may still take passwords; switch"
    " KbdInteractiveAuthentication off unless it asks for something else"
)


def keep_or_take_back(change: SetSshd, root: Root, problems: Problems) -> bool:
    """Tell whether the drop-in that was written stays, by ``sshd -T``.

    It is taken back where sshd does not accept its whole configuration any more, and where
    passwords stay on although the drop-in switches them off: that is an error.  Each other setting
    that has no effect is a warning.  The first file that sets a keyword wins, sshd_config(5): the
    message names that file.  Raises Refused, OSError.
    """
    wanted = _checked_settings(change.file.new.decode())
    tool = find_program("sshd")
    if tool is None:
        return True
    make_run_folder(root)
    result = run([tool, "-T"])
    if result.status:
        reason = f"sshd does not accept its configuration with it: {result.reason()}"
        return _taken_back(change, reason, root, problems=problems)
    output = result.output.decode(errors="replace")
    effective = _checked_settings(output)
    reason = ""
    for keyword, value in wanted.items():
        if effective.get(keyword) == value:
            continue
        overridden = f"overridden by {_find_winner(root, keyword)}"
        if change.switches_off and keyword == _PASSWORDS:
            reason = f"{keyword}: {overridden}"
            break
        problems.warn(Origin("sshd", defs.SSHD_DROPIN, keyword), overridden)
    reason = reason or _no_file_read(change, tool, root)
    if reason:
        return _taken_back(change, reason, root, problems=problems)
    if change.switches_off and all(f"\n{line} yes\n" in output for line in _BY_PAM):
        problems.warn(Origin("sshd", defs.SSHD_DROPIN, _PASSWORDS), _ANOTHER_WAY)
    return True


def _no_file_read(change: SetSshd, tool: str, root: Root) -> str:
    """Return why no one could log in without a password: sshd reads none of the files of keys."""
    unread = [path for path, name in change.asked if _files_instead(tool, path, name, root)]
    no_file = bool(unread) and set(change.key_files) <= set(unread)
    if change.switches_off and no_file and not change.others:
        return _NO_FILE_READ.format(paths=" ".join(unread))
    return ""


def check_key_files(changes: Iterable[Change], root: Root, problems: Problems) -> None:
    """Keep an error for each written file of keys that sshd does not read, by ``sshd -T``.

    Only where sshd's configuration is not the usual one, sshd is asked.  Raises Refused, OSError.
    """
    tool = find_program("sshd")
    for change in changes:
        if tool is None or change.kind != "write" or not change.keys_of:
            continue
        make_run_folder(root)
        files = _files_instead(tool, change.path, change.keys_of, root)
        if files:
            reason = _NOT_READ.format(path=change.path, user=change.keys_of, files=files)
            problems.error(change.why, reason)


def _files_instead(tool: str, path: str, name: str, root: Root) -> str:
    """Return which files of keys sshd reads for an account, if ``path`` is none of them.

    It is empty too where sshd does not run at all, which is told elsewhere.  Raises Refused.
    """
    result = run([tool, "-T", "-C", f"user={name},host=localhost,addr=127.0.0.1"])
    if result.status:
        return ""
    account = find_account(root, name)
    home, uid = account.home.rstrip("/"), str(account.uid)
    patterns = [
        pattern
        for line in result.output.decode(errors="replace").splitlines()
        for pattern in line.removeprefix(_KEY_FILES).split()
        if line.startswith(_KEY_FILES)
    ]
    if path in [expanded(pattern, name, home, uid) for pattern in patterns]:
        return ""
    return " ".join(patterns) or "none"


def _taken_back(change: SetSshd, reason: str, root: Root, problems: Problems) -> bool:
    """Take the drop-in back, keep an error with the reason, and return False."""
    reason = f"{reason}; taken back"
    try:
        take_back(change, root)
    except (Refused, OSError) as error:
        reason = f"{reason}, which failed: {getattr(error, 'strerror', None) or error}"
    if change.switches_off:
        reason = f"{reason}: {PASSWORDS_STAY}"
    problems.error(Origin("sshd", defs.SSHD_DROPIN, ""), reason)
    return False


def _checked_settings(text: str) -> dict[str, str]:
    """Return the values of the keywords to check in an sshd_config(5) or the output of sshd."""
    found = {}
    for line in text.lower().splitlines():
        words = line.split()
        if len(words) > 1 and words[0] in _CHECKED:
            found[words[0]] = words[1]
    if found.get("permitrootlogin") == "without-password":
        found["permitrootlogin"] = "prohibit-password"  # the newer name of the same
    return found


def _find_winner(root: Root, keyword: str) -> str:
    """Return the path of the first other file that sets a keyword, as far as they can be read."""
    try:
        return _first_with(root, keyword)
    except (Refused, OSError):
        return "another setting"


def _first_with(root: Root, keyword: str) -> str:
    names = [name for name in root.listdir(defs.SSHD_DROPINS) if name.endswith(".conf")]
    dropins = [f"{defs.SSHD_DROPINS}/{name}" for name in names]
    for path in (*dropins, defs.SSHD_CONFIG):
        if path == defs.SSHD_DROPIN:
            continue
        for line in root.text(path).lower().splitlines():
            if line.replace("=", " ", 1).split()[:1] == [keyword]:
                return path
    return "another setting"
