"""Text in, text out: prompts are what was asked, as the template means it, and rewards read what a
person would read.
"""

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import trl

from llmpolicy.environments.prompts import PromptEnvironment
from llmpolicy.episode import Episode, Turn
from llmpolicy.errors import PolicyError
from llmpolicy.evaluation.answers import samples_of
from llmpolicy.grpo import step
from llmpolicy.grpo.generation import acted, samples
from llmpolicy.messages import Conversation
from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.policies.causal_lm.codec import Codec
from llmpolicy.rewards import Rewards, RewardSpec
from llmpolicy.run.episodes import episode_columns
from llmpolicy.tasks import Row
from llmpolicy.types import Action, RowScore, Sample
from reward_fns import formats, math_answer
from reward_fns.tool_call import match
from tests.chats import TEMPLATES, chat, pieces
from tests.models import model
from tests.training import trainer

QUESTION = {"role": "user", "content": "What is 2+2?"}
PARTS = {
    "role": "user",
    "content": [{"type": "text", "text": "What is"}, {"type": "text", "text": " 2+2?"}],
}
WHOLE = [name for name in TEMPLATES if name != "broken"]


def codec(
    name: str = "chatml",
    *,
    kwargs: dict[str, Any] | None = None,
    stop: tuple[str, ...] = (),
    **how: Any,
) -> Codec:
    tokenizer = chat(name, **how)
    return Codec(tokenizer, None, vocabulary=len(tokenizer), stop=stop, chat_template_kwargs=kwargs)


def rendered(made: Codec, *messages: dict[str, Any], **options: Any) -> str:
    return made.raw(made.encode([Conversation(messages, **options)])[0])


def stock(made: Codec, messages: list[dict[str, Any]], **how: Any) -> str:
    return str(
        made.tokenizer.apply_chat_template(
            messages, tokenize=False, **{**made.chat_template_kwargs, **how}
        )
    )


def read(made: Codec, text: str, prompt: str = "") -> str:
    ids = made.tokenizer(text, add_special_tokens=False)["input_ids"]
    before = made.tokenizer(prompt, add_special_tokens=False)["input_ids"]
    assert made.raw(ids) == text  # the tokenizer knows all of it
    return made.decode(ids, before)


class TestPrompt:
    @pytest.mark.parametrize("name", [name for name in WHOLE if name not in ("parts", "bos_twice")])
    def test_a_prompt_is_what_transformers_renders(self, name):
        assert rendered(codec(name), QUESTION) == stock(
            codec(name), [QUESTION], add_generation_prompt=True
        )

    @pytest.mark.parametrize("name", [name for name in WHOLE if name not in ("parts", "gemma")])
    def test_parts_of_text_are_the_text_for_a_template_that_takes_texts(self, name):
        made = codec(name)
        assert rendered(made, PARTS) == rendered(made, QUESTION)
        system = {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}
        if name != "first":
            assert rendered(made, system, PARTS) == rendered(
                made, {**system, "content": "Be brief."}, QUESTION
            )

    @pytest.mark.parametrize("name", ["parts", "gemma"])
    def test_parts_go_as_they_are_to_a_template_that_takes_parts(self, name):
        assert rendered(codec(name), PARTS) == stock(
            codec(name), [PARTS], add_generation_prompt=True
        )

    def test_a_text_becomes_a_part_for_a_template_that_takes_parts_alone(self):
        whole = {"role": "user", "content": [{"type": "text", "text": QUESTION["content"]}]}
        assert rendered(codec("parts"), QUESTION) == stock(
            codec("parts"), [whole], add_generation_prompt=True
        )

    @pytest.mark.parametrize("kind", ["image", "image_url", "video", "input_audio"])
    def test_what_is_no_text_is_refused_in_words(self, kind):
        content = [
            {"type": kind, kind: "x.png", "text": None},
            {"type": "text", "text": "What is it?"},
        ]
        with pytest.raises(
            PolicyError,
            match=rf"prompt 0: message 0 \(user\) has a part of type '{kind}'.*text alone",
        ):
            codec().encode([[{"role": "user", "content": content}]])

    def test_fields_that_are_none_are_absent(self):
        filled = {**QUESTION, "tool_calls": None, "name": None}
        assert rendered(codec(), filled) == rendered(codec(), QUESTION)
        called = {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}],
        }
        assert "None" not in rendered(codec(), QUESTION, called, {"role": "tool", "content": "4"})

    def test_a_template_may_show_a_question_in_its_own_way(self):
        assert "WHAT IS 2+2?" in rendered(codec("upper"), QUESTION)
        assert rendered(codec("first"), QUESTION).endswith("<|im_start|>assistant\n")

    def test_a_question_that_a_template_leaves_out_is_refused(self):
        with pytest.raises(PolicyError, match="leaves out message 2"):
            rendered(
                codec("first"),
                QUESTION,
                {"role": "assistant", "content": "4"},
                {"role": "user", "content": "5+5?"},
            )

    def test_an_error_inside_a_template_is_a_sentence(self):
        with pytest.raises(
            PolicyError,
            match="prompt 0: the chat template refuses these messages .can only concatenate",
        ):
            codec("broken").encode([[QUESTION]])
        with pytest.raises(PolicyError, match="System role not supported"):
            codec("gemma").encode([[{"role": "system", "content": "s"}, QUESTION]])

    def test_what_a_template_leaves_out_is_said(self, caplog):
        with caplog.at_level(logging.WARNING, "llmpolicy"):
            rendered(codec("chatml", kwargs={"enable_thinkng": False}), QUESTION)
            rendered(
                codec("chatml"),
                QUESTION,
                tools=[{"type": "function", "function": {"name": "weather"}}],
            )
        assert "does not read the argument 'enable_thinkng'" in caplog.text
        assert "leaves out the tools" in caplog.text

    def test_a_row_may_have_arguments_of_its_own(self):
        off = rendered(codec("qwen3"), QUESTION, enable_thinking=False)
        assert (
            off
            == rendered(codec("qwen3", kwargs={"enable_thinking": False}), QUESTION)
            != rendered(codec("qwen3"), QUESTION)
        )


