"""What a reward says of itself, beside the function: examples that must score high and low, its
range, its time.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args, overload

from llmpolicy.errors import RewardError, nearest

Function = TypeVar("Function", bound=Callable[..., Any])
Kind = Literal["answer", "format", "length", "style", "code", "judge"]

TIMEOUT = 5.0
"""Seconds that one completion may take when its reward does not say."""

COMMON_FORMATS = ("{}", "\\boxed{{}}", "#### {}", "Answer: {}", "<answer>{}</answer>")
"""Ways to write an answer that are tried on a reward that declares none, ``{}`` for the answer."""

_DECLARED = "__llmpolicy_contract__"


@dataclass(frozen=True, slots=True)
class Contract:
    """The contract of a reward.

    ``passes`` and ``fails`` are calls, each a mapping of argument names to values, that must score
    the top and the bottom of ``range``. ``timeout`` is in seconds a completion. ``group`` asks for
    whole groups. A reward that is not ``deterministic`` is never answered from the cache. ``kind``
    says what it looks at: an answer (whether it is right), a format, a length, a style, code, or
    the opinion of a judge. ``formats`` are ways to write an answer that the reward reads, with
    ``{}`` for the answer. ``in_process`` keeps a reward that needs the trainer's torch or GPU out
    of the workers; nothing can stop it there. ``settings`` are parameters that say which code runs
    or where a key is sent: no column of the data fills them.
    """

    passes: Sequence[Mapping[str, Any]] = ()
    fails: Sequence[Mapping[str, Any]] = ()
    range: tuple[float, float] | None = None
    timeout: float = TIMEOUT
    group: bool = False
    deterministic: bool = True
    kind: Kind | None = None
    formats: Sequence[str] = ("{}",)
    in_process: bool = False
    settings: Sequence[str] = ()


@overload
def reward(function: Function, /) -> Function: ...


@overload
def reward(
    *,
    passes: Sequence[Mapping[str, Any]] = (),
    fails: Sequence[Mapping[str, Any]] = (),
    range: tuple[float, float] | None = None,
    timeout: float = TIMEOUT,
    group: bool = False,
    deterministic: bool = True,
    kind: Kind | None = None,
    formats: Sequence[str] = ("{}",),
    in_process: bool = False,
    settings: Sequence[str] = (),
) -> Callable[[Function], Function]: ...


def reward(function: Any = None, /, **terms: Any) -> Any:
    """Declare the contract of a reward function; the function itself stays as it is. See
    `Contract`.

    RewardError for an unknown term, a range that is none, a timeout that is not positive, an
    unknown kind, an example that is no mapping.
    """
    if function is not None:
        return reward(**terms)(function)
    for name, term in terms.items():
        if name not in Contract.__slots__:
            raise RewardError(f"@reward takes no {name!r}{nearest(name, Contract.__slots__)}")
        if isinstance(term, list):
            terms[name] = tuple(term)
    contract = Contract(**terms)

    def declare(function: Function) -> Function:
        _check(getattr(function, "__name__", "reward"), contract)
        setattr(function, _DECLARED, contract)
        return function

    return declare


def contract_of(function: Callable[..., Any]) -> Contract:
    """The contract that a function was declared with, or the one of a plain function."""
    while not hasattr(function, _DECLARED) and hasattr(function, "func"):
        function = function.func
    declared = getattr(function, _DECLARED, None)
    if isinstance(declared, Contract):
        return declared
    return Contract()


def _check(name: str, contract: Contract) -> None:
    where = f"@reward of {name!r}"
    if contract.range is not None and not _is_range(contract.range):
        raise RewardError(f"{where} has range {contract.range}; expected (lowest, highest).")
    if not contract.timeout > 0:
        raise RewardError(f"{where} has timeout {contract.timeout}; expected seconds above 0.")
    if contract.kind is not None and contract.kind not in get_args(Kind):
        raise RewardError(
            f"{where} has kind {contract.kind!r}{nearest(str(contract.kind), get_args(Kind))}"
        )
    for example in (*contract.passes, *contract.fails):
        if not isinstance(example, Mapping):
            raise RewardError(
                f"{where} has the example {example!r:.60}; expected a mapping of arguments."
            )


def _is_range(ends: Any) -> bool:
    if not isinstance(ends, tuple) or len(ends) != 2:
        return False
    lowest, highest = ends
    numbers = isinstance(lowest, int | float) and isinstance(highest, int | float)
    return numbers and lowest < highest
