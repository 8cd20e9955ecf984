"""The completions that a run kept under another reward: what would be paid, and which groups would
teach, before anything is trained.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from llmpolicy import consent
from llmpolicy.diagnosis.evidence import number_of
from llmpolicy.errors import RecipeError, RunError
from llmpolicy.messages import content_text, plain
from llmpolicy.plan import Plan, plan_recipe, require_sandbox
from llmpolicy.recipe import load_recipe
from llmpolicy.run import Run
from llmpolicy.stages.sources import row_facts
from llmpolicy.tasks import Row
from llmpolicy.terminal import visible
from llmpolicy.types import Sample

SHOWN = 3
EQUAL = 1e-6
NEEDED = ("row", "group", "prompt", "completion", "raw", "token_ids", "truncated", "reward")
"""The columns of a rollout that a reward, or its group, is asked by."""


@dataclass(frozen=True, slots=True)
class Changed:
    """A completion that is paid otherwise: its place as STEP:NUMBER, and both rewards."""

    place: str
    prompt: str
    completion: str
    before: float | None
    after: float | None


@dataclass(slots=True)
class Rescored:
    """What another reward makes of a run's groups.

    ``alive`` counts groups with a signal under (both, only the old, only the new, neither);
    ``flips`` is the share of completions whose advantage changes its sign, among those that have
    one under both; ``rank`` is Kendall's tau-b within groups, the mean of those that have a signal
    under both (Kendall 1945, Biometrika 33:239-251). ``unjudged`` counts completions before and
    after.
    """

    groups: int = 0
    completions: int = 0
    alive: dict[str, int] = field(
        default_factory=lambda: {"both": 0, "only_before": 0, "only_after": 0, "neither": 0}
    )
    flips: float | None = None
    rank: float | None = None
    mean: tuple[float | None, float | None] = (None, None)
    unjudged: tuple[int, int] = (0, 0)
    more: list[Changed] = field(default_factory=list)
    less: list[Changed] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain data; those of both rewards as before and after."""
        mean = {"before": self.mean[0], "after": self.mean[1]}
        unjudged = {"before": self.unjudged[0], "after": self.unjudged[1]}
        return {"schema": 1, **asdict(self), "mean": mean, "unjudged": unjudged}

    def __str__(self) -> str:
        before, after = ("-" if mean is None else f"{mean:.3f}" for mean in self.mean)
        alive = self.alive
        lines = [
            f"{self.completions} completions in {self.groups} groups: mean reward {before} ->"
            f" {after}",
            f"  groups with a signal: {alive['both']} under both, {alive['only_before']} die,"
            f" {alive['only_after']} come alive, {alive['neither']} have none",
        ]
        if self.flips is not None and self.rank is not None:
            lines.append(
                f"  {self.flips:.1%} of the advantages change their sign; rank correlation within"
                f" groups {self.rank:.2f}"
            )
        if any(self.unjudged):
            lines.append(f"  not judged: {self.unjudged[0]} before, {self.unjudged[1]} after")
        for head, changed in (("paid more now:", self.more), ("paid less now:", self.less)):
            lines += [head] * bool(changed)
            for one in changed[:SHOWN]:
                lines.append(f"  {one.place}  {_short(one.before)} -> {_short(one.after)}")
                lines.append(f"    {visible(one.prompt)[-60:]}  {visible(one.completion)[:100]}")
        return "\n".join(lines)


def rescore_run(path: Path, rewards: Sequence[str], *, yes: bool = False) -> Rescored:
    """Score what a run kept with another reward, or others; its own ``rewards:`` give what was paid
    before. What they print is shown: nothing is written into the run. RunError for a run without
    completions of one turn.
    """
    run = Run.open(path)
    recipe = load_recipe(str(path / "recipe.yaml"), [f"rewards=[{', '.join(rewards)}]"])
    if recipe.environment is not None:
        raise RecipeError(f"{path} holds dialogues; rescore is for completions of one turn")
    consent.need(f"rescoring {path}", recipe.model_dump(), recipe.base_dir, yes=yes)
    plan = plan_recipe(recipe)
    require_sandbox(plan)
    rows = {row.index: row for row in plan.train_rows}
    now = row_facts(plan.train_rows, ())["train"]
    is_as_it_was = (run.manifest.get("rows") or {}).get("train") == now
    found, pairs = Rescored(), _Pairs()
    for group in _groups(run):
        for kept in group:
            if not is_as_it_was or kept["row"] not in rows:
                _check_prompt(rows, kept)
        _take(found, pairs, group, _scores(plan, rows, group))
    if not found.groups:
        raise RunError(f"{path} has kept no completions of training")
    pairs.close(found)
    return found


