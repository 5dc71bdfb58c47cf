"""A collection of user data, each document through ``guestagent validate``: counts and reasons.

``python3 -m tests.userdata.suite DIR [NAME...]`` takes all files below DIR, or those whose names
match one of the patterns.  Nothing of the documents is printed, as they may hold secrets: only what
validate says of them, without the values.  The exit status is 1 if the program itself fails.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path

from guestagent.errors import internal
from guestagent.log import printable
from guestagent.verbs.imagined_guest import DEBIAN, SYSTEMS
from guestagent.verbs.validate import Verdict, validate_file

MOST_DOCUMENTS = 100_000
MOST_REASONS = 50


class Found:
    """What was said of all documents."""

    def __init__(self) -> None:
        self.documents: Counter[str] = Counter()  # by the worst that was said of each
        self.failed: list[str] = []
        self.times: Counter[str] = Counter()  # how often each reason was given
        self.in_documents: Counter[str] = Counter()  # in how many documents
        self.first: dict[str, str] = {}  # in which first

    def add(self, name: str, verdict: Verdict) -> None:
        """Count a document."""
        said = [f"{problem.severity}: {_kind(problem.reason)}" for problem in verdict.problems]
        self.times.update(said)
        self.in_documents.update(dict.fromkeys(said, 1))
        for reason in said:
            self.first.setdefault(reason, name)
        worst = "error" if verdict.count("error") else "warning" if said else "nothing"
        self.documents[worst] += 1

    def fail(self, name: str, error: Exception) -> None:
        """Count a document that made the program fail."""
        self.documents["failed"] += 1
        self.failed.append(f"{name}: {internal(error)}")


def files(folder: Path, patterns: list[str]) -> Iterator[Path]:
    """The regular files below a folder by name, without hidden ones and without links."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            wanted = not patterns or any(fnmatch(name, pattern) for pattern in patterns)
            if wanted and not name.startswith(".") and path.is_file() and not path.is_symlink():
                yield path


def look(folder: Path, patterns: list[str], system: str = DEBIAN) -> Found:
    """Validate all documents of a folder."""
    found = Found()
    for path in islice(files(folder, patterns), MOST_DOCUMENTS):
        name = str(path.relative_to(folder))
        try:
            verdict = validate_file(str(path), system)
        except Exception as error:  # to find these is what it is for
            found.fail(name, error)
        else:
            found.add(name, verdict)
    return found


def _kind(reason: str) -> str:
    """A reason without the numbers in it, so that the same ones count together."""
    return re.sub(r"\d+", "N", reason)


def report(found: Found) -> list[str]:
    """The lines that are printed."""
    count = found.documents
    lines = [
        f"{count.total()} documents: {count['nothing']} without a problem, "
        f"{count['warning']} with warnings only, {count['error']} with errors, "
        f"{count['failed']} that made guestagent fail"
    ]
    if count.total() == MOST_DOCUMENTS:
        lines.append(f"the first {MOST_DOCUMENTS} documents only")
    lines += [f"failed: {line}" for line in found.failed[:MOST_REASONS]]
    if found.times:
        lines.append("documents  times  what is said, and the first document of which")
    for reason, documents in found.in_documents.most_common(MOST_REASONS):
        lines.append(f"{documents:9}  {found.times[reason]:5}  {reason} ({found.first[reason]})")
    more = len(found.times) - MOST_REASONS
    if more > 0:
        lines.append(f"and {more} more reasons")
    return [printable(line) for line in lines]


def main(words: list[str]) -> int:
    """Carry out the command line."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.userdata.suite")
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument(
        "patterns", nargs="*", metavar="NAME", help="such as 'user_data' or '*.yaml'"
    )
    parser.add_argument("--os", choices=SYSTEMS, default=DEBIAN)
    options = parser.parse_args(words)
    if not options.folder.is_dir():
        parser.error(f"{options.folder} is not a directory")
    found = look(options.folder, options.patterns, options.os)
    print("\n".join(report(found)))
    return 1 if found.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
