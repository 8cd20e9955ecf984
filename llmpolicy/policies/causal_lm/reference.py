"""The policy as it was at the start, which a KL term or a drift measures against."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm import adapter
from llmpolicy.policies.causal_lm.folding import detached

if TYPE_CHECKING:
    from llmpolicy.policies.causal_lm.policy import CausalLMPolicy

_SAMPLE = 16


class Reference:
    """π at the start.

    With an adapter it is the same model with that adapter off, or with its frozen copy ``ref``;
    with full weights it is a second model, copied when it is first needed (or by ``freeze``), since
    it takes as much memory again.
    """

    def __init__(self, policy: "CausalLMPolicy", *, fresh: bool) -> None:
        self._policy = policy
        self._model: Any = None
        self._start: Tensor | None = None
        self._adapter: str | None = None  # none is on
        if not policy.is_adapter:
            self._start = _fingerprint(policy.model)
        elif not fresh:
            adapter.freeze_copy(policy.model)
            self._adapter = adapter.REFERENCE

    @property
    def kind(self) -> str:
        """What the reference is, in words."""
        if not self._policy.is_adapter:
            return "the model as it was at the start"
        if self._adapter is None:
            return "the base model, adapter off"
        return "the adapter as it was at the start"

    @property
    def model(self) -> Any:
        """The frozen copy of full weights (made now if need be); None with an adapter."""
        return None if self._policy.is_adapter else self.freeze()._model

    def freeze(self) -> "Reference":
        """Copy full weights unless that was done; raises PolicyError if they have been changed
        since the start.
        """
        if self._model is None and self._start is not None:
            now = _fingerprint(self._policy.model)
            if now.shape != self._start.shape or not torch.equal(now, self._start):
                raise PolicyError(
                    "the weights have changed since the policy was made, so its reference is lost; "
                    "expected policy.freeze_reference() before the first update"
                )
            self._model = detached(self._policy.model).eval().requires_grad_(False)
        return self

    def log_prob(
        self, prompts: Sequence[Any], actions: Sequence[Any], *, batch_size: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """The log-probability under the start of every decision, and its mask, both (B, T); no
        gradient.
        """
        padded = torch.is_grad_enabled()  # as the policy's own, so that both round alike
        model = self.model
        acting: AbstractContextManager[None] = nullcontext()
        if model is None:
            model = self._policy.model
            acting = adapter.active(model, self._adapter)
        with acting, torch.no_grad():
            scored, mask = self._policy.score(
                prompts, actions, batch_size=batch_size, model=model, padded=padded
            )
        return scored.log_prob, mask


def _fingerprint(model: nn.Module) -> Tensor:
    """A few numbers of every weight tensor: any optimiser step changes them, however it writes the
    weights.
    """
    starts = [p.detach().flatten()[:_SAMPLE].cpu() for p in model.parameters() if not p.is_meta]
    return torch.cat([torch.zeros(0, dtype=torch.float64), *starts])
