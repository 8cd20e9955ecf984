"""What a recipe names in a file of its own: proved before a model loads, noted with its run."""

import os
import signal
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from llmpolicy.consent import code_of
from llmpolicy.errors import RecipeError, RunError
from llmpolicy.recipe import load_recipe, make_recipe, stages_of
from llmpolicy.run import Run
from llmpolicy.session import train, train_recipe
from llmpolicy.session.arguments import blocks_of, recipe_with
from llmpolicy.session.evaluate import evaluate_model, explain_recipe
from llmpolicy.session.training import train_requested
from llmpolicy.stages.process import go_on
from llmpolicy.stages.request import Request

MINE = """
import torch


def centred(scores):
    return scores - scores.mean()


def clipped(log_prob, old, advantage, mask):
    ratio = (log_prob - old).exp()
    return -torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)


def wrong(log_prob, old, advantage, mask):
    return log_prob * advantage
"""
WALK = '''
import numpy as np
import torch
from gymnasium.spaces import Discrete
from llmpolicy.types import Action


class Corridor:
    """Seven places; the right end pays 1."""

    observation_space = Discrete(7)
    action_space = Discrete(2)

    def reset(self, seed=None):
        self.place, self.steps = 3, 0
        return self.place, {}

    def step(self, action):
        self.place += 1 if action == 1 else -1
        self.steps += 1
        ended = self.place in (0, 6)
        return self.place, float(self.place == 6), ended, self.steps >= 30, {}


class Linear(torch.nn.Module):
    def __init__(self, environment, seed, scale=0.01):
        super().__init__()
        torch.manual_seed(seed)
        self.layer = torch.nn.Linear(environment.obs_dim, environment.n_actions)
        with torch.no_grad():
            self.layer.weight.mul_(scale)

    def distribution(self, states):
        return torch.distributions.Categorical(logits=self.layer(torch.stack(list(states))))

    def act(self, states, *, greedy=False, generator=None):
        pi = self.distribution(states)
        value = pi.mode if greedy else torch.multinomial(pi.probs, 1, generator=generator)[:, 0]
        ones = torch.ones(len(value), 1, dtype=torch.bool)
        return Action(value, pi.log_prob(value)[:, None], ones, ones[:, 0])

    def log_prob(self, states, actions):
        log_prob = self.distribution(states).log_prob(torch.as_tensor(actions))[:, None]
        return log_prob, torch.ones_like(log_prob, dtype=torch.bool)


class Mean(torch.nn.Module):
    """What all steps of an update earned on average."""

    def __init__(self, environment, gamma, seed):
        super().__init__()

    def weight(self, experience):
        totals = experience.rewards.sum(1, keepdim=True)
        return (totals - totals.mean()) * experience.mask

    def learn(self, experience):
        pass


class Fails:
    def __init__(self, environment, gamma, seed):
        {}["missing"]


class Silent(Linear):
    def log_prob(self, states, actions):
        log_prob, mask = super().log_prob(states, actions)
        return log_prob - 1, mask
'''
CORRIDOR = """
environment: {fn: walk.py:Corridor, count: 16}
policy: {fn: walk.py:Linear, args: {scale: 0.1}}
reinforce: {updates: 40, learning_rate: 0.1, baseline: "walk.py:Mean"}
evaluate: {episodes: 50}
"""
SHORT = ["grpo.max_steps=1", "grpo.per_device_train_batch_size=32", "evaluate=null"]
LOOP = {"updates": 1, "learning_rate": 0.1, "baseline": "time_step"}
OWN = ["advantage=mine.py:centred", "loss=mine.py:clipped"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "walk.py").write_text(WALK)
    (tmp_path / "corridor.yaml").write_text(CORRIDOR)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_an_advantage_and_a_loss_of_a_recipe_train_and_are_noted(here: Path) -> None:
    run = train_recipe("quickstart", [*SHORT, *OWN], out=here / "run")
    noted = {item["key"]: item for item in run.manifest["functions"]}
    assert {Path(item["file"]).name for item in noted.values()} == {"mine.py"}
    assert list(noted) == ["advantage", "loss"] and len(noted["loss"]["sha256"]) == 64
    assert run.recipe["loss"].endswith("mine.py:clipped")
    assert {code.key for code in code_of(run.recipe, None)} == {"advantage", "loss"}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["loss=mine.py:wrong"], "is a minus missing"),
        (["loss=mine.py:cliped"], "did you mean 'clipped'"),
        (["advantage=mine.py:clipped"], "failed: TypeError"),
    ],
)
def test_what_is_wrong_with_them_is_said_before_a_model_loads(
    here: Path, overrides: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("llmpolicy.policies.causal_lm.CausalLMPolicy.load", load)
    with pytest.raises(RecipeError, match=words):
        train_recipe("quickstart", [*SHORT, *overrides], out=here / "run")
    assert not (here / "run").exists()


@pytest.mark.parametrize(
    ("recipe", "overrides", "words"),
    [
        ("quickstart", ["loss=mine.py:clipped", "grpo.epsilon=0.3"], "grpo.epsilon belongs to TRL"),
        ("quickstart", ["loss=mine.py:clipped", "grpo.loss_type=sapo"], "expected dapo, grpo"),
        ("quickstart", ["advantage=mine.py:centred", "grpo.scale_rewards=none"], "scale_rewards"),
        ("cartpole", ["loss=mine.py:clipped"], "there is no grpo block"),
    ],
)
def test_what_they_replace_is_not_set_beside_them(
    here: Path, recipe: str, overrides: list[str], words: str
) -> None:
    with pytest.raises(RecipeError, match=words):
        stages_of(load_recipe(recipe, overrides))


def test_an_environment_a_policy_and_a_baseline_are_one_file(here: Path) -> None:
    run = train_recipe("corridor.yaml", [], out=here / "run")
    evaluation = run.evaluation()
    assert (
        evaluation["sampled_return"]["value"] > 0.9 > evaluation["base"]["sampled_return"]["value"]
    )
    noted = {item["key"] for item in run.manifest["functions"]}
    assert noted == {"environment.fn", "policy.fn", "reinforce.baseline"}
    assert {code.key for code in code_of(run.recipe, here)} == noted
    again = evaluate_model(str(here / "run"))
    assert again["sampled_return"] == evaluation["sampled_return"]


def test_such_a_run_goes_on_as_one_that_was_not_interrupted(here: Path) -> None:
    whole = train_recipe("corridor.yaml", ["reinforce.updates=6"], out=here / "whole")
    train_recipe("corridor.yaml", ["reinforce.updates=3"], out=here / "parts")
    parts = train_recipe("corridor.yaml", ["reinforce.updates=6"], out=here / "parts", resume=True)
    weights = [(run.policy_dir / "model.safetensors").read_bytes() for run in (whole, parts)]
    assert weights[0] == weights[1]
    (here / "walk.py").write_text(WALK.replace(">= 30", ">= 31"))
    with pytest.raises(RunError, match="other content of walk.py"):
        train_recipe("corridor.yaml", ["reinforce.updates=9"], out=here / "parts", resume=True)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["environment.fn=walk.py:Corider"], "did you mean 'Corridor'"),
        (["environment.fn=walk.py:Linear"], "environment.fn .* failed"),
        (
            ["environment.args.size=3"],
            "environment.fn .* of {'size': 3} failed: .*takes no arguments",
        ),
        (["environment.size=3"], "'size' beside fn"),
        (["environment.id=CartPole-v1"], "expected one of id"),
        (["policy.fn=null"], "args are those of fn"),
        (["policy.hidden=null"], "hidden is null"),
        (["policy.std=null"], "std is null"),
        (["reinforce.gamma=null"], "gamma is null"),
        (["reinforce.baseline=walk.py:Fails"], "'Fails' .* failed: KeyError"),
        (["policy.fn=walk.py:Mean"], "policy.fn .* failed"),
        (["policy.fn=walk.py:Silent"], "not the log_prob that policy.act drew it with"),
        (["policy.hidden=[3]"], "hidden and std are of the shipped policies"),
        (["reinforce.baseline=walk.py:Corridor"], "takes no arguments"),
        (["reinforce.baseline=valu"], "did you mean 'value'"),
    ],
)
def test_what_is_wrong_with_a_part_of_ones_own_is_one_sentence(
    here: Path, overrides: list[str], words: str
) -> None:
    with pytest.raises(RecipeError, match=words) as refused:
        train_recipe("corridor.yaml", overrides, out=here / "run")
    assert "\n" not in str(refused.value) and not (here / "run").exists()


