"""The loop: its gradient is the policy gradient, its runs repeat, and it learns: control by an MLP,
text by a language model.
"""

import itertools
import signal
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch

from llmpolicy import tasks
from llmpolicy.baselines import GroupMean, LearnedValue, TimeStepMean
from llmpolicy.environments.base import Outcome
from llmpolicy.environments.build import build_environment
from llmpolicy.environments.prompts import PromptEnvironment
from llmpolicy.episode import Episode, Turn
from llmpolicy.errors import LLMPolicyError, RecipeError, RunError, TaskError
from llmpolicy.objectives import group_advantages, return_to_go
from llmpolicy.plan import Plan
from llmpolicy.policies import CategoricalMLP
from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.policies.mlp import build_mlp_policy, load_mlp_policy
from llmpolicy.recipe import (
    EnvironmentBlock,
    PolicyBlock,
    Recipe,
    Reinforce,
    load_recipe,
    make_recipe,
    stages_of,
)
from llmpolicy.reinforce import Settings, State, improve, reinforce, surrogate
from llmpolicy.returns import ReturnEvaluation, evaluate_returns, mean_return
from llmpolicy.rewards import Rewards, RewardSpec, reward
from llmpolicy.rollout import Rollout, rollout
from llmpolicy.run import Run
from llmpolicy.session.training import train_requested
from llmpolicy.stages.language import Loaded
from llmpolicy.stages.process import DRY_RUN, Say
from llmpolicy.stages.reinforce import check_settings, train
from llmpolicy.stages.request import Request
from llmpolicy.types import Action
from tests import models

RECIPES = Path(__file__).parent.parent / "recipes"


# --- what is kept of a rollout


class Countdown:
    """Episode n begins at n + 1 and counts down; at 0 it terminates, and after ``limit`` steps it
    is truncated.
    """

    obs_dim = 1

    def __init__(self, count: int, limit: int = 99) -> None:
        self.groups: Sequence[int] = range(count)
        self.limit, self.steps = limit, [0] * count

    def reset(self, seed: int) -> Sequence[torch.Tensor]:
        self.left = [float(n + 1) for n in self.groups]
        self.steps = [0] * len(self.groups)
        return self._states(self.groups)

    def step(self, rows: Sequence[int], action: Action) -> Outcome:
        assert len(action.value) == len(rows)
        for row in rows:
            self.left[row] -= 1
            self.steps[row] += 1
        rewards = [10.0 * row + self.steps[row] for row in rows]
        ended = [self.left[row] == 0 for row in rows]
        return Outcome(
            self._states(rows), rewards, ended, [self.steps[row] >= self.limit for row in rows]
        )

    def _states(self, rows: Sequence[int]) -> list[torch.Tensor]:
        return [torch.tensor([self.left[row]]) for row in rows]


def test_a_rollout_keeps_every_step_until_its_episode_ends() -> None:
    experience = rollout(CategoricalMLP(1, 2), Countdown(3), seed=0)
    assert experience.rewards.tolist() == [[1, 0, 0], [11, 12, 0], [21, 22, 23]]
    assert experience.mask.sum(1).tolist() == [1, 2, 3]
    assert [state.item() for state in experience.states] == [1, 2, 1, 3, 2, 1]
    assert [state.item() for state in experience.final_states] == [0, 0, 0]
    assert experience.terminated.all()
    assert [episode.total for episode in experience.episodes] == [1, 23, 66]
    assert [episode.group for episode in experience.episodes] == [0, 1, 2]


@pytest.mark.parametrize(("limit", "horizon"), [(2, None), (99, 2)])
def test_an_episode_is_truncated_by_its_environment_or_by_the_horizon(
    limit: int, horizon: int | None
) -> None:
    experience = rollout(CategoricalMLP(1, 2), Countdown(3, limit), seed=0, horizon=horizon)
    last = [(episode.terminated, episode.truncated) for episode in experience.episodes]
    assert last == [(True, False), (True, False), (False, True)]
    assert experience.terminated.tolist() == [True, True, False]
    assert [state.item() for state in experience.final_states] == [0, 0, 1]


