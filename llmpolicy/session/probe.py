"""A recipe looked at before it is trained: its base policy is sampled and paid as training would, a
few steps are rehearsed, and both end in GO or NO-GO.
"""

import gc
import random
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import psutil

from llmpolicy import consent
from llmpolicy.diagnosis.probed import Cost, Part, Probed, Sampled
from llmpolicy.episode import Episode
from llmpolicy.errors import RecipeError, RunError
from llmpolicy.evaluation.signal_share import SIZES, pass_beyond, shares
from llmpolicy.plan import Plan, completion_length, fit, require_sandbox
from llmpolicy.recipe import Grpo, Recipe, Reinforce, dialogue_of, load_recipe, stages_of
from llmpolicy.recipe.stages import LEARNS_FROM
from llmpolicy.rewards.compose.statistics import metrics as part_metrics
from llmpolicy.session.rehearsal import Rehearsed, rehearse
from llmpolicy.session.training import train_stages
from llmpolicy.stages.partner import check_environment, talking
from llmpolicy.stages.policy import build_policy
from llmpolicy.stages.process import by_itself, placed, target
from llmpolicy.stages.request import Request
from llmpolicy.statistics import mean_interval, pass_at_k
from llmpolicy.tasks import Row
from llmpolicy.terminal import Say, quiet, tell
from llmpolicy.types import RowScore

PROMPTS, LEAST_SAMPLES = 64, 16
CANDIDATES = 3
"""How many of the most frequent completions, and of the answers, are tried as the only one."""
ROOM = 0.99
"""The share of completions that end by themselves for which the suggested length has room."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A step of a recipe: groups of so many completions, its optimiser steps, and how often they
    visit a prompt.
    """

    group: int
    groups: int
    steps: int
    visits: float

    @classmethod
    def of(cls, plan: Plan) -> "Shape":
        """The shape of a step of GRPO or REINFORCE."""
        last = plan.stages[-1]
        if isinstance(last, Reinforce):
            settings = last.settings
            group, groups = settings.group_size or 8, settings.prompts or 8
            visits = settings.updates * groups / max(len(plan.train_rows), 1)
            return cls(group, groups, settings.updates, visits)
        assert plan.explanation is not None
        a = plan.explanation.arithmetic
        group = a.rollouts_per_generation // a.prompts_per_generation
        return cls(group, a.prompts_per_generation, a.optimiser_steps, a.passes)


@by_itself()
def probe_recipe(
    name: str,
    overrides: Sequence[str] = (),
    *,
    prompts: int = PROMPTS,
    samples: int | None = None,
    yes: bool = False,
    say: Say = tell,
) -> Probed:
    """Probe a recipe file (or bundled recipe): sample ``prompts`` prompts, ``samples`` times each,
    and rehearse some steps. Nothing is left behind.

    The stages before GRPO are carried out first, for what it starts from is what is probed. Raises
    LLMPolicyError in one sentence for a recipe that cannot be run.
    """
    recipe = load_recipe(name, overrides)
    consent.need(f"probing {name}", recipe.model_dump(), recipe.base_dir, yes=yes)
    last = stages_of(recipe)[-1]
    if not isinstance(last, Grpo | Reinforce):
        raise RecipeError(
            f"recipe {recipe.name!r} trains no language model by grpo or reinforce; expected a"
            " recipe that samples groups"
        )
    quiet()
    with tempfile.TemporaryDirectory(prefix="llmpolicy-probe-") as temporary:
        folder = Path(temporary) / "run"
        plan = _planned(recipe, folder, say)
        sampled, shape = _sampled(plan, prompts, samples, say)
        _release()
        say(f"rehearsing a few steps of {recipe.name}, in a process of their own")
        cost, failed = None, ""
        try:
            cost = _cost(rehearse(name, overrides, folder))
        except RunError as error:
            failed = str(error)
    return Probed(
        recipe.name, shape.steps, shape.visits, sampled, cost, failed, tuple(_said(plan.recipe))
    )


def _planned(recipe: Recipe, folder: Path, say: Say) -> Plan:
    """The plan of what GRPO starts from, the stages before it carried out in a folder."""
    early = [stage.name for stage in stages_of(recipe) if stage.name in LEARNS_FROM]
    if early:
        say(f"carrying out {' and '.join(early)}, which grpo starts from")
        rest = train_stages(recipe, folder, say=lambda _: None)
        assert rest is not None
        recipe = rest
    plan = Request(recipe, folder).plan
    check_environment(recipe, [*plan.train_rows, *plan.held_out])
    require_sandbox(plan)
    return plan


