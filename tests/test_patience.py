"""Dialogues that are answered go on while others wait: a slow environment holds nobody else, and
who goes on first changes nothing in what was seen, said and noted.
"""

import random
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch

from llmpolicy.environments.base import Outcome
from llmpolicy.environments.dialogue import Dialogues, Limits, Partner
from llmpolicy.environments.players import Players
from llmpolicy.episode import Episode, Turn
from llmpolicy.policies.causal_lm.speech import speech_of
from llmpolicy.recipe import make_recipe
from llmpolicy.rollout import rollout
from llmpolicy.stages import partner as partners
from llmpolicy.types import Action
from tests import talks, training

GATE = f"{Path(__file__).with_name('gate.py')}:Gate"
LONG = 20.0


class Says:
    """An actor that says a digit, and notes which rows it was asked for."""

    def __init__(self) -> None:
        self.policy = talks.policy()
        self.batches: list[list[tuple[int, ...]]] = []

    def act(self, states: Sequence[Any], **_: Any) -> Action:
        self.batches.append([tuple(state) for state in states])
        ids = [self.policy.codec.encode(["7"])[0][-1], self.policy.stop_ids[0]]
        turns = [Turn(list(state), ids, None, True, False) for state in states]
        return Action(None, None, None, None, list(map(self.policy.codec.legible, turns)))


def gated(
    folder: Path, patience: float, *, seconds: float = LONG, never: bool = False
) -> tuple[Says, list[Episode], Dialogues]:
    actor, rows = Says(), training.rows()
    folder.mkdir()
    args = {"folder": str(folder), "never": never}
    players = Players(GATE, args=args, seconds=seconds)
    try:
        speech = speech_of(actor.policy.codec, players.offer.tools)
        partner = Partner(players, speech, Limits(turns=4, tokens=200), patience=patience)
        there = Dialogues(partner, rows, [0, 1, 2, 3])
        return actor, list(rollout(actor, there, seed=0).episodes), there
    finally:
        players.close()


def test_a_slow_environment_does_not_hold_the_others(tmp_path: Path) -> None:
    actor, episodes, there = gated(tmp_path / "patient", 0.05)
    assert there.left_behind > 0
    assert [episode.final.ended for episode in episodes] == ["done"] * 4
    assert [len(episode.turns) for episode in episodes] == [3] * 4
    assert sum(map(len, actor.batches)) == 12
    slow = tuple(episodes[0].turns[1].state)  # it went on when nobody else was left
    assert [batch for batch in actor.batches if slow in batch] == [[slow]]
    _, episodes, there = gated(tmp_path / "lockstep", float("inf"), seconds=1.0)
    assert there.left_behind == 0
    assert [episode.final.ended for episode in episodes] == ["failed", *["done"] * 3]


def test_one_that_hangs_fails_alone_and_so_does_one_that_hangs_when_it_is_asked_what_it_pays(
    tmp_path: Path,
) -> None:
    _, episodes, there = gated(tmp_path / "hang", 0.05, seconds=1.0, never=True)
    assert [episode.final.ended for episode in episodes] == ["failed", "failed", "done", "done"]
    assert [episode.final.paid for episode in episodes] == [None, None, 1.0, 1.0]
    assert [episode.final.turns for episode in episodes] == [1, 3, 3, 3]
    assert [record["why"] for record in there.faults()] == [
        "Gate.step took more than 1 s",
        "Gate.get_reward took more than 1 s",
    ]


@pytest.mark.parametrize("name", ["Echo", "Half"])
def test_where_all_are_quick_it_is_lockstep_bit_for_bit(name: str) -> None:
    played = []
    for patience in (LONG, float("inf")):
        policy = talks.policy()
        partner = talks.partner(policy, name, patience=patience)
        there = Dialogues(partner, training.rows() * 2, [0, 1, 2, 3] * 2)
        episodes = rollout(policy, there, seed=5).episodes
        assert there.left_behind == 0
        turns = [[(turn.state, turn.action, turn.log_probs) for turn in e.turns] for e in episodes]
        ends = [(e.final.ended, e.final.paid, e.final.messages) for e in episodes]
        played.append((turns, ends, [e.terminated for e in episodes]))
    assert played[0] == played[1]


