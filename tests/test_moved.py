"""A run is what lies in its folder: moved or copied, with its project or alone, it is measured, published and goes on."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmpolicy.errors import LLMPolicyError, RecipeError
from llmpolicy.publish.artefact import build, choose
from llmpolicy.recipe import load_recipe
from llmpolicy.run import Run
from llmpolicy.run.files import write_text
from llmpolicy.session import train_recipe
from llmpolicy.session.evaluate import evaluate_model
from tests.test_session import recipe
from tests.test_stages import project

LORA = ("model.lora={r: 4}", "grpo.max_steps=2", "grpo.save_steps=1", "evaluate.every=1")
TIMED = ("time", "seconds", "runtime", "per_second")


def quietly(_: str) -> None:
    pass


def measured(run: Path) -> dict[str, Any]:
    return evaluate_model(str(run), None, [], say=quietly)


def published(run: Path, folder: Path) -> dict[str, str]:
    """What would be sent of a run, merged, with the sha256 of each file."""
    opened = Run.open(run)
    folder.mkdir()
    return {file.name: file.sha256 for file in build(opened, choose(opened, "merged"), "user/name", folder)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a run of both stages and two steps of an adapter on the warm start, in ``runs/one``."""
    folder = tmp_path_factory.mktemp("made")
    train_recipe(project(folder), LORA, out=folder / "runs/one", say=quietly)
    return folder


