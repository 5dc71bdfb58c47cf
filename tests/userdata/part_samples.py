"""User data as the tools of the field write it, and short ways to look at what is found."""

from __future__ import annotations

import base64
import gzip
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

from guestagent.errors import Origin, Problem, Problems
from guestagent.model import Part
from guestagent.parse.userdata import split_parts

CONFIG = b"#cloud-config\nhostname: web\n"
SCRIPT = b"#!/bin/sh\necho hello\n"
WHERE = ("config drive", "user_data")


def split(content: bytes) -> tuple[list[Part], list[Problem]]:
    """The parts of a document, and what is wrong with it."""
    problems = Problems()
    found = split_parts.split(content, Origin(*WHERE, ""), problems)
    return found, problems.problems


def only(content: bytes) -> Part:
    """The one part of a document without problems."""
    found, problems = split(content)
    assert problems == []
    assert len(found) == 1
    return found[0]


def refused(content: bytes) -> Problem:
    """The one error of a document without parts."""
    found, problems = split(content)
    assert found == []
    assert len(problems) == 1
    assert problems[0].severity == "error"
    return problems[0]


def shapes(found: list[Part]) -> list[tuple[str, str]]:
    """Kinds and names, in order."""
    return [(part.kind, part.name) for part in found]


def packed(content: bytes) -> bytes:
    """The content as gzip data, the same each time."""
    return gzip.compress(content, mtime=0)


def wrapped(content: bytes) -> bytes:
    """The content in base64, in lines."""
    return base64.encodebytes(content)


def mime(*bodies: bytes, boundary: str = "==B==", top: str = "MIME-Version: 1.0\n") -> bytes:
    """A multipart of raw parts, each with its own header."""
    mark = f"--{boundary}".encode()
    head = f'{top}Content-Type: multipart/mixed; boundary="{boundary}"\n\n'.encode()
    return head + b"".join(mark + b"\n" + body + b"\n" for body in bodies) + mark + b"--\n"


def entry(media_type: str, content: bytes, name: str = "", *fields: str) -> bytes:
    """A part of a multipart."""
    lines = [f"Content-Type: {media_type}", *fields]
    if name:
        lines.append(f'Content-Disposition: attachment; filename="{name}"')
    return "\n".join(lines).encode() + b"\n\n" + content


def terraform(*items: tuple[str, str, str], blank: bool = True) -> bytes:
    """What Terraform's cloudinit_config renders of (type, file name, content), not packed.

    Go's writer ends lines with CRLF, the provider its first one with LF.  Old versions of the
    provider left out the blank line (``blank``) and never used base64.
    """
    out = b'Content-Type: multipart/mixed; boundary="MIMEBOUNDARY"\nMIME-Version: 1.0\r\n'
    out += b"\r\n" * blank
    for number, (media_type, name, text) in enumerate(items):
        encoded = not text.isascii() and blank
        content = base64.b64encode(text.encode()) if encoded else text.encode()
        fields = [
            f'Content-Disposition: attachment; filename="{name}"' if name else "",
            f"Content-Transfer-Encoding: {'base64' if encoded else '7bit'}",
            f"Content-Type: {media_type}",
            "Mime-Version: 1.0",
        ]
        head = "\r\n".join(field for field in fields if field).encode()
        out += b"\r\n" * bool(number) + b"--MIMEBOUNDARY\r\n" + head + b"\r\n\r\n" + content
    return out + b"\r\n--MIMEBOUNDARY--\r\n"


def heat(*attachments: tuple[str, str, str]) -> bytes:
    """What Heat's Nova client builds of (content, file name, subtype) and of its own files."""
    hook = "#!/bin/bash\n\ncfn-create-aws-symlinks\nexit 0\n"
    own = [
        ("user: cloud-user\n", "cloud-config", "cloud-config"),
        (hook, "boothook.sh", "cloud-boothook"),
        ("#part-handler\ndef list_types():\n    return []\n", "part-handler.py", "part-handler"),
    ]
    last = ('{"os-collect-config": {}}', "cfn-init-data", "x-cfninitdata")
    whole = MIMEMultipart()
    for content, name, subtype in (*own, *attachments, last):
        part = MIMEText(content, _subtype=subtype)
        part.add_header("Content-Disposition", "attachment", filename=name)
        whole.attach(part)
    return whole.as_string().encode()
