"""An adapter of a multimodal class serves the language model alone, and the reverse: the π of the
class it was made on.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor

from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm import CausalLMPolicy
from scripts.zoo import build, cases

IDS = [5 + i * 7 % 25 for i in range(12)]
CLASSES = {  # of the adapter, and of the policy
    "qwen3_5": ("Qwen3_5ForConditionalGeneration", "Qwen3_5ForCausalLM"),
    "qwen3_5_moe": ("Qwen3_5MoeForConditionalGeneration", "Qwen3_5MoeForCausalLM"),
    "gemma3": ("Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"),
}
LORA: dict[str, dict[str, Any]] = {
    "names": {
        "target_modules": ["q_proj", "v_proj", "down_proj"],
        "layers_to_transform": [1],
        "use_dora": True,
    },
    "patterns": {
        "target_modules": r".*\.layers\.\d\..*\.(q_proj|o_proj|down_proj)",
        "exclude_modules": r".*vision.*|.*visual.*",
        "alpha_pattern": {r".*layers\.1\.mlp.*": 32},
        "rank_pattern": {"q_proj": 6},
    },
    "tokens": {"target_modules": ["gate_proj"], "trainable_token_indices": [5, 12]},
    "saved": {"target_modules": ["gate_proj"], "modules_to_save": ["embed_tokens"]},
}


def base(family: str, folder: Path) -> Path:
    """A whole model of the family, with its vision tower."""
    torch.manual_seed(0)
    whole = transformers.AutoModelForImageTextToText.from_config(
        build.small(family), dtype=torch.float32
    )
    build.liven(whole)
    whole.save_pretrained(folder)
    cases.words().save_pretrained(folder)
    return folder


def other_class(family: str, folder: Path) -> Any:
    kind = getattr(transformers, CLASSES[family][0])
    if family != "gemma3":
        return kind.from_pretrained(folder, dtype=torch.float32)
    whole = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    text = kind(whole.config.text_config)
    weights = {
        name.replace("language_model.", ""): weight for name, weight in whole.state_dict().items()
    }
    assert not text.load_state_dict(weights, strict=False).missing_keys
    text.name_or_path = text.config._name_or_path = str(folder)
    return text


def adapter(family: str, folder: Path, **lora: Any) -> PeftModel:
    """An adapter that has moved, on the other class of the base in a folder, saved beside it."""
    base(family, folder / "base")
    model = other_class(family, folder / "base")
    torch.manual_seed(1)
    made = get_peft_model(model, LoraConfig(r=4, **lora)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.requires_grad:
                parameter.add_(0.15 * torch.randn_like(parameter))
    made.save_pretrained(folder / "adapter")
    return made


@torch.no_grad()
def log_probs(model: Any) -> Tensor:
    return torch.log_softmax(model(input_ids=torch.tensor([IDS])).logits[0], -1)  # (L, V)


def load(folder: Path, name: str = "adapter") -> CausalLMPolicy:
    return CausalLMPolicy.load(
        folder / "base", adapter=folder / name, dtype="float32", device="cpu"
    )


@pytest.mark.parametrize(
    ("family", "kind"),
    [*(("qwen3_5", kind) for kind in LORA), ("gemma3", "patterns"), ("gemma3", "saved")],
)
def test_it_is_the_policy_that_it_was_on_the_class_it_was_made_on(
    family: str, kind: str, tmp_path: Path
) -> None:
    made = adapter(family, tmp_path, **LORA[kind])
    expected = log_probs(made)
    pi = load(tmp_path)
    assert type(pi.model.get_base_model()).__name__ == CLASSES[family][1]
    with made.disable_adapter():
        assert (log_probs(made) - expected).abs().max() > 0.5
    torch.testing.assert_close(log_probs(pi.model), expected, atol=1e-5, rtol=0)
    found, _ = pi.log_prob([IDS[:4]], [IDS[4:]])
    wanted = expected[3:-1].gather(1, torch.tensor(IDS[4:])[:, None])[:, 0]
    torch.testing.assert_close(found[0].detach(), wanted, atol=1e-5, rtol=0)
    pi.rehearse()
    pi.save(tmp_path / "again")
    torch.testing.assert_close(
        log_probs(load(tmp_path, "again").model), expected, atol=1e-5, rtol=0
    )
    torch.testing.assert_close(log_probs(pi.merge().model), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("lora", "sentence"),
    [
        (
            {"target_modules": "all-linear"},
            r"changes parts that this model does not have \(\S+\.visual\.\S+, \d+ tensors",
        ),
        (
            {"target_modules": ["gate_proj"], "modules_to_save": ["language_model.embed_tokens"]},
            (
                r"its modules_to_save \(\['language_model.embed_tokens'\]\) cannot be told by the"
                r" names of this one"
            ),
        ),
    ],
)
def test_what_cannot_be_given_to_the_language_model_is_refused(
    lora: Any, sentence: str, tmp_path: Path
) -> None:
    adapter("qwen3_5", tmp_path, **lora)
    with pytest.raises(
        PolicyError, match=f"adapter .* was made on another class of its base.*{sentence}"
    ):
        load(tmp_path)


def test_patterns_of_parameters_are_not_guessed(tmp_path: Path) -> None:
    lora = {"target_modules": ["up_proj"], "target_parameters": ["mlp.experts.down_proj"]}
    expected = log_probs(adapter("qwen3_5_moe", tmp_path, **lora))
    torch.testing.assert_close(log_probs(load(tmp_path).model), expected, atol=1e-5, rtol=0)
    config = tmp_path / "adapter" / "adapter_config.json"
    config.write_text(
        json.dumps(json.loads(config.read_text()) | {"alpha_pattern": {"experts.down_proj": 32}})
    )
    with pytest.raises(
        PolicyError, match="target_parameters .* cannot be told by the names of this one"
    ):
        load(tmp_path)
