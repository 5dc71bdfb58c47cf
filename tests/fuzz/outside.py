"""What must be true of readers that ask the machine, the network and the tree for themselves."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from io import BytesIO, StringIO, TextIOWrapper
from typing import Any
from unittest.mock import patch
from urllib.parse import unquote

import lxd_server

from guestagent import defs
from guestagent.commit import file as commit_file
from guestagent.commit.host_keys import waiting_types
from guestagent.daemon import main as daemon
from guestagent.desired.packages import openpgp
from guestagent.desired.shell_quoting import quote
from guestagent.errors import FieldError, GuestagentError, Origin, Problems, Refused
from guestagent.facts import disk
from guestagent.facts.network import find_nics, find_resolver
from guestagent.live import boot, rollback
from guestagent.live.network import pack, reload_postponed
from guestagent.memory import note, state
from guestagent.options import Options
from guestagent.plan.commands import split
from guestagent.report import additions
from guestagent.scripts import phone_home
from guestagent.scripts.ledger import Ledger
from guestagent.scripts.output import ScriptLog
from guestagent.scripts.process import command_line
from guestagent.scripts.staged import Script, folder_of, list_names, open_folder, read_script
from guestagent.settings import Settings
from guestagent.sources import cloud, guestinfo, image, lxd, mount, seed
from guestagent.sources.bundle import Bundle
from guestagent.sources.directory import open_directory
from guestagent.sources.documents import as_bundle
from guestagent.sources.endpoints import list_candidates, parse_url
from guestagent.sources.handover import (
    Request,
    decode_answer,
    decode_request,
    encode_answer,
    request_as_json,
)
from guestagent.sources.path import open_path
from guestagent.sources.remote import answer_to, read_request, request_for
from guestagent.system import jinja
from guestagent.system.jsontext import dumps
from guestagent.system.machine import kernel_argument, product_uuid, why_disabled
from guestagent.system.root import Root
from guestagent.system.wait_for_nics import nics_of_last_run, wait_for_nics
from guestagent.verbs import cloud_init, post, status
from guestagent.verbs.source import describe_age
from guestagent.verbs.write_later import write_later

from .inputs import CANARY, Input
from .places import beside, machine, programs, server, tree

Judge = Callable[[Bundle], list[str]]

_WAIT = 0.2  # seconds for a metadata service
_URL = "http://metadata.example"
_DOCUMENT = re.compile(
    r"openstack/content/[0-9]+|openstack/(?:latest|[0-9-]+)/[a-z0-9_.]+|ec2/latest/[a-z0-9/-]+"
)
_ASKED = ("ec2/openstack", "ec2/PUT /latest/api/token")
_DRIVE = {"openstack/latest/meta_data.json": b'{"uuid": "i-1"}'}
_SCRIPT = Script("late", "10-instance-x", "instance", "0")
_OWN = {
    "state.json": defs.STATE_FILE,
    "ledger.json": defs.LEDGER_FILE,
    "note.json": defs.NOTE_FILE,
    "report.json": defs.REPORT_FILE,
    "rollback.json": defs.ROLLBACK_FILE,
    "staging.json": defs.STAGING_FILE,
    "hostkeys.json": defs.HOST_KEYS_FILE,
    "reload.json": defs.RELOAD_FILE,
    "request.json": defs.REQUEST_FILE,
    "password": defs.POST_FILE,
}


def _line(*texts: str) -> list[str]:
    """Return what is wrong with messages: each is one line that can be printed."""
    return [f"not one line: {text[:80]!r}" for text in texts if not text.isprintable()]


def _reason(*texts: str) -> list[str]:
    """Return what is wrong with messages about what a server sent: nothing of it is in them."""
    return [*_line(*texts), *("a secret in a message" for text in texts if CANARY in text)]


def machine_wrong(given: Input, judge: Judge) -> list[str]:
    """Return what is wrong with what is found out from the kernel, the firmware and udev.

    ``judge`` does so for what kernel or firmware say of a seed.
    """
    wrong = []
    with tree(given.documents) as top:
        with machine(top):
            for setting in ("auto", "openstack", "ec2"):
                wrong += _line(cloud.identify(setting).evidence)
            why_disabled()
            kernel_argument(defs.SOURCE_ARGUMENT)
            kind = cloud.choose("auto", "")
            request = request_for(kind, Settings(), "", state.State(configured=True))
            if decode_request(dumps(request_as_json(request)).encode()) != request:
                wrong.append("another request than was left")
            for found in (*list_candidates(ec2=True), *list_candidates(ec2=False)):
                if found.interface and parse_url(found.url_with_zone).interface != found.interface:
                    wrong.append("another link than was chosen")
            wrong += _told(lambda: mount.mounted_at(os.devnull))
            wait_for_nics(nics_of_last_run((f"{defs.NET_DIR}/eth0/address",)), 0.0)
            product_uuid()
            wrong += _seed(judge)
            daemon._has_changed(daemon.Wants())
        root = Root(str(top))
        try:
            find_nics(root)
            find_resolver(root)
            disk.room(root)
        finally:
            root.close()
    return wrong


def _seed(judge: Judge) -> list[str]:
    """Return what is wrong with what the kernel or the firmware say of a seed."""
    found, problems = seed.find_given(), Problems()
    if found is None:
        return []
    bundle = seed.open_nothing(found)
    found.add_to(bundle, problems)
    return [*judge(bundle), *_line(*(problem.text() for problem in problems.problems))]


def said_over_lxd(given: Input, judge: Judge) -> list[str]:
    """Return what is wrong with what comes of the answers at LXD's socket, by their paths."""
    answers: lxd_server.ANSWERS = {f"/{path}": text for path, text in given.documents.items()}
    with tree({}) as top, lxd_server.served(top / "lxd", answers) as (path, asked):
        with patch.multiple(defs, READ_PAUSE=0.0, READ_TIMEOUT=0.2):
            wrong = judge(lxd.open_socket(path))
        return [*wrong, *_line(*asked)]