# --- baselines, against brute force


def test_the_time_step_baseline_is_the_mean_of_the_episodes_that_still_run() -> None:
    experience = rollout(CategoricalMLP(1, 2), Countdown(3), seed=0)
    found = TimeStepMean(Countdown(3), 0.5, 0).weight(experience)
    returns = [[1.0], [11 + 6.0, 12.0], [21 + 11 + 23 / 4, 22 + 11.5, 23.0]]
    for t in range(3):
        running = [row[t] for row in returns if len(row) > t]
        for n, row in enumerate(returns):
            expected = row[t] - sum(running) / len(running) if len(row) > t else 0.0
            assert found[n, t].item() == pytest.approx(expected)


@pytest.mark.parametrize("baseline", [TimeStepMean, GroupMean])
def test_an_episode_that_cannot_be_judged_weighs_nothing(
    baseline: type[TimeStepMean | GroupMean],
) -> None:
    environment = Countdown(3)
    environment.groups = [0, 0, 0]
    rewards = [1.0, float("nan"), 2.0]
    episodes = [Episode([Turn(None, None)], rewards=[reward]) for reward in rewards]
    found = baseline(environment, 1.0, 0).weight(Rollout(episodes)).squeeze(1)
    assert found[1] == 0
    assert found[0] < 0 < found[2]
    assert found.sum().item() == pytest.approx(0.0, abs=1e-6)


def test_the_value_of_the_final_state_is_added_only_where_an_episode_was_cut_off() -> None:
    baseline = LearnedValue(Countdown(3), 0.5, seed=0)
    torch.nn.init.ones_(baseline.network[-1].bias)  # else V(0) = 0, as if nothing were added
    experience = rollout(CategoricalMLP(1, 2), Countdown(3), seed=0, horizon=2)
    value = baseline(torch.tensor([[1.0]])).item()  # the third episode was cut off at 1
    expected = [1.0, 0.0], [11 + 6.0, 12.0], [21 + 0.5 * (22 + 0.5 * value), 22 + 0.5 * value]
    assert torch.allclose(baseline.returns(experience), torch.tensor(expected))
    here = [[1.0], [2.0, 1.0], [3.0, 2.0]]
    for n, row in enumerate(here):
        for t, state in enumerate(row):
            weight = expected[n][t] - baseline(torch.tensor([[state]])).item()
            assert baseline.weight(experience)[n, t].item() == pytest.approx(weight, abs=1e-4)


def test_the_value_baseline_learns_what_is_earned() -> None:
    baseline = LearnedValue(Countdown(3), 0.5, seed=0)
    experience = rollout(CategoricalMLP(1, 2), Countdown(3), seed=0)
    before = baseline.weight(experience).square().sum()
    for _ in range(30):
        baseline.learn(experience)
    assert baseline.weight(experience).square().sum() < before / 4


