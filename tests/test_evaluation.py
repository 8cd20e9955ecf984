"""An evaluation of policies whose probabilities are known: every figure is compared with the exact
one.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llmpolicy.episode import Turn
from llmpolicy.errors import RewardError, TaskError
from llmpolicy.evaluation import (
    Evaluation,
    best_constant,
    evaluate,
    examples,
    greedy_accuracy,
    table,
)
from llmpolicy.evaluation.answers import batches, complete
from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.rewards import Rewards, RewardSpec
from llmpolicy.statistics import paired_interval, wilson
from llmpolicy.tasks import Row
from tests.models import model, tokenizer

WORDS = ("0", "1", "2", "?")
STOP = 4
KEYS = {
    *(
        "schema",
        "n",
        "seed",
        "recipe_hash",
        "decoding",
        "accuracy",
        "pass_at_k",
        "truncated",
        "mean_length",
    ),
    *("kl_to_base", "best_constant", "base", "paired_difference"),
}


class Table:
    """A policy that is a table: the probability of each of four words for each question, then
    always the stop token.

    Question i is the prompt "i"; its token ids are i times [9] and [i], so that the prompts differ
    in length.
    """

    temperature = 1.0
    max_new_tokens = 2

    def __init__(self, probabilities: Sequence[Sequence[float]]) -> None:
        self.log_probs = torch.tensor(probabilities, dtype=torch.float64).log()  # (questions, 4)
        self.sizes: list[int] = []

    def encode(self, prompts: Sequence[str]) -> list[list[int]]:
        return [[9] * int(prompt) + [int(prompt)] for prompt in prompts]

    def complete(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        greedy: bool = False,
        generator: torch.Generator | None = None,
        max_new_tokens: int | None = None,
    ) -> list[Turn]:
        self.sizes.append(len(prompts))
        rows = self.log_probs[[ids[-1] for ids in prompts]]  # (B, 4)
        words = (
            rows.argmax(-1)
            if greedy
            else torch.multinomial(rows.exp(), 1, generator=generator)[:, 0]
        )
        return [self.turn(ids, word) for ids, word in zip(prompts, words.tolist(), strict=True)]

    def turn(self, ids: Sequence[int], word: int) -> Turn:
        cut = WORDS[word] == "2"  # this word is always cut off before its stop token
        action = (word,) if cut else (word, STOP)
        return Turn(ids, action, None, not cut, cut, text=WORDS[word])

    def log_prob(self, prompts: Any, actions: Any) -> tuple[torch.Tensor, torch.Tensor]:
        first = self.log_probs[[ids[-1] for ids in prompts], [action[0] for action in actions]]
        mask = torch.tensor([[1, int(len(action) > 1)] for action in actions]).bool()  # (B, 2)
        return torch.stack([first, torch.zeros_like(first)], dim=1), mask


def same(completion: str, answer: str) -> float | None:
    return None if completion == "?" else float(completion == answer)


def long(completion: str, truncated: bool) -> float:
    return -float(truncated)


def rewards(*functions: Callable[..., Any]) -> Rewards:
    return Rewards([RewardSpec(function) for function in functions])


CORRECT = rewards(same)


def rows(answers: str) -> list[Row]:
    return [Row(str(i), {"answer": answer}, i, str(i), "toy") for i, answer in enumerate(answers)]


def random_table(questions: int, seed: int, judged: bool = True) -> Table:
    probabilities = (
        torch.rand(questions, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        + 0.1
    )
    if judged:
        probabilities[:, 3] = 1e-300
    return Table((probabilities / probabilities.sum(1, keepdim=True)).tolist())


def test_the_figures_of_a_known_policy() -> None:
    """801 questions: each sampled share lies within 4 standard errors (at most 0.5 / √801) of the
    exact one.
    """
    answers = "012" * 267
    policy, base = random_table(801, 1), random_table(801, 2)
    found = evaluate(
        policy, rows(answers), CORRECT, base=base, samples=8, rewards=rewards(same, long)
    )
    p, q = policy.log_probs.exp(), base.log_probs.exp()
    right = torch.tensor([int(answer) for answer in answers])
    hit = p[range(801), right]
    error = 4 * 0.5 / math.sqrt(801)
    assert found.accuracy == wilson(int((p.argmax(1) == right).sum()), 801)
    assert found.pass_at_k["1"] == pytest.approx(hit.mean().item(), abs=error)
    assert found.pass_at_k["8"] == pytest.approx((1 - (1 - hit) ** 8).mean().item(), abs=error)
    assert found.sampled_accuracy.value == pytest.approx(found.pass_at_k["1"])
    assert found.kl_to_base_per_completion == pytest.approx(
        (p * (p / q).log()).sum(1).mean().item(), abs=0.1
    )
    assert found.truncated == pytest.approx((p.argmax(1) == 2).double().mean().item())
    assert found.mean_length == pytest.approx(2 - found.truncated)
    assert found.parts["same"] == pytest.approx(found.pass_at_k["1"])
    assert found.parts["long"] == pytest.approx(-p[:, 2].mean().item(), abs=error)
    assert found.mean_reward == pytest.approx(found.parts["same"] + found.parts["long"])


def test_the_base_is_measured_on_the_same_questions() -> None:
    policy, base, asked = random_table(60, 1), random_table(60, 2), rows("012" * 20)
    found = evaluate(policy, asked, CORRECT, base=base)
    alone = evaluate(base, asked, CORRECT)
    assert found.base is not None
    assert dataclasses.replace(found.base, kl_to_base=None, kl_to_base_per_completion=None) == alone
    assert found.base.kl_to_base == 0.0
    mode, base_mode = policy.log_probs.argmax(1), base.log_probs.argmax(1)
    right = torch.tensor([int(row.columns["answer"]) for row in asked])
    differences = ((mode == right).double() - (base_mode == right).double()).tolist()
    assert found.paired_difference == paired_interval(differences)
    rates = [
        after.right / 8 - before.right / 8
        for after, before in zip(found.questions, alone.questions, strict=True)
    ]
    assert found.paired_difference_sampled == paired_interval(rates)


def test_a_policy_that_is_its_base_has_not_moved() -> None:
    found = evaluate(random_table(30, 1), rows("012" * 10), CORRECT, base=random_table(30, 1))
    assert (
        found.kl_to_base,
        found.paired_difference.value,
        found.paired_difference_sampled.value,
    ) == (0.0, 0.0, 0.0)
    assert found.examples == found.base.examples


def test_drift_is_k3_over_the_first_sample_of_each_question() -> None:
    """Written out: the mean of q/p - 1 - log(q/p), by completion and by token."""
    policy, base, asked = random_table(50, 1), random_table(50, 2), rows("0" * 50)
    found = evaluate(policy, asked, CORRECT, base=base, samples=3, seed=5)
    drawn = complete(policy, asked, samples=3, generator=torch.Generator().manual_seed(5))[::3]
    assert [episode.group for episode in drawn] == list(range(50))
    total = 0.0
    for i, episode in enumerate(drawn):
        word = episode.turns[0].action[0]
        ratio = math.exp(base.log_probs[i, word] - policy.log_probs[i, word])
        total += ratio - 1 - math.log(ratio)
    assert found.kl_to_base_per_completion == pytest.approx(total / 50)
    assert found.kl_to_base == pytest.approx(total / sum(len(one.turns[0].action) for one in drawn))


def test_what_cannot_be_judged_is_in_no_share() -> None:
    certain = {"0": [1, 0, 0, 0], "1": [0, 1, 0, 0], "?": [0, 0, 0, 1]}
    policy = Table([certain[word] for word in "0?1?"])
    base = Table([certain[word] for word in "10?0"])
    found = evaluate(policy, rows("0000"), CORRECT, samples=8, base=base)
    assert found.accuracy == wilson(1, 2)
    assert found.unjudged == {"greedy": 2, "sampled": 16}
    assert found.sampled_accuracy.value == 0.5
    assert found.pass_at_k == dict.fromkeys(("1", "2", "4", "8"), 0.5)
    assert found.paired_difference == paired_interval(
        [1.0]
    )  # only the first question is judged on both sides
    assert "unjudged, greedy / sampled" in table(found)


def test_a_group_reward_sees_the_samples_of_one_question() -> None:
    def unlike(completions: list[str], answer: list[str]) -> list[float]:
        assert len(set(answer)) == 1
        return [completions.count(one) / len(completions) for one in completions]

    policy = Table([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]])
    grouped = Rewards([RewardSpec(unlike, style="group")])
    found = evaluate(policy, rows("012"), CORRECT, rewards=grouped, samples=4)
    assert found.mean_reward == 1.0
    mixed = evaluate(random_table(3, 1), rows("012"), CORRECT, rewards=grouped, samples=4)
    assert 0.25 < mixed.mean_reward < 1.0


def test_pass_at_8_needs_8_samples() -> None:
    assert list(evaluate(random_table(9, 1), rows("012" * 3), CORRECT, samples=4).pass_at_k) == [
        "1",
        "2",
        "4",
    ]


def test_a_scorer_that_judges_nothing_is_named() -> None:
    def mute(completion: str) -> None:
        return None

    with pytest.raises(
        RewardError, match=r"evaluate.correct \(mute\) judged none of the answers to 3 questions"
    ):
        evaluate(random_table(3, 1), rows("012"), rewards(mute))


def test_no_question_is_refused() -> None:
    for asked, samples in [([], 8), (rows("0"), 0)]:
        with pytest.raises(TaskError, match="expected at least 1 of both"):
            evaluate(random_table(1, 1), asked, CORRECT, samples=samples)


def test_the_threshold_decides_what_is_right() -> None:
    def near(completion: str, answer: str) -> float:
        return 1 - abs(int(completion) - int(answer)) / 2

    policy = Table([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]])  # off by 0, 1, 2
    accuracies = [
        greedy_accuracy(policy, rows("000"), rewards(near), threshold=t) for t in (1.0, 0.5, 0.0)
    ]
    assert accuracies == pytest.approx([1 / 3, 2 / 3, 1.0])


@given(st.permutations(range(12)), st.sampled_from([None, 1, 5]))
def test_order_and_batch_size_change_no_greedy_figure(
    order: list[int], batch_size: int | None
) -> None:
    policy, asked = random_table(12, 3), rows("012" * 4)
    plain = evaluate(policy, asked, CORRECT, samples=1)
    other = evaluate(policy, [asked[i] for i in order], CORRECT, samples=1, batch_size=batch_size)
    assert (other.accuracy, other.truncated, other.mean_length) == (
        plain.accuracy,
        plain.truncated,
        plain.mean_length,
    )
    assert [one.greedy for one in other.questions] == [plain.questions[i].greedy for i in order]
    assert greedy_accuracy(policy, asked, CORRECT, batch_size=batch_size) == plain.accuracy.value


def test_n_takes_the_first_rows() -> None:
    policy, asked = random_table(12, 3), rows("012" * 4)
    assert evaluate(policy, asked, CORRECT, n=5) == evaluate(policy, asked[:5], CORRECT)


@given(
    st.lists(st.integers(1, 50), max_size=40),
    st.integers(1, 300),
    st.one_of(st.none(), st.integers(1, 9)),
)
def test_batches_hold_each_row_once_and_keep_the_budget(
    lengths: list[int], budget: int, limit: int | None
) -> None:
    found = list(batches(lengths, budget, limit))
    assert sorted(row for batch in found for row in batch) == list(range(len(lengths)))
    for i, batch in enumerate(found):
        cost = len(batch) * max(lengths[row] for row in batch)
        assert len(batch) == 1 or cost <= budget
        assert limit is None or len(batch) <= limit
        if i + 1 < len(found) and len(batch) != limit:  # full: the next row would not have fitted
            assert (len(batch) + 1) * max(lengths[row] for row in batch) > budget


def test_many_completions_are_generated_at_once() -> None:
    policy = random_table(40, 1)
    evaluate(policy, rows("0" * 40), CORRECT, samples=8)
    assert policy.sizes == [40, 320]
    policy.sizes.clear()
    evaluate(policy, rows("0" * 40), CORRECT, samples=8, batch_size=128)
    assert policy.sizes == [40, 128, 128, 64]


def test_the_best_constant_answer_in_literal_numbers() -> None:
    assert best_constant(rows("0112"), CORRECT) == (0.5, "1")
    assert (
        best_constant([dataclasses.replace(row, columns={}) for row in rows("01")], rewards(long))
        is None
    )


def test_the_best_constant_answer_is_written_as_the_scorer_reads_it() -> None:
    def tagged(completion: str, answer: str) -> float:
        return float(completion == f"<answer>{answer}</answer>")

    def never(completion: str, answer: str) -> float:
        return 0.0

    assert best_constant(rows("0112"), rewards(tagged)) == (0.5, "<answer>1</answer>")
    assert best_constant(rows("0112"), rewards(never)) is None


def test_a_constant_may_be_right_where_the_answer_differs() -> None:
    def at_least(completion: str, answer: str) -> float:
        return float(int(completion) >= int(answer))

    assert best_constant(rows("001122"), rewards(at_least)) == (1.0, "2")


def test_the_file_has_the_agreed_form() -> None:
    base = random_table(12, 4)
    found = evaluate(
        random_table(12, 3),
        rows("012" * 4),
        CORRECT,
        base=base,
        seed=7,
        recipe_hash="abc",
        samples=8,
    )
    data = found.to_dict()
    assert data.keys() >= KEYS
    assert data["base"].keys() == data.keys()
    assert (data["schema"], data["n"], data["seed"], data["recipe_hash"]) == (1, 12, 7, "abc")
    assert data["accuracy"].keys() == data["paired_difference"].keys() == {"value", "low", "high"}
    assert data["pass_at_k"].keys() == {"1", "2", "4", "8"}
    assert (data["base"]["base"], data["base"]["paired_difference"]) == (None, None)
    assert data["decoding"] == {
        "accuracy": "greedy",
        "samples": 8,
        "temperature": 1.0,
        "max_new_tokens": 2,
    }
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["examples"] == [
        {"prompt": e.prompt, "completion": e.completion, "right": e.right} for e in found.examples
    ]


def test_the_table_shows_both_sides() -> None:
    certain = Table([[0, 1, 0, 0]] * 4)
    found = evaluate(
        certain, rows("1112"), CORRECT, base=Table([[1, 0, 0, 0]] * 4), rewards=rewards(same, long)
    )
    text = table(found)
    assert "4 held-out prompts, 8 samples each at temperature 1, seed 0; 95 % intervals" in text
    line = next(line for line in text.splitlines() if line.startswith("greedy accuracy"))
    after, before = wilson(3, 4), wilson(0, 4)
    assert f"0.0 % [0.0, {100 * before.high:.1f}]" in line
    assert f"75.0 % [{100 * after.low:.1f}, {100 * after.high:.1f}]" in line
    assert line.rstrip().endswith(
        f"+75.0 points [{100 * found.paired_difference.low:+.1f}, +100.0]"
    )
    assert "best constant answer '1': 75.0 %" in text
    assert "  same" in text
    assert all(len(line) <= 120 for line in text.splitlines())
    assert "trained" not in table(evaluate(certain, rows("1112"), CORRECT))
    assert examples(found).splitlines()[:3] == [
        "prompt:  0",
        "  before wrong    0",
        "  after  right    1",
    ]


def tiny(**settings: Any) -> CausalLMPolicy:
    return CausalLMPolicy(model("llama"), tokenizer(), max_new_tokens=6, **settings)


def digits(completion: str, answer: str) -> float:
    return float(any(character.isdigit() for character in completion))


QUESTIONS = [
    Row(f"{i}+{i}=" + " " * (i % 4), {"answer": str(2 * i)}, i, str(i), "sums") for i in range(24)
]


def adapted() -> CausalLMPolicy:
    """A tiny model with a LoRA adapter that has moved away from zero."""
    policy = tiny(lora={"r": 4, "lora_alpha": 8})
    generator = torch.Generator().manual_seed(0)
    for name, parameter in policy.model.named_parameters():
        if "lora_B" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator)
    return policy


def test_an_adapter_is_compared_with_its_model_without_it() -> None:
    found = evaluate(adapted(), QUESTIONS, rewards(digits), samples=2)
    base = evaluate(tiny(), QUESTIONS, rewards(digits), samples=2)
    assert found.base is not None
    assert dataclasses.replace(found.base, kl_to_base=None, kl_to_base_per_completion=None) == base
    assert found.kl_to_base > 0.01
    assert found.questions != found.base.questions


def test_a_given_base_and_the_adapter_switched_off_agree() -> None:
    policy = adapted()
    inside, outside = (
        evaluate(policy, QUESTIONS, rewards(digits), samples=2, base=base)
        for base in (None, tiny())
    )
    assert inside.kl_to_base == pytest.approx(outside.kl_to_base, rel=1e-4)
    assert inside.base.accuracy == outside.base.accuracy
    assert inside.paired_difference_sampled == outside.paired_difference_sampled


def test_a_fresh_adapter_has_not_moved() -> None:
    found = evaluate(tiny(lora={"r": 4}), QUESTIONS, rewards(digits), samples=2)
    assert found.kl_to_base == pytest.approx(0.0, abs=1e-9)
    assert found.questions == found.base.questions


def test_an_evaluation_leaves_no_trace() -> None:
    """Neither the global random state, nor the mode of any module, nor which parameters train, nor
    a gradient.
    """
    policy = adapted()
    next(policy.model.children()).eval()
    modes = [module.training for module in policy.model.modules()]
    trained = [parameter.requires_grad for parameter in policy.model.parameters()]
    state = torch.get_rng_state()
    first = evaluate(policy, QUESTIONS, rewards(digits), samples=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in policy.model.modules()] == modes
    assert [parameter.requires_grad for parameter in policy.model.parameters()] == trained
    assert all(parameter.grad is None for parameter in policy.model.parameters())
    torch.rand(5)
    assert evaluate(policy, QUESTIONS, rewards(digits), samples=2) == first
    assert (
        evaluate(policy, QUESTIONS, rewards(digits), samples=2, seed=1).questions != first.questions
    )


def test_the_mode_is_restored_after_an_error_too() -> None:
    policy = tiny()
    policy.model.train()
    seen = []

    def fail(completion: str) -> float:
        seen.append(policy.model.training)
        raise ZeroDivisionError

    asked = [dataclasses.replace(row, columns={}) for row in QUESTIONS]
    with pytest.raises(RewardError, match="ZeroDivisionError"):
        evaluate(policy, asked, Rewards([RewardSpec(fail)], isolate=False), samples=1)
    assert set(seen) == {False}
    assert policy.model.training


def test_real_completions_agree_with_the_policy_one_by_one() -> None:
    policy = tiny()
    found: Evaluation = evaluate(policy, QUESTIONS, rewards(digits), samples=1)
    alone = [policy.complete([row.prompt], greedy=True)[0] for row in QUESTIONS]
    assert [one.greedy for one in found.questions] == [digits(one.text, "") == 1.0 for one in alone]
    assert found.mean_length == sum(len(one.action) for one in alone) / len(alone)
    assert found.truncated == sum(one.truncated for one in alone) / len(alone)
    assert [e.completion for e in found.examples] == [one.text for one in alone[:3]]
