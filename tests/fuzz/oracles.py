"""What must be true of everything that comes of an input, whatever it is."""

from __future__ import annotations

import ipaddress
import json
import re
import shlex
from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from network.grammar import strange
from network.produce import BACKENDS, NICS, Produced, Resolver, produce_json

from guestagent import defs
from guestagent.desired import desired, network
from guestagent.errors import FieldError, Origin, Problem, Problems, Refused, SourceBroken
from guestagent.facts import gather
from guestagent.facts.system import extend
from guestagent.memory.state import State
from guestagent.model import InstanceData
from guestagent.parse import layouts
from guestagent.parse.settings_file import parse_settings
from guestagent.plan.commands import split
from guestagent.plan.difference import Plan, diff
from guestagent.plan.wanted import Ask, Wanted
from guestagent.report import run as report
from guestagent.report.plan import plan_object, text
from guestagent.settings import Settings, load
from guestagent.sources import downloads
from guestagent.sources.bundle import Bundle
from guestagent.sources.documents import Documents, as_bundle
from guestagent.sources.handover import decode_answer
from guestagent.system.jsontext import dumps
from guestagent.system.root import Root
from guestagent.verbs.imagined_guest import SYSTEMS, ImaginedTree, imagine_facts

from . import outside
from .inputs import CANARY, EVERYTHING, Input

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\$?")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_SSH_KEY = re.compile(
    r"(?:.*[ \"])?(?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+ [A-Za-z0-9+/]+=*(?: .*)?"
)
_SSHD = re.compile(
    r"\# [^\n]+|PasswordAuthentication (?:yes|no)|HostCertificate /etc/ssh/[a-z0-9_.-]+"
    r"|PermitRootLogin (?:yes|no|prohibit-password|forced-commands-only)"
)
_RESOLV_CONF = re.compile(
    r"|\# Written by guestagent[ -~]*|(?:nameserver|sortlist)(?: [0-9a-fA-F:./%a-z]+)+"
    r"|(?:search|domain)(?: [A-Za-z0-9._-]+)+|options(?: [a-z0-9_:-]+)+"
)
_SUDO_OPTION = (
    r"(?:!?[a-z_]+|[a-z_]+ ?= ?[0-9]{1,4}"
    r'|env_keep ?[+-]?= ?(?:[A-Za-z0-9_]+|"[A-Za-z0-9_]+(?: [A-Za-z0-9_]+)*"))'
)
# A name that is not in quotes may be an alias, or ALL, which is everyone.
_SUDOERS = re.compile(
    r"\# Written by guestagent\."
    rf"|Defaults(?::[a-z0-9_%#.-]+)? {_SUDO_OPTION}(?: ?, ?{_SUDO_OPTION})*"
    r"|(?:[a-z0-9_][a-z0-9_.$-]*|\"[A-Za-z0-9_][A-Za-z0-9_.$-]*\") [ -~]*[^\\]"
)
_SETTINGS = (
    Settings(),
    Settings(password_random_to_console=True, password_for="root", ssh_keys_for=("root",)),
    Settings(sshd_password_authentication="no", sshd_permit_root_login="no", hostname_fqdn=True),
    Settings(network_policy_routing=True, files_mode=0o644, hosts_manage=False),
)
_NETWORK_DOCUMENTS = ("network_data.json", "network_config")
_STAND_IN = "/etc/guestagent/guestagent.toml"
_SYSTEMS = tuple(SYSTEMS)
_RESOLVERS: tuple[Resolver, ...] = ("resolved", "file", "resolvconf")


def findings(given: Input) -> list[str]:
    """Return what is wrong with what comes of an input: one line each, empty if all is well.

    Raises whatever a reader or a planner raises that it does not document.
    """
    with redirect_stderr(StringIO()) as log:
        found = _READERS[given.reader](given)
    # In the other documents a secret may become a name where bytes were changed, and in the form
    # of phone_home the name of a server.
    judged = (given.sound or given.reader in ("service", "post")) and given.mutated != "form"
    found += ["a secret in the log"] if CANARY in log.getvalue() and judged else []
    lines = log.getvalue().split("\n")
    found += [f"a line of the log: {line[:80]!r}" for line in lines if not line.isprintable()]
    return list(dict.fromkeys(found))


