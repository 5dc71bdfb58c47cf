"""Chooses the layout of a source: OpenStack's, else EC2's, else NoCloud's."""

from __future__ import annotations

from guestagent.parse import openstack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Literal

    from guestagent.errors import Problems
    from guestagent.model import InstanceData
    from guestagent.sources.bundle import Bundle


def read_instance_id(bundle: Bundle) -> str | None:
    """Return the id of the instance that a source is for; None where it has none that is valid.

    Raises SourceBroken.
    """
    layout = _find_layout(bundle)
    if layout == "ec2":
        from guestagent.parse import ec2

        return ec2.read_instance_id(bundle)
    if layout == "nocloud":
        from guestagent.parse import nocloud

        return nocloud.read_instance_id(bundle)
    return openstack.read_instance_id(bundle)


def parse(
    bundle: Bundle, problems: Problems, guest: Callable[[], Mapping[str, str]] = dict
) -> InstanceData:
    """Return what a source says; values that cannot be used are left out and reported.

    ``guest`` gives what templates of user data may know of the guest, by the names that
    ``parse.userdata.variables`` has in ``v1``; it is called if there is one.

    Raises SourceBroken where the source fails while it is read, and nothing else.
    """
    layout = _find_layout(bundle)
    if layout == "ec2":
        from guestagent.parse import ec2

        return ec2.parse(bundle, problems, guest)
    if layout == "nocloud":
        from guestagent.parse import nocloud

        return nocloud.parse(bundle, problems, guest)
    return openstack.parse(bundle, problems, guest)


def _find_layout(bundle: Bundle) -> Literal["openstack", "ec2", "nocloud"]:
    """Return the layout to read; OpenStack's too for a source without any, to say what it lacks."""
    if openstack.find_folder(bundle) is not None:
        return "openstack"
    if bundle.names("ec2"):
        return "ec2"
    if "meta-data" in bundle.names(""):
        return "nocloud"
    return "openstack"
