"""Where a policy comes from and where it goes: adapters, references, saving, loading, merging, and
what is refused.
"""

import copy
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import add_fused_lm_head

from llmpolicy.errors import PolicyError
from llmpolicy.policies import CausalLMPolicy
from llmpolicy.policies.causal_lm import load as loading
from llmpolicy.recipe import make_recipe
from llmpolicy.stages.policy import build_policy
from tests import models

PROMPTS = ["7", "What is 12 + 34 ? ", [{"role": "user", "content": "hi"}]]
ACTIONS = [[20, 30, 31, 4], [50], [60, 61, 62, 63, 64, 65, 4]]
LORA = {"r": 4, "lora_alpha": 8}

every_architecture = pytest.mark.parametrize("architecture", models.ARCHITECTURES)


def fresh(architecture: str = "llama", **settings) -> CausalLMPolicy:
    """A policy with a new adapter, on a base built in code."""
    return CausalLMPolicy(models.model(architecture), models.tokenizer(), lora=LORA, **settings)


def base_log_prob(architecture: str = "llama") -> torch.Tensor:
    return (
        CausalLMPolicy(models.model(architecture), models.tokenizer())
        .log_prob(PROMPTS, ACTIONS)[0]
        .detach()
    )


def log_prob(policy) -> torch.Tensor:
    return policy.log_prob(PROMPTS, ACTIONS)[0].detach()


