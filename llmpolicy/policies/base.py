"""What every policy can do, and the law that ties it together."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import torch

from llmpolicy.types import Action


@runtime_checkable
class Policy(Protocol):
    """π(a|s): chooses actions in states, and says how likely each decision of an action was.

    The law: ``log_prob(s, a)[t] == distribution(s ⊕ a[:t]).log_prob(a[t])``, where s ⊕ a[:t] is the
    state after the first t decisions of a. An MLP's action is one decision, so t = 0; a language
    model's state grows by a token each.
    """

    def distribution(self, states: Any, /) -> torch.distributions.Distribution:
        """The distribution π(·|s) of the next single decision in each of the B states."""
        ...

    def act(
        self, states: Any, /, *, greedy: bool = False, generator: torch.Generator | None = None
    ) -> Action:
        """Choose an action in each state: sample it, or take the mode if greedy; log_prob and mask
        are (B, T).
        """
        ...

    def log_prob(self, states: Any, actions: Any, /) -> tuple[torch.Tensor, torch.Tensor]:
        """The log-probability of every decision and the mask of those that count, both (B, T);
        differentiable.
        """
        ...

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """The parameters that an optimiser may change."""
        ...


class Actor(Protocol):
    """What chooses actions, and that alone."""

    def act(
        self, states: Any, /, *, greedy: bool = False, generator: torch.Generator | None = None
    ) -> Action:
        """Choose an action in each state."""
        ...


class Held(Protocol):
    """What a policy keeps of states between turns."""

    def drop(self, token_ids: Sequence[int], /) -> None:
        """Let go of a state that nothing follows, with the action taken in it."""
        ...


@runtime_checkable
class Remembering(Protocol):
    """A policy that can keep what it has read and written for the turns that follow."""

    def remembering(self) -> AbstractContextManager[Held]:
        """While it lasts, its weights do not change."""
        ...
