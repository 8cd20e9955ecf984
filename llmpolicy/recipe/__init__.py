"""A recipe: one short YAML that says what is trained, on which task, by which rewards. Strict, and
read without torch.
"""

from llmpolicy.recipe.blocks import (
    BaselineName,
    EnvironmentBlock,
    EvaluateBlock,
    ModelBlock,
    PolicyBlock,
    Recipe,
    ReinforceBlock,
    RewardBlock,
    SamplingBlock,
)
from llmpolicy.recipe.grpo import (
    GRPO_DEFAULTS,
    OWNED,
    OWNED_PREFIXES,
    STAGE_DEFAULTS,
    STAGES,
    TARGET_DEFAULTS,
    check_grpo,
    check_stage,
)
from llmpolicy.recipe.load import find_recipe, load_recipe, make_recipe, recipe_folders
from llmpolicy.recipe.needs import check_packages, missing_packages, trackers
from llmpolicy.recipe.override import from_here
from llmpolicy.recipe.stages import (
    Grpo,
    Play,
    PreferenceModel,
    Reinforce,
    Stage,
    WarmStart,
    dialogue_of,
    stages_of,
    trained_by,
)
from llmpolicy.recipe.trl import grpo_choices, grpo_defaults, grpo_fields

__all__ = [
    "GRPO_DEFAULTS",
    "OWNED",
    "OWNED_PREFIXES",
    "STAGES",
    "STAGE_DEFAULTS",
    "TARGET_DEFAULTS",
    "BaselineName",
    "EnvironmentBlock",
    "EvaluateBlock",
    "Grpo",
    "ModelBlock",
    "Play",
    "PolicyBlock",
    "PreferenceModel",
    "Recipe",
    "Reinforce",
    "ReinforceBlock",
    "RewardBlock",
    "SamplingBlock",
    "Stage",
    "WarmStart",
    "check_grpo",
    "check_packages",
    "check_stage",
    "dialogue_of",
    "find_recipe",
    "from_here",
    "grpo_choices",
    "grpo_defaults",
    "grpo_fields",
    "load_recipe",
    "make_recipe",
    "missing_packages",
    "recipe_folders",
    "stages_of",
    "trackers",
    "trained_by",
]