def train(policy: CausalLMPolicy, seed: int = 0) -> CausalLMPolicy:
    """Stand in for an optimiser: move all that is trainable, far enough to see."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=draw))
    return policy


@pytest.fixture
def base(tmp_path):
    """A base on disk."""
    folder = tmp_path / "tiny-base"
    CausalLMPolicy(models.model("llama"), models.tokenizer()).save(folder)
    return folder


@pytest.fixture
def adapter(base, tmp_path):
    """A trained adapter on disk."""
    folder = tmp_path / "adapter"
    train(CausalLMPolicy.load(base, lora=LORA)).save(folder)
    return folder


# saving, loading, merging


@every_architecture
def test_save_load_and_merge_keep_log_prob(architecture, tmp_path):
    CausalLMPolicy(models.model(architecture), models.tokenizer()).save(tmp_path / "base")
    untrained = CausalLMPolicy.load(tmp_path / "base", lora=LORA, temperature=0.7)
    policy = train(CausalLMPolicy.load(tmp_path / "base", lora=LORA, temperature=0.7))
    expected = log_prob(policy)
    assert (expected - log_prob(untrained)).abs().mean() > 0.05
    policy.save(tmp_path / "adapter")
    loaded = CausalLMPolicy.load(tmp_path / "base", adapter=tmp_path / "adapter", temperature=0.7)
    torch.testing.assert_close(log_prob(loaded), expected, atol=1e-6, rtol=0)
    merged = policy.merge()
    torch.testing.assert_close(log_prob(merged), expected, atol=1e-4, rtol=0)
    assert (merged.trainable, merged.temperature, policy.trainable) == ("full", 0.7, "adapter")
    merged.save(tmp_path / "merged")
    again = CausalLMPolicy.load(tmp_path / "merged", temperature=0.7)
    torch.testing.assert_close(log_prob(again), log_prob(merged), atol=1e-6, rtol=0)
    assert torch.equal(log_prob(policy), expected)  # merging left the policy as it was


def test_what_is_saved_is_safetensors_a_tokenizer_and_true_names(base, tmp_path, monkeypatch):
    def ask(*_):
        raise AssertionError("saving asked the Hub")

    monkeypatch.setattr("peft.utils.save_and_load.check_file_exists_on_hf_hub", ask)
    tokenizer = {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}
    assert {file.name for file in base.iterdir()} == tokenizer | {
        "config.json",
        "generation_config.json",
        "model.safetensors",
    }
    policy = CausalLMPolicy.load(base, lora=LORA, hub_id="someone/tiny-base", revision="v1")
    policy.save(tmp_path / "out")
    assert {file.name for file in (tmp_path / "out").iterdir()} == tokenizer | {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    config = json.loads((tmp_path / "out/adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("someone/tiny-base", "v1")
    assert all(
        ".default" not in key and "lora_" in key
        for key in load_file(tmp_path / "out/adapter_model.safetensors")
    )


def test_a_state_dict_that_a_trainer_gathered_is_what_is_saved(base, tmp_path):
    for lora in (LORA, None):
        policy = CausalLMPolicy.load(base, lora=lora)
        gathered = copy.deepcopy(policy.model.state_dict())
        expected = log_prob(train(policy))
        policy.save(tmp_path / "now")
        policy.save(tmp_path / "before", state_dict=gathered)
        origin = {"path": base, "adapter": tmp_path / "now"} if lora else {"path": tmp_path / "now"}
        assert torch.equal(log_prob(CausalLMPolicy.load(**origin)), expected)
        origin = {
            key: tmp_path / "before" if value == tmp_path / "now" else value
            for key, value in origin.items()
        }
        torch.testing.assert_close(log_prob(CausalLMPolicy.load(**origin)), base_log_prob())
        shutil.rmtree(tmp_path / "now"), shutil.rmtree(tmp_path / "before")


def test_an_adapter_folder_finds_its_base(base, adapter):
    found = CausalLMPolicy.load(adapter)
    assert torch.equal(log_prob(found), log_prob(CausalLMPolicy.load(base, adapter=adapter)))
    assert found.is_adapter


def test_merging_after_trl_patched_the_model_uses_the_merged_weights():
    policy = train(fresh())
    expected = log_prob(policy)
    add_fused_lm_head(policy.model.get_base_model())
    merged = policy.merge()
    train(policy, seed=1)
    torch.testing.assert_close(log_prob(merged), expected, atol=1e-4, rtol=0)


# references


def test_a_fresh_adapter_starts_as_its_base_and_the_base_stays_the_reference():
    policy = fresh()
    assert policy.reference.kind == "the base model, adapter off"
    assert policy.reference.model is None
    assert not policy.kl(PROMPTS, ACTIONS)[0].any()
    train(policy)
    assert torch.equal(policy.reference.log_prob(PROMPTS, ACTIONS)[0], base_log_prob())
    assert policy.kl(PROMPTS, ACTIONS)[0].sum() > 0.1
    with policy.adapter_off():
        assert torch.equal(log_prob(policy), base_log_prob())
    assert not torch.equal(log_prob(policy), base_log_prob())


def test_a_continued_adapter_has_its_start_as_the_reference_and_saves_itself_alone(
    base, adapter, tmp_path
):
    policy = CausalLMPolicy.load(base, adapter=adapter)
    start = log_prob(policy)
    assert policy.reference.kind == "the adapter as it was at the start"
    assert not policy.kl(PROMPTS, ACTIONS)[0].any()
    assert not [
        name
        for name, p in policy.model.named_parameters()
        if p.requires_grad and ".default." not in name
    ]
    train(policy, seed=1)
    assert torch.equal(policy.reference.log_prob(PROMPTS, ACTIONS)[0], start)
    assert (log_prob(policy) - start).abs().max() > 0.1
    assert list(policy.parameters()), "the adapter is trainable again after the reference was asked"
    policy.save(tmp_path / "out")
    assert not [file for file in (tmp_path / "out").rglob("*") if "ref" in file.name]
    continued = CausalLMPolicy.load(base, adapter=tmp_path / "out")
    torch.testing.assert_close(log_prob(continued), log_prob(policy), atol=1e-6, rtol=0)
    torch.testing.assert_close(log_prob(policy.merge()), log_prob(policy), atol=1e-4, rtol=0)
    with policy.adapter_off():
        assert torch.equal(log_prob(policy), base_log_prob())


def test_a_random_start_of_an_adapter_is_its_own_reference():
    policy = CausalLMPolicy(
        models.model("llama"), models.tokenizer(), lora={**LORA, "init_lora_weights": False}
    )
    assert policy.reference.kind == "the adapter as it was at the start"
    assert not torch.equal(log_prob(policy), base_log_prob())
    assert not policy.kl(PROMPTS, ACTIONS)[0].any()


@pytest.mark.parametrize("patched", [False, True])
def test_full_weights_have_a_frozen_copy_as_the_reference(patched):
    policy = CausalLMPolicy(models.model("llama"), models.tokenizer())
    # as after the construction of TRL's trainer: the copy must not call the model it was copied
    # from
    if patched:
        add_fused_lm_head(policy.model)
    frozen = policy.freeze_reference().model
    assert policy.reference.kind == "the model as it was at the start"
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    train(policy)
    assert policy.freeze_reference().model is frozen
    assert torch.equal(policy.reference.log_prob(PROMPTS, ACTIONS)[0], base_log_prob())


@pytest.mark.parametrize("write", ["optimiser", "data"])
def test_a_reference_of_full_weights_that_is_asked_for_too_late_is_refused(write):
    policy = CausalLMPolicy(models.model("llama"), models.tokenizer())
    policy.log_prob(PROMPTS, ACTIONS)[0].sum().backward()
    if write == "optimiser":
        torch.optim.AdamW(policy.parameters(), lr=1e-6).step()
    else:  # as sharded optimisers do, past autograd's version counters
        for parameter in policy.parameters():
            parameter.data.copy_(parameter.data * (1 + 1e-6))
    with pytest.raises(PolicyError, match="freeze_reference"):
        policy.reference.log_prob(PROMPTS, ACTIONS)


@pytest.mark.parametrize("kind", ["fresh", "continued", "full"])
def test_stock_trl_computes_the_same_reference(kind, base, adapter, tmp_path):
    settings = {"fresh": {"lora": LORA}, "continued": {"adapter": adapter}, "full": {}}[kind]
    policy = CausalLMPolicy.load(base, temperature=0.7, max_new_tokens=6, **settings)
    trainer = stock_trainer(policy, tmp_path)
    assert "ref" not in getattr(policy.model, "peft_config", {}) or kind == "continued"
    trainer.beta, trainer.ref_model = 0.1, policy.reference.model
    if trainer.ref_model is not None:
        add_fused_lm_head(trainer.ref_model, temperature=0.7)
    start = generate_with(trainer)
    prompts, actions = rows_of(start)
    expected, mask = policy.reference.log_prob(prompts, actions)
    torch.testing.assert_close(start["ref_per_token_logps"] * mask, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        log_prob_of(trainer, start) * mask, expected, atol=1e-5, rtol=0
    )  # KL = 0 at step 0
    train(policy, seed=1)
    later = generate_with(trainer)
    prompts, actions = rows_of(later)
    expected, mask = policy.reference.log_prob(prompts, actions)
    torch.testing.assert_close(later["ref_per_token_logps"] * mask, expected, atol=1e-5, rtol=0)
    assert (log_prob_of(trainer, later) * mask - expected).abs().max() > 0.1


def stock_trainer(policy: CausalLMPolicy, tmp_path) -> GRPOTrainer:
    args = GRPOConfig(
        output_dir=str(tmp_path / "run"),
        per_device_train_batch_size=4,
        num_generations=2,
        max_completion_length=6,
        temperature=policy.temperature,
        use_cpu=True,
        bf16=False,
        report_to=[],
    )
    return GRPOTrainer(
        policy.model,
        lambda completions, **_: [0.0] * len(completions),
        args,
        train_dataset=Dataset.from_dict({"prompt": ["ab", "12 + 34 ="]}),
        processing_class=policy.tokenizer,
    )


def generate_with(trainer: GRPOTrainer) -> dict[str, torch.Tensor]:
    return trainer._generate_and_score_completions(
        [{"prompt": text} for text in ("ab", "ab", "12 + 34 =", "12 + 34 =")]
    )


def log_prob_of(trainer: GRPOTrainer, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    width = batch["completion_ids"].shape[1]
    return trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, width)[0].detach()


def rows_of(batch: dict[str, torch.Tensor]) -> tuple[list[list[int]], list[list[int]]]:
    return tuple(
        [
            row[mask.bool()].tolist()
            for row, mask in zip(batch[f"{part}_ids"], batch[f"{part}_mask"], strict=True)
        ]
        for part in ("prompt", "completion")
    )


# adapters that do not fit


def test_an_adapter_of_another_base_is_refused_with_both_values(base, adapter, tmp_path):
    shutil.copytree(base, tmp_path / "other")
    with pytest.raises(
        PolicyError, match=r"trained on '.*tiny-base', the model is 'someone/other'"
    ):
        CausalLMPolicy.load(tmp_path / "other", adapter=adapter, hub_id="someone/other")
    for change, sentence in [
        ({"hidden_size": 32}, r"lora_B.weight is \(16, 4\) in the adapter, \(32, 4\) in the model"),
        ({"num_hidden_layers": 1}, r"layers.1.*is \(.*\) in the adapter, missing in the model"),
        ({"num_hidden_layers": 3}, r"is missing in the adapter"),
    ]:
        other = models.model("llama", **change)
        if change.get("num_hidden_layers") == 3:
            config = json.loads((adapter / "adapter_config.json").read_text())
            config["target_modules"] = [
                "q_proj",
                "k_proj",
                "v_proj",
                "o_proj",
                "gate_proj",
                "up_proj",
                "down_proj",
            ]
            (adapter / "adapter_config.json").write_text(json.dumps(config))
        other.save_pretrained(tmp_path / "moved/tiny-base")
        models.tokenizer().save_pretrained(tmp_path / "moved/tiny-base")
        with pytest.raises(PolicyError, match=sentence):
            CausalLMPolicy.load(tmp_path / "moved/tiny-base", adapter=adapter)
    gpt2 = tmp_path / "gpt2/tiny-base"
    CausalLMPolicy(models.model("gpt2"), models.tokenizer()).save(gpt2)
    with pytest.raises(PolicyError, match="no adapter fits the model"):
        CausalLMPolicy.load(gpt2, adapter=adapter)


def test_hub_ids_of_two_users_are_two_bases_and_a_folder_may_have_moved(base, tmp_path):
    """Of Hub ids the whole name counts; of a folder only its own name."""
    train(CausalLMPolicy.load(base, lora=LORA, hub_id="one/tiny-base")).save(tmp_path / "adapter")
    with pytest.raises(
        PolicyError, match="trained on 'one/tiny-base', the model is 'two/tiny-base'"
    ):
        CausalLMPolicy.load(base, adapter=tmp_path / "adapter", hub_id="two/tiny-base")
    for hub_id in ("one/tiny-base", None):
        assert CausalLMPolicy.load(base, adapter=tmp_path / "adapter", hub_id=hub_id).is_adapter


@pytest.mark.parametrize(
    ("lora", "sentence"),
    [
        ({"lora_dropout": 0.05}, "lora_dropout is 0.05; expected 0"),
        ({"rank": 8}, "'rank' is no argument of LoraConfig"),
        ({"target_module": "q_proj"}, "did you mean 'target_modules'"),
        ({"target_modules": ["q_proj", "lm_head"]}, "output head"),
        ({"target_modules": ["nothing"]}, "no adapter fits the model"),
        ({"bias": "all"}, "bias is 'all'; expected 'none'"),
        ({"init_lora_weights": "pissa"}, "'pissa' changes the base"),
        ({"task_type": "SEQ_CLS"}, "expected CAUSAL_LM"),
        ({"r": 0}, "no adapter fits the model"),
        ({"layers_to_transform": [0]}, "LoraConfig refuses these settings"),
    ],
)
def test_a_lora_that_cannot_be_a_policy_is_refused(lora, sentence):
    with pytest.raises(PolicyError, match=sentence):
        CausalLMPolicy(models.model("llama"), models.tokenizer(), lora=lora)


def test_adapters_that_are_no_adapter_of_ours_are_refused(base, adapter, tmp_path):
    for file, sentence in [
        ("adapter_config.json", "no adapter_config.json"),
        ("adapter_model.safetensors", "no adapter_model"),
    ]:
        shutil.copytree(adapter, tmp_path / "broken")
        (tmp_path / "broken" / file).unlink()
        with pytest.raises(PolicyError, match=sentence):
            CausalLMPolicy.load(base, adapter=tmp_path / "broken")
        shutil.rmtree(tmp_path / "broken")
    (adapter / "adapter_model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(PolicyError, match="cannot be read"):
        CausalLMPolicy.load(base, adapter=adapter)
    with pytest.raises(PolicyError, match="both adapter"):
        CausalLMPolicy.load(base, adapter=adapter, lora=LORA)
    named = get_peft_model(
        models.model("llama"), LoraConfig(task_type="CAUSAL_LM"), adapter_name="mine"
    )
    with pytest.raises(PolicyError, match=r"called \['mine'\]; expected 'default'"):
        CausalLMPolicy(named, models.tokenizer())
    with pytest.raises(PolicyError, match="no adapter to merge"):
        CausalLMPolicy.load(base).merge()


def test_dropout_that_an_adapter_was_trained_with_is_taken_out(base, adapter):
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "lora_dropout": 0.5}))
    policy = CausalLMPolicy.load(base, adapter=adapter)
    policy.model.train()
    assert torch.equal(log_prob(policy), log_prob(policy))


# models that cannot be loaded


def without(base, name):
    (base / name).unlink()


def pickled(base):
    torch.save(load_file(base / "model.safetensors"), base / "pytorch_model.bin")
    without(base, "model.safetensors")


def configured(base, **changes):
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, **changes}))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda base: without(base, "config.json"), "has no config.json"),
        (
            lambda base: without(base, "model.safetensors"),
            r"has no weights; expected \*.safetensors",
        ),
        (pickled, "only pytorch_model.bin, and pickled weights are refused"),
        (
            lambda base: (base / "model.safetensors").write_bytes(b"junk"),
            "cannot load .* as a causal language model",
        ),
        (
            lambda base: (base / "config.json").write_text("{"),
            "cannot load .* as a causal language model",
        ),
        (
            lambda base: configured(base, model_type="t5", architectures=None),
            "cannot load .* as a causal language model",
        ),
        (
            lambda base: configured(base, model_type="unheard_of", architectures=None),
            "cannot load .* as a causal language model",
        ),
        (
            lambda base: configured(base, max_position_embeddings="256"),
            "cannot load .* as a causal language model",
        ),
        (
            lambda base: configured(base, num_attention_heads=0),
            "cannot load .* as a causal language model",
        ),
        (
            lambda base: configured(base, num_hidden_layers=3),
            r"has no weights for model.layers.2.*\(9 missing in all\)",
        ),
        (
            lambda base: configured(base, hidden_size=32),
            r"lm_head.weight is \(101, 16\) in the weights; expected \(101, 32\)",
        ),
        (lambda base: without(base, "tokenizer.json"), "no tokenizer in"),
    ],
)
def test_a_folder_that_is_no_model_is_refused_in_one_sentence(base, spoil, sentence):
    spoil(base)
    with pytest.raises(PolicyError, match=sentence) as caught:
        CausalLMPolicy.load(base)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_neither_a_folder_nor_on_the_hub_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for name, sentence in [
        (tmp_path / "nothing", "no such folder, and not a Hub id"),
        ("./models/nothing", "no such folder, and not a Hub id"),
        ("someone/unheard-of", "no such folder, and the Hub did not give it"),
    ]:
        with pytest.raises(PolicyError, match=sentence) as caught:
            CausalLMPolicy.load(name)
        assert "\n" not in str(caught.value)


def test_unknown_settings_name_the_nearest(base):
    for setting, sentence in [
        ({"dtype": "bfloat61"}, "did you mean 'bfloat16'"),
        ({"quantize": "8bit"}, "quantize '8bit' is unknown; expected '4bit'"),
    ]:
        with pytest.raises(PolicyError, match=sentence):
            CausalLMPolicy.load(base, **setting)


def test_weights_are_float32_unless_asked(base):
    save_file(
        {key: value.bfloat16() for key, value in load_file(base / "model.safetensors").items()},
        base / "model.safetensors",
        metadata={"format": "pt"},
    )
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}))
    found = [
        next(CausalLMPolicy.load(base, dtype=dtype).parameters()).dtype
        for dtype in (None, "auto", "bfloat16")
    ]
    assert found == [torch.float32, torch.bfloat16, torch.bfloat16]
    bf16 = CausalLMPolicy.load(base, dtype="bfloat16", lora=LORA)
    assert {parameter.dtype for parameter in bf16.parameters()} == {torch.float32}  # the adapter's
    assert log_prob(bf16).dtype == torch.float32


# 4 bit

HAS_BITSANDBYTES = loading.importlib.util.find_spec("bitsandbytes") is not None


def test_four_bit_needs_bitsandbytes_and_says_so(base, monkeypatch):
    monkeypatch.setattr(loading.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(
        PolicyError, match="needs bitsandbytes; install it with: pip install bitsandbytes"
    ):
        CausalLMPolicy.load(base, quantize="4bit", lora=LORA)


def test_four_bit_is_nf4_with_double_quantisation(monkeypatch):
    monkeypatch.setattr(loading.importlib.util, "find_spec", lambda _: object())
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0.50.2")
    config = loading.quantization("4bit")
    assert config.load_in_4bit
    assert (config.bnb_4bit_quant_type, config.bnb_4bit_use_double_quant) == ("nf4", True)
    assert config.bnb_4bit_compute_dtype == torch.bfloat16


@pytest.mark.slow
def test_the_four_bit_base_runs_where_bitsandbytes_is(tmp_path):
    """In a folder of its own: where it is installed every import of transformers is slower."""
    root = Path(__file__).parents[1]
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "-c",
        root / "constraints.txt",
    ]
    subprocess.run([*pip, "--target", tmp_path / "extra", "bitsandbytes"], check=True)
    tests = [sys.executable, "-m", "pytest", "-q", "-k", "on_a_four_bit_base", __file__]
    path = os.pathsep.join([str(tmp_path / "extra"), str(root)])
    done = subprocess.run(
        tests, cwd=root, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert "1 passed" in done.stdout, done.stdout[-3000:]


@pytest.mark.skipif(
    not HAS_BITSANDBYTES, reason="bitsandbytes is not installed; the slow test above brings it"
)
def test_an_adapter_on_a_four_bit_base_is_a_policy_too(tmp_path):
    wide = models.model("llama", hidden_size=64, intermediate_size=128)
    CausalLMPolicy(wide, models.tokenizer()).save(tmp_path / "base")
    policy = CausalLMPolicy.load(tmp_path / "base", quantize="4bit", lora=LORA)
    action = policy.act(PROMPTS, max_new_tokens=6)
    # The products are computed in bfloat16, of 8 bits of precision: of 300 draws the largest mean
    # difference was 0.004, and in one of twelve a token differed by more than 0.02, at most by 0.06.
    away = (policy.log_prob(PROMPTS, action.value)[0].detach() - action.log_prob).abs()
    assert away.mean() < 1e-2 and away.max() < 0.2
    assert not policy.kl(PROMPTS, ACTIONS)[0].any()
    train(policy).save(tmp_path / "adapter")
    loaded = CausalLMPolicy.load(tmp_path / "base", quantize="4bit", adapter=tmp_path / "adapter")
    torch.testing.assert_close(log_prob(loaded), log_prob(policy), atol=1e-5, rtol=0)
    with pytest.raises(PolicyError, match="loaded in 4 bit"):
        policy.merge()
    asked = {"path": str(tmp_path / "base"), "quantize": "4bit", "lora": LORA}
    data = {
        "model": asked,
        "task": {"rows": [{"prompt": "1"}]},
        "rewards": ["exact:match"],
        "grpo": {"max_steps": 1},
    }
    starts = []
    for noise in (1, 2):  # the recipe's seed draws the adapter, whatever was drawn before
        torch.manual_seed(noise)
        starts.append([p.detach().clone() for p in build_policy(make_recipe(data)).parameters()])
    assert all(torch.equal(first, again) for first, again in zip(*starts, strict=True))
