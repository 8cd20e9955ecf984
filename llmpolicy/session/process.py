"""The process a run happens in: which one writes, on what it computes, and how loud the libraries are."""

import logging
import os
from collections.abc import Callable
from typing import Any

Say = Callable[[str], None]
SMALL = 2_000_000
"""Parameters below which a matrix product is too small to share among threads."""


def quiet() -> None:
    """Keep the libraries' own progress bars and advice out of the way of ours; warnings and errors still show."""
    import warnings

    import transformers

    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("accelerate").setLevel(logging.ERROR)


def is_main() -> bool:
    """Whether this is the process that writes and prints."""
    return int(os.environ.get("RANK", "0")) == 0


def use_threads(policy: Any) -> None:
    """One thread for a small model on a CPU: more gain little when the machine is free and cost fivefold when it is not.

    Measured on 2 cores with the bundled model of 0.35 million parameters, 256 completions a step: see docs/log.md.
    """
    import torch

    if policy.device.type == "cpu" and sum(p.numel() for p in policy.model.parameters()) < SMALL:
        torch.set_num_threads(1)


def world_size() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def tell(line: str) -> None:
    """Print a line at once, also into a file or a pipe."""
    print(line, flush=True)


def silent(_: str) -> None:
    pass


def target() -> str:
    from llmpolicy.grpo import config

    return config.target()
