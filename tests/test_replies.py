"""Replies that stages learn: they stand behind the text that a generation goes on from, with all
that they hold.
"""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, Features, Json
from trl import RewardTrainer, SFTTrainer

from llmpolicy.errors import PolicyError, RecipeError
from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.policies.causal_lm.codec import Codec
from llmpolicy.policies.causal_lm.speech import ChatSpeech, ToldSpeech
from llmpolicy.policies.rewarder import load, token_ids
from llmpolicy.recipe import Recipe, make_recipe
from llmpolicy.stages.partner import players_of
from llmpolicy.stages.reward_model import _rows, begin
from llmpolicy.stages.sft import _dataset, begun_as_played, warm_start
from llmpolicy.stages.trainers import stage_config
from llmpolicy.tasks import Demonstration, Pair, Pairs, TaskSpec, load_demonstrations, load_pairs
from tests import models
from tests.chats import chat

USER = {"role": "user", "content": "2+2?"}
THINKS = "<think>\nhm\n</think>\n\nit is 4"
APART = {"role": "assistant", "reasoning_content": "hm", "content": "it is 4"}
CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 27, "unit": "euro"}}}
WRITTEN = {
    "type": "function",
    "function": {**CALL["function"], "arguments": json.dumps(CALL["function"]["arguments"])},
}  # type: ignore[dict-item]
CALLS = {"role": "assistant", "content": "I ask.", "tool_calls": [CALL]}
SHAPES = (
    "chatml",
    "qwen3",
    "llama2",
    "llama3",
    "mistral",
    "gemma",
    "harmony",
    "phi",
    "parts",
    "upper",
    "bos_twice",
)

_TURN = "{% for m in messages %}<|im_start|>{{ m.role }}\n"
_END = "<|im_end|>\n{% endfor %}"
_NEXT = "{% if add_generation_prompt %}<|im_start|>assistant\n"
TEMPLATES = {
    # Reads a field of thinking and writes it for the last turn, as Qwen3 does.
    "field": _TURN + "{% if m.role == 'assistant' %}<think>\n{{ m.reasoning_content or '' }}\n</think>\n\n{% endif %}"
    "{{ m.content }}" + _END + _NEXT + "{% endif %}",
    # Opens thinking for a generation, and writes an empty block where there is none, as
    # Qwen3-Thinking does.
    "opens": _TURN + "{% if m.role == 'assistant' %}<think>\n{{ m.reasoning_content or '' }}\n</think>\n\n{% endif %}"
    "{{ m.content }}" + _END + _NEXT + "<think>\n{% endif %}",
    # Ends what a generation begins with in an empty block of thinking that a conversation lacks, as
    # Gemma 4 does.
    "closed": _TURN + "{{ m.content }}" + _END + _NEXT + "<|channel>thought\n<channel|>{% endif %}",
    # Goes on from marks that nothing explains.
    "marks": _TURN + "{{ m.content }}" + _END + _NEXT + "<|channel|>analysis<|message|>{% endif %}",
    # Writes tool calls, with their arguments as an object.
    "calls": _TURN + "{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>"
    "{% endfor %}" + _END + _NEXT + "{% endif %}",
    # Leaves the arguments of a call out.
    "names": _TURN + "{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function.name }}</tool_call>"
    "{% endfor %}" + _END + _NEXT + "{% endif %}",
}  # fmt: skip


def words(name: str) -> Any:
    if name in TEMPLATES:
        made = chat("chatml", words=["<think>", "</think>"])
        made.chat_template = TEMPLATES[name]
        return made
    return chat(name, words=["<think>", "</think>"])


