"""The ids of a conversation: its pieces are the template's whole, a template that rewrites is
refused, calls are read as the template's own schema reads them.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from trl.chat_template_utils import (
    add_response_schema,
    is_chat_template_prefix_preserving,
    supports_tool_calling,
)

from llmpolicy.environments.conversation import ToolCall
from llmpolicy.environments.offered import misuse
from llmpolicy.errors import PolicyError
from llmpolicy.messages import Conversation
from llmpolicy.policies.causal_lm.codec import Codec
from llmpolicy.policies.causal_lm.dialogue import following, opening
from llmpolicy.policies.causal_lm.message_forms import forms
from llmpolicy.policies.causal_lm.template_probe import check_turns, take_training_template
from llmpolicy.policies.causal_lm.tool_calls import (
    in_words,
    plain_answer,
    plain_call,
    plain_tools,
    read_reply,
    with_tools,
)
from tests.chats import STOPS, chat, pieces, real

PARAMETERS = {
    "type": "object",
    "properties": {
        "place": {"type": "string", "description": "Where to look."},
        "count": {"type": "integer"},
        "deep": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "range": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "unit": {"type": "string", "enum": ["m", "km"]},
    },
    "required": ["place"],
}
LOOK = {"name": "look_up", "description": "Looks a place up.", "parameters": PARAMETERS}
WAIT = {"name": "wait", "description": "Waits.", "parameters": {"type": "object", "properties": {}}}
OPEN = {"name": "look_up", "parameters": {}}
TOOLS = [{"type": "function", "function": LOOK}, {"type": "function", "function": WAIT}]

STABLE = ["gemma4", "llama3_1", "llama3_2", "qwen2_5", "qwen3_instruct_2507", "qwen3_training"]
STABLE += ["qwen3_vl", "qwen3_8", "qwen3_5_think_training", "qwen3_5_nothink_training"]
STABLE += ["qwen3_6_training", "lfm2", "lfm2_v2", "muse_glimmer"]
WORDS = ["cohere", "cohere2", "gemma", "gemma3", "llama3", "phi3", "phi3_5", "qwen2_5_vl"]
WORDS += ["deepseek_r1_distill_training", "smolvlm"]
FORGETS = ["deepseek_r1_distill", "glm4moe", "gptoss", "gptoss_training", "lfm2_2_5", "qwen3"]
FORGETS += ["nemotron_3_nano", "qwen3_5_think", "qwen3_5_nothink", "qwen3_6", "gemma4_v5"]


@cache
def codec(name: str, **kwargs: Any) -> Codec:
    tokenizer = real(name)
    return of(tokenizer, **kwargs)


def of(tokenizer: PreTrainedTokenizerFast, **kwargs: Any) -> Codec:
    stop = sorted((STOPS | {"<|eot|>"}).intersection(tokenizer.get_vocab()))
    return Codec(tokenizer, None, vocabulary=len(tokenizer), stop=stop, chat_template_kwargs=kwargs)


def whole(codec: Codec, talk: Sequence[dict[str, Any]], **how: Any) -> str:
    """What the template itself writes of a conversation."""
    text = codec.tokenizer.apply_chat_template(
        list(talk), tokenize=False, **{"add_generation_prompt": True} | how
    )
    return str(text)


def ids_of(codec: Codec, text: str) -> list[int]:
    return list(codec.tokenizer(text, add_special_tokens=False)["input_ids"])


def turn_of(codec: Codec, begun: str, ended: str) -> list[int]:
    """The ids that a model samples to say what the template writes of its turn."""
    assert ended.startswith(begun)
    ids = codec.behind(ended[len(begun) :])
    end = next((index for index, token in enumerate(ids) if token in codec.stop_ids), len(ids))
    return ids[: end + 1]


def play(codec: Codec, talk: list[dict[str, Any]], tools: Sequence[Any] = ()) -> list[int]:
    """The ids of a conversation from its pieces: an opening, turns as sampled, new messages."""
    how = {"tools": list(tools)} if tools else {}
    ids, index = opening(codec, talk[:1], tools), 1
    while index < len(talk):
        begun = whole(codec, talk[:index], **how)
        ended = whole(codec, talk[: index + 1], **how, add_generation_prompt=False)
        ids += turn_of(codec, begun, ended)
        after = index + 1
        while after < len(talk) and talk[after]["role"] != "assistant":
            after += 1
        new = talk[index + 1 : after]
        ids += following(codec, ids, new, tools, ended=ids[-1] in codec.stop_ids)
        index = after
    return ids


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def answer(text: str, name: str = "look_up") -> dict[str, Any]:
    return {"role": "tool", "name": name, "content": text}


def assistant(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def calling(*arguments: dict[str, Any], **more: Any) -> dict[str, Any]:
    calls = [
        {"type": "function", "function": {"name": "look_up", "arguments": a}} for a in arguments
    ]
    return assistant("", tool_calls=calls, **more)


def thoughtful(name: str) -> dict[str, Any]:
    """What is thought in a turn, where a generation of this template begins with a thought."""
    thinks = name in ("qwen3_training", "qwen3_8", "qwen3_5_think_training", "qwen3_6_training")
    return {"reasoning_content": "pondered"} if thinks else {}


class TestPieces:
    @pytest.mark.parametrize("name", [*STABLE, *WORDS[:-2]])
    def test_of_users_turns_are_the_whole(self, name: str) -> None:
        made, thought = codec(name), thoughtful(name)
        talk = [
            user("2+2?"),
            assistant("4.", **thought),
            user("\u00e9\u4e2d\n\nand?"),
            assistant("x"),
            user("?"),
        ]
        talk[3] |= thought
        assert play(made, talk) == ids_of(made, whole(made, talk))

    @pytest.mark.parametrize("name", [name for name in STABLE if name != "lfm2"])
    def test_of_tools_turns_are_the_whole(self, name: str) -> None:
        made, thought = codec(name), thoughtful(name)
        single = calling({"place": "Oslo", "count": 2}, **thought)
        talk = [user("where?"), single, answer("north"), single, answer('{"a": 1}')]
        talk += [assistant("There.", **thought), user("sure?")]
        assert play(made, talk, TOOLS) == ids_of(made, whole(made, talk, tools=TOOLS))

    @pytest.mark.parametrize(
        "name", [name for name in STABLE if name not in ("lfm2", "llama3_1", "llama3_2")]
    )
    def test_of_two_tools_answers_in_a_row_are_the_whole(self, name: str) -> None:
        made, thought = codec(name), thoughtful(name)
        double = calling({"place": "Oslo"}, {"place": "Bergen"}, **thought)
        talk = [
            user("where?"),
            double,
            answer("north"),
            answer("west"),
            assistant("There.", **thought),
        ]
        talk += [user("sure?")]
        assert play(made, talk, TOOLS) == ids_of(made, whole(made, talk, tools=TOOLS))

    @settings(max_examples=60, deadline=None)
    @given(
        st.sampled_from(["llama3_1", "qwen2_5", "gemma3", "phi3", "cohere"]),
        st.lists(st.text(min_size=1).filter(str.strip), min_size=3, max_size=3),
    )
    def test_of_odd_characters_are_the_whole(self, name: str, texts: list[str]) -> None:
        made = codec(name)
        texts = [text.strip().encode("utf-8", "replace").decode() for text in texts]
        talk = [user(texts[0]), assistant(texts[1]), user(texts[2])]
        assert play(made, talk) == ids_of(made, whole(made, talk))

    @settings(max_examples=40, deadline=None)
    @given(st.sampled_from(STABLE), st.text(min_size=1).filter(str.strip), st.binary(max_size=9))
    def test_what_was_sampled_changes_nothing_behind_it(
        self, name: str, text: str, sampled: bytes
    ) -> None:
        made, text = codec(name), text.encode("utf-8", "replace").decode()
        ids = opening(made, [user("2+2?")], TOOLS)
        for new in ([user(text)], [answer(text), user("and?")]):
            added = following(made, [*ids, *sampled, made.stop_ids[0]], new, TOOLS)
            assert added == following(made, [*ids, made.stop_ids[0]], new, TOOLS)

    def test_an_opening_is_what_the_row_is_encoded_as(self) -> None:
        made = codec("qwen2_5")
        asked = Conversation([user("2+2?")], tools=TOOLS)
        assert opening(made, [user("2+2?")], TOOLS) == made.encode([asked])[0]
        assert opening(made, asked) == made.encode([asked])[0]
        assert opening(made, "2+2=") == made.encode(["2+2="])[0]


class TestEndOfTurn:
    def test_the_sampled_stop_is_the_first_of_it(self) -> None:
        made = codec("qwen2_5")
        end = made.tokenizer.convert_tokens_to_ids("<|im_end|>")
        added = following(made, [1, 2, end], [user("more")])
        assert made.raw(added) == "\n<|im_start|>user\nmore<|im_end|>\n<|im_start|>assistant\n"

    def test_a_turn_that_was_cut_gets_all_of_it(self) -> None:
        made = codec("qwen2_5")
        assert made.raw(following(made, [1, 2], [user("more")], ended=False)).startswith(
            "<|im_end|>\n<|im_start|>user"
        )
        added = following(made, [1, 2], [answer("more")], TOOLS, ended=False)
        assert made.raw(added).startswith("<|im_end|>\n<|im_start|>user\n<tool_response>")

    @pytest.mark.parametrize(
        ("name", "stop", "added"),
        [
            ("qwen2_5", "<|endoftext|>", "\n<|im_start|>user\nmore"),
            ("gptoss", "<|return|>", "<|start|>user<|message|>more"),
            ("glm4moe", "<|user|>", "\nmore<|assistant|>"),
            ("glm4moe", "<|endoftext|>", "<|user|>\nmore<|assistant|>"),
        ],
    )
    def test_a_stop_token_stands_for_another(self, name: str, stop: str, added: str) -> None:
        made = codec(name)
        token = made.tokenizer.convert_tokens_to_ids(stop)
        assert made.raw(following(made, [1, 2, token], [user("more")])).startswith(added)

    def test_a_template_that_ends_a_turn_where_the_next_begins(self) -> None:
        made = of(chat("earlier"))
        end = made.tokenizer.eos_token_id
        added = following(made, [9, end], [user("more")])
        assert made.raw(added) == "\n<|im_start|>user\nmore<|im_end|>\n<|im_start|>assistant\n"

    def test_the_tool_is_named_where_a_template_names_it(self) -> None:
        made = codec("gptoss")
        call = made.tokenizer.convert_tokens_to_ids("<|call|>")
        added = following(made, [1, call], [answer("north")], TOOLS)
        assert made.raw(added) == (
            '<|start|>functions.look_up to=assistant<|channel|>commentary<|message|>"north"<|end|>'
            "<|start|>assistant"
        )

    def test_a_tokenizer_that_puts_a_blank_before_a_text(self) -> None:
        template = chat("llama2").chat_template
        made = of(pieces("always", chat_template=template))
        end = made.tokenizer.eos_token_id
        talk = [user("ab"), assistant("cd"), user("ef")]
        ids = opening(made, talk[:1])
        ids += [*made.behind(" cd "), end]
        assert ids + following(made, ids, talk[2:]) == made.encode([talk])[0]

    def test_a_text_is_appended_as_it_is(self) -> None:
        made = codec("qwen2_5")
        for text in ("", " higher\n", "\u00e9<|im_end|>"):
            added = following(made, [1, 2], text)
            assert added == ids_of(made, text)

    @pytest.mark.parametrize(
        ("name", "new", "said"),
        [
            ("gemma3", [answer("x")], "refuses new messages \\(tool\\).*must alternate"),
            ("gemma3", [user("x"), user("y")], "refuses new messages \\(user, user\\)"),
            ("phi3", [answer("north")], "leaves out new message 0 \\(tool\\)"),
            ("qwen2_5", [user("a\ud800")], "ends in half of a surrogate pair"),
            ("qwen2_5", "a\ud800", "ends in half of a surrogate pair"),
            ("qwen2_5", [{"role": "user"}], "row 3: message 0 \\(user\\) has no content"),
        ],
    )
    def test_what_a_template_cannot_say_is_refused(
        self, name: str, new: list[Any], said: str
    ) -> None:
        with pytest.raises(PolicyError, match=f"row 3: .*{said}" if "row" not in said else said):
            following(codec(name), [1, 2], new, where="row 3")


class TestProbe:
    @pytest.mark.parametrize("name", STABLE)
    def test_templates_that_carry_tools(self, name: str) -> None:
        check_turns(codec(name))
        check_turns(codec(name), TOOLS)

    @pytest.mark.parametrize("name", WORDS)
    def test_templates_that_carry_words_alone(self, name: str) -> None:
        check_turns(codec(name))
        with pytest.raises(PolicyError) as refused:
            check_turns(codec(name), TOOLS)
        assert "has no place for tools" in str(refused.value)
        assert str(refused.value).endswith(
            "expected environment: tools_in: prompt, which describes the tools in words"
        )

    @pytest.mark.parametrize(
        ("name", "choice"),
        [
            ("qwen3", "expected environment: template: training, which takes TRL's variant"),
            ("qwen3_5_think", "expected environment: template: training"),
            ("qwen3_5_nothink", "expected environment: template: training"),
            ("qwen3_6", "{preserve_thinking: true}, or environment: template: training"),
            ("lfm2_2_5", "expected task: chat_template_kwargs: {preserve_thinking: true}"),
            ("nemotron_3_nano", "chat_template_kwargs: {truncate_history_thinking: false}"),
            ("gemma4_v5", "expected task: chat_template_kwargs: {enable_thinking: false}"),
            ("glm4moe", "expected task: chat_template_kwargs: {enable_thinking: false}"),
            ("deepseek_r1_distill", "expected environment: template: training"),
            ("gptoss", "expected another one"),
        ],
    )
    def test_templates_that_rewrite_are_refused_with_the_choice(
        self, name: str, choice: str
    ) -> None:
        with pytest.raises(PolicyError) as refused:
            check_turns(codec(name))
        words = str(refused.value)
        assert choice in words
        assert "rewrites what" in words
        assert "\n" not in words

    @pytest.mark.parametrize("name", ["qwen3", "qwen3_5_think", "deepseek_r1_distill"])
    def test_the_training_variant_carries_them_and_is_saved(
        self, name: str, tmp_path: Path
    ) -> None:
        tokenizer = real(name)
        take_training_template(tokenizer)
        check_turns(of(tokenizer))
        tokenizer.save_pretrained(tmp_path)
        again = AutoTokenizer.from_pretrained(tmp_path)
        assert (
            again.chat_template == tokenizer.chat_template == real(f"{name}_training").chat_template
        )
        take_training_template(again)  # of a policy that goes on
        assert again.chat_template == tokenizer.chat_template

    def test_the_arguments_that_are_named_carry_them(self) -> None:
        check_turns(codec("glm4moe", enable_thinking=False), TOOLS)
        check_turns(codec("lfm2_2_5", preserve_thinking=True), TOOLS)
        check_turns(codec("nemotron_3_nano", truncate_history_thinking=False), TOOLS)

    def test_tools_in_words_go_with_another_choice(self) -> None:
        both = "expected environment: tools_in: prompt, .*, with environment: template: training"
        with pytest.raises(PolicyError, match=both):
            check_turns(codec("deepseek_r1_distill"), TOOLS)

    def test_a_template_that_trl_does_not_know_has_no_variant(self) -> None:
        with pytest.raises(PolicyError, match="TRL has no variant"):
            take_training_template(chat("qwen3"))
        with pytest.raises(PolicyError, match="becomes 'llmpolicy<.*expected another one"):
            check_turns(of(chat("qwen3")))

    def test_a_template_that_moves_its_tools_to_the_last_question(self) -> None:
        tokenizer = chat("mistral", special=["[TOOLS]"])
        tokenizer.chat_template = (
            "{% for m in messages %}{% if m.role == 'user' %}{% if loop.last and tools %}[TOOLS]"
            "{{ tools | tojson }}{% endif %}[INST]{{ m.content }}[/INST]{% elif m.role == 'tool' %}"
            "{% if m.tool_call_id is not defined %}{{ raise_exception('no id') }}{% endif %}"
            "{% else %}{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
        )
        check_turns(of(tokenizer))
        moved = "rewrites what a turn follows on: 'TOOLS.*expected environment: tools_in: prompt"
        with pytest.raises(PolicyError, match=moved):
            check_turns(of(tokenizer), TOOLS)
        tokenizer.chat_template = str(tokenizer.chat_template).replace("loop.last", "loop.first")
        with pytest.raises(PolicyError, match="refuses.*no id.*expected environment: tools_in"):
            check_turns(of(tokenizer), TOOLS)

    def test_shapes_in_short(self) -> None:
        for name in ("chatml", "llama3", "mistral", "gemma", "phi", "earlier", "llama2"):
            check_turns(of(chat(name)))
        with pytest.raises(PolicyError, match="rewrites what"):
            check_turns(of(chat("r1")))

    @pytest.mark.parametrize("name", [name for name in STABLE if name != "lfm2"])
    def test_what_carries_tools_does_so_for_trl(self, name: str) -> None:
        tokenizer = codec(name).tokenizer
        assert supports_tool_calling(tokenizer)
        assert is_chat_template_prefix_preserving(tokenizer)

    @pytest.mark.parametrize("name", FORGETS)
    def test_templates_that_forget_are_refused(self, name: str) -> None:
        with pytest.raises(PolicyError, match="^the chat template rewrites what"):
            check_turns(codec(name))

    def test_a_probe_says_nothing_beside(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level("WARNING", "llmpolicy"):
            check_turns(of(real("qwen2_5")), TOOLS)
            with pytest.raises(PolicyError):
                check_turns(of(real("qwen3")), TOOLS)
        assert not caplog.records


ARGUMENTS = {"place": "7", "count": 7, "deep": True, "tags": ["a", "b"]}
CALLS = ["gemma4", "gemma4_v2", "glm4moe", "gptoss", "lfm2_v2", "lfm2_2_5", "llama3_1", "llama3_2"]
CALLS += ["qwen2_5", "qwen3", "qwen3_5_nothink", "qwen3_6", "qwen3_8", "qwen3_instruct_2507"]


def called(codec: Codec, *arguments: dict[str, Any]) -> tuple[list[int], list[int]]:
    """The ids of a state and of the turn in which the template calls a tool."""
    asked = [user("where?")]
    turn = next(iter(forms([*asked, calling(*arguments)])))[1]
    begun = whole(codec, asked, tools=TOOLS)
    ended = whole(codec, [*asked, turn], tools=TOOLS, add_generation_prompt=False)
    return ids_of(codec, begun), turn_of(codec, begun, ended)


def reads(text: str, tools: Sequence[Any] = TOOLS) -> Any:
    made = codec("qwen2_5")
    return read_reply(made, ids_of(made, text), (), tools)


class TestReading:
    @pytest.mark.parametrize("name", CALLS)
    def test_calls_are_read_as_the_templates_own_schema_reads_them(self, name: str) -> None:
        made = codec(name)
        state, turn = called(made, ARGUMENTS)
        reply = read_reply(made, turn, state, TOOLS)
        assert (reply.calls, reply.problem) == ([ToolCall("look_up", ARGUMENTS)], None)
        assert misuse(TOOLS, reply.calls[0].name, reply.calls[0].arguments) == ""
        known: Any = SimpleNamespace(chat_template=made.tokenizer.chat_template)
        add_response_schema(known)
        parsed = made.tokenizer.parse_response(
            turn, known.response_template, prefix=state, tools=TOOLS
        )
        calls = [call["function"] for call in parsed["tool_calls"]]
        assert [ToolCall(call["name"], call["arguments"]) for call in calls] == reply.calls

    @pytest.mark.parametrize(
        "name", [name for name in CALLS if name not in ("gptoss", "llama3_1", "llama3_2")]
    )
    def test_two_calls(self, name: str) -> None:
        made = codec(name)
        state, turn = called(made, {"place": "Oslo"}, {"place": "Bergen"})
        calls = read_reply(made, turn, state, TOOLS).calls
        assert [call.arguments["place"] for call in calls] == ["Oslo", "Bergen"]

    @pytest.mark.parametrize(
        "text",
        [
            plain_call("look_up", {"place": "Oslo"}),
            "Let me see.\n" + plain_call("look_up", {"place": "Oslo"}),
            '{"name": "look_up", "arguments": {"place": "Oslo"}}',
            '```json\n{"name": "look_up", "parameters": {"place": "Oslo"}}\n```',
            'look_up(place="Oslo")',
            '[TOOL_CALLS][{"name": "look_up", "arguments": {"place": "Oslo"}}]',
            "<think>\n<tool_call>no</tool_call>\n</think>\n\n"
            + plain_call("look_up", {"place": "Oslo"}),
        ],
    )
    def test_forms_that_any_model_may_write(self, text: str) -> None:
        reply = reads(text)
        assert (reply.calls, reply.problem) == ([ToolCall("look_up", {"place": "Oslo"})], None)
        assert reads(text, ()).calls == []

    @pytest.mark.parametrize(
        "text",
        [
            "It is in the north.",
            "Action: go north",
            '{"name": "Bob"}',
            '{"answer": 5}',
            "guess(number=5)",
            "<think>\n<tool_call>",
            "a < b and [c]",
            "<b>north</b>",
        ],
    )
    def test_words_are_no_calls(self, text: str) -> None:
        assert (reads(text).calls, reads(text).problem) == ([], None)

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ('<tool_call>\n{"name": "look_up", "arguments": {', "not closed"),
            ('<tool_call>{"name": "look_up", "arguments": {"place": }}</tool_call>', "not JSON"),
            ("<tool_call>\nlook up Oslo\n</tool_call>", "cannot be read"),
            ('<tool_call>{"arguments": {}}</tool_call>', "without a name"),
            ('{"name": "look_up", "arguments": {"place": "Oslo"', "cannot be read"),
            ('I call {"name": "look_up", "arguments": {"place": "Oslo"}} now', "cannot be read"),
            ("</tool_call>", "cannot be read"),
        ],
    )
    def test_an_attempt_is_told_to_the_model(self, text: str, why: str) -> None:
        reply = reads(text)
        assert reply.calls == []
        assert why in str(reply.problem)
        assert "write it again" in str(reply.problem)

    def test_a_call_in_a_thought_that_goes_on_is_none(self) -> None:
        made = codec("qwen3_5_think_training")
        state = opening(made, [user("where?")], TOOLS)
        turn = made.behind("I call <tool_call>{")
        assert read_reply(made, turn, state, TOOLS)[1:] == ([], None)

    @settings(max_examples=150, deadline=None)
    @given(st.sampled_from(["qwen2_5", "gptoss", "glm4moe", "lfm2_v2"]), st.data())
    def test_nothing_that_is_written_raises(self, name: str, data: st.DataObject) -> None:
        made = codec(name)
        ids = st.lists(st.integers(0, len(made.tokenizer) - 1), max_size=20)
        marked = st.sampled_from([made.behind(mark) for mark in ("<tool_call>", "{", '"name":')])
        turn = [token for part in data.draw(st.lists(st.one_of(ids, marked))) for token in part]
        reply = read_reply(made, turn, [1], TOOLS)
        assert not (reply.calls and reply.problem)
        for call in reply.calls:
            misuse(TOOLS, call.name, call.arguments)

    @settings(max_examples=40, deadline=None)
    @given(st.dictionaries(st.text(max_size=5), st.text() | st.integers() | st.booleans()))
    def test_the_plain_form_is_read_as_it_was_written(self, arguments: dict[str, Any]) -> None:
        if "<" not in str(arguments) and str(arguments).isprintable():
            [call] = reads(plain_call("look_up", arguments), [OPEN]).calls
            assert call.arguments == arguments


class TestCheck:
    @pytest.mark.parametrize(
        "arguments",
        [
            {"place": "Oslo"},
            ARGUMENTS,
            {"place": "", "range": None, "tags": []},
            {"place": "x", "range": 1, "unit": "km"},
        ],
    )
    def test_calls_that_fit(self, arguments: dict[str, Any]) -> None:
        assert misuse(TOOLS, "look_up", arguments) == ""

    @pytest.mark.parametrize(
        ("name", "arguments", "why"),
        [
            ("look", {}, "there is no tool 'look'; did you mean 'look_up'?"),
            ("fly", {}, "there is no tool 'fly'; expected one of: look_up, wait"),
            ("look_up", {}, "look_up needs the argument 'place'"),
            ("look_up", {"place": 7}, "the argument 'place' of look_up is 7; expected string"),
            ("look_up", {"place": "x", "plase": 1}, "look_up has no argument 'plase'; did you mean 'place'?"),
            ("look_up", {"place": "x", "count": "7"}, "the argument 'count' of look_up is '7'; expected integer"),
            ("look_up", {"place": "x", "count": 7.5}, "the argument 'count' of look_up is 7.5; expected integer"),
            ("look_up", {"place": "x", "count": True}, "the argument 'count' of look_up is True; expected integer"),
            ("look_up", {"place": "x", "tags": ["a", 1]}, "the argument 'tags' of look_up is ['a', 1]; expected"),
            ("look_up", {"place": "x", "range": "far"}, "the argument 'range' of look_up is 'far'; expected"),
            ("look_up", {"place": "x", "unit": "mile"}, "the argument 'unit' of look_up is 'mile'; expected one of: 'm', 'km'"),
            ("wait", {"for": 1}, "wait has no argument 'for'; it takes none"),
            ("wait", {"\ud800": 1}, "wait has no argument '\\ud800'"),
            ("\ud800", {}, "there is no tool '\\ud800'"),
        ],
    )  # fmt: skip
    def test_calls_that_do_not(self, name: str, arguments: dict[str, Any], why: str) -> None:
        assert why in misuse(TOOLS, name, arguments)

    def test_what_is_the_same_value_takes_the_schemas_type(self) -> None:
        [call] = reads(
            '{"name": "look_up", "arguments": {"place": "x", "count": 7.0, "range": 2.0}}'
        ).calls
        assert call.arguments == {"place": "x", "count": 7, "range": 2.0}
        assert type(call.arguments["count"]) is int
        assert type(call.arguments["range"]) is float
        written = "<parameter=place>\n7\n</parameter>\n<parameter=count>\n7\n</parameter>"
        [call] = reads(
            f"<tool_call>\n<function=look_up>\n{written}\n</function>\n</tool_call>"
        ).calls
        assert call.arguments == {"place": "7", "count": 7}


class TestInWords:
    def test_tools_are_described_with_the_plain_form(self) -> None:
        text = plain_tools(TOOLS)
        for words in ("look_up(place, count?, deep?", "place: string, Where to look.", "- wait()"):
            assert words in text
        assert 'unit: string, one of ["m", "km"]' in text
        assert plain_call("NAME", {"ARGUMENT": "VALUE"}) in text

    def test_a_prompt_begins_with_them(self) -> None:
        for asked in (
            with_tools([user("where?")], TOOLS)[0]["content"],
            with_tools("where?", TOOLS),
        ):
            assert asked == f"{plain_tools(TOOLS)}\n\nwhere?"

    def test_answers_become_a_users_words(self) -> None:
        talk = [answer("north"), answer("west"), user("and?"), user("so?")]
        assert in_words(talk) == [
            user(f"{plain_answer(talk[0])}\n{plain_answer(talk[1])}\nand?"),
            user("so?"),
        ]
        assert in_words(talk[3:]) == talk[3:]
        assert in_words([user("a"), talk[0], assistant("b")]) == [
            user(f"a\n{plain_answer(talk[0])}"),
            assistant("b"),
        ]

    @pytest.mark.parametrize("name", WORDS)
    def test_a_template_without_tools_carries_them(self, name: str) -> None:
        made = codec(name)
        new = in_words([answer("north"), answer("west")])
        assert "<tool_response>" in made.raw(following(made, [1, made.stop_ids[0]], new))
