"""Carries one connection of a guest, which QEMU hands over as standard input, to a port here.

usage: python relay.py PORT    of 127.0.0.1; see guestfwd= of QEMU's user network
"""

from __future__ import annotations

import select
import socket
import sys


def main(port: int) -> None:
    """Copy both ways until one side ends."""
    guest = socket.socket(fileno=0)
    service = socket.create_connection(("127.0.0.1", port))
    other = {guest: service, service: guest}
    while True:
        for ready in select.select(list(other), [], [])[0]:
            data = ready.recv(65536)
            if not data:
                return
            other[ready].sendall(data)


if __name__ == "__main__":
    main(int(sys.argv[1]))
