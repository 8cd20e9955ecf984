"""A recipe is kept with its run, and published: a secret has no place in it."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from llmpolicy import secrets
from llmpolicy.errors import RecipeError
from llmpolicy.recipe.blocks import written_at


def refuse_secrets(data: Mapping[str, Any], origin: Mapping[str, str]) -> None:
    """Raise RecipeError for a text of the recipe that is a secret by its form, its key or the
    environment; rows are not read.
    """
    values = [
        (name, value)
        for name, value in secrets.values_of(os.environ)
        if len(value) >= secrets.PIECE
    ]
    for key, text in _texts(data):
        if kind := secrets.in_setting(key.rpartition(".")[2], text, values):
            raise RecipeError(
                f"{written_at(key, origin)}{key} holds {kind}; it would be kept with the run: let"
                " the code that needs it read an environment variable"
            )


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if name != "rows":
                yield from _texts(item, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _texts(item, f"{key}.{index}".lstrip("."))
