"""``power_state``: halt, power off or reboot when everything else is done."""

from __future__ import annotations

from guestagent import defs
from guestagent.desired.shell_quoting import quote, quote_command
from guestagent.errors import FieldError
from guestagent.parse import fields
from guestagent.plan.kinds.script import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.plan.wanted import Ask, Wanted

_FLAGS = {"halt": "-H", "poweroff": "-P", "reboot": "-r"}  # of shutdown(8)
# Only status 1 says that the condition is not met; any other is an error of the condition itself,
# which is no reason to switch the guest off.
_CONDITION = """\
{condition}
status=$?
case $status in
0) ;;
1) echo 'power_state: the condition is not met'; exit 0 ;;
*) echo "power_state: nothing is done: the condition's exit status is $status" >&2; exit 1 ;;
esac
"""
_DELAYED = """\
exec shutdown {flag} -- +{minutes}{message}
"""
# "now" is when the unit that runs this script has ended, so that the script's result is on disk.
_NOW = """\
if [ -d {systemd} ]; then
    exec systemd-run --quiet --no-block --collect --unit=guestagent-power-state \\
        --property=After={unit} -- shutdown {flag} -- now{escaped_message}
fi
(sleep 5; exec shutdown {flag} -- now{message}) &
"""


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan a script that calls shutdown(8), the last one of all.

    ``timeout`` is ignored: at that point there is nothing left to wait for.
    """
    setting = ask.data.setting("power_state")
    if setting is None:
        return
    condition = setting.value.get("condition", True)
    if condition is False:
        return
    script = "#!/bin/sh\n"
    if condition is not True:
        check = wanted.take(setting.at("condition"), _condition_script, condition)
        if check is None:
            return
        script += check
    text = setting.value.get("message", "")
    message = wanted.take(setting.at("message"), _one_line, text) or ""
    flag = _FLAGS[setting.value["mode"]]
    script += _shutdown_script(flag, setting.value.get("delay", 0), message)
    wanted.want(
        Script(
            "script",
            "late",
            99,
            "instance",
            name="power_state",
            content=script.encode(),
            why=setting.at(),
            # Plans hide commands that users wrote.
            secret=condition is not True,
        )
    )


def _condition_script(condition: str | list[str]) -> str:
    """Return the part that ends the script if a command fails.  Raise FieldError for no command."""
    words = ["sh", "-c", condition] if isinstance(condition, str) else condition
    if not words:
        raise FieldError("names no program")
    return _CONDITION.format(condition=quote_command(words))


def _one_line(text: str) -> str:
    """Return the text in one line, its words one space apart.  Raise FieldError as ``plain``."""
    return fields.plain(" ".join(text.split()))


def _shutdown_script(flag: str, minutes: int, message: str) -> str:
    """Return the part that calls shutdown(8), with a message to those who are logged in."""
    last_word = f" {quote(message)}" if message else ""
    if minutes:
        return _DELAYED.format(flag=flag, minutes=minutes, message=last_word)
    # systemd-run(1) replaces variables in the words of a command.
    escaped = message.replace("$", "$$")
    return _NOW.format(
        systemd=defs.SYSTEMD_DIR,
        unit=defs.LATE_UNIT,
        flag=flag,
        message=last_word,
        escaped_message=f" {quote(escaped)}" if escaped else "",
    )
