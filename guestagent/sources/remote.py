"""The metadata service, from the side that must not talk to the network itself.

At boot the local unit leaves a request, a unit without rights fetches, and a later unit reads the
answer.  By hand a child process does the same, after it has become the user nobody.

The process that asks needs none of the guest's files, so that what opens them is imported only
where it is used.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import (
    FieldError,
    GuestagentError,
    Refused,
    SourceBroken,
    Unreachable,
    UsageError,
    WrongSource,
)
from guestagent.sources.handover import (
    ANSWER_LIMIT,
    Answer,
    Request,
    decode_answer,
    decode_request,
    encode_answer,
    request_as_json,
)
from guestagent.system.machine import product_uuid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.memory.state import State
    from guestagent.settings import Settings
    from guestagent.sources.bundle import Bundle
    from guestagent.sources.cloud import Cloud
    from guestagent.system.root import Root

_NOTHING = (
    "nothing was fetched from the metadata service, or an earlier run has used it; ask again with:"
    " systemctl restart guestagent-fetch.service guestagent-apply.service"
)
_GRACE = 5.0  # seconds that the child has beyond the time of its request


def request_for(cloud: Cloud, settings: Settings, url: str, before: State) -> Request:
    """Return what to ask the metadata service of a cloud for.

    ``url`` is that of a service which was named by hand, or empty.
    """
    known = before.configured
    if cloud.own_uuid and before.instance_id != product_uuid():
        known = False  # an image made of a configured guest, or its disk in another instance
    wait = settings.metadata_wait
    return Request(
        cloud,
        urls=(url,) if url else settings.metadata_urls,
        wait=min(wait, defs.METADATA_WAIT_KNOWN) if known else wait,
        salt=before.salt,
        digests=before.documents,
        old_protocol=settings.metadata_imds_v1,
        password=settings.password_post and not known,
        uuid=product_uuid() if cloud.own_uuid else "",
    )


def leave_request(root: Root, request: Request, *, later: bool = False) -> None:
    """Leave a request for the unit that fetches, or for one that starts it when the boot is over.

    Raises OSError, Refused.
    """
    from guestagent.system import ownfiles

    path = defs.LATER_REQUEST_FILE if later else defs.REQUEST_FILE
    ownfiles.write(root, path, request_as_json(request), 0o600)


def postpone_request(root: Root) -> None:
    """Have what was left for the unit that fetches asked when the boot is over.

    Where this is killed half-way, sshd waits for the answer.  Raises OSError, Refused.
    """
    from guestagent.system import ownfiles

    request = ownfiles.read(root, defs.REQUEST_FILE)
    ownfiles.write(root, defs.LATER_REQUEST_FILE, request, 0o600)
    ownfiles.remove(root, defs.REQUEST_FILE)


def read_request(path: str) -> Request:
    """Return the request in a file.  Raises UsageError."""
    try:
        with open(path, "rb") as file:
            return decode_request(file.read(defs.JSON_LIMIT))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except FieldError as error:
        raise UsageError(f"{path}: {error}") from None


def has_drive_come(root: Root, labels: tuple[str, ...]) -> bool:
    """Tell whether a drive has come after the unit that looks for one has left its request.

    Raises OSError.
    """
    try:
        request = decode_request(root.read(defs.REQUEST_FILE) or b"")
    except (FieldError, Refused):
        return False
    if not request.since:
        return False
    from guestagent.sources.find import came_late

    # Where the hypervisor gives the machine its instance's uuid, an answer with another is refused.
    return came_late(labels, request.since, same_instance=bool(request.uuid))


def answer_to(request: Request) -> Answer:
    """Ask a metadata service, and return its answer, which may be an error."""
    from guestagent.sources.service import fetch

    try:
        return fetch(request)
    except GuestagentError as error:
        again, wrong = isinstance(error, Unreachable), isinstance(error, WrongSource)
        return Answer("", error=str(error), again=again, wrong=wrong)


def ask_now(request: Request) -> Bundle:
    """Ask in a child process without rights, and return all documents as a source.

    Raises SourceBroken, Unreachable, UsageError.
    """
    from guestagent.sources.endpoints import parse_url
    from guestagent.system.privsep import ask_as_nobody

    for url in request.urls:
        parse_url(url)  # a wrong URL is an error of the caller, which the child could not raise
    wait = min(request.wait, defs.METADATA_WAIT_KNOWN)
    # Without digests, so that the answer has all documents, whatever has been applied before.
    whole = request._replace(wait=wait, salt="", digests={})
    content = ask_as_nobody(lambda: encode_answer(answer_to(whole)), ANSWER_LIMIT, wait + _GRACE)
    if not content:
        raise Unreachable("the process that asks the metadata service gave no answer")
    return _documents(decode_answer(content))


def read_answer(root: Root) -> Bundle:
    """Return what the unit has fetched, as a source.  Raises SourceBroken, Unreachable, OSError."""
    from guestagent.system.root import read_at

    try:
        with root.place(defs.ANSWER_FILE) as place:
            content = read_at(place.fd, place.name, ANSWER_LIMIT)
    except FileNotFoundError:
        raise Unreachable(_NOTHING) from None
    return _documents(decode_answer(content))


def take_answer(root: Root) -> Bundle:
    """Return what the unit has fetched, and remove it: passwords and user data are in it.

    Whatever becomes of this run, even if it is killed, they are at rest nowhere.  Raises as
    ``read_answer`` does.
    """
    try:
        return read_answer(root)
    finally:
        remove_answer(root)


def remove_answer(root: Root) -> None:
    """Remove what the unit has fetched, if it is there.  Raises OSError, Refused."""
    from guestagent.system import ownfiles

    ownfiles.remove(root, defs.ANSWER_FILE)


def _documents(answer: Answer) -> Bundle:
    if answer.error and answer.wrong:
        raise WrongSource(answer.error)
    if answer.error:
        raise (Unreachable if answer.again else SourceBroken)(answer.error)
    from guestagent.sources.documents import as_bundle

    return as_bundle(answer)
