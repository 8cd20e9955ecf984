"""The model card: it says what the evidence says, claims nothing that is not known, and nothing in it becomes markup."""

import dataclasses
from typing import Any

import yaml

from llmpolicy.publish.card import CardFacts, card, escape

HUB_ID = "somebody/tiny-llama"
NAME = "me/tiny"
EVALUATION = {
    "schema": 1,
    "n": 300,
    "seed": 7,
    "recipe_hash": "0123456789abcdef",
    "decoding": {"greedy": True, "max_new_tokens": 16},
    "accuracy": {"value": 0.82, "low": 0.772, "high": 0.86},
    "pass_at_k": {"1": 0.61, "8": 0.93},
    "truncated": 0.01,
    "mean_length": 4.25,
    "kl_to_base": 0.031,
    "best_constant": 0.023,
    "best_constant_answer": "4_2",
    "base": {
        "accuracy": {"value": 0.37, "low": 0.317, "high": 0.426},
        "pass_at_k": {"1": 0.21, "8": 0.71},
        "truncated": 0,
    },
    "paired_difference": {"value": 0.45, "low": 0.385, "high": 0.515},
}
RECIPE = {
    "model": {"path": "x", "revision": "v1.0"},
    "task": [{"hub": "openai/gsm8k", "config": "main", "system": "Answer with `####` and | no <b>fuss</b>."}],
    "grpo": {"max_steps": 3},
}
REWARDS = [{"fn": "exact:match", "weight": 1.0, "sha256": "ab" * 32}, {"fn": "right.py:right", "weight": None}]


FACTS = CardFacts(
    repo=NAME, what="merged", which="last", trained="adapter", recipe={"model": {"path": "x"}, "grpo": {}}, manifest={},
    evaluation=None, base="tiny-llama", hub_id=None,
)  # fmt: skip


def split(text: str) -> tuple[dict[str, Any], str]:
    _, head, body = text.split("---\n", 2)
    return yaml.safe_load(head), body


def test_the_card_says_what_the_evidence_says() -> None:
    known = {"hub_id": HUB_ID, "base": HUB_ID, "license": "apache-2.0", "what": "adapter"}
    facts = dataclasses.replace(FACTS, recipe=RECIPE, evaluation=EVALUATION, manifest={"rewards": REWARDS}, **known)
    head, body = split(card(facts))
    assert (head["base_model"], head["library_name"], head["license"]) == (HUB_ID, "peft", "apache-2.0")
    assert {"grpo", "reinforcement-learning"} <= set(head["tags"])
    assert head["datasets"] == ["openai/gsm8k"]
    result = head["model-index"][0]["results"][0]
    assert (result["metrics"][0]["type"], result["metrics"][0]["value"]) == ("accuracy", 0.82)
    assert result["dataset"] == {"type": "openai/gsm8k", "name": "openai/gsm8k (held out)", "config": "main"}
    for line in (
        "| greedy accuracy [95 % interval] | 37.0 % [31.7, 42.6] | 82.0 % [77.2, 86.0] |",
        "| pass@8, sampled | 71.0 % | 93.0 % |",
        "| cut off by the length limit | 0.0 % | 1.0 % |",
        "| mean length, tokens | – | 4.25 |",
        "| KL to the base, nats a token | – | 0.031 |",
        "Paired difference on the same prompts, greedy: +45.0 points [+38.5, +51.5], 95 %.",
        "The best constant answer (4\\_2) would score 2.3 %.",
        f"| exact:match | 1.0 | {'ab' * 32} |",
        "| right.py:right | only in the evaluation | not recorded |",
        f"model = PeftModel.from_pretrained(base, '{NAME}')",
        f"base = AutoModelForCausalLM.from_pretrained('{HUB_ID}', revision='v1.0')",
    ):
        assert line in body.splitlines(), line
    fenced = body.split("```yaml\n")[1].split("\n```")[0]
    assert yaml.safe_load(fenced) == RECIPE


def test_nothing_is_claimed_that_is_not_known() -> None:
    head, body = split(card(FACTS))
    assert not {"license", "base_model", "base_model_relation", "datasets", "model-index"} & set(head)
    assert head["library_name"] == "transformers"
    assert "Not evaluated" in body
    noted = {"model": {"path": "x", "note": "a dequantised Q4_1, not the Hub's weights"}, "grpo": {}}
    _, body = split(card(dataclasses.replace(FACTS, recipe=noted, what="adapter", hub_id=HUB_ID)))
    assert "The weights it was trained on: a dequantised Q4\\_1, not the Hub's weights." in body
    assert f"On the weights of {HUB_ID} itself the adapter's figures may differ" in body


def test_names_cannot_become_markup() -> None:
    nasty = "x | **y** <img src=z> [a](http://b.c) `d` www.e.f\n# g"
    recipe = {"model": {"path": "x", "note": nasty}, "grpo": {}, "task": [{"name": nasty, "system": "````\n</x> ---"}]}
    facts = dataclasses.replace(FACTS, base=nasty, recipe=recipe, manifest={nasty: nasty, "rewards": [{"fn": nasty}]})
    _, body = split(card(facts))
    outside, fenced, after = body.split("`````", 2)
    assert yaml.safe_load(fenced.removeprefix("yaml\n")) == recipe
    for text in (outside, after):
        assert not [bad for bad in ("<img", "**y", "[a](", "http://", "www.", " `d`", "\n# g") if bad in text]
        tables = [line for line in text.splitlines() if line.startswith("|")]
        assert all(line.replace("\\|", "").count("|") == tables[0].count("|") for line in tables)


def test_escaped_text_reads_as_it_was() -> None:
    assert escape("a_b|c <d>") == r"a\_b\|c &lt;d&gt;"
    assert escape("plain text, 1.5 (x-y): z") == "plain text, 1.5 (x-y): z"
