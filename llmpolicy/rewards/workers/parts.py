"""Calls of one reward on their way to a worker, and what its answers say of them."""

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from llmpolicy.errors import RewardError
from llmpolicy.rewards.verdict import Outcome, as_score
from llmpolicy.rewards.workers.crossing import Crossed
from llmpolicy.rewards.workers.process import WorkerLost
from llmpolicy.rewards.workers.progress import IDLE, IMPORT_SECONDS, LOADING, LOOP
from llmpolicy.rewards.workers.worker import Calls, Spent, Surroundings
from llmpolicy.types import Score

LIST_SECONDS = 60.0
"""Most seconds of a call over a list of rows, unless the timeout of one is longer."""

_GRACE_SECONDS = 1.0


@dataclass(slots=True)
class Part:
    """Calls of one reward for one worker, each with its pickled arguments and rows, and what came
    of them.
    """

    reward: Crossed
    calls: Calls
    surroundings: Surroundings
    stop: threading.Event
    outcomes: list[Outcome | None] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None

    def __post_init__(self) -> None:
        self.outcomes = [None] * len(self.calls)

    @property
    def left(self) -> list[int]:
        """The places of the calls that nothing is known of."""
        return [call for call, outcome in enumerate(self.outcomes) if outcome is None]

    @property
    def wore(self) -> bool:
        """Whether a completion used up its time or memory in the worker."""
        return any(outcome and outcome.blame == "model" for outcome in self.outcomes)

    def limit(self, index: int, rows: int, alone: bool) -> float:
        """Seconds that a worker may stay where it is."""
        if index in (IDLE, LOADING):
            return IMPORT_SECONDS
        if index == LOOP or alone:
            # The worker itself ends an async call in time, unless its loop is blocked.
            return self.reward.timeout + _GRACE_SECONDS
        if self.reward.single:
            return self.reward.timeout
        return min(self.reward.timeout * rows, max(LIST_SECONDS, self.reward.timeout))


def take(line: dict[str, Any], part: Part, left: Sequence[int]) -> bool:
    """Note what a worker told; True when it is through with its work. A worker that talks nonsense
    counts as lost.
    """
    if "refused" in line:
        raise RewardError(str(line["refused"]))
    try:
        _add(line.get("spent", ()))
        for index, scores, seconds, blame, why, traceback in line.get("told", ()):
            call = left[index]
            judged = _scores(scores, part.reward.name, part.calls[call][1])
            outcome = Outcome(judged, float(seconds), blame, why, traceback)
            if blame == "memory":
                outcome = _used_up(part.reward, outcome, "memory")
            part.outcomes[call] = outcome
            if blame == "refused":
                part.stop.set()
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise WorkerLost from error
    return "end" in line


def spent() -> list[tuple[str, str, int, int]]:
    """What all workers have asked of endpoints so far: address, model, answers and tokens."""
    return [(*key, *used) for key, used in list(_spent.items())]


def _add(spent: Spent) -> None:
    with _adding:
        for address, model, answered, tokens in spent:
            before = _spent.get((address, model), (0, 0))
            _spent[address, model] = (before[0] + int(answered), before[1] + max(0, int(tokens)))


def _scores(answers: Sequence[Any] | None, reward: str, rows: Sequence[int]) -> list[Score] | None:
    if answers is None:
        return None
    pairs = zip(answers, rows, strict=True)
    return [as_score(Score(*answer), reward, row) for answer, row in pairs]


def late_outcome(reward: Crossed, seconds: float, limit: float, busy: bool) -> Outcome:
    """What is said of a call that took more than its limit: ``busy``, mostly computing."""
    late = Outcome(None, seconds, "timeout", f"took more than {limit:g} s, waiting,")
    if busy:
        late = replace(late, why=f"took more than {limit:g} s, computing,")
        return _used_up(reward, late, "time")
    return late


def _used_up(reward: Crossed, outcome: Outcome, what: Literal["time", "memory"]) -> Outcome:
    """The model's completion is to blame, where it was the only one in the call."""
    if not reward.single:
        return replace(outcome, scores=None, blame="error" if what == "memory" else "timeout")
    why = f"used up its {what}: {outcome.why}"
    return replace(outcome, scores=[Score(reward.lowest, why=why)], blame="model", why=why)


_spent: dict[tuple[str, str], tuple[int, int]] = {}
"""Answers and tokens of each endpoint, by address and model, over all workers."""

_adding = threading.Lock()


def _forked() -> None:
    """In a fork nobody holds the lock any more."""
    global _adding
    _adding = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
