"""Which cloud this machine is in, by what its hypervisor says: never by asking the network.

A metadata service is asked only if there is evidence of one (CVE-2024-6174): any machine on the
same link could answer.  The marks are those that the hypervisors of the clouds are known to set.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.record import NamedTuple
from guestagent.system.machine import dmi, kernel_argument, product_uuid, read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

_EC2_VENDORS = ("e24cloud", "Tilaa", "3DS Outscale")
_AMAZON = "Amazon EC2"


class Cloud(NamedTuple):
    """A kind of metadata service, empty for none, and the evidence for it.

    A seed of NoCloud is one where it is at a URL.

    ``tokens``: the service must be asked with session tokens (IMDSv2).  ``own_uuid``: the
    hypervisor gives the machine the instance's UUID.
    """

    name: Literal["openstack", "ec2", "nocloud", ""]
    evidence: str
    tokens: bool = False
    own_uuid: bool = False


NO_CLOUD = Cloud("", "")


def choose(setting: str, url: str, *, seed: bool = False) -> Cloud:
    """Return the kind of metadata service to ask; ``NO_CLOUD`` if nothing says that there is one.

    ``setting`` is as in ``identify``.  ``url`` is that of a service which was named by hand, or
    empty; ``seed`` says that it is one of a seed of NoCloud.
    """
    if seed:
        return Cloud("nocloud", "ds=nocloud")
    found = identify(setting)
    if not found.name and url:
        return Cloud("openstack", "a URL was given")
    return found


def identify(setting: str = "auto") -> Cloud:
    """Return the cloud of this machine.

    ``setting`` is "auto", "none" or one of ``defs.CLOUDS``.  The kernel command line overrides it,
    and it overrides what the hypervisor says.
    """
    for where, word in (("the kernel command line", _argument()), ("the settings", setting)):
        if word == "none":
            return Cloud("", f"{where} says so")
        if word in defs.CLOUDS:
            return _named(word, f"{where} says {word}")
        if word.partition(";")[0] in ("nocloud", "nocloud-net"):
            return Cloud("", f"{where} says nocloud")
    return _openstack() or _ec2() or NO_CLOUD


def _named(word: str, evidence: str) -> Cloud:
    """Return the cloud that a setting names."""
    if word == "openstack":
        own_uuid = dmi("product_name") in defs.OPENSTACK_PRODUCTS
        return Cloud("openstack", evidence, own_uuid=own_uuid)
    return Cloud("ec2", evidence, tokens=dmi("sys_vendor") == _AMAZON or _is_amazon_uuid())


def _argument() -> str:
    """Return the value of ``guestagent.cloud=`` or, for images made for cloud-init, of ``ds=``."""
    return (kernel_argument(defs.CLOUD_ARGUMENT, "ds=") or "").lower()


def _openstack() -> Cloud | None:
    product = dmi("product_name")
    if product in defs.OPENSTACK_PRODUCTS:
        return Cloud("openstack", f"DMI product {product}", own_uuid=True)
    tag = dmi("chassis_asset_tag")
    if tag in defs.OPENSTACK_ASSET_TAGS:
        return Cloud("openstack", f"DMI chassis asset tag {tag}")
    # Nova's containers see the DMI table of their host, and are told in the environment instead.
    environment = read_text(defs.FIRST_PROCESS).split("\0")
    if "product_name=OpenStack Nova" in environment:
        return Cloud("openstack", "the environment of the first process")
    return None


def _ec2() -> Cloud | None:
    vendor = dmi("sys_vendor")
    if vendor == _AMAZON:
        return Cloud("ec2", f"DMI system vendor {vendor}", tokens=True)
    if _is_amazon_uuid():
        return Cloud("ec2", "the hypervisor's UUID", tokens=True)
    if vendor in _EC2_VENDORS:
        return Cloud("ec2", f"DMI system vendor {vendor}")
    if dmi("product_serial").endswith(".brightbox.com"):
        return Cloud("ec2", "DMI product serial of Brightbox")
    if dmi("chassis_asset_tag").endswith(".zstack.io"):
        return Cloud("ec2", "DMI chassis asset tag of ZStack")
    return None


def _is_amazon_uuid() -> bool:
    """Tell whether the machine's UUID begins with ec2, as those of Amazon's machines do.

    Xen says it itself.  In the DMI table, where the byte order of the first part may be either,
    it must be the serial number too: another machine may have such a UUID by chance.
    """
    if read_text(defs.HYPERVISOR_UUID).startswith("ec2"):
        return True
    uuid = product_uuid()
    swapped = uuid[4:5] == "2" and uuid[6:8] == "ec"
    return uuid == dmi("product_serial").lower() and (uuid.startswith("ec2") or swapped)
