"""Supervised warm start of a recipe with ``sft:``: ``python scripts/train_sft.py RECIPE
[KEY=VALUE]... [--out DIR]``.
"""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # the folder of this script: no place to import from

from llmpolicy.__main__ import main

if __name__ == "__main__":
    sys.argv[1:] = ["train", *sys.argv[1:], "--until", "sft"]
    main()
