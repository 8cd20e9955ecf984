"""Evaluate a run or a model: ``python scripts/evaluate.py MODEL_OR_RUN --recipe RECIPE [--json
FILE]``.
"""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # the folder of this script: no place to import from

from llmpolicy.__main__ import main

if __name__ == "__main__":
    main("evaluate")
