"""The model card: it says what the evidence says, claims nothing that is not known, and nothing in
it becomes markup.
"""

import dataclasses
import re
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from llmpolicy.messages import plain
from llmpolicy.publish.card import CardFacts, card
from llmpolicy.publish.shown import bars, escape
from llmpolicy.tasks import load_task
from llmpolicy.terminal import visible

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
    "task": [
        {
            "hub": "openai/gsm8k",
            "config": "main",
            "system": "Answer with `####` and | no <b>fuss</b>.",
        }
    ],
    "grpo": {"max_steps": 3},
}
GSM8K = {"openai/gsm8k": "mit"}
REWARDS = [
    {"fn": "exact:match", "weight": 1.0, "sha256": "ab" * 32},
    {"fn": "right.py:right", "weight": None},
]


FACTS = CardFacts(
    repo=NAME, what="merged", which="last", trained="adapter", recipe={"model": {"path": "x"}, "grpo": {}}, manifest={},
    evaluation=None, base="tiny-llama", hub_id=None,
)  # fmt: skip


def split(text: str) -> tuple[dict[str, Any], str]:
    _, head, body = text.split("---\n", 2)
    return yaml.safe_load(head), body


def test_the_card_says_what_the_evidence_says() -> None:
    known = {
        "hub_id": HUB_ID,
        "base": HUB_ID,
        "license": {"license": "apache-2.0"},
        "what": "adapter",
    }
    facts = dataclasses.replace(
        FACTS,
        recipe=RECIPE,
        evaluation=EVALUATION,
        manifest={"rewards": REWARDS},
        datasets=GSM8K,
        **known,
    )
    head, body = split(card(facts))
    assert (head["base_model"], head["library_name"], head["license"]) == (
        HUB_ID,
        "peft",
        "apache-2.0",
    )
    assert {"grpo", "reinforcement-learning"} <= set(head["tags"])
    assert head["datasets"] == ["openai/gsm8k"]
    result = head["model-index"][0]["results"][0]
    assert (result["metrics"][0]["type"], result["metrics"][0]["value"]) == ("accuracy", 0.82)
    assert result["dataset"] == {
        "type": "openai/gsm8k",
        "name": "openai/gsm8k (held out)",
        "config": "main",
    }
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
        f"model = PeftModel.from_pretrained(model, '{NAME}')",
        f"model = AutoModelForCausalLM.from_pretrained('{HUB_ID}', revision='v1.0')",
    ):
        assert line in body.splitlines(), line
    fenced = body.split("```yaml\n")[1].split("\n```")[0]
    assert yaml.safe_load(fenced) == RECIPE


def test_nothing_is_claimed_that_is_not_known() -> None:
    head, body = split(card(FACTS))
    assert not {"license", "base_model", "base_model_relation", "datasets", "model-index"} & set(
        head
    )
    assert head["library_name"] == "transformers"
    assert "Not evaluated" in body
    noted = {
        "model": {"path": "x", "note": "a dequantised Q4_1, not the Hub's weights"},
        "grpo": {},
    }
    _, body = split(card(dataclasses.replace(FACTS, recipe=noted, what="adapter", hub_id=HUB_ID)))
    assert "The weights it was trained on: a dequantised Q4\\_1, not the Hub's weights." in body
    assert f"On the weights of {HUB_ID} itself the adapter's figures may differ" in body


def test_names_cannot_become_markup() -> None:
    nasty = "x | **y** <img src=z> [a](http://b.c) `d` www.e.f\n# g"
    recipe = {
        "model": {"path": "x", "note": nasty},
        "grpo": {},
        "task": [{"name": nasty, "system": "````\n</x> ---"}],
    }
    facts = dataclasses.replace(
        FACTS, base=nasty, recipe=recipe, manifest={nasty: nasty, "rewards": [{"fn": nasty}]}
    )
    _, body = split(card(facts))
    (fenced,) = [
        token.content for token in blocks(body) if token.type == "fence" and token.info == "yaml"
    ]
    assert yaml.safe_load(fenced) == recipe
    for text in re.split(r"(?s)\n(`{3,}).*?\n\1\n", body)[::2]:
        assert not [
            bad
            for bad in ("<img", "**y", "[a](", "http://", "www.", " `d`", "\n# g")
            if bad in text
        ]
        tables = [line for line in text.splitlines() if line.startswith("|")]
        assert all(line.replace("\\|", "").count("|") == tables[0].count("|") for line in tables)


def test_escaped_text_reads_as_it_was() -> None:
    assert escape("a_b|c <d>") == r"a\_b\|c &lt;d&gt;"
    assert escape("plain text, 1.5 (x-y): z") == "plain text, 1.5 (x-y): z"


# What is shown of the run

NASTY = (
    "``````\n</div><script>x</script> ![i](http://b.c/i.png) [a](javascript:x)\n# h\n| a"
    " |\n\x1b[2J\u202e\ud800 `````x"
)
PROMPT = 'He said: "it\'s ```2 + 2```"\n=?'
LONG = "long " * 999
SHOWN = {
    **EVALUATION,
    "examples": [{"prompt": PROMPT, "completion": NASTY, "right": False}, {"prompt": "b", "completion": LONG, "right": None}],
    "base": {**EVALUATION["base"], "examples": [{"prompt": PROMPT, "completion": "4", "right": True}]},  # type: ignore[dict-item]
}  # fmt: skip


def blocks(body: str) -> list[Any]:
    """What a reader of Markdown makes of a card: its tokens, those within lines too."""
    outer = MarkdownIt("commonmark", {"html": True}).enable("table").parse(body)
    return [token for block in outer for token in (block, *(block.children or ()))]


