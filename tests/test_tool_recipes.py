"""The recipes of dialogues with tools and of a game: what they ask, what their examples show, and
what they come to before a model loads.
"""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from llmpolicy.errors import RecipeError, SandboxUnavailable
from llmpolicy.plan import plan_recipe
from llmpolicy.policies.causal_lm.codec import Codec
from llmpolicy.policies.causal_lm.tool_calls import read_reply
from llmpolicy.recipe import Recipe, find_recipe, load_recipe
from llmpolicy.sandbox import sandbox
from llmpolicy.session.evaluate import explain_recipe
from llmpolicy.stages.partner import check_environment, players_of
from llmpolicy.tools.calculator import calculator
from tests.chats import chat

CALCULATOR = "calculator_tool_cpu"


def codec_of() -> Codec:
    tokenizer = chat("chatml")
    return Codec(tokenizer, None, vocabulary=len(tokenizer))


def recipe(name: str, *overrides: str) -> Recipe:
    return load_recipe(find_recipe(name), overrides)


def test_every_product_has_three_digits_twice_and_its_true_answer() -> None:
    plan = plan_recipe(recipe(CALCULATOR), target="cpu")
    assert len(plan.held_out) == 80
    asked = {row.question for row in plan.held_out}
    assert not asked & {row.question for row in plan.train_rows}
    for row in [*plan.held_out, *plan.train_rows]:
        left, right = re.findall(r"\d+", str(row.prompt[-1]["content"]))  # type: ignore[index]
        assert len(left) == len(right) == 3
        assert int(row.columns["answer"]) == int(left) * int(right)


def test_the_examples_call_as_the_policy_is_read_and_answer_what_the_tool_says() -> None:
    made = recipe(CALCULATOR)
    tools, codec = players_of(made).offer.tools, codec_of()
    shown, called = made.task[0].few_shot, 0
    for at, example in enumerate(shown):
        said = read_reply(codec, codec.tokenizer(example.assistant)["input_ids"], tools=tools)
        assert said.problem is None
        for call in said.calls:
            called += 1
            result = calculator(**call.arguments)
            assert shown[at + 1].user == f"<tool_response>\n{result}\n</tool_response>"
            assert shown[at + 1].assistant == result
    assert called == 2


def test_with_the_tool_taken_out_the_same_products_are_asked() -> None:
    plans = [
        plan_recipe(recipe(CALCULATOR, *out), target="cpu") for out in ([], ["environment=null"])
    ]
    assert plans[0].held_out == plans[1].held_out
    assert plans[0].train_rows == plans[1].train_rows
    told = str(explain_recipe(CALCULATOR, yes=True))
    assert "tools: calculator(expression)" in told


def test_the_recipe_of_one_gpu_offers_python_and_a_calculator(tmp_path: Path) -> None:
    try:
        sandbox()
    except SandboxUnavailable:
        pytest.skip("the tool python runs in a sandbox only")
    offer = check_environment(recipe("tools_qwen_gpu"))
    assert offer is not None
    names = {tool["function"]["name"] for tool in offer.tools}
    assert names == {"calculator", "python"}
    task = tmp_path / "gsm8k.jsonl"
    task.write_text(
        "".join(f'{{"question": "{n} + 1?", "answer": "#### {n + 1}"}}\n' for n in range(900))
    )
    explained = str(explain_recipe("tools_qwen_gpu", [f"task.file={task}"], yes=True))
    assert "at most 6 turns of at most 256 tokens each" in explained


def test_the_game_is_one_of_textarenas() -> None:
    made = recipe("textarena_cpu")
    if find_spec("textarena") is None:
        with pytest.raises(RecipeError, match=r"pip install 'llmpolicy\[textarena\]'"):
            check_environment(made)
        return
    offer = check_environment(made)
    assert offer is not None and offer.has_step
