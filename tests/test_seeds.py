"""Same recipe, same seed, same machine: the same bytes, whatever the process drew before, in one
process and in others.
"""

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from llmpolicy import train
from llmpolicy.stages.process import use_threads
from tests import training
from tests.test_session import GRPO, ROWS

LORA = {"path": "bundled", "lora": {"r": 4, "lora_alpha": 8}}
SMALL: dict[str, Any] = {**GRPO, "max_steps": 2, "learning_rate": 5e-3}
REWARD = "exact:match"
PLAIN = {
    "updates": 2,
    "baseline": "group",
    "prompts": 4,
    "group_size": 4,
    "max_completion_length": 5,
    "learning_rate": 1e-3,
}


def digests(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def trained(out: Path, noise: int, *, seed: int = 3, **blocks: Any) -> Path:
    """The policy of a run in a process that has drawn other numbers before."""
    torch.manual_seed(noise), random.seed(noise), np.random.seed(noise)
    settings = {} if "reinforce" in blocks else {"grpo": SMALL}
    rows = {"rows": ROWS, "prompt": "{question}"}
    asked = {"task": rows, "rewards": [REWARD], "seed": seed, **settings, **blocks}
    return train(**asked, out=out, say=lambda _: None).policy_dir


@pytest.mark.parametrize(
    "blocks",
    [{"model": LORA}, {"model": "bundled"}, {"model": LORA, "reinforce": PLAIN}],
    ids=["adapter", "full weights", "reinforce"],
)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
    tmp_path: Path, blocks: dict[str, Any]
) -> None:
    first, again = (trained(tmp_path / str(noise), noise, **blocks) for noise in (1, 2))
    assert digests(first) == digests(again)
    other = trained(tmp_path / "other", 1, seed=4, **blocks)
    assert digests(first) != digests(other)


def test_an_adapter_that_is_continued_goes_on_in_the_same_bytes(tmp_path: Path) -> None:
    adapter = trained(tmp_path / "start", 0, model=LORA)
    model = {"path": "bundled", "adapter": str(adapter)}
    first, again = (trained(tmp_path / str(noise), noise, model=model) for noise in (1, 2))
    assert digests(first) == digests(again)
    assert digests(first) != digests(adapter)


def test_a_small_model_before_does_not_leave_a_larger_one_with_one_thread() -> None:
    """Threads decide how sums are split, so a run would come to other bytes than in a process of
    its own.
    """
    large = torch.nn.Embedding(2_000_001, 1)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        use_threads(training.policy().model)
        assert torch.get_num_threads() == 1
        use_threads(large)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
def test_fresh_processes_come_to_the_same_bytes_in_all_stages(tmp_path: Path) -> None:
    """A warm start, a reward model and a policy, all by adapters, with other hashes of texts in
    each process.
    """
    small = [
        "model.lora={r: 4}", "sft.max_steps=2", "reward_model.max_steps=2", "grpo.max_steps=2", "evaluate.n=40",
        "grpo.per_device_train_batch_size=16", "demonstrations.args={n: 200}", "preferences.args={n: 100}",
        "evaluate.samples=1", "evaluate.every=2",
    ]  # fmt: skip
    for seed in ("1", "2"):
        command = [
            sys.executable,
            "-m",
            "llmpolicy",
            "train",
            "rlhf_tiny",
            *small,
            "--out",
            str(tmp_path / seed),
        ]
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True
        )
    for stage in ("warm_start", "reward_model", "policy"):
        first, again = (digests(tmp_path / seed / stage) for seed in ("1", "2"))
        weights = {name for name in first if name.endswith(".safetensors")}
        assert weights and all(first[name] == again[name] for name in weights)
    first, again = (
        (tmp_path / seed / "policy/adapter_config.json").read_text() for seed in ("1", "2")
    )
    assert first == again.replace(
        str(tmp_path / "2"), str(tmp_path / "1")
    )  # of the base, which each run has made
