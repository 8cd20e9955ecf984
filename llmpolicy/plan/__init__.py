"""What a recipe comes to before a model loads: rows, rewards, the arithmetic of a step. No torch
here.
"""

from llmpolicy.plan.explain import Explanation, RecipeExplanation, explain_grpo, written_values
from llmpolicy.plan.looks import look_lines, look_steps
from llmpolicy.plan.plan import (
    Plan,
    fit,
    fit_held_out,
    plan_recipe,
    require_sandbox,
)
from llmpolicy.plan.reward import (
    SCORER,
    build_rewards,
    function_facts,
    reward_facts,
    reward_lines,
    task_facts,
)
from llmpolicy.plan.weights import (
    completion_length,
    evaluated_length,
    loaded_adapter,
    loaded_weights,
    model_path,
    refuse_damage,
    temperature,
    template_arguments,
)

__all__ = [
    "SCORER",
    "Explanation",
    "Plan",
    "RecipeExplanation",
    "build_rewards",
    "completion_length",
    "evaluated_length",
    "explain_grpo",
    "fit",
    "fit_held_out",
    "loaded_adapter",
    "loaded_weights",
    "look_lines",
    "look_steps",
    "model_path",
    "plan_recipe",
    "refuse_damage",
    "require_sandbox",
    "function_facts",
    "reward_facts",
    "reward_lines",
    "task_facts",
    "temperature",
    "template_arguments",
    "written_values",
]
