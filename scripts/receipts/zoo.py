"""Every causal family of transformers and every kind of adapter of peft against the laws of a
policy (scripts/zoo).

It takes about twenty minutes of one core. An animal that was measured on the same sources is not
measured again.
"""

import importlib.metadata
from collections import Counter
from typing import Any

from scripts.receipts._sources import POLICY, ROOT, fingerprint

SOURCES = [
    "scripts/zoo/*.py",
    "scripts/receipts/zoo.py",
    "tests/models.py",
    "tests/training.py",
    *POLICY,
]
PACKAGES = ("torch", "transformers", "peft", "trl")


def measure() -> dict[str, Any]:
    """How every animal ends, its figures and sentences, and how many end how."""
    from scripts.zoo import isolate
    from scripts.zoo.__main__ import items

    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    out = ROOT / "runs" / "zoo" / f"{fingerprint(SOURCES, versions)[:12]}.jsonl"
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
