"""SIGKILL at random moments, `--resume`, and nothing is different: weights, optimizer, random
state, rows, evaluation.

A straight run is the measure. Every case is a real process that is killed at a moment drawn by its
number: anywhere, inside the writing of a file (before, or some milliseconds after, one of the
operations in the run's directory), or in the last step and the final evaluation. Then the
documented command goes on, sometimes to be killed again. Processes are forked from one that has
imported everything. A case that was measured on the same sources is not measured again.
"""

import contextlib
import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
PARTS = ROOT / "runs" / "receipts" / "kills"
SOURCES = [
    "scripts/receipts/kills.py",
    "llmpolicy/bundled/**/*",
    "llmpolicy/run/*.py",
    "llmpolicy/grpo/*.py",
    "llmpolicy/session/training.py",
    "llmpolicy/stages/g*.py",
    "llmpolicy/session/evaluate.py",
]
CASES = 200
GRPO: dict[str, Any] = {
    "max_steps": 4,
    "per_device_train_batch_size": 16,
    "num_generations": 4,
    "max_completion_length": 5,
    "learning_rate": 5e-3,
    "save_steps": 1,
    "logging_steps": 1,
    "use_cpu": True,
    "bf16": False,
}
LORA = {"path": "bundled", "lora": {"r": 4}}
VARIANTS: dict[str, dict[str, Any]] = {
    "full": {"model": "bundled", "grpo": GRPO},
    "lora": {"model": LORA, "grpo": {**GRPO, "num_iterations": 2, "beta": 0.05, "max_steps": 6}},
    "bf16": {"model": "bundled", "grpo": {**GRPO, "bf16": True, "gradient_accumulation_steps": 2}},
    "memory": {"model": "bundled", "grpo": GRPO, "sampling": {"memory": True}},
    "reference": {
        "model": "bundled",
        "grpo": {
            **GRPO,
            "beta": 0.05,
            "sync_ref_model": True,
            "ref_model_sync_steps": 2,
            "ref_model_mixup_alpha": 0.5,
        },
    },
}
WITH_WORKERS = "full"
"""The variant whose rewards run in processes of their own."""

KINDS = ("writing", "any", "last", "writing")
"""Where the cases are killed, in turn."""

TIMED = ("time", "train_runtime", "step_time", "train_samples_per_second", "train_steps_per_second")
Events = list[tuple[float, str]]


def recipe(folder: Path, variant: str) -> Path:
    """The recipe of a variant, with 48 rows so that later steps are in a second epoch."""
    import yaml

    rows = [
        {"question": f"{a}+{b}", "answer": str(a + b)} for a in range(2, 10) for b in range(2, 9)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {
        "name": variant,
        "task": {"file": "rows.jsonl", "prompt": "{question}"},
        "rewards": ["exact:match", "lengths.py:short"],
        "evaluate": {"correct": "exact:match", "n": 8, "samples": 1, "every": 1},
        **VARIANTS[variant],
    }
    (folder / "lengths.py").write_text(
        "def short(completion):\n    return -sum(map(ord, completion)) % 7 / 10\n"
    )
    (folder / "mine.yaml").write_text(yaml.safe_dump(data))
    return folder / "mine.yaml"


# one process


def forked(
    work: Callable[[], None], log: Path, kill_after: float | None = None, gate: int | None = None
) -> int:
    """Do something in a process of its own; it gets SIGKILL so many seconds after it has written a
    byte to ``gate``.
    """
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setsid()
            with log.open("a") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            work()
            code = 0
        except SystemExit as left:
            code = int(left.code or 0)
        except BaseException:
            traceback.print_exc()
            raise
        finally:  # whatever happened, this copy of the process must not go on as its parent
            os._exit(code)
    if gate is not None and kill_after is not None:
        _kill_after(pid, gate, kill_after)
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # the rewards' workers, where they outlive their trainer
    return os.waitstatus_to_exitcode(status)


def _kill_after(pid: int, gate: int, seconds: float) -> None:
    """Wait for the byte, or the end of the process, then for the moment."""
    if os.read(gate, 1):
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)


