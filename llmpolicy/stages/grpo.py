"""The GRPO part of a run: the trainer with its callbacks, from the first step or from a
checkpoint.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmpolicy.plan import Plan, evaluated_length
from llmpolicy.recipe import Recipe
from llmpolicy.run import Run, drop_oldest
from llmpolicy.stages.going_on import last_step, only_ends, reached, refuse_last_step, steps_of
from llmpolicy.stages.process import Say, end_stopped, refuse_other_words
from llmpolicy.stages.sources import row_facts
from llmpolicy.tasks import Row

if TYPE_CHECKING:
    from llmpolicy.grpo.trainer import PolicyTrainer
    from llmpolicy.policies.causal_lm import CausalLMPolicy

EVENTS = "TENSORBOARD_LOGGING_DIR"
"""Where transformers looks for the folder of TensorBoard's files."""


def check_grpo_block(recipe: Recipe) -> None:
    """Let TRL and torch look at a recipe's ``grpo:`` block before anything is loaded; raises
    RecipeError.
    """
    from llmpolicy.grpo.config import grpo_config

    grpo_config(recipe.grpo or {}, output_dir=Path(), seed=recipe.seed, reward_weights=[1.0])


def train_grpo(
    made: Plan,
    policy: "CausalLMPolicy",
    run: Run | None,
    out: Path | None,
    begin: Callable[[], None],
    *,
    resume: bool,
    say: Say,
) -> tuple[str | None, bool, int]:
    """The GRPO part of a run; returns why it stopped early, or None, whether the policy is written
    already, and its step.

    ``begin`` is called when the first step, or the end, is next: a checkpoint to go on from has
    been taken by then. Where processes share out the weights (FSDP, DeepSpeed), all of them write
    it together.
    """
    from llmpolicy.grpo.callbacks import BeforeFirst, CleanStop
    from llmpolicy.grpo.checkpoint import save_together
    from llmpolicy.grpo.config import grpo_config
    from llmpolicy.grpo.progress import Progress
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
    progress = Progress(say)
    callbacks = [BeforeFirst(lambda: _begin(trainer, run, begin, newest, say)), stop, progress]
    options: dict[str, Any] = {"run": run, "callbacks": callbacks, "sampling": recipe.sampling}
    with events_in(home / "tensorboard"):
        trainer = PolicyTrainer(policy, made.rewards, made.train_rows, args, **options)
    _agree(made)
    progress.samples = lambda: trainer.generation.samples
    _introduce(trainer, home, say)
    _look_on(trainer, made, policy, run, say)
    going_on = Run.open(home) if resume else None
    last = _last(trainer, going_on, recipe) if going_on else None
    if going_on is not None and last is not None:
        say(f"all steps are taken: finishing with the weights of {last.name}")
        return (
            None,
            False,
            _take(trainer, going_on, last, lambda: _begin(trainer, run, begin, None, say)),
        )
    newest = going_on.checkpoints()[-1] if going_on else None
    stop.listen()
    try:
        trainer.train(resume_from_checkpoint=str(newest) if newest else None)
    finally:
        stop.forget()
    if stop.signal is not None:
        say(f"stopped by {stop.reason} at step {trainer.state.global_step}; a checkpoint was saved")
        end_stopped(run, trainer.state.global_step, stop, say)
    shared = shares_weights(trainer)
    if shared:
        save_together(trainer, home / "policy")
    return stop.reason, shared, trainer.state.global_step


def _look_on(
    trainer: "PolicyTrainer", made: Plan, policy: "CausalLMPolicy", run: Run | None, say: Say
) -> None:
    """Let the trainer measure the policy on its way, where the recipe asks for it."""
    from llmpolicy.grpo.callbacks import BestCheckpoint

    settings = made.recipe.evaluate
    if not (settings and settings.every and made.correct):
        return
    if shares_weights(trainer):
        say("evaluate.every is left out: no process has all weights while FSDP or DeepSpeed trains")
        return
    measure = _measure_of(made, policy)
    trainer.add_callback(
        BestCheckpoint(run, settings.every, measure, policy.save, at_start=settings.curve)
    )


