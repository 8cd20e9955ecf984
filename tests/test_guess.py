"""The game of the recipe guess_number_cpu: what it pays, and that the bundled model learns it."""

from pathlib import Path

import pytest

from llmpolicy.environments import Answer, Done
from llmpolicy.environments.guess import Guess, found, games
from llmpolicy.session import train_recipe

SMALLER = ["evaluate.samples=1", "evaluate.n=100"]


def halved(seed: int) -> tuple[int, float]:
    """Turns and reward of the player who halves what is left."""
    game, low, high, paid = Guess(), 0, 9, 0.0
    assert game.reset(seed) == "0-9?"
    for turn in range(1, 5):
        guess = (low + high) // 2
        answer = game.step(str(guess))
        if isinstance(answer, Done):
            assert answer.reward is not None
            return turn, paid + answer.reward
        paid += answer.reward
        low, high = (guess + 1, high) if answer.content == ">" else (low, guess - 1)
    raise AssertionError("not found in 4 turns")


def test_halving_always_finds_the_number_in_four_turns() -> None:
    turns = [halved(seed)[0] for seed in range(400)]
    assert max(turns) == 4
    assert sum(turns) / len(turns) == pytest.approx((1 + 2 * 2 + 4 * 3 + 3 * 4) / 10, abs=0.1)


def test_what_a_guess_pays() -> None:
    game = Guess(low=0, high=9, cost=0.25, agreed=1.0)
    game.reset(0)
    game.number = 7
    assert game.step("4") == Answer(">", 0.5)  # 0 to 4 are ruled out, 5 of 10
    assert game.step("9") == Answer("<", 0.2)  # 9 of 5 to 9
    assert game.step("3") == Answer(">", 0.0)  # ruled out before
    assert game.step("7") == Done(1 - 3 * 0.25, "found")
    assert game.step("seven") == Done(0.0, "no number")
    assert game.get_reward() == 0.0


def test_found_is_an_end_with_a_number() -> None:
    assert [found("12", "done"), found("x", "done"), found("12", "turns")] == [1.0, 0.0, 0.0]


def test_the_demonstrations_show_how_to_speak_and_not_how_to_find() -> None:
    rows = list(games(n=2000, seed=1))
    assert all(row["messages"][-1]["role"] == "assistant" for row in rows)
    first = [int(row["messages"][1]["content"]) for row in rows]
    for number in range(10):
        assert first.count(number) == pytest.approx(200, abs=70)


def noise(completion_ids: list[int], step: int) -> float:
    """A reward that knows nothing of the game."""
    return float((sum(completion_ids) * 7919 + step) % 13) / 13


@pytest.mark.slow
def test_the_bundled_model_learns_to_find_the_number(tmp_path: Path) -> None:
    run = train_recipe("guess_number_cpu", SMALLER, out=tmp_path / "run", say=lambda _: None)
    after = run.evaluation()
    before = after["base"]
    assert before["accuracy"]["high"] < 0.5  # any number each time: 34 %
    assert after["accuracy"]["value"] >= 0.9  # halving: all
    assert after["turns"] < 3.3 < before["turns"]  # halving: 2.9
    assert after["ended"]["done"] == after["accuracy"]["value"]


@pytest.mark.slow
def test_a_reward_of_noise_teaches_nothing_of_the_game(tmp_path: Path) -> None:
    changes = [f"rewards={__file__}:noise", "environment.credit=episode", "grpo.max_steps=40"]
    run = train_recipe(
        "guess_number_cpu", [*SMALLER, *changes], out=tmp_path / "run", say=lambda _: None
    )
    after = run.evaluation()
    # Whoever reads no answer names four numbers of ten at most.
    assert max(after["accuracy"]["low"], after["sampled_accuracy"]["low"]) <= 0.4
