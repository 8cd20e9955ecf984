"""What has no place in a recipe: secrets, since it is kept with its run and published, and the
word that code which comes with a model may run, which is that of whoever gives the command.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llmpolicy import secrets
from llmpolicy.errors import RecipeError
from llmpolicy.recipe.blocks import written_at

Origin = Mapping[str, str]
"""What wrote each dotted key: a file and line, or an override."""


def refuse_secrets(data: Any, origin: Origin) -> None:
    """Raise RecipeError for a text of the recipe that is a secret by its form, its key or the
    environment; rows are not read.
    """
    values = [pair for pair in secrets.values_of(os.environ) if len(pair[1]) >= secrets.PIECE]
    for key, name, text in _inside(data):
        if isinstance(text, str) and (kind := secrets.in_setting(name, text, values)):
            raise RecipeError(
                f"{written_at(key, origin)}{key} holds {kind}; it would be kept with the run: let"
                " the code that needs it read an environment variable"
            )


def refuse_remote_code(data: Any, origin: Origin) -> None:
    """Raise RecipeError where it is not the command that says that the code of a model may run."""
    for key, name, value in _inside(data):
        where = written_at(key, origin)
        if name == "trust_remote_code" and value and not where.startswith("override"):
            flag = "--trust-remote-code" if key == f"model.{name}" else f"{key}=true"
            raise RecipeError(
                f"{where}{key}: {value!r:.40}; code that comes with a model runs only when the"
                f" command says so: read it, then give {flag}"
            )


def _inside(value: Any, key: str = "") -> Iterator[tuple[str, str, Any]]:
    """All that lies in a recipe's data but rows: its dotted key, the last name of that, itself."""
    pairs: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        pairs = value.items()
    elif isinstance(value, list | tuple):
        pairs = enumerate(value)
    for name, item in pairs:
        if name != "rows":
            dotted = f"{key}.{name}".lstrip(".")
            yield dotted, str(name), item
            yield from _inside(item, dotted)
