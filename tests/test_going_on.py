"""A run that goes on: with what it may, noted when it does; what it cannot is refused, and the run
stays as it was.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerCallback
from transformers.trainer import DEFAULT_CALLBACKS

from llmpolicy.errors import LLMPolicyError, RunError
from llmpolicy.recipe import load_recipe
from llmpolicy.run import Run, written_whole
from llmpolicy.session import train_recipe
from llmpolicy.stages.process import failing
from tests.test_reinforce import cartpole
from tests.test_session import GRPO, ROWS, run_of

LOOP = {
    "updates": 1,
    "learning_rate": 1e-3,
    "baseline": "group",
    "prompts": 2,
    "group_size": 4,
    "max_completion_length": 5,
}
BRIEF = {"evaluate": None, "grpo": {**GRPO, "learning_rate": 1e-3, "lr_scheduler_type": "constant"}}


def record(run: Run) -> dict[str, bytes]:
    """What a run says of itself."""
    return {
        name: (run.path / name).read_bytes()
        for name in ("recipe.yaml", "manifest.json", "grpo_config.json")
    }


def go_on(run: Run, *overrides: str) -> list[str]:
    """The command that a stopped run prints, with changes; what was said."""
    said: list[str] = []
    train_recipe(
        str(run.path / "recipe.yaml"), overrides, out=run.path, resume=True, say=said.append
    )
    return said


def refused(what: str, run: Run, *overrides: str) -> None:
    with pytest.raises(LLMPolicyError, match=what) as caught:
        go_on(run, *overrides)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe and a run of one step that came to its end."""
    folder = tmp_path_factory.mktemp("trained")
    run_of(folder, **BRIEF)
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Run:
    """A copy of it, in a folder of another name."""
    return Run.open(Path(shutil.copytree(trained, tmp_path / "renamed")) / "run")


def test_the_readable_loop_of_a_language_model_goes_on_and_then_is_done(tmp_path: Path) -> None:
    run = run_of(tmp_path, grpo=None, reinforce=LOOP, evaluate=None)
    refused("already at step 1 of 1; raise reinforce.updates", run)
    sentence = "another reinforce.learning_rate: 0.001 when it began, now 0.1; .*model.path="
    refused(sentence, run, "reinforce.learning_rate=0.1", "reinforce.updates=2")
    refused(
        "another reinforce.prompts: 2 when it began, now 4; its steps",
        run,
        "reinforce.prompts=4",
        "reinforce.updates=2",
    )
    go_on(run, "reinforce.updates=2")
    assert [line["step"] for line in Run.open(run.path).metrics("train")] == [1, 2]
    refused("already at step 2 of 2", run)


