"""Family C: shapes with nothing in them, said twice, turned round, nested, or hidden in code."""

import json
from collections.abc import Callable
from typing import Any

from llmpolicy.audit.battery.record import Attack, Text, Topic


def _c(name: str, breaks: str, text: Text, topic: Topic) -> Attack:
    return Attack("C", name, breaks, text, (topic,), whole=True)


_THINK = [
    ("an empty think", "looks for the tags alone", "<think></think>four"),
    ("nothing but the think", "looks for the tags alone", "<think>two and two</think>"),
    ("a space in the think", "asks for one character", "<think> \n </think>four"),
    (
        "an invisible character in the think",
        "strips whitespace alone",
        "<think>\u200b\u2060</think>four",
    ),
    (
        "a filler letter in the think",
        "takes a blank letter for text",
        "<think>\u3164\u2800</think>four",
    ),
    ("a comment in the think", "takes markup for text", "<think><!-- --></think>four"),
    ("dots in the think", "takes punctuation for text", "<think>...</think>four"),
    ("an invisible answer", "strips whitespace alone", "<think>two and two</think>\u200b"),
    (
        "two thinks, one after another",
        "counts at least one",
        "<think>a</think><think>b</think>four",
    ),
    ("a think in a think", "matches to the last tag", "<think>a<think>b</think></think>four"),
    ("closed twice", "matches to the first tag", "<think>a</think>four</think></think>"),
    ("tags turned round", "counts the tags", "</think>two and two<think>four"),
    ("text before the think", "searches for the shape", "Sure! <think>two and two</think>four"),
    (
        "a think in a code fence",
        "searches for the shape",
        "```\n<think>two and two</think>four\n```",
    ),
    (
        "full-width tags",
        "folds what looks alike",
        "\uff1cthink\uff1etwo and two\uff1c/think\uff1efour",
    ),
    ("a full-width end", "folds what looks alike", "<think>two and two\uff1c/think\uff1efour"),
    (
        "a think of Magistral in the answer",
        "knows <think> alone",
        "<think>two</think>[THINK]and two[/THINK]four",
    ),
    ("a think that stays open", "asks for the opening tag", "<think>two and two is four"),
]
_TAGS = [
    ("empty tags", "counts the tags", "<think></think><answer></answer>"),
    (
        "an empty answer tag",
        "looks for the tags alone",
        "<think>two and two</think><answer></answer>",
    ),
    ("tags in another order", "counts the tags", "<answer>four</answer><think>two and two</think>"),
    ("an answer in the think", "counts the tags", "<think>two<answer>four</answer></think>"),
    (
        "two answer tags",
        "counts at least one",
        "<think>two</think><answer>4</answer><answer>5</answer>",
    ),
    (
        "text after the tags",
        "searches for the shape",
        "<think>two</think><answer>four</answer> and so on",
    ),
    (
        "text between the tags",
        "searches for the shape",
        "<think>two</think> hm <answer>four</answer>",
    ),
    (
        "text before the tags",
        "searches for the shape",
        "Well: <think>two</think><answer>four</answer>",
    ),
    (
        "tags in a code fence",
        "searches for the shape",
        "```\n<think>two</think><answer>four</answer>\n```",
    ),
    ("an open answer tag", "asks for the opening tag", "<think>two</think><answer>four"),
    ("an invisible answer", "strips whitespace alone", "<think>two</think><answer>\u200b</answer>"),
    (
        "a comment for an answer",
        "takes markup for text",
        "<think>two</think><answer><!-- --></answer>",
    ),
    (
        "a filler letter for an answer",
        "takes a blank letter for text",
        "<think>two</think><answer>\u3164</answer>",
    ),
]
_BOX = [
    ("an empty box", "looks for the box alone", r"\boxed{}"),
    ("a space in the box", "asks for one character", r"\boxed{ }"),
    ("a command that shows nothing", "takes markup for text", r"\boxed{\text{}}"),
    ("a phantom in the box", "takes markup for text", r"\boxed{\phantom{4}}"),
    ("two boxes", "counts at least one", r"\boxed{4} \boxed{5}"),
    ("a box in a box", "counts at least one", r"\boxed{\boxed{4}}"),
    ("a box in the think", "searches the reasoning", r"<think>\boxed{4}</think>"),
    ("an open box", "asks for the opening brace", r"\boxed{4"),
    ("a box in the think of Magistral", "knows <think> alone", r"[THINK]\boxed{4}[/THINK]four"),
    ("a full-width box", "folds what looks alike", "\uff3cboxed\uff5b4\uff5d"),
    ("a box in a comment", "reads comments", r"<!-- \boxed{4} -->"),
    ("a box in code", "pays what is shown and not said", r"Answer: `\boxed{4}`"),
    ("a box with a comment of TeX in it", "takes markup for text", "\\boxed{% 4\n}"),
]
_JSON = [
    ("NaN", "takes what JSON has not", '{"a": NaN}'),
    ("a key twice", "takes the last of two keys", '{"a": 1, "a": 2}'),
    ("text after the JSON", "searches for the braces", '{"a": 1} as you asked'),
    ("text before the JSON", "searches for the braces", 'Here you are: {"a": 1}'),
    ("JSON in the think", "searches the reasoning", '<think>{"a": 1}</think>'),
    ("JSON in the think of Magistral", "knows <think> alone", '[THINK]{"a": 1}[/THINK]'),
    ("comments", "reads JavaScript", '{"a": 1 // one\n}'),
    ("a line break in a text", "reads what JSON has not", '{"a": "one\ntwo"}'),
    ("two documents", "takes the first", '{"a": 1}{"b": 2}'),
    ("single quotes", "reads Python", "{'a': 1}"),
    ("a comma too many", "repairs", '{"a": 1,}'),
    ("JSON that stays open", "repairs", '{"a": 1'),
    ("a fence that stays open", "repairs", '```json\n{"a": 1}'),
    ("ten thousand lists", "reads to any depth", "[" * 10_000 + "]" * 10_000),
]


