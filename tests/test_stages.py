"""The stages before GRPO are made from what lies there: compared by content, held by one process,
stopped with words.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest
import yaml

from llmpolicy.bundled import MODEL
from llmpolicy.bundled.hasty import demonstrations, pairs
from llmpolicy.errors import LLMPolicyError, RecipeError, RewardError, RunError
from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.recipe import load_recipe, stages_of
from llmpolicy.run import Run, fingerprint, is_live
from llmpolicy.run.place import REPORTS
from llmpolicy.run.sealed import seal
from llmpolicy.session import train_recipe, train_stages
from llmpolicy.session.evaluate import evaluate_model
from llmpolicy.signals import Interrupted
from llmpolicy.stages import reward_model, sft
from llmpolicy.stages.rest import rest_of
from tests.test_session import EVALUATE, GRPO

ONE_STEP = {"max_steps": 1, "per_device_train_batch_size": 8}
ROWS = [{"question": f"{a}+{b}", "answer": str(a + b)} for a in range(10, 30) for b in (11, 12)]


def lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def project(folder: Path, **blocks: Any) -> str:
    """A recipe of both stages and GRPO in a step each, with its data beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    lines(folder / "rows.jsonl", ROWS)
    lines(folder / "demos.jsonl", list(demonstrations(n=60)))
    lines(folder / "pairs.jsonl", list(pairs(n=40)))
    data = {
        "model": "bundled",
        "task": {"file": "rows.jsonl", "prompt": "{question}"},
        "demonstrations": {"file": "demos.jsonl", "prompt": "{question}"},
        "sft": ONE_STEP,
        "preferences": {"file": "pairs.jsonl", "prompt": "{question}"},
        "reward_model": ONE_STEP,
        "rewards": [{"fn": "reward_model:score", "style": "trl"}],
        "evaluate": {**EVALUATE, "n": 8},
        "grpo": {**GRPO, "max_steps": 1, "save_steps": 1},
        **blocks,
    }
    (folder / "mine.yaml").write_text(yaml.safe_dump(data))
    return str(folder / "mine.yaml")


def other_replies(folder: Path) -> None:
    lines(folder / "demos.jsonl", [{**row, "reply": "7"} for row in demonstrations(n=60)])


def other_rows(folder: Path) -> None:
    lines(folder / "rows.jsonl", [{**row, "question": f"{row['question']}+1"} for row in ROWS])


def other_weights(folder: Path) -> None:
    policy = CausalLMPolicy.load(str(folder / "base"))
    policy.model.lm_head.weight.data.mul_(1.01)
    policy.save(folder / "base")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (other_replies, "demonstrations"),
        (other_rows, "held-out questions"),
        (other_weights, "model"),
    ],
)
def test_a_stage_is_made_anew_when_the_content_it_was_made_from_is_another(
    tmp_path: Path, change: Callable[[Path], None], named: str
) -> None:
    CausalLMPolicy.load(str(MODEL)).save(tmp_path / "base")
    path, out, said = project(tmp_path, model={"path": "base"}), tmp_path / "run", list[str]()

    def until_sft() -> list[str]:
        said.clear()
        assert train_stages(load_recipe(path), out, until="sft", say=said.append) is None
        return said

    until_sft()
    assert until_sft() == [f"sft: found in {out / 'warm_start'}"]
    change(tmp_path)
    assert (
        until_sft()[0]
        == f"sft: {out / 'warm_start'} was made from other content of {named}, and is made anew"
    )
    assert until_sft() == [f"sft: found in {out / 'warm_start'}"]


