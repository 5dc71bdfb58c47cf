"""Keys of cloud-init that guestagent does not have, and what to use instead."""

from __future__ import annotations

_SCRIPT = "use a script, or packages and runcmd"
_PRO = "use runcmd with pro attach"
_DISK = "use bootcmd with sfdisk and mkfs"
_DNF = "use write_files below /etc/yum.repos.d"
_CONSOLE = "concerns what cloud-init prints on the console; ignored"
INNER = "means something to cloud-init only; ignored"

UNSUPPORTED = {
    "ansible": "use packages and runcmd with ansible-pull",
    "apk_repos": "use write_files",
    "autoinstall": "it is for Ubuntu's installer; use its user-data part",
    "chef": _SCRIPT,
    "debconf_selections": "it belongs below apt",
    "device_aliases": _DISK,
    "disable_ec2_metadata": "use runcmd with ip route",
    "disk_setup": _DISK,
    "drivers": "use packages, or runcmd with ubuntu-drivers",
    "fan": _SCRIPT,
    "fs_setup": _DISK,
    "grub-dpkg": "use runcmd with debconf-set-selections",
    "grub_dpkg": "use runcmd with debconf-set-selections",
    "landscape": _SCRIPT,
    "lxd": "use packages and runcmd with lxd init",
    "mcollective": _SCRIPT,
    "puppet": _SCRIPT,
    "rh_subscription": "use runcmd with subscription-manager",
    "rsyslog": "use write_files below /etc/rsyslog.d, and runcmd",
    "salt_minion": _SCRIPT,
    "snap": "use runcmd with snap install",
    "snappy": "use runcmd with snap install",
    "spacewalk": _SCRIPT,
    "ssh_import_id": "keys of others are not fetched; use ssh_authorized_keys",
    "ubuntu-advantage": _PRO,
    "ubuntu_advantage": _PRO,
    "ubuntu_pro": _PRO,
    "wireguard": "use write_files below /etc/wireguard, and runcmd",
    "yum_repo_dir": _DNF,
    "yum_repos": _DNF,
    "zypper": "use runcmd with zypper addrepo",
}
"""Keys that are refused with an error, and what to use instead."""

IGNORED = {
    "apt_pipelining": "is not set; use apt with conf; ignored",
    "byobu_by_default": "is not set; use runcmd with byobu-enable; ignored",
    "network": "the network comes from the metadata, not from user data; ignored",
    "random_seed": "the seed comes from the metadata; use bootcmd for one of your own; ignored",
    "authkey_hash": _CONSOLE,
    "no_ssh_fingerprints": _CONSOLE,
    "ssh": _CONSOLE,
    "ssh_fp_console_blacklist": _CONSOLE,
    "ssh_key_console_blacklist": _CONSOLE,
    "ssh_quiet_keygen": _CONSOLE,
    "ssh_publish_hostkeys": "host keys are not published; ignored",
    "create_hostname_file": "the host name is always kept in its file; ignored",
    "updates": "guestagent's own settings say when the network is looked at; ignored",
} | dict.fromkeys(
    (
        "allow_userdata",
        "cloud_config_modules",
        "cloud_final_modules",
        "cloud_init_modules",
        "cloud_type",
        "datasource",
        "datasource_list",
        "debug",
        "def_log_file",
        "disable_vmware_customization",
        "growroot",
        "launch-index",
        "log_cfgs",
        "manual_cache_clean",
        "migrate",
        "output",
        "reporting",
        "resize_rootfs_tmp",
        "syslog_fix_perms",
        "unverified_modules",
        "version",
        "warnings",
    ),
    INNER,
)
"""Keys that change nothing in the guest: a warning says why."""

HANDLED = ("merge_how", "merge_type")
"""Keys that say how documents merge: they have done their work before keys are checked."""
