"""Packages to install and to upgrade, with apt or dnf: one script of the late stage.

All packages are tried together, for what depends on each other; if that fails, one by one, so
that a bad name keeps no other from being installed.  The script then fails in the end.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.desired.shell_quoting import quote_command
from guestagent.errors import FieldError, Problem
from guestagent.parse import fields
from guestagent.plan.kinds.script import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Facts, InstanceData, Setting
    from guestagent.plan.kinds import Resource
    from guestagent.plan.wanted import Ask, Wanted
    from guestagent.settings import Settings

_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_LETTERS = _LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_LENGTH = 256

# Lists are locked by apt-daily for a while after boot, which the timeout does not cover.
APT_GET = """export DEBIAN_FRONTEND=noninteractive
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
}"""
_DNF = """dnf() {
    command dnf -y "$@"
}
update() {
    dnf makecache
}"""
_INSTALL = """
install() {{
    {tool} install "$@" && return
    [ $# -gt 1 ] || return 1
    failed=
    for package; do
        {tool} install "$package" || failed="$failed $package"
    done
    [ -z "$failed" ] || {{ echo "not installed:$failed"; return 1; }}
}}"""
# Once the job is there, the stage sees that the system goes down and begins no other script.
_REBOOT = """if [ -e {path} ]; then
    echo "the packages ask for a reboot"
    systemctl --no-block --job-mode=replace-irreversibly start reboot.target
fi
"""


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan this module's keys."""
    resources, problems = _plan(ask.data, ask.facts, ask.settings)
    wanted.want(*resources)
    wanted.problems += problems


def _plan(
    data: InstanceData, facts: Facts, settings: Settings
) -> tuple[list[Resource], list[Problem]]:
    """The key ``packages`` and those that begin with ``package_``.

    As in cloud-init, an upgrade and packages bring an update with them, and a reboot follows
    only where there was one of the two.
    """
    names = ("package_update", "package_upgrade", "packages")
    wanted = [setting for name in names if (setting := data.setting(name)) and setting.value]
    if not wanted:
        return [], []
    tool = manager(facts)
    if not tool:
        reason = "there is no apt and no dnf here"
        return [], [Problem("error", *setting.at(), reason) for setting in wanted]
    problems: list[Problem] = []
    given = next((setting for setting in wanted if setting.key == "packages"), None)
    packages = _packages(given, tool, problems) if given else []
    upgrade = any(setting.key == "package_upgrade" for setting in wanted)
    if wanted == [given] and not packages:
        return [], problems
    reboot = data.setting("package_reboot_if_required")
    script = _script(tool, upgrade, packages, bool(reboot and reboot.value))
    why = wanted[0].at()
    step = Script("script", "late", 10, "instance", "packages", script.encode(), why)
    return [step], problems


def manager(facts: Facts) -> str:
    """The package manager of the guest: apt, dnf or none."""
    tools = (("apt-get", "apt"), ("dnf", "dnf"))
    return next((tool for program, tool in tools if program in facts.programs), "")


def _packages(setting: Setting, tool: str, problems: list[Problem]) -> list[str]:
    """The packages as the tool takes them; those of the other tool are not for this guest."""
    found = []
    for index, item in enumerate(setting.value):
        if item.get("manager", tool) != tool:
            continue
        try:
            check = _apt_package if tool == "apt" else _dnf_package
            found.append(check(item["name"], item.get("version", "")))
        except FieldError as error:
            problems.append(Problem("error", *setting.at(index), str(error)))
    return found


def _apt_package(name: str, version: str) -> str:
    """``NAME[:ARCHITECTURE]`` with ``=VERSION`` or ``/RELEASE``, or a task ``NAME^``; apt-get(8).

    Names and versions are those of deb-version(7) and Debian policy, 5.6.1, or wildcards for
    them; a file is one of a package.  A ``-`` at the end would remove the package.
    """
    if name.startswith("/") and name.endswith(".deb") and not version:
        return fields.guest_path(name)
    if not version:
        name, _, version = name.partition("=")
    name, slash, release = name.partition("/")
    bare, colon, arch = name.removesuffix("^").partition(":")
    first = bare[:1] == "*" or bare[:1] in _LOWER  # ? begins a pattern of apt-patterns(7)
    if len(bare) < 2 or not first or not (_LOWER | set("+-.*?")).issuperset(bare):
        raise FieldError("is not the name of a package: small letters, digits, + - and .")
    if not any(char.isalpha() for char in bare):
        raise FieldError("is not the name of a package: it has no letter")
    if bare.endswith("-") or not (_LOWER | {"-"}).issuperset(arch) or bool(colon) != bool(arch):
        raise FieldError("is not the name of a package that can be installed")
    if not (_LETTERS | set("-._")).issuperset(release) or (slash and (not release or version)):
        raise FieldError("has a release that is none")
    if len(name) > _LENGTH or len(version) > _LENGTH or len(release) > _LENGTH:
        raise FieldError("is too long")
    if not version:
        return name + slash + release
    if version[0] not in _LETTERS or not (_LETTERS | set(".+-~:*")).issuperset(version):
        raise FieldError("has a version that is none: letters, digits, . + - ~ : and *")
    return f"{name}={version}"


def _dnf_package(name: str, version: str) -> str:
    """What dnf(8) installs: NAME, NAME-VERSION, ``@GROUP``, a file, ``perl(NAME)``, a URL.

    In names and versions there may be wildcards: ``*``, ``?`` and ``[…]``.
    """
    text = f"{name}-{version}" if version else name
    if not 0 < len(text) <= _LENGTH * 2 or text[0] not in _LETTERS | set("@/*?["):
        raise FieldError("is not a package: a letter, a digit, @ or / must come first")
    if not any(char.isalpha() for char in text):
        raise FieldError("is not a package: it has no letter")
    if not (_LETTERS | set("+-._~^:/@()%=*?[]")).issuperset(text):
        raise FieldError("is not a package: letters, digits and + - . _ ~ ^ : / @ ( ) only")
    return text


def _script(tool: str, upgrade: bool, packages: list[str], reboot: bool) -> str:
    parts = ["#!/bin/sh", "# Updates, upgrades and installs as cloud-config asks.", "status=0"]
    parts.append(APT_GET if tool == "apt" else _DNF)
    if packages:
        parts[-1] += _INSTALL.format(tool=tool)
    parts.append("update || status=1")
    if upgrade:
        parts.append("apt dist-upgrade || status=1" if tool == "apt" else "dnf upgrade || status=1")
    if packages:
        parts.append(f"install {quote_command(packages)} || status=1")
    text = "\n".join(parts) + "\n"
    if reboot and (upgrade or packages):
        text += _REBOOT.format(path=defs.REBOOT_REQUIRED)
    return text + "exit $status\n"
