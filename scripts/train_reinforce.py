"""Train a recipe by REINFORCE: ``python scripts/train_reinforce.py RECIPE [KEY=VALUE]... [--out DIR] [--resume]``."""

import sys

from llmpolicy.cli import run

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    run()
