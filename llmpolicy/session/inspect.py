"""What a policy thinks of one prompt: its next token, and each token of a completion, beside the
base that it was trained from.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llmpolicy.errors import PolicyError
from llmpolicy.evaluation.answers import WithoutAdapter, evaluating
from llmpolicy.messages import Conversation
from llmpolicy.plan import model_path
from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.recipe import ModelBlock, load_recipe
from llmpolicy.run import Run
from llmpolicy.stages.evaluation import start_of
from llmpolicy.stages.policy import policy_at
from llmpolicy.stages.process import placed
from llmpolicy.stages.rest import rest_of
from llmpolicy.terminal import quiet, visible

TOP = 10

Base = CausalLMPolicy | WithoutAdapter


@dataclass(frozen=True, slots=True)
class Token:
    """A token as text, with its log-probability in nats under the policy, and under its base
    (None without one).
    """

    text: str
    log_prob: float
    base: float | None


@dataclass(frozen=True, slots=True)
class Inspection:
    """The likeliest next tokens after a prompt, and the tokens of a completion."""

    prompt: str
    next: Sequence[Token]
    completion: Sequence[Token]
    entropy: float

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain data."""
        return {"schema": 1, **asdict(self)}

    def __str__(self) -> str:
        entropy = f"next token (entropy {self.entropy:.2f} nats):"
        lines = [f"prompt: {visible(self.prompt)}", "", entropy, *_table(self.next, _percent)]
        total = f"{sum(token.log_prob for token in self.completion):.2f} nats"
        if self.has_base:
            total += f", base {sum(token.base or 0.0 for token in self.completion):.2f}"
        lines += ["", f"completion (log-probability {total}):"]
        return "\n".join([*lines, *_table(self.completion, "{:.3f}".format)])

    @property
    def has_base(self) -> bool:
        """Whether there is a base to compare with."""
        return any(token.base is not None for token in self.next)


def _table(tokens: Sequence[Token], shown: Callable[[float], str]) -> list[str]:
    has_base = any(token.base is not None for token in tokens)
    lines = ["    policy" + "      base" * has_base + "  token"]
    for token in tokens:
        values = [token.log_prob, *([] if token.base is None else [token.base])]
        figures = "".join(f"{shown(value):>10}" for value in values)
        lines.append(f"{figures}  {visible(token.text)}")
    return lines


def _percent(log_prob: float) -> str:
    return f"{math.exp(log_prob):.1%}"


def inspect_model(
    model: str, prompt: str, completion: str | None = None, *, chat: bool = False
) -> Inspection:
    """Look at a run, beside the policy that it started from, or at a model alone; without a
    completion at the likeliest one. With ``chat`` the prompt is a user's message.
    """
    quiet()
    policy, base = _policies(model)
    asked: Any = Conversation([{"role": "user", "content": prompt}]) if chat else prompt
    with evaluating(policy, base), torch.no_grad():
        state = policy.encode([asked])[0]
        chosen = _chosen(policy, state, completion)
        logits, log_prob = _seen(policy, state, chosen)  # (V,), (T,)
        best = logits.topk(min(TOP, len(logits))).indices.tolist()
        before: tuple[Tensor | None, Tensor | None] = (None, None)
        if base is not None:
            of_base, base_log_prob = _seen(base, state, chosen)
            before = of_base[best], base_log_prob
        return Inspection(
            policy.codec.raw(state),
            _tokens(policy, best, logits[best], before[0]),
            _tokens(policy, chosen, log_prob, before[1]),
            float(-(logits.exp() * logits).nansum()),
        )


def _policies(model: str) -> tuple[CausalLMPolicy, Base | None]:
    folder = Path(model)
    if not (folder / "manifest.json").is_file():
        return placed(CausalLMPolicy.load(model_path(ModelBlock(path=model), None))), None
    run = Run.open(folder)
    if not run.policy_dir.is_dir():
        state = run.manifest.get("status", "unknown")
        raise PolicyError(f"{model} has no policy to look at (the run's status: {state})")
    recipe = load_recipe(str(folder / "recipe.yaml"))
    recipe = rest_of(recipe.within(folder), folder)
    policy = placed(policy_at(run.policy_dir, recipe))
    return policy, start_of(recipe, policy)


def _chosen(policy: CausalLMPolicy, state: Sequence[int], completion: str | None) -> list[int]:
    """The tokens of a completion, or of the likeliest one."""
    if completion is None:
        return list(policy.complete([list(state)], greedy=True)[0].action)
    try:
        ids = list(policy.codec.behind(completion))
    except TypeError:  # half of a surrogate pair
        ids = []
    if not ids:
        raise PolicyError(f"--completion {completion!r:.60} has no token; expected a text")
    return ids


def _seen(policy: Base, state: Sequence[int], chosen: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The log-probabilities of all next tokens, (V,), and of those chosen, (T,)."""
    log_prob, _ = policy.log_prob([list(state)], [list(chosen)])  # (1, T)
    logits: Tensor = policy.distribution([list(state)]).logits
    return logits[0].cpu(), log_prob[0].cpu()


def _tokens(
    policy: CausalLMPolicy, ids: Sequence[int], here: Tensor, there: Tensor | None
) -> list[Token]:
    others = [None] * len(ids) if there is None else there.tolist()
    values = zip(ids, here.tolist(), others, strict=True)
    return [Token(policy.codec.raw([token]), value, base) for token, value, base in values]