class TestPrefill:
    @pytest.mark.parametrize("name", [name for name in WHOLE if name != "upper"])
    @pytest.mark.parametrize("prefill", ["The answer is", "Answer: ", "4", "a"])
    def test_it_is_what_the_text_ends_in(self, name, prefill):
        written = rendered(codec(name), QUESTION, {"role": "assistant", "content": prefill})
        parts = rendered(
            codec(name),
            QUESTION,
            {"role": "assistant", "content": [{"type": "text", "text": prefill}]},
        )
        assert written.endswith(prefill)
        assert parts == written

    @pytest.mark.parametrize("thinking", [None, True, False])
    @pytest.mark.parametrize(
        "prefill", ["The answer is", "<think>\nWell", "<think>\nWell\n</think>\n\nThe answer"]
    )
    def test_no_thinking_that_nobody_asked_for_stands_before_it(self, thinking, prefill):
        made = codec("qwen3", kwargs={} if thinking is None else {"enable_thinking": thinking})
        begun = stock(made, [QUESTION], add_generation_prompt=True)
        assert (
            rendered(made, QUESTION, {"role": "assistant", "content": prefill}) == begun + prefill
        )

    def test_a_thinking_block_that_every_generation_opens_is_not_opened_twice(self):
        for prefill in ("<think>\nWell", "<think>Well"):
            written = rendered(codec("r1"), QUESTION, {"role": "assistant", "content": prefill})
            assert written == "<s><|User|>What is 2+2?<|Assistant|>" + prefill

    @pytest.mark.parametrize("field", ["thinking", "reasoning_content", "reasoning"])
    @pytest.mark.parametrize("name", ["qwen3", "glm4moe", "lfm2_2_5", "qwen3_5_think", "gptoss"])
    def test_thinking_that_the_prompt_gives_stands_before_it(self, name, field, caplog):
        made = known(name)
        own = "thinking" if name in ("gptoss", "lfm2_2_5") else "reasoning_content"
        began = {"role": "assistant", own: "because I say so", "content": "It is"}
        whole = stock(made, [QUESTION, began], continue_final_message=True)
        given = {"role": "assistant", field: "because I say so"}
        with caplog.at_level(logging.WARNING, "llmpolicy"):
            assert rendered(made, QUESTION, {**given, "content": "It is"}) == whole
            for content in ({}, {"content": None}, {"content": ""}):
                assert rendered(made, QUESTION, {**given, **content}) == whole.removesuffix("It is")
        assert (
            "because I say so" in whole
            and "thinking" not in caplog.text
            and "a generation" not in caplog.text
        )

    def test_thinking_that_a_template_leaves_out_is_said(self, caplog):
        for field in ("thinking", "reasoning_content", "reasoning"):
            with caplog.at_level(logging.WARNING, "llmpolicy"):
                talk = QUESTION, {"role": "assistant", field: "because", "content": "It is"}
                assert rendered(codec("chatml"), *talk).endswith("assistant\nIt is")
            [record] = caplog.records
            assert "leaves out the thinking of message 1 (assistant) of prompt 0" in record.message
            caplog.clear()

    @pytest.mark.parametrize(
        ("prefill", "written"),
        [
            ("<think>\nWell", "<|channel|>analysis<|message|>Well"),
            ("<think>", "<|channel|>analysis<|message|>"),
            (
                "<think>\nWell\n</think>\n\nIt is",
                (
                    "<|channel|>analysis<|message|>Well<|end|><|start|>assistant<|channel|>final<|message|>It is"
                ),
            ),
            (" ", "<|channel|>final<|message|> "),
            ("", ""),
        ],
    )
    def test_in_a_model_of_channels_it_stands_in_its_channel(self, prefill, written):
        made = known("gptoss")
        begun = stock(made, [QUESTION], add_generation_prompt=True)
        assert (
            rendered(made, QUESTION, {"role": "assistant", "content": prefill}) == begun + written
        )

    @pytest.mark.parametrize("prefill", ["<think>\nWell", " "])
    def test_without_a_place_for_thinking_that_is_said(self, prefill, caplog):
        made = codec("harmony")
        with caplog.at_level(logging.WARNING, "llmpolicy"):
            written = rendered(made, QUESTION, {"role": "assistant", "content": prefill})
        assert written.endswith("<|start|>assistant<|channel|>final<|message|>" + prefill)
        assert [
            record.message.count("<|channel|>final<|message|>") for record in caplog.records
        ] == [1]

    def test_what_stands_before_it_alone_is_said(self, caplog):
        with caplog.at_level(logging.WARNING, "llmpolicy"):
            written = rendered(
                codec("harmony"), QUESTION, {"role": "assistant", "content": "It is"}
            )
            rendered(codec("chatml"), QUESTION, {"role": "assistant", "content": "It is"})
        assert written.endswith("<|start|>assistant<|channel|>final<|message|>It is")
        assert [
            record.message.count("<|channel|>final<|message|>") for record in caplog.records
        ] == [1]