def _release() -> None:
    """Give an accelerator's memory back to the process that rehearses."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _said(recipe: Recipe) -> list[str]:
    """What is not as in training."""
    said, grpo = [], recipe.grpo or {}
    if grpo.get("use_vllm"):
        said.append("vLLM writes in training; the samples are of the policy's own generator")
    if recipe.sampling is not None:
        said.append("the share of groups is that before dynamic sampling refills any")
    if recipe.environment is not None and recipe.environment.credit == "turn":
        said.append(
            "a signal is meant of whole dialogues; credit: turn may find one in their turns"
        )
    if recipe.advantage is not None:
        said.append("a signal is meant of rewards that differ; your own advantage may differ too")
    return said


def _sampled(plan: Plan, prompts: int, samples: int | None, say: Say) -> tuple[Sampled, Shape]:
    """What the policy that training starts from writes to some prompts, and what it is paid."""
    from llmpolicy.policies.causal_lm.trial import train_mode

    policy = placed(build_policy(plan.recipe))
    plan = fit(plan, policy, target=target())
    shape = Shape.of(plan)
    count = samples or -(-LEAST_SAMPLES // shape.group) * shape.group
    if count < 2:
        raise RecipeError(f"--group is {count}; expected at least 2 samples of a prompt")
    rows = random.Random(plan.recipe.seed).sample(
        list(plan.train_rows), min(prompts, len(plan.train_rows))
    )
    say(f"sampling {len(rows)} prompts, {count} times each")
    with train_mode(policy.model):
        episodes = _played(plan, policy, rows, count, shape)
    return _described(plan, rows, episodes, count, shape), shape


def _played(
    plan: Plan, policy: Any, rows: Sequence[Row], count: int, shape: Shape
) -> list[Episode]:
    """Judged episodes, those of a row next to each other, as many at once as in training."""
    import torch

    from llmpolicy.evaluation.answers import complete, samples_of

    draw = torch.Generator().manual_seed(plan.recipe.seed + 1)
    with torch.no_grad():
        episodes = complete(
            policy,
            rows,
            samples=count,
            generator=draw,
            batch_size=shape.group * shape.groups,
            partner=talking(plan.recipe, policy),
        )
    size = shape.group if count % shape.group == 0 else count
    scores = plan.rewards.score(samples_of(rows, episodes), size)
    share = plan.rewards.composition.share("environment")
    return [e.judged(score, share) for e, score in zip(episodes, scores, strict=True)]


def _described(
    plan: Plan, rows: Sequence[Row], episodes: Sequence[Episode], count: int, shape: Shape
) -> Sampled:
    groups = [episodes[at : at + count] for at in range(0, len(episodes), count)]
    paid = [[e.score.value for e in group if e.score.value is not None] for group in groups]
    known = [value for values in paid for value in values]
    right = _right(plan, rows, episodes, known)
    verdicts = [
        [v for v in right[at : at + count] if v is not None] for at in range(0, len(right), count)
    ]
    limit = completion_length(plan.recipe)
    sizes = sorted({*SIZES, shape.group})
    ended = [_length(e) for e in episodes if not _is_cut(e)]
    cut = [fmean(float(_is_cut(e)) for e in group) for group in groups]
    return Sampled(
        prompts=len(rows),
        samples=count,
        group=shape.group,
        groups_per_step=shape.groups,
        limit=limit,
        signal=shares(paid, sizes, groups=shape.groups, seed=plan.recipe.seed),
        rates=[fmean(map(float, of_prompt)) for of_prompt in verdicts if of_prompt],
        pass_at=_pass_at(verdicts, count),
        ceiling=_ceiling(verdicts, shape),
        lengths=_lengths([_length(e) for e in episodes]),
        truncated=mean_interval(cut),
        suggested_length=None if dialogue_of(plan.recipe) else _suggested(ended, fmean(cut), limit),
        unjudged=1 - len(known) / len(episodes),
        mean_reward=fmean(known) if known else None,
        top=max(known, default=0.0),
        parts=_parts(plan, episodes, count),
        constant=_constant(plan, rows, episodes),
    )


def _is_cut(episode: Episode) -> bool:
    """Whether tokens ran out; a dialogue that has had its turns ends as it may."""
    dialogue = episode.dialogue
    return episode.truncated if dialogue is None else dialogue.ended == "tokens"


def _length(episode: Episode) -> int:
    return len(episode.ids)


def _right(
    plan: Plan, rows: Sequence[Row], episodes: Sequence[Episode], known: Sequence[float]
) -> list[bool | None]:
    """Whether each sample is right, by the evaluation's verifier, or else by the highest pay that
    was seen.
    """
    from llmpolicy.evaluation.answers import judge

    settings = plan.recipe.evaluate
    if settings is not None and plan.correct is not None:
        return judge(plan.correct, rows, episodes, settings.threshold)
    top = max(known, default=0.0)
    values = [episode.score.value for episode in episodes]
    return [None if value is None else value >= top > 0 for value in values]


def _pass_at(verdicts: Sequence[Sequence[bool]], count: int) -> dict[int, float]:
    found = {}
    for k in sorted({1, *(size for size in SIZES if size <= count), count}):
        values = [pass_at_k(len(v), sum(v), k) for v in verdicts if len(v) >= k]
        if values:
            found[k] = fmean(values)
    return found


def _ceiling(verdicts: Sequence[Sequence[bool]], shape: Shape) -> tuple[int, float] | None:
    """pass@k of as many samples as the whole training takes of a prompt that it visits."""
    k = max(round(shape.visits * shape.group), shape.group)
    pairs = [(sum(of_prompt), len(of_prompt)) for of_prompt in verdicts if of_prompt]
    return (k, pass_beyond(pairs, k)) if pairs else None


def _lengths(lengths: Sequence[int]) -> dict[str, float]:
    quantiles = np.quantile(lengths, [0.5, 0.9, 0.99])
    names = ("p50", "p90", "p99")
    found = {"mean": fmean(lengths), **dict(zip(names, map(float, quantiles), strict=True))}
    return {**found, "max": float(max(lengths))}


def _suggested(ended: Sequence[int], cut: float, limit: int) -> int | None:
    """The length that 99 % of the completions end within; twice the limit where too many are cut
    off to tell, None where none ended.
    """
    if not ended:
        return None
    if cut > 1 - ROOM:
        return 2 * limit
    return int(np.ceil(np.quantile(ended, ROOM)))


def _parts(plan: Plan, episodes: Sequence[Episode], count: int) -> dict[str, Part]:
    scores: list[RowScore] = [episode.score for episode in episodes]
    lengths = [_length(episode) for episode in episodes]
    composition = plan.rewards.composition
    figures = dict(part_metrics(composition, scores, lengths, count))
    return {name: _part(name, figures) for name in plan.rewards.names}


def _part(name: str, figures: Mapping[str, float]) -> Part:
    def of(figure: str) -> float | None:
        value = figures.get(figure)
        return None if value is None or value != value else float(value)

    still = of(f"parts/{name}/zero_spread_groups")
    return Part(
        mean=of(f"parts/{name}/mean"),
        std=of(f"parts/{name}/std"),
        moves=still is not None and still < 1,
        share=of(f"terms/{name}/variance_share"),
        seconds_p50=of(f"parts/{name}/seconds_p50"),
        seconds_p95=of(f"parts/{name}/seconds_p95"),
    )


def _constant(
    plan: Plan, rows: Sequence[Row], episodes: Sequence[Episode]
) -> tuple[str, float] | None:
    """The best paid of the most frequent completions and answers, said to every prompt; None in
    dialogues.
    """
    from llmpolicy.evaluation.answers import known, said, samples_of

    if dialogue_of(plan.recipe) is not None:
        return None
    written = Counter(episode.text for episode in episodes)
    answers = Counter(str(row.columns["answer"]) for row in rows if "answer" in row.columns)
    tried = [text for text, _ in written.most_common(CANDIDATES)]
    tried += [text for text, _ in answers.most_common(CANDIDATES) if text not in tried]
    best: tuple[str, float] | None = None
    for text in tried:
        scores = plan.rewards.score(samples_of(rows, said(rows, text)), 1)
        values = known(score.value for score in scores)
        if values and (best is None or fmean(values) > best[1]):
            best = text, fmean(values)
    return best


def _cost(found: Rehearsed) -> Cost:
    on_device = found.device > 0
    worst = found.worst
    return Cost(
        seconds_per_step=found.seconds,
        processor_seconds_per_step=found.processor,
        tokens_per_step=found.tokens,
        peak_memory=found.device if on_device else found.peak,
        worst_seconds_per_step=None if worst is None else worst.seconds,
        worst_peak_memory=None if worst is None else worst.peak,
        memory_there=_memory(on_device),
        why=found.why,
    )


def _memory(on_device: bool) -> int:
    if on_device:
        import torch

        return int(torch.cuda.get_device_properties(0).total_memory)
    return int(psutil.virtual_memory().total)
