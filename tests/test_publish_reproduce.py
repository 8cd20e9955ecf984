"""What is published makes the run again: the recipe and its sources go along, and what does not is
named.
"""

# ruff: noqa: F811 - fixtures
import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import ModelCard

from llmpolicy.environments.gymnasium import GymnasiumEnvironment
from llmpolicy.policies.categorical import CategoricalMLP
from llmpolicy.policies.mlp import load_mlp_policy
from llmpolicy.publish.artefact import build
from llmpolicy.publish.choice import choose
from llmpolicy.recipe import load_recipe
from llmpolicy.rollout import rollout
from llmpolicy.run import Run
from llmpolicy.run.sealed import content_digest
from tests.hub_client import NAME, ROOT, Client
from tests.hub_server import HubServer
from tests.test_publish import adapter, base, hub, log_probs, make_run, send, served  # noqa: F401

REWARD = "def right(completions, **columns):\n    return [1.0 for _ in completions]\n"


@pytest.fixture
def run(tmp_path: Path, base: Path, adapter: Path) -> Run:
    """A run of a recipe in a folder of its own, with a reward, a rule for equal questions and rows
    beside it.
    """
    home = tmp_path / "recipes"
    (home / "rewards").mkdir(parents=True)
    (home / "rewards" / "mine.py").write_text(REWARD)
    (home / "same.py").write_text("def same(row):\n    return row['question']\n")
    (home / "rows.jsonl").write_text('{"question": "1+1", "answer": "2"}\n')
    run = make_run(tmp_path / "run", base, adapter, hub_id="somebody/tiny-llama")
    task = {
        "file": "rows.jsonl",
        "canonical": f"{home}/same.py:same",
        "prompt": "{question}",
        "system": None,
    }
    run.recipe.update(
        task=[task], rewards=[{"fn": "rewards/mine.py:right", "weight": None, "args": {"x": None}}]
    )
    run.recipe.update(grpo={"max_steps": 3, "lr_scheduler_kwargs": None}, evaluate=None)
    files = [home / "rewards" / "mine.py", home / "same.py", home / "rows.jsonl"]
    recorded = [{"for": "x", "file": str(file), "sha256": content_digest(file)} for file in files]
    run.update_manifest(
        base_dir=str(home), base_dir_from_run="../recipes", files=recorded, rewards=[], tasks=[]
    )
    return run


def staged(run: Run, folder: Path) -> set[str]:
    folder.mkdir()
    return {file.name for file in build(run, choose(run), NAME, folder)}


def test_sources_of_the_recipe_lie_beside_it_and_rows_are_named(run: Run, tmp_path: Path) -> None:
    assert {"mine.py", "same.py"} <= staged(run, tmp_path / "out")
    assert "rows.jsonl" not in {path.name for path in (tmp_path / "out").iterdir()}
    assert (tmp_path / "out" / "mine.py").read_text() == REWARD
    text = (tmp_path / "out" / "recipe.yaml").read_text()
    recipe = load_recipe(tmp_path / "out" / "recipe.yaml")
    assert "null" not in text.replace("x: null", "").replace("lr_scheduler_kwargs: null", "")
    assert recipe.model is not None
    assert recipe.model.path == "somebody/tiny-llama"
    assert [(reward.fn, reward.args) for reward in recipe.rewards or ()] == [
        ("mine.py:right", {"x": None})
    ]
    assert (recipe.grpo or {})["lr_scheduler_kwargs"] is None
    assert (recipe.task[0].canonical, recipe.task[0].file) == ("same.py:same", "rows.jsonl")
    card = (tmp_path / "out" / "README.md").read_text()
    sha256 = content_digest(tmp_path / "recipes" / "rows.jsonl")
    assert f"Not published and needed beside the recipe: rows.jsonl (sha256 {sha256})." in card
    assert "The recipe runs code of mine.py, same.py, published here: read it first." in card


@pytest.mark.parametrize(
    "content",
    [REWARD + "# later\n", f"WHERE = '{Path.home()}/data/secret_project/rows'\n", "\udcff"],
    ids=["changed since", "tells of this machine", "no text"],
)
def test_a_source_that_is_not_for_others_is_named_instead(
    content: str, run: Run, tmp_path: Path
) -> None:
    source = tmp_path / "recipes" / "rewards" / "mine.py"
    source.write_text(content, errors="surrogateescape")
    if "later" not in content:
        files = [
            {**item, "sha256": content_digest(Path(item["file"]))} for item in run.manifest["files"]
        ]
        run.update_manifest(files=files)
    assert "mine.py" not in staged(run, tmp_path / "out")
    assert "needed beside the recipe: rows.jsonl" in (tmp_path / "out" / "README.md").read_text()
    assert (
        f"mine.py (sha256 {run.manifest['files'][0]['sha256']})"
        in (tmp_path / "out" / "README.md").read_text()
    )


