"""Which way a trainer's generation and update go, and why: asked at the door."""

from typing import TYPE_CHECKING

from accelerate.utils import DistributedType

from llmpolicy.policies.causal_lm.fast.door import ways
from llmpolicy.speed import Conditions, Ways

if TYPE_CHECKING:
    from llmpolicy.grpo.trainer import PolicyTrainer

_REPLICATED = (
    DistributedType.NO,
    DistributedType.MULTI_CPU,
    DistributedType.MULTI_GPU,
    DistributedType.MULTI_XPU,
    DistributedType.MULTI_NPU,
)


def ways_of(trainer: "PolicyTrainer") -> Ways:
    """The ways of a trainer's policy, under the conditions of its run."""
    kind = trainer.accelerator.distributed_type
    conditions = Conditions(
        settings=vars(trainer.args),
        sharded=bool(trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled),
        devices=trainer.args.n_gpu,
        processes=trainer.accelerator.num_processes,
        joined=None if kind in _REPLICATED else kind.value,
        aux_loss=trainer.aux_loss_enabled,
        turns=trainer.talk is not None,
    )
    return ways(trainer.policy.model, conditions)
