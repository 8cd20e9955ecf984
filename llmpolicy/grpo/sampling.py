"""Dynamic sampling: groups without a signal give way to groups of other prompts (Yu et al. 2025,
arXiv 2503.14476, section 3.2).

A group has a signal when the rewards of its judged rows lie further apart than a tolerance. What
was generated and scored is handed to TRL as it is. Each round is a generation of its own that is
cut over all processes, and what it gave is gathered on all of them: they decide alike, and take
part in the same collectives, whosever groups were without a signal.

The memory prefers prompts that are likely to give one: a prompt's group has a signal with
probability θ. Of its groups so far s had one and f had none, each counted 2^(−age / 20) with its
age in generations, since the policy moves on: θ ~ Beta(1 + s, 1 + f). Thompson (1933) draws one θ a
prompt and takes the largest; the discount is that of Raj & Kalyani 2017, arXiv 1707.09727.

What is estimated (tests/oracle): prompts drawn anew until a group has a signal keep the direction
of ∇J, for each is then taken as often as it has one, and gives as much more. From a pool that is
soon used up it is turned a little. The memory turns it, to the mean over prompts with a signal: it
takes them more often, and nothing makes up for that.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import filterfalse, islice
from math import gcd, isnan, nan
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate.utils import gather_object

from llmpolicy.episode import Episode
from llmpolicy.grpo import judging
from llmpolicy.grpo.generation import Generation, begin
from llmpolicy.recipe import SamplingBlock
from llmpolicy.run.bound import takes_rollouts
from llmpolicy.run.episodes import episode_columns
from llmpolicy.tasks import Row

if TYPE_CHECKING:
    from llmpolicy.grpo.trainer import PolicyTrainer

Group = list[Episode]
Items = list[dict[str, Any]]
"""The inputs of a generation, as TRL hands them over."""


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
    """One generation as it fills: the ``rows`` of its prompts with their groups, whether each has a
    signal, and what was dropped.

    ``seen`` are the rows of all groups that were generated, in order, with whether they had a
    signal.
    """

    rows: list[int]
    groups: list[Group]
    live: list[bool]
    seen: list[tuple[int, bool]]
    dropped: list[Group] = field(default_factory=list)
    refilled: int = 0

    @property
    def episodes(self) -> list[Episode]:
        """Everything that was generated."""
        return numbered([*self.groups, *self.dropped])

    @property
    def tokens(self) -> int:
        """Completion tokens of everything that was generated."""
        return sum(len(episode.ids) for episode in self.episodes)

    def take(self, row: int, group: Group, live: bool) -> None:
        """Put a new group in the stead of the first without a signal if it has one, and drop the
        other of the two.
        """
        self.seen.append((row, live))
        if live and False in self.live:
            dead = self.live.index(False)
            group, self.groups[dead] = self.groups[dead], group
            self.rows[dead], self.live[dead] = row, True
            self.refilled += 1
        self.dropped.append(group)


def numbered(groups: Sequence[Group]) -> list[Episode]:
    """The episodes of these groups, one group after the other, with its number."""
    episodes: list[Episode] = []
    for number, group in enumerate(groups):
        episodes += [replace(episode, group=number) for episode in group]
    return episodes


def filled(
    prompts: Sequence[int],
    spare: Iterator[int],
    generated: Callable[[Sequence[int]], list[Group]],
    has_signal: Callable[[Group], bool],
    limits: Limits,
) -> Filling:
    """Generate the prompts, then of the spare ones as many as have no signal, until all have one or
    a limit is met.
    """
    groups = generated(prompts)
    live = [has_signal(group) for group in groups]
    filling = Filling(list(prompts), list(groups), live, list(zip(prompts, live, strict=True)))
    while more := _affordable(filling, spare, limits):
        for row, group in zip(more, generated(more), strict=True):
            filling.take(row, group, has_signal(group))
    return filling


def _affordable(filling: Filling, spare: Iterator[int], limits: Limits) -> list[int]:
    """The prompts of the next round; as many as would keep the cap if every completion were of the
    greatest length.
    """
    lacking = filling.live.count(False)
    if limits.max_tokens is None or not lacking:
        return []
    most = max(limits.max_tokens - filling.tokens, 0) // (limits.size * limits.longest)
    wanted = min(-(-lacking // limits.unit), most // limits.unit) * limits.unit
    rows = list(islice(spare, wanted))
    return rows[: len(rows) // limits.unit * limits.unit]


HALF_LIFE = 20
"""Generations after which what was seen of a prompt counts half."""


class Memory:
    """For each prompt, by its key, how many of its groups had a signal and how many had none,
    discounted.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = list(keys)
        self.counts = np.zeros((len(self.keys), 2))  # (rows, with and without a signal)

    def order(self, draw: np.random.Generator) -> list[int]:
        """All rows, those first for which the drawn probability of a signal is highest."""
        theta = draw.beta(1 + self.counts[:, 0], 1 + self.counts[:, 1])  # (rows,)
        order: list[int] = np.argsort(-theta, kind="stable").tolist()
        return order

    def note(self, groups: Iterable[tuple[int, bool]]) -> None:
        """Age what is known by one generation, and add its groups: the row of each, and whether it
        had a signal.
        """
        self.counts *= 0.5 ** (1 / HALF_LIFE)
        for row, live in groups:
            self.counts[row, int(not live)] += 1

    def state(self) -> dict[str, list[float]]:
        """The counts of the prompts that were seen, as plain data."""
        state = {}
        for key, pair in zip(self.keys, self.counts.tolist(), strict=True):
            if any(pair):
                state[key] = pair
        return state

    def load(self, state: Mapping[str, Sequence[float]]) -> None:
        """Go on from a `state`; a prompt that it does not name was not seen."""
        self.counts = np.array([state.get(key, (0.0, 0.0)) for key in self.keys])


