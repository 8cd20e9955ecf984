"""Train a recipe by GRPO: ``accelerate launch scripts/train_grpo.py RECIPE [KEY=VALUE]... [--out DIR] [--resume]``."""

import sys

from llmpolicy.cli import run

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    run()
