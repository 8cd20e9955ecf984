"""A small zoo: families and kinds of adapters against every law that ``make zoo`` holds all of them
against.
"""

import importlib
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from llmpolicy.policies.causal_lm import folding, forward
from scripts.zoo import adapters, build, cases, isolate
from scripts.zoo.plain import Plain

GROUP = "group"
OTHER = "padded"
RIGHT = {"llama": GROUP, "gemma2": OTHER}
RIGHT_TOO = {
    "gpt2": GROUP, "gemma3_text": GROUP, "qwen3_moe": GROUP, "mistral": GROUP, "phi3": OTHER, "gpt_neox": OTHER, "olmo2": OTHER,
    "deepseek_v3": OTHER, "falcon": OTHER, "granitemoe": OTHER, "qwen3_5_text": "states",
    "recurrent_gemma": "rows",
}  # fmt: skip
REFUSED = {
    "bert": "lets a token see what comes after it",
    "bart": "changes its mind when the prompt is padded",
    "roberta, decoder": (
        "is not what its own forward computes when its noise is off and positions are counted"
        " from 0"
    ),
}
ADAPTERS = ("lora: plain",)
ADAPTERS_TOO = ("lora: rslora", "peft LORA plain", "lora: experts of mixtral")


def held(record: dict[str, Any], *laws: str) -> None:
    """All laws hold, these among them."""
    assert record["outcome"] == "right", record
    assert set(laws) <= set(record["figures"]), record


FULL = (
    "padded",
    "packed",
    "beside",
    "twice",
    "greedy",
    "sampled",
    "groups",
    "gradient",
    "save",
    "window",
)
LORA = (*(f"lora {law}" for law in FULL), "lora start", "lora off", "lora reference", "lora merge")


@pytest.mark.parametrize(
    "name", [*RIGHT, *(pytest.param(name, marks=pytest.mark.slow) for name in RIGHT_TOO)]
)
def test_a_family_is_right_with_its_path(name: str) -> None:
    record = cases.family(name)
    held(record, *FULL, *LORA)
    path = {**RIGHT, **RIGHT_TOO}[name]
    assert record["path"] == path
    shared = GROUP if path == GROUP else "state"
    assert record["update"] == (
        shared if record["because"] is None else f"stock ({record['because']})"
    )


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_is_no_policy_is_refused_in_words(name: str) -> None:
    record = cases.family(name)
    assert record["outcome"] == "refused"
    assert REFUSED[name] in record["refused"]["policy"]


@pytest.mark.parametrize(
    "name", [*ADAPTERS, *(pytest.param(name, marks=pytest.mark.slow) for name in ADAPTERS_TOO)]
)
def test_a_kind_of_adapter_is_right(name: str) -> None:
    held(adapters.items()[name](), *FULL, "off", "reference", "merge")


def test_a_model_that_keeps_what_it_computed_last_can_be_copied() -> None:
    model = build.build(build.small("llama"))
    model(input_ids=torch.tensor([[5, 6, 7]])).logits.sum().backward()
    model.model.last = model(input_ids=torch.tensor([[5, 6, 7]])).logits
    twin = folding.detached(model)
    assert torch.equal(twin.model.last, model.model.last)
    assert twin.model.last.grad_fn is None


def test_a_cache_with_which_a_model_is_another_is_not_used() -> None:
    model, report = build.build(build.small("git")), cases.Report()
    policy, plain = cases.policy_of(model), Plain(model)
    cases.hold(report, "", policy, plain)
    held({"figures": report.figures, **report.record()}, "greedy", "sampled", "groups")
    assert cases.path_of(model) == "rows"


def test_every_family_of_transformers_and_every_kind_of_peft_is_in_the_zoo() -> None:
    from peft import PeftType
    from transformers import AutoModelForCausalLM

    assert {config.model_type for config in AutoModelForCausalLM._model_mapping} <= set(
        build.families()
    )
    names = adapters.items()
    assert all(any(name.startswith(f"peft {kind.value}") for name in names) for kind in PeftType)


@pytest.mark.parametrize(
    ("mistake", "law"), [("positions", "padded"), ("scale", "padded"), ("gradient", "gradient")]
)
def test_the_laws_see_a_mistake(monkeypatch: pytest.MonkeyPatch, mistake: str, law: str) -> None:
    scorer = importlib.import_module("llmpolicy.policies.causal_lm.score")
    changes: dict[str, Any] = {
        "positions": ("positions", lambda mask: forward.positions(mask) + 3 * (mask[:, :1] == 0)),
        "scale": ("forward", lambda *a, **k: _scaled(forward.forward(*a, **k))),
        "gradient": ("forward", lambda *a, **k: _cut(forward.forward(*a, **k))),
    }
    monkeypatch.setattr(scorer, *changes[mistake])
    model, report = build.build(build.small("gpt2")), cases.Report()
    plain = Plain(model)
    cases.hold(report, "", cases.policy_of(model), plain)
    assert report.outcome == "wrong"
    assert law in report.broken


def _scaled(scored: tuple[torch.Tensor, Any]) -> tuple[torch.Tensor, Any]:
    return scored[0] / 1.1, scored[1]


def _cut(scored: tuple[torch.Tensor, Any]) -> tuple[torch.Tensor, Any]:
    logits = scored[0]
    return torch.cat([logits[:, :1].detach(), logits[:, 1:]], dim=1), scored[1]


def _raises() -> dict[str, Any]:
    report = cases.Report()
    report.law("some law", lambda: [][0], 1.0)
    return report.record()


def test_a_crash_a_hang_and_a_bare_error_are_one_row_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolate, "SECONDS", 1)
    items: list[isolate.Item] = [
        ("error", _raises),
        ("crash", lambda: os._exit(7)),
        ("hang", lambda: time.sleep(60)),  # type: ignore[list-item, return-value]
        ("right", lambda: cases.Report().record()),
    ]
    out = tmp_path / "zoo.jsonl"
    isolate.run(items[:2], out)
    isolate.run(items, out)
    rows = isolate.rows(out)
    assert [(row["name"], row["outcome"]) for row in rows] == [
        ("error", "error"), ("crash", "crash"), ("hang", "hang"), ("right", "right"),
    ]  # fmt: skip
    assert "IndexError" in rows[0]["errors"]["some law"]
    assert rows[1]["errors"] == {"process": "ended with code 7"}
