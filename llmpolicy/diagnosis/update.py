"""Whether the steps change the policy, and no more than they should."""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, median, stdev

from llmpolicy.diagnosis.evidence import Evidence, number_of
from llmpolicy.diagnosis.finding import Finding, NotChecked

HIDDEN = ("loss", "grad_norm", "reward", "entropy", "kl")
"""Figures that are numbers in a sound run, where they are logged at all."""
BREAK = 10.0
"""How many times the usual size a figure must have to be a break."""
MOST_PARITY = {"sampler/parity": 0.3, "sampling/sampling_logp_difference/mean": 0.05}
"""Nats a token between what the sampler noted and what the scorer says: the largest mean of a
completion, as a run of ours allows it in 16 bits (it stops in 32), and TRL's mean.
"""
LEAST_WAY = 1e-6
"""Of a weight, in all steps: weights of models are hundredths, and 16 bits hold three digits."""
LEAST_FALL = 0.3
"""The share of the first reward that all steps after it lack where it broke."""
LEAST_KL, MOST_KL = 0.5, 1.0
"""Nats a token below which a jump says nothing, and above which all is said."""
MOST_APART = 3
"""Steps from one logged figure to the next above which what happened in a step is not seen."""
_APART = "figures are logged every {} steps, and it takes those of each: logging_steps: 1"
_UNBIASED = {"top_p": (1.0,), "top_k": (0, -1), "min_p": (0.0,), "repetition_penalty": (1.0,)}
_STEPS = 8


def non_finite(run: Evidence) -> Finding | NotChecked | None:
    """A figure that is NaN or infinite, which means over several steps may hide."""
    bad = {
        name: [int(line["step"]) for line in run.steps if _is_bad(line, name)] for name in HIDDEN
    }
    bad = {name: steps for name, steps in bad.items() if steps}
    if not bad and run.interval > MOST_APART:
        return NotChecked("non_finite", _APART.format(run.interval))
    if not bad:
        return None
    name = min(bad, key=lambda each: bad[each][0])
    return Finding(
        "non_finite",
        f"{name} is no finite number in {len(bad[name])} of {len(run.steps)} steps, first in step"
        f" {bad[name][0]}",
        "a smaller learning_rate or max_grad_norm; 32 bits (torch_dtype) if the model is in 16;"
        " a reward that is bounded",
        1.0,
        {each: len(steps) for each, steps in bad.items()} | {"first": bad[name][0]},
    )


def _is_bad(line: object, name: str) -> bool:
    value = line.get(name, 0.0) if hasattr(line, "get") else 0.0
    if isinstance(value, str):
        return value.lower() in ("nan", "inf", "-inf", "infinity", "-infinity")
    return isinstance(value, float) and not math.isfinite(value)


def frozen(run: Evidence) -> Finding | NotChecked | None:
    """Gradients of 0 though groups have a signal: nothing that is trained is used."""
    norms = dict(run.column("grad_norm"))
    live = dict(run.column("advantages/live")) or {
        step: 1.0 - dead for step, dead in run.column("frac_reward_zero_std")
    }
    both = [norms[step] for step, share in live.items() if share > 0 and step in norms]
    if len(both) < 3:
        return NotChecked("frozen", "fewer than three steps have a signal and a gradient's norm")
    if max(both) > 1e-8:
        return None
    return Finding(
        "frozen",
        f"the gradient's norm is 0 in all {len(both)} steps that had a signal",
        "look at which weights are trained: the target_modules of the adapter, frozen layers",
        1.0,
        {"steps": len(both)},
    )


def no_effect(run: Evidence) -> Finding | NotChecked | None:
    """A policy that is where it began, though it had gradients, or can go nowhere."""
    moved = (run.evaluation or {}).get("kl_to_base_per_completion")
    norms, way = run.values("grad_norm"), _way(run)
    if way is not None and way < LEAST_WAY:
        says = f"the learning rates of all steps come to {way:.2g}, further no weight can go"
        return _effectless(says, {"way": way})
    if not isinstance(moved, int | float) or not norms:
        return NotChecked("no_effect", "the distance to the start was not measured")
    if moved > 1e-3 or fmean(norms) <= 1e-8 or len(norms) < _STEPS:
        return None
    says = f"after {len(norms)} steps the policy is {moved:.2g} nats a completion from its start"
    return _effectless(says, {"kl_to_base_per_completion": float(moved), "steps": len(norms)})


