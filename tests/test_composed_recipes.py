"""A composed reward in a recipe: read strictly, routed by task, explained before anything is
trained.
"""

import json
from pathlib import Path

import pytest

from llmpolicy.episode import Episode, Turn
from llmpolicy.errors import RecipeError, RewardError
from llmpolicy.plan import build_rewards, plan_recipe, reward_lines
from llmpolicy.recipe import find_recipe, load_recipe
from llmpolicy.rewards import Sample
from llmpolicy.rewards.compose import sentences
from llmpolicy.session.evaluate import explain_recipe

HEAD = """\
model: bundled
task:
  - {file: sums.jsonl, name: sums, prompt: "{question}"}
  - {file: code.jsonl, name: code, prompt: "{question}"}
grpo: {num_generations: 4}
rewards:
"""
ROUTED = """\
  - {fn: exact:match, role: correctness, clip: [0, 1], tasks: sums}
  - {fn: mine.py:passes, role: correctness, clip: [0, 1], tasks: [code]}
  - min: [mine.py:brief, {fn: length:target, args: {target: 5}, clip: [0, 1]}]
    name: compact
    weight: 0.5
    when: correct
  - {fn: repetition:penalty, weight: 0}
"""
MINE = """\
from llmpolicy.rewards import reward

@reward(range=(0, 1))
def passes(completion, tests):
    return float(tests in completion)

@reward(range=(0, 1))
def brief(completion):
    return float(len(completion) < 9)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, more in (("sums", {"answer": "2"}), ("code", {"answer": "-", "tests": "x"})):
        rows = [{"question": f"{name} {i}?", **more} for i in range(20)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


def write(folder: Path, rewards: str, more: str = "") -> str:
    (folder / "mixed.yaml").write_text(HEAD + rewards + more)
    return str(folder / "mixed.yaml")


def test_rewards_of_a_task_need_only_its_columns_and_are_explained_by_task(folder: Path) -> None:
    made = plan_recipe(load_recipe(write(folder, ROUTED)))
    assert reward_lines(made) == [
        (
            "sums: reward = clip(exact.match, 0, 1) + 0.5·min(mine.brief, clip(length.target, 0,"
            " 1)) when correct"
        ),
        "  right answers 1 to 1.5, wrong answers 0",
        (
            "code: reward = clip(mine.passes, 0, 1) + 0.5·min(mine.brief, clip(length.target, 0,"
            " 1)) when correct"
        ),
        "  right answers 1 to 1.5, wrong answers 0",
        "only logged: repetition.penalty",
    ]
    rows = {row.task: row for row in made.train_rows}
    samples = [
        rows[task].sample(Episode([Turn((), [1] * 5, text=text)]))
        for task, text in (("sums", "2"), ("code", "x"), ("code", "y"))
    ]
    assert [one.value for one in made.rewards.score(samples)] == [1.5, 1.5, 0]
    swapped = (
        ROUTED.replace("tasks: sums", "tasks: chat")
        .replace("[code]", "sums")
        .replace("chat", "code")
    )
    with pytest.raises(RewardError, match=r"'mine.passes' asks for 'tests'"):
        plan_recipe(load_recipe(write(folder, swapped)))


FAULTS = [
    (
        "tasks: sums",
        "tasks: sum",
        "mixed.yaml:7: 'exact.match' is for the task 'sum', which is none; did you mean 'sums'?",
    ),
    ("args", "argz", "mixed.yaml:9: unknown key 'argz' in rewards.2.min.1; did you mean 'args'?"),
    (
        "role: correctness",
        "role: corectness",
        "mixed.yaml:7: rewards.0.role: input should be 'correctness', 'gate'",
    ),
    (
        "{fn: repetition:penalty, ",
        "{",
        "mixed.yaml:13: a reward is exactly one of fn, min, product, sum; found none",
    ),
    (
        "weight: 0.5\n    when: correct",
        "weight: 2",
        "mixed.yaml:7: a wrong answer can reach a right one for task 'sums'",
    ),
]


@pytest.mark.parametrize(("written", "instead", "said"), FAULTS)
def test_a_fault_is_named_with_its_line(
    folder: Path, written: str, instead: str, said: str
) -> None:
    with pytest.raises(RecipeError) as found:
        plan_recipe(load_recipe(write(folder, ROUTED.replace(written, instead, 1))))
    assert said in str(found.value)


def test_a_recipe_as_a_run_writes_it_out_means_what_it_meant(folder: Path) -> None:
    """Every default is filled in there; a weight that nobody wrote must not make shaping of a
    gate.
    """
    from llmpolicy.recipe import make_recipe

    text = ROUTED + "  - fn: mine.py:shaped\n"
    (folder / "mine.py").write_text(
        MINE + "\n@reward(kind='format')\ndef shaped(completion):\n    return 1.0\n"
    )
    recipe = load_recipe(write(folder, text))
    again = make_recipe(recipe.resolved(), base_dir=recipe.base_dir)
    assert again.hash() == recipe.hash()
    assert build_rewards(again).composition == build_rewards(recipe).composition
    assert [term.role for term in build_rewards(again).composition.terms][-1] == "gate"


def test_an_inversion_that_the_recipe_allows(folder: Path) -> None:
    text = ROUTED.replace("    when: correct\n", "").replace("weight: 0.5", "weight: 2")
    made = plan_recipe(load_recipe(write(folder, text, "allow_inversion: true\n")))
    assert reward_lines(made).count("  allow_inversion: a wrong answer can reach a right one") == 2


def test_explain_says_what_normalising_each_term_does(folder: Path) -> None:
    path = write(folder, ROUTED)
    plainly = explain_recipe(path, yes=True)
    assert not any("normalize_then_sum" in line for line in plainly.reward)
    normalised = explain_recipe(
        path, ["grpo.multi_objective_aggregation=normalize_then_sum"], yes=True
    )
    assert "unit variance" in normalised.reward[-1]
    assert "\nreward\n  sums: reward = " in str(normalised)


def test_a_judge_alone_says_that_no_part_is_correctness(folder: Path) -> None:
    explained = explain_recipe(write(folder, "  - mine.py:brief\n"), yes=True)
    assert explained.reward == (
        "reward = mine.brief",
        (
            "  no part is named correctness, so nothing here says that a right answer is paid more"
            " than a wrong one (`role: correctness` names it)"
        ),
    )


@pytest.mark.parametrize("name", ["gsm8k_qwen_gpu", "gsm8k_qwen_multi_gpu"])
def test_a_shipped_recipe_punishes_length_below_any_right_answer(name: str) -> None:
    recipe = load_recipe(find_recipe(name))
    rewards = build_rewards(recipe)
    assert sentences(rewards.composition, ["train"]) == [
        "reward = math_answer.correct + 0.5·length.overlong",
        "  right answers 0.5 to 1, wrong answers -0.5 to 0",
    ]
    assert recipe.grpo is not None
    limit = recipe.grpo["max_completion_length"]
    assert recipe.rewards[1].args["max_length"] == limit
    texts = [("\\boxed{4}", limit), ("\\boxed{5}", 9), ("\\boxed{4}", limit - 64)]
    samples = [
        Sample(text, {"answer": "4"}, completion_ids=range(length), row=row)
        for row, (text, length) in enumerate(texts)
    ]
    assert [row.value for row in rewards.score(samples)] == [0.5, 0.0, 0.75]