class TestEnds:
    @pytest.mark.parametrize("name", [name for name in WHOLE if name != "earlier"])
    def test_templates_whose_end_is_a_stop_token_are_taken(self, name):
        codec(name).encode([[QUESTION]])

    def test_a_template_that_ends_earlier_turns_alone_must_be_listened_to(self):
        with pytest.raises(PolicyError, match=r"ends an assistant's turn with '<\|im_end\|>'"):
            codec("earlier", eos="</s>", special=["<|im_end|>"]).encode([[QUESTION]])
        codec("earlier", eos="</s>", special=["<|im_end|>"], stop=("<|im_end|>",)).encode(
            [[QUESTION]]
        )

    def test_a_mark_that_begins_the_next_turn_ends_none(self):
        made = chat("chatml", eos="</s>", special=["<|user|>"])
        made.chat_template = (
            "{% for m in messages %}{{ '<|user|>' if m.role == 'user' else '>' }}{{ m.content }}{%"
            " endfor %}"
        )
        Codec(made, None, vocabulary=len(made)).encode([[QUESTION]])

    @pytest.mark.parametrize("token", ["<|im_end|>", "<|im_start|>"])
    def test_a_tokenizer_that_ends_texts_is_refused(self, token):
        with pytest.raises(PolicyError, match="ends every text with"):
            codec("chatml", added=f"$A {token}")

    def test_begin_and_end_may_be_one_token(self):
        made = codec("chatml", bos="<|im_end|>", added="<|im_end|> $A")
        assert made.raw(made.encode(["ab"])[0]) == "<|im_end|>ab"
        assert made.raw(made.encode(["<|im_end|>ab"])[0]) == "<|im_end|>ab"
        assert (
            made.decode(made.tokenizer("ab<|im_end|>", add_special_tokens=False)["input_ids"])
            == "ab"
        )

    def test_a_rendered_text_keeps_one_beginning(self):
        assert codec("chatml").raw(codec("chatml").encode(["<s>ab"])[0]) == "<s>ab"
        adding = codec("chatml", added="<s> $A")
        assert [adding.raw(ids) for ids in adding.encode(["<s>ab", "ab"])] == ["<s>ab", "<s>ab"]

    def test_a_beginning_that_a_template_writes_twice_is_read_once(self):
        assert rendered(codec("bos_twice"), QUESTION).count("<s>") == 1

    def test_messages_need_a_template(self):
        made = chat("chatml")
        made.chat_template = None
        with pytest.raises(PolicyError, match="no chat template"):
            Codec(made, None, vocabulary=len(made)).encode([[QUESTION]])


