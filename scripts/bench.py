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
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from llmpolicy.cli import keep_memory, spin_less

spin_less()  # for both sides, as the command does for a run
keep_memory()

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
from trl import GRPOTrainer

from llmpolicy.bundled import MODEL
from llmpolicy.grpo.config import grpo_config
from llmpolicy.grpo.groups import subset
from llmpolicy.grpo.step import sampled
from llmpolicy.grpo.trainer import PolicyTrainer
from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.policies.causal_lm.choose import Chosen
from llmpolicy.rewards import Rewards, RewardSpec
from llmpolicy.tasks import Row

generating: Any = import_module(
    "llmpolicy.policies.causal_lm.generate"
)  # the package has a function of that name
SHAPE: dict[str, Any] = {
    "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": True, "max_position_embeddings": 8192,
}  # fmt: skip
LORA = {"r": 32, "lora_alpha": 64, "target_modules": "all-linear"}
FEW = (8, 9, 7, 9, 24, 6, 9, 8, 9, 7, 5, 9, 10, 8, 9, 9)
LONG = (128, 128, 111, 128, 128, 119, 128, 122)
"""Completion lengths of the traces, repeated over the rows."""
STOP, OTHER = 2, 1000
SIDES = ("stock", "ours")
TIME_LIMIT = {True: 460.0, False: 3400.0}
"""Seconds in which all must be done, with --quick and without, if one pair of each workload can
be.
"""


@dataclass(frozen=True)
class Workload:
    """Prompts x completions, their lengths in tokens, what is trained, rows of one of stock TRL's
    micro-batches.

    The first ``shared`` tokens of all prompts are the same, as examples are (82 % in
    smollm2_reasoning_cpu).
    """

    prompts: int
    prompt: int
    lengths: Sequence[int]
    limit: int
    lora: bool
    live: Sequence[float] = (1.0,)
    group: int = 8
    micro: int = 16
    shared: int = 0

    @property
    def rows(self) -> int:
        return self.prompts * self.group

    def completion(self, row: int) -> int:
        return self.lengths[row % len(self.lengths)]

    def unique_tokens(self, live: float = 1.0) -> int:
        """Tokens of live groups: what prompts share, the rest of each, and the completions."""
        groups = alive(self, live)
        rest = groups * (self.prompt - self.shared)
        return self.shared + rest + sum(self.completion(row) for row in range(groups * self.group))


WORKLOADS = {
    "few_shot": Workload(8, 200, FEW, 24, True, (1.0, 0.45), shared=160),
    "long": Workload(4, 100, LONG, 128, False, micro=8),
}


def alive(work: Workload, live: float) -> int:
    """Groups with a signal."""
    return max(1, round(work.prompts * live))


class Stock(PolicyTrainer):
    """TRL's own generation, scorer and update on the same rows."""

    compute_loss = GRPOTrainer.compute_loss
    _prepare_inputs = GRPOTrainer._prepare_inputs
    _get_per_token_logps_and_entropies = GRPOTrainer._get_per_token_logps_and_entropies
    _generate_single_turn = GRPOTrainer._generate_single_turn


class Ours(PolicyTrainer):
    """The trainer as it is; the rewards of the trace are known, so none are asked for."""

    def _generate_single_turn(self, prompt_ids: list[list[int]], *_: Any, **__: Any) -> Any:
        return sampled(self, prompt_ids)


def device() -> torch.device:
    """Where the trainers run: the accelerator that torch finds, else the CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def matrix_rate(dtype: torch.dtype) -> float:
    """GFLOP/s of a product of the shape that the model's layers have."""
    left, right = (
        torch.randn(shape, dtype=dtype, device=device()) for shape in ((2048, 576), (576, 1536))
    )
    several = (
        1 if device().type == "cpu" else 100
    )  # where to ask for one takes longer than to compute it
    seconds = min(
        _timed(lambda: [left @ right for _ in range(several)]) for _ in range(50)
    )  # of a free machine, once
    return several * 2 * 2048 * 576 * 1536 / seconds / 1e9


def _timed(work: Callable[[], Any]) -> float:
    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


def wait() -> None:
    """Until the accelerator, if there is one, has done what it was given."""
    if device().type != "cpu":
        torch.accelerator.synchronize()


