"""Run by ``torchrun --nproc_per_node N``: one update from given rollouts; rank 0 writes what moved,
and the advantages.

two_processes.py FOLDER LOSS
"""

import os
import sys
from pathlib import Path
from typing import Any

import torch

from llmpolicy.episode import Turn
from llmpolicy.grpo import step
from llmpolicy.grpo.trainer import PolicyTrainer
from llmpolicy.recipe import SamplingBlock
from tests import training

GROUP, ROLLOUTS = 8, 24  # on two processes the second of the three groups spans both: 12 = 8 + 4


def replayed(trainer: PolicyTrainer, prompt_ids: list[list[int]]) -> list[Turn]:
    """Completions that depend only on the place of a row in the whole generation."""
    start, turns = trainer.accelerator.process_index * len(prompt_ids), []
    for place, state in enumerate(prompt_ids, start=start):
        action = completion(place)
        turns.append(Turn(state, action, None, action[-1] == 4, action[-1] != 4))
    return turns


def completion(place: int) -> list[int]:
    """Between one and four tokens, fewer on the second half of the rows; every third one ends by
    itself.
    """
    length = 1 + place % (4 if place < ROLLOUTS // 2 else 2)
    tokens = [5 + (7 * place + 3 * t) % 18 for t in range(length)]
    return [*tokens, 4] if place % 3 == 0 else tokens


def right(completion_ids: list[int]) -> float | None:
    """A correctness part that cannot judge every seventh row."""
    return None if sum(completion_ids) % 7 == 0 else float(sum(completion_ids) % 2)


def late(completion_ids: list[int], row: int) -> float:
    """No signal in the groups of the first half of the rows."""
    return 0.5 if row < ROLLOUTS // GROUP // 2 else float(sum(completion_ids) % 5)


def rarely(completion_ids: list[int], row: int) -> float:
    """No signal for the first two prompts, whose rows lie on the first of two processes but for the
    last four.
    """
    return 0.5 if row < 2 else float(sum(completion_ids) % 5)


def first(completion_ids: list[int], row: int) -> float:
    """No signal in the second of two generations."""
    return float(sum(completion_ids) % 5) if row < ROLLOUTS // GROUP else 0.5


SAMPLING = {
    "refilled": SamplingBlock(refill=True, max_tokens=10_000),
    "capped": SamplingBlock(
        refill=True, max_tokens=110
    ),  # 56 tokens at first, 23 a group of 8, which may have 48
    "remembered": SamplingBlock(refill=True, max_tokens=10_000, memory=True),
}
COMPOSED: list[Any] = [
    {"fn": right, "role": "correctness", "clip": [0, 1], "weight": 2},
    {"fn": training.digest, "clip": [0, 1], "weight": 0.5, "relative": "group"},
]


def update(
    folder: Path,
    loss: str,
    reward: Any = training.digest,
    budget: int | None = None,
    sampling: Any = None,
    many: bool = False,
    **grpo: Any,
) -> dict[str, Any]:
    """Train one step and return what moved, the advantages, what was logged and the facts; on
    ``many`` questions, nine.
    """
    world = int(os.environ["WORLD_SIZE"])
    policy = training.policy()
    trainer = training.trainer(
        folder,
        policy,
        reward=reward,
        questions=(
            [f"{place}+{place}" for place in range(9)] if sampling or many else training.QUESTIONS
        ),
        options={"sampling": sampling},
        num_generations=GROUP,
        per_device_train_batch_size=ROLLOUTS // world,
        loss_type=loss,
        shuffle_dataset=False,
        **grpo,
    )
    trainer.budget.tokens = budget
    before = training.vector(policy.model)
    advantages: list[float] = []
    wrapped = trainer._generate_and_score_completions

    def keep(inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = wrapped(inputs)
        advantages.extend(trainer.accelerator.gather(output["advantages"]).tolist())
        return output

    trainer._generate_and_score_completions = keep  # type: ignore[method-assign]
    trainer.train()
    return {
        "moved": training.vector(policy.model) - before,
        "advantages": torch.tensor(advantages),
        "logged": trainer.state.log_history[0],
        "world_size": trainer.accelerator.num_processes,
        "rows": len(trainer.generation.episodes),
        "memory": trainer.sampling and trainer.sampling.memory and trainer.sampling.memory.state(),
    }


def main(folder: Path, losses: list[str]) -> None:
    """One update a loss, and unless it is one loss alone what is odd; rank 0 writes them all."""
    found = {loss: update(folder, loss) for loss in losses}
    if len(losses) > 1:
        found |= odd(folder)
    if int(os.environ["RANK"]) == 0:
        torch.save(found, folder / "updates.pt")


def odd(folder: Path) -> dict[str, dict[str, Any]]:
    """Updates in which processes have other numbers of rows to learn from than one another."""
    found = {}
    found["ragged"] = update(folder, "grpo", late, budget=30)
    found["ragged with a reference"] = update(folder, "dapo", late, budget=30, beta=0.04)
    found["cut"] = update(
        folder, "dapo", first, many=True, gradient_accumulation_steps=2, steps_per_generation=1
    )
    found["composed"] = update(folder, "dapo", COMPOSED)
    for name, sampling in SAMPLING.items():
        found[name] = update(folder, "dapo", rarely, sampling=sampling)
    return found


if __name__ == "__main__":
    step.sampled = replayed
    main(Path(sys.argv[1]), sys.argv[2:])
