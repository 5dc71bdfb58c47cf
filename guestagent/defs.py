"""Every path, program, name and limit that guestagent uses, in one place.

Paths are those inside the guest; with ``--root DIR`` they are looked up below DIR.
Sizes are bytes, times are seconds.
"""

from __future__ import annotations

# The agent's own files.
SETTINGS_FILE = "/etc/guestagent/guestagent.toml"
SETTINGS_DROPINS = "/etc/guestagent/guestagent.toml.d"
SIGNERS_FILE = "/etc/guestagent/allowed_signers"
# Settings that count where it is not clear which signatures the builder of the image wants.
STRICTEST_SIGNATURES = {"signatures_policy": "required", "signatures_vendor_policy": "required"}
OFF_SWITCH = "/etc/guestagent/disabled"
STATE_DIR = "/var/lib/guestagent"
STATE_FILE = "/var/lib/guestagent/state.json"
STAGING_FILE = "/var/lib/guestagent/staging.json"
STAGING_FILE_OF_RUN = "/run/guestagent/staging.json"  # where the other cannot be written
NOTE_FILE = "/var/lib/guestagent/commit.json"
ROLLBACK_FILE = "/var/lib/guestagent/rollback.json"
# The types of keys that are left to HOST_KEYS_UNIT.
HOST_KEYS_FILE = "/var/lib/guestagent/hostkeys.json"
RUN_DIR = "/run/guestagent"
# Where new keys are made by a run, and by that unit: not on a disk, and where /var is read-only.
HOST_KEYS_WORK = "/run/guestagent/hostkeys"
HOST_KEYS_LATER_WORK = "/run/guestagent/hostkeys-later"
REPORT_FILE = "/run/guestagent/report.json"
LOCK_FILE = "/run/guestagent/lock"
# What the local unit leaves for the unit that asks the metadata service, and the answer.
REQUEST_FILE = "/run/guestagent/request.json"
LATER_REQUEST_FILE = "/run/guestagent/later.json"  # where sshd does not wait for the answer
ANSWER_FILE = "/run/guestagent/answer.json"
DOWNLOAD_REQUEST = "/run/guestagent/download.json"
DOWNLOAD_ANSWER = "/run/guestagent/downloaded.json"
CA_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
RELOAD_FILE = "/run/guestagent/reload.json"
RELOAD_LOCK_FILE = "/run/guestagent/reload.lock"
POST_FILE = "/run/guestagent/password"
# Scripts that wait in the state directory's "early" and "late", and what is kept of them.
LEDGER_FILE = "/var/lib/guestagent/ledger.json"
SCRIPTS_LOCK_FILE = "/run/guestagent/scripts.lock"
COMMANDS_FILE = "/var/lib/guestagent/commands"
SCRIPTS_LOG = "/var/log/guestagent-scripts.log"
# Scripts that later units run lie in STATE_DIR/early and STATE_DIR/late.
STEP_MODE = 0o700
TEMPORARY_PREFIX = ".guestagent."

# What is read of the machine.
KERNEL_COMMAND_LINE = "/proc/cmdline"
KERNEL_HOSTNAME = "/proc/sys/kernel/hostname"  # the units may write to it
BOOT_ID = "/proc/sys/kernel/random/boot_id"
MOUNT_TABLE = "/proc/self/mountinfo"
DMI_DIR = "/sys/class/dmi/id"
HYPERVISOR_UUID = "/sys/hypervisor/uuid"
FIRST_PROCESS = "/proc/1/environ"
FIRST_COMMAND_LINE = "/proc/1/cmdline"
PROCESS_DIR = "/proc"
OWN_FILES = "/proc/self/fd"
OWN_SIZE = "/proc/self/statm"
SYSTEMD_DIR = "/run/systemd/system"  # there where systemd is the service manager
CONTAINER_FILE = "/run/systemd/container"  # there in a container: systemd's CONTAINER_INTERFACE
UPTIME = "/proc/uptime"
IPV6_ADDRESSES = "/proc/self/net/if_inet6"
IPV4_ROUTES = "/proc/self/net/route"  # those of the main table
NET_DIR = "/sys/class/net"
BLOCK_DIR = "/sys/class/block"
BLOCK_NUMBERS_DIR = "/sys/dev/block"
BUS_DIR = "/sys/bus"
SCSI_DEVICES = "/sys/bus/scsi/devices"
BY_LABEL_DIR = "/dev/disk/by-label"
UDEV_DATA_DIR = "/run/udev/data"
UDEV_LINKS_DIR = "/run/udev/links"
UDEV_CONTROL = "/run/udev/control"  # there from udev's start, before it has seen to any device
UDEV_QUEUE = "/run/udev/queue"  # there while udev is at work

