"""What figures depend on: files by patterns, and one hash over all that they hold."""

import hashlib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
RUNS = ROOT / "runs" / "receipts"
POLICY = ["llmpolicy/grpo/*.py", "llmpolicy/policies/causal_lm/**/*.py"]
TRAINING = [*POLICY, "llmpolicy/evaluation/*.py", "llmpolicy/tasks/*.py"]
QUICKSTART = ["recipes/quickstart.yaml", "llmpolicy/bundled/**/*", *TRAINING, "reward_fns/exact.py"]


def fingerprint(sources: list[str], *facts: Any) -> str:
    """One hash over the content of all files that the patterns name, and over further facts; a
    pattern without a file is an error.
    """
    digest = hashlib.sha256()
    for pattern in sorted(sources):
        paths = sorted(filter(Path.is_file, ROOT.glob(pattern)))
        if not paths:
            raise SystemExit(f"receipts: no file matches the source {pattern!r}")
        for path in paths:
            if "__pycache__" not in path.parts:
                digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    for fact in facts:
        digest.update(repr(fact).encode())
    return digest.hexdigest()
