"""The measurement: a policy and its base answer the same held-out questions, and the figures are
put side by side.

A completion is right when ``correct`` gives it at least ``threshold``. One that cannot be judged
(None) is neither right nor wrong: it leaves every share, and is counted.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch

from llmpolicy.environments.dialogue import Partner
from llmpolicy.episode import Episode
from llmpolicy.errors import RewardError, TaskError
from llmpolicy.evaluation.answers import (
    LanguagePolicy,
    WithoutAdapter,
    best_constant,
    complete,
    evaluating,
    judge,
    known,
    known_mean,
    samples_of,
    scored_together,
)
from llmpolicy.evaluation.record import Evaluation, Example, Question, Talk
from llmpolicy.objectives import k3
from llmpolicy.rewards import Rewards
from llmpolicy.statistics import Interval, mean_interval, paired_interval, pass_at_k, wilson
from llmpolicy.tasks import Row, prompt_text

EXAMPLES = 3

GREEDY, RATE = attrgetter("greedy"), attrgetter("rate")
"""The figures of a question."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is asked and how it is judged, the same for a policy and its base."""

    rows: Sequence[Row]
    correct: Rewards
    threshold: float
    samples: int
    rewards: Rewards | None
    batch_size: int | None
    seed: int
    max_new_tokens: int | None
    recipe_hash: str
    constant: tuple[float, str] | None
    partner: Partner | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """What one policy answered: one greedy episode a row, ``samples`` sampled ones a row side by
    side.
    """

    greedy: Sequence[Episode]
    sampled: Sequence[Episode]
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Drift:
    """KL(π ‖ base) in nats: a token's mean, and a completion's; None without a base."""

    per_token: float | None
    per_completion: float | None


NO_DRIFT = Drift(None, None)


def evaluate(
    policy: LanguagePolicy,
    rows: Sequence[Row],
    correct: Rewards,
    *,
    threshold: float = 1.0,
    n: int | None = None,
    samples: int = 8,
    rewards: Rewards | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    base: LanguagePolicy | None = None,
    recipe_hash: str = "",
    max_new_tokens: int | None = None,
    partner: Partner | None = None,
) -> Evaluation:
    """Measure a policy on the first n held-out rows, and its base on the same ones.

    Without ``base``, an adapter is compared with its model without it, and full weights stand
    alone. The samples are drawn from ``seed`` and touch no global random state; models are left in
    the mode they were in. ``batch_size`` limits the completions generated at once; long prompts
    limit it further. Raises TaskError without rows or samples, RewardError when ``correct`` judges
    nothing.
    """
    rows = rows[:n]
    if not rows or samples < 1:
        raise TaskError(
            f"evaluation of {len(rows)} rows with {samples} samples a row; expected at least 1 of"
            " both"
        )
    constant = None if partner else best_constant(rows, correct, threshold)
    setting = Setting(
        rows,
        correct,
        threshold,
        samples,
        rewards,
        batch_size,
        seed,
        max_new_tokens,
        recipe_hash,
        constant,
        partner,
    )
    if base is None and getattr(policy, "is_adapter", False):
        base = WithoutAdapter(policy)
    with evaluating(policy, base), torch.no_grad():
        after = ask(policy, setting)
        if base is None:
            return figures(policy, after, setting)
        before = figures(base, ask(base, setting), setting, drift=Drift(0.0, 0.0))
        moved = drift(policy, base, after.sampled[::samples])
        return figures(policy, after, setting, drift=moved, base=before)


def greedy_accuracy(
    policy: LanguagePolicy,
    rows: Sequence[Row],
    correct: Rewards,
    *,
    threshold: float = 1.0,
    **how: Any,
) -> float:
    """The share of right greedy completions among the judged ones (0.0 if none is)."""
    episodes = greedy_answers(policy, rows, **how)
    return known_mean(judge(correct, rows, episodes, threshold)) or 0.0


