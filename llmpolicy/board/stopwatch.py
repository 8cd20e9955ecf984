"""The clock of the board, as a callback of transformers' trainers: it stands still while the policy
is looked at.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from llmpolicy.board.matrix_work import MatrixWork
from llmpolicy.board.problems import Problem
from llmpolicy.board.result import Look


@dataclass
class Spent:
    """Seconds between `go` and `halt`, of the clock and of this process's processors."""

    seconds: float = 0.0
    processor: float = 0.0
    since: tuple[float, float] | None = None

    def go(self) -> None:
        """Count from now on."""
        self.since = time.perf_counter(), time.process_time()

    def halt(self) -> None:
        """Count no more."""
        if self.since is not None:
            self.seconds += time.perf_counter() - self.since[0]
            self.processor += time.process_time() - self.since[1]
            self.since = None


@dataclass
class Stopwatch(TrainerCallback):
    """Looks at the policy every so many completions, and ends the training at the target or when
    it had its completions.

    It sees what every trainer of transformers tells its callbacks, so that no trainer has to be
    changed; ``accuracy`` measures a model. Behind the last look one more step is made, whose
    products are counted: that would cost time before.
    """

    problem: Problem
    accuracy: Callable[[Any], float]
    looks: list[Look] = field(default_factory=list)
    spent: Spent = field(default_factory=Spent)
    tokens: float = 0.0
    logged: int = 0
    """The step up to which tokens are counted."""
    counting: MatrixWork | None = None
    """What counts one more step, behind the last look, while it goes on."""
    flops_a_step: int | None = None
    """What that step came to; None where the training ended without one."""

    @property
    def reached(self) -> bool:
        """Whether the last look saw the target."""
        return bool(self.looks) and self.looks[-1].accuracy >= self.problem.target

    def on_train_begin(
        self, args: Any, state: TrainerState, control: Any, model: Any = None, **_: Any
    ) -> None:
        """Look at the base, then start the clock."""
        self._look(0, state.global_step, model)
        self.spent.go()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Ask for a log where a look is due: it says how many tokens were generated."""
        if self.counting is not None:
            self.flops_a_step = self._count_no_more()
            control.should_training_stop = True
            return
        control.should_log = control.should_log or self._due(args, state)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        model: Any = None,
        **_: Any,
    ) -> None:
        """Count tokens, and look at the policy where that is due."""
        if self.counting is not None or self.flops_a_step is not None:
            return
        self.tokens += _generated(logs or {}, batch_of(args)) * (state.global_step - self.logged)
        self.logged = state.global_step
        if not self._due(args, state):
            return
        self.spent.halt()
        done = state.global_step * batch_of(args)
        self._look(done, state.global_step, model)
        if self.reached or done >= self.problem.most:
            self.counting = MatrixWork()
            self.counting.__enter__()
        else:
            self.spent.go()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Count nothing of what comes after the training, where the last look was its end."""
        if self.counting is not None:
            self._count_no_more()

    def _count_no_more(self) -> int:
        """Let products go uncounted again; how much was counted."""
        assert self.counting is not None
        self.counting.__exit__(None, None, None)
        flops, self.counting = self.counting.flops, None
        return flops

    def _due(self, args: TrainingArguments, state: TrainerState) -> bool:
        """Whether the last step has passed a multiple of ``look``, and was not looked at."""
        done, batch = state.global_step * batch_of(args), batch_of(args)
        due = done // self.problem.look > (done - batch) // self.problem.look
        return due and self.looks[-1].step < state.global_step

    def _look(self, completions: int, step: int, model: Any) -> None:
        spent = self.spent
        right = self.accuracy(model)
        look = Look(
            step=step,
            completions=completions,
            seconds=spent.seconds,
            processor_seconds=spent.processor,
            tokens=round(self.tokens),
            accuracy=right,
        )
        self.looks.append(look)


def _generated(logs: dict[str, float], batch: int) -> float:
    """Tokens that were generated for a step, those of groups that were replaced among them."""
    return logs.get("sampling/tokens", logs.get("completions/mean_length", 0.0) * batch)


def batch_of(args: TrainingArguments) -> int:
    """Completions that a step of one process trains on."""
    return args.per_device_train_batch_size * args.gradient_accumulation_steps
