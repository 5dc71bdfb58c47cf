"""Which of user data, ``vendor_data2`` and ``vendor_data`` wins, key by key."""

from __future__ import annotations

from guestagent.parse.userdata.places import is_plain
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from guestagent.errors import Problems
    from guestagent.model import Setting

SWITCHES = ("vendor_data", "vendor_data2")
"""Keys by which user data admits vendor data; vendor data itself cannot use them."""

_NOTHING: tuple[object, ...] = (None, "", [])
_TRUE = ("true", "1", "on", "yes")
_SWITCH_TYPE = "must be a mapping such as {enabled: false}; this vendor data is ignored"
_SWITCH_FIELD = "only enabled is supported here; this vendor data is ignored"


class Layer(NamedTuple):
    """The settings of one document, not yet checked, and the problems of reading it.

    ``unsigned``: they have no signature, where the image demands one of other settings.
    """

    settings: dict[str, Setting]
    problems: Problems
    unsigned: bool = False


def combine(layers: Iterable[Layer], problems: Problems) -> tuple[Setting, ...]:
    """Return the settings of all layers, the first of which wins; unsigned ones come last.

    Each layer is checked before it is combined with others, so that an error names the true place.
    A key that is wrong in one layer is not taken from those below: what its author meant is
    unknown.
    """
    found: dict[str, Setting] = {}
    refused = set(SWITCHES)  # those in user data have been taken out before
    for layer in sorted(layers, key=lambda layer: layer.unsigned):
        problems.add_all(layer.problems)
        if not layer.settings:
            continue
        # Where there are only scripts, the definitions of all keys are not imported.
        from guestagent.parse.userdata.check_settings import check, current_name

        given = [
            setting
            for setting in layer.settings.values()
            if current_name(setting.key) not in refused
        ]
        settings = {setting.key: setting for setting in check(given, problems)}
        refused |= {current_name(setting.key) for setting in given} - settings.keys()
        found = overlay(found, settings)
    return tuple(found.values())


def overlay(winner: dict[str, Setting], below: dict[str, Setting]) -> dict[str, Setting]:
    """Return the settings of ``winner``, and of ``below`` what it leaves open.

    Mappings are combined at any depth.  The origin and the marks are then those of the winner: an
    entry that came from below is said to be at the place of the mapping it went into.
    """
    found = dict(winner)
    for key, setting in below.items():
        above = winner.get(key)
        if above is None:
            found[key] = setting
        else:
            found[key] = above._replace(value=_overlay_value(above.value, setting.value))
    return found


def _overlay_value(above: Any, below: Any) -> Any:
    if not isinstance(above, dict) or not isinstance(below, dict):
        return above
    found = dict(above)
    for key, value in below.items():
        found[key] = _overlay_value(above[key], value) if key in above else value
    return found


def admits(switch: Setting | None, problems: Problems) -> bool:
    """Tell whether user data admits a vendor data document: the value of its key, None for none.

    With anything wrong in the value it does not: its author may have meant to keep it out.
    """
    if switch is None:
        return True
    if not isinstance(switch.value, dict):
        problems.error(switch.at(), _SWITCH_TYPE)
        return False
    # As in cloud-init, words that are neither true nor false keep it out.
    is_enabled = str(switch.value.get("enabled", True)).lower() in _TRUE
    for name, given in switch.value.items():
        if name != "enabled" and given not in _NOTHING:
            place = switch.at(name) if is_plain(name) else switch.at()
            problems.error(place, _SWITCH_FIELD)
            is_enabled = False
    return is_enabled
