"""`act` where a policy talks with an environment: `rollout` drives, TRL gets tokens and the mask of
those that the policy chose; and what each turn of a dialogue weighs.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from math import inf, nan
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather_object
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from llmpolicy.environments.dialogue import Dialogues, Partner
from llmpolicy.episode import Dialogue, Episode, Turn
from llmpolicy.errors import RunError
from llmpolicy.grpo.scorer import Asked
from llmpolicy.prove import Advantage, advantages_in_groups
from llmpolicy.rollout import rollout
from llmpolicy.run.faults import keep_faults
from llmpolicy.types import Action

if TYPE_CHECKING:
    from llmpolicy.grpo.trainer import PolicyTrainer

Write = Callable[[Sequence[Sequence[int]], Sequence[int]], list[Turn]]
"""From states and the most tokens of each to what is written behind them."""


@dataclass(frozen=True)
class Talk:
    """With whom a trainer's policy talks; ``by_turn`` weighs each turn by what came after it."""

    partner: Partner
    by_turn: bool = False


@dataclass(frozen=True)
class Speaker:
    """A trainer's sampler as a policy that acts; what it writes is legible."""

    trainer: "PolicyTrainer"
    write: Write

    def act(
        self,
        states: Sequence[Dialogue],
        *,
        greedy: bool = False,
        generator: torch.Generator | None = None,
    ) -> Action:
        """Reply in each of these dialogues, by the trainer's own settings."""
        turns = self.write([list(state) for state in states], [state.most for state in states])
        legible = self.trainer.policy.codec.legible
        return Action(None, None, None, None, list(map(legible, turns, states)))

    def remembering(self) -> AbstractContextManager[Any]:
        """While it lasts, what was read and written is kept for the turns that follow."""
        return self.trainer.policy.remembering()


@dataclass(frozen=True)
class Together:
    """Writes as often, and as many rows, as the other processes do: where an engine serves all of
    them, or weights are shared out, each write is one of all.
    """

    write: Write
    filler: Sequence[int]
    """A state for the rows that others have more."""

    def __call__(self, states: Sequence[Sequence[int]], most: Sequence[int]) -> list[Turn]:
        return self._round(states, most)[: len(states)]

    def finish(self) -> None:
        """Take part until no process has anything to write."""
        while self._round([], []):
            continue

    def _round(self, states: Sequence[Sequence[int]], most: Sequence[int]) -> list[Turn]:
        missing = max(gather_object([len(states)])) - len(states)
        if not states and not missing:
            return []
        return self.write([*states, *[self.filler] * missing], [*most, *[1] * missing])


