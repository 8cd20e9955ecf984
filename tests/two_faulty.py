"""Run by ``torchrun --nproc_per_node 2``: a reward fails on the second process only; each writes
why it stopped.

two_faulty.py FOLDER
"""

import json
import os
import sys
from pathlib import Path

from llmpolicy.errors import RewardError
from llmpolicy.grpo.trainer import PolicyTrainer
from llmpolicy.rewards import Rewards, RewardSpec
from llmpolicy.run import Run
from tests import training


def fails_on_the_second(completion: str) -> float:
    if os.environ["RANK"] == "1":
        raise ValueError("no")
    return 1.0


def main(folder: Path) -> None:
    rank = os.environ["RANK"]
    made = training.policy()
    trainer = PolicyTrainer(
        made,
        Rewards([RewardSpec(fails_on_the_second, name="r")]),
        training.rows(),
        training.config(folder / "out", per_device_train_batch_size=8),
        run=Run.create(folder / "run", {"name": "two"}) if rank == "0" else None,
    )
    try:
        trainer.train()
    except RewardError as error:
        (folder / f"{rank}.json").write_text(json.dumps(str(error)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
