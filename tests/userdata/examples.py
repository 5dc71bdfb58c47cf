"""cloud-init's own examples, and what becomes of them, for people.

``python -m tests.userdata.examples > docs/user-data-examples.md`` writes the page.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

from guestagent.verbs.validate import Verdict, validate

from .dropping import place

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "user-data-examples.md"
# Installed with cloud-init, or unpacked from its Debian package.
_PLACES = (
    REPOSITORY / ".venv/cloud-init/usr/share/doc/cloud-init",
    Path("/usr/share/doc/cloud-init"),
)
# Documents beside the examples, and examples of other things than user data.
OTHERS = {
    "kernel-cmdline.txt": "text about the kernel command line",
    "seed/README": "text about a directory",
    "seed/meta-data": "metadata for the NoCloud layout",
}

_HEAD = """\
# What becomes of cloud-init's examples

Written by `python -m tests.userdata.examples`; a test compares it with what `validate` says.

These are the files that cloud-init {version} has among its documentation, in
`/usr/share/doc/cloud-init/examples`. Each is given to `guestagent validate`, which plans it for a
new Debian guest:

* **applied**: all of it is done.
* **in part**: what the last column names is not done; the rest is.
* **refused**: nothing is done, and an error says so.
* **ignored**: nothing is done, because it concerns cloud-init itself; a warning says so.

The reasons are guestagent's own words, as in the report of a boot and in the output of `validate`,
there with line and column. Keys _without effect_ ask for what is the default.
"""


def missing() -> str:
    """Why there are no examples here; empty if there are."""
    return "" if _folder() else "needs the examples of cloud-init's documentation"


def _folder() -> Path | None:
    return next((place for place in _PLACES if (place / "examples").is_dir()), None)


def version() -> str:
    """The version of cloud-init whose examples these are, without Debian's revision."""
    folder = _folder()
    assert folder
    with gzip.open(folder / "changelog.Debian.gz", "rt") as file:
        first = file.readline()
    return first.partition("(")[2].partition("-")[0]


def examples() -> dict[str, bytes]:
    """The content of every example by its name, which is that of the file without ``.gz``."""
    folder = _folder()
    if folder is None:
        return {}
    found = {}
    for path in sorted((folder / "examples").rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            name = str(path.relative_to(folder / "examples"))
            packed = name.endswith(".gz")
            found[name.removesuffix(".gz")] = gzip.decompress(content) if packed else content
    return {name: content for name, content in sorted(found.items()) if name not in OTHERS}


def page() -> str:
    """The whole page."""
    rows = ["| Example | Result | Not done, and why |", "| --- | --- | --- |"]
    for name, content in examples().items():
        verdict = validate(name, content)
        rows.append(f"| `{name}` | {result(verdict)} | {_notes(verdict)} |")
    others = [f"* `{name}`: {what}" for name, what in OTHERS.items()]
    text = [_HEAD.format(version=version()), *rows, "", "Not user data, and left out above:", ""]
    return "\n".join([*text, *others, ""])


def result(verdict: Verdict) -> str:
    """What becomes of the document, in one word."""
    if not verdict.plan.changes:
        return "refused" if verdict.count("error") else "ignored"
    return "in part" if verdict.problems else "applied"


def _notes(verdict: Verdict) -> str:
    by_reason: dict[str, list[str]] = {}
    for problem in verdict.problems:
        by_reason.setdefault(problem.reason, []).append(place(problem.key))
    notes = []
    for reason, keys in by_reason.items():
        shown = ", ".join(f"`{key}`" for key in dict.fromkeys(keys) if key)
        notes.append(f"{shown}: {reason}" if shown else reason)
    if verdict.without_effect:
        shown = ", ".join(f"`{key}`" for key in verdict.without_effect)
        notes.append(f"_without effect_: {shown}")
    return "; ".join(notes).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(page())
