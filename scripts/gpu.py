"""What is to be known of an accelerator, in one command: ``python scripts/gpu.py [--out DIR]``.

The laws of a policy on the device, the bench against stock TRL, and the first 50 steps of the GSM8K
recipe with vLLM and without, one after the other within 30 minutes; a receipt for each. Without an
accelerator it says so and ends with 2.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from llmpolicy.bundled import MODEL
from llmpolicy.policies.causal_lm import CausalLMPolicy

ROOT = Path(__file__).parent.parent
NONE = "error: torch finds no accelerator on this machine: nothing was run, and there is no receipt"
LIMIT = 1750.0
"""Seconds for all together."""
PROMPTS = ("12+34", "5+5", "77+1")
GSM8K = [
    "-m", "llmpolicy", "train", str(ROOT / "recipes/gsm8k_qwen_gpu.yaml"),
    "grpo.max_steps=50", "evaluate.n=100", "evaluate.samples=1",
]  # fmt: skip


def laws(device: torch.device) -> Iterator[tuple[str, float, float]]:
    """Laws of the bundled policy on a device: their names, how far they are from holding, and how
    far they may be.
    """
    policy = CausalLMPolicy.load(str(MODEL))
    policy.to(device)
    states = policy.encode([[{"role": "user", "content": text}] for text in PROMPTS])
    generator = torch.Generator(device=device).manual_seed(0)
    acted = policy.act(states, generator=generator)
    log_prob, mask = policy.log_prob(states, acted.value)
    written = (acted.log_prob - log_prob.detach())[mask.bool()].abs().max()
    yield "act writes down what log_prob says", float(written), 1e-3
    steps = []
    for row, (state, action) in enumerate(zip(states, acted.value, strict=True)):
        for place, token in enumerate(action):
            alone = policy.distribution([[*state, *action[:place]]])
            chosen = alone.log_prob(torch.tensor([token], device=device))
            steps.append(float((chosen - log_prob[row, place]).detach().abs()))
    yield "log_prob is the distribution step by step", max(steps), 1e-3
    twice = [policy.act(states, greedy=True).value for _ in range(2)]
    yield "greedy is deterministic", float(twice[0] != twice[1]), 0.0


def law_facts(device: torch.device) -> dict[str, Any]:
    """Which laws hold on a device."""
    held = [
        {"law": name, "error": error, "bound": bound, "holds": error <= bound}
        for name, error, bound in laws(device)
    ]
    return {"ok": all(law["holds"] for law in held), "laws": held}


def ran(words: list[str], seconds: float, log: Path) -> dict[str, Any]:
    """A command of Python's with its exit code and seconds; None as its code where its time ran
    out.
    """
    begun = time.monotonic()
    code: int | None = None
    try:
        with log.open("w") as said:
            done = subprocess.run(
                [sys.executable, *words], stdout=said, stderr=said, timeout=seconds
            )
        code = done.returncode
    except subprocess.TimeoutExpired:
        pass
    took = round(time.monotonic() - begun, 1)
    return {"ok": code == 0, "command": words, "exit_code": code, "seconds": took}


def commands(out: Path) -> dict[str, tuple[list[str], float]]:
    """What is run, by name, with the most seconds it may take."""
    bench = ["scripts/bench.py", "--quick", "--json", str(out / "bench_figures.json")]
    plain = [*GSM8K, "grpo.use_vllm=false", "--out", str(out / "gsm8k")]
    vllm = [*GSM8K, "--out", str(out / "gsm8k_vllm")]
    return {"bench": (bench, 600), "gsm8k_vllm": (vllm, 500), "gsm8k": (plain, 550)}


def receipts(device: torch.device, out: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each part with what it came to."""
    until = time.monotonic() + LIMIT
    yield "laws", law_facts(device)
    for name, (words, most) in commands(out).items():
        yield name, ran(words, min(most, until - time.monotonic()), out / f"{name}.log")


def main(out: Path, say: Callable[[str], None] = print) -> int:
    """Run all that there is a device for; the exit code."""
    if not torch.accelerator.is_available():
        print(NONE, file=sys.stderr)
        return 2
    device, failed = torch.accelerator.current_accelerator() or torch.device("cpu"), 0
    out.mkdir(parents=True, exist_ok=True)
    for name, facts in receipts(device, out):
        facts = {"device": str(device), "torch": torch.__version__, **facts}
        (out / f"{name}.json").write_text(json.dumps(facts, indent=2) + "\n")
        failed += not facts["ok"]
        say(f"{name}: {'done' if facts['ok'] else 'failed'}, {out / name}.json")
    return int(failed > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"))
    raise SystemExit(main(parser.parse_args().out.resolve()))
