"""The shape of one generation: whether TRL can run it, the nearest shapes that it can, and what a
run of it comes to.

The words of one step. A *generation* samples G completions of each of its prompts and is cut into
``steps_per_generation`` micro-batches a process; ``gradient_accumulation_steps`` micro-batches make
one optimiser step; all micro-batches of a generation are gone through ``num_iterations`` times
before the next one is sampled. ``per_device_train_batch_size`` counts completions, not prompts.
"""

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

REACH, PAIRED = 4096, 128
"""How far from the given number a valid one is looked for, and up to which number a pair of valid
ones.
"""

Change = Mapping[str, int | None]
"""New values of one or two fields of a Batch."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The numbers that shape a generation, as a recipe gives them; at most one of the last two is
    set.
    """

    per_device_train_batch_size: int
    gradient_accumulation_steps: int
    num_generations: int
    num_iterations: int
    processes: int
    steps_per_generation: int | None = None
    generation_batch_size: int | None = None

    @property
    def micro(self) -> int:
        """Completions that all processes together take through one forward and backward."""
        return self.per_device_train_batch_size * self.processes

    @property
    def steps(self) -> int:
        """``steps_per_generation`` as TRL resolves it."""
        if self.generation_batch_size is not None:
            return self.generation_batch_size // self.micro
        return self.steps_per_generation or self.gradient_accumulation_steps

    @property
    def completions(self) -> int:
        """``generation_batch_size`` as TRL resolves it."""
        return self.generation_batch_size or self.micro * self.steps

    @property
    def prompts(self) -> int:
        """Prompts of one generation."""
        return self.completions // self.num_generations

    @property
    def uses(self) -> int:
        """Micro-steps that a process takes on one generation."""
        return self.steps * self.num_iterations

    @property
    def staleness(self) -> int:
        """Most optimiser steps between the sampling of a completion and its last use.

        A generation begins at a multiple of gcd(uses, gradient_accumulation_steps) micro-steps into
        an optimiser step and is last used ``uses - 1`` micro-steps on.
        """
        accumulation = self.gradient_accumulation_steps
        latest = accumulation - math.gcd(self.uses, accumulation)
        return (latest + self.uses - 1) // accumulation

    @property
    def groups_span_ranks(self) -> bool:
        """Whether a process's consecutive completions of a generation can end inside a group."""
        return (
            self.processes > 1
            and self.per_device_train_batch_size * self.steps % self.num_generations != 0
        )

    @property
    def knob(self) -> str:
        """The setting that decides how large a generation is."""
        for knob in ("generation_batch_size", "steps_per_generation"):
            if getattr(self, knob) is not None:
                return knob
        return "gradient_accumulation_steps"

    def changed(self, change: Change) -> "Batch":
        """This batch with other numbers."""
        return replace(self, **change)  # type: ignore[arg-type]

    def fault(self, rows: int) -> str:
        """What makes this batch impossible with ``rows`` prompts, as a clause; empty if nothing
        does.
        """
        if self.steps_per_generation is not None and self.generation_batch_size is not None:
            return (
                "steps_per_generation and generation_batch_size are both set; expected one of them"
            )
        if self.num_generations < 2:
            return (
                f"num_generations is {self.num_generations}; expected at least 2, to compare"
                " completions of a prompt"
            )
        if self.completions % self.micro:
            return (
                f"generation_batch_size {self.completions} is not a multiple of {self.micro}"
                f" ({self._factors()})"
            )
        if self.completions % self.num_generations:
            return f"{self._origin()} are not a multiple of num_generations {self.num_generations}"
        if rows < self.prompts:
            return (
                f"the task has {rows} training rows but one generation takes {self.prompts} prompts"
                f" ({self._origin()} / num_generations {self.num_generations}), so nothing would be"
                " trained"
            )
        return ""

    def _factors(self) -> str:
        return (
            f"per_device_train_batch_size {self.per_device_train_batch_size} x processes"
            f" {self.processes}"
        )

    def _origin(self) -> str:
        knob = self.knob
        if knob != "generation_batch_size":
            knob = f"{self._factors()} x {knob} {self.steps}"
        return f"the {self.completions} completions of a generation ({knob})"


