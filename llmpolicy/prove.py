"""What a recipe names of a user's own is proved before anything learns from it: shapes, finite
numbers, a gradient that is the one of finite differences, a log_prob that is that of the action.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from llmpolicy.errors import RecipeError, called
from llmpolicy.reference import name_of

Advantage = Callable[[Tensor], Tensor]
"""From the scores of a group, (G,), to how much better than expected each of them is, (G,)."""

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""From log_prob, old and mask, each (B, T), and advantage, (B, 1) or (B, T), to what each decision
costs, (B, T). ``old`` is the log-probability under the policy that acted; where the mask is 0 there
was no decision.
"""

_STEP, _RELATIVE, _ABSOLUTE = 1e-6, 1e-3, 1e-5
_EQUAL = 1e-4
_GROUPS = ([0.0, 1.0], [1.0, 1.0, 1.0], [0.5, -2.0, 3.0, 0.0], [0.0] * 7 + [1.0])


def prove_advantage(function: Advantage, name: str) -> None:
    """Raise RecipeError where an advantage of some group is not one finite number a completion."""
    for group in _GROUPS:
        scores = torch.tensor(group, dtype=torch.float64)
        advantages = advantages_of(function, name, scores)
        if not advantages.isfinite().all():
            raise RecipeError(
                f"advantage {name!r} gave {advantages.tolist()} for the scores {group}; expected"
                " finite numbers"
            )


def advantages_of(function: Advantage, name: str, scores: Tensor) -> Tensor:
    """A group's advantages, (G,); RecipeError for another shape, or where the function fails."""
    with called(f"advantage {name!r} of the scores {scores.tolist()}"):
        advantages = function(scores.clone())
    _check_shape(f"advantage {name!r}", advantages, scores, "one number a completion")
    return advantages.detach()


def advantages_in_groups(function: Advantage, scores: Tensor, size: int) -> Tensor:
    """The advantages of rows in groups of ``size``, (B,), from their scores, NaN where nobody could
    judge: such a row is left out of its group, and has the advantage 0, as one alone has.
    """
    advantages = torch.zeros_like(scores)
    for start in range(0, len(scores), size):
        judged = start + (~scores[start : start + size].isnan()).nonzero()[:, 0]
        if len(judged) > 1:
            group = advantages_of(function, name_of(function), scores[judged])
            advantages[judged] = group.to(advantages)
    if not advantages.isfinite().all():
        raise RecipeError(
            f"advantage {name_of(function)!r} gave a number that is not finite for the scores"
            f" {scores.tolist()}; expected finite numbers"
        )
    return advantages


def prove_loss(function: Loss, name: str) -> None:
    """Raise RecipeError where a loss is not one finite number a decision, does not move the policy
    towards what is well rewarded, or has another gradient than its values show.

    What the function detaches is a constant, also for the finite differences.
    """
    draw = torch.Generator().manual_seed(0)
    log_prob = -2 * torch.rand(3, 4, generator=draw, dtype=torch.float64) - 0.1  # (B, T)
    old = log_prob + 0.3 * torch.randn(3, 4, generator=draw, dtype=torch.float64)
    advantage = torch.tensor([[1.0], [-1.5], [0.7]], dtype=torch.float64)  # (B, 1)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]], dtype=torch.float64)
    for acted in (log_prob, old):
        _check_gradient(function, name, (log_prob, acted, advantage, mask))


def losses_of(function: Loss, name: str, *arguments: Tensor) -> Tensor:
    """What each decision costs, (B, T); RecipeError for another shape, or where it fails."""
    with called(f"loss {name!r}"):
        losses = function(*arguments)
    _check_shape(f"loss {name!r}", losses, arguments[0], "one number a decision")
    return losses


