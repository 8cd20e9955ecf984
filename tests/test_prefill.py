"""What a reward reads of an answer that was begun for the model."""

import json
from pathlib import Path
from typing import Any

import pytest

from llmpolicy.rewards import Rewards, RewardSpec, Sample
from llmpolicy.session import train_recipe
from llmpolicy.session.evaluate import explain_recipe
from reward_fns.json_answer import schema, valid

SHAPE = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


def asked(prefill: str | None) -> list[dict[str, str]]:
    begun = [{"role": "assistant", "content": prefill}] if prefill is not None else []
    return [{"role": "user", "content": "How old?"}, *begun]


@pytest.mark.parametrize(
    ("prefill", "completion", "value"),
    [
        ("{", '"age": 5}', 1.0),
        ('{"age":', " 5}", 1.0),
        ("```json\n", '{"age": 5}\n```', 1.0),
        ("{", '{"age": 5}', 0.0),  # begun twice
        ("{", "", 0.0),
        ("Here it is: ", '{"age": 5}', 1.0),
        (None, '{"age": 5}', 1.0),
        (None, '"age": 5}', 0.0),
        ("<think>", 'hm</think>{"age": 5}', 1.0),
    ],
)
def test_a_document_begins_in_the_prefill(
    prefill: str | None, completion: str, value: float
) -> None:
    messages = asked(prefill)
    prompt = "How old?" + (prefill or "")
    assert valid(completion, prompt, messages).value == value
    assert schema(completion, SHAPE, {"age": 5}, prompt, messages).value == value
    if prefill in ("{", None):  # a plain prompt ends in what was begun
        assert schema(completion, SHAPE, {"age": 5}, prompt).value == value


def test_the_reward_is_given_what_it_needs_for_that() -> None:
    rewards = Rewards([RewardSpec("json_answer:schema")])
    samples = [
        Sample(
            '"age": 5}',
            {"schema": SHAPE, "answer": {"age": 5}},
            prompt="x{",
            messages=tuple(asked("{")),
        ),
        Sample('"age": 5}', {"schema": SHAPE, "answer": {"age": 5}}, prompt="How old? {"),
    ]
    assert [row.value for row in rewards.score(samples)] == [1.0, 1.0]


def test_explain_and_train_say_what_the_reward_reads(tmp_path: Path) -> None:
    rows = [
        {"question": str(n), "answer": json.dumps({"age": n}), "schema": SHAPE} for n in range(8)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    recipe: Any = tmp_path / "ages.yaml"
    recipe.write_text(
        'model: bundled\ntask: {file: rows.jsonl, prompt: "{question}", prefill: "{"}\nrewards:'
        " [json_answer:schema]\ngrpo: {max_steps: 1, per_device_train_batch_size: 4,"
        " num_generations: 4, max_completion_length: 4}\n"
    )
    words = (
        "`completion` is what the model writes after the prefill '{'; for a reward messages ends"
        " with it"
    )
    assert words in str(explain_recipe(str(recipe)))
    said: list[str] = []
    with pytest.raises(SystemExit):
        train_recipe(str(recipe), [], dry_run=True, say=said.append)
    assert any(words in line for line in said)