def nearest_valid(batch: Batch, rows: int) -> list[Change]:
    """The nearest possible batches: changes of one number, the next below and above; of two if one
    cannot do.
    """
    if batch.steps_per_generation is not None and batch.generation_batch_size is not None:
        drops: list[Change] = [{"generation_batch_size": None}, {"steps_per_generation": None}]
        return [drop for drop in drops if not batch.changed(drop).fault(rows)]
    knobs = [batch.knob, "per_device_train_batch_size", "num_generations"]
    changes: list[Change] = []
    for knob in knobs:
        value = getattr(batch, knob)
        below, above = range(value - 1, max(0, value - REACH), -1), range(value + 1, value + REACH)
        for candidates in (below, above):
            changes += _first_valid(batch, rows, ({knob: x} for x in candidates))
    return changes or _nearest_pair(batch, rows, knobs)


def _nearest_pair(batch: Batch, rows: int, knobs: list[str]) -> list[Change]:
    """The one change of two numbers that moves them least in proportion."""

    def distance(way: dict[str, int]) -> float:
        return sum(abs(math.log(x / getattr(batch, knob))) for knob, x in way.items())

    ways: list[dict[str, int]] = []
    for a, b in itertools.combinations(knobs, 2):
        for x, y in itertools.product(range(1, PAIRED + 1), repeat=2):
            ways.append({a: x, b: y})
    ways.sort(key=distance)
    return _first_valid(batch, rows, ways)


def _first_valid(batch: Batch, rows: int, ways: Iterable[Change]) -> list[Change]:
    return list(itertools.islice((way for way in ways if not batch.changed(way).fault(rows)), 1))


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """The resolved counts. A rollout is one completion; a step is one optimiser step;
    ``optimiser_steps`` is the run's.

    ``prompts_per_step`` counts newly sampled prompts, on average; token counts are upper bounds,
    and ``tokens_per_step`` (prompts included) is None when the prompts' length is not known;
    ``staleness`` is how many optimiser steps old the weights that sampled a completion are at most
    when it is trained on.
    """

    processes: int
    rows: int
    steps_per_generation: int
    generation_batch_size: int
    prompts_per_generation: int
    rollouts_per_generation: int
    rollouts_per_step: int
    prompts_per_step: float
    optimiser_steps_per_generation: float
    on_policy: bool
    staleness: int
    groups_span_ranks: bool
    rows_left_out_per_pass: int
    optimiser_steps_per_pass: int
    optimiser_steps: int
    passes: float
    generations: int
    rollouts: int
    generated_tokens_per_generation: int
    tokens_per_step: float | None


def arithmetic(
    batch: Batch,
    rows: int,
    *,
    max_steps: int,
    epochs: float,
    max_completion: int,
    mean_prompt: float | None,
) -> Arithmetic:
    """The counts of a possible batch, as TRL 1.16's sampler and transformers' training loop make
    them.

    A pass takes whole generations and drops the rows that are left; its last step takes what
    micro-batches remain.
    """
    accumulation = batch.gradient_accumulation_steps
    chunks = rows // batch.prompts  # generations in one pass over the data
    steps_per_pass = math.ceil(chunks * batch.uses / accumulation)
    steps = max_steps if max_steps > 0 else math.ceil(epochs * steps_per_pass)
    whole, rest = divmod(steps, steps_per_pass)
    generations = whole * chunks + math.ceil(rest * accumulation / batch.uses)
    rollouts = batch.micro * accumulation
    return Arithmetic(
        processes=batch.processes,
        rows=rows,
        steps_per_generation=batch.steps,
        generation_batch_size=batch.completions,
        prompts_per_generation=batch.prompts,
        rollouts_per_generation=batch.completions,
        rollouts_per_step=rollouts,
        prompts_per_step=batch.prompts * accumulation / batch.uses,
        optimiser_steps_per_generation=batch.uses / accumulation,
        on_policy=batch.staleness == 0,
        staleness=batch.staleness,
        groups_span_ranks=batch.groups_span_ranks,
        rows_left_out_per_pass=rows - chunks * batch.prompts,
        optimiser_steps_per_pass=steps_per_pass,
        optimiser_steps=steps,
        passes=steps / steps_per_pass,
        generations=generations,
        rollouts=generations * batch.completions,
        generated_tokens_per_generation=batch.completions * max_completion,
        tokens_per_step=None if mean_prompt is None else rollouts * (mean_prompt + max_completion),
    )
