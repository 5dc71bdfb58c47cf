"""Whole documents of user data, and what they come to: the folders of ``tests/cases/user-data``.

Each folder is a case:

* ``user_data``: the document, as a cloud would hand it over.
* ``facts.json``, if the guest is not a Debian: ``os``, the distribution, as for ``validate --os``.
* ``expect.json``: the ``changes`` that are planned; the lines of the ``files`` that are written and
  hold no secret; the places of the ``problems``; and the parts ``without_effect``, each with the
  reason why it may be left out without a difference.

``python -m tests.userdata.documents`` writes all of this but ``without_effect`` again, as it is
now: look at the difference before you commit it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from guestagent.report.plan import plan_object
from guestagent.verbs.validate import Verdict, validate

FOLDER = Path(__file__).parents[1] / "cases" / "user-data"
_HEAD = b"#cloud-config\n"


class Document(NamedTuple):
    """A case: its content, its distribution, and what is expected of it."""

    content: bytes
    system: str
    expect: dict[str, Any]

    @property
    def value(self) -> Any:
        """The value of a document that is cloud-config, None for another one."""
        return yaml.safe_load(self.content) if self.content.startswith(_HEAD) else None

    def verdict(self) -> Verdict:
        """What the document would do."""
        return validate("user_data", self.content, self.system)


def names() -> list[str]:
    """The names of all cases."""
    return sorted(path.name for path in FOLDER.iterdir())


def load(name: str) -> Document:
    """One case."""
    folder = FOLDER / name
    facts = folder / "facts.json"
    system = json.loads(facts.read_text())["os"] if facts.exists() else "debian"
    expect = json.loads((folder / "expect.json").read_text())
    return Document((folder / "user_data").read_bytes(), system, expect)


def outcome(verdict: Verdict) -> dict[str, Any]:
    """What a document comes to, as an ``expect.json`` has it."""
    changes = plan_object(verdict.plan, [])["changes"]
    return {
        "changes": [change["summary"] for change in changes],
        "files": {
            change["path"]: change["content"].splitlines()
            for change in changes
            if change["kind"] in ("write", "set_sshd") and change["content"] is not None
        },
        "problems": [f"{problem.severity}: {problem.key}" for problem in verdict.problems],
    }


def write() -> None:
    """Write what comes of all cases now."""
    for name in names():
        case = load(name)
        expect = outcome(case.verdict()) | {"without_effect": case.expect["without_effect"]}
        text = json.dumps(expect, indent=2, ensure_ascii=False)
        (FOLDER / name / "expect.json").write_text(f"{text}\n")


if __name__ == "__main__":
    write()
