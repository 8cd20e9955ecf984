"""Tool calls, citations, language, length, repetition, regular expressions: what is paid and what
is not.
"""

import asyncio
import base64
import importlib
import inspect
import json
import math
import random
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmpolicy.rewards import RewardError, Score, contract_of
from reward_fns import (
    citation,
    exact,
    json_answer,
    language,
    length,
    math_answer,
    regex,
    repetition,
    tool_call,
)

OWN = (
    "json_answer",
    "tool_call",
    "citation",
    "language",
    "length",
    "repetition",
    "regex",
    "reasoning_gym",
    "judge",
    "rubric",
)


def declared():
    for name in OWN:
        module = importlib.import_module(f"reward_fns.{name}")
        for function in vars(module).values():
            if (
                getattr(function, "__module__", None) == module.__name__
                and contract_of(function).range is not None
            ):
                yield pytest.param(function, id=f"{name}:{function.__name__}")


def value(returned):
    if inspect.isawaitable(returned):
        returned = asyncio.run(returned)
    return returned.value if isinstance(returned, Score) else returned


@pytest.mark.parametrize("function", list(declared()))
def test_every_reward_keeps_its_own_contract(function):
    contract = contract_of(function)
    assert [
        example for example in contract.passes if value(function(**example)) != contract.range[1]
    ] == []
    assert [
        example for example in contract.fails if value(function(**example)) != contract.range[0]
    ] == []
    assert contract.kind is not None and (contract.passes or contract.kind == "judge")


# --- tool calls
# ----------------------------------------------------------------------------------------------------------

OSLO = {"name": "weather", "arguments": {"city": "Oslo", "days": 2}}
TIME = {"name": "time", "arguments": {}}
TOOLS = [
    {"type": "function", "function": {"name": "weather", "parameters": {
        "type": "object", "required": ["city"], "additionalProperties": False,
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "default": 2}}}}},
    {"name": "time", "parameters": {"type": "object"}},
]  # fmt: skip


def tagged(*calls):
    return "\n".join(
        f"<tool_call>\n{call if isinstance(call, str) else json.dumps(call)}\n</tool_call>"
        for call in calls
    )


def called(completion, answer, **more):
    return tool_call.match(completion=completion, answer=answer, **more).value


def test_a_call_is_paid_in_every_form():
    right = [
        tagged(OSLO), json.dumps(OSLO), json.dumps([OSLO]), f"```json\n{json.dumps(OSLO)}\n```", f"I will look. {tagged(OSLO)}",
        f"<think>which?</think>{tagged(OSLO)}", tagged({"name": "weather", "parameters": OSLO["arguments"]}),
        f"```\n{tagged(OSLO)}\n```", f"I read `x` in\n```\ny\n```\nand call <!-- now -->\n{tagged(OSLO)}\nIt's done.",
        tagged({"type": "function", "function": OSLO}), tagged({"arguments": {"days": 2.0, "city": "Oslo"}, "name": "weather"}),
    ]  # fmt: skip
    for gold in (
        OSLO,
        [OSLO],
        json.dumps(OSLO),
        json.dumps([OSLO]),
        {"function": {**OSLO, "arguments": json.dumps(OSLO["arguments"])}},
    ):
        assert [text for text in right if called(text, gold) != 1.0] == []
    assert (
        called(tagged(OSLO, TIME), [OSLO, TIME])
        == called(tagged(TIME, OSLO), [OSLO, TIME], ordered=False)
        == 1.0
    )
    assert called("No tool is needed.", []) == called("No tool is needed.", "[]") == 1.0


