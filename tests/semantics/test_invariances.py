"""What a loss of TRL does not depend on, as laws over drawn batches; and which losses break which
law, with what they depend on instead.
"""

from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from trl import GRPOTrainer

from tests.oracle import estimators
from tests.semantics import stock
from tests.semantics.cases import LOSSES
from tests.semantics.papers import Floats, advantages

OWN: dict[str, dict[str, Any]] = {
    "luspo": {"importance_sampling_level": "sequence"},
    "cispo": {"epsilon_high": 1.4},
}
BY_TOKENS = ("dapo", "cispo", "vespo")
"""TRL divides these by the tokens of the whole generation."""
MOST, LONGEST = 6, 5
Inputs = dict[str, torch.Tensor]


@cache
def trainer(loss: str) -> GRPOTrainer:
    own = {"loss_type": loss, "max_completion_length": LONGEST, "beta": 0.2, **OWN.get(loss, {})}
    return stock.trainer(Path(mkdtemp()), own)


@st.composite
def batches(draw: st.DrawFn) -> Inputs:
    """Log-probabilities, masks and advantages of a few completions, each of at least one token."""
    count = draw(st.integers(2, MOST))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    lengths = np.array(draw(st.lists(st.integers(1, LONGEST), min_size=count, max_size=count)))
    mask = np.arange(LONGEST) < lengths[:, None]
    log_prob = -random.exponential(1.5, mask.shape)
    made = {
        "log_prob": log_prob, "old": log_prob + random.normal(0, 0.3, mask.shape),
        "reference": log_prob + random.normal(0, 0.3, mask.shape), "mask": mask,
    }  # fmt: skip
    tensors = {name: torch.tensor(value) for name, value in made.items()}
    return tensors | {"advantages": torch.tensor(random.normal(size=count))}


def slopes(loss: str, of: Inputs, parts: int = 1, items: int | None = None) -> tuple[float, Floats]:
    """The loss of rows that are one of so many micro-batches, and its slope in each log π."""
    made, leaf = trainer(loss), of["log_prob"].clone().requires_grad_()
    made._get_per_token_logps_and_entropies = (  # type: ignore[method-assign]
        lambda *_, **__: (leaf, torch.zeros_like(leaf), None)
    )
    made.current_gradient_accumulation_steps = parts
    made.args.steps_per_generation = parts
    made._metrics["train"].clear()
    ids = torch.ones_like(of["mask"], dtype=torch.long)
    found = made._compute_loss(made.model, {
        "prompt_ids": ids[:, :1], "prompt_mask": ids[:, :1], "completion_ids": ids,
        "completion_mask": of["mask"].long(), "advantages": of["advantages"],
        "old_per_token_logps": of["old"], "ref_per_token_logps": of["reference"],
        "num_items_in_batch": of["mask"].sum() if items is None else torch.tensor(items),
    })  # fmt: skip
    return found.item(), np.asarray(torch.autograd.grad(found, leaf)[0].numpy())


def taken(of: Inputs, order: Any) -> Inputs:
    return {name: value[order] for name, value in of.items()}


def same(found: tuple[float, Floats], expected: tuple[float, Floats]) -> None:
    assert found[0] == pytest.approx(expected[0], rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-9, atol=1e-12)


MANY = settings(max_examples=25, deadline=None, derandomize=True)


@pytest.mark.parametrize("loss", LOSSES)
@MANY
@given(of=batches(), wide=st.integers(1, 3))
def test_padding_changes_nothing(loss: str, of: Inputs, wide: int) -> None:
    """Whatever stands in the padding: a mean is over the tokens that count."""
    padded = {}
    for name, value in of.items():
        if value.dim() == 2:
            extra = value[:, :1].expand(-1, wide)
            value = torch.cat([value, torch.zeros_like(extra) if name == "mask" else extra], 1)
        padded[name] = value
    usual, found = slopes(loss, of), slopes(loss, padded)
    assert not found[1][:, LONGEST:].any()
    same((found[0], found[1][:, :LONGEST]), usual)


@pytest.mark.parametrize("loss", LOSSES)
@MANY
@given(of=batches(), data=st.data())
def test_the_order_of_completions_changes_nothing(
    loss: str, of: Inputs, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(of["advantages"]))))
    usual = slopes(loss, of)
    same(slopes(loss, taken(of, order)), (usual[0], usual[1][order]))


@pytest.mark.parametrize("loss", LOSSES)
@MANY
@given(of=batches())
def test_a_batch_that_stands_there_twice_is_the_same_batch(loss: str, of: Inputs) -> None:
    count = len(of["advantages"])
    usual, twice = slopes(loss, of), slopes(loss, taken(of, [*range(count), *range(count)]))
    same((twice[0], twice[1][:count] + twice[1][count:]), usual)


