"""Settings that change nothing are refused, and so is by its old name what is refused by its new
one.
"""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainingArguments
from trl import GRPOConfig

from llmpolicy.errors import RecipeError
from llmpolicy.grpo.config import grpo_config
from llmpolicy.plan import explain_grpo
from llmpolicy.recipe.grpo import NEUTRAL_SAMPLER, check_grpo
from llmpolicy.recipe.no_effect import NO_EFFECT, OF_LOSSES, RENAMED, SWITCHES
from llmpolicy.recipe.trl import grpo_defaults, grpo_fields
from llmpolicy.stages.trainers import stage_config

OTHER: dict[str, Any] = {
    "label_smoothing_factor": 0.1, "label_names": ["x"], "train_sampling_strategy": "sequential", "data_seed": 1,
    "length_column_name": "x", "cache_implementation": "static", "include_num_input_tokens_seen": "all",
    "greater_is_better": True, "eval_delay": 5, "per_device_eval_batch_size": 4, "num_generations_eval": 2,
    "eval_accumulation_steps": 2, "include_for_metrics": ["loss"], "num_completions_to_print": 2,
}  # fmt: skip


def refused(match: str, **grpo: Any) -> None:
    with pytest.raises(RecipeError, match=match):
        check_grpo(grpo, allow_biased_sampler=False)


def test_every_former_name_of_the_installed_configuration_is_known() -> None:
    fields = [*dataclasses.fields(GRPOConfig), *dataclasses.fields(TrainingArguments)]
    told = {field.name: str(field.metadata.get("help", "")) for field in fields}
    former = {name: text for name, text in told.items() if text.startswith("Deprecated")}
    assert former
    assert {
        name: RENAMED[name] for name, text in former.items() if f"`{RENAMED.get(name)}`" in text
    }.keys() == former.keys()


def test_a_biased_sampler_is_refused_by_its_former_name_too() -> None:
    refused(
        r"grpo\.use_transformers_paged=True samples from another distribution",
        use_transformers_paged=True,
    )
    check_grpo({"use_transformers_paged": False}, allow_biased_sampler=False)
    check_grpo({"use_transformers_paged": True}, allow_biased_sampler=True)
    settings = {
        "use_transformers_paged": True,
        "generation_batch_size": 8,
        "bf16": False,
        "use_cpu": True,
    }
    args = GRPOConfig(output_dir="unused", report_to=[], **settings)
    changed = [
        name
        for name, neutral in NEUTRAL_SAMPLER.items()
        if getattr(args, name) not in (neutral, None)
    ]
    assert changed == ["use_transformers_continuous_batching"]


def test_former_names_are_held_to_what_the_new_ones_are() -> None:
    refused("takes no 'reentrant'", activation_checkpointing_kwargs={"reentrant": True})
    refused("takes no 'reentrant'", gradient_checkpointing_kwargs={"reentrant": True})
    clip = {"use_vllm": True, "vllm_importance_sampling_clip_min": 5.0}
    refused("above vllm_importance_sampling_clip_max 3", vllm_importance_sampling_cap=3.0, **clip)
    refused(
        "gradient_checkpointing is the former name of activation_checkpointing, which is set to False besides",
        gradient_checkpointing=True, activation_checkpointing=False,
    )  # fmt: skip
    check_grpo(
        {"gradient_checkpointing": True, "activation_checkpointing": True},
        allow_biased_sampler=False,
    )


@pytest.mark.parametrize("key", NO_EFFECT)
def test_what_changes_nothing_is_refused(key: str) -> None:
    assert key in grpo_fields()
    neutral = NO_EFFECT[key][0]
    refused(
        rf"grpo\.{key} would change nothing: .*; remove it", **{key: OTHER.get(key, not neutral)}
    )
    check_grpo({key: neutral}, allow_biased_sampler=False)


@pytest.mark.parametrize(
    ("key", "value", "switch"),
    [
        ("vllm_gpu_memory_utilization", 0.5, {"use_vllm": True}),
        ("vllm_importance_sampling_mode", "token_mask", {"use_vllm": False}),
        ("vllm_importance_sampling_cap", 3.5, {"use_vllm": True}),
        ("ref_model_mixup_alpha", 0.1, {"sync_ref_model": True}),
        ("entropy_coef_max", 0.5, {"use_adaptive_entropy": True}),
        ("entropy_target", 0.1, {"use_adaptive_entropy": True}),
        ("liger_kernel_config", {"rope": True}, {"use_liger_kernel": True}),
        ("fsdp_config", {"version": 2}, {"fsdp": True}),
        ("use_bias_correction_kl", False, {"beta": 0.1}),
        ("sapo_temperature_neg", 2.0, {"loss_type": "sapo"}),
        ("vespo_k_pos", 3.0, {"loss_type": "vespo"}),
        ("delta", 2.0, {"loss_type": "grpo"}),
        ("epsilon_high", 5.0, {"loss_type": "cispo"}),
    ],
)
def test_what_needs_another_setting_is_refused_without_it(
    key: str, value: Any, switch: dict[str, Any]
) -> None:
    without = (
        {"loss_type": "vespo" if key == "delta" else "sapo"}
        if key in ("delta", "epsilon_high")
        else {}
    )
    refused(
        rf"grpo\.{key} would change nothing: .*(alone, which is not set|does not read it)",
        **{key: value},
        **without,
    )
    check_grpo({key: value, **switch}, allow_biased_sampler=True)
    check_grpo({key: grpo_defaults()[key]}, allow_biased_sampler=False)


def test_the_beginnings_are_those_of_fields_and_the_losses_read_no_more() -> None:
    assert all(
        any(name.startswith(start) for name in grpo_fields()) for start in (*SWITCHES, *OF_LOSSES)
    )
    defaults = {field.name: field.default for field in dataclasses.fields(GRPOConfig)}
    spelt = {
        name: value
        for name, value in grpo_defaults().items()
        if defaults[name] is not dataclasses.MISSING
    }
    assert spelt == {name: defaults[name] for name in spelt}


@pytest.mark.skipif(torch.cuda.is_available(), reason="float16 has its effect on a GPU")
def test_float16_on_a_cpu_is_refused_in_every_block(tmp_path: Path) -> None:
    assert any("fp16" in note for note in explain_grpo({"fp16": True}, rows=8).notes)
    with pytest.raises(
        RecipeError, match=r"grpo\.fp16 would change nothing: it is for GPUs, .*; remove it"
    ):
        grpo_config(
            {"fp16": True, "use_cpu": True}, output_dir=tmp_path, seed=0, reward_weights=[1.0]
        )
    for block in ("sft", "reward_model"):
        with pytest.raises(RecipeError, match=rf"{block}\.fp16 would change nothing"):
            stage_config(block, {"fp16": True}, folder=tmp_path, seed=0, target="cpu")
