"""What is fetched from URLs: ``source`` of ``write_files``, ``ssh_import_id``, ``#include``.

``packages.apt_sources`` adds the keys of its sources to that.

Neither this process nor any before the network is up can fetch.  A script of the late stage has
what is wanted; ``verbs.fetch_later`` has it fetched, and writes what came.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.desired.write_files import read_item
from guestagent.errors import FieldError
from guestagent.parse import fields
from guestagent.plan.kinds.script import Script
from guestagent.system.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from guestagent.errors import Origin
    from guestagent.plan.wanted import Ask, Wanted

    Item = tuple[dict[str, Any], Origin]

_OFF = "is not fetched, because the setting fetch.enable is not set"
_USE_KEYS = f"{_OFF}: set it, or give the keys as ssh_authorized_keys"
_USE_CONTENT = f"{_OFF}: set it, or give the content itself"
_USE_PARTS = (
    "refers to URLs, which are not fetched, because the setting fetch.enable is not set: set it, "
    "or give the content of each as a part"
)
_NO_DEFAULT = "is for the default user, and there is none: give it to one of users"
_TOO_MANY = f"is left out: more than {defs.FETCH_COUNT} documents are to be fetched"
_TOO_LARGE = f"makes all content beside sources larger than {defs.FILE_LIMIT >> 20} MiB; left out"
_NOT_RUN = "is not run: scripts of this folder are staged before anything is fetched; use runcmd"
# What GitHub and Launchpad allow as names, and where they have the keys.
_HOSTS = {
    "gh": ("https://github.com/{}.keys", frozenset("-")),
    "lp": ("https://launchpad.net/~{}/+sshkeys", frozenset("-.+")),
}
_NAME_LIMIT = 64
# Characters of JSON for all header fields of a document: the request for all is one small file.
_HEADERS_LIMIT = 8192
_SCRIPT = """\
#!/bin/sh
exec {program} fetch-later <<'END'
{wanted}
END
"""


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan one script for all that is to be fetched."""
    items = [*_files(ask, wanted), *_keys(ask, wanted), *_includes(ask, wanted)]
    want_script(items, ask, wanted)


def want_script(items: Sequence[Item], ask: Ask, wanted: Wanted) -> None:
    """Want a script of the late stage that has items fetched, if there are any."""
    for _, why in items[defs.FETCH_COUNT :]:
        wanted.error(why, _TOO_MANY)
    items = items[: defs.FETCH_COUNT]
    if not items:
        return
    for number, (item, _) in enumerate(items, 1):
        if item["include"]:
            item["include"] = f"include-{number}"
    found = [item for item, _ in items]
    http, again = ask.settings.fetch_http, defs.FETCH_AGAIN
    wanted.want(script(found, items[0][1], http=http, again=again))


def script(items: list[dict[str, Any]], why: Origin, *, http: bool, again: int) -> Script:
    """Return the script that has items fetched.

    ``again`` is how many more such scripts may follow for what cannot be reached.  Keys of apt are
    fetched before packages are installed, all else after that.
    """
    value = {"http": http, "again": again, "items": items}
    order, name = (5, "apt-keys") if items[0]["apt_key"] else (25, "fetch")
    return Script(
        "script",
        "late",
        order,
        frequency="resumed",  # what was written already is found to be right
        name=name,
        content=_SCRIPT.format(program=defs.PROGRAM, wanted=dumps(value)).encode(),
        why=why,
        secret=True,  # URLs may have passwords in them
    )


def item_to_fetch(
    url: str,
    why: Origin,
    *,
    headers: dict[str, str] | None = None,
    file: dict[str, Any] | None = None,
    keys_for: str = "",
    include: str = "",
    apt_key: dict[str, Any] | None = None,
) -> Item:
    """Return a document to fetch, as the script has it, and its origin.

    One of ``file``, ``keys_for``, ``include``, a name for it, and ``apt_key`` says what it is for.
    """
    found = {
        "url": url,
        "headers": headers or {},
        "file": file,
        "keys_for": keys_for,
        "include": include,
        "apt_key": apt_key,
        "why": list(why),
    }
    return found, why


