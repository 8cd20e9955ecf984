"""How good a language model's policy is on held-out prompts, beside its base: accuracy, pass@k,
drift, intervals.
"""

from llmpolicy.evaluation.answers import (
    LanguagePolicy,
    best_constant,
    complete,
    judge,
    known_mean,
    samples_of,
    values_of,
    verdicts,
)
from llmpolicy.evaluation.measure import evaluate, greedy_accuracy, greedy_answers
from llmpolicy.evaluation.overoptimisation import Look, Watch, preference, sample
from llmpolicy.evaluation.record import Evaluation, Example, Question
from llmpolicy.evaluation.text import examples, table
from llmpolicy.evaluation.truth import LEVEL, Parting, Partings, Seen

__all__ = [
    "LEVEL",
    "Partings",
    "Evaluation",
    "Example",
    "LanguagePolicy",
    "Look",
    "Parting",
    "Question",
    "Seen",
    "Watch",
    "best_constant",
    "complete",
    "evaluate",
    "examples",
    "greedy_accuracy",
    "greedy_answers",
    "judge",
    "known_mean",
    "preference",
    "sample",
    "samples_of",
    "table",
    "values_of",
    "verdicts",
]
