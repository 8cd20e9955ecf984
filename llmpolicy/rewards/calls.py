"""One call of a reward, the same wherever it runs: the function called, what it returned judged,
what it raised told.
"""

import inspect
import os
import time
import traceback
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmpolicy.errors import RewardError
from llmpolicy.rewards.contract import Component
from llmpolicy.rewards.verdict import Outcome, as_list, as_score, told
from llmpolicy.types import Score

_TRACEBACK = 6_000
"""Most characters of a traceback that are kept, from its end."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a reward: the arguments that its row, or its list of rows, brings, and the
    numbers of those rows.
    """

    chosen: Mapping[str, Any]
    rows: Sequence[int]


def attempt(
    component: Component, call: Call, through: tuple[type[BaseException], ...] = ()
) -> Outcome | Awaitable[Outcome]:
    """Make a call; the outcome of an async reward is awaited. Nothing is raised but what
    ``through`` names.
    """
    started, process = time.perf_counter(), os.getpid()
    try:
        returned = component.call(call.chosen)
        if inspect.isawaitable(returned):
            return _awaited(component, call, returned, through)
        scores = _scores(component, call, returned)
    except through:
        raise
    except BaseException as error:  # noqa: BLE001 - SystemExit too: a reward must not end the run without a word
        return _failure(component, error, time.perf_counter() - started)
    finally:
        _end_copy(process)
    return Outcome(scores, time.perf_counter() - started)


async def _awaited(
    component: Component,
    call: Call,
    pending: Awaitable[Any],
    through: tuple[type[BaseException], ...],
) -> Outcome:
    import asyncio  # only judges need it, and the command line should start at once

    started, process = time.perf_counter(), os.getpid()
    try:
        scores = _scores(component, call, await pending)
    except asyncio.CancelledError:
        raise
    except through:
        raise
    except BaseException as error:  # noqa: BLE001 - as above
        return _failure(component, error, time.perf_counter() - started)
    finally:
        _end_copy(process)
    return Outcome(scores, time.perf_counter() - started)


def _end_copy(process: int) -> None:
    """End a child that a reward forked and that came back here: it would answer, and train, beside
    its parent.
    """
    if os.getpid() != process:
        os._exit(1)


def _scores(component: Component, call: Call, returned: Any) -> list[Score]:
    values = [returned]
    if component.style != "single":
        values = as_list(returned, component.name, call.rows)
    return [
        as_score(value, component.name, row) for value, row in zip(values, call.rows, strict=True)
    ]


def _failure(component: Component, error: BaseException, seconds: float) -> Outcome:
    if isinstance(error, RewardError):
        return Outcome(None, seconds, "refused", str(error))
    trace = "".join(traceback.format_exception(error))[-_TRACEBACK:]
    failure = Outcome(None, seconds, "error", told(error, component.function), trace)
    if isinstance(error, MemoryError):
        return replace(failure, blame="memory")
    return failure


def make_here(calls: Sequence[tuple[Component, Call]]) -> list[Outcome]:
    """Make calls in this process, in order; what is async then runs all at once, on an event loop
    of this thread.

    KeyboardInterrupt is raised; nothing else is, and nothing can stop a call that does not return.
    """
    outcomes: dict[int, Outcome] = {}
    pending: dict[int, Awaitable[Outcome]] = {}
    for index, (component, call) in enumerate(calls):
        outcome = attempt(component, call, through=(KeyboardInterrupt,))
        if isinstance(outcome, Outcome):
            outcomes[index] = outcome
        else:
            pending[index] = outcome
    if pending:
        import asyncio

        finished = asyncio.run(_together(pending.values()))
        outcomes |= dict(zip(pending, finished, strict=True))
    return [outcomes[index] for index in range(len(calls))]


async def _together(pending: Iterable[Awaitable[Outcome]]) -> list[Outcome]:
    import asyncio

    return list(await asyncio.gather(*pending))
