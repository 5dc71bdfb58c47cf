"""The tree is never left, and nothing an untrusted user controls is followed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import rig

from guestagent import defs
from guestagent.errors import Refused
from guestagent.system.root import Root

USER = 12345


@pytest.fixture
def root(tree: Path) -> Root:
    """An empty tree."""
    return Root(str(tree))


def test_a_missing_file_and_a_missing_folder_are_nothing(root: Root) -> None:
    assert root.read("/etc/none") is None
    assert root.text("/etc/none") == ""
    assert root.stat("/none/none") is None
    assert root.listdir("/none") == []
    assert root.readlink("/none") is None


@pytest.mark.parametrize("path", ["/etc/\0", "/etc/a\0b", "/\ud800", "/etc/\udfff/x"])
def test_D10_what_is_no_path_is_refused_and_not_looked_at_again(root: Root, path: str) -> None:
    """A file of the guest may name it: interfaces(5), sshd_config(5), our own state."""
    calls = (root.read, root.text, root.stat, root.look, root.listdir, root.readlink, root.place)
    for call in calls:
        with pytest.raises(Refused, match="no path can have"):
            call(path)
    assert root.watched == {}
    assert root.read("/etc/\udcff") is None


def test_files_and_folders_are_read(root: Root, tree: Path) -> None:
    (tree / "etc").mkdir()
    (tree / "etc/b").write_bytes(b"\xff text")
    (tree / "etc/a").write_text("")
    assert root.read("/etc/b") == b"\xff text"
    assert root.text("//etc/./b") == "� text"
    assert root.listdir("/etc/") == ["a", "b"]
    assert root.exists("/etc")


@pytest.mark.parametrize(
    "target",
    ["../outside", "../../../../outside", "/../outside", "../../../../../../../etc/passwd"],
)
def test_B2_a_link_out_of_the_root_stays_inside(root: Root, tree: Path, target: str) -> None:
    (tree / "link").symlink_to(target)
    assert root.read("/link") is None
    inside = tree / target.replace("../", "").lstrip("/")
    inside.parent.mkdir(parents=True, exist_ok=True)
    inside.write_text("inside")
    assert root.read("/link") == b"inside"


def test_B2_dots_do_not_leave_the_root(root: Root, tree: Path) -> None:
    assert root.read("/../outside") is None
    (tree / "etc").mkdir()
    (tree / "outside").write_text("inside")
    assert root.read("/etc/../../../outside") == b"inside"


def test_B2_an_absolute_link_is_taken_from_the_root(root: Root, tree: Path) -> None:
    (tree / "run").mkdir()
    (tree / "etc").symlink_to("/run")
    (tree / "run/passwd").write_text("the tree's")
    assert root.read("/etc/passwd") == b"the tree's"
    with root.place("/etc/new/file", make=True):
        assert (tree / "run/new").is_dir()


@pytest.mark.parametrize("links", [{"a": "b", "b": "a"}, {"a": "a"}, {"a": "/b/x", "b": "a"}])
def test_a_loop_of_links_ends(root: Root, tree: Path, links: dict[str, str]) -> None:
    for name, target in links.items():
        (tree / name).symlink_to(target)
    with pytest.raises((OSError, Refused)):
        root.read("/a")
    with pytest.raises((OSError, Refused)), root.place("/a/file"):
        pass


def test_a_last_link_is_not_followed_where_a_file_is_replaced(root: Root, tree: Path) -> None:
    (tree / "link").symlink_to("target")
    (tree / "target").write_text("kept")
    assert root.readlink("/link") == "target"
    with root.place("/link") as place:
        assert place.name == "link"
    with pytest.raises(Refused, match="symbolic link"):
        root.read("/link", follow=False)


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 5 << 30)


@pytest.mark.parametrize(
    ("make", "reason"),
    [(_fifo, "not a regular file"), (Path.mkdir, "not a regular file"), (_huge, "larger than")],
)
def test_A4_only_regular_files_of_a_bounded_size_are_read(
    root: Root, tree: Path, make: Callable[[Path], None], reason: str
) -> None:
    make(tree / "odd")
    start = time.monotonic()
    with pytest.raises(Refused, match=reason):
        root.read("/odd")
    assert time.monotonic() - start < 2


def test_a_file_that_grows_while_it_is_read_is_bounded(
    root: Root, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defs, "GUEST_FILE_LIMIT", 100)
    (tree / "grows").write_bytes(b"x" * 90)
    real = os.fstat

    def grow(fd: int) -> os.stat_result:
        found = real(fd)
        (tree / "grows").write_bytes(b"x" * 200)
        return found

    monkeypatch.setattr(os, "fstat", grow)
    with pytest.raises(Refused, match="larger than 100 bytes"):
        root.read("/grows")


class TestB1:
    """What belongs to a user."""

    @pytest.fixture
    def home(self, tree: Path) -> Path:
        rig.need_root()
        home = tree / "home/user"
        home.mkdir(parents=True)
        os.chown(home, USER, USER)
        return home

    def test_B1_a_link_of_a_user_is_refused(self, root: Root, tree: Path, home: Path) -> None:
        (tree / "etc").mkdir()
        (tree / "etc/secret").write_text("root's")
        (home / ".ssh").symlink_to("/etc")
        os.chown(home / ".ssh", USER, USER, follow_symlinks=False)
        with pytest.raises(Refused, match="symbolic link"):
            root.read("/home/user/.ssh/secret")
        with pytest.raises(Refused, match="symbolic link"), root.place("/home/user/.ssh/new"):
            pass

    def test_B1_not_even_a_link_of_root_in_a_home_is_followed(self, root: Root, home: Path) -> None:
        (home / "file").symlink_to("/etc/passwd")
        with pytest.raises(Refused, match="symbolic link"):
            root.read("/home/user/file")

    def test_B1_a_link_in_a_folder_that_others_may_write_is_refused(
        self, root: Root, tree: Path
    ) -> None:
        rig.need_root()
        (tree / "open").mkdir()
        os.chmod(tree / "open", 0o777)
        (tree / "open/link").symlink_to("/etc")
        with pytest.raises(Refused, match="symbolic link"), root.place("/open/link/x"):
            pass

    def test_B1_a_hard_link_of_a_foreign_file_is_refused(
        self, root: Root, tree: Path, home: Path
    ) -> None:
        (tree / "shadow").write_text("root:CANARY:")
        os.link(tree / "shadow", home / "keys")
        with pytest.raises(Refused, match="another user"):
            root.read("/home/user/keys")

    def test_B1_a_folder_below_a_home_is_not_made_by_root(self, root: Root, home: Path) -> None:
        with pytest.raises(Refused, match="a user owns"), root.place("/home/user/a/b", make=True):
            pass
        assert list(home.iterdir()) == []

    def test_B1_the_owner_of_a_place_is_the_first_untrusted_one(
        self, root: Root, home: Path
    ) -> None:
        (home / "roots").mkdir()
        with root.place("/home/user/roots/file") as place:
            assert place.owner == USER
        with root.place("/home/user") as place:
            assert place.owner is None

    def test_B1_a_place_that_everybody_may_write_is_exposed(self, root: Root, home: Path) -> None:
        with root.place("/home/user/x") as place:
            assert not place.exposed
        os.chmod(home, 0o777)
        with root.place("/home/user/x") as place:
            assert place.exposed
        os.chmod(home, 0o1777)
        with root.place("/home/user/x") as place:
            assert not place.exposed


def test_missing_folders_are_made_0755_whatever_the_umask(root: Root, tree: Path) -> None:
    before = os.umask(0o077)
    try:
        with root.place("/etc/app/deep/file", make=True) as place:
            assert place.name == "file"
    finally:
        os.umask(before)
    assert (tree / "etc/app/deep").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("link", [False, True])
def test_D6_a_folder_that_another_run_makes_meanwhile_is_entered(
    root: Root, tree: Path, monkeypatch: pytest.MonkeyPatch, link: bool
) -> None:
    real = os.mkdir

    def lose(name: str, mode: int, *, dir_fd: int) -> None:
        if link:
            os.symlink("/none", name, dir_fd=dir_fd)
        else:
            real(name, mode, dir_fd=dir_fd)
        real(name, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", lose)
    if link:
        with pytest.raises(NotADirectoryError), root.place("/etc/file", make=True):
            pass
        return
    with root.place("/etc/file", make=True) as place:
        assert os.fstat(place.fd).st_ino == (tree / "etc").stat().st_ino


def test_D5_the_fingerprint_tells_every_change(root: Root, tree: Path) -> None:
    path = tree / "file"
    path.write_text("one")

    def now() -> str:
        return root.fingerprint(("/file", "/none", "/"), b"salt")

    prints = [now()]
    assert now() == prints[0]
    for change in (
        lambda: path.write_text("two"),
        lambda: path.chmod(0o600),
        lambda: (tree / "none").touch(),
        lambda: (tree / "more").touch(),
        path.unlink,
    ):
        change()
        prints.append(now())
    assert len(set(prints)) == len(prints)
    assert root.fingerprint(("/file",), b"salt") != root.fingerprint(("/file",), b"pepper")


def test_no_descriptor_is_left_open(root: Root, tree: Path) -> None:
    (tree / "loop").symlink_to("loop")
    before = len(os.listdir("/proc/self/fd"))
    for path in ("/none", "/a/b/c", "/loop", "/", "/loop/x"):
        for use in (root.read, root.stat, root.listdir):
            try:
                use(path)
            except (OSError, Refused):
                pass
    assert len(os.listdir("/proc/self/fd")) == before


class TestWhatIsKeptOpen:
    """Directories that are root's alone are not opened again for each look."""

    def test_a_folder_is_opened_once(
        self, root: Root, tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tree / "etc/deep").mkdir(parents=True)
        (tree / "sbin").symlink_to("etc/deep")
        (tree / "etc/deep/file").write_text("x")
        opened = []
        real = os.open

        def count(path: str, *arguments: object, **options: object) -> int:
            opened.append(path)
            return real(path, *arguments, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(os, "open", count)
        for path in ("/etc/deep/file", "/sbin/file"):
            assert root.read(path) == b"x"
            del opened[:]
            assert root.read(path) == b"x"
            assert root.stat(f"{path}-none") is None
            assert opened == ["file"]

    def test_a_new_file_in_a_kept_folder_is_seen(self, root: Root, tree: Path) -> None:
        (tree / "etc").mkdir()
        assert root.look("/etc/new") is None
        (tree / "etc/new").write_text("new")
        found = root.look("/etc/new")
        assert found is not None
        assert found.content == b"new"

    @pytest.mark.parametrize("mode", [0o777, 0o755])
    def test_B1_what_others_may_exchange_is_walked_to_each_time(
        self, root: Root, tree: Path, mode: int
    ) -> None:
        rig.need_root()
        owner = USER if mode == 0o755 else None
        for name in ("one", "two"):
            (tree / "open" / name).mkdir(parents=True)
            (tree / "open" / name / "file").write_text(name)
            os.chown(tree / "open" / name / "file", owner or 0, 0)
        os.chmod(tree / "open", mode)
        os.chown(tree / "open", owner or 0, 0)
        assert root.read("/open/one/file") == b"one"
        os.rename(tree / "open/one", tree / "open/old")
        os.rename(tree / "open/two", tree / "open/one")
        assert root.read("/open/one/file") == b"two"
        found = root.look("/open/one/file")
        assert found is not None
        assert found.owner == owner

    def test_B1_what_is_written_is_always_walked_to(self, root: Root, tree: Path) -> None:
        (tree / "etc").mkdir()
        assert root.stat("/etc/file") is None
        (tree / "etc").rename(tree / "old")
        (tree / "etc").mkdir()
        with root.place("/etc/file") as place:
            assert os.fstat(place.fd).st_ino == (tree / "etc").stat().st_ino

    @pytest.mark.parametrize("path", ["/a" * 5000, "/a" * 900, "/etc" + "/.." * 5000, "/" * 5000])
    def test_C10_a_path_of_thousands_of_parts_is_one_that_is_missing(
        self, root: Root, path: str
    ) -> None:
        assert not root.exists(f"{path}/file")
        assert root.text(f"{path}/file") == ""
        assert root.listdir(f"{path}/file") == []

    def test_a_deep_directory_is_looked_at(self, root: Root, tree: Path) -> None:
        deep = "/d" * 200
        (tree / deep[1:]).mkdir(parents=True)
        (tree / deep[1:] / "file").write_text("x")
        assert root.text(f"{deep}/file") == "x"
        assert root.listdir(deep) == ["file"]

    def test_no_more_folders_are_kept_than_a_process_may_open(self, root: Root, tree: Path) -> None:
        before = len(os.listdir("/proc/self/fd"))
        for number in range(200):
            (tree / f"folder{number}").mkdir()
            (tree / f"folder{number}/file").write_text(str(number))
            assert root.text(f"/folder{number}/file") == str(number)
        assert len(os.listdir("/proc/self/fd")) <= before + 64
        root.start_over()
        assert len(os.listdir("/proc/self/fd")) == before
        assert root.watched == {}
