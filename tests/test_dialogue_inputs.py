"""What a new user may write of a conversation that cannot be meant: one sentence each, before
training where it can be known then, and else one dialogue's, not the run's.
"""

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from llmpolicy.environments.dialogue import Dialogues
from llmpolicy.errors import LLMPolicyError
from llmpolicy.rollout import rollout
from llmpolicy.session.evaluate import explain_recipe
from llmpolicy.session.play import play_recipe, replay_dialogue
from llmpolicy.session.training import train_recipe
from tests import talks, training

FILE = """
import random
import time
from llmpolicy.environments import Answer, Done

class Misspelt:
    def rset(self): return "1"
    def step(self, reply): return Done(1.0)

class Untyped:
    def reset(self): return "1"
    def add(self, a, b):
        "Add."

class Bare:
    def reset(self): return "1"
    def add(self, a: int) -> int: return a

class Tool:
    def reset(self): return "1"
    def add(self, a: int) -> int:
        "Add one."
        return a + 1
    def get_reward(self): return 1.0

class Calls:
    def reset(self, **row): return "1"
    def add(self, a: int) -> int:
        "Add one."
        return a + 1

class Sized:
    def __init__(self, size): self.size = size
    def reset(self): return "1"
    def step(self, reply): return Done(float(self.size))

class Unlicensed:
    def __init__(self): raise ValueError("no licence")
    def reset(self): return "1"

class Asking:
    def reset(self, secret): return "1"
    def step(self, reply): return Done(1.0)

class Pays:
    def reset(self, seed): return "1"
    def step(self, reply): return Done(float(len(reply)))
    def get_reward(self): return 0.0

class Slow:
    def reset(self, seed):
        self.draw = random.Random(seed)
        self.turns = 0
        return str(self.draw.randint(1, 99))
    def step(self, reply):
        time.sleep(0.1)
        self.turns += 1
        if self.turns == 3: return Done(float(len(reply)))
        return Answer(str(self.draw.randint(0, 9) + random.randint(0, 9)), reward=len(reply) / 2)
    def get_reward(self): return 0.5

class Fails:
    def reset(self, seed):
        if seed % 3 == 0: raise OSError("no server")
        return "1"
    def step(self, reply): return Done(float(len(reply)))

def add(a: int) -> int:
    "Add one."
    return a + 1

def one(completion):
    return 1.0
"""


def written(folder: Path, environment: Any, **blocks: Any) -> str:
    """A recipe file that talks with a class of FILE."""
    (folder / "envs.py").write_text(FILE)
    recipe = {
        "model": "bundled",
        "environment": environment,
        "evaluate": {"n": 4, "samples": 2},
        "grpo": {
            "max_steps": 1,
            "per_device_train_batch_size": 16,
            "num_generations": 4,
            "max_completion_length": 24,
        },
    }
    (folder / "talk.yaml").write_text(yaml.safe_dump({**recipe, **blocks}))
    return str(folder / "talk.yaml")


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ("envs.py:Misspelt", "has no reset; did you mean 'rset'"),
        ("envs.py:Untyped", "Tool 'add' has the parameter 'a' without a type"),
        ("envs.py:Bare", "Tool 'add' has no docstring"),
        ("envs.py:Unlicensed", "raised ValueError: no licence"),
        ("envs.py:pays", "did you mean 'Pays'"),
        ("envz.py:Pays", "did you mean 'envs.py'"),
        ("envs.py:add", "needs 'a'; write `args: {a: ...}`, or `tools:` where it is a tool"),
        ("envs.py:Sized", "'Sized' needs 'size'; write `args: {size: ...}`"),
        ({"fn": "envs.py:Sized", "args": {"sise": 1}}, "takes no 'sise'; did you mean 'size'"),
        ({"fn": "envs.py:Tool", "tools": ["envs.py:add"]}, "Two tools are named 'add'"),
        ({"fn": "envs.py:Pays", "turn": 3}, "did you mean 'turns'"),
        ({"tools": ["envs.py:add"]}, "pays nothing"),
        ("envs.py:Calls", "neither step nor get_reward, so that it pays nothing"),
        ("envs.py:Asking", "reset of environment 'envs.py:Asking' asks for 'secret', which row"),
    ],
)
def test_what_cannot_be_meant_is_said_before_training(
    tmp_path: Path, environment: Any, said: str
) -> None:
    with pytest.raises(LLMPolicyError) as refusal:
        train_recipe(written(tmp_path, environment), [], dry_run=True, out=tmp_path / "run")
    assert said in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("environment", "blocks", "said"),
    [
        ("envs.py:Calls", {}, "or `evaluate: {correct: module:function}`"),
        ({"tools": ["envs.py:add"]}, {"evaluate": None}, "tools alone begin no dialogue"),
    ],
)
def test_rewards_of_ones_own_do_not_hide_what_is_missing(
    tmp_path: Path, environment: Any, blocks: dict[str, Any], said: str
) -> None:
    recipe = written(tmp_path, environment, rewards=["envs.py:one"], **blocks)
    with pytest.raises(LLMPolicyError) as refusal:
        train_recipe(recipe, [], dry_run=True, out=tmp_path / "run")
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    ("loop", "block", "said"),
    [
        ({"horizon": 3}, {}, "a dialogue has environment.turns"),
        ({}, {"credit": "turn"}, "reinforce weighs turns by its baseline"),
    ],
)
def test_the_loop_refuses_what_has_no_meaning_in_dialogues(
    tmp_path: Path, loop: dict[str, Any], block: dict[str, Any], said: str
) -> None:
    settings = {"updates": 1, "learning_rate": 1e-3, "baseline": "group", **loop}
    recipe = written(
        tmp_path, {"fn": "envs.py:Pays", **block}, grpo=None, reinforce=settings, evaluate=None
    )
    with pytest.raises(LLMPolicyError) as refusal:
        train_recipe(recipe, [], dry_run=True, out=tmp_path / "run")
    assert said in str(refusal.value)


