"""Check that sshd of the running system uses the settings that guestagent wrote for it."""

from __future__ import annotations

from guestagent import defs
from guestagent.commit.sshd import PASSWORDS_STAY, make_run_folder, take_back
from guestagent.desired.accounts.reach import KEPT_OUT, LOCKED, expanded
from guestagent.errors import Origin, Refused
from guestagent.facts import sshd
from guestagent.system.accounts import find_account, read_locked
from guestagent.system.tools import find_program, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
    "sshd does not read the file of keys that was written ({path}), so that no one could log in:"
    " correct AuthorizedKeysFile"
)
_TAKES_PASSWORDS = (
    "passwordauthentication",
    "kbdinteractiveauthentication",
    "challengeresponseauthentication",
)
_KEPT_ON = "stays on where Match {match} is met, by {path}: remove it there unless it is wanted"
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
    if change.switches_off:
        _warn_of_passwords(output, root, problems)
    return True


def _warn_of_passwords(output: str, root: Root, problems: Problems) -> None:
    """Warn of what still takes passwords although they are switched off."""
    origin = Origin("sshd", defs.SSHD_DROPIN, _PASSWORDS)
    if all(f"\n{line} yes\n" in output for line in _BY_PAM):
        problems.warn(origin, _ANOTHER_WAY)
    kept: dict[str, None] = {}
    for line in sshd.read(root):
        if line.match and line.keyword in _TAKES_PASSWORDS and line.value.lower() == "yes":
            kept[_KEPT_ON.format(match=line.match, path=line.path)] = None
    for reason in kept:
        problems.warn(origin, reason)


def _no_file_read(change: SetSshd, tool: str, root: Root) -> str:
    """Return why no one could log in without a password, though there are files of keys."""
    useless = {}
    for path, name in change.asked:
        words = _words_for(tool, name)
        if _files_instead(words, path, name, root):
            useless[path] = _NO_FILE_READ.format(path=path)
        elif _is_locked_out(words, name, root):
            useless[path] = KEPT_OUT.format(user=name, reason=LOCKED)
    if not change.switches_off or change.others or not useless:
        return ""
    return "; ".join(useless.values()) if useless.keys() >= set(change.key_files) else ""


def check_key_files(changes: Iterable[Change], root: Root, problems: Problems) -> None:
    """Keep an error for each written file of keys that sshd does not read, by ``sshd -T``.

    Only where sshd's configuration is not the usual one, sshd is asked.  Raises Refused, OSError.
    """
    tool = find_program("sshd")
    for change in changes:
        if tool is None or change.kind != "write" or not change.keys_of:
            continue
        make_run_folder(root)
        words, name = _words_for(tool, change.keys_of), change.keys_of
        files = _files_instead(words, change.path, name, root)
        if files:
            reason = _NOT_READ.format(path=change.path, user=name, files=files)
            problems.error(change.why, reason)
        elif _is_locked_out(words, name, root):
            problems.warn(change.why, KEPT_OUT.format(user=name, reason=LOCKED))


def _words_for(tool: str, name: str) -> list[str]:
    """Return the lines of ``sshd -T`` for an account; none where that fails, told elsewhere."""
    result = run([tool, "-T", "-C", f"user={name},host=localhost,addr=127.0.0.1"])
    return [] if result.status else result.output.decode(errors="replace").splitlines()


def _is_locked_out(words: Sequence[str], name: str, root: Root) -> bool:
    """Tell whether a locked password keeps a key out, where no line says whether PAM is asked.

    Where one does, the plan has told.  An sshd that was built without PAM does not know the word.
    """
    if not words or "usepam yes" in words or name not in read_locked(root):
        return False
    return all(line.keyword != "usepam" for line in sshd.read(root))


def _files_instead(words: Sequence[str], path: str, name: str, root: Root) -> str:
    """Return which files of keys sshd reads for an account, if ``path`` is none of them.

    ``words`` are what sshd says; without any it is empty.  Raises Refused.
    """
    if not words:
        return ""
    account = find_account(root, name)
    home, uid = account.home.rstrip("/"), str(account.uid)
    patterns = [
        pattern
        for line in words
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
    for line in sshd.read(root):
        if line.keyword == keyword and not line.match and line.path != defs.SSHD_DROPIN:
            return line.path
    return "another setting"
