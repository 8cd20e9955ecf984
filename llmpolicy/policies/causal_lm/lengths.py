"""The lengths up to which a policy was seen to be a function of each row's context alone."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm.forward import (
    is_there,
    text_config,
)
from llmpolicy.policies.causal_lm.frequencies import (
    check_lengths,
    check_whole,
    grows_past,
    reads_whole,
)
from llmpolicy.policies.causal_lm.generate import generate
from llmpolicy.policies.causal_lm.states import counts_columns
from llmpolicy.policies.causal_lm.trial import (
    in_words,
    log_apart,
    some_tokens,
    tolerance,
    train_mode,
)

if TYPE_CHECKING:
    from llmpolicy.policies.causal_lm.policy import CausalLMPolicy

_NAMES = (
    "position",
    "window",
    "chunk",
    "floor",
    "length",
    "_len",
    "context",
    "block",
    "local",
    "topk",
    "budget",
)
_BEFORE, _STEPS, _SHORT = 8, 16, 5


class Lengths:
    """Looks at a policy on both sides of each length that its configuration names, once rows come
    to be longer.
    """

    def __init__(self, policy: "CausalLMPolicy") -> None:
        self.policy = policy
        named = _named(text_config(policy.model).to_dict())
        self.named = sorted({*named, reads_whole(policy.model) or 0} - {0})
        self.seen: set[int] = set()

    def check(self, lengths: Sequence[int], more: int | Sequence[int] = 0) -> None:
        """Raise PolicyError unless the model is one policy for rows of so many tokens, and ``more``
        that may follow, all of them or each.
        """
        each = [more] * len(lengths) if isinstance(more, int) else more
        totals = [length + limit for length, limit in zip(lengths, each, strict=True)]
        check_lengths(self.policy.model, lengths, more)
        check_whole(self.policy.model, totals, 0, self.policy.name)
        longest = max(totals, default=0)
        for limit in self.named:
            if limit < longest and limit not in self.seen:
                self.seen.add(limit)  # at first: the look asks the policy too
                what = (
                    f"{self.policy.name} cannot read a row around {limit} tokens, a length that its"
                    " configuration names"
                )
                expected = f"prompt and completion of at most {limit} tokens together"
                try:
                    with in_words(what, expected):
                        self._look(limit)
                except PolicyError:
                    self.seen.remove(limit)
                    raise

    def check_stock(self, lengths: Sequence[int], more: int) -> None:
        """Raise PolicyError where a sampler of TRL's would read rows otherwise, which pads them and
        knows one length a batch.
        """
        model = self.policy.model
        if grows_past(model, lengths, more) or counts_columns(model, max(lengths) + more):
            raise PolicyError(
                f"{self.policy.name} reads a row by the columns of its whole batch when TRL"
                " samples; expected the policy's own sampler: top_p 1, top_k 0, no min_p,"
                " repetition_penalty 1, no generation_kwargs, whole weights"
            )

    @torch.no_grad()
    def _look(self, limit: int) -> None:
        """Write rows across the limit, a long one beside a short and a longer one; score them
        together, alone, and up to it.
        """
        policy, model = self.policy, self.policy.model
        if not is_there(model):
            return
        start = max(1, limit - _BEFORE)
        reach = min(
            [*filter(limit.__lt__, self.named), policy.context or start + 2 * _STEPS]
        )  # what is further has its own
        steps = min(_STEPS, reach - start)
        more = min(_BEFORE, reach - start - steps)  # of padding before the long row
        tokens = some_tokens(model, start + more).tolist()
        ids, before = tokens[:start], max(limit - start, 1)
        prompts = [ids, ids[:_SHORT], tokens]
        with train_mode(model):
            turns = generate(
                model, prompts, max_new_tokens=steps, temperature=policy.temperature, stop_ids=[],
                pad_id=policy.pad_id, greedy=True,
            )  # fmt: skip
            actions = [turn.action for turn in turns]
            together = policy.score(prompts, actions)[0].log_prob  # (3, T)
            padded = policy.score(prompts, actions, padded=True)[0].log_prob
            alone = policy.score(prompts, actions, batch_size=1)[0].log_prob
            part = policy.score([ids], [actions[0][:before]])[0].log_prob
            written = together.new_tensor([turn.log_probs for turn in turns])
        self._same(alone, written, limit, "while it is written")
        self._same(alone, together, limit, "beside another")
        self._same(alone, padded, limit, "beside padding")
        self._same(alone[:1, :before], part, limit, "before it goes on")

    def _same(self, expected: Tensor, answer: Tensor, limit: int, when: str) -> None:
        apart = float(log_apart(expected, answer).mean())
        if apart > tolerance(self.policy.model, 1e-3, 0.2):
            raise PolicyError(
                f"{self.policy.name} reads a row around {limit} tokens, a length that its"
                f" configuration names, otherwise {when} (by {apart:.2g} nats a token); expected"
                f" prompt and completion of at most {limit} tokens together, where its π is a"
                " function of the context"
            )


def _named(config: dict[str, Any]) -> Iterator[int]:
    """The lengths that a configuration names, whatever for."""
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _named(value)
        elif isinstance(value, int) and value > 1 and any(word in name for word in _NAMES):
            yield value