def _drive(given: Input) -> list[str]:
    return _planned(given, Bundle("drive", Documents(given.documents)), _SETTINGS)


def _planned(given: Input, bundle: Bundle, settings: tuple[Settings, ...]) -> list[str]:
    """Return what is wrong with the plan for the documents of a source."""
    problems = Problems()
    try:
        data = layouts.parse(bundle, problems)
    except SourceBroken as error:
        return _told([], str(error))
    variant = given.variant
    stack = BACKENDS[variant % 4]
    resolver = _RESOLVERS[variant // 4 % len(_RESOLVERS)]
    facts = imagine_facts(_SYSTEMS[variant // 12 % len(_SYSTEMS)], data)
    facts = facts._replace(stack=stack, nics=NICS, resolver=resolver, sshd_dropins=True)
    chosen = settings[variant // 60 % len(settings)]
    return _judged(given, Ask(data, facts, chosen, first=True), problems)


def _judged(given: Input, ask: Ask, problems: Problems, root: Root | None = None) -> list[str]:
    """Return what is wrong with the plan for an empty tree, or for ``root``."""
    wanted = Wanted()
    desired(ask, wanted)
    links = {resource.target for resource in wanted.resources if resource.kind == "link"}
    tree, facts, found = root or ImaginedTree(links), ask.facts, wanted.resources
    plan = diff(found, tree, facts, recorded={}, first=True, complete=True)
    diff(found, tree, facts, recorded=plan.record, first=False, complete=True)
    problems.add_all(wanted)
    problems.add(*plan.problems)
    wrong = _told(problems.problems)
    for resource in wanted.resources:
        wrong += _resource(resource, facts.stack)
    for change in plan.changes:
        wrong += _change(change)
    return [*wrong, *_commands(ask.data, wanted), *_shown(given, plan, problems.problems)]


def _guest(given: Input) -> list[str]:
    """Return what is wrong with the plan for a guest whose own files are the documents."""
    problems = Problems()
    data = layouts.parse(Bundle("drive", Documents(EVERYTHING)), problems)
    with TemporaryDirectory() as folder:
        for name, content in given.documents.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        root = Root(folder)
        try:
            facts = extend(gather(root), root)
            ask = Ask(data, facts, load(root, problems), first=True)
            found = _judged(given, ask, problems, root)
            root.fingerprint(root.watched, b"0")
            return found
        except (Refused, OSError) as error:
            return _told([], str(error))
        finally:
            root.close()


def _told(problems: list[Problem], *others: str) -> list[str]:
    """Return what is wrong with problems: each is one line, and there are not too many."""
    texts = [problem.text() for problem in problems] + list(others)
    wrong = [f"not one line: {told[:80]!r}" for told in texts if not told.isprintable()]
    wrong += [f"a long problem: {told[:80]!r}" for told in texts if len(told) > 2000]
    wrong += [f"an internal error: {told}" for told in texts if "internal error" in told]
    return wrong if len(problems) <= 1000 else [*wrong, f"{len(problems)} problems"]


def _path(path: str) -> list[str]:
    """Return what is wrong with a path in the guest."""
    parts = path.split("/")
    if parts[0] or not path.isprintable() or {"", ".", ".."} & set(parts[1:]):
        return [f"a path: {path[:80]!r}"]
    return []


def _resource(resource: Any, stack: Any) -> list[str]:
    """Return what is wrong with a resource: paths, and the syntax of what others read."""
    wrong = _path(resource.path) if hasattr(resource, "path") else []
    match resource.kind:
        case "file" if resource.path == defs.DHCLIENT_HOOK:
            if resource.content.decode() != network._HOOK:
                wrong.append("another hook for dhclient")
        case "file" if resource.why.document in _NETWORK_DOCUMENTS and stack:
            text = resource.content.decode()
            if resource.path != defs.WAIT_ONLINE_FILE:
                wrong += [
                    f"{stack}: {line[:80]!r}" for line in strange(stack, {resource.path: text})
                ]
        case "file" if resource.path == defs.RESOLV_CONF and resource.why.key == "resolv_conf":
            wrong += _lines(resource, _RESOLV_CONF)
        case "file" if resource.path.startswith("/etc/sudoers.d/90-guestagent"):
            wrong += _lines(resource, _SUDOERS)
        case "sshd_policy":
            wrong += _lines(resource, _SSHD)
        case "block":
            keys = resource.path.endswith("/authorized_keys")
            pattern = _SSH_KEY if keys else re.compile("[^\n]*")
            bad = [line for line in resource.lines if not pattern.fullmatch(line)]
            bad += [line for line in resource.lines if not line.replace("\t", " ").isprintable()]
            if resource.path == "/etc/fstab":
                bad += [line for line in resource.lines if len(line.split()) != 6]
            wrong += [f"{resource.path}: {line[:80]!r}" for line in bad]
        case "hosts":
            ipaddress.ip_address(resource.address)
            wrong += [f"hosts: {name!r}" for name in resource.names if not _HOST.fullmatch(name)]
        case "hostname":
            wrong += [] if _HOST.fullmatch(resource.name) else [f"host name {resource.name!r}"]
        case "user" | "group":
            wrong += [] if _NAME.fullmatch(resource.name) else [f"a name: {resource.name!r}"]
        case "script":
            plain = "/" not in resource.file_name and resource.file_name.isprintable()
            wrong += [] if plain else [f"a script's name: {resource.file_name!r}"]
    return wrong


def _lines(resource: Any, pattern: re.Pattern[str]) -> list[str]:
    """Return the lines of a file that are none of the agent's."""
    lines = resource.content.decode().removesuffix("\n").split("\n")
    return [f"{resource.path}: {line[:80]!r}" for line in lines if not pattern.fullmatch(line)]


def _change(change: Any) -> list[str]:
    """Return what is wrong with a change: paths, and what programs are given."""
    wrong = _path(change.path) if getattr(change, "path", "") else []
    wrong += _path(change.home) if getattr(change, "home", "") else []
    for command in getattr(change, "commands", ()):
        bad = [word for word in command if not word.isprintable()]
        wrong += [f"an argument of {command[0]}: {word[:80]!r}" for word in bad]
        wrong += [f"a secret in {command[0]}"] if CANARY in " ".join(command) else []
    stdin = change.stdin.reveal() if hasattr(change, "stdin") else ""
    if len(stdin.splitlines()) > 1 or "\0" in stdin:
        wrong.append("more than one line for chpasswd")
    return wrong


def _commands(data: InstanceData, wanted: Wanted) -> list[str]:
    """Return what is wrong with the scripts of commands that are lists of words."""
    wrong = []
    for key in ("runcmd", "bootcmd"):
        setting = data.setting(key)
        scripts = [item for item in wanted.resources if item.kind == "script"]
        scripts = [item for item in scripts if item.file_name.endswith(f"-{key}")]
        if setting is None or not all(isinstance(item, list) for item in setting.value):
            continue
        words = [str(word) for item in setting.value for word in item if word is not None]
        for script in scripts:
            body = "\n".join(command.text for command in split(script.content))
            if shlex.split(body) != words and "\0" not in "".join(words):
                wrong.append(f"{key}: other words than were given")
    return wrong


def _shown(given: Input, plan: Plan, problems: list[Problem]) -> list[str]:
    """Return what is wrong with what people and programs are told."""
    found = plan_object(plan, problems)
    people, programs = text(plan, problems), dumps(found)
    told = json.dumps(report.as_json(report.Report(changes=plan.changes, problems=tuple(problems))))
    wrong = []
    if json.loads(programs)["changes"] != json.loads(json.dumps(found["changes"])):
        wrong.append("the plan for programs is not read as it was written")
    if not all(line.isprintable() for line in people.split("\n")):
        wrong.append("a line of the plan cannot be printed")
    if any(CANARY in problem.reason for problem in problems):
        wrong.append("a secret in a problem")
    # Where bytes were changed, a secret may have become a name.
    if not given.sound:
        return wrong
    # A file that everyone may read is shown, whatever is in it.
    changes = [change for change in plan.changes if not getattr(change, "mode", 0) & 0o004]
    less = plan._replace(changes=tuple(changes))
    shown = (text(less, problems), dumps(plan_object(less, problems)), told, dumps(plan.record))
    return [
        *wrong,
        *(
            f"a secret in what is told ({place})"
            for place, said in enumerate(shown)
            if CANARY in said
        ),
    ]


def _network(given: Input) -> list[str]:
    """Return what is wrong with the files of each network stack."""
    (content,) = given.documents.values()
    wrong = []
    for backend in BACKENDS:
        try:
            produced = produce_json(
                content,
                backend,
                policy_routing=given.variant % 2 == 0,
                other_nics=given.variant % 3 == 0,
            )
        except FieldError:
            return []
        wrong += [f"{backend}: {line[:80]!r}" for line in strange(backend, produced.files)]
        wrong += _told(list(produced.problems))
        wrong += _netplan(produced) if backend == "netplan" else []
    return wrong


def _netplan(produced: Produced) -> list[str]:
    """Return what is wrong with netplan's files as YAML: they load to one structure."""
    for content in produced.files.values():
        value = yaml.safe_load(content)
        sections = value["network"].keys() - {"version", "ethernets", "bonds", "vlans"}
        if list(value) != ["network"] or sections:
            return ["netplan: another structure"]
    return []


def _settings(given: Input) -> list[str]:
    """Return what is wrong with settings, and with a plan by them."""
    (content,) = given.documents.values()
    problems = Problems()
    found = parse_settings(content, Origin("settings", _STAND_IN, ""), problems)
    if found.get("network_backend") == "auto":
        found["network_backend"] = ""
    documents = {"openstack/latest/meta_data.json": b'{"uuid": "i-1", "hostname": "web"}'}
    bundle = Bundle("drive", Documents(documents))
    return [*_told(problems.problems), *_planned(given, bundle, (Settings(**found),))]


def _own(given: Input) -> list[str]:
    """Return what is wrong with what comes of a file of our own, or of an answer handed over."""
    ((name, content),) = given.documents.items()
    if name == "downloaded.json":
        fetched = downloads.decode_answer(content, 2)
        wrong = _told([], *(item.error for item in fetched))
        return wrong if len(fetched) == 2 else [*wrong, f"{len(fetched)} answers"]
    if name != "answer.json":
        return outside.own(given, _removed)
    try:
        answer = decode_answer(content)
    except SourceBroken as error:
        return _told([], str(error))
    return _planned(given, as_bundle(answer), _SETTINGS)


def _removed(found: State) -> list[str]:
    """Return what is wrong with what the next run takes back of a state's record."""
    facts = imagine_facts(_SYSTEMS[0], InstanceData())
    plan = diff((), ImaginedTree(()), facts, recorded=found.record, first=False, complete=True)
    return [line for change in plan.changes for line in _change(change)]


def _service(given: Input) -> list[str]:
    """Return what is wrong with what comes of the answers of a metadata service."""
    wrong, bundle = outside.fetched(given)
    return [*wrong, *(_planned(given, bundle, _SETTINGS) if bundle else [])]


def _read_by(reader: Callable[[Input, outside.Judge], list[str]]) -> Callable[[Input], list[str]]:
    """Have what a reader outside makes of an input judged by its plan."""
    return lambda given: reader(given, lambda bundle: _planned(given, bundle, _SETTINGS))


_READERS = {
    "drive": _drive,
    "guest": _guest,
    "network": _network,
    "settings": _settings,
    "own": _own,
    "machine": _read_by(outside.machine_wrong),
    "service": _service,
    "post": outside.posted,
    "staged": outside.staged,
    "image": _read_by(outside.imaged),
    "lxd": _read_by(outside.said_over_lxd),
    "guestinfo": _read_by(outside.said_to_vmware_s_tool),
    "keyring": outside.keyring,
    "reload": outside.reloaded,
    "template": outside.template,
}
