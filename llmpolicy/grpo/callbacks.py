"""What happens around the steps: a clean stop on a signal or a time limit, the line that says how it goes, the best checkpoint."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from llmpolicy.run import Run, written_whole
from llmpolicy.signals import Signals

LOSS_NOTE = (
    "the loss is about 0 and that is right: with one update a generation the ratio is 1 and the advantages of a group "
    "add up to 0; watch the reward"
)
SIGNAL_NOTE = "nothing was learned from this step: all advantages are 0, since in every group the rewards that are known are equal"
UNJUDGED_NOTE = "nothing was learned from this step: the rewards judged no completion (each returned None)"


class CleanStop(Signals, TrainerCallback):
    """End after the current step, and its generation, with a checkpoint: on Ctrl-C, SIGTERM or when the time is up.

    A second signal is immediate.
    """

    def __init__(self, time_limit: float | None = None) -> None:
        super().__init__()
        self.time_limit = time_limit
        self.started = time.monotonic()

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.started = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.reason is None and self.time_limit is not None and time.monotonic() - self.started > self.time_limit:
            self.reason = "time limit"
        if _any_process(self.reason is not None):
            self.reason = self.reason or "another process stopped"
            control.should_save = control.should_training_stop = True


class WholeGenerations(TrainerCallback):
    """Checkpoints and stops wait until a generation is used up, for one that is half used is not kept: a resume is exact.

    ``is_used_up`` tells whether the next micro-step begins a generation. What ends at ``max_steps`` ends there.
    """

    def __init__(self, is_used_up: Callable[[], bool]) -> None:
        self.is_used_up, self.owes_save = is_used_up, False

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step >= state.max_steps:
            return
        if self.is_used_up():
            control.should_save, self.owes_save = control.should_save or self.owes_save, False
        else:
            self.owes_save = self.owes_save or control.should_save
            control.should_save = control.should_training_stop = False


def _any_process(flag: bool) -> bool:
    """Whether the flag is set on any process, so that all of them leave the loop at the same step."""
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return flag
    flags: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(flags, flag)
    return any(flags)


class Progress(TrainerCallback):
    """A line every few seconds: reward with its parts, groups with a signal, truncation, seconds by phase, time left."""

    def __init__(self, say: Callable[[str], None], *, explain_loss: bool = True, seconds: float = 5.0) -> None:
        self.say, self.explain_loss, self.seconds = say, explain_loss, seconds
        self.started, self.first_step, self.said = time.monotonic(), 0, 0.0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.started, self.first_step = time.monotonic(), state.global_step

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if not state.is_world_process_zero or not logs or "reward" not in logs:
            return
        done, now = state.global_step - self.first_step, time.monotonic()
        if done > 1 and now - self.said < self.seconds and state.global_step < state.max_steps:
            return
        self.said = now
        left = (time.monotonic() - self.started) / max(done, 1) * (state.max_steps - state.global_step)
        self.say(progress_line(state.global_step, state.max_steps, logs, left))
        if logs.get("rewards/unjudged") == 1.0:
            self.say(f"  note: {UNJUDGED_NOTE}")
        elif logs.get("advantages/live") == 0.0:
            self.say(f"  note: {SIGNAL_NOTE}")
        elif self.explain_loss and abs(logs.get("loss") or 0.0) < 1e-3:
            self.say(f"  note: {LOSS_NOTE}")
            self.explain_loss = False


def progress_line(step: int, steps: int, logs: Mapping[str, Any], seconds_left: float) -> str:
    """The line of one step, as text."""
    parts = {
        key.split("/")[1]: value for key, value in logs.items() if key.startswith("rewards/") and key.endswith("/mean")
    }
    shown = "" if len(parts) < 2 else " (" + ", ".join(f"{name} {_short(value)}" for name, value in parts.items()) + ")"
    generation, rewards = logs.get("seconds/generation") or 0.0, logs.get("seconds/rewards") or 0.0
    update = max((logs.get("step_time") or 0.0) - generation - rewards, 0.0)
    live = logs.get("advantages/live") or 0.0
    cut = logs.get("completions/clipped_ratio") or 0.0
    return (
        f"step {step}/{steps}  reward {_short(logs.get('reward'))}{shown}  signal in {live:.0%} of groups  truncated {cut:.0%}  "
        f"gen {generation:.2f}s + rewards {rewards:.2f}s + update {update:.2f}s  {clock(seconds_left)} left"
    )


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def clock(seconds: float) -> str:
    """Seconds as 1:05 or 2:03:04."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


class BestCheckpoint(TrainerCallback):
    """Every N steps a look at held-out prompts, logged; the policy with the highest accuracy is kept in ``best/``.

    ``measure`` gives the figures of a look, ``accuracy`` among them; with ``at_start`` the first one is before any step.
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
        self.run, self.every, self.measure, self.save, self.at_start = run, every, measure, save, at_start
        # The record to beat is what lies in best/: a line that was logged before a kill says nothing of the weights.
        record = run and run.best()
        self.best = record["accuracy"] if record else -1.0
        if run is not None and run.manifest.get("best") != record:
            run.update_manifest(best=record)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.at_start and state.global_step == 0:
            self._look(state)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step % self.every == 0 or state.global_step == state.max_steps:
            self._look(state)

    def _look(self, state: TrainerState) -> None:
        if not state.is_world_process_zero or self.run is None:
            return
        figures = self.measure()
        record = {"step": state.global_step, "accuracy": figures["accuracy"]}
        if record["accuracy"] > self.best:
            with written_whole(self.run.best_dir, **record) as folder:
                self.save(folder)
            self.best = record["accuracy"]
            self.run.update_manifest(best=record)
        self.run.log(state.global_step, figures, mode="eval")
