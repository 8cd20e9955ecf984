"""GRPO of a language model: the trainer with its callbacks, from the first step or from a
checkpoint.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmpolicy.plan import Plan
from llmpolicy.recipe import Grpo, Recipe
from llmpolicy.recipe.stages import OF_GRPO
from llmpolicy.reference import name_of, named
from llmpolicy.run import Run, drop_oldest
from llmpolicy.run.files import Record
from llmpolicy.stages import language
from llmpolicy.stages.going_on import last_step, only_ends, reached, refuse_last_step, steps_of
from llmpolicy.stages.language import Checked, Loaded
from llmpolicy.stages.looks import look_on
from llmpolicy.stages.partner import talking
from llmpolicy.stages.process import end_stopped, refuse_other_words
from llmpolicy.stages.record import Ended
from llmpolicy.stages.request import Request
from llmpolicy.stages.sources import row_facts
from llmpolicy.stages.trainers import drop_printers, shares_weights

if TYPE_CHECKING:
    from llmpolicy.grpo.trainer import PolicyTrainer

EVENTS = "TENSORBOARD_LOGGING_DIR"
"""Where transformers looks for the folder of TensorBoard's files."""


@dataclass(frozen=True)
class GrpoStage:
    """GRPO that can begin."""

    checked: Checked

    def lines(self) -> Iterator[str]:
        """What the reward pays, and the arithmetic of the steps."""
        yield from self.checked.lines()
        yield str(self.checked.plan.explanation)

    def carry_out(self) -> None:
        """Load the policy, train it, and evaluate it beside the one it started from."""
        loaded = self.checked.load()
        with loaded.run() as run:
            loaded.close(run, train(loaded, run))


def check(block: Grpo, request: Request) -> GrpoStage:
    """The GRPO of a recipe, its options seen by TRL and torch."""
    _look_at(block, request)
    return GrpoStage(Checked.of(block.model, request))


def foresee(block: Grpo, request: Request) -> None:
    """Refuse what the stages before it cannot mend, before they train."""
    _look_at(block, request)
    language.foresee(block.model, request)


def _look_at(block: Grpo, request: Request) -> None:
    from llmpolicy.grpo.config import grpo_config

    seed = request.plan.recipe.seed  # what the plan refuses is said first
    grpo_config(block.settings, output_dir=Path(), seed=seed, reward_weights=[1.0])
    _prove(block, request.recipe)


def _prove(block: Grpo, recipe: Recipe) -> None:
    """Look at the advantage and the loss that take the place of TRL's, before a model loads."""
    from llmpolicy.prove import prove_advantage, prove_loss

    functions = _own_functions(recipe)
    if "advantage" in functions:
        prove_advantage(functions["advantage"], name_of(block.advantage))
    if "loss" in functions:
        prove_loss(functions["loss"], name_of(block.loss))


def _own_functions(recipe: Recipe) -> dict[str, Callable[..., Any]]:
    return {
        key: named(key, function, recipe.base_dir)
        for key, function, _ in recipe.functions
        if key in OF_GRPO
    }


def train(loaded: Loaded, run: Run | None) -> Ended:
    """Take the steps that are left; where processes share out the weights (FSDP, DeepSpeed) all of
    them write the policy together.
    """
    from llmpolicy.grpo.callbacks import BeforeFirst, CleanStop

    plan, request = loaded.plan, loaded.request
    stop = CleanStop(plan.recipe.time_limit)
    trainer = _trainer(loaded, run, stop)
    earlier = Run.open(request.out) if request.resume else None
    weights = _last(trainer, earlier, plan.recipe) if earlier else None
    if earlier is not None and weights is not None:
        request.say(f"all steps are taken: finishing with the weights of {weights.name}")
        begin = partial(_begin, trainer, loaded, run, None)
        return Ended(None, _take(trainer, earlier, weights, begin))
    newest = earlier.checkpoints()[-1] if earlier else None
    trainer.add_callback(BeforeFirst(partial(_begin, trainer, loaded, run, newest)))
    look_on(trainer, loaded, run)
    stop.listen()
    try:
        trainer.train(resume_from_checkpoint=str(newest) if newest else None)
    finally:
        stop.forget()
    if run is not None:
        run.beside.settle()
    return _ended(trainer, run, stop, request)