class Sampling:
    """Which prompts a generation has, and which of their groups are trained on; the memory, where
    there is one.
    """

    def __init__(self, settings: SamplingBlock, rows: Sequence[Row]) -> None:
        self.settings, self.rows = settings, len(rows)
        keys = [f"{row.task}/{row.index}" for row in rows]
        self.memory = Memory(keys) if settings.memory else None

    def fill(self, trainer: "PolicyTrainer", inputs: Items) -> Items:
        """Generate and score what this step trains on; returns the inputs of the groups that were
        taken.
        """
        rounds: list[Generation] = []
        prompts, spare = self._chosen(trainer, inputs)
        generated = partial(_generated, trainer, rounds)
        has_signal = partial(self._has_signal, trainer)
        filling = filled(prompts, spare, generated, has_signal, self._limits(trainer))
        if self.memory is not None:
            self.memory.note(filling.seen)
        _note(trainer, filling)
        _keep_dropped(trainer, numbered(filling.dropped))
        rows = _repeated(filling.rows, trainer.group_size)
        start = trainer.accelerator.process_index * len(inputs)
        mine = slice(start, start + len(inputs))
        trainer.generation = Generation(rows[mine], numbered(filling.groups)[mine])
        for generation in rounds:
            trainer.generation.seconds += generation.seconds
            trainer.generation.reward_seconds += generation.reward_seconds
        return [{**item, "row": row} for item, row in zip(inputs, rows[mine], strict=True)]

    def _chosen(self, trainer: "PolicyTrainer", inputs: Items) -> tuple[list[int], Iterator[int]]:
        """The prompts of the generation and, in the order in which they are taken, all others.

        Drawn from the run's seed, the step and the rows that are next in the data, which are the
        same after a resume.
        """
        rows = gather_object([item["row"] for item in inputs])[:: trainer.group_size]
        draw = np.random.default_rng([trainer.args.seed, trainer.state.global_step, *rows])
        if self.memory is not None:
            order = self.memory.order(draw)
            return order[: len(rows)], iter(order[len(rows) :])
        taken = set(rows)
        return rows, (row for row in draw.permutation(self.rows).tolist() if row not in taken)

    def _has_signal(self, trainer: "PolicyTrainer", group: Group) -> bool:
        """Whether rewards differ by more than the tolerance, as TRL adds them up: in 32 bits,
        without rows of no value.
        """
        terms = []
        for episode in group:
            number = partial(judging.number, episode.score)
            terms.append(list(map(number, trainer.rewards.composition.names)))
        table = torch.tensor(terms)  # (G, terms)
        weights = trainer.reward_weights.to(table.device)  # (terms,)
        judged = table[~table.isnan().all(1)]  # (g, terms)
        if trainer.multi_objective_aggregation == "sum_then_normalize":
            judged = (judged * weights).nansum(1, keepdim=True)  # (g, 1)
        else:  # each term is compared with itself
            judged = judged[:, weights != 0]
        return any(_differ(column, self.settings.tolerance) for column in judged.T.tolist())

    def _limits(self, trainer: "PolicyTrainer") -> Limits:
        size = trainer.group_size
        unit = trainer.accelerator.num_processes // gcd(trainer.accelerator.num_processes, size)
        longest = trainer.args.max_completion_length or trainer.policy.max_new_tokens
        return Limits(size, longest, self.settings.max_tokens, unit)