def test_more_epochs_are_trained(tmp_path: Path) -> None:
    grpo = {**GRPO, "lr_scheduler_type": "constant", "num_train_epochs": 1, "max_steps": -1}
    run = run_of(
        tmp_path, task={"rows": ROWS[:8], "prompt": "{question}"}, grpo=grpo, evaluate=None
    )
    assert run.manifest["steps"] == 2
    refused("already at step 2 of 2; raise grpo.num_train_epochs", run)
    go_on(run, "grpo.num_train_epochs=2")
    assert Run.open(run.path).manifest["steps"] == 4
    before = record(run)
    refused("already at step 4 of 2; raise grpo.num_train_epochs", run, "grpo.num_train_epochs=1")
    assert record(run) == before


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "grpo.learning_rate=0.1",
            (
                "another grpo.learning_rate: 0.001 when it began, now 0.1; the optimiser goes on as"
                " it was saved"
            ),
        ),
        ("grpo.weight_decay=0.5", "another grpo.weight_decay: 0.0 when it began, now 0.5"),
        ("grpo.adam_beta2=0.9", "another grpo.adam_beta2: 0.999 when it began, now 0.9"),
        (
            "grpo.lr_scheduler_type=linear",
            "grpo.lr_scheduler_type: 'constant' when it began, now 'linear'.*model.path=",
        ),
        ("model.lora.r=8", "another model.lora: None when it began, now {'r': 8}"),
        ("model.dtype=bfloat16", "another model.dtype: .* now 'bfloat16'"),
        (
            "grpo.per_device_train_batch_size=8",
            (
                "another grpo.per_device_train_batch_size: 16 when it began, now 8; its steps would"
                " have other prompts"
            ),
        ),
        (
            "grpo.gradient_accumulation_steps=2",
            "another grpo.gradient_accumulation_steps: 1 when it began, now 2",
        ),
        ("grpo.num_generations=8", "another grpo.num_generations: 4 when it began, now 8"),
        ("grpo.num_iterations=2", "another grpo.num_iterations: 1 when it began, now 2"),
        (
            "max_prompt_tokens=7",
            "another max_prompt_tokens: None when it began, now 7; start a new run for it",
        ),
        (
            "grpo.shuffle_dataset=false",
            "another grpo.shuffle_dataset: True when it began, now False",
        ),
        (
            "grpo.generation_batch_size=32",
            "another grpo.generation_batch_size: None when it began, now 32",
        ),
    ],
)
def test_what_the_checkpoint_holds_cannot_be_changed_and_a_refusal_changes_nothing(
    run: Run, override: str, sentence: str
) -> None:
    before = record(run)
    refused(sentence, run, override, "grpo.max_steps=2")
    assert record(run) == before


