"""Tests that are programs themselves: run in a sandbox without the program, which answers what they
ask in another.
"""

import json
import marshal
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

from llmpolicy.sandbox import Job, Limits, sandbox

from .values import Unreadable

_SENT = Path(__file__).parent / "sent"
_TESTS = Limits(cpu=5.0)
_MOST = 2**24
_ROUNDS = 64
_CAREFUL = 8
_NAME = re.compile(r'\{"ref": "(\w+)"\}')
_ENTRY = "_enter_what_is_handed_in"
_DOOR = f"""

def {_ENTRY}(version, code, text, name, args):
    import marshal, sys
    names = {{"__name__": "handed_in"}}
    exec(marshal.loads(code) if sys.version == version else text, names)
    return names[name](globals(), *args)
"""
_STAGE = ("wire.py", "stage.py", "stage_tools.py", "stage_tests.py")
_PERFORM = ("wire.py", "perform.py")


@dataclass(frozen=True, slots=True)
class Script:
    """Tests as a text, the function that they test, what each of their units asks first (JSON), and
    by which names.
    """

    text: str
    entry: str | None
    units: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def total(self) -> int:
        """The number of units."""
        return len(self.units)

    def failures(self, code: str, limits: Limits, go_on: bool, total_seconds: float) -> list[str]:
        """Why units failed, each in a few words: all of them, or one only unless told to go on.

        What a test asks may hang on what it was answered, and some that it asks would tell what it
        expects of an earlier answer, so they are asked in rounds. Each starts the program anew; an
        answer once given is kept.
        """
        order = Random(code.encode("utf-8", "surrogatepass")).sample(range(self.total), self.total)
        asked = {number: self.units[number] for number in order}
        answered: dict[int, list[tuple[int, str]]] = {number: [] for number in order}
        kept, whys, checks, left = dict.fromkeys(order, 0), dict[int, str](), 0, total_seconds
        for turn in range(_ROUNDS):
            answers, wrong, spent = _answers(asked, code, limits, go_on)
            whys |= wrong
            if left - spent < 0 or (whys and not go_on):
                break
            for number, answer in answers.items():
                answered[number].append((kept[number], answer))
            so_far = {number: answered[number] for number in answers}
            verdicts, later = self._verdicts(asked, so_far, turn < _CAREFUL)
            left, asked = left - spent - later, {}
            for number, verdict in verdicts.items():
                checks += verdict.get("passed", 0)
                if "failed" in verdict:
                    whys[number] = verdict["failed"]
                elif "asks" in verdict:
                    asked[number], kept[number] = json.dumps(verdict["asks"]), verdict["kept"]
            if not asked or left < 0 or (whys and not go_on):
                break
        if asked and (go_on or not whys):
            whys = dict.fromkeys(asked, "no time left for all that the tests ask") | whys
        if not whys and not checks:
            whys = dict.fromkeys(order, "what it returned left the tests nothing to check")
        return [f"test {number}: {why}" for number, why in sorted(whys.items())]

    def _verdicts(
        self,
        asked: Mapping[int, str],
        answers: Mapping[int, Sequence[tuple[int, str]]],
        careful: bool,
    ) -> tuple[dict[int, Any], float]:
        """What the tests say to the answers, and the seconds that took; answers that break them
        fail.
        """
        if not answers:
            return {}, 0.0
        questions = json.dumps({number: json.loads(asked[number]) for number in answers})
        args = [self.text, self.entry, questions, json.dumps(answers), careful]
        outcome = sandbox().run(_job("", _STAGE, "verify", args, _MOST), _TESTS)
        if outcome.ended != "returned":
            why = f"what it returned breaks the tests: {outcome.why}"
            return dict.fromkeys(answers, {"failed": why}), outcome.cpu
        verdicts = json.loads(outcome.value)
        return dict(zip(map(int, verdicts), verdicts.values(), strict=True)), outcome.cpu


def _answers(
    asked: Mapping[int, str], code: str, limits: Limits, go_on: bool
) -> tuple[dict[int, str], dict[int, str], float]:
    """What the program answers to each unit, why it does not, and the seconds that took."""
    most = max(_MOST // max(1, len(asked)), 2**20)
    jobs = [_job(code, _PERFORM, "perform", [questions], most) for questions in asked.values()]
    answers, wrong, spent = dict[int, str](), dict[int, str](), 0.0
    for number, outcome in zip(asked, sandbox().each(jobs, limits), strict=False):
        spent += outcome.cost(limits)
        if outcome.ended == "returned" and isinstance(outcome.value, str):
            answers[number] = outcome.value
        else:
            wrong[number] = outcome.why or "it answered nothing"
            if not go_on:
                break
    return answers, wrong, spent


def script_of(text: str, entry: str | None) -> Script:
    """The tests of a text, once tried without a program; raises Unreadable for tests that cannot be
    run so.
    """
    script = _surveyed(text, entry)
    if isinstance(script, str):
        raise Unreadable(script)
    return script


@lru_cache(maxsize=256)
def _surveyed(text: str, entry: str | None) -> Script | str:
    outcome = sandbox().run(_job("", _STAGE, "survey", [text, entry], _MOST), _TESTS)
    if outcome.ended != "returned":
        return f"the tests do not run by themselves: {outcome.why}"
    survey = json.loads(outcome.value)
    if "refused" in survey:
        return f"the tests cannot be run apart from the program: {survey['refused']}"
    units = tuple(map(json.dumps, survey["units"]))
    return Script(text, entry, units, tuple(dict.fromkeys(_NAME.findall("\n".join(units)))))


def _job(code: str, files: tuple[str, ...], name: str, args: Sequence[Any], most: int) -> Job:
    """Call a function of our own files beside a program (or none), whose names come first."""
    text, compiled = _compiled(files)
    return Job(code + _DOOR, _ENTRY, [sys.version, compiled, text, name, list(args)], most=most)


@lru_cache(maxsize=2)
def _compiled(files: tuple[str, ...]) -> tuple[str, bytes]:
    """Files as one text, and compiled for this version of Python, which most sandboxes run as
    well.
    """
    text = "".join((_SENT / name).read_text(encoding="utf-8") for name in files)
    return text, marshal.dumps(compile(text, "handed_in.py", "exec", dont_inherit=True))
