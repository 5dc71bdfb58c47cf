"""Functions of the kernel and the C library."""

from __future__ import annotations

import os
from errno import EBADF, EINVAL

import pytest

from guestagent.system import libc

_PIDFD_OPEN = 434  # the same number on every architecture but alpha


def test_a_system_call_returns_its_result_or_raises_its_error() -> None:
    fd = libc.call(_PIDFD_OPEN, os.getpid(), 0)
    os.close(fd)
    with pytest.raises(OSError, match=os.strerror(EINVAL)) as caught:
        libc.call(_PIDFD_OPEN, -1, 0)
    assert (caught.value.errno, caught.value.filename) == (EINVAL, None)


def test_a_file_system_that_cannot_be_synced_is_an_error() -> None:
    libc.sync_tree(os.open("/", os.O_RDONLY))
    with pytest.raises(OSError, match="the root's file system") as caught:
        libc.sync_tree(-1)
    assert caught.value.errno == EBADF