class TestReading:
    THINK = ("<think>", "</think>")

    @pytest.mark.parametrize("how", [{"special": THINK}, {"words": THINK}, {}])
    def test_thinking_is_seen_whatever_its_tags_are(self, how):
        said = read(codec("qwen3", **how), "<think>a</think>4<|im_end|>")
        assert said == "<think>a</think>4"
        assert formats.think(said).value == 1.0
        assert math_answer.correct(said, "4").value == 1.0

    @pytest.mark.parametrize("special", [("[THINK]", "[/THINK]"), ("<think>", "</think>"), ()])
    def test_tags_of_thinking_that_are_none_of_the_model_s_are_said(self, special, caplog):
        talk = [
            {"role": "user", "content": "2+2?"},
            {"role": "assistant", "content": "<think>\nWell"},
        ]
        codec("chatml", special=special).encode([talk])
        foreign = (
            "<think> is no token of this model, whose thinking stands between [THINK] and [/THINK]"
        )
        assert (foreign in caplog.text) == ("[THINK]" in special)

    @pytest.mark.parametrize(
        "marks",
        [
            ("[THINK]", "[/THINK]"),
            ("<|START_THINKING|>", "<|END_THINKING|>"),
            ("<|begin_of_thought|>", "<|end_of_thought|>"),
            ("<|inner_prefix|>", "<|inner_suffix|>"),
            ("<|think_start|>", "<|think_end|>"),
        ],
    )
    @pytest.mark.parametrize("kind", ["special", "words"])
    def test_other_marks_of_thinking_are_read_as_its_tags(self, marks, kind):
        made = codec("chatml", **{kind: marks})
        said = read(made, f"{marks[0]}\\boxed{{5}}{marks[1]}\\boxed{{4}}<|im_end|>")
        assert said == "<think>\\boxed{5}</think>\\boxed{4}"
        assert math_answer.correct(said, "4").value == 1.0

    def test_other_special_tags_are_text(self):
        made = codec("chatml", special=["<answer>", "</answer>", "<tool_call>", "</tool_call>"])
        assert read(made, "<answer>4</answer><|im_end|>") == "<answer>4</answer>"
        call = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'
        assert match(read(made, call + "<|im_end|>"), [{"name": "f", "arguments": {}}]).value == 1.0

    SPOKEN = "Write <think>...</think> and then <answer>...</answer>"

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (
                (
                    "{% if messages[0].role != 'system' %}<|im_start|>system\nBegin with"
                    " <answer>.<|im_end|>\n{% endif %}"
                ),
                "",
            ),
            (
                "{% if messages[0].role != 'system' %}<|im_start|>system\n"
                + SPOKEN
                + "<|im_end|>\n{% endif %}",
                "",
            ),
            ("<|im_start|>system\n" + SPOKEN + "<|im_end|>\n", ""),
            (
                "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
                + SPOKEN,
                "",
            ),
            ("", SPOKEN),
        ],
    )
    def test_tags_that_a_template_speaks_of_are_text(self, before, after, caplog):
        tokenizer = chat("chatml", special=["<answer>", "</answer>", *self.THINK])
        tokenizer.chat_template = before + TEMPLATES["chatml"].replace(
            "{{ m.content }}", "{{ m.content }}" + after
        )
        made = Codec(tokenizer, None, vocabulary=len(tokenizer))
        with caplog.at_level(logging.WARNING, "llmpolicy"):
            said = read(made, "<think>a</think><answer>4</answer><|im_end|>")
        assert said == "<think>a</think><answer>4</answer>" and not caplog.records
        assert "<answer>" in made.quote(made.encode([[QUESTION]])[0])
        assert "<|im_" not in made.quote(made.encode([[QUESTION]])[0])

    def test_tags_around_the_name_of_a_role_frame_a_turn(self):
        tokenizer = chat("chatml", special=["<role>", "</role>"])
        tokenizer.chat_template = (
            "{% for m in messages %}<role>{{ m.role }}</role>{{ m.content }}<|im_end|>{% endfor %}"
        )
        made = Codec(tokenizer, None, vocabulary=len(tokenizer))
        assert read(made, "4<role>user</role>5<|im_end|>") == "4\nuser\n5"

    def test_marks_of_turns_are_left_out_and_that_is_said_once(self, caplog):
        made = codec("chatml")
        with caplog.at_level(logging.WARNING, "llmpolicy"):
            assert read(made, "4<|im_end|>") == "4"
            assert not caplog.records
            assert read(made, "4<|im_start|><pad>4<|im_end|>") == "4\n4"
            assert read(made, "4<unk>4\n<pad>4<|im_end|>") == "44\n4"
            assert read(made, "<|im_start|><pad>5<|im_end|>") == "5"
        assert [re.findall(r"<\S+>", r.message) for r in caplog.records] == [
            ["<pad>", "<|im_start|>"],
            ["<unk>"],
        ]
        assert all("`raw`" in record.message for record in caplog.records)

    def test_a_prompt_that_opens_thinking_ends_in_its_tag(self):
        made = codec("r1", special=self.THINK)
        prompt = made.quote(made.encode([[QUESTION]])[0])
        assert prompt == "What is 2+2?<think>\n"
        said = read(made, "Two.</think>4</s>")
        assert formats.think(said, prompt).value == 1.0
        assert math_answer.correct(said, "4", prompt=prompt).value == 1.0
        assert formats.tags("Two.</think><answer>4</answer>", prompt=prompt).value == 1.0
        assert formats.tags("Two.</think><answer>4</answer>").value == 0.0

    def test_without_a_template_marks_of_turns_are_known_by_their_look(self):
        tokenizer = chat("chatml", special=["<answer>", "<|im_start|>", "<|role|>"], eos="</s>")
        tokenizer.chat_template = None
        made = Codec(tokenizer, None, vocabulary=len(tokenizer))
        assert read(made, "<answer>4<|role|><|im_start|></s>") == "<answer>4"

    CHANNELS = (
        "<|channel|>analysis<|message|>2+2, or"
        " \\boxed{5}?<|end|><|start|>assistant<|channel|>final<|message|>"
    )

    def test_channels_are_thinking_and_answer(self, caplog):
        made = codec("harmony")
        prompt = stock(made, [QUESTION], add_generation_prompt=True)
        with caplog.at_level(logging.WARNING, "llmpolicy"):
            said = read(made, self.CHANNELS + "\\boxed{4}<|return|>", prompt)
            read(made, self.CHANNELS + "\\boxed{4}<|return|>", prompt)
        assert said == "<think>2+2, or \\boxed{5}?</think>\\boxed{4}"
        assert math_answer.correct(said, "4").value == 1.0
        assert [r.message.count("response template") for r in caplog.records] == [1]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("<|channel|>analysis<|message|>so", "<think>so"),  # cut off
            ("<|channel|>analysis<|message|>so<|end|>", "<think>so</think>"),
            ("<|channel|>final<|message|>4<|return|>", "4"),
            ("4<|return|>", "4"),
            (
                "<|channel|>final<|message|>4<|end|><|start|>assistant<|channel|>final<|message|>2<|return|>",
                "4\n2",
            ),
            (
                (
                    "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>analysis<|message|>b<|end|>"
                    "<|start|>assistant<|channel|>final<|message|>4<|return|>"
                ),
                "<think>a\nb</think>4",
            ),
            (
                (
                    "<|channel|>commentary<|message|>I"
                    " look.<|end|><|start|>assistant<|channel|>final<|message|>4"
                ),
                "I look.\n4",
            ),
            (
                '<|channel|>commentary to=functions.f <|constrain|>json<|message|>{"a": 1}<|call|>',
                '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>',
            ),
        ],
    )
    def test_every_channel_has_its_place(self, text, said):
        assert read(codec("harmony"), text, "<|start|>assistant") == said

    def test_a_channel_that_the_prompt_opens_goes_on(self):
        made = codec("harmony")
        prompt = "<|start|>assistant<|channel|>analysis<|message|>"
        assert made.quote(made.tokenizer(prompt, add_special_tokens=False)["input_ids"]).endswith(
            "assistant<think>"
        )
        assert (
            read(made, "so<|end|><|start|>assistant<|channel|>final<|message|>4", prompt)
            == "so</think>4"
        )
        assert (
            read(made, " 4<|return|>", "<|start|>assistant<|channel|>final<|message|>It is") == " 4"
        )

    def test_a_tokenizer_may_say_how_its_replies_are_read(self):
        marks = ("<|idea|>", "<|said|>")
        template = {
            "start_anchor": "<|im_start|>assistant\n",
            "fields": {
                "reasoning_content": {"open": "<|idea|>", "close": "<|said|>", "content": "text"},
                "content": {"close_pattern": r"<\|im_end\|>", "content": "text"},
            },
        }
        made = codec("chatml", special=marks, response_template=template)
        assert read(made, "<|idea|>a<|said|>4<|im_end|>") == "<think>a</think>4"
        with pytest.raises(PolicyError, match="response template cannot be read"):
            codec(
                "chatml",
                response_template={"start_anchor": "x", "fields": {"content": {"opens": "y"}}},
            )

    def test_a_reward_gets_all_that_was_written_by_the_name_raw(self):
        sample = Sample("4", {}, raw="<think>a</think>4<|im_end|>")
        single = lambda completion, raw: float(raw == sample.raw)  # noqa: E731
        lists = lambda completions, raw: [float(text == sample.raw) for text in raw]  # noqa: E731
        for spec in (
            RewardSpec(single),
            RewardSpec(lists, style="group"),
            RewardSpec(lists, style="trl"),
        ):
            assert Rewards([spec], isolate=False).score([sample], 1)[0].value == 1.0
        by_hand = Rewards([RewardSpec(lambda completion, raw: float(raw == "4"))], isolate=False)
        assert by_hand.score([Sample("4")])[0].value == 1.0


