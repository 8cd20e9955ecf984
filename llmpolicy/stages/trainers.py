"""What the trainers of TRL share: their options, an output that is left to llmpolicy, a report at
the end.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmpolicy.errors import RecipeError
from llmpolicy.recipe import GRPO_DEFAULTS, STAGE_DEFAULTS, TARGET_DEFAULTS
from llmpolicy.recipe.no_effect import check_device


def stage_config(
    config: Any, block: str, settings: Mapping[str, Any], *, folder: Path, seed: int, target: str
) -> Any:
    """A stage's configuration: the recipe's block, and the defaults that make it run anywhere.

    Raises RecipeError when TRL refuses a value.
    """
    fixed = {
        "output_dir": str(folder.with_name(f"{folder.name}_trainer")),
        "seed": seed,
        "push_to_hub": False,
        "disable_tqdm": True,
    }
    shared = {
        key: GRPO_DEFAULTS[key]
        for key in ("gradient_checkpointing", "report_to", "logging_nan_inf_filter")
    }
    defaults = {
        **shared,
        "save_strategy": "no",
        "logging_steps": 20,
        **TARGET_DEFAULTS[target],
        **STAGE_DEFAULTS[block],
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            args = config(**defaults | dict(settings) | fixed)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{block}: {' '.join(str(error).split())}") from error
    check_device(block, args)
    return args


def lengths(rows: Any, *columns: str) -> list[int]:
    """The tokens of each row; of those that were packed in one, each by itself."""
    if "seq_lengths" in rows.column_names:
        return [length for several in rows["seq_lengths"] for length in several]
    return [len(ids) for column in columns for ids in rows[column]]


def drop_printers(trainer: Any) -> None:
    """Leave the output to llmpolicy."""
    from transformers import PrinterCallback, ProgressCallback

    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write a stage's report; it comes last, so that a stage with a report is whole."""
    path.write_text(json.dumps(report, indent=2, default=float) + "\n", encoding="utf-8")
