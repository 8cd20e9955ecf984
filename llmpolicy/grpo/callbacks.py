"""What happens around the steps: a clean stop on a signal or a time limit, the best checkpoint."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from llmpolicy.diagnosis.live import Live, is_due
from llmpolicy.plan import look_steps
from llmpolicy.run import Run, written_whole
from llmpolicy.signals import Signals
from llmpolicy.terminal import Say, tell


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
    """Every N steps a look at held-out prompts, logged; the policy with the highest truth, or
    accuracy where there is none, is kept in ``best/``.

    ``measure`` gives the figures of a look, ``accuracy`` among them, which ``report`` is told; with
    ``at_start`` the first one is before any step. Without ``every`` there are ten.
    """

    def __init__(
        self,
        run: Run | None,
        every: int | None,
        measure: Callable[[TrainerState], Mapping[str, Any]],
        save: Callable[[Any], None],
        *,
        at_start: bool = False,
        say: Say = tell,
        report: Callable[[Mapping[str, Any]], None] = lambda figures: None,
    ) -> None:
        self.run, self.every, self.at_start, self.say = run, every, at_start, say
        self.report = report
        self.measure, self.save = measure, save
        self.looked: float | None = None
        self.has_said_cost = False
        self._begin()

    def _begin(self) -> None:
        # The record to beat is what lies in best/: a line that was logged before a kill says
        # nothing of the weights.
        record = self.run and self.run.best()
        self.best = _height(record) if record else -math.inf
        if self.run is not None and self.run.manifest.get("best") != record:
            self.run.update_manifest(best=record)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._begin()
        self.looked = time.monotonic()
        if self.at_start and state.global_step == 0:
            self._look(state)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.global_step in look_steps(self.every, state.max_steps):
            self._look(state)

    def _look(self, state: TrainerState) -> None:
        if not state.is_world_process_zero or self.run is None:
            return
        began = time.monotonic()
        figures = self.measure(state)
        record = {key: figures[key] for key in ("accuracy", "truth") if key in figures}
        if _height(record) > self.best:
            record = {"step": state.global_step, **record}
            with written_whole(self.run.best_dir, **record, run=self.run.id) as folder:
                self.save(folder)
            self.best = _height(record)
            self.run.update_manifest(best=record)
        spent = time.monotonic() - began
        self.run.log(state.global_step, {**figures, "seconds/look": spent}, mode="eval")
        self.report(figures)
        self._say_cost(state, began, spent)

    def _say_cost(self, state: TrainerState, began: float, spent: float) -> None:
        """Say once what looks cost where that is much: this one beside the steps before it."""
        steps, self.looked = began - (self.looked or began), time.monotonic()
        if state.global_step == 0 or self.has_said_cost or steps <= 0:
            return
        self.has_said_cost = True
        share = spent / (spent + steps)
        if share > MOST_OF_TIME:
            self.say(
                f"note: looks at the held-out prompts take {share:.0%} of the time ({spent:.1f} s"
                " each); a larger evaluate.every or a smaller evaluate.n takes less"
            )


MOST_OF_TIME = 0.1
"""The share of the time above which it is said what looks cost."""


def _height(record: Mapping[str, Any]) -> float:
    """By what a step is the best: the truth, or the accuracy where there is none; the lowest where
    the truth judged nothing.
    """
    height = record.get("truth", record["accuracy"])
    return -math.inf if height is None else float(height)
