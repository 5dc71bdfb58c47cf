"""The JSON Schema of cloud-config, made of the definitions in ``keys``, for editors."""

from __future__ import annotations

from guestagent.parse.userdata import keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def json_schema() -> dict[str, Any]:
    """Return the definitions as JSON Schema, draft 7.

    A document that fits gives no error.  An unknown key at the top fits, because it is only
    warned of.
    """
    properties: dict[str, Any] = {}
    for name, field in keys.KEYS.items():
        properties[name] = field.json()
        for old in field.old:
            properties[old] = field.json(deprecated=True)
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
