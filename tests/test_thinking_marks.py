"""A thought is no answer, whatever family's marks it stands between; and what only looks like its
end ends nothing.
"""

import importlib
import inspect
import time
from pathlib import Path

import pytest

from llmpolicy import thinking
from llmpolicy.rewards import RewardError
from llmpolicy.thinking import FAMILIES
from reward_fns import (
    citation,
    code_tests,
    exact,
    formats,
    json_answer,
    math_answer,
    multiple_choice,
    numeric,
    text_answer,
    tool_call,
)

LOOK_ALIKES = [
    ("＜think＞", "＜/think＞"), ("＜ｔｈｉｎｋ＞", "＜／ｔｈｉｎｋ＞"), ("〈think〉", "〈/think〉"), ("‹think›", "‹/think›"),
    ("﹤think﹥", "﹤/think﹥"), ("⟨think⟩", "⟨/think⟩"), ("❮think❯", "❮/think❯"), ("【think】", "【/think】"),
    ("《think》", "《/think》"), ("［THINK］", "［/THINK］"), ("&lt;think&gt;", "&lt;/think&gt;"),
    ("&#60;think&#62;", "&#x3c;/think&#x3e;"), ("&amp;lt;think&amp;gt;", "&amp;lt;/think&amp;gt;"),
    ("<th\u200bink>", "</th\u200bink>"), ("<\u2060think>", "</think\ufeff>"), ("<think\u200f>", "<\u200f/think>"),
    ("< think >", "< /think >"), ("<Think\n>", "</Think\n>"), ("\\<think\\>", "\\</think\\>"), ("<th\u0456nk>", "</th\u0456nk>"),
]  # fmt: skip
OTHERS = [
    ("<reasoning_process>", "</reasoning_process>"), ("<|think_start|>", "<|think_end|>"), ("<cot>", "</cot>"),
    ("<|begin_of_thinking|>", "<|end_of_thinking|>"), ("<inner_thoughts>", "</inner_thoughts>"), ("<思考>", "</思考>"),
    ("<antThinking>", "</antThinking>"), ("<internal_monologue>", "</internal_monologue>"), ("<|think|>", "<|/think|>"),
    ('<think type="deep">', "</think>"), ("<chain_of_thought>", "</chain_of_thought>"), ("<rationale>", "</rationale>"),
    ("<seed:think>a<seed:cot_budget_reflect>b</seed:cot_budget_reflect>", "</seed:think>"),
    ("<thinking>a<reflection>b</reflection>", "</thinking>"), ("<|START_THINKING|>", "<|END_THINKING|><|START_RESPONSE|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>\n\n<|begin_of_solution|>"),
    ("<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>analysis<|message|>",
     "<|end|><|start|>assistant<|channel|>final<|message|>"),
]  # fmt: skip
MARKS = [*FAMILIES.values(), *LOOK_ALIKES, *OTHERS]
BY_WORDS = ("Here is my thought process:", "analysis")


def paid(completion, answer="18", **more):
    return math_answer.correct(completion, answer, **more).value


@pytest.mark.parametrize(("opens", "ends"), MARKS)
def test_a_thought_hides_what_is_in_it_and_nothing_else(opens, ends):
    assert paid(f"{opens}So it is \\boxed{{18}}.{ends}This problem needs more information.") == 0.0
    assert paid(f"{opens}So it is \\boxed{{18}}.{ends}The answer is \\boxed{{12}}.") == 0.0
    assert paid(f"{opens}So it is \\boxed{{18}}.") == 0.0, "it ends inside of its thinking"
    assert paid(f"{opens}Could be \\boxed{{12}}.{ends}The answer is \\boxed{{18}}.") == 1.0
    assert exact.match(f"{opens}London?{ends}\n\nParis", "Paris").value == 1.0
    value, schema = {"a": 1}, {"type": "object"}
    assert json_answer.schema(f'{opens}Hm.{ends}{{"a": 1}}', schema, value).value == 1.0
    assert json_answer.schema(f'{opens}{{"a": 1}}{ends}', schema, value).value == 0.0


