"""The stages before GRPO: a supervised warm start on demonstrations, and a reward model of
preference pairs.

Each lies in the run's directory as a normal model with its report, and is used again as long as
what it was made from stays the same. What is held out for the evaluation is trained on in no stage.
"""

import hashlib
import json
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from llmpolicy.bounded import read_json
from llmpolicy.errors import RecipeError, RunError, nearest
from llmpolicy.plan import SCORER, build_policy, model_path, refuse_damage
from llmpolicy.recipe import STAGES, ModelBlock, Recipe, RewardBlock
from llmpolicy.run import damage, is_failed_start, keep_damaged, recover
from llmpolicy.run.contents import content_digest
from llmpolicy.run.lock import holds, lock, release
from llmpolicy.run.place import claim
from llmpolicy.signals import Interrupted, terminable
from llmpolicy.stages.process import DRY_RUN, Say, by_itself, is_main, silent, target, use_threads
from llmpolicy.stages.reward_model import REPORT as REWARD_MODEL_REPORT
from llmpolicy.stages.reward_model import begin, reward_config, table, train_reward_model
from llmpolicy.stages.sft import REPORT as WARM_START_REPORT
from llmpolicy.stages.sft import sft_config, warm_start
from llmpolicy.stages.sources import digest, weight_files
from llmpolicy.tasks import Demonstration, Pair, Pairs, load_demonstrations, load_pairs, load_tasks
from llmpolicy.terminal import quiet

REPORTS = {
    "sft": Path("warm_start") / WARM_START_REPORT,
    "reward_model": Path("reward_model") / REWARD_MODEL_REPORT,
}
HELD_OUT = 200
"""Questions held out of the preference pairs of a recipe that does not say how many."""


@dataclass(frozen=True)
class _Data:
    """What the stages learn from, as it lies there now, and the questions that none of them may
    see.
    """

    held_out: Collection[str]
    demonstrations: Sequence[Demonstration] = ()
    pairs: Pairs | None = None


@contextmanager
def staged(out: Path, *, resume: bool = False, dry_run: bool = False) -> Iterator[None]:
    """Hold a run's directory from before its first stage, and say what is kept when a signal ends
    it at once.

    Raises RunError when another process writes there, or a run that cannot go on is asked to.
    """
    if dry_run or not is_main() or holds(out):
        yield
        return
    _take(out, resume)
    try:
        with terminable():
            yield
    except KeyboardInterrupt as error:
        raise Interrupted.of(error, str(error) or _kept(out)) from None
    finally:
        release(out)
        with suppress(OSError):  # what was refused before anything was written leaves no name taken
            out.rmdir()


def _take(out: Path, resume: bool) -> None:
    if not resume:
        claim(out)
        return
    if not (out / "manifest.json").is_file() or is_failed_start(out):
        raise RunError(
            f"{out} has no checkpoint to go on from; give the same command without --resume"
        )
    lock(out)


def _kept(out: Path) -> str:
    stages = [report.parent.name for report in REPORTS.values() if (out / report).is_file()]
    kept = (
        f"{' and '.join(f'{name}/' for name in stages)} is kept" if stages else "nothing was saved"
    )
    return (
        f"stopped at once: {kept}; give the same command again, with --out {shlex.quote(str(out))}"
    )


@by_itself()
def train_stages(
    recipe: Recipe,
    out: Path,
    *,
    until: str | None = None,
    resume: bool = False,
    dry_run: bool = False,
    say: Say,
) -> Recipe | None:
    """Carry out a recipe's stages in ``out``; the recipe of what is left, or None if nothing is (or
    ``until`` ends here).

    Raises LLMPolicyError in one sentence; with ``dry_run`` all is checked that can be without a
    model.
    """
    recipe, wanted = recipe.within(out), _wanted(recipe, until)
    _refuse_a_run(out, resume)
    with staged(out, resume=resume, dry_run=dry_run):
        data = _load(recipe, wanted)
        made_from: dict[str, Mapping[str, str]] = {
            stage: _facts(recipe, stage, data) for stage in wanted
        }
        if resume:
            made_from = {
                stage: _unchanged(out, stage, now, say) for stage, now in made_from.items()
            }
        for stage in wanted:  # a later one must not be refused after an earlier one has trained
            WORK[stage](recipe, out / REPORTS[stage].parent, data, {}, True, silent)
        for stage in wanted:
            _carry_out(recipe, stage, out / REPORTS[stage], data, made_from[stage], dry_run, say)
    if until or recipe.grpo is None:
        if dry_run:
            say(DRY_RUN)
        return None
    return after_stages(recipe, out, dry_run=dry_run)


