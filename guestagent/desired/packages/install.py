"""``packages`` and the keys ``package_…``: one late script that updates, upgrades and installs.

It installs all packages together, because they may depend on each other.  If that fails, it
installs them one by one, so that a wrong name does not keep the others out, and fails in the end.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.desired.shell_quoting import quote_command
from guestagent.errors import FieldError
from guestagent.parse import fields
from guestagent.plan.kinds.script import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Facts, Setting
    from guestagent.plan.wanted import Ask, Wanted

_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_LETTERS = _LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_APT_NAME = _LOWER | frozenset("+-.*?")
_APT_ARCHITECTURE = _LOWER | frozenset("-")
_APT_RELEASE = _LETTERS | frozenset("-._")
_APT_VERSION = _LETTERS | frozenset(".+-~:*")
_DNF_FIRST = _LETTERS | frozenset("@/*?[")
_DNF_NAME = _LETTERS | frozenset("+-._~^:/@()%=*?[]")
_LENGTH = 256
_NO_GROUPS = "is a group of packages, which apt does not have: use NAME^ for a task"
_NO_LETTER = "is not the name of a package: it has no letter"

# apt-daily(8) may hold the lock of the lists after boot.  The option waits for the lock of dpkg
# only, so an update is tried again.
APT_GET = """\
export DEBIAN_FRONTEND=noninteractive
apt() {
    apt-get --quiet --assume-yes --option=DPkg::Lock::Timeout=300 \\
        --option=Dpkg::Options::=--force-confold "$@"
}
update() {
    for pause in 5 15 30; do
        apt update && return
        sleep $pause
    done
    apt update
}
"""
_DNF = """\
dnf() {
    command dnf -y "$@"
}
update() {
    dnf makecache
}
"""
_INSTALL = """\
install() {{
    {tool} install "$@" && return
    [ $# -gt 1 ] || return 1
    failed=
    for package; do
        {tool} install "$package" || failed="$failed $package"
    done
    [ -z "$failed" ] || {{ echo "not installed:$failed"; return 1; }}
}}
"""
# Once there is a job for the reboot, no other script of the stage is started.
_REBOOT = """\
if [ -e {path} ]; then
    echo "the packages ask for a reboot"
    systemctl --no-block --job-mode=replace-irreversibly start reboot.target
fi
"""


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan the script.

    As in cloud-init, an upgrade and packages bring an update with them, and a reboot follows only
    one of the two.
    """
    asked = []
    for key in ("package_update", "package_upgrade", "packages"):
        setting = ask.data.setting(key)
        if setting is not None and setting.value:
            asked.append(setting)
    if not asked:
        return
    tool = _package_manager(ask.facts)
    if not tool:
        for setting in asked:
            wanted.error(setting.at(), "neither apt nor dnf is installed")
        return
    packages: list[str] = []
    if asked[-1].key == "packages":
        packages = _read_packages(asked[-1], tool, ask, wanted=wanted)
        if not packages and len(asked) == 1:
            return
    upgrade = any(setting.key == "package_upgrade" for setting in asked)
    reboot = ask.data.setting("package_reboot_if_required")
    content = _script(tool, packages, upgrade=upgrade, reboot=bool(reboot and reboot.value))
    why = asked[0].at()
    wanted.want(Script("script", "late", 10, "instance", name="packages", content=content, why=why))


def _package_manager(facts: Facts) -> str:
    """Return the package manager of the guest, "apt" or "dnf"; empty if it has neither."""
    if "apt-get" in facts.programs:
        return "apt"
    if "dnf" in facts.programs:
        return "dnf"
    return ""


def _read_packages(setting: Setting, tool: str, ask: Ask, *, wanted: Wanted) -> list[str]:
    """Return the packages as the tool takes them, without those for another tool.

    Where there are ``yum_repos`` for apt, a warning says that they are for dnf; so are the groups.
    """
    groups_are_for_dnf = tool == "apt" and ask.data.setting("yum_repos") is not None
    read = _read_apt_package if tool == "apt" else _read_dnf_package
    found = []
    for index, item in enumerate(setting.value):
        is_left_out = groups_are_for_dnf and item["name"].startswith("@")
        if item.get("manager", tool) == tool and not is_left_out:
            package = wanted.take(setting.at(index), read, item)
            if package is not None:
                found.append(package)
    return found


def _read_apt_package(item: dict[str, str]) -> str:
    """Return what apt-get(8) installs: ``NAME[:ARCHITECTURE]`` with ``=VERSION`` or ``/RELEASE``.

    It can also be a task, ``NAME^``, or the path of a file.  Names and versions are those of
    Debian policy, 5.6.1, and deb-version(7), or wildcards for them.  Raise FieldError for anything
    else.
    """
    name, version = item["name"], item.get("version", "")
    if name.startswith("@"):
        raise FieldError(_NO_GROUPS)
    if name.startswith("/") and name.endswith(".deb") and not version:
        return fields.guest_path(name)
    if not version:
        name, _, version = name.partition("=")
    name, slash, release = name.partition("/")
    _check_apt_name(name)
    if slash:
        _check_apt_release(release, version)
    if max(len(name), len(version), len(release)) > _LENGTH:
        raise FieldError("is too long")
    if version:
        _check_apt_version(version)
        return f"{name}={version}"
    return f"{name}{slash}{release}"


def _check_apt_release(release: str, version: str) -> None:
    """Raise FieldError if the text is not the name of a release, or there is a version, too."""
    if not release or version or not _APT_RELEASE.issuperset(release):
        raise FieldError("has an invalid release")


def _check_apt_version(version: str) -> None:
    """Raise FieldError if the text is not a version."""
    if version[0] not in _LETTERS or not _APT_VERSION.issuperset(version):
        raise FieldError("has an invalid version: letters, digits, . + - ~ : and * only")


def _check_apt_name(name: str) -> None:
    """Raise FieldError if the text is not ``NAME[:ARCHITECTURE]`` or a task, ``NAME^``."""
    package, colon, architecture = name.removesuffix("^").partition(":")
    # A "?" at the beginning is not a wildcard: it begins a pattern of apt-patterns(7).
    has_good_start = package[:1] == "*" or package[:1] in _LOWER
    if len(package) < 2 or not has_good_start or not _APT_NAME.issuperset(package):
        raise FieldError("is not the name of a package: small letters, digits, + - and .")
    if not any(char.isalpha() for char in package):
        raise FieldError(_NO_LETTER)
    # A "-" at the end would remove the package.
    if package.endswith("-") or not _APT_ARCHITECTURE.issuperset(architecture):
        raise FieldError("is not the name of a package that can be installed")
    if colon and not architecture:
        raise FieldError("is not the name of a package that can be installed")


def _read_dnf_package(item: dict[str, str]) -> str:
    """Return what dnf(8) installs: NAME, NAME-VERSION, ``@GROUP``, a file, ``perl(NAME)``, a URL.

    Names and versions may have the wildcards ``*``, ``?`` and ``[…]``.  Raise FieldError for
    anything else.
    """
    text = item["name"]
    if item.get("version"):
        text = f"{text}-{item['version']}"
    if not 0 < len(text) <= _LENGTH * 2 or text[0] not in _DNF_FIRST:
        raise FieldError("is not a package: a letter, a digit, @ or / must come first")
    if not any(char.isalpha() for char in text):
        raise FieldError(_NO_LETTER)
    if text[0] == "@":
        text = " ".join(text.split())  # the name of a group may have spaces
    if not _DNF_NAME.issuperset(text.replace(" ", "") if text[0] == "@" else text):
        raise FieldError("is not a package: letters, digits and + - . _ ~ ^ : / @ ( ) only")
    return text


def _script(tool: str, packages: list[str], *, upgrade: bool, reboot: bool) -> bytes:
    """Return the script.  Each part goes on if an earlier one failed; the script fails then."""
    text = "#!/bin/sh\n# Update, upgrade and install as cloud-config asks.\nstatus=0\n"
    text += APT_GET if tool == "apt" else _DNF
    if packages:
        text += _INSTALL.format(tool=tool)
    text += "update || status=1\n"
    if upgrade and tool == "apt":
        text += "apt dist-upgrade || status=1\n"
    elif upgrade:
        text += "dnf upgrade || status=1\n"
    if packages:
        text += f"install {quote_command(packages)} || status=1\n"
    if reboot and (upgrade or packages):
        text += _REBOOT.format(path=defs.REBOOT_REQUIRED)
    text += "exit $status\n"
    return text.encode()
