"""The two sides of the bench: stock TRL and llmpolicy, each a trainer on the same policy and the
same rows of a trace.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
from trl import GRPOTrainer

from llmpolicy.bundled import MODEL
from llmpolicy.grpo.config import grpo_config
from llmpolicy.grpo.groups import subset
from llmpolicy.grpo.step import sampled
from llmpolicy.grpo.trainer import PolicyTrainer
from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.policies.causal_lm.choose import Chosen
from llmpolicy.rewards import Rewards, RewardSpec
from llmpolicy.tasks import Row

# The package has a function of that name.
generating: Any = import_module("llmpolicy.policies.causal_lm.generate")
SHAPE: dict[str, Any] = {
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "tie_word_embeddings": True,
    "max_position_embeddings": 8192,
}
LORA: dict[str, Any] = {"r": 32, "lora_alpha": 64, "target_modules": "all-linear"}
FEW = (8, 9, 7, 9, 24, 6, 9, 8, 9, 7, 5, 9, 10, 8, 9, 9)
LONG = (128, 128, 111, 128, 128, 119, 128, 122)
"""Completion lengths of the traces, repeated over the rows."""
STOP, OTHER = 2, 1000


@dataclass(frozen=True)
class Workload:
    """Prompts x completions, their lengths in tokens, what is trained, rows of one of stock TRL's
    micro-batches.

    The first ``shared`` tokens of all prompts are the same, as examples are (82 % in
    smollm2_reasoning_cpu).
    """

    prompts: int
    prompt: int
    lengths: Sequence[int]
    limit: int
    lora: bool
    live: Sequence[float] = (1.0,)
    group: int = 8
    micro: int = 16
    shared: int = 0

    @property
    def rows(self) -> int:
        return self.prompts * self.group

    def completions(self, rows: int) -> list[int]:
        """The lengths of the completions of so many rows."""
        return list(islice(cycle(self.lengths), rows))

    def unique_tokens(self, live: float = 1.0) -> int:
        """Tokens of live groups: what prompts share, the rest of each, and the completions."""
        groups = alive(self, live)
        rest = groups * (self.prompt - self.shared)
        return self.shared + rest + sum(self.completions(groups * self.group))


WORKLOADS = {
    "few_shot": Workload(8, 200, FEW, 24, True, (1.0, 0.45), shared=160),
    "long": Workload(4, 100, LONG, 128, False, micro=8),
}


def alive(work: Workload, live: float) -> int:
    """Groups with a signal."""
    return max(1, round(work.prompts * live))


class Stock(PolicyTrainer):
    """TRL's own generation, scorer and update on the same rows."""

    compute_loss = GRPOTrainer.compute_loss
    _prepare_inputs = GRPOTrainer._prepare_inputs
    _get_per_token_logps_and_entropies = GRPOTrainer._get_per_token_logps_and_entropies
    _generate_single_turn = GRPOTrainer._generate_single_turn


class Ours(PolicyTrainer):
    """The trainer as it is; the rewards of the trace are known, so none are asked for."""

    def _generate_single_turn(self, prompt_ids: list[list[int]], *_: Any, **__: Any) -> Any:
        return sampled(self, prompt_ids)


