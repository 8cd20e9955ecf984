"""Does the program pass its tests? It runs in a sandbox, which sees neither the expected values nor the verdict.

A fresh process for each test, with no file, no network, no other process and only the standard library. What it
returned or printed comes out and is compared outside.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from llmpolicy.rewards import RewardError, Score, reward
from llmpolicy.sandbox import Limits, sandbox
from llmpolicy.sandbox.need import needs_sandbox

from ._code import code_of
from ._code_case import Case, Unreadable
from ._code_cases import read_cases
from ._code_names import with_names
from ._code_values import Tolerance, room
from ._text import NoAnswer

_ADD = "```python\ndef add(a, b):\n    return a + b\n```"
_SUBTRACT = "```python\ndef add(a, b):\n    return a - b\n```"
_TESTS = [{"function": "add", "args": [1, 2], "expected": 3}, {"function": "add", "args": [5, 0], "expected": 5}]


@needs_sandbox
@reward(
    passes=[
        {"completion": _ADD, "tests": _TESTS},
        {"completion": "print(sum(map(int, input().split())))", "tests": [{"stdin": "1 2", "stdout": "3"}]},
    ],
    fails=[
        {"completion": _SUBTRACT, "tests": _TESTS},
        {"completion": "I would add the two numbers.", "tests": _TESTS},
        {"completion": "print(1)", "answer": "2"},
    ],
    range=(0, 1),
    timeout=180.0,
    kind="code",
    formats=["```python\n{}\n```", "{}"],
)
def passes(
    completion: str,
    tests: Any = None,
    answer: Any = None,
    prompt: str = "",
    entry_point: str | None = None,
    partial: bool = False,
    seconds: float = 4.0,
    megabytes: int = 512,
    total_seconds: float = 60.0,
    rel_tol: float = 1e-6,
    abs_tol: float = 1e-9,
    unsafe_local_exec: bool = False,
) -> Score:
    """1.0 when the program of a completion passes all its tests (``partial``: the share that it passes), else 0.0.

    ``tests`` is a list, or JSON text, of calls ``{"function", "args", "kwargs", "expected"}`` or of programs
    ``{"stdin", "stdout"}``, ``{"inputs", "outputs"}``, assert statements, or a ``check(candidate)`` for ``entry_point``.
    ``answer`` is the same, or else what the program must print. None, with the reason, for tests that cannot be read.
    ``seconds`` of processor time and ``megabytes`` for each test, ``total_seconds`` for all. SandboxUnavailable or
    SandboxFault when the sandbox, and not the program, fails. ``unsafe_local_exec``: without any sandbox.
    """
    limits = _limits(seconds, megabytes, total_seconds)
    try:
        cases = read_cases(tests, answer, entry_point)
    except Unreadable as reason:
        return Score(None, why=f"the tests cannot be read: {reason}")
    limits = replace(limits, output=limits.output + max(room(case.expected) for case in cases))
    try:
        code = with_names(code_of(completion, prompt, cases[0].call), {case.call for case in cases})
    except NoAnswer as reason:
        return Score(0.0, why=str(reason))
    box = sandbox(unsafe_local_exec)
    failures = _failures(cases, code, limits, box, Tolerance(rel_tol, abs_tol), partial, total_seconds)
    passed = len(cases) - len(failures)
    value = passed / len(cases) if partial else float(not failures)
    return Score(
        value, parsed=f"{passed} of {len(cases)} tests passed" if partial else None, why="; ".join(failures[:1])
    )


def _failures(
    cases: Sequence[Case],
    code: str,
    limits: Limits,
    box: Any,
    tolerance: Tolerance,
    go_on: bool,
    total_seconds: float,
) -> list[str]:
    """Why tests failed, each in a few words: all of them, or the first only unless told to go on."""
    failures: list[str] = []
    left = total_seconds
    outcomes = box.each([case.job(code) for case in cases], limits)
    for number, (case, outcome) in enumerate(zip(cases, outcomes, strict=False)):
        why = case.failed(outcome, tolerance)
        left -= max(limits.cpu if outcome.ended == "waited" else 0.0, outcome.cpu)
        if left < 0:
            why = why or f"more than {total_seconds:g} s for all tests"
        if why:
            failures.append(f"test {number}: {why}")
        if failures and not go_on:
            break
        if left < 0:
            failures += [f"test {later}: no time left" for later in range(number + 1, len(cases))]
            break
    return failures


def _limits(seconds: float, megabytes: int, total_seconds: float) -> Limits:
    if not (0 < seconds <= total_seconds) or not megabytes >= 64:
        raise RewardError(
            f"code_tests:passes got seconds {seconds!r}, total_seconds {total_seconds!r} and megabytes {megabytes!r}; "
            "expected seconds above 0 and up to total_seconds, and at least 64 megabytes."
        )
    return Limits(cpu=seconds, memory=megabytes * 2**20)
