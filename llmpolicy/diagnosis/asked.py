"""What was asked: prompts, those that nothing is known of, environments, and the truth beside the
reward.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from llmpolicy.diagnosis.evidence import Completion, Evidence, late_of, number_of
from llmpolicy.diagnosis.finding import Finding, NotChecked
from llmpolicy.episode import FAILED
from llmpolicy.statistics import wilson

MOST_TWICE = 0.1
MOST_FAILED = 0.05
MORE = 1.5
"""How many times as many of the hard ones are unknown; a few more are so because of what is known
of fewer.
"""
MOST_SHARED = 0.02
MOST_BY_CHANCE = 0.05
_TAKE = (
    "take the policy of step {} (best/), and read what the reward pays that is wrong: check-reward"
)
_UNDO = "keep the policy that the run started from, and read what the reward pays: check-reward"


def duplicated_prompts(run: Evidence) -> Finding | NotChecked | None:
    """Rows of the data that ask the same are one question that counts more often."""
    rows: dict[str, set[int]] = defaultdict(set)
    for completion in run.completions:
        if completion.row is not None and not completion.ended:
            rows[completion.prompt].add(completion.row)
    count = sum(map(len, rows.values()))
    if count < 20:
        return NotChecked("duplicated_prompts", "fewer than 20 rows of one turn are known")
    twice = [prompt for prompt, of_prompt in rows.items() if len(of_prompt) > 1]
    more = sum(len(rows[prompt]) - 1 for prompt in twice)
    if more / count < MOST_TWICE:
        return None
    return Finding(
        "duplicated_prompts",
        f"{more} of {count} rows ask what another asks too",
        "take each question once, in the file of the task",
        0.9,
        {"rows": count, "repeated": more, "prompt": twice[0][-200:]},
        [completion.place for completion in run.completions if completion.prompt == twice[0]],
    )


def overlap(run: Evidence) -> Finding | NotChecked | None:
    """Held-out questions that were trained on, but for capitals, blanks and punctuation."""
    if not run.held_out or not run.completions:
        return NotChecked("overlap", "the held-out prompts are not known until the end")
    asked = {
        _words(completion.prompt): completion
        for completion in run.completions
        if not completion.ended
    }
    if not asked:
        return NotChecked("overlap", "dialogues begin alike, whatever they are about")
    shared = [asked[words] for words in map(_words, run.held_out) if words and words in asked]
    share = len(shared) / len(run.held_out)
    if len(shared) < 2 or share < MOST_SHARED:
        return None
    return Finding(
        "overlap",
        f"{len(shared)} of {len(run.held_out)} held-out prompts were trained on, but for capitals,"
        " blanks and punctuation",
        "say how one question can be written (task.canonical), or take rows out: what is measured"
        " on these is memory",
        0.9,
        {"shared": len(shared), "share": round(share, 4), "prompt": shared[0].prompt[-200:]},
        [completion.place for completion in shared],
    )


def _words(prompt: str) -> tuple[str, ...]:
    """Words, numbers and signs of a prompt without what may be written in several ways."""
    return tuple(re.findall(r"[^\W_]+|[^\w\s.,;:!?'\"]", prompt.casefold()))


def unjudged_by_difficulty(run: Evidence) -> Finding | None:
    """Where nothing is known of the hard ones, what is known is better than the truth."""
    groups: dict[str, list[Completion]] = defaultdict(list)
    for completion in run.completions:
        groups[completion.prompt].append(completion)
    hard, easy = [0, 0], [0, 0]
    known = [completion.reward for completion in run.completions if completion.reward is not None]
    usual = fmean(known) if known else 0.0
    for members in groups.values():
        paid = [completion.reward for completion in members if completion.reward is not None]
        unknown = len(members) - len(paid)
        if paid:
            side = hard if fmean(paid) < usual else easy
            side[0] += unknown
            side[1] += len(members)
    if min(hard[1], easy[1]) < 40 or hard[0] + easy[0] == 0:
        return None
    of_hard, of_easy = wilson(*hard), wilson(*easy)
    if of_hard.low <= max(of_easy.high, MORE * of_easy.value) or of_hard.value < 0.02:
        return None
    return Finding(
        "unjudged_by_difficulty",
        f"{of_hard.value:.1%} of the completions of hard prompts could not be judged, and"
        f" {of_easy.value:.1%} of easy ones",
        "look at faults.jsonl: a time limit, or a parser that gives up on long answers",
        0.8,
        {"hard": round(of_hard.value, 4), "easy": round(of_easy.value, 4)},
        [completion.place for completion in run.completions if completion.reward is None],
    )


def unjudged(run: Evidence) -> Finding | None:
    """Completions that the rewards could say nothing of, more than a few."""
    count = len(run.completions)
    unknown = [
        completion
        for completion in run.completions
        if completion.reward is None and completion.ended != FAILED
    ]
    if count < 20 or len(unknown) / count < MOST_FAILED:
        return None
    return Finding(
        "unjudged",
        f"{len(unknown)} of {count} completions could not be judged",
        "faults.jsonl says why, each with a command that asks again; check-reward tries a reward",
        1.0,
        {"share": round(len(unknown) / count, 4)},
        [completion.place for completion in unknown],
    )


def environment_failures(run: Evidence) -> Finding | None:
    """Dialogues whose environment failed are not learned from."""
    failed = [completion for completion in run.completions if completion.ended == FAILED]
    if not failed or len(failed) / len(run.completions) < MOST_FAILED:
        return None
    why, count = Counter(completion.why for completion in failed).most_common(1)[0]
    return Finding(
        "environment_failures",
        f"the environment failed in {len(failed)} of {len(run.completions)} dialogues, in {count}"
        f" because {why:.80}",
        "ask again where one failed: llmpolicy play --replay RUN/faults.jsonl:LINE",
        1.0,
        {"share": round(len(failed) / len(run.completions), 4), "why": why[:200]},
        [completion.place for completion in failed],
    )


def tool_never_called(run: Evidence) -> Finding | None:
    """Tools that are offered and not used."""
    environment = run.recipe.get("environment")
    tools = environment.get("tools") if isinstance(environment, dict) else ()
    late = [completion for group in run.late for completion in group]
    counted = run.values("tools/call_frequency")
    is_unused = tools and late and not any(completion.calls for completion in late)
    if not is_unused and (not counted or any(late_of(counted))):
        return None
    return Finding(
        "tool_never_called",
        f"no tool was called in the last {len(late)} dialogues",
        "show how one is called (demonstrations: of dialogues, or a prompt with an example), and"
        " look whether the template offers them: llmpolicy play RECIPE",
        0.9,
        {"dialogues": len(late)},
        [completion.place for completion in late],
    )


def truth_falls(run: Evidence) -> Finding | NotChecked | None:
    """The reward rises, and the truth or the held-out accuracy falls."""
    if any("parted" in line for line in run.looks):
        return _parted(run)
    looks = [
        (int(line["step"]), float(line["accuracy"]))
        for line in run.looks
        if isinstance(line.get("accuracy"), int | float)
    ]
    start = ((run.evaluation or {}).get("base") or {}).get("accuracy")
    if isinstance(start, Mapping) and (share := number_of(start.get("value"))) is not None:
        looks.insert(0, (0, share))
    rewards = dict(run.column("reward"))
    if len(looks) < 3 or len(rewards) < 4:
        return NotChecked("truth_falls", "the truth was not measured while training")
    best_step, best = max(looks, key=lambda look: look[1])
    last_step, last = looks[-1]
    window = max(1, (last_step - best_step) // 4)
    before = _mean(rewards, best_step - window, best_step + window)
    after = _mean(rewards, last_step - window, last_step)
    size = int((run.evaluation or {}).get("n") or (run.recipe.get("evaluate") or {}).get("n") or 0)
    if best_step == last_step or not size or after <= before:
        return None
    if wilson(round(last * size), size).high >= wilson(round(best * size), size).low:
        return None
    return Finding(
        "truth_falls",
        f"from step {best_step} to {last_step} the held-out accuracy fell from {best:.1%} to"
        f" {last:.1%}, while the reward rose from {before:.3g} to {after:.3g}",
        _TAKE.format(best_step) if best_step else _UNDO,
        0.9,
        {"best_step": best_step, "best": best, "last": last, "reward": round(after, 6)},
    )


def _parted(run: Evidence) -> Finding | None:
    """What the looks at a truth have found by their own test (`llmpolicy.evaluation.truth`)."""
    looks = [line for line in run.looks if number_of(line.get("truth")) is not None]
    last = looks[-1] if looks else {}
    p = number_of(last.get("parted"))
    if p is None or p > MOST_BY_CHANCE:
        return None
    best = max(looks, key=lambda line: float(line["truth"]))
    return Finding(
        "truth_falls",
        f"from step {best['step']} to {last['step']} the truth of held-out answers fell from"
        f" {best['truth']:.3g} to {last['truth']:.3g} (p = {p:.2g} for all looks), while what the"
        f" reward pays for them went from {best['proxy']:.3g} to {last['proxy']:.3g}",
        _TAKE.format(best["step"]),
        0.95,
        {"best_step": best["step"], "best": best["truth"], "last": last["truth"], "p": p},
    )


def _mean(values: dict[int, float], first: int, last: int) -> float:
    inside = [value for step, value in values.items() if first <= step <= last]
    return fmean(inside) if inside else 0.0


CHECKS: Sequence[Callable[[Evidence], object]] = (
    duplicated_prompts,
    overlap,
    unjudged_by_difficulty,
    unjudged,
    environment_failures,
    tool_never_called,
    truth_falls,
)
