"""What a recipe comes to before a model loads: rows, rewards, the arithmetic of a step. No torch
here.
"""

from llmpolicy.plan.explain import Explanation, RecipeExplanation, explain_grpo
from llmpolicy.plan.plan import (
    SCORER,
    Plan,
    build_policy,
    build_rewards,
    completion_length,
    evaluated_length,
    explain_recipe,
    fit,
    fit_held_out,
    loaded_adapter,
    loaded_weights,
    model_path,
    plan_recipe,
    policy_at,
    refuse_damage,
    require_sandbox,
    reward_facts,
    reward_lines,
    task_facts,
    template_arguments,
)

__all__ = [
    "SCORER",
    "Explanation",
    "Plan",
    "RecipeExplanation",
    "build_policy",
    "build_rewards",
    "completion_length",
    "evaluated_length",
    "explain_grpo",
    "explain_recipe",
    "fit",
    "fit_held_out",
    "loaded_adapter",
    "loaded_weights",
    "model_path",
    "plan_recipe",
    "policy_at",
    "refuse_damage",
    "require_sandbox",
    "reward_facts",
    "reward_lines",
    "task_facts",
    "template_arguments",
]
