"""A GRPO step: choose prompts -> act -> judge -> weigh -> improve.

TRL's trainer drives: it takes the data round, turns rewards into advantages and computes every loss
and metric. On its way it asks the seams of `trainer.py`, which ask the functions of this page. A
generation and its first update, in order (``tests/test_seams.py`` follows one):

     seam                                   function here  what it hands back
     =====================================  =============  =======================================
 1   _get_train_sampler                     Order          rows in an order that a resume goes on in
 2   _prepare_inputs                        next_inputs    the rows of a micro-step
 3   _generate_and_score_completions        generation     a generation from prompts to advantages
                                            choose         its prompts; dynamic sampling: its groups
 4   _tokenize_prompts                                     token ids that were encoded once
 5   _generate_single_turn                  act            completions, and the rewards begin
                                                           TRL: text, lengths, padded tensors
 6   _get_per_token_logps_and_entropies                    the reference's, at beta above 0
 7   _calculate_rewards                     judge          every term of every row, of all processes
                                                           TRL: rewards -> advantages, metrics
                                            weigh          exactly 0 where rewards are equal
 8   _get_per_token_logps_and_entropies     check_parity   once: sampler and scorer are one policy
                                            keep           rows in the run, figures in the log
 9   compute_loss                           improve        0 until a window of micro-steps is whole
10   _compute_loss                          own_loss       of each micro-batch: TRL's loss, or in it
                                                           one's own, and the backward pass
11   _get_per_token_logps_and_entropies
12   _compute_loss                          own_loss       of the window, scored already: loss and
                                                           metrics, then the optimiser's step
13   _get_per_token_logps_and_entropies
14   log                                                   a line in the run
15   _save_checkpoint                                      a folder that is whole or not there:
16   create_model_card                                     nothing
17   _get_output_dir                                       the folder in which it is written
18   _save                                                 the policy
19   _save_optimizer_and_scheduler                         and a reference that moves

Who answers 6, 8, 11 and 13 is the trainer's ``scorer`` (`scorer.py`), which an update replaces for
11 and 13 (`update.py`). An update that cannot go by groups (`path.py`) goes as TRL's does: it then
shuffles rows in 2, and 9 to 13 are one loss for each micro-step. In dialogues TRL asks its
rollout_func in the place of 4 and 5, which is `converse`: `rollout` plays (`dialogues.py`).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate.utils import gather, gather_object
from torch import Tensor
from trl.trainer.utils import RepeatSampler, split_tensor_dict

from llmpolicy.episode import Episode, Turn
from llmpolicy.grpo import judging
from llmpolicy.grpo.dialogues import Talk, handed, learnt_from, play, weigh_turns
from llmpolicy.grpo.generation import acted, begin, log_probs
from llmpolicy.grpo.groups import (
    Inputs,
    counting,
    equal_rewards,
    live_groups,
    shuffled_groups,
    totals,
    wide,
)
from llmpolicy.grpo.parity import disagreement
from llmpolicy.grpo.scorer import Asked, needing, scoring
from llmpolicy.grpo.update import window_loss
from llmpolicy.policies.causal_lm.generate import generate
from llmpolicy.policies.causal_lm.score import Scored
from llmpolicy.policies.causal_lm.trained import kept_frozen
from llmpolicy.prove import advantages_in_groups, losses_of
from llmpolicy.reference import name_of
from llmpolicy.rewards.compose.statistics import metrics as part_metrics
from llmpolicy.run import Run
from llmpolicy.run.bound import takes_rollouts
from llmpolicy.run.episodes import episode_columns
from llmpolicy.types import TrainerSnapshot

if TYPE_CHECKING:
    from llmpolicy.grpo.trainer import PolicyTrainer

Items = list[dict[str, Any]]
"""What TRL's data gives a generation: for each completion the number of its ``row``."""
Chosen = tuple[list[list[int]], list[Sequence[float | None]] | None]
"""Completions as token ids, and the log-probabilities that TRL is to have."""


