"""``python -m scripts.zoo [--out FILE] [NAME...]``: every causal family and every kind of adapter against the laws."""

import argparse
import os
import warnings
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", TRL_EXPERIMENTAL_SILENCE="1", TOKENIZERS_PARALLELISM="false")


def main() -> None:
    """Run what was asked for and is not in the file yet."""
    import torch

    from scripts.zoo import adapters, build, cases, isolate

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("runs/zoo/zoo.jsonl"))
    parser.add_argument("names", nargs="*")
    asked = parser.parse_args()
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    items: list[isolate.Item] = [(name, partial(cases.family, name)) for name in [*build.families(), *build.VARIANTS]]
    items += adapters.items().items()
    isolate.run(
        [item for item in items if not asked.names or any(fnmatch(item[0], name) for name in asked.names)], asked.out
    )


if __name__ == "__main__":
    main()
