"""Groups of a run for a terminal: a prompt, and its completions side by side with what they were
paid.
"""

from collections.abc import Iterator, Sequence
from statistics import fmean

from llmpolicy.diagnosis import Completion, Evidence
from llmpolicy.errors import RunError
from llmpolicy.terminal import columns, visible

WIDTH = 80
SHOWN = 8
"""How many prompts are shown where nobody says which."""


def groups(
    run: Evidence, *, step: int | None = None, row: int | None = None, limit: int | None = SHOWN
) -> str:
    """The groups of a step (the last by default) or of a row of the data in every step; RunError
    where there are none.
    """
    if not run.groups:
        raise RunError("this run has kept no completions")
    chosen = list(run.groups)
    if row is not None:
        chosen = [group for group in chosen if group[0].row == row]
    if step is not None or row is None:
        asked = run.groups[-1][0].step if step is None else step
        chosen = [group for group in chosen if group[0].step == asked]
    if not chosen:
        raise RunError(_nothing(run, step, row))
    ordered = chosen if row is not None else sorted(chosen, key=_spread, reverse=True)
    lines = [line for group in ordered[:limit] for line in (*_group(group), "")]
    if limit is not None and len(ordered) > limit:
        lines.append(f"{len(ordered) - limit} more; --all shows them")
    return "\n".join(lines).rstrip()


def _group(group: Sequence[Completion]) -> Iterator[str]:
    first = group[0]
    known = [completion.reward for completion in group if completion.reward is not None]
    row = "" if first.row is None else f", row {first.row}"
    mean = f"mean reward {fmean(known):.2f}" if known else "not judged"
    yield f"step {first.step}, group {first.group}{row}: {len(group)} completions, {mean}"
    yield f"prompt: {fitted(first.prompt, 8, end=True)}"
    names = sorted(first.parts) if len(first.parts) > 1 else []
    yield "  ".join(["  advantage", "reward", *(f"{name:.9}" for name in names)])
    for completion in sorted(group, key=lambda completion: -(completion.advantage or 0.0)):
        parts = [f"{_short(completion.parts[name]):>{min(len(name), 9)}}" for name in names]
        head = "  ".join(
            [f"  {_short(completion.advantage, '+'):>9}", f"{_short(completion.reward):>6}", *parts]
        )
        mark = "..." if completion.truncated and not completion.ended else ""
        yield f"{head}  {fitted(completion.text + mark, len(head) + 2)}"


def _spread(group: Sequence[Completion]) -> float:
    """How much a group teaches: the sum of the sizes of its advantages."""
    return sum(abs(completion.advantage or 0.0) for completion in group)


def _short(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.2f}"


def fitted(text: str, taken: int, *, end: bool = False) -> str:
    """One line of a text that fits behind so many columns: its beginning, or its end."""
    line, room = visible(text), max((columns() or WIDTH) - taken, 20)
    if len(line) <= room:
        return line
    return "..." + line[3 - room :] if end else line[: room - 3] + "..."


def _nothing(run: Evidence, step: int | None, row: int | None) -> str:
    steps = sorted({group[0].step for group in run.groups})
    what = " and ".join(
        f"{name} {value}" for name, value in (("step", step), ("row", row)) if value is not None
    )
    return (
        f"this run has no completions of {what}; it has steps {steps[0]} to {steps[-1]}, rows"
        f" {min(_rows(run), default='-')} to {max(_rows(run), default='-')}"
    )


def _rows(run: Evidence) -> list[int]:
    return [group[0].row for group in run.groups if group[0].row is not None]
