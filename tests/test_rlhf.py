"""The stages before GRPO, the looks at a policy that over-optimises, and the tiny recipe from end
to end.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from llmpolicy.bundled import MODEL
from llmpolicy.errors import PolicyError, RecipeError, RunError
from llmpolicy.evaluation import LEVEL, Watch, preference
from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.publish.artefact import build
from llmpolicy.publish.choice import choose
from llmpolicy.recipe import load_recipe, make_recipe
from llmpolicy.report.plot import plot_curve
from llmpolicy.rewards import Rewards, RewardSpec
from llmpolicy.run import Run
from llmpolicy.session import train_recipe, train_stages
from llmpolicy.stages.evaluation import chooses, judges
from llmpolicy.stages.sft import warm_start
from llmpolicy.stages.trainers import stage_config
from llmpolicy.tasks import Row, load_demonstrations
from tests.training import policy, rows

SMALL = [
    "sft.max_steps=2", "reward_model.max_steps=2", "grpo.max_steps=2", "evaluate.n=40", "evaluate.every=1",
    "evaluate.samples=1", "grpo.per_device_train_batch_size=16", "demonstrations.args={n: 200}",
    "preferences.args={n: 100}",
]  # fmt: skip


def length(completion: str) -> float:
    return float(len(completion))


def watch(made: CausalLMPolicy, asked: Sequence[Row]) -> Watch:
    return Watch(
        made, asked, Rewards([RewardSpec(length)]), Rewards([RewardSpec(length)]), max_new_tokens=6
    )


def test_a_preference_counts_ties_half_and_leaves_out_what_was_not_judged() -> None:
    found = preference([1.0, 0.0, 0.5, None, 3.0], [0.0, 1.0, 0.5, 0.0, None])
    assert found is not None
    assert found.value == pytest.approx((1 + 0 + 0.5) / 3)
    assert preference([None], [1.0]) is None


def test_the_start_has_kl_zero_and_a_changed_policy_the_kl_that_a_sum_over_all_tokens_gives() -> (
    None
):
    made = policy(max_new_tokens=1)
    scored = Rewards([RewardSpec(length)])
    looking = Watch(made, rows() * 150, scored, scored, max_new_tokens=1)
    assert looking.look().kl == pytest.approx(0.0, abs=1e-6)
    before = made.distribution([row.prompt for row in rows()])
    head = made.model.lm_head.weight
    with torch.no_grad():
        head.add_(0.3 * torch.randn(head.shape, generator=torch.Generator().manual_seed(0)))
    after = made.distribution([row.prompt for row in rows()])
    exact = float(torch.distributions.kl_divergence(after, before).mean())
    assert exact > 0.2
    assert looking.look().kl == pytest.approx(exact, rel=0.2)


def test_a_look_is_deterministic_and_leaves_model_and_random_state_alone() -> None:
    made = policy()
    made.model.train()
    looking = watch(made, rows())
    state = torch.get_rng_state()
    assert looking.look() == looking.look()
    assert torch.equal(state, torch.get_rng_state())
    assert made.model.training


def test_the_halves_that_choose_and_judge_share_no_row() -> None:
    asked = rows() * 3
    both = [*chooses(asked), *judges(asked)]
    assert sorted(map(id, both)) == sorted(map(id, asked))


def test_the_warm_start_learns_the_replies_alone(tmp_path: Path) -> None:
    """The loss that is reported is the mean negative log-probability of the replies' tokens and of
    their end.
    """
    source = make_recipe(
        {"model": "bundled", "sft": {}, "demonstrations": {
            "rows": [{"prompt": f"{a}+11", "reply": f"{a}!"} for a in range(10, 60)]}}
    ).demonstrations  # fmt: skip
    assert source is not None
    found = load_demonstrations(source)
    made = CausalLMPolicy.load(str(MODEL))
    still = {
        "max_steps": 1,
        "learning_rate": 0.0,
        "per_device_train_batch_size": 8,
        "per_device_eval_batch_size": 50,
    }
    args = stage_config("sft", still, folder=tmp_path / "still", seed=0, target="cpu")
    report = warm_start(made, found[:10], found[10:], args, tmp_path / "still", {})
    end = made.tokenizer.eos_token_id
    replies = [[*ids, end] for ids in made.encode([row.reply for row in found[10:]])]
    log_prob, mask = made.log_prob([row.prompt for row in found[10:]], replies)
    assert report["held_out"]["loss"] == pytest.approx(
        -float(log_prob.detach().sum() / mask.sum()), rel=1e-4
    )

    learn = {"max_steps": 40, "learning_rate": 2e-3, "per_device_train_batch_size": 16}
    args = stage_config("sft", learn, folder=tmp_path / "learnt", seed=0, target="cpu")
    after = warm_start(made, found[:40], found[40:], args, tmp_path / "learnt", {})
    assert after["held_out"]["loss"] < 0.5 * report["held_out"]["loss"]
    again = CausalLMPolicy.load(str(tmp_path / "learnt"))
    asked = [row.prompt for row in found]
    assert [one.text for one in again.complete(asked, greedy=True)] == [
        one.text for one in made.complete(asked, greedy=True)
    ]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, list[str]]:
    """The tiny recipe in a few steps, and what it said."""
    said: list[str] = []
    run = train_recipe(
        "rlhf_tiny", SMALL, out=tmp_path_factory.mktemp("rlhf") / "run", say=said.append
    )
    return run, said


@pytest.mark.slow
def test_the_stages_lie_in_the_run_as_models_with_their_reports(
    small: tuple[Run, list[str]],
) -> None:
    run, _ = small
    report = json.loads((run.path / "reward_model" / "reward_model.json").read_text())
    assert report["held_out"]["n"] + report["train"]["n"] == 100
    assert (run.path / "reward_model" / "calibration.png").stat().st_size > 1_000
    assert (
        json.loads((run.path / "warm_start" / "warm_start.json").read_text())["held_out"]["loss"]
        > 0
    )
    assert run.recipe["model"]["path"] == "{run}/warm_start"
    assert run.recipe["rewards"][0]["args"]["model"] == "{run}/reward_model"
    assert run.recipe["sft"] is None


@pytest.mark.slow
def test_no_held_out_question_is_in_a_stage(small: tuple[Run, list[str]]) -> None:
    """What the demonstrations and pairs keep apart is what the evaluation asks."""
    from llmpolicy.tasks import load_pairs, load_tasks

    recipe = load_recipe("rlhf_tiny", SMALL)
    held = {row.question for row in load_tasks(recipe.task, None, seed=0, held_out=40).held_out}
    assert recipe.preferences is not None and recipe.demonstrations is not None
    everything = load_pairs(recipe.preferences).train
    kept = load_pairs(recipe.preferences, never=held)
    assert not held & {pair.question for pair in kept.train}
    assert len(kept.held_out) == sum(pair.question in held for pair in everything)
    run, said = small
    asked = [row.question in held for row in load_demonstrations(recipe.demonstrations)]
    assert (
        f"sft: {asked.count(False)} demonstrations, {asked.count(True)} of held-out questions kept"
        " apart" in said
    )


@pytest.mark.slow
def test_the_looks_the_best_step_and_the_curve_are_kept(small: tuple[Run, list[str]]) -> None:
    run, said = small
    looks = run.metrics("eval")
    assert [look["step"] for look in looks] == [0, 1, 2]
    assert looks[0]["kl"] == pytest.approx(0.0, abs=1e-6)
    best = max(looks, key=lambda look: look["accuracy"])
    assert run.manifest["best"]["accuracy"] == best["accuracy"]
    assert run.manifest["preference"]["n"] == 20
    assert (run.best_dir / "evaluation.json").is_file()
    assert run.curve_path.stat().st_size > 5_000
    assert plot_curve(run) == run.curve_path
    assert any("preferred to the start's" in line for line in said)


@pytest.mark.slow
def test_the_best_step_is_what_is_published_and_no_path_of_this_machine_goes_with_it(
    small: tuple[Run, list[str]], tmp_path: Path
) -> None:
    run, _ = small
    choice = choose(run)
    assert choice.source == run.best_dir
    build(run, choice, "user/name", tmp_path)
    written = [
        path.read_text() for path in tmp_path.iterdir() if path.suffix in (".md", ".yaml", ".json")
    ]
    assert not any(str(run.path.parent) in text for text in written)


@pytest.mark.slow
def test_a_finished_stage_is_used_again_and_another_recipe_makes_it_anew(
    small: tuple[Run, list[str]], tmp_path: Path
) -> None:
    said: list[str] = []
    for overrides in (SMALL, SMALL, [*SMALL, "sft.max_steps=1"]):
        assert (
            train_stages(
                load_recipe("rlhf_tiny", overrides), tmp_path, until="sft", say=said.append
            )
            is None
        )
    assert [line for line in said if "found in" in line] == [
        f"sft: found in {tmp_path / 'warm_start'}"
    ]
    run, _ = small
    with pytest.raises(RunError, match="already holds a run"):
        train_stages(load_recipe("rlhf_tiny", SMALL), run.path, say=said.append)
    with pytest.raises(RunError, match="its sft was made from another recipe"):
        train_stages(
            load_recipe("rlhf_tiny", [*SMALL, "seed=5"]), run.path, resume=True, say=said.append
        )


@pytest.mark.slow
def test_a_damaged_stage_is_kept_aside_and_made_anew_to_the_same_bytes(tmp_path: Path) -> None:
    said: list[str] = []
    train_stages(load_recipe("rlhf_tiny", SMALL), tmp_path, until="sft", say=said.append)
    weights = tmp_path / "warm_start" / "model.safetensors"
    before = weights.read_bytes()
    weights.write_bytes(before[:-8] + bytes(8))
    train_stages(load_recipe("rlhf_tiny", SMALL), tmp_path, until="sft", say=said.append)
    assert any(
        line.endswith("(model.safetensors is not what was written) and kept as broken-warm_start/")
        for line in said
    )
    assert weights.read_bytes() == before
    assert (tmp_path / "broken-warm_start" / "model.safetensors").is_file()


def test_an_adapter_that_could_not_be_merged_at_the_end_is_refused_before_the_first_step(
    tmp_path: Path,
) -> None:
    """Zamba's blocks share weights; what a warm start writes is merged."""
    from scripts.zoo import build as zoo
    from scripts.zoo import cases

    demonstrations = make_recipe(
        {"model": "bundled", "sft": {}, "demonstrations": {"rows": [{"prompt": "a", "reply": "b"}]}}
    ).demonstrations
    assert demonstrations is not None
    made = CausalLMPolicy(zoo.build(zoo.small("zamba")), cases.words(), lora={"r": 4})
    before = [p.detach().clone() for p in made.parameters()]
    args = stage_config(
        "sft", {"max_steps": 1, "learning_rate": 1.0}, folder=tmp_path / "sft", seed=0, target="cpu"
    )
    with pytest.raises(PolicyError, match="shared by several layers"):
        warm_start(made, load_demonstrations(demonstrations), [], args, tmp_path / "sft", {})
    assert all(torch.equal(p, value) for p, value in zip(made.parameters(), before, strict=True))


