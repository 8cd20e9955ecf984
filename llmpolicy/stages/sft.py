"""The supervised warm start: TRL's SFTTrainer on demonstrations, written as a normal model."""

import json
import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmpolicy.errors import PolicyError, RecipeError
from llmpolicy.recipe import GRPO_DEFAULTS, STAGE_DEFAULTS, TARGET_DEFAULTS
from llmpolicy.recipe.no_effect import check_device
from llmpolicy.run import written_whole
from llmpolicy.tasks import Demonstration

if TYPE_CHECKING:
    from datasets import Dataset

    from llmpolicy.policies.causal_lm import CausalLMPolicy
    from llmpolicy.policies.causal_lm.codec import Codec

logger = logging.getLogger("llmpolicy")

REPORT = "warm_start.json"


def stage_config(
    config: Any, block: str, settings: Mapping[str, Any], *, folder: Path, seed: int, target: str
) -> Any:
    """A stage's configuration: the recipe's block, and the defaults that make it run anywhere.

    Raises RecipeError when TRL refuses a value.
    """
    own = {
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
            args = config(**defaults | dict(settings) | own)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{block}: {' '.join(str(error).split())}") from error
    check_device(block, args)
    return args


def sft_config(settings: Mapping[str, Any], *, folder: Path, seed: int, target: str) -> Any:
    """SFTConfig from the recipe's ``sft:`` block; raises RecipeError when TRL refuses a value."""
    from trl import SFTConfig

    return stage_config(SFTConfig, "sft", settings, folder=folder, seed=seed, target=target)


def warm_start(
    policy: "CausalLMPolicy",
    train: Sequence[Demonstration],
    held_out: Sequence[Demonstration],
    args: Any,
    folder: Path,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """Train a policy on the replies of demonstrations and write it with its report; an adapter is
    merged first.

    The report holds the mean loss of a reply's token, in nats, in training and on the held-out
    demonstrations.
    """
    from accelerate import PartialState
    from trl import SFTTrainer

    from llmpolicy.policies.causal_lm.experts import settle_aux_loss
    from llmpolicy.policies.causal_lm.forward import bare
    from llmpolicy.policies.causal_lm.frequencies import check_rows
    from llmpolicy.policies.causal_lm.trained import check_trained

    if bare(policy.model).base_model is bare(policy.model):
        kind = type(bare(policy.model)).__name__
        raise PolicyError(
            f"sft: TRL finds no layers under the head of {kind}; expected a model that it can"
            " warm-start"
        )
    learned, measured_on = (
        _dataset(rows, policy.codec, args) if rows else None for rows in (train, held_out)
    )
    check_trained(policy.model, policy.name, args)
    policy.rehearse()
    if policy.is_adapter and PartialState().is_main_process:
        policy.merge().rehearse()  # what is written at the end
    trainer = SFTTrainer(
        policy.model,
        args,
        train_dataset=learned,
        eval_dataset=measured_on,
        processing_class=policy.tokenizer,
    )
    drop_printers(trainer)
    settle_aux_loss(trainer, policy.model, args.router_aux_loss_coef)
    for rows in filter(None, (trainer.train_dataset, trainer.eval_dataset)):
        check_rows(policy.model, lengths(rows, "input_ids"), "sft")
    loss = trainer.train().training_loss
    measured = trainer.evaluate()["eval_loss"] if held_out else math.nan
    report = {"schema": 1, **facts, "train": {"n": len(train), "loss": loss}}
    report["held_out"] = {"n": len(held_out), "loss": measured} if held_out else None
    if trainer.is_world_process_zero():
        with written_whole(folder) as staged:
            (policy.merge() if policy.is_adapter else policy).save(staged)
            write_report(staged / REPORT, report)
    trainer.accelerator.wait_for_everyone()
    return report


def lengths(rows: Any, *columns: str) -> list[int]:
    """The tokens of each row; of those that were packed in one, each by itself."""
    if "seq_lengths" in rows.column_names:
        return [length for several in rows["seq_lengths"] for length in several]
    return [len(ids) for column in columns for ids in rows[column]]


def _dataset(rows: Sequence[Demonstration], codec: "Codec", args: Any) -> "Dataset":
    """Token ids for TRL, prompts as GRPO generates from them; only the replies are learned, and
    their end.
    """
    from datasets import Dataset

    read = [
        codec.lesson(row.prompt, row.reply, f"sft, demonstration {row.question!r:.60}")
        for row in rows
    ]
    whole = args.completion_only_loss is False
    most = args.max_length if args.truncation_mode == "keep_start" else None
    if most is not None and all(len(before) >= most for before, _ in read):
        raise PolicyError(
            f"sft: every prompt fills max_length = {most} tokens, and no reply is left to learn;"
            " raise it"
        )
    longer = sum(
        args.max_length is not None and len(before) + len(reply) > args.max_length
        for before, reply in read
    )
    if longer:
        logger.warning(
            "sft: %d of %d demonstrations have more than max_length = %d tokens, and lose what is beyond",
            longer, len(read), args.max_length,
        )  # fmt: skip
    return Dataset.from_list(
        [
            {
                "input_ids": [*before, *reply],
                "labels": [*(before if whole else [-100] * len(before)), *reply],
            }
            for before, reply in read
        ]
    )


def drop_printers(trainer: Any) -> None:
    """Leave the output to llmpolicy."""
    from transformers import PrinterCallback, ProgressCallback

    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write a stage's report; it comes last, so that a stage with a report is whole."""
    path.write_text(json.dumps(report, indent=2, default=float) + "\n", encoding="utf-8")
