"""Run by ``torchrun --nproc_per_node N``: one update from given dialogues; rank 0 writes what moved,
and how they ended.

two_talks.py FOLDER
"""

import os
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from trl import GRPOTrainer

from llmpolicy.episode import Turn
from llmpolicy.grpo import step
from llmpolicy.grpo.trainer import PolicyTrainer
from tests import talks, training

GROUP, ROWS = 8, 24  # on two processes the second of the three groups spans both: 12 = 8 + 4
WAYS: dict[str, dict[str, Any]] = {
    "dapo": {"loss_type": "dapo"},
    "grpo": {"loss_type": "grpo"},
    "by turn": {"loss_type": "dapo", "by_turn": True},
    "failing on one": {"loss_type": "dapo", "name": "Half"},
    "one server": {"loss_type": "dapo", "top_p": 0.9},
    "one server, failing on one": {"loss_type": "dapo", "name": "Half", "top_p": 0.9},
}
_seen: dict[int, int] = {}


def replayed(
    trainer: PolicyTrainer,
    states: Sequence[Sequence[int]],
    most: Sequence[int] | None = None,
    start: int | None = None,
) -> list[Turn]:
    """Replies that depend on the place of a row in the whole generation, and then on what it sees."""
    number = _seen[id(trainer.generation)] = _seen.get(id(trainer.generation), -1) + 1
    rows, turns = len(trainer.generation.rows), []
    # Where some never began, the others are whole groups of one process, counted from their first.
    if start is None:
        start = trainer.accelerator.process_index * rows if len(states) == rows else 0
    for place, state in enumerate(states, start=start):
        seed = place if number == 0 else zlib.crc32(str(list(state)).encode())
        tokens = [5 + (7 * seed + 3 * t) % 18 for t in range(1 + seed % 4)]
        turns.append(Turn(list(state), [*tokens, 4], None, True, False))
    return turns


def served(
    trainer: PolicyTrainer, prompts: Sequence[Sequence[int]], *_: Any
) -> tuple[list[list[int]], None]:
    """The same as TRL has it of a server, which is asked once for all processes: each hands over as
    many prompts, and takes as many of all replies.
    """
    everyone = gather_object(list(map(list, prompts)))
    start = trainer.accelerator.process_index * len(prompts)
    said = iter(replayed(trainer, [state for state in everyone if len(state) > 1], start=0))
    filled = Turn([], [4])  # one token alone is there to fill a process's share
    turns = [next(said) if len(state) > 1 else filled for state in everyone]
    turns = turns[start : start + len(prompts)]
    return [list(turn.action) for turn in turns], None


def update(
    folder: Path, *, name: str = "Echo", by_turn: bool = False, **grpo: Any
) -> dict[str, Any]:
    _seen.clear()  # a generation's number in memory is another's once it is gone
    policy = talks.policy()
    trainer = talks.trainer(
        folder,
        policy,
        name,
        by_turn=by_turn,
        num_generations=GROUP,
        per_device_train_batch_size=ROWS // int(os.environ["WORLD_SIZE"]),
        shuffle_dataset=False,
        **grpo,
    )
    before = training.vector(policy.model)
    trainer.train()
    episodes = gather_object(trainer.generation.episodes)
    return {
        "moved": training.vector(policy.model) - before,
        "ended": [episode.dialogue.ended for episode in episodes],
        "scores": [episode.score.value for episode in episodes],
        "messages": [episode.dialogue.messages for episode in episodes],
        "world_size": trainer.accelerator.num_processes,
    }


if __name__ == "__main__":
    step.sampled, GRPOTrainer._generate_single_turn = replayed, served
    made = {way: update(Path(sys.argv[1]), **how) for way, how in WAYS.items()}
    if os.environ["RANK"] == "0":
        torch.save(made, Path(sys.argv[1]) / "updates.pt")