def test_the_group_baseline_is_that_of_grpo() -> None:
    episodes = [
        Episode([Turn(None, None)], n // 2, rewards=[reward])
        for n, reward in enumerate([1.0, 3.0, 5.0, 5.0])
    ]
    environment = Countdown(4)
    environment.groups = [0, 0, 1, 1]
    found = GroupMean(environment, 1.0, 0).weight(Rollout(episodes))
    assert torch.equal(found, group_advantages(torch.tensor([[1.0, 3.0], [5.0, 5.0]])).view(4, 1))


@pytest.mark.parametrize("groups", [[0, 0, 1], [0, 1, 0, 1]])
def test_the_group_baseline_refuses_uneven_or_scattered_groups(groups: list[int]) -> None:
    environment = Countdown(len(groups))
    environment.groups = groups
    with pytest.raises(RecipeError, match="expected equal sizes, group by group"):
        GroupMean(environment, 1.0, 0)


# --- the gradient, against exact enumeration

HORIZON = 3


def transition(state: int, action: int) -> tuple[int, float, bool]:
    """A world of two states: action 1 changes the state, and pays in state 0; action 0 in state 1
    may end it all.
    """
    if state == 1 and action == 0:
        return state, 2.0, True
    return (1 - state if action else state), (1.5 if state == 0 and action else -0.25), False


def one_hot(state: int) -> torch.Tensor:
    return torch.eye(2, dtype=torch.float64)[state]


def trajectories() -> list[Rollout]:
    """Every episode that can happen from state 0, each as a rollout of its own."""
    found: list[Rollout] = []
    for actions in itertools.product((0, 1), repeat=HORIZON):
        state, turns, rewards = 0, list[Turn](), list[float]()
        for t, action in enumerate(actions):
            after, reward, ended = transition(state, action)
            cut = t + 1 == HORIZON and not ended
            turns.append(Turn(one_hot(state), torch.tensor(action), None, ended, cut))
            rewards.append(reward)
            state = after
            if ended:
                break
        # Episodes that end early are met once for each way their unused actions could be filled in.
        if not any(actions[len(turns) :]):
            found.append(Rollout([Episode(turns, rewards=rewards, final=one_hot(state))]))
    return found


def expected_surrogate(policy: CategoricalMLP, offset: float) -> torch.Tensor:
    """E[∇surrogate] over all episodes as an expression to differentiate; ``offset`` (per time step)
    is a baseline.
    """
    total = torch.zeros((), dtype=torch.float64)
    for experience in trajectories():
        probability = policy.log_prob(experience.states, experience.actions)[0].sum().exp()
        returns = return_to_go(experience.rewards.double(), experience.mask, 1.0)
        weight = returns - offset * torch.arange(1, returns.shape[1] + 1)
        total = total + probability.detach() * surrogate(policy, experience.weighed(weight))
    return total


def gradient(policy: CategoricalMLP, objective: torch.Tensor) -> torch.Tensor:
    return torch.cat(
        [found.flatten() for found in torch.autograd.grad(objective, list(policy.parameters()))]
    )


@pytest.mark.parametrize("offset", [0.0, 3.0, -7.0])
def test_the_expected_gradient_is_that_of_the_expected_return_whatever_the_baseline(
    offset: float,
) -> None:
    policy = CategoricalMLP(2, 2, hidden=(3,), seed=4).double()
    with torch.no_grad():
        policy.logits[-1].weight.mul_(100)
    probabilities = [policy.log_prob(e.states, e.actions)[0].sum().exp() for e in trajectories()]
    assert sum(probabilities).item() == pytest.approx(1.0, abs=1e-12)  # type: ignore[union-attr]
    mean = sum(p * e.episodes[0].total for p, e in zip(probabilities, trajectories(), strict=True))
    exact = gradient(policy, torch.as_tensor(mean))
    assert exact.norm() > 0.1
    assert torch.allclose(gradient(policy, expected_surrogate(policy, offset)), -exact, atol=1e-12)


# --- the same seed, the same run

CARTPOLE = EnvironmentBlock(id="CartPole-v1", count=4)
BRIEF = Settings(updates=3, learning_rate=1e-2, baseline="time_step")
VALUED = Settings(updates=3, learning_rate=1e-2, baseline="value", gamma=0.9, horizon=10)


def short_run(
    settings: Settings, seed: int, **options: Any
) -> tuple[CategoricalMLP, list[dict[str, float]]]:
    environment = build_environment(CARTPOLE)
    policy = build_mlp_policy(PolicyBlock(hidden=[8]), environment, seed)
    metrics = reinforce(policy, environment, settings, seed=seed, **options).metrics
    assert isinstance(policy, CategoricalMLP)
    return policy, [
        {key: value for key, value in line.items() if key != "seconds"} for line in metrics
    ]


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    return all(
        torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )


@pytest.mark.parametrize("settings", [BRIEF, VALUED])
def test_the_same_seed_gives_the_same_run(settings: Settings) -> None:
    first, again, other = (short_run(settings, seed) for seed in (0, 0, 1))
    assert first[1] == again[1] != other[1]
    assert same(first[0], again[0])
    assert not same(first[0], other[0])


def test_every_update_plays_episodes_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    environment, seeds = build_environment(CARTPOLE), list[int]()
    begin = environment.reset
    monkeypatch.setattr(environment, "reset", lambda seed: [seeds.append(seed), begin(seed)][1])
    for seed in (0, 1):
        reinforce(build_mlp_policy(PolicyBlock(), environment), environment, BRIEF, seed=seed)
    assert len(seeds) == len(set(seeds)) == 2 * BRIEF.updates


@pytest.mark.parametrize("settings", [BRIEF, VALUED])
def test_a_run_goes_on_as_if_it_had_never_stopped(settings: Settings, tmp_path: Path) -> None:
    whole, metrics = short_run(settings, 0)
    environment = build_environment(CARTPOLE)
    policy = build_mlp_policy(PolicyBlock(hidden=[8]), environment, 0)
    stopped = reinforce(
        policy, environment, settings, seed=0, on_update=lambda update, _: update == 2
    )
    assert (stopped.state.update, stopped.stopped) == (2, "asked to")
    policy.save(tmp_path)
    stopped.state.save(tmp_path)
    read = load_mlp_policy(tmp_path)
    state = State.begin(read, environment, settings, seed=99).load(tmp_path)
    rest = reinforce(read, environment, settings, seed=0, state=state)
    assert rest.state.update == settings.updates
    assert [{**line, "seconds": 0} for line in rest.metrics] == [{**metrics[2], "seconds": 0}]
    assert same(whole, read)


def test_a_folder_without_a_state_is_refused(tmp_path: Path) -> None:
    environment = build_environment(CARTPOLE)
    policy = build_mlp_policy(PolicyBlock(), environment)
    with pytest.raises(RunError, match="holds no state to go on from"):
        State.begin(policy, environment, BRIEF).load(tmp_path)


def test_the_time_limit_ends_a_run_after_the_update_it_is_in() -> None:
    environment = build_environment(CARTPOLE)
    trained = reinforce(
        build_mlp_policy(PolicyBlock(), environment), environment, BRIEF, time_limit=0.0
    )
    assert (trained.state.update, trained.stopped, len(trained.metrics)) == (1, "time limit", 1)


BLOCK = {"updates": 3, "learning_rate": 1e-3, "baseline": "value"}


def in_cartpole(block: dict[str, Any]) -> Recipe:
    return make_recipe({"environment": {"id": "CartPole-v1"}, "reinforce": block})


def test_a_number_that_yaml_reads_as_text_is_a_number() -> None:
    """YAML 1.1 takes 3e-3, without a point, for text."""
    recipe = in_cartpole({**BLOCK, "learning_rate": "3e-3"})
    (play,) = stages_of(recipe)
    assert Settings.of(play.settings).learning_rate == 0.003


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"update": 3}, "unknown key 'update' in reinforce; did you mean 'updates'"),
        (
            {"updates": 3, "learning_rate": 1e-3},
            "^reinforce.baseline is missing; expected time_step or value or group$",
        ),
        (
            {**BLOCK, "baseline": "values"},
            "reinforce.baseline: expected time_step, value, group, .* did you mean 'value'",
        ),
        (
            {**BLOCK, "updates": 0},
            "reinforce.updates: input should be greater than or equal to 1; found 0",
        ),
        (
            {**BLOCK, "learning_rate": "high"},
            "reinforce.learning_rate: input should be a valid number, .*; found 'high'",
        ),
        ({**BLOCK, "gamma": 95}, "reinforce.gamma: .*found 95"),
        ({**BLOCK, "horizon": 0}, "reinforce.horizon: .*found 0"),
    ],
)
def test_a_block_that_makes_no_sense_is_one_sentence(block: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        in_cartpole(block)


def test_a_baseline_that_could_never_teach_anything_is_refused() -> None:
    with pytest.raises(
        RecipeError, match="'time_step': found 1 episode side by side; expected at least 2"
    ):
        TimeStepMean(Countdown(1), 1.0, 0)
    with pytest.raises(
        RecipeError, match="'group': found groups of 1 episode; expected at least 2"
    ):
        GroupMean(Countdown(3), 1.0, 0)
    with pytest.raises(
        RecipeError, match="'value': found prompts; expected states that are vectors"
    ):
        LearnedValue(PromptEnvironment([Row("1")], Rewards([RewardSpec(fives)]), prompts=1), 0.9, 0)


def test_a_learned_value_needs_a_discount() -> None:
    with pytest.raises(RecipeError, match="found gamma 1.0; expected below 1"):
        LearnedValue(Countdown(1), 1.0, 0)


# --- returns


def test_the_mean_return_carries_its_interval() -> None:
    found = mean_return([0.0, 2.0, 4.0, 6.0])
    half = 1.959964 * (20 / 3 / 4) ** 0.5
    assert (found.value, found.low, found.high) == pytest.approx(
        (3.0, 3 - half, 3 + half), abs=1e-5
    )


def test_returns_are_those_of_fresh_whole_episodes() -> None:
    policy = CategoricalMLP(4, 2, seed=0)
    with torch.no_grad():
        policy.logits[-1].bias.copy_(
            torch.tensor([0.0, 3.0])
        )  # always right when greedy: falls within a dozen steps
    found = evaluate_returns(policy, CARTPOLE, episodes=50, seed=1)
    assert 8 < found.greedy.value < 11
    assert found.greedy.low < found.greedy.value < found.greedy.high
    assert found.sampled.value > found.greedy.value
    assert found == evaluate_returns(policy, CARTPOLE, episodes=50, seed=1)
    assert found.greedy != evaluate_returns(policy, CARTPOLE, episodes=50, seed=2).greedy
    record = found.to_dict()
    assert record["n"] == 50
    assert record["return"]["value"] == found.greedy.value
    assert record["sampled_return"]["value"] == found.sampled.value


# --- a language model through the same functions


def Row(prompt: str, index: int = 0) -> tasks.Row:
    return tasks.Row(prompt, {}, index, prompt, "digits")


def language_policy() -> CausalLMPolicy:
    tokenizer = models.tokenizer(chat=False, alphabet="0123456789")
    small = models.model("llama", vocab_size=len(tokenizer), initializer_range=0.1)
    return CausalLMPolicy(small, tokenizer, max_new_tokens=3)


def fives(completion: str) -> float:
    """How much of three characters is a 5."""
    return completion.count("5") / 3


def language_environment() -> PromptEnvironment:
    rows = [Row(str(number), number) for number in range(10)]
    return PromptEnvironment(rows, Rewards([RewardSpec(fives)]), prompts=4, group_size=8)


def test_one_update_of_a_language_model_is_the_grpo_gradient_at_ratio_one() -> None:
    """Against the sum over tokens written out, and each token's log-probability read off the
    next-token distribution.
    """
    policy = language_policy()
    environment = language_environment()
    experience = rollout(policy, environment, seed=0)
    rewards = experience.rewards.squeeze(1)  # (B,)
    advantages = (rewards.view(4, 8) - rewards.view(4, 8).mean(1, keepdim=True)) / (
        rewards.view(4, 8).std(1) + 1e-4
    )[:, None]
    objective = torch.zeros(())
    for prompt, action, advantage in zip(
        experience.states, experience.actions, advantages.flatten(), strict=True
    ):
        context = policy.encode([prompt])[0]
        for t, token in enumerate(action):
            objective = (
                objective
                + advantage
                * policy.distribution([context + action[:t]]).log_prob(torch.tensor([token]))[0]
            )
    parameters = list(policy.parameters())
    expected = torch.autograd.grad(objective / 32, parameters)
    weight = GroupMean(environment, 1.0, 0).weight(experience)
    improve(policy, torch.optim.SGD(parameters, lr=0.0), experience.weighed(weight))
    for parameter, wanted in zip(parameters, expected, strict=True):
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, -wanted, atol=1e-5)


