"""``guestagent fetch``: ask a metadata service, in a unit that may use the network and no more."""

from __future__ import annotations

import sys

from guestagent import defs, log
from guestagent.sources.handover import encode_answer
from guestagent.sources.remote import answer_to, read_request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.options import Options


def run(options: Options) -> int:
    """Ask what the request in a file says, and write the answer to standard output.  Return 0.

    The process needs no right to write anything for that.  Having no answer is no failure of this
    unit: the answer says so, and the unit that reads it reports it.  Raises UsageError.
    """
    request = read_request(options.source)
    _leave_out_ssl()
    answer = answer_to(request)
    if answer.error:
        log.warning(answer.error)
    sys.stdout.flush()
    sys.stdout.buffer.write(encode_answer(answer))
    return defs.EXIT_OK


def _leave_out_ssl() -> None:
    """Import ``http.client`` without OpenSSL, which it takes where that is installed.

    The services of the link are asked over HTTP alone.  OpenSSL would cost this process as much CPU
    time as a start of the interpreter, and a third of its memory.
    """
    if "ssl" in sys.modules:
        return
    hidden: dict[str, object] = vars(sys)["modules"]
    hidden["ssl"] = None
    try:
        import http.client  # noqa: F401 - it stays in sys.modules
    finally:
        del hidden["ssl"]
