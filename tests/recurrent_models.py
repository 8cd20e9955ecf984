"""Small recurrent and hybrid language models: model type and configuration, with both kinds of
layers where there are two.

Chunks and windows are shorter than the rows of tests, so that a state goes over from one to the
next.
"""

from transformers import CONFIG_MAPPING

_BASE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "tie_word_embeddings": False,
}
_DELTA = {
    "head_dim": 8,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "layer_types": ["linear_attention", "full_attention", "linear_attention"],
}
_EXPERTS = {"moe_intermediate_size": 16, "num_experts_per_tok": 2, "num_experts": 4}
_SSM = {
    "mamba_n_heads": 4,
    "mamba_d_head": 16,
    "mamba_d_state": 8,
    "mamba_expand": 2,
    "mamba_chunk_size": 8,
}
_PURE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "state_size": 8,
    "initializer_range": 0.2,
    "tie_word_embeddings": False,
}
_KIMI = {
    "moe_intermediate_size": 16,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "num_key_value_heads": 4,
    "layer_types": ["linear_attention", "full_attention", "linear_attention"],
    "mlp_layer_types": ["dense", "sparse", "sparse"],
}

_NGRAMS = {
    "ple_layer_ids": [1],
    "ple_embed_dim": 16,
    "ngram_vocab_size_base": 50,
    "make_ngram_vocab_size_divisible_by": 8,
    "heads_per_ngram": 2,
    "split_ngram_parts": 2,
    "indexer_n_heads": 2,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 8,
    "indexer_budget": 64,  # beyond it attention chooses its tokens
    "indexer_compress_ratio": 2,
}

_INKLING = {
    **_BASE,
    "num_hidden_layers": 2,
    "head_dim": 8,
    "swa_num_attention_heads": 4,
    "swa_num_key_value_heads": 2,
    "swa_head_dim": 8,
    "sliding_window_size": 6,
    "d_rel": 4,
    "rel_extent": 16,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "layer_types": ["hybrid_sliding", "hybrid"],
    "logits_mup_width_multiplier": 1.0,
    "route_scale": 1.0,
}
_LOOP = {
    "num_hidden_layers": 3,
    "layer_types": ["hybrid_sliding", "hybrid", "hybrid"],
    "loop_layer_index_start": 1,
    "loop_layer_index_end": 2,
    "loop_num_passes": 2,
    "loop_gate_rank": 4,
    "n_layers_per_attn_res_block": 1,
}

