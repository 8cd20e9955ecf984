"""Any causal language model of transformers, small: its own configuration with every size cut, and
weights that matter.

``small(model_type)`` cuts what the default configuration of a type holds, by the names of the
sizes; ``EXCEPTIONS`` says what a type needs beside that. Weights are drawn so that each token of
the context moves what comes after it.
"""

import re
from typing import Any

import torch
from torch import nn
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from tests import models

Settings = dict[str, Any]
ALPHABET = "0123456789+-*/=() \nuserait?"
VOCABULARY = len(models.SPECIAL) + len(ALPHABET)
POSITIONS, WINDOW = 256, 8
MOST_LAYERS = 8

SIZES: tuple[tuple[str, int], ...] = (
    (r"vocab_size|vocab_size_per_layer_input|decoder_vocab_size|unpadded_vocab_size", VOCABULARY),
    (
        r"hidden_size|d_model|n_embd|emb_dim|embedding_size|word_embed_proj_dim|input_embedding_size|embedding_dim",
        32,
    ),
    (
        r"output_embedding_size|lru_width|dim_model_base|attention_hidden_size|mamba_d_ssm"
        r"|backbone_hidden_size|hidden_size_global|adapter_(in|out)_dim",
        32,
    ),
    (
        r"intermediate_size|intermediate_size_mlp|dense_intermediate_size|ffn_hidden_size|.*ffn_dim"
        r"|d_inner|dff|dim_ff|feed_forward_size|shared_intermediate_size|n_inner",
        48,
    ),
    (
        r".*moe_intermediate_size|shared_experts?_intermediate_size|expert_ffn_hidden_size"
        r"|moe_shared_expert_intermediate_size|hidden_size_per_layer_input|router_hidden_size",
        16,
    ),
    (
        r"num_attention_heads|n_heads?|num_heads|.*attention_heads|num_query_groups|attention_heads",
        4,
    ),
    (
        r"head_dim|.*_head_dim|v_head_dim|dim_head|d_head|kv_channels|attention_head_size|mamba_d_head|mamba_headdim",
        8,
    ),
    (r"linear_num_key_heads|linear_num_value_heads|linear_num_heads|index_n_heads", 4),
    (
        r"q_lora_rank|kv_lora_rank|o_lora_rank|adapter_rank|laurel_rank|gated_norm_rank|hc_lowrank|d_rel",
        8,
    ),
    (r"num_experts|n_routed_experts|num_local_experts|moe_num_experts", 4),
    (r"num_experts_per_tok(en)?|moe_topk|moe_k", 2),
    (r"topk_group|n_group|num_expert_group|n_groups|mamba_n_groups|mamba_ngroups|o_groups", 1),
    (r"zero_expert_num", 2),
    (r"state_size|.*_state_size|mamba_d_state|mamba_n_heads|mamba_num_heads", 8),
    (r"time_step_rank|mamba_dt_rank|rotary_dim", 4),
    (r".*chunk_size|block_size|index_block_size", WINDOW),
    (
        r"max_position_embeddings|n_positions|max_seq_len|n_ctx|model_max_length|context_length",
        POSITIONS,
    ),
    (
        r"sliding_window(_size)?|attention_window_size|window_size|local_attention"
        r"|attention_chunk_size|keep_window_size|rel_extent|local_attention_window_len",
        WINDOW,
    ),
    (r"index_topk", 64),
    (r"image_size", 16),
    (r"encoder_hash_byte_group_vocab", 50),
)
"""Names of sizes and what they are cut to."""

KEY_HEADS = r"num_key_value_heads|num_kv_heads|swa_num_key_value_heads"
LAYERS = (
    r"num_hidden_layers|n_layers?|num_layers|(en|de)coder_layers|num_(en|de)coder_layers|num_blocks"
)
KEPT = r"chunk_size_feed_forward|chunk_size_lm_head|classifier_.*|num_codebooks"