def greedy_answers(
    policy: LanguagePolicy,
    rows: Sequence[Row],
    *,
    batch_size: int | None = None,
    max_new_tokens: int | None = None,
    partner: Partner | None = None,
) -> list[Episode]:
    """The greedy answer to each row, for a look during training; no random state is touched."""
    limits: dict[str, Any] = {"batch_size": batch_size, "max_new_tokens": max_new_tokens}
    with evaluating(policy), torch.no_grad():
        return complete(policy, rows, greedy=True, partner=partner, **limits)


def ask(policy: LanguagePolicy, setting: Setting) -> Answers:
    """Let a policy answer every question, greedily and by sampling, and judge the answers."""
    limits: dict[str, Any] = {
        "batch_size": setting.batch_size,
        "max_new_tokens": setting.max_new_tokens,
        "partner": setting.partner,
    }
    rows, size, draw = setting.rows, setting.samples, torch.Generator().manual_seed(setting.seed)
    greedy = complete(policy, rows, greedy=True, **limits)
    sampled = complete(policy, rows, samples=size, generator=draw, **limits)
    best = judge(setting.correct, rows, greedy, setting.threshold)
    right = judge(setting.correct, rows, sampled, setting.threshold, size)
    questions = []
    for i, verdict in enumerate(best):
        group = right[i * size : (i + 1) * size]
        asked, said = _asked(rows[i], greedy[i]), _said(greedy[i])
        counts = group.count(True), size - group.count(None)
        questions.append(Question(verdict, *counts, asked, said, rows[i].index))
    _refuse_unjudged(questions, setting.correct, [*greedy, *sampled])
    return Answers(greedy, sampled, tuple(questions))


def _refuse_unjudged(
    questions: Sequence[Question], correct: Rewards, episodes: Sequence[Episode]
) -> None:
    greedy = any(question.greedy is not None for question in questions)
    if greedy and any(question.judged for question in questions):
        return
    how = f": {correct.first_fault}" if correct.first_fault else _ends(episodes)
    raise RewardError(
        f"evaluate.correct ({', '.join(correct.names)}) judged none of the answers to"
        f" {len(questions)} questions{how}; expected a number for whatever can be judged, 0.0"
        " for a wrong answer"
    )


def _ends(episodes: Sequence[Episode]) -> str:
    """A clause that says how most dialogues ended; empty where there was none."""
    ends: Counter[str] = Counter()
    for episode in episodes:
        if (dialogue := episode.dialogue) is not None:
            ends[dialogue.ended + (f" ({dialogue.why})" if dialogue.why else "")] += 1
    for end, count in ends.most_common(1):
        return (
            f" ({count} of {len(episodes)} dialogues ended {end}; get_reward says what one earned"
            " that nobody has ended)"
        )
    return ""


def figures(
    policy: LanguagePolicy,
    answers: Answers,
    setting: Setting,
    *,
    drift: Drift = NO_DRIFT,
    base: Evaluation | None = None,
) -> Evaluation:
    """What the answers of a policy come to."""
    questions = answers.questions
    greedy = list(map(GREEDY, questions))
    judged = sum(question.judged for question in questions)
    reward, parts = _rewards(answers.sampled, setting)
    constant, answer = setting.constant or (None, None)
    return Evaluation(
        n=len(questions),
        seed=setting.seed,
        recipe_hash=setting.recipe_hash,
        decoding={
            "accuracy": "greedy",
            "samples": setting.samples,
            "temperature": policy.temperature,
            "max_new_tokens": setting.max_new_tokens or policy.max_new_tokens,
        },
        accuracy=wilson(greedy.count(True), len(greedy) - greedy.count(None)),
        pass_at_k={str(k): _pass_at(k, questions) for k in ks(setting.samples)},
        truncated=known_mean(episode.truncated for episode in answers.greedy) or 0.0,
        mean_length=known_mean(map(_length, answers.greedy)) or 0.0,
        kl_to_base=drift.per_token,
        best_constant=constant,
        base=base,
        paired_difference=_paired(base, questions, GREEDY),
        sampled_accuracy=mean_interval(known(map(RATE, questions))),
        paired_difference_sampled=_paired(base, questions, RATE),
        kl_to_base_per_completion=drift.per_completion,
        best_constant_answer=answer,
        mean_reward=reward,
        parts=parts,
        unjudged={"greedy": greedy.count(None), "sampled": len(answers.sampled) - judged},
        examples=_examples(questions),
        questions=questions,
        talk=talk_of(answers.greedy),
    )


