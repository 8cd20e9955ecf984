"""The seams of TRL that PolicyTrainer overrides: a change in one of them must be read before it is
trusted.
"""

import hashlib
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from trl import GRPOTrainer

from llmpolicy.grpo import step
from llmpolicy.grpo.trainer import PolicyTrainer
from llmpolicy.run import Run
from tests import training

SOURCES = {
    "_get_train_sampler": "36497afb4d311dc9",
    "_tokenize_prompts": "d2d27f7c9bfda85f",
    "_generate_single_turn": "e0f02e4fc094cefd",
    "_get_per_token_logps_and_entropies": "ea73c3909275851d",
    "_calculate_rewards": "736ae29b083840b5",
    "_generate_and_score_completions": "1fa48922792dcd5c",
    "_generate": "2a27fdf8f5e6f356",
    "_prepare_inputs": "f824e7fb07147956",
    "_compute_loss": "80295546bbdbf6f7",
    "compute_loss": "a2d6ef8bd29c3e26",
    "log": "1e7772819cc8cf09",
    "create_model_card": "4f8a407fd9fd3f6e",
    "_save": "b136889e87928376",
    "_save_checkpoint": "ec91bde123649111",
    "_load_from_checkpoint": "a2804e8d93a297e3",
    "_save_optimizer_and_scheduler": "c5ef974db69ab993",
    "_load_optimizer_and_scheduler": "5c1772becdfd7fdb",
    "_get_output_dir": "97172085342ac46c",
    "_load_callback_state": "2d0eae17b14b314d",
    "_send_telemetry": "3e012069065d03d1",
}

SIGNATURES = {
    "_get_train_sampler": ["self", "dataset"],
    "_tokenize_prompts": ["self", "prompts"],
    "_generate_single_turn": [
        "self",
        "prompt_ids",
        "images",
        "multimodal_fields",
        "num_generations",
        "has_tool_images",
    ],
    "_calculate_rewards": ["self", "inputs", "prompts", "completions", "completion_ids_list"],
    "_generate_and_score_completions": ["self", "inputs"],
    "log": ["self", "logs", "start_time"],
    "_save": ["self", "output_dir", "state_dict"],
    "_save_checkpoint": ["self", "model", "trial"],
    "_load_from_checkpoint": ["self", "resume_from_checkpoint", "model"],
    "_save_optimizer_and_scheduler": ["self", "output_dir"],
    "_load_optimizer_and_scheduler": ["self", "checkpoint"],
    "_get_output_dir": ["self", "trial"],
    "_load_callback_state": ["self"],
    "_send_telemetry": ["self"],
}


def _hash(name: str) -> str:
    source = inspect.getsource(getattr(GRPOTrainer, name))
    return hashlib.sha256(source.encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_source_of_seam_is_the_one_that_was_read(name: str) -> None:
    assert _hash(name) == SOURCES[name], (
        f"GRPOTrainer.{name} is not the one of trl 1.16.0: reread it, check PolicyTrainer against"
        f" it, then write {_hash(name)!r} here"
    )


@pytest.mark.parametrize("name", sorted(SIGNATURES))
def test_signature_of_seam(name: str) -> None:
    assert list(inspect.signature(getattr(GRPOTrainer, name)).parameters) == SIGNATURES[name]


def test_every_override_is_listed() -> None:
    inherited = {
        name
        for name in vars(PolicyTrainer)
        if hasattr(GRPOTrainer, name) and not name.startswith("__")
    }
    module_attributes = {"_abc_impl"}
    assert inherited - module_attributes <= set(SOURCES)


def test_the_page_of_a_step_names_each_seam_in_the_order_in_which_it_is_asked(
    tmp_path: Path,
) -> None:
    seams = {
        vars(PolicyTrainer)[name].__code__: name for name in SOURCES if name in vars(PolicyTrainer)
    }
    asked: list[str] = []

    def note(frame: Any, event: str, _: Any) -> None:
        if event == "call" and frame.f_code in seams:
            asked.append(seams[frame.f_code])

    run = Run.create(tmp_path / "run", {"name": "tiny"})
    made = training.trainer(
        tmp_path / "out",
        training.policy(),
        options={"run": run},
        beta=0.1,
        save_strategy="steps",
        save_steps=1,
    )
    sys.setprofile(note)
    try:
        made.train()
    finally:
        sys.setprofile(None)
    told = re.findall(r"^ ?\d+   (\w+)", step.__doc__ or "", re.MULTILINE)
    assert asked[: len(told)] == told
    assert asked[len(told) :] == ["log", "_get_output_dir"]  # the end of the run


def test_nobody_is_told_that_a_run_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(
        "trl.trainer.base_trainer.send_telemetry", lambda **facts: sent.append(facts)
    )
    made = training.trainer(tmp_path, training.policy())
    assert not sent
    GRPOTrainer._send_telemetry(made)  # what TRL would have sent
    assert len(sent) == 1
