"""How long completions are, and whether they end."""

from collections.abc import Callable, Sequence
from statistics import correlation, fmean

from llmpolicy.diagnosis.evidence import Evidence, late_of
from llmpolicy.diagnosis.finding import Finding, NotChecked

MOST_CUT = 0.5
MOST_ENDED = 0.02
"""The share of completions that may end by themselves where the end of turn is not learned."""
DRIFT = 1.5
_CUT = "completions/clipped_ratio"
_LENGTH = "completions/mean_length"
_STEPS = 8


def cut_off(run: Evidence) -> Finding | NotChecked | None:
    """Completions that the limit cuts off have no answer to be paid for."""
    shares = run.values(_CUT)
    if not shares or _is_dialogue(run):
        return NotChecked("cut_off", "that is for completions of one turn, where it was logged")
    late = fmean(late_of(shares))
    if late < MOST_CUT:
        return None
    ended = sum(not completion.truncated for completion in run.completions)
    if ended <= MOST_ENDED * len(run.completions) and len(run.completions) >= 64:
        return _never_ends(run, late, ended)
    most = run.settings.get("max_completion_length") or "it"
    return Finding(
        "cut_off",
        f"{late:.0%} of the completions of the last steps are cut off at max_completion_length",
        f"a larger max_completion_length than {most}, or a prompt that asks for less",
        min(1.0, late + 0.2),
        {"truncated": round(late, 4)},
        [completion.place for completion in run.completions if completion.truncated][-3:],
    )


def _never_ends(run: Evidence, late: float, ended: int) -> Finding:
    return Finding(
        "never_ends",
        f"{ended or 'none'} of {len(run.completions)} completions ended by itself",
        "look at the end of one: if it is in its answer, max_completion_length is too small; if it"
        " goes on behind it, the end of turn is no stop token (generation_config.eos_token_id),"
        " or a base model has to be shown it (demonstrations:)",
        0.9,
        {"truncated": round(late, 4), "completions": len(run.completions)},
        [completion.place for completion in run.completions[-3:]],
    )


def length_drift(run: Evidence) -> Finding | NotChecked | None:
    """Completions that become longer or shorter without being better."""
    lengths, rewards = run.values(_LENGTH), run.values("reward")
    if len(lengths) < 2 * _STEPS or len(rewards) != len(lengths) or _is_dialogue(run):
        return NotChecked("length_drift", f"that is for {2 * _STEPS} steps of one turn, or more")
    quarter = len(lengths) // 4
    first, last = fmean(lengths[:quarter]), fmean(lengths[-quarter:])
    ratio = last / max(first, 1e-9)
    gained = fmean(rewards[-quarter:]) - fmean(rewards[:quarter])
    follows = _follows_length(run)
    if 1 / DRIFT < ratio < DRIFT:
        return None
    is_paid = abs(follows) >= 0.5 and (follows > 0) == (ratio > 1) and gained > 0
    if gained > 0.1 * (run.top - run.bottom) and not is_paid:
        return None
    kind = "length_hacking" if is_paid else "length_drift"
    return Finding(
        kind,
        f"completions went from {first:.0f} to {last:.0f} tokens, the reward by {gained:+.3g}; the"
        f" correlation of both within groups is {follows:.2f}",
        "a reward that does not follow length (shaping: length, in rewards), loss_type: dr_grpo or"
        " dapo, and a limit that fits",
        0.8 if kind == "length_hacking" else 0.6,
        {"first": round(first, 1), "last": round(last, 1), "correlation": round(follows, 4)},
    )


def _follows_length(run: Evidence) -> float:
    """The strongest correlation of a reward with the length, in the last quarter; of the reward
    with the text's where that is not logged.
    """
    most, is_logged = 0.0, False
    for name in sorted({name for line in run.steps for name in line}):
        if name.startswith("parts/") and name.endswith("/length_correlation"):
            values, is_logged = run.values(name), True
            most = max(most, fmean(late_of(values)) if values else 0.0, key=abs)
    return most if is_logged else _in_texts(run)


def _in_texts(run: Evidence) -> float:
    lengths, rewards = list[float](), list[float]()
    for group in run.late:
        known = [
            (len(completion.text), completion.reward)
            for completion in group
            if completion.reward is not None
        ]
        if known:
            usual, paid = map(fmean, zip(*known, strict=True))
            lengths += [length - usual for length, _ in known]
            rewards += [reward - paid for _, reward in known]
    if not any(lengths) or not any(rewards):
        return 0.0
    return correlation(lengths, rewards)


def _is_dialogue(run: Evidence) -> bool:
    return any(completion.ended for completion in run.completions[:1])


CHECKS: Sequence[Callable[[Evidence], object]] = (cut_off, length_drift)
