"""Publish a run on the Hub: the same as ``llmpolicy publish RUN --repo USER/NAME [--dry-run]``."""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # the folder of this script: no place to import from

from llmpolicy.__main__ import main

if __name__ == "__main__":
    main("publish")
