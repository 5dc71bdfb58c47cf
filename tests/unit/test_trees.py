"""States of two machines are compared by what matters, and differences explained by reasons."""

from __future__ import annotations

from pathlib import Path

import pytest
from vm.reasons import REASONS
from vm.trees import (
    Difference,
    Reason,
    accounts,
    content,
    differences,
    fstab,
    password_kind,
    reason,
    repeated,
)

MIGRATING = Path(__file__).parents[2] / "docs/migrating.md"
HASH = "$6$saltsalt$0123456789"


class TestDifferences:
    def test_equal_states_have_none(self) -> None:
        state = {"files": {"/etc/a": "1"}, "mounts": {}}
        assert differences(state, state) == []

    def test_every_value_that_is_not_shared_is_one(self) -> None:
        left = {"files": {"/etc/a": "1", "/etc/b": "2", "/etc/c": "3"}, "only here": {"x": "y"}}
        right = {"files": {"/etc/a": "1", "/etc/b": "4", "/etc/d": "5"}}
        assert differences(left, right) == [
            Difference("files", "/etc/b", "2", "4"),
            Difference("files", "/etc/c", "3", None),
            Difference("files", "/etc/d", None, "5"),
            Difference("only here", "x", "y", None),
        ]

    def test_an_empty_value_is_not_a_missing_one(self) -> None:
        found = differences({"mounts": {"/": ""}}, {"mounts": {}})
        assert found == [Difference("mounts", "/", "", None)]


class TestReason:
    ADDED = Difference("files", "/etc/app.conf", None, "0644")

    @pytest.mark.parametrize(
        ("known", "explains"),
        [
            (Reason("files", "/etc/app.*", "why"), True),
            (Reason("files", "/etc/app.*", "why", left="", right="0644"), True),
            (Reason("files", "/etc/app", "why"), False),
            (Reason("contents", "/etc/app.*", "why"), False),
            (Reason("files", "/etc/app.*", "why", left=".+"), False),
            (Reason("files", "/etc/app.*", "why", right="06"), False),
        ],
    )
    def test_all_patterns_are_for_the_whole(self, known: Reason, explains: bool) -> None:
        assert reason(self.ADDED, [known]) == ("why" if explains else None)

    def test_the_first_that_explains_counts(self) -> None:
        known = [Reason("x", ".*", "none"), Reason(".*", ".*", "one"), Reason(".*", ".*", "two")]
        assert reason(self.ADDED, known) == "one"

    def test_patterns_reach_over_lines(self) -> None:
        difference = Difference("contents", "/etc/a", "one\ntwo\n", "three\n")
        assert reason(difference, [Reason("contents", "/etc/a", "why", left=".*two.*")]) == "why"

    def test_comments_alone_are_no_matter(self) -> None:
        left, right = "# made by one\nkey = 1\n", "key = 1\n\n"
        assert reason(Difference("contents", "/etc/a", left, right), []) == "only comments differ"

    @pytest.mark.parametrize("right", ["key = 2\n", None, ""])
    def test_what_is_no_comment_matters(self, right: str | None) -> None:
        assert reason(Difference("contents", "/etc/a", "# x\nkey = 1\n", right), []) is None


class TestAccounts:
    @pytest.mark.parametrize(
        ("field", "kind"),
        [
            ("", "empty"),
            ("*", "locked, no password"),
            ("!", "locked, no password"),
            ("!*", "locked, no password"),
            (HASH, "sha512crypt"),
            ("!" + HASH, "locked, sha512crypt"),
            ("$y$j9T$abc$def", "yescrypt"),
            ("$2b$05$abc", "bcrypt"),
            ("$1$abc$def", "md5crypt"),
            ("abJnggxhB/yWI", "descrypt"),
            ("$new$abc", "method new"),
            ("passw0rd", "not a hash"),
        ],
    )
    def test_passwords_are_compared_by_kind(self, field: str, kind: str) -> None:
        assert password_kind(field) == kind

    def test_no_hash_is_in_the_state(self) -> None:
        found = accounts({"shadow": f"root:{HASH}:20000:0:99999:7:::\n"})
        assert HASH not in str(found)
        assert found["shadow root password"] == "sha512crypt"

    @pytest.mark.parametrize(
        ("changed", "state"), [("20000", "some day"), ("", "never"), ("0", "must be changed")]
    )
    def test_of_the_date_of_change_only_its_meaning_counts(self, changed: str, state: str) -> None:
        found = accounts({"shadow": f"root:*:{changed}:0:99999:7:::\n"})
        assert found["shadow root changed"] == state

    def test_fields_have_names(self) -> None:
        found = accounts({"passwd": "bob:x:1001:100:Bob:/home/bob:/bin/sh\n"})
        assert found == {
            "passwd bob uid": "1001",
            "passwd bob gid": "100",
            "passwd bob gecos": "Bob",
            "passwd bob home": "/home/bob",
            "passwd bob shell": "/bin/sh",
        }

    def test_the_order_of_members_is_no_matter(self) -> None:
        one, other = (accounts({"group": f"adm:x:4:{names}\n"}) for names in ("a,b", "b,a"))
        assert one == other


class TestContent:
    def test_host_keys_are_compared_by_kind(self) -> None:
        path = "/etc/ssh/ssh_host_ed25519_key"
        assert content(path + ".pub", b"ssh-ed25519 AAA root@a\n") == content(
            path + ".pub", b"ssh-ed25519 BBB root@b\n"
        )
        assert "secret" not in content(path, b"-----BEGIN-----\nsecret\n")

    def test_of_hosts_only_addresses_and_names_count(self) -> None:
        data = b"# why\n\n127.0.0.1\t localhost  # and who\n"
        assert content("/etc/hosts", data) == "127.0.0.1 localhost\n"

    @pytest.mark.parametrize("data", [b"\xff\0binary", b"long " * 20000])
    def test_what_nobody_could_read_is_a_checksum(self, data: bytes) -> None:
        assert content("/etc/a", data).startswith("sha256 ")
        assert content("/etc/a", data) != content("/etc/a", data + b" ")

    def test_text_is_kept(self) -> None:
        assert content("/etc/a", "Grüße\n".encode()) == "Grüße\n"


def test_fstab_is_compared_by_line() -> None:
    text = "# why\n/dev/vda  /\text4 defaults 0 1\n/swap none swap sw,comment=cloudconfig 0 0\n"
    found = {"/dev/vda on /": "ext4 defaults 0 1", "/swap on none": "swap sw 0 0"}
    assert fstab(text) == found


def test_values_of_a_repeated_keyword_are_kept_together() -> None:
    found = repeated("port 22\nhostkey /b\nhostkey /a\n")
    assert found == {"port": "22", "hostkey": "/a\n/b"}


@pytest.mark.parametrize("known", REASONS, ids=lambda known: known.name)
def test_every_reason_is_in_the_docs(known: Reason) -> None:
    assert f"\n| {known.why} |" in MIGRATING.read_text()
