"""Format rewards: the shape of a completion. They never look at whether what stands in it is
right.
"""

import re
from collections.abc import Sequence

from llmpolicy.rewards import RewardError, Score, reward
from llmpolicy.thinking import may_hold_marks, side

from ._answers.final import visible
from ._answers.marks import boxes
from ._text.completion import (
    NoAnswer,
    ThinkingMarks,
    after_reasoning,
    normalise,
    pairs_of,
    says_something,
    without_markup,
)

_BOX = re.compile(r"\\(?:f?boxed|fbox)\s*\{")
_CONSTANT = re.compile(
    r"[-+]?\s*\\(?:pi|phi|theta|alpha|beta|lambda|mu|sigma|omega|infty|emptyset|varnothing)\s*"
)
_COMMAND = re.compile(r"\\[A-Za-z]+")
_TEX_COMMENT = re.compile(r"(?<!\\)%[^\n]*")
_CODE_BEFORE = re.compile(r"`[ \t$\\(\[*_]*\Z")
_CODE_AFTER = re.compile(r"[ \t$\\)\]*_.,]*`")
_NAME = re.compile(r"[A-Za-z][\w-]*")
_THINK = (("<think>", "</think>"),)
_LOOKALIKES = dict.fromkeys(map(ord, "＼﹨｛｝﹛﹜"), "\ufffd")


@reward(
    passes=[
        {"completion": "<think>Two and two.</think>four"},
        {"completion": "Two and two.</think>four", "prompt": "2 + 2?<think>"},
    ],
    fails=[
        {"completion": "<think></think>four"},
        {"completion": "<think>a</think>"},
        {"completion": "four"},
    ],
    range=(0, 1),
    kind="format",
)
def think(completion: str, prompt: str = "", thinking_marks: ThinkingMarks = ()) -> Score:
    """1.0 for ``<think>something</think>something``: one pair, nothing before it, neither part
    empty; else 0.0.

    The marks must be written exactly so; ``thinking_marks`` names others, as pairs, that count in
    their place. After a prompt that ends in the first of a pair the completion begins inside the
    block.
    """
    pairs = pairs_of(thinking_marks) if thinking_marks else _THINK
    text = _begun(completion.strip(), prompt, [opens for opens, _ in pairs])
    opening, closing = next((pair for pair in pairs if text.startswith(pair[0])), pairs[0])
    if not text.startswith(opening) or text.count(opening) != 1 or text.count(closing) != 1:
        return Score(0.0, why=f"expected one {opening}...{closing}, at the start")
    inside, _, answer = text.removeprefix(opening).partition(closing)
    try:
        if after_reasoning(text, thinking_marks=thinking_marks).strip() != answer.strip():
            return Score(0.0, why="other marks of thinking in it")
        return _filled({"think": normalise(inside), "answer": normalise(answer)})
    except NoAnswer as reason:
        return Score(0.0, why=str(reason))