@pytest.fixture(scope="module")
def known(made: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is measured and published of the run where it was made."""
    run = made / "runs/one"
    return {"measured": measured(run), "published": published(run, tmp_path_factory.mktemp("out") / "sent")}


@pytest.fixture
def elsewhere(made: Path, tmp_path: Path) -> Path:
    """The project as it was made, under another name; where it was made nothing is left to read."""
    return Path(shutil.copytree(made, tmp_path / "deep/er/renamed"))


def spoil(run: Path) -> None:
    """Make what lies in a run useless for anybody else who reads it."""
    for name in ("warm_start", "reward_model"):
        for file in (run / name).glob("*.safetensors"):
            file.write_bytes(b"not this one")


def cut(run: Path) -> None:
    """As a kill after the first checkpoint leaves it."""
    for folder in ("policy", "checkpoints/checkpoint-2"):
        shutil.rmtree(run / folder)
    (run / "evaluation.json").unlink()
    shutil.rmtree(run / "rollouts")
    opened = Run.open(run)
    write_text(run / "metrics.jsonl", (run / "checkpoints/checkpoint-1/run/metrics.jsonl").read_text())
    opened.update_manifest(status="running")


def weights(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("*.safetensors")}


def untimed(metrics: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if not any(part in key for part in TIMED)} for line in metrics]


def test_a_copy_is_measured_and_published_as_it_was_and_reads_nothing_of_the_original(
    made: Path, known: Mapping[str, Any], tmp_path: Path
) -> None:
    original = Path(shutil.copytree(made, tmp_path / "original"))
    copy = Path(shutil.copytree(original, tmp_path / "copy"))
    spoil(original / "runs/one")
    assert measured(copy / "runs/one") == known["measured"]
    shutil.rmtree(original)
    assert measured(copy / "runs/one") == known["measured"]
    assert published(copy / "runs/one", tmp_path / "sent") == known["published"]
    alone = Path(shutil.move(copy / "runs/one", copy / "two"))  # beside its recipe, no more below a folder of runs
    with pytest.raises(LLMPolicyError):
        load_recipe(str(tmp_path / "original/runs/one/recipe.yaml"))
    assert measured(alone) == known["measured"]


def test_a_cut_run_goes_on_elsewhere_to_the_same_bytes(made: Path, elsewhere: Path) -> None:
    there, run = made / "runs/one", elsewhere / "runs/one"
    cut(run)
    train_recipe(str(run / "recipe.yaml"), (), out=run, resume=True, say=quietly)
    for folder in ("policy", "best"):
        assert weights(run / folder) == weights(there / folder) != {}
    assert untimed(Run.open(run).metrics()) == untimed(Run.open(there).metrics())
    assert Run.open(run).evaluation() == Run.open(there).evaluation()
    assert "recipe_changed" not in Run.open(run).manifest
    assert (run / "recipe.yaml").read_bytes() == (there / "recipe.yaml").read_bytes()


def test_the_recipe_in_a_checkpoint_and_the_one_it_began_with_go_on_elsewhere_too(made: Path, elsewhere: Path) -> None:
    run = elsewhere / "runs/one"
    (run / "recipe.yaml").write_text("name: anot")  # damaged: it comes back from the checkpoint
    train_recipe(str(elsewhere / "mine.yaml"), (*LORA, "grpo.max_steps=3"), out=run, resume=True, say=quietly)
    assert Run.open(run).manifest["steps"] == 3
    saved = run / "checkpoints/checkpoint-3/run/recipe.yaml"
    assert load_recipe(str(saved)).resolved() == load_recipe(str(run / "recipe.yaml")).resolved()
    path = load_recipe(str(saved)).model
    assert path is not None
    assert path.path == str(run / "warm_start")


def as_earlier(run: Path) -> None:
    """Write down what a run names as earlier versions did."""
    opened = Run.open(run)
    here, home = str(run.resolve()), f"{opened.manifest['base_dir']}/"
    text = (run / "recipe.yaml").read_text().replace("{run}", here)
    (run / "recipe.yaml").write_text(text)
    facts = json.loads(json.dumps(opened.manifest).replace("{run}", here))
    del facts["base_dir_from_run"]
    facts["recipe_hash"] = "of the whole paths"
    facts["files"] = [
        {**item, "file": item["file"].removeprefix(home)}
        for item in facts["files"]
        if item["for"] not in ("demonstrations", "preferences")
    ]
    from hashlib import sha256

    opened.manifest = facts
    opened.update_manifest(recipe_sha256=sha256(text.encode()).hexdigest())


@pytest.mark.parametrize("moves", [False, True])
def test_a_run_that_names_its_stages_by_where_they_lay_goes_on(
    made: Path, known: Mapping[str, Any], tmp_path: Path, moves: bool
) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "before"))
    # The run as an earlier version made it there.
    Run.open(folder / "runs/one").update_manifest(base_dir=str(folder.resolve()))
    as_earlier(folder / "runs/one")
    if moves:
        folder = Path(shutil.move(folder, tmp_path / "after"))
    run = folder / "runs/one"
    found = measured(run)
    assert {**found, "recipe_hash": None} == {**known["measured"], "recipe_hash": None}
    cut(run)
    train_recipe(str(run / "recipe.yaml"), (), out=run, resume=True, say=quietly)
    assert weights(run / "policy") == weights(made / "runs/one/policy")
    assert yaml.safe_load((run / "recipe.yaml").read_text())["model"]["path"] == "{run}/warm_start"
    assert not Run.open(run).manifest["recipe_changed"]


def test_another_run_from_the_recipe_of_one_starts_from_its_stages(made: Path, elsewhere: Path) -> None:
    """And names them in full: they are no part of it."""
    one, two = elsewhere / "runs/one", elsewhere / "two"
    run = train_recipe(str(one / "recipe.yaml"), ["grpo.max_steps=1", "evaluate=null"], out=two, say=quietly)
    assert run.recipe["model"]["path"] == str(one / "warm_start")
    assert run.manifest["weights"] == str(one / "warm_start")


@pytest.mark.parametrize("key", ["rewards.0.args={model: '{run}/rm'}", "task.file='{run}/rows.jsonl'"])
def test_what_stands_for_a_run_means_nothing_in_another_recipe(tmp_path: Path, key: str) -> None:
    with pytest.raises(RecipeError, match=r"begins with \{run\}, which stands for the folder of a run"):
        load_recipe(project(tmp_path), [key])


def test_a_column_called_run_is_no_folder(tmp_path: Path) -> None:
    path = recipe(tmp_path, task={"rows": [{"run": "1+1", "answer": "{run}/2"}], "prompt": "{run}/"}, evaluate=None)
    planned = load_recipe(path).within(tmp_path / "run")
    written = Run.create(tmp_path / "run", planned.resolved(), base_dir=str(tmp_path))
    again = load_recipe(str(written.path / "recipe.yaml")).task[0]
    assert again.prompt == "{run}/"
    assert again.rows == [{"run": "1+1", "answer": "{run}/2"}]
