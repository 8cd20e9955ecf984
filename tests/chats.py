"""Tokenizers with chat templates of the shapes that are met in practice, built in code: one token
per character.

``chat("qwen3")`` has that family's special tokens and the shape of its template, written anew and
short.
"""

import re
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trl
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

ALPHABET = string.printable[:95] + "\n"

_TURNS = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
_NEXT = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"

TEMPLATES = {
    "chatml": _TURNS + _NEXT,
    "qwen3": (
        """{% for m in messages %}{% set text = m.content if m.content is string else '' %}
{%- if m.role == 'assistant' %}{% set thought = '' %}
{%- if '</think>' in text %}{% set thought = text.split('</think>')[0].split('<think>')[-1].strip('\n') %}
{%- set text = text.split('</think>')[-1].lstrip('\n') %}{% endif %}
{%- if loop.last or thought %}{{ '<|im_start|>assistant\n<think>\n' + thought + '\n</think>\n\n' + text }}
{%- else %}{{ '<|im_start|>assistant\n' + text }}{% endif %}{{ '<|im_end|>\n' }}
{%- else %}{{ '<|im_start|>' + m.role + '\n' + text + '<|im_end|>\n' }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}
{%- if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"""
    ),
    "llama2": (
        "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token + '[INST] ' +"
        " m.content.strip() + ' [/INST]' }}{% elif m.role == 'assistant' %}{{ ' ' +"
        " m.content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
    ),
    "llama3": (
        "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
        "{{ m.content | trim }}<|eot_id|>{% endfor %}"
        "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
    ),
    "mistral": (
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST]{{ m.content"
        " }}[/INST]{% elif m.role == 'system' %}[SYSTEM_PROMPT]{{ m.content }}[/SYSTEM_PROMPT]{%"
        " else %}{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
    ),
    "gemma": (
        "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not"
        " supported') }}{% endif %}{% for m in messages %}<start_of_turn>{{ 'model' if m.role =="
        " 'assistant' else m.role }}\n{% if m.content is string %}{{ m.content | trim }}{% else"
        " %}{% for part in m.content %}{{ part.text | trim }}{% endfor %}{% endif"
        " %}<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{%"
        " endif %}"
    ),
    "harmony": (
        "<|start|>system<|message|>Valid channels: analysis, commentary, final.<|end|>{% for m in"
        " messages %}{% if m.role == 'assistant' %}<|start|>assistant<|channel|>final<|message|>{{"
        " m.content }}{% if loop.last %}<|return|>{% else %}<|end|>{% endif %}{% else %}<|start|>{{"
        " m.role }}<|message|>{{ m.content }}<|end|>{% endif %}{% endfor %}{% if"
        " add_generation_prompt %}<|start|>assistant{% endif %}"
    ),
    "r1": (
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}<|Assistant|>{{"
        " m.content.split('</think>')[-1] }}{{ eos_token }}{% else %}<|User|>{{ m.content }}{%"
        " endif %}{% endfor %}{% if add_generation_prompt %}<|Assistant|><think>\n{% endif %}"
    ),
    "phi": (
        "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
    ),
    "parts": (
        "{% for m in messages %}<|im_start|>{{ m.role }}:{% for part in m.content %}{% if part.type"
        " == 'text' %} {{ part.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}{% if"
        " add_generation_prompt %}<|im_start|>assistant:{% endif %}"
    ),
    "upper": (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | upper }}<|im_end|>\n{%"
        " endfor %}" + _NEXT
    ),
    "first": "<|im_start|>user\n{{ messages[0].content }}<|im_end|>\n" + _NEXT,
    "earlier": (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
        "{% if not loop.last or m.role != 'assistant' %}<|im_end|>\n{% endif %}{% endfor %}" + _NEXT
    ),
    "bos_twice": "{{ bos_token }}{{ bos_token }}" + _TURNS + _NEXT,
    "broken": "{% for m in messages %}{{ m.role + 1 }}{% endfor %}",
}
"""The shapes by the name of their family; each reads ``m.content`` as that family does."""

MARKS = {
    "qwen3": ("<|im_start|>",),
    "llama3": ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    "mistral": ("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
    "gemma": ("<start_of_turn>", "<end_of_turn>"),
    "harmony": (
        "<|start|>",
        "<|end|>",
        "<|message|>",
        "<|channel|>",
        "<|constrain|>",
        "<|return|>",
        "<|call|>",
    ),
    "r1": ("<|User|>", "<|Assistant|>"),
    "phi": ("<|user|>", "<|assistant|>", "<|system|>", "<|end|>"),
    "llama2": (),
}
ENDS = {
    "llama3": "<|eot_id|>",
    "gemma": "<end_of_turn>",
    "harmony": "<|return|>",
    "phi": "<|end|>",
    "llama2": "</s>",
}
ENDS |= {"mistral": "</s>", "r1": "</s>"}


def chat(
    name: str = "chatml",
    *,
    special: Sequence[str] = (),
    words: Sequence[str] = (),
    eos: str | None = None,
    bos: str | None = "<s>",
    added: str = "",
    **more: Any,
) -> PreTrainedTokenizerFast:
    """A tokenizer with the template of that shape; ``words`` are added tokens that are not special,
    ``added`` is the post-processor's pattern around a text, such as ``$A <|end|>``."""
    eos = eos or ENDS.get(name, "<|im_end|>")
    marks = list(
        dict.fromkeys(
            [
                "<pad>",
                "<unk>",
                eos,
                *([bos] if bos else []),
                "<|im_start|>",
                *MARKS.get(name, ()),
                *special,
            ]
        )
    )
    vocabulary = {token: index for index, token in enumerate([*marks, *words, *ALPHABET])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    raw.decoder = decoders.Fuse()
    raw.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in marks])
    raw.add_tokens([AddedToken(token, special=False, normalized=False) for token in words])
    if added:
        used = [(token, vocabulary[token]) for token in added.split() if token in vocabulary]
        raw.post_processor = processors.TemplateProcessing(single=added, special_tokens=used)
    made = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        unk_token="<unk>",
        eos_token=eos,
        pad_token="<pad>",
        bos_token=bos,
        **more,
    )
    made.chat_template = TEMPLATES[name]
    return made


