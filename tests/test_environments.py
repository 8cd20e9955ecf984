"""The environments: gymnasium's physics untouched, terminated apart from truncated, prompts judged
row by row.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from llmpolicy import tasks
from llmpolicy.environments.build import build_environment
from llmpolicy.environments.gymnasium import GymnasiumEnvironment
from llmpolicy.environments.prompts import PromptEnvironment
from llmpolicy.episode import Turn
from llmpolicy.errors import RecipeError, TaskError
from llmpolicy.recipe import make_recipe
from llmpolicy.rewards import Rewards, RewardSpec, RowScore
from llmpolicy.types import Action, Prompt, Sample


def act(value: Any, terminated: Sequence[bool] = ()) -> Action:
    return Action(value, None, None, torch.tensor(terminated))


def test_each_copy_is_gymnasiums_own_environment() -> None:
    environment = GymnasiumEnvironment("CartPole-v1", 3)
    states = environment.reset(5)
    seeds = np.random.SeedSequence(5).generate_state(3)
    for row in range(3):
        alone = gymnasium.make("CartPole-v1")
        state, _ = alone.reset(seed=int(seeds[row]))
        assert states[row].tolist() == state.tolist()
    for action in (0, 1, 1):
        answer = environment.step([2], act(torch.tensor([action])))
        state, reward, *_ = alone.step(action)
        assert answer.states[0].tolist() == state.tolist()
        assert answer.rewards == [reward]


def test_only_the_rows_that_act_move() -> None:
    environment = GymnasiumEnvironment("Pendulum-v1", 3)
    environment.reset(0)
    before = [copy.unwrapped.state.copy() for copy in environment.copies]
    answer = environment.step([0, 2], act(torch.zeros(2, 1)))
    moved = [
        bool((copy.unwrapped.state != old).any())
        for copy, old in zip(environment.copies, before, strict=True)
    ]
    assert moved == [True, False, True]
    assert (
        len(answer.states)
        == len(answer.rewards)
        == len(answer.terminated)
        == len(answer.truncated)
        == 2
    )


def until_the_end(
    environment: GymnasiumEnvironment, action: torch.Tensor
) -> tuple[int, bool, bool]:
    environment.reset(0)
    for step in range(1, 1000):
        answer = environment.step([0], act(action))
        if answer.terminated[0] or answer.truncated[0]:
            return step, bool(answer.terminated[0]), bool(answer.truncated[0])
    raise AssertionError("the episode did not end")


def test_falling_terminates_and_a_time_limit_truncates() -> None:
    fallen = until_the_end(GymnasiumEnvironment("CartPole-v1", 1), torch.tensor([1]))
    assert fallen[0] < 20
    assert fallen[1:] == (True, False)
    timed_out = until_the_end(GymnasiumEnvironment("Pendulum-v1", 1), torch.tensor([[0.0]]))
    assert timed_out == (200, False, True)
    shorter = GymnasiumEnvironment("Pendulum-v1", 1, max_episode_steps=7)
    assert until_the_end(shorter, torch.tensor([[0.0]])) == (7, False, True)


def test_the_seed_decides_where_episodes_begin() -> None:
    first, again, other = (
        torch.stack(list(GymnasiumEnvironment("CartPole-v1", 4).reset(seed))) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len(first.unique(dim=0)) == 4, "each copy begins elsewhere"


class Echo(gymnasium.Env[Any, Any]):
    """Pays the sum of the action as it arrived, whatever its bounds."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,))

    def __init__(self, actions: gymnasium.spaces.Space[Any]) -> None:
        self.action_space = actions

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return np.zeros(2), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.zeros(2), float(np.sum(action)), True, False, {}


@pytest.fixture
def echo() -> Iterator[str]:
    gymnasium.register("Echo-v0", Echo)
    yield "Echo-v0"
    del gymnasium.registry["Echo-v0"]


def test_actions_are_handed_over_in_the_environments_own_numbers(echo: str) -> None:
    environment = GymnasiumEnvironment(echo, 2, actions=gymnasium.spaces.Discrete(2, start=5))
    environment.reset(0)
    assert (environment.obs_dim, environment.n_actions) == (2, 2)
    assert environment.step([0, 1], act(torch.tensor([0, 1]))).rewards == [5.0, 6.0]


def test_vector_actions_are_clipped_to_the_bounds(echo: str) -> None:
    bounds = gymnasium.spaces.Box(np.array([-1.0, 0.0]), np.array([2.0, 8.0]), dtype=np.float64)
    environment = GymnasiumEnvironment(echo, 3, actions=bounds)
    environment.reset(0)
    assert (environment.n_actions, environment.action_dim) == (None, 2)
    drawn = torch.tensor([[1.5, 4.0], [3.0, 9.0], [-7.0, -7.0]])
    assert environment.step([0, 1, 2], act(drawn)).rewards == [5.5, 10.0, -1.0]
    assert drawn.tolist() == [
        [1.5, 4.0],
        [3.0, 9.0],
        [-7.0, -7.0],
    ], "what the policy drew stays as it was"


