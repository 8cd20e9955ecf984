"""Which mechanism this machine has: the strongest whose self-test passes, tried once a process;
else a refusal in words.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from llmpolicy.errors import SandboxFault, SandboxUnavailable
from llmpolicy.sandbox import unsafe
from llmpolicy.sandbox.confined import bubblewrap_starter, landlock_starter
from llmpolicy.sandbox.pool import Pool
from llmpolicy.sandbox.records import Probe
from llmpolicy.sandbox.selftest import why_not_closed
from llmpolicy.sandbox.slot import Start
from llmpolicy.sandbox.wasm import wasm_starter

MECHANISMS: dict[str, Callable[[], Start]] = {
    "bubblewrap": bubblewrap_starter,
    "landlock": landlock_starter,
    "wasm": wasm_starter,
}
"""In the order in which they are preferred; all cost less than a plain interpreter for each
test.
"""


@dataclass
class _Chosen:
    process: int
    pools: dict[bool, Pool]


_lock = threading.Lock()
_chosen = _Chosen(0, {})


def sandbox() -> Pool:
    """The sandbox of this process, found and tested the first time; SandboxUnavailable naming each
    probe and its remedy.

    A plain process without any protection where `unsafe.allow` was called.
    """
    allowed = unsafe.was_allowed()
    with _lock:
        if _chosen.process != os.getpid():  # after a fork the links belong to the other process
            _chosen.process, _chosen.pools = os.getpid(), {}
        if allowed not in _chosen.pools:
            _chosen.pools[allowed] = unsafe.pool() if allowed else _strongest()
        return _chosen.pools[allowed]


def _strongest() -> Pool:
    failures = []
    for name in MECHANISMS:
        tried = probe(name)
        if isinstance(tried, Pool):
            return tried
        failures.append(tried)
    reasons = "; ".join(f"{failure.name}: {failure.why}" for failure in failures)
    raise SandboxUnavailable(
        f"no sandbox for a model's code: {reasons}; or accept the risk with --unsafe-local-exec"
    )


def probe(name: str, size: int | None = None) -> Pool | Probe:
    """A pool of one mechanism if it starts and its self-test passes, else why not."""
    try:
        pool = Pool(name, MECHANISMS[name](), size)
    except SandboxUnavailable as error:
        return Probe(name, str(error))
    try:
        why = why_not_closed(pool)
    except SandboxFault as error:
        why = str(error)
    if why:
        pool.close()
        return Probe(name, f"its self-test failed: {why}")
    return pool
