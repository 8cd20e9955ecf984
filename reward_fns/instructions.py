"""Instruction following: does the reply keep to what it was told about its form, each point of
which a program can check?
"""

from typing import Any

from llmpolicy.rewards import Score, reward

from ._instructions.checks import CHECKS, read
from ._text.completion import NoAnswer, ThinkingMarks, final_text, says_something

_COLUMNS = {
    "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
    "kwargs": [{}, {"num_words": 4, "relation": "at least"}],
}


@reward(
    passes=[
        {"completion": "Oslo lies by the sea.", **_COLUMNS},
        {"completion": "<think>No comma, then.</think>Oslo lies by the sea.", **_COLUMNS},
        {
            "completion": '{"a": 1}',
            "instruction_id_list": ["detectable_format:json_format"],
            "kwargs": [{}],
        },
    ],
    fails=[
        {"completion": "", **_COLUMNS},
        {"completion": "Well, Oslo lies by the sea.", **_COLUMNS},
        {"completion": "By the sea.", **_COLUMNS},
        {"completion": "<think>Oslo lies by the sea.</think>", **_COLUMNS},
    ],
    range=(0, 1),
    kind="format",
)
def follow(
    completion: str,
    instruction_id_list: Any,
    kwargs: Any,
    prompt: str = "",
    partial: bool = False,
    thinking_marks: ThinkingMarks = (),
) -> Score:
    """1.0 when what stands after the thinking follows every instruction of the row; with
    ``partial`` the share of them.

    The columns are those of IFEval (arXiv 2311.07911): names such as ``punctuation:no_comma`` and
    for each a mapping of its arguments, as lists or JSON text. It looks at the form alone, so an
    off-topic reply is paid too: put it beside a reward that reads what is said. 0.0 for a reply
    that says nothing; None for an instruction that is unknown or lacks an argument.
    """
    try:
        asked = read(instruction_id_list, kwargs)
    except NoAnswer as reason:
        return Score(None, why=str(reason))
    try:
        text = final_text(completion, prompt, thinking_marks)
    except NoAnswer as reason:
        return Score(0.0, why=str(reason))
    if not says_something(text):
        return Score(0.0, why="nothing is said")
    broken = [name for name, arguments in asked if not CHECKS[name](text, **arguments)]
    value = 1 - len(broken) / len(asked) if partial else float(not broken)
    return Score(
        value, parsed=text[:200], why=f"not followed: {', '.join(broken)}" if broken else ""
    )
