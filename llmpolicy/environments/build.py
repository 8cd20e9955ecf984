"""The environment of a recipe: gymnasium's by its id, or one that a function makes."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmpolicy.environments.base import Environment
from llmpolicy.environments.gymnasium import COUNT, GymnasiumEnvironment
from llmpolicy.errors import RecipeError, called
from llmpolicy.recipe import EnvironmentBlock
from llmpolicy.reference import name_of, named


def build_environment(block: EnvironmentBlock, base_dir: Path | None = None) -> Environment:
    """The environment of a recipe's ``environment:`` block, whose files start from ``base_dir``.

    A function with a parameter ``count`` makes all episodes; any other makes a gymnasium
    environment, and is called for each of them. Raises RecipeError where it cannot be made.
    """
    if block.fn is None:
        return GymnasiumEnvironment(**block.model_dump())
    name = name_of(block.fn)
    make, count = named("environment.fn", block.fn, base_dir, classes=True), block.count or COUNT
    if "count" in inspect.signature(make).parameters:
        return _episodes(_made(make, block, count=count), name, count)
    return GymnasiumEnvironment.of([_made(make, block) for _ in range(count)], name)


def _made(make: Callable[..., Any], block: EnvironmentBlock, **count: int) -> Any:
    name = name_of(block.fn)
    with called(f"environment.fn {name!r} of {block.args}"):
        environment = make(**block.args, **count)
    return _with(environment, ("reset", "step"), name)


def _episodes(environment: Any, name: str, count: int) -> Environment:
    _with(environment, ("groups",), name)
    if len(environment.groups) != count:
        raise RecipeError(
            f"environment.fn {name!r} made {len(environment.groups)} episodes; expected {count}"
        )
    return environment


def _with(environment: Any, methods: tuple[str, ...], name: str) -> Any:
    missing = [method for method in methods if not hasattr(environment, method)]
    if missing:
        raise RecipeError(
            f"environment.fn {name!r} made a {type(environment).__name__} without {missing[0]!r};"
            " expected an environment (llmpolicy.environments.base), or one of gymnasium's kind"
        )
    return environment
