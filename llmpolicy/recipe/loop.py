"""The blocks of a run by the readable loop: its settings, an environment, a small policy."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from llmpolicy.errors import nearest
from llmpolicy.recipe.block import AsWritten, seconds

BaselineName = Literal["time_step", "value", "group"]


def _baseline(value: Any) -> Any:
    """A baseline by its name, or a function that makes one."""
    if callable(value) or (isinstance(value, str) and ":" in value):
        return value
    if value not in get_args(BaselineName):
        names = get_args(BaselineName)
        raise ValueError(
            f"expected {', '.join(names)}, or module:function{nearest(str(value), names)}"
        )
    return value


class ReinforceBlock(AsWritten):
    """The loop of REINFORCE: its settings (llmpolicy.reinforce), and what a language model needs
    besides.
    """

    MAY_BE_NULL = ("horizon",)

    updates: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    baseline: Annotated[Any, AfterValidator(_baseline)]
    gamma: Annotated[float, Field(ge=0, le=1)] | None = None
    horizon: Annotated[int, Field(ge=1)] | None = None
    prompts: Annotated[int, Field(ge=1)] | None = None
    group_size: Annotated[int, Field(ge=1)] | None = None
    max_completion_length: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    def only(self, keys: Iterable[str]) -> dict[str, Any]:
        """Those of the settings that were written."""
        return {key: value for key in keys if (value := getattr(self, key)) is not None}


BY_NAME = {
    "textarena": "llmpolicy.environments.textarena:Game",
    "gem": "llmpolicy.environments.gem:Game",
    "openenv": "llmpolicy.environments.openenv:Served",
    "reasoning_gym": "llmpolicy.environments.reasoning_gym:Questions",
    "verifiers": "llmpolicy.environments.verifiers:Rollout",
}
"""The libraries whose environments a language model plays by name, and what makes one."""

SMALL = ("id", "count")
"""The keys of a small policy's environment alone."""


def by_name(value: Any) -> Any:
    """A class by its name alone; gymnasium's id by that library's name."""
    if callable(value) or isinstance(value, str):
        return {"fn": value}
    if isinstance(value, dict) and "gymnasium" in value:
        return {"id": value["gymnasium"], **{k: v for k, v in value.items() if k != "gymnasium"}}
    return value


class EnvironmentBlock(AsWritten):
    """Where a policy acts. A small one: a gymnasium environment by its ``id``, with settings of its
    own, or a function ``fn`` of ``args`` that makes one; ``count`` copies are played side by side.

    A language model: a class ``fn`` of ``args`` (docs/environments.md), one of a library by name,
    functions that are its ``tools``; what ends a dialogue (``turns``, ``seconds``, model's
    ``faults``; ``timeout`` is of one call, ``reply`` the tokens of one turn); ``patience``, how
    long dialogues that are answered wait for others (null: they do); ``credit``, what a
    turn is weighed by; ``template`` ``training`` where the model's own rewrites what was said;
    ``tools_in`` ``prompt`` where it knows of no tools; ``chat`` false where none is to be used.
    """

    model_config = ConfigDict(extra="allow")

    MAY_BE_NULL = ("id", "fn", "seconds", "patience")

    id: str | None = None
    fn: Any = None
    args: dict[str, Any] = {}
    count: Annotated[int, Field(ge=1)] | None = None
    textarena: str | None = None
    gem: str | None = None
    openenv: str | None = None
    reasoning_gym: str | None = None
    verifiers: str | None = None
    tools: list[Any] = []
    turns: Annotated[int, Field(ge=1)] = 8
    timeout: Annotated[float, BeforeValidator(seconds)] = 30.0
    patience: Annotated[float | None, BeforeValidator(seconds)] = 5.0
    seconds: Annotated[float | None, BeforeValidator(seconds)] = None
    faults: Annotated[int, Field(ge=0)] = 3
    reply: Annotated[int, Field(ge=1)] | None = None
    credit: Literal["episode", "turn"] = "episode"
    template: Literal["own", "training"] = "own"
    tools_in: Literal["template", "prompt"] = "template"
    chat: bool = True

    @model_validator(mode="after")
    def _one_source(self) -> "EnvironmentBlock":
        sources = [key for key in ("id", "fn", *BY_NAME) if getattr(self, key) is not None]
        if len(sources) > 1 or not (sources or self.tools):
            raise ValueError(
                "expected one of id, such as CartPole-v1, and fn, module:function (or, for a"
                f" language model, tools, {', '.join(BY_NAME)})"
            )
        if self.id is None and self.model_extra:
            name = min(self.model_extra)
            close = nearest(name, type(self).model_fields)
            raise ValueError(
                f"{name!r} beside {sources[0] if sources else 'tools'} (what that takes stands in"
                f" args){close}"
            )
        if self.id is not None and self.args:
            raise ValueError("args are those of fn; expected the settings of id beside it")
        return self

    @property
    def source(self) -> tuple[Any, dict[str, Any]]:
        """The class of a dialogue, or its name, and what makes it; None where there are tools
        alone.
        """
        for library, function in BY_NAME.items():
            if (name := getattr(self, library)) is not None:
                return function, {"name": name, **self.args}
        return self.fn, self.args

    @property
    def for_language(self) -> list[str]:
        """The keys that were written and that only a language model's environment has."""
        plain = {"fn", "args", *SMALL, *(self.model_extra or ())}
        return [key for key in self.model_fields_set if key not in plain]


class PolicyBlock(AsWritten):
    """A small policy: the sizes of its layers and, where its actions are vectors, their standard
    deviation at first; or a function ``fn`` of the environment, a seed and ``args`` that makes one,
    which may stand for the block.
    """

    MAY_BE_NULL = ("fn",)

    hidden: list[Annotated[int, Field(ge=1)]] | None = None
    std: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    fn: Any = None
    args: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _by_its_function(cls, value: Any) -> Any:
        if isinstance(value, Mapping | cls):
            return value
        made = hasattr(value, "log_prob") and not isinstance(value, type)
        if made or not (callable(value) or (isinstance(value, str) and ":" in value)):
            raise ValueError(
                "expected a mapping such as {hidden: [64]}, or a function that makes the policy,"
                " module:function or path.py:function"
            )
        return {"fn": value}

    @model_validator(mode="after")
    def _one_source(self) -> "PolicyBlock":
        if self.fn is not None and (self.hidden is not None or self.std is not None):
            raise ValueError("hidden and std are of the shipped policies; expected them in args")
        if self.fn is None and self.args:
            raise ValueError("args are those of fn; expected hidden, std")
        return self
