"""The settings file that the package ships documents every setting with its default."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from guestagent.parse.settings_file import CHECKS
from guestagent.settings import Settings

SHIPPED = (Path(__file__).parents[2] / "packaging" / "guestagent.toml").read_text()
# Settings whose default is "not set": the file shows an example instead of the default.
EXAMPLES = {"user_name", "sshd_password_authentication", "sshd_permit_root_login"}
EXAMPLES |= {"metadata_urls"}


def test_the_shipped_file_sets_nothing() -> None:
    assert all(line.startswith("#") for line in SHIPPED.splitlines() if line)


def test_every_setting_is_shown_with_its_default() -> None:
    shown = tomllib.loads(re.sub(r"^#(\[|\w+ = )", r"\1", SHIPPED, flags=re.M))
    found = {
        f"{table}_{key}": CHECKS[table][key](value)
        for table, values in shown.items()
        for key, value in values.items()
    }
    assert found.keys() == set(Settings._fields)
    defaults = Settings()._replace(network_backend="auto")._asdict()
    for name in found.keys() - EXAMPLES:
        assert found[name] == defaults[name], name
