"""The GRPO part of a run: the trainer with its callbacks, from the first step or from a checkpoint."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmpolicy.build import Plan
from llmpolicy.errors import RunError
from llmpolicy.run import Run
from llmpolicy.session.process import Say

if TYPE_CHECKING:
    from llmpolicy.policies.causal_lm import CausalLMPolicy


def train_grpo(
    made: Plan,
    policy: "CausalLMPolicy",
    rows: Sequence[Any],
    run: Run | None,
    out: Path | None,
    *,
    resume: bool,
    say: Say,
) -> str | None:
    """The GRPO part of a run; returns why it stopped early, or None."""
    from llmpolicy.grpo.callbacks import BestCheckpoint, CleanStop, Progress
    from llmpolicy.grpo.config import grpo_config
    from llmpolicy.grpo.trainer import PolicyTrainer

    recipe = made.recipe
    home = run.path if run else out or Path()
    args = grpo_config(
        recipe.grpo or {}, output_dir=home / "checkpoints", seed=recipe.seed, reward_weights=made.rewards.weights
    )
    stop = CleanStop(recipe.time_limit).listen()
    callbacks: list[Any] = [stop, Progress(say)]
    if recipe.evaluate and recipe.evaluate.every and made.correct:
        accuracy = _accuracy_of(made, policy)
        callbacks.append(BestCheckpoint(run, recipe.evaluate.every, accuracy, policy.save))
    trainer = PolicyTrainer(policy, made.rewards, rows, args, run=run, callbacks=callbacks)
    _drop_stock_printers(trainer)
    try:
        trainer.train(resume_from_checkpoint=_checkpoint(run or Run.open(home), args.max_steps) if resume else None)
    finally:
        stop.forget()
    if stop.signal is not None:
        say(f"stopped by {stop.reason} at step {trainer.state.global_step}; a checkpoint was saved")
        _end_stopped(run, trainer.state.global_step, stop, say)
    return stop.reason


def _end_stopped(run: Run | None, step: int, stop: Any, say: Say) -> None:
    """After a signal: say the command that goes on, and leave with the signal's exit code."""
    if run is not None:
        run.finish("stopped", steps=step, reason=stop.reason)
        say(f"go on with: llmpolicy train {run.path / 'recipe.yaml'} --out {run.path} --resume")
    raise SystemExit(128 + stop.signal)


def _drop_stock_printers(trainer: Any) -> None:
    from transformers import PrinterCallback, ProgressCallback

    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)


def _checkpoint(run: Run, max_steps: int) -> str:
    """The newest complete checkpoint; raises RunError when the run had already reached its last step."""
    newest = run.checkpoints()[-1]
    step = int(newest.name.rsplit("-", 1)[1])
    if 0 < max_steps <= step:
        raise RunError(f"{run.path} is already at step {step} of {max_steps}; raise grpo.max_steps to go on")
    return str(newest)


def _accuracy_of(made: Plan, policy: "CausalLMPolicy") -> Callable[[], float]:
    from llmpolicy.evaluation import greedy_accuracy

    settings = made.recipe.evaluate
    assert settings is not None and made.correct is not None
    correct = made.correct

    def accuracy() -> float:
        return greedy_accuracy(
            policy, made.held_out, correct, threshold=settings.threshold, batch_size=settings.batch_size,
            max_new_tokens=settings.max_completion_length,
        )  # fmt: skip

    return accuracy