def device() -> torch.device:
    """Where the trainers run: the accelerator that torch finds, else the CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


clock = time.perf_counter
"""Or ``time.process_time``, which counts what this process has of a machine that is not free."""


def timed(work: Callable[[], Any]) -> float:
    """Seconds that something takes."""
    wait()
    start = clock()
    work()
    wait()
    return clock() - start


def wait() -> None:
    """Until the accelerator, if there is one, has done what it was given."""
    if device().type != "cpu":
        torch.accelerator.synchronize()


class Bench:
    """One workload: a policy, both trainers on it, and the rows of the trace."""

    def __init__(self, work: Workload, dtype: torch.dtype, folder: str) -> None:
        self.work = work
        torch.manual_seed(0)
        config = LlamaConfig(
            **SHAPE, bos_token_id=1, eos_token_id=STOP, pad_token_id=STOP, dtype=dtype
        )
        model: Any = LlamaForCausalLM._from_config(config)
        tokenizer = AutoTokenizer.from_pretrained(MODEL)
        lora = LORA if work.lora else None
        self.policy = CausalLMPolicy(model, tokenizer, max_new_tokens=work.limit, lora=lora)
        shared = torch.randint(OTHER, 9000, (work.shared,)).expand(work.prompts, -1)
        rest = torch.randint(OTHER, 9000, (work.prompts, work.prompt - work.shared))
        self.prompts = torch.cat([shared, rest], 1).tolist()
        self.sides = {"stock": self._trainer(Stock, folder), "ours": self._trainer(Ours, folder)}
        self.scoring: float | None = None
        """Of dialogues: seconds in which the reference was asked, in the last generation."""
        self.flops, self.head_flops = 0, 2 * SHAPE["vocab_size"] * SHAPE["hidden_size"]
        for name, parameter in model.named_parameters():
            if "lora" not in name and "embed" not in name:
                self.flops += 2 * parameter.numel()

    def _trainer(self, kind: type[PolicyTrainer], folder: str) -> Any:
        work = self.work
        settings = {
            "per_device_train_batch_size": min(work.micro, work.rows),
            "num_generations": work.group,
            "gradient_accumulation_steps": max(1, work.rows // work.micro),
            "max_completion_length": work.limit,
            "learning_rate": 1e-9,
            "save_strategy": "no",
            "bf16": self.policy.model.dtype == torch.bfloat16,
        }
        args = grpo_config(settings, output_dir=Path(folder), seed=0, reward_weights=[1.0])
        rows = [Row("0", {}, index, "0", "t") for index in range(work.prompts)]
        trainer = kind(self.policy, Rewards([RewardSpec("exact:match")]), rows, args)
        trainer.create_optimizer()
        trainer.current_gradient_accumulation_steps = args.gradient_accumulation_steps
        return trainer

    def warm_up(self) -> None:
        """A round of as many rows, each of a few tokens: threads, code and optimiser have then
        begun.
        """
        full, self.work = self.work, replace(self.work, prompt=16, lengths=(4,))
        prompts, self.prompts = self.prompts, [prompt[:16] for prompt in self.prompts]
        for side in self.sides:
            self.generate(side)
            self.update(side, 1.0)
        self.work, self.prompts = full, prompts

    def generate(self, side: str) -> float:
        """Seconds to complete every prompt to the lengths of the trace."""
        trainer, work = self.sides[side], self.work
        rows = [self.prompts[row // work.group] for row in range(work.rows)]
        lengths = work.completions(work.rows)
        trainer.model.train()
        if side == "stock":  # decodes until the last row has ended
            trainer.generation_config.max_new_tokens = max(lengths)
            trainer.generation_config.eos_token_id = None
        with scripted(lengths):  # stock TRL asks no choice of ours
            return timed(lambda: trainer._generate_single_turn(rows, None, {}, work.group))

    def inputs(self, live: float) -> dict[str, Any]:
        """A generation as TRL holds it; the groups that are not live have advantage 0."""
        work = self.work
        lengths = torch.tensor(work.completions(work.rows))
        mask = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
        advantages = torch.tensor([1.0, -1.0]).repeat(work.rows // 2)
        advantages[alive(work, live) * work.group :] = 0.0
        prompts = torch.tensor(self.prompts).repeat_interleave(work.group, 0)
        tensors = {
            "prompt_ids": prompts,
            "prompt_mask": torch.ones_like(prompts),
            "completion_ids": OTHER + mask,
            "completion_mask": mask,
            "advantages": advantages,
            "num_items_in_batch": mask.sum(),
        }
        return {name: tensor.to(device()) for name, tensor in tensors.items()}

    def update(self, side: str, live: float) -> float:
        """Seconds of one optimiser step on the trace."""
        return optimiser_step(self.sides[side], self.inputs(live))


def optimiser_step(trainer: Any, inputs: dict[str, Any]) -> float:
    """Seconds of an optimiser step on a generation as TRL holds it."""
    rows, size = len(inputs["advantages"]), trainer.args.per_device_train_batch_size
    batches = [list(range(rows))[start : start + size] for start in range(0, rows, size)]
    trainer.model.train()
    trainer._metrics["train"].clear()

    def work() -> None:
        for step, batch in enumerate(batches, start=1):
            trainer._step = step - 1
            trainer.accelerator.gradient_state._set_sync_gradients(step == len(batches))
            part = subset(inputs, batch)
            trainer.accelerator.backward(trainer.compute_loss(trainer.model, part))
        trainer.optimizer.step()
        trainer.optimizer.zero_grad()

    return timed(work)


@contextmanager
def scripted(lengths: list[int]) -> Iterator[None]:
    """Let every row stop at its length: the draw is made as ever, then overruled."""
    true, alive, step = generating.choose, list(lengths), 0

    def choose(*arguments: Any) -> Chosen:
        nonlocal alive, step
        step += 1
        if len(arguments[0]) < len(alive):  # those that have ended were seen to, and left
            alive = [length for length in alive if length >= step]
        chosen = true(*arguments)
        ends = torch.tensor(alive, device=chosen.token.device) == step
        return replace(chosen, token=torch.where(ends, STOP, OTHER))

    generating.choose = choose
    try:
        yield
    finally:
        generating.choose = true