def _length(episode: Episode) -> int:
    """The tokens that were chosen in an episode."""
    return sum(len(turn.action) for turn in episode.turns)


def talk_of(episodes: Sequence[Episode]) -> Talk | None:
    """What dialogues had on average, and how they ended; None of single answers."""
    dialogues = [episode.dialogue for episode in episodes if episode.dialogue is not None]
    if not dialogues:
        return None
    count = len(dialogues)
    ends = Counter(dialogue.ended for dialogue in dialogues)
    return Talk(
        turns=sum(dialogue.turns for dialogue in dialogues) / count,
        tool_calls=sum(len(dialogue.tool_calls) for dialogue in dialogues) / count,
        ended={reason: ends[reason] / count for reason in sorted(ends)},
    )


def drift(policy: LanguagePolicy, base: LanguagePolicy, episodes: Sequence[Episode]) -> Drift:
    """How far a policy has moved from its base: the k3 estimate of KL(π ‖ base) over episodes that
    π sampled.
    """
    total, tokens = 0.0, 0
    for states, actions in scored_together(episodes):
        log_prob, mask = policy.log_prob(states, actions)  # (B, T)
        base_log_prob, _ = base.log_prob(states, actions)  # (B, T)
        # Apple's devices have no double.
        kl = k3(log_prob.cpu().double(), base_log_prob.cpu().double())  # (B, T)
        total += torch.where(mask.bool().cpu(), kl, 0.0).sum().item()
        tokens += int(mask.sum())
    return Drift(total / tokens, total / len(episodes))


def _rewards(
    sampled: Sequence[Episode], setting: Setting
) -> tuple[float | None, dict[str, float | None]]:
    """The mean reward of the sampled episodes, and that of each part; what could not be judged is
    left out.
    """
    if setting.rewards is None:
        return None, {}
    scores = setting.rewards.score(samples_of(setting.rows, sampled), setting.samples)
    parts = {}
    for name in setting.rewards.names:
        parts[name] = known_mean(score.parts[name].value for score in scores)
    return known_mean(score.value for score in scores), parts


def ks(samples: int) -> list[int]:
    """The k of pass@k that so many samples a question allow: 1, 2, 4, 8 ... and all of them."""
    return sorted({*(2**power for power in range(samples.bit_length())), samples})


def _pass_at(k: int, questions: Sequence[Question]) -> float | None:
    """The mean pass@k of the questions that have k judged samples; None if none has."""
    enough = [question for question in questions if question.judged >= k]
    return known_mean(pass_at_k(question.judged, question.right, k) for question in enough)


def _paired(
    base: Evaluation | None,
    questions: Sequence[Question],
    figure: Callable[[Question], float | None],
) -> Interval | None:
    """The mean difference to the base on the questions that have both figures, with its
    interval.
    """
    differences = []
    if base:
        for before, after in zip(base.questions, questions, strict=True):
            old, new = figure(before), figure(after)
            if old is not None and new is not None:
                differences.append(new - old)
    if not differences:
        return None
    return paired_interval(differences)


def _asked(row: Row, episode: Episode) -> str:
    """What an episode began with, as a person would quote it."""
    return prompt_text(row.prompt) if episode.dialogue is None else episode.turns[0].prompt


def _said(episode: Episode) -> str:
    """What was said then; in a dialogue by both."""
    if episode.dialogue is None:
        return episode.text
    return " | ".join(str(message["content"]) for message in episode.dialogue.said)


def _examples(questions: Sequence[Question]) -> tuple[Example, ...]:
    """The first questions, so that none is picked for its answer; the base keeps the same ones."""
    return tuple(
        Example(question.prompt, question.completion, question.greedy)
        for question in questions[:EXAMPLES]
    )