def _differ(values: Sequence[float], tolerance: float) -> bool:
    """Whether known values lie further apart than the tolerance, which in 32 bits is not met to the
    digit; 0 is exact.
    """
    known = list(filterfalse(isnan, values))
    if not known:
        return False
    if tolerance:
        tolerance += 2**-22 * max(map(abs, known))
    return max(known) - min(known) > tolerance


def _repeated(rows: Sequence[int], size: int) -> list[int]:
    return np.repeat(rows, size).tolist()


def _generated(
    trainer: "PolicyTrainer", rounds: list[Generation], prompts: Sequence[int]
) -> list[Group]:
    """The groups of some prompts: each process writes and scores its share of the rows, and all get
    all of them.
    """
    size, processes = trainer.group_size, trainer.accelerator.num_processes
    rows = _repeated(prompts, size)
    share = len(rows) // processes
    mine = rows[trainer.accelerator.process_index * share :][:share]
    rounds.append(begin(trainer, mine))
    if trainer.rollout_func is None:
        trainer._generate_single_turn([trainer.prompt_ids[row] for row in mine], None, {}, size)
    else:
        trainer.rollout_func([], trainer)
    judging.score(trainer)
    episodes = trainer.generation.episodes
    if processes > 1:
        episodes = gather_object(episodes)
    return [episodes[start : start + size] for start in range(0, len(episodes), size)]


def _note(trainer: "PolicyTrainer", filling: Filling) -> None:
    """Log what was generated and what became of it, and count what was dropped among the tokens
    that were seen.
    """
    scores = [episode.score.value for episode in filling.episodes]
    values = [value for value in scores if value is not None]
    figures = {
        "reward": sum(values) / len(values) if values else nan,
        "refilled": filling.refilled,
        "dead": filling.live.count(False),
        "prompts": len(filling.seen),
        "signal": sum(live for _, live in filling.seen) / len(filling.seen),
        "tokens": filling.tokens,
    }
    for name, value in figures.items():
        trainer._metrics["train"][f"sampling/{name}"].append(float(value))
    for episode in numbered(filling.dropped):
        read = len(episode.turns[0].state) + len(episode.ids)
        trainer.state.num_input_tokens_seen += read


def _keep_dropped(trainer: "PolicyTrainer", dropped: Sequence[Episode]) -> None:
    """Write the completions that nothing is learned from into the rollouts, in files of their
    own.
    """
    at = trainer.state.global_step + 1
    if trainer.run is None or not dropped or not takes_rollouts(trainer.run, at, "dropped"):
        return
    unweighed = [episode.weighed(nan) for episode in dropped]
    columns = episode_columns(unweighed, trainer.rewards.composition.kept)
    trainer.run.write_rollouts(at, columns, "dropped")
