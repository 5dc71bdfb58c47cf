"""Authorities that the guest trusts: the system's own store of certificates."""

from __future__ import annotations

from guestagent import defs
from guestagent.desired import os_release as osrelease
from guestagent.errors import FieldError, Problem
from guestagent.parse.fields import base64
from guestagent.plan.kinds.file import File
from guestagent.plan.kinds.script import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Facts, InstanceData
    from guestagent.plan.kinds import Resource
    from guestagent.plan.wanted import Ask, Wanted
    from guestagent.settings import Settings

_BEGIN, _END = "-----BEGIN ", "-----END "
_FIRST, _LAST = f"{_BEGIN}CERTIFICATE-----", f"{_END}CERTIFICATE-----"
# Programs, and whose they are.
_TOOLS = {"update-ca-certificates": "debian", "update-ca-trust": "fedora"}
_SEQUENCE = 0x30  # how DER begins
_REMOVE_LISTED = """sed -i 's/^[^#!]/!&/' {path}
if command -v debconf-set-selections >/dev/null; then
    echo 'ca-certificates ca-certificates/trust_new_crts select no' | debconf-set-selections
fi
"""
_REMOVE_FILES = "find {path} -type f -delete\n"


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan this module's keys."""
    resources, problems = _plan(ask.data, ask.facts, ask.settings)
    wanted.want(*resources)
    wanted.problems += problems


def _plan(
    data: InstanceData, facts: Facts, settings: Settings
) -> tuple[list[Resource], list[Problem]]:
    """The key ``ca_certs``: a file for each certificate, and a step that has them trusted."""
    setting = data.setting("ca_certs")
    if setting is None or not any(map(setting.value.get, ("trusted", "remove_defaults"))):
        return [], []
    tool = next((name for name in _TOOLS if name in facts.programs), "")
    if not tool:
        reason = "there is no update-ca-certificates and no update-ca-trust here"
        return [], [Problem("error", *setting.at(), reason)]
    family = "suse" if osrelease.like(facts, "suse") else _TOOLS[tool]
    problems: list[Problem] = []
    resources: list[Resource] = []
    for index, text in enumerate(setting.value.get("trusted") or ()):
        why = setting.at("trusted", index)
        try:
            found = certificates(text)
        except FieldError as error:
            problems.append(Problem("error", *why, str(error)))
            continue
        for content in found:
            path = f"{defs.CA_DIRS[family]}/guestagent-ca-cert-{len(resources) + 1}.crt"
            resources.append(File("file", path, content.encode(), 0o644, why))
    remove = bool(setting.value.get("remove_defaults"))
    if remove and family == "suse":
        reason = "is not supported on this distribution"
        problems.append(Problem("error", *setting.at("remove_defaults"), reason))
        remove = False
    if resources or remove:
        script = _script(tool, family, remove).encode()
        name, why = "ca-certificates", setting.at()
        resources.append(Script("script", "early", 70, "instance", name, script, why))
    return resources, problems


def certificates(text: str) -> list[str]:
    """The certificates of PEM text, RFC 7468, each written anew, without what is around them.

    FieldError: there is none, another kind of thing, or one that is cut off or garbled.
    """
    found: list[str] = []
    body: list[str] | None = None
    for line in (line.strip() for line in text.splitlines()):
        if line.startswith((_BEGIN, _END)) and line not in (_FIRST, _LAST):
            raise FieldError("holds something other than certificates")
        if line == _FIRST:
            body = []
        elif line == _LAST and body is not None:
            found.append(_written("".join(body)))
            body = None
        elif body is not None:
            body.append(line)
    if body is not None or not found:
        raise FieldError("must be certificates in PEM: -----BEGIN CERTIFICATE----- to its END")
    return found


def _written(text: str) -> str:
    """A certificate of base64 text.  Its DER must be one whole sequence of sequences."""
    text = "".join(text.split())
    if not _whole(base64(text)):
        raise FieldError("is cut off, or is not a certificate")
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join((_FIRST, *lines, _LAST, ""))


def _whole(der: bytes) -> bool:
    """True for a DER sequence whose length is that of the bytes, and that begins with another."""
    if len(der) < 4 or der[0] != _SEQUENCE:
        return False
    size = der[1] & 0x7F if der[1] & 0x80 else 0
    length = int.from_bytes(der[2 : 2 + size], "big") if size else der[1]
    start = 2 + size
    return len(der) == start + length > start and der[start] == _SEQUENCE


def _script(tool: str, family: str, remove: bool) -> str:
    lines = "#!/bin/sh\n# Has the system trust the certificates that are there now.\nset -e\n"
    if remove and family == "debian":
        lines += _REMOVE_LISTED.format(path=defs.CA_LIST)
    elif remove:
        lines += _REMOVE_FILES.format(path=defs.CA_DEFAULTS_DIR)
    fresh = " --fresh" if remove and family == "debian" else ""
    return f"{lines}exec {tool}{fresh}\n"
