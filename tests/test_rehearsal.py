"""Saving is rehearsed: what would fail after a training fails before it, in one sentence, or is mended and said."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from llmpolicy import train
from llmpolicy.errors import PolicyError
from llmpolicy.policies import CausalLMPolicy
from llmpolicy.policies.causal_lm import rehearse
from tests import models
from tests.test_session import GRPO, ROWS

TASK = {"rows": ROWS, "prompt": "{question}"}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """As Llama-2-chat was: greedy decoding with a temperature, which transformers does not save once it is touched."""
    CausalLMPolicy(models.model("llama"), models.tokenizer()).save(tmp_path / "base")
    file = tmp_path / "base/generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "temperature": 0.9, "top_p": 0.6, "do_sample": False}))
    return tmp_path / "base"


@pytest.mark.parametrize("lora", [None, {"r": 4}], ids=["full", "adapter"])
def test_a_generation_config_that_cannot_be_saved_costs_no_training(
    base: Path, tmp_path: Path, lora: Any, caplog: pytest.LogCaptureFixture
) -> None:
    stock = AutoModelForCausalLM.from_pretrained(base)
    stock.generation_config.eos_token_id = [4]  # as a trainer names the stop tokens
    with pytest.raises(ValueError, match="do_sample"):
        stock.save_pretrained(tmp_path / "stock")
    model = {"path": str(base), "lora": lora}
    with caplog.at_level(logging.WARNING, "llmpolicy"):
        run = train(
            model=model, task=TASK, rewards=["exact:match"], grpo=GRPO, out=tmp_path / "run", say=lambda _: None
        )
    assert "what is saved says do_sample: true" in caplog.text
    policy = CausalLMPolicy.load(run.policy_dir)
    (policy.merge() if lora else policy).save(tmp_path / "merged")
    saved = GenerationConfig.from_pretrained(tmp_path / "merged")
    assert (saved.temperature, saved.top_p, saved.do_sample) == (0.9, 0.6, True)


def untied(policy: CausalLMPolicy) -> None:
    """Two layers share a weight, which no configuration says."""
    layers = policy.model.model.layers
    layers[0].mlp.up_proj.weight = layers[1].mlp.up_proj.weight


def unwritable(policy: CausalLMPolicy) -> None:
    policy.model.config.hook = print


def odd(policy: CausalLMPolicy) -> None:
    policy.model.generation_config.early_stopping = 3


def spoiled(policy: CausalLMPolicy) -> None:
    policy.tokenizer.init_kwargs["made_by"] = print


@pytest.mark.parametrize("really", [rehearse.REALLY, 0], ids=["small", "large"])
@pytest.mark.parametrize("spoil", [untied, unwritable, odd, spoiled])
def test_what_could_not_be_saved_is_refused_before_the_first_step(
    base: Path, spoil: Any, really: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearse, "REALLY", really)
    policy = CausalLMPolicy.load(base)
    spoil(policy)
    with pytest.raises(PolicyError, match="could not be saved after training") as caught:
        train(model=policy, task=TASK, rewards=["exact:match"], grpo=GRPO, out=tmp_path / "run", say=lambda _: None)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_an_adapter_on_a_vocabulary_that_was_resized_in_memory_is_refused(base: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(105)
    CausalLMPolicy(model, models.tokenizer()).rehearse()  # full weights are saved with it
    policy = CausalLMPolicy(model, models.tokenizer(), lora={"r": 4})
    with pytest.raises(PolicyError, match="embeddings of 105 tokens in memory and of 101 in"):
        policy.rehearse()


def test_a_rehearsal_changes_and_leaves_nothing(base: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    policy = CausalLMPolicy.load(base, lora={"r": 4})
    before = {key: value.clone() for key, value in policy.model.state_dict().items()}
    listed = sorted(tmp_path.iterdir())
    policy.rehearse()
    assert sorted(tmp_path.iterdir()) == listed
    assert all(torch.equal(value, before[key]) for key, value in policy.model.state_dict().items())


def test_full_weights_that_no_loader_would_take_again_are_refused_and_an_adapter_on_them_is_not() -> None:
    from scripts.zoo import build, cases

    policy = cases.policy_of(build.build(build.small("emu3")))
    with pytest.raises(PolicyError, match="would be saved with Emu3TextConfig"):
        policy.rehearse()
    cases.policy_of(build.build(build.small("emu3")), lora={"r": 2}).rehearse()