@reward(
    passes=[
        {"completion": "<think>Two and two.</think>\n<answer>four</answer>"},
        {"completion": "<sum>4</sum>", "tags": ["sum"]},
        {"completion": "Two and two.</think><answer>four</answer>", "prompt": "2 + 2?<think>"},
    ],
    fails=[
        {"completion": "<think></think><answer></answer>"},
        {"completion": "<answer>four</answer><think>Two and two.</think>"},
        {"completion": "<think>Two and two.</think><answer>four</answer> and so on"},
    ],
    range=(0, 1),
    kind="format",
)
def tags(
    completion: str,
    tags: Sequence[str] = ("think", "answer"),
    prompt: str = "",
    thinking_marks: ThinkingMarks = (),
) -> Score:
    """1.0 when the completion is exactly these tags, in order, each once, closed, not empty,
    nothing outside; else 0.0.

    After a prompt that ends in the first of them, as in ``<think>``, the completion begins inside
    it. What is none of the tags may hold no thought in other marks, those of ``thinking_marks``
    included. RewardError for a name that cannot be a tag, or twice the same.
    """
    different = not isinstance(tags, str) and 0 < len(tags) == len(set(tags))
    if not different or not all(map(_NAME.fullmatch, tags)):
        raise RewardError(
            f"formats:tags got tags {tags!r}; expected a list of different tag names."
        )
    text = _begun(completion.strip(), prompt, [f"<{tags[0]}>"])
    parts: dict[str, str] = {}
    for tag in tags:
        opening, closing = f"<{tag}>", f"</{tag}>"
        if not text.startswith(opening) or text.count(opening) != 1 or text.count(closing) != 1:
            return Score(0.0, why=f"expected one {opening}...{closing} here")
        parts[tag], _, text = text.removeprefix(opening).partition(closing)
        text = text.lstrip()
    if text:
        return Score(0.0, why="text after the last tag")
    try:
        hides = any(_hides(tag, part, thinking_marks) for tag, part in parts.items())
        parts = {tag: normalise(part) for tag, part in parts.items()}
    except NoAnswer as reason:
        return Score(0.0, why=str(reason))
    written = "\0".join(parts.values())
    if hides or any(f"<{tag}>" in written or f"</{tag}>" in written for tag in tags):
        return Score(0.0, why="a tag inside another")
    return _filled(parts)


@reward(
    passes=[
        {"completion": "So \\boxed{4}."},
        {"completion": "<think>\\boxed{5}</think>\\boxed{\\pi}"},
    ],
    fails=[
        {"completion": "\\boxed{}"},
        {"completion": "\\boxed{4} \\boxed{5}"},
        {"completion": "4"},
    ],
    range=(0, 1),
    kind="format",
)
def boxed(completion: str, prompt: str = "", thinking_marks: ThinkingMarks = ()) -> Score:
    """1.0 when the text after the last closed think has exactly one ``\\boxed{}`` and something
    stands in it; else 0.0.

    A box in code, inline or in a block, shows how a box is written and is none: `math_answer` reads
    no answer there either. Nor is one in look-alike characters. ``thinking_marks`` are pairs of
    one's own that a thought stands between.
    """
    try:
        written = text = after_reasoning(completion, prompt, thinking_marks)
        if not written.isascii():
            text = written.translate(_LOOKALIKES)
        text = normalise(text).strip()
        seen = visible(text)
        filled = [box for box in boxes(seen) if not _in_inline_code(seen, box.start, box.end)]
    except NoAnswer as reason:
        return Score(0.0, why=str(reason))
    opened = len(_BOX.findall(text))
    if opened != 1 or len(filled) != 1 or not _BOX.search(written):
        why = f"{opened} boxes with braces, {len(filled)} with something in it; expected one"
        return Score(0.0, why=why)
    content = _TEX_COMMENT.sub(" ", filled[0].content)
    if _CONSTANT.fullmatch(content):
        return Score(1.0)
    return _filled({"box": _COMMAND.sub(" ", without_markup(content))})


def _begun(text: str, prompt: str, openings: Sequence[str]) -> str:
    """The text with the tag before it that the end of the prompt has opened."""
    for opening in openings:
        if prompt.rstrip().endswith(opening.strip()):
            return text if text.startswith(opening) else opening + text
    return text


def _hides(tag: str, part: str, thinking_marks: ThinkingMarks) -> bool:
    """Whether a part has marks by which some of it is a thought, or by which a thought ends
    elsewhere than its tag says.
    """
    if not may_hold_marks(part, tuple(thinking_marks and pairs_of(thinking_marks))):
        return False
    if side(tag):
        return after_reasoning(f"<{tag}>{part}</{tag}>.", thinking_marks=thinking_marks) != "."
    return after_reasoning(part, thinking_marks=thinking_marks) != part


def _in_inline_code(text: str, start: int, end: int) -> bool:
    before = _CODE_BEFORE.search(text[max(0, start - 20) : start])
    return before is not None and _CODE_AFTER.match(text, end) is not None


def _filled(parts: dict[str, str]) -> Score:
    for name, part in parts.items():
        if not says_something(part):
            return Score(0.0, why=f"nothing in {name}")
    return Score(1.0)
