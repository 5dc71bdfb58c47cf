"""Differences between cloud-init (left) and guestagent (right) that are meant, with reasons.

docs/migrating.md says more about each; a test holds the two together.
"""

from __future__ import annotations

from .trees import Reason

_OWN = "each package brings files and units of its own"
_OWN_FILES = (
    r"/etc/(cloud|guestagent)(/.*)?"
    r"|/etc/(init\.d|rc.\.d)/.*cloud-.*"
    r"|/etc/(logrotate\.d/cloud-init|profile\.d/Z99-cloud-.*)"
    r"|/etc/systemd/system/.*(cloud-|guestagent).*"
)
_SUDO = "sudo rules are in a file of another name; rules in force are compared"
_SSHD = "sshd settings are in a file of another name; settings in force are compared"
_NETWORK = "network files differ in name and content; addresses, routes and DNS are compared"
_TIME = "time servers are in a file of another name; servers in use are compared"
_CERTIFICATES = "certificates are in files of other names; the bundle made of them is compared"
_ROOT_KEY = "root gets no key that only answers with a message"
_NO_KEYS = "users without keys get no empty file of keys; keys are compared"
_SIZES = "partitions are shares of what the table leaves of the disk, in whole MiB"
_HOSTS = "the host's own name is in /etc/hosts"
_INJECTED = "injected files have mode 0600, not 0660"

REASONS: tuple[Reason, ...] = (
    Reason("files|contents", _OWN_FILES, _OWN),
    Reason("enabled units|services", r"(cloud-|guestagent).*", _OWN),
    Reason("files|contents", r"/etc/sudoers\.d/90-(cloud-init-users|guestagent(-users)?)", _SUDO),
    Reason("files", r"/etc/sudoers\.d", _SUDO, "drwxr-x--- root:root", "drwxr-xr-x root:root"),
    Reason(
        "files|contents",
        r"/etc/ssh/sshd_config\.d/(50-cloud-init|10-guestagent)\.conf",
        _SSHD,
    ),
    Reason(
        "sshd",
        "permitrootlogin",
        "a password for root, with ssh_pwauth, lets root log in with it",
        left="without-password",
        right="yes",
    ),
    Reason(
        "files|contents",
        r"/etc/systemd/network/10-(cloud-init|guestagent)-.*\.(network|link|netdev)",
        _NETWORK,
    ),
    Reason(
        "sudo rules",
        r"debian ALL = \(ALL( : ALL)?\) NOPASSWD: ALL",
        "the default user may act as any group too",
    ),
    Reason("authorized keys", "root", _ROOT_KEY, left=".*Please login as the user.*", right=""),
    Reason("files", r"/root/\.ssh(/authorized_keys)?", _ROOT_KEY, left=".+", right=""),
    Reason("files", r"/.+/\.ssh(/authorized_keys)?", _NO_KEYS, left=".+", right=""),
    Reason("contents", r"/.+/\.ssh/authorized_keys", _NO_KEYS, left="", right=""),
    Reason(
        "files",
        r"/etc/motd|/srv/app/conf\.d/app\.conf",
        _INJECTED,
        left="-rw-rw---- root:root",
        right="-rw------- root:root",
    ),
    Reason(
        "services",
        r"systemd-networkd-wait-online\.service",
        "the boot does not wait until the network is online",
        left="exited",
        right="",
    ),
    Reason(
        "files|contents",
        r"/etc/systemd/timesyncd\.conf\.d/(cloud-init|50-guestagent)\.conf",
        _TIME,
    ),
    Reason(
        "files|contents",
        r"/usr/local/share/ca-certificates/(cloud-init|guestagent)-ca-cert-\d+\.crt"
        r"|/etc/ssl/certs/(cloud-init|guestagent)-ca-cert-\d+\.pem",
        _CERTIFICATES,
    ),
    Reason(
        "files",
        r"/etc/ssl/certs/[0-9a-f]{8}\.\d+",
        _CERTIFICATES,
        left=r"link to cloud-init-ca-cert-\d+\.pem root:root",
        right=r"link to guestagent-ca-cert-\d+\.pem root:root",
    ),
    Reason(
        "files|contents",
        "/etc/timezone",
        "the time zone is in /etc/localtime alone, where the image has no /etc/timezone",
        right="",
    ),
    Reason(
        "files",
        r"/(etc|opt|srv|usr/local)/.+",
        "directories made for a file of write_files are root's, whoever gets the file",
        left=r"drwxr-xr-x \S+",
        right="drwxr-xr-x root:root",
    ),
    Reason(
        "fstab",
        r"\S+ on none",
        "the boot goes on if the swap is missing",
        left="swap sw 0 0",
        right="swap sw,nofail 0 0",
    ),
    Reason(
        "fstab",
        r"\S+ on /\S*",
        "the line of a disk does not name a unit of cloud-init",
        left=r".*,x-systemd\.after=cloud-init-network\.service,_netdev 0 2",
        right=r"((?!cloud-init|_netdev).)* 0 2",
    ),
    Reason("disks", r"/dev/\S+ size", _SIZES, left=r"\d+ bytes", right=r"\d+ bytes"),
    Reason("system", r"swap /dev/\S+", _SIZES, left="partition, .*", right="partition, .*"),
    Reason(
        "contents",
        "/etc/hosts",
        _HOSTS,
        left=r"((?!127\.0\.1\.1).)*",
        right=r"(.*\n)?127\.0\.1\.1 .*",
    ),
    Reason("system", "full host name", _HOSTS, left=r"[^.]*", right=r"[^.]+\..+"),
    Reason(
        "accounts",
        "shadow debian password",
        "the password that the cloud made (admin_pass) is set",
        left="locked, no password",
        right="yescrypt",
    ),
    Reason(
        "accounts",
        r"(passwd|group) \S+ [ug]id",
        "numbers of groups differ: all groups are made before the first account",
        left=r"\d+",
        right=r"\d+",
    ),
    Reason(
        "files",
        "/etc/motd",
        "what is appended to a file leaves its mode as it is",
        left="-rw-r--r-- root:root",
        right="-rw------- root:root",
    ),
    Reason(
        "contents",
        r"/etc/(locale\.conf|default/locale)",
        "without a locale in the user data the image's stays",
        left=r"(#[^\n]*\n)*LANG=C\.UTF-8\n",
        right=r"(#[^\n]*\n)*",
    ),
)
