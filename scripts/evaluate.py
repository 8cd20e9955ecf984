"""Evaluate a run or a model: ``python scripts/evaluate.py MODEL_OR_RUN --recipe RECIPE [--json FILE]``."""

import sys

from llmpolicy.cli import run

if __name__ == "__main__":
    sys.argv.insert(1, "evaluate")
    run()
