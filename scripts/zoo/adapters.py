"""Every kind of adapter that the installed peft has, on a small Llama, however it comes to a
policy.

``GIVEN`` are PEFT models handed over as they are (and their saved folder loaded again); ``ASKED``
are ``lora:`` blocks.
"""

import dataclasses
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from peft import PeftType, get_peft_model
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

from llmpolicy.policies.causal_lm import CausalLMPolicy
from scripts.zoo import laws
from scripts.zoo.build import build, small
from scripts.zoo.cases import Report, adapted, policy_of, words
from scripts.zoo.isolate import Measured
from scripts.zoo.plain import Plain

Settings = dict[str, Any]
TARGETS = ["q_proj", "v_proj", "down_proj"]
TOKENS = {"num_virtual_tokens": 4}
SMALL: dict[str, Settings] = {
    "ADALORA": {"r": 4, "init_r": 6, "target_r": 4, "total_step": 100, "tinit": 10, "tfinal": 10},
    "ADAMSS": {"r": 8, "num_subspaces": 2},
    "ADAPTION_PROMPT": {"adapter_len": 4, "adapter_layers": 2, "target_modules": "self_attn"},
    "BOFT": {"boft_block_size": 4},
    "C3A": {"block_size": 16},
    "CARTRIDGE": TOKENS,
    "CPT": {
        "cpt_token_ids": [5, 6, 7, 8],
        "cpt_mask": [1, 1, 1, 1],
        "cpt_tokens_type_mask": [1, 2, 3, 4],
    },
    "FOURIERFT": {"n_frequency": 50},
    "GRALORA": {"r": 8},
    "IA3": {"feedforward_modules": ["down_proj"]},
    "LN_TUNING": {"target_modules": ["input_layernorm", "norm"]},
    "MISS": {"r": 8},
    "MULTITASK_PROMPT_TUNING": TOKENS,
    "OFT": {"oft_block_size": 8},
    "PROMPT_TUNING": TOKENS,
    "PREFIX_TUNING": TOKENS,
    "P_TUNING": {**TOKENS, "encoder_hidden_size": 16},
    "PSOFT": {"r": 8},
    "PVERA": {"r": 16},
    "RANDLORA": {"r": 8},
    "ROAD": {"group_size": 8},
    "SHIRA": {"r": 4, "random_seed": 0},
    "TRAINABLE_TOKENS": {"token_indices": [5, 6, 9], "target_modules": ["embed_tokens"]},
    "UNILORA": {"theta_d_length": 64},
    "VBLORA": {"num_vectors": 16, "vector_length": 16},
    "VERA": {"r": 16},
    "WAVEFT": {"n_frequency": 50},
}
"""What a kind needs to fit a model of 32 dimensions."""

VARIANTS: dict[str, Settings] = {
    "plain": {},
    "dora": {"use_dora": True},
    "rslora": {"use_rslora": True},
    "lora_bias": {"lora_bias": True},
    "bias": {"bias": "all"},
    "gaussian": {"init_lora_weights": "gaussian"},
    "random": {"init_lora_weights": False},
    "pissa": {"init_lora_weights": "pissa"},
    "olora": {"init_lora_weights": "olora"},
    "orthogonal": {"init_lora_weights": "orthogonal"},
    "kasa": {"kasa_config": "KasaConfig"},
    "velora": {"velora_config": "VeloraConfig"},
    "monteclora": {"monteclora_config": "MontecloraConfig"},
    "bdlora": {
        "use_bdlora": {
            "target_modules_bd_a": ["v_proj"],
            "target_modules_bd_b": ["down_proj"],
            "nblocks": 2,
            "match_strict": False,
        }
    },
    "alora": {"alora_invocation_tokens": [9]},
    "embeddings": {"target_modules": ["q_proj", "embed_tokens"]},
    "head": {"target_modules": ["q_proj", "lm_head"]},
    "tokens": {"trainable_token_indices": [5, 9]},
    "saved_head": {"modules_to_save": ["lm_head"]},
    "saved_embeddings": {"modules_to_save": ["embed_tokens"]},
    "saved_norm": {"modules_to_save": ["norm"]},
    "replication": {"layer_replication": [[0, 2], [0, 2]]},
    "patterns": {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 3}},
    "first_layer": {"layers_to_transform": [0]},
    "dropout": {"lora_dropout": 0.1},
}
"""LoRA's settings that change what is computed, saved or trained."""

