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

from .case import Unreadable

_SENT = Path(__file__).parent / "sent"
_TESTS = Limits(cpu=5.0)
_MOST = 2**24
_ROUNDS = 64
_CAREFUL = 8
_NAME = re.compile(r'\{"ref": "(\w+)"\}')
_ENTRY = "_enter_what_is_handed_in"
_DOOR = f"""

def {_ENTRY}(version, code, text, name, given):
    import marshal, sys
    names = {{"__name__": "handed_in"}}
    exec(marshal.loads(code) if sys.version == version else text, names)
    return names[name](globals(), *given)
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
        asked, whys, left = (
            {number: self.units[number] for number in order},
            dict[int, str](),
            total_seconds,
        )
        told: dict[int, list[tuple[int, str]]] = {number: [] for number in order}
        kept, checks = dict.fromkeys(order, 0), 0
        for turn in range(_ROUNDS):
            answers, wrong, spent = _answers(asked, code, limits, go_on)
            whys |= wrong
            if left - spent < 0 or (whys and not go_on):
                break
            for number, answer in answers.items():
                told[number].append((kept[number], answer))
            verdicts, later = self._verdicts(
                {n: asked[n] for n in answers}, {n: told[n] for n in answers}, turn < _CAREFUL
            )
            left -= spent + later
            whys |= {
                number: verdict["failed"]
                for number, verdict in verdicts.items()
                if "failed" in verdict
            }
            checks += sum(verdict.get("passed", 0) for verdict in verdicts.values())
            asked = {
                number: json.dumps(verdict["asks"])
                for number, verdict in verdicts.items()
                if "asks" in verdict
            }
            kept |= {number: verdicts[number]["kept"] for number in asked}
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
        questions = json.dumps({number: json.loads(text) for number, text in asked.items()})
        given = [self.text, self.entry, questions, json.dumps(answers), careful]
        outcome = sandbox().run(_job("", _STAGE, "verify", given, _MOST), _TESTS)
        if outcome.ended != "returned":
            return (
                dict.fromkeys(
                    answers, {"failed": f"what it returned breaks the tests: {outcome.why}"}
                ),
                outcome.cpu,
            )
        return {
            int(number): told for number, told in json.loads(outcome.value).items()
        }, outcome.cpu


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
    told = _surveyed(text, entry)
    if isinstance(told, str):
        raise Unreadable(told)
    return told


@lru_cache(maxsize=256)
def _surveyed(text: str, entry: str | None) -> Script | str:
    outcome = sandbox().run(_job("", _STAGE, "survey", [text, entry], _MOST), _TESTS)
    if outcome.ended != "returned":
        return f"the tests do not run by themselves: {outcome.why}"
    told = json.loads(outcome.value)
    if "refused" in told:
        return f"the tests cannot be run apart from the program: {told['refused']}"
    units = tuple(json.dumps(asked) for asked in told["units"])
    return Script(
        text,
        entry,
        units,
        tuple(dict.fromkeys(name for unit in units for name in _NAME.findall(unit))),
    )


def _job(code: str, files: tuple[str, ...], name: str, given: Sequence[Any], most: int) -> Job:
    """Call a function of our own files beside a program (or none), whose names come first."""
    text, compiled = _compiled(files)
    return Job(code + _DOOR, _ENTRY, [sys.version, compiled, text, name, list(given)], most=most)


@lru_cache(maxsize=2)
def _compiled(files: tuple[str, ...]) -> tuple[str, bytes]:
    """Files as one text, and compiled for this version of Python, which most sandboxes run as
    well.
    """
    text = "".join((_SENT / name).read_text(encoding="utf-8") for name in files)
    return text, marshal.dumps(compile(text, "handed_in.py", "exec", dont_inherit=True))
