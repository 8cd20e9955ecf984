"""What a reward function may ask for: its parameters are names, bound from args, reserved names and
columns.

single   fn(completion, **by name) -> number | None | Score group    fn(completions, **by name, each
a list over one prompt's group) -> list of those trl      fn(prompts, completions, completion_ids,
**columns as lists) -> list of those, as TRL calls it;
         trainer_state is a copy of the trainer's (types.TrainerSnapshot), log_extra and log_metric
         do nothing
"""

import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from llmpolicy.errors import RewardError, nearest
from llmpolicy.reference import resolve
from llmpolicy.rewards.declare import Contract, contract_of
from llmpolicy.types import Sample, TrainerSnapshot

if TYPE_CHECKING:
    from llmpolicy.episode import Dialogue

Style = Literal["single", "group", "trl"]


def _log_nothing(*_: Any, **__: Any) -> None:
    """Stand in for TRL's loggers: every score is already in the run's rollouts."""


RESERVED = ("completion", "prompt", "completion_ids", "messages", "truncated", "step", "row", "raw")
"""Names a reward may ask for beside the columns of its task; no column may have one.

``raw`` is the completion with its special tokens, which ``completion`` leaves out.
"""

OF_DIALOGUE = ("environment", "tool_calls", "turns", "ended")
"""What a reward may ask for besides where the model talks with an environment: what that paid, the
calls of tools, how often the model spoke, how it ended.
"""

TRAINERS: Mapping[str, Any] = {
    "trainer_state": TrainerSnapshot(),
    "log_extra": _log_nothing,
    "log_metric": _log_nothing,
}
"""What a reward of TRL's style may ask of its trainer, as it is where there is none."""

OFFERED: Mapping[str, tuple[str, ...]] = {
    "single": RESERVED,
    "group": ("completions", *RESERVED[1:]),
    "trl": ("prompts", "completions", "completion_ids", *TRAINERS, "raw"),
}

_LAST_PART = re.compile(r"[/\\.]")


@dataclass(frozen=True)
class RewardSpec:
    """One reward of a recipe: function or reference, weight (0 = only logged), bound arguments,
    name, style.

    ``timeout`` is in seconds a completion, and overrules what the function's contract says.
    """

    fn: str | Callable[..., Any]
    weight: float = 1.0
    args: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    style: Style = "single"
    timeout: float | None = None


@dataclass(frozen=True)
class Component:
    """A reward that can be called: the function, what is fixed for every row, and the names each
    row brings.
    """

    name: str
    function: Callable[..., Any]
    style: Style
    fixed: Mapping[str, Any]
    required: tuple[str, ...]
    optional: tuple[str, ...]
    positional: tuple[str, ...]
    takes_all: bool
    spec: RewardSpec
    base_dir: Path | None
    contract: Contract

    @classmethod
    def of(cls, spec: RewardSpec, base_dir: Path | None = None) -> "Component":
        """Resolve and read the function of a spec; RewardError when it cannot be called as
        declared.
        """
        function: Any = spec.fn
        if isinstance(function, str):
            function = resolve(function, base_dir)
        if not callable(function):
            raise RewardError(
                f"A reward must be a function or a reference string, not {function!r}."
            )
        name = spec.name or default_name(spec.fn)
        _check_spec(name, spec)
        contract = contract_of(function)
        if contract.group and spec.style == "single":
            # The function has said it, the recipe need not.
            spec = replace(spec, style="group")
        fixed = dict(spec.args)
        if isinstance(function, partial):  # what it binds is as good as args
            fixed = {**function.keywords, **fixed}
        names, positional = list[str](), list[str]()
        required, optional = list[str](), list[str]()
        takes_all = False
        for parameter in _parameters(name, function):
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                takes_all |= parameter.kind is parameter.VAR_KEYWORD
                continue
            names.append(parameter.name)
            if parameter.kind is parameter.POSITIONAL_ONLY:
                positional.append(parameter.name)
            if parameter.name not in fixed:
                unset = parameter.default is parameter.empty
                (required if unset else optional).append(parameter.name)
        _check_args(name, spec, names, takes_all)
        return cls(
            name=name,
            function=function,
            style=spec.style,
            fixed=fixed,
            required=tuple(required),
            optional=tuple(optional),
            positional=tuple(positional),
            takes_all=takes_all,
            spec=spec,
            base_dir=base_dir,
            contract=contract,
        )

    @property
    def asked(self) -> tuple[str, ...]:
        """The names that it takes of what is offered; with ``**`` it takes all."""
        if self.takes_all:
            return OFFERED[self.style]
        return (*self.required, *self.optional)

    @property
    def timeout(self) -> float:
        """The seconds that one completion may take."""
        return self.spec.timeout or self.contract.timeout

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the task must have for this reward."""
        return tuple(name for name in self.required if name not in OFFERED[self.style])

    def check(self, columns: Iterable[str]) -> None:
        """Raise RewardError for the first parameter that no column, reserved name, argument or
        default can fill.

        Or that a column would fill though it is a setting.
        """
        present = list(columns)
        for name in self.contract.settings:
            if name in present and name not in self.fixed:
                raise RewardError(
                    f"Reward {self.name!r} has a setting {name!r}, which no column may fill, and"
                    f" the task has a column of that name; write `args: {{{name}: ...}}`, or rename"
                    " the column."
                )
        for name in self.columns:
            if name not in present:
                styles = [f"`style: {style}`" for style in OFFERED if name in OFFERED[style]]
                hint = nearest(name, [*present, *OFFERED[self.style]])
                if styles:
                    hint = f"; write {' or '.join(styles)}"
                raise RewardError(
                    f"Reward {self.name!r} asks for {name!r}, which is no column of the task, no"
                    f" reserved name and not in its args{hint}"
                )

    def chosen(self, offered: Mapping[str, Any], columns: Mapping[str, Any]) -> dict[str, Any]:
        """What one call gets beside the fixed arguments, by name; KeyError with the name that this
        row lacks.
        """
        chosen: dict[str, Any] = {}
        if self.takes_all:
            chosen.update(columns)
        if self.takes_all and self.style == "trl":
            chosen.update(offered)
            del chosen["raw"]  # TRL has no such name
        for name in self.required:
            chosen[name] = offered[name] if name in offered else columns[name]
        for name in self.optional:
            if name in offered:
                chosen[name] = offered[name]
            elif name in columns:
                chosen[name] = columns[name]
        return chosen

    def call(self, chosen: Mapping[str, Any]) -> Any:
        """Call the function with what was chosen and what is fixed."""
        named = {**chosen, **self.fixed}
        ordered = [named.pop(name) for name in self.positional if name in named]
        return self.function(*ordered, **named)


def offered_single(sample: Sample) -> dict[str, Any]:
    """The reserved names of one sample."""
    offered = {name: getattr(sample, name) for name in RESERVED}
    if sample.raw is None:
        offered["raw"] = sample.completion
    if sample.dialogue is not None:
        offered |= dict(zip(OF_DIALOGUE, _of(sample.dialogue), strict=True))
    return offered


def _of(dialogue: "Dialogue") -> tuple[Any, ...]:
    return dialogue.paid, dialogue.tool_calls, dialogue.turns, dialogue.ended


def offered_group(samples: Sequence[Sample]) -> dict[str, Any]:
    """The reserved names of one prompt's group, each a list over its samples."""
    rows = list(map(offered_single, samples))
    offered = {name: list(map(itemgetter(name), rows)) for name in rows[0]}
    return {"completions": offered.pop("completion"), **offered}