PARAMETERS = {"target_parameters": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]}


def items() -> dict[str, Measured]:
    """All cases by name."""
    calls: dict[str, Measured] = {}
    for kind in PEFT_TYPE_TO_CONFIG_MAPPING:
        if kind is not PeftType.LORA:
            calls[f"peft {kind.value}"] = partial(given, kind.value)
    for name, settings in VARIANTS.items():
        calls[f"peft LORA {name}"] = partial(given, "LORA", **settings)
        calls[f"lora: {name}"] = partial(asked, **settings)
    for family in ("mixtral", "qwen3_moe"):
        calls[f"lora: experts of {family}"] = partial(asked, family=family, **PARAMETERS)
    for family in ("gpt2", "qwen2", "gemma3_text"):
        calls[f"lora: lora_bias on {family}"] = partial(asked, family=family, lora_bias=True)
        calls[f"lora: embeddings of {family}"] = partial(
            asked, family=family, trainable_token_indices=[5, 9]
        )
    return calls


def config_of(kind: str, **settings: Any) -> Any:
    """A configuration of this kind; names of PEFT's own small configurations stand for their
    defaults.
    """
    config_class: Any = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(kind)]
    fields = {field.name for field in dataclasses.fields(config_class)}
    chosen: Settings = {"task_type": "CAUSAL_LM"}
    if "target_modules" in fields:
        chosen["target_modules"] = TARGETS
    if kind == "LORA":
        chosen["r"] = 4
    return config_class(**{**chosen, **SMALL.get(kind, {}), **_made(settings)})


def _made(settings: Settings) -> Settings:
    from peft.tuners import lora

    made = dict(settings)
    for name, value in settings.items():
        if isinstance(value, str) and value.endswith("Config"):
            made[name] = getattr(lora.config, value)()
    return made


def given(kind: str, **settings: Any) -> Settings:
    """A PEFT model handed to a policy, and its folder loaded."""
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        base, start = Path(folder) / "base", _base(Path(folder) / "base", "llama")
        wrapped = report.attempt("build", lambda: _wrapped(kind, settings))
        if wrapped is None:
            return {**report.record(), "outcome": "not built"}
        report.attempt("write", lambda: wrapped.save_pretrained(f"{folder}/adapter"))
        report.law(
            "load", lambda: _loaded(base, Path(folder) / "adapter", Plain(wrapped)), laws.NATS
        )
        policy = report.attempt("policy", lambda: policy_of(wrapped))
        if policy is not None:
            adapted(report, "", policy, start, base)
    return report.record()


def _wrapped(kind: str, settings: Settings) -> Any:
    model = build(small("llama"))
    if kind != "XLORA":
        return get_peft_model(model, config_of(kind, **settings))
    model.config.use_cache = False  # it mixes adapters that lie in folders
    with tempfile.TemporaryDirectory() as folder:
        for name in "01":
            get_peft_model(build(small("llama")), config_of("LORA")).save_pretrained(
                f"{folder}/{name}"
            )
        adapters = {"0": f"{folder}/0", "1": f"{folder}/1"}
        return get_peft_model(model, config_of(kind, hidden_size=32, adapters=adapters))


def _base(folder: Path, family: str) -> Plain:
    model = build(small(family))
    start = Plain(model)
    model.save_pretrained(folder)
    words().save_pretrained(folder)
    return start


def _loaded(base: Path, adapter: Path, plain: Plain) -> float:
    """A saved adapter, loaded on its base, is what was saved."""
    return laws.padded(
        CausalLMPolicy.load(base, adapter=adapter, temperature=laws.TEMPERATURE), plain
    )


def asked(family: str = "llama", **settings: Any) -> Settings:
    """A ``lora:`` block of a recipe."""
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        start = _base(Path(folder) / "base", family)
        model = build(small(family))
        policy = report.attempt(
            "policy", lambda: policy_of(model, lora={"r": 4, **_made(settings)})
        )
        if policy is not None:
            adapted(report, "", policy, start, Path(folder) / "base")
    return report.record()