_ROPE = {"rope_type": "default", "rope_theta": 10000.0}
_INDEXED = {
    "indexer_n_heads": 4, "indexer_kv_heads": 1, "indexer_head_dim": 8, "indexer_budget": 64,
    "indexer_compress_ratio": 4,
}  # fmt: skip
_MOE = {
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
    "n_shared_experts": 1,
}
_SLIDING = {
    "swa_num_attention_heads": 4, "swa_num_key_value_heads": 4, "swa_q_lora_rank": 8,
    "swa_kv_lora_rank": 8,
    "swa_head_dim": 16, "swa_qk_nope_head_dim": 8, "swa_v_head_dim": 8,
}  # fmt: skip
EXCEPTIONS: dict[str, Settings] = {
    "bamba": {"attn_layer_indices": [1], "num_hidden_layers": 3},
    "cohere_compass_text": {"rope_parameters": {"full_attention": _ROPE,
    "sliding_attention": _ROPE}},
    "dbrx": {
        "attn_config": {"rope_theta": 1e4, "kv_n_heads": 2, "clip_qkv": 8.0},
        "ffn_config": {"moe_num_experts": 4, "moe_top_k": 2},
    },
    "deepseek_v2": _MOE,
    "dots1": _MOE,
    "dots3_note": {
        "text_config": _SLIDING,
        "audio_config": {"adapter_out_dim": 32, "adapter_input_size": 32},
        "vision_config": {"adapter_in_dim": 32, "adapter_out_dim": 32},
    },
    "dots3_note_text": _SLIDING,
    "falcon_h1": {"mamba_d_ssm": 64, "mamba_n_heads": 8, "mamba_d_head": 8},
    "gemma3n_text": {
        "num_hidden_layers": 6, "num_kv_shared_layers": 2, "layer_types": ["sliding_attention",
        "full_attention"] * 3,
        "intermediate_size": 48, "activation_sparsity_pattern": [0.5, 0.5, 0.0, 0.0, 0.0, 0.0],
    },
    "granitemoehybrid": {"layer_types": ["mamba", "attention", "mamba"], "num_hidden_layers": 3},
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "num_hidden_layers": 4},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv"], "num_hidden_layers": 3,
    "num_dense_layers": 1},
    "longcat_flash": {"qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "head_dim": 8,
    "qk_head_dim": 16},
    "mamba2": {"num_heads": 8, "head_dim": 8},
    "ministral": {"head_dim": 8},
    "nemotron": {"num_key_value_heads": 2, "head_dim": 8},
    "qwen4_exp": {"text_config": _INDEXED},
    "qwen4_exp_text": _INDEXED,
    "recurrent_gemma": {"num_hidden_layers": 3},
    "reformer": {"is_decoder": True, "axial_pos_embds_dim": [16, 16], "axial_pos_shape": [16, 16]},
    "xlstm": {"hidden_size": 128, "embedding_dim": 128},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "zamba": {
        "num_hidden_layers": 5, "attention_hidden_size": 64, "attention_head_dim": 16,
        "layers_block_type": ["linear_attention", "linear_attention", "hybrid", "linear_attention",
        "hybrid"],
    },
    "zamba2": {"mamba_headdim": 8, "attention_hidden_size": 64, "attention_head_dim": 16},
}  # fmt: skip
"""What a type needs beside the sizes."""

