"""What `llmpolicy probe` says of a recipe beside what the run then does: the share of groups with a
signal in the first step, seconds of a step, peak memory.

Each recipe is probed and then trained at once, in processes of their own, so that both meet the
same load of the machine; processor seconds stand beside wall seconds. A recipe that was measured on
the same sources is not measured again.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from llmpolicy.bounded import read_json
from scripts.receipts._sources import QUICKSTART, ROOT, RUNS, fingerprint

SOURCES = [
    "scripts/receipts/probe.py",
    "llmpolicy/session/probe.py",
    "llmpolicy/session/rehearsal.py",
    "llmpolicy/evaluation/signal_share.py",
    "llmpolicy/grpo/rehearsal.py",
    "recipes/guess_number_cpu.yaml",
    "recipes/rlhf_tiny.yaml",
    "recipes/reinforce_addition.yaml",
    *QUICKSTART,
]
PARTS = RUNS / "probe"
SECONDS, MEMORY = 0.25, 0.15
"""How far a prediction may lie off."""

Figures = dict[str, Any]

PAYS = """
import time


def slowly(completion, answer):
    time.sleep(0.05)
    return float(completion.strip() == answer)


def digits(completion, answer):
    return sum(sign.isdigit() for sign in completion) / max(len(completion), 1)
"""


@dataclass(frozen=True, slots=True)
class Case:
    """A recipe with what is changed of it, how many steps are trained, and what is made before."""

    recipe: str
    changes: Sequence[str] = ()
    steps: str = "grpo.max_steps=20"
    make: Callable[[Path], None] | None = None
    probe: Sequence[str] = ()


def pays(folder: Path) -> None:
    """Rewards of one's own."""
    (folder / "pays.py").write_text(PAYS, encoding="utf-8")


def untrained(folder: Path) -> None:
    """A model of 20 million parameters with the bundled tokenizer, as it is drawn."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from llmpolicy.bundled import MODEL

    pays(folder)
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=6,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=512,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")


FEW = ["evaluate.n=100", "evaluate.every=null"]
CASES = {
    "quickstart": Case("quickstart"),  # evaluated as it is
    "groups of 4": Case("quickstart", ["grpo.num_generations=4", *FEW]),
    "groups of 32, 512 a step": Case(
        "quickstart", ["grpo.num_generations=32", "grpo.per_device_train_batch_size=512", *FEW]
    ),
    "temperature 1.5": Case("quickstart", ["grpo.temperature=1.5", *FEW]),
    "temperature 2, 40 tokens": Case(
        "quickstart", ["grpo.temperature=2.0", "grpo.max_completion_length=40", *FEW]
    ),
    "sums of 0 to 49": Case("quickstart", ["task.args={low: 0, high: 49}", *FEW]),
    "LoRA": Case("quickstart", ["model.lora={r: 8, target_modules: all-linear}", *FEW]),
    "accumulated, 2 iterations": Case(
        "quickstart",
        [
            "grpo.per_device_train_batch_size=64",
            "grpo.gradient_accumulation_steps=4",
            "grpo.num_iterations=2",
            *FEW,
        ],
    ),
    "KL to a reference": Case("quickstart", ["grpo.beta=0.05", *FEW]),
    "shaped reward": Case(
        "quickstart", ["rewards=[{fn: llmpolicy.bundled.hasty:closeness}]", *FEW]
    ),
    "a reward of 50 ms": Case(
        "quickstart",
        ["rewards=[pays.py:slowly]", "grpo.per_device_train_batch_size=64", *FEW],
        "grpo.max_steps=12",
        pays,
        ("--prompts", "32"),
    ),
    "reinforce_addition": Case("reinforce_addition", ["evaluate.n=100"], "reinforce.updates=20"),
    "guess_number_cpu": Case(
        "guess_number_cpu", ["sft.max_steps=60", "evaluate.n=100"], "grpo.max_steps=10"
    ),
    "rlhf_tiny, shorter": Case(
        "rlhf_tiny",
        ["sft.max_steps=60", "reward_model.max_steps=30", "evaluate.curve=false", *FEW],
        "grpo.max_steps=20",
    ),
    "20 million, untrained": Case(
        "quickstart",
        [
            "model=model",
            "rewards=[pays.py:digits]",
            "grpo.per_device_train_batch_size=32",
            "grpo.max_completion_length=32",
            "evaluate.n=20",
            "evaluate.every=null",
        ],
        "grpo.max_steps=8",
        untrained,
    ),
}


def measure() -> Figures:
    """Every recipe, and how many of the predictions held."""
    cases = {name: kept(name) for name in CASES}
    count = len(cases)
    held = {
        key: sum(case["held"][key] for case in cases.values())
        for key in ("signal", "seconds", "processor_seconds", "memory")
    }
    return {"recipes": count, "held": held, "cases": cases}


def kept(name: str) -> Figures:
    """A recipe's figures, measured if they are not there."""
    file = PARTS / f"{name.replace(' ', '_').replace(',', '')}.json"
    sources = fingerprint(SOURCES)
    if file.is_file() and (found := read_json(file)).get("sources") == sources:
        return dict(found["figures"])
    figures = one(CASES[name])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"sources": sources, "figures": figures}, indent=1) + "\n")
    print(f"{name}: {figures}", flush=True)
    return figures


