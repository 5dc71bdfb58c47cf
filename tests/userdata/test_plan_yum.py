"""yum_repos: what a reader of the files of yum.conf(5) finds in them."""

from __future__ import annotations

from configparser import ConfigParser

import pytest

from .planning import FACTS, files, places, plan_of, steps

DNF = FACTS._replace(os_id="rhel", programs=frozenset(("dnf",)))
PLACE = "baseurl: https://mirror.example/x"


def written(text: str) -> tuple[dict[str, dict[str, str]], list[tuple[str, str]]]:
    """The options in each file by its path, and the places of the problems."""
    resources, problems = plan_of(text, DNF)
    found = {}
    for path, file in files(resources).items():
        parser = ConfigParser(interpolation=None)
        parser.read_string(file.content.decode())
        (section,) = parser.sections()
        found[path] = {"": section, **parser[section]}
    return found, [(severity, key.partition(" (")[0]) for severity, key in places(problems)]


def test_a_repository_is_a_file_with_its_options() -> None:
    text = (
        "yum_repos:\n  my tools:\n    name: 'My: tools #1'\n    baseurl: [https://a/, 'https://b/x?y=%z']\n"
        "    Enable-d: false\n    enabled: true\n    gpgcheck: yes\n    metadata_expire: 3600\n"
        "    priority: '10'\n    gpgkey: |\n"
        "      https://a/k1\n      https://a/k2\n    exclude: null\n"
    )
    assert written(text) == (
        {
            "/etc/yum.repos.d/my-tools.repo": {
                "": "my-tools",
                "name": "My: tools #1",
                "baseurl": "https://a/\nhttps://b/x?y=%z",
                "enable_d": "0",
                "enabled": "1",
                "gpgcheck": "1",
                "metadata_expire": "3600",
                "priority": "10",
                "gpgkey": "https://a/k1\nhttps://a/k2",
            }
        },
        [],
    )


def test_the_folder_may_be_another() -> None:
    text = f"yum_repo_dir: /srv/repos\nyum_repos: {{a: {{{PLACE}}}}}\n"
    assert list(written(text)[0]) == ["/srv/repos/a.repo"]
    assert written(text.replace("/srv", "/srv/..")) == ({}, [("error", "yum_repo_dir")])


@pytest.mark.parametrize("place", ["baseurl", "mirrorlist", "metalink"])
def test_a_repository_has_a_place(place: str) -> None:
    assert len(written(f"yum_repos: {{a: {{{place}: https://a/}}}}")[0]) == 1
    found = written(f"yum_repos: {{a: {{name: x}}, b: {{{PLACE}}}}}")
    assert list(found[0]) == ["/etc/yum.repos.d/b.repo"]
    assert found[1] == [("error", "yum_repos.a")]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (f"{{{PLACE}, gpgcheck: {{a: b}}}}", "yum_repos.a.gpgcheck"),
        (f'{{{PLACE}, name: "x\\0y"}}', "yum_repos.a.name"),
        (f'{{{PLACE}, name: "x\\u2028y"}}', "yum_repos.a.name"),
        (f"{{{PLACE}, 'a]\\n[b': x}}", "yum_repos.a"),
        (f"{{{PLACE}, 'a=b': x}}", "yum_repos.a"),
    ],
)
def test_one_bad_option_costs_itself(text: str, key: str) -> None:
    found, problems = written(f"yum_repos: {{a: {text}}}")
    assert problems == [("error", key)]
    options = found["/etc/yum.repos.d/a.repo"]
    assert options == {"": "a", "name": "a", "baseurl": "https://mirror.example/x"}


def test_text_adds_no_section_and_no_option() -> None:
    text = f'yum_repos: {{a: {{{PLACE}, name: "x\\n[b]\\nbaseurl=https://evil/"}}}}'
    (options,) = written(text)[0].values()
    assert options == {
        "": "a",
        "name": "x\n[b]\nbaseurl=https://evil/",
        "baseurl": "https://mirror.example/x",
    }


@pytest.mark.parametrize("name", ["../x", "a/b", ".a", "-a", '"a\\nb"', "'a]b'", "''", "é"])
def test_other_ids_are_refused(name: str) -> None:
    found = written(f"yum_repos: {{{name}: {{{PLACE}}}, b: {{{PLACE}}}}}")
    assert list(found[0]) == ["/etc/yum.repos.d/b.repo"]
    assert found[1] == [("error", "yum_repos")]


def test_two_names_of_one_id_are_one_file() -> None:
    found = written(f"yum_repos: {{a b: {{{PLACE}}}, a-b: {{{PLACE}}}}}")
    assert (len(found[0]), found[1]) == (1, [("warning", "yum_repos.a-b")])


@pytest.mark.parametrize(
    "more", ["password: CANARY", "proxy_password: CANARY", "proxy: http://u:CANARY@p"]
)
def test_B3_a_file_with_a_password_is_roots_alone_and_masked(more: str) -> None:
    resources, _ = plan_of(f"yum_repos: {{a: {{{PLACE}, {more}}}}}", DNF)
    (file,) = files(resources).values()
    assert (file.mode, file.secret) == (0o600, True)
    resources, _ = plan_of(f"yum_repos: {{a: {{{PLACE}}}}}", DNF)
    (file,) = files(resources).values()
    assert (file.mode, file.secret) == (0o644, False)


def test_without_dnf_there_is_one_warning() -> None:
    resources, problems = plan_of(f"yum_repos: {{a: {{{PLACE}}}, b: {{{PLACE}}}}}")
    assert (files(resources), places(problems)) == (
        {},
        [("warning", "yum_repos (line 2, column 1)")],
    )


def test_without_dnf_the_warning_is_for_groups_of_packages_too() -> None:
    """What such user data have for dnf is said once; other packages are installed."""
    apt = FACTS._replace(programs=FACTS.programs | {"apt-get"})
    text = f"yum_repos: {{a: {{{PLACE}}}}}\npackages: ['@Development Tools', jq]\n"
    resources, problems = plan_of(text, apt)
    assert places(problems) == [("warning", "yum_repos (line 2, column 1)")]
    assert problems[0].reason.endswith("ignored, as are groups of packages")
    (script,) = steps(resources).values()
    assert b"install 'jq' ||" in script.content
