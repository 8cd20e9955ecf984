"""The blocks of a run by the readable loop: its settings, an environment, a small policy."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from llmpolicy.errors import nearest
from llmpolicy.recipe.block import AsWritten

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


class EnvironmentBlock(AsWritten):
    """A gymnasium environment by its ``id``, with settings of its own, or a function ``fn`` of
    ``args`` that makes one; and how many copies are played side by side.
    """

    model_config = ConfigDict(extra="allow")

    MAY_BE_NULL = ("id", "fn")

    id: str | None = None
    fn: Any = None
    args: dict[str, Any] = {}
    count: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "EnvironmentBlock":
        if (self.id is None) == (self.fn is None):
            raise ValueError("expected one of id, such as CartPole-v1, and fn, module:function")
        if self.fn is not None and self.model_extra:
            name = min(self.model_extra)
            raise ValueError(f"{name!r} beside fn; expected what the function takes in args")
        if self.fn is None and self.args:
            raise ValueError("args are those of fn; expected the settings of id beside it")
        return self


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
