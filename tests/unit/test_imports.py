"""Start-up is a feature: which modules the common path imports."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path

import pytest
import rig

from guestagent import defs

# Each costs about as much CPU time as a third of the interpreter's own start, or more.
DEAR = {
    *("requests", "urllib3", "yaml", "pyudev", "psutil", "dataclasses", "inspect", "logging"),
    *("pathlib", "subprocess", "tempfile", "asyncio", "email", "re", "typing", "json"),
    *("argparse", "tomllib", "ipaddress", "enum", "functools", "collections", "socket"),
    *("threading", "contextlib", "difflib", "hashlib", "shutil", "random", "site"),
}
_TELL = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from guestagent.cli import main; "
    "status = main(sys.argv[1:]); print(*sorted(sys.modules)); sys.exit(status)"
)
_COMMENTS = "# [hosts]\n#manage = true\n\n"


def modules(*arguments: str | Path) -> set[str]:
    """The modules that are loaded when a run of the agent ends."""
    argv = [sys.executable, "-I", "-S", "-B", "-c", _TELL, str(rig.REPOSITORY)]
    done = subprocess.run([*argv, *map(str, arguments)], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.fixture
def runs(guest: Path, drive: Path) -> tuple[set[str], set[str]]:
    """Modules of a first run, and of a second one that has nothing to do."""
    settings = guest / "etc/guestagent/guestagent.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(_COMMENTS)
    first, second = (modules("--source", drive, "--root", guest) for _ in range(2))
    return first, second


@pytest.mark.parametrize("text", ["[hosts]\nmanage = false\n", '[ssh]\nkeys_for = ["root"]\n'])
def test_an_unchanged_run_does_not_parse_settings_again(
    guest: Path, drive: Path, text: str
) -> None:
    settings = guest / f"{defs.SETTINGS_DROPINS[1:]}/image.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(text)
    first, second = (modules("--source", drive, "--root", guest) for _ in range(2))
    assert "tomllib" in first
    assert second & DEAR == set(), sorted(second)
    assert "guestagent.parse.settings_file" not in second
    # Another comment is another file, but nothing that a run has to do.
    settings.write_text(f"# Of the image.\n{text}")
    assert "tomllib" in modules("--source", drive, "--root", guest)
    assert "tomllib" not in modules("--source", drive, "--root", guest)


def test_no_dear_module_is_imported(runs: tuple[set[str], set[str]]) -> None:
    for loaded in runs:
        assert loaded & DEAR == set(), sorted(loaded)


def library(loaded: set[str]) -> list[str]:
    """Modules that are neither guestagent's nor loaded by the bare interpreter."""
    argv = [sys.executable, "-I", "-S", "-c", "import sys; print(*sys.modules)"]
    bare = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    return sorted(name for name in loaded - set(bare) if not name.startswith("guestagent"))


def own(loaded: set[str]) -> list[str]:
    """guestagent's modules."""
    return sorted(name for name in loaded if name.startswith("guestagent"))


def test_a_first_run_imports_few_modules(runs: tuple[set[str], set[str]]) -> None:
    first, _ = runs
    assert len(library(first)) <= 18, library(first)
    assert len(own(first)) <= 70, own(first)


def test_only_the_renderer_in_use_is_imported(runs: tuple[set[str], set[str]]) -> None:
    first, second = runs
    stacks = {f"guestagent.stacks.{name}.render" for name in defs.NETWORK_STACKS}
    assert first & stacks == {"guestagent.stacks.networkd.render"}
    assert second & stacks == set()


def test_a_run_without_changes_imports_less(runs: tuple[set[str], set[str]]) -> None:
    _, second = runs
    assert len(library(second)) <= 15, library(second)
    assert len(own(second)) <= 27, own(second)
    unused = {
        "ctypes",
        "_ctypes",
        "guestagent.commit",
        "guestagent.plan.difference",
        "guestagent.report.plan",
    }
    unused |= {"guestagent.facts.network", "guestagent.live.network", "guestagent.live.rollback"}
    assert second & unused == set(), sorted(second)
    parsers = {"guestagent.parse.openstack", "guestagent.parse.network.network_data"}
    assert second & parsers == set(), own(second)


def test_help_needs_no_engine() -> None:
    loaded = modules("--version")
    assert "guestagent.verbs.apply" not in loaded, sorted(loaded)


def test_a_boot_that_finds_nothing_new_imports_nothing_of_planning() -> None:
    """What such a run imports besides that of one with ``--source``, which waits for nothing."""
    waiting = "guestagent.system.wait_for_nics, guestagent.sources.find"
    code = f"import sys; sys.path.insert(0, sys.argv[1]); import {waiting}; print(*sys.modules)"
    argv = [sys.executable, "-I", "-S", "-B", "-c", code, str(rig.REPOSITORY)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    rooms = {name.split(".")[1] for name in done.stdout.split() if name.startswith("guestagent.")}
    assert rooms & {"facts", "parse", "plan", "desired", "stacks", "commit", "model"} == set()


def test_to_mount_a_drive_takes_only_the_core_of_ctypes() -> None:
    """Every boot with a drive does so; what is mounted here is no file system."""
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from guestagent.errors import GuestagentError
from guestagent.sources.mount import mount, mounted_at
try:
    mounted_at("/dev/null")
    mount("/dev/null", "iso9660")
except GuestagentError:
    print(*sys.modules)
"""
    argv = [sys.executable, "-I", "-S", "-B", "-c", code, str(rig.REPOSITORY)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "_ctypes" in loaded
    assert loaded & (DEAR | {"ctypes", "struct"}) == set(), library(loaded)


def test_modules_are_found_where_the_interpreter_finds_them() -> None:
    """guestagent has a finder of its own, which costs less."""
    package = rig.REPOSITORY / "guestagent"
    finder = next(item for item in sys.meta_path if item.__module__ == "guestagent")
    for path in package.rglob("*.py"):
        if path.parent == package and path.stem == "__init__":
            continue
        place = path.parent if path.stem == "__init__" else path.with_suffix("")
        name = ".".join(place.relative_to(rig.REPOSITORY).parts)
        found = finder.find_spec(name, [str(place.parent)])
        usual = PathFinder.find_spec(name, [str(place.parent)])
        assert found is not None
        assert usual is not None
        assert found.origin == usual.origin == str(path)
        assert type(found.loader) is type(usual.loader)
        assert found.submodule_search_locations == usual.submodule_search_locations


def test_a_module_that_does_not_exist_is_an_import_error() -> None:
    with pytest.raises(ModuleNotFoundError):
        import_module("guestagent.system.none")
    with pytest.raises(ModuleNotFoundError):
        import_module("guestagent.none.root")
