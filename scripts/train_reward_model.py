"""Train the reward model of a recipe: ``python scripts/train_reward_model.py RECIPE [KEY=VALUE]... [--out DIR]``."""

import sys

from llmpolicy.cli import run

if __name__ == "__main__":
    sys.argv[1:] = ["train", *sys.argv[1:], "--until", "reward_model"]
    run()
