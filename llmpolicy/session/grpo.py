"""The GRPO part of a run: the trainer with its callbacks, from the first step or from a checkpoint."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmpolicy.build import Plan, evaluated_length
from llmpolicy.recipe import Recipe
from llmpolicy.run import Run
from llmpolicy.session.process import Say, end_stopped

if TYPE_CHECKING:
    from llmpolicy.policies.causal_lm import CausalLMPolicy


def check_grpo_block(recipe: Recipe) -> None:
    """Let TRL and torch look at a recipe's ``grpo:`` block before anything is loaded; raises RecipeError."""
    from llmpolicy.grpo.config import grpo_config

    grpo_config(recipe.grpo or {}, output_dir=Path(), seed=recipe.seed, reward_weights=[1.0])


def train_grpo(
    made: Plan,
    policy: "CausalLMPolicy",
    run: Run | None,
    out: Path | None,
    *,
    resume: bool,
    say: Say,
) -> tuple[str | None, bool]:
    """The GRPO part of a run; returns why it stopped early, or None, and whether the policy is written already.

    Where processes share out the weights (FSDP, DeepSpeed), all of them write it together.
    """
    from llmpolicy.grpo.callbacks import BestCheckpoint, CleanStop, Progress
    from llmpolicy.grpo.config import grpo_config
    from llmpolicy.grpo.trainer import PolicyTrainer

    recipe = made.recipe
    home = run.path if run else out or Path()
    args = grpo_config(
        recipe.grpo or {},
        output_dir=home / "checkpoints",
        seed=recipe.seed,
        reward_weights=made.rewards.composition.weights,
    )
    stop = CleanStop(recipe.time_limit)
    callbacks: list[Any] = [stop, Progress(say)]
    trainer = PolicyTrainer(policy, made.rewards, made.train_rows, args, run=run, callbacks=callbacks)
    _drop_stock_printers(trainer)
    if recipe.evaluate and recipe.evaluate.every and made.correct:
        if shares_weights(trainer):
            say("evaluate.every is left out: no process has all weights while FSDP or DeepSpeed trains")
        else:
            accuracy = _accuracy_of(made, policy)
            trainer.add_callback(BestCheckpoint(run, recipe.evaluate.every, accuracy, policy.save))
    newest = str((run or Run.open(home)).checkpoints()[-1]) if resume else None
    stop.listen()
    try:
        trainer.train(resume_from_checkpoint=newest)
    finally:
        stop.forget()
    if stop.signal is not None:
        say(f"stopped by {stop.reason} at step {trainer.state.global_step}; a checkpoint was saved")
        end_stopped(run, trainer.state.global_step, stop, say)
    shared = shares_weights(trainer)
    if shared:
        trainer.save_model(str(home / "policy"))
    return stop.reason, shared


def shares_weights(trainer: Any) -> bool:
    """Whether no process has all weights."""
    return bool(trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled)


def _drop_stock_printers(trainer: Any) -> None:
    from transformers import PrinterCallback, ProgressCallback

    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)


def _accuracy_of(made: Plan, policy: "CausalLMPolicy") -> Callable[[], float]:
    from llmpolicy.evaluation import greedy_accuracy

    settings = made.recipe.evaluate
    assert settings is not None and made.correct is not None
    correct = made.correct

    def accuracy() -> float:
        return greedy_accuracy(
            policy, made.held_out, correct, threshold=settings.threshold, batch_size=settings.batch_size,
            max_new_tokens=evaluated_length(made.recipe),
        )  # fmt: skip

    return accuracy
