"""The bundled model: what it can do before training, what it has never seen, and how it reads
text.
"""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from llmpolicy.bundled import MODEL
from llmpolicy.bundled.addition import canonical, questions
from llmpolicy.plan import plan_recipe
from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.recipe import load_recipe
from llmpolicy.tasks import Row
from scripts.pretrain_bundled import build_model, build_tokenizer, measure, pretrain, split

TOKENIZER = AutoTokenizer.from_pretrained(MODEL, local_files_only=True)
PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126) | st.just("\n"))


def numbers(rows: list[Row]) -> set[frozenset[str]]:
    """The questions of rows, whatever the order of their numbers."""
    return {frozenset(row.columns["question"].split("+")) for row in rows}


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModelForCausalLM.from_pretrained(MODEL, local_files_only=True).eval()


@pytest.fixture(scope="module")
def held_out() -> list[Row]:
    return list(plan_recipe(load_recipe("quickstart")).held_out)


def test_the_base_answers_a_third_in_the_right_form(model: Any, held_out: list[Row]) -> None:
    inputs = TOKENIZER.apply_chat_template(
        [row.prompt for row in held_out],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    with torch.no_grad():
        tokens = model.generate(**inputs, max_new_tokens=5, do_sample=False)
    texts = [
        TOKENIZER.decode(row).replace("<|pad|>", "")
        for row in tokens[:, inputs["input_ids"].shape[1] :]
    ]
    assert len(texts) == 500
    assert sum(re.fullmatch(r"\d+<\|end\|>", text) is not None for text in texts) / 500 >= 0.95
    right = (
        sum(
            text == f"{row.columns['answer']}<|end|>"
            for text, row in zip(texts, held_out, strict=True)
        )
        / 500
    )
    assert 0.30 <= right <= 0.40


def test_no_constant_answer_is_worth_anything(held_out: list[Row]) -> None:
    (_, often), *_ = Counter(row.columns["answer"] for row in held_out).most_common(1)
    assert (
        often / len(held_out) < 0.025
    )  # over all questions the commonest sum, 109, has a share of 0.011


def test_held_out_questions_are_in_no_training_data(held_out: list[Row]) -> None:
    data, trained = split(), list(plan_recipe(load_recipe("quickstart")).train_rows)
    unseen = numbers(held_out)
    assert len(unseen) == 500
    assert numbers(data.held_out) == unseen
    for rows in (data.learned, data.checked, trained):
        assert not numbers(rows) & unseen
    assert numbers(data.learned) < numbers(trained)
    assert not numbers(data.learned) & numbers(data.checked)


def test_more_held_out_questions_are_still_new_to_the_model() -> None:
    wider = plan_recipe(load_recipe("quickstart", ["evaluate.n=3500"]))
    assert not numbers(split().learned) & numbers(list(wider.held_out))


def test_every_sum_of_two_digit_numbers_is_asked_once_and_answered_right() -> None:
    rows = list(questions())
    assert len({row["question"] for row in rows}) == len(rows) == 90 * 90
    assert all(sum(map(int, row["question"].split("+"))) == int(row["answer"]) for row in rows)
    assert all(re.fullmatch(r"[1-9]\d\+[1-9]\d", row["question"]) for row in rows)


def test_questions_have_a_fixed_order_and_a_limit_takes_a_fair_sample() -> None:
    rows = list(questions())
    assert rows == list(questions())
    assert rows != list(questions(seed=1))
    mean = sum(int(row["answer"]) for row in rows[:500]) / 500
    assert abs(mean - 109) < 4 * 37 / 500**0.5


@given(st.integers(0, 999), st.integers(0, 999))
def test_the_order_of_the_numbers_makes_no_other_question(a: int, b: int) -> None:
    low, high = sorted((a, b))
    assert (
        canonical({"question": f"{a}+{b}"})
        == canonical({"question": f"{b}+{a}"})
        == f"{low}+{high}"
    )


@given(PRINTABLE.filter(lambda text: not any(map(text.__contains__, TOKENIZER.all_special_tokens))))
def test_the_tokenizer_reads_and_writes_characters(text: str) -> None:
    ids = TOKENIZER(text)["input_ids"]
    assert len(ids) == len(text)
    assert TOKENIZER.unk_token_id not in ids
    assert TOKENIZER.decode(ids) == text


def test_other_characters_are_unknown_and_turns_are_single_tokens() -> None:
    assert TOKENIZER("é")["input_ids"] == [TOKENIZER.unk_token_id]
    assert len(TOKENIZER("<|system|><|user|><|assistant|><|end|><|pad|>")["input_ids"]) == 5
    assert TOKENIZER.eos_token == "<|end|>"
    assert TOKENIZER.pad_token_id != TOKENIZER.eos_token_id


def test_the_chat_template_marks_each_turn() -> None:
    turns = [
        {"role": "system", "content": "Add."},
        {"role": "user", "content": "1+2"},
        {"role": "assistant", "content": "3"},
    ]
    whole = TOKENIZER.apply_chat_template(turns, tokenize=False)
    assert whole == "<|system|>Add.<|end|><|user|>1+2<|end|><|assistant|>3<|end|>"
    asked = TOKENIZER.apply_chat_template(turns[:2], tokenize=False, add_generation_prompt=True)
    assert asked == "<|system|>Add.<|end|><|user|>1+2<|end|><|assistant|>"


def test_the_files_are_what_the_script_writes(model: Any) -> None:
    assert TOKENIZER.get_vocab() == build_tokenizer().get_vocab()
    assert TOKENIZER.chat_template == build_tokenizer().chat_template
    fresh = build_model(build_tokenizer())
    assert {name: value.shape for name, value in model.state_dict().items()} == {
        name: value.shape for name, value in fresh.state_dict().items()
    }
    assert sum(path.stat().st_size for path in MODEL.iterdir()) < 4_000_000
    assert (
        json.loads((MODEL / "generation_config.json").read_text())["eos_token_id"]
        == TOKENIZER.eos_token_id
    )


def test_the_task_loads_without_torch() -> None:
    code = (
        "import sys, llmpolicy.bundled.addition; sys.exit('torch' in sys.modules or 'transformers'"
        " in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Beside another busy process two threads wait for each other by spinning: 692 s instead of 40
    were seen.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_the_script_builds_a_model_as_good_again(held_out: list[Row]) -> None:
    committed = CausalLMPolicy.load(str(MODEL), max_new_tokens=5)
    again = measure(pretrain(), held_out)
    # .362 with AVX2, .42 with AVX-512, which rounds otherwise; seeds give .36 to .43 (log/2026-11.md).
    assert abs(again.right - measure(committed, held_out).right) <= 0.08
    assert again.well_formed >= 0.95
