"""``guestagent schema``: print the JSON Schema of cloud-config."""

from __future__ import annotations

from guestagent import defs
from guestagent.parse.userdata.json_schema import json_schema
from guestagent.system.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.options import Options


def run(_: Options) -> int:
    """Print the schema.  Return 0."""
    print(dumps(json_schema()))
    return defs.EXIT_OK
