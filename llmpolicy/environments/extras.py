"""Libraries of environments, which are installed only by those who play them."""

import importlib
from typing import Any

from llmpolicy.errors import RecipeError


def library(module: str, extra: str) -> Any:
    """A library's module; RecipeError that says what to install where it is not there."""
    name = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] != name:
            raise RecipeError(
                f"environment {extra}: {module} needs {error.name}, which is not installed"
            ) from error
        raise RecipeError(
            f"environment {extra}: {name} is not installed; `pip install 'llmpolicy[{extra}]'`"
        ) from error
