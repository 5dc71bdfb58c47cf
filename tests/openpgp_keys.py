"""Keys of OpenPGP as gpg makes them, for tests of the keys of apt."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import rig


class Keys:
    """A keyring of gpg in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        rig.need_tools("gpg", "gpgv", "gpg-agent", "gpgconf")
        folder.mkdir(mode=0o700)
        self.folder = folder

    def gpg(self, *words: str, given: bytes = b"") -> bytes:
        """Return what gpg prints."""
        argv = ["gpg", "--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback"]
        argv += ["--no-autostart"] if "--show-keys" in words else []
        environment = {**os.environ, "GNUPGHOME": str(self.folder)}
        done = subprocess.run([*argv, *words], input=given, capture_output=True, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def make(self, name: str, *, subkey: bool = False) -> list[str]:
        """Make a key that signs; return its fingerprint, and that of a subkey that signs."""
        self.gpg("--quick-generate-key", f"{name} <{name}@example.org>", "ed25519", "sign", "never")
        (primary,) = self.fingerprints(self.gpg("--export", f"{name}@example.org"))
        if subkey:
            self.gpg("--quick-add-key", primary, "ed25519", "sign", "never")
        return self.fingerprints(self.gpg("--export", primary))

    def fingerprints(self, keyring: bytes) -> list[str]:
        """Return the fingerprints of all keys in a file, subkeys included."""
        told = self.gpg("--show-keys", "--with-colons", given=keyring).decode()
        lines = (line.split(":") for line in told.splitlines())
        return [fields[9] for fields in lines if fields[0] == "fpr"]

    def verifies(self, keyring: bytes, signature: bytes, text: bytes) -> bool:
        """Tell whether gpgv, as apt uses it, accepts a detached signature by a keyring."""
        paths = [self.folder / name for name in ("ring.gpg", "signature", "text")]
        for path, content in zip(paths, (keyring, signature, text), strict=True):
            path.write_bytes(content)
        argv = ["gpgv", "--keyring", *map(str, paths)]
        return subprocess.run(argv, capture_output=True).returncode == 0

    def close(self) -> None:
        """End the agent of the keyring."""
        environment = {**os.environ, "GNUPGHOME": str(self.folder)}
        subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=environment, check=True)
