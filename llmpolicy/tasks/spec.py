"""The `task:` block of a recipe: where rows come from and how a row becomes a prompt."""

import re
from collections.abc import Callable, Iterator
from itertools import islice
from os import PathLike, fspath
from pathlib import PurePath
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from llmpolicy.messages import content_text, read_messages
from llmpolicy.tasks.arrow import dataset_rows, is_dataset

SOURCES = ("hub", "file", "reasoning_gym", "generator", "rows")


class Example(BaseModel):
    """One few-shot example, written out in full (as a text, or in parts of text): it passes through
    no prompt template.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    user: str
    assistant: str

    @field_validator("user", "assistant", mode="before")
    @classmethod
    def _joined(cls, content: Any) -> Any:
        if not isinstance(content, list):
            return content
        [message] = read_messages([{"role": "few_shot", "content": content}])
        return content_text(message["content"])


class TaskSpec(BaseModel):
    """One task: exactly one source of rows, and how each row becomes a prompt and columns for the
    rewards.

    ``file`` beside ``hub`` is a local copy of that dataset and wins. ``rows`` are given from
    Python, one dict a row, or as a Dataset or IterableDataset.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    hub: str | None = None
    file: str | None = None
    reasoning_gym: str | None = None
    generator: str | Callable[..., Any] | None = None
    rows: list[dict[str, Any]] | None = None
    config: str | None = None
    split: str | None = None
    args: dict[str, Any] = {}
    prompt: str | None = None
    system: str | None = None
    few_shot: list[Example] = []
    prefill: str | None = None
    chat: bool = True
    chat_template_kwargs: dict[str, Any] = {}
    columns: dict[str, str] = {}
    extract: dict[str, str] = {}
    canonical: str | Callable[..., str] | None = None
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    limit: Annotated[int, Field(ge=1)] | None = None
    name: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_dataset(cls, block: Any) -> Any:
        if is_dataset(block):
            return {"rows": dataset_rows(block)}
        if not isinstance(block, dict):
            return block
        rows, limit = block.get("rows"), block.get("limit")
        if is_dataset(rows):
            return {**block, "rows": dataset_rows(rows, limit)}
        if isinstance(rows, tuple | Iterator):
            return {**block, "rows": list(islice(rows, limit))}
        return block

    @field_validator("file", mode="before")
    @classmethod
    def _named(cls, file: Any) -> Any:
        return fspath(file) if isinstance(file, PathLike) else file

    @model_validator(mode="after")
    def _one_source(self) -> "TaskSpec":
        sources = [source for source in SOURCES if getattr(self, source) is not None]
        if len(sources) != 1 and sources != ["hub", "file"]:
            raise ValueError(
                f"a task has exactly one of {', '.join(SOURCES)} (or file beside hub), found"
                f" {' and '.join(sources) or 'none'}"
            )
        if self.args and sources[0] not in ("reasoning_gym", "generator"):
            raise ValueError(f"args belong to reasoning_gym or generator, not to {sources[0]}")
        if (self.config or self.split) and self.hub is None:
            raise ValueError(f"config and split belong to a hub dataset, not to {sources[0]}")
        return self

    @field_validator("extract")
    @classmethod
    def _one_group(cls, extract: dict[str, str]) -> dict[str, str]:
        for column, pattern in extract.items():
            try:
                groups = re.compile(pattern).groups
            except re.error as error:
                raise ValueError(f"extract {column!r} is no regular expression: {error}") from error
            if groups != 1:
                raise ValueError(
                    f"extract {column!r} has {groups} groups, expected exactly one (...)"
                )
        return extract

    @property
    def template(self) -> str:
        """The prompt's template; without one the question is asked as it is."""
        return "{question}" if self.prompt is None else self.prompt

    @property
    def label(self) -> str:
        """The task's name in errors, rows and reports."""
        source = (
            self.name or self.reasoning_gym or self.hub or (self.file and PurePath(self.file).stem)
        )
        function = getattr(self.generator, "__name__", self.generator)
        return str(source or function or "rows")