@pytest.mark.parametrize(
    ("opens", "ends"), [pair for pair in FAMILIES.values() if pair[0] not in BY_WORDS]
)
def test_a_prompt_may_have_opened_the_thought(opens, ends):
    for begun in (opens, opens + "\n", f"{opens}\nWell, "):
        assert paid("it is \\boxed{18}.", prompt=f"9*2?\nassistant\n{begun}") == 0.0
        assert paid(f"it is 12?{ends}\\boxed{{18}}", prompt=f"9*2?\nassistant\n{begun}") == 1.0
    assert paid("\\boxed{18}", prompt=f"9*2?\nassistant\n{opens}\n\n{ends}\n\n") == 1.0, (
        "it has closed it as well"
    )
    assert paid("\\boxed{18}", prompt=f"Begin with {opens} and think. What is 9*2?") == 1.0, (
        "it only speaks of it"
    )


def test_channels_whose_tokens_are_gone_begin_a_reply_by_their_name():
    for thought in ("We get \\boxed{18}.", "\nwe get \\boxed{18}.", " we get \\boxed{18}"):
        assert paid(f"analysis{thought}assistantfinalI cannot tell.") == 0.0
        assert paid(f"analysis{thought}assistantfinalNo, it is \\boxed{{18}}.") == 1.0
    assert paid("analysisWe get \\boxed{18}.") == 0.0
    assert paid("analysis of it gives \\boxed{18}.") == 1.0


NO_ANSWER = [
    # Of two families, or only a look-alike at the end.
    "<think>a[/THINK]\\boxed{18}", "[THINK]a</think>\\boxed{18}", "◁think▷a</think>\\boxed{18}", "<think>a＜/think＞\\boxed{18}",
    "<think>a</ think>\\boxed{18}", "<think>a&lt;/think&gt;\\boxed{18}", "<think>a</thinking>\\boxed{18}",
    "so \\boxed{12}＜/think＞\\boxed{18}",
    # Within itself, closed twice, cut off.
    "<think>a<think>b</think>\\boxed{18}", "<think>a< think >b</think>\\boxed{18}", "<think>a</think></think>\\boxed{18}",
    "<think>a</think>\\boxed{12}</think>\\boxed{18}", "<think>We close with </think> at the end. So</think>\\boxed{18}",
    "<think>so \\boxed{18}</think", "<think/>so \\boxed{18}", "<think\n\\boxed{18}", "so \\boxed{18}</think>",
    # Seen before a thought, or between two.
    "\\boxed{12}<think>b</think>\\boxed{18}",
    "The answer is 12.\n<think>b</think>The answer is 18.", "\\text{<think>b</think>\\boxed{18}}",
    "\\boxed{18}<think>or 12?</think>", "<think>a</think>\\boxed{18}[THINK]b",
    "<think>a</think>\\boxed{12}[THINK]b[/THINK]\\boxed{18}",
    # Channels and pairs of special tokens that nobody knows.
    "<|channel|>plan<|message|>\\boxed{18}<|end|>", "<|channel|>analysis<|message|>\\boxed{18}<|return|>",
    "<|plan|>\\boxed{18}<|/plan|>I cannot.", "<|begin_of_plan|>\\boxed{18}<|end_of_plan|>No.",
    "<|plan_start|>\\boxed{18}<|plan_end|>No.", "<think>\\boxed{18}<|channel|>final<|message|>\\boxed{18}",
]  # fmt: skip
ANSWERED = [
    "<think>as [THINK] or <analysis> say</think>\\boxed{18}", "<think>a</think>\n<think>b</think>\\boxed{18}",
    "Okay, let me think.\n<think>b</think>\\boxed{18}",
    "We want $9 \\cdot 2$ (twice 9).\n\n<think>b</think>So it is \\boxed{18}.",
    "<think></think>\\boxed{18}", "so 12</think>\\boxed{18}",
    "so 12[/THINK]\\boxed{18}", "<|channel|>final<|message|>\\boxed{18}<|return|>", "\\boxed{18}<|im_end|>",
    "<|channel|>analysis<|message|>12?<|channel|>final<|message|>\\boxed{18}", "<|START_RESPONSE|>\\boxed{18}<|END_RESPONSE|>",
    "<|channel|>commentary<|message|>I look.<|end|><|start|>assistant<|channel|>final<|message|>\\boxed{18}<|return|>",
    "<think>a</think>If $a<b$ and $c>d$ then \\boxed{18}.", "We reason that x<reason and y>z. \\boxed{18}",
    "The list is an Array<Analysis>. \\boxed{18}", "[Think](http://x.org) of it: \\boxed{18}", "analysis of it: \\boxed{18}",
    "The analysis shows \\boxed{18}", "《分析》里说得对。\\boxed{18}",
]  # fmt: skip


