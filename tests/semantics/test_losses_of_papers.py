"""Every loss of the installed TRL, and of the toolkit's trainer, against numpy written from the
papers: the number and its gradient in every weight of a real tiny model.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmpolicy.policies.causal_lm import CausalLMPolicy
from tests import training
from tests.oracle import world
from tests.semantics import rows, stock
from tests.semantics.cases import BOUNDS, LOSSES, SAMPLERS, Case, cases
from tests.semantics.papers import Floats, Objective, advantages, answer, correction

CASES = cases()
CLOSE = 2e-6
"""Relative: a Llama's norms compute in 32 bits, whatever its weights have."""


def close(found: Floats, expected: Floats, within: float = CLOSE) -> bool:
    return bool(np.linalg.norm(found - expected) <= within * np.linalg.norm(expected))


def prepared(made: Any, case: Case) -> Any:
    """The trainer, told of an engine where the case has one."""
    if case.sampler is not None:
        stock.corrects(made, case.sampler, *BOUNDS)
    return made


@pytest.mark.parametrize("name", CASES)
def test_a_loss_of_trl_and_its_gradient_are_those_of_its_paper(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    made = prepared(stock.trainer(tmp_path, case.settings), case)
    loss, gradient = stock.loss_and_gradient(made, case.inputs)
    expected, slope = case.expected()
    assert np.linalg.norm(slope) > 1e-3
    assert loss == pytest.approx(expected.loss, abs=CLOSE * np.linalg.norm(slope))
    assert close(gradient, slope)


QUICK = (*LOSSES, "grpo, KL", "dapo, tools", "dapo, sequence_mask", "grpo, cut completions masked")
OF_OURS = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES
]  # half a second each


@pytest.mark.parametrize("name", OF_OURS)
def test_a_step_of_the_toolkit_is_minus_the_gradient_of_the_paper(
    tmp_path: Path, name: str
) -> None:
    """Δθ / −lr of one step of SGD through ``PolicyTrainer.train`` from the same rows."""
    case = CASES[name]
    update = applied(tmp_path, case)
    assert close(-update, case.expected()[1], 1e-4)


def test_every_setting_counts_on_these_rows() -> None:
    """Each case asks for another gradient than its loss as it is, and each loss for another than
    the others, so that a trainer which forgets a setting is seen; ratios lie on both sides of every
    clip, for either sign of the advantage.
    """
    found = {name: case.expected()[1] for name, case in CASES.items()}
    for name, case in CASES.items():
        assert name in LOSSES or not close(found[name], found[case.objective.name], 1e-3), name
    alike = {(a, b) for a in LOSSES for b in LOSSES if a < b and close(found[a], found[b], 1e-3)}
    assert alike == {("bnpo", "dapo")}  # one batch that is not split
    counted = rows.counted() > 0
    ratio = np.exp(rows.policy().log_prob - rows.others()[0])[counted]
    good = np.broadcast_to(np.array(rows.ADVANTAGES)[:, None] > 0, counted.shape)[counted]
    for beyond in (ratio < 0.8, ratio > 1.2, ratio > 1.4):
        assert beyond[good].any() and beyond[~good].any()


def applied(folder: Path, case: Case, **settings: Any) -> Floats:
    """What one step adds to the weights."""
    network = rows.policy_model()
    policy = CausalLMPolicy(network, world.tokenizer())
    usual = {name: value for name, value in stock.USUAL.items() if name in OF_A_STEP}
    given = {name: value for name, value in case.settings.items() if name != "beta"}
    made = training.trainer(
        folder, policy, chat=False, questions=("abc", "d"), **{**usual, **given, **settings}
    )
    made.beta = case.settings.get("beta", 0.0)
    prepared(made, case)
    made.take_path()
    made._generate_and_score_completions = lambda *_: case.inputs  # type: ignore[method-assign]
    start = training.vector(network)
    made.train()
    return np.asarray((training.vector(network) - start).numpy())


OF_A_STEP = (
    "per_device_train_batch_size", "num_generations", "max_completion_length", "temperature",
    "gradient_checkpointing", "shuffle_dataset",
)  # fmt: skip


@pytest.mark.parametrize("name", ["grpo", "cispo", "sapo", "grpo, sequence", "luspo"])
@pytest.mark.parametrize("kl", [0.0, 0.3])
def test_the_slopes_that_were_worked_out_by_hand_are_central_differences(
    name: str, kl: float
) -> None:
    """Of each log π; where a loss holds its weight constant, so do the differences."""
    case = CASES[name]
    ask = Objective(**{**vars(case.objective), "beta": kl, "corrected": name != "cispo"})
    batch, step = case.batch, 1e-6
    found = answer(ask, batch).of_log_prob
    for row, t in np.argwhere(batch.mask > 0):
        sides = []
        for sign in (1, -1):
            moved = batch.log_prob.copy()
            moved[row, t] += sign * step
            old = batch.old + (moved - batch.log_prob) * (name == "cispo")
            changed = type(batch)(**{**vars(batch), "log_prob": moved, "old": old})
            sides.append(answer(ask, changed).loss)
        slope = (sides[0] - sides[1]) / 2 / step
        assert slope == pytest.approx(found[row, t], rel=1e-5, abs=1e-8)


@cache
def rewards() -> Floats:
    return np.array(rows.REWARDS)


def _scorers() -> list[Any]:
    """The two terms of a reward, None where one does not judge."""

    def term(column: int) -> Any:
        values = [None if np.isnan(value) else value for value in rewards()[:, column]]
        return lambda **_: values

    return [term(0), term(1)]


SCALES = [("group", False), ("batch", False), ("none", False), ("group", True)]


@pytest.mark.parametrize(("scale", "each"), SCALES)
def test_advantages_of_trl_are_those_of_the_papers(tmp_path: Path, scale: str, each: bool) -> None:
    ways = {True: "normalize_then_sum", False: "sum_then_normalize"}
    settings = {
        "scale_rewards": scale, "reward_weights": list(rows.WEIGHTS),
        "multi_objective_aggregation": ways[each],
    }  # fmt: skip
    made = stock.trainer(tmp_path, settings, _scorers())
    found = stock.judged(made)["advantages"].double().numpy()
    expected = advantages(rewards(), np.array(rows.WEIGHTS), rows.GROUP, scale, each)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", SAMPLERS)
@pytest.mark.parametrize("bounds", [BOUNDS, (None, 3.0)])
def test_the_weight_for_an_engine_is_that_of_the_papers(
    tmp_path: Path, mode: str, bounds: tuple[float | None, float]
) -> None:
    made, engine = stock.trainer(tmp_path, {}), rows.others()[2]
    stock.corrects(made, mode, *bounds)
    found = stock.judged(made, engine)
    own, mask = rows.policy().log_prob, rows.counted()
    expected = correction(own, engine, mask, mode, *bounds)
    np.testing.assert_allclose(
        found["importance_sampling_ratio"].double().numpy(), expected, rtol=1e-5
    )
    np.testing.assert_allclose(
        found["old_per_token_logps"].double().numpy() * mask, own, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("cut", [True, False])
def test_trl_masks_what_was_cut_off_and_counts_what_is_left(tmp_path: Path, cut: bool) -> None:
    made = stock.trainer(tmp_path, {"mask_truncated_completions": cut})
    found, mask = stock.judged(made), rows.counted(cut=cut)
    np.testing.assert_array_equal(found["completion_mask"].numpy(), mask)
    assert int(found["num_items_in_batch"]) == mask.sum() < rows.counted().sum() + (not cut)