def _carry_out(
    recipe: Recipe,
    stage: str,
    report: Path,
    data: _Data,
    made_from: Mapping[str, str],
    dry_run: bool,
    say: Say,
) -> None:
    if not dry_run and is_main():
        recover(report.parent)
    if not dry_run and _is_there(report, stage, made_from, say):
        say(f"{stage}: found in {report.parent}")
        return
    WORK[stage](recipe, report.parent, data, {"made_from": made_from}, dry_run, say)


def _wanted(recipe: Recipe, until: str | None) -> list[str]:
    present = [stage for stage in STAGES if getattr(recipe, stage) is not None]
    if until is None:
        return present
    if until not in present:
        raise RecipeError(f"recipe {recipe.name!r} has no stage {until!r}{nearest(until, present)}")
    return present[: present.index(until) + 1]


def _load(recipe: Recipe, wanted: Collection[str]) -> _Data:
    held_out = _held_out_questions(recipe)
    shown = (
        load_demonstrations(recipe.demonstrations, recipe.base_dir) if recipe.demonstrations else []
    )
    if recipe.preferences is None or "reward_model" not in wanted:
        return _Data(held_out, shown)
    n = 0 if held_out else recipe.evaluate.n if recipe.evaluate else HELD_OUT
    return _Data(
        held_out, shown, load_pairs(recipe.preferences, recipe.base_dir, held_out=n, never=held_out)
    )


def _facts(recipe: Recipe, stage: str, data: _Data) -> dict[str, str]:
    """All that decides what a stage comes to: its part of the recipe, and the content of what that
    names.
    """
    names = ["seed", "model", "task", "demonstrations", "sft"]
    names += ["preferences", "reward_model"] if stage == "reward_model" else []
    said = recipe.resolved()
    held_out = {key: (said["evaluate"] or {}).get(key) for key in ("n", "task")}
    asked = {name: said[name] for name in names} | {"held_out": held_out}
    content: dict[str, Sequence[Any]] = {
        "demonstrations": data.demonstrations,
        "held-out questions": sorted(data.held_out),
        "model": [(role, name, content_digest(path)) for role, name, path in weight_files(recipe)],
    }
    if stage == "reward_model" and data.pairs is not None:
        content["preferences"] = [*data.pairs.train, *data.pairs.held_out]
    facts = {name: digest(map(_plain, items)) for name, items in content.items() if items}
    return {
        "recipe": hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16],
        **facts,
    }


def _plain(item: Any) -> Any:
    """A row as plain data, the options of its chat template included."""
    if not isinstance(item, Demonstration | Pair):
        return item
    return [getattr(item, field.name) for field in fields(item)] + [
        getattr(item.prompt, "options", {})
    ]


def _made_from(report: Path) -> dict[str, str] | None:
    """What a stage was made from; earlier versions noted the recipe alone."""
    try:
        said = read_json(report).get("made_from")
    except (FileNotFoundError, ValueError):
        return None
    return {"recipe": said} if isinstance(said, str) else said