def test_no_other_call_is_paid():
    text_arguments = {"name": "weather", "arguments": json.dumps(OSLO["arguments"])}
    wrong = [
        "",
        "Oslo",
        tagged({"name": "weather", "arguments": {"city": "Rome", "days": 2}}),
        tagged({"name": "weather"}),
        tagged(OSLO, OSLO),
        tagged({"name": "Weather", "arguments": OSLO["arguments"]}),
        tagged(text_arguments),
        f"<think>{tagged(OSLO)}</think>Done.",
        tagged(*[OSLO] * 20),
        tagged(TIME, OSLO),
        tagged({**OSLO, "arguments": {"city": "Oslo", "days": "2"}}),
        tagged("{}"),
        tagged({**OSLO, "arguments": {"city": "Oslo", "days": 2, "x": 1}}),
        f"<tool_call>{json.dumps(OSLO)}",
        "<think>" + tagged(OSLO),
        tagged('{"name": "time", "name": "weather", "arguments": {"city": "Oslo", "days": 2}}'),
        tagged({**OSLO, "note": 1}),
        tagged({**OSLO, "parameters": OSLO["arguments"]}),
        f"{json.dumps(OSLO)} or {json.dumps(TIME)}",
        tagged(f"{json.dumps(OSLO)};"),
        f"<tool_call><tool_call>{json.dumps(OSLO)}</tool_call></tool_call>",
        tagged(*[{"name": "x"}] * 70),
        "</tool_call><tool_call>",
        f'I could call "{tagged(OSLO)}", but I will not.',
        f"It would be `{tagged(OSLO)}`.",
        f"For instance:\n```\n{tagged(OSLO)}\n```\nNo.",
        f"<!-- {tagged(OSLO)} --> Nothing.",
    ]
    assert [text for text in wrong if called(text, OSLO) != 0.0] == []
    assert (
        called(tagged(TIME, OSLO), [OSLO, TIME])
        == called(tagged(OSLO, OSLO), [OSLO, TIME], ordered=False)
        == 0.0
    )
    assert called(tagged(OSLO), []) == called("", []) == called(":", []) == 0.0
    assert called(tagged(text_arguments), OSLO, text_arguments=True) == 1.0


def test_tools_say_what_fits_and_what_is_left_out():
    short = {"name": "weather", "arguments": {"city": "Oslo"}}
    assert called(tagged(short), OSLO) == 0.0
    assert (
        called(tagged(short), OSLO, tools=TOOLS)
        == called(tagged(OSLO), short, tools=json.dumps(TOOLS))
        == 1.0
    )
    assert (
        called(
            tagged({"name": "weather", "arguments": {"city": "Oslo", "days": 3}}),
            short,
            tools=TOOLS,
        )
        == 0.0
    )
    assert called(tagged({"name": "nothing", "arguments": {}}), OSLO, tools=TOOLS) == 0.0
    for gold in ({"name": "nothing"}, {"name": "weather", "arguments": {}}, "[{]", {"no": 1}, None):
        assert tool_call.match(tagged(OSLO), gold, tools=TOOLS).value is None
    with pytest.raises(RewardError, match="expected a name and parameters"):
        called(tagged(OSLO), OSLO, tools=[{"parameters": {}}])


# --- citations
# -----------------------------------------------------------------------------------------------------------

SOURCES = [
    f"Source {word} says that the {word} river is {n} km long."
    for n, word in enumerate(["one", "two", "three", "four", "five"], 7)
]


def cites(completion, answer=(2,), **more):
    return citation.score(completion=completion, answer=list(answer), sources=SOURCES, **more).value


def test_citing_the_right_sources_pays_and_citing_them_all_does_not():
    assert (
        cites("It is 8 km long [2].")
        == cites("It is 8 km long [doc 2]")
        == cites("It is 8 km【2】.")
        == cites("Long [2][2].")
        == 1.0
    )
    assert (
        cites("Long [1] [2] [3] [4] [5]")
        == cites("Long [1, 2, 3, 4, 5]")
        == cites("Long [3].")
        == cites("Long.")
        == 0.0
    )
    assert cites("8 km [2], 9 km [3].", (2, 3)) == cites("8 km [2, 3].", (3, 2)) == 1.0
    some = [cites(f"Long {cited}", (2, 3)) for cited in ("[2][3][1]", "[2]", "[2][1]", "[1]")]
    assert some == sorted(some, reverse=True) and 0 < some[1] < 1 and some[-1] == 0.0


def test_a_citation_must_exist_and_a_quotation_must_be_in_its_source():
    for wrong in (
        "Long [9].",
        "Long [2][9].",
        "[2]",
        "[2].",
        "`[2]`",
        "```\n[2]\n```",
        "<think>[2]</think>Long.",
        "[2](http://x)",
        "Long <!-- [2] -->.",
        "",
    ):
        assert cites(wrong) == 0.0, wrong
    for wrong in (
        'It says "the river is dry" [2].',
        "\u201cthe one river is 7 km\u201d [2]",
        "\u00abthe river is dry\u00bb [2]",
    ):
        assert cites(wrong) == 0.0, wrong
    for right in (
        'It says "the two river is 8 km long" [2].',
        "\u201cThe Two  river\u201d, [2]",
        'It says "two river is 8 km." [2]',
        "\u00abthe two river is 8 km long\u00bb [2]",
        "\u201ethe two river is 8 km long\u201c [2]",
        "\u300cthe two river is 8 km long\u300d\u3010" + "2\u3011",
    ):
        assert cites(right) == cites(right, quote=False) == 1.0, right
    assert cites('It says "the two river is 8 km long" [2].', quote=True) == 1.0
    assert (
        cites("It is 8 km long [2].", quote=True)
        == cites('It says "river" [2].', quote=True)
        == 0.0
    )