# What is read or written of the guest.
HOSTNAME_FILE = "/etc/hostname"
HOSTS_FILE = "/etc/hosts"
ACCOUNTS_FILE = "/etc/passwd"
SHADOW_FILE = "/etc/shadow"
NOLOGIN = "/etc/nologin"  # of nologin(5)
GROUP_FILE = "/etc/group"
LOGIN_DEFS = "/etc/login.defs"
USERADD_DEFAULTS = "/etc/default/useradd"
SKELETON = "/etc/skel"
FSTAB = "/etc/fstab"
# ProtectSystem=yes and ReadWritePaths= of the units that apply: systemd.exec(5).
SYSTEM_TREES = ("/usr/", "/bin/", "/sbin/", "/lib/", "/lib64/", "/boot/", "/efi/")
OWN_TREES = ("/usr/local/",)
# What cloud-init reads, and user data write for it.
CLOUD_CONFIG_DIR = "/etc/cloud"
CLOUD_SCRIPTS_DIR = "/var/lib/cloud/scripts"
HEAT_DIR = "/var/lib/heat-cfntools"  # where heat-cfntools and os-collect-config read
# Where tools that know only cloud-init are led, and by what cloud-init itself is known.
CLOUD_INIT_DIR = "/run/guestagent/cloud-init"
CLOUD_INIT_INSTANCE = "/var/lib/cloud/instance"
CLOUD_INIT_LINKS = {
    "/run/cloud-init": "guestagent/cloud-init",
    CLOUD_INIT_INSTANCE: CLOUD_INIT_DIR,
    "/var/lib/cloud/data/result.json": "/run/cloud-init/result.json",
    "/var/lib/cloud/data/status.json": "/run/cloud-init/status.json",
}
CLOUD_INIT_UNIT = "cloud-init-local.service"
GROWROOT_DISABLED = "/etc/growroot-disabled"
OS_RELEASE = "/etc/os-release"
SUDOERS_FILE = "/etc/sudoers.d/90-guestagent"
SUDOERS_USERS_FILE = "/etc/sudoers.d/90-guestagent-users"
DOAS_FILE = "/etc/doas.conf"
SELINUX_CONFIG = "/etc/selinux/config"
SELINUX = "/sys/fs/selinux/enforce"  # there while SELinux has a policy: 1 or 0
SELINUX_DIR = "/sys/fs/selinux"  # the kernel's answers
SELINUX_OF_INIT = "/proc/1/attr/current"
LABEL_OF_NEW_FILES = "/proc/thread-self/attr/fscreate"  # proc_pid_attr(5)
AUTHORIZED_KEYS = "/.ssh/authorized_keys"
SSH_DIR = "/etc/ssh"
SSHD_CONFIG = "/etc/ssh/sshd_config"
SSHD_VENDOR_CONFIG = "/usr/etc/ssh/sshd_config"  # openSUSE's, used where the other is missing
SSHD_DROPINS = "/etc/ssh/sshd_config.d"
SSHD_RUN_DIR = "/run/sshd"
SSHD_DROPIN = "/etc/ssh/sshd_config.d/10-guestagent.conf"
SSHD_CLOSED = "/etc/ssh/sshd_config.d/00-guestagent-closed.conf"  # there until it is configured
NETWORKD_UNITS = ("systemd-networkd.service", "systemd-networkd-wait-online.service")
NETWORKD_DIR = "/etc/systemd/network"
NETPLAN_DIRS = ("/etc/netplan", "/run/netplan", "/usr/lib/netplan")
GENERATORS_DIR = "/usr/lib/systemd/system-generators"
GENERATORS_MASK_DIR = "/etc/systemd/system-generators"
OPENRC_NETWORKING = "/etc/runlevels/boot/networking"
IFUPDOWN_MAIN = "/etc/network/interfaces"
IFUPDOWN_DIR = "/etc/network/interfaces.d"
IFUPDOWN_DNS_HOOKS = ("/etc/network/if-down.d/resolved", "/etc/network/if-down.d/resolvconf")
DHCLIENT_DIR = "/var/lib/dhcp"
DHCLIENT_CONF = "/etc/dhcp/dhclient.conf"
DHCLIENT_HOOK = "/etc/dhcp/dhclient-enter-hooks.d/guestagent"
IPV4_SETTINGS = "/proc/sys/net/ipv4/conf"
IPV6_SETTINGS = "/proc/sys/net/ipv6/conf"
RESOLV_CONF = "/etc/resolv.conf"
NETWORKMANAGER_DIR = "/etc/NetworkManager/system-connections"
NETWORKMANAGER_DROPIN = "/etc/NetworkManager/conf.d/50-guestagent.conf"
RESOLVED_DROPIN = "/etc/systemd/resolved.conf.d/50-guestagent.conf"
LOCALTIME = "/etc/localtime"
TIMEZONE_FILE = "/etc/timezone"
ZONEINFO_DIR = "/usr/share/zoneinfo"
LOCALE_CONF = "/etc/locale.conf"
DEFAULT_LOCALE = "/etc/default/locale"
LOCALE_GEN = "/etc/locale.gen"
SUPPORTED_LOCALES = "/usr/share/i18n/SUPPORTED"
DEFAULT_KEYBOARD = "/etc/default/keyboard"
VCONSOLE_CONF = "/etc/vconsole.conf"
TIMESYNCD = "/usr/lib/systemd/systemd-timesyncd"
TIMESYNCD_DROPIN = "/etc/systemd/timesyncd.conf.d/50-guestagent.conf"
CHRONY_CONFS = ("/etc/chrony/chrony.conf", "/etc/chrony.conf")  # on Debian's kin, and elsewhere
CA_DIRS = {  # where certificates go, by who else is like the system
    "debian": "/usr/local/share/ca-certificates",
    "suse": "/etc/pki/trust/anchors",
    "fedora": "/etc/pki/ca-trust/source/anchors",
}
CA_LIST = "/etc/ca-certificates.conf"
CA_DEFAULTS_DIR = "/usr/share/pki/ca-trust-source"
APT_SOURCES_LIST = "/etc/apt/sources.list"
APT_SOURCES_DIR = "/etc/apt/sources.list.d"
APT_KEYRINGS_DIR = "/etc/apt/keyrings"
APT_TRUSTED_DIR = "/etc/apt/trusted.gpg.d"
APT_PROXY_FILE = "/etc/apt/apt.conf.d/90guestagent-proxy"
APT_CONF_FILE = "/etc/apt/apt.conf.d/94guestagent-config"
YUM_REPOS_DIR = "/etc/yum.repos.d"
ARCHIVE_KEYRINGS_DIR = "/usr/share/keyrings"
REBOOT_REQUIRED = "/run/reboot-required"
# Files of the system itself that cloud-config may rewrite: they are never removed.
SYSTEM_FILES = (
    *CHRONY_CONFS,
    APT_SOURCES_LIST,
    f"{APT_SOURCES_DIR}/debian.sources",
    f"{APT_SOURCES_DIR}/ubuntu.sources",
)
# Words for systemd-networkd-wait-online(8); the package's drop-in of its unit reads them.
WAIT_ONLINE_FILE = "/etc/guestagent/wait-online.env"
NETPLAN_FILE = "/etc/netplan/90-guestagent.yaml"
# The network stacks, and how the paths of the files begin that guestagent owns of each.
NETWORK_STACK_FILES = {
    "networkd": f"{NETWORKD_DIR}/10-guestagent-",
    "networkmanager": f"{NETWORKMANAGER_DIR}/guestagent-",
    "netplan": "/etc/netplan/90-guestagent",
    "ifupdown": f"{IFUPDOWN_DIR}/50-guestagent",
}
# Files of networkd for NICs that the source does not name: the first file that matches wins, so
# that any of the image's own does.
NETWORKD_LAST_FILES = f"{NETWORKD_DIR}/zz-guestagent-"
# A file for all NICs, and one for a NIC that came later, while there was no source.
ONE_NETWORK_FILE = {
    NETPLAN_FILE: "/etc/netplan/90-guestagent-{id}.yaml",
    f"{IFUPDOWN_DIR}/50-guestagent": f"{IFUPDOWN_DIR}/50-guestagent-{{id}}",
}
NETWORK_STACKS = tuple(NETWORK_STACK_FILES)
NETWORK_FILES = (
    *NETWORK_STACK_FILES.values(),
    NETWORKD_LAST_FILES,
    RESOLV_CONF,
    WAIT_ONLINE_FILE,
    DHCLIENT_HOOK,
)
CONSOLE_DEVICE = "/dev/console"
RANDOM_DEVICE = "/dev/urandom"
UNIT_DIRS = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system")

