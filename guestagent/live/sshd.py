"""Check that sshd of the running system uses the settings that guestagent wrote for it."""

from __future__ import annotations

import os

from guestagent import defs
from guestagent.errors import Origin
from guestagent.system.tools import find_program, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.errors import Problems
    from guestagent.system.root import Root

# Of these keywords a wrong value may lock people out, or let others in.
_CHECKED = ("passwordauthentication", "permitrootlogin")


def check_sshd(root: Root, problems: Problems) -> None:
    """Warn of each setting in the drop-in that is not the one in effect by ``sshd -T``.

    The first file that sets a keyword wins, sshd_config(5): the warning names that file.
    """
    wanted = _checked_settings(root.text(defs.SSHD_DROPIN))
    tool = find_program("sshd")
    if tool is None or not wanted:
        return
    try:
        os.mkdir(defs.SSHD_RUN_DIR, 0o755)  # Debian's sshd refuses to start without it
    except FileExistsError:
        pass
    result = run([tool, "-T"])
    if result.status:
        origin = Origin("sshd", defs.SSHD_DROPIN, "")
        problems.error(origin, f"sshd does not accept its configuration: {result.reason()}")
        return
    effective = _checked_settings(result.output.decode())
    for keyword, value in wanted.items():
        if effective.get(keyword) != value:
            origin = Origin("sshd", defs.SSHD_DROPIN, keyword)
            problems.warn(origin, f"overridden by {_find_winner(root, keyword)}")


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
    """Return the path of the first other file that sets a keyword."""
    names = [name for name in root.listdir(defs.SSHD_DROPINS) if name.endswith(".conf")]
    dropins = [f"{defs.SSHD_DROPINS}/{name}" for name in names]
    for path in (*dropins, defs.SSHD_CONFIG):
        if path == defs.SSHD_DROPIN:
            continue
        for line in root.text(path).lower().splitlines():
            if line.split()[:1] == [keyword]:
                return path
    return "another setting"
