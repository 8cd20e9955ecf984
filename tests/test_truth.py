"""A truth beside the reward that trains: what it may say in a recipe, that it touches no training,
that it chooses the best step, and that its alarm is rarely false.
"""

import math
import random
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from llmpolicy.diagnosis.asked import MOST_BY_CHANCE
from llmpolicy.errors import LLMPolicyError, RecipeError
from llmpolicy.evaluation.truth import LEVEL, Partings, Seen, parting, sign_test
from llmpolicy.plan import look_steps, plan_recipe
from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.recipe import load_recipe
from llmpolicy.run import Run
from llmpolicy.run.looks import read_looks
from llmpolicy.session import train_recipe
from llmpolicy.session.evaluate import explain_recipe

SMALL = [
    "grpo.max_steps=4", "grpo.per_device_train_batch_size=16", "evaluate.n=20", "evaluate.samples=1",
    "evaluate.every=2",
]  # fmt: skip
TRUTH = """
def near(completion: str, answer: str, least: float = -9.0) -> float:
    said = completion.strip()
    return max(least, -abs(int(said) - int(answer))) if said.isdigit() else least

def judges_none(completion: str) -> None:
    return None
"""


def trained(folder: Path, *more: str, said: list[str] | None = None, **how: Any) -> Run:
    say = (said if said is not None else []).append
    return train_recipe("quickstart", [*SMALL, *more], out=folder, say=say, **how)


def weights(run: Run) -> dict[str, torch.Tensor]:
    return dict(CausalLMPolicy.load(str(run.policy_dir)).model.state_dict())


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("truth") / "near.py"
    file.write_text(TRUTH)
    return f"{file}:near"


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, verifier: str) -> tuple[Run, list[str]]:
    said: list[str] = []
    truth = f"truth={{fn: '{verifier}', args: {{least: -8.0}}}}"
    folder = tmp_path_factory.mktemp("watched") / "run"
    return trained(folder, truth, "evaluate.correct=null", said=said), said


def test_a_truth_changes_no_weight(watched: tuple[Run, list[str]], tmp_path: Path) -> None:
    """Bit by bit: it is asked for answers of its own, and no advantage knows of it."""
    run, _ = watched
    alone = trained(tmp_path / "alone", "evaluate.every=null")
    with_truth, without = weights(run), weights(alone)
    assert with_truth.keys() == without.keys()
    assert all(torch.equal(with_truth[name], without[name]) for name in without)
    figures = ("reward", "loss", "grad_norm", "num_tokens")
    for one, other in zip(run.metrics("train"), alone.metrics("train"), strict=True):
        assert [one[name] for name in figures] == [other[name] for name in figures]


def test_the_best_step_is_the_one_that_the_truth_says(watched: tuple[Run, list[str]]) -> None:
    run, said = watched
    looks = {line["step"]: line["truth"] for line in run.metrics("eval")}
    assert list(looks) == [0, 2, 4]
    best = max(looks, key=lambda step: (looks[step], -step))
    record = run.best()
    assert record is not None
    assert (record["step"], record["truth"]) == (best, looks[best])
    assert record == run.manifest["best"]
    (line,) = [line for line in said if line.startswith("best step by the truth")]
    assert f": {best}, truth" in line and str(run.best_dir) in line


def test_a_look_keeps_what_was_said_of_each_prompt(watched: tuple[Run, list[str]]) -> None:
    run, _ = watched
    for look, line in zip(read_looks(run.path), run.metrics("eval"), strict=True):
        assert look["step"] == line["step"]
        assert len(look["truth"]) == len(look["proxy"]) == 20
        assert math.fsum(look["truth"]) / 20 == pytest.approx(line["truth"])
        assert math.fsum(look["proxy"]) / 20 == pytest.approx(line["proxy"])
        # a truth of -0 is the right answer, and the proxy is 1 for it alone
        assert [value == 1 for value in look["proxy"]] == [value == 0 for value in look["truth"]]


def test_a_truth_is_in_the_manifest_like_a_reward(
    watched: tuple[Run, list[str]], verifier: str
) -> None:
    run, _ = watched
    (facts,) = [each for each in run.manifest["rewards"] if each["fn"].endswith(":near")]
    assert (facts["weight"], facts["args"]) == (None, {"least": -8.0})
    assert len(facts["sha256"]) == 64
    assert any(item["for"].endswith(":near") for item in run.manifest["files"])
    assert run.recipe["truth"]["args"] == {"least": -8.0}


def test_a_recipe_without_a_truth_has_the_hash_that_it_had() -> None:
    assert "truth" not in load_recipe("quickstart").resolved()