def watched(out: Path, event: Callable[[int, str], None]) -> None:
    """Call ``event`` before every operation on a file of the run, with its number and name."""
    number = 0
    names = {
        "open",
        "os.rename",
        "os.remove",
        "os.rmdir",
        "os.mkdir",
        "os.truncate",
        "shutil.copyfile",
        "shutil.rmtree",
    }
    home = str(out)

    def hook(name: str, args: tuple[Any, ...]) -> None:
        nonlocal number
        if name not in names or home not in str(args[0]):
            return
        if (
            name == "open"
            and not (isinstance(args[1], str) and set(args[1]) & set("wax+"))
            and args[2] & 3 == 0
        ):
            return
        number += 1
        event(number, f"{name} {str(args[0]).removeprefix(home)}")

    sys.addaudithook(hook)


def trained(path: Path, out: Path, *, resume: bool) -> None:
    from llmpolicy.errors import RunError
    from llmpolicy.session import train_recipe

    if (
        path.parent.name != WITH_WORKERS
    ):  # a worker is a process of its own, which takes longer to start than a step
        os.environ["LLMPOLICY_REWARD_WORKERS"] = "0"
    try:
        train_recipe(str(path), (), out=out, resume=resume)
    except RunError as error:
        print(f"refused: {error}", flush=True)
        raise SystemExit(2) from error


# one case


def straight(path: Path, out: Path, log: Path) -> Events:
    """A run without a kill: when each operation on its files began."""
    times = out.parent / "events.json"

    def work() -> None:
        events: Events = []
        begun = time.monotonic()
        watched(out, lambda _, name: events.append((time.monotonic() - begun, name)))
        trained(path, out, resume=False)
        events.append((time.monotonic() - begun, "end"))
        times.write_text(json.dumps(events))
        (out.parent / "modules.json").write_text(json.dumps(sorted(sys.modules)))

    assert forked(work, log) == 0, log.read_text()[-3000:]
    return [(moment, name) for moment, name in json.loads(times.read_text())]


def moment_of(case: int, kind: str, events: Events) -> tuple[int, float]:
    """The number of the operation and the seconds after it at which a case is killed."""
    chance = random.Random(case)
    if kind == "writing":
        return chance.randrange(1, len(events)), chance.choice([0.0, 0.0, chance.uniform(0, 0.004)])
    logged = [moment for moment, name in events if name.endswith("metrics.jsonl")]
    first = (
        logged[-5] if kind == "last" else 0.0
    )  # each step logs its evaluation and itself, the end a summary
    moment = chance.uniform(first, events[-2][0])
    before = [number for number, (begun, _) in enumerate(events, 1) if begun <= moment] or [1]
    return before[-1], max(moment - events[before[-1] - 1][0], 0.0)


def killed(path: Path, out: Path, at: tuple[int, float], log: Path, *, resume: bool) -> int:
    """Run until the moment; the exit code, -9 when it was reached."""
    number, seconds = at
    reading, writing = os.pipe()

    def event(place: int, _: str) -> None:
        if place == number and seconds == 0.0:
            os.kill(os.getpid(), signal.SIGKILL)
        if place == number:
            os.write(writing, b"x")

    def work() -> None:
        os.close(reading)
        watched(out, event)
        trained(path, out, resume=resume)

    if seconds == 0.0:
        code = forked(work, log)
        os.close(writing)
    else:
        code = _forked_with_gate(work, log, seconds, reading, writing)
    os.close(reading)
    return code


def _forked_with_gate(
    work: Callable[[], None], log: Path, seconds: float, reading: int, writing: int
) -> int:
    import threading

    # The parent's end must be closed for a child that ends early to be seen; it is, once the fork
    # has its copy.
    closer = threading.Timer(0.2, os.close, (writing,))
    closer.start()
    return forked(work, log, seconds, reading)