def said_to_vmware_s_tool(given: Input, judge: Judge) -> list[str]:
    """Return what is wrong with what comes of the values that VMware's tool prints."""
    with tree(given.documents) as top:
        found = {f"info-get {name}": top / name for name in given.documents}
        tools = [["/usr/bin/vmware-rpctool"]]
        with programs(found), patch.object(guestinfo, "_find_tools", lambda: tools):
            try:
                bundle = guestinfo.open_source(Problems())
            except GuestagentError as error:
                return _reason(str(error))
    return judge(bundle) if bundle else []


def keyring(given: Input) -> list[str]:
    """Return what is wrong with the key that an id selects of what a server sent."""
    content, wanted = given.documents["keys"], given.documents["keyid"].decode("utf-8", "replace")
    try:
        identity = openpgp.key_id(wanted)
        selected = openpgp.select(content, identity)
    except FieldError as error:
        return _reason(str(error))
    # There is one key in it, that one, and nothing that is none of its.
    numbers = [number for number, _ in openpgp._packets(selected)]
    sound = openpgp.select(selected, identity) == selected
    sound = sound and numbers[0] == openpgp._PUBLIC_KEY and {*numbers} <= {*openpgp._OF_A_KEY}
    return [] if sound else ["another key than was wanted"]


def fetched(given: Input) -> tuple[list[str], Bundle | None]:
    """Return what is wrong with what is asked of a service, and what came of it."""
    variant = given.variant
    kind = cloud.Cloud("openstack", "x") if variant % 3 else cloud.Cloud("ec2", "x", tokens=True)
    request = Request(
        kind,
        urls=(_URL,),
        wait=_WAIT,
        salt="00",
        digests={"openstack/latest/meta_data.json": "0"} if variant % 5 == 0 else {},
        password=variant % 2 == 0,
        uuid="i-1",
    )
    answers = {unquote(name): content for name, content in given.documents.items()}
    with server(answers, closes=variant % 7 > 3) as service:
        answer = decode_answer(encode_answer(answer_to(request)))
        wrong = [*service.wrong, *_reason(answer.error, *answer.failed.values())]
        # What is asked for, but for the token and the list of keys, has its path for a name.
        paths = [what.removeprefix("GET /") for what in service.asked]
        paths = [path if path.startswith("openstack/") else f"ec2/{path}" for path in paths]
        paths = [path.rstrip("/") for path in paths if path not in _ASKED]
        names = (*answer.documents, *answer.failed, *paths)
        wrong += [f"a document's name: {name[:80]!r}" for name in names if not _is_known(name)]
    return wrong, None if answer.error else as_bundle(answer)