class Order(RepeatSampler):
    """TRL's order of the data, in later passes from a seed of their own: a resumed run goes on in
    the order it had.

    ``passes`` tells how many passes are behind.
    """

    def __init__(self, stock: Any, passes: Callable[[], int]) -> None:
        vars(self).update(vars(stock))
        self.passes = passes

    def __iter__(self) -> Iterator[int]:
        if self.shuffle and (passes := self.passes()):
            seed = np.random.SeedSequence([self.seed or 0, passes]).generate_state(1)[0]
            self.generator.manual_seed(int(seed))
        return super().__iter__()


def next_inputs(trainer: "PolicyTrainer", items: Items) -> Inputs:
    """The rows of this micro-step, of a new generation when the last is used up; TRL shuffles rows,
    here groups are.
    """
    steps = trainer.args.steps_per_generation or 1
    if is_used_up(trainer) or trainer._buffered_inputs is None:
        output = trainer._generate_and_score_completions(items)
        trainer._buffered_inputs = split_tensor_dict(
            shuffled_groups(output, trainer.group_size), steps
        )
    inputs: Inputs = trainer._buffered_inputs[trainer._step % steps]
    return inputs


def is_used_up(trainer: "PolicyTrainer") -> bool:
    """Whether the next micro-step begins a generation."""
    steps = (trainer.args.steps_per_generation or 1) * trainer.num_iterations
    return int(trainer._step) % steps == 0


def generation(trainer: "PolicyTrainer", items: Items, by_trl: Callable[[Items], Inputs]) -> Inputs:
    """A generation, from its prompts to its advantages; TRL asks for `act` and `judge` in it."""
    try:
        items = choose(trainer, items)
        # TRL switches to the reference and back
        with kept_frozen(trainer.policy.model), needing(trainer, partial(needed, trainer)):
            output = by_trl(items)
    finally:
        if trainer.generation.scoring is not None:  # interrupted before anyone waited for it
            trainer.generation.scoring.cancel()
    weigh(trainer, output)
    check_parity(trainer, output)
    keep(trainer)
    return output


def needed(trainer: "PolicyTrainer", asked: Asked) -> Tensor | None:
    """Which log-probabilities of a generation serve, (B, T): none of what an environment said."""
    return None if trainer.talk is None else learnt_from(trainer.generation.episodes, asked)


def choose(trainer: "PolicyTrainer", items: Items) -> Items:
    """Begin a generation of the prompts that are next in the data, or of those that dynamic
    sampling takes, which it has acted on and judged then.
    """
    trainer.rewards.trainer_state = TrainerSnapshot.of(trainer.state)
    begin(trainer, [item["row"] for item in items])
    if trainer.sampling is None or not trainer.model.training:
        return items
    return trainer.sampling.fill(trainer, items)


def converse(
    trainer: "PolicyTrainer", talk: Talk, by_trl: Callable[..., Chosen], *_: Any
) -> dict[str, Any]:
    """`act` in dialogues: play one of each row, and let the rewards begin; what TRL takes of them.

    ``by_trl`` writes behind each state where the policy's own generator does not. The rest is what
    TRL hands to a rollout function.
    """
    if not trainer.generation.episodes:
        trainer.generation.episodes = play(trainer, talk, partial(written, trainer, by_trl))
        judging.begin(trainer)
    return handed(trainer)


def written(
    trainer: "PolicyTrainer",
    by_trl: Callable[..., Chosen],
    states: Sequence[Sequence[int]],
    most: Sequence[int],
) -> list[Turn]:
    """What the policy's own generator, or TRL's, writes behind each state, so many tokens at
    most.
    """
    if trainer.ways.samples_itself:
        return sampled(trainer, states, most)
    prompts = [list(state) for state in states]
    ids, noted = by_trl(prompts, None, {}, 1)
    cut = [action[:limit] for action, limit in zip(ids, most, strict=True)]
    return read(trainer, prompts, (cut, noted))


