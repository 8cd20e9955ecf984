"""Dynamic sampling: groups without a signal give way to groups of other prompts (Yu et al. 2025,
arXiv 2503.14476, section 3.2).

A group has a signal when the rewards of its judged rows lie further apart than a tolerance. What
was generated and scored is handed to TRL as it is. Each round is a generation of its own that is
cut over all processes, and what it gave is gathered on all of them: they decide alike, and take
part in the same collectives, whosever groups were without a signal.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import gcd, nan
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object

from llmpolicy.grpo import judging
from llmpolicy.grpo.memory import Memory
from llmpolicy.grpo.rollouts import Generation, rollout_rows
from llmpolicy.recipe import SamplingBlock
from llmpolicy.rewards import RowScore, Sample
from llmpolicy.tasks import Row


@dataclass(frozen=True, slots=True)
class Written:
    """One completion of the prompt ``row`` and its score; ``handed`` are the log-probabilities that
    TRL is to get, if any.
    """

    row: int
    token_ids: list[int]
    log_probs: Sequence[float] | None
    handed: Sequence[float] | None
    sample: Sample
    score: RowScore


Group = list[Written]


@dataclass(frozen=True, slots=True)
class Limits:
    """Completions a group, most tokens of one, most tokens in all (None: nothing is refilled),
    groups a round at least.
    """

    size: int
    longest: int
    max_tokens: int | None
    unit: int = 1


@dataclass(slots=True)
class Filling:
    """One generation as it fills: its places with their groups, whether each has a signal, and what
    was dropped.

    ``seen`` are the rows of all groups that were generated, in order, with whether they had a
    signal.
    """

    groups: list[Group]
    live: list[bool]
    seen: list[tuple[int, bool]]
    dropped: list[Group] = field(default_factory=list)
    refilled: int = 0

    @property
    def written(self) -> list[Written]:
        """Everything that was generated."""
        return [one for group in [*self.groups, *self.dropped] for one in group]

    @property
    def tokens(self) -> int:
        """Completion tokens of everything that was generated."""
        return sum(len(one.token_ids) for one in self.written)

    def take(self, group: Group, live: bool) -> None:
        """Put a new group into the first place without a signal if it has one, and drop the other
        of the two.
        """
        self.seen.append((group[0].row, live))
        if live and False in self.live:
            place = self.live.index(False)
            group, self.groups[place] = self.groups[place], group
            self.live[place] = True
            self.refilled += 1
        self.dropped.append(group)


def filled(
    prompts: Sequence[int],
    others: Iterator[int],
    generated: Callable[[Sequence[int]], list[Group]],
    has_signal: Callable[[Group], bool],
    limits: Limits,
) -> Filling:
    """Generate the prompts, then of others as many as have no signal, until all have one or a limit
    is met.
    """
    first = generated(prompts)
    live = [has_signal(group) for group in first]
    found = Filling(list(first), live, list(zip(prompts, live, strict=True)))
    while more := _affordable(found, others, limits):
        for group in generated(more):
            found.take(group, has_signal(group))
    return found


def _affordable(found: Filling, others: Iterator[int], limits: Limits) -> list[int]:
    """The prompts of the next round; as many as would keep the cap if every completion were of the
    greatest length.
    """
    lacking = found.live.count(False)
    if limits.max_tokens is None or not lacking:
        return []
    most = max(limits.max_tokens - found.tokens, 0) // (limits.size * limits.longest)
    wanted = min(-(-lacking // limits.unit), most // limits.unit) * limits.unit
    rows = list(itertools.islice(others, wanted))
    return rows[: len(rows) // limits.unit * limits.unit]


class Sampling:
    """Which prompts a generation has, and which of their groups are trained on; the memory, where
    there is one.
    """

    def __init__(self, settings: SamplingBlock, rows: Sequence[Row]) -> None:
        self.settings, self.rows = settings, len(rows)
        self.memory = (
            Memory([f"{row.task}/{row.index}" for row in rows]) if settings.memory else None
        )

    def fill(self, trainer: Any, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Generate and score what this step trains on; returns the inputs of the groups that were
        taken.
        """
        rounds: list[Generation] = []

        def generated(prompts: Sequence[int]) -> list[Group]:
            return _generated(trainer, prompts, rounds)

        prompts, others = self._chosen(trainer, inputs)
        found = filled(
            prompts,
            others,
            generated,
            lambda group: self._has_signal(trainer, group),
            self._limits(trainer),
        )
        if self.memory is not None:
            self.memory.note(found.seen)
        _note(trainer, found)
        _keep_dropped(trainer, found.dropped)
        written = [one for group in found.groups for one in group]
        first = trainer.accelerator.process_index * len(inputs)
        trainer.generation = _joined(written[first : first + len(inputs)], rounds)
        return [
            {**item, "row": row}
            for item, row in zip(inputs, trainer.generation.row_indices, strict=True)
        ]

    def _chosen(
        self, trainer: Any, inputs: list[dict[str, Any]]
    ) -> tuple[list[int], Iterator[int]]:
        """The prompts of the generation and, in the order in which they are taken, all others.

        Drawn from the run's seed, the step and the rows that are next in the data, which are the
        same after a resume.
        """
        rows = gather_object([item["row"] for item in inputs])[:: trainer.num_generations]
        draw = np.random.default_rng([trainer.args.seed, trainer.state.global_step, *rows])
        if self.memory is not None:
            order = self.memory.order(draw)
            return order[: len(rows)], iter(order[len(rows) :])
        taken = set(rows)
        return rows, (row for row in draw.permutation(self.rows).tolist() if row not in taken)

    def _has_signal(self, trainer: Any, group: Group) -> bool:
        """Whether rewards differ by more than the tolerance, as TRL adds them up: in 32 bits,
        without rows of no value.
        """
        names = trainer.rewards.composition.names
        table = torch.tensor(
            [[judging.number(one.score, name) for name in names] for one in group]
        )  # (G, terms)
        weights = trainer.reward_weights.to(table.device)  # (terms,)
        judged = table[~table.isnan().all(1)]  # (g, terms)
        if trainer.multi_objective_aggregation == "sum_then_normalize":
            judged = (judged * weights).nansum(1, keepdim=True)  # (g, 1)
        else:  # each term is compared with itself
            judged = judged[:, weights != 0]
        return any(_differ(column, self.settings.tolerance) for column in judged.T.tolist())

    def _limits(self, trainer: Any) -> Limits:
        size = trainer.num_generations
        unit = trainer.accelerator.num_processes // gcd(trainer.accelerator.num_processes, size)
        longest = trainer.args.max_completion_length or trainer.policy.max_new_tokens
        return Limits(size, longest, self.settings.max_tokens, unit)


