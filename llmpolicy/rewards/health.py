"""How often a reward could not judge, the records of those calls, and the point from which on a run
must not go on.
"""

import json
import shlex
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmpolicy.errors import RewardError
from llmpolicy.rewards.contract import TRAINERS, Component
from llmpolicy.rewards.verdict import Outcome, sentence
from llmpolicy.types import Sample

WINDOW, FEWEST, FIRST = 200, 20, 8
"""Completions that a share is taken over, from how many on it counts, and a first batch that may
not fail as a whole.
"""

FAULTS, SPENT = 0.10, 0.50
"""The largest share of faults of ours, and of completions that used up their time or memory."""

KEPT = 20
"""Records of a reward that are kept; all are counted."""


class FaultBudgetError(RewardError):
    """A reward fails so often that training would go on without a signal; ``reward`` is its
    name.
    """

    def __init__(self, sentence: str, reward: str = "") -> None:
        super().__init__(sentence)
        self.reward = reward


@dataclass
class Share:
    """How often something happened of late."""

    most: float
    seen: int = 0
    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def add(self, happened: Sequence[bool]) -> str:
        """Count a batch; a text such as ``12 of the last 40`` when it was too often, else an empty
        one.
        """
        begins = not self.seen
        self.seen += len(happened)
        self.recent.extend(happened)
        if begins and len(happened) >= FIRST and all(happened):
            return f"all {len(happened)} completions of the first batch"
        times = sum(self.recent)
        if len(self.recent) >= FEWEST and times > self.most * len(self.recent):
            share = f"{times / len(self.recent):.0%}; at most {self.most:.0%} may"
            return f"{times} of the last {len(self.recent)} completions ({share})"
        return ""


class Health:
    """What became of a reward's calls so far."""

    def __init__(self, component: Component) -> None:
        self.component = component
        self.faults, self.spent = Share(FAULTS), Share(SPENT)
        self.first: dict[bool, str] = {}
        self.records: list[dict[str, Any]] = []
        self.counts: dict[str, int] = {}

    def note(self, outcome: Outcome, chosen: Mapping[str, Any], sample: Sample) -> None:
        """Keep the record of a call that was somebody's fault."""
        name = self.component.name
        assert outcome.blame is not None
        self.counts[outcome.blame] = self.counts.get(outcome.blame, 0) + 1
        self.first.setdefault(outcome.blame == "model", sentence(name, outcome.why, sample))
        if sum(self.counts.values()) <= KEPT:
            self.records.append(fault_record(self.component, outcome, chosen, sample))

    def check(self, faulty: Sequence[bool], spent: Sequence[bool]) -> None:
        """Count a batch; FaultBudgetError when too much of late was a fault of ours, or used up its
        time or memory.
        """
        name = self.component.name
        if share := self.faults.add(faulty):
            raise FaultBudgetError(
                f"Reward {name!r} failed on {share}. The first: {self.first[False]}", name
            )
        if share := self.spent.add(spent):
            raise FaultBudgetError(
                f"Reward {name!r} ran out of time or memory on {share}: make it quicker, or raise"
                f" its timeout of {self.component.timeout:g} s. The first: {self.first[True]}",
                name,
            )


def fault_record(
    component: Component, outcome: Outcome, chosen: Mapping[str, Any], sample: Sample
) -> dict[str, Any]:
    """One line of faults.jsonl: what happened, and all that is needed to make the call again."""
    spec = component.spec
    reference = spec.fn if isinstance(spec.fn, str) else None
    return {
        "step": sample.step,
        "row": sample.row,
        "reward": component.name,
        "fault": outcome.blame,
        "why": sentence(component.name, outcome.why, sample),
        "seconds": round(outcome.seconds, 3),
        "traceback": outcome.traceback,
        "completion": sample.completion,
        "call": {
            "fn": reference,
            "base_dir": str((component.base_dir or Path()).resolve()),
            "style": component.style,
            "timeout": component.timeout,
            "args": _plain(component.fixed),
            "chosen": _plain(
                {name: value for name, value in chosen.items() if name not in TRAINERS}
            ),
        },
    }


def replay_command(record: Mapping[str, Any], line: str) -> str:
    """The command that makes a recorded call again; ``line`` is FILE:LINE."""
    reference = record["call"]["fn"] or record["reward"]
    return f"llmpolicy check-reward {shlex.quote(reference)} --replay {shlex.quote(line)}"


def _plain(values: Mapping[str, Any]) -> dict[str, Any] | None:
    """Arguments as JSON holds them; None when it does not."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(values)))
    except (TypeError, ValueError):
        return None
    return plain
