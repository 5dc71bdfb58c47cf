"""Keys of cloud-init that guestagent does not have, and what to use instead."""

from __future__ import annotations

_SCRIPT = "use a script, or packages and runcmd"
_PRO = "use runcmd with pro attach"
_CONSOLE = "only concerns what cloud-init prints on the console; ignored"

FOR_CLOUD_INIT = "only concerns cloud-init itself; ignored"
"""Why keys and fields are ignored that configure cloud-init, not the guest."""

UNSUPPORTED = {
    "ansible": "use packages and runcmd with ansible-pull",
    "apk_repos": "use write_files",
    "autoinstall": "it is for Ubuntu's installer; use its user-data part",
    "chef": _SCRIPT,
    "debconf_selections": "it belongs below apt",
    "disable_ec2_metadata": "use runcmd with ip route",
    "drivers": "use packages, or runcmd with ubuntu-drivers",
    "fan": _SCRIPT,
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
    "ubuntu-advantage": _PRO,
    "ubuntu_advantage": _PRO,
    "ubuntu_pro": _PRO,
    "wireguard": "use write_files below /etc/wireguard, and runcmd",
    "zypper": "use write_files below /etc/zypp/repos.d, or runcmd with zypper addrepo",
}
"""Keys that are an error, and what to use instead."""

IGNORED = {
    "apt_pipelining": "is not supported; ignored: use apt with conf",
    "byobu_by_default": "is not supported; ignored: use runcmd with byobu-enable",
    "network": "is ignored: the network comes from the metadata, not from user data",
    "random_seed": "is ignored: the seed comes from the metadata; for another one use bootcmd",
    "authkey_hash": _CONSOLE,
    "no_ssh_fingerprints": _CONSOLE,
    "ssh": _CONSOLE,
    "ssh_fp_console_blacklist": _CONSOLE,
    "ssh_key_console_blacklist": _CONSOLE,
    "ssh_quiet_keygen": _CONSOLE,
    "ssh_publish_hostkeys": "is not supported; ignored: host keys are not published",
    "create_hostname_file": "is ignored: the host name is always kept in its file",
    "updates": "is ignored: guestagent's own settings say when the network is checked",
    "allow_userdata": FOR_CLOUD_INIT,
    "cloud_config_modules": FOR_CLOUD_INIT,
    "cloud_final_modules": FOR_CLOUD_INIT,
    "cloud_init_modules": FOR_CLOUD_INIT,
    "cloud_type": FOR_CLOUD_INIT,
    "datasource": FOR_CLOUD_INIT,
    "datasource_list": FOR_CLOUD_INIT,
    "debug": FOR_CLOUD_INIT,
    "def_log_file": FOR_CLOUD_INIT,
    "disable_vmware_customization": FOR_CLOUD_INIT,
    "growroot": FOR_CLOUD_INIT,
    "launch-index": FOR_CLOUD_INIT,
    "log_cfgs": FOR_CLOUD_INIT,
    "manual_cache_clean": FOR_CLOUD_INIT,
    "migrate": FOR_CLOUD_INIT,
    "output": FOR_CLOUD_INIT,
    "reporting": FOR_CLOUD_INIT,
    "resize_rootfs_tmp": FOR_CLOUD_INIT,
    "syslog_fix_perms": FOR_CLOUD_INIT,
    "unverified_modules": FOR_CLOUD_INIT,
    "version": FOR_CLOUD_INIT,
    "warnings": FOR_CLOUD_INIT,
}
"""Keys that change nothing in the guest: a warning says why."""

HANDLED = ("merge_how", "merge_type")
"""Keys that say how parts merge, which has been done before keys are checked."""
