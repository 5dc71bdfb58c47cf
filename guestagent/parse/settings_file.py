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


def _path(value: object) -> str:
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


def _seconds(most: int, least: int = 0) -> Callable[[object], float]:
    """Return a validator of a number of seconds from ``least`` to ``most``."""

    def check(value: object) -> float:
        number = value if isinstance(value, int | float) and not isinstance(value, bool) else -1
        if least <= number <= most:
            return float(number)
        raise FieldError(f"must be a number of seconds from {least} to {most}")

    return check


def _url(value: object) -> str:
    text = _string(value)
    if not text.startswith("http://"):
        raise FieldError("must be an http:// URL")
    return text


_YES_NO = _choice("yes", "no")
_POLICIES = ("off", "limited", "required")

CHECKS: dict[str, dict[str, Callable[[object], Any]]] = {
    "user": {
        "name": _user,
        "gecos": _gecos,
        "shell": _path,
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
    "source": {"order": _list(_choice(*defs.SOURCES))},
    "drive": {
        "wait": _seconds(600),
        "labels": _list(_choice(*defs.LABELS)),
        "expected": _boolean,
    },
    "disk": {"grow": _boolean, "grow_volumes": _boolean},
    "metadata": {
        "service": _choice("auto", "none", *defs.CLOUDS),
        "urls": _list(_url),
        "wait": _seconds(300, least=1),  # in less no service could answer
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
    "fetch": {"enable": _boolean, "http": _boolean},
    "signatures": {
        "policy": _choice(*_POLICIES),
        "vendor_policy": _choice("same", *_POLICIES),
        "signers": _path,
    },
    "cloud_init": {"files": _boolean},
    "scripts": {
        "early_limit": _seconds(604800),
        "late_limit": _seconds(604800),
        "stop_at_failure": _boolean,
        "bootcmd": _choice("early", "late"),
    },
}


def parse_settings(content: bytes, file: Origin, problems: Problems) -> dict[str, Any]:
    """Return the settings of a file that can be used, by the fields of Settings.

    Where something that cannot be used may be about signatures, these are required.
    """
    try:
        return _parse(content, file, problems)
    except _Lost as lost:
        problems.error(file, f"{lost}; {_NOTHING_OF_IT}")
    # Without NUL, UTF-16 can be read well enough.
    lines = (line.strip() for line in content.replace(b"\0", b"").splitlines())
    names_them = any(b"sign" in line.lower() and not line.startswith(b"#") for line in lines)
    return dict(defs.STRICTEST_SIGNATURES) if names_them else {}


class _Lost(Exception):
    """A file of which nothing can be used; the text says why."""


def _parse(content: bytes, file: Origin, problems: Problems) -> dict[str, Any]:
    """Return the settings of a file that can be used.  Raises _Lost."""
    try:
        tables = tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        raise _Lost(f"not UTF-8 at byte {error.start}") from None
    except tomllib.TOMLDecodeError as error:
        raise _Lost(f"not TOML: {error}") from None
    except RecursionError:
        raise _Lost("not used: nested too deep") from None
    except ValueError:  # of int(), from 4300 digits on
        raise _Lost("not used: a number in it has too many digits") from None
    found: dict[str, Any] = {}
    for table, values in tables.items():
        origin = file.under(table)
        if table not in CHECKS:
            problems.error(origin, _unknown(table, CHECKS, counted=problems.is_full(file)))
        elif not isinstance(values, dict):
            problems.error(origin, f"must be a table: [{table}]")
        else:
            found |= _check_table(table, values, origin, problems)
    if _may_demand_signatures(tables, found):
        found |= defs.STRICTEST_SIGNATURES
    return found


def _may_demand_signatures(tables: dict[str, Any], found: dict[str, Any]) -> bool:
    """Tell whether something of a file that is not ``found`` usable may be about signatures.

    As ``[signature]`` may be, or ``policy`` elsewhere, where the line above is still a comment.
    """
    given = tables.get("signatures", {})
    if not isinstance(given, dict) or any(f"signatures_{key}" not in found for key in given):
        return True
    others = {table: values for table, values in tables.items() if table != "signatures"}
    keys = [key for values in others.values() if isinstance(values, dict) for key in values]
    return any("sign" in name.lower() or name in CHECKS["signatures"] for name in (*others, *keys))


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
