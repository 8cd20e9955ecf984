"""The blocks of a recipe with their defaults, as strict models; no file is read and no torch is
loaded here.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    model_validator,
)

from llmpolicy.errors import RecipeError
from llmpolicy.recipe.block import Block, seconds, size
from llmpolicy.recipe.loop import (
    BaselineName,
    EnvironmentBlock,
    PolicyBlock,
    ReinforceBlock,
    by_name,
)
from llmpolicy.rewards.compose import COMPOSITES
from llmpolicy.run.paths import from_run, in_paths
from llmpolicy.tasks import TaskSpec


def _listed(value: Any) -> Any:
    """One block stands for a list of one; a key with nothing behind it for an empty list."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _path(value: Any) -> Any:
    return fspath(value) if isinstance(value, PathLike) else value


class ModelBlock(Block):
    """Where the language model comes from, what it is truly called, and what of it is trained."""

    path: Annotated[str, BeforeValidator(_path)]
    hub_id: str | None = None
    revision: str | None = None
    note: str | None = None
    adapter: str | None = None
    lora: dict[str, Any] | None = None
    quantize: Literal["4bit"] | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] | None = None
    trust_remote_code: bool = False
    stop: list[str] = []

    def elsewhere(self, path: str, note: str | None = None) -> "ModelBlock":
        """The block of other weights, of which nothing is true that says where these come from."""
        origin = dict.fromkeys(("hub_id", "revision", "adapter"))
        return self.model_copy(update={**origin, "path": path, "note": note})


PAID: dict[str, Any] = {"fn": "environment:paid", "name": "environment"}
"""The part of a reward that the environment of a dialogue pays."""


def _rewards(value: Any) -> Any:
    return list(map(_reward, _listed(value)))


def _reward(value: Any) -> Any:
    """An entry by its function alone, or with it; what the environment pays by that name."""
    entry = value if isinstance(value, (Mapping, BaseModel)) else {"fn": value}
    if isinstance(entry, Mapping) and entry.get("fn") == "environment":
        return {**entry, **PAID}
    return entry


class RewardBlock(Block):
    """One entry of the reward: a function (how it is found, its arguments, its calling style, its
    seconds a completion), or min, product or sum of entries; its weight, and what is done with it
    (docs/rewards.md). None: not written.
    """

    fn: Any = None
    min: "RewardList | None" = None
    product: "RewardList | None" = None
    sum: "RewardList | None" = None
    weight: float | None = None
    args: dict[str, Any] = {}
    name: str | None = None
    style: Literal["single", "group", "trl"] = "single"
    timeout: Annotated[float | None, BeforeValidator(seconds)] = None
    role: Literal["correctness", "gate", "shaping"] | None = None
    when: Literal["correct"] | None = None
    clip: tuple[float, float] | None = None
    relative: Literal["group"] | None = None
    tasks: Annotated[list[str], BeforeValidator(_listed)] | None = None

    def functions(self) -> Iterator["RewardBlock"]:
        """The entries of functions below it, or itself."""
        if self.fn is not None:
            yield self
        for block in self.min or self.product or self.sum or ():
            yield from block.functions()

    def with_args(self, args_of: Callable[["RewardBlock"], dict[str, Any]]) -> "RewardBlock":
        """The same entry, in which each function has the arguments that ``args_of`` says."""
        changes: dict[str, Any] = {"args": args_of(self)}
        for key in COMPOSITES:
            if blocks := getattr(self, key):
                changes[key] = [block.with_args(args_of) for block in blocks]
        return self.model_copy(update=changes)

    def mapping(self) -> dict[str, Any]:
        """What was written, for the reader of rewards, which checks it; functions are the same."""
        written = {key: value for key, value in self if value is not None}
        for key in COMPOSITES:
            if key in written:
                written[key] = [block.mapping() for block in written[key]]
        return written


RewardList = Annotated[list[RewardBlock], BeforeValidator(_rewards)]


def _truth(value: Any) -> Any:
    """An entry as in ``rewards``, with nothing that a verifier which pays nothing can have."""
    entry = None if value is None else _reward(value)
    written = entry if isinstance(entry, Mapping) else {}
    for key in OF_PAY:
        if written.get(key) is not None:
            raise ValueError(
                f"{key} has no meaning: truth pays nothing and never trains; remove it"
            )
    return entry


