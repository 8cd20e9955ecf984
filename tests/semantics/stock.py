"""The installed TRL's own trainer over the rows: its loss and gradient, and what it makes of what
was written before its loss is asked. Nothing of llmpolicy is trained here.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedModel
from trl import GRPOConfig, GRPOTrainer

from tests.oracle import world
from tests.semantics import rows
from tests.semantics.papers import Floats

USUAL: dict[str, Any] = {
    "per_device_train_batch_size": len(rows.COMPLETIONS), "gradient_accumulation_steps": 1,
    "num_generations": rows.GROUP, "max_completion_length": rows.LENGTH,
    "temperature": rows.TEMPERATURE, "learning_rate": 1.0, "lr_scheduler_type": "constant",
    "max_grad_norm": 0.0, "weight_decay": 0.0, "max_steps": 1, "save_strategy": "no",
    "report_to": [], "use_cpu": True, "bf16": False, "gradient_checkpointing": False,
    "shuffle_dataset": False, "disable_tqdm": True,
}  # fmt: skip


def trainer(
    folder: Path,
    settings: dict[str, Any],
    rewards: list[Callable[..., Any]] | None = None,
    network: PreTrainedModel | None = None,
) -> GRPOTrainer:
    """TRL's trainer of the tiny policy, with plain SGD of rate 1."""
    network = network or rows.policy_model()
    beta = settings.get("beta", 0.0)
    given = {**USUAL, **settings, "beta": 0.0}  # a reference would be loaded from the Hub
    made = GRPOTrainer(
        model=network,
        reward_funcs=rewards or [nothing],
        args=GRPOConfig(output_dir=str(folder), **given),
        train_dataset=Dataset.from_dict({"prompt": ["abc", "d"]}),
        processing_class=world.tokenizer(),
        optimizers=(torch.optim.SGD(network.parameters(), lr=1.0), None),
    )
    made.beta, made.current_gradient_accumulation_steps = beta, 1
    made.model.train()
    return made


def nothing(completions: list[str], **_: Any) -> list[float]:
    return [0.0] * len(completions)


def corrects(made: GRPOTrainer, mode: str, low: float | None, high: float | None) -> None:
    """Let a trainer believe that an engine wrote what it learns from."""
    made.use_vllm, made.vllm_importance_sampling_correction = True, True
    made.vllm_importance_sampling_mode = mode
    made.vllm_importance_sampling_clip_min = low
    made.vllm_importance_sampling_clip_max = high


def plain_head(made: GRPOTrainer) -> None:
    """Log-probabilities and entropies of a plain softmax in the place of TRL's own, for a version
    whose own do not run on this machine.
    """

    def scored(model: Any, ids: Any, mask: Any, keep: int, *_: Any, **__: Any) -> Any:
        logits = model(input_ids=ids, attention_mask=mask).logits[:, -keep - 1 : -1]
        every = (logits / rows.TEMPERATURE).log_softmax(-1)  # (B, T, V)
        chosen = every.gather(-1, ids[:, -keep:, None])[..., 0]
        counts = mask[:, -keep:]
        return chosen * counts, -(every.exp() * every).sum(-1) * counts, None

    made._get_per_token_logps_and_entropies = scored  # type: ignore[method-assign]


def loss_and_gradient(made: GRPOTrainer, inputs: dict[str, Any]) -> tuple[float, Floats]:
    """TRL's loss of the rows, and its gradient in the weights, (P,)."""
    weights = [weight for weight in made.model.parameters() if weight.requires_grad]
    loss = made._compute_loss(made.model, inputs)
    parts = torch.autograd.grad(loss, weights, materialize_grads=True)
    return loss.item(), np.asarray(torch.cat([part.flatten() for part in parts]).double().numpy())


def judged(made: GRPOTrainer, engine: Floats | None = None) -> dict[str, Any]:
    """What TRL makes of the rows before its loss is asked: advantages, masks, weights; ``engine`` is
    what the engine says of its log-probabilities.
    """
    prompts = [list(rows.PROMPTS[row // rows.GROUP]) for row in range(len(rows.COMPLETIONS))]
    written = [list(completion) for completion in rows.COMPLETIONS]
    noted = None
    if engine is not None:
        noted = [list(line[: len(ids)]) for line, ids in zip(engine, written, strict=True)]
    texts = ["".join(map(str, ids)) for ids in written]
    parts = (prompts, written, None, texts, noted, {}, None, None)
    made._generate = lambda *_: parts  # type: ignore[method-assign]
    return made._generate_and_score_completions([{"prompt": "abc"}] * 4 + [{"prompt": "d"}] * 4)