def _effectless(says: str, evidence: Mapping[str, float]) -> Finding:
    remedy = "a larger learning_rate (ten times as large for an adapter as for all weights)"
    return Finding("no_effect", says, remedy, 0.9, evidence)


def _way(run: Evidence) -> float | None:
    """How far Adam may move a weight: about the learning rate in a step (Kingma & Ba 2015, arXiv
    1412.6980, section 2.1). None while the rate grows, and for other optimisers.
    """
    rates = run.values("learning_rate")
    if (
        len(rates) < _STEPS
        or rates[-1] > rates[0]
        or "adam" not in str(run.settings.get("optim", "adam"))
    ):
        return None
    planned = number_of(run.settings.get("max_steps")) or 0.0
    return max(rates) * max(planned, run.last_step)


def broke_at_once(run: Evidence) -> Finding | NotChecked | None:
    """The first updates made the policy much worse, and it stayed so for a while."""
    rewards, spread = run.values("reward"), run.values("reward_std")
    if len(rewards) < _STEPS or len(spread) != len(rewards):
        return NotChecked("broke_at_once", f"there are fewer than {_STEPS} steps")
    if run.interval > MOST_APART:
        return NotChecked("broke_at_once", _APART.format(run.interval))
    error = max(_error_at_first(run, spread[0]), 1e-6)
    after = rewards[2:_STEPS]
    fall = rewards[0] - fmean(after)
    if fall < 2 * error or max(after) > rewards[0] - LEAST_FALL * abs(rewards[0]):
        return None
    return Finding(
        "broke_at_once",
        f"the reward fell from {rewards[0]:.3g} to {fmean(after):.3g} in the first"
        f" {_STEPS} steps ({fall / error:.0f} standard errors)",
        "a smaller learning_rate, or warmup_steps: the first steps of Adam are its largest",
        min(1.0, 0.5 + fall / error / 40),
        {"fall": round(fall, 6), "standard_errors": round(fall / error, 1)},
    )


def gradient_break(run: Evidence) -> Finding | NotChecked | None:
    """A gradient many times its usual size, after which the reward is worse."""
    norms, rewards = run.column("grad_norm"), dict(run.column("reward"))
    usual = median([norm for _, norm in norms]) if norms else 0.0
    if len(norms) < 2 * _STEPS or usual <= 0:
        return NotChecked("gradient_break", f"there are fewer than {2 * _STEPS} gradients")
    if run.interval > MOST_APART:
        return NotChecked("gradient_break", _APART.format(run.interval))
    for step, norm in norms:
        before = [rewards[s] for s in range(step - _STEPS, step + 1) if s in rewards]
        after = [rewards[s] for s in range(step + 1, step + 1 + _STEPS) if s in rewards]
        if norm < BREAK * usual or len(before) < 3 or len(after) < 3:
            continue
        if fmean(after) < fmean(before) - 0.25 * abs(fmean(before)):
            return Finding(
                "gradient_break",
                f"in step {step} the gradient's norm is {norm:.3g}, usually {usual:.3g}, and the"
                f" reward then falls from {fmean(before):.3g} to {fmean(after):.3g}",
                "a smaller learning_rate or max_grad_norm, or a reward without rare large values",
                0.8,
                {"step": step, "norm": norm, "usual": usual},
            )
    return None