def test_two_sources_of_one_name_are_never_mixed_up(run: Run, tmp_path: Path) -> None:
    (tmp_path / "recipes" / "mine.py").write_text("other = 1\n")
    extra = {
        "for": "x",
        "file": "mine.py",
        "sha256": content_digest(tmp_path / "recipes" / "mine.py"),
    }
    run.update_manifest(files=[*run.manifest["files"], extra])
    run.recipe["rewards"].append({"fn": "mine.py:other"})
    assert "mine.py" in staged(run, tmp_path / "out")
    assert "needed beside the recipe: rows.jsonl" in (tmp_path / "out" / "README.md").read_text()
    assert "mine.py (sha256" in (tmp_path / "out" / "README.md").read_text()


def test_a_small_policy_arrives_and_plays_as_its_card_says(
    hub: HubServer, send: Client, tmp_path: Path
) -> None:
    policy = CategoricalMLP(4, 2, hidden=[8], seed=3)
    run = Run.create(
        tmp_path / "run", {"name": "pole", "environment": {"id": "CartPole-v1"}, "reinforce": {}}
    )
    policy.save(run.policy_dir)
    (run.policy_dir / "optimizer.pt").write_bytes(b"x")
    for step in (1, 2):
        run.log(step, {"reward": 20.0 * step, "episode_length": 20.0 * step})
    measured = {"value": 40.5, "low": 38.0, "high": 43.0}
    run.write_evaluation(
        {
            "n": 100,
            "decoding": "greedy",
            "return": measured,
            "base": {"return": {**measured, "value": 9}},
        }
    )
    run.finish("finished", steps=2)
    _, _, files = send(run=run.path)
    assert set(files) == {
        "config.json", "model.safetensors", "README.md", "recipe.yaml", "evaluation.json", "llmpolicy_manifest.json",
    }  # fmt: skip
    send(download=tmp_path / "pole")
    there = load_mlp_policy(tmp_path / "pole")
    states, actions = torch.randn(7, 4), torch.tensor([0, 1, 1, 0, 1, 0, 0])
    assert there.log_prob(states, actions)[0].equal(policy.log_prob(states, actions)[0])
    text = (tmp_path / "pole" / "README.md").read_text()
    (result,) = ModelCard(text).data.eval_results
    assert (result.task_type, result.metric_type, result.metric_value) == (
        "reinforcement-learning",
        "mean_reward",
        40.5,
    )
    assert "| greedy return [95 % interval] | 9 [38, 43] | 40.5 [38, 43] |" in text
    code = text.split("```python\n")[1].split("```")[0]
    code = code.replace(f"snapshot_download({NAME!r})", repr(str(tmp_path / "pole")))
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, {})  # noqa: S102 - what a reader of the card does
    played = rollout(policy, GymnasiumEnvironment("CartPole-v1", count=1), greedy=True, seed=0)
    assert float(printed.getvalue()) == len(played.episodes[0].turns)  # a CartPole pays 1 a step


# All the way round

SMALL = (
    "grpo.max_steps=3", "grpo.per_device_train_batch_size=32", "evaluate.n=16", "evaluate.samples=1", "evaluate.every=2",
)  # fmt: skip
TIMES = ("time", "seconds", "step_time", "runtime", "per_second")


def figures(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [
        {key: value for key, value in line.items() if not any(word in key for word in TIMES)}
        for line in lines
    ]


@pytest.mark.slow
def test_the_commands_of_the_card_make_the_run_again(
    hub: HubServer, send: Client, tmp_path: Path
) -> None:
    """Trained, published, downloaded; then the recipe there gives the same figures, and the example
    of the card the same words.
    """

    def train(recipe: str, out: str, *more: str) -> None:
        command = [sys.executable, "-m", "llmpolicy", "train", recipe, "--out", out, *more]
        done = subprocess.run(command, cwd=tmp_path, env=None, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]

    train(str(ROOT / "recipes" / "quickstart.yaml"), "first", *SMALL)
    send(run=tmp_path / "first")
    send(download=tmp_path / "tiny")
    card = (tmp_path / "tiny" / "README.md").read_text()
    assert f"hf download {NAME} --local-dir tiny\nllmpolicy train tiny/recipe.yaml\n" in card
    train("tiny/recipe.yaml", "again")
    assert figures(tmp_path / "again") == figures(tmp_path / "first")
    assert yaml.safe_load((tmp_path / "tiny" / "recipe.yaml").read_text())["grpo"]["max_steps"] == 3
    from transformers import AutoModelForCausalLM

    local, there = (
        AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in ("first/policy", "tiny")
    )
    assert log_probs(there).equal(log_probs(local))
    code = (
        card.split("```python\n")[1]
        .split("```")[0]
        .replace(repr(NAME), repr(str(tmp_path / "tiny")))
    )
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, {})  # noqa: S102 - what a reader of the card does
    written = json.loads((tmp_path / "first" / "evaluation.json").read_text())["examples"][0]
    assert printed.getvalue().strip() == written["completion"]
    assert f"{written['prompt']!r}" in code
