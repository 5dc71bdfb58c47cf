"""What comes when all else is done: ``phone_home``, ``final_message`` and ``power_state``."""

from __future__ import annotations

from guestagent import defs
from guestagent.desired.hostname import names
from guestagent.desired.shell import command, quoted
from guestagent.errors import FieldError, Problem
from guestagent.parse import fields
from guestagent.plan.kinds.script import Script
from guestagent.system.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Facts, InstanceData, Setting
    from guestagent.plan.kinds import Resource
    from guestagent.plan.wanted import Ask, Wanted
    from guestagent.settings import Settings

_POSTED = ("pub_key_rsa", "pub_key_ecdsa", "pub_key_ed25519", "instance_id", "hostname", "fqdn")
_TRIES = 10


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan this module's keys."""
    resources, problems = _plan(ask.data, ask.facts, ask.settings)
    wanted.want(*resources)
    wanted.problems += problems


def _plan(
    data: InstanceData, facts: Facts, settings: Settings
) -> tuple[list[Resource], list[Problem]]:
    """One step for each key."""
    resources: list[Resource] = []
    problems: list[Problem] = []
    for key, planner in (
        ("phone_home", _phone_home),
        ("final_message", _final_message),
        ("power_state", _power_state),
    ):
        setting = data.setting(key)
        if setting is not None:
            try:
                resources += planner(setting, data, problems)
            except FieldError as error:
                problems.append(Problem("error", *setting.at(), str(error)))
    return resources, problems


def _phone_home(setting: Setting, data: InstanceData, problems: list[Problem]) -> list[Resource]:
    """The verb phone-home with its parameters on standard input."""
    try:
        url = _url(setting.value["url"])
    except FieldError as error:
        problems.append(Problem("error", *setting.at("url"), str(error)))
        return []
    post = setting.value.get("post", "all")
    short, full = names(data)
    parameters = {
        "url": url,
        "post": _POSTED if post == "all" else post,
        "tries": setting.value.get("tries", _TRIES),
        "hostname": short,
        "fqdn": full,
    }
    script = f"#!/bin/sh\nexec {defs.PROGRAM} phone-home <<'END'\n{dumps(parameters)}\nEND\n"
    hidden = "@" in url or "?" in url
    name, content = "phone_home", script.encode()
    return [Script("script", "late", 80, "instance", name, content, setting.at(), hidden)]


def _url(text: str) -> str:
    """An http or https URL with a host."""
    if len(text) > defs.PATH_LIMIT or not text.isprintable() or " " in text:
        raise FieldError("is not a URL: too long, or a space or a control character in it")
    scheme, mark, rest = text.partition("://")
    host = rest.replace("?", "/").replace("#", "/").partition("/")[0].rpartition("@")[2]
    if scheme.lower() not in ("http", "https") or not mark or host[:1] in ("", ":"):
        raise FieldError("must be an http:// or https:// URL with a host")
    return text


# What final_message may ask for, and how the step learns it.
_MESSAGE_SCRIPT = """\
#!/bin/sh
version=$({program} --version)
version=${{version##* }}
timestamp=$(date -R)
read -r uptime rest <{uptime}
datasource={source}
message={message}
printf '%s\\n' "$message"
printf '%s\\n' "$message" 2>/dev/null >{console} || :
"""
_NAMES = ("version", "timestamp", "uptime", "datasource")
_NAME_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_UNKNOWN_NAME = "has a $name other than $version, $timestamp, $uptime, $datasource: it stays"


def _final_message(setting: Setting, data: InstanceData, problems: list[Problem]) -> list[Resource]:
    """The message on the console and in the journal, at each boot."""
    try:
        text = _without_header(setting.value.strip()).strip()
    except FieldError as error:  # only a text for the log
        problems.append(Problem("warning", *setting.at(), str(error)))
        return []
    if not text:
        return []
    if not all(line.isprintable() for line in text.replace("\t", " ").split("\n")):
        raise FieldError("holds a control character or another unprintable one")
    message, unknown = _rendered(text)
    if unknown:
        problems.append(Problem("warning", *setting.at(), _UNKNOWN_NAME))
    script = _MESSAGE_SCRIPT.format(
        program=defs.PROGRAM,
        uptime=defs.UPTIME,
        source=quoted(setting.origin.source.partition(" /")[0]),  # a drive's device may change
        message=message,
        console=defs.CONSOLE_DEVICE,
    )
    return [Script("script", "late", 90, "boot", "final_message", script.encode(), setting.at())]


