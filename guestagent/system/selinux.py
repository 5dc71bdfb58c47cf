"""The labels that the guest's SELinux policy wants for files: selinux(8).

Only imported where SELinux has a policy.  A file gets its label when it is made, so that it never
has another one, and whatever renames it keeps that: setfscreatecon(3).
"""

from __future__ import annotations

import os

from guestagent import defs, log
from guestagent.system.root import Making

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ctypes import CDLL

_LIBRARY = "libselinux.so.1"
_FILE_CONTEXTS = 0  # SELABEL_CTX_FILE of selinux/label.h
_PERMISSIVE = 1  # SELINUX_AVD_FLAGS_PERMISSIVE of selinux/selinux.h: the domain may do all
_ANSWER = 4096  # bytes
_DENIED = (
    "SELinux does not let its domain {domain} read a file with the label {label}; give the file"
    " another one with semanage fcontext and restorecon: in homes it is of type ssh_home_t"
)
_NO_LABELS = (
    f"the labels that SELinux's policy wants cannot be read with {_LIBRARY}; "
    "files are made without; set them with restorecon"
)
# The library, and what it has read of the policy; neither if one of them is not there.
_opened: tuple[CDLL | None, int] | None = None


class Labelled(Making):
    """What is made in this context has the label that the policy wants for a path.

    ``kind`` is the file's type as in st_mode, inode(7).  A label that cannot be set is told, and
    what is made has the kernel's choice: without a key nobody would get in.
    """

    def __init__(self, path: str, kind: int) -> None:
        self._path = path
        self._label = find_label(path, kind)

    def __enter__(self) -> None:
        if self._label:
            self._set(self._label)

    def __exit__(self, *_: object) -> None:
        if self._label:
            self._set(b"\n")  # the kernel's own choice again

    def _set(self, label: bytes) -> None:
        try:
            fd = os.open(defs.LABEL_OF_NEW_FILES, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, label)
            finally:
                os.close(fd)
        except OSError as error:
            self._label = b""
            log.warning(
                f"{self._path}: its SELinux label cannot be set: {error.strerror}; "
                f"it is made without; set it with restorecon {self._path}"
            )


def find_label(path: str, kind: int) -> bytes:
    """Return the label that the policy wants for a path: selabel_lookup(3).

    It is empty where the policy leaves that to the kernel, and where the policy cannot be read.
    """
    from ctypes import byref, c_char_p

    if _opened is None:
        _open()
    library, policy = _opened or (None, 0)
    label = c_char_p()
    if library is None or library.selabel_lookup_raw(policy, byref(label), os.fsencode(path), kind):
        return b""
    found = label.value or b""
    library.freecon(label)
    return found


def why_denied(path: str, program: str) -> str:
    """Return why SELinux keeps a service from reading a file, and what to do; empty if it does not.

    ``program`` is the service's, which systemd starts: the policy knows in which domain that runs.
    Raises OSError.
    """
    if _read(defs.SELINUX) != "1":
        return ""
    domain = _ask("create", _read(defs.SELINUX_OF_INIT), _label_of(program), "process")
    label = _label_of(path)
    allowed, *_, flags = (int(word, 16) for word in _ask("access", domain, label, "file").split())
    wanted = 1 << int(_read(f"{defs.SELINUX_DIR}/class/file/perms/read")) - 1
    if allowed & wanted or flags & _PERMISSIVE:
        return ""
    return _DENIED.format(domain=domain, label=label)


def _label_of(path: str) -> str:
    """Return the label that a file has.  Raises OSError."""
    return os.getxattr(path, "security.selinux").rstrip(b"\0").decode()


def _ask(what: str, subject: str, object_: str, class_: str) -> str:
    """Return an answer of the kernel about the policy: selinuxfs.  Raises OSError."""
    number = _read(f"{defs.SELINUX_DIR}/class/{class_}/index")
    fd = os.open(f"{defs.SELINUX_DIR}/{what}", os.O_RDWR | os.O_CLOEXEC)
    try:
        os.write(fd, f"{subject} {object_} {number}".encode())
        return os.read(fd, _ANSWER).rstrip(b"\0").decode()
    finally:
        os.close(fd)


def _read(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _ANSWER).rstrip(b"\0\n").decode()
    finally:
        os.close(fd)


def _open() -> None:
    """Load the library, and have it read the policy's labels; warn if that is not possible."""
    global _opened
    from ctypes import CDLL, POINTER, c_char_p, c_int, c_uint, c_void_p

    _opened = None, 0
    try:
        library = CDLL(_LIBRARY)
    except OSError:
        log.warning(_NO_LABELS)
        return
    library.selabel_open.argtypes = [c_uint, c_void_p, c_uint]
    library.selabel_open.restype = c_void_p
    library.selabel_lookup_raw.argtypes = [c_void_p, POINTER(c_char_p), c_char_p, c_int]
    library.freecon.argtypes = [c_char_p]
    library.freecon.restype = None
    policy = library.selabel_open(_FILE_CONTEXTS, None, 0)
    if policy:
        _opened = library, policy
    else:
        log.warning(_NO_LABELS)
