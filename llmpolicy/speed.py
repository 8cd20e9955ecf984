"""Which way each part of the work on a language model goes, and in words why it is not the fast
one.

What is decided of a loaded model is decided in ``policies/causal_lm/fast/door.py``; here is the
record of it, and what can be said without a model. No torch.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FAMILIES = {
    "llama": "Llama",
    "qwen2": "Qwen2",
    "qwen3": "Qwen3",
    "mistral": "Mistral",
    "gemma3_text": "Gemma3",
    "gpt2": "GPT2",
    "qwen3_moe": "Qwen3Moe",
    "mixtral": "Mixtral",
}
"""Model types whose attention is known to be softmax(q·k) with, at most, a sliding window, and what
the names of their classes begin with.
"""
LAYERS = ("Llama", "Mistral", "Qwen2", "Qwen3", "Gemma3")
"""Families whose decoder layers are known, and computed in fewer operations."""
NORMS = tuple(f"{family}RMSNorm" for family in ("Llama", "Mistral", "Qwen2", "Qwen3"))
"""RMS norms whose weight is a plain factor."""
BY_ROWS = ("grpo", "sapo", "dr_grpo", "luspo")
BY_TOKENS = ("dapo", "cispo", "vespo")
BY_GROUPS = ("cpu",)
"""Devices that generate by groups: on a GPU the time goes into asking for small kernels, of which
padded rows need fewer.
"""
BY_STATES = ("cpu",)
"""Devices on which it pays to read prompts of each length by themselves, a pass each."""

GROUPS, PADDED, STATES, WHOLE = "groups", "padded rows", "states", "whole rows"
"""How the policy's own generator reads: prompts once, rows as a batch, what a model carries, or all
of a row for each token.
"""
KEPT, READ_AGAIN = "kept between turns", "whole rows read again each turn"
"""What becomes between two turns of a dialogue of all that was read."""
TRL, VLLM = "TRL's", "vLLM's"
"""Who else may sample."""

OF_THE_LOOP = "the readable loop back-propagates all completions of an update as one batch"
"""Why an update of REINFORCE is not the fast one."""
LATER = "decided when the model is loaded"


@dataclass(frozen=True, slots=True)
class Way:
    """The way that one part of the work goes, and why it is not the fast one; None if nothing is
    lost.
    """

    name: str
    reason: str | None = None

    def __str__(self) -> str:
        return self.name if self.reason is None else f"{self.name} ({self.reason})"


@dataclass(frozen=True, slots=True)
class Ways:
    """One way for each part of a step."""

    generation: Way
    adapter: Way
    layers: Way
    products: Way
    norms: Way
    scoring: Way
    update: Way

    @property
    def path(self) -> str:
        """The update's way alone: ``group``, ``state`` for recurrent models, or ``stock``, and
        ``padded rows`` of the readable loop, with the reason in brackets.
        """
        return str(self.update)

    @property
    def samples_itself(self) -> bool:
        """Whether π is sampled by the policy's own generator."""
        return self.generation.name not in (TRL, VLLM)

    def facts(self) -> dict[str, str]:
        """The parts by name, for a manifest."""
        return {part.name: str(getattr(self, part.name)) for part in dataclasses.fields(self)}

    def lines(self) -> list[str]:
        """What a run says first: the update's way, and a line for each other reason, with the parts
        that it holds for.
        """
        parts: dict[str, list[str]] = {}
        for part in dataclasses.fields(self):
            way: Way = getattr(self, part.name)
            if way.reason not in (None, self.update.reason):
                parts.setdefault(str(way.reason), []).append(f"{part.name} {way.name}")
        return [f"path: {self.path}", *(f"  {', '.join(p)}: {why}" for why, p in parts.items())]


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a run asks for, as far as it decides the way; ``settings`` are options of TRL's
    GRPOConfig by name.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    sharded: bool = False
    devices: int = 1
    """That one process drives."""
    processes: int = 1
    joined: str | None = None
    """What joins processes, where it is not torch's DDP."""
    aux_loss: bool = False
    turns: bool = False
    """Whether rows are dialogues, which go on after a turn."""
    loop: bool = False
    """Whether the update is that of the readable loop, not of TRL's trainer."""

    def get(self, name: str, default: Any = None) -> Any:
        """A setting, or the default where it is not among them."""
        return self.settings.get(name, default)


