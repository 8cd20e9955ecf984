"""Calls of tools are read in the dialects that models write, compared by their types, and not where
they are only spoken of.
"""

import json
import time

import pytest

from reward_fns import tool_call

ARGUMENTS = {"city": "Oslo", "days": 2, "dry": True, "note": "5"}
GOLD, CLOCK = {"name": "weather", "arguments": ARGUMENTS}, {"name": "time", "arguments": {}}


def _shown(value):
    return value if isinstance(value, str) else json.dumps(value)


def dialects(name, arguments):
    """A call in each dialect, by the family that writes it so."""
    text, call = json.dumps(arguments), json.dumps({"name": name, "arguments": arguments})
    llama = json.dumps({"name": name, "parameters": arguments})
    command = json.dumps({"tool_call_id": "0", "tool_name": name, "parameters": arguments})
    lines = "\n".join(
        f"<parameter={key}>\n{_shown(value)}\n</parameter>" for key, value in arguments.items()
    )
    brief = "".join(f"<parameter={key}>{value}</parameter>" for key, value in arguments.items())
    invoked = "".join(
        f'<parameter name="{key}">{_shown(value)}</parameter>\n' for key, value in arguments.items()
    )
    keyed = "\n".join(
        f"<arg_key>{k}</arg_key>\n<arg_value>{_shown(v)}</arg_value>" for k, v in arguments.items()
    )
    named = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    to, begins, sep = "to=functions." + name, "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>"
    return {
        "Hermes": f"<tool_call>\n{call}\n</tool_call>",
        "Hermes with its end": f"<tool_call>\n{call}\n</tool_call><|im_end|>",
        "Qwen-Coder": f"<tool_call>\n<function={name}>\n{lines}\n</function>\n</tool_call>",
        "Qwen-Coder in one line": f"<tool_call><function={name}>{brief}</function></tool_call>",
        "Qwen-Coder without its frame": f"<function={name}>\n{lines}\n</function>",
        "Seed": f"<seed:tool_call>\n<function={name}>\n{lines}\n</function>\n</seed:tool_call>",
        "MiniMax": (
            f'<minimax:tool_call>\n<invoke name="{name}">\n{invoked}</invoke>\n</minimax:tool_call>'
        ),
        "GLM": f"<tool_call>{name}\n{keyed}\n</tool_call>",
        "Llama's own functions": f"<function={name}>{text}</function>",
        "Llama": f"<|python_tag|>{llama}<|eom_id|>",
        "Llama's built-in": f"<|python_tag|>{name}.call({named})",
        "Llama alone": llama,
        "BFCL": f"[{name}({named})]",
        "Python": f"{name}({named})",
        "Gemma": f"```tool_code\n{name}({named})\n```",
        "LFM": f"<|tool_call_start|>[{name}({named})]<|tool_call_end|>",
        "OLMo": f"<function_calls>\n{name}({named})\n</function_calls>",
        "Mistral": f"[TOOL_CALLS] [{call}]",
        "Mistral with its end": f"[TOOL_CALLS] [{call}]</s>",
        "Mistral, newer": f"[TOOL_CALLS]{name}[ARGS]{text}",
        "Mistral with an id": f"[TOOL_CALLS]{name}[CALL_ID]abc1[ARGS]{text}",
        "DeepSeek": (
            f"<｜tool▁calls▁begin｜>{begins}function{sep}{name}\n```json\n{text}\n```"
            "<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
        ),
        "DeepSeek, newer": (
            f"<｜tool▁calls▁begin｜>{begins}{name}{sep}{text}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
        ),
        "Kimi": (
            f"<|tool_calls_section_begin|><|tool_call_begin|>functions.{name}:0<|tool_call_argument_begin|>{text}"
            "<|tool_call_end|><|tool_calls_section_end|>"
        ),
        "gpt-oss": (
            f"<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary {to}"
            f" <|constrain|>json<|message|>{text}<|call|>"
        ),
        "gpt-oss, its name first": (
            "<|start|>assistant"
            f" {to}<|channel|>commentary<|constrain|>json<|message|>{text}<|call|>"
        ),
        "Command": (
            f"<|START_THINKING|>Hm.<|END_THINKING|><|START_ACTION|>[{command}]<|END_ACTION|>"
        ),
        "Command R": f"Action: ```json\n[{command}]\n```",
        "Granite": f"<|tool_call|>[{call}]",
        "Hunyuan": f"<tool_calls>[{call}]</tool_calls>",
        "Nemotron": f"<TOOLCALL>[{call}]</TOOLCALL>",
        "InternLM": f"<|action_start|><|plugin|>{call}<|action_end|>",
        "OpenAI": json.dumps(
            {"tool_calls": [{"id": "1", "type": "function", "function": json.loads(call)}]}
        ),
    }


