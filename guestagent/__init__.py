"""guestagent: turns a freshly booted virtual machine into yours."""

from __future__ import annotations

import sys
from posix import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from typing import Any

VERSION = "0.1.0"


class _Finder:
    """Finds the modules of this package: each can be in two places only.

    The interpreter's own finder reads whole folders and tries the names of libraries first, which
    is a quarter of what it takes to import a module.  What loads a module is the interpreter's own.
    """

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None, target: object = None
    ) -> ModuleSpec | None:
        """Return where a module is; None for one that is not here: ``importlib.abc``."""
        if path is None or not name.startswith("guestagent."):
            return None
        place = f"{path[0]}/{name.rpartition('.')[2]}"
        for file, is_package in ((f"{place}.py", False), (f"{place}/__init__.py", True)):
            try:
                stat(file)
            except OSError:
                continue
            found = _Spec(name, _Loader(name, file), origin=file, is_package=is_package)
            if found.submodule_search_locations is not None:
                found.submodule_search_locations.append(place)
            return found
        return None


# To import ``importlib.machinery``, which has them, costs as much as eight modules of this package.
_Spec = type(__spec__)
_Loader: Any = type(__spec__.loader)  # SourceFileLoader
sys.meta_path.insert(0, _Finder)
