"""A run is what lies in its folder: moved or copied, with its project or alone, it is measured,
published and goes on.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmpolicy.audit.show import replay
from llmpolicy.bundled import MODEL
from llmpolicy.errors import PolicyError, PublishError, RecipeError, RunError
from llmpolicy.plan import plan_recipe
from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.publish.artefact import build
from llmpolicy.publish.choice import choose
from llmpolicy.recipe import load_recipe
from llmpolicy.run import Run
from llmpolicy.run.files import write_text
from llmpolicy.session import train_recipe
from llmpolicy.session.evaluate import evaluate_model
from llmpolicy.stages.sources import refuse_changes, source_facts
from tests.test_session import recipe, run_of
from tests.test_stages import project

LORA = ("model.lora={r: 4}", "grpo.max_steps=2", "grpo.save_steps=1", "evaluate.every=1")
TIMED = ("time", "seconds", "runtime", "per_second")


def quietly(_: str) -> None:
    pass


def measured(run: Path) -> dict[str, Any]:
    return evaluate_model(str(run), None, [], say=quietly)


def figures(found: Any) -> Any:
    """An evaluation without the hash of the recipe, in which paths may be written in full."""
    if not isinstance(found, dict):
        return found
    return {key: figures(value) for key, value in found.items() if key != "recipe_hash"}


def published(run: Path, folder: Path) -> dict[str, str]:
    """What would be sent of a run, merged, with the sha256 of each file."""
    opened = Run.open(run)
    folder.mkdir()
    return {
        file.name: file.sha256
        for file in build(opened, choose(opened, "merged"), "user/name", folder)
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a run of both stages and two steps of an adapter on the warm start, in
    ``runs/one``.
    """
    folder = tmp_path_factory.mktemp("made")
    train_recipe(project(folder), LORA, out=folder / "runs/one", say=quietly)
    return folder


