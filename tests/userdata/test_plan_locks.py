"""No lock that is not asked for in words takes the only way into a guest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from guestagent.errors import Origin
from guestagent.model import InjectedFile

from .planning import EMPTY, FACTS, SETTINGS, clean_plan, places, plan_of
from .test_plan_passwords import ADMIN, KEYED, SHA512, states
from .test_plan_users import KEY

if TYPE_CHECKING:
    from guestagent.settings import Settings

PLACE = "users[0].name (line 2, column 9)"
KEY_FILE = f"{{path: /home/debian/.ssh/authorized_keys, content: {KEY}}}"


@pytest.mark.parametrize(
    "text",
    [
        "users: [default]",
        "users: [default, {name: ada}]",
        "users: [default, {name: ada, plain_text_passwd: locked}]",
        "users: [default]\nchpasswd: {users: [{name: root, type: RANDOM}]}",
        "users: [default]\nchpasswd: {users: [{name: root, password: '!'}]}",
        "users: [default]\nwrite_files: [{path: /srv/authorized_keys, content: x}]",
        "users: [default, {name: ada, ssh_redirect_user: true}]",
        "users: [default]\nwrite_files: [{path: /root/.ssh/authorized_keys, content: '# none'}]",
    ],
)
def test_an_account_that_is_there_stays_open_where_nobody_gets_in(text: str) -> None:
    resources, problems = plan_of(text)
    assert ("debian", "locked") not in states(resources)
    assert ("warning", PLACE) in places(problems)


@pytest.mark.parametrize(
    "more",
    [
        f", {{name: ada, ssh_authorized_keys: ['{KEY}']}}]",
        ", {name: ada, plain_text_passwd: word, lock_passwd: false}]",
        "]\nchpasswd: {expire: false, list: ['root:word']}",
        f"]\nchpasswd: {{expire: false, users: [{{name: root, password: {SHA512}}}]}}",
        f"]\nwrite_files: [{KEY_FILE}]",
    ],
)
def test_somebody_s_key_or_password_is_enough(more: str) -> None:
    assert ("debian", "locked") in states(clean_plan(f"users: [default{more}"))


def test_a_new_account_is_locked_all_the_same() -> None:
    facts = FACTS._replace(accounts=FACTS.accounts[:1])
    assert states(clean_plan("users: [default]", facts=facts)) == {("debian", "locked")}


def test_the_lock_is_made_where_it_is_asked_for() -> None:
    text = "users: [{name: debian, lock_passwd: true}]"
    assert states(clean_plan(text)) == {("debian", "locked")}


@pytest.mark.parametrize("data", [EMPTY, KEYED])
def test_who_was_to_get_a_password_that_is_wrong_is_not_locked(data: object) -> None:
    text = "users: [default]\nchpasswd: {users: [{name: debian, password: oops}]}"
    resources, problems = plan_of(text, data=data)  # type: ignore[arg-type]
    assert states(resources) == set()
    assert ("error", "chpasswd.users[0] (line 3, column 20)") in places(problems)


def test_the_metadata_s_password_stays_open() -> None:
    data = KEYED._replace(admin_pass=ADMIN)
    assert states(clean_plan("users: [default]", data=data)) == set()


def test_the_password_made_for_a_service_is_open_at_every_boot() -> None:
    """Once it has the password, the service has no password_url any more."""
    settings = SETTINGS._replace(password_post=True)
    assert states(clean_plan("users: [default]", data=KEYED, settings=settings)) == set()


def test_that_password_is_a_way_in_for_which_another_account_may_be_locked() -> None:
    settings = SETTINGS._replace(password_post=True)
    resources = clean_plan("users: [default, root]", settings=settings)
    assert states(resources) == {("root", "locked")}


def test_keys_among_the_metadata_s_files_are_a_way_in() -> None:
    path = "/home/debian/.ssh/authorized_keys"
    why = Origin("drive", "meta_data.json", "files")
    data = EMPTY._replace(files=(InjectedFile(path, KEY.encode(), why),))
    assert states(clean_plan("users: [default]", data=data)) == {("debian", "locked")}
    settings = SETTINGS._replace(files_manage=False)
    resources, problems = plan_of("users: [default]", data=data, settings=settings)
    assert states(resources) == set()
    assert places(problems) == [("warning", PLACE)]


@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS._replace(ssh_keys_for=("eve",), password_for="eve"),
        SETTINGS._replace(ssh_keys_for=(), password_for="eve", password_post=True),
    ],
)
def test_what_is_for_an_account_that_does_not_exist_lets_no_one_in(settings: Settings) -> None:
    data = KEYED._replace(admin_pass=ADMIN)
    resources, problems = plan_of("users: [default]", data=data, settings=settings)
    assert ("debian", "locked") not in states(resources)
    assert ("warning", PLACE) in places(problems)
    assert ("error", "admin_pass") in places(problems)


def test_the_metadata_s_password_lets_no_one_in_where_user_data_lock_its_account() -> None:
    text = "users: [default, {name: root, lock_passwd: true}]"
    settings = SETTINGS._replace(password_for="root")
    data = EMPTY._replace(admin_pass=ADMIN)
    resources, problems = plan_of(text, data=data, settings=settings)
    assert states(resources) == {("root", "locked")}
    assert places(problems) == [("warning", PLACE)]


def test_the_plan_says_whose_keys_let_someone_in() -> None:
    redirected = "users: [default, {name: ada, ssh_redirect_user: true}]"
    blocks = {
        item.user: item.lets_in
        for item in clean_plan(redirected, data=KEYED)
        if item.kind == "block"
    }
    assert blocks == {"debian": True, "ada": False}
