"""The inputs of a seed, the verdict on each, and the smallest form of one that fails."""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Callable, Iterator
from random import Random

from guestagent.errors import internal

from .inputs import Input, choose, in_format, mutate, samples, smaller, structure
from .oracles import findings

_TIME = 5.0  # seconds of CPU time for an input
_MEMORY = 256 << 10  # KiB by which an input may raise the most that the process ever had
_PATIENCE = 20.0  # seconds for a smaller form


class _TooSlow(BaseException):
    """An input takes too long; nothing but the fuzzer catches this."""


def inputs(seed: int) -> Iterator[Input]:
    """Yield the inputs of a seed without end: the samples, then mutants of them."""
    random = Random(seed)
    found = samples()
    yield from found
    while True:
        yield mutate(choose(found, random), random)


def verdict(given: Input) -> list[str]:
    """Return what is wrong with what comes of an input, errors and costs too."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, _TIME)
    try:
        found = findings(given)
    except _TooSlow:
        found = [f"takes more than {_TIME} s"]
    except Exception as error:
        found = [internal(error)]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return [*found, f"takes {more >> 10} MiB"] if more > _MEMORY else found


def _stop(*_: object) -> None:
    raise _TooSlow


def minimal(given: Input, found: list[str]) -> Input:
    """Return a smaller input with the same first finding: fewer documents, and fewer bytes."""
    deadline = time.monotonic() + _PATIENCE
    kind = found[0].partition("'")[0]

    def fails(documents: dict[str, bytes]) -> bool:
        if time.monotonic() > deadline:
            return False
        return any(line.startswith(kind) for line in verdict(given._replace(documents=documents)))

    documents = dict(given.documents)
    for name in given.documents:
        others = {other: documents[other] for other in documents if other != name}
        if others and name != given.mutated and fails(others):
            documents = others
    if not given.mutated:
        return given._replace(documents=documents)
    content = documents[given.mutated]
    shorten = _shorten_value if given.sound else _shorten_bytes
    less = shorten(content, lambda shorter: fails({**documents, given.mutated: shorter}))
    return given._replace(documents={**documents, given.mutated: less})


def _shorten_value(content: bytes, fails: Callable[[bytes], bool]) -> bytes:
    """Return a document of JSON or YAML without the parts without which it still fails."""
    found = True
    while found:
        texts = (in_format(value, content) for value in smaller(structure(content)))
        shorter = next((text for text in texts if fails(text)), None)
        found = shorter is not None
        content = shorter or content
    return content


def _shorten_bytes(content: bytes, fails: Callable[[bytes], bool]) -> bytes:
    """Return a document without the bytes without which it still fails."""
    size = len(content) // 2
    while size:
        start = 0
        while start < len(content):
            shorter = content[:start] + content[start + size :]
            if fails(shorter):
                content = shorter
            else:
                start += size
        size //= 2
    return content
