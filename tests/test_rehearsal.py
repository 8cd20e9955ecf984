"""Saving is rehearsed: what would fail after a training fails before it, in one sentence, or is
mended and said.
"""

import copy
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import AutoModelForCausalLM, GenerationConfig

from llmpolicy import train
from llmpolicy.errors import PolicyError
from llmpolicy.policies import CausalLMPolicy
from llmpolicy.policies.causal_lm import rehearse
from llmpolicy.policies.causal_lm.trial import moved
from tests import models
from tests.test_session import GRPO, ROWS

TASK = {"rows": ROWS, "prompt": "{question}"}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """As Llama-2-chat was: greedy decoding with a temperature, which transformers does not save
    once it is touched.
    """
    CausalLMPolicy(models.model("llama"), models.tokenizer()).save(tmp_path / "base")
    file = tmp_path / "base/generation_config.json"
    file.write_text(
        json.dumps(
            {**json.loads(file.read_text()), "temperature": 0.9, "top_p": 0.6, "do_sample": False}
        )
    )
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
            model=model,
            task=TASK,
            rewards=["exact:match"],
            grpo=GRPO,
            out=tmp_path / "run",
            say=lambda _: None,
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
        train(
            model=policy,
            task=TASK,
            rewards=["exact:match"],
            grpo=GRPO,
            out=tmp_path / "run",
            say=lambda _: None,
        )
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_an_adapter_on_a_vocabulary_that_was_resized_in_memory_is_refused(base: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(105)
    CausalLMPolicy(model, models.tokenizer()).rehearse()  # full weights are saved with it
    policy = CausalLMPolicy(model, models.tokenizer(), lora={"r": 4})
    with pytest.raises(PolicyError, match="embeddings of 105 tokens in memory and of 101 in"):
        policy.rehearse()


def test_a_rehearsal_changes_and_leaves_nothing(
    base: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    policy = CausalLMPolicy.load(base, lora={"r": 4})
    before = {key: value.clone() for key, value in policy.model.state_dict().items()}
    trained, drawn = (
        [name for name, p in policy.model.named_parameters() if p.requires_grad],
        torch.get_rng_state(),
    )
    listed = sorted(tmp_path.iterdir())
    policy.rehearse()
    assert sorted(tmp_path.iterdir()) == listed
    after = policy.model.state_dict()
    assert before.keys() == after.keys() and all(
        torch.equal(value, before[key]) for key, value in after.items()
    )
    assert [name for name, p in policy.model.named_parameters() if p.requires_grad] == trained
    assert policy.model.active_adapters == list(policy.model.peft_config) == ["default"]
    assert torch.equal(torch.get_rng_state(), drawn)


PATTERNS: dict[str, tuple[str, dict[str, Any]]] = {
    "alpha": ("llama", {"alpha_pattern": {"q_proj": 1, "layers.1.self_attn.q_proj": 40}}),
    "alpha, the one layer first": ("llama", {"alpha_pattern": {"layers.1.mlp.down_proj": 40, "down_proj": 1}}),
    "rank": ("llama", {"rank_pattern": {"q_proj": 2, "layers.1.self_attn.q_proj": 8}}),
    "both, expressions": ("llama", {"rank_pattern": {"[qv]_proj": 2, ".*_proj": 3}, "alpha_pattern": {"v.*": 1, ".*": 9}}),
    "experts' alpha": ("qwen3_moe", {"alpha_pattern": {"gate_up_proj": 3}}),
    "experts' rank": ("mixtral", {"rank_pattern": {"experts.gate_up_proj": 2}}),
}  # fmt: skip


def scales(model: Any) -> dict[str, tuple[int, float]]:
    """The rank and the scale of each layer that has an adapter."""
    return {
        name: (module.r["default"], module.scaling["default"])
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer)
    }


@pytest.mark.parametrize(
    ("case", "given"),
    [(case, "settings") for case in PATTERNS]
    + [("alpha", "model"), ("alpha", "file"), ("rank", "model"), ("rank", "file")],
)
def test_patterns_that_fit_one_layer_mean_the_same_after_loading(
    case: str, given: str, tmp_path: Path
) -> None:
    """PEFT takes the first that fits, and writes them sorted."""
    from scripts.zoo import build, cases

    family, patterns = PATTERNS[case]
    kept = copy.deepcopy(patterns)
    cases.policy_of(build.build(build.small(family))).save(tmp_path / "base")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    plain = get_peft_model(
        base, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", **kept)
    )
    expected = scales(plain)
    if given == "settings":
        policy = CausalLMPolicy.load(tmp_path / "base", lora={"r": 4, **patterns})
        assert patterns == PATTERNS[case][1] and not any(
            ".*\\." in key for p in patterns.values() for key in p
        )
    elif given == "model":
        policy = CausalLMPolicy(plain, cases.words())
    else:  # as somebody wrote it whose file is not sorted
        plain.save_pretrained(str(tmp_path / "given"))
        file = tmp_path / "given/adapter_config.json"
        made = {
            key: getattr(plain.peft_config["default"], key)
            for key in ("rank_pattern", "alpha_pattern")
        }
        file.write_text(json.dumps({**json.loads(file.read_text()), **made}))
        policy = CausalLMPolicy.load(tmp_path / "base", adapter=tmp_path / "given")
    assert scales(policy.model) == expected
    policy.rehearse()
    with moved(policy.model):
        policy.save(tmp_path / "adapter")
        log_prob = policy.log_prob(["abc"], [[5, 6, 7]])[0].detach()
    again = CausalLMPolicy.load(tmp_path / "base", adapter=tmp_path / "adapter")
    assert scales(again.model) == expected
    torch.testing.assert_close(again.log_prob(["abc"], [[5, 6, 7]])[0].detach(), log_prob)


def scaled(policy: CausalLMPolicy) -> None:
    policy.model.get_submodule("base_model.model.model.layers.1.mlp.up_proj").scale_layer(2)


def ranked(policy: CausalLMPolicy) -> None:
    policy.model.peft_config["default"].r = 8


def weighed(policy: CausalLMPolicy) -> None:
    policy.model.peft_config["default"].fan_in_fan_out = policy.model.peft_config[
        "default"
    ].use_rslora = True


@pytest.mark.parametrize("really", [rehearse.REALLY, 0], ids=["small", "large"])
@pytest.mark.parametrize("spoil", [scaled, ranked, weighed])
def test_an_adapter_whose_file_would_say_something_else_is_refused_before_the_first_step(
    spoil: Any, base: Path, really: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearse, "REALLY", really)
    policy = CausalLMPolicy.load(base, lora={"r": 4})
    spoil(policy)
    with pytest.raises(PolicyError, match="loaded from its folder") as caught:
        policy.rehearse()
    assert "\n" not in str(caught.value)
    assert list(policy.model.peft_config) == ["default"]


def targeted(policy: CausalLMPolicy) -> None:
    policy.model.peft_config["default"].target_modules = {"q_proj"}


def doubled(policy: CausalLMPolicy) -> None:
    policy.model.peft_config["default"].use_dora = True


def kept(policy: CausalLMPolicy) -> None:
    policy.model.peft_config["default"].modules_to_save = ["embed_tokens"]


@pytest.mark.parametrize("spoil", [targeted, doubled, kept])
def test_a_large_adapter_whose_configuration_names_other_tensors_is_refused(
    spoil: Any, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearse, "REALLY", 0)
    policy = CausalLMPolicy.load(base, lora={"r": 4})
    before = {key: value.clone() for key, value in policy.model.state_dict().items()}
    policy.rehearse()
    after = policy.model.state_dict()
    assert before.keys() == after.keys() and all(
        torch.equal(value, before[key]) for key, value in after.items()
    )
    spoil(policy)
    with pytest.raises(PolicyError, match="in training and .* once it is loaded from its folder"):
        policy.rehearse()


def deeper(policy: CausalLMPolicy) -> None:
    policy.model.config.num_hidden_layers = 3


def wider(policy: CausalLMPolicy) -> None:
    policy.model.config.intermediate_size *= 2


def tied(policy: CausalLMPolicy) -> None:
    policy.model.config.tie_word_embeddings = True


@pytest.mark.parametrize("spoil", [deeper, wider, tied])
def test_large_weights_that_their_configuration_would_not_take_again_are_refused(
    spoil: Any, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearse, "REALLY", 0)
    policy = CausalLMPolicy.load(base)
    policy.rehearse()
    spoil(policy)
    with pytest.raises(
        PolicyError, match=r"is .* in training and .* by its configuration"
    ) as caught:
        policy.rehearse()
    assert "\n" not in str(caught.value)


def test_full_weights_that_no_loader_would_take_again_are_refused_and_an_adapter_on_them_is_not() -> (
    None
):
    from scripts.zoo import build, cases

    policy = cases.policy_of(build.build(build.small("emu3")))
    with pytest.raises(PolicyError, match="would be saved with Emu3TextConfig"):
        policy.rehearse()
    cases.policy_of(build.build(build.small("emu3")), lora={"r": 2}).rehearse()