def offered_trl(samples: Sequence[Sample], state: TrainerSnapshot | None = None) -> dict[str, Any]:
    """What TRL passes: for chat prompts a completion is a list of one assistant message, as its
    rewards expect.
    """
    prompts, completions = list[Any](), list[Any]()
    for sample in samples:
        if sample.messages is None:
            prompts.append(sample.prompt)
            completions.append(sample.completion)
        elif sample.dialogue is None:
            prompts.append(list(sample.messages))
            completions.append([{"role": "assistant", "content": sample.completion}])
        else:
            prompts.append(list(sample.messages[: sample.dialogue.begun]))
            completions.append(list(sample.dialogue.said))
    offered = offered_group(samples)
    return {
        "prompts": prompts,
        "completions": completions,
        "completion_ids": list(map(list, offered["completion_ids"])),
        **TRAINERS,
        "trainer_state": state or TrainerSnapshot(samples[0].step),
        "raw": offered["raw"],
    }


def default_name(fn: str | Callable[..., Any]) -> str:
    """A name that depends on the reward alone: ``module.function``, the function's name, or its
    class.
    """
    if isinstance(fn, str):
        module, _, function = fn.rpartition(":")
        return f"{_LAST_PART.split(module.removesuffix('.py'))[-1]}.{function}"
    while isinstance(fn, partial):
        fn = fn.func
    name = getattr(fn, "__name__", type(fn).__name__)
    if name == "<lambda>":
        # The line tells two lambdas of one recipe apart.
        return f"lambda_{inspect.unwrap(fn).__code__.co_firstlineno}"
    return str(name)


def check_names(components: Sequence[Component]) -> None:
    """Raise RewardError when two rewards share a name: a silent suffix would change what a metric
    means.
    """
    names = [component.name for component in components]
    for name in names:
        if names.count(name) > 1:
            raise RewardError(f"Two rewards are called {name!r}; give one of them another `name`.")


def check_columns_are_free(columns: Iterable[str], style: Style = "single") -> None:
    """Raise RewardError for a column with a name that a reward of this style gets from
    elsewhere.
    """
    for name in columns:
        if name in OFFERED[style]:
            raise RewardError(
                f"The task has a column {name!r}, a name reserved for rewards of style {style} "
                f"({', '.join(OFFERED[style])}); rename it with the task's `columns` mapping."
            )


def _parameters(name: str, function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise RewardError(
            f"Reward {name!r}: {function!r} has no readable signature; wrap it in a Python"
            " function."
        ) from error


def _check_spec(name: str, spec: RewardSpec) -> None:
    if spec.style not in get_args(Style):
        raise RewardError(
            f"Reward {name!r} has style {spec.style!r}{nearest(str(spec.style), get_args(Style))}"
        )
    if (
        isinstance(spec.weight, bool)
        or not isinstance(spec.weight, int | float)
        or not math.isfinite(spec.weight)
    ):
        raise RewardError(
            f"Reward {name!r} has weight {spec.weight!r}; expected a finite number (0 = only"
            " logged)."
        )
    if spec.timeout is not None and not spec.timeout > 0:
        raise RewardError(
            f"Reward {name!r} has timeout {spec.timeout!r}; expected seconds above 0."
        )


def _check_args(name: str, spec: RewardSpec, parameters: Sequence[str], takes_all: bool) -> None:
    for arg in spec.args:
        if arg in OFFERED[spec.style]:
            raise RewardError(
                f"Reward {name!r} has {arg!r} among its args, but that name is filled for every"
                " row."
            )
        if arg not in parameters and not takes_all:
            free = [p for p in parameters if p not in OFFERED[spec.style]]
            raise RewardError(f"Reward {name!r} takes no argument {arg!r}{nearest(arg, free)}")
