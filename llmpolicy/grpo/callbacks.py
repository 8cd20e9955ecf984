"""What happens around the steps: a clean stop on a signal or a time limit, the best checkpoint."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from llmpolicy.diagnosis.live import Live, is_due
from llmpolicy.run import Run, written_whole
from llmpolicy.signals import Signals
from llmpolicy.terminal import Say


class BeforeFirst(TrainerCallback):
    """Something to do before the first step, when a checkpoint to go on from has been taken with
    its optimiser.
    """

    def __init__(self, do: Callable[[], None]) -> None:
        self.do = do

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.do()


class CleanStop(Signals, TrainerCallback):
    """End after the current step, and its generation, with a checkpoint: on Ctrl-C, SIGTERM or when
    the time is up.

    A second signal is immediate.
    """

    def __init__(self, time_limit: float | None = None) -> None:
        super().__init__()
        self.time_limit = time_limit
        self.started = time.monotonic()

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.started = time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if (
            self.reason is None
            and self.time_limit is not None
            and time.monotonic() - self.started > self.time_limit
        ):
            self.reason = "time limit"
        if _any_process(self.reason is not None):
            self.reason = self.reason or "another process stopped"
            control.should_save = control.should_training_stop = True


class WholeGenerations(TrainerCallback):
    """Checkpoints and stops wait until a generation is used up, for one that is half used is not
    kept: a resume is exact.

    ``is_used_up`` tells whether the next micro-step begins a generation. What ends at ``max_steps``
    ends there.
    """

    def __init__(self, is_used_up: Callable[[], bool]) -> None:
        self.is_used_up, self.owes_save = is_used_up, False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.global_step >= state.max_steps:
            return
        if self.is_used_up():
            control.should_save, self.owes_save = control.should_save or self.owes_save, False
        else:
            self.owes_save = self.owes_save or control.should_save
            control.should_save = control.should_training_stop = False


class Looks(TrainerCallback):
    """The checks of a run after the steps that are due, when their figures are written."""

    def __init__(self, live: Live) -> None:
        self.live = live

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if is_due(state.global_step, state.max_steps):
            self.live.look(state.global_step)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.global_step:
            self.live.look(state.global_step)


def _any_process(flag: bool) -> bool:
    """Whether the flag is set on any process, so that all of them leave the loop at the same
    step.
    """
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return flag
    flags: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(flags, flag)
    return any(flags)


def forgive_trackers(callbacks: list[Any], say: Say) -> None:
    """Let training go on without a tracker (TensorBoard ...) whose files the disk does not take; it
    is said once.
    """
    for callback in callbacks:
        if type(callback).__module__ == "transformers.integrations.integration_utils":
            for event in dir(TrainerCallback):
                if event.startswith("on_"):
                    setattr(callback, event, _forgiving(getattr(callback, event), callback, say))


def _forgiving(react: Callable[..., Any], callback: Any, say: Say) -> Callable[..., Any]:
    def forgiving(*arguments: Any, **options: Any) -> Any:
        if getattr(callback, "given_up", False):
            return None
        try:
            return react(*arguments, **options)
        except OSError as error:
            callback.given_up = True
            name = type(callback).__name__.removesuffix("Callback")
            say(
                f"note: {name} could not write ({error.strerror or error}); training goes on"
                " without it"
            )
        return None

    return forgiving


class BestCheckpoint(TrainerCallback):
    """Every N steps a look at held-out prompts, logged; the policy with the highest accuracy is
    kept in ``best/``.

    ``measure`` gives the figures of a look, ``accuracy`` among them; with ``at_start`` the first
    one is before any step.
    """

    def __init__(
        self,
        run: Run | None,
        every: int,
        measure: Callable[[], Mapping[str, Any]],
        save: Callable[[Any], None],
        *,
        at_start: bool = False,
    ) -> None:
        self.run, self.every, self.at_start = run, every, at_start
        self.measure, self.save = measure, save
        self._begin()

    def _begin(self) -> None:
        # The record to beat is what lies in best/: a line that was logged before a kill says
        # nothing of the weights.
        record = self.run and self.run.best()
        self.best = record["accuracy"] if record else -1.0
        if self.run is not None and self.run.manifest.get("best") != record:
            self.run.update_manifest(best=record)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._begin()
        if self.at_start and state.global_step == 0:
            self._look(state)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.global_step % self.every == 0 or state.global_step == state.max_steps:
            self._look(state)

    def _look(self, state: TrainerState) -> None:
        if not state.is_world_process_zero or self.run is None:
            return
        figures = self.measure()
        record = {"step": state.global_step, "accuracy": figures["accuracy"]}
        if record["accuracy"] > self.best:
            with written_whole(self.run.best_dir, **record, run=self.run.id) as folder:
                self.save(folder)
            self.best = record["accuracy"]
            self.run.update_manifest(best=record)
        self.run.log(state.global_step, figures, mode="eval")
