"""Language, as far as the script tells it: the share of letters that belong to the scripts of a
language.
"""

from llmpolicy.errors import nearest
from llmpolicy.rewards import RewardError, Score, reward

from ._text.completion import NoAnswer, ThinkingMarks, final_text, normalise
from ._text.scripts import SCRIPTS, in_scripts


@reward(
    passes=[
        {"completion": "Es ist 5 Uhr.", "language": "de"},
        {"completion": "Пять: $x = five$ `code`", "language": "ru"},
    ],
    fails=[
        {"completion": "It is five.", "language": "ru"},
        {"completion": "`пять` https://пять.рф $пять$ 5", "language": "ru"},
    ],
    range=(0, 1),
    kind="style",
)
def script(
    completion: str,
    language: str,
    prompt: str = "",
    think: bool = True,
    thinking_marks: ThinkingMarks = (),
) -> Score:
    """The share of letters that are of the language's scripts; 0.0 for a text without letters.

    Code, mathematics, links and tags do not count. The script is all that is looked at: English and
    German are one, and nothing says that the words mean anything. ``think`` counts the reasoning
    too. RewardError for an unknown language.
    """
    if language not in SCRIPTS:
        raise RewardError(
            f"language:script got the language {language!r}{nearest(str(language), SCRIPTS)}"
        )
    try:
        text = normalise(completion) if think else final_text(completion, prompt, thinking_marks)
    except NoAnswer as reason:
        return Score(0.0, why=str(reason))
    count, total = in_scripts(text, language)
    if total <= 0:
        return Score(0.0, why="no letters")
    return Score(count / total, why=f"{count} of {total} letters")
