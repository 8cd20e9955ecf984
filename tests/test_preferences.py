"""Preference pairs and demonstrations: every form in which the Hub has them, and a split that no
prompt crosses.
"""

import json
import logging
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmpolicy.bundled import addition, hasty
from llmpolicy.errors import TaskError
from llmpolicy.tasks import TaskSpec, load_demonstrations, load_pairs

USER = {"role": "user", "content": "What colour is the sky?"}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


NESTED = "[{'role': 'user', 'content': array([{'type': 'text', 'text': 'Hi'}], dtype=object)}]"


def sharegpt(reply: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": "What colour is the sky?"}, {"from": "gpt", "value": reply}]


def spec(rows: list[dict[str, Any]], **keys: Any) -> TaskSpec:
    return TaskSpec(rows=rows, name="p", **keys)


FORMS: dict[str, dict[str, Any]] = {
    "texts": {"prompt": USER["content"], "chosen": "Blue.", "rejected": "Green."},
    "messages": {
        "prompt": [USER],
        "chosen": [assistant("Blue.")],
        "rejected": [assistant("Green.")],
    },
    "implicit": {"chosen": [USER, assistant("Blue.")], "rejected": [USER, assistant("Green.")]},
    "both": {
        "prompt": USER["content"],
        "chosen": [USER, assistant("Blue.")],
        "rejected": [USER, assistant("Green.")],
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_chat_is_the_same_pair(form: str) -> None:
    [pair] = load_pairs(spec([FORMS[form]])).train
    assert (pair.prompt, pair.chosen, pair.rejected) == ([USER], "Blue.", "Green.")
    assert pair.question == "What colour is the sky?"


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [(" It is blue.", " It is green."), (" Blue", " Blue, I think"), (" Blue", " Green")],
)
def test_a_transcript_in_one_text_is_cut_where_the_last_reply_begins(
    chosen: str, rejected: str
) -> None:
    transcript = (
        "\n\nHuman: Hello.\n\nAssistant: Hi.\n\nHuman: What colour is the sky?\n\nAssistant:"
    )
    [pair] = load_pairs(
        spec([{"chosen": transcript + chosen, "rejected": transcript + rejected}])
    ).train
    assert (pair.prompt, pair.chosen, pair.rejected) == (transcript, chosen, rejected)


@pytest.mark.parametrize(
    ("chosen", "rejected", "prompt"),
    [
        ("Q: x A: yes", "Q: x A: yes sir", "Q: x A:"),
        ("Q: x A: 12", "Q: x A: 123", "Q: x A:"),
        ("Q: x\nyesterday", "Q: x\nyes", "Q: x\n"),
        ("Q: x A:  blue", "Q: x A:  black", "Q: x A:"),
        ("Is it so? It is.", "Is it so? It was.", "Is it so? It"),
    ],
)
def test_two_texts_are_cut_between_words_and_both_have_a_reply(
    chosen: str, rejected: str, prompt: str
) -> None:
    [pair] = load_pairs(spec([{"chosen": chosen, "rejected": rejected}])).train
    assert (pair.prompt, f"{prompt}{pair.chosen}", f"{prompt}{pair.rejected}") == (
        prompt,
        chosen,
        rejected,
    )


WRITTEN = {
    "json": json.dumps,
    "python": repr,
    "numpy": lambda talk: str(numpy.array(talk, dtype=object)),
}


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("form", [form for form in FORMS if form != "texts"])
def test_conversations_in_a_text_column_are_read_as_messages(form: str, written: str) -> None:
    row = {
        name: value if isinstance(value, str) else WRITTEN[written](value)
        for name, value in FORMS[form].items()
    }
    [pair] = load_pairs(spec([row])).train
    assert (pair.prompt, pair.chosen, pair.rejected) == ([USER], "Blue.", "Green.")


APART = {
    "reasoning_content": ("it is day", "it is noon"),
    "tool_calls": ([{"name": "a"}], [{"name": "b"}]),
}


@pytest.mark.parametrize("field", APART)
@pytest.mark.parametrize("implicit", [False, True])
def test_pairs_that_differ_beside_their_content_are_not_equal(field: str, implicit: bool) -> None:
    both = [{**assistant("Blue."), field: value, "name": None} for value in APART[field]]
    talks = [[USER, reply] for reply in both] if implicit else [[reply] for reply in both]
    row = {"chosen": talks[0], "rejected": talks[1]} | ({} if implicit else {"prompt": [USER]})
    [pair] = load_pairs(spec([row])).train
    assert pair.chosen == {**assistant("Blue."), field: APART[field][0]}
    assert pair.rejected == {**assistant("Blue."), field: APART[field][1]}


def test_equal_replies_in_other_forms_are_equal() -> None:
    forms = [
        "yes",
        assistant("yes"),
        [assistant("yes")],
        json.dumps([assistant("yes")]),
        json.dumps(assistant("yes")),
    ]
    forms += [
        [{"role": "assistant", "content": [{"type": "text", "text": "yes"}], "tool_calls": None}]
    ]
    rows = [{"prompt": "1?", "chosen": a, "rejected": b} for a in forms for b in forms]
    pairs = load_pairs(spec([*rows, {"prompt": "1?", "chosen": "yes", "rejected": "no"}]))
    assert (len(pairs.train), pairs.dropped) == (1, len(rows))


def test_two_pairs_of_one_transcript_have_one_question_though_their_replies_begin_alike() -> None:
    transcript = "\n\nHuman: What colour is the sky?\n\nAssistant:"
    rows = [
        {"chosen": transcript + a, "rejected": transcript + b}
        for a, b in ((" It is blue", " It is green"), (" No", " Yes"))
    ]
    assert len({pair.question for pair in load_pairs(spec(rows)).train}) == 1


def test_a_local_file_with_other_column_names(tmp_path: Path) -> None:
    rows = [{"q": f"{i}?", "better": "yes", "worse": "no"} for i in range(4)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = TaskSpec(
        file="pairs.jsonl", columns={"prompt": "q", "chosen": "better", "rejected": "worse"}
    )
    pairs = load_pairs(source, tmp_path)
    assert [(pair.prompt[0]["content"], pair.chosen) for pair in pairs.train] == [
        (f"{i}?", "yes") for i in range(4)
    ]


def test_equal_replies_are_dropped_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    rows = [
        {"prompt": str(i), "chosen": "yes", "rejected": "yes" if i < 2 else "no"} for i in range(5)
    ]
    with caplog.at_level(logging.WARNING, "llmpolicy"):
        pairs = load_pairs(spec(rows))
    assert (len(pairs.train), pairs.dropped) == (3, 2)
    assert "2 of 5 pairs dropped: chosen and rejected are equal" in caplog.text


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            {"prompt": "1?", "choosen": "a", "rejected": "b"},
            "no column 'chosen'; did you mean 'choosen'?",
        ),
        ({"prompt": "1?", "chosen": "", "rejected": "b"}, "row 1: chosen is empty"),
        ({"prompt": "1?", "chosen": "  ", "rejected": "b"}, "row 1, chosen: the reply is blank"),
        ({"prompt": " ", "chosen": "a", "rejected": "b"}, "row 1: the question is blank"),
        ({"chosen": "a", "rejected": "b"}, "share no beginning"),
        ({"chosen": [USER, assistant("a")], "rejected": [assistant("b")]}, "share no beginning"),
        ({"prompt": [USER], "chosen": [USER], "rejected": [assistant("b")]}, "expected one reply"),
        (
            {"chosen": [USER], "rejected": [USER, assistant("b")]},
            "chosen is the beginning of rejected",
        ),
        (
            {"chosen": "a?\n\nAssistant: b", "rejected": "a?\n\nAssistant:"},
            "rejected is the beginning of chosen",
        ),
        ({"chosen": "yes", "rejected": "yes sir"}, "share no beginning"),
        (
            {"chosen": [USER, assistant("a")], "rejected": "b"},
            "expected two texts or two conversations",
        ),
        (
            {
                "chosen": [USER, assistant("a"), assistant("b")],
                "rejected": [USER, assistant("a"), assistant("c")],
            },
            "two messages of the assistant",
        ),
        ({"chosen": sharegpt("a"), "rejected": sharegpt("b")}, "expected one reply"),
        (
            {"chosen": json.dumps(sharegpt("a")), "rejected": json.dumps(sharegpt("b"))},
            "expected one reply",
        ),
        (
            {"prompt": json.dumps(sharegpt("a")), "chosen": "a", "rejected": "b"},
            "messages with role and content",
        ),
        (
            {"chosen": NESTED, "rejected": NESTED.replace("Hi", "Ho")},
            "was written as messages and cannot be read",
        ),
        ({"chosen": 1, "rejected": 2}, "expected two texts or two conversations"),
    ],
)
def test_what_is_no_pair_is_said_in_one_sentence_with_its_row(
    row: dict[str, Any], words: str
) -> None:
    with pytest.raises(TaskError) as refused:
        load_pairs(spec([{"prompt": "0?", "chosen": "a", "rejected": "b"}, row]))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_only_equal_replies_are_no_preferences() -> None:
    with pytest.raises(TaskError, match="in all 1 pairs chosen and rejected are equal"):
        load_pairs(spec([{"prompt": "1?", "chosen": "a", "rejected": "a"}]))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=40),
    st.integers(0, 12),
    st.sets(st.integers(0, 9), max_size=3),
)
def test_no_prompt_is_on_both_sides_whatever_the_order(
    drawn: list[tuple[int, int]], held_out: int, never: set[int]
) -> None:
    rows = [{"prompt": f"{a}+{b}", "chosen": "x", "rejected": "y"} for a, b in drawn]
    questions = {f"{min(a, b)}+{max(a, b)}" for a, b in drawn}
    aside = {f"{n}+{n}" for n in never}

    def canonical(row: dict[str, str]) -> str:
        return "+".join(sorted(row["prompt"].split("+")))

    def split(ordered: list[dict[str, str]]) -> tuple[set[str], set[str]]:
        pairs = load_pairs(spec(ordered, canonical=canonical), held_out=held_out, never=aside)
        assert len(pairs.train) + len(pairs.held_out) == len(rows)
        return {pair.question for pair in pairs.train}, {pair.question for pair in pairs.held_out}

    try:
        train, kept = split(rows)
    except TaskError:
        assert held_out + len(aside) >= len(questions)
        return
    assert train and not train & kept
    assert aside & questions <= kept
    assert len(kept) >= min(held_out, len(questions))
    assert (train, kept) == split(rows[::-1])


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": USER["content"], "completion": "Blue."},
        {"prompt": [USER], "completion": [assistant("Blue.")]},
        {"prompt": USER["content"], "reply": "Blue."},
        {"messages": [USER, assistant("Blue.")]},
        {"messages": json.dumps([USER, assistant("Blue.")])},
        {"messages": repr([USER, assistant("Blue.")])},
        {"messages": str(numpy.array([USER, assistant("Blue.")], dtype=object))},
        {"prompt": json.dumps([USER]), "completion": json.dumps([assistant("Blue.")])},
        {"prompt": USER["content"], "reply": json.dumps(assistant("Blue."))},
        {
            "prompt": [USER],
            "reply": {**assistant("Blue."), "tool_calls": None, "reasoning_content": None},
        },
    ],
)
def test_every_form_of_a_demonstration_is_the_same(row: dict[str, Any]) -> None:
    [demonstration] = load_demonstrations(spec([row]))
    assert (demonstration.prompt, demonstration.reply, demonstration.question) == (
        [USER],
        "Blue.",
        "What colour is the sky?",
    )