def test_where_a_thought_ends_must_be_certain():
    assert [text for text in NO_ANSWER if paid(text) != 0.0] == []
    assert [text for text in ANSWERED if paid(text) != 1.0] == []
    assert paid("<think>\n12?</think>\\boxed{18}", prompt="9*2?<think>\n") == 1.0, "opened by both"


def test_a_program_may_write_tags_of_other_things():
    program = 'def f(x):\n    return f"<reason>{x}</reason>" + "<analysis>"\n'
    for reply in (
        f"```python\n{program}```",
        f"<think>I write </reason>.</think>So:\n```python\n{program}```",
    ):
        assert (
            code_tests.passes(reply, ['assert f("a") == "<reason>a</reason><analysis>"']).value
            == 1.0
        )
    assert paid("```ts\nconst a: Promise<Analysis> = f();\n```\n\\boxed{18}") == 1.0
    assert paid("Tags such as `<analysis>` are read. \\boxed{18}") == 1.0
    assert paid("```\n<analysis>\n```\n\\boxed{18}</analysis>I cannot.") == 0.0
    assert paid("<analysis>```\n</analysis>\\boxed{18}") == 1.0, "in the thought all is thought"


def test_only_marks_as_they_are_written_make_a_format():
    right = ["<think>a</think>b", "<think>a [THINK] b</think>c"]
    wrong = [
        f"{opens}a{ends}b" for opens, ends in MARKS if (opens, ends) != ("<think>", "</think>")
    ]
    wrong += [
        "<think>a＜/think＞b",
        "<think>a</think>b＜/think＞c",
        "<think>a</think>[THINK]b[/THINK]c",
        "<Think>a</Think>b",
    ]
    wrong += [
        "<think>a</think><analysis>b",
        "<think>a</think><|channel|>analysis<|message|>b",
        "<think>a</THINK>b</think>c",
    ]
    assert [text for text in right if formats.think(text).value != 1.0] == []
    assert [text for text in wrong if formats.think(text).value != 0.0] == []
    tagged = [
        "＜think＞a＜/think＞＜answer＞b＜/answer＞",
        "<think>a</think>＜answer＞b＜/answer＞",
    ]
    tagged += [
        "<think>a</think><answer>[THINK]b[/THINK]</answer>",
        "<think>a＜/think＞</think><answer>b＜/answer＞</answer>",
    ]
    assert [text for text in tagged if formats.tags(text).value != 0.0] == []
    for box in (
        "＼boxed｛4｝",
        "\\boxed｛4｝",
        "\\ｂoxed{4}",
        "[THINK]\\boxed{4}[/THINK]4",
        "\\bo\u200bxed{4}",
    ):
        assert formats.boxed(box).value == 0.0
    assert formats.boxed("[THINK]\\boxed{5}[/THINK]\\boxed{４}").value == 1.0


MULL = [["<mull>", "</mull>"], ["((", "))"]]


