"""Asking a reward outside a run: no number of failures stops it, and what it could not judge is
told one by one.
"""

import inspect
import pickle
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmpolicy.errors import RewardError, nearest
from llmpolicy.rewards.contract import RESERVED, Component, offered_single
from llmpolicy.rewards.scoring import Rewards
from llmpolicy.types import Sample


@dataclass(frozen=True, slots=True)
class Answered:
    """What a reward said of one sample: its value, or what went wrong.

    ``refused``: what it returned is no score, or it cannot be called like this. ``fault``: it
    raised, waited or was lost.
    """

    value: float | None
    why: str
    seconds: float
    refused: bool = False
    fault: bool = False


def answers(rewards: Rewards, samples: Sequence[Sample]) -> list[Answered]:
    """What the one reward of ``rewards`` says of each sample; where a batch is refused, of one
    after the other.
    """
    (component,) = rewards.components
    if len(samples) > 1 and component.style == "trl":
        # It is called once for all, and would fail for all.
        return _apart(rewards, samples)
    try:
        scored = rewards.score(samples, 1)
    except RewardError as error:
        if len(samples) == 1:
            return [Answered(None, str(error), 0.0, refused=True)]
        return _apart(rewards, samples)
    answered = []
    for row in scored:
        verdict = row.judged[component.name]
        part, fault = verdict.score, verdict.fault is not None
        answered.append(Answered(part.value, part.why, row.seconds, fault=fault))
    return answered


def _apart(rewards: Rewards, samples: Sequence[Sample]) -> list[Answered]:
    answered = []
    for sample in samples:
        answered += answers(rewards, [sample])
    return answered


def answer_there() -> None:
    """What another process does: read a reward and samples from stdin, write the values to
    stdout.
    """
    out = sys.stdout.buffer
    spec, base_dir, samples = pickle.loads(sys.stdin.buffer.read())
    sys.stdout = sys.stderr
    answered = answers(Rewards([spec], base_dir, stops=False), samples)
    out.write(pickle.dumps([answer.value for answer in answered]))
    out.flush()


def directly(component: Component, sample: Sample) -> float | None:
    """The value when the function itself is called; None where it has none, or raises."""
    known = {**sample.columns, **offered_single(sample)}
    wanted = known if component.takes_all else (*component.required, *component.optional)
    named = {name: known[name] for name in wanted if name in known} | dict(component.fixed)
    try:
        returned = component.function(**named)
        if inspect.isawaitable(returned):
            import asyncio

            returned = asyncio.run(_waited(returned))
    except Exception:  # noqa: BLE001 - told by the run that is compared with
        return None
    value = getattr(returned, "value", returned)
    if isinstance(value, int | float):
        return float(value)
    return None


async def _waited(pending: Any) -> Any:
    return await pending


def misfits(example: Mapping[str, Any], component: Component) -> Iterator[str]:
    """What keeps an example from being a call of the reward: a name that it does not take, or one
    that is lacking.
    """
    names = (*component.required, *component.optional, *component.fixed)
    taken = set(map(_singular, names))
    for name in example:
        if name not in taken and name not in RESERVED and not component.takes_all:
            yield f"gives {name!r}, which the reward does not take{nearest(name, taken)}"
    for name in map(_singular, component.required):
        if name not in example and (name == "completion" or name not in RESERVED):
            yield f"lacks {name!r}"


def sample_of(example: Mapping[str, Any], component: Component) -> Sample:
    """A call that an example states, as the sample that leads to it."""
    reserved: dict[str, Any] = {"completion": ""}
    columns = {}
    for key, value in example.items():
        if key in RESERVED:
            reserved[key] = value
        elif key not in component.fixed:
            columns[key] = value
    return Sample(columns=columns, **reserved)


def _singular(name: str) -> str:
    """An example is one completion, also of a reward that is called with a list of them."""
    return {"completions": "completion", "prompts": "prompt"}.get(name, name)
