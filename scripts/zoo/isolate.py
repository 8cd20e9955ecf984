"""Each animal in a process of its own, forked, with a time limit: a crash or a hang is one row,
appended as a JSON line.
"""

import gc
import json
import multiprocessing
import os
import resource
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

SECONDS, PROCESSOR_SECONDS = 600, 90
"""How long an animal may take on the clock of a busy machine, and of the processor."""

Row = dict[str, Any]
Measured = Callable[[], Row]
Item = tuple[str, Measured]


def run(items: Iterable[Item], out: Path) -> None:
    """Run every item that has no line in ``out`` yet."""
    done = {row["name"] for row in rows(out)}
    gc.collect()
    gc.freeze()  # what a child would collect again, it would copy
    for name, call in items:
        if name not in done:
            row = apart(name, call, out.with_suffix(".log"))
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{name}: {row['outcome']} ({row['seconds']} s)", flush=True)


def rows(out: Path) -> list[Row]:
    """What was written so far."""
    if not out.exists():
        return []
    return list(map(json.loads, out.read_text(encoding="utf-8").splitlines()))


def apart(name: str, call: Measured, log: Path) -> Row:
    """One item in a forked process."""
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe(duplex=False)
    start = _processor_seconds()
    process = context.Process(target=_child, args=(call, theirs, log))
    process.start()
    theirs.close()
    row: Row = {"outcome": "hang", "errors": {"process": f"no end after {SECONDS} s"}}
    if mine.poll(SECONDS):
        try:
            row = mine.recv()
        except EOFError:
            process.join()
            row = {"outcome": "crash", "errors": {"process": f"ended with code {process.exitcode}"}}
    if process.is_alive():
        process.join(1)
        process.kill()
    process.join()
    return {"name": name, "seconds": round(_processor_seconds() - start, 1), **row}


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _child(call: Measured, pipe: Any, log: Path) -> None:
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_SECONDS, PROCESSOR_SECONDS))
    pipe.send(call())
    os._exit(0)
