"""What learns the quickstart's sums soonest: losses and advantages beside the recipe as it is, five
seeds each, by the board's clock.

A result that is there is not measured again; those of other sources are thrown away first.
"""

from typing import Any

import yaml

from llmpolicy.board import load_row, read_board, run_row
from llmpolicy.board.results import times_less, told
from scripts.receipts import board
from scripts.receipts._sources import RUNS

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
    board.drop_others(RESULTS, SOURCES)
    for name, changes in VARIANTS.items():
        path = RESULTS / f"{name}.yaml"
        row = {"name": name, "says": " ".join(changes) or "the recipe as it is"}
        row |= {"trainer": "llmpolicy.board.trainers:recipe"}
        path.write_text(yaml.safe_dump({**row, "problems": {PROBLEM: {"changes": changes}}}))
        run_row(
            load_row(str(path)), str(path), RESULTS, problems=[PROBLEM], seeds=SEEDS, say=board.say
        )
    found = read_board(RESULTS)
    by_name = {row.name: row.results for row in found.standings[PROBLEM]}
    compared: dict[str, Any] = {}
    for name, results in by_name.items():
        for what in ("tokens", "processor_seconds"):
            ratio = times_less(results, by_name["as_it_is"], what)
            compared.setdefault(name, {})[what] = told(ratio)
    return {**found.to_dict(), "times_fewer_than_as_it_is": compared}
