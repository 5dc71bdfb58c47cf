"""``guestagent download``: fetch from URLs, in a unit that may use the network and no more."""

from __future__ import annotations

import sys

from guestagent import defs
from guestagent.errors import FieldError, UsageError
from guestagent.sources.downloads import decode_request, encode_answer
from guestagent.sources.https import fetch_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.options import Options


def run(options: Options) -> int:
    """Fetch what the request in a file says, and write the answer to standard output.  Return 0.

    The process needs no right to write anything for that.  Raises UsageError.
    """
    try:
        with open(options.source, "rb") as file:
            request = decode_request(file.read(defs.JSON_LIMIT))
    except OSError as error:
        raise UsageError(f"{options.source}: {error.strerror}") from None
    except FieldError as error:
        raise UsageError(f"{options.source}: {error}") from None
    sys.stdout.buffer.write(encode_answer(fetch_all(request)))
    return defs.EXIT_OK
