"""Asking a policy many questions: completions in large batches, the verdict on each, and the best
answer that reads none of them.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from llmpolicy.environments.dialogue import Dialogues, Partner
from llmpolicy.episode import Dialogue, Episode, Turn, turns_of
from llmpolicy.rewards import COMMON_FORMATS, Rewards, Sample
from llmpolicy.rollout import rollout
from llmpolicy.tasks import Row, prompt_text
from llmpolicy.types import Action

TOKENS_AT_ONCE = 32_768
"""Most tokens (prompts and longest possible completions, padding included) that are generated side
by side.
"""

TALKS_AT_ONCE = 64
"""Most dialogues that are held side by side, each with a process of its own."""

SCORED_AT_ONCE = 2_048
"""Most completion tokens, padding included, whose log-probabilities are computed side by side: each
holds V logits.
"""

CONSTANTS, SCORINGS = 50, 10_000
"""How many answers are tried, the most frequent first, and how many scorings that may cost."""


class LanguagePolicy(Protocol):
    """What an evaluation asks of a policy; prompts and actions are lists of token ids."""

    temperature: float
    max_new_tokens: int

    def encode(self, prompts: Sequence[Any]) -> list[list[int]]:
        """The token ids of each prompt."""
        ...

    def complete(
        self,
        prompts: Sequence[Any],
        *,
        greedy: bool = False,
        generator: torch.Generator | None = None,
        max_new_tokens: int | Sequence[int] | None = None,
    ) -> list[Turn]:
        """One completion a prompt, of so many tokens at most, or so many of each."""
        ...

    def remembering(self) -> AbstractContextManager[Any]:
        """While it lasts, what was read and written is kept for the turns that follow."""
        ...

    def log_prob(self, states: Any, actions: Any) -> tuple[Tensor, Tensor]:
        """The log-probability of each token and the mask of those that count, both (B, T)."""
        ...


def complete(
    policy: LanguagePolicy,
    rows: Sequence[Row],
    *,
    samples: int = 1,
    greedy: bool = False,
    generator: torch.Generator | None = None,
    max_new_tokens: int | None = None,
    batch_size: int | None = None,
    partner: Partner | None = None,
) -> list[Episode]:
    """An episode a sample of each row, those of a row next to each other in a group; as many at
    once as TOKENS_AT_ONCE allows.

    Prompts of like length go together. ``batch_size`` limits the number at once, whatever their
    length. With a ``partner`` an episode is a dialogue with it.
    """
    if partner is not None:
        speaker = Speaker(policy, generator)
        return dialogues(speaker, rows, samples, partner, greedy=greedy, batch_size=batch_size)
    most = max_new_tokens or policy.max_new_tokens
    prompts = policy.encode([row.prompt for row in rows])
    lengths: list[int] = []
    for prompt in prompts:
        lengths += [len(prompt) + most] * samples
    episodes: dict[int, Episode] = {}
    for batch in batches(lengths, TOKENS_AT_ONCE, batch_size):
        turns = policy.complete(
            [prompts[i // samples] for i in batch],
            greedy=greedy,
            generator=generator,
            max_new_tokens=most,
        )
        for i, turn in zip(batch, turns, strict=True):
            group = i // samples
            episodes[i] = Episode([turn], group, rows[group].index)
    return [episodes[i] for i in range(len(lengths))]


@dataclass(frozen=True)
class Speaker:
    """A policy that replies in dialogues."""

    policy: LanguagePolicy
    generator: torch.Generator | None

    def act(
        self,
        states: Sequence[Dialogue],
        *,
        greedy: bool = False,
        generator: torch.Generator | None = None,
    ) -> Action:
        """A reply in each dialogue."""
        turns = self.policy.complete(
            [list(state) for state in states],
            greedy=greedy,
            generator=generator or self.generator,
            max_new_tokens=[state.most for state in states],
        )
        return Action(None, None, None, None, turns)

    def remembering(self) -> AbstractContextManager[Any]:
        """While it lasts, what was read and written is kept for the turns that follow."""
        return self.policy.remembering()


def dialogues(
    speaker: Speaker,
    rows: Sequence[Row],
    samples: int,
    partner: Partner,
    *,
    greedy: bool = False,
    batch_size: int | None = None,
) -> list[Episode]:
    """A dialogue a sample of each row, TALKS_AT_ONCE or ``batch_size`` side by side."""
    places = [place for place in range(len(rows)) for _ in range(samples)]
    size, episodes = min(batch_size or TALKS_AT_ONCE, TALKS_AT_ONCE), list[Episode]()
    for start in range(0, len(places), size):
        groups = places[start : start + size]
        here = Dialogues(partner, [rows[place] for place in groups], groups)
        episodes += rollout(speaker, here, seed=None, greedy=greedy).episodes
    return episodes


def batches(lengths: Sequence[int], budget: int, limit: int | None = None) -> Iterator[list[int]]:
    """Split rows into batches of like length, the longest first: rows x longest <= budget, or a
    single row above it.
    """
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batch and ((len(batch) + 1) * lengths[batch[0]] > budget or len(batch) == limit):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def scored_together(episodes: Sequence[Episode]) -> Iterator[tuple[list[Any], list[Any]]]:
    """States and actions of all turns in which something was chosen, as many at once as
    SCORED_AT_ONCE allows.
    """
    turns = [turn for turn in turns_of(episodes) if len(turn.action)]
    for batch in batches([len(turn.action) for turn in turns], SCORED_AT_ONCE):
        yield [turns[i].state for i in batch], [turns[i].action for i in batch]


def judge(
    correct: Rewards,
    rows: Sequence[Row],
    episodes: Sequence[Episode],
    threshold: float,
    group_size: int = 1,
) -> list[bool | None]:
    """Whether each episode's score reaches the threshold; None where it could not be judged."""
    return verdicts(values_of(correct, rows, episodes, group_size), threshold)