def _files(ask: Ask, wanted: Wanted) -> Iterator[Item]:
    """Yield the files to fetch, with their origins; ``fallback`` is the content in their place."""
    setting = ask.data.setting("write_files")
    room = defs.FILE_LIMIT  # of the script
    for index, item in enumerate(setting.value if setting else ()):
        if setting is None or "source" not in item:
            continue
        why = setting.at(index, "source")
        if not ask.settings.fetch_enable:
            # The item is an ordinary file where it has a content, too.
            report = wanted.warn if "content" in item else wanted.error
            report(why, _USE_CONTENT)
            continue
        url = wanted.take(setting.at(index, "source", "uri"), checker(ask), item["source"]["uri"])
        headers = wanted.take(why, _check_headers, item["source"].get("headers", {}))
        file = read_item(setting, index, wanted, live=ask.facts.live)
        if url is None or headers is None or file is None:
            continue
        room -= len(file.content)
        if room < 0:
            wanted.error(setting.at(index, "content"), _TOO_LARGE)
            continue
        if file.path.startswith(f"{defs.CLOUD_SCRIPTS_DIR}/"):
            wanted.warn(setting.at(index, "path"), _NOT_RUN)
        described = {
            "path": file.path,
            "mode": file.mode,
            "owner": file.owner,
            "append": file.kind == "append",
            "fallback": file.content.hex() if "content" in item else None,
        }
        yield item_to_fetch(url, why, headers=headers, file=described)


def _keys(ask: Ask, wanted: Wanted) -> Iterator[Item]:
    """Yield whose keys to fetch for which accounts, with the origins."""
    for account, text, why in _imports(ask, wanted):
        url = wanted.take(why, _key_url, text)
        if url is not None:
            yield item_to_fetch(url, why, keys_for=account)


def _includes(ask: Ask, wanted: Wanted) -> Iterator[Item]:
    """Yield the documents that are included, with their origins."""
    for part in ask.data.scripts:
        if part.kind != "include":
            continue
        if not ask.settings.fetch_enable:
            wanted.error(part.origin, _USE_PARTS)
            continue
        for given in included_urls(part.content):
            url = wanted.take(part.origin, checker(ask), given)
            if url is not None:
                # want_script() gives it a name that no other one of this instance has.
                yield item_to_fetch(url, part.origin, include="include")


def included_urls(content: bytes) -> list[str]:
    """Return the URLs of a part ``#include``: one on a line, maybe on the first one, too."""
    urls = []
    for line in content.decode("utf-8", "replace").splitlines():
        url = line.strip()
        for mark in ("#include-once", "#include"):
            if url.lower().startswith(mark):
                url = url[len(mark) :].strip()
                break
        if url and not url.startswith("#"):
            urls.append(url)
    return urls


def _imports(ask: Ask, wanted: Wanted) -> Iterator[tuple[str, str, Origin]]:
    """Yield each name whose keys are wanted: for which account, and where it is written."""
    from guestagent.desired.accounts import people
    from guestagent.plan.wanted import Wanted as Unheard

    # What is wrong with the accounts is reported where they are planned.
    default, described = people.read(ask, Unheard())
    for person in described:
        given = person.fields.get("ssh_import_id")
        if given is None:
            continue
        if not ask.settings.fetch_enable:
            has_keys = person.get("ssh_authorized_keys")
            (wanted.warn if has_keys else wanted.error)(given.at(), _USE_KEYS)
            continue
        for index, text in enumerate(given.value):
            yield person.name, text, given.at(index)
    own = ask.data.setting("ssh_import_id")
    if own is None or not own.value:
        return
    if not ask.settings.fetch_enable:
        wanted.error(own.at(), _USE_KEYS)
    elif not default:
        wanted.error(own.at(), _NO_DEFAULT)
    else:
        for index, text in enumerate(own.value):
            yield default, text, own.at(index)


def _key_url(text: str) -> str:
    """Return where a host has the keys of ``gh:NAME``, ``lp:NAME`` or ``NAME``, which is lp's."""
    host, colon, name = text.rpartition(":")
    url, others = _HOSTS.get(host if colon else "lp", ("", frozenset()))
    letters = name.isascii() and all(char.isalnum() or char in others for char in name)
    if not url or not letters or not 0 < len(name) <= _NAME_LIMIT or not name[0].isalnum():
        raise FieldError("must be gh:NAME or lp:NAME")
    return url.format(name)


def checker(ask: Ask) -> Any:
    """Return the validator of a URL to fetch from."""

    def check(text: str) -> str:
        url = fields.url(text)
        if not url.lower().startswith("https:") and not ask.settings.fetch_http:
            raise FieldError("must be an https:// URL, unless the setting fetch.http is set")
        if len(dumps(url)) > defs.PATH_LIMIT:
            raise FieldError("is too long")
        return url

    return check


def _check_headers(headers: dict[str, str]) -> dict[str, str]:
    """Return header fields (RFC 9110, 5.5).  Raises FieldError."""
    for name, value in headers.items():
        token = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
        plain = value.isascii() and value.isprintable() and value == value.strip()
        if not token or not plain:
            raise FieldError("has a header field that cannot be sent")
    if len(dumps(headers)) > _HEADERS_LIMIT:
        raise FieldError(f"has header fields of more than {_HEADERS_LIMIT} characters")
    return headers
