"""The processes that train together, on one host or several: how long they wait for each other, and
which of them is gone, in words.
"""

import os
import re
import socket
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from llmpolicy.errors import LLMPolicyError, one_line

ANSWER = 5.0
"""Seconds in which a process that still lives says so, after another one has left."""

SHARES = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")
"""What accelerate's launcher sets where processes share out the weights."""

PACKAGE = Path(__file__).parent.parent

WAITED = {
    "judging": "the rewards of a generation",
    "sampling": "the prompts of a generation",
    "update": "the gradients of an update",
    "checkpoint": "a checkpoint",
    "step": "a generation",
}
"""What processes exchange, by the file that asks for it."""


class PeerError(LLMPolicyError):
    """Another process of the run has left, or does not answer."""


def meet(settings: Mapping[str, Any]) -> None:
    """Join the processes of a run on CPUs, which then wait for each other as long as
    ``ddp_timeout`` says.

    transformers hands that number on for accelerators only; on a CPU torch's 30 minutes would hold.
    """
    if not (_has_peers() and settings.get("use_cpu")):
        return
    from accelerate import PartialState

    seconds: Any = settings.get("ddp_timeout", 1800)
    PartialState(
        cpu=True, backend=settings.get("ddp_backend"), timeout=timedelta(seconds=float(seconds))
    )


@contextmanager
def among_peers() -> Iterator[None]:
    """Raise PeerError, in one sentence, where another process is gone or silent; what ends this one
    is told to the others.
    """
    if not _has_peers():
        yield
        return
    notices = _Notices()
    notices.note("host", socket.gethostname())
    try:
        yield
    except SystemExit:
        raise
    except BaseException as error:
        if _is_lost(error):
            raise PeerError(_lost(error, notices)) from error
        notices.note("left", one_line(error)[:300] or type(error).__name__)
        raise


def _has_peers() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "MASTER_ADDR" in os.environ


def _is_lost(error: BaseException) -> bool:
    """Whether the exchange between processes failed, by gloo's word, NCCL's or the store's."""
    from torch import distributed

    known = getattr(distributed, "DistError", ())
    return isinstance(error, RuntimeError) and (isinstance(error, known) or "gloo" in str(error))


class _Notices:
    """What each process has written where all meet: the store of the launcher, at MASTER_ADDR."""

    def __init__(self) -> None:
        run = os.environ.get("TORCHELASTIC_RUN_ID", "")
        self.before = f"llmpolicy/{run}/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
        self.address, self.port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        self.rank, self.world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])

    def note(self, what: str, words: str) -> bool:
        """Write down something of this process; whether the store answered."""
        key = f"{self.before}/{what}/{self.rank}"
        return bool(self._asked(lambda store: store.set(key, words) or True))

    def read(self, what: str) -> dict[int, str] | None:
        """What each process has written, by rank; None where the store does not answer."""
        return self._asked(lambda store: dict(self._each(store, what)))

    def _each(self, store: Any, what: str) -> Iterator[tuple[int, str]]:
        for rank in range(self.world):
            key = f"{self.before}/{what}/{rank}"
            if store.check([key]):
                yield rank, store.get(key).decode(errors="replace")

    def _asked(self, question: Any) -> Any:
        """The answer to a question, None if there is none in time: a host that stands still takes
        connections and says nothing.
        """
        with suppress(OSError):
            socket.create_connection((self.address, self.port), timeout=ANSWER).close()
            return self._in_time(question)
        return None

    def _in_time(self, question: Any) -> Any:
        answers: list[Any] = []
        thread = threading.Thread(target=self._ask, args=(question, answers), daemon=True)
        thread.start()
        thread.join(2 * ANSWER)
        return answers[0] if answers else None

    def _ask(self, question: Any, answers: list[Any]) -> None:
        from torch import distributed

        soon = timedelta(seconds=ANSWER)
        with suppress(RuntimeError):
            store = distributed.TCPStore(
                self.address, self.port, is_master=False, timeout=soon, wait_for_workers=False
            )
            answers.append(question(store))


def _lost(error: BaseException, notices: _Notices) -> str:
    """Who is missing, what was waited for, and for how long, as one sentence."""
    waited = re.search(r"[Tt]imed out waiting (\d+)ms", str(error))
    why = "the connection was closed"
    if waited:
        why = f"nothing came for {int(waited[1]) / 1000:g} s (grpo.ddp_timeout)"
    here = f"rank {notices.rank} on {socket.gethostname()}"
    return f"{here} waited for {_what(error)} and {why}: {_who(notices)}"


def _what(error: BaseException) -> str:
    """What was waited for, by the last file of ours on the way to it."""
    frames = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    ours = [path.stem for path in frames if path.is_relative_to(PACKAGE)]
    named = [WAITED[stem] for stem in ours if stem in WAITED]
    return f"the others' part of {named[-1]}" if named else "the other processes"


def _who(notices: _Notices) -> str:
    """Which processes left, by what they or their silence say."""
    until, waits = time.monotonic() + ANSWER, notices.note("waits", "")
    waiting: dict[int, str] = {}
    left: dict[int, str] = {}
    while waits and not left and len(waiting) < notices.world and time.monotonic() < until:
        time.sleep(0.2)
        waiting, left = notices.read("waits") or {}, notices.read("left") or {}
    if not waiting:
        return f"the host {notices.address}, where all processes meet, does not answer"
    return _said(notices, notices.read("host") or {}, left, set(waiting))


def _said(notices: _Notices, hosts: dict[int, str], left: dict[int, str], waits: set[int]) -> str:
    if left:
        rank, words = next(iter(left.items()))
        return f"rank {rank} on {hosts.get(rank, 'its host')} ended with: {words}"
    silent = sorted(set(range(notices.world)) - waits)
    if not silent:
        return "all of them still answer, so that the network between them failed"
    named = ", ".join(f"rank {rank} on {hosts.get(rank, 'its host')}" for rank in silent)
    return f"{named} do{'es' * (len(silent) == 1)} not answer"
