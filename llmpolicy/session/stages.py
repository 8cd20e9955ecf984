"""The stages before GRPO: a supervised warm start on demonstrations, and a reward model of preference pairs.

Each lies in the run's directory as a normal model with its report, and is used again as long as what it was made from
stays the same. What is held out for the evaluation is trained on in no stage.
"""

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from llmpolicy.build import build_policy, model_path
from llmpolicy.errors import RecipeError, RunError, nearest
from llmpolicy.recipe import STAGES, ModelBlock, Recipe, RewardBlock
from llmpolicy.reward_model import REPORT as REWARD_MODEL_REPORT
from llmpolicy.reward_model import begin, reward_config, table, train_reward_model
from llmpolicy.rewards.compose import COMPOSITES
from llmpolicy.run import damage, is_failed_start, keep_damaged, recover
from llmpolicy.session.process import DRY_RUN, Say, is_main, target, use_threads
from llmpolicy.tasks import load_demonstrations, load_pairs, load_tasks
from llmpolicy.terminal import quiet
from llmpolicy.warm_start import REPORT as WARM_START_REPORT
from llmpolicy.warm_start import sft_config, warm_start

REPORTS = {"sft": Path("warm_start") / WARM_START_REPORT, "reward_model": Path("reward_model") / REWARD_MODEL_REPORT}
SCORER = "reward_model:score"
HELD_OUT = 200
"""Questions held out of the preference pairs of a recipe that does not say how many."""


def train_stages(
    recipe: Recipe, out: Path, *, until: str | None = None, resume: bool = False, dry_run: bool = False, say: Say
) -> Recipe | None:
    """Carry out a recipe's stages in ``out``; the recipe of what is left, or None if nothing is (or ``until`` ends here).

    Raises LLMPolicyError in one sentence; with ``dry_run`` all is checked that can be without a model.
    """
    wanted = _wanted(recipe, until)
    made_from = {stage: _hash(recipe, stage) for stage in wanted}
    _check_place(out, made_from, resume)
    held_out = _held_out_questions(recipe)
    work = {"sft": _warm_start, "reward_model": _reward_model}
    for stage in wanted:
        report = out / REPORTS[stage]
        if not dry_run and is_main():
            recover(report.parent)
        if not dry_run and _made_from(report) == made_from[stage] and not _is_damaged(report.parent, say):
            say(f"{stage}: found in {report.parent}")
            continue
        work[stage](recipe, report.parent, held_out, {"made_from": made_from[stage]}, dry_run, say)
    if until or recipe.grpo is None:
        if dry_run:
            say(DRY_RUN)
        return None
    return _rest(recipe, out.resolve(), dry_run)


def _wanted(recipe: Recipe, until: str | None) -> list[str]:
    present = [stage for stage in STAGES if getattr(recipe, stage) is not None]
    if until is None:
        return present
    if until not in present:
        raise RecipeError(f"recipe {recipe.name!r} has no stage {until!r}{nearest(until, present)}")
    return present[: present.index(until) + 1]


