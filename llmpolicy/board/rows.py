"""A row of the board: a trainer, how it is set, and in which environment it runs."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmpolicy.board.problems import problem
from llmpolicy.bounded import load_yaml, read_text
from llmpolicy.errors import RecipeError, nearest, one_line

SHIPPED = Path(__file__).parent / "rows"


class BoardRow(BaseModel):
    """A row as its YAML file says it.

    ``trainer`` names a function ``module:function`` or ``path.py:function`` that trains (see
    `llmpolicy.board.trainers`); ``settings`` are for all problems, those of ``problems`` for one.
    ``python`` is the interpreter of an environment of its own, in which llmpolicy is installed too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[\w.-]+$")
    says: str
    trainer: str
    settings: dict[str, Any] = {}
    problems: dict[str, dict[str, Any]]
    python: Path | None = None
    base_dir: Path = Path()

    def settings_of(self, name: str) -> dict[str, Any]:
        """What the trainer is told for a problem; raises RecipeError where the row has none."""
        if name not in self.problems:
            raise RecipeError(
                f"row {self.name!r} has no problem {name!r}{nearest(name, self.problems)}"
            )
        return {**self.settings, **self.problems[name]}


def rows() -> dict[str, Path]:
    """The files of the rows that are shipped, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.yaml"))}


def load_row(name: str) -> BoardRow:
    """A row by the name of a shipped one, or from a file; raises RecipeError for any other."""
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        shipped = rows()
        if name not in shipped:
            raise RecipeError(f"the board has no row {name!r}{nearest(name, shipped)}")
        path = shipped[name]
    row = _read(path)
    for each in row.problems:
        problem(each)
    return row


def _read(path: Path) -> BoardRow:
    try:
        data = load_yaml(read_text(path))
    except (yaml.YAMLError, ValueError) as error:
        raise RecipeError(f"{path}: not valid YAML: {one_line(error)}") from error
    if not isinstance(data, dict):
        raise RecipeError(f"{path} holds no mapping; expected name, says, trainer and problems")
    try:
        return BoardRow.model_validate({**data, "base_dir": path.absolute().parent})
    except ValidationError as error:
        fault = min(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
        key = ".".join(map(str, fault["loc"]))
        if fault["type"] == "extra_forbidden":
            hint = nearest(key, BoardRow.model_fields)
            raise RecipeError(f"{path}: unknown key {key!r}{hint}") from error
        raise RecipeError(f"{path}: {key}: {fault['msg']}; found {fault['input']!r:.80}") from error
