"""The bench's dialogues are the same on both sides, stock TRL's tool loop and llmpolicy's; what is
read grows with what is new, not with turns times length.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from scripts import bench, bench_sides
from scripts.bench_dialogue import OWN, PROMPT, SAID, SHARED, DialogueBench, talks

THIN = {"hidden_size": 72, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": 10000}
PROMPTS, GROUP = 2, 8

Make = Callable[[int], DialogueBench]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Make:
    """The bench's dialogues of so many turns, on a model of two thin layers."""
    monkeypatch.setattr(bench_sides, "SHAPE", {**bench_sides.SHAPE, **THIN})
    return lambda turns: DialogueBench(talks(PROMPTS, turns), torch.float32, str(tmp_path))


@contextmanager
def tokens_read(model: Any) -> Iterator[list[int]]:
    """How many tokens each pass of a model reads."""
    counts: list[int] = []
    embed = model.get_input_embeddings()
    handle = embed.register_forward_hook(lambda _, given, __: counts.append(given[0].numel()))
    try:
        yield counts
    finally:
        handle.remove()


def test_both_sides_hold_dialogues_of_the_same_form(made: Make) -> None:
    turns = 3
    sides = made(turns)
    once = ([1] * OWN + [0] * SAID) * turns
    for side in ("stock", "ours"):
        assert sides.generate(side) > 0
        assert sides.scoring is not None and sides.scoring > 0
        output = sides.outputs[side]
        assert output["tool_mask"].tolist() == [once[:-SAID]] * (PROMPTS * GROUP)
        assert output["completion_mask"].bool().all() and output["prompt_mask"].bool().all()
        assert len({*map(tuple, output["completion_ids"].tolist())}) == PROMPTS * GROUP
        assert sides.update(side, 1.0) > 0
    stock, ours = sides.outputs["stock"], sides.outputs["ours"]
    assert torch.equal(stock["prompt_ids"], ours["prompt_ids"])
    assert stock["prompt_ids"].shape[1] == PROMPT
    same = (stock["prompt_ids"][0] == stock["prompt_ids"][-1]).long().cumprod(0)
    assert int(same.sum()) == SHARED
    assert sides.sides["ours"].stock_reason is None
    said = output["tool_mask"][0] == 0
    words = sides.sides["ours"].policy.tokenizer
    answers = [words.decode(output["completion_ids"][0][said]) for output in (stock, ours)]
    frames = [[line for line in answer.split("\n") if "<" in line] for answer in answers]
    assert frames[0] == frames[1] and len(frames[0]) == 4 * (turns - 1)


def test_what_a_turn_reads_does_not_grow_with_the_turns(made: Make) -> None:
    read: dict[str, list[int]] = {"stock": [], "ours": []}
    scored: list[int] = []
    for turns in (1, 2, 3, 4):
        sides = made(turns)
        sides.generate("ours")  # with what is tried out once a model
        for side, totals in read.items():
            trainer = sides.sides[side]
            with tokens_read(trainer.model.get_base_model()) as counts:
                sides.generate(side)
            totals.append(sum(counts))
        rows = PROMPTS * GROUP
        prompts = SHARED + PROMPTS * (PROMPT - SHARED)
        generated = prompts + rows * ((OWN - 1) * turns + (SAID + 1) * (turns - 1))
        reference = prompts + rows * (OWN * turns + SAID * (turns - 1) - 1)
        assert read["ours"][-1] == generated + reference
        scored.append(sides.work.unique_tokens())
        assert scored[-1] == prompts + rows * (OWN * turns + SAID * (turns - 1))
    first, second, third = (b - a for a, b in zip(read["stock"], read["stock"][1:], strict=False))
    assert third - second == second - first > 0  # each turn reads all those before


def test_a_workload_of_dialogues_has_the_form_of_the_others(made: Make) -> None:
    sides = made(2)
    rounds = bench.measure(sides, 1, 0.0, memory=False)
    figures = bench.cell(sides, rounds, 1.0, 100.0)
    assert figures["path"] == "group"
    for side in ("stock", "ours"):
        parts = dict(figures[side])
        assert parts.pop("total") == pytest.approx(sum(parts.values()))
        assert set(parts) == {"generation", "scoring", "update"}
    assert set(figures["ratio"]) == {"generation", "scoring", "update", "total", "low", "high"}