def _other(before: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """What a stage was made from that is not what lies there, in words; None where nothing is."""
    if before.get("recipe") != now["recipe"]:
        return "another recipe"
    changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return f"other content of {' and '.join(changed)}" if changed else None


def _is_there(report: Path, stage: str, now: Mapping[str, str], say: Say) -> bool:
    """Whether a stage lies there whole, made from what lies there now; a damaged one is kept aside
    by the main process.
    """
    before = _made_from(report)
    if before is None:
        return False
    if other := _other(before, now):
        say(f"{stage}: {report.parent} was made from {other}, and is made anew")
        return False
    return not (
        keep_damaged(report.parent, say) if is_main() else damage(report.parent) is not None
    )


def _refuse_a_run(out: Path, resume: bool) -> None:
    """The stages of a run that is there already are not made anew under it."""
    if not resume and (out / "manifest.json").is_file() and not is_failed_start(out):
        raise RunError(
            f"{out} already holds a run; go on with it (--resume) or choose another --out DIR"
        )


def _unchanged(out: Path, stage: str, now: Mapping[str, str], say: Say) -> Mapping[str, str]:
    """What a stage of a run that goes on was made from; RunError where something else lies there
    now.
    """
    before = _made_from(out / REPORTS[stage]) or {}
    if list(before) == ["recipe"] and before["recipe"] == now["recipe"]:
        say(
            f"note: {stage} was made by a version that noted no content; whether its data changed"
            " is unknown"
        )
    elif other := _other(before, now):
        raise RunError(
            f"{out} cannot go on: its {stage} was made from {other}; bring that back, or start a"
            " new run"
        )
    return before


def _held_out_questions(recipe: Recipe) -> Collection[str]:
    """The questions that the evaluation holds out; no stage trains on them."""
    if not recipe.task or recipe.evaluate is None:
        return ()
    tasks = load_tasks(
        recipe.task,
        recipe.base_dir,
        seed=recipe.seed,
        held_out=recipe.evaluate.n,
        held_out_task=recipe.evaluate.task,
    )
    return {row.question for row in tasks.held_out}


def _warm_start(
    recipe: Recipe, folder: Path, data: _Data, facts: dict[str, Any], dry_run: bool, say: Say
) -> None:
    assert recipe.demonstrations is not None and recipe.sft is not None
    args = sft_config(recipe.sft, folder=folder, seed=recipe.seed, target=target())
    rows, held_out = data.demonstrations, data.held_out
    train = [row for row in rows if row.question not in held_out]
    if not train:
        raise RecipeError(
            f"recipe {recipe.name!r}: all {len(rows)} demonstrations are of held-out questions"
        )
    say(
        f"sft: {len(train)} demonstrations, {len(rows) - len(train)} of held-out questions kept"
        " apart"
    )
    if dry_run:
        return
    _quiet()
    policy = build_policy(recipe)
    use_threads(policy)
    report = warm_start(
        policy, train, [row for row in rows if row.question in held_out], args, folder, facts
    )
    measured = f", held out {report['held_out']['loss']:.3f}" if report["held_out"] else ""
    say(f"sft: loss {report['train']['loss']:.3f} nats a token{measured}; {folder}")


def _reward_model(
    recipe: Recipe, folder: Path, data: _Data, facts: dict[str, Any], dry_run: bool, say: Say
) -> None:
    from llmpolicy.report.reward_model import plot_reward_model

    assert data.pairs is not None and recipe.reward_model is not None and recipe.model is not None
    args = reward_config(recipe.reward_model, folder=folder, seed=recipe.seed, target=target())
    pairs = data.pairs
    say(
        f"reward_model: {len(pairs.train)} pairs, {len(pairs.held_out)} of held-out prompts kept"
        " apart"
    )
    if dry_run:
        return
    _quiet()
    block = recipe.model
    base = (
        str(folder.parent / REPORTS["sft"].parent)
        if recipe.sft
        else model_path(block, recipe.base_dir)
    )
    refuse_damage(base)
    model, tokenizer = begin(
        base, seed=recipe.seed, dtype=block.dtype, trust_remote_code=block.trust_remote_code,
        revision=None if recipe.sft else block.revision,
    )  # fmt: skip
    use_threads(SimpleNamespace(model=model, device=model.device))
    report = train_reward_model(model, tokenizer, pairs, args, folder, facts, lora=block.lora)
    say(table(report))
    if is_main() and report["held_out"]:
        say(f"plot: {plot_reward_model(report, folder / 'calibration.png')}")


WORK = {"sft": _warm_start, "reward_model": _reward_model}


def _quiet() -> None:
    import datasets

    quiet()
    datasets.disable_progress_bars()


def after_stages(recipe: Recipe, out: Path, *, dry_run: bool) -> Recipe:
    """The recipe of GRPO alone: it starts from the warm start, and is paid by the reward model that
    was trained.

    With ``dry_run`` the warm start is not there, and its base stands in its place.
    """
    out = out.resolve()
    changes: dict[str, Any] = dict.fromkeys(
        ("demonstrations", "sft", "preferences", "reward_model")
    )
    if recipe.reward_model is not None:
        path = str(out / REPORTS["reward_model"].parent)
        changes["rewards"] = [block.with_args(partial(_paid_by, path)) for block in recipe.rewards]
    if recipe.sft is not None and recipe.model is not None and not dry_run:
        note = (
            f"{recipe.model.hub_id or recipe.model.path} after supervised training on"
            " demonstrations"
        )
        other = {
            "path": str(out / REPORTS["sft"].parent),
            "hub_id": None,
            "revision": None,
            "adapter": None,
            "note": note,
        }
        changes["model"] = ModelBlock(**{**recipe.model.model_dump(), **other})
    return recipe.model_copy(update=changes)


def _paid_by(path: str, block: RewardBlock) -> dict[str, Any]:
    """A function's arguments, in which the reward model that was trained scores."""
    return {"model": path, **block.args} if block.fn == SCORER else block.args
