"""The one record: what a policy saw, chose and earned, over any number of turns."""

import math
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch

from llmpolicy.environments.base import Outcome
from llmpolicy.episode import Episode, Turn
from llmpolicy.errors import PolicyError
from llmpolicy.rollout import rollout
from llmpolicy.types import Action, RowScore, Score

PUSHES = [Turn([0.1, 0.2], 0, [-0.7], False), Turn([0.3, 0.4], 1, [-0.6], False, True)]
REPLY = Turn([1, 2], [3, 4, 5], [-1.0, -2.0, -3.0])
# The environment answers 6, 7 to what was said, and 9 to the second turn.
TALK = [
    Turn([1, 2], [3, 4], [-1.0, -2.0], False),
    Turn([1, 2, 3, 4, 6, 7], [8], [-3.0], False),
    Turn([1, 2, 3, 4, 6, 7, 8, 9], [5, 0], [-4.0, -5.0]),
]


def test_an_episode_ends_as_its_last_turn_does_and_returns_what_all_earned() -> None:
    episode = Episode(PUSHES, rewards=(1.0, 1.5))
    assert (episode.terminated, episode.truncated) == (False, True)
    assert episode.total == 2.5


def test_the_tokens_of_one_turn_are_its_action() -> None:
    assert Episode([REPLY]).tokens() == ([3, 4, 5], [True] * 3)
    assert Episode([REPLY]).log_probs() == [-1.0, -2.0, -3.0]


def test_between_turns_the_environment_speaks_and_nothing_of_that_was_chosen() -> None:
    episode = Episode(TALK)
    ids, chosen = episode.tokens()
    assert [*TALK[0].state, *ids] == [*TALK[-1].state, *TALK[-1].action]
    assert [token for token, mine in zip(ids, chosen, strict=True) if mine] == [3, 4, 8, 5, 0]
    assert [token for token, mine in zip(ids, chosen, strict=True) if not mine] == [6, 7, 9]
    assert episode.log_probs() == [-1.0, -2.0, None, None, -3.0, None, -4.0, -5.0]


def test_a_turn_that_saw_other_tokens_than_were_said_is_refused() -> None:
    elsewhere = replace(TALK[1], state=[1, 2, 3, 9, 6, 7])
    with pytest.raises(PolicyError, match="turn 1 of an episode saw other tokens"):
        Episode([TALK[0], elsewhere]).tokens()


def test_log_probabilities_that_one_turn_lacks_are_not_known() -> None:
    assert Episode([TALK[0], replace(TALK[1], log_probs=None)]).log_probs() is None


def test_the_last_turn_earns_the_score_and_a_weight_changes_no_reward() -> None:
    score = RowScore(0.5, {"exact": Score(0.5)})
    episode = Episode(TALK).judged(score).weighed(-2.0)
    assert (episode.rewards, episode.score, episode.total) == ((0.0, 0.0, 0.5), score, 0.5)
    assert episode.weights == (-2.0, -2.0, -2.0)


def test_what_could_not_be_judged_earned_no_number() -> None:
    episode = Episode([REPLY]).judged(RowScore(None))
    assert math.isnan(episode.total)
    assert episode.score == RowScore(None)


def test_the_record_needs_no_torch() -> None:
    code = "import llmpolicy.episode, sys; print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"


def test_a_turn_keeps_the_log_probs_of_its_own_decisions_alone() -> None:
    class Fixed:
        """Two rows, the first of one decision and the second of two, in padded columns."""

        def parameters(self) -> Any:
            return iter([torch.nn.Parameter(torch.zeros(1))])

        def act(self, states: Any, **_: Any) -> Action:
            mask = torch.tensor([[True, False], [True, True]])
            log_prob = torch.tensor([[-1.0, 0.0], [-0.5, -0.25]])
            return Action([[2], [4, 4]], log_prob, mask, torch.tensor([True, True]))

    class Once:
        groups = (0, 0)

        def reset(self, seed: int) -> list[str]:
            return ["a", "a"]

        def step(self, rows: Any, action: Action) -> Outcome:
            return Outcome(["a", "a"], [0.0, 1.0], [True, True], [False, False])

    episodes = rollout(Fixed(), Once(), seed=0).episodes  # type: ignore[arg-type]
    assert [episode.turns[0].log_probs for episode in episodes] == [[-1.0], [-0.5, -0.25]]
