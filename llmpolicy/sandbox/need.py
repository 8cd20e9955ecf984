"""Saying that a reward runs code, so that a missing sandbox is noticed before a model loads."""

from collections.abc import Callable, Iterable, Mapping
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


def require(rewards: Iterable[tuple[Any, Mapping[str, Any]]]) -> str | None:
    """The mechanism that these rewards (function and fixed arguments) will use, None when none of them runs code.

    "unsafe" where that was asked for. Raises SandboxUnavailable when there is none.
    """
    asked = [bool(fixed.get("unsafe_local_exec")) for function, fixed in rewards if does_need(function)]
    names = {sandbox(unsafe).name for unsafe in asked}
    return "unsafe" if "unsafe" in names else next(iter(names), None)