class TestBlanks:
    """A completion goes on from its prompt: what decoders do to the beginning of a text they do not
    do to it.
    """

    CODE = "def f(x):\n    y = x\n    return y\n"

    @pytest.mark.parametrize("kind", ["llama2", "first", "always", "gemma", "wordpiece"])
    @pytest.mark.parametrize("text", [CODE, "The answer is 4", "a  b    c"])
    def test_prompt_and_completion_are_the_whole_text_wherever_it_is_parted(self, kind, text):
        tokenizer = pieces(kind)
        made = Codec(tokenizer, None, vocabulary=len(tokenizer))
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        whole, ended = tokenizer.decode(ids), tokenizer.decode([*ids, tokenizer.eos_token_id])
        for cut in range(1, len(ids) + 1):
            before, rest = ids[:cut], ids[cut:]
            if tokenizer.decode(before):  # of a blank alone nothing is left to go on from
                assert made.quote(before) + made.decode(rest, before) == whole
                assert made.raw(before) + made.raw([*rest, tokenizer.eos_token_id], before) == ended

    def test_an_indented_line_compiles_behind_its_prompt(self):
        tokenizer = pieces("llama2")
        made = Codec(tokenizer, None, vocabulary=len(tokenizer))
        head, body = self.CODE.split(":\n")
        before = made.encode([head + ":\n"])[0]
        rest = made.encode([self.CODE])[0][len(before) :]
        turn = made.legible(Turn(before, rest))
        assert (turn.text, turn.raw) == (body, body)
        compile(made.quote(before) + made.decode(rest, before), "x", "exec")

    @pytest.mark.parametrize(
        ("kind", "said"),
        [("llama2", "Two"), ("always", "Two"), ("first", " Two"), ("gemma", " Two")],
    )
    def test_behind_a_mark_stands_what_the_tokenizer_writes_there(self, kind, said):
        tokenizer = pieces(kind, special=["<|user|>", "<|said|>"])
        made = Codec(tokenizer, None, vocabulary=len(tokenizer), stop=["<|user|>"])
        ids = tokenizer(f"<|said|>{said}<|user|>{said}", add_special_tokens=False)["input_ids"]
        assert tokenizer.convert_ids_to_tokens(ids)[1] == "▁"
        end = ids.index(tokenizer.convert_tokens_to_ids("<|user|>"))
        assert made.decode(ids[1:end], ids[:1]) == said
        assert made.decode(ids[1:], ids[:1]).split() == ["Two", "Two"]
        assert made.decode([*ids[1:end], *ids[end:]], ids[:1])[-len(said) :] == said

    def test_where_a_decoder_takes_nothing_away_a_completion_is_what_it_is_alone(self):
        made = codec("chatml")
        for text in (" 4", "    return", "4", "<|im_start|> 4"):
            ids = made.tokenizer(text, add_special_tokens=False)["input_ids"]
            assert made.raw(ids, ids) == made.raw(ids) == text

    def test_every_loop_reads_the_same(self, tmp_path):
        words = pieces("llama2")
        tokens = {
            "eos_token_id": words.eos_token_id,
            "bos_token_id": words.bos_token_id,
            "pad_token_id": 0,
        }
        made = CausalLMPolicy(
            model("llama", vocab_size=len(words), **tokens), words, max_new_tokens=3
        )
        ids = words.convert_tokens_to_ids(["▁", "4"])
        before = made.encode(["1+1="])[0]
        told = made.codec.legible(Turn(before, ids))
        assert (told.prompt, told.text, told.raw) == ("1+1=", " 4", " 4")
        for told in made.complete(["1+1="] * 4, generator=torch.Generator().manual_seed(0)):
            assert "1+1=" + str(told.raw) == words.decode([*before, *told.action])
        stepped = trainer(tmp_path, made, chat=False)
        stepped.generation.rows = [0]
        stepped.generation.episodes = acted(stepped, [Turn(before, ids)])
        [sample] = samples(stepped)
        assert (sample.completion, sample.raw) == (" 4", " 4")


