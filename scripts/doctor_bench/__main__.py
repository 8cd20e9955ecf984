"""``python -m scripts.doctor_bench [--set choose] [NAME...]``: runs that are broken on
purpose, and sound ones, and what the doctor says of each.

``--page`` writes docs/doctor.md from the receipt instead.
"""

import argparse
import os
import warnings

os.environ.update(HF_HUB_OFFLINE="1", TRL_EXPERIMENTAL_SILENCE="1", TOKENIZERS_PARALLELISM="false")


def main() -> None:
    """Make what was asked for and is not there yet, and judge it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--set", action="append", choices=("choose", "judge"))
    parser.add_argument("--page", action="store_true")
    parser.add_argument("names", nargs="*", help="names of cases; all without one")
    asked = parser.parse_args()
    if asked.page:
        from scripts.doctor_bench import page

        raise SystemExit(page.write())
    import torch

    from scripts.doctor_bench import judge, make

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    folder = make.folder()
    make.make(folder, asked.set or ("choose", "judge"), asked.names)
    for of in asked.set or ("choose", "judge"):
        print(judge.text(judge.judged(folder, of)))


if __name__ == "__main__":
    main()