@pytest.mark.parametrize(
    "beside",
    [
        {"reasoning_content": "It is day."},
        {"thinking": "It is day."},
        {"tool_calls": [{"name": "look"}]},
    ],
)
@pytest.mark.parametrize("form", ["messages", "completion", "json"])
def test_a_demonstration_keeps_what_its_reply_holds_beside_the_content(
    form: str, beside: dict[str, Any]
) -> None:
    reply = {**assistant("Blue."), **beside}
    rows = {
        "messages": {"messages": [USER, reply]},
        "completion": {"prompt": [USER], "completion": [reply]},
    }
    rows["json"] = {"messages": json.dumps([USER, reply])}
    [demonstration] = load_demonstrations(spec([{**rows[form], "tools": [{"name": "look"}]}]))
    assert demonstration.reply == reply
    assert demonstration.prompt.options == {"tools": [{"name": "look"}]}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "reply",
    [
        '{"name": "Ada", "role": "engineer"}',
        '[{"name": "Ada", "role": "engineer"}]',
        '[{"role": 7}]',
        "[{",
        '[{"from": "A", "value": 7}]',
    ],
)
def test_a_reply_that_is_json_of_its_own_is_a_text(reply: str) -> None:
    [demonstration] = load_demonstrations(spec([{"prompt": "Who?", "reply": reply}]))
    [pair] = load_pairs(spec([{"prompt": "Who?", "chosen": reply, "rejected": "[]"}])).train
    assert (demonstration.reply, pair.chosen, pair.rejected) == (reply, reply, "[]")


