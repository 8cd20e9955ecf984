"""The one subclass of TRL's GRPOTrainer: TRL keeps the update, the policy generates and scores, the
rewards judge.

Each override is a seam of TRL 1.16 (``tests/test_seams.py`` holds its signatures and a hash of each
source).
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather, gather_object
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import RepeatSampler

from llmpolicy.errors import RewardError
from llmpolicy.grpo.callbacks import WholeGenerations
from llmpolicy.grpo.checkpoint import mean_loss, whole_checkpoint
from llmpolicy.grpo.groups import live_groups, wide
from llmpolicy.grpo.parity import disagreement
from llmpolicy.grpo.path import samples_itself, stock_reason
from llmpolicy.grpo.reference import check_sync, load_reference, save_reference
from llmpolicy.grpo.rollouts import Generation, rollout_rows
from llmpolicy.grpo.sampling import Sampling, number
from llmpolicy.grpo.update import Window, next_inputs, score_padded, window_loss, without_signal
from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.policies.causal_lm.checks import check_checkpointing, check_left_padding
from llmpolicy.policies.causal_lm.experts import settle_aux_loss
from llmpolicy.policies.causal_lm.generate import generate
from llmpolicy.policies.causal_lm.score import Scored, score
from llmpolicy.policies.causal_lm.states import is_recurrent
from llmpolicy.policies.causal_lm.trained import check_trained, kept_frozen
from llmpolicy.recipe import SamplingBlock
from llmpolicy.rewards import Rewards, RowScore, Sample
from llmpolicy.rewards.compose.statistics import metrics as part_metrics
from llmpolicy.rewards.health import replay_command
from llmpolicy.rewards.scoring import waited
from llmpolicy.run import Run
from llmpolicy.tasks import Row
from llmpolicy.types import TrainerSnapshot

MOST = 1e18
"""The largest size of a score that training takes."""


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


class _Passes(RepeatSampler):
    """TRL's order of the data, in later passes from a seed of their own: a resumed run goes on in
    the order it had.

    ``passes`` tells how many passes are behind.
    """

    def __init__(self, stock: Any, passes: Callable[[], int]) -> None:
        vars(self).update(vars(stock))
        self.passes = passes

    def __iter__(self) -> Iterator[int]:
        if self.shuffle and (number := self.passes()):
            self.generator.manual_seed(
                int(np.random.SeedSequence([self.seed or 0, number]).generate_state(1)[0])
            )
        return super().__iter__()


class PolicyTrainer(GRPOTrainer):
    """GRPO on a CausalLMPolicy: same losses and update as TRL, with the policy's own sampler,
    scorer and reference.

    ``token_budget`` bounds the tokens forwarded together in an update; without it they are at most
    1.25 times TRL's. With ``sampling`` the prompts of a generation, and which of their groups are
    trained on, are chosen dynamically.
    """

    args: GRPOConfig
    model: torch.nn.Module

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
        **options: Any,
    ) -> None:
        self.policy, self.rewards, self.rows, self.run = policy, rewards, list(rows), run
        check_trained(policy.model, policy.name, args)
        self.sampling = None if sampling is None else Sampling(sampling, self.rows)
        self.prompt_ids = policy.encode([row.prompt for row in self.rows])
        lengths, most = (
            [len(ids) for ids in self.prompt_ids],
            args.max_completion_length or policy.max_new_tokens,
        )
        policy.lengths.check(lengths, most)
        self.generation = Generation()
        self.again: dict[str, str] = {}
        self.staged: Path | None = None
        beta, sync, args.beta, args.sync_ref_model = args.beta, args.sync_ref_model, 0.0, False
        policy.temperature = args.temperature
        policy.model.generation_config.eos_token_id = list(policy.stop_ids)
        if args.use_vllm:  # vLLM stops at the tokenizer's own end token only
            given: Any = args.generation_kwargs or {}
            args.generation_kwargs = {"stop_token_ids": list(policy.stop_ids), **given}
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
        self.eos_token_ids = list(policy.stop_ids)
        self._take_reference(beta, sync)
        settle_aux_loss(self, policy.model, args.router_aux_loss_coef)
        self.window, self.token_budget = Window(), token_budget
        self.parity: float | None = None
        self.stock_reason = stock_reason(self)
        if not (samples_itself(self) or self.use_vllm):
            check_left_padding(policy.model, policy.name)
            policy.lengths.check_stock(lengths, most)
        if args.gradient_checkpointing:
            check_checkpointing(policy.model, policy.name, args.gradient_checkpointing_kwargs)
        self.add_callback(WholeGenerations(self._is_used_up))

    @property
    def path(self) -> str:
        """How the update goes: ``group``, ``state`` for recurrent models, or ``stock`` with the
        reason in brackets.
        """
        shared = "state" if is_recurrent(self.policy.model) else "group"
        return shared if self.stock_reason is None else f"stock ({self.stock_reason})"

    def _send_telemetry(self) -> None:
        """Nothing: TRL would report to the Hub that a run began, which not every caller of
        ``train`` knows.
        """

    def _take_reference(self, beta: float, sync: bool) -> None:
        """Use the policy's reference: TRL would add a second adapter, or load full weights again by
        their name.
        """
        from trl.trainer.callbacks import SyncRefModelCallback
        from trl.trainer.utils import add_fused_lm_head

        self.beta = self.args.beta = beta
        self.args.sync_ref_model = sync
        check_sync(
            self.args,
            adapter=self.policy.is_adapter,
            sharded=self.is_fsdp_enabled or self.is_deepspeed_enabled,
        )
        if beta == 0.0 or self.policy.is_adapter:
            return
        model: Any = self.policy.freeze_reference().model
        add_fused_lm_head(
            model, temperature=self.temperature, cast_lm_head_to_fp32=self.args.cast_lm_head_to_fp32
        )
        self.ref_model = self._prepare_reference(model)
        if sync:
            self.add_callback(
                SyncRefModelCallback(ref_model=self.ref_model, accelerator=self.accelerator)
            )

    def _prepare_reference(self, model: Any) -> Any:
        from trl.models import prepare_deepspeed, prepare_fsdp

        if self.is_deepspeed_enabled:
            return prepare_deepspeed(model, self.accelerator)
        if self.is_fsdp_enabled:
            return prepare_fsdp(model, self.accelerator)
        return self.accelerator.prepare_model(model, evaluation_mode=True)

    # state -> policy -> action

    def _get_train_sampler(self, dataset: Dataset | None = None) -> Any:
        return _Passes(super()._get_train_sampler(dataset), lambda: int(self.state.epoch or 0))

    def _is_used_up(self) -> bool:
        """Whether the next micro-step begins a generation."""
        return int(self._step) % ((self.args.steps_per_generation or 1) * self.num_iterations) == 0

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return [self.prompt_ids[index] for index in self.generation.row_indices], None, {}

    def _generate_single_turn(
        self,
        prompt_ids: list[list[int]],
        images: Any,
        multimodal_fields: dict[str, Any],
        num_generations: int,
        has_tool_images: bool = False,
    ) -> tuple[list[list[int]], list[list[float]] | None]:
        if self.generation.given is not None:  # by dynamic sampling, which has scored it as well
            return self.generation.given
        start = time.perf_counter()
        if samples_itself(self):
            with torch.no_grad():
                generated = generate(
                    self.policy.model,
                    prompt_ids,
                    max_new_tokens=self.args.max_completion_length or self.policy.max_new_tokens,
                    temperature=self.temperature,
                    stop_ids=self.policy.stop_ids,
                    pad_id=self.policy.pad_id,
                )
            # TRL would read handed-over log-probs as a licence to correct off-policy drift; they go
            # to the rollouts only.
            ids, log_probs, self.generation.log_probs = (
                generated.token_ids,
                None,
                generated.log_probs,
            )
        else:
            ids, log_probs = super()._generate_single_turn(
                prompt_ids, images, multimodal_fields, num_generations, has_tool_images
            )
            self.generation.log_probs = log_probs
        self.generation.seconds = time.perf_counter() - start
        self._begin_rewards(ids)
        return ids, log_probs

    def _get_per_token_logps_and_entropies(
        self,
        model: torch.nn.Module,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **multimodal: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        if self.stock_reason is None and not multimodal.get("num_images"):
            budget = self.token_budget or (batch_size or len(input_ids)) * input_ids.shape[1]
            with self.accelerator.autocast():
                scored = score_padded(
                    self.window, model, input_ids, attention_mask, logits_to_keep, self.temperature,
                    compute_entropy, budget,
                )  # fmt: skip
            return scored.log_prob, scored.entropy, None
        chunks: list[Scored] = []
        size = batch_size or input_ids.size(0)
        for start in range(0, input_ids.size(0), size):
            rows = slice(start, start + size)
            with self.accelerator.autocast():
                chunks.append(
                    score(
                        model,
                        input_ids[rows],
                        attention_mask[rows],
                        logits_to_keep,
                        self.temperature,
                        entropy=compute_entropy,
                        entropy_grad=self._entropy_bonus_enabled,
                        aux_loss=compute_aux_loss,
                        fused=input_ids.is_cuda,
                    )
                )
        log_prob = torch.cat([chunk.log_prob for chunk in chunks])  # (B, T)
        entropies = [chunk.entropy for chunk in chunks if chunk.entropy is not None]
        losses = [chunk.aux_loss for chunk in chunks if chunk.aux_loss is not None]
        entropy = torch.cat(entropies) if compute_entropy else None  # (B, T)
        return log_prob, entropy, torch.stack(losses).mean() if compute_aux_loss else None

    # log-probabilities -> improve

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        if self.stock_reason is not None or not self.model.training:
            return super()._prepare_inputs(generation_batch)
        return next_inputs(self, generation_batch)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        if self.stock_reason is not None or not self.model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        return window_loss(self, model, self._compute_loss, inputs)

    # environment -> reward

    def _calculate_rewards(
        self,
        inputs: list[dict[str, Any]],
        prompts: list[Any],
        completions: list[Any],
        completion_ids_list: list[list[int]],
    ) -> torch.Tensor:
        if self.generation.given is None:
            self.judge(completion_ids_list)
        # TRL counts a term that is None as 0 unless the whole row is NaN: a row that cannot be
        # judged is all NaN.
        table = [
            [number(row, name) for name in self.rewards.composition.names]
            for row in self.generation.scores
        ]
        mine = torch.tensor(
            table, dtype=wide(self.accelerator.device), device=self.accelerator.device
        )
        self.generation.table = gather(mine)  # (B of all processes, terms)
        return self.generation.table

    def judge(self, completion_ids: list[list[int]]) -> None:
        """Score what this process has generated, or wait for the scores that were begun."""
        start = time.perf_counter()
        if not self.generation.samples:
            self.generation.samples = self._samples(completion_ids)
        self.generation.scores = self._score(self.generation.samples, self._group_size)
        self.generation.reward_seconds = time.perf_counter() - start

    def _begin_rewards(self, completion_ids: list[list[int]]) -> None:
        """Let the rewards begin while reference and old log-probabilities are computed, where
        nothing of theirs runs here.
        """
        self.generation.samples = samples = self._samples(completion_ids)
        if self.rewards.apart and not self._spans(samples):
            self.generation.scoring = self.rewards.submit(samples, self._group_size)

    def _spans(self, samples: Sequence[Sample]) -> bool:
        """Whether a reward asks for whole groups, and some lie on several processes."""
        several = self.accelerator.num_processes > 1
        return several and self.rewards.needs_group and len(samples) % self._group_size != 0

    @property
    def _group_size(self) -> int:
        return (self.num_generations if self.model.training else self.num_generations_eval) or 1

    def _samples(self, completion_ids: list[list[int]]) -> list[Sample]:
        rows = [self.rows[index] for index in self.generation.row_indices]
        codec, step = self.policy.codec, self.state.global_step
        before = [self.prompt_ids[index] for index in self.generation.row_indices]
        read = [codec.read(ids, prompt) for ids, prompt in zip(completion_ids, before, strict=True)]
        return [
            row.sample(codec.quote(prompt), said, ids, ids[-1] not in codec.stop_ids, step, raw)
            for row, prompt, ids, (said, raw) in zip(
                rows, before, completion_ids, read, strict=True
            )
        ]

    def _score(self, samples: Sequence[Sample], group_size: int) -> list[RowScore]:
        """Score this process's samples; a group that spans processes is scored whole where a reward
        asks for groups.
        """
        several, rank = self.accelerator.num_processes > 1, self.accelerator.process_index
        spans, begun, self.generation.scoring = self._spans(samples), self.generation.scoring, None
        mine = gather_object(samples) if spans else samples
        failure, scores = None, []
        try:
            scores = waited(begun or self.rewards.submit(mine, group_size))
            _check_size(scores)
        except RewardError as error:
            failure = error
        # One process that raises alone would leave the others waiting in the next collective for
        # ever.
        failures, faults = [failure], self.rewards.take_faults()
        if several:
            failures, faults = gather_object(failures), gather_object(faults)
        again = self._keep_faults(faults)
        for found in filter(None, failures):
            raise RewardError(f"{found}{again.get(getattr(found, 'reward', ''), '')}") from found
        return scores[rank * len(samples) : (rank + 1) * len(samples)] if spans else scores

    def _keep_faults(self, faults: list[dict[str, Any]]) -> dict[str, str]:
        """Write down the calls in which rewards failed; for each reward, how the first one can be
        made again.
        """
        if self.run is None or not faults:
            return {}
        for fault, place in zip(faults, self.run.log_faults(faults), strict=True):
            if fault["reward"] not in self.again:
                self.again[fault["reward"]] = (
                    f" Make the call again with: {replay_command(fault, place)}"
                )
                logging.getLogger("llmpolicy").warning("%s", self.again[fault["reward"]].strip())
        return self.again

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self.generation = Generation(
            [item["row"] for item in inputs], terms=self.rewards.composition.kept
        )
        self.rewards.trainer_state = TrainerSnapshot.of(self.state)
        try:
            if self.sampling is not None and self.model.training:
                inputs = self.sampling.fill(self, inputs)
            with kept_frozen(self.policy.model):  # TRL switches to the reference and back
                output = super()._generate_and_score_completions(inputs)
        finally:
            if self.generation.scoring is not None:  # interrupted before anyone waited for it
                self.generation.scoring.cancel()
        first = self.accelerator.process_index * len(output["advantages"])
        output["advantages"][without_signal(self)[first : first + len(output["advantages"])]] = 0.0
        output["advantages"] = output["advantages"].float()
        self._check_parity(output)
        self._keep_rollouts(output["advantages"].tolist())
        self._note_signal(output)
        return output

    def _keep_rollouts(self, advantages: list[float]) -> None:
        """Write what all processes generated; only the first has a run, but all must take part in
        the gathering.
        """
        mode = "train" if self.model.training else "eval"
        kept = list(
            zip(rollout_rows(self.generation, advantages), self.generation.scores, strict=True)
        )
        kept = gather_object(kept) if self.accelerator.num_processes > 1 else kept
        rows, scores = [row for row, _ in kept], [score for _, score in kept]
        lengths = [len(row["token_ids"]) for row in rows]
        for name, value in part_metrics(
            self.rewards.composition, scores, lengths, self._group_size
        ):
            self._metrics[mode][name].append(value)
        if self.run is not None:
            numbered = [
                {**row, "group": place // self._group_size} for place, row in enumerate(rows)
            ]
            self.run.write_rollouts(self.state.global_step + 1, numbered, mode)

    def _check_parity(self, output: dict[str, Any]) -> None:
        """Before the first update, stop a run whose sampler and scorer are not one policy."""
        if self.parity is not None or self.generation.log_probs is None or not self.model.training:
            return
        self.parity = disagreement(self, output, self.generation.log_probs)
        if self.parity is None:  # then the next generation is looked at
            return
        if self.run is not None and "sampler_parity" in self.run.manifest:
            return  # a run that goes on looks again, and its record stays that of the first step
        self._metrics["train"]["sampler/parity"].append(self.parity)
        if self.run is not None:
            self.run.update_manifest(sampler_parity=self.parity)

    def _note_signal(self, output: dict[str, Any]) -> None:
        """Log what stock metrics leave out: seconds by phase, rows that could not be judged, groups
        with an advantage.
        """
        metrics = self._metrics["train" if self.model.training else "eval"]
        metrics["seconds/generation"].append(self.generation.seconds)
        metrics["seconds/rewards"].append(self.generation.reward_seconds)
        unjudged = sum(row.value is None for row in self.generation.scores) / len(
            self.generation.scores
        )
        metrics["rewards/unjudged"].append(unjudged)
        metrics["advantages/live"].append(
            live_groups(gather(output["advantages"]), self._group_size)
        )

    # the record of what happened

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "train_loss" in logs:
            logs["train_loss"] = mean_loss(self.state)
        super().log(logs, start_time)
        if self.run is not None and self.accelerator.is_main_process:
            # The summary at the end belongs to no step, and must not take the last one's place.
            mode = "summary" if "train_runtime" in logs else "train"
            self.run.log(
                self.state.global_step,
                {key: value for key, value in logs.items() if key != "step"},
                mode,
            )

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self.sampling is not None and self.sampling.memory is not None:
            state: Any = (
                self.state
            )  # in trainer_state.json, without which a checkpoint does not count
            state.stateful_callbacks["memory"] = self.sampling.memory.state()
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
            state: Any = self.state
            self.sampling.memory.load(state.stateful_callbacks.get("memory", {}))

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


def _check_size(scores: Sequence[RowScore]) -> None:
    """Raise RewardError for a score whose square 32 bits cannot hold: its group's advantages would
    be no numbers.
    """
    for place, row in enumerate(scores):
        for name, part in row.parts.items():
            if part.value is not None and abs(part.value) > MOST:
                raise RewardError(
                    f"Reward {name!r} returned {part.value:g} on completion {place} of the batch;"
                    f" expected at most {MOST:g} in size: training computes in 32 bits, so scale it"
                    " down."
                )
