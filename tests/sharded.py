"""Run by ``torchrun --nproc_per_node N``: GRPO steps, with the weights shared out by FSDP2 where
there are several processes; rank 0 writes the weights.

sharded.py FOLDER

accelerate shares weights out on accelerators only. Here its state is told that it does so on a CPU;
all the rest is what runs on a GPU: accelerate's FSDP2, torch's DTensor, gloo.
"""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType
from safetensors.torch import load_file
from torch.distributed.tensor import DTensor

from llmpolicy.grpo import config, step
from llmpolicy.grpo.checkpoint import save_together
from tests import training
from tests.two_processes import GROUP, ROLLOUTS, replayed

WORLD = int(os.environ["WORLD_SIZE"])
SHARED = {
    "fsdp": True,
    "fsdp_config": {"version": 2, "transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"]},
}


def share_on_cpus() -> None:
    """Let accelerate's state say FSDP wherever it has a plugin for it."""
    begin = AcceleratorState.__init__

    def begun(self: Any, *words: Any, **named: Any) -> None:
        begin(self, *words, **named)
        if named.get("fsdp_plugin") is not None:
            self.fsdp_plugin = named["fsdp_plugin"]
        if getattr(self, "fsdp_plugin", None) is not None:
            self.distributed_type = DistributedType.FSDP

    AcceleratorState.__init__ = begun  # type: ignore[method-assign]
    config.refuse_shares_on_cpus = lambda args: None


def trainer(folder: Path, **grpo: Any) -> Any:
    """A trainer whose optimiser it makes itself, as FSDP asks."""
    return training.trainer(
        folder,
        training.policy(),
        options={"optimizers": (None, None)},
        num_generations=GROUP,
        per_device_train_batch_size=ROLLOUTS // WORLD,
        shuffle_dataset=False,
        adam_epsilon=1.0,  # near the gradient itself, with a state that is saved
        **(SHARED if WORLD > 1 else {}),
        **grpo,
    )


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """All weights, whole."""
    named = {}
    for name, parameter in model.named_parameters():
        value = parameter.detach()
        named[name] = value.full_tensor() if isinstance(value, DTensor) else value.clone()
    return named


def facts(ours: Any) -> dict[str, Any]:
    """How a trainer went about it."""
    kinds = {isinstance(parameter, DTensor) for parameter in ours.model.parameters()}
    tokens = [episode.turns[0].action for episode in ours.generation.episodes]
    return {"sharded": kinds == {True}, "path": ours.ways.path, "tokens": tokens}


def saved(ours: Any, folder: Path) -> dict[str, torch.Tensor]:
    """The weights of a policy written by all processes."""
    save_together(ours, folder)
    return load_file(folder / "model.safetensors")


def main(folder: Path) -> None:
    """A step whose tokens are the likeliest; steps from given rollouts, saved; and gone on with."""
    greedy = trainer(folder / "greedy", top_k=1)
    greedy.train()
    found: dict[str, Any] = {"greedy": facts(greedy)}
    step.sampled = replayed
    step.read = lambda ours, prompt_ids, _: replayed(ours, prompt_ids)
    straight = trainer(folder / "straight", max_steps=2, save_strategy="steps", save_steps=1)
    found["start"] = {"sharded": WORLD > 1, "weights": weights(straight.model)}
    straight.train()
    found["straight"] = {**facts(straight), "weights": weights(straight.model)}
    if WORLD > 1:
        found["straight"]["saved"] = saved(straight, folder / "policy")
    resumed = trainer(folder / "resumed", max_steps=2)
    resumed.train(resume_from_checkpoint=str(folder / "straight" / "checkpoint-1"))
    found["resumed"] = {**facts(resumed), "weights": weights(resumed.model)}
    if int(os.environ["RANK"]) == 0:
        torch.save(found, folder / "updates.pt")


if __name__ == "__main__":
    share_on_cpus()
    main(Path(sys.argv[1]))
