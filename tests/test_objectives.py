"""The laws of the objectives: against literal numbers, brute force and exact enumeration."""

import itertools
import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llmpolicy.objectives import group_advantages, k3, policy_gradient_loss, return_to_go

REWARD = st.floats(-10, 10, width=32)


@st.composite
def ragged(draw: st.DrawFn) -> tuple[list[list[float]], float, list[float]]:
    """Episodes of different lengths, a discount, and what the state behind each episode is
    worth.
    """
    episodes = draw(st.lists(st.lists(REWARD, min_size=1, max_size=6), min_size=1, max_size=4))
    final = draw(st.lists(REWARD, min_size=len(episodes), max_size=len(episodes)))
    return episodes, draw(st.floats(0, 1)), final


def padded(episodes: Sequence[Sequence[float]]) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(map(len, episodes))
    rewards = torch.tensor(
        [[*row, *[0.0] * (width - len(row))] for row in episodes], dtype=torch.float64
    )
    mask = torch.tensor([[t < len(row) for t in range(width)] for row in episodes])
    return rewards, mask


@given(ragged())
def test_return_to_go_is_the_discounted_sum_of_what_follows(
    case: tuple[list[list[float]], float, list[float]],
) -> None:
    episodes, gamma, final = case
    rewards, mask = padded(episodes)
    found = return_to_go(rewards, mask, gamma, torch.tensor(final, dtype=torch.float64))
    for n, row in enumerate(episodes):
        for t in range(len(row)):
            following = [*row[t:], final[n]]
            expected = sum(gamma**k * reward for k, reward in enumerate(following))
            assert found[n, t].item() == pytest.approx(expected, abs=1e-9)
    assert (found[~mask] == 0).all()


def test_return_to_go_without_a_final_value_ends_with_the_last_reward() -> None:
    rewards, mask = padded([[1.0, 2.0, 4.0], [8.0]])
    assert return_to_go(rewards, mask, 0.5).tolist() == [[3.0, 4.0, 4.0], [8.0, 0.0, 0.0]]


def test_group_advantages_are_those_of_the_paper() -> None:
    found = group_advantages(
        torch.tensor([[1.0, 0.0, 0.0, 0.0], [2.0, 2.0, 2.0, 2.0]], dtype=torch.float64)
    )
    # The deviation of 1, 0, 0, 0 over n - 1 is 0.5.
    assert found[0].tolist() == pytest.approx(
        [0.75 / 0.5001, -0.25 / 0.5001, -0.25 / 0.5001, -0.25 / 0.5001], rel=1e-12
    )
    assert found[1].tolist() == [0.0] * 4


def test_unscaled_advantages_are_differences_from_the_mean() -> None:
    assert group_advantages(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), scale=False).tolist() == [
        [0.75, -0.25, -0.25, -0.25]
    ]


@pytest.mark.parametrize("scale", [True, False])
def test_an_unjudged_completion_weighs_nothing_and_leaves_the_others_as_if_it_were_not_there(
    scale: bool,
) -> None:
    nan = float("nan")
    found = group_advantages(torch.tensor([[3.0, nan, 1.0, 2.0]]), scale=scale)
    alone = group_advantages(torch.tensor([[3.0, 1.0, 2.0]]), scale=scale)
    assert found[0, [0, 2, 3]].tolist() == alone[0].tolist()
    assert found[0, 1] == 0
    empty = group_advantages(torch.tensor([[nan, nan], [nan, 5.0]]), scale=scale)
    assert empty.tolist() == [[0.0, 0.0], [0.0, 0.0]]


@given(st.lists(REWARD, min_size=2, max_size=6), st.integers(0, 99))
def test_the_order_of_a_group_changes_nothing(rewards: list[float], seed: int) -> None:
    order = torch.randperm(len(rewards), generator=torch.Generator().manual_seed(seed))
    group = torch.tensor([rewards], dtype=torch.float64)
    assert torch.allclose(
        group_advantages(group)[:, order], group_advantages(group[:, order]), atol=1e-9
    )


def test_the_loss_of_literal_numbers() -> None:
    log_prob = torch.tensor([[-1.0, -2.0], [-3.0, -5.0]], requires_grad=True)  # (B, T)
    weight = torch.tensor([[2.0], [-1.0]], requires_grad=True)  # (B, 1)
    mask = torch.tensor([[True, True], [True, False]])
    loss = policy_gradient_loss(log_prob, weight, mask, count=4)
    loss.backward()
    assert loss.item() == pytest.approx(-(2 * -1 + 2 * -2 + -1 * -3) / 4)
    assert log_prob.grad is not None
    assert log_prob.grad.tolist() == [[-0.5, -0.5], [0.25, 0.0]]
    assert weight.grad is None, "a weight is a constant"


def test_what_is_masked_cannot_leak() -> None:
    log_prob = torch.tensor([[-1.0, -math.inf]], requires_grad=True)
    loss = policy_gradient_loss(log_prob, torch.ones(1, 1), torch.tensor([[1, 0]]), count=1)
    loss.backward()
    assert loss.item() == 1.0
    assert log_prob.grad is not None
    assert log_prob.grad.tolist() == [[-1.0, 0.0]]


LOGITS = (0.3, -0.8, 1.1)
PAYS = (1.0, -0.5, 2.0)


def exact_gradient() -> torch.Tensor:
    """∇J of a bandit: J = Σ π(a) r(a), differentiated by autograd."""
    logits = torch.tensor(LOGITS, dtype=torch.float64, requires_grad=True)
    (logits.softmax(0) @ torch.tensor(PAYS, dtype=torch.float64)).backward()
    assert logits.grad is not None
    return logits.grad


@pytest.mark.parametrize("group", [2, 3])
def test_the_mean_of_the_group_as_baseline_keeps_the_direction_of_the_gradient(group: int) -> None:
    """Over all possible groups, E[∇loss] = −(1 − 1/G) ∇J: an action is compared with a mean that
    contains itself.
    """
    logits = torch.tensor(LOGITS, dtype=torch.float64, requires_grad=True)
    total = torch.zeros((), dtype=torch.float64)
    for actions in itertools.product(range(3), repeat=group):
        log_prob = logits.log_softmax(0)[list(actions)].unsqueeze(1)  # (G, 1)
        rewards = torch.tensor([[PAYS[a] for a in actions]], dtype=torch.float64)  # (1, G)
        weight = group_advantages(rewards, scale=False).view(-1, 1)  # (G, 1)
        loss = policy_gradient_loss(log_prob, weight, torch.ones(group, 1), count=group)
        total = total + log_prob.sum().exp().detach() * loss
    total.backward()
    assert logits.grad is not None
    assert torch.allclose(logits.grad, -(1 - 1 / group) * exact_gradient(), atol=1e-12)


def test_k3_is_unbiased_never_negative_and_zero_for_equal_policies() -> None:
    p = torch.tensor(LOGITS, dtype=torch.float64).log_softmax(0)
    q = torch.tensor((1.0, 0.2, -2.0), dtype=torch.float64).log_softmax(0)
    exact = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=p), torch.distributions.Categorical(logits=q)
    )
    estimate = k3(
        p.unsqueeze(1), q.unsqueeze(1)
    )  # (3, 1): one row for each action that could be drawn
    assert (p.exp() @ estimate.squeeze(1)).item() == pytest.approx(exact.item(), abs=1e-12)
    assert (estimate > 0).all()
    assert k3(p, p).abs().max() == 0
    assert k3(torch.tensor(-1.0), torch.tensor(-2.0)).item() == pytest.approx(math.exp(-1) - 1 + 1)
