"""The user's scripts: ``bootcmd``, ``runcmd`` and the scripts among the parts of user data.

They run in cloud-init's order.  Early: the boothooks in the order of the parts, then bootcmd.
Late: bootcmd, where a setting has it there; the vendor's scripts; those of the kinds per-once,
per-boot and per-instance; and last, sorted by their names, the other scripts and runcmd.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.desired import shell_quoting
from guestagent.errors import FieldError
from guestagent.plan.commands import Command, join
from guestagent.plan.kinds.file import File
from guestagent.plan.kinds.script import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Part, Setting
    from guestagent.plan.kinds.script import Frequency, Stage
    from guestagent.plan.wanted import Ask, Wanted

# Orders in a stage.
_BOOTCMD: dict[Stage, int] = {"early": 20, "late": 5}
_RUNCMD_ORDER = 50
# Programs that are of use only where the network is up, and what ends a word for the shell.
_NETWORK_PROGRAMS = frozenset(
    ("curl", "wget", "git", "apt", "apt-get", "dnf", "yum", "zypper", "pip", "pip3", "ping")
)
_ENDS_OF_WORDS = str.maketrans(dict.fromkeys("\n\t;|&(){}<>$`'\"=", " "))
_NEEDS_NETWORK = (
    "seems to need the network, but bootcmd runs before that is up, unless a metadata service was "
    "asked: for each boot give it as text/x-shellscript-per-boot, for once as runcmd, or have the "
    'image set scripts.bootcmd = "late"'
)
# What a boolean among the words becomes, as in cloud-init.
_BOOLEANS = (["True"], ["False"])
_NO_PROGRAM = "begins with a boolean, which is no program: put it in quotes; it runs, and will fail"
_BOOTHOOK_ORDER = 10
_VENDOR_ORDER = 40
_LATE_PARTS: dict[str, tuple[int, Frequency]] = {
    "per-once": (41, "once"),
    "per-boot": (42, "boot"),
    "per-instance": (43, "instance"),
    "script": (50, "instance"),
}


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan the scripts of both keys and of all parts, and files for Heat's tools.

    Plans hide what is in them.
    """
    found: dict[str, Script] = {}
    when: Stage = "late" if ask.settings.scripts_bootcmd == "late" else "early"
    keys: tuple[tuple[str, Stage, int, Frequency], ...] = (
        ("bootcmd", when, _BOOTCMD[when], "boot"),
        ("runcmd", "late", _RUNCMD_ORDER, "instance"),
    )
    for key, stage, order, frequency in keys:
        setting = ask.data.setting(key)
        if setting is None or not setting.value:
            continue
        content = _script_of_commands(setting, wanted)
        if content is None:
            continue
        script = Script("script", stage, order, frequency, key, content, setting.at(), secret=True)
        found[script.file_name] = script
        if stage == "early":
            _warn_of_network(setting, wanted)
    boothooks = 0
    for part in ask.data.scripts:
        if part.kind == "heat":
            # It holds credentials for Heat's API.
            path = f"{defs.HEAT_DIR}/{part.name}"
            wanted.want(File("file", path, part.content, mode=0o600, why=part.origin, secret=True))
            continue
        if part.kind == "include":
            continue  # desired.fetching plans it
        if part.kind == "boothook":
            boothooks += 1
        script = _script_of_part(part, boothooks)
        # A part may be called runcmd, or as another document's part with the document before it.
        while script.file_name in found:
            script = script._replace(name=f"{script.name}_")
        found[script.file_name] = script
    wanted.want(*found.values())


def _script_of_commands(setting: Setting, wanted: Wanted) -> bytes | None:
    """Return a script of the commands of a key, or None if one of them cannot be used.

    A text is a line for the shell, a list is the words of one command.
    """
    commands = []
    for index, item in enumerate(setting.value):
        origin = setting.at(index)
        try:
            if isinstance(item, str):
                text = shell_quoting.check(item)
            else:
                text = shell_quoting.quote_command(item)
                if item[:1] in _BOOLEANS:
                    wanted.error(origin, _NO_PROGRAM)
        except FieldError as error:
            # The commands after it may rely on this one.
            wanted.error(origin, f"{error}; none of the commands is run")
            return None
        line, _ = setting.marks.get((index,), (0, 0))
        commands.append(Command(text, f"{origin.document}: {origin.key}", line))
    return join(commands)


def _warn_of_network(setting: Setting, wanted: Wanted) -> None:
    """Warn of the first command that seems to need the network, as early ones run without it."""
    for index, item in enumerate(setting.value):
        text = item if isinstance(item, str) else " ".join(item)
        words = text.translate(_ENDS_OF_WORDS).split()
        if not _NETWORK_PROGRAMS.isdisjoint(word.rpartition("/")[2] for word in words):
            wanted.warn(setting.at(index), _NEEDS_NETWORK)
            return


def _script_of_part(part: Part, boothooks: int) -> Script:
    """Return the script of one part; ``boothooks`` is the number of boothooks so far."""
    name = part.name
    document = part.origin.document
    from_vendor = document.startswith("vendor")
    if from_vendor:
        # Names are unique in a document only.
        name = f"{document}-{name}"
    stage: Stage = "late"
    frequency: Frequency
    if part.kind == "boothook":
        stage, order, frequency = "early", _BOOTHOOK_ORDER, "boot"
        name = f"{boothooks:02}-{name}"
    else:
        order, frequency = _LATE_PARTS[part.kind]
        if from_vendor and part.kind == "script":
            order = _VENDOR_ORDER
    return Script(
        "script",
        stage,
        order,
        frequency,
        name=name,
        content=part.content,
        why=part.origin,
        secret=True,
    )
