"""From the recipe's ``grpo:`` block to TRL's GRPOConfig: verbatim, plus the few defaults that make
it run anywhere.
"""

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, get_scheduler
from transformers.integrations.integration_utils import (
    INTEGRATION_TO_CALLBACK,
    get_available_reporting_integrations,
)
from trl import GRPOConfig

from llmpolicy.errors import RecipeError, nearest, one_line
from llmpolicy.grpo.peers import SHARES, meet
from llmpolicy.recipe import GRPO_DEFAULTS, TARGET_DEFAULTS, trackers
from llmpolicy.recipe.no_effect import check_device


def target() -> str:
    """``gpu`` where torch finds an accelerator other than Apple's, else ``cpu`` (MPS trains in fp32
    like a CPU).
    """
    if torch.cuda.is_available() or (hasattr(torch, "xpu") and torch.xpu.is_available()):
        return "gpu"
    return "cpu"


def grpo_config(
    grpo: Mapping[str, Any],
    *,
    output_dir: Path,
    seed: int,
    reward_weights: Sequence[float],
) -> GRPOConfig:
    """Build GRPOConfig from the recipe's block; raises RecipeError when TRL refuses a value."""
    settings = {**GRPO_DEFAULTS, **TARGET_DEFAULTS[target()], **grpo}
    if torch.backends.mps.is_available() and "use_cpu" not in grpo:
        settings["use_cpu"] = False
    settings["report_to"] = _trackers(settings.get("report_to"))
    settings.update(
        output_dir=str(output_dir),
        seed=seed,
        reward_weights=list(reward_weights),
        disable_tqdm=True,
    )
    settings.update(push_to_hub=False, remove_unused_columns=False, eval_strategy="no")
    try:
        meet(settings)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            args = GRPOConfig(**settings)
        _try_optimizer(args)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"grpo: {one_line(error)}") from error
    if args.fsdp and args.world_size == 1:
        raise RecipeError(
            "grpo.fsdp shares weights out among processes, and there is one; start several with"
            " torchrun"
        )
    refuse_shares_on_cpus(args)
    if not 0 < args.temperature < math.inf:
        raise RecipeError(f"grpo.temperature is {args.temperature}; expected above 0")
    check_device("grpo", args)
    return args


def refuse_shares_on_cpus(args: GRPOConfig) -> None:
    """Raise RecipeError for FSDP or DeepSpeed on CPUs, where accelerate leaves all weights with
    each process, without a word.
    """
    named = [name for name in SHARES if os.environ.get(name) == "true"]
    if args.device.type == "cpu" and (args.fsdp or named):
        asked = "grpo.fsdp" if args.fsdp else "the launcher's file"
        raise RecipeError(
            f"{asked} shares weights out among processes, which accelerate does on accelerators"
            " only: on a CPU each process would keep them all; leave it out"
        )


def _try_optimizer(args: GRPOConfig) -> None:
    """Let torch and transformers look at the settings of optimiser and schedule before a model is
    loaded; ValueError.
    """
    betas = (args.adam_beta1, args.adam_beta2)
    settings: dict[str, Any] = {
        "lr": args.learning_rate,
        "betas": betas,
        "eps": args.adam_epsilon,
        "weight_decay": args.weight_decay,
    }
    if not all(
        map(math.isfinite, (args.learning_rate, *betas, args.adam_epsilon, args.weight_decay))
    ):
        raise ValueError(f"the optimiser's settings are {settings}; expected finite numbers")
    optimizer = torch.optim.AdamW([torch.zeros(1)], **settings)
    more: Any = args.lr_scheduler_kwargs
    schedule = str(getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type))
    warmup = args.get_warmup_steps(max(args.max_steps, 1))
    try:
        get_scheduler(
            schedule,
            optimizer,
            warmup,
            max(args.max_steps, 1),
            scheduler_specific_kwargs=more or {},
        )
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"lr_scheduler_type {schedule!r} with lr_scheduler_kwargs {more}: {error}"
        ) from error
    if args.optim_args:
        try:
            Trainer.get_optimizer_cls_and_kwargs(args)
        except (TypeError, ValueError, KeyError) as error:
            raise ValueError(
                f"optim_args is {args.optim_args!r} ({error}); expected KEY=VALUE, KEY=VALUE"
            ) from error


def _trackers(report_to: Any) -> list[str]:
    """The experiment trackers asked for; raises RecipeError for one that is unknown or not
    installed.
    """
    asked = trackers(report_to)
    available = get_available_reporting_integrations()
    for name in asked:
        if name not in INTEGRATION_TO_CALLBACK and name != "all":
            raise RecipeError(
                f"grpo.report_to: no tracker {name!r}{nearest(name, INTEGRATION_TO_CALLBACK)}"
            )
        if name not in (*available, "all"):
            raise RecipeError(
                f"grpo.report_to: {name} is not installed; install its package, or write report_to:"
                " none"
            )
    return asked