_LONG = {
    "rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 16,
    "factor": 16.0,
    "short_factor": [1.0, 1.1, 1.2, 1.3], "long_factor": [2.0, 3.0, 4.0, 5.0],
}  # fmt: skip
_YARN = {
    "rope_type": "yarn",
    "rope_theta": 1e4,
    "original_max_position_embeddings": 16,
    "factor": 16.0,
}
_LLAMA3 = {**_YARN, "rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}
_DYNAMIC = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}
_DECODER = {"is_decoder": True}
DECODERS = ["bert", "roberta", "xlm-roberta", "electra", "rembert", "roformer", "bert-generation"]
VARIANTS: dict[str, tuple[str, Settings]] = {
    "llama, linear RoPE": ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4,
    "factor": 4.0}}),
    "llama, dynamic RoPE": ("llama", {"rope_parameters": _DYNAMIC, "max_position_embeddings": 16}),
    "llama, longrope": ("llama", {"rope_parameters": _LONG}),
    "llama, yarn": ("llama", {"rope_parameters": _YARN}),
    "llama, llama3 RoPE": ("llama", {"rope_parameters": _LLAMA3}),
    "phi3, longrope": ("phi3", {"rope_parameters": _LONG, "original_max_position_embeddings": 16}),
    "phimoe, longrope": ("phimoe", {"rope_parameters": {**_LONG, "short_mscale": 1.0,
    "long_mscale": 1.2}}),
    "minicpm3, longrope": ("minicpm3", {"rope_parameters": _LONG}),
    "qwen2, yarn": ("qwen2", {"rope_parameters": _YARN}),
    "llama, biases and tied": (
        "llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True,
        "attention_dropout": 0.1},
    ),
    "llama, hidden_act gelu": ("llama", {"hidden_act": "gelu_pytorch_tanh"}),
    "qwen2, sliding": ("qwen2", {"use_sliding_window": True, "sliding_window": WINDOW,
    "max_window_layers": 1}),
    "mistral, no window": ("mistral", {"sliding_window": None}),
    "mixtral, jitter": ("mixtral", {"router_jitter_noise": 0.1, "output_router_logits": True}),
    "phimoe, jitter": ("phimoe", {"router_jitter_noise": 0.3, "input_jitter_noise": 0.1}),
    "gpt2, scaled by layer": (
        "gpt2", {"scale_attn_by_inverse_layer_idx": True, "reorder_and_upcast_attn": True,
        "tie_word_embeddings": False},
    ),
    "gpt_bigcode, many heads": ("gpt_bigcode", {"multi_query": False}),
    "falcon, alibi": ("falcon", {"alibi": True}),
    "falcon, new decoder": ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "gpt_neox, one after another": ("gpt_neox", {"use_parallel_residual": False}),
    "opt, norms behind": ("opt", {"do_layer_norm_before": False, "word_embed_proj_dim": 16}),
    "bloom, norms behind": ("bloom", {"apply_residual_connection_post_layernorm": True}),
    "llama4_text, temperature": ("llama4_text", {"floor_scale": 4, "attn_scale": 0.5,
    "attn_temperature_tuning": True}),
    "ministral3, temperature": (
        "ministral3", {"rope_parameters": {**_YARN, "llama_4_scaling_beta": 0.5, "type": "yarn"}},
    ),
    "gemma2, no caps": ("gemma2", {"attn_logit_softcapping": None,
    "final_logit_softcapping": None}),
    "gemma3_text, both ways": ("gemma3_text", {"use_bidirectional_attention": True}),
    "gemma4_text, shared keys": ("gemma4_text", {"num_kv_shared_layers": 2, "num_hidden_layers": 6,
        "layer_types": ["sliding_attention", "full_attention"] * 3}),
    "stablelm, norms of heads": ("stablelm", {"qk_layernorm": True, "use_parallel_residual": True}),
    "phi, norms of heads": ("phi", {"qk_layernorm": True}),
    "cohere2, large logits": ("cohere2", {"logit_scale": 0.5}),
    "mpt, no alibi": ("mpt", {"attn_config": {"alibi": False}}),
    "qwen2_moe, dense between": ("qwen2_moe", {"decoder_sparse_step": 2, "norm_topk_prob": True}),
    **{f"{name}, decoder": (name, _DECODER) for name in DECODERS},
    "big_bird, decoder": ("big_bird", {**_DECODER, "attention_type": "original_full"}),
    "xlm, causal": ("xlm", {"causal": True}),
}  # fmt: skip
"""Settings of a family that change its attention, positions or mixture, by what they are called in
the table.
"""


