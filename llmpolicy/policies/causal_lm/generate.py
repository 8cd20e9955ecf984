"""The one generator: samples exactly π(token|context) = softmax(logits / temperature) over the whole vocabulary."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm.forward import accepts, bare, forward, left_pad, positions


@dataclass(frozen=True, slots=True)
class Generated:
    """One completion a row: its tokens (the stop token included), the log-probability of each, whether it stopped."""

    token_ids: list[list[int]]
    log_probs: list[list[float]]
    terminated: list[bool]


@torch.no_grad()
def generate(
    model: nn.Module,
    prompt_ids: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperature: float,
    stop_ids: Sequence[int],
    pad_id: int,
    greedy: bool = False,
    generator: torch.Generator | None = None,
) -> Generated:
    """Continue each prompt until one of stop_ids was chosen (it is kept) or max_new_tokens were.

    A prompt that is there several times (a group) is read once. The mode of the model (train or eval) is left as it is.
    Tokens are drawn on the generator's device, so that a CPU generator serves a model anywhere; without one, the global
    stream of the model's device is used.
    Raises PolicyError if a prompt is empty, if it leaves too little of the context, or if the logits are not finite.
    """
    _check(model, prompt_ids, max_new_tokens)
    device = next(model.parameters()).device
    distinct = {tuple(ids): place for place, ids in enumerate(dict.fromkeys(map(tuple, prompt_ids)))}
    group = torch.tensor([distinct[tuple(ids)] for ids in prompt_ids], device=device)  # (B,): each row's prompt
    input_ids, prompt_mask = left_pad(list(distinct), pad_id, device)  # (D, P)
    stop = torch.tensor(list(stop_ids), dtype=torch.long, device=device)
    with _no_checkpointing(model):
        steps = list(_steps(model, input_ids, prompt_mask, group, max_new_tokens, temperature, stop, greedy, generator))
    return _by_row(steps, len(group), set(stop_ids))


@dataclass(frozen=True, slots=True)
class _Step:
    """What the rows that are still being written chose; all (b,)."""

    rows: Tensor
    token: Tensor
    log_prob: Tensor


def _steps(
    model: nn.Module,
    input_ids: Tensor,
    prompt_mask: Tensor,
    group: Tensor,
    max_new_tokens: int,
    temperature: float,
    stop: Tensor,
    greedy: bool,
    generator: torch.Generator | None,
) -> Iterator[_Step]:
    """One token for every unfinished row a step; a row that stopped leaves the batch and its cache.

    The first pass reads each of the D distinct prompts; then prompt ``group[row]`` is what row goes on from.
    """
    width = prompt_mask.shape[1]
    mask = torch.nn.functional.pad(prompt_mask, (0, max_new_tokens), value=1)  # (D, P + T), then (b, P + T)
    position_ids = positions(prompt_mask)  # (D, P), then (b, 1)
    rows = torch.arange(len(group), device=group.device)  # (b,)
    cache = DynamicCache(config=bare(model).config.get_text_config(decoder=True))
    for t in range(max_new_tokens):
        logits, _ = forward(
            model, input_ids, mask[:, : width + t], position_ids, 1, past_key_values=cache, use_cache=True
        )
        log_probs = torch.log_softmax(logits[:, -1].float() / temperature, dim=-1)  # (D, V), then (b, V)
        if t == 0 and len(input_ids) < len(group):
            log_probs, mask, position_ids = log_probs[group], mask[group], position_ids[group]
            cache.batch_select_indices(group)
        token = _choose(log_probs, greedy, generator)  # (b,)
        yield _Step(rows, token, log_probs.gather(1, token[:, None])[:, 0])
        going = (~torch.isin(token, stop)).nonzero()[:, 0]  # the rows that have not stopped
        if not len(going):
            return
        if len(going) < len(rows):
            rows, token, mask, position_ids = rows[going], token[going], mask[going], position_ids[going]
            cache.batch_select_indices(going)
        input_ids, position_ids = token[:, None], position_ids[:, -1:] + 1


def _choose(log_probs: Tensor, greedy: bool, generator: torch.Generator | None) -> Tensor:
    """One token a row, (b,), from log-probabilities (b, V)."""
    if log_probs[:, 0].isnan().any():  # one bad logit makes its whole row NaN
        raise PolicyError("the model's logits are not finite, expected finite weights (did training diverge?)")
    if greedy:
        return log_probs.argmax(-1)
    probs = log_probs.exp()
    if generator is not None:
        probs = probs.to(generator.device)
    return torch.multinomial(probs, 1, generator=generator)[:, 0].to(log_probs.device)


def _by_row(steps: Sequence[_Step], rows: int, stop_ids: set[int]) -> Generated:
    token_ids: list[list[int]] = [[] for _ in range(rows)]
    log_probs: list[list[float]] = [[] for _ in range(rows)]
    flat = [torch.cat([getattr(step, name) for step in steps]).tolist() for name in ("rows", "token", "log_prob")]
    for row, token, log_prob in zip(*flat, strict=True):
        token_ids[row].append(token)
        log_probs[row].append(log_prob)
    return Generated(token_ids, log_probs, [row[-1] in stop_ids for row in token_ids])


def _check(model: nn.Module, prompt_ids: Sequence[Sequence[int]], max_new_tokens: int) -> None:
    if max_new_tokens < 1:
        raise PolicyError(f"max_new_tokens is {max_new_tokens}; expected at least 1")
    if not accepts(model, "past_key_values"):
        raise PolicyError(
            f"{type(bare(model)).__name__} takes no past_key_values; expected a model with a key-value cache"
        )
    if not prompt_ids:
        raise PolicyError("there is no prompt to continue; expected at least one")
    lengths = [len(ids) for ids in prompt_ids]
    if min(lengths) == 0:
        raise PolicyError(f"prompt {lengths.index(0)} is empty; expected at least one token to start from")
    context = context_length(model)
    if context and max(lengths) + max_new_tokens > context:
        row = lengths.index(max(lengths))
        raise PolicyError(
            f"prompt {row} has {lengths[row]} tokens and max_new_tokens is {max_new_tokens}, "
            f"{lengths[row] + max_new_tokens} in all; the model's context is {context}"
        )


def context_length(model: nn.Module) -> int | None:
    """The number of tokens that the model's configuration allows, None if it names none."""
    config = bare(model).config.get_text_config(decoder=True)
    return getattr(config, "max_position_embeddings", None)


@contextmanager
def _no_checkpointing(model: nn.Module) -> Iterator[None]:
    """Gradient checkpointing would silently drop the key-value cache in train mode: off while tokens are chosen."""
    layers: list[Any] = [
        module for module in model.modules() if getattr(module, "gradient_checkpointing", False) is True
    ]
    for layer in layers:
        layer.gradient_checkpointing = False
    try:
        yield
    finally:
        for layer in layers:
            layer.gradient_checkpointing = True