def _is_known(name: str) -> bool:
    return _DOCUMENT.fullmatch(name) is not None and not {"", ".", ".."} & set(name.split("/"))


def posted(given: Input) -> list[str]:
    """Return what is wrong with how forms and passwords are posted, whatever is answered."""
    answers = {unquote(name): content for name, content in given.documents.items()}
    form, password = answers.pop("form"), answers.pop("password")
    with (
        tree({"password": password}) as top,
        server(answers, closes=given.variant % 2 == 0) as service,
        patch.object(post, "_WAIT", _WAIT),
    ):
        wrong = _told(lambda: post.run(Options(source=str(top / "password"))))
        with patch.object(sys, "stdin", TextIOWrapper(BytesIO(form))):
            wrong += _told(phone_home.run_verb)
        return [*wrong, *service.wrong]


def own(given: Input, judge: Callable[[state.State], list[str]]) -> list[str]:
    """Return what is wrong with what comes of one of guestagent's own files, damaged.

    ``judge`` does so for what a state has the next run remove.
    """
    ((name, content),) = given.documents.items()
    files = {"etc/.guestagent.0": b"", "proc/sys/kernel/random/boot_id": b"b\n"}
    if name in _OWN:
        files[_OWN[name][1:]] = content
    with tree(files) as top, programs(), server({}, closes=True) as service:
        root = Root(str(top))
        try:
            wrong = _told(lambda: _use(name, content, root, variant=given.variant))
            wrong += judge(state.load(root))
        finally:
            root.close()
        return [*wrong, *service.wrong, *beside(top)]


def _use(name: str, content: bytes, root: Root, *, variant: int) -> list[str]:
    """Do with a file what a run does with it.  Return what is wrong.

    Raises GuestagentError, FieldError, OSError.
    """
    path = root.outside(_OWN.get(name, "/"))
    match name:
        case "state.json":
            return _state(root)
        case "ledger.json":
            ledger = Ledger(root, "i-1")
            ledger.read()
            ledger.close_interrupted("late")
            if ledger.find(_SCRIPT) is None:
                ledger.end(ledger.begin(_SCRIPT), 0, 1.0)
        case "note.json":
            note.write(root, note.read(root))
        case "report.json":
            return _report(root, as_json=variant % 2 == 0)
        case "rollback.json":
            rollback.timer_runs(root)
            return _line(*rollback.restore(root, running=False))
        case "staging.json":
            commit_file.clean(root)
            if commit_file.was_killed(root):
                return ["a list of staged files is left"]
        case "hostkeys.json":
            return [kind for kind in waiting_types(root) if kind not in ("rsa", "ecdsa")]
        case "reload.json":
            return _reason(*reload_postponed(root))
        case "request.json":
            answer_to(read_request(path)._replace(wait=_WAIT))
        case "password":
            with patch.object(post, "_WAIT", _WAIT):
                post.run(Options(source=path))
        case "later":
            write_later(root, content)
    return []


def _state(root: Root) -> list[str]:
    """Return what is wrong with what the next run makes of a state, of which nothing may come."""
    found = state.load(root)
    lost = state.explain_loss(root, found)
    with tree(_DRIVE) as top:
        bundle = Bundle("drive", open_directory(str(top)))
        try:
            if found.configured:
                state.is_same_source(found, bundle)
                state.is_unchanged(found, bundle, root)
        finally:
            bundle.close()
    nics_of_last_run(found.watched)
    describe_age(found)
    state.save(root, found)
    if lost is None and state.load(root) != found:
        return ["another state is read than was saved"]
    return _line(lost.text()) if lost else []


def _report(root: Root, *, as_json: bool) -> list[str]:
    """Return what is wrong with a report as it is shown, and with what is added to it."""
    with redirect_stdout(StringIO()) as out:
        status.run(Options(root=root.path, json=as_json))
    result = additions.ScriptResult("late", "x", 1, 1.0)
    told = cloud_init.tell(boot.look(root))
    wrong = _line(*map(str, told["errors"]), str(told["datasource"]), told["last_update"])
    additions.add_script(root, result, [Origin("scripts", "late", "x").error("failed")])
    return wrong + _line(*out.getvalue().split("\n"))


