"""``python -m llmpolicy`` and the command ``llmpolicy``."""

import os
import sys


def main() -> None:
    """Run the command line; the current folder is not a place to import from."""
    # `python -m` puts the current folder first: a file there must not shadow a package or a reward.
    if sys.path and sys.path[0] in ("", os.getcwd()):
        del sys.path[0]
    from llmpolicy.cli import run

    run()


if __name__ == "__main__":
    main()