@dataclass(slots=True)
class _Pairs:
    """What is averaged over all groups in the end."""

    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)
    flips: list[bool] = field(default_factory=list)
    ranks: list[float] = field(default_factory=list)

    def close(self, found: Rescored) -> None:
        if self.before and self.after:
            found.mean = fmean(self.before), fmean(self.after)
        found.flips = fmean(self.flips) if self.flips else None
        found.rank = fmean(self.ranks) if self.ranks else None
        found.more.sort(key=lambda one: (one.before or 0.0) - (one.after or 0.0))
        found.less.sort(key=lambda one: (one.after or 0.0) - (one.before or 0.0))


def _groups(run: Run) -> Iterator[list[Mapping[str, Any]]]:
    """The rows of each group, ``place`` added, in order."""
    group: list[Mapping[str, Any]] = []
    key, step, number = None, None, 0
    for row in run.rollouts("train"):
        if missing := [name for name in ("step", *NEEDED) if name not in row]:
            raise RunError(f"{run.path}: its rollouts have no column {missing[0]!r}")
        number = number + 1 if row["step"] == step else 0
        step = row["step"]
        if (step, row["group"]) != key and group:
            yield group
            group = []
        key = step, row["group"]
        group.append({**row, "place": f"{step}:{number}"})
    if group:
        yield group


def _check_prompt(rows: Mapping[int, Row], kept: Mapping[str, Any]) -> None:
    """Raise RunError where a row asks another question than it did when the run was made."""
    row = rows.get(kept["row"])
    asked = [] if row is None else row.prompt
    texts = [asked] if isinstance(asked, str) else [content_text(m.get("content")) for m in asked]
    if row is None or not all(text.strip() in (kept["prompt"] or "") for text in texts):
        raise RunError(
            f"row {kept['row']} of the run is not in its task any more: the data changed since"
        )


def _scores(
    plan: Plan, rows: Mapping[int, Row], group: Sequence[Mapping[str, Any]]
) -> list[float | None]:
    samples = [_sample(rows[kept["row"]], kept) for kept in group]
    return [score.value for score in plan.rewards.score(samples, len(samples))]


def _sample(row: Row, kept: Mapping[str, Any]) -> Sample:
    return Sample(
        kept["completion"] or "",
        row.columns,
        kept["prompt"],
        None if isinstance(row.prompt, str) else plain(row.prompt),
        kept["token_ids"],
        kept["truncated"],
        kept["step"],
        row.index,
        row.task,
        kept["raw"],
    )


def _take(
    found: Rescored,
    pairs: _Pairs,
    group: Sequence[Mapping[str, Any]],
    after: Sequence[float | None],
) -> None:
    before = [number_of(kept["reward"]) for kept in group]
    alive = _spread(before) > EQUAL, _spread(after) > EQUAL
    found.groups, found.completions = found.groups + 1, found.completions + len(group)
    found.alive[_ALIVE[alive]] += 1
    unknown = (before.count(None), list(after).count(None))
    found.unjudged = found.unjudged[0] + unknown[0], found.unjudged[1] + unknown[1]
    both: list[tuple[float, float]] = []
    for old, new in zip(before, after, strict=True):
        if old is not None and new is not None:
            both.append((old, new))
    pairs.before += [old for old, _ in both]
    pairs.after += [new for _, new in both]
    if both and all(_spread(side) > EQUAL for side in zip(*both, strict=True)):
        pairs.ranks.append(kendall(both))
        old_mean, new_mean = (fmean(column) for column in zip(*both, strict=True))
        pairs.flips += [(old - old_mean) * (new - new_mean) < -(EQUAL**2) for old, new in both]
    for kept, old, new in zip(group, before, after, strict=True):
        change = (new or 0.0) - (old or 0.0)
        if abs(change) > EQUAL:
            said = kept["prompt"] or "", kept["completion"] or ""
            one = Changed(kept["place"], *said, old, new)
            (found.more if change > 0 else found.less).append(one)


_ALIVE = {
    (True, True): "both",
    (True, False): "only_before",
    (False, True): "only_after",
    (False, False): "neither",
}


def _spread(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return pstdev(known) if len(known) > 1 else 0.0


def kendall(pairs: Sequence[tuple[float, float]]) -> float:
    """Kendall's tau-b of pairs of which neither side is constant."""
    agree = disagree = first = second = 0
    for index, (a, b) in enumerate(pairs):
        for c, d in pairs[:index]:
            product = (a - c) * (b - d)
            agree, disagree = agree + (product > 0), disagree + (product < 0)
            first, second = first + (a != c), second + (b != d)
    return (agree - disagree) / (first * second) ** 0.5


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
