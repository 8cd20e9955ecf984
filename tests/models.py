"""Small models and tokenizers built in code, so that no test needs the Hub.

``model("llama")`` (or a name in recurrent_models) is a 2-layer random model; its weights are large
enough (std 0.4) that its distributions are far from uniform, and that a token at a wrong position,
or a mask that is off by one, moves every log-probability. ``tokenizer()`` has one token per
character, ``<pad>``, ``<s>``, ``<|im_start|>``, ``<|im_end|>`` (its end token), and a ChatML
template.
"""

import string

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from tests.recurrent_models import RECURRENT

ALPHABET = string.digits + string.ascii_letters + " \n" + string.punctuation
SPECIAL = ("<pad>", "<unk>", "<s>", "<|im_start|>", "<|im_end|>")

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content']"
    " }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

_SMALL: dict[str, object] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 256,
    "initializer_range": 0.4,
    "tie_word_embeddings": False,
}
_MOE = {"moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2, "head_dim": 8}
_GEMMA = {
    "head_dim": 8,
    "sliding_window": 4,
    "layer_types": ["sliding_attention", "full_attention"],
}

ARCHITECTURES: dict[str, tuple[str, dict[str, object]]] = {
    "llama": ("llama", _SMALL),
    "qwen2": ("qwen2", _SMALL),
    "qwen3": ("qwen3", {**_SMALL, "head_dim": 8}),
    "mistral": ("mistral", {**_SMALL, "sliding_window": 4}),
    "gemma3": ("gemma3_text", {**_SMALL, **_GEMMA, "query_pre_attn_scalar": 8}),
    "gpt2": (
        "gpt2",
        {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 256, "initializer_range": 0.4},
    ),
    "qwen3_moe": ("qwen3_moe", {**_SMALL, **_MOE}),
    "mixtral": (
        "mixtral",
        {**_SMALL, "num_local_experts": 4, "num_experts_per_tok": 2, "router_jitter_noise": 0.1},
    ),
}
"""Model type and configuration of each; GPT-2 keeps its dropout of 0.1, Mixtral has router
jitter.
"""


def tokenizer(
    *, chat: bool = True, bos: bool = False, pad: str | None = "<pad>", alphabet: str = ALPHABET
) -> PreTrainedTokenizerFast:
    """A character tokenizer; ``bos``: it puts ``<s>`` first and so does its template; ``pad``: a
    name or None.
    """
    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *alphabet])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    raw.decoder = decoders.Fuse()
    raw.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    if bos:
        raw.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", vocabulary["<s>"])]
        )
    result = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="<|im_end|>",
        pad_token=pad,
    )
    if chat:
        result.chat_template = ("{{ bos_token }}" if bos else "") + CHATML
    return result


def model(
    architecture: str = "llama", *, vocab_size: int | None = None, seed: int = 0, **config: object
) -> PreTrainedModel:
    """A random 2-layer model in float32 with the tokenizer's vocabulary; further arguments change
    its configuration.
    """
    model_type, settings = {**ARCHITECTURES, **RECURRENT}[architecture]
    size = vocab_size or len(SPECIAL) + len(ALPHABET)
    tokens = {"bos_token_id": 2, "eos_token_id": 4, "pad_token_id": 0}
    shape = AutoConfig.for_model(model_type, **{**settings, "vocab_size": size, **tokens, **config})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        built = AutoModelForCausalLM.from_config(shape).train()
        _move_vectors(built)
        return built


def other(model_type: str, *, seed: int = 0, **settings: object) -> PreTrainedModel:
    """A random 2-layer model of any type, as `model` makes them."""
    size = len(SPECIAL) + len(ALPHABET)
    tokens = {"bos_token_id": 2, "eos_token_id": 4, "pad_token_id": 0}
    shape = AutoConfig.for_model(model_type, **{**_SMALL, "vocab_size": size, **tokens, **settings})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        built = AutoModelForCausalLM.from_config(shape).train()
        _move_vectors(built)
        return built


@torch.no_grad()
def _move_vectors(built: PreTrainedModel) -> None:
    """Biases and the weights of norms start as zeros and ones, so that nothing would see them left
    out.
    """
    for parameter in built.parameters():
        if parameter.dim() == 1:
            parameter.add_(0.1 * torch.randn_like(parameter))
