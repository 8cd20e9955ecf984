"""Advantages and losses of one's own: those of the papers pass, each mistake is one sentence."""

import pytest
import torch

from llmpolicy.errors import RecipeError
from llmpolicy.prove import advantages_of, prove_advantage, prove_loss


def clipped(log_prob, old, advantage, mask):
    ratio = (log_prob - old).exp()
    return -torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)


def cispo(log_prob, old, advantage, mask):
    return -(log_prob - old).exp().clamp(max=1.2).detach() * advantage * log_prob


def whole_sequence(log_prob, old, advantage, mask):
    ratio = ((log_prob - old) * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True)
    return -(ratio.exp() * advantage).expand_as(log_prob)


def reinforce(log_prob, old, advantage, mask):
    return -log_prob * advantage


@pytest.mark.parametrize("loss", [clipped, cispo, whole_sequence, reinforce])
def test_losses_of_the_field_are_proved(loss):
    prove_loss(loss, loss.__name__)


def constant(log_prob, old, advantage, mask):
    with torch.no_grad():
        ratio = (log_prob - old).exp()
    return -ratio * advantage * log_prob


MISTAKES = [
    (lambda p, o, a, m: -(p * a).sum(), "gave the shape ()"),
    (lambda p, o, a, m: (-p * a).tolist(), "gave a list"),
    (lambda p, o, a, m: p * a, "is a minus missing"),
    (lambda p, o, a, m: -p.detach() * a, "has no gradient"),
    (lambda p, o, a, m: -p * a / 0, "expected finite numbers"),
    (lambda p, o, a, m: -(p * a).mean(1, keepdim=True).expand_as(p), "where the mask is 0"),
    (lambda p, o, a, m: -p * a * missing, "failed: NameError"),  # noqa: F821
    (lambda p, o: -p, "failed: TypeError"),
    (constant, "finite differences"),
]


@pytest.mark.parametrize(("loss", "words"), MISTAKES)
def test_a_mistake_in_a_loss_is_one_sentence(loss, words):
    with pytest.raises(RecipeError, match="loss 'mine.py:loss'") as refused:
        prove_loss(loss, "mine.py:loss")
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_an_advantage_is_one_finite_number_a_completion():
    prove_advantage(lambda scores: scores - scores.mean(), "mean")
    prove_advantage(lambda scores: scores - scores.median(), "median")
    for wrong, words in (
        (lambda scores: (scores - scores.mean()) / scores.std(), "expected finite numbers"),
        (lambda scores: scores.mean(), r"gave the shape \(\)"),
        (lambda scores: [0.0] * len(scores), "gave a list"),
        (lambda scores: scores.men(), "failed: AttributeError"),
    ):
        with pytest.raises(RecipeError, match=words):
            prove_advantage(wrong, "wrong")


def test_an_advantage_cannot_change_the_scores():
    scores = torch.tensor([1.0, 2.0])
    advantages_of(lambda group: group.sub_(1), "in place", scores)
    assert scores.tolist() == [1.0, 2.0]
