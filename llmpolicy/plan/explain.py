"""What a recipe comes to, without loading a model: each value with its source, and the arithmetic
of a GRPO step.
"""

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import starmap
from typing import Any

from pydantic import BaseModel

from llmpolicy.errors import RecipeError, nearest
from llmpolicy.plan.batch import Arithmetic, Batch, arithmetic, nearest_valid
from llmpolicy.recipe import (
    GRPO_DEFAULTS,
    TARGET_DEFAULTS,
    Recipe,
    SamplingBlock,
    grpo_defaults,
)
from llmpolicy.terminal import visible

SHOWN = (
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "steps_per_generation",
    "generation_batch_size",
    "num_generations",
    "num_iterations",
    "max_steps",
    "num_train_epochs",
    "max_completion_length",
    "temperature",
    "loss_type",
    "scale_rewards",
    "importance_sampling_level",
    "beta",
    "epsilon",
    "epsilon_high",
    "mask_truncated_completions",
    "learning_rate",
    "lr_scheduler_type",
    "max_grad_norm",
    "weight_decay",
    "gradient_checkpointing",
    "bf16",
    "use_vllm",
    "vllm_mode",
    "shuffle_dataset",
)
"""The settings that decide what a run does, shown with TRL's default where nobody wrote them."""

VALUE = 24
"""Columns of the values in a table; a longer one moves what follows it."""

COUNTS = (
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "num_generations",
    "num_iterations",
)
OPTIONAL_COUNTS = ("steps_per_generation", "generation_batch_size")


