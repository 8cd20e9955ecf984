"""The answer a policy could give to every question without reading it: what any accuracy has to
beat.
"""

from collections import Counter
from collections.abc import Sequence

from llmpolicy.evaluation.answers import judge
from llmpolicy.rewards import Rewards
from llmpolicy.tasks import Row
from llmpolicy.types import Completion

CONSTANTS, SCORINGS = 50, 10_000
"""How many answers are tried, the most frequent first, and how many scorings that may cost."""

FORMS = ("{}", "\\boxed{{{}}}", "<answer>{}</answer>", "#### {}")
"""How an answer may be written; the first form that is right on a question of that answer is
used.
"""


def best_constant(
    rows: Sequence[Row], correct: Rewards, threshold: float = 1.0
) -> tuple[float, str] | None:
    """The highest accuracy of one and the same completion on all rows, and that completion.

    Tried are the values of the column ``answer``. None if there is no such column, or if no form of
    an answer is right on its own question, so that nothing can be said.
    """
    counts = Counter(str(row.columns["answer"]) for row in rows if "answer" in row.columns)
    tried = [
        answer for answer, _ in counts.most_common(min(CONSTANTS, max(1, SCORINGS // len(rows))))
    ]
    completions = [
        text
        for answer in tried
        if (text := _accepted(answer, rows, correct, threshold)) is not None
    ]
    accuracies = [(_accuracy(text, rows, correct, threshold), text) for text in completions]
    return max(accuracies, key=lambda pair: pair[0], default=None)


def _accepted(answer: str, rows: Sequence[Row], correct: Rewards, threshold: float) -> str | None:
    """The answer in the first form that is right on a row of that answer."""
    own = next(row for row in rows if str(row.columns.get("answer")) == answer)
    texts = (form.format(answer) for form in FORMS)
    return next(
        (
            text
            for text in texts
            if judge(correct, [own], [Completion(own.prompt, text)], threshold)[0]
        ),
        None,
    )


def _accuracy(text: str, rows: Sequence[Row], correct: Rewards, threshold: float) -> float:
    verdicts = judge(correct, rows, [Completion(row.prompt, text) for row in rows], threshold)
    return verdicts.count(True) / (len(verdicts) - verdicts.count(None))