def one(case: Case) -> Figures:
    """Probe a recipe, then train it, and compare."""
    with tempfile.TemporaryDirectory(prefix="probe-receipt-") as temporary:
        folder = Path(temporary)
        if case.make is not None:
            case.make(folder)
        changes = [change.replace("pays.py:", f"{folder}/pays.py:") for change in case.changes]
        changes = [change.replace("model=model", f"model={folder}/model") for change in changes]
        load = os.getloadavg()[0]
        told, ran = folder / "probe.json", folder / "ran.json"
        words = ["probe", case.recipe, *changes, *case.probe, "--json", str(told), "--yes"]
        _call(["-m", "llmpolicy", *words], folder)
        words = [str(folder / "run"), str(ran), case.recipe, *changes, case.steps]
        _call(["-m", "scripts.receipts.probe", *words], folder)
        return compared(read_json(told), read_json(ran)) | {"load": round(load, 1)}


def _call(words: Sequence[str], folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    if done.returncode > 1:
        raise SystemExit(f"{' '.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def compared(told: Figures, ran: Figures) -> Figures:
    """Predicted beside seen, and which of it held."""
    signal = told["signal"][str(told["group"])]
    first = ran["live"][0]
    pairs = {
        "seconds": (told["seconds_per_step"], ran["seconds"], SECONDS),
        "processor_seconds": (told["processor_seconds_per_step"], ran["processor"], SECONDS),
        "memory": (told["peak_memory"], ran["peak"], MEMORY),
    }
    held = {"signal": signal["low"] <= first <= signal["high"]}
    off = {}
    for key, (predicted, seen, bound) in pairs.items():
        off[key] = round(predicted / seen - 1, 3)
        held[key] = abs(predicted - seen) <= bound * seen
    return {
        "go": told["go"],
        "signal": {key: round(signal[key], 3) for key in ("value", "low", "high")},
        "first_step": round(first, 3),
        "first_five_steps": round(fmean(ran["live"][:5]), 3),
        "predicted": {key: pair[0] for key, pair in pairs.items()},
        "seen": {key: pair[1] for key, pair in pairs.items()},
        "worst_seconds": told["worst_seconds_per_step"],
        "slowest_step": ran["slowest"],
        "worst_memory": told["worst_peak_memory"],
        "off": off,
        "held": held,
    }


def trained(folder: Path, recipe: str, overrides: Sequence[str]) -> Figures:
    """Train as the command does; seconds of steps, and the peak of this process."""
    import time

    from llmpolicy.run import Run
    from llmpolicy.session import train_recipe
    from llmpolicy.session.rehearsal import peak_memory, typical
    from llmpolicy.tuning import keep_memory, spin_less

    spin_less()
    keep_memory()
    noted: list[tuple[float, float]] = []
    write = Run.log

    def log(run: Run, step: int, metrics: Any, mode: str = "train") -> None:
        write(run, step, metrics, mode)
        if mode == "train" and "loss" in metrics:
            noted.append((time.perf_counter(), time.process_time()))

    Run.log = log  # type: ignore[method-assign, assignment]
    run = train_recipe(recipe, overrides, out=folder, yes=True)
    wall, processor = ([b - a for a, b in pairwise(times)] for times in zip(*noted, strict=True))
    lines = [line for line in run.metrics("train") if "loss" in line]
    if "step_time" in lines[0]:
        wall = [line["step_time"] for line in lines]
    cycle = 2 if any(word == "grpo.num_iterations=2" for word in overrides) else 1
    return {
        "seconds": typical(wall, cycle),
        "slowest": max(wall[2:] or wall),
        "processor": typical(processor, cycle),
        "peak": peak_memory(),
        "live": live(run),
    }


def live(run: Any) -> list[float]:
    """The share of groups whose rewards differ, for each generation."""
    from llmpolicy.evaluation.signal_share import counts_of

    found = []
    for _, rows in groupby(run.rollouts("train"), key=lambda row: row["step"]):
        by_group = [list(group) for _, group in groupby(rows, key=lambda row: row["group"])]
        paid = [[r["reward"] for r in group if r["reward"] is not None] for group in by_group]
        found.append(fmean(float(len(counts_of(values)) > 1) for values in paid))
    return found


if __name__ == "__main__":
    out, file, recipe_name, *changed = sys.argv[1:]
    figures = trained(Path(out), recipe_name, changed)
    Path(file).write_text(json.dumps(figures), encoding="utf-8")