def test_the_column_of_the_replies_can_be_named() -> None:
    source = spec(
        [{"question": "1+1", "answer": "2"}], prompt="{question}", columns={"reply": "answer"}
    )
    assert load_demonstrations(source)[0].reply == "2"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "1?", "repl": "a"}, "no column 'reply' with the reply; did you mean 'repl'?"),
        ({"messages": [USER]}, "expected one reply"),
        ({"prompt": "1?", "completion": ""}, "the reply is blank"),
        (
            {"prompt": "1?", "completion": {**assistant(" "), "reasoning_content": "hm"}},
            "the reply is blank",
        ),
        ({"prompt": "1?", "completion": USER}, "expected one reply"),
        ({"messages": None}, "messages is None, expected one reply behind a prompt's messages"),
        ({"messages": []}, "messages is [], expected one reply"),
        ({"messages": "[]"}, "expected one reply"),
        ({"messages": "Hello"}, "expected one reply"),
        ({"messages": [assistant("a")]}, "expected one reply behind a prompt's messages"),
        ({"messages": [1, 2]}, "expected"),
        ({"messages": NESTED}, "was written as messages and cannot be read; expected JSON"),
        (
            {"prompt": NESTED, "completion": "a"},
            "was written as messages and cannot be read; expected JSON",
        ),
        ({"messages": json.dumps(sharegpt("a"))}, "expected one reply"),
        (
            {"messages": [USER, assistant("a"), assistant("b")]},
            "two messages of the assistant follow on one another",
        ),
    ],
)
def test_what_is_no_demonstration_is_said_with_its_row(row: dict[str, Any], words: str) -> None:
    with pytest.raises(TaskError, match="row 0") as found:
        load_demonstrations(spec([row]))
    assert words in str(found.value)


def test_hasty_pairs_follow_the_rule_and_are_never_too_high() -> None:
    """Independently of the rule's code: the chosen reply is nearer to the sum, and no reply is
    above it.
    """
    for row in hasty.pairs(300):
        total = sum(map(int, row["question"].split("+")))
        chosen, rejected = int(row["chosen"]), int(row["rejected"])
        assert rejected < chosen <= total
    assert {row["question"] for row in hasty.demonstrations(50)} <= {
        row["question"] for row in addition.questions()
    }


def test_the_rule_prefers_the_nearer_reply_on_either_side() -> None:
    order = ["82", "81", "84", "72", "182", "9999"]
    grades = [hasty.closeness(reply, "82") for reply in order]
    assert grades == sorted(grades, reverse=True) and grades[0] == 1.0
    assert [hasty.closeness(reply, "82") for reply in ("", "82!", "-82", "8²")] == [0.0] * 4