def test_the_loop_that_balances_a_pole_teaches_a_language_model() -> None:
    policy = language_policy()
    settings = Settings(updates=40, learning_rate=1e-2, baseline="group")
    trained = reinforce(policy, language_environment(), settings, seed=0)
    assert trained.metrics[0]["return"] < 0.3
    assert trained.metrics[-1]["return"] > 0.9
    assert {completion.text for completion in policy.complete(["3", "7"], greedy=True)} == {"555"}


# --- a run of it, from the recipe to the directory

BRIEFLY = ["reinforce.updates=3", "environment.count=4", "evaluate.episodes=2"]


def quietly(_: str) -> None:
    pass


def cartpole(folder: Path, *overrides: str, **options: Any) -> Run:
    recipe = load_recipe(RECIPES / "cartpole.yaml", [*BRIEFLY, *overrides])
    return trained(recipe, folder, **options)


def trained(recipe: Recipe, folder: Path, **options: Any) -> Run:
    return train_requested(Request(recipe, folder, **{"say": quietly, **options}))


def interrupted(folder: Path, number: signal.Signals, times: int, said: list[str]) -> None:
    """A run that is sent signals while it says how its first update went."""

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("update 1/"):
            for _ in range(times):
                signal.raise_signal(number)

    cartpole(folder, say=say)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_after_its_update_and_the_run_can_go_on(
    number: signal.Signals, tmp_path: Path
) -> None:
    before, said = (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)), list[str]()
    with pytest.raises(SystemExit) as left:
        interrupted(tmp_path / "run", number, 1, said)
    assert left.value.code == 128 + number
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    run = Run.open(tmp_path / "run")
    assert (run.manifest["status"], run.manifest["reason"], run.manifest["steps"]) == (
        "stopped",
        number.name,
        1,
    )
    assert [path.name for path in run.checkpoints()] == ["checkpoint-1"]
    assert (
        said[-1]
        == f"go on with: llmpolicy train {run.path / 'recipe.yaml'} --out {run.path} --resume"
    )

    again = trained(load_recipe(run.path / "recipe.yaml"), run.path, resume=True)
    whole = cartpole(tmp_path / "whole")
    assert (again.manifest["status"], again.manifest["steps"]) == ("finished", 3)
    assert same(load_mlp_policy(again.policy_dir), load_mlp_policy(whole.policy_dir))