# Of a MAC address: RFC 4391, section 9.1.1; Ethernet has six.
INFINIBAND_OCTETS = 20

# Programs, by their base name: each is looked for in PROGRAM_DIRS.
PROGRAM_DIRS = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")
PROGRAM_PATH = ":".join(PROGRAM_DIRS)
PROGRAM = "/usr/bin/guestagent"
LOCAL_UNIT = "guestagent-local.service"
APPLY_UNIT = "guestagent-apply.service"
LOCKDOWN_UNIT = "guestagent-lockdown.service"
LATER_UNIT = "guestagent-later.service"
DAEMON_UNIT = "guestagentd.service"
AGAIN_TIMER = "guestagent-again.timer"
LATE_TIMER = "guestagent-late.timer"
EARLY_UNIT = "guestagent-early.service"
LATE_UNIT = "guestagent-late.service"
DOWNLOAD_UNIT = "guestagent-download.service"
REFRESH_UNIT = "guestagent-refresh.service"
POLL_UNIT = "guestagent-poll.service"
RELOAD_UNIT = "guestagent-reload.service"
# They ask a metadata service, and do what it answers.
SERVICE_UNITS = ("guestagent-fetch.service", "guestagent-apply.service", RELOAD_UNIT)
HOST_KEYS_UNIT = "guestagent-host-keys.service"
SHELL = "/bin/sh"
# What a script's environment says: as in a login of root.
# guestagent's own programs for scripts come first: cloud-init-per.
SCRIPT_PROGRAMS_DIR = "/usr/share/guestagent/bin"
SCRIPT_PATH = f"{SCRIPT_PROGRAMS_DIR}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SCRIPT_HOME = "/root"
NETPLAN_GENERATORS = ("/usr/libexec/netplan/generate", "/usr/lib/netplan/generate")

