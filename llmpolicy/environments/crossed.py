"""How a user's class and tools cross to the process that players are forked from: a reference as it
is, with the text of its file, a class or function by value.
"""

import contextlib
import inspect
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmpolicy.errors import RecipeError
from llmpolicy.provenance.code import source_of
from llmpolicy.reference import keep, name_of, resolve
from llmpolicy.rewards.workers.crossing import MOST_BYTES, by_value

Source = str | Callable[..., Any]
"""A class or function, or what names it: ``module:name`` or ``path.py:name``."""


@dataclass(frozen=True, slots=True)
class Named:
    """A class or function as it crosses: ``reference`` and the text of the file it lies in, or
    ``value``.
    """

    reference: str | None
    text: bytes | None = None
    value: bytes = b""

    def load(self, role: str, base_dir: Path, classes: bool = False) -> Callable[..., Any]:
        """What it names, in this process; RewardError where nothing can be loaded."""
        if self.reference is None:
            return pickle.loads(self.value)
        if self.text is not None:
            keep(base_dir / self.reference.rpartition(":")[0], self.text)
        return resolve(self.reference, base_dir, role=role, classes=classes)


@dataclass(frozen=True, slots=True)
class Load:
    """What players are made of."""

    source: Named | None
    arguments: bytes
    tools: Sequence[Named]
    base_dir: Path


def load_of(
    source: Source | None,
    arguments: Mapping[str, Any],
    tools: Sequence[Source],
    base_dir: Path | None,
) -> bytes:
    """A `Load`, pickled; RecipeError for what cannot be copied to another process."""
    import cloudpickle

    folder = (base_dir or Path()).resolve()
    load = Load(
        source=None if source is None else _named("Environment", source, folder),
        arguments=_copied(f"The arguments of environment {name_of(source)!r}", dict(arguments)),
        tools=[_named("Tool", tool, folder) for tool in tools],
        base_dir=folder,
    )
    return bytes(cloudpickle.dumps(load))


def _named(role: str, source: Source, base_dir: Path) -> Named:
    if callable(source):
        return Named(None, value=_copied(f"{role} {name_of(source)!r}", source))
    if not isinstance(source, str):
        raise RecipeError(f"{role}: found {source!r:.80}; expected module:name or path.py:name")
    file = base_dir / source.rpartition(":")[0]
    is_file = file.suffix == ".py" and file.is_file()
    return Named(source, file.read_bytes() if is_file else None)


def _copied(what: str, value: Any) -> bytes:
    import cloudpickle

    try:
        with by_value(value) if callable(value) else contextlib.nullcontext():
            copy = bytes(cloudpickle.dumps(value))
        if len(copy) > MOST_BYTES:
            raise ValueError(f"it is {len(copy) / 2**20:.0f} MiB")
    except Exception as error:
        words = " ".join(f"{type(error).__name__}: {error}".split())
        raise RecipeError(
            f"{what} cannot be copied to a process of its own ({words:.200}); put it into a file,"
            " and name it path.py:name"
        ) from error
    return copy


def reference_of(source: Source | None) -> str | None:
    """A reference by which a class or function can be found again, None where there is none."""
    if source is None or isinstance(source, str):
        return source
    name, file = getattr(source, "__qualname__", "<none>"), source_of(source)
    module = inspect.getmodule(source)
    if file is None or module is None or "<" in name:
        return None
    return f"{module.__name__ if module.__package__ else file}:{name}"