KNOWN = {
    "qwen2_5": "<|im_end|>",
    "qwen3": "<|im_end|>",
    "qwen3_5_think": "<|im_end|>",
    "llama3_1": "<|eot_id|>",
    "gemma4_v5": "<turn|>",
    "gptoss": "<|return|>",
    "deepseekv3": "<｜end▁of▁sentence｜>",
    "cohere2": "<|END_OF_TURN_TOKEN|>",
    "phi3": "<|end|>",
    "glm4moe": "<|user|>",
    "lfm2_2_5": "<|im_end|>",
}
"""Templates as they are published, which TRL brings along, and their end of turn."""


def known(name: str) -> Codec:
    source = (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text(
        encoding="utf-8"
    )
    marks = set(re.findall(r"<\|\w+\|?>|<\w+\|>|<｜[^｜]+｜>", source)) - {KNOWN[name]}
    tokenizer = chat(
        "chatml", special=sorted(marks), eos=KNOWN[name], words=["<think>", "</think>"]
    )
    tokenizer.chat_template = source
    return Codec(tokenizer, None, vocabulary=len(tokenizer))


class TestKnownTemplates:
    @pytest.mark.parametrize("name", KNOWN)
    def test_a_prompt_is_what_transformers_renders_and_ends_in_its_prefill(self, name):
        made = known(name)
        assert rendered(made, QUESTION) == stock(made, [QUESTION], add_generation_prompt=True)
        assert rendered(made, QUESTION, {"role": "assistant", "content": "It is "}).endswith(
            "It is "
        )
        assert "What is 2+2?" in made.quote(made.encode([[QUESTION]])[0])
        assert not set(re.findall(r"<\|\w+\|?>", made.quote(made.encode([[QUESTION]])[0])))

    @pytest.mark.parametrize(
        "name", ["qwen2_5", "qwen3", "llama3_1", "gemma4_v5", "gptoss", "deepseekv3", "glm4moe"]
    )
    @pytest.mark.parametrize("arguments", [{"a": 2}, '{"a": 2}'])
    def test_tool_calls_are_written_whatever_form_they_come_in(self, name, arguments, caplog):
        call = {
            "type": "function",
            "id": "1",
            "function": {"name": "adder", "arguments": arguments},
        }
        talk = (
            QUESTION,
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "4"},
        )
        with caplog.at_level(logging.WARNING, "llmpolicy"):
            text = rendered(known(name), *talk)
        assert "adder" in text and "leaves out" not in caplog.text
        assert '\\"' not in text  # JSON text inside JSON

    @pytest.mark.parametrize("name", ["qwen3", "llama3_1", "gptoss", "glm4moe"])
    def test_tool_calls_are_read_from_json_text(self, name):
        call = {"type": "function", "id": "1", "function": {"name": "adder", "arguments": {"a": 2}}}
        reply = {"role": "tool", "content": "4"}
        made = known(name)
        listed = rendered(
            made, QUESTION, {"role": "assistant", "content": "", "tool_calls": [call]}, reply
        )
        inner = call["function"]
        forms: list[dict[str, Any]] = [
            {"tool_calls": json.dumps([call])},
            {"tool_calls": json.dumps(call)},
            {"tool_calls": call},
            {"tool_calls": [json.dumps(call)]},
            {"tool_calls": [{**call, "function": json.dumps(inner)}]},
            {"function_call": inner, "tool_calls": None},
            {"function_call": json.dumps(inner)},
        ]
        for form in forms:
            assert (
                rendered(made, QUESTION, {"role": "assistant", "content": None, **form}, reply)
                == listed
            )
        for none in ("", "[]", "null", []):
            plain = {"role": "assistant", "content": "4"}
            assert rendered(made, QUESTION, {**plain, "tool_calls": none}, QUESTION) == rendered(
                made, QUESTION, plain, QUESTION
            )

    def test_tool_calls_of_json_text_that_are_left_out_are_said(self, caplog):
        call = json.dumps([{"function": {"name": "adder", "arguments": {}}}])
        with caplog.at_level(logging.WARNING, "llmpolicy"):
            rendered(
                codec(),
                QUESTION,
                {"role": "assistant", "tool_calls": call},
                {"role": "tool", "content": "4"},
            )
        assert "leaves out the tool calls of prompt 0" in caplog.text

    @pytest.mark.parametrize("calls", ["adder(2)", "[1]", 5, [None], '"adder"'])
    def test_tool_calls_that_are_none_are_refused_in_words(self, calls):
        talk = (
            QUESTION,
            {"role": "assistant", "content": "", "tool_calls": calls},
            {"role": "tool", "content": "4"},
        )
        with pytest.raises(
            PolicyError,
            match=r"prompt 0: message 1 \(assistant\) has the tool_calls .*expected a list",
        ):
            rendered(codec(), *talk)

    def test_a_tool_reply_that_is_left_out_is_refused(self):
        call = {"function": {"name": "adder", "arguments": {}}}
        talk = (
            QUESTION,
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "content": "seven"},
        )
        with pytest.raises(PolicyError, match="leaves out message 2 .tool."):
            rendered(known("phi3"), *talk)


