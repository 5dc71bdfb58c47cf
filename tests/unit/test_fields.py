"""Values are checked once, at the edge, against the syntax they go into."""

from __future__ import annotations

import base64
import subprocess

import pytest
import rig
from rig import KEY

from guestagent.errors import FieldError
from guestagent.parse import fields

# security.md, E: what no field may let through into a line of a file.
STRANGE: list[str] = [
    *("\n", "\r", "\0", "]", "[X]", "#", ";", "=", "\\", "%", "$(id)", "`id`", " ", "'", '"'),
    *("\u2028", "\x1b[31m", "\x85", "\ud800", "x" * 300),
]


@pytest.mark.parametrize(
    "name",
    ["a", "web-1", "WEB", "a.b", "1a", "0.example", "x" * 63, ".".join(["y" * 62] * 4), "xn--p1ai"],
)
def test_E1_host_names(name: str) -> None:
    assert fields.host_name(name) == name
    assert len(name) > 252 or fields.host_name(name + ".") == name


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "a..b", ".a", "-a", "a-", "a.-b", "a_b", "a b", "x" * 64, "ä", "a/b"),
        *("localhost", "LocalHost.localdomain", "a.1", "10.0.0.1", "a" * 62 + "." * 2),
        *(".".join(["y" * 63] * 4), "a:b", "a,b"),
        *(f"web{bad}" for bad in STRANGE),
    ],
)
def test_E1_what_is_no_host_name(name: str) -> None:
    with pytest.raises(FieldError):
        fields.host_name(name)


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("web 1", "web-1"),
        ("  My_Server!  ", "My-Server"),
        ("a..b", "a.b"),
        ("n\nroot:x", "n-root-x"),
        ("ubuntu-22.04", "ubuntu-22"),
        ("a.1.2.", "a"),
        ("10.0.0.5", "10-0-0-5"),
        ("12345", "12345"),
        ("ü", None),
        ("", None),
        ("localhost", None),
        ("x" * 100, "x" * 63),
        ("a." + "b" * 61 + "-c", "a." + "b" * 61),
        ("a" * 63 + ".b", "a" * 63),
    ],
)
def test_E1_a_display_name_becomes_a_host_name(name: str, host: str | None) -> None:
    if host is None:
        with pytest.raises(FieldError):
            fields.display_name(name)
    else:
        assert fields.display_name(name) == host


@pytest.mark.parametrize("name", ["debian", "_x", "a-b_c9", "x" * 32])
def test_B6_user_names(name: str) -> None:
    assert fields.user_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "9a", "-a", "Root", "a.b", "a:b", "x" * 33, "é", "a$", *(f"u{bad}" for bad in STRANGE)],
)
def test_B6_what_is_no_user_name(name: str) -> None:
    with pytest.raises(FieldError):
        fields.user_name(name)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("/etc/motd", "/etc/motd"),
        ("//etc///./x", "/etc/x"),
        ("/a b/ü'\"$", "/a b/ü'\"$"),
        ("/process", "/process"),
        ("/var/lib/guestagent2/x", "/var/lib/guestagent2/x"),
        ("/" + "n" * 255, "/" + "n" * 255),
        ("/...", "/..."),
    ],
)
def test_B2_guest_paths(given: str, path: str) -> None:
    assert fields.guest_path(given) == path


BAD_PATHS = [
    *("", "/", "//", "/.", "etc/motd", "./etc", "../etc", "~/x", "C:\\x", "file:///etc/x"),
    *("/..", "/../etc", "/etc/..", "/etc/../x", "/etc/../../x", "/a/./../b", "/etc/", "/etc/x/"),
    *("/proc", "/proc/sys/x", "/proc/self/mem", "//proc/x", "/./proc/x", "/sys/x", "/sys"),
    *("/dev/sda", "/dev", "/run/guestagent", "/run/guestagent/report.json"),
    *("/var/run/guestagent/lock", "/var/lib/guestagent/state.json", "/var/lib//guestagent/x"),
    *("/etc/x\n", "/etc/\rx", "/etc/\0x", "\0/etc", "/etc/\x1b[m", "/etc/\x7f", "/etc/\u2028"),
    *("/etc/\u202e", "/" + "n" * 256, "/a" * 2100, "/" + "ü" * 128, "/etc/.guestagent.tmp"),
]


@pytest.mark.parametrize("path", BAD_PATHS)
def test_B2_bad_paths(path: str) -> None:
    with pytest.raises(FieldError) as caught:
        fields.guest_path(path)
    assert len(path) < 6 or path not in str(caught.value)


def test_B2_the_table_is_long_enough() -> None:
    assert len(set(BAD_PATHS)) >= 30


@pytest.mark.parametrize(
    "name", ["content/0000", "/content/0000", "content/a.B_c-9", "content/..."]
)
def test_A4_content_paths(name: str) -> None:
    assert fields.content_path(name) == name.removeprefix("/")


