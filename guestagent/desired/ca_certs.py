"""``ca_certs``: certificates of authorities that the guest trusts, in the system's own store."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.parse.fields import base64
from guestagent.plan.kinds.file import File
from guestagent.plan.kinds.script import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Facts, Setting
    from guestagent.plan.wanted import Ask, Wanted

_BEGIN = "-----BEGIN "
_END = "-----END "
_FIRST_LINE = f"{_BEGIN}CERTIFICATE-----"
_LAST_LINE = f"{_END}CERTIFICATE-----"
_LINE_LENGTH = 64  # RFC 7468, section 2
_SEQUENCE = 0x30  # the tag of a SEQUENCE in DER, X.690

_UPDATE_DEBIAN = "update-ca-certificates"
_UPDATE_FEDORA = "update-ca-trust"
_SCRIPT = """\
#!/bin/sh
# Have the system trust the certificates that are installed now.
set -e
{remove}exec {update}
"""
# On Debian: deselect all certificates of the package, and those of its later versions.
_REMOVE_LISTED = """\
sed -i 's/^[^#!]/!&/' {path}
if command -v debconf-set-selections >/dev/null; then
    echo 'ca-certificates ca-certificates/trust_new_crts select no' | debconf-set-selections
fi
"""
_REMOVE_FILES = """\
find {path} -type f -delete
"""


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan a file for each certificate, and a script that has them trusted."""
    setting = ask.data.setting("ca_certs")
    if setting is None:
        return
    remove = bool(setting.value.get("remove_defaults"))
    if not remove and not setting.value.get("trusted"):
        return
    family = _family(ask.facts)
    if not family:
        wanted.error(setting.at(), f"neither {_UPDATE_DEBIAN} nor {_UPDATE_FEDORA} is installed")
        return
    files = _files(setting, defs.CA_DIRS[family], wanted)
    wanted.want(*files)
    if remove and family == "suse":
        wanted.error(setting.at("remove_defaults"), "is not supported on this distribution")
        remove = False
    if files or remove:
        content = _script(family, ask.facts, remove=remove).encode()
        name = "ca-certificates"
        why = setting.at()
        wanted.want(Script("script", "early", 70, "instance", name=name, content=content, why=why))


def _family(facts: Facts) -> str:
    """Return whose way of keeping certificates the guest has, a key of defs.CA_DIRS; or ""."""
    has_debians = _UPDATE_DEBIAN in facts.programs
    has_fedoras = _UPDATE_FEDORA in facts.programs
    if not has_debians and not has_fedoras:
        return ""
    if facts.is_like("suse"):
        return "suse"
    return "debian" if has_debians else "fedora"


def _files(setting: Setting, folder: str, wanted: Wanted) -> list[File]:
    """Return a file for each certificate that is valid."""
    files: list[File] = []
    for index, text in enumerate(setting.value.get("trusted") or ()):
        why = setting.at("trusted", index)
        for certificate in wanted.take(why, split_certificates, text) or ():
            path = f"{folder}/guestagent-ca-cert-{len(files) + 1}.crt"
            files.append(File("file", path, certificate.encode(), mode=0o644, why=why))
    return files


def split_certificates(text: str) -> list[str]:
    """Return the certificates of PEM text, RFC 7468, each written again in its canonical form.

    Text outside of them is dropped.  Raise FieldError if there is none, if there is anything else
    in PEM, or if one is cut off or garbled.
    """
    certificates: list[str] = []
    body = ""
    inside = False
    for line in text.splitlines():
        line = line.strip()
        if line == _FIRST_LINE:
            body = ""
            inside = True
        elif line == _LAST_LINE:
            if inside:
                certificates.append(_canonical(body))
            inside = False
        elif line.startswith((_BEGIN, _END)):
            raise FieldError("contains something other than certificates")
        elif inside:
            body += line
    if inside or not certificates:
        raise FieldError("must be certificates in PEM: -----BEGIN CERTIFICATE----- to its END")
    return certificates


def _canonical(text: str) -> str:
    """Return the PEM text of a certificate, given its base64 text.  Raise FieldError if damaged."""
    text = "".join(text.split())
    if not _is_whole(base64(text)):
        raise FieldError("is cut off, or is not a certificate")
    lines = [_FIRST_LINE]
    for start in range(0, len(text), _LINE_LENGTH):
        lines.append(text[start : start + _LINE_LENGTH])
    lines.append(_LAST_LINE)
    return "\n".join(lines) + "\n"


def _is_whole(der: bytes) -> bool:
    """Tell whether the bytes are one DER SEQUENCE of their own length that begins with another.

    That is what every certificate is: RFC 5280, section 4.1.
    """
    if len(der) < 4 or der[0] != _SEQUENCE:
        return False
    length, start = der[1], 2
    if length & 0x80:
        # The long form: the number of bytes that hold the length.
        size = length & 0x7F
        start = 2 + size
        length = int.from_bytes(der[2:start], "big")
    return length > 0 and len(der) == start + length and der[start] == _SEQUENCE


def _script(family: str, facts: Facts, *, remove: bool) -> str:
    """Return the script that updates the store, and may remove the distribution's certificates."""
    update = _UPDATE_DEBIAN if _UPDATE_DEBIAN in facts.programs else _UPDATE_FEDORA
    if not remove:
        return _SCRIPT.format(remove="", update=update)
    if family == "debian":
        commands = _REMOVE_LISTED.format(path=defs.CA_LIST)
        return _SCRIPT.format(remove=commands, update=f"{update} --fresh")
    commands = _REMOVE_FILES.format(path=defs.CA_DEFAULTS_DIR)
    return _SCRIPT.format(remove=commands, update=update)