class TestPlaces:
    """Rewards, evaluation and records read the same text in every loop."""

    @staticmethod
    def policy(**how: Any) -> CausalLMPolicy:
        words = chat("harmony", **how)
        tokens = {"eos_token_id": words.eos_token_id, "bos_token_id": 3, "pad_token_id": 0}
        return CausalLMPolicy(
            model("llama", vocab_size=len(words), **tokens), words, max_new_tokens=6
        )

    TEXT = TestReading.CHANNELS + "4<|return|>"
    READ = "<think>2+2, or \\boxed{5}?</think>4"

    def test_the_trainer(self, tmp_path):
        template = {
            "start_anchor": "<|start|>assistant",
            "fields": {"content": {"open": "<|message|>", "content": "text"}},
        }
        seen: list[Any] = []

        def reward(completion: str, raw: str, prompt: str, messages: Any) -> float:
            seen.append((completion, raw, prompt, messages))
            return float(len(seen) % 3)

        for made in (self.policy(), self.policy(response_template=template)):
            stepped = trainer(tmp_path, made, reward=reward)
            stepped.train()  # with a response template TRL would decode in its own way
        first = trainer(tmp_path, self.policy(), reward=reward)
        first.generation.rows = [0]
        ids = first.policy.tokenizer(self.TEXT, add_special_tokens=False)["input_ids"]
        [turn] = step.read(first, first.prompt_ids[:1], ([ids], None))
        first.generation.episodes = acted(first, [turn])
        [sample] = samples(first)
        assert (sample.completion, sample.raw, sample.truncated) == (self.READ, self.TEXT, False)
        assert sample.prompt.endswith("user1+1assistant")
        assert episode_columns(stepped.generation.episodes)["raw"] == [
            raw for _, raw, _, _ in seen[8:]
        ]

    def test_complete_and_evaluation(self):
        made = self.policy()
        question = Row([PARTS], {"answer": "4"}, 0, "q", "t")
        told = made.complete([[PARTS]])[0]
        before = made.encode([[PARTS]])[0]
        assert told.raw == made.tokenizer.decode(list(told.action))
        assert told.text == made.decode(told.action, before)
        [sample] = samples_of([question], [Episode([told])])
        assert (sample.completion, sample.raw) == (told.text, told.raw)
        assert sample.prompt.endswith("userWhat is 2+2?assistant")
        assert sample.messages == [QUESTION]

    def test_the_readable_loop(self):
        made = self.policy()
        ids = made.tokenizer(self.TEXT, add_special_tokens=False)["input_ids"]
        rows_ = [Row([PARTS], {"answer": "4"}, 0, "q", "t")]
        seen: list[Sample] = []

        class Judge:
            def score(self, samples: Any, group_size: int | None = None) -> Any:
                seen.extend(samples)
                return [RowScore(1.0) for _ in samples]

        environment = PromptEnvironment(rows_, Judge(), prompts=1, group_size=1)
        [state] = environment.reset(0)
        turn = made.codec.legible(Turn(made.encode([state])[0], ids))
        environment.step([0], Action([ids], None, None, [True], [turn]))
        assert [(s.completion, s.raw, s.prompt[-10:]) for s in seen] == [
            (self.READ, self.TEXT, "?assistant")
        ]


def test_the_readers_forms_are_json() -> None:
    made = codec("harmony")
    text = (  # cut off: no JSON
        '<|channel|>commentary to=functions.f <|constrain|>json<|message|>{"a": "ä'
    )
    assert "functions.f" in made.decode(made.tokenizer(text, add_special_tokens=False)["input_ids"])
    assert json.loads(json.dumps(Conversation([QUESTION]))) == [QUESTION]