def verdicts(values: Sequence[float | None], threshold: float) -> list[bool | None]:
    """Whether each value reaches the threshold; None where there is none."""
    return [None if value is None else value >= threshold for value in values]


def values_of(
    rewards: Rewards, rows: Sequence[Row], episodes: Sequence[Episode], group_size: int = 1
) -> list[float | None]:
    """What these rewards, or the truth, say of each episode; None where it could not be judged."""
    scores = rewards.score(samples_of(rows, episodes), group_size)
    judged = (each.judged(score) for each, score in zip(episodes, scores, strict=True))
    return [episode.score.value for episode in judged]


def samples_of(rows: Sequence[Row], episodes: Sequence[Episode]) -> list[Sample]:
    """Episodes as the rewards see them; the group of each is the place of its row."""
    return [rows[episode.group].sample(episode) for episode in episodes]


def best_constant(
    rows: Sequence[Row], correct: Rewards, threshold: float = 1.0
) -> tuple[float, str] | None:
    """The highest accuracy of one and the same completion on all rows, and that completion.

    Tried are the values of the column ``answer``. None if there is no such column, or if no form of
    an answer is right on its own question, so that nothing can be said.
    """
    counts = Counter(str(row.columns["answer"]) for row in rows if "answer" in row.columns)
    accuracies = []
    for answer, _ in counts.most_common(min(CONSTANTS, max(1, SCORINGS // len(rows)))):
        text = _accepted(answer, rows, correct, threshold)
        if text is not None:
            right = judge(correct, rows, said(rows, text), threshold)
            accuracies.append((known_mean(right) or 0.0, text))
    return max(accuracies, key=lambda pair: pair[0], default=None)


def _accepted(answer: str, rows: Sequence[Row], correct: Rewards, threshold: float) -> str | None:
    """The answer in the first form that is right on a row of that answer."""
    asked = next(row for row in rows if str(row.columns.get("answer")) == answer)
    for form in COMMON_FORMATS:
        text = form.replace("{}", answer)
        if judge(correct, [asked], said([asked], text), threshold)[0]:
            return text
    return None


def said(rows: Sequence[Row], text: str) -> list[Episode]:
    """The same text as the answer to every row, by no policy."""
    episodes = []
    for group, row in enumerate(rows):
        turn = Turn((), (), prompt=prompt_text(row.prompt), text=text)
        episodes.append(Episode([turn], group, row.index))
    return episodes


def known_mean(values: Iterable[float | None]) -> float | None:
    """The mean of the values that are known; None if none is."""
    numbers = known(values)
    if numbers:
        return sum(numbers) / len(numbers)
    return None


def known(values: Iterable[float | None]) -> list[float]:
    """The values that are not None."""
    return [value for value in values if value is not None]


@contextmanager
def evaluating(*policies: Any) -> Iterator[None]:
    """Put the policies' models into eval mode, and every module back into its own mode
    afterwards.
    """
    modes: dict[nn.Module, bool] = {}
    for policy in policies:
        model = getattr(policy, "model", None)
        if isinstance(model, nn.Module):
            for module in model.modules():
                modes.setdefault(module, module.training)
            model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


class WithoutAdapter:
    """A policy with its adapter switched off: the base that it started from."""

    def __init__(self, policy: Any) -> None:
        self.policy = policy
        self.temperature: float = policy.temperature
        self.max_new_tokens: int = policy.max_new_tokens

    def encode(self, prompts: Sequence[Any]) -> list[list[int]]:
        """The token ids of each prompt."""
        ids: list[list[int]] = self.policy.encode(prompts)
        return ids

    def complete(self, prompts: Sequence[Any], **how: Any) -> list[Turn]:
        """One completion a prompt, by the base."""
        with self.policy.adapter_off():
            turns: list[Turn] = self.policy.complete(prompts, **how)
        return turns

    def distribution(self, states: Sequence[Any]) -> torch.distributions.Categorical:
        """The base's distribution of the next token after each prompt."""
        with self.policy.adapter_off():
            found: torch.distributions.Categorical = self.policy.distribution(states)
        return found

    @contextmanager
    def remembering(self) -> Iterator[Any]:
        """While it lasts, what the base read and wrote is kept for the turns that follow."""
        with self.policy.adapter_off(), self.policy.remembering() as memory:
            yield memory

    def log_prob(self, states: Any, actions: Any) -> tuple[Tensor, Tensor]:
        """The base's log-probability of each token, and the mask, both (B, T)."""
        with self.policy.adapter_off():
            log_prob, mask = self.policy.log_prob(states, actions)
        return log_prob, mask