FILE_SYSTEMS = ("iso9660", "vfat")  # that are mounted
# Where a config drive may come from: labels in small letters, the one that is preferred first, and
# the file systems that are read with each.  Those that are not mounted are read by sources.ext.
DRIVE_FILE_SYSTEMS = {
    "config-2": FILE_SYSTEMS,
    "cidata": (*FILE_SYSTEMS, "ext4", "ext3", "ext2"),
}
LABELS = tuple(DRIVE_FILE_SYSTEMS)
# Seeds of NoCloud that the image's builder has put there; the first that has meta-data is read.
SEED_DIRS = (
    "/var/lib/guestagent/seed",
    "/var/lib/cloud/seed/nocloud",
    "/var/lib/cloud/seed/nocloud-net",
)
# The guest API of LXD and Incus, and where it is; each instance is given one of the sockets.
LXD_API = "1.0"
LXD_SOCKETS = ("/dev/lxd/sock", "/dev/incus/sock")
# Documents of the OVF environment, and of Alt Cloud: the first that is there is read.
OVF_NAMES = frozenset(("ovf-env.xml", "ovf_env.xml", "OVF-ENV.XML", "OVF_ENV.XML"))
ALT_CLOUD_NAMES = ("deltacloud-user-data.txt", "user-data.txt")
CLOUD_INFO = "/etc/sysconfig/cloud-info"  # which cloud an image is for: Image Factory
FLOPPY = "/dev/fd0"
DEVICES_DIR = "/dev"
RHEV, VSPHERE = "RHEV", "VMWARE"  # how the DMI names of products begin there, in capitals
MAX_PROPERTIES = 1024  # of an OVF environment
XML_DEPTH = 16
SEED_VALUES = "ds=nocloud"  # the document that stands for what the kernel or the firmware say
SOURCE_ARGUMENT = "guestagent.source="
# What is searched for a source, in this order; see ``verbs.source``.
SOURCES = ("credentials", "drive", "lxd", "seed", "guestinfo", "media", "service")
# systemd's system credentials: where guestagent's units have them, and where systemd has.
CREDENTIAL_DIRS = ("/run/guestagent/credentials", "/run/credentials/@system")
CREDENTIAL_PREFIX = "guestagent."
SOURCE_CREDENTIAL = "guestagent.source"
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
# Of a first answer, where sshd waits for it; after a lease; and after the first refusal.
METADATA_PATIENCE = 4.0
METADATA_AFTER_LEASE = 2.0
METADATA_AFTER_REFUSAL = 2.0
CONNECT_TIMEOUT = 2.0
READ_TIMEOUT = 5.0
DOCUMENT_TIMEOUT = 10.0
RACE_PAUSE = 0.25
RACE_LISTEN = 1.0
BACK_OFF_FIRST = 0.2
BACK_OFF_MOST = 5.0
RETRY_AFTER_MOST = 30.0
TOKEN_LIMIT = 4 << 10
TOKEN_SECONDS = 21600
POST_LIMIT = 1020
PHONE_HOME_TIMEOUT = 10.0
PHONE_HOME_PAUSE = 3.0
PHONE_HOME_REDIRECTS = 5
PHONE_HOME_TRY = 23.0  # times the number of tries: for all of them
FETCH_WAIT = 300  # for all documents that user data name by URLs
FETCH_TIMEOUT = 60.0  # for one, with all tries and redirects
FETCH_CONNECT = 10.0
FETCH_TRIES = 3
FETCH_AGAIN = 4  # further runs for what cannot be reached
FETCH_PAUSE = 2.0
FETCH_REDIRECTS = 5
FETCH_COUNT = 64  # documents that are fetched
FETCH_MEMORY = 96 << 20  # for what servers send without an end; LimitDATA= of the unit