def policy(name: str, **options: Any) -> CausalLMPolicy:
    tokenizer = words(name)
    tokens = {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": None, "pad_token_id": 0}
    return CausalLMPolicy(
        models.model("llama", vocab_size=len(tokenizer), **tokens), tokenizer, **options
    )


def demonstrations(*replies: Any, **columns: Any) -> list[Demonstration]:
    return load_demonstrations(
        TaskSpec(rows=[{"prompt": [USER], "reply": reply, **columns} for reply in replies])
    )


def trained_on(
    made: CausalLMPolicy, rows: list[Demonstration], folder: Path, **settings: Any
) -> Any:
    """What TRL's trainer learns from: its own data set, after all that it does to it."""
    args = stage_config(
        "sft", {"max_steps": 1, **settings}, folder=folder / "sft", seed=0, target="cpu"
    )
    return SFTTrainer(
        made.model,
        args,
        train_dataset=_dataset(rows, made.codec, args),
        processing_class=made.tokenizer,
    ).train_dataset


def learned(name: str, reply: Any, **columns: Any) -> str:
    """What is learned behind the text that a generation goes on from."""
    pi = policy(name)
    [row] = demonstrations(reply, **columns)
    before, after = pi.codec.lesson(row.prompt, row.reply, "here")
    assert before == pi.encode([row.prompt])[0]
    return pi.codec.raw(after)


@pytest.mark.parametrize("name", [*SHAPES, "r1", "earlier", *TEMPLATES])
def test_what_trl_trains_on_is_the_prompt_of_a_generation_and_the_reply(
    name: str, tmp_path: Path
) -> None:
    made = policy(name)
    rows = demonstrations(
        *(THINKS,) if name in ("r1", "opens") else ("4", "it is 4, yes", " -4 \n")
    )
    if name == "marks":
        with pytest.raises(
            PolicyError, match=r"a generation begins with '<\|channel\|>analysis<\|message\|>'"
        ):
            trained_on(made, rows, tmp_path)
        return
    for row, table in zip(rows, trained_on(made, rows, tmp_path), strict=True):
        before = made.encode([row.prompt])[0]
        ids, labels = table["input_ids"], table["labels"]
        assert ids[: len(before)] == before
        assert labels == [-100] * len(before) + ids[len(before) :]
        stops = [token for token in ids[len(before) :] if token in made.codec.stop_ids]
        assert len(stops) == 1  # it learns to end, once
        assert "".join(str(row.reply).split()).removeprefix("<think>").casefold() in "".join(
            made.codec.raw(ids[len(before) :]).casefold().split()
        )


@pytest.mark.parametrize("name", SHAPES[:-1])
def test_where_a_template_writes_a_reply_behind_its_generation_prompt_it_is_stock_trl(
    name: str, tmp_path: Path
) -> None:
    made = policy(name)
    replies = ["4", "it is 4, yes", "<think>hm</think>4"]
    ours = trained_on(made, demonstrations(*replies), tmp_path)
    shown = [{"type": "text", "text": "2+2?"}] if name == "parts" else "2+2?"
    told = [[{"type": "text", "text": reply}] if name == "parts" else reply for reply in replies]
    rows = [
        {
            "prompt": [{**USER, "content": shown}],
            "completion": [{"role": "assistant", "content": c}],
        }
        for c in told
    ]
    args = stage_config("sft", {"max_steps": 1}, folder=tmp_path / "stock", seed=0, target="cpu")
    data = Dataset.from_list(rows, features=Features({"prompt": Json(), "completion": Json()}))
    stock = SFTTrainer(
        made.model, args, train_dataset=data, processing_class=made.tokenizer
    ).train_dataset
    for row, other in zip(ours, stock, strict=True):
        assert (row["input_ids"], row["labels"]) == (other["input_ids"], other["labels"])


@pytest.mark.parametrize(
    ("name", "reply", "expected"),
    [
        ("r1", THINKS, "hm\n</think>\n\nit is 4</s>"),
        ("r1", APART, "hm\n</think>\n\nit is 4</s>"),
        ("r1", "hm</think>it is 4", "hm</think>it is 4</s>"),
        ("r1", "<think>\n\n</think>\n\n4", "\n</think>\n\n4</s>"),
        ("opens", APART, "hm\n</think>\n\nit is 4<|im_end|>\n"),
        ("opens", "4", "\n</think>\n\n4<|im_end|>\n"),
        ("field", APART, "<think>\nhm\n</think>\n\nit is 4<|im_end|>\n"),
        (
            "field",
            {**APART, "reasoning_content": None, "thinking": "hm"},
            "<think>\nhm\n</think>\n\nit is 4<|im_end|>\n",
        ),
        ("qwen3", THINKS, THINKS + "<|im_end|>\n"),
        ("closed", "4", "4<|im_end|>\n"),
        ("earlier", "4", "4<|im_end|>"),
        (
            "calls",
            CALLS,
            (
                'I ask.<tool_call>{"name": "add", "arguments": {"a": 27, "unit":'
                ' "euro"}}</tool_call><|im_end|>\n'
            ),
        ),
        (
            "calls",
            {**CALLS, "content": None, "tool_calls": [WRITTEN]},
            (
                '<tool_call>{"name": "add", "arguments": {"a": 27, "unit":'
                ' "euro"}}</tool_call><|im_end|>\n'
            ),
        ),
        ("harmony", "4", "<|channel|>final<|message|>4<|return|>"),
    ],
)
def test_a_reply_is_learned_with_all_that_it_holds(name: str, reply: Any, expected: str) -> None:
    assert learned(name, reply) == expected


@pytest.mark.parametrize(
    ("name", "reply", "said"),
    [
        (
            "r1",
            "4",
            "a generation begins inside of thinking (behind '<think>\\n'), and the reply has none",
        ),
        ("chatml", APART, "leaves out the thinking of the reply"),
        ("harmony", APART, "leaves out the thinking of the reply"),
        ("chatml", CALLS, "leaves out the tool calls of the reply"),
        ("names", {**CALLS, "tool_calls": [WRITTEN]}, "leaves out the tool calls of the reply"),
        ("names", CALLS, "leaves out the tool calls of the reply"),
        ("first", "4", "leaves out words of the reply"),
        (
            "chatml",
            "4<|im_end|>\nand more",
            "'<|im_end|>' ends a completion, so that what the reply has behind it",
        ),
    ],
)
def test_what_cannot_be_learned_there_is_refused_before_training(
    name: str, reply: Any, said: str, tmp_path: Path
) -> None:
    made = policy(name)
    args = stage_config("sft", {"max_steps": 1}, folder=tmp_path / "sft", seed=0, target="cpu")
    with pytest.raises(PolicyError) as found:
        warm_start(made, demonstrations(reply), [], args, tmp_path / "out", {})
    assert said in str(found.value) and "\n" not in str(found.value)
    assert "demonstration '2+2?'" in str(found.value)


def test_thinking_that_was_turned_off_is_not_learned_behind_its_empty_block() -> None:
    codec = Codec(
        words("qwen3"), None, vocabulary=200, chat_template_kwargs={"enable_thinking": False}
    )
    assert codec.raw(codec.lesson([USER], "4", "here")[1]) == "4<|im_end|>\n"
    with pytest.raises(PolicyError, match="a generation begins with"):
        codec.lesson([USER], THINKS, "here")


def test_the_options_of_a_row_are_its_template_s() -> None:
    off = {"chat_template_kwargs": {"enable_thinking": False}}
    assert learned("qwen3", "4", **off) == "4<|im_end|>\n"
    assert learned("qwen3", "4") == "<think>\n\n</think>\n\n4<|im_end|>\n"


@pytest.mark.parametrize(("name", "prefill", "expected"), [
    ("qwen3", "It is ", "4<|im_end|>\n"),
    ("r1", "<think>\nso", "hm</think>4</s>"),
    ("llama3", "It is ", "4<|eot_id|>"),
])  # fmt: skip
def test_behind_a_prefill_the_reply_alone_is_learned(
    name: str, prefill: str, expected: str
) -> None:
    codec = Codec(words(name), None, vocabulary=200)
    prompt = [USER, {"role": "assistant", "content": prefill}]
    before, after = codec.lesson(prompt, "hm</think>4" if name == "r1" else "4", "here")
    assert before == codec.encode([prompt])[0] and codec.raw(before).endswith(prefill)
    assert codec.raw(after) == expected


def test_a_text_goes_on_where_its_prompt_ends_though_tokens_merge_there() -> None:
    tokenizer = chat("chatml", words=["A: 4"])
    codec = Codec(tokenizer, None, vocabulary=len(tokenizer))
    before, after = codec.lesson("2+2? A: ", "4", "here")
    assert before == codec.encode(["2+2? A: "])[0]
    assert (codec.raw(before), codec.raw(after)) == ("2+2? A: ", "4<|im_end|>")
    with pytest.raises(
        PolicyError,
        match=r"plain text has no place for what its reply holds besides \(tool_calls\)",
    ):
        codec.lesson("2+2?", CALLS, "here")


def test_replies_that_are_cut_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "llmpolicy"):
        rows = trained_on(
            policy("chatml"), demonstrations("4", "a long reply" * 9), tmp_path, max_length=60
        )
    assert "1 of 2 demonstrations have more than max_length = 60 tokens" in caplog.text
    assert [len(row["input_ids"]) for row in rows][1] == 60
    with pytest.raises(PolicyError, match="every prompt fills max_length = 9 tokens"):
        trained_on(policy("chatml"), demonstrations("4"), tmp_path, max_length=9)


