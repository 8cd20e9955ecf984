"""Saying that a reward runs code, so that a missing sandbox is noticed before a model loads."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from llmpolicy.sandbox.choose import sandbox

Function = TypeVar("Function", bound=Callable[..., Any])
_NEEDS = "__llmpolicy_needs_sandbox__"


def needs_sandbox(function: Function) -> Function:
    """Mark a reward function that runs code in the sandbox."""
    setattr(function, _NEEDS, True)
    return function


def does_need(function: Any) -> bool:
    """Whether a function, or the one that a partial holds, is marked."""
    while not hasattr(function, _NEEDS) and hasattr(function, "func"):
        function = function.func
    return bool(getattr(function, _NEEDS, False))


def require(functions: Iterable[Any]) -> str | None:
    """The mechanism that these rewards will use, None when none of them runs code.

    "unsafe" where the command line asked for it. Raises SandboxUnavailable when there is none.
    """
    return sandbox().name if any(map(does_need, functions)) else None