def test_a_second_signal_is_immediate(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path, signal.SIGTERM, 2, [])
    assert signal.getsignal(signal.SIGTERM) == before
    assert not Run.open(tmp_path).checkpoints()


def test_a_dry_run_checks_an_environment_and_writes_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(SystemExit) as left:
        cartpole(tmp_path / "run", dry_run=True, say=said.append)
    assert (left.value.code, said) == (0, [DRY_RUN])
    assert not (tmp_path / "run").exists()
    with pytest.raises(RecipeError, match="'CartPole-v1'"):
        cartpole(tmp_path / "run", "environment.id=CartPole-v9", dry_run=True)


def test_the_manifest_of_an_environment_says_where_the_run_came_from(tmp_path: Path) -> None:
    manifest = cartpole(tmp_path / "run").manifest
    assert manifest["base_dir"] == str(RECIPES)
    assert (manifest["world_size"], manifest["rewards"], manifest["steps"]) == (1, [], 3)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lerning_rate=1", "unknown key 'lerning_rate' in reinforce; did you mean 'learning_rate'"),
        ("updates=0", "reinforce.updates: .*found 0"),
        ("prompts=4", "override reinforce.prompts=4: reinforce.prompts is for a language model"),
        ("baseline=value", "baseline 'value': found gamma 1.0; expected below 1"),
        ("baseline=group", "baseline 'group': found groups of 1 episode"),
    ],
)
def test_bad_settings_of_an_environment_leave_no_run(
    override: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=message):
        cartpole(tmp_path / "run", f"reinforce.{override}")
    assert not (tmp_path / "run").exists()