def kl_break(run: Evidence) -> Finding | NotChecked | None:
    """A distance to the reference that jumps, or at which little of the reference is left; one step
    alone may be a single token that the reference would not have written.
    """
    pairs = run.column("kl")
    if len(pairs) < _STEPS:
        return NotChecked("kl_break", "the KL to a reference is not logged (beta is 0)")
    if run.interval > MOST_APART:
        return NotChecked("kl_break", _APART.format(run.interval))
    for at in range(len(pairs) - 2):
        level = median(value for _, value in pairs[at : at + 3])
        before = [value for _, value in pairs[max(0, at - _STEPS) : at]]
        usual = median(before) if len(before) > 3 else level
        if level < MOST_KL and (level < LEAST_KL or level < BREAK * usual):
            continue
        step = pairs[at][0]
        return Finding(
            "kl_break",
            f"the KL to the reference is {level:.3g} nats a token from step {step} on; before, it"
            f" was {usual:.3g}",
            "a larger beta or a smaller learning_rate; read the completions of that step",
            0.8,
            {"step": step, "kl": level, "usual": usual},
        )
    return None


def entropy_collapse(run: Evidence) -> Finding | NotChecked | None:
    """A policy that became certain before it became right."""
    entropies, rewards = run.values("entropy"), run.values("reward")
    if len(entropies) < 2 * _STEPS or not rewards or not run.completions:
        return NotChecked("entropy_collapse", "the entropy of the policy is not logged")
    quarter = len(entropies) // 4
    first, last = fmean(entropies[:2]), fmean(entropies[-quarter:])
    paid = fmean(rewards[-quarter:])
    if first <= 0 or last > 0.1 * first or paid > 0.8 * run.top:
        return None
    return Finding(
        "entropy_collapse",
        f"the entropy fell from {first:.3g} to {last:.3g} nats a token, while the reward is"
        f" {paid:.3g} of {run.top:.3g}",
        "entropy_coef (0.01 to 0.02), epsilon_high, or a smaller learning_rate",
        0.8,
        {"first": round(first, 6), "last": round(last, 6), "reward": round(paid, 6)},
    )


def sampler_mismatch(run: Evidence) -> Finding | NotChecked | None:
    """What was sampled comes from another distribution than the one that is trained."""
    name = next(filter(run.values, MOST_PARITY), "")
    if not name:
        return NotChecked("sampler_mismatch", "the sampler's log-probabilities were not compared")
    values = run.values(name)
    if max(values) < MOST_PARITY[name]:
        return None
    return Finding(
        "sampler_mismatch",
        f"sampler and scorer differ by {max(values):.3g} nats a token",
        "the same dtype for both, no quantised sampler, temperature and top_k of the recipe; or"
        " vllm_importance_sampling_correction",
        0.9,
        {"nats": max(values)},
    )


def biased_sampler(run: Evidence) -> Finding | NotChecked | None:
    """A sampler whose distribution is not the one whose gradient is taken."""
    if not run.settings:
        return NotChecked("biased_sampler", "the options of the sampler were not kept")
    asked = {**run.settings, **(run.settings.get("generation_kwargs") or {})}
    unbiased = {**_UNBIASED, "temperature": (run.settings.get("temperature"),)}
    odd = {
        name: asked[name]
        for name, values in unbiased.items()
        if asked.get(name) is not None and asked[name] not in values
    }
    if not odd:
        return None
    shown = ", ".join(f"{name}: {value}" for name, value in odd.items())
    return Finding(
        "biased_sampler",
        f"completions are drawn with {shown}, and log-probabilities are computed without",
        "leave it out: temperature alone is part of both distributions",
        1.0,
        {name: str(value) for name, value in odd.items()},
    )


def _error_at_first(run: Evidence, spread: float) -> float:
    """The standard error of the first step's mean reward: over groups, where completions were kept,
    for those of a group depend on each other.
    """
    first = [group for group in run.groups if group[0].step == run.groups[0][0].step]
    means = []
    for group in first:
        if paid := [one.reward for one in group if one.reward is not None]:
            means.append(fmean(paid))
    if len(means) > 1:
        return stdev(means) / math.sqrt(len(means))
    size = float(run.settings.get("per_device_train_batch_size") or 1)
    return spread / math.sqrt(max(size, 1.0))


CHECKS: Sequence[Callable[[Evidence], object]] = (
    non_finite,
    frozen,
    no_effect,
    broke_at_once,
    gradient_break,
    kl_break,
    entropy_collapse,
    sampler_mismatch,
    biased_sampler,
)