def _hash(recipe: Recipe, stage: str) -> str:
    """A fingerprint of all that decides what a stage comes to."""
    names = ["seed", "model", "task", "demonstrations", "sft"]
    names += ["preferences", "reward_model"] if stage == "reward_model" else []
    data = recipe.resolved()
    held_out = {key: (data["evaluate"] or {}).get(key) for key in ("n", "task")}
    text = json.dumps({name: data[name] for name in names} | {"held_out": held_out}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _made_from(report: Path) -> str | None:
    try:
        found: str | None = json.loads(report.read_text(encoding="utf-8")).get("made_from")
    except (FileNotFoundError, ValueError):
        return None
    return found


def _is_damaged(folder: Path, say: Say) -> bool:
    """Whether a stage's model is not what was written; the main process keeps it aside, and it is made anew."""
    return keep_damaged(folder, say) if is_main() else damage(folder) is not None


def _check_place(out: Path, made_from: dict[str, str], resume: bool) -> None:
    """The stages of a run that goes on, or is there already, are not made anew under it."""
    if (out / "manifest.json").is_file() and not is_failed_start(out):
        if not resume:
            raise RunError(f"{out} already holds a run; go on with it (--resume) or choose another --out DIR")
        for stage, fingerprint in made_from.items():
            if _made_from(out / REPORTS[stage]) != fingerprint:
                raise RunError(f"{out} cannot go on: its {stage} was made from another recipe; start a new run")


def _held_out_questions(recipe: Recipe) -> Collection[str]:
    """The questions that the evaluation holds out; no stage trains on them."""
    if not recipe.task or recipe.evaluate is None:
        return ()
    tasks = load_tasks(
        recipe.task, recipe.base_dir, seed=recipe.seed, held_out=recipe.evaluate.n, held_out_task=recipe.evaluate.task
    )
    return {row.question for row in tasks.held_out}


def _warm_start(
    recipe: Recipe, folder: Path, held_out: Collection[str], facts: dict[str, Any], dry_run: bool, say: Say
) -> None:
    assert recipe.demonstrations is not None and recipe.sft is not None
    args = sft_config(recipe.sft, folder=folder, seed=recipe.seed, target=target())
    rows = load_demonstrations(recipe.demonstrations, recipe.base_dir)
    train = [row for row in rows if row.question not in held_out]
    if not train:
        raise RecipeError(f"recipe {recipe.name!r}: all {len(rows)} demonstrations are of held-out questions")
    say(f"sft: {len(train)} demonstrations, {len(rows) - len(train)} of held-out questions kept apart")
    if dry_run:
        return
    _quiet()
    policy = build_policy(recipe)
    use_threads(policy)
    report = warm_start(policy, train, [row for row in rows if row.question in held_out], args, folder, facts)
    measured = f", held out {report['held_out']['loss']:.3f}" if report["held_out"] else ""
    say(f"sft: loss {report['train']['loss']:.3f} nats a token{measured}; {folder}")


def _reward_model(
    recipe: Recipe, folder: Path, held_out: Collection[str], facts: dict[str, Any], dry_run: bool, say: Say
) -> None:
    from llmpolicy.report.reward_model import plot_reward_model

    assert recipe.preferences is not None and recipe.reward_model is not None and recipe.model is not None
    args = reward_config(recipe.reward_model, folder=folder, seed=recipe.seed, target=target())
    n = 0 if held_out else recipe.evaluate.n if recipe.evaluate else HELD_OUT
    pairs = load_pairs(recipe.preferences, recipe.base_dir, held_out=n, never=held_out)
    say(f"reward_model: {len(pairs.train)} pairs, {len(pairs.held_out)} of held-out prompts kept apart")
    if dry_run:
        return
    _quiet()
    block = recipe.model
    base = str(folder.parent / REPORTS["sft"].parent) if recipe.sft else model_path(block, recipe.base_dir)
    model, tokenizer = begin(
        base, seed=recipe.seed, dtype=block.dtype, trust_remote_code=block.trust_remote_code,
        revision=None if recipe.sft else block.revision,
    )  # fmt: skip
    use_threads(SimpleNamespace(model=model, device=model.device))
    report = train_reward_model(model, tokenizer, pairs, args, folder, facts, lora=block.lora)
    say(table(report))
    if is_main() and report["held_out"]:
        say(f"plot: {plot_reward_model(report, folder / 'calibration.png')}")


def _quiet() -> None:
    import datasets

    quiet()
    datasets.disable_progress_bars()


def _rest(recipe: Recipe, out: Path, dry_run: bool) -> Recipe:
    """The recipe of GRPO alone: it starts from the warm start, and is paid by the reward model that was trained."""
    changes: dict[str, Any] = dict.fromkeys(("demonstrations", "sft", "preferences", "reward_model"))
    if recipe.reward_model is not None:
        path = str(out / REPORTS["reward_model"].parent)
        changes["rewards"] = [_paid_by(block, path) for block in recipe.rewards]
    if recipe.sft is not None and recipe.model is not None and not dry_run:
        note = f"{recipe.model.hub_id or recipe.model.path} after supervised training on demonstrations"
        other = {
            "path": str(out / REPORTS["sft"].parent),
            "hub_id": None,
            "revision": None,
            "adapter": None,
            "note": note,
        }
        changes["model"] = ModelBlock(**{**recipe.model.model_dump(), **other})
    return recipe.model_copy(update=changes)


def _paid_by(block: RewardBlock, path: str) -> RewardBlock:
    """An entry of the reward in which the reward model that was trained scores, at whatever depth."""
    changes: dict[str, Any] = {
        key: [_paid_by(one, path) for one in getattr(block, key)] for key in COMPOSITES if getattr(block, key)
    }
    if block.fn == SCORER:
        changes["args"] = {"model": path, **block.args}
    return block.model_copy(update=changes)
