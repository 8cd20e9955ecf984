"""The reward as a formula that a person reads, with what right and wrong answers can get."""

from collections.abc import Iterator, Sequence
from typing import Any

from llmpolicy.rewards.compose.check import correctness_of, number, span
from llmpolicy.rewards.compose.composition import Composition
from llmpolicy.rewards.compose.interval import ANYTHING, Interval
from llmpolicy.rewards.compose.tree import Node, Term, counted, of_role

NO_CORRECTNESS = (
    "no part is named correctness, so nothing here says that a right answer is paid more than a"
    " wrong one (`role: correctness` names it)"
)
NORMALISED = (
    "multi_objective_aggregation: normalize_then_sum gives every term of the reward unit variance"
    " within its group, so a nearly constant term counts as much as the others, and its noise"
    " with it"
)
"""Of GDPO: arXiv 2601.05242 normalises each reward in its group before they are added."""


def formula(terms: Sequence[Term]) -> str:
    """Such as ``[formats.think] × (math_answer.correct + 0.2·length.target when correct)``; a gate
    stands in brackets.
    """
    gates = "".join(f"[{_node(term.node)}] × " for term in of_role(terms, "gate"))
    parts = list(map(_weighted, counted(terms)))
    added = " + ".join(parts) or "0"
    if gates and len(parts) > 1:
        added = f"({added})"
    return gates + added


def sentences(composition: Composition, tasks: Sequence[str] = ()) -> list[str]:
    """The formula and what it can come to, for each set of tasks that share it; then what is only
    logged.
    """
    named: dict[tuple[str, ...], list[str]] = {}
    for task in tasks or composition.routed:
        named.setdefault(tuple(_of_task(composition.of_task(task))), []).append(task)
    lines = []
    for (reward, *more), names in named.items():
        if len(named) > 1:
            reward = f"{', '.join(names)}: {reward}"
        lines += [reward, *(f"  {line}" for line in more)]
    logged = [term.name for term in composition.terms if term.role != "gate" and not term.counted]
    if logged:
        lines.append(f"only logged: {', '.join(logged)}")
    return lines


def facts(composition: Composition, tasks: Sequence[str] = ()) -> dict[str, Any]:
    """For the manifest: each task's formula, its correctness part (None: none is named) and its
    floor.
    """
    of_task = {}
    for task in tasks or composition.routed:
        if terms := composition.of_task(task):
            part, reach = correctness_of(terms), span(terms)
            of_task[task or "any"] = {
                "formula": formula(terms),
                "correctness": part and part.name,
                "floor": reach.floor if reach.every.finite else None,
            }
    return {"allow_inversion": composition.allow_inversion, "tasks": of_task}


def _of_task(terms: Sequence[Term]) -> Iterator[str]:
    yield f"reward = {formula(terms)}"
    reach = span(terms)
    if reach.right is None or reach.wrong is None:
        if [term.name for term in terms] != ["environment"]:  # which says itself what is right
            yield NO_CORRECTNESS
        return
    line = f"right answers {_span(reach.right)}, wrong answers {_span(reach.wrong)}"
    if of_role(terms, "gate"):
        line += f", a closed gate {number(reach.floor)}"
    yield line
    if reach.wrong.high >= reach.right.low:
        yield "allow_inversion: a wrong answer can reach a right one"


def _weighted(term: Term) -> str:
    text = _times(term.weight, _node(term.node))
    if term.when_correct:
        text += " when correct"
    return text


def _times(weight: float, text: str) -> str:
    if weight == 1:
        return text
    return f"{number(weight)}·{text}"


def _node(node: Node) -> str:
    below = list(map(_node, node.children))
    if node.kind == "sum":
        text = f"({' + '.join(map(_times, node.weights, below))})"
    elif node.kind == "product":
        text = " × ".join(below)
    elif node.kind == "min":
        text = f"min({', '.join(below)})"
    else:
        text = node.name
    if node.clip != ANYTHING:
        text = f"clip({text}, {number(node.clip.low)}, {number(node.clip.high)})"
    if node.relative:
        text = f"({text} − its group's mean)"
    return text


def _span(x: Interval) -> str:
    if x.low == x.high:
        return number(x.low)
    return f"{number(x.low)} to {number(x.high)}"
