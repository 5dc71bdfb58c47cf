"""Run guestagent from a source tree: ``python3 -m guestagent``."""

from __future__ import annotations

import sys

from guestagent.cli import main

if __name__ == "__main__":
    sys.exit(main())