@pytest.fixture(scope="module")
def known(made: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is measured and published of the run where it was made."""
    run = made / "runs/one"
    return {
        "measured": measured(run),
        "published": published(run, tmp_path_factory.mktemp("out") / "sent"),
    }


@pytest.fixture
def elsewhere(made: Path, tmp_path: Path) -> Iterator[Path]:
    """The project as it was made, under another name; where it was made nothing is left to read."""
    copy, aside = Path(shutil.copytree(made, tmp_path / "deep/er/renamed")), made.with_name("aside")
    made.rename(aside)
    yield copy
    shutil.rmtree(made, ignore_errors=True)
    aside.rename(made)


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
    write_text(
        run / "metrics.jsonl", (run / "checkpoints/checkpoint-1/run/metrics.jsonl").read_text()
    )
    opened.update_manifest(status="running")


def weights(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("*.safetensors")}


def untimed(metrics: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in line.items() if not any(part in key for part in TIMED)}
        for line in metrics
    ]


def test_a_copy_is_measured_and_published_as_it_was_and_reads_nothing_of_the_original(
    made: Path, known: Mapping[str, Any], elsewhere: Path, tmp_path: Path
) -> None:
    run = elsewhere / "runs/one"
    shutil.copytree(elsewhere, made)  # the original lies there, spoilt
    spoil(made / "runs/one")
    assert measured(run) == known["measured"]
    shutil.rmtree(made)
    assert measured(run) == known["measured"]
    assert published(run, tmp_path / "sent") == known["published"]
    alone = Path(
        shutil.move(run, elsewhere / "two")
    )  # beside its recipe, no more below a folder of runs
    assert measured(alone) == known["measured"]


def test_a_cut_run_goes_on_elsewhere_to_the_same_bytes(made: Path, elsewhere: Path) -> None:
    there, run = made.with_name("aside") / "runs/one", elsewhere / "runs/one"
    cut(run)
    train_recipe(str(run / "recipe.yaml"), (), out=run, resume=True, say=quietly)
    for folder in ("policy", "best"):
        assert weights(run / folder) == weights(there / folder) != {}
    assert untimed(Run.open(run).metrics()) == untimed(Run.open(there).metrics())
    assert Run.open(run).evaluation() == Run.open(there).evaluation()
    assert "recipe_changed" not in Run.open(run).manifest
    assert (run / "recipe.yaml").read_bytes() == (there / "recipe.yaml").read_bytes()


def test_the_recipe_in_a_checkpoint_and_the_one_it_began_with_go_on_elsewhere_too(
    made: Path, elsewhere: Path
) -> None:
    run = elsewhere / "runs/one"
    (run / "recipe.yaml").write_text("name: anot")  # damaged: it comes back from the checkpoint
    train_recipe(
        str(elsewhere / "mine.yaml"), (*LORA, "grpo.max_steps=3"), out=run, resume=True, say=quietly
    )
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
    evaluation = measured(run)
    assert figures(evaluation) == figures(known["measured"])
    cut(run)
    train_recipe(str(run / "recipe.yaml"), (), out=run, resume=True, say=quietly)
    assert weights(run / "policy") == weights(made / "runs/one/policy")
    assert yaml.safe_load((run / "recipe.yaml").read_text())["model"]["path"] == "{run}/warm_start"
    assert not Run.open(run).manifest["recipe_changed"]


def test_another_run_from_the_recipe_of_one_starts_from_its_stages(
    made: Path, elsewhere: Path
) -> None:
    """And names them in full: they are no part of it."""
    original, copy = elsewhere / "runs/one", elsewhere / "two"
    run = train_recipe(
        str(original / "recipe.yaml"), ["grpo.max_steps=1", "evaluate=null"], out=copy, say=quietly
    )
    assert run.recipe["model"]["path"] == str(original / "warm_start")
    assert run.manifest["weights"] == str(original / "warm_start")


@pytest.mark.parametrize(
    "key", ["rewards.0.args={model: '{run}/rm'}", "task.file='{run}/rows.jsonl'"]
)
def test_what_stands_for_a_run_means_nothing_in_another_recipe(tmp_path: Path, key: str) -> None:
    with pytest.raises(
        RecipeError, match=r"begins with \{run\}, which stands for the folder of a run"
    ):
        load_recipe(project(tmp_path), [key])


def test_a_column_called_run_is_no_folder(tmp_path: Path) -> None:
    path = recipe(
        tmp_path,
        task={"rows": [{"run": "1+1", "answer": "{run}/2"}], "prompt": "{run}/"},
        evaluate=None,
    )
    planned = load_recipe(path).within(tmp_path / "run")
    written = Run.create(tmp_path / "run", planned.resolved(), base_dir=str(tmp_path))
    again = load_recipe(str(written.path / "recipe.yaml")).task[0]
    assert again.prompt == "{run}/"
    assert again.rows == [{"run": "1+1", "answer": "{run}/2"}]


REWARD = (
    "from pathlib import Path\ndef mine(completion, words):\n    return"
    " float(len(Path(words).read_text()))\n"
)


def test_what_was_given_in_full_moves_with_its_project(tmp_path: Path) -> None:
    """Also by the recipe that the run keeps, before it has gone on once; what is edited there is
    noticed.
    """
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    (before / "mine.py").write_text(REWARD)
    (before / "words.txt").write_text("some")
    fn = f"{{fn: {before}/mine.py:mine, args: {{words: {before}/words.txt}}}}"
    run = run_of(before, f"rewards=[{fn}]", f"task.file={before}/rows.jsonl", "grpo.max_steps=1")
    first = measured(run.path)
    before.rename(after)
    assert load_recipe(str(after / "run/recipe.yaml")).base_dir == after.resolve()
    assert figures(measured(after / "run")) == figures(first)
    (after / "words.txt").write_text("others")
    with pytest.raises(RunError, match="other content of words.txt"):
        measured(after / "run")
    (after / "words.txt").write_text("some")
    (after / "mine.py").write_text(f"{REWARD}\n")
    go_on: dict[str, Any] = {"out": after / "run", "resume": True, "say": quietly}
    with pytest.raises(RunError, match=r"other content of mine.py \(of mine.py:mine\)"):
        train_recipe(str(after / "run/recipe.yaml"), ["grpo.max_steps=2"], yes=True, **go_on)
    (after / "mine.py").write_text(REWARD)
    train_recipe(str(after / "run/recipe.yaml"), ["grpo.max_steps=2"], **go_on)
    assert Run.open(after / "run").manifest["base_dir_from_run"] == ".."
    assert Run.open(after / "run").manifest["recipe_changed"] == ["grpo"]


def test_what_a_moved_project_left_behind_is_read_there(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    (before / "data").mkdir(parents=True)
    path = recipe(before)
    (before / "rows.jsonl").rename(before / "data/rows.jsonl")
    run = train_recipe(
        path, [f"task.file={before}/data/rows.jsonl"], out=before / "run", say=quietly
    )
    first = measured(run.path)
    after.mkdir()
    for name in ("mine.yaml", "run"):
        shutil.move(before / name, after / name)
    assert figures(measured(after / "run")) == figures(first)
    shutil.move(before / "data", tmp_path / "data")
    train_recipe(
        str(after / "run/recipe.yaml"),
        [f"task.0.file={tmp_path}/data/rows.jsonl", "grpo.max_steps=2"],
        out=after / "run",
        resume=True,
        say=quietly,
    )


def test_a_run_that_leaves_its_project_still_reads_what_it_was_made_from(tmp_path: Path) -> None:
    """Although a file of the same name lies where the project would be."""
    home, away = tmp_path / "home", tmp_path / "other"
    home.mkdir()
    away.mkdir()
    run = run_of(home)
    before = measured(run.path)
    (away / "rows.jsonl").write_text('{"question": "1+1", "answer": "2"}\n')
    shutil.move(run.path, away / "run")
    assert load_recipe(str(away / "run/recipe.yaml")).base_dir == home.resolve()
    assert measured(away / "run") == before


def test_a_base_that_lies_in_no_folder_any_more_is_missed(tmp_path: Path) -> None:
    """The Hub may have one of its name."""
    CausalLMPolicy.load(MODEL).save(tmp_path / "base")
    planned = plan_recipe(load_recipe(recipe(tmp_path, model={"path": "base"})))
    run = Run.create(tmp_path / "run", {}, **source_facts(planned))
    now = source_facts(planned, weights=False)
    with pytest.raises(RunError, match="other content of .*model config.json"):
        refuse_changes(run, now, accept=False, say=quietly)
    assert refuse_changes(run, now, accept=False, say=quietly, weights=False) == []


def test_an_adapter_is_put_on_the_base_of_its_run_alone(
    made: Path, elsewhere: Path, tmp_path: Path
) -> None:
    """Another run's warm start has the same name."""
    run = elsewhere / "runs/one"
    copy = Path(shutil.copytree(run / "warm_start", tmp_path / "two/warm_start"))
    policy = CausalLMPolicy.load(copy)
    policy.model.lm_head.weight.data.mul_(1.01)
    shutil.rmtree(copy)
    policy.save(copy)
    overrides = [
        "model.lora=null",
        f"model.path={copy}",
        f"model.adapter={run / 'policy'}",
        "evaluate=null",
    ]
    with pytest.raises(
        PolicyError, match=r"was trained by the run .* on another base than .*warm_start"
    ):
        train_recipe(str(run / "recipe.yaml"), overrides, out=tmp_path / "new", say=quietly)
    with pytest.raises(PolicyError, match=r"on another base"):
        evaluate_model(
            str(run / "best"), str(run / "recipe.yaml"), [f"model.path={copy}"], say=quietly
        )
    shutil.rmtree(run / "warm_start")
    shutil.copytree(copy, run / "warm_start")
    with pytest.raises(PublishError, match=r"warm_start/.* is not what .* was trained on"):
        published(run, tmp_path / "sent")


def test_a_run_is_measured_by_the_recipe_that_it_began_with(
    elsewhere: Path, known: Mapping[str, Any]
) -> None:
    evaluation = evaluate_model(
        str(elsewhere / "runs/one"), str(elsewhere / "mine.yaml"), LORA, say=quietly
    )
    assert figures(evaluation) == figures(known["measured"])


def test_a_noted_fault_is_made_again_where_the_run_lies_now(tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.mkdir()
    (before / "mine.py").write_text(REWARD)
    run = Run.create(before / "run", {"name": "one"}, base_dir=str(before), base_dir_from_run="..")
    (run.path / "words.txt").write_text("some")
    call = {"fn": "mine.py:mine", "base_dir": str(before), "style": "single", "timeout": 9.0}
    call |= {"args": {"words": str(run.path / "words.txt")}, "chosen": {"completion": "a"}}
    fault = {"step": 1, "row": 0, "reward": "mine", "why": "", "completion": "a"}
    run.log_faults([{**fault, "call": call}])
    assert "now        4.0 in" in replay(f"{before / 'run/faults.jsonl'}:1", yes=True)
    before.rename(tmp_path / "after")
    # What the user let run there is known by its content, and not asked for again here.
    assert "now        4.0 in" in replay(f"{tmp_path / 'after/run/faults.jsonl'}:1")


def test_a_reward_model_is_named_from_the_folder_of_the_recipe(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever folder is the current one: what is scored is what is compared."""
    shutil.copytree(made / "runs/one/reward_model", tmp_path / "mine/rm")
    path = recipe(
        tmp_path / "mine",
        rewards=[{"fn": "reward_model:score", "style": "trl", "args": {"model": "rm"}}],
    )
    (tmp_path / "here/rm").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    run = train_recipe(path, (), out=tmp_path / "run", say=quietly)
    assert run.manifest["rewards"][0]["args"] == {"model": "rm"}
    assert {"reward_model:score's arguments"} < {item["for"] for item in run.manifest["files"]}
    assert all(row["reward/reward_model.score"] is not None for row in run.rollouts("train"))
