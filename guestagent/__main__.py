"""Run guestagent from a source tree: ``python3 -m guestagent``."""

from __future__ import annotations

import os
import sys

from guestagent.cli import main

if __name__ == "__main__":
    if not sys.flags.utf8_mode:  # names of files are UTF-8, whatever the locale is
        again = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
        os.execv(sys.executable, again)  # noqa: S606 - the same program, without a shell
    status = main()
    sys.stdout.flush()
    # At its own end Python would try to write again what nobody reads, and return 120.
    os._exit(status)
