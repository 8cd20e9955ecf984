"""The recipe rlhf_tiny on three seeds, each with no KL term, a weak one (the recipe's) and a strong
one.

Every run of a seed has the same warm start and the same reward model. The figures are those of
held-out prompts that did not choose the step that is kept, but for the last look, which is at the
prompts that did.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from llmpolicy.bounded import read_json

SOURCES = [
    "recipes/rlhf_tiny.yaml",
    "scripts/receipts/rlhf_tiny.py",
    "llmpolicy/bundled/**/*",
    "llmpolicy/evaluation/overoptimisation.py",
    "llmpolicy/stages/reward_model.py",
    "llmpolicy/stages/evaluation.py",
    "llmpolicy/stages/folders.py",
    "llmpolicy/tasks/demonstrations.py",
    "llmpolicy/tasks/preferences.py",
    "llmpolicy/stages/sft.py",
    "llmpolicy/policies/rewarder.py",
    "reward_fns/reward_model.py",
]
SEEDS = (0, 1, 2)
BETAS = (0.1, 0.0, 1.5)
STAGES = ("warm_start", "reward_model")
Figures = dict[str, Any]


def measure() -> Figures:
    """Per seed: the reward model on held-out pairs, and per KL coefficient the preference rates and
    the last look.
    """
    seeds = list(map(one_seed, SEEDS))
    worse = {}
    for beta in BETAS:
        worse[str(beta)] = count(seeds, beta, "last", lambda share: share["high"] < 0.5)
    return {
        "seeds": seeds,
        "best_preferred_to_the_start": count(seeds, 0.1, "best", lambda share: share["low"] > 0.5),
        "last_worse_than_the_start": worse,
    }


def count(seeds: list[Figures], beta: float, which: str, holds: Any) -> int:
    """In how many seeds a preference rate's interval lies where it is asked to."""
    return sum(holds(seed["runs"][str(beta)]["preference"][which]) for seed in seeds)


def one_seed(seed: int) -> Figures:
    """The stages once, and GRPO for each KL coefficient."""
    with tempfile.TemporaryDirectory() as folder:
        staged = Path(folder) / str(BETAS[0])
        runs = {str(beta): one_run(seed, beta, Path(folder) / str(beta), staged) for beta in BETAS}
        written = staged / "reward_model" / "reward_model.json"
        report = read_json(written)
        return {"seed": seed, "reward_model": report["held_out"], "runs": runs}


def one_run(seed: int, beta: float, out: Path, staged: Path) -> Figures:
    """One run; all but the first, in the folder ``staged``, take over its stages."""
    from llmpolicy.session import train_recipe

    for stage in STAGES if out != staged else ():
        shutil.copytree(staged / stage, out / stage)
    run = train_recipe(
        "rlhf_tiny", [f"seed={seed}", f"grpo.beta={beta}", "evaluate.samples=1"], out=out
    )
    looks, kept = run.metrics("eval"), ("step", "accuracy", "kl", "proxy", "truth")
    begun, *_, ended = (line["time"] for line in run.metrics("train"))
    rounded = []
    for look in looks:
        rounded.append({key: round(look[key], 3) for key in kept})
    return {
        "best_step": run.manifest["best"]["step"],
        "preference": run.manifest["preference"],
        "seconds_of_training": round(ended - begun, 1),
        "looks": rounded,
    }
