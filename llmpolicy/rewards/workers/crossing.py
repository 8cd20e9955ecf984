"""How a reward and its calls cross to a worker: a reference as it is, a function by value, or not
at all.
"""

import inspect
import itertools
import pickle
import site
import sys
import sysconfig
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from llmpolicy.provenance.code import describe
from llmpolicy.reference import SHIPPED
from llmpolicy.rewards.contract import Component

MOST_BYTES = 64 * 2**20
"""A function that drags along more than this (a model, a data set) stays where it is."""

_CANNOT = (
    pickle.PickleError,
    TypeError,
    AttributeError,
    ValueError,
    RuntimeError,
    ImportError,
    OSError,
)
_FOLDERS = (
    sysconfig.get_path("stdlib"),
    sysconfig.get_path("purelib"),
    sysconfig.get_path("platlib"),
    *site.getsitepackages(),
    site.getusersitepackages(),
)
_LIBRARIES = {SHIPPED, Path(__file__).resolve().parents[2], *(Path(f).resolve() for f in _FOLDERS)}

_numbers = itertools.count()
_registering = threading.Lock()


@dataclass(frozen=True, slots=True)
class Crossed:
    """A reward as a worker gets it, and what its parent must know to watch it."""

    number: int
    load: bytes
    source: dict[str, str | None]
    name: str
    timeout: float
    lowest: float
    single: bool
    waits: bool


def crossed(component: Component) -> Crossed | None:
    """The reward as it crosses, or None where it stays: it says so in its contract, or it cannot be
    copied.
    """
    if component.contract.in_process:
        return None
    try:
        load = _dumped(component)
        if len(load) > MOST_BYTES:
            raise ValueError(f"it is {len(load) / 2**20:.0f} MiB")
    except _CANNOT as error:
        stays(component.name, error)
        return None
    lowest, _ = component.contract.range or (0.0, 1.0)
    return Crossed(
        number=next(_numbers),
        load=load,
        source=describe(component.function),
        name=component.name,
        timeout=component.timeout,
        lowest=lowest,
        single=component.style == "single",
        waits=_is_async(component.function),
    )


def stays(name: str, error: Exception) -> None:
    """Say that a reward runs unguarded."""
    said = " ".join(f"{type(error).__name__}: {error}".split())
    warnings.warn(
        f"Reward {name!r} stays in this process, where nothing can stop it: it cannot be copied to"
        f" a worker ({said:.200}).",
        stacklevel=2,
    )


def _dumped(component: Component) -> bytes:
    import cloudpickle

    spec = replace(component.spec, name=component.name)
    base_dir = (component.base_dir or Path()).resolve()
    if isinstance(spec.fn, str):
        place = spec.fn.rpartition(":")[0]
        text = (base_dir / place).read_bytes() if place.endswith(".py") else None
        return bytes(cloudpickle.dumps((spec, base_dir, text)))
    with by_value(spec.fn):
        return bytes(cloudpickle.dumps((spec, base_dir, None)))


@contextmanager
def by_value(function: Callable[..., Any]) -> Iterator[None]:
    """Copy a user's function, or class, rather than import its module again in the worker, with all
    that such a script does.
    """
    import cloudpickle

    module = sys.modules.get(_innermost(function).__module__ or "")
    if module is None or _is_library(module):
        yield
        return
    with _registering:
        fresh = module.__name__ not in cloudpickle.list_registry_pickle_by_value()
        cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            if fresh:
                cloudpickle.unregister_pickle_by_value(module)


def _is_library(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    if file is None:
        return module.__name__ != "__main__"
    path = Path(file).resolve()
    return not _LIBRARIES.isdisjoint(path.parents)


def _innermost(function: Any) -> Any:
    while isinstance(function, partial):
        function = function.func
    if hasattr(function, "__module__"):
        return function
    return type(function)


def _is_async(function: Any) -> bool:
    function = _innermost(function)
    called = getattr(type(function), "__call__", None)  # noqa: B004 - the method itself is asked
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)
