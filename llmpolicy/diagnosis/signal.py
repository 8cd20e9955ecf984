"""Whether the rewards tell completions apart, and by what."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from statistics import fmean

from llmpolicy.diagnosis.evidence import Completion, Evidence, late_of
from llmpolicy.diagnosis.finding import Finding, NotChecked
from llmpolicy.statistics import wilson

MOST_DEAD = 0.8
"""The share of groups without a signal above which a run hardly learns."""
SURELY_DEAD = 0.7
"""What the lower end of that share's interval is then above."""
MOST_EQUAL = 0.5
"""The share of prompts, of eight at least, that one answer may be given to."""
MOST_PAID = 0.8
"""The share of completions that one answer may be where it is paid: it may be right so often."""
MOST_NOISE = 0.5
"""The share of the spread within a group that equal completions may have."""
PROMPTS = 8
PAIRS = 20
GROUPS = 10

_REMEDIES = {
    "all_wrong": "easier questions, an easier reward that pays parts of the answer, worked examples"
    " (task.few_shot), supervised training first (sft: and demonstrations:), or a larger"
    " max_completion_length if they are cut off",
    "all_right": "harder questions, if these are solved before training; check-reward, if anything"
    " is paid",
    "all_equal": "a reward that tells these completions apart",
    "no_exploration": "temperature, where it is below 1; entropy_coef (0.01 to 0.02), a smaller"
    " learning_rate, or a larger group: the policy says the same each time",
}
_COLD = "; from the first steps on nearly all of a group are one text"


def no_signal(run: Evidence) -> Finding | NotChecked | None:
    """Groups whose rewards are all equal, or unknown, teach nothing."""
    if not run.late:
        return NotChecked("no_signal", "the completions were not kept")
    kinds = Counter(kind_of(group, run) for group in run.late)
    dead = {kind: count for kind, count in kinds.items() if kind != "mixed"}
    silent = wilson(sum(dead.values()), len(run.late))
    is_cold = _never_explored(run)
    is_solved = not is_cold and _is_solved(run, dead)
    if silent.value < MOST_DEAD or silent.low < SURELY_DEAD or is_solved:
        return None
    kind = "no_exploration" if is_cold else max(dead, key=dead.__getitem__)
    if kind == "unjudged":
        return None  # of all completions another check says so
    shares = {name: round(count / len(run.late), 4) for name, count in kinds.items()}
    return Finding(
        kind,
        f"in {silent.value:.0%} of the last {len(run.late)} groups all completions are paid the"
        f" same: {_counts(dead)}" + _COLD * is_cold,
        _REMEDIES[kind],
        min(1.0, silent.value),
        {"dead": round(silent.value, 4), **shares},
        _places(group for group in run.late if kind_of(group, run) == kind),
    )


def _never_explored(run: Evidence) -> bool:
    """Whether nearly all groups are one text each in the end, and were so in the beginning, when
    nothing was learned yet and not all was right.
    """
    if _was_right(run):
        return False
    ends = run.early, run.late
    ones = [wilson(sum(map(_is_one_text, groups)), len(groups)) for groups in ends]
    return all(one.value >= MOST_DEAD and one.low >= SURELY_DEAD for one in ones)


def _is_one_text(group: Sequence[Completion]) -> bool:
    return len(group) > 2 and len({completion.text for completion in group}) == 1


def kind_of(group: Sequence[Completion], run: Evidence) -> str:
    """Whether a group has a signal, or why not."""
    paid = [completion.reward for completion in group if completion.reward is not None]
    if not paid:
        return "unjudged"
    if max(paid) - min(paid) > 1e-6:
        return "mixed"
    near = 0.05 * (run.top - run.bottom)
    if paid[0] >= run.top - near and run.top > min(run.bottom, 0.0):
        return "all_right"
    if _is_one_text(group):
        return "no_exploration"
    return "all_wrong" if paid[0] <= run.bottom + near else "all_equal"


def _is_solved(run: Evidence, dead: dict[str, int]) -> bool:
    """Whether the groups are right in the end, and were not in the beginning."""
    return 2 * dead.get("all_right", 0) >= sum(dead.values()) and not _was_right(run)


def _was_right(run: Evidence) -> bool:
    right = [kind_of(group, run) == "all_right" for group in run.early]
    return not right or fmean(right) >= MOST_DEAD


def _counts(kinds: dict[str, int]) -> str:
    ordered = sorted(kinds, key=lambda kind: -kinds[kind])
    return ", ".join(f"{kinds[kind]} {kind.replace('_', ' ')}" for kind in ordered)


def constant_part(run: Evidence) -> Iterator[Finding]:
    """A part that pays every completion of a run the same is none."""
    for name, values in _parts(run).items():
        known = [value for value in values if value is not None]
        if len(known) < 2 * PROMPTS or max(known) - min(known) > 1e-9:
            continue
        yield Finding(
            "constant_part",
            f"the reward {name} is {known[0]:g} for all {len(known)} completions",
            f"try {name} with check-reward, and take it out if it is meant to be so",
            1.0,
            {"part": name, "value": known[0], "completions": len(known)},
        )


