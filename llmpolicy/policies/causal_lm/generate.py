"""The one generator: samples exactly π(token|context) = softmax(logits / temperature) over the
whole vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from llmpolicy.episode import Turn
from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm.choose import choose
from llmpolicy.policies.causal_lm.fast.memory import memory_of
from llmpolicy.policies.causal_lm.fast.read import Reader
from llmpolicy.policies.causal_lm.fast.writing import reading
from llmpolicy.policies.causal_lm.frequencies import check_lengths
from llmpolicy.policies.causal_lm.out_of_memory import random_state, say_once, unless_out_of_memory

LOOK_EVERY = {"cpu": 1}
"""Tokens after which the host looks which rows have ended; 8 where it would have to wait for the
device.
"""


def generate(
    model: nn.Module,
    prompt_ids: Sequence[Sequence[int]],
    *,
    max_new_tokens: int | Sequence[int],
    temperature: float,
    stop_ids: Sequence[int],
    pad_id: int,
    greedy: bool = False,
    generator: torch.Generator | None = None,
) -> list[Turn]:
    """Continue each prompt until one of stop_ids was chosen (it is kept) or max_new_tokens were,
    one number for all or one for each.

    A prompt that is there several times (a group) is read once, and within `remembering` a row that
    goes on with a dialogue from where it was read. The mode of the model (train or
    eval) is left as it is. Tokens are drawn on the generator's device, so that a CPU generator
    serves a model anywhere; without one, the global stream of the model's device is used. When
    memory runs out, fewer rows are written at once: from the same stream, but which row gets which
    number is another. Raises PolicyError if a prompt is empty, if it leaves too little of the
    context, if the logits are not finite, or if there is no memory for one row.
    """
    limits = _limits(prompt_ids, max_new_tokens)
    _check(model, prompt_ids, limits)
    again = random_state(next(model.parameters()).device, generator)
    rows = list(zip(prompt_ids, limits, strict=True))
    size = min(len(rows), _rows_at_once.get(model, len(rows)))
    write = partial(_written, model, temperature, stop_ids, pad_id, greedy, generator)
    while True:
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        turns: list[Turn] | None = unless_out_of_memory(partial(_each, write, parts))
        if turns is not None:
            return turns
        if size == 1:
            raise PolicyError(
                f"memory ran out while one completion of up to {max(limits)} tokens was written;"
                " lower max_completion_length, or load the model in 16 or 4 bits, or a smaller one"
            )
        say_once("generation")
        if (memory := memory_of(model)) is not None:
            memory.clear()
        again()
        size = _rows_at_once[model] = (size + 1) // 2


def _each(write: Callable[..., list[Turn]], parts: Sequence[Any]) -> list[Turn]:
    return [turn for part in parts for turn in write(part)]


_rows_at_once: "WeakKeyDictionary[nn.Module, int]" = WeakKeyDictionary()
"""How many rows a model writes at once since its memory ran out."""


@torch.inference_mode()
def _written(
    model: nn.Module,
    temperature: float,
    stop_ids: Sequence[int],
    pad_id: int,
    greedy: bool,
    generator: torch.Generator | None,
    rows: Sequence[tuple[Sequence[int], int]],
) -> list[Turn]:
    """All rows at once, each a prompt and its most new tokens."""
    device = next(model.parameters()).device
    prompt_ids, limits = zip(*rows, strict=True)
    prompts = list(dict.fromkeys(map(tuple, prompt_ids)))
    index = {ids: number for number, ids in enumerate(prompts)}
    prompt_of = torch.tensor([index[tuple(ids)] for ids in prompt_ids], device=device)  # (B,)
    stop = torch.tensor(list(stop_ids), dtype=torch.long, device=device)
    reads = reading(model, prompts, prompt_of, max(limits), pad_id)
    with _no_checkpointing(model), reads as reader:
        steps = list(_steps(reader, prompt_of, limits, temperature, stop, greedy, generator))
    turns = _by_row(steps, rows, set(stop_ids))
    if (memory := memory_of(model)) is not None:
        memory.keep(turns)
    return turns


@dataclass(frozen=True, slots=True)
class _Step:
    """What the rows that are still being written chose, and those that the host has not yet seen to
    have ended; all (b,).
    """

    rows: Tensor
    token: Tensor
    log_prob: Tensor


def _steps(
    reader: Reader,
    prompt_of: Tensor,
    limits: Sequence[int],
    temperature: float,
    stop: Tensor,
    greedy: bool,
    generator: torch.Generator | None,
) -> Iterator[_Step]:
    """One token for every unfinished row a step; a row that stopped, or has as many as it may,
    leaves the batch at the next look.
    """
    rows = torch.arange(len(prompt_of), device=prompt_of.device)  # (b,)
    every = LOOK_EVERY.get(rows.device.type, 8)
    going, most = torch.ones_like(rows, dtype=torch.bool), max(limits)
    limit = torch.tensor(limits, device=rows.device)  # (b,)
    finite = torch.ones((), dtype=torch.bool, device=rows.device)
    logits = reader.prompts()[prompt_of]  # (b, V)
    for t in range(1, most + 1):
        chosen = choose(logits, temperature, greedy, generator)
        token, finite = chosen.token, finite & chosen.finite
        going = going & ~torch.isin(token, stop) & (limit > t)
        yield _Step(rows, token, chosen.log_prob)
        if t % every == 0 or t == most:
            goes_on = _look(going, finite)
            if not any(goes_on):
                return
            if not all(goes_on):
                left = torch.tensor(goes_on, device=rows.device).nonzero()[:, 0]
                rows, token, going, limit = rows[left], token[left], going[left], limit[left]
                reader.leave(left)
        logits = reader.tokens(token)


def _look(going: Tensor, finite: Tensor) -> list[bool]:
    """Which rows go on, in the one trip of their figures to the host; raises PolicyError if a logit
    was no number.
    """
    *goes_on, all_finite = torch.cat([going, finite[None]]).tolist()
    if not all_finite:
        raise PolicyError(
            "the model's logits are not finite, expected finite weights (did training diverge?)"
        )
    return goes_on


def _by_row(
    steps: Sequence[_Step], rows: Sequence[tuple[Sequence[int], int]], stop_ids: set[int]
) -> list[Turn]:
    actions: list[list[int]] = [[] for _ in rows]
    log_probs: list[list[float]] = [[] for _ in rows]
    order = torch.cat([step.rows for step in steps])
    tokens = torch.cat([step.token for step in steps])
    figures = torch.cat([step.log_prob for step in steps])
    columns = (order.tolist(), tokens.tolist(), figures.tolist())
    for row, token, log_prob in zip(*columns, strict=True):
        action = actions[row]
        if len(action) == rows[row][1] or action and action[-1] in stop_ids:
            continue  # it went on until the host looked
        action.append(token)
        log_probs[row].append(log_prob)
    turns = []
    for (state, _), action, noted in zip(rows, actions, log_probs, strict=True):
        stopped = action[-1] in stop_ids
        turns.append(Turn(list(state), action, noted, stopped, not stopped))
    return turns


def _limits(
    prompt_ids: Sequence[Sequence[int]], max_new_tokens: int | Sequence[int]
) -> Sequence[int]:
    """The most new tokens of each row."""
    if isinstance(max_new_tokens, int):
        return [max_new_tokens] * len(prompt_ids)
    if len(max_new_tokens) != len(prompt_ids):
        raise PolicyError(
            f"max_new_tokens has {len(max_new_tokens)} numbers for {len(prompt_ids)} prompts;"
            " expected one number for all, or one for each"
        )
    return max_new_tokens


def _check(model: nn.Module, prompt_ids: Sequence[Sequence[int]], limits: Sequence[int]) -> None:
    if not prompt_ids:
        raise PolicyError("there is no prompt to continue; expected at least one")
    if min(limits) < 1:
        raise PolicyError(f"max_new_tokens is {min(limits)}; expected at least 1")
    lengths = [len(ids) for ids in prompt_ids]
    if min(lengths) == 0:
        raise PolicyError(
            f"prompt {lengths.index(0)} is empty; expected at least one token to start from"
        )
    check_lengths(model, lengths, limits)


@contextmanager
def _no_checkpointing(model: nn.Module) -> Iterator[None]:
    """Gradient checkpointing would silently drop the key-value cache in train mode: off while
    tokens are chosen.
    """
    layers: list[Any] = [
        module
        for module in model.modules()
        if getattr(module, "gradient_checkpointing", False) is True
    ]
    for layer in layers:
        layer.gradient_checkpointing = False
    try:
        yield
    finally:
        for layer in layers:
            layer.gradient_checkpointing = True