@pytest.mark.parametrize("loss", LOSSES)
@MANY
@given(of=batches(), data=st.data())
def test_micro_batches_of_equal_size_add_up_to_the_whole(
    loss: str, of: Inputs, data: st.DataObject
) -> None:
    """But for BNPO, which divides each by its own tokens: it adds up where they have as many."""
    count = len(of["advantages"])
    parts = data.draw(st.sampled_from([n for n in range(1, count + 1) if count % n == 0]))
    order = data.draw(st.permutations(range(count)))
    items, size = int(of["mask"].sum()), count // parts
    pieces = [order[start : start + size] for start in range(0, count, size)]
    added, slope = 0.0, np.zeros((count, LONGEST))
    for piece in pieces:
        value, own = slopes(loss, taken(of, piece), parts, items)
        # TRL sets by-token losses against the generation's tokens: no further division
        added, slope[piece] = added + value, own
    tokens = {int(of["mask"][piece].sum()) for piece in pieces}
    if loss != "bnpo" or len(tokens) == 1:
        same((added, slope), slopes(loss, of))


@pytest.mark.parametrize("loss", ["bnpo"])
def test_bnpo_depends_on_how_a_batch_is_split(loss: str) -> None:
    of = {
        "log_prob": torch.full((2, LONGEST), -1.0).double(), "mask": torch.ones(2, LONGEST).bool(),
        "advantages": torch.tensor([1.0, 1.0]).double(),
    }  # fmt: skip
    of |= {"old": of["log_prob"], "reference": of["log_prob"]}
    of["mask"][0, 1:] = False
    whole = slopes(loss, of)[1]
    split = np.vstack([slopes(loss, taken(of, [row]), 2)[1] for row in range(2)])
    assert whole[0, 0] == pytest.approx(-1 / 6) and split[0, 0] == pytest.approx(-1 / 2)


REWARDS = st.lists(
    st.lists(st.integers(-8, 8), min_size=4, max_size=4), min_size=1, max_size=4
).map(lambda groups: np.array(groups, dtype=float) / 4)


def scaled(rewards: Floats, scale: str) -> Floats:
    flat = rewards.reshape(-1, 1)
    return advantages(flat, np.ones(1), rewards.shape[1], scale).reshape(rewards.shape)


@MANY
@given(rewards=REWARDS, factor=st.floats(0.5, 8), shift=st.floats(-5, 5))
def test_which_advantages_forget_the_scale_and_the_zero_of_a_reward(
    rewards: Floats, factor: float, shift: float
) -> None:
    """Division by a spread forgets both, up to the 1e-4 that is added to it; the mean alone forgets
    the zero and keeps the scale; the group's mean is forgotten group by group, so a prompt may have
    a zero of its own.
    """
    other = factor * rewards + shift
    np.testing.assert_allclose(scaled(other, "none"), factor * scaled(rewards, "none"), atol=1e-9)
    np.testing.assert_allclose(
        estimators.leave_one_out(other), factor * estimators.leave_one_out(rewards), atol=1e-9
    )
    for scale in ("group", "batch"):
        close = {"rtol": 2e-3, "atol": 1e-9}  # 1e-4 over the least spread there is here, .125 · .5
        np.testing.assert_allclose(scaled(other, scale), scaled(rewards, scale), **close)
    own = rewards + np.arange(len(rewards))[:, None]
    for scale in ("group", "none"):
        np.testing.assert_allclose(scaled(own, scale), scaled(rewards, scale), atol=1e-9)


def test_with_the_batchs_spread_one_prompt_moves_the_weights_of_another() -> None:
    """By its own zero, and by standing there twice."""
    rewards = np.array([[0.0, 1.0], [0.0, 4.0]])
    own, again = rewards + [[0.0], [9.0]], rewards[[0, 1, 1]]
    for other in (own, again):
        assert abs(scaled(other, "batch")[0, 1] / scaled(rewards, "batch")[0, 1] - 1) > 0.02


@MANY
@given(rewards=REWARDS, data=st.data())
def test_groups_are_weighed_by_themselves_unless_the_spread_is_the_batchs(
    rewards: Floats, data: st.DataObject
) -> None:
    """In any order; a prompt that stands there twice is two groups, and moves none of the others."""
    order = data.draw(st.permutations(range(len(rewards))))
    for scale in ("group", "none", "batch"):
        np.testing.assert_allclose(
            scaled(rewards[order], scale), scaled(rewards, scale)[order], atol=1e-9
        )
    again = np.vstack([rewards, rewards[:1]])
    for scale in ("group", "none"):
        np.testing.assert_allclose(scaled(again, scale)[:-1], scaled(rewards, scale), atol=1e-12)