def test_sources_and_ids_come_in_several_forms():
    named = {"a1": SOURCES[0], "b2": SOURCES[1]}
    rows = [{"id": key, "text": text} for key, text in named.items()]
    for sources in (named, rows, json.dumps(named), json.dumps(rows)):
        for gold in ("b2", ["b2"], '["b2"]'):
            assert citation.score("Long [b2].", gold, sources).value == 1.0
    for gold in ([], None, [9], ["a1", "b2"]):
        assert citation.score("Long [b2].", gold, named).value is None
    for bad in ("x", 5, ["one"], [{"id": 1}], {"a": None}):
        with pytest.raises(RewardError, match="citation:score"):
            citation.score("Long [b2].", ["b2"], bad)


@given(st.integers(2, 12), st.data())
@settings(max_examples=60, deadline=None)
def test_no_set_of_citations_beats_the_right_one_and_all_of_them_pay_nothing(n, data):
    sources = [f"text {i} of many" for i in range(n)]
    gold = data.draw(st.sets(st.integers(1, n), min_size=1, max_size=n - 1))
    cited = data.draw(st.sets(st.integers(1, n), min_size=1))
    got = citation.score("So " + "".join(f"[{i}]" for i in cited), sorted(gold), sources).value
    assert (got == 1.0) == (cited == gold)
    assert 0.0 <= got <= 1.0
    assert (
        citation.score(
            "So " + "".join(f"[{i}]" for i in range(1, n + 1)), sorted(gold), sources
        ).value
        == 0.0
    )


# --- language, length, repetition, regex
# ---------------------------------------------------------------------------------


def test_language_is_the_share_of_letters_of_its_scripts():
    cases = {
        ("Привет, мир", "ru"): 1.0,
        ("Hello", "ru"): 0.0,
        ("コーヒー、漢字とかな", "ja"): 1.0,
        ("中文", "zh"): 1.0,
        ("中文", "en"): 0.0,
        ("हिन्दी में", "hi"): 1.0,
        ("123 !?", "en"): 0.0,
        ("", "en"): 0.0,
        ("abcд", "en"): 0.75,
        ("한국어", "ko"): 1.0,
        ("žluťoučký", "en"): 1.0,
        ("`привет` hi", "ru"): 0.0,
        ("```\nпривет\n```\nhi", "ru"): 0.0,
        ("[hi](http://привет.рф) hi", "ru"): 0.0,
        ("$привет$ hi", "ru"): 0.0,
        ("Ответ: $x = y$, `print(x)`, \\frac{1}{2} https://example.org", "ru"): 1.0,
        ("\\[ привет \\] hi", "ru"): 0.0,
        ("```привет", "ru"): 0.0,
    }
    assert {case: language.script(*case).value for case in cases} == cases
    assert language.script("<think>hi</think>Привет", "ru", think=False).value == 1.0
    assert 0 < language.script("<think>hi</think>Привет", "ru").value < 1
    with pytest.raises(RewardError, match="'xx'"):
        language.script("x", "xx")


def test_cosine_pays_what_trl_pays():
    from trl.rewards import get_cosine_scaled_reward

    for bounds in (
        {},
        {
            "min_value_wrong": -3.0,
            "max_value_wrong": -0.1,
            "min_value_correct": 0.2,
            "max_value_correct": 2.0,
        },
    ):
        theirs = get_cosine_scaled_reward(max_len=100, **bounds)
        for gold in ("3", "4"):
            for tokens in (0, 1, 25, 50, 99, 100, 101, 500):
                chat = [[{"content": r"\boxed{3}"}]]
                expected = theirs(chat, [rf"\boxed{{{gold}}}"], [[1] * tokens])[0]
                assert length.cosine(
                    r"\boxed{3}", [1] * tokens, gold, 100, **bounds
                ).value == pytest.approx(expected, abs=1e-12)