def play(trainer: "PolicyTrainer", talk: Talk, write: Write) -> list[Episode]:
    """A dialogue of each row of this generation; RunError where the environment failed in all."""
    partner, together = talk.partner, None
    if trainer.accelerator.num_processes > 1 and not trainer.ways.samples_itself:
        write = together = Together(write, [trainer.policy.stop_ids[0]])
        partner = replace(partner, patience=inf)
    rows, size = trainer.generation.rows, trainer.group_size
    first = trainer.accelerator.process_index * len(rows)
    groups = [(first + number) // size for number in range(len(rows))]
    dialogues = Dialogues(partner, [trainer.rows[row] for row in rows], groups)
    start, speaker = time.perf_counter(), Speaker(trainer, write)
    played = rollout(speaker, dialogues, seed=None, version=trainer.state.global_step)
    if together is not None:
        together.finish()
    trainer.generation.seconds = time.perf_counter() - start
    episodes = played.episodes
    note_faults(trainer, dialogues)
    _note_left_behind(trainer, dialogues.left_behind)
    _refuse_failure(trainer, episodes)
    return [replace(episode, rewards=()) for episode in episodes]


def note_faults(trainer: "PolicyTrainer", dialogues: Dialogues) -> None:
    """Write down, in the run of the first process, where the environments of all have failed."""
    faults = dialogues.faults()
    if trainer.accelerator.num_processes > 1:
        faults = gather_object(faults)
    if trainer.run is not None:
        keep_faults(trainer.run, faults, trainer.again)


def _note_left_behind(trainer: "PolicyTrainer", count: int) -> None:
    """Log how often dialogues of all processes went on without another: never, and what is drawn
    follows from the seed alone.
    """
    counts = [count]
    if trainer.accelerator.num_processes > 1:
        counts = gather_object(counts)
    mode = "train" if trainer.model.training else "eval"
    trainer._metrics[mode]["dialogues/left_behind"].append(float(sum(counts)))


def _refuse_failure(trainer: "PolicyTrainer", episodes: Sequence[Episode]) -> None:
    """Raise RunError on every process where no episode of any could be played."""
    failures = [episode.final.why if episode.final.failed else None for episode in episodes]
    if trainer.accelerator.num_processes > 1:
        failures = gather_object(failures)
    if all(why is not None for why in failures):
        raise RunError(f"the environment failed in all {len(failures)} dialogues: {failures[0]}")


def handed(trainer: "PolicyTrainer") -> dict[str, Any]:
    """The episodes of this generation as TRL takes them from a rollout function: a token that the
    environment said is not trained on, nor is one in the place of an episode that never began.
    """
    nothing = [trainer.policy.stop_ids[0]]
    prompts, completions, masks = [], [], []
    for episode in trainer.generation.episodes:
        ids, _ = episode.tokens()
        prompts.append(list(episode.turns[0].state) or nothing)
        completions.append(ids or nothing)
        masks.append([int(own) for own in _counted(episode)] or [0])
    return {
        "prompt_ids": prompts,
        "completion_ids": completions,
        "logprobs": None,
        "env_mask": masks,
    }


def _counted(episode: Episode) -> list[bool]:
    """Of each token behind an episode's first state, whether it is learnt from."""
    _, chosen = episode.tokens()
    return [False] * len(chosen) if episode.final.failed else chosen


def learnt_from(episodes: Sequence[Episode], asked: Asked) -> Tensor:
    """Where a token stands that is learnt from, (B, T), when all of these rows are scored."""
    table = torch.zeros(len(episodes), asked.keep, dtype=torch.bool)
    for row, episode in enumerate(episodes):
        counted = _counted(episode)
        table[row, : len(counted)] = torch.tensor(counted, dtype=torch.bool)
    return table.to(asked.input_ids.device)


def by_mean(deviation: bool) -> Advantage:
    """TRL's advantage of a group: the score less the mean, divided by the ``deviation`` or not;
    exactly 0 where all scores are equal, whose mean may be off by a rounding error. What either
    estimates: `group_advantages`.
    """

    def advantage(scores: Tensor) -> Tensor:
        if (scores == scores[0]).all():
            return torch.zeros_like(scores)
        away = scores - scores.mean()
        return away / (scores.std() + 1e-4) if deviation else away

    return advantage


def weights_of_turns(
    rewards: Sequence[Sequence[float]], advantage: Advantage, size: int
) -> list[list[float]]:
    """What each turn of each episode weighs, in groups of ``size``: what was earned from it on,
    compared with what the others of its group earned from their turn of that number on (Zeng et al.
    2025, arXiv 2505.11821, section 4: an advantage a turn).

    With the mean as ``advantage`` it estimates each turn's part of ∇J shortened by the share that a
    turn has in its own mean: 1 − 1/G of first turns, and in expectation 1 − (1 − (1 − q)^G) / (G q)
    of one that a share q of dialogues reach, so late turns count less; whoever came so far alone
    weighs 0. Division by the spread multiplies each turn by a factor of its own (tests/oracle).
    """
    returns = [torch.tensor(row, dtype=torch.float64).flip(0).cumsum(0).flip(0) for row in rewards]
    table = pad_sequence(returns, batch_first=True, padding_value=nan)  # (B, L)
    columns = [advantages_in_groups(advantage, column, size) for column in table.T]
    weights: list[list[float]] = torch.stack(columns, dim=1).tolist()  # (B, L)
    return [row[: len(earned)] for row, earned in zip(weights, rewards, strict=True)]


def over_tokens(episodes: Sequence[Episode], width: int) -> Tensor:
    """The weight of each token's turn, (B, T); 0 where the environment speaks."""
    table = torch.zeros(len(episodes), width)
    for row, episode in enumerate(episodes):
        _, chosen = episode.tokens()
        counts = torch.tensor([len(turn.action) for turn in episode.turns])
        values = torch.tensor(episode.weights).repeat_interleave(counts)
        table[row, : len(chosen)][torch.tensor(chosen, dtype=torch.bool)] = values.float()
    return table


def weigh_turns(trainer: "PolicyTrainer", width: int) -> Tensor:
    """Weigh the turns of this process's episodes; the weights of their tokens, (B, T)."""
    current, size = trainer.generation, trainer.group_size
    rewards = [list(episode.rewards) for episode in current.episodes]
    if trainer.accelerator.num_processes > 1:
        rewards = gather_object(rewards)
    advantage = trainer.advantage or by_mean(trainer.scale_rewards != "none")
    weights = weights_of_turns(rewards, advantage, size)
    start = trainer.accelerator.process_index * len(current.episodes)
    mine = zip(current.episodes, weights[start:], strict=False)
    current.episodes = [replace(episode, weights=row) for episode, row in mine]
    return over_tokens(current.episodes, width)