def test_numbered_states_are_learnt_by_the_shipped_policy(here: Path) -> None:
    lake = ["environment.id=FrozenLake-v1", "environment.is_slippery=false", "environment.count=32"]
    loop = ["reinforce.updates=60", "reinforce.learning_rate=0.03", "reinforce.baseline=time_step"]
    (here / "lake.yaml").write_text("evaluate: {episodes: 20}\n")
    run = train_recipe("lake.yaml", [*lake, *loop], out=here / "run")
    assert run.evaluation()["return"]["value"] == 1.0


def held(scores: Any) -> Any:
    return scores


IN_MEMORY = {
    "advantage": {"advantage": lambda scores: scores},
    "loss": {"loss": partial(held)},
    "canonical": {"task": [{"file": "rows.jsonl", "canonical": lambda row: row}]},
    "baseline": {"reinforce": {**LOOP, "baseline": lambda *_: None}, "grpo": None},
}


@pytest.mark.parametrize("blocks", IN_MEMORY.values(), ids=IN_MEMORY.keys())
def test_a_run_with_a_function_of_a_session_goes_on_by_the_call(
    tmp_path: Path, blocks: dict[str, Any]
) -> None:
    data = {"model": "bundled", "task": {"file": "rows.jsonl"}, "rewards": ["exact:match"]}
    planned = make_recipe({**data, "grpo": {"max_steps": 1}, **blocks})
    run = Run.create(tmp_path / "run", planned.resolved())
    call = f"train(...), with the same arguments, out={str(run.path)!r} and resume=True"
    assert go_on(run).endswith(call)


