"""What a run promises from its beginning to its end: which rows it uses, what it may go on with,
what is measured.
"""

import asyncio
import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from trl import GRPOConfig

from llmpolicy import train
from llmpolicy.errors import LLMPolicyError, RunError
from llmpolicy.plan import (
    completion_length,
    evaluated_length,
    loaded_weights,
)
from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.recipe import load_recipe, make_recipe
from llmpolicy.recipe.needs import TRACKERS
from llmpolicy.run import Run
from llmpolicy.session import train_recipe
from llmpolicy.session.evaluate import evaluate_model
from llmpolicy.stages.policy import build_policy, policy_at
from tests import training

ROWS = [
    {"question": f"{a}+{b}", "answer": str(a + b)} for a in range(10, 40) for b in range(10, 40)
]
LOOP = {"updates": 1, "learning_rate": 0.1, "baseline": "group"}
GRPO = {
    "max_steps": 1,
    "per_device_train_batch_size": 16,
    "num_generations": 4,
    "max_completion_length": 5,
    "learning_rate": 5e-4,
    "save_steps": 1,
    "use_cpu": True,
}
EVALUATE = {"correct": "exact:match", "n": 20, "samples": 2}


def recipe(folder: Path, **blocks: Any) -> str:
    """A recipe of one step for the bundled model; a block that is None is left out."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    data = {
        "model": "bundled", "task": {"file": "rows.jsonl", "prompt": "{question}"}, "rewards": ["exact:match"],
        "evaluate": EVALUATE, "grpo": GRPO, **blocks,
    }  # fmt: skip
    path = folder / "mine.yaml"
    path.write_text(
        yaml.safe_dump({key: value for key, value in data.items() if value is not None})
    )
    return str(path)


def run_of(folder: Path, *overrides: str, resume: bool = False, **blocks: Any) -> Run:
    return train_recipe(
        recipe(folder, **blocks), overrides, out=folder / "run", resume=resume, say=lambda _: None
    )


def refused(what: str, folder: Path, *overrides: str, **blocks: Any) -> None:
    with pytest.raises(LLMPolicyError, match=what):
        run_of(folder, *overrides, **blocks)


def test_two_trainings_in_threads_of_one_process_are_refused(tmp_path: Path) -> None:
    refused: list[Exception] = []

    def second() -> None:
        try:
            run_of(tmp_path / "second", evaluate=None)
        except RunError as error:
            refused.append(error)

    def say(line: str) -> None:
        if not refused:
            (tmp_path / "second").mkdir(exist_ok=True)
            thread = threading.Thread(target=second)
            thread.start()
            thread.join()

    (tmp_path / "first").mkdir()
    run = train_recipe(
        recipe(tmp_path / "first", evaluate=None), (), out=tmp_path / "first" / "run", say=say
    )
    assert run.manifest["status"] == "finished" and not (tmp_path / "second" / "run").exists()
    assert "another thread of this process trains or evaluates" in str(refused[0])


# the rows


def test_rows_that_are_left_after_dropping_long_prompts_must_make_one_generation(
    tmp_path: Path,
) -> None:
    long = [{**row, "question": row["question"] + "+0" * 30} for row in ROWS]
    rows = {"rows": [*long, *ROWS[:3]], "prompt": "{question}"}
    refused("nothing would be trained", tmp_path, "max_prompt_tokens=30", task=rows, evaluate=None)
    assert not (tmp_path / "run").exists()


def test_a_held_out_prompt_beyond_the_context_is_dropped_and_counted_before_training(
    tmp_path: Path, caplog: Any
) -> None:
    held_out = [
        {"question": "9+9" + "+0" * 1000, "answer": "18"},
        *[{**r, "question": r["question"] + "+0"} for r in ROWS[:5]],
    ]
    run = run_of(
        tmp_path, evaluate={**EVALUATE, "task": {"rows": held_out, "prompt": "{question}"}}
    )
    evaluation = run.evaluation()
    assert evaluation is not None
    assert evaluation["n"] == 5
    assert "1 of 6 held-out prompts above" in caplog.text


def test_the_manifest_names_the_file_and_hash_of_each_function_that_was_called(
    tmp_path: Path,
) -> None:
    source = (
        f"def make():\n    return {ROWS!r}\ndef right(completion, answer):\n    return completion"
        " == answer\n"
    )
    (tmp_path / "mine.py").write_text(source)
    run = run_of(
        tmp_path, task={"generator": "mine.py:make"}, rewards=["mine.py:right"], evaluate=None
    )
    digest = hashlib.sha256(source.encode()).hexdigest()
    assert run.manifest["tasks"] == [{"fn": "mine.py:make", "file": "mine.py", "sha256": digest}]
    assert (run.manifest["rewards"][0]["file"], run.manifest["rewards"][0]["sha256"]) == (
        "mine.py",
        digest,
    )


def test_a_row_without_the_answer_that_the_others_have_is_named_and_so_is_a_blank_question(
    tmp_path: Path,
) -> None:
    rows = [*ROWS[:7], {"question": "1+1"}, *ROWS[7:]]
    refused("row 7: answer is None, expected a gold answer", tmp_path, task={"rows": rows})
    blank = [{"question": "  ", "answer": "1"}, *ROWS]
    refused(
        "row 0: the question is blank",
        tmp_path,
        task={"rows": blank, "prompt": "What is {question}?"},
    )


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("grpo.learning_rate=-1.0", "grpo.learning_rate is -1.0; expected at least 0"),
        ("grpo.learning_rate=.nan", "grpo.learning_rate is nan; expected at least 0"),
        ("grpo.adam_beta1=2.0", "grpo.adam_beta1 is 2.0; expected at least 0 and below 1"),
        ("grpo.temperature=0", "grpo.temperature is 0; expected above 0"),
        ("model.lora.rr=4", "'rr' is no argument of LoraConfig"),
        ("grpo.report_to=wandbb", "no tracker 'wandbb'; did you mean 'wandb'"),
    ],
)
def test_a_dry_run_refuses_what_training_would_refuse(
    tmp_path: Path, override: str, sentence: str
) -> None:
    with pytest.raises(LLMPolicyError, match=sentence):
        train_recipe(recipe(tmp_path), [override], dry_run=True, say=lambda _: None)


def test_a_reward_that_judges_nothing_does_not_look_healthy(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def nothing(completion):\n    return None\n")
    said: list[str] = []
    path = recipe(tmp_path, rewards=["mine.py:nothing"], evaluate=None)
    train_recipe(path, (), out=tmp_path / "run", say=said.append)
    assert (
        "mine.py:nothing" in said.pop(0)
        and said[0] == "reward = mine.nothing"
        and "no part is named correctness" in said[1]
    )
    assert said[2] == "path: group"
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert (manifest["path"], manifest["ways"]["generation"]) == ("group", "groups")
    assert "signal in 0% of groups" in said[3]
    assert "the rewards judged no completion" in said[4]


# going on


def test_a_run_goes_on_with_more_steps_and_its_recipe_says_so(tmp_path: Path) -> None:
    first = run_of(tmp_path)
    run = run_of(tmp_path, "grpo.max_steps=2", resume=True)
    assert run.recipe["grpo"]["max_steps"] == 2
    assert (
        load_recipe(str(run.path / "recipe.yaml")).hash()
        == run.manifest["recipe_hash"]
        != first.manifest["recipe_hash"]
    )
    assert run.manifest["recipe_changed"] == ["grpo"]
    changed = run_of(tmp_path, "grpo.max_steps=3", "rewards.0.weight=2", resume=True)
    assert [reward["weight"] for reward in changed.manifest["rewards"]] == [2, None]
    refused("already at step 3 of 2", tmp_path, "grpo.max_steps=2", resume=True)
    assert Run.open(run.path).manifest["status"] == "finished"


@pytest.mark.parametrize(
    ("override", "key"),
    [("evaluate.n=40", "evaluate.n"), ("seed=3", "seed"), ("task.limit=300", "task.0.limit")],
)
def test_a_run_cannot_go_on_with_other_questions(tmp_path: Path, override: str, key: str) -> None:
    run_of(tmp_path)
    refused(
        f"cannot go on with another {key}: .* when it began, now ",
        tmp_path,
        "grpo.max_steps=2",
        override,
        resume=True,
    )


def test_a_failure_is_noted_and_the_directory_can_be_used_again(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text("def odd(completion):\n    return float('nan')\n")
    refused("odd", tmp_path, rewards=["odd.py:odd"])
    manifest = Run.open(tmp_path / "run").manifest
    assert manifest["status"] == "failed"
    assert "odd" in manifest["reason"]
    assert run_of(tmp_path).manifest["status"] == "finished"


# what is measured


def test_questions_that_a_run_was_trained_on_are_no_evidence(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    with pytest.raises(
        LLMPolicyError, match="20 of 40 held-out questions are also training questions"
    ):
        evaluate_model(str(run.path), None, ["evaluate.n=40"], say=lambda _: None)
    fewer = evaluate_model(str(run.path), None, ["evaluate.n=10"], say=lambda _: None)
    assert fewer["n"] == 10


def test_a_run_an_adapter_a_merged_model_and_the_base_are_measured_by_what_they_are(
    tmp_path: Path,
) -> None:
    model = {"path": "bundled", "lora": {"r": 4, "target_modules": "all-linear"}}
    settings = [
        "grpo.max_steps=3",
        "grpo.learning_rate=0.02",
        "grpo.per_device_train_batch_size=64",
    ]
    run = run_of(tmp_path, *settings, model=model)
    policy_at(run.policy_dir, load_recipe(str(run.path / "recipe.yaml"))).merge().save(
        tmp_path / "merged"
    )
    found = {
        name: evaluate_model(str(path), None if name == "run" else str(run.path / "recipe.yaml"), [], say=lambda _: None)
        for name, path in {
            "run": run.path, "adapter": run.policy_dir, "merged": tmp_path / "merged", "base": "bundled",
        }.items()
    }  # fmt: skip
    recorded = run.evaluation()
    assert recorded is not None
    assert recorded["accuracy"] != recorded["base"]["accuracy"]  # else the rest would say nothing
    for name in ("run", "adapter", "merged"):
        assert found[name]["accuracy"] == recorded["accuracy"]
        assert found[name]["base"]["accuracy"] == recorded["base"]["accuracy"]
    assert found["base"]["accuracy"] == recorded["base"]["accuracy"]
    assert found["base"]["paired_difference"]["value"] == 0.0


def test_what_is_not_there_is_not_measured_as_the_base(tmp_path: Path) -> None:
    path = recipe(tmp_path, model={"path": "bundled", "hub_id": "someone/base"})
    with pytest.raises(LLMPolicyError, match="no model at .*nowhere"):
        evaluate_model(str(tmp_path / "nowhere"), path, [], say=lambda _: None)
    run = Run.create(tmp_path / "stopped", load_recipe(path).resolved(), base_dir=str(tmp_path))
    run.finish("stopped")
    with pytest.raises(
        LLMPolicyError, match="has no policy to evaluate \\(the run's status: stopped\\)"
    ):
        evaluate_model(str(run.path), None, [], say=lambda _: None)


def test_what_a_recipe_says_of_its_model_is_not_said_of_another(tmp_path: Path) -> None:
    build_policy(load_recipe("quickstart")).save(tmp_path / "other")
    block = {"path": "bundled", "hub_id": "someone/base", "note": "not the Hub's weights"}
    policy = policy_at(tmp_path / "other", load_recipe(recipe(tmp_path, model=block)))
    assert (policy.hub_id, policy.revision, policy.note) == (None, None, None)


def test_policy_and_base_write_the_same_length_also_when_nobody_names_one(tmp_path: Path) -> None:
    unnamed = {key: value for key, value in GRPO.items() if key != "max_completion_length"}
    default = GRPOConfig.max_completion_length  # what the trainer writes when nobody says
    for block, length in (
        ({"grpo": unnamed}, default),
        (
            {"grpo": None, "reinforce": {**LOOP, "max_completion_length": 7}},
            7,
        ),
    ):
        made = load_recipe(recipe(tmp_path, **block))
        assert (
            completion_length(made)
            == evaluated_length(made)
            == build_policy(made).max_new_tokens
            == length
        )
    assert (
        evaluated_length(
            load_recipe(recipe(tmp_path, evaluate={**EVALUATE, "max_completion_length": 9}))
        )
        == 9
    )


def test_a_missing_folder_gives_way_to_its_hub_id_and_loses_its_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: dict[str, Any] = {}
    monkeypatch.setattr(CausalLMPolicy, "load", lambda path, **how: loaded.update(path=path, **how))
    block = {"path": "models/Small", "hub_id": "someone/Small", "note": "dequantised"}
    made = load_recipe(recipe(tmp_path, model=block))
    build_policy(made)
    assert (loaded["path"], loaded["note"], loaded_weights(made)) == (
        "someone/Small",
        None,
        "someone/Small",
    )
    (tmp_path / "models" / "Small").mkdir(parents=True)
    build_policy(made)
    folder = str((tmp_path / "models" / "Small").resolve())
    assert (loaded["note"], loaded_weights(made)) == ("dequantised", folder)


# from Python


def test_a_recipe_by_name_takes_the_other_arguments_as_changes(tmp_path: Path) -> None:
    path = recipe(tmp_path)
    run = train(path, grpo={"max_steps": 2}, seed=5, out=tmp_path / "run", say=lambda _: None)
    assert run.recipe["grpo"] == {**GRPO, "max_steps": 2}
    assert (run.recipe["seed"], run.recipe["task"][0]["file"]) == (5, "rows.jsonl")
    assert [line["step"] for line in run.metrics("train") if "reward" in line] == [1, 2]
    assert "train_runtime" in run.metrics("summary")[0]


def test_a_policy_given_from_python_keeps_its_temperature(tmp_path: Path) -> None:
    policy = CausalLMPolicy.load(load_recipe("quickstart") and bundled(), temperature=0.7)
    run = train(
        model=policy,
        task=ROWS,
        rewards=["exact:match"],
        grpo=GRPO,
        out=tmp_path / "run",
        say=lambda _: None,
    )
    assert run.recipe["grpo"]["temperature"] == policy.temperature == 0.7
    rows = list(run.rollouts())[:4]
    log_prob, mask = policy_of(0.7).log_prob(
        [prompt(row) for row in rows], [row["token_ids"] for row in rows]
    )
    kept = torch.tensor([value for row in rows for value in row["log_probs"]])
    torch.testing.assert_close(log_prob[mask].detach(), kept, atol=1e-4, rtol=0)


def test_it_trains_inside_a_running_event_loop_as_in_a_notebook(tmp_path: Path) -> None:
    def right(completion: str, answer: str) -> float:
        return float(completion.strip() == answer)

    async def cell() -> Run:
        return train(
            model="bundled", task=ROWS, rewards=[right], evaluate={**EVALUATE, "correct": right}, grpo=GRPO,
            out=tmp_path / "run", say=lambda _: None,
        )  # fmt: skip

    run = asyncio.run(cell())
    evaluation = run.evaluation()
    assert evaluation is not None
    assert evaluation["n"] == 20


def test_a_run_with_a_function_of_a_session_says_why_it_cannot_be_measured_from_outside(
    tmp_path: Path,
) -> None:
    run = run_of(tmp_path, evaluate=None)
    run.change_recipe({**run.recipe, "rewards": [{"fn": "__main__:correct"}]}, "changed")
    with pytest.raises(LLMPolicyError, match="function of the Python session .*FILE.py:NAME"):
        train_recipe(
            str(run.path / "recipe.yaml"),
            ["grpo.max_steps=2"],
            out=run.path,
            resume=True,
            say=print,
        )


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("tensorbord", "no tracker 'tensorbord'; did you mean 'tensorboard'"),
        ("mlflow", "needs the package mlflow, which is not installed"),
    ],
)
def test_a_tracker_that_is_not_there_is_named(tmp_path: Path, name: str, sentence: str) -> None:
    refused(sentence, tmp_path, grpo={**GRPO, "report_to": name})


def test_a_tracker_that_is_there_gets_the_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import TrainerCallback
    from transformers.integrations import integration_utils

    seen: list[dict[str, Any]] = []

    class Tracker(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            seen.append(logs)

    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "mlflow", Tracker)
    monkeypatch.setattr(integration_utils, "is_mlflow_available", lambda: True)
    monkeypatch.setattr(
        "llmpolicy.grpo.config.get_available_reporting_integrations", lambda: ["mlflow"]
    )
    monkeypatch.setitem(TRACKERS, "mlflow", ())  # as if its package were there
    run_of(tmp_path, grpo={**GRPO, "report_to": "mlflow"}, evaluate=None)
    assert "rewards/exact.match/mean" in seen[0]


def bundled() -> str:
    from llmpolicy.bundled import MODEL

    return str(MODEL)


def test_a_policy_that_was_made_in_memory_needs_no_place(tmp_path: Path) -> None:
    made = training.policy()
    assert not Path(made.name).exists()
    run = train(
        model=made,
        task=ROWS,
        rewards=["exact:match"],
        grpo=GRPO,
        out=tmp_path / "run",
        say=lambda _: None,
    )
    assert run.manifest["status"] == "finished"


def policy_of(temperature: float) -> CausalLMPolicy:
    return CausalLMPolicy.load(bundled(), temperature=temperature)


def prompt(row: dict[str, Any]) -> list[dict[str, str]]:
    return [{"role": "user", "content": ROWS[row["row"]]["question"]}]


def test_template_arguments_of_all_tasks_must_agree(tmp_path: Path) -> None:
    task = {"rows": ROWS[:40], "chat_template_kwargs": {"enable_thinking": False}}
    held_out = {"rows": ROWS[50:60]}
    refused(
        "differ in chat_template_kwargs",
        tmp_path,
        task=task,
        evaluate={**EVALUATE, "task": held_out},
    )
    with pytest.raises(LLMPolicyError, match="other chat_template_kwargs than the policy"):
        train(
            model=policy_of(1.0),
            task=task,
            rewards=["exact:match"],
            grpo=GRPO,
            out=tmp_path / "b",
            say=lambda _: None,
        )


def test_a_look_during_training_is_not_promised_where_there_is_none(tmp_path: Path) -> None:
    refused(
        "evaluate.every needs grpo",
        tmp_path,
        grpo=None,
        reinforce=LOOP,
        evaluate={**EVALUATE, "every": 5},
    )
    assert make_recipe(
        {"model": "bundled", "task": {"rows": ROWS}, "rewards": ["exact:match"], "reinforce": LOOP}
    )
