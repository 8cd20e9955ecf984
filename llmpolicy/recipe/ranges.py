"""The numbers that a block of settings takes: outside of these ranges nothing can be learned, or
something else than was meant.
"""

import math
import operator
import re
from collections.abc import Mapping, Sequence
from typing import Any

Ranges = Mapping[str, Sequence[str]]

_AT_LEAST_1 = """
per_device_train_batch_size per_device_eval_batch_size gradient_accumulation_steps num_iterations
steps_per_generation generation_batch_size num_generations_eval max_completion_length max_length
save_total_limit torch_empty_cache_steps eval_accumulation_steps ref_model_sync_steps
max_tool_calling_iterations pad_to_multiple_of num_completions_to_print ddp_timeout
ddp_bucket_cap_mb dataloader_prefetch_factor vllm_max_model_length vllm_tensor_parallel_size delta
"""
# Of delta: a ratio above it is cut, and at the start all ratios are 1: below 1 nothing would be
# learned.
_AT_LEAST_0 = """
learning_rate weight_decay adam_epsilon max_grad_norm top_k beta epsilon epsilon_high data_seed
dataloader_num_workers vespo_k_pos vespo_lambda_pos vespo_k_neg vespo_lambda_neg entropy_coef
entropy_coef_min entropy_coef_max entropy_coef_delta entropy_target router_aux_loss_coef
vllm_importance_sampling_clip_min center_rewards_coefficient
"""
_ABOVE_0 = """
temperature num_train_epochs repetition_penalty neftune_noise_alpha sapo_temperature_neg
sapo_temperature_pos vllm_server_timeout vllm_importance_sampling_clip_max
vllm_importance_sampling_cap off_policy_mask_threshold
"""
RANGES: Ranges = {
    "-1, or a whole number of at least 1": ("max_steps",),
    "at least 2": ("num_generations",),
    "at least 1": _AT_LEAST_1.split(),
    "at least 1 and at most 65535": ("vllm_server_port", "vllm_group_port"),
    "above 0": _ABOVE_0.split(),
    "above 0 and at most 1": ("top_p", "vllm_gpu_memory_utilization"),
    "a share above 0 and below 1, or a whole number of at least 1": (
        "logging_steps", "save_steps", "eval_steps",
    ),
    "at least 0": _AT_LEAST_0.split(),
    "a share of at least 0 and below 1, or a whole number of at least 1": ("warmup_steps",),
    "at least 0 and below 1": ("adam_beta1", "adam_beta2", "label_smoothing_factor"),
    "at least 0 and at most 1": ("min_p", "ref_model_mixup_alpha", "top_entropy_quantile"),
}  # fmt: skip
"""The fields of TRL's and transformers' configurations with an evident range, by what is expected
of them.
"""

LORA_RANGES: Ranges = {
    "a whole number of at least 1": ("r",),
    "above 0": ("lora_alpha",),
    "at least 0 and below 1": ("lora_dropout",),
}

BELOW = {
    "entropy_coef_min": "entropy_coef_max",
    "vllm_importance_sampling_clip_min": "vllm_importance_sampling_clip_max",
}
"""Fields that are at most another one."""

_BOUND = re.compile(r"(above|below|at least|at most) (-?\d+)")
_HOLDS = {
    "above": operator.gt,
    "below": operator.lt,
    "at least": operator.ge,
    "at most": operator.le,
}


def expected_of(key: str, value: Any, ranges: Ranges = RANGES) -> str:
    """What is expected of a field whose number lies outside of its range, or is not finite; empty
    if it lies within.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    expected = next((words for words, keys in ranges.items() if key in keys), "")
    if not math.isfinite(value):
        return expected or "a finite number"
    if not expected or any(_within(value, part) for part in expected.split(", or ")):
        return ""
    return expected


def _within(value: float, words: str) -> bool:
    """Whether a number is the one that the words name, or keeps all bounds in them."""
    bounds = _BOUND.findall(words)
    if not bounds:
        return value == float(words)
    whole = "whole" not in words or value == int(value)
    return whole and all(_HOLDS[how](value, float(bound)) for how, bound in bounds)


def disagreement(settings: Mapping[str, Any]) -> tuple[str, str]:
    """Two written settings that exclude each other: the key of the first, and a clause that says
    why; empty texts if none do.
    """
    for low, high in BELOW.items():
        least, most = settings.get(low), settings.get(high)
        if least is not None and most is not None and least > most:
            return low, f"is {least}, above {high} {most}; expected at most that"
    for key, rival in (("bf16", "fp16"), ("steps_per_generation", "generation_batch_size")):
        if settings.get(key) and settings.get(rival):
            return key, f"and {rival} are both set; expected one of them"
    if settings.get("lr_scheduler_type") in ("reduce_lr_on_plateau", "greedy"):
        return (
            "lr_scheduler_type",
            (
                f"{settings['lr_scheduler_type']!r} goes by a loss on held-out rows, which is not"
                " measured here; expected a schedule by steps, such as linear, cosine or"
                " constant_with_warmup"
            ),
        )
    if settings.get("dataloader_prefetch_factor") and not settings.get("dataloader_num_workers"):
        return (
            "dataloader_prefetch_factor",
            "is for worker processes, and dataloader_num_workers is 0; remove it",
        )
    return "", ""
