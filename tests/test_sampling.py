"""Dynamic sampling: what it keeps is what plain sampling gives, what it drops had no signal, and no
cap is broken.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmpolicy.episode import Episode, Turn
from llmpolicy.errors import RecipeError
from llmpolicy.grpo.sampling import HALF_LIFE, Group, Limits, Memory, Sampling, _differ, filled
from llmpolicy.grpo.trainer import PolicyTrainer
from llmpolicy.objectives import group_advantages
from llmpolicy.plan import explain_grpo
from llmpolicy.recipe import SamplingBlock, make_recipe
from llmpolicy.rewards import RowScore
from llmpolicy.run import Run
from llmpolicy.session import train
from tests import training

QUESTIONS = [f"{place}+{place % 7}" for place in range(24)]
REFILL: dict[str, Any] = {"refill": True, "max_tokens": 10_000}
BLOCKS: list[dict[str, Any]] = [REFILL, {"memory": True}, {**REFILL, "memory": True}]


def sometimes(completion_ids: list[int], row: int) -> float | None:
    """No signal for two prompts of three, in two ways: all rewards equal, or no row judged."""
    return {0: 0.5, 1: None}.get(row % 3, (sum(completion_ids) % 11) / 10)


def trainer_of(
    folder: Path, block: dict[str, Any] | None, reward: Any = sometimes, **settings: Any
) -> PolicyTrainer:
    run = Run.create(folder / "run", {"name": "tiny"})
    options = {
        "run": run,
        "sampling": None if block is None else SamplingBlock(**block),
        **settings.pop("options", {}),
    }
    shape = {"per_device_train_batch_size": 16, **settings}
    return training.trainer(
        folder / "out",
        training.policy(),
        reward=reward,
        questions=QUESTIONS,
        options=options,
        **shape,
    )


def groups_of(run: Run | None, step: int, mode: str = "train") -> list[list[dict[str, Any]]]:
    assert run is not None
    rows = [row for row in run.rollouts(mode) if row["step"] == step]
    return [rows[start : start + 4] for start in range(0, len(rows), 4)]


def is_dead(group: Sequence[dict[str, Any]]) -> bool:
    return len({row["reward"] for row in group} - {None}) < 2


def completions(group: Sequence[dict[str, Any]]) -> list[list[int]]:
    return [row["token_ids"] for row in group]


# the filling of a generation, apart from any trainer


def written(row: int, length: int) -> Episode:
    return Episode([Turn([], [5] * length)], row=row)


@st.composite
def generations(draw: st.DrawFn) -> tuple[int, list[int], set[int], Limits]:
    """Prompts of a generation out of more, the lengths and the signal of each prompt's group, and
    limits.
    """
    rows, size, longest, unit = (draw(st.integers(1, high)) for high in (14, 4, 6, 3))
    first = draw(st.integers(1, rows))
    lengths = draw(st.lists(st.integers(1, longest), min_size=rows, max_size=rows))
    live = draw(st.sets(st.integers(0, rows - 1)))
    most = draw(
        st.one_of(st.none(), st.integers(first * size * longest, 3 * rows * size * longest))
    )
    return first, lengths, live, Limits(size, longest, most, unit)


@given(generations())
def test_places_are_filled_while_the_cap_and_the_prompts_allow(
    made: tuple[int, list[int], set[int], Limits],
) -> None:
    first, lengths, live, limits = made
    rounds: list[list[Group]] = []

    def generated(prompts: Sequence[int]) -> list[Group]:
        rounds.append([[written(row, lengths[row])] * limits.size for row in prompts])
        return rounds[-1]

    others = list(range(first, len(lengths)))
    found = filled(
        range(first), iter(others), generated, lambda group: group[0].row in live, limits
    )
    everything = [group for groups in rounds for group in groups]
    rows = [group[0].row for group in everything]
    assert rows == list(range(len(rows)))  # no prompt twice, in the order given
    assert [row for row, _ in found.seen] == rows
    assert [group[0].row for group in found.groups] == found.rows
    assert sorted(group[0].row for group in [*found.groups, *found.dropped]) == rows
    assert found.live == [group[0].row in live for group in found.groups]
    for place in range(first):
        assert found.groups[place][0].row == place or (place not in live and found.live[place])
    assert found.refilled == sum(group[0].row >= first for group in found.groups)
    assert found.tokens == sum(len(one.tokens()[0]) for group in everything for one in group)
    assert limits.max_tokens is None or found.tokens <= limits.max_tokens
    assert all(len(groups) % limits.unit == 0 for groups in rounds[1:])
    if False in found.live and limits.max_tokens is not None:
        left = limits.max_tokens - found.tokens
        assert (
            left < limits.unit * limits.size * limits.longest
            or len(lengths) - len(rows) < limits.unit
        )
    if limits.max_tokens is None:
        assert len(rounds) == 1


VALUES = st.one_of(st.none(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0, -1.0]))


@given(st.lists(VALUES, min_size=1, max_size=6), st.sampled_from([0.0, 0.1, 0.25, 0.5, 2.0]))
def test_a_signal_is_a_spread_of_judged_rewards_above_the_tolerance(
    values: list[float | None], tolerance: float
) -> None:
    known = [round(100 * value) for value in values if value is not None]
    expected = bool(known) and max(known) - min(known) > 100 * tolerance
    assert signal([[value] for value in values], [1.0], tolerance) == expected


def signal(
    terms: list[list[float | None]],
    weights: list[float],
    tolerance: float,
    how: str = "sum_then_normalize",
) -> bool:
    names = [f"t{place}" for place in range(len(weights))]
    trainer = SimpleNamespace(
        rewards=SimpleNamespace(composition=SimpleNamespace(names=names)),
        reward_weights=torch.tensor(weights),
        multi_objective_aggregation=how,
    )
    sums = [None if None in row else 0.0 for row in terms]
    group = [
        written(0, 1).judged(RowScore(total, terms=dict(zip(names, row, strict=True))))
        for total, row in zip(sums, terms, strict=True)
    ]
    return Sampling(SamplingBlock(memory=True, tolerance=tolerance), [])._has_signal(trainer, group)


def test_terms_count_as_trl_counts_them() -> None:
    cancel: list[list[float | None]] = [[1.0, 0.0], [0.0, 1.0]]
    assert not signal(cancel, [1.0, 1.0], 0.0)
    assert signal(cancel, [1.0, 1.0], 0.0, "normalize_then_sum")
    assert signal(cancel, [1.0, 2.0], 0.0)
    only_logged: list[list[float | None]] = [[1.0, 0.0], [1.0, 1.0]]
    for how in ("sum_then_normalize", "normalize_then_sum"):
        assert not signal(only_logged, [1.0, 0.0], 0.0, how)
        assert not signal([[1.0, 0.0], [0.0, None]], [1.0, 1.0], 0.0, how)  # one judged row


# the memory


@given(st.lists(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=5), max_size=12))
@settings(max_examples=50)
def test_the_memory_counts_each_group_by_its_age(history: list[list[tuple[int, bool]]]) -> None:
    memory = Memory([f"t/{row}" for row in range(5)])
    for groups in history:
        memory.note(groups)
    for row in range(5):
        for column, live in enumerate((True, False)):
            ages = [
                len(history) - 1 - when
                for when, groups in enumerate(history)
                for one in groups
                if one == (row, live)
            ]
            expected = sum(2 ** (-age / HALF_LIFE) for age in ages)
            assert memory.counts[row, column] == pytest.approx(expected)
    again = Memory(list(reversed(memory.keys)))
    again.load(json.loads(json.dumps(memory.state())))
    assert np.array_equal(again.counts[::-1], memory.counts)


def test_a_prompt_comes_first_as_often_as_its_posterior_is_the_largest() -> None:
    memory = Memory(["a", "b"])
    memory.note([(0, True), (0, True), (1, True), (1, False)])
    draw = np.random.default_rng(0)
    share = sum(memory.order(draw)[0] == 0 for _ in range(4000)) / 4000
    # P(θ_a > θ_b) for Beta(3, 1) and Beta(2, 2), from the densities 3x² and 6x(1 − x): ∫ 3x² (3x² −
    # 2x³) dx = 4/5.
    assert share == pytest.approx(0.8, abs=0.03)
    assert sorted(memory.order(draw)) == [0, 1]


# in training


def test_without_the_block_nothing_of_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sampling, "fill", lambda *_: pytest.fail("dynamic sampling"))
    trainer = trainer_of(tmp_path, None)
    trainer.train()
    assert not any(
        key.startswith("sampling/")
        for key in trainer.state.log_history[0]
        if key != "sampler/parity"
    )
    trainer = trainer_of(tmp_path / "eval", REFILL)
    trainer.model.eval()  # evaluation is of the prompts that were asked for
    trainer.num_generations_eval = 4
    trainer._generate_and_score_completions([{"prompt": "", "row": 0}] * 4)


@pytest.mark.parametrize("loss", ["dapo", "bnpo"])  # by groups, and TRL's own path
def test_where_every_group_has_a_signal_the_run_is_the_plain_one(tmp_path: Path, loss: str) -> None:
    made = []
    for name, block in (("plain", None), ("refill", REFILL)):
        trainer = trainer_of(tmp_path / name, block, training.digest, loss_type=loss, max_steps=3)
        trainer.train()
        made.append(
            (training.vector(trainer.model), [groups_of(trainer.run, step) for step in (1, 2, 3)])
        )
    assert not any(is_dead(group) for step in made[0][1] for group in step)
    assert torch.equal(made[0][0], made[1][0])
    timeless = [
        [[{**row, "seconds": 0} for row in group] for step in run for group in step]
        for _, run in made
    ]
    assert timeless[0] == timeless[1]


def test_groups_without_a_signal_give_way_and_the_others_are_those_of_plain_sampling(
    tmp_path: Path,
) -> None:
    plain = trainer_of(tmp_path / "plain", None)
    plain.train()
    trainer = trainer_of(tmp_path / "refill", REFILL, max_steps=2)
    trainer.train()
    expected, found = groups_of(plain.run, 1), groups_of(trainer.run, 1)
    assert any(map(is_dead, expected)) and not all(map(is_dead, expected))
    for before, after in zip(expected, found, strict=True):
        assert not is_dead(after)
        assert is_dead(before) or completions(before) == completions(after)
    for step in (1, 2):
        kept, dropped = groups_of(trainer.run, step), groups_of(trainer.run, step, "dropped")
        logged = trainer.state.log_history[step - 1]
        assert all(map(is_dead, dropped)) and not any(map(is_dead, kept))
        assert logged["sampling/dead"] == 0
        assert (
            logged["sampling/prompts"]
            == len(kept) + len(dropped)
            == len({g[0]["row"] for g in kept + dropped})
        )
        rows = [row for group in kept + dropped for row in group]
        assert logged["sampling/tokens"] == sum(len(row["token_ids"]) for row in rows)
        assert logged["sampling/signal"] == len(kept) / len(kept + dropped)
        assert logged["sampling/reward"] == pytest.approx(
            np.mean([row["reward"] for row in rows if row["reward"] is not None])
        )
    assert trainer.state.num_input_tokens_seen == sum(
        len(trainer.prompt_ids[row["row"]]) + len(row["token_ids"])
        for step in (1, 2)
        for mode in ("train", "dropped")
        for group in groups_of(trainer.run, step, mode)
        for row in group
    )


@pytest.mark.parametrize("block", BLOCKS)
def test_advantages_and_update_are_those_of_the_rows_that_are_kept(
    tmp_path: Path, block: dict[str, Any]
) -> None:
    trainer = trainer_of(tmp_path, block)
    before = training.vector(trainer.model)
    trainer.train()
    for group in groups_of(trainer.run, 1):
        rewards = [math.nan if row["reward"] is None else row["reward"] for row in group]
        expected = group_advantages(torch.tensor([rewards]))[0]
        assert [row["advantage"] for row in group] == pytest.approx(expected.tolist(), abs=1e-4)
    again = training.policy()
    kept = [row for group in groups_of(trainer.run, 1) for row in group]
    prompts = [trainer.rows[row["row"]].prompt for row in kept]
    log_prob, mask = again.log_prob(prompts, [row["token_ids"] for row in kept])
    weights = torch.tensor([row["advantage"] for row in kept])
    ((log_prob * mask) * weights[:, None]).sum().div(mask.sum()).backward()
    moved, expected = (
        training.vector(trainer.model) - before,
        [p.grad for p in again.model.parameters()],
    )
    gradient = torch.cat([side.double().flatten() for side in expected if side is not None])
    assert float((moved - gradient).norm() / gradient.norm()) < 1e-5


@pytest.mark.parametrize("spare", [0, 30, 60])
def test_the_cap_holds_and_what_it_leaves_is_counted(tmp_path: Path, spare: int) -> None:
    cap = 16 * 6 + spare
    trainer = trainer_of(tmp_path, {"refill": True, "max_tokens": cap}, max_steps=3)
    trainer.train()
    for step, logged in enumerate(trainer.state.log_history[:3], start=1):
        assert logged["sampling/tokens"] <= cap
        assert logged["sampling/dead"] == sum(map(is_dead, groups_of(trainer.run, step)))
        assert logged["sampling/dead"] == 0 or cap - logged["sampling/tokens"] < 4 * 6
    assert spare or any(line["sampling/dead"] for line in trainer.state.log_history[:3])


@pytest.mark.parametrize(
    ("low", "high", "signal"),
    [(1.0, 1.1, False), (10.0, 10.1, False), (100.0, 100.1, False), (10.0, 10.101, True)],
)
def test_the_tolerance_is_met_whatever_the_size_of_a_reward(
    low: float, high: float, signal: bool
) -> None:
    values = torch.tensor([low, high]).tolist()
    assert _differ(values, 0.1) == signal
    assert _differ(values, 0.0)
    assert not _differ(values[:1] * 2, 0.0)


def test_rewards_within_the_tolerance_are_no_signal(tmp_path: Path) -> None:
    def noisy(completion_ids: list[int], row: int) -> float:
        return (sum(completion_ids) % 3) / 10 if row % 2 else float(sum(completion_ids) % 2)

    trainer = trainer_of(tmp_path, {**REFILL, "tolerance": 0.2}, noisy)
    trainer.train()
    assert all(group[0]["row"] % 2 == 0 for group in groups_of(trainer.run, 1))
    assert any(group[0]["row"] % 2 for group in groups_of(trainer.run, 1, "dropped"))


@pytest.mark.parametrize("done", [2, 6, 8])
@pytest.mark.parametrize("block", [None, *BLOCKS])
def test_a_resumed_run_is_the_uninterrupted_one(
    tmp_path: Path, block: dict[str, Any] | None, done: int
) -> None:
    """A pass has 6 generations."""
    settings: dict[str, Any] = {
        "max_steps": 9,
        "save_strategy": "steps",
        "save_steps": 2,
        "save_total_limit": None,
    }
    straight = trainer_of(tmp_path / "straight", block, **settings)
    straight.train()
    resumed = trainer_of(tmp_path / "resumed", block, **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "straight/out" / f"checkpoint-{done}"))
    assert torch.equal(training.vector(straight.model), training.vector(resumed.model))
    for step in range(done + 1, 10):
        both = [
            [completions(group) for group in groups_of(made.run, step)]
            for made in (straight, resumed)
        ]
        assert both[0] == both[1]
    if straight.sampling is not None and straight.sampling.memory is not None:
        assert resumed.sampling is not None and resumed.sampling.memory is not None
        assert np.array_equal(straight.sampling.memory.counts, resumed.sampling.memory.counts)
        assert straight.sampling.memory.counts.any()


def test_the_memory_learns_which_prompts_give_a_signal(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, {"memory": True}, max_steps=12, learning_rate=0.0)
    trainer.train()
    shares = [line["sampling/signal"] for line in trainer.state.log_history[:12]]
    assert np.mean(shares[8:]) > np.mean(shares[:4])
    seen = [row["row"] for row in trainer.run.rollouts("train")] if trainer.run else []
    assert trainer.sampling is not None and trainer.sampling.memory is not None
    counts = trainer.sampling.memory.counts
    for row in range(len(QUESTIONS)):
        assert counts[row].any() == (row in seen)
        assert row % 3 == 2 or counts[row, 0] == 0


def test_completions_of_another_sampler_are_handed_over_with_their_log_probs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """vLLM needs a GPU: a stand-in with its interface, for which the policy's generator writes."""
    made, calls = training.policy(), []

    class Engine:
        def __init__(self, **_: Any) -> None: ...

        def sync_weights(self) -> None: ...

        def generate(self, prompts: list[list[int]], num_generations: int, **_: Any) -> Any:
            calls.append(len(prompts))
            action = made.act(prompts, max_new_tokens=6)
            log_probs = [[[value] for value in row.tolist()] for row in action.log_prob]
            kept = [row[: len(ids)] for row, ids in zip(log_probs, action.value, strict=True)]
            return prompts, action.value, kept, None

    monkeypatch.setattr("trl.trainer.grpo_trainer.VLLMGeneration", Engine)
    trainer = trainer_of(tmp_path, REFILL, use_vllm=True, vllm_mode="colocate")
    outputs: list[dict[str, Any]] = []
    wrapped = trainer._generate_and_score_completions
    trainer._generate_and_score_completions = lambda inputs: (
        outputs.append(wrapped(inputs)) or outputs[-1]
    )  # type: ignore[method-assign,func-returns-value]
    trainer.train()
    assert calls[0] == 16 and len(calls) > 1 and all(rows % 4 == 0 for rows in calls)
    given = outputs[0]["sampling_per_token_logps"]
    for row, episode in zip(given.tolist(), trainer.generation.episodes, strict=True):
        log_probs = episode.log_probs()
        assert log_probs is not None
        assert row[: len(log_probs)] == pytest.approx(log_probs, abs=1e-5)


