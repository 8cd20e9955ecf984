# ruff: noqa: E402 (threads are settled before torch is imported)
"""One GRPO step of stock TRL and of llmpolicy, alternating in one run: ``python scripts/bench.py
[--quick] [--json FILE]``.

Both sides get the same prompts and lengths, and the update the same completions and advantages: a
model with the shape of SmolLM2-135M and random weights replays a trace of a run of it, since time
depends on lengths and not on weights. The bench measures the machine's matrix rate itself and takes
the dtype, float32 or bfloat16, in which it is higher.
"""

import argparse
import ctypes
import gc
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from operator import truediv
from pathlib import Path
from typing import Any

from llmpolicy.cli import write_json
from llmpolicy.tuning import keep_memory, spin_less

spin_less()  # for both sides, as the command does for a run
keep_memory()

import torch

from scripts import bench_sides
from scripts.bench_dialogue import DialogueBench, Talks, talks
from scripts.bench_sides import WORKLOADS, Bench, Workload, alive, device, timed

AnyBench = Bench | DialogueBench
ALL: dict[str, Workload] = {**WORKLOADS, "dialogue": talks()}

PARTS = ("generation", "scoring", "1.0")
"""Of a round with a signal in every group."""
TURNS = (2, 4, 8, 16)
Work = Callable[[], float]
Cost = tuple[float, float | None]
"""Seconds, and megabytes where they are known."""
SIDES = ("stock", "ours")
TIME_LIMIT = {True: 600.0, False: 3400.0}
"""Seconds in which all must be done, with --quick and without, if one pair of each workload can
be.
"""


def matrix_rate(dtype: torch.dtype) -> float:
    """GFLOP/s of a product of the shape that the model's layers have."""
    left = torch.randn(2048, 576, dtype=dtype, device=device())
    right = torch.randn(576, 1536, dtype=dtype, device=device())
    # On an accelerator it takes longer to ask for one than to compute it.
    several = 1 if device().type == "cpu" else 100

    def multiply() -> None:
        for _ in range(several):
            left @ right

    seconds = min(timed(multiply) for _ in range(50))  # of a free machine, once
    return several * 2 * 2048 * 576 * 1536 / seconds / 1e9


def peak_of(work: Work) -> Cost:
    """Seconds, and the most memory held meanwhile, in MB: the accelerator's, or the process's where
    Linux tells.
    """
    gc.collect()
    if device().type != "cpu":
        torch.accelerator.empty_cache()
        torch.accelerator.reset_peak_memory_stats()
        return work(), torch.accelerator.max_memory_allocated() / 1024**2
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not clear.exists():
        return work(), None
    ctypes.CDLL(None).malloc_trim(0)  # what the other side left in the allocator is not this side's
    clear.write_text("5")
    seconds = work()
    _, _, peak = status.read_text().partition("VmHWM:")
    return seconds, int(peak.split()[0]) / 1024


Round = dict[str, Any]
"""Seconds of a side by what it did, and the most memory that it held."""


Pair = dict[str, Round]
"""A round of each side, by its name."""


def measure(bench: AnyBench, pairs: int, until: float, *, memory: bool = True) -> list[Pair]:
    """Alternating rounds of both sides after a warm-up; no round begins that is likely to end too
    late.

    Memory is measured in a round before these, whose seconds are not counted: what it takes to tell
    the sides apart makes all memory new, which costs either side up to a second.
    """
    bench.warm_up()
    peaks: dict[str, list[float | None]] = {side: [] for side in SIDES}
    for side in SIDES if memory else ():
        peaks[side] = _round(bench, side, peak_of)["memory"]
    rounds: list[Pair] = []
    start = time.perf_counter()
    while len(rounds) < pairs:
        pair: Pair = {}
        for side in SIDES:
            pair[side] = {**_round(bench, side, _without_memory), "memory": peaks[side]}
            say(bench, len(rounds), side, pair[side])
        rounds.append(pair)
        now = time.perf_counter()
        if now + (now - start) / len(rounds) > until:
            break
    return rounds


def _without_memory(work: Work) -> Cost:
    return work(), None


