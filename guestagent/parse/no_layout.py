"""Say why a source has no layout that can be read, and what to do about it."""

from __future__ import annotations

from guestagent.errors import Origin
from guestagent.model import InstanceData
from guestagent.sources.bundle import is_dated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from guestagent.errors import Problems
    from guestagent.parse.userdata.signatures import Signatures
    from guestagent.sources.bundle import Bundle

_META = "meta_data.json"
_NO_CLOUD = ("user-data", "vendor-data", "network-config")
_LAYOUT = f"openstack/latest/{_META}"
_MANGLED = ("openstac", "openstack", "meta_dat", "meta_data", "meta-dat", "meta-data")
_MOST = 64  # folders that are looked into


def read_instance_id(_: Bundle) -> str | None:
    """Return None: such a source is for no instance."""
    return None


def parse(
    bundle: Bundle,
    problems: Problems,
    _guest: Callable[[], Mapping[str, str]] = dict,
    _signatures: Signatures | None = None,
) -> InstanceData:
    """Return nothing, and report why.  Raises SourceBroken."""
    problems.error(Origin(bundle.label, "", ""), explain(bundle))
    return InstanceData()


def explain(bundle: Bundle) -> str:
    """Return what a source without ``meta_data.json`` has instead, and what to do about it.

    Raises SourceBroken.
    """
    names = bundle.names("")
    if not names:
        return f"is empty: {_LAYOUT} was not copied to it, or what holds it is not mounted here"
    if "openstack" in names:
        return f"has no version folder with {_META} in its folder openstack; add {_LAYOUT}"
    if any(_is_mangled(name) for name in names):
        reason = "its file names are cut short or in capitals"
        reason += f", so that neither {_LAYOUT} nor meta-data is found"
        advice = "make the image with Rock Ridge or Joliet (genisoimage -R -J), or long VFAT names"
        return f"{reason}; {advice}"
    if any(name in names for name in _NO_CLOUD):
        return "is a seed of NoCloud without meta-data; add that, with an instance-id"
    if _META in names:
        return "is a version folder of a config drive; give the folder two levels above it"
    folders = [name for name in names[:_MOST] if _META in bundle.names(name)]
    if any(name == "latest" or is_dated(name) for name in folders):
        return "is the folder openstack of a config drive; give the folder that contains it"
    if any("openstack" in bundle.names(name) for name in names[:_MOST]):
        return "has the config drive in a folder below it; give that folder"
    return f"has no folder openstack, and is not a config drive; it needs {_LAYOUT}"


def _is_mangled(name: str) -> bool:
    """Tell whether a name is what is left of "openstack", or "meta-data", without long names.

    That is ``openstac`` in ISO 9660 at level 1, ``OPENSTACK`` above it, and ``openst~1`` in VFAT;
    ISO 9660 has no hyphens either.
    """
    short = name.lower().removesuffix(";1").removesuffix(".")
    return short in _MANGLED or short.startswith(("openst~", "meta-d~"))