# Limits.
JSON_LIMIT = 1 << 20
FILE_LIMIT = 1 << 20
TOTAL_LIMIT = 8 << 20
GUEST_FILE_LIMIT = 4 << 20
JSON_DEPTH = 64
MAX_PROBLEMS = 100  # of one document that a step of a run lists
MAX_NAMES = 10_000  # in a folder of a source
FOLDER_LIMIT = 16 << 20  # so many of the longest names take 7 MB of a VFAT file system
MAX_VERSIONS = 64  # folders of versions; OpenStack has about 10
USER_DATA_LIMIT = 1 << 20
UNPACKED_LIMIT = 4 << 20  # all that a document's gzip data and archives hold
MAX_PARTS = 64  # a Magnum master has about 20
PART_DEPTH = 3
MIME_HEADER_LIMIT = 8 << 10
SIGNATURE_LIMIT = 16 << 10  # of RSA with 16384 bits, the longest key that OpenSSH takes: 7 KiB
YAML_LIMIT = 256 << 10
YAML_DEPTH = 20
YAML_NODES = 10_000
YAML_LETTERS = 1 << 20
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
UDEV_BUSY_WAIT = 30.0  # for a driver, while udev is at work
UDEV_IDLE = 2.0
UDEV_BRIEFLY_IDLE = 1.0  # where a drive is looked for again
READ_TRIES = 3
READ_PAUSE = 1.0
EXT_TIMEOUT = 10.0  # of a process that reads a document, or the names in a folder
EXT_MEMORY = 16 << 20  # of the same, beyond what it starts with
PROGRAM_TIMEOUT = 20.0
GUESTINFO_TIMEOUT = 5.0
PASSWORD_TIMEOUT_MORE = 1.0  # for each further password that one run of a program sets
CHILD_TIMEOUT = 10.0  # of a process that writes as a user
CHILD_TIMEOUT_MORE = 0.5  # for each further file that it writes
TEMPLATE_TIMEOUT = 10.0  # of a process in which Jinja2 renders
TEMPLATE_MEMORY = 64 << 20  # of the same; the units have 128 MiB in all
NETWORK_TIMEOUT = 90.0
PROGRAM_OUTPUT = 64 << 10
LOCK_WAIT = 15.0
LOCK_WAIT_LATE = 600.0  # of what would otherwise be lost
SCRIPTS_LOG_LIMIT = 4 << 20
SCRIPTS_EARLY_LIMIT = 300.0
SCRIPTS_LATE_LIMIT = 3600.0
SCRIPT_GRACE = 10.0
LEDGER_ENTRIES = 1024
STATUS_LOOK = 0.2  # between two looks at the report's file
STATUS_ASK = 5.0  # between two questions to the service manager, while that file stays as it is
STATUS_WAIT_MOST = 1_000_000

# Exit statuses.
EXIT_OK = 0
EXIT_ERRORS = 1
EXIT_CHANGES = 2
EXIT_SOURCE_BROKEN = 3
EXIT_DISABLED = 4
EXIT_ACCOUNTS_LOCKED = 5
EXIT_WRONG_SOURCE = 6
EXIT_USAGE = 64
EXIT_TRY_AGAIN = 75
EXIT_NO_PERMISSION = 77
EXIT_INTERRUPTED = 130  # as a shell shows a process that SIGINT ended
EXIT_UNREAD = 141  # as a shell shows a process that SIGPIPE ended
