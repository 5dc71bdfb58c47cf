"""The type of a part of user data, by its media type or by its first line."""

from __future__ import annotations

from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
# The first match counts, so that a marker must come before a shorter one that it begins with.
_MARKERS = {
    b"#cloud-config-archive": "archive",
    b"#cloud-config-jsonp": "jsonp",
    b"#cloud-config": "cloud-config",
    b"#!cloud-config": "misspelt",
    b"#! cloud-config": "misspelt",
    b"#!": "script",
    b"#ps1": "powershell",
    b"<powershell>": "powershell",
    b"#cloud-boothook": "boothook",
    b"#include": "include",
    b"#part-handler": "handler",
    b"#upstart-job": "upstart",
    b"## template: jinja": "template",
}
TEMPLATE_TYPE = "text/jinja2"
_MEDIA_TYPES = {
    "text/cloud-config": "cloud-config",
    "text/cloud-config-archive": "archive",
    "text/cloud-config-jsonp": "jsonp",
    "text/x-shellscript": "script",
    "text/x-shellscript-per-boot": "per-boot",
    "text/x-shellscript-per-instance": "per-instance",
    "text/x-shellscript-per-once": "per-once",
    "text/cloud-boothook": "boothook",
    "text/x-include-url": "include",
    "text/x-include-once-url": "include",
    "text/part-handler": "handler",
    "text/upstart-job": "upstart",
    TEMPLATE_TYPE: "template",
    "text/x-cfninitdata": "heat",
}
# What the first lines of documents begin with that nothing else says the type of, without white
# space; and the beginnings of lines by which others are known. Upper or lower case do not matter.
_MISSPELT = ("#cloud-config", "#cloud_config", "#cloudconfig", "cloud-config")
_OTHERS = {
    "butane": ((b"variant:", b"version:"),),
    "talos": ((b"version: v1alpha1", b"machine:"), (b"apiversion: v1alpha1", b"kind:")),
    "autoinstall": ((b"autoinstall:",),),
}
_LOOKED_AT = 4096
# Media types that say nothing about what the content is for.
_VAGUE_MEDIA_TYPES = frozenset(
    (
        "",
        "text/plain",
        "text/x-not-multipart",
        "application/octet-stream",
        "application/gzip",
        "application/gzip-compressed",
        "application/gzipped",
        "application/x-compress",
        "application/x-compressed",
        "application/x-gunzip",
        "application/x-gzip",
        "application/x-gzip-compressed",
    )
)

# OpenStack's Heat adds parts for tools of its own. Those with this media type are files that the
# tools read, and show that a document comes from Heat; the others have types that all use.
HEAT_TYPE = "text/x-cfninitdata"
HEAT_FILES = ("part-handler.py", "loguserdata.py")
HEAT_REASON = "is Heat's, for cloud-init; left out: guestagent itself does what it is for"
# The user's own data among them (user_data_format HEAT_CFNTOOLS).
_HEAT_USER_DATA = (HEAT_TYPE, "cfn-userdata")

REASONS = {
    "handler": "is Python code for cloud-init only: use a script that begins with #!",
    "template": "is a template again when it is rendered: that is not rendered a second time",
    "jsonp": "is a JSON patch, which is not applied: give the whole value in #cloud-config",
    "upstart": "is a job for upstart: use write_files for a systemd unit and runcmd to start it",
    "misspelt": "has a first line that is nearly #cloud-config: write it so, without anything else",
    "hashbang": "has a first line that is nearly that of a script: begin it with #!/",
    "ignition": "is Ignition data, for Fedora CoreOS or Flatcar: write it as #cloud-config, or "
    "boot an image that has Ignition",
    "butane": "is a Butane file, from which Ignition data are made: write it as #cloud-config, or "
    "boot an image that has Ignition",
    "talos": "is a machine configuration of Talos Linux: write it as #cloud-config, or boot Talos",
    "powershell": "is a script for Windows: begin a script for this system with #!/bin/sh",
    "autoinstall": "is for Ubuntu's installer: give what is below its user-data as #cloud-config",
    "type": "has an unknown media type: use text/cloud-config or text/x-shellscript",
    "beginning": "has an unknown format: begin it with #cloud-config or #!, or use MIME multipart",
    "utf-16": "is UTF-16 text: save it as UTF-8",
    "binary": "is binary data of an unknown format: use text, or text compressed with gzip",
}
"""Why a part of each of these types cannot be used, and what to use instead."""


class Item(NamedTuple):
    """A piece of a document, before it is known what it is.

    ``media_type`` is in lower case without parameters, ``file_name`` is as it was given; both are
    empty if there is none.
    """

    media_type: str
    file_name: str
    content: bytes
    headers: Mapping[str, str]


def type_by_marker(content: bytes) -> str | None:
    """Return the type that the first line names, None if it names none.

    White space before the first line and upper or lower case do not matter.
    """
    start = content.lstrip()[:32].lower()
    for marker, part_type in _MARKERS.items():
        if start.startswith(marker):
            return part_type
    return None


def type_of(item: Item) -> str:
    """Return the type of an item: a kind of model.Part, "archive", or a key of ``REASONS``."""
    marked = type_by_marker(item.content)
    if item.media_type in _VAGUE_MEDIA_TYPES:
        return marked or _type_of_unmarked(item.content)
    if marked and (item.media_type, item.file_name) == _HEAT_USER_DATA:
        return marked
    # Tools send templates as what they are to become, and cloud-config as shell scripts.
    if marked == "template":
        return marked
    if marked and item.media_type == "text/x-shellscript":
        return marked
    return _MEDIA_TYPES.get(item.media_type, "type")


def _type_of_unmarked(content: bytes) -> str:
    if content.startswith(_UTF16):
        return "utf-16"
    if b"\0" in content:
        return "binary"
    return _near_miss(content) or "beginning"


def _near_miss(content: bytes) -> str | None:
    """Return what a document seems to be, by its first line or by what it is made of."""
    start = content.lstrip()[:_LOOKED_AT].lower()
    lines = start.splitlines()
    first = lines[0].replace(b" ", b"").decode("latin-1") if lines else ""
    if first.startswith(_MISSPELT):
        return "misspelt"
    if first.startswith(("#/bin/", "#/usr/bin/", "!#/", "/bin/bash")):
        return "hashbang"
    if start.startswith(b"{"):
        return "ignition" if b'"ignition"' in start else None
    for name, alternatives in _OTHERS.items():
        for wanted in alternatives:
            if all(any(line.startswith(words) for line in lines) for words in wanted):
                return name
    return None
