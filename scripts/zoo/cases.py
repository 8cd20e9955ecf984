"""One animal of the zoo: a family of models, or a kind of adapter, held against every law."""

import re
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from llmpolicy.errors import LLMPolicyError, one_line
from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.policies.causal_lm.fast.door import group_path, shared_path
from llmpolicy.policies.causal_lm.fast.read_states import cache_reason, state_reason
from llmpolicy.policies.causal_lm.states import is_recurrent
from scripts.zoo import laws
from scripts.zoo.build import ALPHABET, VARIANTS, build, small
from scripts.zoo.plain import Plain
from scripts.zoo.window import Window
from tests import models

Sentences = dict[str, str]
BLIND = 3e-3
"""A model that another first token moves by less, in nats, shows no mistake."""


@dataclass
class Report:
    """What was found of one animal: a figure for each law that held or broke, sentences of
    refusals, bare errors.
    """

    figures: dict[str, float] = field(default_factory=dict)
    refused: Sentences = field(default_factory=dict)
    errors: Sentences = field(default_factory=dict)
    broken: Sentences = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def law(self, name: str, law: Callable[[], float], limit: float) -> None:
        """Hold one law, and write down how it ends."""
        figure = self.attempt(name, law)
        if figure is None:
            return
        self.figures[name] = float(f"{figure:.3g}")
        if not figure <= limit:  # NaN too
            self.broken[name] = f"off by {figure:.3g}"

    def attempt(self, name: str, call: Callable[[], Any]) -> Any:
        """The result of a call, None if it was refused in words, raised anything else, or found a
        difference.
        """
        try:
            return call()
        except LLMPolicyError as error:
            self.refused[name] = re.sub(rf"{tempfile.gettempdir()}/\w+/", "", str(error))
        except laws.Differs as error:
            self.broken[name] = str(error)
        except Exception as error:  # noqa: BLE001  a bare error is what the zoo looks for
            self.errors[name] = f"{_where(error)}: {type(error).__name__}: {one_line(error)[:300]}"
        return None

    @property
    def outcome(self) -> str:
        """``wrong``, ``error``, ``late`` (trained, then not saved), ``refused`` or ``right``: the
        worst that was seen.
        """
        if self.broken:
            return "wrong"
        if self.errors:
            return "error"
        for part in ("", "lora "):
            if f"{part}window" in self.figures and f"{part}save" in self.refused:
                return "late"
        if all(name.endswith("merge") for name in self.refused):
            return "right"
        return "refused"

    def record(self) -> dict[str, Any]:
        """As plain data."""
        seen = {name: value for name, value in vars(self).items() if name != "facts" and value}
        return {"outcome": self.outcome, **self.facts, **seen}


