"""The rules of the code's shape that no linter knows."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import rig

from guestagent import defs

PACKAGE = rig.REPOSITORY / "guestagent"
FILES = {
    str(path.relative_to(rig.REPOSITORY).with_suffix(""))
    .replace("/", ".")
    .removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text()) for name, path in FILES.items()}
MAX_LINES = 350
NOUNS = {"guestagent", *(f"guestagent.{name}" for name in ("defs", "record", "errors", "model"))}


def _for_types_only(tree: ast.Module) -> set[ast.AST]:
    """Everything below ``if TYPE_CHECKING``."""
    tests = (node for node in ast.walk(tree) if isinstance(node, ast.If))
    guarded = (
        node
        for node in tests
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    )
    return {below for node in guarded for part in node.body for below in ast.walk(part)}


def imports(name: str) -> set[str]:
    """The modules of guestagent that a module imports when it runs, late ones too."""
    tree = TREES[name]
    skipped = _for_types_only(tree)
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            deeper = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {module if module in TREES else node.module for module in deeper}
    return {module for module in found if module in TREES}


def _all(prefix: str) -> list[str]:
    return [name for name in TREES if name == prefix or name.startswith(prefix + ".")]


@pytest.mark.parametrize("name", sorted(NOUNS - {"guestagent"}))
def test_nouns_import_only_nouns(name: str) -> None:
    assert imports(name) <= NOUNS


# What a room may import: itself, the nouns, and these.
ROOMS = {
    "guestagent.parse": {"guestagent.jsontext", "guestagent.sources.bundle"},
    "guestagent.desired": {
        *("guestagent.resources", "guestagent.parse.fields", "guestagent.parse.address"),
        *("guestagent.parse.bonding", "guestagent.jsontext"),
        "guestagent.blocks",
    },
    "guestagent.sources": {
        *("guestagent.root", "guestagent.run", "guestagent.mount", "guestagent.udev"),
        "guestagent.jsontext",
    },
    "guestagent.netfacts": {"guestagent.root", "guestagent.system"},
    "guestagent.ifchange": {"guestagent.run"},
    "guestagent.resources": set(),
    "guestagent.jsontext": set(),
    "guestagent.root": set(),
    "guestagent.changes": {"guestagent.resources"},
    "guestagent.filediff": {
        *("guestagent.root", "guestagent.resources", "guestagent.blocks", "guestagent.changes"),
        "guestagent.state",
    },
    "guestagent.difference": {
        *("guestagent.root", "guestagent.resources", "guestagent.changes", "guestagent.filediff"),
    },
    "guestagent.sysfacts": {"guestagent.root", "guestagent.state"},
    "guestagent.planning": {
        *("guestagent.difference", "guestagent.desired", "guestagent.desired.network"),
        "guestagent.sysfacts",
        *("guestagent.parse.layouts", "guestagent.parse", "guestagent.sources.find"),
        "guestagent.sources.bundle",
        *("guestagent.keycheck", "guestagent.resources", "guestagent.facts", "guestagent.cloud"),
    },
}


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_one_way(room: str) -> None:
    allowed = NOUNS | ROOMS[room] | set(_all(room))
    for name in _all(room):
        assert imports(name) <= allowed, name


STACKS = [f"guestagent.desired.network.{name}" for name in defs.NETWORK_BACKENDS]


@pytest.mark.parametrize("name", STACKS)
def test_a_renderer_knows_the_model_and_no_other_renderer(name: str) -> None:
    shared = {f"guestagent.desired.network.{part}" for part in ("check", "rendered")}
    assert shared <= imports(name) <= NOUNS | shared | {"guestagent.parse.address"}


def test_a_renderer_has_one_importer() -> None:
    for stack in STACKS:
        assert {name for name in TREES if stack in imports(name)} == {"guestagent.desired.network"}


def test_nobody_imports_the_program() -> None:
    importers = {name for name in TREES if "guestagent.cli" in imports(name)}
    assert importers == set()
    assert {name for name in TREES if "guestagent.engine" in imports(name)} == {"guestagent.cli"}


# What changes the guest or starts programs stands behind few doors.
EFFECTS = {
    "guestagent.apply": {
        *("guestagent.engine", "guestagent.netreload", "guestagent.rollback", "guestagent.stages"),
    },
    "guestagent.shadow": {"guestagent.apply", "guestagent.show"},
    "guestagent.userfiles": {"guestagent.apply", "guestagent.shadow"},
    "guestagent.rollback": {"guestagent.cli", "guestagent.engine"},
    "guestagent.netreload": {
        *("guestagent.aftermath", "guestagent.rollback", "guestagent.stages"),
    },
    "guestagent.ifchange": {"guestagent.netreload"},
    "guestagent.lock": {
        *("guestagent.engine", "guestagent.rollback", "guestagent.runner", "guestagent.stages"),
    },
    "guestagent.runner": {"guestagent.cli"},
    "guestagent.ledger": {"guestagent.runner"},
    "guestagent.scriptrun": {"guestagent.runner"},
    "guestagent.scriptlog": {"guestagent.runner"},
    "guestagent.hostkeys": {"guestagent.apply"},
    "guestagent.aftermath": {"guestagent.engine"},
    "guestagent.privsep": {
        *("guestagent.apply", "guestagent.hostkeys", "guestagent.remote", "guestagent.state"),
        *("guestagent.userfiles", "guestagent.ledger"),
    },
    "guestagent.mount": {"guestagent.sources.find"},
    "guestagent.consolepassword": {"guestagent.shadow", "guestagent.stages"},
    "guestagent.remote": {"guestagent.opening", "guestagent.stages"},
    "guestagent.sources.service": {"guestagent.remote"},
    "guestagent.sources.http": {"guestagent.sources.service", "guestagent.consolepassword"},
}


@pytest.mark.parametrize("effect", EFFECTS)
def test_effects_have_few_callers(effect: str) -> None:
    assert {name for name in TREES if effect in imports(name)} <= EFFECTS[effect]


WRITERS = {"guestagent.apply", "guestagent.hostkeys", "guestagent.privsep", "guestagent.root"}
WRITERS |= {"guestagent.state", "guestagent.aftermath", "guestagent.userfiles"}
WRITERS |= {"guestagent.runner", "guestagent.scriptlog"}
WRITING = {"write", "rename", "replace", "unlink", "remove", "rmdir", "mkdir", "makedirs", "chmod"}
WRITING |= {"fchmod", "chown", "fchown", "link", "symlink", "truncate", "ftruncate"}


@pytest.mark.parametrize("name", sorted(TREES.keys() - WRITERS))
def test_only_writers_call_what_writes(name: str) -> None:
    calls = (node.func for node in ast.walk(TREES[name]) if isinstance(node, ast.Call))
    names = {
        node.attr
        for node in calls
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if node.value.id == "os"
    }
    allowed = {"write"} if name == "guestagent.run" else set()  # the pipe to a program
    assert names & WRITING <= allowed


@pytest.mark.parametrize("path", FILES.values(), ids=FILES.keys())
def test_files_are_short_and_say_what_they_are(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= MAX_LINES
    assert ast.get_docstring(ast.parse(path.read_text()))
    assert "from __future__ import annotations" in lines or len(lines) < 5


def _functions(tree: ast.Module) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("name", sorted(TREES.keys() - {"guestagent.record"}))
def test_functions_are_short_and_annotated(name: str) -> None:
    for node in _functions(TREES[name]):
        end = node.end_lineno or node.lineno
        assert end - node.lineno < 80, f"{name}:{node.lineno} {node.name}"
        assert node.returns is not None, f"{name}:{node.lineno} {node.name}"
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        bare = [arg.arg for arg in arguments if not arg.annotation]
        assert set(bare) <= {"self", "cls", "mcs"}, f"{name}:{node.lineno} {node.name}"


def test_the_paths_of_the_guest_stand_in_one_place() -> None:
    prefixes = ("/etc/", "/var/", "/run/guestagent", "/usr/", "/proc/", "/sys/")
    for name in sorted(TREES.keys() - {"guestagent.defs"}):
        documentation = {
            node.body[0].value
            for node in ast.walk(TREES[name])
            if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        found = [
            node.value
            for node in ast.walk(TREES[name])
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
            if node not in documentation and node.value.startswith(prefixes)
        ]
        assert [text for text in found if text.rstrip("/").count("/") > 1] == [], name
