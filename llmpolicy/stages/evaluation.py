"""How good a trained policy is on held-out prompts, beside the one that it started from; with an
over-optimisation curve also how good the kept step is, on prompts that did not choose it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmpolicy.plan import Plan, evaluated_length
from llmpolicy.recipe import Recipe
from llmpolicy.run import Run
from llmpolicy.run.answers import write_answers
from llmpolicy.run.files import Record
from llmpolicy.run.sealed import Facts
from llmpolicy.stages.partner import talking
from llmpolicy.stages.policy import build_policy, policy_at
from llmpolicy.stages.process import drawn, placed
from llmpolicy.tasks import Row
from llmpolicy.terminal import Say, tell

if TYPE_CHECKING:
    from llmpolicy.evaluation import Evaluation
    from llmpolicy.policies.causal_lm import CausalLMPolicy


def evaluate_policy(
    plan: Plan, policy: "CausalLMPolicy", *, start: "CausalLMPolicy | None" = None, say: Say = tell
) -> "Evaluation":
    """Held-out accuracy of a policy beside the one it started from, printed."""
    from llmpolicy.evaluation import evaluate, examples, table

    recipe, (settings, correct) = plan.recipe, plan.judged_by
    result = evaluate(
        policy,
        plan.held_out,
        correct,
        threshold=settings.threshold,
        samples=settings.samples,
        rewards=plan.rewards,
        batch_size=settings.batch_size,
        seed=recipe.seed,
        base=start or _other_weights(recipe, policy),
        recipe_hash=recipe.hash(),
        max_new_tokens=evaluated_length(recipe),
        partner=talking(recipe, policy, tokens=evaluated_length(recipe)),
    )
    say(table(result))
    say(examples(result))
    return result


def start_of(recipe: Recipe, policy: "CausalLMPolicy") -> Any:
    """The policy that training started from, the trained one without its adapter included."""
    from llmpolicy.evaluation.answers import WithoutAdapter

    return _other_weights(recipe, policy) or WithoutAdapter(policy)


def _other_weights(recipe: Recipe, policy: "CausalLMPolicy") -> "CausalLMPolicy | None":
    """The policy that training started from; None for a fresh adapter, which is measured without it
    instead.
    """
    adapter = recipe.language_model.adapter
    if policy.is_adapter and adapter is None:
        return None
    return build_policy(recipe, base_only=adapter is None).to(policy.device)


def evaluate_run(
    plan: Plan, policy: "CausalLMPolicy", run: Run, start: "CausalLMPolicy | None", say: Say
) -> None:
    """Evaluate what a run trained, as its recipe asks for it."""
    if plan.correct is None or plan.recipe.evaluate is None:
        return
    if start is not None:
        start = start.to(policy.device)
    found = evaluate_policy(plan, policy, start=start, say=say)
    write_answers(run.path, found.answers())
    run.write_evaluation(found.to_dict())
    for line in best_lines(plan, run):
        say(line)
    if plan.recipe.evaluate.curve and run.best_dir.is_dir():
        _close_curve(plan, policy, run, start, say)


def _close_curve(
    plan: Plan, policy: "CausalLMPolicy", run: Run, start: "CausalLMPolicy | None", say: Say
) -> None:
    """Evaluate the best step, ask the truth whether it and the last one are preferred to the start,
    and draw the curve.
    """
    from llmpolicy.report.plot import plot_curve

    rest = replace(plan, held_out=judges(plan.held_out))
    best = placed(policy_at(run.best_dir, plan.recipe))
    say(
        f"best step {run.manifest['best']['step']}, on the {len(rest.held_out)} held-out prompts"
        " that did not choose it:"
    )
    found = evaluate_policy(rest, best, start=start, say=say)
    run.write_evaluation(found.to_dict(), of_best=True)
    before = start or start_of(rest.recipe, policy)
    preferred = _preferences(rest, {"best": best, "last": policy, "start": before})
    run.update_manifest(preference=preferred)
    for name in ("best", "last"):
        share = preferred[name]
        say(
            f"the {name} step's reply is preferred to the start's on {share['value']:.1%} "
            f"[{share['low']:.1%}, {share['high']:.1%}] of {preferred['n']} prompts (ties count"
            " half)"
        )
    drawn("curve", lambda: plot_curve(run), say)


def _preferences(plan: Plan, policies: Facts) -> Record:
    """How often the truth prefers the best and the last step's reply to the start's, one sample
    each a prompt.
    """
    from llmpolicy.evaluation import preference, sample, values_of

    recipe, (settings, correct) = plan.recipe, plan.judged_by
    length, truth = evaluated_length(recipe), {}
    how: Record = {
        "batch_size": settings.batch_size,
        "max_new_tokens": length,
        "partner": talking(recipe, policies["best"], tokens=length),
    }
    for seed, (name, policy) in enumerate(policies.items(), recipe.seed + 2):
        replies = sample(policy, plan.held_out, seed, **how)
        truth[name] = values_of(correct, plan.held_out, replies)
    preferred: Record = {"n": len(plan.held_out)}
    for name in ("best", "last"):
        if share := preference(truth[name], truth["start"]):
            preferred[name] = share.to_dict()
    return preferred


def best_lines(plan: Plan, run: Run) -> Iterator[str]:
    """Which step is the best by the truth, and how far truth and proxy have parted since; nothing
    where no truth was looked at.
    """
    from llmpolicy.evaluation import LEVEL

    looks = [line for line in run.metrics("eval") if line.get("truth") is not None]
    best = run.best()
    if plan.truth is None or not looks or best is None:
        return
    first, last = looks[0], looks[-1]
    yield (
        f"best step by the truth ({', '.join(plan.truth.names)}): {best['step']}, truth"
        f" {best['truth']:.3g} on the {len(plan.held_out)} held-out prompts that chose it (step"
        f" {first['step']}: {first['truth']:.3g}, step {last['step']}: {last['truth']:.3g}):"
        f" {run.best_dir}"
    )
    if (last.get("parted") or 1.0) <= LEVEL:
        yield (
            f"truth and proxy had parted by the last look (p = {last['parted']:.2g}): publish"
            " --which best takes the best step"
        )


def chooses(rows: Sequence[Row]) -> Sequence[Row]:
    """The half of the held-out rows by which the best step is chosen."""
    return rows[::2]


def judges(rows: Sequence[Row]) -> Sequence[Row]:
    """The other half, which says how good the chosen step is."""
    return rows[1::2]