def test_an_evaluation_has_the_length_that_is_its_own(tmp_path: Path) -> None:
    recipe = written(tmp_path, {"fn": "envs.py:Pays", "turns": 1})
    run = train_recipe(recipe, ["evaluate.max_completion_length=1"], out=tmp_path / "run")
    assert run.evaluation()["mean_length"] == 1


def test_what_an_environment_is_and_what_ends_it_is_explained(tmp_path: Path) -> None:
    block = {"fn": "envs.py:Tool", "turns": 3, "reply": 5, "timeout": "2s", "tools_in": "prompt"}
    explained = explain_recipe(written(tmp_path, block), yes=True)
    words = str(explained)
    assert "environment: envs.py:Tool: reset, get_reward" in words
    assert "tools: add(a)" in words
    assert "at most 3 turns of at most 5 tokens each, 24 tokens in all" in words
    assert "a call of more than 2 s" in words
    assert explained.to_dict()["dialogue"] == list(explained.dialogue)


def test_a_row_whose_reset_fails_ends_neither_the_run_nor_its_evaluation(tmp_path: Path) -> None:
    run = train_recipe(written(tmp_path, "envs.py:Fails"), [], out=tmp_path / "run")
    assert run.manifest["status"] == "finished"
    line = f"{tmp_path / 'run' / 'faults.jsonl'}:1"
    assert "no server" in replay_dialogue(line, yes=True).split("now")[1]
    lines: list[str] = []
    play_recipe(str(tmp_path / "run"), n=1, yes=True, say=lines.append)
    assert lines[0].startswith("dialogue 1 of 1")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Endless", "which leaves no room for a reply in the model's context"),
        ("Speechless", "reset said nothing, and the row has no prompt"),
    ],
)
def test_a_beginning_that_cannot_be_is_not_judged(name: str, why: str) -> None:
    policy = talks.policy()
    rows = [replace(row, prompt="") for row in training.rows()[:1]]
    partner = talks.partner(policy, name, context=policy.context)
    here = Dialogues(partner, rows, [0])
    episode = rollout(policy, here, seed=0).episodes[0]
    assert episode.dialogue is not None and episode.dialogue.failed
    assert why in episode.dialogue.why
    assert not episode.turns[0].action


def test_a_run_of_dialogues_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    recipe = written(tmp_path, {"fn": "envs.py:Slow", "reply": 4}, evaluate=None)
    grpo = ["grpo.max_steps=6", "grpo.save_steps=1", "grpo.learning_rate=0.001"]
    straight, cut = tmp_path / "straight", tmp_path / "cut"
    train_recipe(recipe, grpo, out=straight)

    def stop() -> None:
        while not (cut / "checkpoints" / "checkpoint-2").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    with pytest.raises(BaseException) as stopped:
        train_recipe(recipe, grpo, out=cut)
    assert isinstance(stopped.value, SystemExit | KeyboardInterrupt)
    thread.join()
    assert not (cut / "checkpoints" / "checkpoint-6").exists()
    train_recipe(recipe, grpo, out=cut, resume=True)
    weights = "policy/model.safetensors"
    assert (straight / weights).read_bytes() == (cut / weights).read_bytes()
    rows = []
    for folder in (straight, cut):
        files = sorted((folder / "rollouts").glob("train-*.parquet"))
        assert len(files) == 6
        kept = [pq.read_table(file).drop_columns(["seconds"]) for file in files]
        rows.append([table.to_pylist() for table in kept])
    assert rows[0] == rows[1]