@pytest.mark.parametrize(
    "name",
    [
        *("", "/", "0000", "content", "content/", "/content/", "content/.", "content/.."),
        *("../content/0000", "content/../0000", "content/../../x", "/etc/passwd", "//content/x"),
        *("content//x", "content/a/b", "/content/content/x", "Content/x", "content/" + "x" * 65),
        *("content/a\0", "content/a\n", "content/ä", "content/a b", "content\\x", "x/content/y"),
        *("content/" + "../" * 1700, "latest/meta_data.json"),
    ],
)
def test_A4_what_is_no_content_path(name: str) -> None:
    with pytest.raises(FieldError):
        fields.content_path(name)


def _key(inner: str, *parts: bytes, outer: str = "", comment: str = "") -> str:
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in (inner.encode(), *parts))
    return f"{outer or inner} {base64.b64encode(blob).decode()} {comment}".strip()


@pytest.mark.parametrize("comment", ["", "me@here", "two words", "ü", "c" * 256])
def test_E3_keys(comment: str) -> None:
    line = " ".join((*KEY.split()[:2], comment)).strip()
    assert fields.ssh_key(f"  {line}\n") == line


def test_E3_a_long_comment_is_cut() -> None:
    assert len(fields.ssh_key(KEY + "c" * 999).split()[2]) == 256


@pytest.mark.parametrize(
    "line",
    [
        *("", "ssh-ed25519", "ssh-ed25519 !", "ssh-ed25519 AAAA", KEY.split()[1], "# " + KEY),
        'command="x" ' + KEY,
        "no-pty " + KEY,
        KEY.replace("ssh-ed25519 ", "ssh-rsa "),
        KEY.replace("ssh-ed25519 ", "ssh-dss "),
        " ".join([*KEY.split()[:1], KEY.split()[1][:-4]]),
        f"{KEY}\n{KEY}",
        f"{KEY}\rcommand",
        f"{KEY}\x00",
        f"{KEY}\u2028x",
        KEY.replace("AAAAC3", "AAAA C3"),
        _key("ssh-ed25519"),
        _key("ssh-ed25519", b"x" * 32, outer="ssh-rsa"),
        _key("ssh-nothing", b"x" * 32, outer="ssh-ed25519"),
        _key("ssh-ed25519", b"x" * 32, b"ssh:", outer="sk-ssh-ed25519@openssh.com"),
        _key("ssh-dss", b"x" * 32),
        _key("ssh-ed25519", b"x" * 31),
        _key("ssh-ed25519", b"x" * 32, b"more"),
        _key("ssh-rsa", b"\1\0\1", b"\1" * 127),
        _key("ssh-rsa", b"\1\0\1", b"\x81" * 256),
        _key("ecdsa-sha2-nistp256", b"nistp384", b"\4" + b"x" * 64),
        _key("ecdsa-sha2-nistp256", b"nistp256", b"\2" + b"x" * 32),
        _key("ssh-ed25519-cert-v01@openssh.com", b"x" * 32),
        "cert-authority " + KEY,
    ],
)
def test_E3_what_is_no_key(line: str) -> None:
    with pytest.raises(FieldError) as caught:
        fields.ssh_key(line)
    assert "AAAA" not in str(caught.value)


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_E3_ssh_keygen_reads_what_is_accepted(
    kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rig.need_tools("ssh-keygen")
    where = tmp_path_factory.mktemp("key") / "k"
    bits = ["-b", "2048"] if kind == "rsa" else []
    subprocess.run(["ssh-keygen", "-q", "-t", kind, *bits, "-N", "", "-f", where], check=True)
    line = where.with_suffix(".pub").read_text()
    assert fields.ssh_key(line) == line.strip()
    cut = line.split()[1]
    with pytest.raises(FieldError):
        fields.ssh_key(f"{line.split()[0]} {cut[: len(cut) // 2 // 4 * 4]}")


@pytest.mark.parametrize("text", ["x", "pass word", "a:b", "$(id)", "ü" * 512])
def test_passwords(text: str) -> None:
    assert fields.password(text) == text


@pytest.mark.parametrize("text", ["", "a\nroot:b", "a\r", "\0", "x" * 513, "a\x1b", "a\u2028"])
def test_B6_what_chpasswd_could_misread_is_no_password(text: str) -> None:
    with pytest.raises(FieldError):
        fields.password(text)


@pytest.mark.parametrize("text", ["0C1A-b.c_D", "x" * 64])
def test_instance_ids_are_small_letters(text: str) -> None:
    assert fields.instance_id(text) == text.lower()


@pytest.mark.parametrize("text", ["", "x" * 65, "a/b", "a b", "ü", "a\n"])
def test_what_is_no_instance_id(text: str) -> None:
    with pytest.raises(FieldError):
        fields.instance_id(text)


def test_base64_is_strict_but_for_space() -> None:
    assert fields.base64("c2Vl\n ZA==\n") == b"seed"
    for bad in ("c2Vl!", "c2V", "=c2Vl", "c2VlZA==x", "ü"):
        with pytest.raises(FieldError):
            fields.base64(bad)
