"""The text of a settings file: TOML 1.0, each key with its own check.

An unknown key and a value that cannot be used are reported with file and key; the other settings of
the file apply.
"""

from __future__ import annotations

import tomllib

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.parse import fields

_NOTHING_OF_IT = "the settings of this file have no effect: correct it"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from guestagent.errors import Origin, Problems


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise FieldError("must be true or false")
    return value


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise FieldError("must be a string")
    return fields.plain(value)


def _choice(*allowed: str) -> Callable[[object], str]:
    """Return a validator of one of the allowed words."""

    def check(value: object) -> str:
        if value not in allowed:
            raise FieldError(f"must be one of {', '.join(allowed)}")
        return str(value)

    return check


def _list(item: Callable[[object], str]) -> Callable[[object], tuple[str, ...]]:
    """Return a validator of a list, each item of which ``item`` validates."""

    def check(value: object) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise FieldError("must be a list")
        return tuple(item(entry) for entry in value)

    return check


def _user(value: object) -> str:
    return fields.user_name(_string(value))


def _shell(value: object) -> str:
    return fields.guest_path(_string(value))


def _gecos(value: object) -> str:
    text = _string(value)
    if ":" in text:
        raise FieldError("must not contain a colon, which ends the field in passwd(5)")
    return text


def _mode(value: object) -> int:
    try:
        mode = int(_string(value), 8)
    except ValueError:
        raise FieldError('must be an octal string such as "0600"') from None
    if not 0 <= mode <= 0o777:
        raise FieldError("must be from 0000 to 0777")
    return mode


def _seconds(most: int) -> Callable[[object], float]:
    """Return a validator of a number of seconds up to ``most``."""

    def check(value: object) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most:
            return float(value)
        raise FieldError(f"must be a number of seconds from 0 to {most}")

    return check


def _url(value: object) -> str:
    text = _string(value)
    if not text.startswith("http://"):
        raise FieldError("must be an http:// URL")
    return text


_YES_NO = _choice("yes", "no")

CHECKS: dict[str, dict[str, Callable[[object], Any]]] = {
    "user": {
        "name": _user,
        "gecos": _gecos,
        "shell": _shell,
        "groups": _list(_user),
        "sudo": _boolean,
    },
    "hostname": {"manage": _boolean, "fqdn": _boolean},
    "hosts": {"manage": _boolean},
    "ssh": {
        "keys_for": _list(_user),
        "host_keys": _boolean,
        "host_key_types": _list(_choice("ed25519", "ecdsa", "rsa")),
    },
    "sshd": {
        "password_authentication": _YES_NO,
        "permit_root_login": _choice("yes", "no", "prohibit-password", "forced-commands-only"),
    },
    "password": {"for": _user, "post": _boolean, "random_to_console": _boolean},
    "files": {"manage": _boolean, "mode": _mode},
    "network": {
        "manage": _boolean,
        "backend": _choice("auto", *defs.NETWORK_STACKS),
        "policy_routing": _boolean,
        "enable": _boolean,
        "other_nics": _boolean,
    },
    "random_seed": {"manage": _boolean},
    "drive": {"wait": _seconds(600)},
    "disk": {"grow": _boolean, "grow_volumes": _boolean},
    "metadata": {
        "service": _choice("auto", "none", *defs.CLOUDS),
        "urls": _list(_url),
        "wait": _seconds(300),
        "imds_v1": _boolean,
        "refresh": _choice("access", "full"),
        "link_local_ipv4": _boolean,
    },
    "daemon": {
        "nics": _boolean,
        "drives": _boolean,
        "poll": _seconds(86400),
        "new_instance": _boolean,
    },
    "cloud_init": {"files": _boolean},
    "scripts": {"early_limit": _seconds(604800), "late_limit": _seconds(604800)},
}


def parse_settings(content: bytes, file: Origin, problems: Problems) -> dict[str, Any]:
    """Return the settings of a file that can be used, by the fields of Settings."""
    try:
        tables = tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        problems.error(file, f"not UTF-8 at byte {error.start}; {_NOTHING_OF_IT}")
        return {}
    except tomllib.TOMLDecodeError as error:
        problems.error(file, f"not TOML: {error}; {_NOTHING_OF_IT}")
        return {}
    except RecursionError:
        problems.error(file, f"not used: nested too deep; {_NOTHING_OF_IT}")
        return {}
    except ValueError:  # of int(), from 4300 digits on
        problems.error(file, f"not used: a number in it has too many digits; {_NOTHING_OF_IT}")
        return {}
    found: dict[str, Any] = {}
    for table, values in tables.items():
        origin = file.under(table)
        if table not in CHECKS:
            problems.error(origin, _unknown(table, CHECKS, counted=problems.is_full(file)))
        elif not isinstance(values, dict):
            problems.error(origin, f"must be a table: [{table}]")
        else:
            found |= _check_table(table, values, origin, problems)
    return found


def _check_table(
    table: str, values: dict[str, Any], origin: Origin, problems: Problems
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        check = CHECKS[table].get(key)
        if check is None:
            counted = problems.is_full(origin)
            problems.error(origin.under(key), _unknown(key, CHECKS[table], counted=counted))
            continue
        usable = problems.take(origin.under(key), check, value)
        if usable is not None:
            found[f"{table}_{key}"] = usable
    return found


def _unknown(name: str, known: dict[str, Any], *, counted: bool) -> str:
    """Return what is wrong with a name; ``counted``: it is only counted, and to compare is slow."""
    if counted:
        return "is unknown; ignored"
    from difflib import get_close_matches

    near = get_close_matches(name[: defs.NAME_LIMIT], known, n=1, cutoff=0.0)
    return f"is unknown; ignored; the most similar name is {near[0]}"