def _where(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"


def words() -> Any:
    """The tokenizer that all have: a token a character."""
    return models.tokenizer(alphabet=ALPHABET)


def policy_of(model: Any, **settings: Any) -> CausalLMPolicy:
    """A policy with many stop tokens, so that rows end at different times."""
    return CausalLMPolicy(model, words(), temperature=laws.TEMPERATURE, stop=laws.STOP, **settings)


def family(name: str) -> dict[str, Any]:
    """A family of models or a variant of one, with all weights trained and with LoRA."""
    model_type, changes = VARIANTS.get(name, (name, {}))
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        model = report.attempt("build", lambda: build(small(model_type, **changes)))
        plain = (
            report.attempt("plain forward", lambda: _seeing(model)) if model is not None else None
        )
        if plain is None:
            return {**report.record(), "outcome": "not built"}
        report.facts["sensitivity"] = round(plain.sensitivity(laws.PROMPTS[1]), 4)
        full(report, model, plain, Path(folder) / "base")
        if not report.refused.get("policy"):
            with_lora(report, build(small(model_type, **changes)), plain, Path(folder) / "base")
    return report.record()


def _seeing(model: Any) -> Plain:
    plain = Plain(model)
    if not plain.sensitivity(laws.PROMPTS[1]) > BLIND:
        raise laws.Differs(
            "the small model hardly looks at its context: expected other sizes or weights"
        )
    return plain


def full(report: Report, model: Any, plain: Plain, base: Path) -> None:
    """All laws of full weights; the base is left in a folder for adapters."""
    policy = report.attempt("policy", lambda: policy_of(model))
    if policy is None:
        return
    report.facts["path"] = report.attempt("path", lambda: path_of(policy.model))
    report.facts["because"] = shared_path(policy.model)
    hold(report, "", policy, plain)
    report.attempt("rehearsal", policy.rehearse)  # as a session does before the first step
    if "rehearsal" in report.refused:
        return
    report.attempt("save", lambda: policy.save(base))
    report.law("save", lambda: laws.saved(policy, base), laws.NATS)
    train(report, "", policy, plain)


def path_of(model: Any) -> str:
    """How a policy has its model read: by groups, from the state after a prompt, row by row, or
    padded on the left.
    """
    if is_recurrent(model):
        return "states" if state_reason(model) is None else "rows"
    if group_path(model) is None:
        return "group"
    return "padded" if cache_reason(model) is None else "rows"


def hold(report: Report, prefix: str, policy: CausalLMPolicy, plain: Plain) -> None:
    """The laws of log-probabilities, choices and gradients."""
    for name, law in laws.LAWS.items():
        limit = laws.RELATIVE if name == "gradient" else laws.NATS
        report.law(prefix + name, lambda law=law: law(policy, plain), limit)  # type: ignore[misc]


def with_lora(report: Report, model: Any, plain: Plain, base: Path) -> None:
    """The laws of the default adapter, on every linear layer but the head."""
    policy = report.attempt("lora", lambda: policy_of(model, lora={"r": 4}))
    if policy is None:
        return
    report.law("lora start", lambda: laws.padded(policy, plain), laws.NATS)
    adapted(report, "lora ", policy, plain, base)


def adapted(
    report: Report, prefix: str, policy: CausalLMPolicy, base_plain: Plain, base: Path
) -> None:
    """The laws of a policy with an adapter that has moved away from its start."""
    start = Plain(policy.model)
    move(policy)
    plain = Plain(policy.model)
    hold(report, prefix, policy, plain)
    report.law(f"{prefix}off", lambda: laws.adapter_off(policy, base_plain), laws.NATS)
    report.law(f"{prefix}reference", lambda: laws.reference(policy, base_plain, start), laws.NATS)
    report.law(f"{prefix}merge", lambda: laws.merged(policy, plain), laws.NATS)
    if base.exists():
        report.law(f"{prefix}save", lambda: laws.saved(policy, base), laws.NATS)
    report.attempt(f"{prefix}rehearsal", policy.rehearse)
    if f"{prefix}rehearsal" not in report.refused:
        train(report, prefix, policy, plain)


def train(report: Report, prefix: str, policy: CausalLMPolicy, plain: Plain) -> None:
    """One window of the real trainer by hand and against stock TRL, and one with a mixture's
    auxiliary loss.
    """
    has_aux = hasattr(policy.model.config.get_text_config(decoder=True), "output_router_logits")
    start = {name: p.detach().clone() for name, p in policy.model.named_parameters()}
    window = report.attempt(
        f"{prefix}window",
        lambda: Window(policy, plain, **({"router_aux_loss_coef": 0.0} if has_aux else {})),
    )
    if window is None:
        return
    report.facts[f"{prefix}update"] = window.path
    report.law(f"{prefix}window", window.by_hand, laws.RELATIVE)
    if prefix:
        return
    stock = Report()
    stock.law("stock", window.stock, laws.RELATIVE)
    report.facts["stock"] = stock.figures.get("stock", *stock.errors.values())
    coefficient = getattr(
        policy.model.config.get_text_config(decoder=True), "router_aux_loss_coef", 0.0
    )
    if has_aux and coefficient:
        with torch.no_grad():
            for name, parameter in policy.model.named_parameters():
                parameter.copy_(start[name])
        auxiliary(report, policy, plain)


def auxiliary(report: Report, policy: CausalLMPolicy, plain: Plain) -> None:
    """A window with the auxiliary loss that a model's configuration asks for is stock TRL's."""
    window = report.attempt("auxiliary window", lambda: Window(policy, plain))
    if window is None or not window.aux:  # the model gives no such loss, which is said
        return
    stock = Report()
    stock.law("auxiliary window", window.stock, laws.RELATIVE)
    report.figures |= stock.figures
    report.broken |= stock.broken
    if stock.errors:  # stock TRL's own
        report.facts["stock auxiliary"] = stock.errors["auxiliary window"]


def move(policy: CausalLMPolicy) -> None:
    """Move the trained parameters of an adapter, which mostly start at zero."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.15 * torch.randn(parameter.shape, generator=generator))
