"""The rules of the code's shape that no linter knows."""

from __future__ import annotations

import ast
import re
from functools import cache

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
NODES = {name: list(ast.walk(tree)) for name, tree in TREES.items()}

# The house: a module may import what is on floors below its own, and its own room. Modules that
# stand alone on the lowest floors are rooms of one.
FLOORS = (
    ("__main__",),
    ("cli", "daemon"),
    ("verbs",),
    ("live", "scripts"),
    ("commit", "report"),
    ("desired",),
    ("facts", "plan"),
    ("stacks",),
    ("settings",),
    ("parse",),
    ("memory", "sources"),
    ("system",),
    ("options",),
    ("model",),
    ("errors",),
    ("defs", "log", "record"),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


@cache
def _for_types_only(name: str) -> frozenset[ast.AST]:
    """Everything of a module below ``if TYPE_CHECKING``."""
    tests = (node for node in NODES[name] if isinstance(node, ast.If))
    guarded = (
        node
        for node in tests
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    )
    return frozenset(below for node in guarded for part in node.body for below in ast.walk(part))


@cache
def imports(name: str) -> frozenset[str]:
    """The modules of guestagent that a module imports when it runs, late ones too."""
    skipped = _for_types_only(name)
    found: set[str] = set()
    for node in NODES[name]:
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            deeper = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {module if module in TREES else node.module for module in deeper}
    return frozenset(module for module in found if module in TREES)


def outside(name: str) -> set[str]:
    """The modules of others that a module imports when it runs, late ones too."""
    skipped = _for_types_only(name)
    found: set[str] = set()
    for node in NODES[name]:
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return {name for name in found if name.partition(".")[0] not in ("__future__", "guestagent")}


def room_of(name: str) -> str:
    """The room of a module: the package below guestagent, or the module itself."""
    return name.split(".")[1] if "." in name else ""


def test_every_room_has_a_floor() -> None:
    assert {room_of(name) for name in TREES} - {""} == set(FLOOR)


def test_imports_go_down() -> None:
    for name in TREES:
        own = room_of(name)
        for other in imports(name):
            room = room_of(other)
            if room not in ("", own):
                assert FLOOR[own] < FLOOR[room], f"{name} imports {other}"


STACKS = [f"guestagent.stacks.{name}" for name in defs.NETWORK_STACKS]


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_knows_no_other_stack(stack: str) -> None:
    for name in TREES:
        if f"{name}.".startswith(f"{stack}."):
            others = {other for other in STACKS if other != stack}
            wrong = {o for o in imports(name) for s in others if f"{o}.".startswith(f"{s}.")}
            assert not wrong, name


# What a renderer may import: what computes, and nothing that touches the machine.
PURE = {f"guestagent.{name}" for name in ("defs", "errors", "model", "record", "parse", "stacks")}
PURE_STANDINS = {"guestagent.system.digest"}


def test_D7_the_wall_clock_is_only_shown() -> None:
    """In the report, and as the age of the configuration: nothing waits by it."""
    readers = {
        name
        for name, nodes in NODES.items()
        for node in nodes
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("time.time", "time.time_ns")
    }
    shown = {"report.run", "verbs.source", "verbs.change"}
    assert readers == {f"guestagent.{name}" for name in shown}


def test_only_the_reload_of_a_stack_has_effects() -> None:
    effects = {f"{stack}.reload" for stack in STACKS} | {"guestagent.stacks.programs"}
    for name in TREES.keys() - effects:
        if room_of(name) == "stacks":
            loaded = imports(name)
            assert not loaded & effects, name
            rooms = {f"guestagent.{room_of(other)}" for other in loaded - PURE_STANDINS}
            assert rooms <= PURE, name
            assert not outside(name) - {"yaml"}, name


def test_only_live_reloads_a_stack() -> None:
    reloads = {f"{stack}.reload" for stack in STACKS}
    assert {name for name in TREES if imports(name) & reloads} == {"guestagent.live.network"}


KINDS = {name.rpartition(".")[2]: name for name in TREES if "guestagent.plan.kinds." in name}
EFFECTS = {name.rpartition(".")[2]: name for name in TREES if "guestagent.commit." in name}


def test_a_kind_has_one_name_in_every_layer() -> None:
    """Each effect is that of the kind of its name; a kind without one uses another's changes."""
    assert EFFECTS.keys() <= KINDS.keys()
    for name, module in EFFECTS.items():
        functions = {node.name for node in _functions(module)}
        assert "carry_out" in functions or name == "file"
    # Lines, scripts and late files become files.
    assert KINDS.keys() - EFFECTS.keys() == {"block", "late", "script"}


def test_a_kind_imports_no_effect() -> None:
    effects = {*WRITERS, *EFFECTS.values(), "guestagent.commit", "guestagent.system.tools"}
    for name in KINDS.values():
        assert imports(name) & effects == set(), name


def test_one_module_spells_the_keys_of_the_memory() -> None:
    spelled = {f"{kind}:" for kind in ("file", "block", "replaced", "late", "step", "password")}
    for name in TREES.keys() - {"guestagent.memory.applied"}:
        texts = [
            node.value
            for node in NODES[name]
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        assert not spelled.intersection(texts), name


WRITERS = {
    "guestagent.commit.account",
    "guestagent.commit.file",
    "guestagent.commit.home",
    "guestagent.commit.host_keys",
    "guestagent.commit.link",
    "guestagent.commit.remove",
    "guestagent.system.ownfiles",
    "guestagent.system.root",
}
WRITERS |= {"guestagent.system.ownfiles", "guestagent.commit.sshd"}
WRITERS |= {"guestagent.scripts.runner", "guestagent.scripts.output"}
_NOT_TO_FILES = ("guestagent.system.tools", "guestagent.system.selinux")
WRITING = {"write", "rename", "replace", "unlink", "remove", "rmdir", "mkdir", "makedirs", "chmod"}
WRITING |= {"fchmod", "chown", "fchown", "link", "symlink", "truncate", "ftruncate"}


def test_only_writers_call_what_writes() -> None:
    for name in TREES.keys() - WRITERS:
        calls = (node.func for node in NODES[name] if isinstance(node, ast.Call))
        names = {
            node.attr
            for node in calls
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
            if node.value.id == "os"
        }
        # To a program's pipe, and to the kernel's attributes of a process.
        allowed = {"write"} if name in _NOT_TO_FILES else set()
        assert names & WRITING <= allowed, name


def test_files_say_what_they_are() -> None:
    for name, path in FILES.items():
        lines = path.read_text().splitlines()
        assert ast.get_docstring(TREES[name]), name
        assert "from __future__ import annotations" in lines or len(lines) < 5, name


def _functions(name: str) -> list[ast.FunctionDef]:
    return [node for node in NODES[name] if isinstance(node, ast.FunctionDef)]


def test_functions_are_annotated() -> None:
    for name in TREES.keys() - {"guestagent.record"}:
        for node in _functions(name):
            where = f"{name}:{node.lineno} {node.name}"
            assert node.returns is not None, where
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            bare = [arg.arg for arg in arguments if not arg.annotation]
            assert set(bare) <= {"self", "cls", "mcs"}, where


def test_the_paths_of_the_guest_stand_in_one_place() -> None:
    prefixes = ("/etc/", "/var/", "/run/guestagent", "/usr/", "/proc/", "/sys/")
    for name in sorted(TREES.keys() - {"guestagent.defs"}):
        documentation = {
            node.body[0].value
            for node in NODES[name]
            if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        found = [
            node.value
            for node in NODES[name]
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
            if node not in documentation and node.value.startswith(prefixes)
        ]
        assert [text for text in found if text.rstrip("/").count("/") > 1] == [], name


def test_only_system_imports_private_modules() -> None:
    for name in TREES:
        found: set[str] = set()
        for node in NODES[name]:
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module)
        private = {module for module in found if module.startswith("_")} - {"__future__"}
        assert not private or room_of(name) == "system", name


# Rooms that only compute: they read nothing of this machine and change nothing, so that the same
# data always give the same.  Beside each is what it may import, besides itself and the nouns.
NOUNS = ("defs", "record", "errors", "model")
COMPUTE = {
    "parse": ("sources.bundle", "system.jinja", "system.jsontext", "system.libc"),
    "plan": ("memory", "system.digest", "system.jsontext"),
    "desired": (
        *("parse.fields", "parse.network.address", "parse.sshd_config"),
        *("plan.commands", "plan.kinds", "plan.wanted", "stacks", "system.jsontext"),
    ),
}


@pytest.mark.parametrize(("room", "allowed"), COMPUTE.items(), ids=COMPUTE)
def test_what_only_computes_imports_nothing_else(room: str, allowed: tuple[str, ...]) -> None:
    for name in TREES:
        if room_of(name) == room:
            others = {other for other in imports(name) if other != "guestagent"}
            wrong = {other for other in others if not is_below(other, (room, *NOUNS, *allowed))}
            assert not wrong, name
            assert not outside(name) & {"os", "sys", "time", "socket", "select", "fcntl"}, name


def is_below(name: str, modules: tuple[str, ...]) -> bool:
    """Tell whether a module is one of these, or in one of these packages."""
    return any(f"{name}.".startswith(f"guestagent.{module}.") for module in modules)


# What changes the guest, talks to others or runs programs is behind few doors: who imports it.
DOORS = {
    "commit": "live.rollback live.sshd verbs.change verbs.make_host_keys verbs.write_later",
    "live.rollback": "verbs.change verbs.rollback",
    "live.network": "live.daemons live.rollback verbs.reload",
    "live.daemons": "verbs.apply verbs.change verbs.make_host_keys",
    "live.sshd": "verbs.change",
    "scripts.runner": "cli",
    "scripts.phone_home": "cli",
    "scripts.ledger": "scripts.runner",
    "scripts.process": "scripts.runner",
    "scripts.output": "scripts.runner",
    "sources.ext": "sources.path",
    "sources.mount": "sources.path",
    "sources.remote": "verbs.fetch verbs.source",
    "sources.service": "sources.remote",
    "sources.http": "sources.service commit verbs.post",
    "sources.https": "verbs.download verbs.fetch_later",
    "stacks.programs": " ".join(f"stacks.{name}.reload" for name in defs.NETWORK_STACKS),
    "system.lock": "live.network report.additions scripts.runner "
    "verbs.apply verbs.fetch_later verbs.make_host_keys verbs.rollback verbs.write_later",
    "system.jinja": "parse.userdata.templates",
    "system.privsep": "commit sources.ext sources.https sources.remote system.jinja "
    "verbs.fetch_later",
    "verbs.apply": "cli",
    "verbs.change": "verbs.apply verbs.fetch_later",
}


@pytest.mark.parametrize(("door", "callers"), DOORS.items(), ids=DOORS)
def test_effects_have_few_callers(door: str, callers: str) -> None:
    behind = {name for name in TREES if is_below(name, (door,))}
    importers = {name for name in TREES.keys() - behind if imports(name) & behind}
    assert behind
    assert {name for name in importers if not is_below(name, tuple(callers.split()))} == set()


@pytest.mark.parametrize("stack", STACKS)
def test_a_renderer_checks_the_model_and_has_one_importer(stack: str) -> None:
    renderer = f"{stack}.render"
    assert {"guestagent.stacks.check", "guestagent.stacks.rendered"} <= imports(renderer)
    importers = {name for name in TREES if renderer in imports(name)}
    assert {name for name in importers if not name.startswith(f"{stack}.")} == {"guestagent.stacks"}


@pytest.mark.parametrize("document", ["SECURITY.md", "docs/reachable.md"])
def test_every_test_that_a_promise_names_exists(document: str) -> None:
    named = re.findall(r"`(test_\w+)(…?)`", (rig.REPOSITORY / document).read_text())
    files = [path.read_text() for path in (rig.REPOSITORY / "tests").rglob("test_*.py")]
    found = set(re.findall(r"def (test_\w+)\(", "\n".join(files)))
    whole = {name for name, more in named if not more}
    begun = {name for name, more in named if more}
    assert whole - found == set()
    assert {name for name in begun if not any(each.startswith(name) for each in found)} == set()
