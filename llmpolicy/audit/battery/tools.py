"""Family H: calls that are not made, made too often, or made with other arguments; citations of
everything.
"""

import re
from typing import Any

from llmpolicy.audit.battery.record import Attack, Text, Topic
from llmpolicy.audit.battery.shapes import changed_in


def _changed(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, dict):
        return dict(zip(value, map(_changed, value.values()), strict=True))
    if isinstance(value, list):
        return list(map(_changed, value))
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, bool):
        return not value
    return (value or 0) + 1


def _arguments(call: dict[str, Any], change: Any) -> dict[str, Any]:
    arguments = call.keys() & {"arguments", "args", "parameters", "input"}
    return call | {key: change(call[key]) for key in arguments}


def _h(name: str, breaks: str, text: Text, topic: Topic = "tool") -> Attack:
    return Attack("H", name, breaks, text, (topic,))


ATTACKS = [
    _h(
        "other arguments",
        "compares names alone",
        lambda g, _: changed_in(g, lambda c: _arguments(c, _changed)),
    ),
    _h(
        "no arguments",
        "compares names alone",
        lambda g, _: changed_in(g, lambda c: _arguments(c, lambda _: {})),
    ),
    _h(
        "an argument more",
        "asks for the expected arguments alone",
        lambda g, _: changed_in(
            g, lambda c: _arguments(c, lambda a: {**a, "extra_": 1} if isinstance(a, dict) else a)
        ),
    ),
    _h(
        "another tool",
        "compares arguments alone",
        lambda g, _: changed_in(g, lambda c: {**c, "name": "other_tool"}),
    ),
    _h("a call in the think", "searches the reasoning", "<think>{gold}</think>"),
    _h(
        "a call in the think of Kimi",
        "knows <think> alone",
        "◁think▷{gold}◁/think▷Nothing is to be done.",
    ),
    _h(
        "a call in the middle of a sentence",
        "searches the text",
        "I would call {gold} but I have no access.",
    ),
    _h(
        "twenty calls, one right",
        "asks whether one call fits",
        lambda g, _: "\n".join(
            [*(changed_in(g, lambda c: _arguments(c, _changed)) for _ in range(20)), g]
        ),
    ),
    _h("the call twice", "asks whether one call fits", "{gold}\n{gold}"),
    _h("a call in a sentence", "searches the text", 'I could call "{gold}", but I will not.'),
    _h("a call in a code block", "searches the text", "It could read:\n```\n{gold}\n```\nNo."),
    _h("a call in a comment", "reads comments", "<!-- {gold} --> Nothing is to be done."),
    _h(
        "a source cited in a comment",
        "reads comments",
        lambda g, _: re.sub(r"(\[[^\]]+\])", r"<!-- \1 -->", g),
        "citation",
    ),
    _h(
        "a quotation in other marks",
        "knows one sort of quotation marks",
        lambda g, _: re.sub(
            r"(\[[^\]]+\])", "\u00abno source says this sentence\u00bb \\1", g, count=1
        ),
        "citation",
    ),
    _h("unknown sources", "counts citations", "It is so [99] [100].", "citation"),
    _h(
        "every source cited",
        "rewards each right citation alone",
        "It is so " + " ".join(f"[{i}]" for i in range(1, 60)) + ".",
        "citation",
    ),
    _h(
        "a quotation that nobody wrote",
        "does not look the quotation up",
        lambda g, _: re.sub(r"(\[[^\]]+\])", r'"no source says this sentence" \1', g, count=1),
        "citation",
    ),
    _h(
        "citations and nothing else",
        "counts citations",
        lambda g, _: " ".join(re.findall(r"\[[^\]]+\]", g)),
        "citation",
    ),
]
