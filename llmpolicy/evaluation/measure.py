"""The measurement: a policy and its base answer the same held-out questions, and the figures are
put side by side.

A completion is right when ``correct`` gives it at least ``threshold``. One that cannot be judged
(None) is neither right nor wrong: it leaves every share, and is counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from llmpolicy.errors import RewardError, TaskError
from llmpolicy.evaluation.answers import (
    LanguagePolicy,
    WithoutAdapter,
    batches,
    complete,
    evaluating,
    judge,
    samples_of,
)
from llmpolicy.evaluation.constant import best_constant
from llmpolicy.evaluation.record import Evaluation, Example, Question
from llmpolicy.objectives import k3
from llmpolicy.rewards import Rewards
from llmpolicy.statistics import mean_interval, paired_interval, pass_at_k, wilson
from llmpolicy.tasks import Row, prompt_text
from llmpolicy.types import Completion

EXAMPLES = 3
SCORED_AT_ONCE = 2_048
"""Most completion tokens, padding included, whose log-probabilities are computed side by side: each
holds V logits.
"""


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

    @property
    def repeated(self) -> list[Row]:
        """The row of each sampled completion."""
        return [row for row in self.rows for _ in range(self.samples)]


@dataclass(frozen=True, slots=True)
class Answers:
    """What one policy answered: one greedy completion a row, ``samples`` sampled ones a row side by
    side.
    """

    greedy: Sequence[Completion]
    sampled: Sequence[Completion]
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Drift:
    """KL(π ‖ base) in nats: a token's mean, and a completion's."""

    per_token: float
    per_completion: float


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
    constant = best_constant(rows, correct, threshold)
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
    )
    if base is None and getattr(policy, "is_adapter", False):
        base = WithoutAdapter(policy)
    with evaluating(policy, base), torch.no_grad():
        after = ask(policy, setting)
        if base is None:
            return figures(policy, after, setting)
        before = figures(base, ask(base, setting), setting, drift=Drift(0.0, 0.0))
        moved = drift(
            policy, base, policy.encode([row.prompt for row in rows]), after.sampled[::samples]
        )
        return figures(policy, after, setting, drift=moved, base=before)


def greedy_accuracy(
    policy: LanguagePolicy,
    rows: Sequence[Row],
    correct: Rewards,
    *,
    threshold: float = 1.0,
    batch_size: int | None = None,
    max_new_tokens: int | None = None,
) -> float:
    """The share of right greedy completions among the judged ones (0.0 if none is), for a look
    during training.
    """
    with evaluating(policy), torch.no_grad():
        prompts = policy.encode([row.prompt for row in rows])
        completions = complete(
            policy, prompts, greedy=True, batch_size=batch_size, max_new_tokens=max_new_tokens
        )
    return _mean(judge(correct, rows, completions, threshold)) or 0.0


def ask(policy: LanguagePolicy, setting: Setting) -> Answers:
    """Let a policy answer every question, greedily and by sampling, and judge the answers."""
    size, length = setting.batch_size, setting.max_new_tokens
    prompts = policy.encode([row.prompt for row in setting.rows])
    greedy = complete(policy, prompts, greedy=True, batch_size=size, max_new_tokens=length)
    generator = torch.Generator().manual_seed(setting.seed)
    repeated = [ids for ids in prompts for _ in range(setting.samples)]
    sampled = complete(
        policy, repeated, generator=generator, batch_size=size, max_new_tokens=length
    )
    best = judge(setting.correct, setting.rows, greedy, setting.threshold)
    right = judge(setting.correct, setting.repeated, sampled, setting.threshold, setting.samples)
    groups = [right[i : i + setting.samples] for i in range(0, len(right), setting.samples)]
    questions = tuple(
        Question(one, group.count(True), len(group) - group.count(None))
        for one, group in zip(best, groups, strict=True)
    )
    _refuse_unjudged(questions, setting.correct)
    return Answers(greedy, sampled, questions)


def _refuse_unjudged(questions: Sequence[Question], correct: Rewards) -> None:
    if all(one.greedy is None for one in questions) or not any(one.judged for one in questions):
        how = f": {correct.first_fault}" if correct.first_fault else ""
        raise RewardError(
            f"evaluate.correct ({', '.join(correct.names)}) judged none of the answers to"
            f" {len(questions)} questions{how}; expected a number for whatever can be judged, 0.0"
            " for a wrong answer"
        )


def figures(
    policy: LanguagePolicy,
    answers: Answers,
    setting: Setting,
    *,
    drift: Drift | None = None,
    base: Evaluation | None = None,
) -> Evaluation:
    """What the answers of a policy come to."""
    questions = answers.questions
    best = [one.greedy for one in questions if one.greedy is not None]
    reward, parts = _rewards(answers.sampled, setting)
    pairs = list(zip(base.questions, questions, strict=True)) if base else []
    greedy = [
        b.greedy - a.greedy for a, b in pairs if a.greedy is not None and b.greedy is not None
    ]
    sampled = [b.rate - a.rate for a, b in pairs if a.rate is not None and b.rate is not None]
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
        accuracy=wilson(sum(best), len(best)),
        pass_at_k={
            str(k): _mean([_pass(one, k) for one in questions]) for k in ks(setting.samples)
        },
        truncated=_mean([one.truncated for one in answers.greedy]) or 0.0,
        mean_length=_mean([len(one.token_ids) for one in answers.greedy]) or 0.0,
        kl_to_base=drift.per_token if drift else None,
        best_constant=setting.constant[0] if setting.constant else None,
        base=base,
        paired_difference=paired_interval(greedy) if greedy else None,
        sampled_accuracy=mean_interval([one.rate for one in questions if one.rate is not None]),
        paired_difference_sampled=paired_interval(sampled) if sampled else None,
        kl_to_base_per_completion=drift.per_completion if drift else None,
        best_constant_answer=setting.constant[1] if setting.constant else None,
        mean_reward=reward,
        parts=parts,
        unjudged={
            "greedy": len(questions) - len(best),
            "sampled": len(answers.sampled) - sum(one.judged for one in questions),
        },
        examples=_examples(answers, setting),
        questions=questions,
    )


def drift(
    policy: LanguagePolicy,
    base: LanguagePolicy,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Completion],
) -> Drift:
    """How far a policy has moved from its base: the k3 estimate of KL(π ‖ base) over completions
    that π sampled.
    """
    total, tokens = 0.0, 0
    for batch in batches([len(one.token_ids) for one in completions], SCORED_AT_ONCE):
        states, actions = (
            [prompts[i] for i in batch],
            [list(completions[i].token_ids) for i in batch],
        )
        log_prob, mask = policy.log_prob(states, actions)  # (B, T)
        base_log_prob, _ = base.log_prob(states, actions)  # (B, T)
        kl = k3(
            log_prob.cpu().double(), base_log_prob.cpu().double()
        )  # (B, T); Apple's devices have no double
        total += torch.where(mask.bool().cpu(), kl, 0.0).sum().item()
        tokens += int(mask.sum())
    return Drift(total / tokens, total / len(completions))


def _rewards(
    sampled: Sequence[Completion], setting: Setting
) -> tuple[float | None, dict[str, float | None]]:
    """The mean reward of the sampled completions, and that of each part; what could not be judged
    is left out.
    """
    if setting.rewards is None:
        return None, {}
    scores = setting.rewards.score(samples_of(setting.repeated, sampled), setting.samples)
    parts = {
        name: _mean([score.parts[name].value for score in scores]) for name in setting.rewards.names
    }
    return _mean([score.value for score in scores]), parts


def ks(samples: int) -> list[int]:
    """The k of pass@k that so many samples a question allow: 1, 2, 4, 8 ... and all of them."""
    return sorted({*(2**power for power in range(samples.bit_length())), samples})


def _pass(question: Question, k: int) -> float | None:
    """pass@k of one question from its judged samples; None if they are fewer than k."""
    return pass_at_k(question.judged, question.right, k) if question.judged >= k else None


def _examples(answers: Answers, setting: Setting) -> tuple[Example, ...]:
    """The first questions, so that none is picked for its answer; the base keeps the same ones."""
    triples = zip(setting.rows, answers.greedy, answers.questions, strict=True)
    shown = [
        Example(prompt_text(row.prompt), one.text, question.greedy)
        for row, one, question in triples
    ]
    return tuple(shown[:EXAMPLES])


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean of the values that are known; None if none is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