def pieces(
    kind: str, *, special: Sequence[str] = (), chat_template: str | None = None
) -> PreTrainedTokenizerFast:
    """A tokenizer whose tokens begin with the blank before a word, in the shapes of SentencePiece
    and its neighbours.
    """
    marks = ["<unk>", "<s>", "</s>", *special]
    if kind == "wordpiece":
        letters = [
            *ALPHABET.replace(" ", ""),
            *(f"##{letter}" for letter in ALPHABET.replace(" ", "")),
        ]
        raw = Tokenizer(
            models.WordPiece({t: i for i, t in enumerate([*marks, *letters])}, unk_token="<unk>")
        )
        raw.pre_tokenizer, raw.decoder = (
            pre_tokenizers.WhitespaceSplit(),
            decoders.WordPiece(cleanup=False),
        )
    else:
        letters = [*ALPHABET.replace(" ", ""), "▁", "▁▁", "▁▁▁▁"]
        merges = [("▁", "▁"), ("▁▁", "▁▁")]
        raw = Tokenizer(
            models.BPE({t: i for i, t in enumerate([*marks, *letters])}, merges, unk_token="<unk>")
        )
        blanks = normalizers.Replace(" ", "▁")
        if kind == "llama2":
            raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), blanks])
            parts = [
                decoders.Replace("▁", " "),
                decoders.ByteFallback(),
                decoders.Fuse(),
                decoders.Strip(" ", 1, 0),
            ]
            raw.decoder = decoders.Sequence(parts)
        elif kind == "gemma":
            raw.normalizer, raw.decoder = (
                blanks,
                decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()]),
            )
        else:  # "first" or "always", where a blank of its own is put before a text
            raw.pre_tokenizer = pre_tokenizers.Metaspace("▁", kind, split=False)
            raw.decoder = decoders.Metaspace("▁", kind, split=False)
    raw.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in marks])
    made = PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
    made.chat_template = chat_template
    return made


STOPS = {
    "<|im_end|>",
    "<|eot_id|>",
    "<|END_OF_TURN_TOKEN|>",
    "<｜end▁of▁sentence｜>",
    "<end_of_turn>",
    "<turn|>",
    "<|return|>",
    "<|call|>",
    "<|user|>",
    "<|observation|>",
    "<|tool_response>",
    "<end_of_utterance>",
    "<|endoftext|>",
}
"""The tokens that end a generation, of the families that TRL has templates of."""

_MARK = re.compile(
    r"<\|[^<>|\s]{1,40}\|?>|<[a-z_]{1,20}\|>|<｜[^<>\s]{1,40}｜>|<(?:start|end)_of_\w+>"
    r"|<BOS_TOKEN>|</?(?:think|tool_call|tool_response)>|\[gMASK\]|<sop>"
)
_PIECES = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""What Qwen and Llama 3 take apart before they merge bytes, but for English contractions."""


def real(name: str) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer with a real template that TRL holds, its special tokens, and merges
    learned from that template.
    """
    template = (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text()
    marks = sorted({*_MARK.findall(template), "<|endoftext|>", "<pad>", "<s>"})
    family = "phi3" if name.startswith("phi3") else name
    ends = ["<|end|>"] if family == "phi3" else sorted(STOPS.intersection(marks))
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    raw.decoder = decoders.ByteLevel()
    learner = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator([template.replace("\\n", "\n")] * 2, learner)
    raw.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    end = next(
        (mark for mark in ends if mark not in ("<|call|>", "<|endoftext|>")), "<|endoftext|>"
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token=end,
        pad_token="<pad>",
        bos_token="<s>",
        chat_template=template,
    )
