"""Cloud-config against its definitions: what counts, what is wrong, and the JSON Schema of it.

The definitions are in ``keys`` and the modules it names.  From them come the checks of types, the
deprecated spellings, advice with the nearest name, the schema for editors and the docs' tables.
"""

from __future__ import annotations

from guestagent.errors import Problem
from guestagent.model import Setting
from guestagent.parse.userdata import keys
from guestagent.parse.userdata.reader import Reader, Spoiled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any


def check(settings: Iterable[Setting]) -> tuple[tuple[Setting, ...], list[Problem]]:
    """Check the settings of one layer, user data or vendor data, each key at most once.

    Returns the settings that count, under their names of today, with values of the form that
    ``keys`` describes, and marks that fit these; null means not given.  A value of a wrong type
    is an error for its key alone, or for its item in a list.  A deprecated spelling gives way to
    the name of today.  Values are never in a problem's text.
    """
    given = {setting.key: setting for setting in settings}
    found: list[Setting] = []
    problems: list[Problem] = []
    others: list[Problem] = []
    for setting in _gathered(given, problems):
        name = keys.OLD.get(setting.key, setting.key)
        own: list[Problem] = []
        reader = Reader(setting, own)
        if name not in keys.KEYS:
            _note_other(Reader(setting, others))
        elif name != setting.key and _is_given(given, name):
            reader.note("warning", (), f"is an old name of {name}, which counts")
        elif setting.value is not None or keys.KEYS[name].shape.accepts(None):
            try:
                value = keys.KEYS[name].shape.read(reader, setting.value, (), ())
            except Spoiled:
                value = None
            if value is not None:
                found.append(Setting(name, value, setting.origin, reader.marks, reader.written))
        problems += own
    return tuple(found), problems + others


def _is_given(given: Mapping[str, Setting], name: str) -> bool:
    return name in given and given[name].value is not None


def _note_other(reader: Reader) -> None:
    """Say what becomes of a key that has no definition."""
    name = reader.setting.key
    if name in keys.HANDLED or (reader.setting.value is None and name in keys.UNSUPPORTED):
        return
    if name in keys.UNSUPPORTED:
        reader.note("error", (), f"is not supported: {keys.UNSUPPORTED[name]}")
    elif name in keys.IGNORED:
        reader.note("warning", (), keys.IGNORED[name])
    else:
        known = (*keys.KEYS, *keys.OLD, *keys.OLD_APT, *keys.UNSUPPORTED)
        reader.unknown((), known)


def _gathered(given: dict[str, Setting], problems: list[Problem]) -> list[Setting]:
    """The settings, the old ones of apt put together into one ``apt``."""
    old = [given[key] for key in keys.OLD_APT if _is_given(given, key)]
    others = [setting for key, setting in given.items() if key not in keys.OLD_APT]
    if not old:
        return others
    if _is_given(given, "apt"):
        for setting in old:
            Reader(setting, problems).note("warning", (), "is an old name below apt, which counts")
        return others
    return [*others, keys.old_apt(old)]


def json_schema() -> dict[str, Any]:
    """The definitions as JSON Schema, draft 7.

    A document that fits gives no error; a key at the top that is not known fits, as it is
    only warned of.
    """
    properties: dict[str, Any] = {}
    for name, field in keys.KEYS.items():
        properties[name] = field.json()
        properties |= {old: field.json(deprecated=True) for old in field.old}
    for name, field in keys.old_apt_fields().items():
        properties[name] = field.json(deprecated=True)
    for name, advice in keys.UNSUPPORTED.items():
        properties[name] = {"type": "null", "description": f"Not supported: {advice}."}
    for name, reason in keys.IGNORED.items():
        properties[name] = {"description": f"{reason[:1].upper()}{reason[1:]}."}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "cloud-config for guestagent",
        "type": "object",
        "properties": properties,
        "additionalProperties": True,
    }
