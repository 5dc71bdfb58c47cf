"""What a part of user data is, told by its media type or by how it begins."""

from __future__ import annotations

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
# What is longer comes before what it begins with; letters' case is of no account.
_BEGINNINGS = {
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
_TYPES = {
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
    "text/jinja2": "template",
    "text/x-cfninitdata": "cfn",
}
# These say nothing of what the content is.
_VAGUE_TYPES = frozenset(
    (
        *("", "text/plain", "text/x-not-multipart", "application/octet-stream"),
        *("application/gzip", "application/gzip-compressed", "application/gzipped"),
        *("application/x-compress", "application/x-compressed", "application/x-gunzip"),
        *("application/x-gzip", "application/x-gzip-compressed"),
    )
)
# The user data itself, as Heat packs it among its own files (user_data_format HEAT_CFNTOOLS).
_HEAT_USER_DATA = ("text/x-cfninitdata", "cfn-userdata")

# What Heat adds for its own tools, which its documents tell by parts of the second type.
HEAT_FILES = ("part-handler.py", "loguserdata.py")
HEAT_TYPE = "text/x-cfninitdata"
HEAT_REASON = "is Heat's own, for its cfn tools: ignored, as what it would run is run all the same"

# Why a kind cannot be used, and what to use instead.
REASONS = {
    "include": "names other places to fetch from, which is not done: give what is there as a part",
    "handler": "is Python code for cloud-init alone: use a script that begins with #!",
    "template": "is a template, which is not rendered: give the values, or use a script",
    "jsonp": "is a JSON patch, which is not applied: give the whole value in #cloud-config",
    "upstart": "is a job for upstart: use write_files for a systemd unit and runcmd to start it",
    "cfn": HEAT_REASON,
    "type": "has a media type that is not known: use text/cloud-config or text/x-shellscript",
    "beginning": "does not begin in a way that is known: use #cloud-config, #! or a MIME multipart",
    "utf-16": "is UTF-16 text: save it as UTF-8",
    "binary": "is binary data of no kind that is known: use text, or gzip of it",
}


def beginning(content: bytes) -> str | None:
    """What a content is by how it begins; white space before that does not count."""
    start = content.lstrip()[:32].lower()
    return next((kind for text, kind in _BEGINNINGS.items() if start.startswith(text)), None)


def kind(media_type: str, file_name: str, content: bytes) -> str:
    """A kind of model.Part, "archive", or a key of REASONS.

    ``media_type`` is in small letters, without parameters, empty for none.
    """
    seen = beginning(content)
    if media_type in _VAGUE_TYPES or (media_type, file_name) == _HEAT_USER_DATA:
        if seen is None and content.startswith(_UTF16):
            return "utf-16"
        return seen or ("binary" if b"\0" in content else "beginning")
    # A shell script must begin as one; a template is meant to be one whatever its type.
    if seen == "template" or (seen and media_type == "text/x-shellscript"):
        return seen
    return _TYPES.get(media_type, "type")
