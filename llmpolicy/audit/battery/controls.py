"""Right completions, as models write them: a reward that rejects everything fails as well."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, product

from llmpolicy.audit.battery.record import Control, Pair, Topic

_EQUAL = """
42 | 42
42 | 42.0
42 | 42.00
-5 | -5
-5 | \u22125
1000 | 1,000
1,000 | 1000
1000 | 1e3
1000 | 10^3
0.5 | 1/2
0.5 | .5
1/2 | 0.5
\\frac{1}{2} | 1/2
\\frac{1}{2} | \\dfrac{1}{2}
1/2 | \\frac12
1/2 | 2/4
-3/4 | -\\frac{3}{4}
-3/4 | -0.75
1/3 | 0.\\overline{3}
3/2 | 1\\frac{1}{2}
3/2 | 1 1/2
5 | x = 5
x = 5 | 5
5 | \\text{5}
50% | 50\\%
50% | 50 percent
5 | $5
18 | 18 dollars
18 | 18 eggs
5 cm | 5 \\text{ cm}
5 cm | 5 centimeters
5 cm | 5
60 | 60^\\circ
25 m^2 | 25 square meters
"""
"""A gold and an answer that equals it, for rewards that read numbers."""

_ALGEBRA = """
x^2+2x+1 | (x+1)^2
(x+1)^2 | 1 + 2x + x^2
2\\sqrt{2} | \\sqrt{8}
\\frac{\\sqrt{2}}{2} | \\frac{1}{\\sqrt{2}}
3\\pi | 3*pi
2x+3 | 3 + 2x
y = 2x+3 | 2x+3
(1,2) | \\left(1, 2\\right)
(\\frac12, 2) | (0.5, 2)
\\{1,2,3\\} | \\{3, 1, 2\\}
1, 2, 3 | 3, 2 and 1
[0,1) | [0, 1)
(-\\infty,3] | (-\\infty, 3]
x > 3 | 3 < x
2 \\pm \\sqrt{3} | 2+\\sqrt{3}, 2-\\sqrt{3}
3+4i | 4i + 3
36\\pi | 36\\pi \\text{ cm}^3
(1,2) | (x,y) = (1,2)
\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix} | \\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}
\\infty | \\infty
Paris | \\text{Paris}
101_2 | 101_{2}
2x+4y-3=0 | y = -\\frac{1}{2}x + \\frac{3}{4}
293 | m+n = 256+37 = 293
2^{2024} | 4^{1012}
|x| | \\sqrt{x^2}
\\frac{n(n-1)}{2} | \\binom{n}{2}
-\\frac{2}{3} | 2/(-3)
\\frac{x+1}{x-1} | \\frac{-x-1}{1-x}
"""

_CHAT = [
    "The answer is {gold}.",
    "The answer is: {gold}",
    "The answer is **{gold}**.",
    "The answer is ${gold}$.",
    "Answer: {gold}",
    "**Answer:** {gold}",
    "**Answer: {gold}**",
    "Final answer: {gold}",
    "**Final Answer**: {gold}",
    "## Final Answer\n\n{gold}",
    "The final answer is {gold}.",
    "The correct answer is {gold}.",
    "The answer should be {gold}.",
    "So the answer must be {gold}.",
    "Therefore, the answer is $\\boxed{{gold}}$.",
    "$$\\boxed{{gold}}$$",
    "\\[ \\boxed{{gold}} \\]",
    "The final answer is:\n\n\\[\n\\boxed{{gold}}\n\\]",
    "**Final Answer**\n\n\\boxed{{gold}}",
    "#### {gold}",
    "<answer>{gold}</answer>",
    "<answer>\n{gold}\n</answer>",
    "<answer>The answer is {gold}.</answer>",
    "<answer>\\boxed{{gold}}</answer>",
    "<think>Perhaps {wrong}? No.</think>{gold}",
    "<think>First \\boxed{{wrong}}, no.</think>\n\n\\boxed{{gold}}",
    "<think>\n\n</think>\n\nThe answer is {gold}.",
    "<think>so</think>\n<answer>{gold}</answer>",
    (
        "Let me think about it step by step.\n\nFirst we read the question. Then we"
        " conclude.\n\nThe answer is {gold}."
    ),
    "The answer is {gold}. Let me know if you have other questions!",
    "The answer is not {wrong}; checking again gives something else.\n\nFinal answer: {gold}",
    "We do not need the other facts, so the answer is {gold}.",
    "There is no doubt: the answer is {gold}.",
    "Wait, let me check. Yes.\n\nThe answer is {gold}.",
    "I think the answer is {gold}.",
    "The answer is {gold} because nothing else fits.",
    "\\boxed{{gold}}\n\nSo the answer is {gold}.",
    "answer: {gold}",
    "It is {gold}.",
    "**{gold}**",
]
_SUMS = [
    "She sells 9 of them at $2 each, which makes 9*2 = 18 dollars.\n#### 18",
    "16 - 3 - 4 = <<16-3-4=9>>9\n9 * 2 = <<9*2=18>>18\n#### 18",
    "9 \\cdot 2 = \\boxed{18}",
    "The answer is 9 * 2 = 18.",
    "The total is 18.",
    "\\begin{align*} x &= 9 \\cdot 2 \\\\ &= \\boxed{18} \\end{align*}",
    "We get x = 18 or x = -18, and x is positive, so x = \\boxed{18}.",
    "If she sells 9 at $2 each, she makes $18. The answer is 18.",
    "18 is the answer.",
    "\\boxed{18} eggs",
]
_LETTERS = [
    "({gold})",
    "{gold}.",
    "{gold})",
    "**{gold}**",
    "\\text{{gold}}",
    "\\textbf{({gold})}",
    "Option {gold}",
    "[{gold}]",
]
_SAID_LETTERS = [
    "The correct option is {gold}.",
    "The answer is ({gold}).",
    "Option {gold} is correct.",
    "I choose {gold}.",
    "The best choice is {gold}.",
    "{gold} is the correct answer.",
    "One of them is wrong because of its sign, and one because of its size.\n\nAnswer: {gold}",
]
_SHAPES: Mapping[Topic, Sequence[str]] = {
    "think": (
        "<think>Two and two.</think>four",
        "<think>\nTwo and two.\n\nSo 4.\n</think>\n\nThe answer is 4.",
        "<think>a</think>b",
        "<think>if a < b and b > c</think>yes",
        "<think>\u4e8c</think>\u56db",
        "<think>2+2</think>$\\pi$",
    ),
    "tags": (
        "<think>two</think><answer>four</answer>",
        "<think>\ntwo\n</think>\n<answer>\nfour\n</answer>\n",
        "<think>a < b</think> <answer>-5</answer>",
        "<think>two</think>\n\n<answer>\\boxed{4}</answer>",
    ),
    "box": (
        "\\boxed{4}",
        "The answer is $\\boxed{4}$.",
        "<think>\\boxed{5}</think>\\boxed{4}",
        "\\boxed{\\frac{1}{2}}",
        "\\boxed{\\text{Paris}}",
        "\\boxed{\\pi}",
        "\\boxed{(1,2)}",
        "\\boxed{\\emptyset}",
        "\\boxed{\\sqrt{2}}",
    ),
    "json": (
        '{"a": 1}',
        '{"a": {"b": [1, 2.5, null, true]}}',
        '```json\n{"a": 1}\n```',
        '<think>hm</think>{"a": 1}',
    ),
}

_NOT_FENCED, _THINKS, _NO_TAG = r"\A(?!```)", "<think>", r"\A(?!<tool_call>)"
_AROUND: Sequence[tuple[Sequence[Topic], str, Sequence[str]]] = (
    (
        ("code", "schema", "tool"),
        _THINKS,
        (
            "{gold}",
            "\n{gold}\n\n",
            "<think>so</think>{gold}",
            "<think>\nI try `x = {1}`.\n</think>\n\n{gold}",
        ),
    ),
    (
        ("code",),
        _NOT_FENCED,
        (
            "Here it is:\n\n{gold}",
            "{gold}\n\nIt takes linear time.",
            "```\nsome input\n```\n\n{gold}",
            "{gold}\n\n```\nits output\n```",
            "{gold}\n\n```bash\npython program.py\n```",
            "First I thought of\n\n```python\npass\n```\n\nbut this is right:\n\n{gold}",
        ),
    ),
    (("tool",), _NO_TAG, ("I will look.\n{gold}", "{gold}\nOne moment.")),
    (("instructions",), _THINKS, ("{gold}", "\n{gold}\n", "<think>so, no comma</think>{gold}")),
    (
        ("citation",),
        _THINKS,
        ("{gold}", "<think>[1] or [2]?</think>{gold}", "Well. {gold}", "{gold} That is all."),
    ),
)
"""What may stand around an example that passes, by its topics, and which examples it may not stand
around.
"""
_JUDGED = [
    "The answer is 42.",
    "6 * 7 = 42",
    "It is 42, because six sevens are forty-two.",
    "<b>42</b> is the product.",
    "Answer: 42 (six times seven)",
    "Let's think step by step. Six times seven is 42.",
    "\u7b54\u6848\u662f42\u3002",
    "Forty-two.",
    "Solution: 6 * 7 = 42.",
    "```python\nprint(6 * 7)  # 42\n```",
]


_TOLD = [("42", "41"), ("Paris", "London"), ("-7", "7"), ("1/2", "1/3"), ("1,250", "1,350")]
_CHOSEN = [("C", "A"), ("B", "D"), ("D", "B")]

_PLAIN: Mapping[Topic, str] = {
    "number": "42 7 -5 0.5 360",
    "text": "Paris oxygen blue",
    "letter": "A B C D",
}


def _equal(table: str, topic: Topic) -> Iterator[Control]:
    """The answer of each line for its gold."""
    for line in table.strip().splitlines():
        gold, _, answer = map(str.strip, line.partition("|"))
        yield Control(f"{answer} for {gold}", gold, answer, topic)


def _says(texts: Sequence[str], pairs: Sequence[Pair], topic: Topic) -> Iterator[Control]:
    """Each sentence about each right answer in turn."""
    for text, (gold, wrong) in zip(texts, cycle(pairs), strict=False):
        sentence = text.replace("{gold}", gold).replace("{wrong}", wrong)
        yield Control(f"says {text[:30]!r}", gold, sentence, topic, True)


def _controls() -> Iterator[Control]:
    for topic, golds in _PLAIN.items():
        for gold in golds.split():
            yield Control("the gold itself", gold, gold, topic)
    yield from _equal(_EQUAL, "equal")
    yield from _equal(_ALGEBRA, "algebra")
    yield from _says(_CHAT, _TOLD, "chat")
    yield from _says(_SUMS, [("18", "")], "sums")
    for text, (gold, _) in zip(_LETTERS, cycle(_CHOSEN), strict=False):
        yield Control("a letter in brackets", gold, text.replace("{gold}", gold), "choice", True)
    yield from _says([*_CHAT[:38], *_SAID_LETTERS], _CHOSEN, "choice")
    for topic, texts in _SHAPES.items():
        for text in texts:
            yield Control("a whole shape", "", text, topic, True)
    for topics, unless, texts in _AROUND:
        for topic, text in product(topics, texts):
            yield Control("an example in other words", "", text, topic, True, True, unless)
    for text in _JUDGED:
        yield Control("an answer to a judge", "42", text, "judge", True)


CONTROLS = list(_controls())
