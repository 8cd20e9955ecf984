"""Settings of TRL's configuration that change nothing here, or nothing without another one; and its
names of old.
"""

from collections.abc import Mapping
from typing import Any

from llmpolicy.errors import RecipeError

RENAMED = {
    "use_transformers_paged": "use_transformers_continuous_batching",
    "vllm_importance_sampling_cap": "vllm_importance_sampling_clip_max",
    "gradient_checkpointing": "activation_checkpointing",
    "gradient_checkpointing_kwargs": "activation_checkpointing_kwargs",
}
"""Names that TRL and transformers still take and write down by another one: what holds for that
holds for them.
"""

_MEASURED = (
    "the base and the checkpoints are measured as `evaluate:` says, not by transformers' trainer"
)
_UNSHOWN = (
    "TRL's table of completions is not printed; every completion is kept in the run's rollouts/"
)

NO_EFFECT: dict[str, tuple[Any, str]] = {
    "label_smoothing_factor": (0.0, "GRPO has no labels"),
    "label_names": (None, "GRPO has no labels"),
    "train_sampling_strategy": (
        "random",
        "the order is that of groups, by seed (sampling: chooses prompts)",
    ),
    "length_column_name": (
        "length",
        "the order is that of groups, by seed (sampling: chooses prompts)",
    ),
    "data_seed": (None, "the order of the rows comes from `seed:`"),
    "cache_implementation": (
        None,
        "the policy samples itself, with the cache that its layers have",
    ),
    "include_num_input_tokens_seen": ("no", "the tokens are always counted, as num_tokens"),
    "greater_is_better": (
        None,
        "the best checkpoint is the one with the highest held-out accuracy of `evaluate:`",
    ),
    "do_predict": (False, _MEASURED),
    "bf16_full_eval": (False, _MEASURED),
    "fp16_full_eval": (False, _MEASURED),
    "eval_delay": (0, _MEASURED),
    "per_device_eval_batch_size": (8, _MEASURED),
    "num_generations_eval": (None, _MEASURED),
    "prediction_loss_only": (False, _MEASURED),
    "eval_do_concat_batches": (True, _MEASURED),
    "eval_use_gather_object": (False, _MEASURED),
    "eval_accumulation_steps": (None, _MEASURED),
    "include_for_metrics": ([], _MEASURED),
    "batch_eval_metrics": (False, _MEASURED),
    "log_multimodal": (True, _UNSHOWN),
    "num_completions_to_print": (None, _UNSHOWN),
    "log_unique_prompts": (False, _UNSHOWN),
}
"""Settings of TRL's and transformers' trainers that change nothing here: the value that says
nothing, and why.
"""

SWITCHES = {
    "vllm_": "use_vllm", "ref_model_": "sync_ref_model", "liger_kernel_config": "use_liger_kernel",
    "entropy_coef_": "use_adaptive_entropy", "entropy_target": "use_adaptive_entropy",
    "transformers_continuous_batching_config": "use_transformers_continuous_batching",
    "fsdp_config": "fsdp",
    "use_bias_correction_kl": "beta",
}  # fmt: skip
"""The beginnings of settings that are read only where another one is switched on."""

OF_LOSSES = {
    "sapo_": ("sapo",), "vespo_": ("vespo",), "delta": ("grpo", "bnpo", "dr_grpo", "dapo", "luspo"),
    "epsilon": ("grpo", "bnpo", "dr_grpo", "dapo", "luspo", "cispo"),
}  # fmt: skip
"""The beginnings of settings that only some losses read."""


def why_no_effect(
    key: str, value: Any, settings: Mapping[str, Any], defaults: Mapping[str, Any]
) -> str:
    """Why a written setting changes nothing, as a clause; empty where it does, or says what would
    be without it.

    A switch that is written, if only to turn it off, keeps its settings from being taken for a
    mistake.
    """
    neutral, why = NO_EFFECT.get(key, (value, ""))
    if value != neutral and not (neutral == "no" and value is False):
        return why
    if value == defaults.get(key):
        return ""
    known = {RENAMED.get(name, name) for name in settings}
    for start in filter(key.startswith, SWITCHES):
        if SWITCHES[start] not in known:
            return f"it is read with {SWITCHES[start]} alone, which is not set"
    loss = settings.get("loss_type", defaults.get("loss_type"))
    for start in filter(key.startswith, OF_LOSSES):
        if loss not in OF_LOSSES[start]:
            return f"the loss {loss} does not read it, {', '.join(OF_LOSSES[start])} would"
    return ""


def check_device(block: str, args: Any) -> None:
    """Raise RecipeError for float16 where accelerate falls back on float32 without a word; args are
    transformers'.
    """
    if args.fp16 and args.device.type == "cpu":
        raise RecipeError(
            f"{block}.fp16 would change nothing: it is for GPUs, and this run is on a CPU;"
            " remove it"
        )