def _round(bench: AnyBench, side: str, ask: Callable[[Work], Cost]) -> Round:
    """One generation and one update at each live share."""
    seconds, memory = ask(lambda: bench.generate(side))
    done: Round = {"generation": seconds, "memory": [memory]}
    if bench.scoring is not None:
        done["scoring"] = bench.scoring
    for live in bench.work.live:
        if side == "ours" or live == bench.work.live[0]:
            seconds, memory = ask(lambda live=live: bench.update(side, live))  # type: ignore[misc]
            done["memory"].append(memory)
        done[str(live)] = seconds  # TRL forwards every row, whatever its advantage
    return done


def say(bench: AnyBench, number: int, side: str, done: Round) -> None:
    """A line of progress."""
    line = f"  {bench.work.prompts} x {bench.work.group}, pair {number + 1}, {side}:"
    for name, value in done.items():
        if name != "memory":
            line += f" {name} {value:.1f} s,"
    print(line.removesuffix(","), flush=True)


def cell(bench: AnyBench, rounds: list[Pair], live: float, rate: float) -> dict[str, Any]:
    """Medians, ratios and shares of one workload at one live share."""
    seconds: dict[str, dict[str, list[float]]] = {}
    peaks: dict[str, float | None] = {}
    for side in SIDES:
        parts = {"generation": "generation", "scoring": "scoring", "update": str(live)}
        seconds[side] = {}
        for part, name in parts.items():
            if name in rounds[0][side]:
                seconds[side][part] = [pair[side][name] for pair in rounds]
        seconds[side]["total"] = [sum(times) for times in zip(*seconds[side].values(), strict=True)]
        # Measured once, before all rounds.
        peaks[side] = max(filter(None, rounds[0][side]["memory"]), default=None)
    ratios = list(map(truediv, seconds["stock"]["total"], seconds["ours"]["total"]))
    stock, ours, work = _medians(seconds["stock"]), _medians(seconds["ours"]), bench.work
    passes, share = 2 if work.lora else 3, alive(work, live) / work.prompts
    tokens = sum(work.completions(work.rows))
    head = bench.head_flops * tokens
    needed = {
        "generation": bench.flops * work.unique_tokens() + head,
        "update": passes * (bench.flops * work.unique_tokens(live) + head * share),
    }
    if bench.scoring is not None:
        needed["scoring"] = needed["generation"]
    needed["total"] = sum(needed.values())
    shares = {part: flop / ours[part] / 1e9 / rate for part, flop in needed.items()}
    reason = bench.sides["ours"].stock_reason
    return {
        "stock": stock,
        "ours": ours,
        "ratio": {
            **{part: stock[part] / ours[part] for part in ours},
            "total": statistics.median(ratios),
            "low": min(ratios),
            "high": max(ratios),
        },
        "peak_memory": peaks,
        "tokens_per_second": {
            "stock": tokens / stock["generation"],
            "ours": tokens / ours["generation"],
        },
        "gflops": shares["total"] * rate,
        "matrix_rate_share": shares["total"],
        "shares": shares,
        "live_groups": alive(work, live),
        "pairs": len(rounds),
        "path": "group" if reason is None else f"stock ({reason})",
    }


def _medians(seconds: dict[str, list[float]]) -> dict[str, float]:
    return {part: statistics.median(values) for part, values in seconds.items()}


def begun(work: Workload, dtype: torch.dtype, folder: str) -> AnyBench:
    """The two sides of a workload."""
    if isinstance(work, Talks):
        return DialogueBench(work, dtype, folder)
    return Bench(work, dtype, folder)


def growth(name: str, dtype: torch.dtype, until: float) -> Iterator[dict[str, Any]]:
    """One step of each side as something grows, the rest as in a small workload."""
    slowest = 0.0
    for work in grown(name):
        began = time.perf_counter()
        if began + 2 * slowest > until:  # sizes double
            return
        with tempfile.TemporaryDirectory() as folder:
            [pair] = measure(begun(work, dtype, folder), 1, until, memory=False)
        seconds = {side: sum(pair[side].get(part, 0.0) for part in PARTS) for side in SIDES}
        facts = {"group": work.group, "prompt": work.prompt, "completion": work.lengths[0]}
        if isinstance(work, Talks):
            facts["turns"] = work.turns
        slowest = max(slowest, time.perf_counter() - began)
        yield {**facts, "unique_tokens": work.unique_tokens(), **seconds, "parts": pair}


