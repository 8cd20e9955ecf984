"""How good a language model's policy is on held-out prompts, beside its base: accuracy, pass@k,
drift, intervals.
"""

from llmpolicy.evaluation.answers import LanguagePolicy, best_constant, complete, judge, samples_of
from llmpolicy.evaluation.measure import evaluate, greedy_accuracy
from llmpolicy.evaluation.overoptimisation import Look, Watch, preference, sample, values_of
from llmpolicy.evaluation.record import Evaluation, Example, Question
from llmpolicy.evaluation.text import examples, table

__all__ = [
    "Evaluation",
    "Example",
    "LanguagePolicy",
    "Look",
    "Question",
    "Watch",
    "best_constant",
    "complete",
    "evaluate",
    "examples",
    "greedy_accuracy",
    "judge",
    "preference",
    "sample",
    "samples_of",
    "table",
    "values_of",
]