@given(st.integers(0, 300), st.integers(0, 300))
@settings(deadline=None)
def test_cosine_never_pays_a_wrong_answer_more_than_a_right_one(one, other):
    right = length.cosine("Answer: 3", range(one), "3", 100).value
    wrong = length.cosine("Answer: 4", range(other), "3", 100).value
    assert wrong <= -0.5 < 0.5 <= right
    longer = length.cosine("Answer: 3", range(one + 1), "3", 100).value
    assert longer <= right


def test_cosine_takes_another_correctness_and_refuses_what_makes_no_sense():
    assert length.cosine("x", [], "x", 10, correctness="exact:match").value == 1.0
    assert length.cosine("x", [], "", 10, correctness="exact:match").value is None
    for bad in (
        {"max_length": 0},
        {"max_length": 5, "max_value_wrong": 0.5},
        {"max_length": 5, "min_value_correct": 2.0},
    ):
        with pytest.raises(RewardError, match="length:cosine"):
            length.cosine("x", [], "x", **bad)


def test_a_completion_that_is_cut_off_gets_the_penalty():
    assert length.truncation("It ends.", False).value == 1.0
    assert length.truncation("It does not", True).value == length.truncation("", False).value == 0.0
    assert length.truncation("It does not", True, penalty=-1.0).value == -1.0
    for bad in (1.0, math.nan, -math.inf):
        with pytest.raises(RewardError, match="penalty"):
            length.truncation("x", True, penalty=bad)


PROSE = Path(__file__).parent.parent.joinpath("docs", "rewards.md").read_text(encoding="utf-8")


FOR_EVER = [
    "a" * 500, "a" * 60, "啊" * 300, "啊" * 60, "ab" * 200, "ha" * 200, "hmmm" * 100, "wait" * 100, "." * 400, "!" * 300,
    "0" * 500, "01" * 300, "0." + "3" * 500, "0 " * 300, "1, 2, " * 99, " " * 900, "\n" * 900, "\t" * 300, "\r\n" * 300,
    "\u3000" * 400,
    "\U0001f600" * 300, "-=" * 200, "#" * 500, "\\" * 300, "|" * 300, "| | |\n" * 99,
    "\u200b" * 500, "今天天气很好" * 50,
    "abcdefghijklmnop" * 40, "The answer is 5. " + "!" * 900, "-\n" * 200,
]  # fmt: skip
ORDINARY = [
    f"First part of it.\n\n{'-' * 80}\n\nAnother part comes here.\n{'=' * 100}\nAnd so it ends.", str(math.factorial(300)),
    "1" + "0" * 100, str(2**3000), ", ".join(map(str, range(1, 300))), "Hmmmmmmmmm, that is noooooot so.",
    "a" + " " * 100 + "b c d",
    "\n".join(f"| {word} | {i * 7 % 31} |" for i, word in enumerate(["rain", "hill", "bird", "noon"])) + "\n|---|---|",
    "\n".join(" ".join("01"[i == j] for j in range(9)) for i in range(9)), "Donaudampfschifffahrtsgesellschaftskapit\u00e4n",
    "我们先把方程两边同时平方然后整理得到一个二次方程最后求出两个根", "f" + "0123456789abcde" * 3,
    "┌" + "─" * 60 + "┐\n│ hello there │\n└" + "─" * 60 + "┘", "0." + "142857" * 10,
]  # fmt: skip


def test_what_goes_on_for_ever_is_repetition_though_it_holds_no_words():
    assert [
        text[:20]
        for text in FOR_EVER
        if repetition.penalty(text) > -0.8 or repetition.worst(text) > -0.8
    ] == []
    assert [text[:20] for text in ORDINARY if repetition.penalty(text) < -0.05] == []
    assert [
        text[:20]
        for text in FOR_EVER
        if len(text.encode()) >= 400 and repetition.compression(text) > -0.8
    ] == []


