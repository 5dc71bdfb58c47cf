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
    b"#!": "script",
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
    "text/x-cfninitdata": "cfn",
}
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

# OpenStack's Heat adds parts for tools of its own. Those with this media type show that a document
# comes from Heat; the files have types that others use as well.
HEAT_TYPE = "text/x-cfninitdata"
HEAT_FILES = ("part-handler.py", "loguserdata.py")
HEAT_REASON = "is for Heat's own tools; ignored: the scripts that they would start run anyway"
# The user's own data among them (user_data_format HEAT_CFNTOOLS).
_HEAT_USER_DATA = (HEAT_TYPE, "cfn-userdata")

REASONS = {
    "include": "refers to URLs, and nothing is fetched: give the content of each as a part",
    "handler": "is Python code for cloud-init only: use a script that begins with #!",
    "template": "is a template again when it is rendered: that is not rendered a second time",
    "jsonp": "is a JSON patch, which is not applied: give the whole value in #cloud-config",
    "upstart": "is a job for upstart: use write_files for a systemd unit and runcmd to start it",
    "cfn": HEAT_REASON,
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
    is_heat_user_data = (item.media_type, item.file_name) == _HEAT_USER_DATA
    if item.media_type in _VAGUE_MEDIA_TYPES or is_heat_user_data:
        return marked or _type_of_unmarked(item.content)
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
    return "beginning"
