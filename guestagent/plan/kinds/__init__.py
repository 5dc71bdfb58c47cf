"""The kinds of things that can be set, one module each: the resource and its change."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.plan.kinds.account import Group, PasswordState, User, UserPassword
    from guestagent.plan.kinds.block import Block
    from guestagent.plan.kinds.console_password import ConsolePassword
    from guestagent.plan.kinds.entropy import Entropy
    from guestagent.plan.kinds.file import File
    from guestagent.plan.kinds.host_keys import HostKeys
    from guestagent.plan.kinds.hostname import Hostname
    from guestagent.plan.kinds.link import Link
    from guestagent.plan.kinds.script import Script

    # What must be true of the guest when a run is over.
    Resource = (
        File
        | Link
        | Block
        | Group
        | User
        | UserPassword
        | PasswordState
        | ConsolePassword
        | Hostname
        | HostKeys
        | Entropy
        | Script
    )