def _last(trainer: "PolicyTrainer", going_on: Run, recipe: Recipe) -> Path | None:
    """The weights of the last step, if it is taken; how many steps other epochs come to is the
    trainer's to say.
    """
    if last_step(going_on, recipe) is not None:
        return only_ends(going_on, recipe)
    steps = trainer.set_initial_training_values(trainer.args, trainer.get_train_dataloader())[-1]
    refuse_last_step(going_on, recipe, steps)
    return going_on.latest() if reached(going_on) == steps else None


def _begin(
    trainer: "PolicyTrainer",
    run: Run | None,
    begin: Callable[[], None],
    newest: Path | None,
    say: Say,
) -> None:
    """Note what the run goes on with, and every option of its trainer."""
    from llmpolicy.grpo.checkpoint import follow_schedule

    begin()
    if newest is not None:
        follow_schedule(trainer, steps_of(newest), say)
    if run is not None:
        run.update_manifest(path=trainer.ways.path, ways=trainer.ways.facts())
        run.write_config(trainer.args.to_dict())


def _take(trainer: "PolicyTrainer", going_on: Run, weights: Path, begin: Callable[[], None]) -> int:
    """End with weights of the last step, as the trainer would have; returns the step."""
    from llmpolicy.grpo.checkpoint import take_weights

    take_weights(trainer, weights, begin)
    step = reached(going_on)
    trainer.accelerator.wait_for_everyone()
    if (
        trainer.args.should_save
    ):  # the kill may have come after the last checkpoint and before an older one was dropped
        drop_oldest(going_on.checkpoint_dir, trainer.args.save_total_limit)
    return step


def _agree(made: Plan) -> None:
    """Refuse processes that have read other settings or rows than one another; raises RunError."""
    facts = [made.recipe.seed, made.recipe.grpo, row_facts(made.train_rows, made.held_out)]
    refuse_other_words(json.dumps(facts, sort_keys=True, default=str))


def _introduce(trainer: Any, home: Path, say: Say) -> None:
    """Say how the trainer goes about it, in our words alone."""
    from llmpolicy.grpo.callbacks import forgive_trackers

    for line in trainer.ways.lines():
        say(line)
    if "tensorboard" in trainer.args.report_to:
        say(f"tensorboard: {os.environ.get(EVENTS) or home / 'tensorboard'}")
    _drop_stock_printers(trainer)
    forgive_trackers(trainer.callback_handler.callbacks, say)


@contextmanager
def events_in(folder: Path) -> Iterator[None]:
    """TensorBoard's files go into the run unless the user has named another folder; a tracker asks
    when it is made.
    """
    if os.environ.get(EVENTS):
        yield
        return
    os.environ[EVENTS] = str(folder)
    try:
        yield
    finally:
        del os.environ[EVENTS]


def shares_weights(trainer: Any) -> bool:
    """Whether no process has all weights."""
    return bool(trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled)


def _drop_stock_printers(trainer: Any) -> None:
    from transformers import PrinterCallback, ProgressCallback

    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)


def _measure_of(made: Plan, policy: "CausalLMPolicy") -> Callable[[], dict[str, Any]]:
    """What a look during training measures: greedy accuracy and, with ``evaluate.curve``, proxy,
    truth and KL as well.
    """
    from llmpolicy.evaluation import Watch, greedy_accuracy

    settings = made.recipe.evaluate
    assert settings is not None and made.correct is not None
    correct = made.correct
    asked: dict[str, Any] = {
        "batch_size": settings.batch_size,
        "max_new_tokens": evaluated_length(made.recipe),
    }
    # What chooses the best step is not what then says how good it is.
    rows = chooses(made.held_out) if settings.curve else made.held_out
    watch = (
        Watch(policy, rows, correct, made.rewards, seed=made.recipe.seed, **asked)
        if settings.curve
        else None
    )

    def measure() -> dict[str, Any]:
        accuracy = greedy_accuracy(policy, rows, correct, threshold=settings.threshold, **asked)
        return {"accuracy": accuracy} | (watch.look().to_dict() if watch else {})

    return measure


def chooses(rows: Sequence[Row]) -> Sequence[Row]:
    """The half of the held-out rows by which the best step is chosen."""
    return rows[::2]


def judges(rows: Sequence[Row]) -> Sequence[Row]:
    """The other half, which says how good the chosen step is."""
    return rows[1::2]