def last_stage(*overrides: str) -> Reinforce:
    stage = stages_of(load_recipe(RECIPES / "reinforce_addition.yaml", overrides))[-1]
    assert isinstance(stage, Reinforce)
    return stage


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("promts=3", "unknown key 'promts' in reinforce; did you mean 'prompts'"),
        ("lerning_rate=1", "did you mean 'learning_rate'"),
        ("prompts=0", "reinforce.prompts: .* greater than or equal to 1; found 0"),
        ("group_size=0", "reinforce.group_size: .*found 0"),
        ("group_size=1", "baseline 'group': found groups of 1 episode"),
        ("group_size=2.5", "reinforce.group_size: .*found 2.5"),
        ("max_completion_length=0", "reinforce.max_completion_length: .*found 0"),
        ("temperature=0", "reinforce.temperature: .*greater than 0; found 0"),
        ("temperature=.nan", "reinforce.temperature: .*finite number; found nan"),
        ("temperature=warm", "reinforce.temperature: .*found 'warm'"),
        ("updates=0", "reinforce.updates: .*found 0"),
        ("baseline=value", "baseline 'value': found prompts"),
    ],
)
def test_bad_settings_of_a_language_model_are_found_without_a_model(
    override: str, message: str
) -> None:
    with pytest.raises(LLMPolicyError, match=message) as found:
        check_settings(last_stage(f"reinforce.{override}"))
    assert "\n" not in str(found.value)


