"""SIGKILL at random moments, `--resume`, and nothing is different: weights, optimizer, random
state, rows, evaluation.

A straight run is the measure. Every case is a real process that is killed at a moment drawn by its
number: anywhere, inside the writing of a file (before, or some milliseconds after, one of the
operations in the run's directory), or in the last step and the final evaluation. Then the
documented command goes on, sometimes to be killed again. Processes are forked from one that has
imported everything. A case that was measured on the same sources is not measured again.
"""

import contextlib
import importlib
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from scripts.receipts._sources import RUNS, fingerprint
from scripts.same_run import contents, differences

SOURCES = [
    "scripts/receipts/kills.py",
    "scripts/same_run.py",
    "llmpolicy/bundled/**/*",
    "llmpolicy/run/*.py",
    "llmpolicy/grpo/*.py",
    "llmpolicy/session/training.py",
    "llmpolicy/stages/g*.py",
    "llmpolicy/stages/evaluation.py",
    "llmpolicy/stages/language.py",
    "llmpolicy/stages/record.py",
]
Record = dict[str, Any]
CASES = 200
GRPO: Record = {
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
VARIANTS: dict[str, Record] = {
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

OPERATIONS = """open os.rename os.remove os.rmdir os.mkdir os.truncate shutil.copyfile
shutil.rmtree"""
Events = list[tuple[float, str]]


def recipe(folder: Path, variant: str) -> Path:
    """The recipe of a variant, with 48 rows so that later steps are in a second epoch."""
    import yaml

    lines = []
    for a, b in itertools.product(range(2, 10), range(2, 9)):
        lines.append(json.dumps({"question": f"{a}+{b}", "answer": str(a + b)}) + "\n")
    (folder / "rows.jsonl").write_text("".join(lines))
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
    names = OPERATIONS.split()
    home = str(out)

    def hook(name: str, args: tuple[Any, ...]) -> None:
        nonlocal number
        if name not in names or home not in str(args[0]):
            return
        writes = isinstance(args[1], str) and not set(args[1]).isdisjoint("wax+")
        if name == "open" and not writes and args[2] & 3 == 0:
            return
        number += 1
        event(number, f"{name} {str(args[0]).removeprefix(home)}")

    sys.addaudithook(hook)


def trained(path: Path, out: Path, *, resume: bool) -> None:
    from llmpolicy.errors import RunError
    from llmpolicy.session import train_recipe

    # A worker is a process of its own, which takes longer to start than a step.
    if path.parent.name != WITH_WORKERS:
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
    return list(map(tuple, json.loads(times.read_text())))


def moment_of(case: int, kind: str, events: Events) -> tuple[int, float]:
    """The number of the operation and the seconds after it at which a case is killed."""
    chance = random.Random(case)
    if kind == "writing":
        return chance.randrange(1, len(events)), chance.choice([0.0, 0.0, chance.uniform(0, 0.004)])
    earliest = 0.0
    if kind == "last":  # each step logs its evaluation and itself, the end a summary
        earliest = [moment for moment, name in events if name.endswith("metrics.jsonl")][-5]
    moment = chance.uniform(earliest, events[-2][0])
    number = max(1, sum(begun <= moment for begun, _ in events))
    return number, max(moment - events[number - 1][0], 0.0)


def killed(path: Path, out: Path, at: tuple[int, float], log: Path, *, resume: bool) -> int:
    """Run until the moment; the exit code, -9 when it was reached."""
    number, seconds = at
    reading, writing = os.pipe()

    def event(operation: int, _: str) -> None:
        if operation == number and seconds == 0.0:
            os.kill(os.getpid(), signal.SIGKILL)
        if operation == number:
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
    if code != 2:
        return code, out
    refusal = "".join(log.read_text().splitlines()[-1:])
    if "already at step" in refusal:
        return 0, out
    if "start it anew with another --out DIR" in refusal:
        out = out.with_name(f"{out.name}-again")
    elif "start it anew without --resume" not in refusal and "holds no run" not in refusal:
        return code, out
    return forked(lambda: trained(path, out, resume=False), log), out


def one_case(case: int, variant: str, folder: Path, expected: Record, events: Events) -> Record:
    """Kill, go on, compare."""
    kind = KINDS[case % len(KINDS)]
    at = moment_of(case, kind, events)
    out, log = folder / f"case-{case}", folder / f"case-{case}.log"
    path = folder / "mine.yaml"
    begun = time.monotonic()
    kills = [killed(path, out, at, log, resume=False)]
    if kills[0] == -signal.SIGKILL and case % 7 == 3:  # and once more, while it goes on
        early = [event for event in events if event[0] < events[-1][0] / 2]
        again = moment_of(case + 10**6, "any", early)
        kills.append(killed(path, out, again, log, resume=True))
    code, end = finished(path, out, log)
    different = [f"exit code {code}: {log.read_text()[-600:]}"]
    if not code:
        different = differences(expected, contents(end))
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
) -> list[Record]:
    """The records of some cases; those in ``keep`` are taken from there."""
    prepare(
        ["llmpolicy.grpo.trainer", "llmpolicy.session", "matplotlib.pyplot", "safetensors.torch"]
    )
    measures: Record = {}
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
            # It reads TRL's source, once.
            importlib.import_module("llmpolicy.recipe").load_recipe(str(recipe(home, variant)))
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


def measure() -> Record:
    """How many of the cases were killed where, and how many came to what a run without a kill comes
    to.
    """
    measured = RUNS / "kills" / fingerprint(SOURCES)[:16]  # on these sources
    with tempfile.TemporaryDirectory() as folder:
        records = cases(range(CASES), tuple(VARIANTS), Path(folder), measured)
    killed = [record for record in records if record["killed"] > 0]
    different = [record for record in records if record["different"]]
    return {
        "cases": len(records),
        "killed": len(killed),
        "kills": sum(record["killed"] for record in records),
        "killed_by_kind": _counts(killed, "kind", KINDS),
        "variants": _counts(records, "variant", VARIANTS),
        "identical": len(records) - len(different),
        "different": different,
    }


def _counts(records: list[Record], key: str, names: Iterable[str]) -> dict[str, int]:
    counts = Counter(record[key] for record in records)
    return {name: counts[name] for name in names}
