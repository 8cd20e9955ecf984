"""The supervised warm start: TRL's SFTTrainer on demonstrations, written as a normal model."""

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmpolicy.errors import PolicyError, RecipeError
from llmpolicy.messages import content_text
from llmpolicy.recipe import GRPO_DEFAULTS, STAGE_DEFAULTS, TARGET_DEFAULTS
from llmpolicy.run import written_whole
from llmpolicy.tasks import Demonstration
from llmpolicy.types import Prompt

if TYPE_CHECKING:
    from datasets import Dataset

    from llmpolicy.policies.causal_lm import CausalLMPolicy
    from llmpolicy.policies.causal_lm.template import Template

REPORT = "warm_start.json"


def stage_config(config: Any, block: str, settings: Mapping[str, Any], *, folder: Path, seed: int, target: str) -> Any:
    """A stage's configuration: the recipe's block, and the defaults that make it run anywhere.

    Raises RecipeError when TRL refuses a value.
    """
    own = {
        "output_dir": str(folder.with_name(f"{folder.name}_trainer")),
        "seed": seed,
        "push_to_hub": False,
        "disable_tqdm": True,
    }
    shared = {key: GRPO_DEFAULTS[key] for key in ("gradient_checkpointing", "report_to", "logging_nan_inf_filter")}
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
            return config(**defaults | dict(settings) | own)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{block}: {' '.join(str(error).split())}") from error


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
    """Train a policy on the replies of demonstrations and write it with its report; an adapter is merged first.

    The report holds the mean loss of a reply's token, in nats, in training and on the held-out demonstrations.
    """
    from accelerate import PartialState
    from trl import SFTTrainer

    from llmpolicy.policies.causal_lm.experts import settle_aux_loss
    from llmpolicy.policies.causal_lm.forward import bare
    from llmpolicy.policies.causal_lm.frequencies import check_rows

    if bare(policy.model).base_model is bare(policy.model):
        kind = type(bare(policy.model)).__name__
        raise PolicyError(f"sft: TRL finds no layers under the head of {kind}; expected a model that it can warm-start")
    policy.rehearse()
    if policy.is_adapter and PartialState().is_main_process:
        policy.merge().rehearse()  # what is written at the end
    trainer = SFTTrainer(
        policy.model, args, train_dataset=_dataset(train, policy.codec.template), processing_class=policy.tokenizer,
        eval_dataset=_dataset(held_out, policy.codec.template) if held_out else None,
    )  # fmt: skip
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


def _dataset(rows: Sequence[Demonstration], template: "Template") -> "Dataset":
    """Prompts and completions as TRL takes them; only the completions are learned."""
    return table(
        [exchange(row.prompt, template, completion=row.reply) | _options(row.prompt, template) for row in rows]
    )


def table(rows: Sequence[Mapping[str, Any]]) -> "Dataset":
    """Rows with messages for TRL, held as JSON: Arrow would give every message the fields of all others."""
    from datasets import Dataset, Features, Json, Value

    texts = {name for row in rows for name, value in row.items() if isinstance(value, str)}
    kinds = {name: Value("string") if name in texts else Json() for row in rows for name in row}
    return Dataset.from_list([{name: row.get(name) for name in kinds} for row in rows], features=Features(kinds))


def exchange(prompt: Prompt, template: "Template", **replies: str) -> dict[str, Any]:
    """A prompt with its replies as TRL takes them: texts, or messages of the kind that the chat template shows.

    A prefill goes to the replies, since TRL would begin another turn behind it.
    """
    if isinstance(prompt, str):
        return {"prompt": prompt, **replies}
    messages, begun = [dict(message) for message in prompt], ""
    if messages[-1]["role"] == "assistant":
        begun = content_text(messages.pop()["content"])
    said = {name: [{"role": "assistant", "content": begun + text}] for name, text in replies.items()}
    return {name: template.fitted(some) for name, some in {"prompt": messages, **said}.items()}


def _options(prompt: Prompt, template: "Template") -> dict[str, Any]:
    """What the chat template is given besides, in the columns that TRL looks at."""
    given = {} if isinstance(prompt, str) else {**template.arguments, **getattr(prompt, "options", {})}
    tools = given.pop("tools", None)
    return {"chat_template_kwargs": given} | ({"tools": json.dumps(tools)} if tools else {})


def drop_printers(trainer: Any) -> None:
    """Leave the output to llmpolicy."""
    from transformers import PrinterCallback, ProgressCallback

    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write a stage's report; it comes last, so that a stage with a report is whole."""
    path.write_text(json.dumps(report, indent=2, default=float) + "\n", encoding="utf-8")
