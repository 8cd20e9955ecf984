"""What must hold of a reward before anything is trained: no shaping makes a wrong answer reach a
right one.

Right means that the correctness part is at the top of its range and all gates are open, wrong that
it is at the bottom. Shaping that waits for a right answer is at its lowest for a wrong one, and
drops out:

    w_c·(high_c − low_c) > Σ |w_i|·(high_i − low_i)   over the shaping that does not wait for a
    right answer

With partial credit the same says: an answer whose correctness is better by more than Σ
|w_i|·(high_i − low_i) / w_c wins.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmpolicy.errors import RecipeError, nearest
from llmpolicy.rewards.compose.composition import ANY_TASK, Composition
from llmpolicy.rewards.compose.interval import Interval, point, scaled, total
from llmpolicy.rewards.compose.tree import Term, counted, of_role

MARGIN = 1e-6
"""How much more, in proportion, a right answer must be worth: TRL adds up in single precision (24
bits, 6e-8).
"""


@dataclass(frozen=True, slots=True)
class Span:
    """The rewards that rows of one task can get; ``right`` and ``wrong`` are None where no part is
    named correctness.
    """

    floor: float
    right: Interval | None
    wrong: Interval | None
    every: Interval


def correctness_of(terms: Sequence[Term]) -> Term | None:
    """The correctness part of a task's terms."""
    return next(iter(of_role(terms, "correctness")), None)


def span(terms: Sequence[Term]) -> Span:
    """What a task's terms add up to, by interval arithmetic: no reward lies outside."""
    every, right, wrong = list[Interval](), list[Interval](), list[Interval]()
    for term in counted(terms):
        brought = scaled(term.node.range, term.weight)
        lowest = point(brought.low)
        every.append(brought)
        if term.role == "correctness":
            right.append(point(brought.high))
            wrong.append(lowest)
        else:
            right.append(brought)
            wrong.append(lowest if term.when_correct else brought)
    floor = total(every).low
    if correctness_of(terms) is None:
        return Span(floor, None, None, total(every))
    return Span(floor, total(right), total(wrong), total(every))


def check(composition: Composition, where: Mapping[str, str], tasks: Sequence[str]) -> None:
    """Check a reward for each of the tasks; ``where`` names the place of each term. Raises
    RecipeError.
    """
    for term in composition.terms:
        for task in term.tasks or ():
            if tasks and task not in tasks:
                raise RecipeError(
                    f"{where[term.name]}: {term.name!r} is for the task {task!r}, which is"
                    f" none{nearest(task, tasks)}"
                )
    for task in tasks or composition.routed:
        _check_task(composition, where, task)


def _check_task(composition: Composition, where: Mapping[str, str], task: str) -> None:
    terms = composition.of_task(task)
    added, of = counted(terms), ""
    if composition.routed != [ANY_TASK]:
        of = f" for task {task!r}"
    if not added and counted(composition.terms):
        raise RecipeError(f"no reward with a weight{of}: every `tasks:` names others")
    named = of_role(terms, "correctness")
    if len(named) > 1:
        names = " and ".join(repr(term.name) for term in named)
        raise RecipeError(
            f"{where[named[1].name]}: {names} are both the correctness part{of}; join them: `min:"
            " [...]` with `role: correctness`"
        )
    for term in added:
        if term.when_correct and not named:
            raise RecipeError(
                f"{where[term.name]}: {term.name!r} counts when correct, and no part is named"
                f" correctness{of}; write `role: correctness` beside the reward that says which"
                " answers are right"
            )
    for term in added:
        _check_range(term, terms, where, composition.allow_inversion)
    if named and not composition.allow_inversion:
        _check_dominance(terms, named[0], where, of)


def _check_range(
    term: Term, terms: Sequence[Term], where: Mapping[str, str], allow_inversion: bool
) -> None:
    """A term needs a lowest value where it may be closed, and a highest one where it is weighed
    against correctness.
    """
    gates, part = of_role(terms, "gate"), correctness_of(terms)
    if term.node.range.finite or not (gates or part):
        return
    if gates:
        why = f"the gate {gates[0].name!r} must know the lowest that it can bring"
    elif term.when_correct:
        why = "a wrong answer gets the lowest that it can bring"
    elif term is part:
        why = "it is the correctness part"
    elif allow_inversion:
        return
    else:
        why = f"nothing says that it cannot make a wrong answer of {part.name!r} reach a right one"  # type: ignore[union-attr]
    raise RecipeError(
        f"{where[term.name]}: {term.name!r} has no range, and {why}; write `clip: [lowest,"
        " highest]` beside it, or `@reward(range=(lowest, highest))` on its function"
    )


def _check_dominance(terms: Sequence[Term], part: Term, where: Mapping[str, str], of: str) -> None:
    free = {}
    for term in counted(terms):
        if term.role == "shaping" and not term.when_correct:
            free[term.name] = abs(term.weight) * term.node.range.spread
    gap, shaping = part.weight * part.node.range.spread, sum(free.values())
    if gap > shaping * (1 + MARGIN):
        return
    listed = ", ".join(f"{name} {number(spread)}" for name, spread in free.items())
    largest = max(free, key=lambda name: free[name])
    raise RecipeError(
        f"{where[part.name]}: a wrong answer can reach a right one{of}: a right one is worth"
        f" {number(gap)} more by {part.name!r}, and shaping moves a reward by up to"
        f" {number(shaping)} ({listed}); write `weight:"
        f" {_above(shaping / part.node.range.spread)}` beside {part.name!r}, `when: correct` beside"
        f" {largest!r}, or `allow_inversion: true` at the top"
    )


def _above(x: float) -> str:
    """The next number above x with two digits."""
    step = 10.0 ** (math.floor(math.log10(x)) - 1)
    return number((math.floor(x / step + 1e-9) + 1) * step)


def number(x: float) -> str:
    """As a person writes it, to four digits."""
    return f"{x:.4g}"
