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
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from llmpolicy.errors import PolicyError
from llmpolicy.grpo.groups import (
    Inputs,
    chosen_alone,
    counting,
    joined,
    live_rows,
    one_token,
    subset,
)
from llmpolicy.grpo.scorer import Asked, scoring
from llmpolicy.policies.causal_lm.fast.rows import Rows
from llmpolicy.policies.causal_lm.fast.score_groups import score_groups
from llmpolicy.policies.causal_lm.out_of_memory import random_state, say_once, unless_out_of_memory
from llmpolicy.policies.causal_lm.score import Scored
from llmpolicy.policies.causal_lm.states import is_recurrent
from llmpolicy.speed import BY_ROWS

if TYPE_CHECKING:
    from llmpolicy.grpo.trainer import PolicyTrainer

HELD = 1.25
"""Tokens of a pass for each that TRL would hold with its logits, which are not held here: long
passes are faster.
"""
OF_LIVE_ROWS = ("entropy", "vespo/phi_seq_mean")
"""Means that are not known of rows which were not forwarded."""
SMALLER = "lower max_completion_length, set gradient_checkpointing: true, or load a smaller model"


@dataclass(frozen=True)
class Window:
    """The rows of an optimiser step, or of what is left of a generation: their inputs as one batch,
    which of them are ``live``, and of how many micro-steps they are.
    """

    trainer: "PolicyTrainer"
    model: torch.nn.Module
    inputs: Inputs
    live: list[int]
    steps: int

    @property
    def by_rows(self) -> bool:
        """Whether TRL takes the mean over the rows it is given, divided by the micro-steps of an
        update; else it divides by the window's tokens, and a part's loss is a part of the loss.
        """
        return self.trainer.loss_type in BY_ROWS

    def part(self, rows: list[int]) -> Inputs:
        """The inputs of a micro-batch; without rows, of one that only keeps processes in step."""
        return subset(self.inputs, rows) if rows else one_token(self.inputs)

    def weight(self, rows: list[int]) -> float:
        """What the loss of a micro-batch weighs in the window's."""
        if not self.by_rows:
            return float(bool(rows))
        return self.steps / len(self.inputs["advantages"]) * len(rows)


def window_loss(trainer: "PolicyTrainer", model: torch.nn.Module, inputs: Inputs) -> Tensor:
    """The loss of a window's last micro-step, its gradient accumulated already; 0 for the
    micro-steps before, which wait for it. What is returned has no way back to the weights.
    """
    trainer.waiting.append(inputs)
    if not _is_complete(trainer):
        return torch.zeros((), device=trainer.accelerator.device, requires_grad=True)
    parts, trainer.waiting = trainer.waiting, []
    whole = joined(parts)
    live = live_rows(whole, by_advantage=trainer.beta == 0.0 and trainer.loss is None)
    window = Window(trainer, model, whole, live, len(parts))
    loss = _figures(window, _gradients(window))
    if window.by_rows:
        loss = loss * window.steps
    return loss.detach().requires_grad_()


def _is_complete(trainer: "PolicyTrainer") -> bool:
    """Whether this micro-step is the last of an optimiser step, or the last of its generation."""
    steps = trainer.args.steps_per_generation or 1
    return bool(trainer.accelerator.sync_gradients) or trainer._step % steps == steps - 1


def _gradients(window: Window) -> Scored:
    """Accumulate the window's gradient; its log-probabilities and entropies, (B, T) each.

    When memory runs out the gradient goes back to what it was before the window, and the passes
    become smaller.
    """
    go_back = _noted(window.model, window.trainer.accelerator.device)
    batches = micro_batches(window)
    while True:
        scored: Scored | None = unless_out_of_memory(partial(_back_propagated, window, batches))
        if scored is not None:
            return scored
        check_can_shrink(window.trainer, batches)
        say_once("an update")
        go_back()
        passes = len(batches)
        while len(batches) == passes and max(map(len, batches)) > 1:
            window.trainer.budget.divisor *= 2
            batches = micro_batches(window)


def check_can_shrink(trainer: "PolicyTrainer", batches: list[list[int]]) -> None:
    """Raise PolicyError where a window cannot be made again: with processes that have gone on, or
    of single rows.
    """
    if trainer.accelerator.num_processes > 1:
        raise PolicyError(
            "memory ran out in an update of several processes, which cannot be made again by one"
            " of them alone: lower per_device_train_batch_size and raise"
            f" gradient_accumulation_steps, or {SMALLER}"
        )
    if max(map(len, batches)) == 1:
        raise PolicyError(
            f"memory ran out in the update although each completion was taken alone: {SMALLER}"
        )