def update_reason(conditions: Conditions) -> str | None:
    """Why an update goes as TRL's own whatever the model, in words; None if the model decides."""
    if conditions.sharded:
        return "weights are sharded"
    if conditions.devices > 1:
        return "one process drives several devices"
    if conditions.joined is not None:
        return f"distributed_type is {conditions.joined}"
    if (loss := conditions.get("loss_type", BY_TOKENS[0])) not in (*BY_ROWS, *BY_TOKENS):
        return f"loss_type {loss} divides by the tokens of a micro-batch"
    entropy = conditions.get("entropy_coef", 0.0) or conditions.get("use_adaptive_entropy")
    if entropy or conditions.get("top_entropy_quantile", 1.0) < 1.0:
        return "entropy terms are taken over a micro-batch"
    if conditions.aux_loss:
        return "the auxiliary loss of a mixture of experts is taken over a micro-batch"
    if any(map(conditions.get, ("cast_lm_head_to_fp32", "torch_compile", "use_liger_kernel"))):
        return "cast_lm_head_to_fp32, torch_compile or use_liger_kernel was asked for"
    return None


def update_decided(conditions: Conditions) -> Way | None:
    """The way of an update that goes the same whatever the model; None if the model decides."""
    if conditions.loop:
        return Way(PADDED, OF_THE_LOOP)
    reason = update_reason(conditions)
    return None if reason is None else Way("stock", reason)


def state_update_reason(conditions: Conditions, device: str) -> str | None:
    """Why prompts are read with each of their completions although the model carries a state."""
    if device not in BY_STATES:
        return f"sharing a prompt's state was measured on {', '.join(BY_STATES)} only"
    if conditions.get("gradient_checkpointing"):
        return "a state is not carried over checkpoints of activations"
    if conditions.processes > 1:
        return "several processes exchange gradients after one forward pass"
    return None


def engine(conditions: Conditions) -> Way | None:
    """Who samples in the place of the policy's own generator; None if nobody does."""
    if conditions.get("use_vllm"):
        return Way(VLLM)
    if conditions.get("use_transformers_continuous_batching"):
        return Way(TRL, "use_transformers_continuous_batching was asked for")
    if conditions.sharded:
        return Way(TRL, "weights are sharded")
    plain = {"top_p": 1.0, "top_k": 0, "min_p": None, "repetition_penalty": 1.0}
    for name, value in plain.items():
        if conditions.get(name, value) != value:
            return Way(TRL, f"{name} {conditions.get(name)} draws from another distribution")
    if conditions.get("generation_kwargs"):
        return Way(TRL, "generation_kwargs was asked for")
    return None


def off_cpu(device: str) -> str:
    """Why the ways of a CPU are not taken on another device."""
    return f"on {device} the ways of a CPU, of more and smaller kernels, are not faster"


def foreseen(model_type: str | None, conditions: Conditions) -> dict[str, str]:
    """What is known of generation and update before a model is loaded, whose type may be known."""
    generation, family = engine(conditions), FAMILIES.get(model_type or "")
    update = update_decided(conditions)
    if family is None:
        kind = f", {model_type} is not among the known families" if model_type else ""
        model = {"generation": LATER + kind, "update": LATER + kind}
    else:
        model = {"generation": f"groups on {', '.join(BY_GROUPS)}, else padded rows"}
        model["update"] = "group, if the model as loaded is its family's"
    if generation is not None:
        model["generation"] = str(generation)
    if update is not None:
        model["update"] = str(update)
    return model
