"""Which way the update goes, and why: by groups, or as TRL does it."""

from typing import TYPE_CHECKING

from accelerate.utils import DistributedType

from llmpolicy.policies.causal_lm.fast.door import shared_path
from llmpolicy.policies.causal_lm.states import is_recurrent

if TYPE_CHECKING:
    from llmpolicy.grpo.trainer import PolicyTrainer

BY_ROWS = ("grpo", "sapo", "dr_grpo", "luspo")
BY_TOKENS = ("dapo", "cispo", "vespo")
_REPLICATED = (
    DistributedType.MULTI_CPU,
    DistributedType.MULTI_GPU,
    DistributedType.MULTI_XPU,
    DistributedType.MULTI_NPU,
)
BY_STATES = ("cpu",)
"""Devices on which it pays to read prompts of each length by themselves, a pass each."""


def stock_reason(trainer: "PolicyTrainer") -> str | None:
    """Why a trainer takes TRL's own path for its update, in words; None if it goes by groups."""
    args = trainer.args
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        return "weights are sharded"
    if args.n_gpu > 1:
        return "one process drives several devices"
    if trainer.accelerator.distributed_type not in (DistributedType.NO, *_REPLICATED):
        return f"distributed_type is {trainer.accelerator.distributed_type.value}"
    if trainer.loss_type not in (*BY_ROWS, *BY_TOKENS):
        return f"loss_type {trainer.loss_type} divides by the tokens of a micro-batch"
    if trainer._entropy_bonus_enabled or trainer.top_entropy_quantile < 1.0:
        return "entropy terms are taken over a micro-batch"
    if trainer.aux_loss_enabled:
        return "the auxiliary loss of a mixture of experts is taken over a micro-batch"
    if args.cast_lm_head_to_fp32 or args.torch_compile or getattr(args, "use_liger_kernel", False):
        return "cast_lm_head_to_fp32, torch_compile or use_liger_kernel was asked for"
    return (is_recurrent(trainer.policy.model) and _no_state_reason(trainer)) or shared_path(
        trainer.policy.model
    )


def _no_state_reason(trainer: "PolicyTrainer") -> str | None:
    """Why a trainer's prompts are read with each of their completions although the model carries a
    state.
    """
    if trainer.accelerator.device.type not in BY_STATES:
        return f"sharing a prompt's state was measured on {', '.join(BY_STATES)} only"
    if trainer.args.gradient_checkpointing:
        return "a state is not carried over checkpoints of activations"
    if trainer.accelerator.num_processes > 1:
        return "several processes exchange gradients after one forward pass"
    return None


def samples_itself(trainer: "PolicyTrainer") -> bool:
    """Whether π is sampled by the policy's generator: not under vLLM, sharded weights or a biased
    sampler.
    """
    sampler = (trainer.top_p, trainer.top_k, trainer.min_p, trainer.repetition_penalty)
    engine = trainer.use_vllm or trainer.use_transformers_continuous_batching
    sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    biased = sampler != (1.0, 0, None, 1.0) or trainer.args.generation_kwargs
    return not (engine or biased or sharded)