# what a recipe may say

RECIPE: dict[str, Any] = {
    "model": "bundled",
    "task": {"generator": "llmpolicy.bundled.addition:questions", "prompt": "{question}"},
    "rewards": "exact:match",
    "grpo": {"max_steps": 2},
}


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"refill": True}, "sampling: refill needs max_tokens"),
        ({"memory": True, "max_tokens": 100}, "max_tokens bounds what is refilled"),
        ({}, "nothing is asked for"),
        ({**REFILL, "tolerance": -0.1}, "sampling.tolerance"),
        ({**REFILL, "tolerance": math.nan}, "sampling.tolerance"),
        ({"refill": True, "max_tokens": 0}, "sampling.max_tokens"),
        ({"refil": True}, "unknown key 'refil' in sampling.*refill"),
    ],
)
def test_a_block_that_cannot_be_meant_is_refused_in_words(
    block: dict[str, Any], words: str
) -> None:
    with pytest.raises(RecipeError, match=words):
        make_recipe({**RECIPE, "sampling": block})


REINFORCE = {"updates": 2, "learning_rate": 1e-3, "baseline": "group"}


def test_it_belongs_to_grpo() -> None:
    changed = {key: value for key, value in RECIPE.items() if key != "grpo"}
    with pytest.raises(RecipeError, match="sampling chooses the prompts of grpo"):
        make_recipe({**changed, "reinforce": REINFORCE, "sampling": REFILL})