def test_repetition_is_seen_in_lines_and_in_what_compresses():
    stuck = [
        "I will try again.\n" * 200,
        "".join(f"{i}. So the next step is to try.\n" for i in range(200)),
        "さあ、やってみよう。" * 100,
    ]
    for text in stuck:
        assert repetition.worst(text) < -0.9, text[:20]
    assert repetition.lines("1. try it\n2. try it\n3. try it\n4. stop it now") == pytest.approx(
        -0.5
    )
    assert repetition.lines("a\na\n\n}\n}\n") == repetition.compression("ha " * 50) == 0.0
    rng = random.Random(0)
    fresh = base64.b64encode(rng.randbytes(3000)).decode()
    for text in (PROSE, fresh, Path(repetition.__file__).read_text(encoding="utf-8"), ""):
        assert repetition.compression(text) == 0.0
        assert repetition.lines(text) > -0.2
    assert repetition.compression("x" * 5000, max_penalty=-2.0) == -2.0
    for bad in ({"max_penalty": 1.0}, {"low": 0.5}, {"low": 0}):
        with pytest.raises(RewardError, match="repetition:compression"):
            repetition.compression("x", **bad)
    with pytest.raises(RewardError, match="repetition:lines"):
        repetition.lines("x", max_penalty=math.inf)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(?=a)b", "looks around"),
        ("(?<!a)b", "looks around"),
        (r"(a)\1", "refers back"),
        ("(?P<x>a)(?P=x)", "refers back"),
        ("(?>a)", "atomic"),
        ("a++", "possessive"),
        ("a{2000}", "at most 1000"),
        (r"a\Z", r"write \z"),
        (r"\u00e9", "write"),
        ("(", "not a regular expression"),
        ("[", "not a regular expression"),
        (5, "no text"),
        (None, "no text"),
        ("\ud800", "RE2"),
    ],
)
def test_a_pattern_that_needs_backtracking_is_refused_with_a_remedy(pattern, said):
    with pytest.raises(RewardError, match="regex:match got the pattern") as caught:
        regex.match("x", pattern)
    assert said in str(caught.value)


@given(st.text("ab.*+?|()[]^$\\d", max_size=10), st.text("ab1\n", max_size=8))
@settings(max_examples=300, deadline=None)
def test_regex_agrees_with_python_wherever_both_know_the_pattern(pattern, text):
    import re
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = re.compile(pattern, re.DOTALL | re.ASCII)
        ours = regex.match(text, pattern)
    except (re.error, RewardError):
        return
    assert ours.value == (1.0 if theirs.fullmatch(text.strip()) else 0.0)


def test_regex_reads_any_text():
    assert (
        regex.match("é", r"\p{L}").value
        == regex.match("\ud800", ".").value
        == regex.match("a\x00b", "a.b").value
        == 1.0
    )
    assert regex.match("٣", r"\d").value == 0.0


# --- nothing hangs
# -------------------------------------------------------------------------------------------------------

BOMBS = [
    "[" * 60_000,
    "[1" * 60_000,
    '"' * 100_000,
    '"a" [' * 30_000,
    "`" * 150_000,
    "```" * 50_000,
    "$" * 150_000,
    "\\[" * 70_000,
    "\\begin{" * 20_000,
    "<" * 150_000,
    "](" * 70_000,
    "<tool_call>" * 15_000,
    "<tool_call>{" * 14_000,
    "é\u0301" * 70_000,
    "\ud800",
    "a" * 190_000,
    "a b " * 45_000,
    "\n" * 190_000,
    "http://" * 25_000,
    "x" * 5_000_000,
    "[1]" * 60_000,
    '"aaaaaaaaaaaaaa" [1] ' * 9_000,
]
REWARDS = {
    "tool_call": lambda text: tool_call.match(text, OSLO, tools=TOOLS),
    "citation": lambda text: citation.score(text, [2], SOURCES, quote=True),
    "language": lambda text: language.script(text, "ja"),
    "cosine": lambda text: length.cosine(text, [1], "42", 10),
    "worst": lambda text: repetition.worst(text, [1, 2, 3]),
    "json": lambda text: json_answer.schema(text, {"type": "object"}, OSLO),
    "regex": lambda text: regex.match(text, r"(a|aa)+(\w+\s?)*$"),
}


@pytest.mark.parametrize("name", REWARDS)
def test_no_text_takes_long_or_raises(name):
    REWARDS[name]("x")
    slow = {}
    for bomb in BOMBS:
        started = time.thread_time()
        assert value(REWARDS[name](bomb)) is not None
        if (took := time.thread_time() - started) > 1.5:
            slow[bomb[:12]] = took
    assert slow == {}


@given(st.text(max_size=40))
@settings(max_examples=60, deadline=None)
def test_any_text_is_judged(text):
    for reward in REWARDS.values():
        assert value(reward(text)) is not None


def test_the_other_rewards_of_an_answer_agree_on_a_plain_one():
    for reward in (
        math_answer.correct,
        exact.match,
        lambda text, gold: json_answer.schema(text, {}, gold),
    ):
        assert [value(reward("42", "42")), value(reward("43", "42"))] == [1.0, 0.0]
