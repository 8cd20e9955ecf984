"""The door to the speed: what it decides, that a run says it, and that the page says the same."""

from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from llmpolicy.policies import CausalLMPolicy
from llmpolicy.policies.causal_lm.fast.door import ways
from llmpolicy.session import train_recipe
from llmpolicy.session.evaluate import explain_recipe
from llmpolicy.speed import (
    FAMILIES,
    LATER,
    OF_THE_LOOP,
    Conditions,
    Way,
    Ways,
    engine,
    foreseen,
    update_reason,
)
from tests import models
from tests.test_session import LOOP, recipe

PAGE = Path(__file__).parent.parent / "docs" / "speed.md"
PARTS = ("generation", "adapter", "layers", "norms", "update")
LORA = {"r": 2, "target_modules": "all-linear"}


def rows_of_the_page() -> list[list[str]]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = lines.index("| model type | " + " | ".join(PARTS) + " |")
    rows: list[list[str]] = []
    for line in takewhile(lambda line: line.startswith("|"), lines[start + 2 :]):
        names, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        rows += [[name, *cells] for name in names.split(", ")]
    return rows


def model_of(model_type: str) -> PreTrainedModel:
    named = {"gemma3_text": "gemma3"}.get(model_type, model_type)
    known = {**models.ARCHITECTURES, **models.RECURRENT}
    return models.model(named) if named in known else models.other(model_type)


@pytest.mark.parametrize("row", rows_of_the_page(), ids=lambda row: row[0])
def test_the_table_of_the_page_is_what_the_door_says(row: list[str]) -> None:
    """On a CPU, with LoRA, in bfloat16."""
    policy = CausalLMPolicy(model_of(row[0]).bfloat16(), models.tokenizer(), lora=LORA)
    facts = ways(policy.model).facts()
    assert row[1:] == [facts[part] for part in PARTS]


def test_the_page_names_every_family() -> None:
    assert set(FAMILIES) <= {row[0] for row in rows_of_the_page()}


@pytest.mark.parametrize("model_type", ["llama", "mistral", "qwen2", "qwen3"])
@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_one_line_is_said_where_all_is_fast(model_type: str, lora: Any) -> None:
    policy = CausalLMPolicy(model_of(model_type), models.tokenizer(), lora=lora)
    found = ways(policy.model, Conditions({"loss_type": "grpo"}))
    assert [line for line in found.lines() if "oneDNN" not in line] == ["path: group"]


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        (Conditions(sharded=True), "weights are sharded"),
        (Conditions(devices=2), "several devices"),
        (Conditions(joined="TPU"), "distributed_type is TPU"),
        (Conditions({"loss_type": "bnpo"}), "loss_type bnpo"),
        (Conditions({"entropy_coef": 0.1}), "entropy terms"),
        (Conditions({"use_adaptive_entropy": True}), "entropy terms"),
        (Conditions({"top_entropy_quantile": 0.2}), "entropy terms"),
        (Conditions(aux_loss=True), "auxiliary loss"),
        (Conditions({"torch_compile": True}), "torch_compile"),
    ],
)
def test_what_a_run_asks_for_decides_before_any_model(conditions: Conditions, words: str) -> None:
    assert words in str(update_reason(conditions))
    assert foreseen("llama", conditions)["update"] == f"stock ({update_reason(conditions)})"


@pytest.mark.parametrize(
    ("settings", "way"),
    [
        ({"use_vllm": True, "generation_kwargs": {"stop_token_ids": [1]}}, "vLLM's"),
        ({"top_k": 5}, "TRL's (top_k 5 draws from another distribution)"),
        ({"generation_kwargs": {"seed": 1}}, "TRL's (generation_kwargs was asked for)"),
        ({"top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0, "min_p": None}, "None"),
    ],
)
def test_who_samples_is_decided_by_what_is_asked(settings: dict[str, Any], way: str) -> None:
    assert str(engine(Conditions(settings))) == way


def test_before_a_model_is_loaded_what_is_not_known_is_said_to_come_later() -> None:
    assert foreseen(None, Conditions()) == {"generation": LATER, "update": LATER}
    assert foreseen("strange", Conditions())["update"].startswith(LATER)
    assert "groups" in foreseen("llama", Conditions())["generation"]


def test_explaining_a_recipe_says_what_is_known_of_its_speed() -> None:
    plain, other = (explain_recipe("quickstart", more) for more in ((), ["grpo.loss_type=bnpo"]))
    assert plain.ways == foreseen("llama", Conditions())
    assert other.to_dict()["ways"]["update"].startswith("stock (loss_type bnpo")
    assert "update: stock (loss_type bnpo" in str(other).partition("\nspeed\n")[2]


def test_reinforce_says_its_ways_too_in_its_lines_its_manifest_and_before_it(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    path = recipe(
        tmp_path, grpo=None, reinforce={**LOOP, "max_completion_length": 5}, evaluate=None
    )
    run = train_recipe(path, [], out=tmp_path / "run", say=said.append)
    slow = f"padded rows ({OF_THE_LOOP})"
    assert said.index(f"path: {slow}") < next(
        place for place, line in enumerate(said) if line.startswith("update 1/1")
    )
    assert run.manifest["path"] == run.manifest["ways"]["update"] == slow
    policy = CausalLMPolicy.load(run.policy_dir)
    assert run.manifest["ways"] == ways(policy.model, Conditions(loop=True)).facts()
    assert run.manifest["ways"]["generation"] == "groups"
    explained = explain_recipe(path)
    assert explained.ways == foreseen("llama", Conditions(loop=True))
    assert f"update: {slow}" in str(explained).partition("\nspeed\n")[2]


def test_a_reason_is_said_once_with_all_that_it_holds_for() -> None:
    slow, fast = Way("as written", "a hook"), Way("fast")
    found = Ways(
        Way("padded rows", "a hook"), fast, slow, fast, fast, fast, Way("stock", "sharded")
    )
    assert found.lines() == [
        "path: stock (sharded)",
        "  generation padded rows, layers as written: a hook",
    ]


def test_a_hook_in_a_layer_is_told_with_the_layers_that_are_left_fast() -> None:
    model = models.model("llama")
    model.model.layers[0].mlp.register_forward_hook(lambda *_: None)
    policy = CausalLMPolicy(model, models.tokenizer())
    assert str(ways(policy.model).layers) == (
        "1 of 2 in fewer operations (a hook or a forward of its own was put into a"
        " LlamaDecoderLayer)"
    )


def test_looking_for_ways_changes_nothing() -> None:
    policy = CausalLMPolicy(models.model("qwen3"), models.tokenizer(), lora=LORA)
    before = {name: value.clone() for name, value in policy.model.state_dict().items()}
    state = torch.get_rng_state()
    assert ways(policy.model) == ways(policy.model)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any("forward" in vars(module) for module in policy.model.modules())
    for name, value in policy.model.state_dict().items():
        assert torch.equal(value, before[name])
