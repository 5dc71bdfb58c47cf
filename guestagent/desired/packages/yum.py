"""``yum_repos``: a file below /etc/yum.repos.d for each repository, in the form of yum.conf(5)."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.parse import fields
from guestagent.plan.kinds.file import File

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.model import Setting
    from guestagent.plan.wanted import Ask, Wanted

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")
_ID = _LETTERS | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ-.:")
_ID_LENGTH = 128
# One of them says where the packages are.
_PLACES = ("baseurl", "mirrorlist", "metalink")
_SECRET = ("password", "proxy_password")
_NO_DNF = "is for dnf, which this guest does not have; ignored"
_AS_ARE_GROUPS = ", as are groups of packages"
_NO_PLACE = "has neither baseurl nor mirrorlist nor metalink; the repository is left out"
_BAD_ID = "is not the id of a repository: letters, digits, - . _ and : only; it is left out"
_BAD_KEY = "has an option whose name is not of letters, digits and _; the option is left out"
_TWICE = "has no effect: another repository has the same id"


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan the files of all repositories."""
    setting = ask.data.setting("yum_repos")
    if setting is None:
        return
    if "dnf" not in ask.facts.programs:
        packages = ask.data.setting("packages")
        names = [item["name"] for item in packages.value] if packages else []
        groups = _AS_ARE_GROUPS if any(name.startswith("@") for name in names) else ""
        wanted.warn(setting.at(), f"{_NO_DNF}{groups}")
        return
    folder: str | None = defs.YUM_REPOS_DIR
    where = ask.data.setting("yum_repo_dir")
    if where is not None:
        folder = wanted.take(where.at(), fields.guest_path, where.value)
    seen: set[str] = set()
    for name, options in setting.value.items():
        # As in cloud-init; dnf takes no space in an id.
        repository = name.replace(" ", "-")
        if not _is_id(repository):
            wanted.error(setting.at(), _BAD_ID)
            continue
        place = (name,) if name == repository else ()  # other names are not shown
        if repository in seen:
            wanted.warn(setting.at(*place), _TWICE)
            continue
        seen.add(repository)
        text = _text(setting, place, repository, options, wanted=wanted)
        if text and folder:
            is_secret = "@" in text or any(f"\n{key} =" in text for key in _SECRET)
            wanted.want(
                File(
                    "file",
                    f"{folder}/{repository}.repo",
                    text.encode(),
                    mode=0o600 if is_secret else 0o644,
                    why=setting.at(*place),
                    secret=is_secret,
                )
            )


def _is_id(text: str) -> bool:
    return 0 < len(text) <= _ID_LENGTH and _ID.issuperset(text) and text[0] not in "-."


def _text(
    setting: Setting, place: tuple[str, ...], repository: str, options: Any, *, wanted: Wanted
) -> str:
    """Return the content of a repository's file, without options that cannot be used.

    It is empty for a repository of which nothing says where it is.
    """
    lines = {"name": repository}
    for name, value in options.items():
        key = name.strip().lower().replace("-", "_")
        if not key or not _LETTERS.issuperset(key):
            wanted.error(setting.at(*place), _BAD_KEY)
            continue
        written = wanted.take(setting.at(*place, name) if place else setting.at(), _written, value)
        if written:
            lines[key] = written
    if not any(key in lines for key in _PLACES):
        wanted.error(setting.at(*place), _NO_PLACE)
        return ""
    body = "".join(f"{key} = {written}\n" for key, written in lines.items())
    return f"# Written by guestagent.\n[{repository}]\n{body}"


def _written(value: Any) -> str:
    """Return a value as yum.conf(5) has it: 1 and 0 for true and false, lists on further lines.

    Raise FieldError for text that would be more than one line.
    """
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, list):
        return "\n    ".join(filter(None, map(_written, value)))
    text = str(value).strip()
    if "\n" in text:  # as a list: a block of YAML with an address on each line
        return _written(text.split("\n"))
    if not text.isprintable():
        raise FieldError("has a control character")
    return text
