"""The kinds of things that can be set, one module each, all pure.

A module has the resource, which says what must be true, and the change, which makes it true; the
effect of a change is in the module of the same name in ``commit/``.  A resource has

* ``why``, its origin, and ``key``, under which the state remembers it (``memory.applied``);
* ``compare(view)``, which returns the changes that it needs (``plan.view``).

A change has

* ``why``, its origin, and ``keys``: a change that fails is forgotten by them;
* ``undoes``, if it undoes something: the key by which that is remembered where the change fails;
* ``commands``, if it starts programs: what the plan shows is what runs;
* ``tell()`` in one line, ``show()`` in further lines, and ``json()`` for programs.  They hide
  secrets.

A module with keys has ``undo(key, view)``: what follows when the source no longer asks for it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from guestagent.plan.kinds.account import Group, PasswordState, RunTool, User, UserPassword
    from guestagent.plan.kinds.block import Block, Hosts
    from guestagent.plan.kinds.entropy import AddEntropy, Entropy
    from guestagent.plan.kinds.file import File, WriteFile
    from guestagent.plan.kinds.home import MakeHome
    from guestagent.plan.kinds.host_keys import HostKeys, MakeHostKeys
    from guestagent.plan.kinds.hostname import Hostname, SetHostname
    from guestagent.plan.kinds.link import Link, MakeLink
    from guestagent.plan.kinds.random_password import ConsolePassword, SetRandomPassword
    from guestagent.plan.kinds.remove import RemoveFile
    from guestagent.plan.kinds.script import Script, StageScript
    from guestagent.plan.kinds.sshd import SetSshd, SshdClosed, SshdPolicy

    Resource: TypeAlias = (
        File
        | Link
        | Block
        | Group
        | User
        | UserPassword
        | PasswordState
        | ConsolePassword
        | Hostname
        | Hosts
        | HostKeys
        | SshdPolicy
        | SshdClosed
        | Entropy
        | Script
    )
    Change: TypeAlias = (
        WriteFile
        | MakeLink
        | RemoveFile
        | StageScript
        | RunTool
        | SetRandomPassword
        | SetHostname
        | MakeHome
        | MakeHostKeys
        | SetSshd
        | AddEntropy
    )