def finished(path: Path, out: Path, log: Path) -> tuple[int, Path]:
    """What is said to do: --resume, or a new start where there is nothing to go on from; the exit
    code and the run.
    """
    code = forked(lambda: trained(path, out, resume=True), log)
    said = "".join(log.read_text().splitlines()[-1:]) if code == 2 else ""
    if "already at step" in said:
        return 0, out
    other = "start it anew with another --out DIR" in said
    if other or "start it anew without --resume" in said or "holds no run" in said:
        again = out.with_name(f"{out.name}-again") if other else out
        return forked(lambda: trained(path, again, resume=False), log), again
    return code, out


def one_case(
    case: int, variant: str, folder: Path, expected: dict[str, Any], events: Events
) -> dict[str, Any]:
    """Kill, go on, compare."""
    kind = KINDS[case % len(KINDS)]
    at = moment_of(case, kind, events)
    out, log = folder / f"case-{case}", folder / f"case-{case}.log"
    path = folder / "mine.yaml"
    begun = time.monotonic()
    kills = [killed(path, out, at, log, resume=False)]
    if kills[0] == -signal.SIGKILL and case % 7 == 3:  # and once more, while it goes on
        again = moment_of(
            case + 10**6, "any", [event for event in events if event[0] < events[-1][0] / 2]
        )
        kills.append(killed(path, out, again, log, resume=True))
    code, end = finished(path, out, log)
    different = (
        [f"exit code {code}: {log.read_text()[-600:]}"]
        if code
        else differences(expected, contents(end))
    )
    record = {
        "case": case,
        "variant": variant,
        "kind": kind,
        "at": f"{events[at[0] - 1][1]} + {1000 * at[1]:.0f} ms",
        "killed": kills.count(-signal.SIGKILL),
        "anew": end != out,
        "different": different,
        "seconds": round(time.monotonic() - begun, 1),
    }
    if not different:
        for folder in {out, end}:
            shutil.rmtree(folder, ignore_errors=True)
        log.unlink()
    return record


# what is compared


def contents(out: Path) -> dict[str, Any]:
    """All that a run came to, by name: hashes of tensors and states, rows of metrics and rollouts,
    the evaluation.
    """
    from safetensors.torch import load_file

    from llmpolicy.run import Run, damage

    run = Run.open(out)
    found: dict[str, Any] = {"status": run.manifest["status"], "best": run.manifest.get("best")}
    found["evaluation"] = run.evaluation()
    found["metrics"] = [_untimed(line) for line in run.metrics()]
    found["rollouts"] = [
        {key: value for key, value in row.items() if key != "seconds"} for row in run.rollouts()
    ]
    folders = {"policy": run.policy_dir, "best/": run.best_dir}
    folders |= {path.name: path for path in run.checkpoints()}
    for name, folder in folders.items():
        found[f"{name} whole"] = damage(folder)
        for file in sorted(folder.rglob("*.safetensors")):
            tensors = load_file(file)
            found[f"{name} {file.relative_to(folder)}"] = {
                key: _hash(tensors[key]) for key in sorted(tensors)
            }
        for state in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
            if (folder / state).is_file():
                found[f"{name} {state}"] = _hash(_loaded(folder / state))
        if (folder / "trainer_state.json").is_file():
            found[f"{name} state"] = _state(folder / "trainer_state.json")
    found["left over"] = sorted(path.name for path in out.rglob(".*") if path.name != ".lock")
    return found


def _untimed(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key not in TIMED and "seconds" not in key}


def _loaded(path: Path) -> Any:
    import torch

    return torch.load(path, weights_only=False)


def _state(path: Path) -> Any:
    state = json.loads(path.read_text())
    state["log_history"] = [_untimed(line) for line in state.get("log_history", [])]
    return {
        key: value
        for key, value in state.items()
        if key not in ("total_flos", "num_input_tokens_seen")
    }


