"""What cloud-config and scripts ask for: one small planner for each group of keys.

Host name, accounts and sshd have planners of their own, which read the keys of cloud-config beside
what else the source says.  A planner's module is imported only where one of its keys is given.

Scripts of a stage run in the order of their numbers, then of their names:

early: 10 boothooks; 20 bootcmd; 30 grow; 35 disks; 40 mounts; 50 swap; 60 locale and
keyboard; 70 what reads its configuration again: certificates, time client, resolver.

late: 05 keys of apt that are fetched; 10 apt, an ntp client to install, packages; 20 mounts of
the network, a look for the locale; 25 what else is fetched; 30 deferred files; 40 the vendor's
scripts; 41 to 43 those of the kinds per-once, per-boot and per-instance; 50 the user's scripts
and runcmd; 80 phone_home; 90 final_message; 99 power_state.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.plan.wanted import Ask, Wanted

# Module and its keys, in the order in which their resources are applied.
PLANNERS: dict[str, tuple[str, ...]] = {
    "write_files": ("write_files",),
    "fetching": ("write_files", "ssh_import_id", "users", "user", "system_info"),
    "timezone": ("timezone",),
    "locale": ("locale",),
    "keyboard": ("keyboard",),
    "ntp": ("ntp",),
    "resolv_conf": ("manage_resolv_conf",),
    "ca_certs": ("ca_certs",),
    # In an offline tree, where the size of the disk is not known, any key of disks makes it grow.
    "grow": (
        *("growpart", "resize_rootfs", "mounts", "mount_default_fields", "swap"),
        *("disk_setup", "fs_setup"),
    ),
    "disks": ("disk_setup", "fs_setup"),
    "mounts": ("mounts", "swap"),
    "packages.apt": ("apt",),
    "packages.yum": ("yum_repos",),
    "packages.install": ("package_update", "package_upgrade", "packages"),
    "user_scripts": ("bootcmd", "runcmd"),
    "phone_home": ("phone_home",),
    "final_message": ("final_message",),
    "power_state": ("power_state",),
}


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan all keys except those of the host name, accounts and sshd; and plan the scripts."""
    given = {setting.key for setting in ask.data.config}
    if ask.facts.room and ask.settings.disk_grow:
        given.add("growpart")  # as if it were asked for
    if ask.data.disks:
        given.add("mounts")
    for name, keys in PLANNERS.items():
        has_scripts = name in ("user_scripts", "fetching") and bool(ask.data.scripts)
        if has_scripts or given.intersection(keys):
            planner = __import__(f"guestagent.desired.{name}", fromlist=["plan"])
            planner.plan(ask, wanted)
