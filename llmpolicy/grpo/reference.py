"""The reference in a checkpoint: what cannot be made again from the start is written beside the
weights, and read back.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file, load_model, save_file, save_model

from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm.adapter import REFERENCE, place, state

if TYPE_CHECKING:
    from llmpolicy.grpo.trainer import PolicyTrainer

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


def take_reference(trainer: "PolicyTrainer", beta: float, sync: bool) -> None:
    """Use the policy's reference: TRL would add a second adapter, or load full weights again by
    their name.
    """
    from trl.trainer.callbacks import SyncRefModelCallback
    from trl.trainer.utils import add_fused_lm_head

    args, policy = trainer.args, trainer.policy
    trainer.beta = args.beta = beta
    args.sync_ref_model = sync
    sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    check_sync(args, adapter=policy.is_adapter, sharded=sharded)
    if beta == 0.0 or policy.is_adapter:
        return
    model: Any = policy.freeze_reference().model
    add_fused_lm_head(
        model, temperature=trainer.temperature, cast_lm_head_to_fp32=args.cast_lm_head_to_fp32
    )
    trainer.ref_model = _prepared(trainer, model)
    if sync:
        trainer.add_callback(
            SyncRefModelCallback(ref_model=trainer.ref_model, accelerator=trainer.accelerator)
        )


def _prepared(trainer: "PolicyTrainer", model: Any) -> Any:
    from trl.models import prepare_deepspeed, prepare_fsdp

    if trainer.is_deepspeed_enabled:
        return prepare_deepspeed(model, trainer.accelerator)
    if trainer.is_fsdp_enabled:
        return prepare_fsdp(model, trainer.accelerator)
    return trainer.accelerator.prepare_model(model, evaluation_mode=True)


def save_reference(trainer: "PolicyTrainer", folder: Path) -> None:
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


def load_reference(trainer: "PolicyTrainer", folder: Path) -> None:
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


def _has_adapter(trainer: "PolicyTrainer") -> bool:
    return trainer.policy.is_adapter and REFERENCE in trainer.policy.model.peft_config
