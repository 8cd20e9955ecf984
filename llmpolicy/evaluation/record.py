"""What an evaluation found: the records, and their form in evaluation.json."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from llmpolicy.statistics import Interval


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt, what was answered greedily, and whether it was right (None: it could not be
    judged).
    """

    prompt: str
    completion: str
    right: bool | None


@dataclass(frozen=True, slots=True)
class Question:
    """What became of one held-out prompt: the greedy answer (of a dialogue what both said) and
    whether it was right, and how many judged samples were; ``row`` is its place in the data.
    """

    greedy: bool | None
    right: int
    judged: int
    prompt: str = ""
    completion: str = ""
    row: int = 0

    @property
    def rate(self) -> float | None:
        """Right samples a judged sample; None if none was judged."""
        if not self.judged:
            return None
        return self.right / self.judged


@dataclass(frozen=True, slots=True)
class Talk:
    """What greedy dialogues had on average: turns of the model, calls of tools; and the share that
    ended in each way.
    """

    turns: float
    tool_calls: float
    ended: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The figures of one policy on n held-out prompts; ``base`` holds those of the policy it is
    compared with.

    Greedy: ``accuracy``, ``truncated`` (share of completions that the length limit cut),
    ``mean_length`` (tokens, the stop token included), ``examples``. Sampled at the policy's
    temperature: ``pass_at_k``, ``sampled_accuracy``, ``mean_reward`` and its ``parts``.
    ``kl_to_base`` is in nats a token, over one sampled completion a question. ``paired_difference``
    is greedy accuracy minus the base's on the same questions, ``paired_difference_sampled`` the
    same of the sampled one. ``unjudged`` counts the greedy and the sampled completions that could
    not be judged and so are in none of the shares.
    """

    n: int
    seed: int
    recipe_hash: str
    decoding: Mapping[str, Any]
    accuracy: Interval
    pass_at_k: Mapping[str, float | None]
    truncated: float
    mean_length: float
    kl_to_base: float | None
    best_constant: float | None
    base: "Evaluation | None"
    paired_difference: Interval | None
    sampled_accuracy: Interval
    paired_difference_sampled: Interval | None
    kl_to_base_per_completion: float | None
    best_constant_answer: str | None
    mean_reward: float | None
    parts: Mapping[str, float | None]
    unjudged: Mapping[str, int]
    examples: tuple[Example, ...]
    questions: tuple[Question, ...]
    talk: Talk | None = None

    def to_dict(self) -> dict[str, Any]:
        """The form of evaluation.json; ``base`` has the same keys, with no base and no difference
        of its own.
        """
        figures: dict[str, Any] = {"schema": 1}
        for field in fields(self):
            if field.name not in ("base", "questions", "talk"):
                figures[field.name] = _plain(getattr(self, field.name))
        if self.talk is not None:
            figures |= asdict(self.talk)
        return {**figures, "base": self.base and self.base.to_dict()}

    def answers(self) -> list[dict[str, Any]]:
        """A record for each held-out prompt, ``base`` with what the base made of it, or None."""
        before = self.base.questions if self.base else [None] * len(self.questions)
        return [
            {**asdict(after), "base": None if base is None else asdict(base)}
            for after, base in zip(self.questions, before, strict=True)
        ]


def _plain(value: Any) -> Any:
    if isinstance(value, Interval):
        return value.to_dict()
    if isinstance(value, tuple):
        return list(map(asdict, value))
    if isinstance(value, Mapping):
        return dict(value)
    return value