def test_good_settings_pass_and_too_few_rows_do_not() -> None:
    block = last_stage()
    assert check_settings(block, 32).updates == 100
    with pytest.raises(
        TaskError, match="32 different prompts are drawn at a time, but the task has 31 rows"
    ):
        check_settings(block, 31)


SPELT: list[tuple[str, int]] = []


@reward(deterministic=False)  # it keeps what it is asked, so equal completions are no repeats
def fives_at(completion: str, step: int) -> float:
    SPELT.append((completion, step))
    return fives(completion)


def language_recipe(updates: int) -> Recipe:
    block = {
        "updates": updates,
        "learning_rate": 1e-2,
        "baseline": "group",
        "prompts": 2,
        "group_size": 8,
    }
    return make_recipe(
        {
            "model": "bundled",
            "task": {"rows": [{"prompt": "1"}]},
            "rewards": fives,
            "reinforce": block,
        }
    )


def language_run(
    folder: Path, updates: int, *, resumed: Run | None = None, say: Say = quietly
) -> Run:
    recipe, rewards = (
        language_recipe(updates),
        Rewards([RewardSpec(fives_at, name="fives")], isolate=False),
    )
    rows = [Row(str(number), number) for number in range(10)]
    run = resumed or Run.create(folder, recipe.resolved())
    made = Plan(recipe, rows, [], rewards, None, None)
    request = Request(recipe, folder, say, resume=resumed is not None)
    (block,) = made.stages
    assert isinstance(block, Reinforce)
    settings = check_settings(block, len(rows))
    loaded = Loaded(made, request, language_policy(), None, {})
    assert train(block, settings, loaded, run).reason is None
    run.finish("finished")
    return run


COLUMNS = [
    *("schema", "step", "mode", "row", "prompt", "completion", "raw", "token_ids", "log_probs"),
    *("reward", "reward/fives", "parsed/fives", "why/fives", "advantage", "terminated"),
    *("truncated", "seconds", "group"),
]
"""Of a run's rollouts: what is written today and reads what was written before."""


