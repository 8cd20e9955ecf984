"""What may stand in ``grpo:``, ``sft:`` and ``reward_model:``: what TRL takes, but for what
llmpolicy owns.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from llmpolicy.errors import RecipeError, nearest
from llmpolicy.recipe.blocks import Recipe, written_at
from llmpolicy.recipe.no_effect import RENAMED, why_no_effect
from llmpolicy.recipe.ranges import disagreement, expected_of
from llmpolicy.recipe.secret import Origin
from llmpolicy.recipe.trl import config_fields, enums, grpo_choices, grpo_defaults, grpo_fields

OWNED = {
    "output_dir": "pass --out DIR on the command line",
    "overwrite_output_dir": "pass another --out DIR: a run is never overwritten",
    "push_to_hub": "run `llmpolicy publish RUN --repo USER/NAME` after training",
    "trust_remote_code": "give --trust-remote-code on the command line",
    "model_init_kwargs": "write the model's options under `model:`",
    "reward_weights": "write `weight:` beside each entry of `rewards:`",
    "resume_from_checkpoint": "pass --resume on the command line",
    "seed": "write `seed:` at the top of the recipe",
    "eval_strategy": "write `evaluate: {every: N}`",
    "eval_steps": "write `evaluate: {every: N}`",
    "eval_on_start": "the base is always evaluated; write `evaluate:`",
    "do_eval": "write `evaluate:`",
    "load_best_model_at_end": (
        "the best checkpoint by `evaluate:` is always kept beside the last one"
    ),
    "metric_for_best_model": (
        "the best checkpoint is the one with the highest held-out accuracy of `evaluate:`"
    ),
    "chat_template_kwargs": "write `chat_template_kwargs:` under `task:`",
    "log_completions": "every completion is already kept in the run's rollouts/",
    "remove_unused_columns": "the task's columns always reach the rewards",
    "disable_tqdm": "the progress line is llmpolicy's own",
    "neftune_noise_alpha": (
        "the sampler has no such noise, so that another policy would be trained; write it in `sft:`"
    ),
    "save_only_model": (
        "a checkpoint holds all that --resume needs; `llmpolicy publish` takes the policy alone"
    ),
    "parallelism_config": "accelerate launch takes it from a file (recipes/accelerate has some)",
    "ignore_data_skip": "a run that goes on takes the rows that it would have taken",
}
MOVED = {
    "max_prompt_length": (
        "write `max_prompt_tokens: N` at the top of the recipe; prompts above it are dropped"
    ),
    "max_new_tokens": "write max_completion_length",
    "warmup_ratio": "write warmup_steps, which takes a share below 1 as well",
    "evaluation_strategy": OWNED["eval_strategy"],
    "no_cuda": "write use_cpu",
    "peft_config": "write `model: {lora: {...}}`",
    "reward_funcs": "write `rewards:` at the top of the recipe",
    "vllm_guided_decoding_regex": "write vllm_structured_outputs_regex",
}
"""Settings of other versions and other tools, and what takes their place."""
ALIASES = {"adam": "adamw_torch", "adamw": "adamw_torch"}
"""Optimisers by the name that many write."""
TURNS = {
    "tools": "write `environment: {tools: [path.py:function]}`",
    "environment_factory": "write `environment: path.py:Class`",
    "environments": "write `environment: path.py:Class`",
    "rollout_func": "write `environment: path.py:Class`, which is asked after each turn",
    "max_turns": "write `environment: {turns: N}`",
    "max_tool_calling_iterations": "write `environment: {turns: N}`",
}
"""What asks for a dialogue of several turns, and what takes its place."""
OWNED_PREFIXES = {"hub_": OWNED["push_to_hub"], "log_completions_": OWNED["log_completions"]}
GRPO_DEFAULTS: dict[str, Any] = {
    "logging_steps": 1,
    "save_steps": 100,
    "save_total_limit": 2,
    "gradient_checkpointing": False,
    "disable_dropout": True,
    "report_to": "none",
    "logging_nan_inf_filter": False,
}
"""Where llmpolicy starts from another default than TRL: log each step, keep a checkpoint, show a
NaN as a NaN.
"""

TARGET_DEFAULTS: dict[str, dict[str, Any]] = {
    "cpu": {"use_cpu": True, "bf16": False, "dataloader_pin_memory": False},
    "gpu": {},
}
"""TRL's bf16 default raises on a machine without a GPU."""

CHECKPOINT_ARGUMENTS = (
    "use_reentrant",
    "preserve_rng_state",
    "determinism_check",
    "debug",
    "early_stop",
)

NEUTRAL_SAMPLER = {
    "top_p": 1.0,
    "top_k": 0,
    "min_p": None,
    "repetition_penalty": 1.0,
    "generation_kwargs": None,
    "use_transformers_continuous_batching": False,
}
"""Sampler settings that leave π as it is; any other value samples from a distribution that is not
trained.
"""

KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,), "float": (int, float), "bool": (bool,), "str": (str,), "dict": (dict,),
    "list": (list, tuple),
    "None": (type(None),),
}  # fmt: skip
"""The types of a value that a type in GRPOConfig allows; a type that is not here allows all."""

STAGES = {"sft": "SFTConfig", "reward_model": "RewardConfig"}
"""The configuration that the block of each stage goes to."""