class Subsets:
    """Answers some of the rows that wait, whichever ``draw`` says, with tokens that follow from what
    a row holds; the others later. Eight rows of two groups, four turns each.
    """

    goes_on: ClassVar = True
    groups: ClassVar = [0] * 4 + [1] * 4

    def __init__(self, draw: random.Random | None) -> None:
        self.draw, self.asked = draw, list[int]()
        self.sizes: list[int] = []

    def reset(self, seed: int) -> list[list[int]]:
        self.states = [[5, 6, 7 + group] for group in self.groups]
        self.turns, self.waiting = [0] * len(self.states), set[int]()
        return list(map(list, self.states))

    def step(self, rows: Sequence[int], action: Action) -> Outcome:
        for row, turn in zip(rows, action.turns, strict=True):
            held = [*self.states[row], *turn.action]
            self.states[row] = [*held, *(5 + (sum(held) + k) % 9 for k in range(1 + sum(held) % 4))]
            self.turns[row] += 1
        self.waiting |= {*rows}
        answered = sorted(self.waiting)
        if self.draw is not None:
            answered = sorted(self.draw.sample(answered, self.draw.randint(1, len(answered))))
        self.waiting -= {*answered}
        self.sizes.append(len(answered))
        over = [self.turns[row] == 4 for row in answered]
        states = [list(self.states[row]) for row in answered]
        return Outcome(states, [1.0] * len(over), over, [False] * len(over), rows=answered)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen3_5"])
def test_what_is_kept_between_turns_serves_rows_that_go_on_apart(architecture: str) -> None:
    policy = training.policy(architecture, max_new_tokens=5)
    for seed in range(3):
        there = Subsets(random.Random(seed))
        episodes = rollout(policy, there, seed=seed).episodes
        assert len(set(there.sizes)) > 2
        for episode in episodes:
            assert len(episode.turns) == 4
            held: list[int] = []
            for turn in episode.turns:
                assert turn.state[: len(held)] == held
                held = [*turn.state, *turn.action]
                with torch.no_grad():
                    log_prob, _ = policy.log_prob([turn.state], [turn.action])
                torch.testing.assert_close(
                    torch.tensor(turn.log_probs), log_prob[0], atol=1e-5, rtol=0
                )


def test_greedy_says_the_same_whoever_goes_on_first() -> None:
    policy = training.policy(max_new_tokens=5)
    said = []
    for draw in (None, random.Random(1), random.Random(2)):
        episodes = rollout(policy, Subsets(draw), seed=0, greedy=True).episodes
        said.append([[turn.action for turn in episode.turns] for episode in episodes])
    assert said[0] == said[1] == said[2]


def test_a_horizon_cuts_each_row_at_its_own_turn() -> None:
    policy = training.policy(max_new_tokens=5)
    episodes = rollout(policy, Subsets(random.Random(3)), seed=0, horizon=2).episodes
    for episode in episodes:
        assert [turn.truncated for turn in episode.turns] == [False, True]


def test_who_is_still_asked_when_a_rollout_breaks_off_begins_anew(tmp_path: Path) -> None:
    players = Players(GATE, args={"folder": str(tmp_path)}, seconds=LONG)
    actor, rows = Says(), training.rows()
    speech = speech_of(actor.policy.codec, players.offer.tools)
    partner = Partner(players, speech, Limits(turns=4, tokens=200), patience=0.05)
    act = actor.act

    def breaks(states: Sequence[Any], **how: Any) -> Action:
        if len(actor.batches) == 2:
            raise KeyboardInterrupt
        return act(states, **how)

    actor.act = breaks  # type: ignore[method-assign]
    try:
        with pytest.raises(KeyboardInterrupt):
            rollout(actor, Dialogues(partner, rows, [0, 1, 2, 3]), seed=0)
        actor.act = act  # type: ignore[method-assign]
        episodes = rollout(actor, Dialogues(partner, rows, [0, 1, 2, 3]), seed=0).episodes
        assert [episode.final.ended for episode in episodes] == ["done"] * 4
        assert [len(episode.turns) for episode in episodes] == [3] * 4
    finally:
        players.close()


@pytest.mark.parametrize(
    ("written", "seconds"),
    [({}, 5.0), ({"patience": "2m"}, 120.0), ({"patience": None}, float("inf"))],
)
def test_a_recipe_says_how_long_it_is_waited(
    written: dict[str, Any], seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = {"fn": f"{talks.FILE}:Echo", **written}
    recipe = make_recipe({"name": "r", "model": "bundled", "environment": block, "grpo": {}})
    offer = SimpleNamespace(offer=SimpleNamespace(tools=[]))
    monkeypatch.setattr(partners, "players_of", lambda _: offer)
    assert partners.partner_of(recipe, talks.policy()).patience == seconds