RIGHT, NONE = dialects("weather", ARGUMENTS), dialects("time", {})
UNTYPED = ("Qwen-Coder", "Seed", "MiniMax", "GLM")
FRAMED = (
    "Hermes",
    "Qwen-Coder",
    "MiniMax",
    "GLM",
    "Llama's own functions",
    "LFM",
    "Kimi",
    "DeepSeek",
    "Hunyuan",
)


def paid(completion, answer, **more):
    return tool_call.match(completion, answer, **more).value


@pytest.mark.parametrize("name", RIGHT)
def test_a_call_is_read_in_each_dialect_and_no_other_call_is_paid(name):
    assert paid(RIGHT[name], GOLD) == paid(NONE[name], CLOCK) == 1.0
    changes = [{"city": "Rome"}, {"days": 3}, {"x": 1}, {"dry": False}]
    changes += [] if name.startswith(UNTYPED) else [{"note": 5}, {"days": "2"}, {"dry": "True"}]
    wrong = [dialects("weather", {**ARGUMENTS, **change})[name] for change in changes]
    wrong += [
        dialects("weather", {"city": "Oslo"})[name],
        dialects("wether", ARGUMENTS)[name],
        NONE[name],
    ]
    wrong += [f"<think>{RIGHT[name]}</think>Nothing to do."]
    assert [text for text in wrong if paid(text, GOLD) != 0.0] == []
    assert paid(RIGHT[name], []) == paid(NONE[name], []) == 0.0, "no call was to be made"


