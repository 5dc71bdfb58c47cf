"""Try mutants for a time, and print what is found.

usage: PYTHONPATH=tests python -m fuzz SECONDS [SEED]

The same seed makes the same inputs in the same order.  Of the first input of which something comes
that must not, the smallest form is left in a directory, and the exit status is 1.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from .search import inputs, minimal, verdict


def main(seconds: float, seed: int) -> int:
    """Try inputs until the time is over, or one fails.  Return the exit status."""
    start = time.monotonic()
    number = 0
    for number, given in enumerate(inputs(seed), start=1):
        found = verdict(given)
        if found:
            small = minimal(given, found)
            folder = Path(tempfile.mkdtemp(prefix="guestagent-fuzz-"))
            for name, content in small.documents.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
            print(f"seed {seed}, input {number}, reader {given.reader}: {'; '.join(found)}")
            print(f"the input: {folder}; what was changed is {given.mutated}")
            return 1
        if time.monotonic() - start > seconds:
            break
    print(f"seed {seed}: {number} inputs in {time.monotonic() - start:.0f} s, nothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else int(time.time())))
