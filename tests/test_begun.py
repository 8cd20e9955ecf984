"""What a prefill stands behind: all that was asked, as the template says it where a generation
begins.
"""

import logging
from typing import Any

import pytest

from llmpolicy.messages import Conversation
from llmpolicy.policies.causal_lm.codec import Codec
from tests.chats import chat

LAST = """{%- set system = messages[0].content if messages[0].role == 'system' %}
{%- set talk = messages[1:] if system else messages %}{{ bos_token }}{% for m in talk %}{% if m.role == 'user' %}
{%- if loop.last and tools %}{{ '[TOOLS]' + tools | map(attribute='name') | join(',') }}{% endif %}
{%- if loop.last and system %}{{ '[INST] ' + system + '\n\n' + m.content + ' [/INST]' }}
{%- else %}{{ '[INST] ' + m.content + ' [/INST]' }}{% endif %}{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"""
"""The shape of Mistral-7B v0.3's: the system prompt stands before the last message, if that is the
user's.
"""

SWITCHED = """{%- if messages[0].role == 'system' %}<|im_start|>system
{{ messages[0].content.replace('/no_think', '').strip() }}<|im_end|>\n{% endif %}{% for m in messages %}
{%- if m.role != 'system' %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"""
"""The shape of SmolLM3's: a word in the system prompt turns thinking off, and is taken out."""

SYSTEM, USER = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}


def written(template: str, messages: list[dict[str, str]], **options: Any) -> str:
    tokenizer = chat(
        "chatml", special=["[INST]", "[/INST]"], eos="</s>" if template is LAST else "<|im_end|>"
    )
    tokenizer.chat_template = template
    codec = Codec(tokenizer, None, vocabulary=len(tokenizer))
    return codec.raw(codec.encode([Conversation(messages, **options)])[0])


@pytest.mark.parametrize("prefill", ["So", " So", "So "])
def test_a_system_prompt_that_only_an_open_turn_has_is_kept_before_a_prefill(
    prefill: str, caplog: pytest.LogCaptureFixture
) -> None:
    begun = {"role": "assistant", "content": prefill}
    asked = written(LAST, [SYSTEM, USER])
    assert asked == "<s>[INST] Be brief.\n\n2+2? [/INST]"
    with caplog.at_level(logging.WARNING, "llmpolicy"):
        assert written(LAST, [SYSTEM, USER, begun]) == f"{asked} {prefill}"
        earlier = [USER, {"role": "assistant", "content": "4"}]
        assert (
            written(LAST, [SYSTEM, *earlier, USER, begun])
            == f"<s>[INST] 2+2? [/INST] 4</s>[INST] Be brief.\n\n2+2? [/INST] {prefill}"
        )
        tools = [{"name": "add"}]
        assert (
            written(LAST, [USER, begun], tools=tools)
            == f"<s>[TOOLS]add[INST] 2+2? [/INST] {prefill}"
        )
    assert not caplog.messages
    assert written(LAST, [USER, begun]) == f"<s>[INST] 2+2? [/INST] {prefill}"


@pytest.mark.parametrize(
    "system", ["Be brief. /no_think", "/no_think Be brief.", "Be /no_think\nbrief.", "/no_think"]
)
def test_a_word_for_the_template_may_be_taken_out(
    system: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "llmpolicy"):
        said = written(SWITCHED, [{"role": "system", "content": system}, USER])
    assert "no_think" not in said
    assert not caplog.messages


def test_words_that_are_left_out_are_still_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "llmpolicy"):
        written(
            "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{%"
            " endfor %}",
            [SYSTEM, USER],
        )
    assert "the chat template leaves out message 0 (system)" in caplog.text
