"""How long completions are, and whether they end."""

from collections.abc import Callable, Sequence
from statistics import fmean

from llmpolicy.diagnosis.evidence import Evidence, late_of
from llmpolicy.diagnosis.finding import Finding, NotChecked

MOST_CUT = 0.5
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
    ends = any(not one.truncated for one in run.completions)
    if not ends and len(run.completions) >= 64:
        return _never_ends(run, late)
    most = run.settings.get("max_completion_length") or "it"
    return Finding(
        "cut_off",
        f"{late:.0%} of the completions of the last steps are cut off at max_completion_length",
        f"a larger max_completion_length than {most}, or a prompt that asks for less",
        min(1.0, late + 0.2),
        {"truncated": round(late, 4)},
        [one.place for one in run.completions if one.truncated][-3:],
    )


def _never_ends(run: Evidence, late: float) -> Finding:
    return Finding(
        "never_ends",
        f"none of {len(run.completions)} completions ended by itself",
        "look at the end of one: if it is in its answer, max_completion_length is too small; if it"
        " goes on behind it, the end of turn is no stop token (generation_config.eos_token_id),"
        " or a base model has to be shown it (demonstrations:)",
        0.9,
        {"truncated": round(late, 4), "completions": len(run.completions)},
        [one.place for one in run.completions[-3:]],
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
    if 1 / DRIFT < ratio < DRIFT or (gained > 0.1 * max(run.top, 1e-9) and follows < 0.5):
        return None
    kind = "length_hacking" if follows >= 0.5 and ratio > 1 and gained > 0 else "length_drift"
    return Finding(
        kind,
        f"completions went from {first:.0f} to {last:.0f} tokens, the reward by {gained:+.3g}; the"
        f" correlation of both within groups is {follows:.2f}",
        "a reward that does not grow with length (shaping: length, in rewards), loss_type: dr_grpo"
        " or dapo, and a limit that fits",
        0.8 if kind == "length_hacking" else 0.6,
        {"first": round(first, 1), "last": round(last, 1), "correlation": round(follows, 4)},
    )


def _follows_length(run: Evidence) -> float:
    """The largest correlation of a reward with the length, in the last quarter."""
    most = 0.0
    for name in sorted({name for line in run.steps for name in line}):
        if name.startswith("parts/") and name.endswith("/length_correlation"):
            values = run.values(name)
            most = max(most, fmean(late_of(values))) if values else most
    return most


def _is_dialogue(run: Evidence) -> bool:
    return any(one.ended for one in run.completions[:1])


CHECKS: Sequence[Callable[[Evidence], object]] = (cut_off, length_drift)
