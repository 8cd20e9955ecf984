"""Run by ``torchrun --nproc_per_node N``: TRL's own trainer, each process with its part of the rows;
rank 0 writes what moved.

two_processes.py FOLDER CASE...
"""

import os
import sys
from pathlib import Path
from typing import Any

import torch

from tests import training
from tests.semantics import rows, stock
from tests.semantics.cases import Case, cases


def update(folder: Path, case: Case) -> torch.Tensor:
    """What one step adds to the weights."""
    world, network = int(os.environ["WORLD_SIZE"]), rows.policy_model()
    count = len(rows.COMPLETIONS) // world
    settings = {**case.settings, "per_device_train_batch_size": count}
    made = stock.trainer(folder, settings, network=network)
    mine = slice(
        made.accelerator.process_index * count, (made.accelerator.process_index + 1) * count
    )
    given: dict[str, Any] = {
        name: value[mine] if value.dim() else value for name, value in case.inputs.items()
    }
    made._generate_and_score_completions = lambda *_: given  # type: ignore[method-assign]
    start = training.vector(network)
    made.train()
    return training.vector(network) - start


def main(folder: Path, names: list[str]) -> None:
    found = {name: update(folder, cases()[name]) for name in names}
    if int(os.environ["RANK"]) == 0:
        torch.save(found, folder / "updates.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