def families() -> list[str]:
    """The model types that AutoModelForCausalLM builds."""
    return list(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def small(model_type: str, **changes: Any) -> PreTrainedConfig:
    """A small configuration of this type."""
    config_class = CONFIG_MAPPING[model_type]
    return config_class(
        **merged(merged(shrunk(config_class), EXCEPTIONS.get(model_type, {})), changes)
    )


def merged(settings: Settings, changes: Settings) -> Settings:
    """Settings with changes; those of a configuration inside a configuration are merged too."""
    both = {**settings, **changes}
    for key, change in changes.items():
        if isinstance(change, dict) and settings.get(key):
            both[key] = merged(settings[key], change)
    return both


def shrunk(config_class: type[PreTrainedConfig]) -> Settings:
    """The arguments that make a configuration of this class small, those of the configurations in
    it too.
    """
    default = config_class()
    values = {name: value for name, value in vars(default).items() if not name.startswith("_")}
    settings: Settings = {"bos_token_id": 2, "eos_token_id": 4, "pad_token_id": 0}
    layers = _layers(values)
    for name, value in values.items():
        if name in config_class.sub_configs:
            if value is not None:
                settings[name] = shrunk(type(value))
        elif (cut := _cut(name, value, values, layers)) is not None:
            settings[name] = cut
    return {**settings, **_markers(values)}


def _cut(name: str, value: Any, values: Settings, layers: tuple[int, int]) -> Any:
    """What becomes of one setting; None if it stays."""
    before, kept = layers
    if isinstance(value, list) and len(value) == before and before > kept:
        return value[:kept]
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    if value == 0 or re.fullmatch(KEPT, name):
        return None
    if re.fullmatch(LAYERS, name):
        return min(value, kept)
    if re.fullmatch(KEY_HEADS, name):
        heads = values.get("num_attention_heads", 0)
        return 4 if value == heads else min(value, 2)
    for pattern, size in SIZES:
        if re.fullmatch(pattern, name):
            return min(value, size)
    return None


def _layers(values: Settings) -> tuple[int, int]:
    """The number of layers before and after: as few as show every kind of layer that there is."""
    count, kept = 2, 2
    for name, value in values.items():
        if re.fullmatch(LAYERS, name) and name != "encoder_layers":
            count = int(value)
            break
    for kinds in values.values():
        if isinstance(kinds, list) and len(kinds) == count > 2:
            kept = max(kept, _covering(kinds))
    return count, min(kept, count)


def _covering(kinds: list[Any]) -> int:
    """How many first layers hold every kind, if few enough."""
    names = list(map(str, kinds))
    needed = 1 + max(map(names.index, names))
    return needed if needed <= MOST_LAYERS else 2


def _markers(values: Settings) -> dict[str, int]:
    """Ids of images, sounds and the like, which lie beyond the vocabulary now, as its last
    tokens.
    """
    markers: dict[str, int] = {}
    for name, value in sorted(values.items()):
        beyond = isinstance(value, int) and value >= VOCABULARY
        if beyond and re.fullmatch(r"(?!(bos|eos|pad)_token_id$).*_token_(id|index)", name):
            markers[name] = VOCABULARY - 1 - len(markers)
    return markers


def build(config: PreTrainedConfig, seed: int = 0) -> PreTrainedModel:
    """The model of a configuration, in float32, with weights of our own."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        liven(model)
    return model.train()


STATE = r".*(A_log|dt_bias|time_|\.D$|rg_lru|recurrent_param|inv_freq|decay|lambda|altup|coef).*"
"""Parameters of recurrences, whose scale is not that of a matrix."""


@torch.no_grad()
def liven(model: PreTrainedModel) -> None:
    """Draw matrices large enough that contexts differ, and move vectors from their zeros and
    ones.
    """
    embeddings = {
        id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)
    }
    for name, parameter in model.named_parameters():
        if re.fullmatch(STATE, name):
            continue
        if parameter.dim() < 2:
            parameter.add_(0.1 * torch.randn_like(parameter))
            continue
        inputs = parameter[0].numel() if parameter.dim() == 2 else max(parameter.shape[-2:])
        scale = 0.35 if id(parameter) in embeddings else 1.5 / inputs**0.5
        parameter.copy_(scale * torch.randn_like(parameter))