OF_PAY = ("weight", "role", "when", "relative", "tasks")
"""The keys of an entry that say how much it pays, and for what."""


class SamplingBlock(Block):
    """Which prompts GRPO generates: ``refill`` replaces groups whose rewards are at most
    ``tolerance`` apart by groups of other prompts, within ``max_tokens`` completion tokens a
    generation; ``memory`` prefers prompts that gave a signal.
    """

    refill: bool = False
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    tolerance: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    memory: bool = False

    @model_validator(mode="after")
    def _does_something(self) -> "SamplingBlock":
        if self.refill and self.max_tokens is None:
            raise ValueError(
                "refill needs max_tokens, the most completion tokens that a generation may take"
                " in all"
            )
        if self.max_tokens is not None and not self.refill:
            raise ValueError("max_tokens bounds what is refilled; write refill: true, or remove it")
        if not self.refill and not self.memory:
            raise ValueError(
                "nothing is asked for; write refill: true with max_tokens, or memory: true, or no"
                " block"
            )
        return self


class EvaluateBlock(Block):
    """How right answers are recognised on held-out prompts; for environments, how many episodes are
    played.
    """

    correct: Any = None
    args: dict[str, Any] = {}
    threshold: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    n: Annotated[int, Field(ge=1)] = 200
    task: TaskSpec | None = None
    every: Annotated[int, Field(ge=1)] | None = None
    samples: Annotated[int, Field(ge=1)] = 8
    batch_size: Annotated[int, Field(ge=1)] = 256
    episodes: Annotated[int, Field(ge=2)] = 100
    curve: bool = False
    max_completion_length: Annotated[int, Field(ge=1)] | None = None


class RecordBlock(Block):
    """What a run may keep of itself: bytes of its completions (docs/runs.md)."""

    rollouts: Annotated[int, BeforeValidator(size)]


def _folder_name(name: str) -> str:
    """A recipe's name, which becomes that of a folder in runs/."""
    if name.strip() in ("", ".", "..") or set(name) & {"/", "\\", "\0"}:
        raise ValueError(f"{name!r} cannot be the name of a run's folder")
    return name


def _model(value: Any) -> Any:
    return {"path": value} if isinstance(value, str | PathLike) else value