def grown(name: str) -> list[Workload]:
    """Small workloads like one of these: G, the prompt or the completions grow, or the turns."""
    if name == "dialogue":
        return [talks(2, turns) for turns in TURNS]
    if name != "few_shot":
        return []
    small, works = Workload(2, 128, (16,), 1024, True), list[Workload]()
    for size in (4, 8, 16, 32):
        works.append(replace(small, group=size, micro=min(16, 2 * size)))
    # Stock TRL's micro-batches of 16 long rows need more memory than 24 GB, and smaller ones take
    # no longer (log/2026-11.md).
    for length in (64, 256, 512, 1024):
        works.append(replace(small, prompt=length, micro=min(16, 2048 // length)))
    for length in (32, 64, 128):
        works.append(replace(small, lengths=(length,)))
    return works


def start_seconds() -> float:
    """From the command to the first completions on disk, with the bundled model; the run is stopped
    then.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "run")
        command = [sys.executable, "-m", "llmpolicy", "train", "quickstart", "--out", str(out)]
        began = time.perf_counter()
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not any(out.glob("rollouts/*.parquet")):
                if run.poll() is not None:
                    raise RuntimeError(
                        f"{' '.join(command)} ended with {run.returncode} before it wrote a"
                        " completion"
                    )
                time.sleep(0.02)
            return time.perf_counter() - began
        finally:
            run.terminate()
            run.wait()


def compare(name: str, work: Workload, dtype: torch.dtype, rate: float, until: float) -> Any:
    """Measure one workload, and say what came of it; its figures at each live share."""
    with tempfile.TemporaryDirectory() as folder:
        bench = begun(work, dtype, folder)
        rounds = measure(bench, 3, until)
    cells = {str(live): cell(bench, rounds, live, rate) for live in work.live}
    for live, figures in cells.items():
        ratio, shares = figures["ratio"], figures["shares"]
        listed = ""
        for part in ("generation", "scoring", "update"):
            if part in ratio:
                listed += f" {part} {ratio[part]:.1f},"
        print(
            f"{name}, live {live}: stock {figures['stock']['total']:.1f} s, ours"
            f" {figures['ours']['total']:.1f} s, ratio {ratio['total']:.1f}"
            f" ({ratio['low']:.1f}-{ratio['high']:.1f}),{listed}"
            f" {figures['matrix_rate_share']:.0%} of the matrix rate (update"
            f" {shares['update']:.0%}), live groups {figures['live_groups']}, path:"
            f" {figures['path']}",
            flush=True,
        )
    return {"live": cells}


def arguments() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="half the prompts, no growth table")
    parser.add_argument("--only", choices=[*ALL], help="one workload, and how that grows")
    parser.add_argument(
        "--processor",
        action="store_true",
        help="seconds of this process on a processor, for a machine that is not free",
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_args()


def main() -> None:
    """Measure, print a line a workload, write the JSON file."""
    asked = arguments()
    if asked.processor:
        bench_sides.clock = time.process_time
    rates = {dtype: matrix_rate(dtype) for dtype in (torch.float32, torch.bfloat16)}
    dtype = max(rates, key=lambda name: rates[name])
    listed = ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items())
    print(f"matrix rate: {listed} GFLOP/s", flush=True)
    began, limit = time.perf_counter(), TIME_LIMIT[asked.quick]
    names = [asked.only] if asked.only else [*ALL]
    result: dict[str, Any] = {
        "schema": 1,
        "start": start_seconds(),
        "matrix_gflops": rates[dtype],
        "dtype": str(dtype),
        "workloads": {},
        "growth": [],
    }
    print(f"from the command to the first completions: {result['start']:.1f} s", flush=True)
    for number, name in enumerate(names, start=1):
        work = ALL[name]
        if asked.quick:
            work = replace(work, prompts=work.prompts // 2)
        # Of the time, by when each workload is done: the growth needs a quarter.
        until = began + limit * number / len(names) * (1.0 if asked.quick else 0.75)
        result["workloads"][name] = compare(name, work, dtype, rates[dtype], until)
        write_json(asked.json, result)  # what comes next may need more memory than there is
    for name in [] if asked.quick else names:
        for step in growth(name, dtype, began + limit):
            result["growth"].append(step)
            write_json(asked.json, result)


if __name__ == "__main__":
    main()
