"""All that a run came to, as plain data, and where two runs differ."""

import hashlib
from pathlib import Path
from typing import Any

from llmpolicy.bounded import read_json

Record = dict[str, Any]
TIMED = ("time", "train_runtime", "step_time", "train_samples_per_second", "train_steps_per_second")


def contents(out: Path) -> Record:
    """All that a run came to, by name: hashes of tensors and states, rows of metrics and rollouts,
    the evaluation.
    """
    import torch
    from safetensors.torch import load_file

    from llmpolicy.run import Run, damage

    run = Run.open(out)
    facts: Record = {
        "status": run.manifest["status"],
        "best": run.manifest.get("best"),
        "evaluation": run.evaluation(),
        "metrics": list(map(_untimed, run.metrics())),
        "rollouts": list(map(_untimed, run.rollouts())),
    }
    folders = {"policy": run.policy_dir, "best/": run.best_dir}
    folders |= {path.name: path for path in run.checkpoints()}
    for name, folder in folders.items():
        facts[f"{name} whole"] = damage(folder)
        for file in sorted(folder.rglob("*.safetensors")):
            hashes = {key: _hash(tensor) for key, tensor in sorted(load_file(file).items())}
            facts[f"{name} {file.relative_to(folder)}"] = hashes
        for state in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
            if (folder / state).is_file():
                loaded = torch.load(folder / state, weights_only=False)
                facts[f"{name} {state}"] = _hash(loaded)
        if (folder / "trainer_state.json").is_file():
            facts[f"{name} state"] = _state(folder / "trainer_state.json")
    facts["left over"] = sorted(path.name for path in out.rglob(".*") if path.name != ".lock")
    return facts


def _untimed(record: Record) -> Record:
    """A record without what no two runs have alike."""
    kept = {}
    for key, value in record.items():
        if "seconds" not in key and key not in TIMED:
            kept[key] = value
    return kept


def _state(path: Path) -> Any:
    state = read_json(path)
    state["log_history"] = list(map(_untimed, state.get("log_history", [])))
    for key in ("total_flos", "num_input_tokens_seen"):
        state.pop(key, None)
    return state


def _hash(value: Any) -> str:
    import pickle

    import torch

    def plain(item: Any) -> Any:
        if isinstance(item, torch.Tensor):
            data = item.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
            return str(item.dtype), tuple(item.shape), data
        if isinstance(item, dict):
            return [(str(key), plain(item[key])) for key in item]
        return list(map(plain, item)) if isinstance(item, list | tuple) else repr(item)

    return hashlib.sha256(pickle.dumps(plain(value))).hexdigest()[:16]


def differences(expected: Any, actual: Any, where: str = "") -> list[str]:
    """Where two contents differ, down to the key."""
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        expected, actual = dict(enumerate(expected)), dict(enumerate(actual))
    if isinstance(expected, dict) and isinstance(actual, dict):
        lines = []
        for key in sorted({*expected, *actual}, key=str):
            lines += differences(expected.get(key), actual.get(key), f"{where}/{key}")
        return lines
    if expected == actual or (expected != expected and actual != actual):
        return []
    return [f"{where}: {expected!r:.80} became {actual!r:.80}"]
