"""Supervised warm start of a recipe with ``sft:``: ``python scripts/train_sft.py RECIPE [KEY=VALUE]... [--out DIR]``."""

import sys

from llmpolicy.cli import run

if __name__ == "__main__":
    sys.argv[1:] = ["train", *sys.argv[1:], "--until", "sft"]
    run()
