"""Checks cloud-config against the definitions of its keys, which are in ``keys``."""

from __future__ import annotations

from guestagent.errors import Problems
from guestagent.model import Setting
from guestagent.parse.userdata import keys
from guestagent.parse.userdata.places import BadValue, Places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any


def check(settings: Iterable[Setting], problems: Problems) -> tuple[Setting, ...]:
    """Return the settings that can be used, of one layer: user data or vendor data.

    Each key is given at most once.  The result has current names, values of the form that ``keys``
    describes, and marks that fit these; null means not given.  A value of a wrong type is an error
    for its key alone, or for its item of a list.  A deprecated name gives way to the current one.
    """
    given = {setting.key: setting for setting in settings}
    found: list[Setting] = []
    # Keys without a definition come last: a document of another kind than cloud-config may have
    # thousands of them.
    undefined = Problems()
    for setting in _with_apt_in_one(given, problems):
        name = current_name(setting.key)
        if name not in keys.KEYS:
            _note_undefined(Places(setting, undefined))
            continue
        places = Places(setting, problems)
        if name != setting.key and _is_given(given, name):
            places.old_name((), name)
        else:
            value = _read(places, name)
            if value is not None:
                marks, written = places.marks, places.written
                found.append(Setting(name, value, setting.origin, marks, written))
    problems.add_all(undefined)
    return tuple(found)


def current_name(key: str) -> str:
    """Return the current name of a key at the top level."""
    if key in keys.OLD_APT:
        return "apt"
    return keys.OLD_NAMES.get(key, key)


def _read(places: Places, name: str) -> Any:
    """Return the value of a key in the form in which it is used, None for none."""
    shape = keys.KEYS[name].shape
    value = places.setting.value
    # Null is the same as not given, but for the few keys that give it a meaning, as ntp does.
    if value is None and not shape.accepts(None):
        return None
    try:
        return shape.read(places, value, (), new=())
    except BadValue:
        return None


def _is_given(given: Mapping[str, Setting], name: str) -> bool:
    return name in given and given[name].value is not None


def _note_undefined(places: Places) -> None:
    """Note what happens to a key that has no definition."""
    name = places.setting.key
    is_null = places.setting.value is None
    if name in keys.HANDLED:
        return
    if name in keys.UNSUPPORTED:
        if not is_null:
            places.error((), f"is not supported: {keys.UNSUPPORTED[name]}")
    elif name in keys.IGNORED:
        places.warn((), keys.IGNORED[name])
    else:
        known = (*keys.KEYS, *keys.OLD_NAMES, *keys.OLD_APT, *keys.UNSUPPORTED)
        places.unknown((), known)


def _with_apt_in_one(given: dict[str, Setting], problems: Problems) -> list[Setting]:
    """Return the settings, with the old ones of apt put together into one ``apt``."""
    old = [given[key] for key in keys.OLD_APT if _is_given(given, key)]
    others = [setting for key, setting in given.items() if key not in keys.OLD_APT]
    if not old:
        return others
    if not _is_given(given, "apt"):
        return [*others, keys.join_old_apt(old)]
    for setting in old:
        Places(setting, problems).warn((), "is an old name below apt, which is also given; ignored")
    return others