def _hash(value: Any) -> str:
    import pickle

    import torch

    def plain(item: Any) -> Any:
        if isinstance(item, torch.Tensor):
            return (
                str(item.dtype),
                tuple(item.shape),
                item.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes(),
            )
        if isinstance(item, dict):
            return [(str(key), plain(item[key])) for key in item]
        return [plain(part) for part in item] if isinstance(item, list | tuple) else repr(item)

    return hashlib.sha256(pickle.dumps(plain(value))).hexdigest()[:16]


def differences(expected: Any, found: Any, where: str = "") -> list[str]:
    """Where two contents differ, down to the key."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return [
            line
            for key in sorted({*expected, *found}, key=str)
            for line in differences(expected.get(key), found.get(key), f"{where}/{key}")
        ]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return [
            line
            for place, pair in enumerate(zip(expected, found, strict=True))
            for line in differences(*pair, f"{where}/{place}")
        ]
    same = expected == found or (expected != expected and found != found)
    return [] if same else [f"{where}: {expected!r:.80} became {found!r:.80}"]


# all of it


def prepare(names: Iterable[str]) -> None:
    """Import what the cases need, once; nothing runs here, so that no thread is there when a case
    is forked.
    """
    for name in names:
        with contextlib.suppress(ImportError, AttributeError):
            importlib.import_module(name)


def cases(
    numbers: Sequence[int], variants: tuple[str, ...], folder: Path, keep: Path | None
) -> list[dict[str, Any]]:
    """The records of some cases; those in ``keep`` are taken from there."""
    prepare(
        ["llmpolicy.grpo.trainer", "llmpolicy.session", "matplotlib.pyplot", "safetensors.torch"]
    )
    measures: dict[str, Any] = {}
    records = []
    for case in numbers:
        variant = variants[(case // len(KINDS)) % len(variants)]
        kept = keep and keep / f"{case}.json"
        if kept and kept.is_file():
            records.append(json.loads(kept.read_text()))
            continue
        home = folder / variant
        if variant not in measures:
            home.mkdir(parents=True, exist_ok=True)
            importlib.import_module("llmpolicy.recipe").load_recipe(
                str(recipe(home, variant))
            )  # reads TRL's source, once
            events = straight(recipe(home, variant), home / "straight", home / "straight.log")
            measures[variant] = (contents(home / "straight"), events)
            prepare(json.loads((home / "modules.json").read_text()))
        record = one_case(case, variant, home, *measures[variant])
        print(json.dumps(record), flush=True)
        if kept and not record["different"]:
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(record))
        records.append(record)
    return records


def part(numbers: Sequence[int], keep: Path) -> list[dict[str, Any]]:
    """Some of the cases, in a folder that goes with them."""
    with tempfile.TemporaryDirectory() as folder:
        return cases(numbers, tuple(VARIANTS), Path(folder), keep)


def kept() -> Path:
    """The folder of the cases that were measured on these sources."""
    fingerprint = hashlib.sha256()
    for pattern in SOURCES:
        for path in sorted(ROOT.glob(pattern)):
            if path.is_file() and path.suffix == ".py":
                fingerprint.update(path.read_bytes())
    return PARTS / fingerprint.hexdigest()[:16]


def measure() -> dict[str, Any]:
    """How many of the cases were killed where, and how many came to what a run without a kill comes
    to.
    """
    records = part(range(CASES), kept())
    count = {
        kind: sum(r["kind"] == kind and r["killed"] > 0 for r in records)
        for kind in dict.fromkeys(KINDS)
    }
    return {
        "cases": len(records),
        "killed": sum(record["killed"] > 0 for record in records),
        "kills": sum(record["killed"] for record in records),
        "killed_by_kind": count,
        "variants": {
            name: sum(record["variant"] == name for record in records) for name in VARIANTS
        },
        "identical": sum(not record["different"] for record in records),
        "different": [record for record in records if record["different"]],
    }
