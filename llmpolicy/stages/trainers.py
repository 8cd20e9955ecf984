"""What the trainers of TRL share: their options, an output that is left to llmpolicy, a report at
the end.
"""

import json
import warnings
from itertools import chain
from pathlib import Path
from typing import Any

from llmpolicy.errors import RecipeError, one_line
from llmpolicy.grpo.peers import meet
from llmpolicy.recipe import GRPO_DEFAULTS, STAGE_DEFAULTS, STAGES, TARGET_DEFAULTS
from llmpolicy.recipe.no_effect import check_device
from llmpolicy.run.sealed import Facts


def stage_config(block: str, settings: Facts, *, folder: Path, seed: int, target: str) -> Any:
    """The configuration of TRL's that a stage's block goes to, with the defaults that make it run
    anywhere.

    Raises RecipeError when TRL refuses a value.
    """
    import trl

    options: dict[str, Any] = {"save_strategy": "no", "logging_steps": 20}
    for key in ("gradient_checkpointing", "report_to", "logging_nan_inf_filter"):
        options[key] = GRPO_DEFAULTS[key]
    options |= {**TARGET_DEFAULTS[target], **STAGE_DEFAULTS[block], **settings}
    options |= {"seed": seed, "push_to_hub": False, "disable_tqdm": True}
    options["output_dir"] = str(folder.with_name(f"{folder.name}_trainer"))
    try:
        meet(options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            args = getattr(trl, STAGES[block])(**options)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{block}: {one_line(error)}") from error
    check_device(block, args)
    return args


def lengths(rows: Any, *columns: str) -> list[int]:
    """The tokens of each row; of those that were packed in one, each by itself."""
    if "seq_lengths" in rows.column_names:
        return list(chain.from_iterable(rows["seq_lengths"]))
    return list(map(len, chain.from_iterable(rows[column] for column in columns)))


def drop_printers(trainer: Any) -> None:
    """Leave the output to llmpolicy."""
    from transformers import PrinterCallback, ProgressCallback

    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)


def write_report(path: Path, report: Facts) -> None:
    """Write a stage's report; it comes last, so that a stage with a report is whole."""
    path.write_text(json.dumps(report, indent=2, default=float) + "\n", encoding="utf-8")


def shares_weights(trainer: Any) -> bool:
    """Whether no process has all weights."""
    return bool(trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled)
