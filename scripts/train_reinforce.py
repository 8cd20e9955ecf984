"""Train a recipe by REINFORCE: ``python scripts/train_reinforce.py RECIPE [KEY=VALUE]... [--out
DIR] [--resume]``.
"""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # the folder of this script: no place to import from

from llmpolicy.__main__ import main

if __name__ == "__main__":
    main("train")