def test_every_completion_of_a_language_model_is_kept_as_grpo_keeps_it(tmp_path: Path) -> None:
    SPELT.clear()
    run = language_run(tmp_path, 2)
    kept = list(run.rollouts("train"))
    assert [row["step"] for row in kept] == [1] * 16 + [2] * 16
    assert [row["completion"] for row in kept] == [completion for completion, _ in SPELT]
    assert [row["group"] for row in kept] == ([0] * 8 + [1] * 8) * 2
    assert list(kept[0]) == COLUMNS
    first = language_policy()
    for row in kept[:16]:
        assert first.decode(row["token_ids"]) == row["completion"]
        assert first.encode([row["prompt"]])[0] == first.encode([str(row["row"])])[0]
        log_prob, _ = first.log_prob([row["prompt"]], [row["token_ids"]])
        assert torch.allclose(log_prob[0], torch.tensor(row["log_probs"]), atol=1e-5)
        assert row["reward"] == row["reward/fives"] == fives(row["completion"])
        assert row["truncated"] is not row["terminated"]
    rewards = torch.tensor([row["reward"] for row in kept]).view(4, 8)
    advantages = torch.tensor([row["advantage"] for row in kept]).view(4, 8)
    assert torch.allclose(advantages, group_advantages(rewards), atol=1e-6)
    assert advantages.abs().max() > 0.1


def test_rewards_see_the_number_of_finished_updates_also_after_a_resume(tmp_path: Path) -> None:
    SPELT.clear()
    run = language_run(tmp_path, 2)
    language_run(tmp_path, 3, resumed=Run.resume(run.path))
    assert [step for _, step in SPELT] == [0] * 16 + [1] * 16 + [2] * 16


def test_a_signal_ends_the_run_of_a_language_model_too(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as left:
        language_run(
            tmp_path,
            3,
            say=lambda line: line.startswith("update 1/") and signal.raise_signal(signal.SIGTERM),
        )
    run = Run.open(tmp_path)
    assert (left.value.code, run.manifest["status"], run.manifest["steps"]) == (143, "stopped", 1)
    assert (run.checkpoints()[0] / "model.safetensors").is_file()


# --- the bars


def learn(recipe: str, seed: int) -> tuple[ReturnEvaluation, float]:
    """Train a recipe with that seed; how well it does on fresh episodes, and the seconds of
    training.

    Processor time, on one thread: what training takes on a machine that does nothing else.
    """
    torch.set_num_threads(1)
    plan = load_recipe(RECIPES / f"{recipe}.yaml")
    assert plan.environment is not None
    environment = build_environment(plan.environment)
    policy = build_mlp_policy(plan.policy or PolicyBlock(), environment, seed)
    started = time.process_time()
    reinforce(policy, environment, Settings.of(plan.reinforce), seed=seed)
    seconds = time.process_time() - started
    return evaluate_returns(policy, plan.environment, episodes=100, seed=seed), seconds


def learn_all(recipe: str) -> list[tuple[ReturnEvaluation, float]]:
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        return list(pool.map(learn, [recipe] * 5, range(5)))


def test_a_few_updates_already_balance_the_pole_for_longer() -> None:
    environment = build_environment(EnvironmentBlock(id="CartPole-v1", count=16))
    policy = build_mlp_policy(PolicyBlock(), environment, 0)
    settings = Settings(updates=25, learning_rate=3e-3, baseline="time_step")
    metrics = reinforce(policy, environment, settings, seed=0).metrics
    assert metrics[0]["return"] < 30
    assert metrics[-1]["return"] > 70


@pytest.mark.slow
def test_cartpole_is_balanced_from_five_seeds_in_under_a_minute_each() -> None:
    for found, seconds in learn_all("cartpole"):
        assert found.greedy.value >= 475
        assert found.sampled.value >= 450
        assert seconds < 60


@pytest.mark.slow
def test_pendulum_is_swung_up_from_four_of_five_seeds_in_under_three_minutes_each() -> None:
    results = learn_all("pendulum")
    assert sum(found.greedy.value >= -250 and seconds < 180 for found, seconds in results) >= 4, (
        results
    )


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["cartpole", "pendulum"])
def test_an_untrained_policy_is_far_below_those_bars(recipe: str) -> None:
    plan = load_recipe(RECIPES / f"{recipe}.yaml")
    assert plan.environment is not None
    policy = build_mlp_policy(plan.policy or PolicyBlock(), build_environment(plan.environment), 0)
    assert (
        evaluate_returns(policy, plan.environment, seed=0).sampled.value
        < {"cartpole": 60, "pendulum": -900}[recipe]
    )