STAGE_HUB = "upload the stage's folder with huggingface_hub; it is a normal model"
STAGE_OWNED = {
    **{
        key: OWNED[key]
        for key in ("output_dir", "seed", "trust_remote_code", "model_init_kwargs", "disable_tqdm")
    },
    "push_to_hub": STAGE_HUB,
    "resume_from_checkpoint": (
        "a stage that was finished is used again, one that was not begins anew"
    ),
    "eval_strategy": "the held-out part is measured once, at the end",
    "load_best_model_at_end": "the model of the last step is kept",
    "chat_template_path": "every stage reads with the chat template of the model's tokenizer",
    "eos_token": "write `model: {stop: [...]}`",
    "assistant_only_loss": "the replies are what is learned",
}
STAGE_DEFAULTS: dict[str, dict[str, Any]] = {
    "sft": {},
    "reward_model": {"center_rewards_coefficient": 0.01},
}
"""Where a stage starts from another default than TRL, beside what it shares with GRPO."""


def check_grpo(
    grpo: Mapping[str, Any], *, allow_biased_sampler: bool, origin: Origin | None = None
) -> None:
    """Check what goes verbatim to GRPOConfig; raises RecipeError for unknown, owned, wrong and
    biased settings.
    """
    origin = origin or {}
    fields = grpo_fields()
    for key, value in grpo.items():
        where = written_at(f"grpo.{key}", origin)
        owner = next(filter(key.startswith, OWNED_PREFIXES), "")
        if instead := OWNED.get(key) or OWNED_PREFIXES.get(owner):
            raise RecipeError(f"{where}grpo.{key} belongs to llmpolicy: {instead}")
        if key in TURNS and value is not None:
            raise RecipeError(f"{where}grpo.{key} belongs to llmpolicy: {TURNS[key]}")
        if key not in fields:
            raise RecipeError(
                f"{where}unknown key {key!r} in grpo{_instead(key, fields.keys() - OWNED.keys())}"
            )
        _check_value(key, value, fields[key], where)
        if (key, value) == ("save_strategy", "best"):
            raise RecipeError(
                f"{where}grpo.save_strategy: {OWNED['load_best_model_at_end']}; expected steps,"
                " epoch or no"
            )
        if why := why_no_effect(key, value, grpo, grpo_defaults()):
            raise RecipeError(f"{where}grpo.{key} would change nothing: {why}; remove it")
        neutral = NEUTRAL_SAMPLER.get(RENAMED.get(key, key), value)
        if value not in (neutral, None, {}) and not allow_biased_sampler:
            raise RecipeError(
                f"{where}grpo.{key}={value} samples from another distribution than the policy that"
                " is trained; remove it or write `allow_biased_sampler: true`"
            )
    _check_agreement("grpo", grpo, origin)


def check_stage(block: str, settings: Mapping[str, Any], origin: Origin | None = None) -> None:
    """Check what goes verbatim to SFTConfig (``sft``) or RewardConfig (``reward_model``);
    RecipeError as `check_grpo`.
    """
    fields = config_fields(STAGES[block])
    for key, value in settings.items():
        where = written_at(f"{block}.{key}", origin or {})
        if key in STAGE_OWNED or key.startswith("hub_"):
            raise RecipeError(
                f"{where}{block}.{key} belongs to llmpolicy: {STAGE_OWNED.get(key, STAGE_HUB)}"
            )
        if key not in fields:
            raise RecipeError(
                f"{where}unknown key {key!r} in"
                f" {block}{_instead(key, fields.keys() - STAGE_OWNED.keys())}"
            )
        _check_value(key, value, fields[key], where, block)
    _check_agreement(block, settings, origin or {})


def _instead(key: str, valid: Iterable[str]) -> str:
    """A clause that says what to write instead of a key that is unknown."""
    if key in MOVED:
        return f"; {MOVED[key]}"
    if key in Recipe.model_fields:
        return f"; `{key}:` stands at the top of the recipe"
    return nearest(key, valid)


def _check_agreement(block: str, settings: Mapping[str, Any], origin: Origin) -> None:
    for old, new in RENAMED.items():
        if None not in (settings.get(old), settings.get(new)) and settings[old] != settings[new]:
            raise RecipeError(
                f"{written_at(f'{block}.{old}', origin)}{block}.{old} is the former name of {new},"
                f" which is set to {settings[new]!r:.40} besides; expected one of them"
            )
    key, why = disagreement({RENAMED.get(key, key): value for key, value in settings.items()})
    if key:
        raise RecipeError(f"{written_at(f'{block}.{key}', origin)}{block}.{key} {why}")


def _check_value(key: str, value: Any, annotation: str, where: str, block: str = "grpo") -> None:
    """A value has the type that the config declares and, where TRL has a closed list of texts, is
    on it.
    """
    choices = grpo_choices().get(key, set()) if block == "grpo" else set()
    wrong_text = bool(choices) and isinstance(value, str) and value not in list(choices)
    # A recipe writes the member of an enum as a text, and the annotation has `| str` for it.
    kinds = {kind.split("[")[0] for kind in annotation.split(" | ")} - enums()
    if wrong_text or not _fits(value, kinds):
        meant = ALIASES.get(str(value).lower(), str(value)) if key == "optim" else str(value)
        expected = nearest(meant, choices) or f"; expected {annotation.replace('None', 'null')}"
        if value is False and "no" in choices:
            expected = f"; expected {key}: no"
        raise RecipeError(f"{where}{block}.{key} cannot be {value!r:.80}{expected}")
    if expected := expected_of(key, value):
        raise RecipeError(f"{where}{block}.{key} is {value}; expected {expected}")
    if RENAMED.get(key, key) != "activation_checkpointing_kwargs":
        return
    for name in value or ():
        if name not in CHECKPOINT_ARGUMENTS:
            raise RecipeError(
                f"{where}{block}.{key}: torch.utils.checkpoint takes no"
                f" {name!r}{nearest(name, CHECKPOINT_ARGUMENTS)}"
            )


def _fits(value: Any, kinds: set[str]) -> bool:
    if not kinds <= KINDS.keys():
        return True
    if isinstance(value, bool):
        return "bool" in kinds
    return any(isinstance(value, KINDS[kind]) for kind in kinds)
