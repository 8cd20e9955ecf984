"""The end of a run with an over-optimisation curve: how good the kept step is, on prompts that did
not choose it.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmpolicy.plan import Plan, evaluated_length, policy_at
from llmpolicy.run import Run
from llmpolicy.session.evaluate import evaluate_policy, start_of
from llmpolicy.stages.grpo import judges
from llmpolicy.stages.process import Say, drawn, placed

if TYPE_CHECKING:
    from llmpolicy.policies.causal_lm import CausalLMPolicy


def close_curve(
    made: Plan, policy: "CausalLMPolicy", run: Run, start: "CausalLMPolicy | None", say: Say
) -> dict[str, Any]:
    """Evaluate the best step, ask the truth whether it and the last one are preferred to the start,
    and draw the curve.
    """
    from llmpolicy.report.overoptimisation import plot_curve

    rest = replace(made, held_out=judges(made.held_out))
    best = placed(policy_at(run.best_dir, made.recipe))
    say(
        f"best step {run.manifest['best']['step']}, on the {len(rest.held_out)} held-out prompts"
        " that did not choose it:"
    )
    run.write_evaluation(evaluate_policy(rest, best, start=start, say=say), of_best=True)
    found = _preferences(rest, policy, best, start)
    run.update_manifest(preference=found)
    for name in ("best", "last"):
        share = found[name]
        say(
            f"the {name} step's reply is preferred to the start's on {share['value']:.1%} "
            f"[{share['low']:.1%}, {share['high']:.1%}] of {found['n']} prompts (ties count half)"
        )
    drawn("curve", lambda: plot_curve(run), say)
    return found


def _preferences(
    made: Plan, last: "CausalLMPolicy", best: "CausalLMPolicy", start: "CausalLMPolicy | None"
) -> dict[str, Any]:
    """How often the truth prefers the best and the last step's reply to the start's, one sample
    each a prompt.
    """
    from llmpolicy.evaluation import preference, sample, truths

    recipe, settings, correct = made.recipe, made.recipe.evaluate, made.correct
    assert settings is not None and correct is not None
    how: dict[str, Any] = {
        "batch_size": settings.batch_size,
        "max_new_tokens": evaluated_length(recipe),
    }
    policies = {"best": best, "last": last, "start": start or start_of(recipe, last)}
    found = {
        name: truths(correct, made.held_out, sample(one, made.held_out, recipe.seed + order, **how))
        for order, (name, one) in enumerate(policies.items(), 2)
    }
    shares = {name: preference(found[name], found["start"]) for name in ("best", "last")}
    return {"n": len(made.held_out)} | {
        name: share.to_dict() for name, share in shares.items() if share
    }