class Recipe(Block):
    """One run in full: a language model on tasks by GRPO or REINFORCE, or a small policy in an
    environment.

    ``sft`` on ``demonstrations``, and a ``reward_model`` of ``preferences``, are stages that go
    before GRPO or stand alone.
    """

    name: Annotated[str, AfterValidator(_folder_name)] = "run"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    model: Annotated[ModelBlock, BeforeValidator(_model)] | None = None
    task: Annotated[list[TaskSpec], BeforeValidator(_listed)] = []
    rewards: RewardList = []
    truth: Annotated[RewardBlock | None, BeforeValidator(_truth)] = None
    allow_inversion: bool = False
    evaluate: EvaluateBlock | None = None
    demonstrations: TaskSpec | None = None
    sft: dict[str, Any] | None = None
    preferences: TaskSpec | None = None
    reward_model: dict[str, Any] | None = None
    grpo: dict[str, Any] | None = None
    sampling: SamplingBlock | None = None
    advantage: Any = None
    loss: Any = None
    reinforce: ReinforceBlock | None = None
    environment: Annotated[EnvironmentBlock | None, BeforeValidator(by_name)] = None
    policy: PolicyBlock | None = None
    max_prompt_tokens: Annotated[int, Field(ge=1)] | None = None
    over_long: Literal["drop", "refuse"] = "drop"
    allow_biased_sampler: bool = False
    record: RecordBlock | None = None
    time_limit: Annotated[float | None, BeforeValidator(seconds)] = None

    @model_validator(mode="after")
    def _paid_by_environment(self) -> "Recipe":
        """Where nothing is said of a dialogue's reward, it is what the environment pays."""
        if self.model is not None and self.environment is not None:
            if not self.rewards:
                self.rewards = [RewardBlock(**PAID)]
            judged_by = (self.evaluate and self.evaluate.correct) or self.truth
            if self.evaluate is not None and judged_by is None:
                self.evaluate = self.evaluate.model_copy(update={"correct": PAID["fn"]})
        return self

    _base_dir: Path | None = None
    _run: Path | None = None
    _origin: dict[str, str] = {}

    @property
    def reward_functions(self) -> list[RewardBlock]:
        """The entries of ``rewards`` that name a function, at whatever depth, in order."""
        return [function for block in self.rewards for function in block.functions()]

    @property
    def verifiers(self) -> list[RewardBlock]:
        """The functions that only judge held-out answers: those of ``truth``, and the one of
        ``evaluate``.
        """
        found = list(self.truth.functions()) if self.truth else []
        if self.evaluate is not None and self.evaluate.correct is not None:
            found.append(RewardBlock(fn=self.evaluate.correct, args=self.evaluate.args))
        return found

    @property
    def base_dir(self) -> Path | None:
        """The folder that relative paths of this recipe start from."""
        return self._base_dir

    @property
    def language_model(self) -> ModelBlock:
        """The model; raises RecipeError for a recipe of a small policy, which has none."""
        if self.model is None:
            raise RecipeError(f"recipe {self.name!r} has no model")
        return self.model

    @property
    def every_task(self) -> list[TaskSpec]:
        """The tasks that are trained on, and the held-out one."""
        held_out = self.evaluate.task if self.evaluate else None
        return [*self.task, held_out] if held_out else list(self.task)

    @property
    def functions(self) -> list[tuple[str, Any, dict[str, Any]]]:
        """The functions besides rewards and tasks that this recipe is carried out with: the key of
        each, itself or its name, and its arguments.
        """
        named: list[tuple[str, Any, dict[str, Any]]] = [
            ("advantage", self.advantage, {}),
            ("loss", self.loss, {}),
        ]
        if self.reinforce and self.reinforce.baseline not in get_args(BaselineName):
            named.append(("reinforce.baseline", self.reinforce.baseline, {}))
        if self.policy is not None:
            named.append(("policy.fn", self.policy.fn, self.policy.args))
        if self.environment is not None:
            named.append(("environment.fn", *self.environment.source))
            named += [("environment.tools", tool, {}) for tool in self.environment.tools]
        return [(key, fn, args) for key, fn, args in named if fn is not None]

    @property
    def origin(self) -> dict[str, str]:
        """For each dotted key that was written: the file and line, or the override, that wrote
        it.
        """
        return self._origin

    def written_at(self, key: str) -> str:
        """What wrote a dotted key, or the block around it: a file and line, or an override; else an
        empty text.
        """
        return written_at(key, self._origin).removesuffix(": ")

    @property
    def run(self) -> Path | None:
        """The folder of the run that this is the recipe of."""
        return self._run

    def within(self, run: Path | None) -> "Recipe":
        """The recipe as that of the run in a folder, or of none."""
        recipe = self.model_copy()
        recipe._run = run.resolve() if run else None
        return recipe

    def resolved(self) -> dict[str, Any]:
        """The recipe as plain data, every default filled in but for functions that there are none
        of; functions become their names.

        A path below the recipe's run begins with ``{run}``, so that the run can be moved.
        """
        none = {
            key for key in ("advantage", "loss", "truth", "record") if getattr(self, key) is None
        }
        data = json.loads(json.dumps(self.model_dump(exclude=none), default=_plain))
        return dict(self.portable(data))

    def portable(self, value: Any, *, named: bool = False) -> Any:
        """Data of a recipe (with ``named`` of a part that may be paths) as its run writes it
        down.
        """
        run = self._run
        return (
            value if run is None else in_paths(value, lambda text: from_run(text, run), named=named)
        )

    def hash(self) -> str:
        """A short fingerprint of the resolved recipe."""
        return hashlib.sha256(json.dumps(self.resolved(), sort_keys=True).encode()).hexdigest()[:16]


def _plain(value: Any) -> str:
    if callable(value):
        name = getattr(value, "__qualname__", type(value).__name__)
        return f"{getattr(value, '__module__', '')}:{name}"
    return str(value)


def written_at(key: str, origin: Mapping[str, str]) -> str:
    """What wrote a dotted key, or the block around it, as the beginning of a sentence; else an
    empty text.
    """
    parts = key.split(".")
    while parts:
        # A block written without its list (one task, one reward) has no index in the file.
        for candidate in (".".join(parts), ".".join(part for part in parts if not part.isdigit())):
            if candidate in origin:
                return f"{origin[candidate]}: "
        parts.pop()
    return ""