@pytest.mark.parametrize("name", FRAMED)
def test_what_stands_around_a_call_says_whether_it_is_made(name):
    call, other = RIGHT[name], NONE[name]
    assert (
        paid(f"{call}\n{other}", [GOLD, CLOCK])
        == paid(f"{other}{call}", [GOLD, CLOCK], ordered=False)
        == 1.0
    )
    assert (
        paid(f"I will look.\n{call}", GOLD)
        == paid(f"Let me check if it will rain: {call}\nOne moment.", GOLD)
        == 1.0
    )
    assert (
        paid(f"I could not find it in my notes, so I look.\n{call}", GOLD)
        == paid(f"{call} One moment.", GOLD)
        == 1.0
    )
    assert paid(f"I cannot make a guess, so I ask: {call}", GOLD) == 1.0
    wrong = [
        f"{call}\n{call}", f'I could call "{call}", but I will not.', f"I would call {call} but I have no access.", f"`{call}`",
        f"I would call\n{call}\nbut I have no access.", f"Do not call\n{call}", f"I'd use {call}", f"```\n{call}\n```\nNo.",
        f"<!-- {call} --> Nothing.", f"{call} would be the call.", f"Never make this call: {call}", f"我会调用{call}但是没有权限。",
        f"I could use the following tool:\n{call}", call[: len(call) // 2],
    ]  # fmt: skip
    assert [text for text in wrong if paid(text, GOLD) != 0.0] == []


def test_several_calls_and_two_dialects_at_once():
    arguments, call, clock = json.dumps(ARGUMENTS), json.dumps(GOLD), json.dumps(CLOCK)
    to = "<|channel|>commentary to=functions."
    for both in (
        f"[TOOL_CALLS]weather[ARGS]{arguments}[TOOL_CALLS]time[ARGS]{{}}", f"[TOOL_CALLS][{call}, {clock}]",
        f"<|python_tag|>{call}; {clock}", "[weather(city='Oslo', days=2, dry=True, note='5'), time()]",
        f"{to}weather <|constrain|>json<|message|>{arguments}<|call|><|start|>assistant{to}time<|message|>{{}}<|call|>",
    ):  # fmt: skip
        assert paid(both, [GOLD, CLOCK]) == 1.0
        assert paid(both, GOLD) == paid(both, [CLOCK, GOLD]) == 0.0
    assert (
        paid(f"{RIGHT['Hermes']}{RIGHT['Mistral']}", GOLD)
        == paid(f"{RIGHT['Mistral']}\n{RIGHT['Hermes']}", GOLD)
        == 0.0
    )


@pytest.mark.parametrize(
    ("expected", "written", "right"),
    [
        ("5", "5", 1), (5, "5", 1), (5, "5.0", 1), (5, "'5'", 0), (5, "five", 0), ("a b", " a b", 0), ("a\nb", "a\nb", 1),
        (True, "true", 1), (True, "True", 1), (True, "1", 0), ("True", "True", 1), (None, "null", 1), ([1, 2], "[1, 2]", 1),
        ({"a": 1}, '{"a": 1}', 1), ("[1]", "[1]", 1), ("<b>x</b>", "<b>x</b>", 1), ("x", '"x"', 0), ("", "", 1),
    ],
)  # fmt: skip
def test_bare_text_is_read_as_the_expected_argument_is(expected, written, right):
    gold = json.dumps({"name": "f", "arguments": {"x": expected}})
    coder = f"<tool_call>\n<function=f>\n<parameter=x>\n{written}\n</parameter>\n</function>\n</tool_call>"
    glm = f"<tool_call>f\n<arg_key>x</arg_key>\n<arg_value>{written}</arg_value>\n</tool_call>"
    assert paid(coder, gold) == paid(glm, gold) == right


def test_python_calls_have_named_literals_and_nothing_else():
    gold = {"name": "f", "arguments": {"x": 1}}
    assert [
        text
        for text in ("[f(x=1)]", "f(x=1)", "[f(x=1.0)]", "[ f( x = 1 ) ]")
        if paid(text, gold) != 1.0
    ] == []
    wrong = [
        "[f(1)]",
        "[f(x=1, **{})]",
        "[f(x=g())]",
        "[f(x=1)] done",
        "f(x=1); f(x=1)",
        "[f(x=1), 2]",
        "[f(x='1')]",
        "[[f(x=1)]]",
    ]
    wrong += [
        "[f(x=True)]",
        "y = f(x=1)",
        "[lambda: f(x=1)]",
        "[f(x=1, x=1)]",
        "[f(x=" + "(" * 9000,
        "[f(x=" + "-" * 9000 + "1)]",
    ]
    assert [text for text in wrong if paid(text, gold) != 0.0] == []


def test_where_no_call_is_expected_a_reply_in_words_is_paid_and_no_attempt():
    right = [
        "No tool is needed: it is 4.",
        "I can't help with that.",
        '{"age": 5}',
        "[1] says so.",
        "f(x) = 3",
        "不需要调用工具。",
    ]
    right += [
        "The action: none is needed",
        "Name the arguments: pro and contra.",
        '```json\n{"a": 1}\n```',
    ]
    wrong = [
        "",
        ":",
        "  ",
        "<think>no</think>",
        'Sure: {"name": "weather", "arguments": {"city": "Oslo"}}',
        "<tool_call>",
        "<|python_tag|>",
    ]
    wrong += [
        'Action: weather\nAction Input: {"city": "Oslo"}',
        "<tool>weather</tool>",
        "Use [weather(city='Oslo')].",
        "[TOOL_CALLS",
    ]
    wrong += [
        '{"tool": 1, "name": "weather", "arguments": {}}',
        "to=functions.weather {}",
        "<tool_call></tool_call>",
    ]
    assert [text for text in right if paid(text, []) != 1.0] == []
    assert [text for text in wrong if paid(text, []) != 0.0] == []
    assert paid("weather(city) tells it", [], tools=[{"name": "weather"}]) == 0.0
    for unread in (None, "", " ", {}, "[{}]"):
        assert paid("No tool is needed.", unread) is None, (
            "an answer that is missing expects nothing"
        )


def test_no_text_takes_long():
    for text in (
        "<tool_call>" * 15_000, "<function=a>" * 15_000, "<invoke name=a>" * 12_000, "[TOOL_CALLS]" * 15_000, "\0" * 190_000,
        "<tool_call>a" + "<arg_key>" * 20_000 + "</tool_call>", "<function=a>" + "<parameter=a>" * 14_000 + "</function>",
        "to=a<|message|>" * 12_000, "<|channel|>a to=" * 10_000 + "<|message|>", "call " * 39_000,
        "would call " * 17_000 + RIGHT["Hermes"],
        "[f(x=" + "[" * 19_000, "```" * 60_000 + RIGHT["Hermes"], '"arguments": ' * 14_000, "<|start|>assistant " * 10_000,
        "<function=f>" + "".join(f"<parameter=p{i}>{i}</parameter>" for i in range(6000)) + "</function>",
    ):  # fmt: skip
        for answer in (GOLD, []):
            started = time.thread_time()
            paid(text, answer)
            assert time.thread_time() - started < 1.0, text[:40]