def _differ(values: Sequence[float], tolerance: float) -> bool:
    """Whether known values lie further apart than the tolerance, which in 32 bits is not met to the
    digit; 0 is exact.
    """
    known = [value for value in values if value == value]
    slack = 2**-22 * max(map(abs, known), default=0.0) if tolerance else 0.0
    return bool(known) and max(known) - min(known) > tolerance + slack


def _generated(trainer: Any, prompts: Sequence[int], rounds: list[Generation]) -> list[Group]:
    """The groups of some prompts: each process writes and scores its share of the rows, and all get
    all of them.
    """
    size, several = trainer.num_generations, trainer.accelerator.num_processes
    rows = [row for row in prompts for _ in range(size)]
    share = len(rows) // several
    mine = rows[trainer.accelerator.process_index * share :][:share]
    made = trainer.generation = Generation(mine, terms=trainer.rewards.composition.kept)
    rounds.append(made)
    ids, handed = trainer._generate_single_turn(
        [trainer.prompt_ids[row] for row in mine], None, {}, size
    )
    judging.score(trainer, ids)
    unknown = [None] * share
    columns = (mine, ids, made.log_probs or unknown, handed or unknown, made.samples, made.scores)
    written = [Written(*one) for one in zip(*columns, strict=True)]
    written = gather_object(written) if several > 1 else written
    return [written[start : start + size] for start in range(0, len(written), size)]


def _joined(written: Sequence[Written], rounds: Sequence[Generation]) -> Generation:
    """Completions of several rounds as one generation that was made already."""
    handed: Any = (
        None if any(one.handed is None for one in written) else [one.handed for one in written]
    )
    return Generation(
        [one.row for one in written],
        log_probs=_log_probs(written),
        samples=[one.sample for one in written],
        scores=[one.score for one in written],
        terms=rounds[0].terms,
        seconds=sum(made.seconds for made in rounds),
        reward_seconds=sum(made.reward_seconds for made in rounds),
        given=([one.token_ids for one in written], handed),
    )


def _log_probs(written: Sequence[Written]) -> list[Sequence[float]] | None:
    known = [one.log_probs for one in written if one.log_probs is not None]
    return known if len(known) == len(written) else None


def _note(trainer: Any, found: Filling) -> None:
    """Log what was generated and what became of it, and count what was dropped among the tokens
    that were seen.
    """
    values = [one.score.value for one in found.written if one.score.value is not None]
    figures = {
        "reward": sum(values) / len(values) if values else nan,
        "refilled": found.refilled,
        "dead": found.live.count(False),
        "prompts": len(found.seen),
        "signal": sum(live for _, live in found.seen) / len(found.seen),
        "tokens": found.tokens,
    }
    for name, value in figures.items():
        trainer._metrics["train"][f"sampling/{name}"].append(float(value))
    dropped = [one for group in found.dropped for one in group]
    trainer.state.num_input_tokens_seen += sum(
        len(trainer.prompt_ids[one.row]) + len(one.token_ids) for one in dropped
    )


def _keep_dropped(trainer: Any, dropped: Sequence[Group]) -> None:
    """Write the completions that nothing is learned from into the rollouts, in files of their
    own.
    """
    if trainer.run is None or not dropped:
        return
    written = [one for group in dropped for one in group]
    made = Generation(
        log_probs=_log_probs(written),
        samples=[one.sample for one in written],
        scores=[one.score for one in written],
        terms=trainer.rewards.composition.kept,
    )
    rows = rollout_rows(made, [nan] * len(written))
    numbered = [
        {**row, "group": place // trainer.num_generations} for place, row in enumerate(rows)
    ]
    trainer.run.write_rollouts(trainer.state.global_step + 1, numbered, "dropped")