def test_a_resume_remembers_the_looks_before_it(
    watched: tuple[Run, list[str]], verifier: str, tmp_path: Path
) -> None:
    truth = f"truth={{fn: '{verifier}', args: {{least: -8.0}}}}"
    out = tmp_path / "run"
    trained(out, truth, "evaluate.correct=null", "grpo.max_steps=2")
    run = trained(out, truth, "evaluate.correct=null", "grpo.max_steps=4", resume=True)
    assert [look["step"] for look in read_looks(run.path)] == [0, 2, 4]
    assert run.best() is not None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["truth={fn: exact:match, weight: 0.5}"], "weight has no meaning: truth pays nothing"),
        (["truth={fn: exact:match, role: gate}"], "role has no meaning"),
        (["truth={function: exact:match}"], "unknown key 'function' in truth"),
        (["truth=exact:mach"], "match"),
        (["truth=exact:match", "evaluate=null"], "holds none out; write `evaluate: {n: 200}`"),
        (["evaluate.correct=null"], "evaluate needs `correct: module:function`"),
        (["truth={fn: exact:match, args: {nothing: 1}}"], "nothing"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_a_sentence(overrides: list[str], message: str) -> None:
    with pytest.raises(LLMPolicyError) as found:
        plan_recipe(load_recipe("quickstart", overrides))
    assert message in str(found.value) and "\n" not in str(found.value)


def test_a_truth_is_for_grpo() -> None:
    with pytest.raises(RecipeError, match="truth watches the policy of grpo"):
        load_recipe("reinforce_addition", ["truth=exact:match"])
    with pytest.raises(RecipeError, match="truth watches the policy of grpo"):
        load_recipe("cartpole", ["truth=exact:match"])


def test_prompts_that_are_all_too_long_are_no_held_out_prompts() -> None:
    from llmpolicy.plan.looks import refuse_no_rows

    plan = plan_recipe(load_recipe("quickstart", ["truth=exact:match"]))
    refuse_no_rows(plan)
    with pytest.raises(RecipeError, match="none is left in recipe 'quickstart'"):
        refuse_no_rows(plan.__class__(**{**vars(plan), "held_out": []}))


def test_a_truth_that_also_trains_is_noted_and_the_cost_is_said() -> None:
    said = "\n".join(explain_recipe("quickstart", ["truth=exact:match"]).reward)
    assert "truth exact:match is also a reward that trains" in said
    # 7 looks of 500 beside 300 steps of 256
    assert f"{7 * 500:,} completions, {7 * 500 / (300 * 256):.1%}" in said
    other = "\n".join(explain_recipe("quickstart", ["truth=formats:boxed"]).reward)
    assert "also a reward" not in other and "truth formats.boxed" in other
    dear = "\n".join(explain_recipe("quickstart", ["evaluate.every=1"]).reward)
    assert "looks cost more than a tenth" in dear


def test_looks_come_at_the_start_every_so_many_steps_and_at_the_end() -> None:
    assert look_steps(3, 7, at_start=True) == [0, 3, 6, 7]
    assert look_steps(None, 300) == [30 * k for k in range(1, 11)]
    assert look_steps(None, 4) == [1, 2, 3, 4]
    assert look_steps(10, 4) == [4]


# the alarm


@pytest.mark.parametrize("count", [0, 1, 4, 9])
def test_the_sign_test_counts_all_outcomes(count: int) -> None:
    for down in range(count + 1):
        as_many = [sum(signs) >= down for signs in product((0, 1), repeat=count)]
        assert sign_test(down, count - down) == pytest.approx(sum(as_many) / len(as_many))


def test_a_fall_of_the_truth_below_a_rising_proxy_is_an_alarm() -> None:
    partings = Partings(3)
    assert partings.take(Seen(0, [0.0] * 40, [0.0] * 40)) is None
    assert partings.take(Seen(10, [0.5] * 40, [1.0] * 40)) is None
    found = partings.take(Seen(20, [0.9] * 40, [0.0] * 12 + [1.0] * 28))
    assert found is not None and found.is_alarm
    assert (found.best_step, found.fell, found.rose) == (10, 12, 0)
    assert found.p == pytest.approx(3 * 2**-12)  # of three pairs of looks
    assert "fell from 1 to 0.7" in str(found) and "from 0.5 to 0.9" in str(found)


def test_truth_and_proxy_that_fall_together_have_not_parted() -> None:
    best = Seen(0, [1.0] * 40, [1.0] * 40)
    assert parting(best, Seen(1, [0.9] * 40, [0.0] * 40)) is None
    assert parting(best, Seen(1, [None] * 40, [0.0] * 40)) is None
    assert parting(best, Seen(1, [1.0] * 40, [1.0] * 40)) is None


def alarms(
    seed: int, runs: int, accuracy: Callable[[int], float], *, churn: float, looks: int = 11
) -> float:
    """The share of runs with an alarm, of which 200 answers are right as ``accuracy`` says at each
    look, while the proxy always rises; a share ``churn`` of them is drawn anew from look to look.
    """
    draw, found = random.Random(seed), 0
    for _ in range(runs):
        right, tracked = [draw.random() < accuracy(0) for _ in range(200)], Partings(looks)
        partings = []
        for look in range(looks):
            now = accuracy(look)
            right = [(draw.random() < now) if draw.random() < churn else old for old in right]
            seen = Seen(look, [float(look)] * 200, list(map(float, right)))
            partings.append(tracked.take(seen))
        found += any(parting is not None and parting.is_alarm for parting in partings)
    return found / runs


@pytest.mark.parametrize("churn", [1.0, 0.3])
def test_a_truth_that_does_not_fall_gives_an_alarm_in_few_runs(churn: float) -> None:
    """The bar is the level over whole runs, whatever look was the best."""
    runs = 200
    most = LEVEL + 2 * math.sqrt(LEVEL * (1 - LEVEL) / runs)
    assert alarms(0, runs, lambda _: 0.6, churn=churn) <= most
    assert alarms(1, 50, lambda look: 0.5 + 0.02 * look, churn=churn) <= 0.05


def test_a_truth_that_falls_by_thirty_points_gives_one_in_nearly_all() -> None:
    assert alarms(2, 50, lambda look: 0.6 - 0.05 * max(0, look - 4), churn=0.5) >= 0.95


def test_the_doctor_calls_it_a_fall_where_the_alarm_does() -> None:
    assert MOST_BY_CHANCE == LEVEL