def test_samples_are_shown_as_they_are_and_become_nothing_else() -> None:
    facts = dataclasses.replace(FACTS, recipe=RECIPE, evaluation=SHOWN, datasets=GSM8K)
    text = card(facts)
    tokens = blocks(split(text)[1])
    assert not {token.type for token in tokens} & {
        "html_inline",
        "html_block",
        "image",
        "code_block",
    }
    links = [token.attrs["href"] for token in tokens if token.type == "link_open"]
    assert links == ["https://huggingface.co/datasets/openai/gsm8k"]
    framed = [token.content for token in tokens if token.type == "fence"]
    assert framed[:3] == [f"{PROMPT}\n", "4\n", "\n".join(map(visible, NASTY.split("\n"))) + "\n"]
    assert framed[4].endswith("long ... (4995 characters)\n".removeprefix("long"))
    headings = [
        tokens[number + 1].content
        for number, token in enumerate(tokens)
        if token.type == "heading_open"
    ]
    assert headings[:3] == ["tiny", "Before and after", "Before and after, in its own words"]
    assert "h" not in headings
    shown = [
        token.content for token in tokens if token.type == "inline" and "wrote" in token.content
    ]
    assert shown == [
        "The base model wrote, judged right:", "The trained model wrote, judged wrong:", "The trained model wrote, not judged:",
    ]  # fmt: skip
    text.encode("utf-8")


@pytest.mark.parametrize(
    "task",
    [
        {"system": "Be ``` short.", "few_shot": [{"user": "1+1", "assistant": "2"}]},
        {"prefill": "The answer is"},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {},
    ],
)
def test_the_example_asks_as_the_task_does(task: dict[str, Any]) -> None:
    """Against the rows that the trainer would be given for the same prompt."""
    asked = load_task(
        {**task, "rows": [{"question": PROMPT, "answer": "4"}], "prompt": "{question}"}
    )[0].prompt
    recipe = {**RECIPE, "task": [{**RECIPE["task"][0], "system": None, **task}]}  # type: ignore[index]
    _, body = split(card(dataclasses.replace(FACTS, recipe=recipe, evaluation=SHOWN)))
    code = next(
        token.content for token in blocks(body) if token.type == "fence" and token.info == "python"
    )
    calls: dict[str, Any] = {}
    lines = [
        line
        for line in code.splitlines()
        if not line.startswith(("from", "output", "print", "tokenizer", "model"))
    ]
    tokenizer = SimpleNamespace(
        apply_chat_template=lambda messages, **options: calls.update(options, messages=messages)
    )
    exec("\n".join(lines), {"tokenizer": tokenizer})  # noqa: S102 - what a reader of the card does
    assert calls["messages"] == plain(asked)  # type: ignore[arg-type]
    assert calls.get("enable_thinking", True) is task.get("chat_template_kwargs", {}).get(
        "enable_thinking", True
    )
    assert calls.get("continue_final_message", False) is ("prefill" in task)
    assert calls.get("add_generation_prompt", False) is ("prefill" not in task)


def test_the_curve_is_that_of_the_metrics() -> None:
    train = [
        {"step": step, "reward": step / 100, "completions/mean_length": 7} for step in range(1, 101)
    ]
    train[4]["reward"] = float("nan")
    looks = [{"step": step, "accuracy": step / 200} for step in (50, 100)]
    _, body = split(
        card(dataclasses.replace(FACTS, train=train, looks=looks, manifest={"seed": 3}))
    )
    lines = body.splitlines()
    assert "Mean reward of what was sampled, over 99 steps, seed 3, from 0.01 to 1:" in lines
    assert "| 1 | 0.01 | – | 7 |" in lines
    assert lines[lines.index("| 1 | 0.01 | – | 7 |") + 1 :][:2] == [
        "| 50 | 0.5 | 0.25 | 7 |",
        "| 100 | 1 | 0.5 | 7 |",
    ]
    drawn = lines[lines.index("```text") + 1]
    assert (len(drawn), drawn[0], drawn[-1]) == (40, "▁", "█")
    assert sorted(drawn) == list(drawn)
    assert "## Training curve" not in card(FACTS)


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"),
        ([5, 5], "▁▁"),
        ([1, -1], "█▁"),
        ([0, 0, 4, 4, 8, 8], "▁▅█"),
    ],
)
def test_bars(values: list[float], drawn: str) -> None:
    assert bars(values, width=min(len(drawn), 40)) == drawn


def test_the_hub_reads_what_the_card_says_of_itself() -> None:
    known = {"hub_id": HUB_ID, "base": HUB_ID, "what": "adapter", "datasets": GSM8K}
    licence = {
        "license": "other",
        "license_name": "tiny-1.0",
        "license_link": "https://example.org/tiny",
    }
    data = ModelCard(
        card(
            dataclasses.replace(
                FACTS, recipe=RECIPE, evaluation=EVALUATION, license=licence, **known
            )
        )
    ).data
    assert (data.base_model, data.datasets, data.library_name, data.pipeline_tag) == (
        HUB_ID, ["openai/gsm8k"], "peft", "text-generation",
    )  # fmt: skip
    assert (data.license, data.license_name, data.license_link) == tuple(licence.values())
    assert data.to_dict()["base_model_relation"] == "adapter"
    (result,) = data.eval_results
    assert (result.dataset_type, result.dataset_config, result.metric_type) == (
        "openai/gsm8k",
        "main",
        "accuracy",
    )
    assert (result.metric_value, result.metric_name) == (
        0.82,
        "greedy accuracy on 300 held-out prompts",
    )
