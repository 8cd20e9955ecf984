"""The reference in a checkpoint: what cannot be made again from the start is written beside the
weights, and read back.
"""

from pathlib import Path
from typing import Any

from safetensors.torch import load_file, load_model, save_file, save_model

from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm.adapter import REFERENCE, place, state

FILE = "reference.safetensors"


def check_sync(args: Any, *, adapter: bool, sharded: bool = False) -> None:
    """Raise PolicyError where ``sync_ref_model`` was asked for and no copy of full weights is there
    to be moved.
    """
    if not args.sync_ref_model:
        return
    if args.beta == 0.0:
        raise PolicyError(
            "grpo.sync_ref_model moves the reference of a KL term, and beta is 0; expected beta"
            " above 0"
        )
    if adapter:
        raise PolicyError(
            "grpo.sync_ref_model moves a copy of full weights, and an adapter is trained; expected"
            " sync_ref_model: false"
        )
    if sharded:
        raise PolicyError(
            "grpo.sync_ref_model: a reference that FSDP or DeepSpeed shares out is not kept in"
            " checkpoints; expected sync_ref_model: false"
        )


def save_reference(trainer: Any, folder: Path) -> None:
    """Write the reference into a checkpoint's folder, if there is one that moves or that is an
    adapter of its own.
    """
    if not (trainer.beta and trainer.args.should_save):
        return
    folder.mkdir(parents=True, exist_ok=True)
    if trainer.args.sync_ref_model:
        save_model(trainer.accelerator.unwrap_model(trainer.ref_model), str(folder / FILE))
    elif _has_adapter(trainer):
        tensors = state(
            trainer.policy.model, REFERENCE
        )  # which the layers of some kinds share, and no file may
        save_file(
            {key: value.to("cpu", copy=True).contiguous() for key, value in tensors.items()},
            folder / FILE,
        )


def load_reference(trainer: Any, folder: Path) -> None:
    """Take the reference from a checkpoint's folder; raises PolicyError if one that moves is not
    there.
    """
    file = folder / FILE
    if not trainer.beta:
        return
    if trainer.args.sync_ref_model:
        if not file.is_file():
            raise PolicyError(
                f"{folder} has no {FILE}, from which grpo.sync_ref_model goes on; start a new run"
            )
        load_model(trainer.accelerator.unwrap_model(trainer.ref_model), file)
    elif _has_adapter(trainer) and file.is_file():
        place(trainer.policy.model, load_file(file), str(file), trainer.policy.name, REFERENCE)


def _has_adapter(trainer: Any) -> bool:
    return trainer.policy.is_adapter and REFERENCE in trainer.policy.model.peft_config
