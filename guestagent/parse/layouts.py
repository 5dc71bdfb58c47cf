"""The layouts that a source may have, one row each; the first that a source has is read.

Each is read by the module of this package with its name, which is imported only for a source that
has the layout.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from guestagent.errors import Problems
    from guestagent.model import InstanceData
    from guestagent.parse.userdata.signatures import Signatures
    from guestagent.sources.bundle import Bundle


class Layout(NamedTuple):
    """A layout: how it is recognised, and what its documents are called.

    ``is_in`` tells whether a source has it; it raises SourceBroken.  ``user_data`` are the
    documents of user data and vendor data, user data first; ``changing`` are those besides that can
    change in an instance's life.  All may have folders before them.
    """

    name: str
    is_in: Callable[[Bundle], bool]
    user_data: tuple[str, ...]
    changing: tuple[str, ...] = ()


def _is_openstack(bundle: Bundle) -> bool:
    from guestagent.parse.openstack import find_folder

    return find_folder(bundle) is not None


_NOCLOUD = Layout(
    "nocloud",
    lambda bundle: "meta-data" in bundle.names(""),
    user_data=("user-data", "vendor-data"),
    changing=("meta-data",),
)
LAYOUTS = (
    Layout(
        "openstack",
        _is_openstack,
        user_data=("user_data", "vendor_data.json", "vendor_data2.json"),
        changing=("meta_data.json", "network_data.json"),
    ),
    Layout(
        "ec2",
        lambda bundle: bool(bundle.names("ec2")),
        user_data=("user-data",),
    ),
    _NOCLOUD,
    Layout(
        "lxd",
        lambda bundle: defs.LXD_API in bundle.names(""),
        user_data=(
            *("cloud-init.user-data", "user.user-data"),
            *("cloud-init.vendor-data", "user.vendor-data"),
        ),
    ),
    Layout(
        "vmware",
        lambda bundle: any(name.startswith("guestinfo.") for name in bundle.names("")),
        user_data=("guestinfo.userdata", "guestinfo.vendordata"),
    ),
    Layout(
        "ovf",
        lambda bundle: not defs.OVF_NAMES.isdisjoint(bundle.names("")),
        user_data=tuple(sorted(defs.OVF_NAMES)),
    ),
    Layout(
        "alt_cloud",
        lambda bundle: not set(defs.ALT_CLOUD_NAMES).isdisjoint(bundle.names("")),
        user_data=defs.ALT_CLOUD_NAMES,
    ),
    Layout(
        "credentials",
        lambda bundle: any(name.startswith(defs.CREDENTIAL_PREFIX) for name in bundle.names("")),
        user_data=("guestagent.user-data", "guestagent.vendor-data"),
    ),
    # Values of meta-data, which any other layout may have beside its documents.
    _NOCLOUD._replace(is_in=lambda bundle: defs.SEED_VALUES in bundle.names("")),
    # Of a source without any, it says what is missing.
    Layout("no_layout", lambda bundle: True, user_data=("user_data",)),
)


def find_layout(bundle: Bundle) -> Layout:
    """Return the layout of a source.  Raises SourceBroken."""
    return next(layout for layout in LAYOUTS if layout.is_in(bundle))


def read_instance_id(bundle: Bundle) -> str | None:
    """Return the id of the instance that a source is for; None where it has none that is valid.

    Raises SourceBroken.
    """
    found: str | None = _reader_of(bundle).read_instance_id(bundle)
    return found


def parse(
    bundle: Bundle,
    problems: Problems,
    guest: Callable[[], Mapping[str, str]] = dict,
    signatures: Signatures | None = None,
) -> InstanceData:
    """Return what a source says; values that cannot be used are left out and reported.

    ``guest`` gives what templates of user data may know of the guest, by the names that
    ``parse.userdata.variables`` has in ``v1``; it is called if there is one.  ``signatures`` are
    those that user data and vendor data must have.

    Raises SourceBroken where the source fails while it is read, and nothing else.
    """
    data: InstanceData = _reader_of(bundle).parse(bundle, problems, guest, signatures)
    return data


def _reader_of(bundle: Bundle) -> Any:
    """Return the module that reads a source: it has ``read_instance_id`` and ``parse`` as above."""
    name = find_layout(bundle).name
    return __import__(f"guestagent.parse.{name}", fromlist=["parse"])