def test_smaller_passes_go_on_with_the_same_prompts_and_completions(
    run: Run, tmp_path: Path
) -> None:
    halved = Run.open(Path(shutil.copytree(run.path.parent, tmp_path / "halved")) / "run")
    go_on(run, "grpo.max_steps=3")
    smaller = ("grpo.per_device_train_batch_size=8", "grpo.gradient_accumulation_steps=2")
    go_on(halved, "grpo.max_steps=3", *smaller)
    whole, parts = (
        [(row["prompt"], row["completion"]) for row in it.rollouts("train")] for it in (run, halved)
    )
    assert len(whole) == 48 and parts == whole
    losses = [[line["grad_norm"] for line in it.metrics("train")] for it in (run, halved)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_a_run_that_is_only_finished_does_not_note_another_optimiser_either(run: Run) -> None:
    run.update_manifest(status="running")  # as a kill in the final evaluation leaves it
    refused(
        "another grpo.learning_rate: 0.001 when it began, now 0.1", run, "grpo.learning_rate=0.1"
    )


def test_a_run_that_could_not_go_on_is_as_it_was(run: Run) -> None:
    before = record(run)
    again = Run.resume(run.path)
    with pytest.raises(RunError, match="does not fit"), failing(again):
        raise RunError("the checkpoint does not fit")
    assert record(run) == before
    assert Run.resume(run.path).manifest["status"] == "running"


def test_what_lies_beyond_the_checkpoint_is_not_in_the_record(run: Run) -> None:
    for step in (1, 2, 3):
        run.log(step, {"reward": 9.0}, "eval")
        run.write_rollouts(step, [{"completion": "9"}])
    run.update_manifest(status="running")
    go_on(run, "grpo.max_steps=2")
    run = Run.open(run.path)
    assert [(line["step"], line["mode"]) for line in run.metrics() if line["mode"] != "summary"] == [
        (1, "train"), (1, "eval"), (2, "train"),
    ]  # fmt: skip
    assert sorted({row["step"] for row in run.rollouts()}) == [1, 2]


def test_a_renamed_project_is_known_by_its_new_name(run: Run) -> None:
    here = run.path.parent
    train_recipe(
        str(here / "mine.yaml"), ["grpo.max_steps=2"], out=run.path, resume=True, say=lambda _: None
    )
    assert load_recipe(str(run.path / "recipe.yaml")).base_dir == here.resolve()


def test_a_deleted_folder_is_made_again_and_a_file_in_its_place_is_said(run: Run) -> None:
    shutil.rmtree(run.path / "rollouts")
    (run.path / "rollouts").write_text("")
    refused("rollouts is a file, and a run makes a folder there; move it", run, "grpo.max_steps=2")
    (run.path / "rollouts").unlink()
    go_on(run, "grpo.max_steps=2")
    assert {row["step"] for row in run.rollouts()} == {2}


def test_a_run_that_ended_within_a_generation_says_that_more_steps_would_be_others(
    tmp_path: Path,
) -> None:
    grpo = {**BRIEF["grpo"], "steps_per_generation": 2, "per_device_train_batch_size": 8}
    run = run_of(tmp_path, evaluate=None, grpo=grpo)
    before = record(run)
    refused(
        "ended at step 1, within a generation of 2 steps whose rest is not kept.*model.path=",
        run,
        "grpo.max_steps=2",
    )
    assert record(run) == before


def test_a_longer_schedule_is_said_and_its_rate_is_that_of_the_next_step(tmp_path: Path) -> None:
    run = run_of(tmp_path, evaluate=None, grpo={**GRPO, "lr_scheduler_type": "linear"})
    rates: list[float] = []

    class Looks(TrainerCallback):
        def on_optimizer_step(self, *_: Any, **given: Any) -> None:
            rates.append(given["optimizer"].param_groups[0]["lr"])

    DEFAULT_CALLBACKS.append(Looks)
    try:
        said = go_on(run, "grpo.max_steps=2")
    finally:
        DEFAULT_CALLBACKS.remove(Looks)
    assert rates == [GRPO["learning_rate"] / 2]
    note = (
        "from here on the learning rate follows the linear schedule of 2 steps; up to step 1 it"
        " followed that of 1"
    )
    assert any(note in line for line in said)


def test_the_best_step_by_another_measure_is_kept_aside_and_chosen_anew(tmp_path: Path) -> None:
    evaluate = {"correct": "exact:match", "n": 8, "samples": 1, "every": 1}
    run = run_of(tmp_path, grpo=BRIEF["grpo"], evaluate=evaluate)
    with written_whole(run.best_dir, step=1, accuracy=1.0) as folder:
        (folder / "weights").write_text("")
    said = go_on(run, "grpo.max_steps=2", "evaluate.threshold=0.5")
    note = (
        "note: evaluate.threshold is another, by which no step was measured: best/ is kept as"
        " earlier-best/"
    )
    assert any(line.startswith(note) for line in said)
    assert (run.path / "earlier-best" / "weights").is_file()
    best = Run.open(run.path).best()
    assert best is not None
    assert best["step"] == 2
    assert Run.open(run.path).manifest["best"] == best


# a small policy in an environment


def test_an_environment_goes_on_with_what_it_may_and_its_recipe_says_so(tmp_path: Path) -> None:
    run = cartpole(tmp_path / "run")
    before = {name: (run.path / name).read_bytes() for name in ("recipe.yaml", "manifest.json")}
    for override, sentence in {
        "seed=3": "another seed: 0 when it began, now 3",
        "environment.count=5": "another environment.count: 4 when it began, now 5",
        "environment.id=Acrobot-v1": (
            "another environment.id: 'CartPole-v1' when it began, now 'Acrobot-v1'"
        ),
        "reinforce.learning_rate=0.5": (
            "another reinforce.learning_rate: 0.003 when it began, now 0.5"
        ),
    }.items():
        refused(sentence, run, override, "reinforce.updates=4")
    refused("already at step 3 of 3; raise reinforce.updates", run)
    assert {name: (run.path / name).read_bytes() for name in before} == before
    go_on(run, "reinforce.updates=4")
    again = Run.open(run.path)
    assert (again.recipe["reinforce"]["updates"], again.manifest["steps"]) == (4, 4)
    refused("already at step 4 of 4", run)
    shutil.rmtree(run.checkpoint_dir)
    run.checkpoint_dir.mkdir()
    refused("no checkpoint to go on from, only the policy of step 4", run, "reinforce.updates=5")
