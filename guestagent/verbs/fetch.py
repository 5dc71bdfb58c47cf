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
    answer = answer_to(read_request(options.source))
    if answer.error:
        log.warning(answer.error)
    sys.stdout.flush()
    sys.stdout.buffer.write(encode_answer(answer))
    return defs.EXIT_OK