def test_pairs_of_other_content_make_the_reward_model_alone_anew(tmp_path: Path) -> None:
    path, out, said = project(tmp_path), tmp_path / "run", list[str]()
    train_stages(load_recipe(path), out, until="reward_model", say=said.append)
    lines(tmp_path / "pairs.jsonl", list(pairs(n=39)))
    said.clear()
    train_stages(load_recipe(path), out, until="reward_model", say=said.append)
    assert said[:2] == [
        f"sft: found in {out / 'warm_start'}",
        (
            f"reward_model: {out / 'reward_model'} was made from other content of preferences, and"
            " is made anew"
        ),
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe of both stages and a run of one step in ``run``."""
    folder = tmp_path_factory.mktemp("made")
    train_recipe(project(folder), (), out=folder / "run", say=lambda _: None)
    return folder


@pytest.mark.parametrize(("change", "named"), [(other_replies, "sft"), (other_rows, "sft")])
def test_a_run_whose_stages_were_made_from_other_content_is_not_gone_on_with(
    made: Path, tmp_path: Path, change: Callable[[Path], None], named: str
) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "copy"))
    change(folder)
    with pytest.raises(RunError, match=f"its {named} was made from other content of"):
        train_recipe(
            str(folder / "mine.yaml"),
            ("grpo.max_steps=2",),
            out=folder / "run",
            resume=True,
            say=lambda _: None,
        )


def test_a_stage_of_an_earlier_version_goes_on_and_what_is_unknown_is_said(
    made: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "copy"))
    for report in REPORTS.values():
        file = folder / "run" / report
        content = json.loads(file.read_text())
        file.write_text(json.dumps({**content, "made_from": content["made_from"]["recipe"]}))
        seal(file.parent)
    said: list[str] = []
    rest = train_stages(
        load_recipe(str(folder / "mine.yaml")), folder / "run", resume=True, say=said.append
    )
    assert rest is not None
    assert (
        "note: sft was made by a version that noted no content; whether its data changed is unknown"
        in said
    )
    assert f"sft: found in {folder / 'run/warm_start'}" in said


def at_the_call(
    monkeypatch: pytest.MonkeyPatch, kind: ModuleType, name: str, act: Callable[[], None]
) -> None:
    """Do something at the beginning of a stage, which then goes on."""
    real = getattr(kind, name)

    def then(*args: Any, **kwargs: Any) -> Any:
        act()
        return real(*args, **kwargs)

    monkeypatch.setattr(kind, name, then)


def test_a_second_start_on_the_same_folder_is_refused_before_it_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out, errors = project(tmp_path), tmp_path / "run", list[str]()
    command = [
        sys.executable,
        "-m",
        "llmpolicy",
        "train",
        path,
        "--out",
        str(out),
        "--until",
        "sft",
    ]

    def start_again() -> None:
        done = subprocess.run(command, capture_output=True, text=True)
        errors.append(done.stderr + done.stdout)

    at_the_call(monkeypatch, sft, "warm_start", start_again)
    train_stages(load_recipe(path), out, until="sft", say=lambda _: None)
    assert "is being written by process" in " ".join(errors[0].split())
    assert "demonstrations," not in errors[0]
    assert not is_live(out)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_a_stage_says_what_is_kept_and_the_same_command_goes_on_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    path, out, said = project(tmp_path), tmp_path / "run", list[str]()
    with monkeypatch.context() as patch:
        at_the_call(patch, reward_model, "train_reward_model", lambda: os.kill(os.getpid(), number))
        with pytest.raises(
            Interrupted, match=r"stopped at once: warm_start/ is kept; .* with --out .*/run$"
        ) as caught:
            train_recipe(path, (), out=out, say=said.append)
    assert caught.value.number == number
    assert not is_live(out)
    with pytest.raises(
        RunError, match="has no checkpoint to go on from; give the same command without --resume"
    ):
        train_recipe(path, (), out=out, resume=True, say=said.append)
    said.clear()
    assert train_stages(load_recipe(path), out, until="reward_model", say=said.append) is None
    assert f"sft: found in {out / 'warm_start'}" in said
    assert (out / REPORTS["reward_model"]).is_file()


def test_a_recipe_that_is_refused_leaves_no_folder(tmp_path: Path) -> None:
    path = project(tmp_path)
    lines(tmp_path / "pairs.jsonl", [{"question": "1+1", "chosen": "2"}])
    with pytest.raises(Exception, match="no column 'rejected'"):
        train_recipe(path, (), out=tmp_path / "run", say=lambda _: None)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("rewards=[reward_model:scor]", "has no 'scor'; did you mean 'score'"),
        ("rewards.0.args={modell: a/b}", "takes no argument 'modell'; did you mean 'model'"),
        ("rewards.0.weight=0", "every reward has weight 0"),
        ("grpo.num_generations=7", "7"),
        ("grpo.optim=adamv", "adamv"),
        ("evaluate.correct=exact:matches", "has no 'matches'; did you mean 'match'"),
        ("task.prompt='{querstion}'", "querstion"),
        ("reward_model.lr_scheduler_type=linaer", "linaer"),
    ],
)
def test_what_the_recipe_alone_is_refused_for_is_refused_before_a_stage_trains(
    tmp_path: Path, override: str, sentence: str
) -> None:
    said: list[str] = []
    with pytest.raises(LLMPolicyError, match=sentence) as caught:
        train_recipe(project(tmp_path), [override], out=tmp_path / "run", say=said.append)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
    assert not said


def test_the_manifest_lists_what_the_stages_learnt_from_and_goes_on_listing_it(
    made: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "copy"))
    expected = [
        {"for": role, "file": name, "sha256": fingerprint(folder / name)["sha256"]}
        for role, name in (("demonstrations", "demos.jsonl"), ("preferences", "pairs.jsonl"))
    ]
    run = folder / "run"
    assert [item for item in Run.open(run).manifest["files"] if item in expected] == expected
    train_recipe(
        str(run / "recipe.yaml"), ["grpo.max_steps=2"], out=run, resume=True, say=lambda _: None
    )
    assert [item for item in Run.open(run).manifest["files"] if item in expected] == expected


def test_a_reward_model_that_is_not_what_was_written_is_refused_before_a_policy_loads(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it is named: by a run that is measured, and by a recipe without stages of its
    own.
    """
    folder = Path(shutil.copytree(made / "run" / "reward_model", tmp_path / "a" / "rm"))
    path = project(tmp_path, sft=None, demonstrations=None, reward_model=None, preferences=None)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8] + bytes(8))
    monkeypatch.setattr(CausalLMPolicy, "load", None)
    with pytest.raises(
        RewardError, match=r"rm is damaged \(model.safetensors is not what was written\)"
    ):
        train_recipe(
            path, [f"rewards.0.args={{model: {folder}}}"], out=tmp_path / "run", say=lambda _: None
        )
    assert not (tmp_path / "run").exists()
    run = Path(shutil.copytree(made, tmp_path / "copy")) / "run"
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    shutil.copytree(folder, run / "reward_model", dirs_exist_ok=True)
    recipe["rewards"][0]["args"]["model"] = str(run / "reward_model")
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    with pytest.raises(RewardError, match="reward_model is damaged"):
        evaluate_model(str(run), None, [], say=lambda _: None)


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(("name", "last"), [("quickstart", "grpo"), ("cartpole", "environment")])
def test_a_recipe_without_stages_before_it_says_so(
    tmp_path: Path, name: str, last: str, dry_run: bool
) -> None:
    with pytest.raises(RecipeError, match=f"no stage before {last}; expected a block sft or"):
        train_stages(load_recipe(name), tmp_path / "run", dry_run=dry_run, say=lambda _: None)
    with pytest.raises(RecipeError, match="has no stage 'sft'"):
        train_recipe(name, [], out=tmp_path / "run", until="sft", dry_run=dry_run)
    assert not (tmp_path / "run").exists()