LOOP = {"updates": 1, "learning_rate": 0.1, "baseline": "time_step"}


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"id": "CartPol-v1"}, "gymnasium has no 'CartPol-v1'; did you mean 'CartPole-v1'"),
        ({"count": 3}, "environment: expected one of id, such as CartPole-v1, and fn"),
        ({"id": 3}, "environment.id: input should be a valid string; found 3"),
        ({"id": "CartPole-v1", "count": None}, "environment: count is null; expected a value"),
        ({"id": "CartPole-v1", "count": 0}, "environment.count: input should be .*; found 0"),
        ({"id": "CartPole-v1", "count": "many"}, "environment.count: .*; found 'many'"),
        (
            {"id": "CartPole-v1", "gravitation": 3},
            "'CartPole-v1' cannot be made with {'gravitation': 3}: .*gravitation",
        ),
        (
            {"id": "Blackjack-v1"},
            r"'Blackjack-v1' has states Tuple\(.*; expected Discrete, or a Box of one axis",
        ),
        ({"id": "no_such_module:Env-v0"}, "'no_such_module:Env-v0' cannot be made"),
    ],
)
def test_what_cannot_be_made_is_one_sentence(block: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build_environment(make_recipe({"environment": block, "reinforce": LOOP}).environment)


def Row(prompt: Prompt, index: int, columns: dict[str, Any]) -> tasks.Row:
    return tasks.Row(prompt, columns, index, str(prompt), "sums")


CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2"}]
ROWS = [
    Row("1+1", 0, {"answer": "2"}),
    Row(CHAT, 1, {"answer": "4"}),
    Row("3+3", 2, {"answer": "6"}),
]


def said(texts: Sequence[str], ended: Sequence[bool], version: int = 0) -> Action:
    """Completions of these texts, a token a character."""
    turns = [
        Turn([], list(map(int, text)), None, end, not end, version, "2+2", text)
        for text, end in zip(texts, ended, strict=True)
    ]
    value = [turn.action for turn in turns]
    return Action(value, None, None, torch.tensor(ended), turns)


def right(completion: str, answer: str) -> float | None:
    return None if completion == "0" else float(completion == answer)


def prompts(**sizes: int) -> PromptEnvironment:
    return PromptEnvironment(ROWS, Rewards([RewardSpec(right)]), **sizes)


def test_prompts_come_in_groups_without_repetition() -> None:
    environment = prompts(prompts=3, group_size=2)
    states = environment.reset(0)
    assert environment.groups == [0, 0, 1, 1, 2, 2]
    assert states[0::2] == states[1::2]
    assert sorted(map(str, states[0::2])) == sorted(str(row.prompt) for row in ROWS)


def test_the_seed_decides_which_prompts_are_drawn() -> None:
    environment = prompts(prompts=2, group_size=1)
    drawn = [environment.reset(seed) for seed in range(20)]
    assert drawn == [environment.reset(seed) for seed in range(20)]
    assert len({str(states) for states in drawn}) == 6, (
        "every ordered pair of three prompts comes up"
    )


def test_every_completion_is_judged_by_its_own_row() -> None:
    environment = prompts(prompts=3, group_size=3)
    environment.reset(0)
    answers = [row.columns["answer"] for row in environment.drawn]
    texts = [answers[0], "9", "0", answers[3], answers[4], "9", "0", "0", f"{answers[8]}7"]
    ended = [True, False] * 4 + [True]
    outcome = environment.step(range(9), said(texts, ended))
    assert [str(reward) for reward in outcome.rewards] == [
        "1.0",
        "0.0",
        "nan",
        "1.0",
        "1.0",
        "0.0",
        "nan",
        "nan",
        "0.0",
    ]
    assert outcome.terminated == ended
    assert outcome.truncated == [not end for end in ended]
    assert [score.value for score in outcome.scores][:3] == [1.0, 0.0, None]


class Recorder:
    """A judge that keeps what it was given."""

    def score(self, samples: Sequence[Sample], group_size: int | None = None) -> list[Any]:
        self.samples, self.group_size = samples, group_size
        return [RowScore(0.5) for _ in samples]


def test_the_rewards_see_the_whole_sample() -> None:
    recorder = Recorder()
    environment = PromptEnvironment([ROWS[1]], recorder, prompts=1, group_size=2)
    environment.reset(0)
    assert environment.step([0, 1], said(["4", "44"], [True, False], 3)).rewards == [0.5, 0.5]
    first, second = recorder.samples
    assert first == Sample(
        "4",
        {"answer": "4"},
        prompt="2+2",
        messages=CHAT,
        completion_ids=[4],
        truncated=False,
        step=3,
        row=1,
        task="sums",
    )
    assert (second.completion, second.truncated) == ("44", True)
    assert recorder.group_size == 2


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(
        TaskError, match="4 different prompts are drawn at a time, but the task has 3 rows"
    ):
        prompts(prompts=4, group_size=2)
