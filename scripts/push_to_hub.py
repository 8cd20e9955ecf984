"""Publish a run on the Hub: the same as `llmpolicy publish RUN --repo USER/NAME`."""

import argparse
import sys

from llmpolicy.errors import LLMPolicyError
from llmpolicy.publish import publish_run


def main(argv: list[str] | None = None) -> int:
    """Read the options and publish; exit code 1 and one sentence when it cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="the folder of a run")
    parser.add_argument("--repo", required=True, metavar="USER/NAME", help="where on the Hub")
    parser.add_argument("--what", choices=("adapter", "merged"), help="default: the adapter if others can load it")
    parser.add_argument("--which", choices=("last", "best"), help="default: the best step, if it was evaluated")
    parser.add_argument("--public", action="store_true", help="let everybody see it (default: private)")
    parser.add_argument("--dry-run", action="store_true", help="build and check everything, send nothing")
    options = vars(parser.parse_args(argv))
    try:
        publish_run(options.pop("run"), options.pop("repo"), **options)
    except LLMPolicyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