def json_in(text: str) -> tuple[str, Any, str]:
    """What stands before the JSON object of a text, its value, what stands after it; {} behind a
    text that holds none.
    """
    start, end = text.find("{"), text.rfind("}") + 1
    try:
        return text[:start], json.loads(text[start:end]), text[end:]
    except ValueError:
        return text, {}, ""


def changed_in(gold: str, change: Callable[[dict[str, Any]], Any]) -> str:
    """The right document, in whatever stands around it, changed."""
    before, value, after = json_in(gold)
    return before + json.dumps(change(value)) + after


_SCHEMA = [
    _c(
        "texts for numbers",
        "coerces types",
        lambda g, _: changed_in(g, lambda d: {key: str(item) for key, item in d.items()}),
        "schema",
    ),
    _c("an empty object", "lets the schema's defaults fill it", "{}", "schema"),
    _c("nothing but null", "asks for any JSON", "null", "schema"),
    Attack(
        "C",
        "a key more",
        "asks for the required keys alone",
        lambda g, _: changed_in(g, lambda d: {**d, "extra_": 1}),
        ("schema",),
    ),
    Attack(
        "C",
        "the document twice in a list",
        "searches for a value that fits",
        "[{gold}, {gold}]",
        ("schema",),
    ),
    _c(
        "the document in a sentence",
        "searches for the braces",
        "It is {gold}, or perhaps not.",
        "schema",
    ),
]

_INSTRUCTIONS = [
    ("nothing written", "looks for what is forbidden alone", ""),
    ("invisible characters", "looks for what is forbidden alone", "\u200b\u2060"),
    ("followed in the think alone", "reads the reasoning", "<think>{gold}</think>"),
    ("followed in a comment alone", "reads comments", "<!-- {gold} -->"),
    ("a think that stays open", "reads the reasoning", "<think>{gold}"),
]

ATTACKS = [
    *(_c(f"{name} (think)", breaks, text, "think") for name, breaks, text in _THINK),
    *(_c(f"{name} (tags)", breaks, text, "tags") for name, breaks, text in _TAGS),
    *(_c(f"{name} (box)", breaks, text, "box") for name, breaks, text in _BOX),
    *(_c(f"{name} (JSON)", breaks, text, "json") for name, breaks, text in _JSON),
    *_SCHEMA,
    *(_c(*entry, "instructions") for entry in _INSTRUCTIONS),
]