def _check_gradient(function: Loss, name: str, arguments: tuple[Tensor, ...]) -> None:
    log_prob, old, advantage, mask = arguments
    counts = mask.bool()
    with _Replay() as constants:

        def total(at: Tensor) -> Tensor:
            constants.rewind()
            losses = losses_of(function, name, at, old, advantage, mask)
            return losses[counts].sum()

        at = log_prob.clone().requires_grad_()
        value = total(at)
        if not value.isfinite():
            raise RecipeError(f"loss {name!r} gave {value.item()}; expected finite numbers")
        gradient = _gradient(value, at, name)
        expected = _differences(total, log_prob)
    if not torch.allclose(gradient, expected, _RELATIVE, _ABSOLUTE):
        row, column = divmod(int((gradient - expected).abs().argmax()), log_prob.shape[1])
        raise RecipeError(
            f"loss {name!r} has the gradient {gradient[row, column]:.4g} where finite differences"
            f" of its values give {expected[row, column]:.4g}; what is to be held constant is"
            " written with .detach(), not under no_grad"
        )
    if (gradient[~counts] != 0).any():
        raise RecipeError(
            f"loss {name!r} has a gradient where the mask is 0; expected none of places that hold"
            " no decision"
        )
    if torch.equal(old, log_prob) and (gradient * advantage)[counts].sum() >= 0:
        raise RecipeError(
            f"loss {name!r} does not make decisions with a positive advantage likelier; expected it"
            " to fall as their log_prob rises (is a minus missing?)"
        )


def _gradient(value: Tensor, at: Tensor, name: str) -> Tensor:
    if not value.requires_grad:
        raise RecipeError(f"loss {name!r} has no gradient; expected a function of log_prob")
    (gradient,) = torch.autograd.grad(value, at, allow_unused=True)
    return torch.zeros_like(at) if gradient is None else gradient


def _differences(total: Callable[[Tensor], Tensor], log_prob: Tensor) -> Tensor:
    """Central differences of a total for each log-probability, (B, T)."""
    differences = torch.zeros_like(log_prob)
    with torch.no_grad():
        for number in range(log_prob.numel()):
            step = torch.zeros_like(log_prob)
            step.view(-1)[number] = _STEP
            rise = total(log_prob + step) - total(log_prob - step)
            differences.view(-1)[number] = rise / (2 * _STEP)
    return differences


class _Replay(TorchFunctionMode):
    """What is detached keeps the value that it had the first time, as a constant does."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Tensor] = []
        self.place = 0

    def rewind(self) -> None:
        """The function is called from its beginning again."""
        self.place = 0

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if function not in (Tensor.detach, torch.detach):
            return result
        if self.place == len(self.kept):
            self.kept.append(result.clone())
        self.place += 1
        return self.kept[self.place - 1]


def _check_shape(what: str, result: Any, like: Tensor, expected: str) -> None:
    if not isinstance(result, Tensor):
        raise RecipeError(f"{what} gave a {type(result).__name__}; expected a tensor, {expected}")
    if result.shape != like.shape:
        raise RecipeError(
            f"{what} gave the shape {tuple(result.shape)}; expected {tuple(like.shape)}, {expected}"
        )


def prove_play(environment: Any, policy: Any) -> None:
    """Play one step; RecipeError where an environment or a policy does not do what a rollout asks
    for, or where log_prob is not the log-probability with which the policy acted.
    """
    states, count = environment.reset(0), len(environment.groups)
    if len(states) != count:
        raise RecipeError(f"environment.reset gave {len(states)} states; expected {count}")
    with torch.no_grad():
        action = policy.act(states, generator=torch.Generator().manual_seed(0))
        log_prob, mask = policy.log_prob(states, action.value)
    if log_prob.ndim != 2 or log_prob.shape[0] != count or mask.shape != log_prob.shape:
        raise RecipeError(
            f"policy.log_prob gave the shapes {tuple(log_prob.shape)} and {tuple(mask.shape)};"
            f" expected ({count}, T) twice, one number a decision"
        )
    if action.log_prob is None or not torch.allclose(log_prob, action.log_prob, atol=_EQUAL):
        raise RecipeError(
            "policy.log_prob of an action is not the log_prob that policy.act drew it with;"
            " expected the same numbers"
        )
    outcome = environment.step(range(count), action)
    for key in ("states", "rewards", "terminated", "truncated"):
        if len(getattr(outcome, key)) != count:
            raise RecipeError(
                f"environment.step gave {len(getattr(outcome, key))} {key} for {count} actions"
            )
