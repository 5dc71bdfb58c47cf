"""User data that were fetched (``#include``): read as any others, and applied by the late stage.

By then everything is configured, and the state of this instance is settled.  So only what the late
stage does anyway can come from an include: scripts, and the keys of cloud-config that are files,
commands and packages.
"""

from __future__ import annotations

from guestagent import facts
from guestagent.desired import cloud_config
from guestagent.desired.fetching import included_urls
from guestagent.errors import Origin, Problems
from guestagent.facts.system import extend, names
from guestagent.log import notice
from guestagent.model import InstanceData
from guestagent.parse.userdata.read import read
from guestagent.parse.userdata.variables import variables
from guestagent.plan.difference import diff
from guestagent.plan.wanted import Ask, Wanted
from guestagent.record import NamedTuple
from guestagent.verbs.write_later import commit_late, is_appended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.errors import Problem
    from guestagent.model import Part, Setting
    from guestagent.plan.kinds import Resource
    from guestagent.settings import Settings
    from guestagent.system.root import Root

_KEYS = (
    *("write_files", "runcmd", "packages", "package_update", "package_upgrade"),
    "package_reboot_if_required",
)
_TOO_LATE = (
    "cannot be included, as it is too late for it when an include is fetched: give it in the user "
    f"data themselves; what can be are scripts, and the keys {', '.join(_KEYS)}"
)
_NO_SOURCE = "cannot be fetched by what is itself fetched: include it, or give the content"
_NOT_TEXT = "is not UTF-8 text; nothing of it is used"


class Included(NamedTuple):
    """What a document that was included says: settings, scripts, and the URLs that it includes.

    ``name`` makes the names of its scripts unique.
    """

    name: str
    config: tuple[Setting, ...]
    scripts: tuple[Part, ...]
    urls: tuple[tuple[str, Origin], ...]


def read_included(
    content: bytes, url: str, why: Origin, name: str, root: Root, settings: Settings
) -> tuple[Included, list[Problem]]:
    """Return what an included document says, and what of it cannot be used.

    ``url`` is as it may be shown; ``why`` is the origin of the part that includes it.  It has to be
    signed as the document of that.
    """
    problems = Problems()
    signatures = None
    if settings.demands_signatures:
        from guestagent.verbs.signatures import demanded

        signatures = demanded(settings, root)
    user: bytes | None = content
    vendor: str | None = None
    if why.document.startswith("vendor"):
        try:
            user, vendor = None, content.decode()
        except UnicodeDecodeError:
            problems.error(Origin(url, "", ""), _NOT_TEXT)
            user = None
    config, scripts = read(
        user,
        vendor,
        None,
        source=url,
        problems=problems,
        documents=(why.document, why.document, ""),
        variables=lambda: variables(
            InstanceData(), {}, cloud="", platform="", subplatform="", guest=names(root)
        ),
        signatures=signatures,
    )
    for setting in config:
        if setting.key not in _KEYS:
            problems.error(setting.at(), _TOO_LATE)
        elif setting.key == "write_files" and any("source" in item for item in setting.value):
            problems.error(setting.at(), _NO_SOURCE)
    for part in scripts:
        if part.kind == "boothook":
            problems.error(part.origin, _TOO_LATE)
    includes = [part for part in scripts if part.kind == "include"]
    found = Included(
        name,
        tuple(setting for setting in config if _can_be_late(setting)),
        tuple(part for part in scripts if part.kind not in ("boothook", "include")),
        tuple((each, part.origin) for part in includes for each in included_urls(part.content)),
    )
    return found, problems.problems


def _can_be_late(setting: Setting) -> bool:
    if setting.key == "write_files":
        return not any("source" in item for item in setting.value)
    return setting.key in _KEYS


def apply(included: Included, root: Root, settings: Settings) -> list[Problem]:
    """Write the files of a document, and stage its scripts for the stage that is running.

    Returns what is wrong.  Raises GuestagentError, OSError.
    """
    tree = extend(facts.gather(root), root)._replace(room=None)  # / has grown long ago
    data = InstanceData(config=included.config, scripts=included.scripts)
    wanted = Wanted()
    cloud_config.plan(Ask(data, tree, settings, first=False, complete=False), wanted)
    resources = [
        _named(item, included.name)
        for item in wanted.resources
        if item.kind != "append" or not is_appended(root, item)
    ]
    plan = diff(resources, root, tree, recorded={}, first=False, complete=False)
    failures = commit_late(plan, root)
    failed = [change for change, _ in failures]
    for change in plan.changes:
        if change not in failed:
            notice(change.tell())
    return [*wanted.problems, *plan.problems, *(problem for _, problem in failures)]


def _named(resource: Resource, name: str) -> Resource:
    """Return a resource; a script under a name that no other document's script has."""
    if resource.kind == "script":
        return resource._replace(name=f"{resource.name}-{name}")
    return resource
