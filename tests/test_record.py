"""What a run keeps of itself: beside the training, within a bound, and never less without a word."""

import logging
import threading
from pathlib import Path

import pytest

from llmpolicy.episode import Episode, Turn
from llmpolicy.errors import RecipeError
from llmpolicy.recipe import load_recipe
from llmpolicy.run import Run
from llmpolicy.run.beside import Beside
from llmpolicy.run.bound import Bound, takes_rollouts
from llmpolicy.run.disk import DiskError
from llmpolicy.run.episodes import KEPT, episode_columns
from llmpolicy.session import train_recipe
from llmpolicy.types import RowScore, Score

SMALL = ["grpo.max_steps=4", "grpo.per_device_train_batch_size=16", "evaluate=null"]


def test_one_thing_is_done_after_the_other_beside_the_training() -> None:
    beside, done, go = Beside(), list[int](), threading.Event()

    def first() -> None:
        go.wait(10)
        done.append(1)

    beside.do(first)
    assert done == []
    threading.Timer(0.05, go.set).start()
    beside.do(lambda: done.append(2))
    beside.settle()
    assert done == [1, 2]


def test_what_went_wrong_beside_is_raised_to_all_who_wait() -> None:
    """One who only looks may swallow it: then it is raised to the next."""
    beside = Beside()

    def fails() -> None:
        raise DiskError("full")

    beside.do(fails)
    for wait in (beside.settle, beside.settle, lambda: beside.do(print)):
        with pytest.raises(DiskError, match="full"):
            wait()


def test_a_disk_that_does_not_take_completions_ends_the_run_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise DiskError("rollouts could not be written (No space left on device)")

    monkeypatch.setattr("llmpolicy.run.directory.write_rows", full)
    with pytest.raises(DiskError, match="No space left"):
        train_recipe("quickstart", SMALL, out=tmp_path / "run", say=lambda _: None)
    assert Run.open(tmp_path / "run").manifest["status"] == "failed"


def test_each_part_of_the_bound_lasts_twice_as_long_as_the_one_before() -> None:
    """1,000 generations of 10 bytes within 1,000 bytes: of the first 50 all, of the next 100 one in
    4, of the next 200 one in 16, and never above.
    """
    bound, kept = Bound(most=1_000), list[int]()
    for generation in range(1, 1_001):
        if bound.takes("train"):
            bound.add(10)
            kept.append(generation)
    assert bound.used <= 1_000 and kept[:50] == list(range(1, 51))
    assert sum(50 < each <= 150 for each in kept) == 25
    assert 12 <= sum(150 < each <= 350 for each in kept) <= 14
    assert kept[-1] > 700


def test_a_run_says_which_completions_it_leaves_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = train_recipe("quickstart", SMALL, out=tmp_path / "whole", say=lambda _: None)
    most = int(2.5 * max(file.stat().st_size for file in whole.rollout_files()))
    small = [*SMALL, f"record={{rollouts: {most}}}"]
    with caplog.at_level(logging.WARNING, "llmpolicy"):
        run = train_recipe("quickstart", small, out=tmp_path / "run", say=lambda _: None)
    assert {row["step"] for row in run.rollouts("train")} == {1, 2}
    assert len(run.metrics("train")) == 4
    assert sum(file.stat().st_size for file in run.rollout_files()) <= most
    assert run.manifest["rollouts_kept"] == [{"from_step": 3, "one_of": 16}]
    assert "from step 3 on the completions of one in 16 generations are kept" in caplog.text
    assert run.recipe["record"] == {"rollouts": most}


def test_a_run_that_goes_on_counts_what_lies_there(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", {"name": "x", "record": {"rollouts": 4_000}})
    assert takes_rollouts(run, 1)
    run.write_rollouts(1, [{"completion": "7"}])
    again = Run.open(run.path)
    takes_rollouts(again, 2)
    assert again.bound.used == run.bound.used > 0 and again.bound.most == 4_000


@pytest.mark.parametrize("written", ["0", "10", "lots", "-5GB", "true", "10GiB"])
def test_a_size_is_a_number_or_a_text_with_its_unit(written: str) -> None:
    if written == "10":
        recipe = load_recipe("quickstart", ["record.rollouts=10"])
        assert recipe.record is not None and recipe.record.rollouts == 10
        return
    with pytest.raises(RecipeError, match=r"record.rollouts: .* is not a size above 0"):
        load_recipe("quickstart", [f"record.rollouts={written}"])


def test_a_recipe_without_a_record_has_the_hash_that_it_had() -> None:
    assert "record" not in load_recipe("quickstart").resolved()


def episode(number: int, length: int) -> Episode:
    """One of some that differ in all that a row has."""
    text, known = f"{number} " * length, number % 3 != 0
    ids = list(range(number, number + length))
    noted = [-1 / (1 + token) for token in ids]
    ended = number % 2 == 0
    turn = Turn([1], ids, noted, ended, not ended, 0, f"{number // 4}?", text, f"{text}</s>")
    said = Score(float(number) if known else None, str(number), "half \ud800 sign " * length)
    parts = {"a.b": said, "plain": Score(0.1)}
    score = RowScore(said.value, parts, number / 7, {"a.b": said.value})
    return Episode([turn], number // 4, number, (score.number,), score, (1 / (1 + number),))


@pytest.mark.parametrize("length", [0, 1, 400])
def test_rows_are_read_back_to_the_bit_whatever_their_size(tmp_path: Path, length: int) -> None:
    run = Run.create(tmp_path / "run", {"name": "x"})
    episodes = [episode(number, length) for number in range(40)]
    run.write_rollouts(3, episode_columns(episodes, ["a.b"]))
    for row, one in zip(run.rollouts(), episodes, strict=True):
        turn, score = one.turns[0], one.score
        why = score.parts["a.b"].why[:KEPT].replace("\ud800", "\\ud800")
        assert row == {
            "schema": 1, "step": 3, "mode": "train", "row": one.row, "prompt": turn.prompt,
            "completion": turn.text, "raw": turn.raw, "token_ids": turn.action,
            "log_probs": turn.log_probs, "reward": score.value,
            "reward/a.b": score.value, "reward/plain": 0.1, "term/a.b": score.value,
            "parsed/a.b": str(one.row), "parsed/plain": None,
            "why/a.b": why or None, "why/plain": None, "advantage": one.weights[0], "terminated": turn.terminated,
            "truncated": turn.truncated, "seconds": score.seconds, "group": one.group,
        }  # fmt: skip
