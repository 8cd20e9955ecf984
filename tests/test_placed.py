"""What loading reports is read: every tensor of a checkpoint or adapter has found its place, or
there are words.
"""

import json
import logging
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from llmpolicy.errors import PolicyError
from llmpolicy.policies import CausalLMPolicy
from llmpolicy.policies.causal_lm.load import load_model
from llmpolicy.stages.reward_model import begin
from scripts.zoo import build
from tests import models, training
from tests.test_kinds import ACTIONS, PROMPTS, move

FILE = "adapter_model.safetensors"
LAGUNA = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
    "head_dim": 8, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16, "num_experts": 4,
    "num_experts_per_tok": 2, "initializer_range": 0.4, "vocab_size": 101, "bos_token_id": 2, "eos_token_id": 4,
    "pad_token_id": 0, "mlp_layer_types": ["dense", "sparse"], "num_attention_heads_per_layer": [2, 2],
}  # fmt: skip


def laguna() -> Any:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model("laguna", **LAGUNA))


def log_prob(policy: CausalLMPolicy) -> torch.Tensor:
    with torch.no_grad():
        return policy.log_prob(PROMPTS, ACTIONS)[0]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    CausalLMPolicy(models.model("llama"), models.tokenizer()).save(tmp_path / "base")
    return tmp_path / "base"


def changed(folder: Path, file: str = "model.safetensors", **tensors: torch.Tensor) -> None:
    save_file({**load_file(folder / file), **tensors}, folder / file, metadata={"format": "pt"})


@pytest.mark.parametrize("architecture", ["qwen3_moe", "llama"])
@pytest.mark.parametrize(
    "lora", [None, {"r": 4, "target_modules": "all-linear"}], ids=["full", "adapter"]
)
def test_a_resumed_run_has_all_weights_of_the_checkpoint(
    tmp_path: Path, architecture: str, lora: Any
) -> None:
    """A mixture of experts is saved under other names than it has in memory."""

    def trained(folder: Path, resumed: str | None = None) -> torch.Tensor:
        torch.manual_seed(0)
        settings = {
            "max_steps": 4,
            "save_strategy": "steps",
            "save_steps": 2,
            "save_total_limit": 2,
        }
        trainer = training.trainer(
            folder, training.policy(architecture, lora=lora), learning_rate=0.3, **settings
        )
        trainer.train(resume_from_checkpoint=resumed)
        return training.vector(trainer.model)

    whole = trained(tmp_path / "whole")
    assert torch.equal(trained(tmp_path / "resumed", str(tmp_path / "whole/checkpoint-2")), whole)


def test_an_adapter_of_experts_beside_shared_ones_loses_none(tmp_path: Path) -> None:
    """PEFT takes the names of shared experts for those of experts, and merges them into what has no
    place.
    """
    CausalLMPolicy(laguna(), models.tokenizer()).save(tmp_path / "base")
    targets = {"r": 4, "target_modules": ["q_proj", "gate_proj", "up_proj", "down_proj"]}
    policy = move(CausalLMPolicy.load(tmp_path / "base", lora=targets))
    policy.save(tmp_path / "adapter")
    assert any("shared_expert" in key for key in load_file(tmp_path / "adapter" / FILE))
    loaded = CausalLMPolicy.load(tmp_path / "base", adapter=tmp_path / "adapter")
    torch.testing.assert_close(log_prob(loaded), log_prob(policy), atol=1e-5, rtol=0)


def test_weights_beyond_the_configuration_are_refused(base: Path) -> None:
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
    with pytest.raises(PolicyError, match=r"no place for model.layers.1.*\(9 left over in all\)"):
        CausalLMPolicy.load(base)


def test_a_bias_that_the_model_does_not_have_is_refused(base: Path) -> None:
    changed(base, **{"lm_head.bias": torch.ones(101)})
    with pytest.raises(PolicyError, match="no place for lm_head.bias"):
        CausalLMPolicy.load(base)


def test_weights_of_another_part_are_left_out_in_words(
    base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = log_prob(CausalLMPolicy.load(base))
    changed(
        base,
        **{"v_head.summary.weight": torch.ones(1, 16), "model.vision_tower.weight": torch.ones(2)},
    )
    with caplog.at_level(logging.WARNING, "llmpolicy"):
        assert torch.equal(log_prob(CausalLMPolicy.load(base)), expected)
    assert (
        "2 weights belong to no part of this model and are left out (model.vision_tower.weight)"
        in caplog.text
    )


def test_an_adapter_with_a_tensor_too_many_is_refused(base: Path, tmp_path: Path) -> None:
    move(CausalLMPolicy.load(base, lora={"r": 4})).save(tmp_path / "adapter")
    extra = "base_model.model.model.layers.7.mlp.up_proj.lora_A.weight"
    changed(tmp_path / "adapter", FILE, **{extra: torch.ones(4, 16)})
    with pytest.raises(
        PolicyError,
        match=r"layers.7.mlp.up_proj.lora_A.weight is \(4, 16\) in the adapter, missing",
    ):
        CausalLMPolicy.load(base, adapter=tmp_path / "adapter")


def saved_by_peft(base: Path, folder: Path, tokens: int) -> PeftModel:
    """An adapter beside which PEFT saves the embeddings of the base, whose vocabulary may have
    grown.
    """
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(tokens)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=4,
        target_modules=["q_proj", "embed_tokens"],
        init_lora_weights=False,
    )
    adapted = get_peft_model(model, config)
    adapted.save_pretrained(folder)
    assert any("embed_tokens.base_layer" in key for key in load_file(folder / FILE))
    return adapted


