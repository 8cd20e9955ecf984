"""What learns the quickstart's sums soonest: losses and advantages beside the recipe as it is, five
seeds each, by the board's clock.

A result that is there is not measured again, unless it was measured on other sources.
"""

from typing import Any

import yaml

from llmpolicy.board import load_row, read_board, run_row
from llmpolicy.board.results import times_less, told
from scripts.receipts import board
from scripts.receipts._sources import RUNS, fingerprint

SOURCES = ["scripts/receipts/what_learns.py", "llmpolicy/advantages.py", *board.SOURCES]
RESULTS, SEEDS = RUNS / "what_learns", range(5)
PROBLEM = "sums"

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
}
"""Changes of the recipe. With one update a generation, clipping never acts: losses differ by what
their mean is over.
"""


def measure() -> dict[str, Any]:
    """The board of the variants, and how many times sooner each is than the recipe as it is."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS:
        for name, changes in VARIANTS.items():
            _run(name, changes, seed)
    found = read_board(RESULTS)
    by_name = {row.name: row.results for row in found.standings[PROBLEM]}
    compared: dict[str, Any] = {}
    for name, results in by_name.items():
        for what in ("tokens", "processor_seconds"):
            ratio = times_less(results, by_name["as_it_is"], what)
            compared.setdefault(name, {})[what] = told(ratio)
    return {**found.to_dict(), "times_fewer_than_as_it_is": compared}


def _run(name: str, changes: list[str], seed: int) -> None:
    path, result = RESULTS / f"{name}.yaml", RESULTS / PROBLEM / name / f"{seed}.json"
    row = {"name": name, "says": " ".join(changes) or "the recipe as it is"}
    row |= {"trainer": board.OURS}
    path.write_text(yaml.safe_dump({**row, "problems": {PROBLEM: {"changes": changes}}}))
    sources = fingerprint(SOURCES)
    board.keep_or_drop(result, sources)
    run_row(
        load_row(str(path)), str(path), RESULTS, problems=[PROBLEM], seeds=[seed], say=board.say
    )
    board.note_sources(result, sources)
