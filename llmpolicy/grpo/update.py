"""One optimiser window as groups: micro-batches of whole groups by token budget, with the gradient
of the whole window.

TRL computes every loss; here it is asked for parts of a window, each weighted by its share of the
window's rows, or (for losses that divide by the window's tokens) as it is. The reference is TRL
with gradient_accumulation_steps=1 on the window's rows. Rows whose advantage is exactly 0 cannot
contribute when beta is 0: they are not forwarded.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from trl.trainer.utils import split_tensor_dict

from llmpolicy.errors import PolicyError
from llmpolicy.grpo.groups import Inputs, equal_rewards, joined, live_rows, shuffled_groups, subset
from llmpolicy.grpo.path import BY_ROWS
from llmpolicy.policies.causal_lm.fast.rows import Rows
from llmpolicy.policies.causal_lm.fast.score_groups import score_groups
from llmpolicy.policies.causal_lm.out_of_memory import random_state, say_once, unless_out_of_memory
from llmpolicy.policies.causal_lm.score import Scored
from llmpolicy.policies.causal_lm.states import is_recurrent

_HELD = 1.25
"""Tokens of a pass for each that TRL would hold with its logits, which are not held here: long
passes are faster.
"""


@dataclass
class Window:
    """What the trainer's scorer is to do just now, and the micro-steps that wait for the rest of
    their window.
    """

    parts: list[Inputs] = field(default_factory=list)
    held: ExitStack | None = None
    given: Scored | None = None
    last: Scored | None = None
    divisor: int = 1
    """By how much passes are smaller than they may be, since memory ran out."""


def score_padded(
    window: Window,
    model: torch.nn.Module,
    input_ids: Tensor,
    attention_mask: Tensor,
    keep: int,
    temperature: float,
    entropy: bool,
    budget: int,
) -> Scored:
    """What TRL's ``_get_per_token_logps_and_entropies`` is asked for, by groups; figures are (B,
    keep).
    """
    if window.given is not None:
        return window.given
    rows = Rows(input_ids, attention_mask, keep)
    if window.held is not None:  # one pass, whose size was decided
        window.last = score_groups(model, rows, temperature, entropy=entropy, held=window.held)
        return window.last
    score_in = partial(score_groups, model, rows, temperature, entropy=entropy)
    while True:
        limit = max(budget // window.divisor, 1)
        scored: Scored | None = unless_out_of_memory(partial(score_in, budget=limit))
        if scored is not None:
            window.last = scored
            return scored
        if limit == 1 or torch.is_grad_enabled():
            raise PolicyError(
                "memory ran out while one completion was scored; lower max_completion_length"
            )
        say_once("scoring")
        window.divisor *= 2


def window_loss(
    trainer: Any, model: torch.nn.Module, stock_loss: Callable[..., Tensor], inputs: Inputs
) -> Tensor:
    """The loss of a window's last micro-step, its gradient accumulated already; 0 for the
    micro-steps before.

    ``stock_loss(model, inputs)`` is TRL's ``_compute_loss``. What is returned has no way back to
    the weights.
    """
    window: Window = trainer.window
    window.parts.append(inputs)
    if not _is_complete(trainer):
        return torch.zeros((), device=trainer.accelerator.device, requires_grad=True)
    whole, steps = joined(window.parts), len(window.parts)
    window.parts = []
    # TRL takes the mean over the rows it is given, divided by the micro-steps of an update.
    share = steps / len(whole["advantages"]) if trainer.loss_type in BY_ROWS else None
    live = live_rows(whole, trainer.beta)
    seen = _gradients(trainer, model, stock_loss, whole, live, steps, share)
    loss = _record(trainer, model, stock_loss, whole, live, seen)
    return (loss if share is None else loss * steps).detach().requires_grad_()


def _gradients(
    trainer: Any,
    model: torch.nn.Module,
    stock_loss: Callable[..., Tensor],
    whole: Inputs,
    live: list[int],
    steps: int,
    share: float | None,
) -> Tensor:
    """Accumulate the window's gradient; its log-probabilities and entropies, (2, B, T).

    When memory runs out the gradient goes back to what it was before the window, and the passes
    become smaller.
    """
    again = _noted(model, trainer.accelerator.device)
    batches = _batches(trainer, whole, live, steps)
    back = partial(_back_propagated, trainer, model, stock_loss, whole, share)
    while True:
        seen: Tensor | None = unless_out_of_memory(partial(back, batches))
        if seen is not None:
            return seen
        _check_can_shrink(trainer, batches)
        say_once("an update")
        again()
        passes = len(batches)
        while len(batches) == passes and max(len(batch.rows) for batch in batches) > 1:
            trainer.window.divisor *= 2
            batches = _batches(trainer, whole, live, steps)


def _check_can_shrink(trainer: Any, batches: list["_Batch"]) -> None:
    """Raise PolicyError where a window cannot be made again: with others that have gone on, or of
    single rows.
    """
    advice = (
        "lower max_completion_length, set gradient_checkpointing: true, or load a smaller model"
    )
    if trainer.accelerator.num_processes > 1:
        raise PolicyError(
            "memory ran out in an update of several processes, which cannot be made again by one"
            " of them alone: lower per_device_train_batch_size and raise"
            f" gradient_accumulation_steps, or {advice}"
        )
    if max(len(batch.rows) for batch in batches) == 1:
        raise PolicyError(
            f"memory ran out in the update although each completion was taken alone: {advice}"
        )


def _noted(model: torch.nn.Module, device: torch.device) -> Callable[[], None]:
    """Note gradients and random numbers; the call goes back to them. Between optimiser steps there
    are no gradients.
    """
    random = random_state(device)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    kept = [
        None if one.grad is None else one.grad.detach().to("cpu", copy=True) for one in parameters
    ]

    def restore() -> None:
        random()
        for parameter, gradient in zip(parameters, kept, strict=True):
            parameter.grad = None if gradient is None else gradient.to(parameter.device, copy=True)

    return restore


def _back_propagated(
    trainer: Any,
    model: torch.nn.Module,
    stock_loss: Callable[..., Tensor],
    whole: Inputs,
    share: float | None,
    batches: list["_Batch"],
) -> Tensor:
    seen = torch.zeros(
        2, *whole["completion_mask"].shape, device=trainer.accelerator.device
    )  # (2, B, T)
    for place, batch in enumerate(batches):
        weight = batch.weight * (1.0 if share is None else share * len(batch.rows))
        with trainer.accelerator.no_sync(model) if place + 1 < len(batches) else nullcontext():
            scored = _backward(trainer, model, stock_loss, batch.inputs, weight)
        if batch.weight:
            seen[:, batch.rows] = scored
    if not batches:
        _no_gradient(model)
    return seen


def _is_complete(trainer: Any) -> bool:
    """Whether this micro-step is the last of an optimiser step, or the last of its generation."""
    steps = trainer.args.steps_per_generation
    return bool(trainer.accelerator.sync_gradients) or trainer._step % steps == steps - 1


def _backward(
    trainer: Any,
    model: torch.nn.Module,
    stock_loss: Callable[..., Tensor],
    inputs: Inputs,
    weight: float,
) -> Tensor:
    """Accumulate the gradient of some rows' weighted loss; returns their log-probabilities and
    entropies, (2, b, T).
    """
    with _unrecorded(trainer), _unshared(trainer.accelerator), ExitStack() as held:
        trainer.window.held = held
        try:
            trainer.accelerator.backward(stock_loss(model, inputs) * weight)
        finally:
            trainer.window.held = None
    scored: Scored = trainer.window.last
    assert scored.entropy is not None
    return torch.stack([scored.log_prob.detach(), scored.entropy]).float()


@contextmanager
def _unrecorded(trainer: Any) -> Iterator[dict[str, list[float]]]:
    """TRL's metrics of a part of a window are not those of the window: they are kept apart."""
    kept, trainer._metrics["train"] = trainer._metrics["train"], defaultdict(list)
    try:
        yield trainer._metrics["train"]
    finally:
        trainer._metrics["train"] = kept


