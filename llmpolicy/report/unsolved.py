"""The prompts of a run that were never solved, for a terminal."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from llmpolicy.diagnosis import Completion, Evidence
from llmpolicy.errors import RunError
from llmpolicy.report.groups import SHOWN, fitted
from llmpolicy.rewards.contract import default_name

CLOSE = 1e-6


@dataclass(frozen=True, slots=True)
class Bar:
    """From where on a completion has solved its prompt: by the value of a part, or by the reward
    where none is named.
    """

    least: float
    says: str
    part: str | None = None

    def is_reached(self, completion: Completion) -> bool:
        """Whether a completion is at the bar or above it."""
        value = completion.reward if self.part is None else completion.parts.get(self.part)
        return value is not None and value >= self.least - CLOSE


def unsolved(run: Evidence, *, limit: int | None = SHOWN) -> str:
    """The prompts of which no completion reached the bar, those seen most often first."""
    if not run.completions:
        raise RunError("this run has kept no completions")
    seen: dict[tuple[int | None, str], list[Completion]] = defaultdict(list)
    for completion in run.completions:
        seen[completion.row, completion.prompt].append(completion)
    bar = bar_of(run)
    never = [
        (prompt, members)
        for (_, prompt), members in seen.items()
        if bar is None or not any(map(bar.is_reached, members))
    ]
    lines = [f"none of {len(seen)} prompts was ever paid more than {run.top:g}"]
    if bar is not None:
        lines = [f"{len(never)} of {len(seen)} prompts {bar.says}"]
    for prompt, members in sorted(never, key=lambda pair: -len(pair[1]))[:limit]:
        known = [completion.reward for completion in members if completion.reward is not None]
        paid = f"mean reward {fmean(known):.2f}, best {max(known):.2f}" if known else "never judged"
        row = "" if members[0].row is None else f"row {members[0].row}, "
        lines += [f"{row}{len(members)} completions, {paid}", f"  {fitted(prompt, 2, end=True)}"]
    if limit is not None and len(never) > limit:
        lines.append(f"{len(never) - limit} more; --all shows them")
    return "\n".join(lines)


def bar_of(run: Evidence) -> Bar | None:
    """Where a prompt counts as solved: at the threshold of the part that says what is right, as the
    recipe names it; else at the largest reward of a run that pays two; else at the median of the
    last quarter, for a reward of many values says nothing of right. None where nothing was paid.
    """
    if (verdict := _verdict(run)) is not None:
        name, least = verdict
        return Bar(least, f"were never right, which is {least:g} of {name}", name)
    if run.top <= min(run.bottom, 0.0):
        return None
    values = {
        round(completion.reward, 6)
        for completion in run.completions
        if completion.reward is not None
    }
    if len(values) <= 2:
        return Bar(run.top, f"were never paid {run.top:g}, the most there was")
    late = [
        completion.reward
        for group in run.late
        for completion in group
        if completion.reward is not None
    ]
    usual = median(late or sorted(values))
    return Bar(
        usual,
        f"were never paid {usual:.3g}, what half of the completions of the last quarter are paid"
        f" (the reward has {len(values)} values, and no part says what is right)",
    )


def _verdict(run: Evidence) -> tuple[str, float] | None:
    """The part that says what is right and its least value for that, where the completions have it:
    the one with the role, or the one that judges the evaluation.
    """
    settings = _mapping(run.recipe.get("evaluate"))
    threshold = settings.get("threshold", 1.0)
    known = {name for completion in run.completions for name in completion.parts}
    for entry in _entries(run.recipe.get("rewards")):
        name, fn = _name(entry), entry.get("fn")
        if name not in known or entry.get("tasks"):
            continue
        if fn == settings.get("correct") and entry.get("args") == settings.get("args"):
            return name, float(threshold)
        if entry.get("role") == "correctness":
            values = [
                completion.parts[name] for completion in run.completions if name in completion.parts
            ]
            paid = [value for value in values if value is not None]
            top = max(paid, default=0.0)
            return name, top if top > 0 else 1.0  # right is the top of its range
    return None


def _entries(value: Any) -> Sequence[Mapping[str, Any]]:
    return list(map(_mapping, value)) if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _name(entry: Mapping[str, Any]) -> str:
    fn = entry.get("fn")
    return str(entry.get("name") or (default_name(fn) if isinstance(fn, str) else ""))