def test_a_loop_with_parts_of_a_session_is_cut_short_and_goes_on(here: Path) -> None:
    class Slow(gymnasium.Wrapper):  # type: ignore[type-arg]
        def __init__(self) -> None:
            super().__init__(gymnasium.make("CartPole-v1"))

        def reset(self, **how: Any) -> Any:
            if len(played) == 8:
                os.kill(os.getpid(), signal.SIGTERM)
            played.append(1)
            return super().reset(**how)

    played: list[int] = []
    said: list[str] = []
    asked: dict[str, Any] = {"environment": {"fn": Slow, "count": 2}, "say": said.append}
    asked |= {"reinforce": {**LOOP, "updates": 9}, "evaluate": {"episodes": 2}, "out": here / "run"}
    with pytest.raises(SystemExit):
        train(**asked)
    out = str(here / "run")
    assert any(f"train(...), with the same arguments, out={out!r}" in line for line in said)
    assert train(**asked, resume=True).manifest["status"] == "finished"


def test_changes_that_were_accepted_of_a_loop_are_noted(here: Path) -> None:
    """Each time, and a start after it takes the file as it was accepted."""

    def go_on_to(updates: int, **how: Any) -> Run:
        asked = [f"reinforce.updates={updates}", "evaluate.episodes=2"]
        return train_recipe("corridor.yaml", asked, out=here / "run", **how)

    go_on_to(2)
    (here / "walk.py").write_text(WALK.replace(">= 30", ">= 31"))
    run = go_on_to(3, resume=True, accept_changes=True)
    (first,) = run.manifest["accepted_changes"]
    assert first["at_step"] == 2
    assert all(line.startswith("walk.py (of walk.py:") for line in first["changed"])
    assert "accepted_changes" in go_on_to(4, resume=True).manifest
    (here / "walk.py").write_text(WALK)
    with pytest.raises(RunError, match="other content of walk.py"):
        go_on_to(5, resume=True)
    noted = go_on_to(5, resume=True, accept_changes=True).manifest["accepted_changes"]
    assert [change["at_step"] for change in noted] == [2, 4]