GRPO = {
    "per_device_train_batch_size": 32,
    "num_generations": 8,
    "max_completion_length": 5,
    "max_steps": 2,
}


@pytest.mark.parametrize(
    ("block", "rows", "words"),
    [
        (REFILL, 4, "the task has 4 training rows and a generation takes 4 prompts"),
        ({"memory": True}, 4, "expected more rows"),
        (
            {"refill": True, "max_tokens": 159},
            9,
            "sampling.max_tokens is 159; expected at least 160",
        ),
    ],
)
def test_what_could_change_nothing_or_not_hold_its_cap_is_refused(
    block: dict[str, Any], rows: int, words: str
) -> None:
    with pytest.raises(RecipeError, match=words):
        explain_grpo(GRPO, rows=rows, sampling=SamplingBlock(**block))


def test_explain_says_what_sampling_changes() -> None:
    notes = explain_grpo(
        GRPO, rows=9, sampling=SamplingBlock(refill=True, max_tokens=400, memory=True)
    ).notes
    assert any("below 400 new tokens (2.5 times" in note for note in notes)
    assert any("sampling.memory" in note for note in notes)
    assert not any("sampling" in note for note in explain_grpo(GRPO, rows=9).notes)


def test_a_recipe_trains_with_it_and_goes_on(tmp_path: Path) -> None:
    grpo = {**GRPO, "save_steps": 1, "learning_rate": 1e-4}
    recipe = {
        **RECIPE,
        "grpo": grpo,
        "sampling": {"refill": True, "max_tokens": 1000, "memory": True},
    }
    said: list[str] = []
    run = train(recipe, out=tmp_path / "run", say=said.append)
    assert run.recipe["sampling"] == {
        "refill": True,
        "max_tokens": 1000,
        "memory": True,
        "tolerance": 0.0,
    }
    train(
        {**recipe, "grpo": {**grpo, "max_steps": 3}},
        out=tmp_path / "run",
        resume=True,
        say=said.append,
    )
    lines = Run.open(tmp_path / "run").metrics("train")
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert all(line["sampling/tokens"] <= 1000 for line in lines)
    state = json.loads((run.checkpoints()[-1] / "trainer_state.json").read_text())
    assert len(state["stateful_callbacks"]["memory"]) == len({row["row"] for row in run.rollouts()})
    assert {row["mode"] for row in run.rollouts()} == {"train", "dropped"}