def act(
    trainer: "PolicyTrainer", prompt_ids: list[list[int]], by_trl: Callable[[], Chosen]
) -> Chosen:
    """Sample a completion of each prompt, by the policy's generator or ``by_trl``, and let the
    rewards begin; dynamic sampling has done both.
    """
    current, itself = trainer.generation, trainer.ways.samples_itself
    if not current.episodes:
        start = time.perf_counter()
        turns = sampled(trainer, prompt_ids) if itself else read(trainer, prompt_ids, by_trl())
        current.seconds = time.perf_counter() - start
        current.episodes = acted(trainer, turns)
        judging.begin(trainer)
    ids = [episode.tokens()[0] for episode in current.episodes]
    # TRL would read handed-over log-probs as a licence to correct off-policy drift: those of the
    # policy's own generator go to the rollouts only.
    return ids, None if itself else log_probs(current.episodes)


@torch.no_grad()
def sampled(
    trainer: "PolicyTrainer",
    prompt_ids: Sequence[Sequence[int]],
    most: int | Sequence[int] | None = None,
) -> list[Turn]:
    """What the policy's own generator writes after each prompt."""
    policy = trainer.policy
    return generate(
        policy.model,
        prompt_ids,
        max_new_tokens=most or trainer.args.max_completion_length or policy.max_new_tokens,
        temperature=trainer.temperature,
        stop_ids=policy.stop_ids,
        pad_id=policy.pad_id,
    )


def read(trainer: "PolicyTrainer", prompt_ids: list[list[int]], chosen: Chosen) -> list[Turn]:
    """What TRL's sampler, or an engine, wrote after each prompt."""
    ids, noted = chosen
    turns = []
    for row, (state, action) in enumerate(zip(prompt_ids, ids, strict=True)):
        stopped = action[-1] in trainer.policy.stop_ids
        turns.append(Turn(state, action, noted[row] if noted else None, stopped, not stopped))
    return turns


def judge(trainer: "PolicyTrainer") -> Tensor:
    """Score what was generated; every term of every row, (B of all processes, terms)."""
    current, names = trainer.generation, trainer.rewards.composition.names
    if not all(episode.rewards for episode in current.episodes):  # dynamic sampling judges
        judging.score(trainer)
    # TRL counts a term that is None as 0 unless the whole row is NaN: a row that cannot be judged
    # is all NaN.
    device = trainer.accelerator.device
    scores = [episode.score for episode in current.episodes]
    terms = [[judging.number(score, name) for name in names] for score in scores]
    current.table = gather(torch.tensor(terms, dtype=wide(device), device=device))
    return current.table


def weigh(trainer: "PolicyTrainer", output: Inputs) -> None:
    """Weigh the episodes by TRL's advantages, which of groups whose rewards are equal are made
    exactly 0 (they may be off by a rounding error), or by those of a function of one's own.
    """
    if trainer.talk is not None and trainer.talk.by_turn:
        width = output["completion_ids"].shape[1]
        weights = weigh_turns(trainer, width)  # (B, T)
        output["advantages"] = weights.to(output["advantages"].device)
        return
    advantages = output["advantages"]  # (B,)
    start = trainer.accelerator.process_index * len(advantages)
    mine = slice(start, start + len(advantages))
    if trainer.advantage is None:
        advantages[without_signal(trainer)[mine]] = 0.0
    else:
        scores = totals(trainer.generation.table, trainer.reward_weights)
        advantages = advantages_in_groups(trainer.advantage, scores, trainer.group_size)[mine]
    output["advantages"] = advantages.float()
    pairs = zip(trainer.generation.episodes, output["advantages"].tolist(), strict=True)
    trainer.generation.episodes = [episode.weighed(weight) for episode, weight in pairs]


def without_signal(trainer: "PolicyTrainer") -> Tensor:
    """The rows, (B,) of all processes, whose advantages are 0: their group's rewards, or each of
    their terms, are equal.
    """
    table, weights, size = trainer.generation.table, trainer.reward_weights, trainer.group_size
    if trainer.multi_objective_aggregation == "sum_then_normalize":
        return equal_rewards(table, weights, size)
    counted = weights.nonzero()[:, 0].tolist()
    equal = [equal_rewards(table[:, [term]], torch.ones(1), size) for term in counted]
    return torch.stack(equal).all(0)