def ruling_part(run: Evidence) -> Finding | None:
    """Of several terms one may have nearly all of the variance that advantages are made of."""
    shares = {
        name.split("/")[1]: run.values(name)
        for name in sorted({name for line in run.steps for name in line})
        if name.startswith("terms/") and name.endswith("/variance_share")
    }
    late = {name: fmean(late_of(values)) for name, values in shares.items() if values}
    name = max(late, key=late.__getitem__, default="")
    if len(late) < 2 or late[name] < 0.95:
        return None
    return Finding(
        "ruling_part",
        f"{late[name]:.0%} of the variance within groups comes from {name}: the other"
        f" {len(late) - 1} reward{'s' * (len(late) > 2)} hardly count",
        f"a smaller weight for {name}, or a gate in its place",
        0.7,
        {"part": name, "variance_share": round(late[name], 4)},
    )


def same_answer(run: Evidence) -> Finding | None:
    """One answer to many prompts is written by a policy that does not read them; where it is paid,
    the reward does not read them either.
    """
    asked: dict[str, set[str]] = defaultdict(set)
    said: dict[str, list[Completion]] = defaultdict(list)
    for completion in _all(run.late):
        asked[completion.prompt].add(completion.text.strip())
        said[completion.text.strip()].append(completion)
    if len(asked) < PROMPTS:
        return None
    count = sum(map(len, said.values()))
    answer = max(said, key=lambda text: len(said[text]))
    share = len(said[answer]) / count
    if share < MOST_EQUAL:
        return None
    paid = [completion.reward for completion in said[answer] if completion.reward is not None]
    is_paid = bool(paid) and run.top > 0 and fmean(paid) > 0.5 * run.top
    if is_paid and share < MOST_PAID:
        return None
    kind = "paid_constant" if is_paid else "constant_answer"
    remedy = "a smaller learning_rate, or beta, so that the policy stays nearer to its start"
    if is_paid:
        remedy = "try this answer with check-reward: the reward pays it whatever was asked"
    return Finding(
        kind,
        f"{answer!r:.60} is the answer in {share:.0%} of the last {count} completions, to"
        f" {len({completion.prompt for completion in said[answer]})} of {len(asked)} prompts",
        remedy,
        min(1.0, share + 0.2),
        {"share": round(share, 4), "prompts": len(asked), "answer": answer[:200]},
        [completion.place for completion in said[answer]],
    )


def noisy_reward(run: Evidence) -> Finding | NotChecked | None:
    """Where equal completions of a prompt are paid differently, that is noise; it should be small
    beside what tells completions of a group apart.
    """
    within: list[float] = []
    spread: list[float] = []
    places: list[str] = []
    for group in run.groups:
        paid = [
            (completion.text, completion.reward)
            for completion in group
            if completion.reward is not None
        ]
        alike: dict[str, list[float]] = defaultdict(list)
        for text, reward in paid:
            alike[text].append(reward)
        twice = [rewards for rewards in alike.values() if len(rewards) > 1]
        within += [_variance(rewards) * len(rewards) / (len(rewards) - 1) for rewards in twice]
        if twice:
            spread.append(_variance([reward for _, reward in paid]))
            places += [group[0].place] if max(map(_variance, twice)) > 0 else []
    if len(within) < PAIRS:
        return NotChecked("noisy_reward", f"only {len(within)} completions were written twice")
    share = fmean(within) / fmean(spread) if fmean(spread) > 0 else 0.0
    if share < MOST_NOISE:
        return None
    return Finding(
        "noisy_reward",
        f"equal completions of one prompt are paid differently: {share:.0%} of the variance within"
        f" groups is noise",
        "make the reward deterministic (check-reward tells), or average several judgements",
        min(1.0, 0.5 + share / 2),
        {"noise_share": round(share, 4), "completions": len(within)},
        places,
    )


def _variance(values: Sequence[float]) -> float:
    """Σ (x − x̄)² / n; that of the standard library counts in fractions, many times slower."""
    mean = fmean(values)
    return fmean((value - mean) ** 2 for value in values)


def _parts(run: Evidence) -> dict[str, list[float | None]]:
    parts: dict[str, list[float | None]] = defaultdict(list)
    for completion in run.completions:
        for name, value in completion.parts.items():
            parts[name].append(value)
    return parts if len(parts) > 1 else {}


def _all(groups: Iterable[Sequence[Completion]]) -> Iterator[Completion]:
    for group in groups:
        yield from group


def _places(groups: Iterable[Sequence[Completion]]) -> list[str]:
    return [group[0].place for group in groups]


CHECKS: Sequence[Callable[[Evidence], object]] = (
    no_signal,
    constant_part,
    ruling_part,
    same_answer,
    noisy_reward,
)
