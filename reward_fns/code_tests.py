"""Does the program pass its tests? It runs in a sandbox, which sees neither the expected values nor
the verdict.

A fresh process for each test, with no file, no network, no other process and only the standard
library. What it returned or printed comes out and is compared outside.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from llmpolicy.rewards import RewardError, Score, reward
from llmpolicy.sandbox import Limits, sandbox
from llmpolicy.sandbox.need import needs_sandbox

from ._code.cases import read_cases
from ._code.program import code_of, with_names
from ._code.script import Script, script_of
from ._code.values import Case, IsProgram, Tolerance, Unreadable, room
from ._text.completion import NoAnswer, ThinkingMarks, passed

_SPARE = 2**20
_ADD = "```python\ndef add(a, b):\n    return a + b\n```"
_SUBTRACT = "```python\ndef add(a, b):\n    return a - b\n```"
_TESTS = [
    {"function": "add", "args": [1, 2], "expected": 3},
    {"function": "add", "args": [5, 0], "expected": 5},
]


@needs_sandbox
@reward(
    passes=[
        {"completion": _ADD, "tests": _TESTS},
        {
            "completion": "print(sum(map(int, input().split())))",
            "tests": [{"stdin": "1 2", "stdout": "3"}],
        },
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
    thinking_marks: ThinkingMarks = (),
) -> Score:
    """1.0 when the program of a completion passes all its tests (``partial``: the share that it
    passes), else 0.0.

    ``tests`` is a list, or JSON text, of calls ``{"function", "args", "kwargs", "expected"}`` or of
    programs ``{"stdin", "stdout"}``, assert statements, a ``check(candidate)`` for ``entry_point``,
    pytest or unittest, or a row of a public data set (see docs/reward_library.md). ``answer`` is
    the same, or else what the program must print. None, with the reason, for tests that cannot be
    read. ``seconds`` of processor time and ``megabytes`` for each test, ``total_seconds`` for all.
    SandboxUnavailable or SandboxFault when the sandbox, and not the program, fails.
    """
    limits = _limits(seconds, megabytes, total_seconds)
    try:
        judge = _judge_of(tests, answer, entry_point, limits, Tolerance(rel_tol, abs_tol))
    except Unreadable as reason:
        return Score(None, why=f"the tests cannot be read: {reason}")
    try:
        code = code_of(completion, prompt, next(iter(judge.names), None), thinking_marks)
    except NoAnswer as reason:
        return Score(0.0, why=str(reason))
    failures = judge.failures(with_names(code, judge.names), limits, partial, total_seconds)
    why = "; ".join(failures[:1])
    if not partial:
        return passed(not failures, why)
    count = judge.total - len(failures)
    return Score(count / judge.total, parsed=f"{count} of {judge.total} tests passed", why=why)


def _judge_of(
    tests: Any, answer: Any, entry_point: str | None, limits: Limits, tolerance: Tolerance
) -> "_Cases | Script":
    """The tests of a row, read or, where they are a program, tried once; raises Unreadable."""
    try:
        cases = read_cases(tests, answer, entry_point)
    except IsProgram as program:
        return script_of(program.text, program.name)
    return _Cases(cases, _most(cases, limits), tolerance)


@dataclass(frozen=True)
class _Cases:
    """Tests that were read, and how many bytes each may write."""

    cases: Sequence[Case]
    most: Sequence[int]
    tolerance: Tolerance

    @property
    def total(self) -> int:
        return len(self.cases)

    @property
    def names(self) -> Sequence[str]:
        return [case.call for case in self.cases if case.call]

    def failures(self, code: str, limits: Limits, go_on: bool, total_seconds: float) -> list[str]:
        """Why tests failed, each in a few words: all of them, or one only unless told to go on."""
        # So that the number of a test says nothing of it.
        order = Random(code.encode("utf-8", "surrogatepass")).sample(range(self.total), self.total)
        jobs = [self.cases[number].job(code, self.most[number]) for number in order]
        failures, left = dict[int, str](), total_seconds
        outcomes = sandbox().each(jobs, limits)
        for done, (number, outcome) in enumerate(zip(order, outcomes, strict=False), 1):
            why = self.cases[number].failed(outcome, self.tolerance)
            left -= outcome.cost(limits)
            if left < 0:
                why = why or f"more than {total_seconds:g} s for all tests"
            if why:
                failures[number] = why
            if failures and not go_on:
                break
            if left < 0:
                failures |= dict.fromkeys(order[done:], "no time left")
                break
        return [f"test {number}: {why}" for number, why in sorted(failures.items())]


def _most(cases: Sequence[Case], limits: Limits) -> list[int]:
    """Bytes of what each test may write; Unreadable where a right result needs more than a program
    may write.
    """
    most = [_SPARE + room(case.expected) for case in cases]
    for number, needed in enumerate(most):
        if needed > limits.output:
            raise Unreadable(
                f"test {number} expects up to {needed - _SPARE} bytes, more than"
                f" {limits.output - _SPARE}"
            )
    return most


def _limits(seconds: float, megabytes: int, total_seconds: float) -> Limits:
    if not (0 < seconds <= total_seconds) or not megabytes >= 64:
        raise RewardError(
            f"code_tests:passes got seconds {seconds!r}, total_seconds {total_seconds!r} and"
            f" megabytes {megabytes!r}; expected seconds above 0 and up to total_seconds, and at"
            " least 64 megabytes."
        )
    return Limits(cpu=seconds, memory=megabytes * 2**20)