def test_embeddings_that_peft_saved_beside_the_adapter_must_be_those_of_the_base(
    base: Path, tmp_path: Path
) -> None:
    same = saved_by_peft(base, tmp_path / "same", 101)
    loaded = CausalLMPolicy.load(base, adapter=tmp_path / "same")
    ids = torch.tensor([[20, 30, 31, 4]])
    torch.testing.assert_close(loaded.model(ids).logits, same(ids).logits, atol=1e-5, rtol=0)
    saved_by_peft(base, tmp_path / "grown", 103)
    with pytest.raises(
        PolicyError, match=r"brings .*embed_tokens.* \(103, 16\), .* another, \(101, 16\)"
    ):
        CausalLMPolicy.load(base, adapter=tmp_path / "grown")


def test_a_reward_model_begins_with_all_weights_but_its_head(base: Path) -> None:
    begin(str(base), seed=0)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(
        PolicyError, match=r"has no weights for model.layers.2.*\(9 missing in all\)"
    ):
        begin(str(base), seed=0)


def test_full_weights_are_taken_a_file_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = move(CausalLMPolicy(models.model("llama"), models.tokenizer()))
    saved.model.save_pretrained(tmp_path, max_shard_size="10KB")
    held: list[weakref.ref[torch.Tensor]] = []

    def read(file: Path) -> dict[str, torch.Tensor]:
        assert not any(tensor() is not None for tensor in held)
        tensors = load_file(file)
        held.extend(map(weakref.ref, tensors.values()))
        return tensors

    monkeypatch.setattr("llmpolicy.policies.causal_lm.load.load_file", read)
    policy = CausalLMPolicy(models.model("llama"), models.tokenizer())
    policy.take(tmp_path)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    assert torch.equal(training.vector(policy.model), training.vector(saved.model))


def test_the_pad_tokens_embedding_is_what_was_saved(tmp_path: Path) -> None:
    """Youtu clears that row after it was loaded; the head that shares it would give the pad token
    another probability.
    """
    network = build.build(build.small("youtu"))
    saved = network.get_input_embeddings().weight[network.config.pad_token_id].detach().clone()
    assert saved.any()
    for shard in ("1GB", "10KB"):
        network.save_pretrained(tmp_path / shard, max_shard_size=shard)
        stock = AutoModelForCausalLM.from_pretrained(tmp_path / shard)
        assert not stock.get_input_embeddings().weight[network.config.pad_token_id].any()
        loaded = load_model(str(tmp_path / shard))
        assert torch.equal(loaded.get_input_embeddings().weight[network.config.pad_token_id], saved)
    assert (tmp_path / "10KB" / "model.safetensors.index.json").is_file()


@pytest.mark.parametrize("model_type", ["deepseek_v3", "glm4_moe"])
def test_a_layer_that_predicts_further_ahead_is_left_out_in_words(
    model_type: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = build.build(build.small(model_type, vocab_size=101))
    made.config.num_nextn_predict_layers = 1
    last = made.config.num_hidden_layers
    CausalLMPolicy(made, models.tokenizer()).save(tmp_path)
    expected = log_prob(CausalLMPolicy.load(tmp_path))
    weights = load_file(tmp_path / "model.safetensors")
    before = f"model.layers.{last - 1}."
    further = {
        name.replace(before, f"model.layers.{last}."): w.clone()
        for name, w in weights.items()
        if before in name
    }
    changed(tmp_path, **further)
    with pytest.raises(
        PolicyError, match=f"no place for model.layers.{last}"
    ):  # a layer like any other
        CausalLMPolicy.load(tmp_path)
    changed(tmp_path, **{f"model.layers.{last}.eh_proj.weight": torch.zeros(32, 64)})
    with caplog.at_level(logging.WARNING, "llmpolicy"):
        found = log_prob(CausalLMPolicy.load(tmp_path))
    assert (
        torch.equal(found, expected)
        and "weights belong to no part of this model and are left out" in caplog.text
    )
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_nextn_predict_layers": 0}))
    with pytest.raises(PolicyError, match=f"no place for model.layers.{last}"):
        CausalLMPolicy.load(tmp_path)
