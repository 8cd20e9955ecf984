"""The lengths up to which a policy was seen to be a function of each row's context alone."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm.checks import train_mode
from llmpolicy.policies.causal_lm.forward import bare, is_there, vocabulary
from llmpolicy.policies.causal_lm.frequencies import check_lengths, grows_past
from llmpolicy.policies.causal_lm.generate import generate
from llmpolicy.policies.causal_lm.states import counts_columns
from llmpolicy.policies.causal_lm.trial import log_apart

if TYPE_CHECKING:
    from llmpolicy.policies.causal_lm.policy import CausalLMPolicy

_NAMES = ("position", "window", "chunk", "floor", "length", "_len", "context", "block", "local")
_BEFORE, _STEPS, _SHORT = 8, 16, 5


class Lengths:
    """Looks at a policy on both sides of each length that its configuration names, once rows come to be longer."""

    def __init__(self, policy: "CausalLMPolicy") -> None:
        self.policy = policy
        self.named = sorted(set(_named(bare(policy.model).config.get_text_config(decoder=True).to_dict())))
        self.seen: set[int] = set()

    def check(self, lengths: Sequence[int], more: int = 0) -> None:
        """Raise PolicyError unless the model is one policy for rows of so many tokens, and ``more`` that may follow."""
        check_lengths(self.policy.model, lengths, more)
        longest = max(lengths, default=0)
        for limit in self.named:
            if limit < longest + more and limit not in self.seen:
                self.seen.add(limit)  # at first: the look asks the policy too
                try:
                    self._look(limit)
                except PolicyError:
                    self.seen.remove(limit)
                    raise

    def check_stock(self, lengths: Sequence[int], more: int) -> None:
        """Raise PolicyError where a sampler of TRL's would read rows otherwise, which pads them and knows one length a batch."""
        model = self.policy.model
        if grows_past(model, lengths, more) or counts_columns(model, max(lengths) + more):
            raise PolicyError(
                f"{self.policy.name} reads a row by the columns of its whole batch when TRL samples; expected the policy's own "
                "sampler: top_p 1, top_k 0, no min_p, repetition_penalty 1, no generation_kwargs, whole weights"
            )

    @torch.no_grad()
    def _look(self, limit: int) -> None:
        """Write a long row beside a short one across the limit; score them together, alone, and only up to the limit."""
        policy, model = self.policy, self.policy.model
        if not is_there(model):
            return
        start = max(1, limit - _BEFORE)
        steps = min(_STEPS, (policy.context or start + _STEPS) - start)
        ids = (torch.arange(start) * 7919 % vocabulary(model)).tolist()
        prompts, before = [ids, ids[:_SHORT]], max(limit - start, 1)
        with train_mode(model):
            written = generate(
                model, prompts, max_new_tokens=steps, temperature=policy.temperature, stop_ids=[],
                pad_id=policy.pad_id, greedy=True,
            )  # fmt: skip
            actions = written.token_ids
            together = policy.score(prompts, actions)[0].log_prob  # (2, T)
            padded = policy.score(prompts, actions, padded=True)[0].log_prob
            alone = torch.cat([policy.score([p], [a])[0].log_prob for p, a in zip(prompts, actions, strict=True)])
            part = policy.score([ids], [actions[0][:before]])[0].log_prob
        self._same(alone, torch.tensor(written.log_probs, device=alone.device), limit, "while it is written")
        self._same(alone, together, limit, "beside another")
        self._same(alone, padded, limit, "beside padding")
        self._same(alone[:1, :before], part, limit, "before it goes on")

    def _same(self, expected: Tensor, found: Tensor, limit: int, when: str) -> None:
        apart = float(log_apart(expected, found).mean())
        if apart > (1e-3 if next(self.policy.model.parameters()).dtype == torch.float32 else 0.2):
            raise PolicyError(
                f"{self.policy.name} reads a row around {limit} tokens, a length that its configuration names, otherwise "
                f"{when} (by {apart:.2g} nats a token); expected prompt and completion of at most {limit} tokens "
                "together, where its π is a function of the context"
            )


def _named(config: dict[str, Any]) -> Iterator[int]:
    """The lengths that a configuration names, whatever for."""
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _named(value)
        elif isinstance(value, int) and value > 1 and any(word in name for word in _NAMES):
            yield value
