"""What cloud-config and scripts ask for: one small planner for each group of keys.

``host name``, accounts and sshd are planned by the modules of the room above, which look at the
same keys.  A planner's module is imported only where one of its keys is given.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.errors import Problem
    from guestagent.model import Facts, InstanceData
    from guestagent.plan.resources import Resource
    from guestagent.settings import Settings

# Module and its keys, in the order in which their resources are applied.
PLANNERS: dict[str, tuple[str, ...]] = {
    "files": ("write_files",),
    "locale": ("timezone", "locale", "keyboard"),
    "ntp": ("ntp",),
    "resolv_conf": ("manage_resolv_conf",),
    "ca_certs": ("ca_certs",),
    "disks": ("growpart", "resize_rootfs", "mounts", "mount_default_fields", "swap"),
    "packages.apt": ("apt",),
    "packages.install": (
        "package_update",
        "package_upgrade",
        "package_reboot_if_required",
        "packages",
    ),
    "commands": ("bootcmd", "runcmd"),
    "finish": ("phone_home", "final_message", "power_state"),
}


def plan(
    data: InstanceData, facts: Facts, settings: Settings
) -> tuple[list[Resource], list[Problem]]:
    """The resources of all keys but those of host name, accounts and sshd, and of the scripts."""
    given = {setting.key for setting in data.config}
    if facts.room and settings.disk_grow:
        given.add("growpart")
    resources: list[Resource] = []
    problems: list[Problem] = []
    for name, keys in PLANNERS.items():
        if given.intersection(keys) or (name == "commands" and data.scripts):
            planner = __import__(f"guestagent.desired.{name}", fromlist=["plan"])
            found, more = planner.plan(data, facts, settings)
            resources += found
            problems += more
    return resources, problems