@dataclass(frozen=True, slots=True)
class Value:
    """One setting as it will be; ``source`` says who set it: override, recipe, llmpolicy default or
    TRL default.

    ``note`` says where it was written, or how a value that nobody wrote came about.
    """

    name: str
    value: Any
    source: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A `grpo:` block, explained: settings with their sources, the arithmetic, and what is worth
    knowing about it.
    """

    target: str
    values: tuple[Value, ...]
    arithmetic: Arithmetic
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as plain lists and dicts, for ``--json``."""
        return {"schema": 1, **_plain(self)}

    def __str__(self) -> str:
        """The same as lines for a terminal."""
        lines = [f"settings, for {self.target}", *_table(self.values), "arithmetic"]
        lines += map("  {}".format, _sentences(self.arithmetic))
        lines += map("note: {}".format, self.notes)
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class RecipeExplanation:
    """A whole recipe, explained: the values of its other blocks, its reward, and its `grpo:` block
    where it has one.

    ``lacking`` says which settings need a package that is not installed here, ``ways`` how
    generation and update go, as far as that is known without a model, ``dialogue`` whom it talks
    with.
    """

    blocks: tuple[Value, ...]
    grpo: Explanation | None
    reward: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    ways: Mapping[str, str] = field(default_factory=dict)
    dialogue: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The same as plain lists and dicts, for ``--json``."""
        plain = _plain(self)
        grpo = plain.pop("grpo") or {}
        for name in ("ways", "dialogue"):
            if not plain[name]:
                del plain[name]
        return {"schema": 1, **grpo, **plain}

    def __str__(self) -> str:
        """The same as lines for a terminal."""
        lines = ["recipe", *_table(self.blocks)]
        if self.reward:
            lines += ["reward", *map("  {}".format, self.reward)]
        if self.dialogue:
            lines += ["dialogue", *map("  {}".format, self.dialogue)]
        if self.grpo:
            lines.append(str(self.grpo))
        if self.ways:
            lines += ["speed", *starmap("  {}: {}".format, self.ways.items())]
        lines += map("note: {}".format, self.lacking)
        return "\n".join(lines)


def _plain(record: Explanation | RecipeExplanation) -> dict[str, Any]:
    return dict(json.loads(json.dumps(asdict(record), default=str)))


def explain_grpo(
    grpo: Mapping[str, Any],
    *,
    rows: int,
    mean_prompt_tokens: float | None = None,
    processes: int = 1,
    target: str = "cpu",
    overrides: Collection[str] = (),
    sampling: SamplingBlock | None = None,
) -> Explanation:
    """Resolve a `grpo:` block for ``rows`` training prompts on ``processes`` processes.

    ``overrides`` names the keys of ``grpo`` that were given on the command line; ``sampling`` is
    the recipe's block. Raises RecipeError, naming the nearest valid combinations, if TRL would
    refuse the block or train nothing with it.
    """
    if target not in TARGET_DEFAULTS:
        raise RecipeError(f"--for {target}: no such target{nearest(target, TARGET_DEFAULTS)}")
    stock = {name: grpo_defaults()[name] for name in SHOWN}
    settings = {**stock, **GRPO_DEFAULTS, **TARGET_DEFAULTS[target], **grpo}
    _check_counts(settings, rows, processes)
    _check_length(settings)
    batch = Batch(
        **{key: settings[key] for key in (*COUNTS, *OPTIONAL_COUNTS)}, processes=processes
    )
    if fault := batch.fault(rows):
        raise RecipeError(f"grpo: {fault}{_advice(batch, rows)}")
    counts = arithmetic(
        batch,
        rows,
        max_steps=settings["max_steps"],
        epochs=settings["num_train_epochs"],
        max_completion=settings["max_completion_length"],
        mean_prompt=mean_prompt_tokens,
    )
    values = [
        _value(name, value, _source(name, grpo, target, overrides), batch)
        for name, value in settings.items()
    ]
    notes = [*_notes(counts, batch, settings, target)]
    if sampling:
        notes += _sampling_notes(sampling, counts)
    return Explanation(target, tuple(values), counts, tuple(notes))


def written_values(recipe: Recipe) -> Iterator[Value]:
    """Every value outside `grpo:` that was written, or that is not empty by default."""
    for name, value, written in _leaves(recipe):
        where = recipe.written_at(name) if written else ""
        if where.startswith("override"):
            yield Value(name, value, "override")
        elif where:
            yield Value(name, value, "recipe", where)
        elif value not in (None, [], {}):
            yield Value(name, value, "llmpolicy default")


def _leaves(value: Any, name: str = "", written: bool = True) -> Iterator[tuple[str, Any, bool]]:
    """Each value below a block with its dotted name, and whether it was written or is a default."""
    start = name and f"{name}."
    if isinstance(value, list) and value and isinstance(value[0], BaseModel):
        value = dict(enumerate(value))
    if isinstance(value, BaseModel):
        for key in (*type(value).model_fields, *(value.model_extra or {})):
            if start or key != "grpo":
                was = written and key in value.model_fields_set
                yield from _leaves(getattr(value, key), start + key, was)
    elif isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{start}{key}", written)
    else:
        yield name, value, written


def _table(values: Sequence[Value]) -> list[str]:
    wide = max(len(value.name) for value in values)
    width = min(max(len(_show(value.value)) for value in values), VALUE)
    lines = []
    for value in values:
        note = value.note and f" ({value.note})"
        lines.append(f"  {value.name:<{wide}}  {_show(value.value):<{width}}  {value.source}{note}")
    return lines


def _check_counts(settings: Mapping[str, Any], rows: int, processes: int) -> None:
    counts = {**settings, "rows": rows, "processes": processes}
    for name in (*COUNTS, "max_completion_length", *OPTIONAL_COUNTS, "rows", "processes"):
        value = counts[name]
        if value is None and name in OPTIONAL_COUNTS:
            continue
        if type(value) is not int or value < 1:
            raise RecipeError(f"grpo: {name} is {value!r}; expected a whole number of at least 1")


def _check_length(settings: Mapping[str, Any]) -> None:
    steps, epochs = settings["max_steps"], settings["num_train_epochs"]
    if type(steps) is not int or steps == 0:
        raise RecipeError(
            f"grpo: max_steps is {steps!r}; expected a number of optimiser steps, or -1 to go by"
            " epochs"
        )
    if steps < 0 and not (isinstance(epochs, int | float) and 0 < epochs < math.inf):
        raise RecipeError(
            f"grpo: num_train_epochs is {epochs!r}; expected a number above 0, or max_steps instead"
        )
    if settings.get("auto_find_batch_size"):
        raise RecipeError(
            "grpo: auto_find_batch_size is true; expected false, for a smaller batch would split"
            " groups"
        )


def _advice(batch: Batch, rows: int) -> str:
    ways = []
    for way in nearest_valid(batch, rows):
        ways.append(" and ".join(f"{key}: {_show(x)}" for key, x in way.items()))
    return f"; nearest valid: {', or '.join(ways)}" if ways else ""


def _source(name: str, grpo: Mapping[str, Any], target: str, overrides: Collection[str]) -> str:
    if name in overrides and name in grpo:
        return "override"
    if name in grpo:
        return "recipe"
    if name in GRPO_DEFAULTS or name in TARGET_DEFAULTS[target]:
        return "llmpolicy default"
    return "TRL default"


def _value(name: str, value: Any, source: str, batch: Batch) -> Value:
    if value is not None or name not in OPTIONAL_COUNTS:
        return Value(name, value, source)
    if name == "generation_batch_size":
        product = "per_device_train_batch_size x processes x steps_per_generation"
        return Value(name, batch.completions, source, product)
    note = batch.knob
    if note == "generation_batch_size":
        note += " / (per_device_train_batch_size x processes)"
    return Value(name, batch.steps, source, note)


def _notes(a: Arithmetic, batch: Batch, settings: Mapping[str, Any], target: str) -> Iterator[str]:
    accumulation, uses = batch.gradient_accumulation_steps, batch.uses
    if a.prompts_per_step < 2:
        yield (
            f"a step sees {_show(a.prompts_per_step)} new prompts, for per_device_train_batch_size"
            " counts completions; raise gradient_accumulation_steps for a steadier gradient"
        )
    if a.on_policy and batch.num_iterations > 1:
        yield (
            "num_iterations repeats the same gradient here: all its passes over a generation fall"
            " into one step"
        )
    if accumulation % uses and uses % accumulation:
        yield "generations begin inside a step, so some steps mix rollouts of different weights"
    if a.rows // a.prompts_per_generation * uses % accumulation:
        yield "the last step of each pass over the data has fewer rollouts than the others"
    if a.groups_span_ranks:
        yield (
            "groups span processes; an advantage is computed from its whole group, gathered from"
            " all of them"
        )
    most = settings["epsilon_high"]
    if most is None:
        most = settings["epsilon"]
    if settings["loss_type"] == "cispo" and most < 1:
        yield (
            f"cispo cuts the ratio, 1 at the start, at epsilon_high {_show(most)}, so every token"
            f" weighs {_show(most)}; write epsilon_high: 5.0, as ScaleRL (arXiv 2510.13786) has it,"
            " unless a smaller step is meant"
        )
    if target == "cpu" and settings.get("fp16"):
        yield "fp16 is for GPUs: on a CPU it would change nothing, and a run is refused"
    if target == "cpu" and settings["use_vllm"]:
        yield "use_vllm needs a GPU, and this block is explained for cpu"


def _sampling_notes(sampling: SamplingBlock, a: Arithmetic) -> Iterator[str]:
    """What dynamic sampling changes in the arithmetic; raises RecipeError where it could change
    nothing, or not hold its cap.
    """
    least, most = a.generated_tokens_per_generation, sampling.max_tokens
    if a.rows <= a.prompts_per_generation:
        raise RecipeError(
            f"sampling: the task has {a.rows} training rows and a generation takes"
            f" {a.prompts_per_generation} prompts; expected more rows, for otherwise there is no"
            " other prompt to take"
        )
    if most is not None and most < least:
        raise RecipeError(
            f"sampling.max_tokens is {most}; expected at least {least}, what a generation may write"
            " before anything is refilled"
        )
    if most is not None:
        yield (
            "sampling.refill: groups without a signal are generated again, of other prompts, while"
            f" a generation stays below {most:,} new tokens ({_show(most / least)} times what it"
            " may write at first); the rollouts above are the least"
        )
    if sampling.memory:
        yield (
            "sampling.memory: prompts that gave a signal are preferred, so a pass over the data is"
            " not one of every row, and tasks are not mixed by their weights"
        )


def _sentences(a: Arithmetic) -> Iterator[str]:
    yield (
        f"generation: {a.prompts_per_generation} prompts x"
        f" {a.rollouts_per_generation // a.prompts_per_generation} ="
        f" {a.rollouts_per_generation} rollouts, up to {a.generated_tokens_per_generation:,}"
        " new tokens"
    )
    tokens = ""
    if a.tokens_per_step is not None:
        tokens = f", at most about {a.tokens_per_step:,.0f} tokens with prompts"
    yield f"step: {a.rollouts_per_step} rollouts, {_show(a.prompts_per_step)} new prompts{tokens}"
    policy = "on-policy" if a.on_policy else f"off-policy, rollouts up to {a.staleness} steps old"
    yield (
        f"{_show(a.optimiser_steps_per_generation)} optimiser"
        f" step{'s' * (a.optimiser_steps_per_generation != 1)} a generation: {policy}"
    )
    yield (
        f"pass over the data: {a.rows} rows, {a.rows_left_out_per_pass} left out,"
        f" {a.optimiser_steps_per_pass} steps"
    )
    yield (
        f"run: {a.optimiser_steps} steps, {_show(a.passes)} passes, {a.generations} generations,"
        f" {a.rollouts} rollouts"
    )
    span = "span" if a.groups_span_ranks else "do not span"
    yield f"processes: {a.processes}; groups {span} them"


def _show(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = visible(" ".join(str(value).split()))
    return text if len(text) <= 60 else f"{text[:57]}..."
