"""All that a run came to, as plain data, and where two runs differ."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

TIMED = ("time", "train_runtime", "step_time", "train_samples_per_second", "train_steps_per_second")


def contents(out: Path) -> dict[str, Any]:
    """All that a run came to, by name: hashes of tensors and states, rows of metrics and rollouts,
    the evaluation.
    """
    from safetensors.torch import load_file

    from llmpolicy.run import Run, damage

    run = Run.open(out)
    facts: dict[str, Any] = {
        "status": run.manifest["status"],
        "best": run.manifest.get("best"),
        "evaluation": run.evaluation(),
        "metrics": list(map(_untimed, run.metrics())),
        "rollouts": [_without(row, ("seconds",)) for row in run.rollouts()],
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
                facts[f"{name} {state}"] = _hash(_loaded(folder / state))
        if (folder / "trainer_state.json").is_file():
            facts[f"{name} state"] = _state(folder / "trainer_state.json")
    facts["left over"] = sorted(path.name for path in out.rglob(".*") if path.name != ".lock")
    return facts


def _untimed(line: dict[str, Any]) -> dict[str, Any]:
    return _without(line, (*TIMED, *(key for key in line if "seconds" in key)))


def _without(record: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in keys}


def _loaded(path: Path) -> Any:
    import torch

    return torch.load(path, weights_only=False)


def _state(path: Path) -> Any:
    state = json.loads(path.read_text())
    state["log_history"] = list(map(_untimed, state.get("log_history", [])))
    return _without(state, ("total_flos", "num_input_tokens_seen"))


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