def staged(given: Input) -> list[str]:
    """Return what is wrong with scripts that wait, and with what they print.  None is run."""
    documents = dict(given.documents)
    printed = documents.pop("printed", b"")
    folder = folder_of("late")
    wrong = []
    with tree({f"{folder[1:]}/{name}": content for name, content in documents.items()}) as top:
        root = Root(str(top))
        fd = open_folder(root, "late")
        assert fd is not None
        try:
            for name in list_names(fd):
                wrong += _script(root, fd, name)
            wrong += _printed(root, printed)
        finally:
            os.close(fd)
            root.close()
    return wrong


def _script(root: Root, fd: int, name: str) -> list[str]:
    """Return what is wrong with one staged script."""
    try:
        script, content = read_script(root, fd, "late", name)
        path = root.outside(f"{folder_of('late')}/{name}")
        words = command_line(content, path)
        for command in split(content):
            quote(command.place)  # no text can spoil the lines that note how commands end
    except (Refused, OSError, ValueError) as error:
        return _line(str(getattr(error, "strerror", None) or "")) if error else []
    ledger = Ledger(root, "i-1")
    ledger.begin(script)
    again = Ledger(root, "i-1")
    again.read()
    sound = words[-1] == path and again.find(script) is not None
    return [] if sound else ["a script that is not found again"]


def _printed(root: Root, content: bytes) -> list[str]:
    """Return what is wrong with the lines that a script's output becomes in the journal."""
    out = TextIOWrapper(BytesIO())
    with patch.object(sys, "stdout", out):
        log = ScriptLog(root)
        os.write(log.fd, content)
        log.forward("x")
        log.finish("x")
    assert isinstance(out.buffer, BytesIO)
    lines = out.buffer.getvalue().decode().split("\n")
    return _line(*lines) + [
        f"a forged line: {line[:80]!r}" for line in lines[:-1] if line[:3] != "x: "
    ]


def imaged(given: Input, judge: Judge) -> list[str]:
    """Return what is wrong with what comes of an image, and of what tools list and print of it."""
    with tree(given.documents) as top:
        printed = {"-find": "listing", "mdir": "listing", "-concat": "content", "mtype": "content"}
        found = {word: top / name for word, name in printed.items()}
        with programs(found), patch.object(image, "find_program", lambda name: f"/usr/bin/{name}"):
            try:
                bundle = open_path(str(top / "volume"))
            except GuestagentError as error:
                return _line(str(error))
            return judge(bundle)


def reloaded(given: Input) -> list[str]:
    """Return what is wrong with what a running network is told after its files changed."""
    old = {name[4:]: content for name, content in given.documents.items() if name[:4] == "old/"}
    new = {name[4:]: content for name, content in given.documents.items() if name[:4] == "new/"}
    kept = [{"path": f"/{path}", "old": pack(content)} for path, content in old.items()]
    with tree({**new, defs.RELOAD_FILE[1:]: dumps(kept).encode()}) as top, programs():
        root = Root(str(top))
        try:
            return _told(lambda: _line(*reload_postponed(root)))
        finally:
            root.close()


def template(given: Input) -> list[str]:
    """Return what is wrong with what comes of an answer of the child that renders templates."""
    answer = given.documents["answer"]
    with patch.object(jinja, "ask_as_nobody", lambda *_, **__: answer):
        found = jinja.render("x", {}, prefix="")
    if found is None:
        return []
    names = [] if all(isinstance(name, str) for name in found.missing) else ["a name"]
    return [
        *_reason(found.reason),
        *names,
        *([] if len(found.reason) < 1000 else ["a long reason"]),
    ]


def _told(work: Any) -> list[str]:
    """Return what is wrong according to a call, or with the message of the error that it raises."""
    try:
        found = work()
    except (GuestagentError, FieldError) as error:
        return _reason(str(error))
    except OSError as error:
        return _line(f"{error.filename or 'system'}: {error.strerror}")
    return found if isinstance(found, list) else []
