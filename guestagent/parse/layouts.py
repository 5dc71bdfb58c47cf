"""Chooses the layout of a source: OpenStack's, or EC2's where a source has only that."""

from __future__ import annotations

from guestagent.parse import openstack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from guestagent.errors import Problems
    from guestagent.model import InstanceData
    from guestagent.sources.bundle import Bundle


def read_instance_id(bundle: Bundle) -> str | None:
    """Return the id of the instance that a source is for; None where it has none that is valid.

    Raises SourceBroken.
    """
    if _is_ec2(bundle):
        from guestagent.parse import ec2

        return ec2.read_instance_id(bundle)
    return openstack.read_instance_id(bundle)


def parse(
    bundle: Bundle, problems: Problems, guest: Callable[[], Mapping[str, str]] = dict
) -> InstanceData:
    """Return what a source says; values that cannot be used are left out and reported.

    ``guest`` gives what templates of user data may know of the guest, by the names that
    ``parse.userdata.variables`` has in ``v1``; it is called if there is one.

    Raises SourceBroken where the source fails while it is read, and nothing else.
    """
    if _is_ec2(bundle):
        from guestagent.parse import ec2

        return ec2.parse(bundle, problems, guest)
    return openstack.parse(bundle, problems, guest)


def _is_ec2(bundle: Bundle) -> bool:
    return openstack.find_folder(bundle) is None and bool(bundle.names("ec2"))
