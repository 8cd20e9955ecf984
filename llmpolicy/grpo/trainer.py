"""The one subclass of TRL's GRPOTrainer: TRL keeps the update, the policy generates and scores, the
rewards judge.

Each override is a seam of TRL 1.16 (``tests/test_seams.py`` holds its signatures and a hash of each
source).
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from llmpolicy.errors import RewardError
from llmpolicy.grpo import step
from llmpolicy.grpo.callbacks import WholeGenerations
from llmpolicy.grpo.checkpoint import mean_loss, whole_checkpoint
from llmpolicy.grpo.dialogues import Talk
from llmpolicy.grpo.generation import Generation
from llmpolicy.grpo.groups import Inputs, chosen_alone
from llmpolicy.grpo.path import ways_of
from llmpolicy.grpo.reference import load_reference, save_reference, take_reference
from llmpolicy.grpo.sampling import Sampling
from llmpolicy.grpo.scorer import Asked, Budget, Scorer, by_groups, needing, padded
from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.policies.causal_lm.checks import check_checkpointing, check_left_padding
from llmpolicy.policies.causal_lm.experts import settle_aux_loss
from llmpolicy.policies.causal_lm.trained import check_trained
from llmpolicy.prove import Advantage, Loss
from llmpolicy.recipe import SamplingBlock
from llmpolicy.rewards import Rewards
from llmpolicy.run import Run
from llmpolicy.speed import TRL
from llmpolicy.tasks import Row


def _named(name: str) -> Callable[..., Any]:
    """A stand-in that gives TRL the component's name; the scores come from
    ``_calculate_rewards``.
    """

    def component(**_: Any) -> list[float]:
        raise RewardError(
            f"the reward {name!r} is scored by llmpolicy, not by the trainer's own loop"
        )

    component.__name__ = name
    return component


class PolicyTrainer(GRPOTrainer):
    """GRPO on a CausalLMPolicy: same losses and update as TRL, with the policy's own sampler,
    scorer and reference.

    ``token_budget`` bounds the tokens forwarded together in an update; without it they are at most
    1.25 times TRL's. With ``sampling`` the prompts of a generation, and which of their groups are
    trained on, are chosen dynamically. ``advantage`` and ``loss`` take the place of TRL's. Where
    the policy has somebody to ``talk`` with, rows begin dialogues.
    """

    args: GRPOConfig
    model: torch.nn.Module
    _buffered_inputs: Any

    def __init__(
        self,
        policy: CausalLMPolicy,
        rewards: Rewards,
        rows: Sequence[Row],
        args: GRPOConfig,
        *,
        run: Run | None = None,
        callbacks: list[TrainerCallback] | None = None,
        token_budget: int | None = None,
        sampling: SamplingBlock | None = None,
        advantage: Advantage | None = None,
        loss: Loss | None = None,
        talk: Talk | None = None,
        **options: Any,
    ) -> None:
        self.policy, self.rewards, self.rows, self.run = policy, rewards, list(rows), run
        self.advantage, self.loss, self.talk = advantage, loss, talk
        check_trained(policy.model, policy.name, args)
        self.sampling = None if sampling is None else Sampling(sampling, self.rows)
        self.prompt_ids = policy.encode([] if talk else [row.prompt for row in self.rows])
        lengths = [len(ids) for ids in self.prompt_ids]
        most = args.max_completion_length or policy.max_new_tokens
        policy.lengths.check(lengths, most)
        self.generation = Generation()
        self.again: dict[str, str] = {}
        self.staged: Path | None = None
        beta, sync, args.beta, args.sync_ref_model = args.beta, args.sync_ref_model, 0.0, False
        policy.temperature = args.temperature
        policy.model.generation_config.eos_token_id = list(policy.stop_ids)
        if args.use_vllm:  # vLLM stops at the tokenizer's own end token only
            asked: Any = args.generation_kwargs or {}
            args.generation_kwargs = {"stop_token_ids": list(policy.stop_ids), **asked}
        super().__init__(
            model=policy.model,
            reward_funcs=[_named(name) for name in rewards.composition.names],
            args=args,
            train_dataset=Dataset.from_dict(
                {"prompt": [""] * len(self.rows), "row": list(range(len(self.rows)))}
            ),
            processing_class=policy.tokenizer,
            callbacks=callbacks,
            **options,
        )
        if talk is not None:
            self.rollout_func = partial(step.converse, self, talk, super()._generate_single_turn)
        self.eos_token_ids = list(policy.stop_ids)
        take_reference(self, beta, sync)
        if loss is not None:  # which clips for itself (step.own_loss)
            self.epsilon_low, self.epsilon_high = 1.0, float("inf")
        settle_aux_loss(self, policy.model, args.router_aux_loss_coef)
        self.budget, self.waiting = Budget(token_budget), list[Inputs]()
        self.parity: float | None = None
        self.take_path()
        if self.ways.generation.name == TRL:
            check_left_padding(policy.model, policy.name)
            policy.lengths.check_stock(lengths or [1], most)
        if args.gradient_checkpointing:
            check_checkpointing(policy.model, policy.name, args.gradient_checkpointing_kwargs)
        self.add_callback(WholeGenerations(partial(step.is_used_up, self)))

    def take_path(self) -> None:
        """Decide which way the update goes, and who answers for log-probabilities."""
        self.ways = ways_of(self)
        self.scorer: Scorer = by_groups(self) if self.stock_reason is None else padded(self)

    @property
    def stock_reason(self) -> str | None:
        """Why the update goes as TRL's own, in words; None if it goes by groups or states."""
        return self.ways.update.reason

    def _send_telemetry(self) -> None:
        """Nothing: TRL would report to the Hub that a run began, which not every caller of
        ``train`` knows.
        """

    # the seams of a step, in the order of step.py

    def _get_train_sampler(self, dataset: Dataset | None = None) -> Any:
        return step.Order(super()._get_train_sampler(dataset), lambda: int(self.state.epoch or 0))

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        if self.stock_reason is not None or not self.model.training:
            return super()._prepare_inputs(generation_batch)
        return step.next_inputs(self, generation_batch)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        return step.generation(self, inputs, super()._generate_and_score_completions)

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return [self.prompt_ids[row] for row in self.generation.rows], None, {}

    def _generate_single_turn(
        self, prompt_ids: list[list[int]], *settings: Any, **named: Any
    ) -> step.Chosen:
        by_trl = partial(super()._generate_single_turn, prompt_ids, *settings, **named)
        return step.act(self, prompt_ids, by_trl)

    def _calculate_rewards(self, *_: Any) -> torch.Tensor:
        return step.judge(self)

    def _get_per_token_logps_and_entropies(
        self,
        model: torch.nn.Module,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **images: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        asked = Asked(
            model, input_ids, attention_mask, logits_to_keep, compute_entropy, compute_aux_loss,
            batch_size,
        )  # fmt: skip
        with self.accelerator.autocast():
            scored = self.scorer(asked)
        return scored.log_prob, scored.entropy, scored.aux_loss

    def compute_loss(
        self, model: torch.nn.Module, inputs: dict[str, Any], *settings: Any, **named: Any
    ) -> torch.Tensor:
        if self.stock_reason is not None or not self.model.training:
            with needing(self, lambda _: chosen_alone(inputs)):
                return super().compute_loss(model, inputs, *settings, **named)
        return step.improve(self, model, inputs)

    def _compute_loss(self, model: torch.nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        by_trl = partial(super()._compute_loss, model)
        return by_trl(inputs) if self.loss is None else step.own_loss(self, inputs, by_trl)

    @property
    def group_size(self) -> int:
        """Completions of a prompt, in training or in evaluation."""
        return (self.num_generations if self.model.training else self.num_generations_eval) or 1

    # the record of what happened

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "train_loss" in logs:
            logs["train_loss"] = mean_loss(self.state)
        super().log(logs, start_time)
        if self.run is not None and self.accelerator.is_main_process:
            # The summary at the end belongs to no step, and must not take the last one's place.
            mode = "summary" if "train_runtime" in logs else "train"
            figures = dict(logs)
            figures.pop("step", None)
            self.run.log(self.state.global_step, figures, mode)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self.sampling is not None and self.sampling.memory is not None:
            # in trainer_state.json, without which a checkpoint does not count
            kept: Any = self.state.stateful_callbacks
            kept["memory"] = self.sampling.memory.state()
        with whole_checkpoint(self):
            super()._save_checkpoint(model, trial)

    def _get_output_dir(self, trial: Any) -> str:
        return str(self.staged or super()._get_output_dir(trial))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Read through the policy, which misses no tensor: transformers takes what fits by name,
        and only warns.
        """
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            self.policy.take(resume_from_checkpoint)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        save_reference(self, Path(output_dir))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            load_reference(self, Path(checkpoint))

    def _load_callback_state(self) -> None:
        super()._load_callback_state()
        if self.sampling is not None and self.sampling.memory is not None:
            kept: Any = self.state.stateful_callbacks
            self.sampling.memory.load(kept.get("memory", {}))

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """No card in checkpoints: publishing writes one, with the evidence."""

    def _save(
        self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None
    ) -> None:
        """Save through the policy: the adapter ``default`` only, safetensors only, no pickled
        arguments.
        """
        if self.args.should_save:
            self.policy.save(Path(output_dir or self.args.output_dir or "."), state_dict=state_dict)