RECURRENT: dict[str, tuple[str, dict[str, object]]] = {
    "qwen3_5": ("qwen3_5_text", {**_BASE, **_DELTA}),
    "qwen3_5_moe": (
        "qwen3_5_moe_text",
        {**_BASE, **_DELTA, **_EXPERTS, "shared_expert_intermediate_size": 16},
    ),
    "qwen3_next": (
        "qwen3_next",
        {**_BASE, **_DELTA, **_EXPERTS, "shared_expert_intermediate_size": 16},
    ),
    "lfm2": ("lfm2", {**_BASE, "layer_types": ["conv", "full_attention", "conv"]}),
    "lfm2_moe": (
        "lfm2_moe",
        {
            **_BASE,
            **_EXPERTS,
            "num_dense_layers": 1,
            "layer_types": ["conv", "full_attention", "conv"],
        },
    ),
    "lfm3": (
        "lfm3",
        {
            **_BASE,
            "head_dim": 8,
            "sliding_window": 6,
            "num_hidden_layers": 4,
            "layer_types": ["conv", "sliding_attention", "conv", "full_attention"],
        },
    ),
    "falcon_h1": ("falcon_h1", {**_BASE, **_SSM, "mamba_d_ssm": 64, "num_hidden_layers": 2}),
    "bamba": ("bamba", {**_BASE, **_SSM, "attn_layer_indices": [1]}),
    "granitemoehybrid": (
        "granitemoehybrid",
        {
            **_BASE,
            **_SSM,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "shared_intermediate_size": 16,
            "attention_multiplier": 0.3,
            "layer_types": ["mamba", "attention", "mamba"],
        },
    ),
    "jamba": (
        "jamba",
        {
            **_BASE,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "expert_layer_period": 2,
            "expert_layer_offset": 1,
            "num_experts": 4,
            "mamba_d_state": 8,
            "mamba_dt_rank": 4,
            "use_mamba_kernels": False,
        },
    ),
    "nemotron_h": (
        "nemotron_h",
        {
            **_BASE,
            "head_dim": 8,
            "layers_block_type": ["mamba", "attention", "mlp", "mamba"],
            "num_hidden_layers": 4,
            "ssm_state_size": 8,
            "mamba_num_heads": 4,
            "mamba_head_dim": 16,
            "n_groups": 2,
            "chunk_size": 8,
            "use_mamba_kernels": False,
        },
    ),
    "minimax": (
        "minimax",
        {
            **_BASE,
            "head_dim": 8,
            "num_local_experts": 4,
            "block_size": 8,
            "layer_types": ["linear_attention", "full_attention", "linear_attention"],
        },
    ),
    "zamba": (
        "zamba",
        {
            **_BASE,
            "num_hidden_layers": 4,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "n_mamba_heads": 2,
            "num_key_value_heads": 4,
            "mamba_d_state": 8,
            "mamba_dt_rank": 4,
            "use_mamba_kernels": False,
        },
    ),
    "zamba2": (
        "zamba2",
        {
            **_BASE,
            "num_key_value_heads": 4,
            "layers_block_type": ["mamba", "hybrid", "mamba"],
            "n_mamba_heads": 4,
            "mamba_d_state": 8,
            "chunk_size": 8,
            "adapter_rank": 4,
            "use_mamba_kernels": False,
        },
    ),
    "olmo_hybrid": (
        "olmo_hybrid",
        {**_BASE, **_DELTA, "linear_num_value_heads": 2},
    ),
    "kimi_linear": ("kimi_linear", {**_BASE, **_KIMI, "linear_head_dim": 8, "linear_num_heads": 4}),
    "bailing_hybrid": ("bailing_hybrid", {**_BASE, **_KIMI, "head_dim": 16}),
    "mamba": ("mamba", {**_PURE, "time_step_rank": 4}),
    "falcon_mamba": ("falcon_mamba", {**_PURE, "time_step_rank": 4}),
    "mamba2": ("mamba2", {**_PURE, "num_heads": 4, "head_dim": 16, "n_groups": 2, "chunk_size": 8}),
    "rwkv": (
        "rwkv",
        {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "attention_hidden_size": 32,
            "intermediate_size": 48,
            "context_length": 256,
        },
    ),
    "xlstm": (
        "xlstm",
        {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_heads": 2,
            "chunk_size": 8,
            "mode": "train",
            "autocast_kernel_dtype": "float32",
        },
    ),
    "recurrent_gemma": (
        "recurrent_gemma",
        {
            **_BASE,
            "lru_width": 32,
            "attention_window_size": 16,
            "block_types": ["recurrent", "attention"],
        },
    ),
    "inkling": (
        "inkling_text",
        {**_INKLING, "mlp_layer_types": ["dense", "sparse"], "n_shared_experts": 1},
    ),
    "inkling2": ("inkling2_text", {**_INKLING, "unpadded_vocab_size": 101}),
    "inkling2_loop": ("inkling2_loop_text", {**_INKLING, "unpadded_vocab_size": 101, **_LOOP}),
    "lara_mini": (
        "lara_mini",
        {
            **_BASE,
            **_DELTA,
            **_EXPERTS,
            "shared_expert_intermediate_size": 16,
            "sliding_window": 5,
            "layer_types": ["linear_attention", "sliding_attention", "full_attention"],
        },
    ),
    "zaya": (
        "zaya",
        {**_BASE, **_EXPERTS, "head_dim": 8, "router_hidden_size": 8, "num_experts_per_tok": 1},
    ),
    "qwen4_exp": (
        "qwen4_exp_text",
        {
            **_BASE,
            **_DELTA,
            **_EXPERTS,
            "shared_expert_intermediate_size": 16,
            "hc_count": 2,
            "hc_lowrank": 4,
            **_NGRAMS,
        },
    ),
}
for _newer in ("inkling2_loop", "lara_mini"):  # of transformers 5.24
    if RECURRENT[_newer][0] not in CONFIG_MAPPING:
        del RECURRENT[_newer]