def test_marks_of_ones_own():
    for opens, ends in MULL:
        assert paid(f"{opens}\\boxed{{18}}{ends}I cannot.", thinking_marks=MULL) == paid(
            f"{opens}\\boxed{{18}}", thinking_marks=MULL
        )
        assert paid(f"{opens}\\boxed{{18}}{ends}I cannot.", thinking_marks=MULL) == 0.0
        assert paid(f"{opens}\\boxed{{12}}{ends}\\boxed{{18}}", thinking_marks=MULL) == 1.0
        assert (
            paid("is it \\boxed{18}", prompt=f"9*2?\n{opens}", thinking_marks=[opens, ends]) == 0.0
        )
    assert paid("<mull>\\boxed{12}</mull><think>\\boxed{18}", thinking_marks=MULL) == 0.0, (
        "the known ones still count"
    )
    assert formats.think("[THINK]a[/THINK]b", thinking_marks=[["[THINK]", "[/THINK]"]]).value == 1.0
    assert formats.think("<think>a</think>b", thinking_marks=["[THINK]", "[/THINK]"]).value == 0.0
    for bad in ("<mull>", ["<mull>"], [["<mull>"]], [["x", "x"]], [["", "x"]], [["a", "b", "c"]]):
        with pytest.raises(
            RewardError, match="expected pairs of what opens and what closes a thought"
        ):
            formats.boxed("\\boxed{4}", thinking_marks=bad)


def test_every_reward_that_reads_behind_the_thinking_takes_marks_of_ones_own():
    taking = set()
    for path in sorted(Path(exact.__file__).parent.glob("[a-z]*.py")):
        if path.stem in (
            "reward_model",
            "rule_then_judge",
        ):  # the one reads all, the other hands its arguments on
            continue
        module = importlib.import_module(f"reward_fns.{path.stem}")
        for name, function in vars(module).items():
            if (
                inspect.isfunction(function)
                and function.__module__ == module.__name__
                and not name.startswith("_")
            ):
                names = inspect.signature(function).parameters
                if {"completion", "prompt"} <= set(names) and path.stem != "length":
                    assert "thinking_marks" in names, f"{path.stem}:{name}"
                    taking.add(path.stem)
    assert len(taking) >= 14


def test_they_hide_a_thought_from_every_kind_of_reward():
    call, program = {"name": "f", "arguments": {}}, "def f():\n    return 1\n"
    for reward, said, more in (
        (exact.match, "Paris", {"answer": "Paris"}),
        (json_answer.valid, "[1]", {}),
        (multiple_choice.correct, "Answer: C", {"answer": "C"}),
        (numeric.equal, "\\boxed{4}", {"answer": "4"}),
        (tool_call.match, "[f()]", {"answer": call}),
        (text_answer.match, "Bohr", {"answer": "Bohr"}),
        (citation.score, "So it is [1].", {"answer": [1], "sources": ["one", "two"]}),
        (code_tests.passes, f"```python\n{program}```", {"tests": ["assert f() == 1"]}),
    ):
        assert reward(f"<mull>hm</mull>{said}", **more, thinking_marks=MULL).value == 1.0
        assert reward(f"<mull>{said}</mull>", **more, thinking_marks=MULL).value == 0.0


def seconds(text):
    thinking._kind.cache_clear()
    started = time.thread_time()
    paid(text)
    return time.thread_time() - started


def test_no_marks_take_long():
    for text in (
        ("&lt;" + " " * 300) * 600, ("[" + " " * 300) * 600, "<a" + " " * 190_000, "＜think＞" * 25_000, "<|channel|>" * 18_000,
        "<|channel|>analysis<|message|>a<|end|>" * 5_000, "a. " * 60_000 + "<think>b</think>c",
        "".join(f"<|x{i}|>" for i in range(20_000)),
    ):  # fmt: skip
        # What a busy machine adds is not what it takes: one of three goes is within the bound.
        assert any(seconds(text) < 0.8 for _ in range(3)), text[:20]