def test_stages_are_planned_without_any_training(tmp_path: Path) -> None:
    said: list[str] = []
    rest = train_stages(
        load_recipe(project(tmp_path)), tmp_path / "run", dry_run=True, say=said.append
    )
    assert rest is not None and said[-1].startswith("dry run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("loss=mine.py:gone", "has no 'gone'"),
        ("grpo.fp16=true", "fp16"),
        ("rewards=[reward_model:scor]", "has no 'scor'"),
        ("reward_model.lr_scheduler_type=linaer", "reward_model: linaer"),
    ],
)
def test_a_first_stage_alone_is_not_begun_where_a_later_one_would_be_refused(
    tmp_path: Path, override: str, sentence: str
) -> None:
    path, said = project(tmp_path), list[str]()
    (tmp_path / "mine.py").write_text("")
    with pytest.raises(LLMPolicyError, match=sentence):
        train_recipe(path, [override], out=tmp_path / "run", until="sft", say=said.append)
    assert not any(line.startswith("sft") for line in said) and not (tmp_path / "run").exists()


def test_a_first_stage_alone_asks_for_no_sandbox_no_worker_and_no_later_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a sandbox was asked for")

    monkeypatch.setattr("llmpolicy.stages.language.require_sandbox", refuse)
    path, before = project(tmp_path), psutil.Process().children()
    (tmp_path / "pairs.jsonl").unlink()
    train_stages(load_recipe(path), tmp_path / "run", until="sft", say=lambda _: None)
    assert (tmp_path / "run" / REPORTS["sft"]).is_file()
    assert psutil.Process().children() == before


def test_what_is_left_of_stages_alone_is_a_recipe_that_measures(made: Path, tmp_path: Path) -> None:
    """Also a run, and the model that the stage has made, whose longest answer only it can say."""
    short = {**EVALUATE, "n": 8, "max_completion_length": 5}
    path = project(
        tmp_path, reward_model=None, preferences=None, evaluate=short, rewards=[], grpo=None
    )
    rest = rest_of(load_recipe(path), made / "run")
    assert [stage.name for stage in stages_of(rest)] == ["sft"]
    assert rest.language_model.path == str(made / "run/warm_start")
    for model in (made / "run", made / "run/warm_start"):
        found = evaluate_model(str(model), path, say=lambda _: None)
        assert found["decoding"]["max_new_tokens"] == 5