def _trainer(loaded: Loaded, run: Run | None, stop: Any) -> "PolicyTrainer":
    """The trainer of a plan; how it goes about it is said in our words alone."""
    from llmpolicy.grpo.callbacks import forgive_trackers
    from llmpolicy.grpo.config import grpo_config
    from llmpolicy.grpo.dialogues import Talk
    from llmpolicy.grpo.progress import Progress
    from llmpolicy.grpo.trainer import PolicyTrainer

    plan, out, say = loaded.plan, loaded.request.out, loaded.request.say
    args = grpo_config(
        plan.recipe.grpo or {},
        output_dir=out / "checkpoints",
        seed=plan.recipe.seed,
        reward_weights=plan.rewards.composition.weights,
    )
    args.run_name = args.run_name or out.name  # as trackers call it
    progress = Progress(say)
    options: Record = {"run": run, "callbacks": [stop, progress]}
    options["sampling"] = plan.recipe.sampling
    options |= _own_functions(plan.recipe)
    if (partner := talking(plan.recipe, loaded.policy)) is not None:
        environment = plan.recipe.environment
        by_turn = environment is not None and environment.credit == "turn"
        options["talk"] = Talk(partner, by_turn)
    with events_in(out / "tensorboard"):
        trainer = PolicyTrainer(loaded.policy, plan.rewards, plan.train_rows, args, **options)
    _agree(plan)
    progress.episodes = lambda: trainer.generation.episodes
    for line in trainer.ways.lines():
        say(line)
    if "tensorboard" in (trainer.args.report_to or ()):
        say(f"tensorboard: {os.environ.get(EVENTS) or out / 'tensorboard'}")
    drop_printers(trainer)
    forgive_trackers(trainer.callback_handler.callbacks, say)
    return trainer


def _agree(plan: Plan) -> None:
    """Refuse processes that have read other settings or rows than one another; raises RunError."""
    facts = [plan.recipe.seed, plan.recipe.grpo, row_facts(plan.train_rows, plan.held_out)]
    refuse_other_words(json.dumps(facts, sort_keys=True, default=str))


def _ended(trainer: "PolicyTrainer", run: Run | None, stop: Any, request: Request) -> Ended:
    """How the steps ended; after a signal the process leaves with its exit code."""
    from llmpolicy.grpo.checkpoint import save_together

    step = trainer.state.global_step
    if stop.signal is not None:
        request.say(f"stopped by {stop.reason} at step {step}; a checkpoint was saved")
        end_stopped(run, step, stop, request.say)
    shared = shares_weights(trainer)
    if shared:
        save_together(trainer, request.out / "policy")
    return Ended(stop.reason, step, written=shared)


def _last(trainer: "PolicyTrainer", earlier: Run, recipe: Recipe) -> Path | None:
    """The weights of the last step, if it is taken; how many steps other epochs come to is the
    trainer's to say.
    """
    if last_step(earlier, recipe) is not None:
        return only_ends(earlier, recipe)
    steps = trainer.set_initial_training_values(trainer.args, trainer.get_train_dataloader())[-1]
    refuse_last_step(earlier, recipe, steps)
    return earlier.latest() if reached(earlier) == steps else None


def _begin(trainer: "PolicyTrainer", loaded: Loaded, run: Run | None, newest: Path | None) -> None:
    """Note what the run goes on with, and every option of its trainer."""
    from llmpolicy.grpo.checkpoint import follow_schedule

    loaded.begin(run)
    if newest is not None:
        follow_schedule(trainer, steps_of(newest), loaded.request.say)
    if run is not None:
        run.update_manifest(path=trainer.ways.path, ways=trainer.ways.facts())
        run.write_config(trainer.args.to_dict())


def _take(trainer: "PolicyTrainer", earlier: Run, weights: Path, begin: Callable[[], None]) -> int:
    """End with weights of the last step, as the trainer would have; returns the step."""
    from llmpolicy.grpo.checkpoint import take_weights

    take_weights(trainer, weights, begin)
    step = reached(earlier)
    trainer.accelerator.wait_for_everyone()
    if trainer.args.should_save:
        # The kill may have come after the last checkpoint and before an older one was dropped.
        drop_oldest(earlier.checkpoint_dir, trainer.args.save_total_limit)
    return step


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