class Bench:
    """One workload: a policy, both trainers on it, and the rows of the trace."""

    def __init__(self, work: Workload, dtype: torch.dtype, folder: str) -> None:
        self.work = work
        torch.manual_seed(0)
        config = LlamaConfig(
            **SHAPE, bos_token_id=1, eos_token_id=STOP, pad_token_id=STOP, dtype=dtype
        )
        model: Any = LlamaForCausalLM._from_config(config)
        tokenizer = AutoTokenizer.from_pretrained(MODEL)
        self.policy = CausalLMPolicy(
            model, tokenizer, max_new_tokens=work.limit, lora=LORA if work.lora else None
        )
        shared, rest = (
            torch.randint(OTHER, 9000, (work.shared,)),
            (
                work.prompts,
                work.prompt - work.shared,
            ),
        )
        self.prompts = [
            [*shared.tolist(), *own] for own in torch.randint(OTHER, 9000, rest).tolist()
        ]
        self.sides = {"stock": self._trainer(Stock, folder), "ours": self._trainer(Ours, folder)}
        self.flops = 2 * sum(
            p.numel()
            for name, p in model.named_parameters()
            if "lora" not in name and "embed" not in name
        )

    def _trainer(self, kind: type[PolicyTrainer], folder: str) -> Any:
        work = self.work
        settings = {
            "per_device_train_batch_size": min(work.micro, work.rows), "num_generations": work.group,
            "gradient_accumulation_steps": max(1, work.rows // work.micro), "max_completion_length": work.limit,
            "learning_rate": 1e-9, "save_strategy": "no", "bf16": self.policy.model.dtype == torch.bfloat16,
        }  # fmt: skip
        args = grpo_config(settings, output_dir=Path(folder), seed=0, reward_weights=[1.0])
        rows = [Row("0", {}, place, "0", "t") for place in range(work.prompts)]
        made = kind(self.policy, Rewards([RewardSpec("exact:match")]), rows, args)
        made.create_optimizer()
        made.current_gradient_accumulation_steps = args.gradient_accumulation_steps
        return made

    def generate(self, side: str) -> float:
        """Seconds to complete every prompt to the lengths of the trace."""
        trainer, work = self.sides[side], self.work
        rows = [self.prompts[row // work.group] for row in range(work.rows)]
        lengths = [work.completion(row) for row in range(work.rows)]
        trainer.model.train()
        if side == "stock":  # decodes until the last row has ended
            trainer.generation_config.max_new_tokens, trainer.generation_config.eos_token_id = (
                max(lengths),
                None,
            )
            return _timed(lambda: trainer._generate_single_turn(rows, None, {}, work.group))
        with scripted(lengths):
            return _timed(lambda: trainer._generate_single_turn(rows, None, {}, work.group))

    def inputs(self, live: float) -> dict[str, Any]:
        """A generation as TRL holds it; the groups that are not live have advantage 0."""
        work = self.work
        lengths = torch.tensor([work.completion(row) for row in range(work.rows)])
        mask = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
        advantages = torch.tensor([1.0, -1.0]).repeat(work.rows // 2)
        advantages[alive(work, live) * work.group :] = 0.0
        prompts = torch.tensor([self.prompts[row // work.group] for row in range(work.rows)])
        held = {
            "prompt_ids": prompts, "prompt_mask": torch.ones_like(prompts), "completion_ids": OTHER + mask,
            "completion_mask": mask, "advantages": advantages, "num_items_in_batch": mask.sum(),
        }  # fmt: skip
        return {name: value.to(device()) for name, value in held.items()}

    def update(self, side: str, live: float) -> float:
        """Seconds of one optimiser step on the trace."""
        trainer, inputs = self.sides[side], self.inputs(live)
        steps, size = (
            trainer.args.gradient_accumulation_steps,
            trainer.args.per_device_train_batch_size,
        )
        trainer.model.train()
        trainer._metrics["train"].clear()

        def work() -> None:
            for step in range(steps):
                trainer._step = step
                trainer.accelerator.gradient_state._set_sync_gradients(step + 1 == steps)
                part = subset(inputs, list(range(step * size, (step + 1) * size)))
                trainer.accelerator.backward(trainer.compute_loss(trainer.model, part))
            trainer.optimizer.step()
            trainer.optimizer.zero_grad()

        return _timed(work)


@contextmanager
def scripted(lengths: list[int]) -> Iterator[None]:
    """Let every row stop at its length: the draw is made as ever, then overruled."""
    true, alive, step = generating.choose, list(lengths), 0

    def choose(*arguments: Any) -> Chosen:
        nonlocal alive, step
        step += 1
        if len(arguments[0]) < len(alive):  # those that have ended were seen to, and left
            alive = [length for length in alive if length >= step]
        chosen = true(*arguments)
        token = torch.tensor(
            [STOP if length == step else OTHER for length in alive], device=chosen.token.device
        )
        return replace(chosen, token=token)

    generating.choose = choose
    try:
        yield
    finally:
        generating.choose = true


def peak_of(work: Callable[[], float]) -> tuple[float, float | None]:
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
    held = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return seconds, int(held.split()[1]) / 1024


def warm_up(bench: Bench) -> None:
    """A round of as many rows, each of a few tokens: threads, code and optimiser have then
    begun.
    """
    full, bench.work = bench.work, replace(bench.work, prompt=16, lengths=(4,))
    prompts, bench.prompts = bench.prompts, [prompt[:16] for prompt in bench.prompts]
    for side in SIDES:
        bench.generate(side)
        bench.update(side, 1.0)
    bench.work, bench.prompts = full, prompts


def measure(
    bench: Bench, pairs: int, until: float, *, memory: bool = True
) -> list[dict[str, dict[str, Any]]]:
    """Alternating rounds of both sides after a warm-up; no round begins that is likely to end too
    late.

    Memory is measured in a round before these, whose seconds are not counted: what it takes to tell
    the sides apart makes all memory new, which costs either side up to a second.
    """
    warm_up(bench)
    held = {side: _round(bench, side, peak_of)["memory"] if memory else [] for side in SIDES}
    rounds: list[dict[str, dict[str, Any]]] = []
    start = time.perf_counter()
    while len(rounds) < pairs:
        found: dict[str, dict[str, Any]] = {}
        for side in SIDES:
            found[side] = {**_round(bench, side, _without_memory), "memory": held[side]}
            say(bench, len(rounds), side, found[side])
        rounds.append(found)
        now = time.perf_counter()
        if now + (now - start) / len(rounds) > until:
            break
    return rounds


def _without_memory(work: Callable[[], float]) -> tuple[float, float | None]:
    return work(), None


def _round(
    bench: Bench, side: str, ask: Callable[[Callable[[], float]], tuple[float, float | None]]
) -> dict[str, Any]:
    """One generation and one update at each live share."""
    seconds, memory = ask(lambda: bench.generate(side))
    found: dict[str, Any] = {"generation": seconds, "memory": [memory]}
    first = str(bench.work.live[0])
    for live in bench.work.live:
        if side == "stock" and str(live) != first:  # TRL forwards every row, whatever its advantage
            found[str(live)] = found[first]
            continue
        seconds, memory = ask(lambda live=live: bench.update(side, live))  # type: ignore[misc]
        found[str(live)] = seconds
        found["memory"].append(memory)
    return found


def say(bench: Bench, number: int, side: str, found: dict[str, Any]) -> None:
    """A line of progress."""
    seconds = ", ".join(
        f"{name} {value:.1f} s" for name, value in found.items() if name != "memory"
    )
    print(
        f"  {bench.work.prompts} x {bench.work.group}, pair {number + 1}, {side}: {seconds}",
        flush=True,
    )


def cell(
    bench: Bench, rounds: list[dict[str, dict[str, Any]]], live: float, rate: float
) -> dict[str, Any]:
    """Medians, ratios and shares of one workload at one live share."""
    middle = statistics.median

    def side(name: str) -> dict[str, float]:
        generation = [found[name]["generation"] for found in rounds]
        update = [found[name][str(live)] for found in rounds]
        total = [a + b for a, b in zip(generation, update, strict=True)]
        return {"generation": middle(generation), "update": middle(update), "total": middle(total)}

    def total(found: dict[str, dict[str, Any]], name: str) -> float:
        return float(found[name]["generation"] + found[name][str(live)])

    ratios = [total(found, "stock") / total(found, "ours") for found in rounds]
    stock, ours, work = side("stock"), side("ours"), bench.work
    passes, share = 2 if work.lora else 3, alive(work, live) / work.prompts
    head = (
        2 * SHAPE["vocab_size"] * SHAPE["hidden_size"] * sum(map(work.completion, range(work.rows)))
    )
    needed = {
        "generation": bench.flops * work.unique_tokens() + head,
        "update": passes * (bench.flops * work.unique_tokens(live) + head * share),
    }
    needed["total"] = needed["generation"] + needed["update"]
    gflops = {part: flop / ours[part] / 1e9 for part, flop in needed.items()}
    reason = bench.sides["ours"].stock_reason
    return {
        "stock": stock, "ours": ours,
        "ratio": {
            **{part: stock[part] / ours[part] for part in ("generation", "update")},
            "total": middle(ratios), "low": min(ratios), "high": max(ratios),
        },
        "peak_memory": {
            name: max((m for found in rounds for m in found[name]["memory"] if m is not None), default=None)
            for name in SIDES
        },
        "tokens_per_second": {
            name: sum(map(work.completion, range(work.rows))) / figures["generation"]
            for name, figures in (("stock", stock), ("ours", ours))
        },
        "gflops": gflops["total"], "matrix_rate_share": gflops["total"] / rate,
        "shares": {part: value / rate for part, value in gflops.items()}, "live_groups": alive(work, live),
        "pairs": len(rounds), "path": "group" if reason is None else f"stock ({reason})",
    }  # fmt: skip


def growth(dtype: torch.dtype, until: float) -> Iterator[dict[str, Any]]:
    """One step of each side as G, the prompt or the completions grow, the rest as in a small
    workload.
    """
    small = Workload(2, 128, (16,), 1024, True)
    grown = [replace(small, group=size, micro=min(16, 2 * size)) for size in (4, 8, 16, 32)]
    # Stock TRL's micro-batches of 16 long rows need more memory than 24 GB, and smaller ones take
    # no longer (log/2026-11.md).
    grown += [
        replace(small, prompt=length, micro=min(16, 2048 // length))
        for length in (64, 256, 512, 1024)
    ]
    grown += [replace(small, lengths=(length,)) for length in (32, 64, 128)]
    slowest = 0.0
    for work in grown:
        began = time.perf_counter()
        if began + 2 * slowest > until:  # sizes double
            return
        with tempfile.TemporaryDirectory() as folder:
            found = measure(Bench(work, dtype, folder), 1, until, memory=False)[0]
        seconds = {name: found[name]["generation"] + found[name]["1.0"] for name in SIDES}
        facts = {"group": work.group, "prompt": work.prompt, "completion": work.lengths[0]}
        slowest = max(slowest, time.perf_counter() - began)
        yield {**facts, "unique_tokens": work.unique_tokens(), **seconds}


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


def main() -> None:
    """Measure, print a line a workload, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="half the prompts, three pairs, no growth table"
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    asked = parser.parse_args()
    rates = {dtype: matrix_rate(dtype) for dtype in (torch.float32, torch.bfloat16)}
    dtype = max(rates, key=lambda name: rates[name])
    print(
        f"matrix rate: {', '.join(f'{name} {rate:.0f}' for name, rate in rates.items())} GFLOP/s",
        flush=True,
    )
    began, limit = time.perf_counter(), TIME_LIMIT[asked.quick]
    shares = (
        (0.6, 1.0) if asked.quick else (0.4, 0.65)
    )  # of the time, by when each workload is done
    result: dict[str, Any] = {
        "schema": 1,
        "start": start_seconds(),
        "matrix_gflops": rates[dtype],
        "dtype": str(dtype),
        "workloads": {},
        "growth": [],
    }
    print(f"from the command to the first completions: {result['start']:.1f} s", flush=True)
    for number, (name, work) in enumerate(WORKLOADS.items()):
        work = replace(work, prompts=work.prompts // 2) if asked.quick else work
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(work, dtype, folder)
            rounds = measure(bench, 3, began + limit * shares[number])
        cells = {str(live): cell(bench, rounds, live, rates[dtype]) for live in work.live}
        result["workloads"][name] = {"live": cells}
        for live, one in cells.items():
            ratio = one["ratio"]
            print(
                f"{name}, live {live}: stock {one['stock']['total']:.1f} s, ours"
                f" {one['ours']['total']:.1f} s, ratio {ratio['total']:.1f}"
                f" ({ratio['low']:.1f}-{ratio['high']:.1f}), generation {ratio['generation']:.1f},"
                f" update {ratio['update']:.1f}, {one['matrix_rate_share']:.0%} of the matrix rate"
                f" (update {one['shares']['update']:.0%}), live groups {one['live_groups']}, path:"
                f" {one['path']}",
                flush=True,
            )
        del bench
        save(result, asked.json)
    for found in () if asked.quick else growth(dtype, began + limit):
        result["growth"].append(found)
        save(result, asked.json)


def save(result: dict[str, Any], file: Path | None) -> None:
    """Write what was measured so far: what comes next may need more memory than there is."""
    if file:
        file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
