"""Every causal family of transformers and every kind of adapter of peft against the laws of a
policy (scripts/zoo).

It takes about twenty minutes of one core. An animal that was measured on the same sources is not
measured again.
"""

import hashlib
import importlib.metadata
import os
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = [
    "scripts/zoo/*.py",
    "scripts/receipts/zoo.py",
    "tests/models.py",
    "tests/training.py",
    "llmpolicy/grpo/*.py",
    "llmpolicy/policies/causal_lm/**/*.py",
]
PACKAGES = ("torch", "transformers", "peft", "trl")


def measure() -> dict[str, Any]:
    """How every animal ends, its figures and sentences, and how many end how."""
    os.environ.update(
        HF_HUB_OFFLINE="1", TRL_EXPERIMENTAL_SILENCE="1", TOKENIZERS_PARALLELISM="false"
    )
    from scripts.zoo import isolate
    from scripts.zoo.__main__ import items

    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    out = ROOT / "runs" / "zoo" / f"{_stamp(versions)}.jsonl"
    out.parent.mkdir(parents=True, exist_ok=True)
    animals = items()
    isolate.run(animals, out)
    rows = {row["name"]: row for row in isolate.rows(out)}
    kept = [rows[name] for name, _ in animals]
    outcomes = Counter(row["outcome"] for row in kept)
    return {
        "versions": versions,
        "outcomes": dict(sorted(outcomes.items())),
        "processor_seconds": round(sum(row["seconds"] for row in kept)),
        "animals": kept,
    }


def _stamp(versions: dict[str, str]) -> str:
    """A short hash of what an animal's line depends on."""
    paths = chain.from_iterable(map(ROOT.glob, SOURCES))
    digest = hashlib.sha256()
    for path in sorted(filter(Path.is_file, paths)):
        digest.update(path.read_bytes())
    digest.update(repr(versions).encode())
    return digest.hexdigest()[:12]
