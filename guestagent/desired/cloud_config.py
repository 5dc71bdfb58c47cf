"""What cloud-config and scripts ask for: one small planner for each group of keys.

``host name``, accounts and sshd are planned by the modules of the room above, which look at the
same keys.  A planner's module is imported only where one of its keys is given.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.plan.wanted import Ask, Wanted

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


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan all keys except those of the host name, accounts and sshd; and plan the scripts."""
    given = {setting.key for setting in ask.data.config}
    if ask.facts.room and ask.settings.disk_grow:
        given.add("growpart")
    for name, keys in PLANNERS.items():
        has_scripts = name == "commands" and bool(ask.data.scripts)
        if has_scripts or given.intersection(keys):
            planner = __import__(f"guestagent.desired.{name}", fromlist=["plan"])
            planner.plan(ask, wanted)