def test_the_whole_row_is_learned_where_that_is_asked_for_and_rows_may_be_packed(
    tmp_path: Path,
) -> None:
    made, rows = policy("r1"), demonstrations(THINKS, "<think>so</think>5")
    whole = trained_on(made, rows, tmp_path, completion_only_loss=False)
    assert all(row["labels"] == row["input_ids"] for row in whole)
    apart = trained_on(made, rows, tmp_path)
    [packed] = trained_on(made, rows, tmp_path, packing=True, max_length=200, shuffle_dataset=False)
    assert sorted(packed["seq_lengths"]) == sorted(len(row["input_ids"]) for row in apart)
    assert sum(label != -100 for label in packed["labels"]) == sum(
        label != -100 for r in apart for label in r["labels"]
    )


@pytest.mark.parametrize("key", ["chat_template_path", "eos_token", "assistant_only_loss"])
def test_settings_that_would_read_otherwise_than_grpo_are_refused(key: str) -> None:
    block = {
        "model": "bundled",
        "sft": {key: "x"},
        "demonstrations": {"rows": [{"prompt": "a", "reply": "b"}]},
    }
    with pytest.raises(RecipeError, match=f"sft.{key} belongs to llmpolicy"):
        make_recipe(block)


# pairs


def rewarder(name: str, folder: Path) -> tuple[Any, Any]:
    tokenizer = words(name)
    models.model("llama", vocab_size=len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return begin(str(folder), seed=0)


def pairs(*rows: dict[str, Any]) -> Pairs:
    return load_pairs(TaskSpec(rows=[{"prompt": [USER], **row} for row in rows]))


@pytest.mark.parametrize("name", [*SHAPES, "r1"])
def test_a_reward_model_is_trained_on_what_it_will_score(name: str, tmp_path: Path) -> None:
    model, tokenizer = rewarder(name, tmp_path)
    given = pairs({"chosen": "4", "rejected": "5"}, {"chosen": THINKS, "rejected": "it is 5"})
    plain = Pair("2+2=", "4", "5", "2+2=")  # a chat beside a transcript: both with their end
    given = Pairs([*given.train, plain], [], 0)
    args = stage_config(
        "reward_model",
        {"max_steps": 1, "max_length": None},
        folder=tmp_path / "x",
        seed=0,
        target="cpu",
    )
    rows, left = _rows(given, model, tokenizer, None)
    trainer = RewardTrainer(model, args, train_dataset=rows, processing_class=tokenizer)
    trainer.model.save_pretrained(tmp_path)
    scored = load(str(tmp_path), 1)
    for pair, row in zip(left.train, trainer.train_dataset, strict=True):
        for side in ("chosen", "rejected"):
            said = scored.tokenizer.decode(row[f"{side}_ids"])
            assert row[f"{side}_ids"] == token_ids(scored, pair.prompt, getattr(pair, side))
            assert getattr(pair, side).split("</think>")[-1].strip().casefold() in said.casefold()
    assert rows[2]["chosen_ids"][-1] == tokenizer.eos_token_id


def test_pairs_that_are_too_long_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, tokenizer = rewarder("chatml", tmp_path)
    both = pairs({"chosen": "4", "rejected": "5"}, {"chosen": "4", "rejected": "long" * 20})
    with caplog.at_level(logging.WARNING, "llmpolicy"):
        rows, left = _rows(both, model, tokenizer, 60)
    assert "1 of 2 pairs dropped: beyond max_length = 60 tokens" in caplog.text
    assert (len(rows), len(left.train), left.dropped) == (1, 1, 1)
    with pytest.raises(PolicyError, match="all 2 pairs have a reply beyond max_length = 3 tokens"):
        _rows(both, model, tokenizer, 3)


def test_thinking_of_pairs_is_read_as_a_completion_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, tokenizer = rewarder("chatml", tmp_path / "chatml")
    rows, left = _rows(
        pairs({"chosen": APART, "rejected": {**APART, "reasoning_content": "no"}}),
        model,
        tokenizer,
        None,
    )
    assert left.train[0].chosen == "<think>\nhm\n</think>\n\nit is 4"
    assert tokenizer.decode(rows[0]["chosen_ids"]).endswith(
        "assistant\n<think>\nhm\n</think>\n\nit is 4<|im_end|>\n"
    )
    with pytest.raises(PolicyError, match="the reply calls tools, and a reward model scores texts"):
        _rows(pairs({"chosen": CALLS, "rejected": "4"}), model, tokenizer, None)
    model, tokenizer = rewarder("r1", tmp_path / "r1")
    alike = {"chosen": APART, "rejected": {**APART, "reasoning_content": "no"}}
    with pytest.raises(PolicyError, match="one text of the two replies of each pair"):
        _rows(pairs(alike), model, tokenizer, None)
    with caplog.at_level(logging.WARNING, "llmpolicy"):
        rows, left = _rows(pairs(alike, {"chosen": "4", "rejected": "5"}), model, tokenizer, None)
    assert "1 pairs dropped: the chat template makes one text" in caplog.text
    assert (len(rows), left.dropped) == (1, 1)


def answered(expression: str) -> str:
    """What a sum comes to.

    Args:
        expression: The sum
    """
    return expression


@pytest.mark.parametrize(("name", "tools_in"), [("chatml", "prompt"), ("calls", "template")])
def test_demonstrations_begin_as_the_dialogues_that_are_trained_next(
    name: str, tools_in: str
) -> None:
    data: dict[str, Any] = {
        "model": "bundled",
        "demonstrations": {"rows": [{"prompt": "a", "reply": "b"}]},
        "sft": {"max_steps": 1},
        "task": {"rows": [{"prompt": "a"}]},
        "environment": {"tools": [f"{__file__}:answered"], "tools_in": tools_in},
        "rewards": "exact:match",
        "grpo": {"max_steps": 1},
    }
    recipe, made = Recipe.model_validate(data), policy(name)
    tools = players_of(recipe).offer.tools
    speech = (ToldSpeech if tools_in == "prompt" else ChatSpeech)(made.codec, tools)
    talk = [USER, {"role": "assistant", "content": "answered()"}, {"role": "tool", "content": "4"}]
    rows = [*demonstrations("4"), *demonstrations("4")]
    rows[1] = replace(rows[1], prompt=talk)
    played = begun_as_played(rows, recipe, made.codec)
    for row, prompt in zip(played, ([USER], talk), strict=True):
        before, _ = made.codec.lesson(row.prompt, row.reply, "here")
        assert before == speech.opening(prompt)
        assert ("You may call these tools" in made.codec.raw(before)) == (tools_in == "prompt")
    # Behind its own words the tool's answer stands as a dialogue shows it.
    held = [*speech.opening([USER]), *made.codec.tokenizer("answered()<|im_end|>")["input_ids"]]
    assert made.codec.encode([played[1].prompt])[0] == [
        *held,
        *speech.following(held, talk[2:], ended=True),
    ]
    plain = Recipe.model_validate({**data, "environment": None, "rewards": "exact:match"})
    assert begun_as_played(rows, plain, made.codec) == rows
