"""The answer a policy could give to every question without reading it: what any accuracy has to
beat.
"""

from collections import Counter
from collections.abc import Sequence

from llmpolicy.episode import Episode, Turn
from llmpolicy.evaluation.answers import judge, known_mean
from llmpolicy.rewards import Rewards
from llmpolicy.rewards.declare import COMMON_FORMATS
from llmpolicy.tasks import Row, prompt_text

CONSTANTS, SCORINGS = 50, 10_000
"""How many answers are tried, the most frequent first, and how many scorings that may cost."""


def best_constant(
    rows: Sequence[Row], correct: Rewards, threshold: float = 1.0
) -> tuple[float, str] | None:
    """The highest accuracy of one and the same completion on all rows, and that completion.

    Tried are the values of the column ``answer``. None if there is no such column, or if no form of
    an answer is right on its own question, so that nothing can be said.
    """
    counts = Counter(str(row.columns["answer"]) for row in rows if "answer" in row.columns)
    accuracies = []
    for answer, _ in counts.most_common(min(CONSTANTS, max(1, SCORINGS // len(rows)))):
        text = _accepted(answer, rows, correct, threshold)
        if text is not None:
            verdicts = judge(correct, rows, _said(rows, text), threshold)
            accuracies.append((known_mean(verdicts) or 0.0, text))
    return max(accuracies, key=lambda pair: pair[0], default=None)


def _accepted(answer: str, rows: Sequence[Row], correct: Rewards, threshold: float) -> str | None:
    """The answer in the first form that is right on a row of that answer."""
    asked = next(row for row in rows if str(row.columns.get("answer")) == answer)
    for form in COMMON_FORMATS:
        text = form.replace("{}", answer)
        if judge(correct, [asked], _said([asked], text), threshold)[0]:
            return text
    return None


def _said(rows: Sequence[Row], text: str) -> list[Episode]:
    """The same text as the answer to every row, by no policy."""
    return [
        Episode([Turn((), (), prompt=prompt_text(row.prompt), text=text)], group, row.index)
        for group, row in enumerate(rows)
    ]