def improve(trainer: "PolicyTrainer", model: torch.nn.Module, inputs: Inputs) -> Tensor:
    """The loss of a micro-step; the last one of an optimiser step, or of a generation, accumulates
    the gradient of all.
    """
    return window_loss(trainer, model, inputs)


def own_loss(
    trainer: "PolicyTrainer", inputs: Inputs, by_trl: Callable[[Inputs], Tensor]
) -> Tensor:
    """TRL's loss of a batch, with one's own in the place of its clipped ratio.

    TRL takes −min(r A, clip(r) A) of each decision, r = π / π_old, and nothing is clipped here: A =
    −loss / r makes that the loss itself. Its mean, the KL and the figures stay TRL's.

    It estimates what that loss says, in the mean that ``loss_type`` names, of which those with a
    constant denominator (dr_grpo, luspo) add no turn of their own (docs/estimators.md).
    """
    usual, loss, handed = trainer.scorer, trainer.loss, dict(inputs)
    assert loss is not None
    mask = counting(inputs)  # (B, T)

    def scorer(asked: Asked) -> Scored:
        scored = usual(asked)
        old = inputs.get("old_per_token_logps")  # (B, T)
        old = scored.log_prob.detach() if old is None else old
        advantage = inputs["advantages"].view(len(mask), -1)  # (B, 1)
        losses = losses_of(loss, name_of(loss), scored.log_prob, old, advantage, mask)
        inverse = (old - scored.log_prob).exp()
        handed["advantages"] = -(losses * inverse).where(mask.bool(), 0.0)
        return scored

    with scoring(trainer, scorer):
        return by_trl(handed)


def check_parity(trainer: "PolicyTrainer", output: Inputs) -> None:
    """Before the first update, stop a run whose sampler and scorer are not one policy."""
    if trainer.parity is not None or not trainer.model.training:
        return
    noted, run = log_probs(trainer.generation.episodes), trainer.run
    are_noted = [noted is not None]
    if trainer.accelerator.num_processes > 1:  # they compare together, or none does
        are_noted = gather_object(are_noted)
    if noted is None or not all(are_noted):
        return
    trainer.parity = disagreement(trainer, output, noted)
    if trainer.parity is None:  # then the next generation is looked at
        return
    if run is not None and "sampler_parity" in run.manifest:
        return  # a run that goes on looks again, and its record stays that of the first step
    trainer._metrics["train"]["sampler/parity"].append(trainer.parity)
    if run is not None:
        run.update_manifest(sampler_parity=trainer.parity)


def keep(trainer: "PolicyTrainer") -> None:
    """Write what all processes generated, and log what stock metrics leave out: statistics of
    parts, seconds by phase, rows that could not be judged, groups with an advantage.

    Only the first process has a run, but all must take part in the gathering.
    """
    current, size = trainer.generation, trainer.group_size
    mode = "train" if trainer.model.training else "eval"
    metrics = trainer._metrics[mode]
    episodes = current.episodes
    if trainer.accelerator.num_processes > 1:
        episodes = gather_object(episodes)
    composition, scores = trainer.rewards.composition, [episode.score for episode in episodes]
    lengths = [len(episode.ids) for episode in episodes]
    for name, value in part_metrics(composition, scores, lengths, size):
        metrics[name].append(value)
    at = trainer.state.global_step + 1
    if trainer.run is not None and takes_rollouts(trainer.run, at, mode):
        trainer.run.beside.do(partial(_write, trainer.run, at, episodes, composition.kept, mode))
    unjudged = [episode for episode in current.episodes if episode.score.value is None]
    metrics["seconds/generation"].append(current.seconds)
    metrics["seconds/rewards"].append(current.reward_seconds)
    metrics["rewards/unjudged"].append(len(unjudged) / len(current.episodes))
    metrics["advantages/live"].append(live_groups([e.weights for e in episodes], size))


def _write(
    run: Run, step: int, episodes: Sequence[Episode], terms: Sequence[str], mode: str
) -> None:
    run.write_rollouts(step, episode_columns(episodes, terms), mode)
