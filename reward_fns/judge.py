"""A language model as the judge of one completion, behind any OpenAI-compatible endpoint."""

from collections.abc import Mapping
from typing import Any

from llmpolicy.rewards import Score

from ._judges.asking import ask_judge, judges
from ._judges.canaries import ARITHMETIC
from ._judges.questionnaire import Criterion, checked_choices
from ._text.completion import NoAnswer

CRITERION = (
    "Is the candidate a correct and complete answer to the question? Compare its final answer with"
    " the reference answer where there is one. An answer that only talks about the question is"
    " incorrect."
)
CHOICES: Mapping[str, float] = {"correct": 1.0, "incorrect": 0.0}
_ASKED = {"prompt": "What is 6 * 7?", "answer": "42"}


@judges(_ASKED, say_nothing=("", ":", "Thought process:", "<think>42", "What is 6 * 7?"))
async def score(
    completion: str,
    prompt: str = "",
    answer: Any = None,
    *,
    criterion: str = CRITERION,
    choices: Mapping[str, float] | None = None,
    **options: Any,
) -> Score:
    """The value of the choice that a judge makes for the text after the last closed think; 0.0
    unasked for what says nothing.

    The judge sees the prompt as the question, the column ``answer`` as the reference where there is
    one, and the criterion. ``choices`` maps each verdict to a value from 0 to 1. With every
    1/canary_rate-th question of a process a canary is asked too; ``Score.why`` tells its counts. A
    custom criterion needs ``canaries`` of its own (prompt, completion, good). Raises EndpointError
    or JudgeError when there is no verdict, which is no fault of the model; RewardError for wrong
    arguments, a missing key, a spent budget, and a judge that misjudges too many canaries. See
    `Endpoint`.
    """
    asked = Criterion("verdict", checked_choices(choices or CHOICES, "judge:score"))
    usual = ARITHMETIC if (criterion, asked.choices) == (CRITERION, CHOICES) else []
    try:
        choice, why = await ask_judge(
            "judge:score", [asked], criterion, completion, prompt, answer, usual, **options
        )
    except NoAnswer as reason:
        return Score(0.0, why=f"the judge was not asked: {reason}")
    return Score(asked.choices[choice["verdict"]], parsed=choice["verdict"], why=why)
