"""Every path, program, name and limit that guestagent uses, in one place.

Paths are those inside the guest; with ``--root DIR`` they are looked up below DIR.
Sizes are bytes, times are seconds.
"""

from __future__ import annotations

# The agent's own files.
SETTINGS_FILE = "/etc/guestagent/guestagent.toml"
SETTINGS_DROPINS = "/etc/guestagent/guestagent.toml.d"
OFF_SWITCH = "/etc/guestagent/disabled"
STATE_DIR = "/var/lib/guestagent"
STATE_FILE = "/var/lib/guestagent/state.json"
STAGING_FILE = "/var/lib/guestagent/staging.json"
ROLLBACK_FILE = "/var/lib/guestagent/rollback.json"
RUN_DIR = "/run/guestagent"
REPORT_FILE = "/run/guestagent/report.json"
LOCK_FILE = "/run/guestagent/lock"
# What the early stage leaves for the one that asks the metadata service, and what that answers.
REQUEST_FILE = "/run/guestagent/request.json"
ANSWER_FILE = "/run/guestagent/answer.json"
RELOAD_FILE = "/run/guestagent/reload.json"
POST_FILE = "/run/guestagent/password"
TEMPORARY_PREFIX = ".guestagent."

# What is read of the machine.
KERNEL_COMMAND_LINE = "/proc/cmdline"
BOOT_ID = "/proc/sys/kernel/random/boot_id"
MOUNT_TABLE = "/proc/self/mountinfo"
DMI_DIR = "/sys/class/dmi/id"
HYPERVISOR_UUID = "/sys/hypervisor/uuid"
FIRST_PROCESS = "/proc/1/environ"
IPV6_ADDRESSES = "/proc/self/net/if_inet6"
NET_DIR = "/sys/class/net"
BLOCK_DIR = "/sys/class/block"
SCSI_DEVICES = "/sys/bus/scsi/devices"
BY_LABEL_DIR = "/dev/disk/by-label"
UDEV_DATA_DIR = "/run/udev/data"
UDEV_LINKS_DIR = "/run/udev/links"
UDEV_QUEUE = "/run/udev/queue"  # there while udev is at work

# What is read or written of the guest.
HOSTNAME_FILE = "/etc/hostname"
HOSTS_FILE = "/etc/hosts"
ACCOUNTS_FILE = "/etc/passwd"
GROUP_FILE = "/etc/group"
LOGIN_DEFS = "/etc/login.defs"
OS_RELEASE = "/etc/os-release"
SUDOERS_FILE = "/etc/sudoers.d/90-guestagent"
SSH_DIR = "/etc/ssh"
SSHD_CONFIG = "/etc/ssh/sshd_config"
SSHD_DROPINS = "/etc/ssh/sshd_config.d"
SSHD_DROPIN = "/etc/ssh/sshd_config.d/10-guestagent.conf"
NETWORKD_DIR = "/etc/systemd/network"
NETPLAN_DIRS = ("/etc/netplan", "/run/netplan", "/usr/lib/netplan")
GENERATORS_DIR = "/usr/lib/systemd/system-generators"
GENERATORS_MASK_DIR = "/etc/systemd/system-generators"
OPENRC_NETWORKING = "/etc/runlevels/boot/networking"
IFUPDOWN_MAIN = "/etc/network/interfaces"
IFUPDOWN_DIR = "/etc/network/interfaces.d"
IFUPDOWN_DNS_HOOKS = ("/etc/network/if-down.d/resolved", "/etc/network/if-down.d/resolvconf")
DHCLIENT_DIR = "/var/lib/dhcp"
IPV4_SETTINGS = "/proc/sys/net/ipv4/conf"
IPV6_SETTINGS = "/proc/sys/net/ipv6/conf"
RESOLV_CONF = "/etc/resolv.conf"
NETWORKMANAGER_DIR = "/etc/NetworkManager/system-connections"
NETPLAN_DIR = "/etc/netplan"
NETPLAN_FILE = "/etc/netplan/90-guestagent.yaml"
# What guestagent owns of the network's files: they begin so.
NETWORK_FILES = (
    f"{NETWORKD_DIR}/10-guestagent-",
    f"{NETWORKMANAGER_DIR}/guestagent-",
    f"{IFUPDOWN_DIR}/50-guestagent",
    NETPLAN_FILE,
    RESOLV_CONF,
)
RANDOM_DEVICE = "/dev/urandom"
UNIT_DIRS = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system")

NETWORK_BACKENDS = ("networkd", "networkmanager", "ifupdown", "netplan")

# Programs, by their base name: each is looked for in PROGRAM_DIRS.
PROGRAM_DIRS = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")
PROGRAM_PATH = ":".join(PROGRAM_DIRS)
PROGRAM = "/usr/bin/guestagent"
NETPLAN_GENERATORS = ("/usr/libexec/netplan/generate", "/usr/lib/netplan/generate")

# Where a config drive may come from.
LABEL = "config-2"
FILE_SYSTEMS = ("iso9660", "vfat")
SOURCE_ARGUMENT = "guestagent.source="
OFF_ARGUMENT = "guestagent=disabled"
OPENSTACK_PRODUCTS = ("OpenStack Nova", "OpenStack Compute")
OPENSTACK_ASSET_TAGS = (
    *OPENSTACK_PRODUCTS,
    "HUAWEICLOUD",
    "OpenTelekomCloud",
    "Samsung Cloud Platform",
    "SAP CCloud VM",
)

# Where a metadata service is asked, and how long.
CLOUD_ARGUMENT = "guestagent.cloud="
CLOUDS = ("openstack", "ec2")
METADATA_ADDRESSES = ("169.254.169.254", "fe80::a9fe:a9fe", "fd00:ec2::254")
METADATA_WAIT = 120.0
METADATA_WAIT_KNOWN = 30.0
CONNECT_TIMEOUT = 2.0
READ_TIMEOUT = 5.0
DOCUMENT_TIMEOUT = 10.0
RACE_PAUSE = 0.25
BACK_OFF_FIRST = 0.2
BACK_OFF_MOST = 5.0
RETRY_AFTER_MOST = 30.0
TOKEN_LIMIT = 4 << 10
TOKEN_SECONDS = 21600
POST_LIMIT = 1020

# Limits.
JSON_LIMIT = 1 << 20
FILE_LIMIT = 1 << 20
TOTAL_LIMIT = 8 << 20
GUEST_FILE_LIMIT = 4 << 20
JSON_DEPTH = 64
MAX_KEYS = 256
MAX_FILES = 64
MAX_INTERFACES = 64
MAX_ROUTES = 1024
PATH_LIMIT = 4096
NAME_LIMIT = 255
HOSTNAME_LIMIT = 64
FQDN_LIMIT = 253
DRIVE_WAIT = 30.0
UDEV_WAIT = 5.0
UDEV_IDLE = 2.0
READ_TRIES = 3
READ_PAUSE = 1.0
PROGRAM_TIMEOUT = 20.0
NETWORK_TIMEOUT = 90.0
PROGRAM_OUTPUT = 64 << 10
LOCK_WAIT = 15.0

# Exit statuses.
EXIT_OK = 0
EXIT_ERRORS = 1
EXIT_CHANGES = 2
EXIT_SOURCE_BROKEN = 3
EXIT_ACCOUNTS_LOCKED = 5
EXIT_WRONG_SOURCE = 6
EXIT_USAGE = 64
EXIT_TRY_AGAIN = 75
EXIT_NO_PERMISSION = 77