def test_an_unknown_stage_is_named() -> None:
    with pytest.raises(RecipeError, match="has no stage 'reward'; did you mean 'reward_model'?"):
        train_stages(load_recipe("rlhf_tiny"), Path("nowhere"), until="reward", say=lambda _: None)


@pytest.mark.slow
def test_the_reward_model_lifts_the_truth_and_then_ruins_it(tmp_path: Path) -> None:
    """The recipe with a faster policy: proxy up and truth down as KL grows, and the kept step is
    better than the start.
    """
    faster = [
        "grpo.learning_rate=1e-4",
        "grpo.max_steps=24",
        "grpo.beta=0",
        "evaluate.every=2",
        "evaluate.samples=1",
    ]
    said: list[str] = []
    run = train_recipe("rlhf_tiny", faster, out=tmp_path / "run", say=said.append)
    assert run.metrics("eval")[-1]["parted"] <= LEVEL
    assert sum(line.startswith("alarm: from step") for line in said) == 1
    assert not any("note: truth_falls" in line for line in said)
    report: dict[str, Any] = json.loads(
        (run.path / "reward_model" / "reward_model.json").read_text()
    )
    assert (
        report["held_out"]["accuracy"]["low"] > 0.9
    )  # it orders the pairs it knows, and is wrong beyond them
    looks = run.metrics("eval")
    first, last = looks[0], looks[-1]
    kept = next(look for look in looks if look["step"] == run.manifest["best"]["step"])
    assert first["kl"] < kept["kl"] < last["kl"]
    assert first["proxy"] < kept["proxy"] < last["proxy"]
    assert kept["truth"] > first["truth"] > last["truth"]
    found = run.manifest["preference"]
    assert found["best"]["low"] > 0.5 > found["last"]["high"], found