def test_what_a_part_holds_and_cannot_be_compared_is_said(here: Path) -> None:
    class Locked:
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def __call__(self) -> Any:
            return gymnasium.make("CartPole-v1")

    asked = {"environment": {"fn": Locked(), "count": 2}, "reinforce": {**LOOP, "updates": 1}}
    planned, unknown = make_recipe(asked), "note: Locked holds _thread.lock, whose content is unkn"
    for how in ({"dry_run": True}, {}, {"dry_run": True, "resume": True}, {"resume": True}):
        said: list[str] = []
        now = planned
        if "resume" in how:
            now = make_recipe({**asked, "reinforce": {**LOOP, "updates": 2}})
        with suppress(SystemExit):
            train_requested(Request(now, here / "run", said.append, **how))
        assert [line for line in said if line.startswith(unknown)], how


def test_a_recipe_without_them_is_written_as_before_there_were_any() -> None:
    assert not {"advantage", "loss"} & set(load_recipe("quickstart").resolved())
    with_one = load_recipe("quickstart", ["loss=a:b"]).resolved()
    assert with_one["loss"] == "a:b" and "advantage" not in with_one


class Net:
    """What is a policy already: it has a log_prob."""

    def log_prob(self) -> None: ...
    def __call__(self) -> None: ...


POLICIES: dict[str, Any] = {
    "a text": "walk.py:Linear",
    "a path": Path("walk.py:Linear"),
    "a block": {"fn": Path("walk.py:Linear")},
}


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
def test_a_policy_is_named_by_its_function_alone(here: Path, policy: Any) -> None:
    block = blocks_of(None, None, None, {"policy": policy})
    loaded = recipe_with(load_recipe("cartpole"), block, None)
    assert loaded.resolved()["policy"] == {"fn": f"{here}/walk.py:Linear"}
    short = load_recipe("cartpole", ["policy=walk.py:Linear", "policy.args.scale=0.3"])
    assert short.policy is not None
    assert (short.policy.fn, short.policy.args) == (f"{here}/walk.py:Linear", {"scale": 0.3})


@pytest.mark.parametrize("policy", [Path("runs/one/policy"), "net", 3, ["a:b"], Net()])
def test_what_names_no_policy_is_one_sentence(here: Path, policy: Any) -> None:
    blocks = blocks_of(None, None, None, {"policy": policy})
    with pytest.raises(RecipeError, match="policy: expected a mapping .* or a function that makes"):
        recipe_with(load_recipe("cartpole"), blocks, None)


@pytest.mark.parametrize("key", ["reinforce", "environment", "policy", "grpo", "loss", "evaluate"])
def test_a_block_that_is_null_is_one_that_is_not_there(key: str) -> None:
    name = "quickstart" if key in ("grpo", "loss") else "cartpole"
    without = load_recipe(name).model_dump(exclude={key}, exclude_unset=True)

    def meant(data: dict[str, Any]) -> Any:
        try:
            return make_recipe(data).resolved()
        except RecipeError as error:
            return str(error)

    assert meant({**without, key: None}) == meant(without)


@pytest.mark.parametrize("kind", ["sft", "reward_model", "environment"])
def test_a_recipe_without_rewards_is_explained_without_any(here: Path, kind: str) -> None:
    texts = {
        "sft": "model: bundled\ndemonstrations: {file: no.jsonl}\nsft: {max_steps: 1}\n",
        "reward_model": "model: bundled\npreferences: {file: no.jsonl}\nreward_model: {}\n",
        "environment": CORRIDOR,
    }
    (here / "it.yaml").write_text(texts[kind])
    explained = explain_recipe(str(here / "it.yaml"), yes=True)
    assert (explained.reward, explained.grpo, explained.ways) == ((), None, {})
    assert "\nreward\n" not in str(explained)
