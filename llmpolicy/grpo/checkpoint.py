"""How a trainer's checkpoint comes to be whole, and how a policy is taken from one without
training.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch.optim.lr_scheduler import LambdaLR
from transformers import TrainerState

from llmpolicy.run import add_checkpoint, put
from llmpolicy.run.checkpoints import RECORD, staged
from llmpolicy.terminal import Say

if TYPE_CHECKING:
    from llmpolicy.grpo.trainer import PolicyTrainer


@contextmanager
def whole_checkpoint(trainer: "PolicyTrainer") -> Iterator[None]:
    """While it lasts the trainer saves aside; then the checkpoint is sealed, renamed, and the
    oldest ones are dropped.

    transformers would drop by the files' times, and after a clock was set back each new checkpoint
    is the oldest.
    """
    home, saves = Path(trainer.args.output_dir or "."), trainer.args.should_save
    with staged(home, trainer.state.global_step, clear=saves) as folder:
        trainer.accelerator.wait_for_everyone()
        trainer.staged = folder.parent
        try:
            yield
            trainer.accelerator.wait_for_everyone()
            if saves:
                if trainer.run is not None:
                    trainer.run.keep_record(folder / RECORD)
                run = trainer.run.id if trainer.run else None
                add_checkpoint(folder, home, trainer.args.save_total_limit, run)
        finally:
            trainer.staged = None
    trainer.accelerator.wait_for_everyone()


def follow_schedule(trainer: "PolicyTrainer", before: int, say: Say) -> None:
    """Where a run goes on with more steps than ``before``, set the rate of the next step by the
    longer schedule, and say so.

    The optimiser comes with the rate of the shorter one, which after its last step may be 0.
    """
    kind, steps = str(getattr(trainer.args.lr_scheduler_type, "value", "")), trainer.state.max_steps
    schedule: Any = getattr(trainer.lr_scheduler, "scheduler", trainer.lr_scheduler)
    if steps == before or kind.startswith("constant") or not isinstance(schedule, LambdaLR):
        return
    rates = [
        base * rate(schedule.last_epoch)
        for base, rate in zip(schedule.base_lrs, schedule.lr_lambdas, strict=True)
    ]
    for group, rate in zip(schedule.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    schedule._last_lr = rates
    say(
        f"note: from here on the learning rate follows the {kind} schedule of {steps} steps; up to"
        f" step {trainer.state.global_step} it followed that of {before}, so this is not what"
        f" {steps} steps from the start come to"
    )


def take_weights(trainer: "PolicyTrainer", folder: Path, taken: Callable[[], None]) -> None:
    """Give the trainer's policy the weights in a folder, placed and cast as training leaves them;
    no step is taken.

    ``taken`` is called when they fit, before anything is written.
    """
    trainer._load_from_checkpoint(str(folder))
    taken()
    trainer.accelerator.prepare_model(trainer.model, evaluation_mode=True)
    note_end(trainer, folder / "trainer_state.json")


def note_end(trainer: "PolicyTrainer", file: Path) -> None:
    """Log the summary that a run would have logged at its end, but for its times, where a kill came
    before.
    """
    if file.is_file():
        trainer.state = TrainerState.load_from_json(str(file))
    state, run = trainer.state, trainer.run
    if (
        file.is_file()
        and run is not None
        and state.global_step not in (line["step"] for line in run.metrics("summary"))
    ):
        figures = {
            "train_loss": mean_loss(state),
            "total_flos": state.total_flos,
            "epoch": state.epoch,
        }
        run.log(state.global_step, figures, "summary")


def save_together(trainer: "PolicyTrainer", folder: Path) -> None:
    """Write the policy where processes share out the weights: all of them write, the first puts it
    in its place.
    """
    staged = folder.with_name(f".{folder.name}.new")
    trainer.save_model(str(staged))
    trainer.accelerator.wait_for_everyone()
    if trainer.args.should_save:
        put(
            staged,
            folder,
            step=trainer.state.global_step,
            run=trainer.run.id if trainer.run else None,
        )
    trainer.accelerator.wait_for_everyone()


def mean_loss(state: TrainerState) -> float:
    """The loss of a step on average, of all that were logged; transformers' own leaves out those
    before a resume.
    """
    total: float = 0.0
    before: int = 0
    for line in state.log_history:
        if "loss" in line:
            total += line["loss"] * (int(line["step"]) - before)
            before = int(line["step"])
    return total / max(before, 1)
