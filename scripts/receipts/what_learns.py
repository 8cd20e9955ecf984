"""What learns the sums and the dialogue game soonest: losses and advantages beside the recipe as
it is, five seeds each, by the board's clock.

The results lie in receipts/what_learns, a file each: one that is there is not measured again,
unless it was measured on other sources.
"""

from collections.abc import Sequence
from typing import Any

import yaml

from llmpolicy.board import load_row, read_board, run_row
from llmpolicy.board.results import Standing, times_less, told
from scripts.receipts import board as receipt
from scripts.receipts._sources import ROOT, RUNS

SOURCES = ["scripts/receipts/what_learns.py", "llmpolicy/advantages.py", *receipt.SOURCES]
RESULTS, SEEDS = ROOT / "receipts" / "what_learns", range(5)
ROWS = RUNS / "what_learns"

OWN = "advantage=llmpolicy.advantages"
VARIANTS = {
    "as_it_is": [],
    "grpo": ["grpo.loss_type=grpo"],
    "dr_grpo": ["grpo.loss_type=dr_grpo", "grpo.scale_rewards=none"],
    "bnpo": ["grpo.loss_type=bnpo"],
    "cispo": ["grpo.loss_type=cispo", "grpo.epsilon_high=5.0"],
    "sapo": ["grpo.loss_type=sapo"],
    "gspo": ["grpo.loss_type=grpo", "grpo.importance_sampling_level=sequence"],
    "spread_of_the_batch": ["grpo.scale_rewards=batch"],
    "no_spread": ["grpo.scale_rewards=none"],
    "rloo": [f"{OWN}:leave_one_out"],
    "maxrl": [f"{OWN}:maximum_likelihood"],
    "pods": [f"{OWN}:extremes"],
    "refill": ["sampling={refill: true, max_tokens: 2560}"],
    "memory": ["sampling={memory: true}"],
    "refill_memory": ["sampling={refill: true, max_tokens: 2560, memory: true}"],
}
"""Changes of the recipe. With one update a generation, clipping never acts: losses differ by what
their mean is over.
"""


PROBLEMS = {
    "sums": list(VARIANTS),
    "guess": ["as_it_is", "maxrl", "rloo", "gspo", "no_spread", "dr_grpo"],
}
"""Which are tried on which."""


def measure() -> dict[str, Any]:
    """The board of the variants, and how many times fewer tokens and seconds each takes than the
    recipe as it is.
    """
    ROWS.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS:
        for problem, names in PROBLEMS.items():
            for name in names:
                _run(name, problem, seed)
    board = read_board(RESULTS)
    compared = {problem: _compared(rows) for problem, rows in board.standings.items()}
    return {**board.to_dict(), "times_fewer_than_as_it_is": compared}


def _compared(rows: Sequence[Standing]) -> dict[str, Any]:
    by_name = {row.name: row.results for row in rows}
    compared: dict[str, Any] = {}
    for name, results in by_name.items():
        for what in ("tokens", "processor_seconds"):
            ratio = times_less(results, by_name["as_it_is"], what)
            compared.setdefault(name, {})[what] = told(ratio)
    return compared


def _run(name: str, problem: str, seed: int) -> None:
    changes, path = VARIANTS[name], ROWS / f"{name}.yaml"
    data = {"name": name, "says": " ".join(changes) or "the recipe as it is"}
    data["trainer"] = receipt.OURS
    on = {known: {"changes": changes} for known, names in PROBLEMS.items() if name in names}
    path.write_text(yaml.safe_dump({**data, "problems": on}))
    row, result = load_row(str(path)), RESULTS / problem / name / f"{seed}.json"
    sources = receipt.sources_of(row, problem, "llmpolicy/advantages.py")
    receipt.keep_or_drop(result, sources)
    run_row(row, str(path), RESULTS, problems=[problem], seeds=[seed], say=receipt.say)
    receipt.note_sources(result, sources)