def _noted(model: torch.nn.Module, device: torch.device) -> Callable[[], None]:
    """Note gradients and random numbers; the call goes back to them. Between optimiser steps there
    are no gradients.
    """
    random = random_state(device)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients: dict[torch.nn.Parameter, Tensor] = {}
    for parameter in trained:
        if parameter.grad is not None:
            gradients[parameter] = parameter.grad.detach().to("cpu", copy=True)

    def go_back() -> None:
        random()
        for parameter in trained:
            parameter.grad = None
            if parameter in gradients:
                parameter.grad = gradients[parameter].to(parameter.device, copy=True)

    return go_back


def micro_batches(window: Window) -> list[list[int]]:
    """The rows of each micro-batch of a window, of which every process has as many."""
    trainer, inputs = window.trainer, window.inputs
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
    mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
    rows = Rows(ids, mask, inputs["completion_ids"].shape[1])
    budget = trainer.budget.of(int(HELD * ids.numel()) // window.steps)
    once = not is_recurrent(trainer.policy.model)
    batches = rows.batches(window.live, budget, once=once)
    if trainer.accelerator.num_processes > 1:
        counts = trainer.accelerator.gather(torch.tensor([len(batches)], device=ids.device))
        # Processes exchange gradients in the last backward of an optimiser step, those of its
        # earlier windows too.
        most = max(int(counts.max()), int(trainer.accelerator.sync_gradients))
        batches += [[]] * (most - len(batches))
    return batches


def _back_propagated(window: Window, batches: list[list[int]]) -> Scored:
    """Accumulate the gradient of all batches; the figures of rows in none of them are 0."""
    shape, accelerator = window.inputs["completion_mask"].shape, window.trainer.accelerator
    log_prob, entropy = torch.zeros(2, *shape, device=accelerator.device)  # (B, T) each
    for number, rows in enumerate(batches, start=1):
        with accelerator.no_sync(window.model) if number < len(batches) else nullcontext():
            scored = _backward(window, rows)
        if rows:
            assert scored.entropy is not None
            log_prob[rows] = scored.log_prob.detach().float()
            entropy[rows] = scored.entropy.float()
    if not batches:
        _no_gradient(window.model)
    return Scored(log_prob, entropy)


def _backward(window: Window, rows: list[int]) -> Scored:
    """Accumulate the gradient of a micro-batch's weighted loss; what was scored for it, in one pass
    whose size was decided.
    """
    trainer, answers, part = window.trainer, list[Scored](), window.part(rows)
    needed = chosen_alone(part)  # (b, T)
    with _unrecorded(trainer), _unshared(trainer.accelerator), ExitStack() as held:

        def in_one_pass(asked: Asked) -> Scored:
            scored = score_groups(
                asked.model,
                asked.rows,
                trainer.temperature,
                entropy=asked.entropy,
                held=held,
                needed=needed,
            )
            answers.append(scored)
            return scored

        with scoring(trainer, in_one_pass):
            loss = trainer._compute_loss(window.model, part)
            trainer.accelerator.backward(loss * window.weight(rows))
    return answers[-1]


def _no_gradient(model: torch.nn.Module) -> None:
    """Leave a gradient of 0, as TRL does: an optimiser treats a parameter without gradient
    otherwise.
    """
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)


@contextmanager
def _unrecorded(trainer: "PolicyTrainer") -> Iterator[dict[str, list[float]]]:
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


def _figures(window: Window, scored: Scored) -> Tensor:
    """Let TRL compute loss and metrics of the whole window from what was scored; returns its loss.

    A row that was not forwarded has advantage 0, and no loss, clipping or ratio of it counts. Its
    entropy and its weight in VESPO are not known: these are then means over the other rows, and
    named ``.../live``.
    """
    trainer, log_prob, entropy = window.trainer, scored.log_prob, scored.entropy
    assert entropy is not None
    mask = counting(window.inputs).float()  # (B, T)
    out = torch.ones(len(mask), dtype=torch.bool, device=mask.device)
    out[window.live] = False
    sums = [(entropy * mask)[~out].sum(), mask[~out].sum(), out.sum(), (~out).sum()]
    total, tokens, left_out, live = trainer.accelerator.reduce(torch.stack(sums), reduction="sum")
    entropy[out] = total / tokens  # NaN, which the log leaves out, if no row is live
    if (old := window.inputs.get("old_per_token_logps")) is not None:
        log_prob[out] = old[out].float()  # ratio 1
    with torch.no_grad(), _unrecorded(trainer) as metrics, scoring(trainer, lambda _: scored):
        loss = trainer._compute_loss(window.model, window.inputs)
    for name, values in metrics.items():
        if left_out > 0 and name == "vespo/phi_seq_mean":  # in which such a row counts 1
            values = [float((value * (live + left_out) - left_out) / live) for value in values]
        if left_out > 0 and name in OF_LIVE_ROWS:
            name = f"{name}/live"
        trainer._metrics["train"][name].extend(values)
    return loss