@contextmanager
def _unshared(accelerator: Any) -> Iterator[None]:
    """TRL gathers metrics by row: of a part of a window, which has other rows on each process, none
    are exchanged.
    """
    accelerator.gather = accelerator.reduce = lambda figures, **_: figures
    try:
        yield
    finally:
        del accelerator.gather, accelerator.reduce


def _record(
    trainer: Any,
    model: torch.nn.Module,
    stock_loss: Callable[..., Tensor],
    whole: Inputs,
    live: list[int],
    seen: Tensor,
) -> Tensor:
    """Let TRL compute loss and metrics of the whole window from what was scored; returns its loss.

    A row that was not forwarded has advantage 0, and no loss, clipping or ratio of it counts. Its
    entropy and its weight in VESPO are not known: these are then means over the other rows, and
    named ``.../live``.
    """
    log_prob, entropies = seen
    mask = whole["completion_mask"].float()  # (B, T)
    out = torch.ones(len(mask), dtype=torch.bool, device=mask.device)
    out[live] = False
    sums = torch.stack([(entropies * mask)[~out].sum(), mask[~out].sum(), out.sum(), (~out).sum()])
    entropy, tokens, left_out, kept = trainer.accelerator.reduce(sums, reduction="sum")
    entropies[out] = entropy / tokens  # NaN, which the log leaves out, if no row is live
    if (old := whole.get("old_per_token_logps")) is not None:
        log_prob[out] = old[out].float()  # ratio 1
    trainer.window.given = Scored(log_prob, entropies)
    try:
        with torch.no_grad(), _unrecorded(trainer) as found:
            loss = stock_loss(model, whole)
    finally:
        trainer.window.given = None
    for name, values in found.items():
        if left_out > 0 and name == "vespo/phi_seq_mean":
            values = [float((value * (kept + left_out) - left_out) / kept) for value in values]
        live_only = left_out > 0 and name in ("entropy", "vespo/phi_seq_mean")
        trainer._metrics["train"][f"{name}/live" if live_only else name].extend(values)
    return loss