def _without_header(text: str) -> str:
    """The text without a first line that says it is a template of the basic kind."""
    first, _, rest = text.partition("\n")
    words = first.lower().removeprefix("##").split(":")
    if first[:2] != "##" or words[0].strip() != "template":
        return text
    if words[1:] and words[1].strip() == "basic":
        return rest
    raise FieldError("is a jinja template, which is not supported: use $version, $uptime and so on")


def _rendered(text: str) -> tuple[str, bool]:
    """The text as one word of sh(1) that holds the variables, and if it has other names.

    Names are taken as cloud-init does: ``$name`` or ``${name}``, all small or all capitals.
    """
    known = {form: name for name in _NAMES for form in (name, name.upper())}
    first, *rest = text.split("$")
    found, unknown = [quoted(first)], False
    for piece in rest:
        if piece.startswith("{") and "}" in piece:
            name, _, after = piece[1:].partition("}")
        else:
            length = next((n for n, c in enumerate(piece) if c not in _NAME_LETTERS), len(piece))
            name, after = piece[:length], piece[length:]
        if name in known:
            found.append(f'"${known[name]}"{quoted(after)}')
        else:
            unknown = unknown or bool(name)
            found.append(quoted(f"${piece}"))
    return "".join(found), unknown


_FLAGS = {"halt": "-H", "poweroff": "-P", "reboot": "-r"}
# The condition's own errors are no reason to switch off.
_CONDITION = """\
{condition}
status=$?
case $status in
0) ;;
1) echo 'power_state: the condition is not met'; exit 0 ;;
*) echo "power_state: nothing is done: the condition's exit status is $status" >&2; exit 1 ;;
esac
"""
_LATER = "exec shutdown {flag} -- +{delay}{message}\n"
# At once means when the unit has ended that runs this step, so that its result is on the disk.
_AT_ONCE = """\
if [ -d {systemd} ]; then
    exec systemd-run --quiet --no-block --collect --unit=guestagent-power-state \\
        --property=After={unit} -- shutdown {flag} -- now{escaped}
fi
(sleep 5; exec shutdown {flag} -- now{message}) &
"""


def _power_state(setting: Setting, data: InstanceData, problems: list[Problem]) -> list[Resource]:
    """shutdown(8), as the last step of all, for which ``timeout`` has no meaning."""
    condition = setting.value.get("condition", True)
    if condition is False:
        return []
    script, hidden = "#!/bin/sh\n", condition is not True
    if hidden:
        try:
            words = ["sh", "-c", condition] if isinstance(condition, str) else condition
            if not words:
                raise FieldError("names no program")
            script += _CONDITION.format(condition=command(words))
        except FieldError as error:
            problems.append(Problem("error", *setting.at("condition"), str(error)))
            return []
    try:
        text = fields.plain(" ".join(setting.value.get("message", "").split()))
    except FieldError as error:
        problems.append(Problem("error", *setting.at("message"), str(error)))
        text = ""
    # systemd-run(1) puts variables' values in the words of the command.
    message, escaped = (f" {quoted(t)}" if t else "" for t in (text, text.replace("$", "$$")))
    flag, delay = _FLAGS[setting.value["mode"]], setting.value.get("delay", 0)
    if delay:
        script += _LATER.format(flag=flag, delay=delay, message=message)
    else:
        script += _AT_ONCE.format(
            systemd=defs.SYSTEMD_DIR,
            unit=defs.LATE_UNIT,
            flag=flag,
            message=message,
            escaped=escaped,
        )
    name, content = "power_state", script.encode()
    return [Script("script", "late", 99, "instance", name, content, setting.at(), hidden)]
