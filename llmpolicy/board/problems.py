"""What is to be learned, by whichever trainer."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from llmpolicy.errors import RecipeError, nearest

FILE = Path(__file__).parent / "problems.yaml"


class Problem(BaseModel):
    """A recipe's base (after its warm start), rows and rewards, and the held-out accuracy to be
    reached.

    ``look`` is the number of completions trained on between two looks at ``prompts`` held-out
    prompts, ``most`` that after which a trainer is ended; ``answer`` is how a right answer is
    written, for supervised training; ``changes`` are of the recipe, for all trainers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    recipe: str
    target: float = Field(gt=0, le=1)
    prompts: int = Field(gt=0)
    look: int = Field(gt=0)
    most: int = Field(gt=0)
    answer: str
    changes: tuple[str, ...] = ()


def problems() -> dict[str, Problem]:
    """All problems by name."""
    data: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return {name: Problem(name=name, **block) for name, block in data.items()}


def problem(name: str) -> Problem:
    """One problem; raises RecipeError for a name that is none."""
    known = problems()
    if name not in known:
        raise RecipeError(f"the board has no problem {name!r}{nearest(name, known)}")
    return known[name]