def without_signal(trainer: Any) -> Tensor:
    """The rows, (B,) of all processes, whose advantages are 0: their group's rewards, or each of
    their terms, are equal.
    """
    table, weights, size = trainer.generation.table, trainer.reward_weights, trainer._group_size
    if trainer.multi_objective_aggregation == "sum_then_normalize":
        return equal_rewards(table, weights, size)
    terms = [
        equal_rewards(table[:, [term]], torch.ones(1), size)
        for term in weights.nonzero()[:, 0].tolist()
    ]
    return torch.stack(terms).all(0)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Rows that are back-propagated together, and 1, or 0 for one that only keeps the processes in
    step.
    """

    rows: list[int]
    inputs: Inputs
    weight: float


def _batches(trainer: Any, whole: Inputs, live: list[int], steps: int) -> list[_Batch]:
    """The micro-batches of a window of so many micro-steps, as many on every process."""
    ids = torch.cat([whole["prompt_ids"], whole["completion_ids"]], dim=1)
    mask = torch.cat([whole["prompt_mask"], whole["completion_mask"]], dim=1)
    budget = max(
        (trainer.token_budget or int(_HELD * ids.numel()) // steps) // trainer.window.divisor, 1
    )
    rows = Rows(ids, mask, whole["completion_ids"].shape[1])
    parts = rows.batches(live, budget, once=not is_recurrent(trainer.policy.model))
    batches = [_Batch(part, subset(whole, part), 1.0) for part in parts]
    if trainer.accelerator.num_processes > 1:
        counted = trainer.accelerator.gather(torch.tensor([len(batches)], device=ids.device))
        # Processes exchange gradients in the last backward of an optimiser step, those of its
        # earlier windows too.
        most = max(int(counted.max()), int(trainer.accelerator.sync_gradients))
        filler = subset(whole, [0])
        # A token that was chosen: at a place that is padded a loss may be infinite, and 0 times it
        # no number.
        filler["completion_mask"] = torch.zeros_like(filler["completion_mask"])
        filler["completion_mask"][:, 0] = 1
        batches += [_Batch([0], filler, 0.0)] * (most - len(batches))
    return batches


def _no_gradient(model: torch.nn.Module) -> None:
    """Leave a gradient of 0, as TRL does: an optimiser treats a parameter without gradient
    otherwise.
    """
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)


def next_inputs(trainer: Any, generation_batch: Any) -> Inputs:
    """The rows of this micro-step, of a new generation when the last is used up; TRL shuffles rows,
    here groups are.
    """
    steps = trainer.args.steps_per_generation
    if trainer._step % (steps * trainer.num_iterations) == 0 or trainer._buffered_inputs is None:
        made = trainer._generate_and_score_completions(generation_batch)
        trainer._buffered_inputs = split_tensor_dict(
            shuffled_groups(made, trainer.num_generations), steps
        )
    inputs: Inputs = trainer._buffered_inputs[trainer._step % steps]
    return inputs
