"""Keys of packages to install, and the form of their values after check().

==========================  ===================================================================
packages                    list of {"name": str, "version": str, "manager": "apt" | "dnf"};
                            only name is always there
package_update              bool
package_upgrade             bool
package_reboot_if_required  bool
yum_repos                   {id: {option: str, int, bool, or list of str}}
yum_repo_dir                str
==========================  ===================================================================
"""

from __future__ import annotations

from guestagent.parse.userdata.containers import AnyOf, Converted, ListOf, MapOf, Mapping
from guestagent.parse.userdata.scalars import Choice, Integer, String, Unsupported, flag
from guestagent.parse.userdata.shape import Field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.parse.userdata.places import Moves, Path

_NAME = String(numbers=True)
_PACKAGE = AnyOf(_NAME, ListOf(_NAME, whole=True, length=(1, 2)))
_SNAP = Unsupported("is not supported: use runcmd with snap install")
_BY_MANAGER = Mapping(
    {
        "apt": Field(ListOf(_PACKAGE), "Packages only where apt is used."),
        "dnf": Field(ListOf(_PACKAGE), "Packages only where dnf is used."),
        "snap": Field(_SNAP, "Not supported."),
    }
)


def _list_packages(value: list[Any]) -> tuple[list[dict[str, str]], Moves]:
    """Return packages, of names, of pairs of name and version, and of mappings by manager."""
    packages: list[dict[str, str]] = []
    moves: list[tuple[Path, Path]] = []

    def add(item: Any, place: Path, manager: str) -> None:
        name, *version = item if isinstance(item, list) else [item]
        package = {"name": name}
        if version:
            package["version"] = version[0]
        if manager:
            package["manager"] = manager
        moves.append((place, (len(packages),)))
        packages.append(package)

    for index, item in enumerate(value):
        if not isinstance(item, dict):
            add(item, (index,), "")
            continue
        for manager, items in item.items():
            for inner_index, inner in enumerate(items):
                add(inner, (index, manager, inner_index), manager)
    return packages, moves


_PACKAGES = Converted(ListOf(AnyOf(_PACKAGE, _BY_MANAGER), single=True), _list_packages)

# Any option of yum.conf(5).
_OPTION = AnyOf(Choice(True, False), Integer(text=False), String(numbers=True), ListOf(String()))

KEYS = {
    "package_update": Field(flag(), "Fetch the package lists first.", old=("apt_update",)),
    "package_upgrade": Field(flag(), "Upgrade installed packages.", old=("apt_upgrade",)),
    "package_reboot_if_required": Field(
        flag(), "Reboot if upgraded packages ask for it.", old=("apt_reboot_if_required",)
    ),
    "packages": Field(_PACKAGES, "Packages to install: names, or lists of a name and a version."),
    "yum_repos": Field(MapOf(MapOf(_OPTION)), "Repositories for dnf, by their ids."),
    "yum_repo_dir": Field(String(), "Where their files are.  Default: /etc/yum.repos.d."),
}
