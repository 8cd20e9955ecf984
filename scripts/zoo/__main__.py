"""``python -m scripts.zoo [--out FILE] [NAME...]``: causal families and kinds of adapters against
the laws.

``--page`` writes docs/models.md from the receipt instead, and fails if anything is wrong or ends in
a bare error.
"""

import argparse
import os
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", TRL_EXPERIMENTAL_SILENCE="1", TOKENIZERS_PARALLELISM="false")


def items() -> list[Any]:
    """All animals by name, each with the call that measures it."""
    import warnings

    import torch

    from scripts.zoo import adapters, build, cases

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    names = (*build.families(), *build.VARIANTS)
    families = [(name, partial(cases.family, name)) for name in names]
    return [*families, *adapters.items().items()]


def main() -> None:
    """Run what was asked for and is not in the file yet."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("runs/zoo/zoo.jsonl"))
    parser.add_argument("--page", action="store_true")
    parser.add_argument("names", nargs="*", help="names or globs; all without one")
    asked = parser.parse_args()
    if asked.page:
        from scripts.zoo import page

        raise SystemExit("\n".join(f"{row['name']}: {row['outcome']}" for row in page.write()) or 0)
    from scripts.zoo import isolate

    asked.out.parent.mkdir(parents=True, exist_ok=True)
    animals = []
    for name, call in items():
        if not asked.names or any(fnmatch(name, pattern) for pattern in asked.names):
            animals.append((name, call))
    isolate.run(animals, asked.out)


if __name__ == "__main__":
    main()
