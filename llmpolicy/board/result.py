"""What a trainer came to on a problem with one seed: one file of JSON."""

import math
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmpolicy.board.problems import Problem
from llmpolicy.bounded import read_json
from llmpolicy.errors import RunError

SPENT = ("seconds", "processor_seconds", "tokens", "matrix_work")
"""What a target costs."""


class Look(BaseModel):
    """The policy after some completions: the held-out share of right greedy answers, and what had
    been spent on training by then; ``tokens`` are those generated.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    step: int
    completions: int
    seconds: float
    processor_seconds: float
    tokens: int
    accuracy: float


class Result(BaseModel):
    """One row on one problem with one seed; what else is kept of it are facts of the machine."""

    model_config = ConfigDict(frozen=True, extra="allow")

    row: str
    says: str
    seed: int
    problem: Problem
    reached: bool
    looks: list[Look] = Field(min_length=1)
    flops_a_step: float | None = None
    machine: dict[str, Any] = {}

    @property
    def last(self) -> Look:
        """The look that saw the target, or the last one."""
        return self.looks[-1]

    def spent(self, what: str) -> float:
        """One of `SPENT` until the target was seen, matrix work in floating-point operations;
        infinite where it was not, or nobody knows.
        """
        if not self.reached:
            return math.inf
        if what != "matrix_work":
            return float(getattr(self.last, what))
        return math.inf if self.flops_a_step is None else self.flops_a_step * self.last.step


def read_result(file: Path) -> Result:
    """The result in a file; raises RunError where it holds none."""
    try:
        return Result.model_validate(read_json(file))
    except ValidationError as error:
        fault = error.errors()[0]
        why = f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
    except (OSError, ValueError) as error:
        why = f"{type(error).__name__}: {error}"
    raise RunError(f"{file} is no result of the board: {why}")
