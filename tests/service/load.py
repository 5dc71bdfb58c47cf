"""500 guests boot at once from one service that is busy: what that costs the service.

Each guest is a process that fetches with the product's own code over loopback, and understands
what it got.  The service answers half of all requests with 503 for the first seconds.

usage: PYTHONPATH=tests python -m service.load [GUESTS [SECONDS]]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import requests
from rig import collected

from guestagent.parse import layouts
from guestagent.sources.documents import as_bundle

from . import documents
from .documents import FIVE
from .lab import Service, ask

_SHARE = 0.5
_PATIENCE = 120.0
_LEADS = "/latest/meta-data/"


class Result(NamedTuple):
    """What a run of many guests came to; ``peak`` is requests in the busiest second."""

    guests: int
    configured: int
    requests: int
    peak: int
    seconds: float

    @property
    def each(self) -> float:
        """Requests per guest."""
        return self.requests / self.guests


def run(place: Path, guests: int, seconds: float) -> Result:
    """Start all guests at once, and wait for the last one."""
    service = Service(place, {})
    try:
        busy = {"status": 503, "share": _SHARE, "for": seconds}
        service.say({"steps": {"*": [busy, {}]}})
        start = time.monotonic()
        children = [_guest(service) for _ in range(guests)]
        good = sum(os.waitpid(child, 0)[1] == 0 for child in children)
        took = time.monotonic() - start
        times = Counter(int(line["time"]) for line in service.log())
    finally:
        service.close()
    return Result(guests, good, sum(times.values()), max(times.values(), default=0), took)


def _guest(service: Service) -> int:
    """A guest's process; it ends with 0 if it could be configured."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        answer = ask(service, wait=_PATIENCE)
        data, problems = collected(layouts.parse, as_bundle(answer))
        whole = {f"/{name}" for name in answer.documents} == set(FIVE)
        sound = not [problem for problem in problems if problem.severity == "error"]
        if whole and sound and data.instance_id and data.network and data.ssh_keys:
            status = 0
    finally:
        os._exit(status)


def cloud_init(place: Path) -> int:
    """How many requests cloud-init makes of the same service when nothing fails.

    Counted by doing what its code does (cloudinit/sources/DataSourceOpenStack.py,
    ``wait_for_metadata_service``; cloudinit/sources/helpers/openstack.py, ``read_v2``;
    cloudinit/sources/helpers/ec2.py, ``MetadataMaterializer``): a probe of /openstack, its
    listing, five documents, and EC2's tree with one request for each folder and each leaf.
    """
    tree = {path: text for path, text in documents.ec2().items() if "/iam" not in path}
    tree[_LEADS] = tree[_LEADS].replace("iam/\n", "")  # Nova has no such folder
    service = Service(place, {"documents": {**documents.openstack(), **tree}})
    with requests.Session() as session:
        session.trust_env = False

        def get(path: str) -> str:
            return session.get(service.url + path, timeout=5).text

        def walk(folder: str) -> None:
            for line in get(folder).split():
                name, _, _ = line.partition("=")
                if line != name:
                    get(f"{folder}{name}/openssh-key")
                elif name.endswith("/"):
                    walk(folder + name)
                else:
                    get(folder + name)

        for path in ("/openstack", "/openstack", *FIVE):
            get(path)
        walk(_LEADS)
    found = len(service.log())
    service.close()
    return found


def main(guests: str = "500", seconds: str = "20") -> int:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as place:
        found = run(Path(place) / "load", int(guests), float(seconds))
        theirs = cloud_init(Path(place) / "theirs")
    print(f"{found.configured} of {found.guests} guests configured in {found.seconds:.1f} s")
    print(f"{found.requests} requests: {found.each:.1f} per guest, 5 when nothing fails")
    print(f"{found.peak} requests in the busiest second")
    print(f"cloud-init: {theirs} per guest when nothing fails, each on a connection of its own")
    return 0 if found.configured == found.guests else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
