"""A run from beginning to end: its recipe is planned, each stage checked, then each carried out;
and the demo, the bundled recipe on the bundled model.
"""

import importlib
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from llmpolicy import consent
from llmpolicy.errors import RecipeError, RunError, nearest
from llmpolicy.recipe import Recipe, load_recipe, stages_of
from llmpolicy.recipe import Stage as Block
from llmpolicy.recipe.stages import LEARNS_FROM
from llmpolicy.run import (
    Run,
    clear,
    is_failed_start,
    is_live,
    mend,
    new_run_path,
    read_manifest,
)
from llmpolicy.sandbox import unsafe
from llmpolicy.session.arguments import blocks_of, recipe_with
from llmpolicy.signals import is_main
from llmpolicy.stages.folders import held
from llmpolicy.stages.process import DRY_RUN, by_itself, world_size
from llmpolicy.stages.request import Request, Stage
from llmpolicy.stages.rest import rest_of
from llmpolicy.terminal import Say, tell

DEMO, MARK = "quickstart", "llmpolicy demo"
"""The recipe of the demo, and what a run's manifest says that it was made by."""


def train(
    recipe: str | Path | Mapping[str, Any] | None = None,
    *,
    model: Any = None,
    task: Any = None,
    rewards: Any = None,
    out: str | Path | None = None,
    resume: bool = False,
    accept_changes: bool = False,
    unsafe_local_exec: bool = False,
    yes: bool = False,
    say: Say = tell,
    **blocks: Any,
) -> Run:
    """Train from a recipe, from its blocks given as arguments, or from a recipe with some blocks
    changed; return the run.

    ``model`` is a path, a Hub id, ``bundled``, a mapping or a CausalLMPolicy; ``task`` a mapping, a
    list of rows, a dataset or a table of pandas, polars or pyarrow; ``rewards`` functions or
    references; further blocks (``grpo``, ``evaluate``, ``seed`` ...) as in a recipe.
    ``unsafe_local_exec`` lets code rewards run the model's code without a sandbox;
    ``accept_changes`` goes on with files that changed since the run began; ``yes`` runs the code of
    somebody else's run (`llmpolicy.consent`). Raises LLMPolicyError in one sentence for what cannot
    be run.
    """
    from llmpolicy.policies.causal_lm import CausalLMPolicy

    unsafe.allow(unsafe_local_exec)
    _mend(out, resume, say)
    base = _base(recipe, yes=yes, say=say)
    policy = model if isinstance(model, CausalLMPolicy) else None
    changes = blocks_of(model, task, rewards, blocks)
    if not isinstance(base, Recipe) or changes:
        base = recipe_with(base, changes, policy)
        consent.note(base)
    how: dict[str, Any] = {"accept": accept_changes, "policy": policy}
    return _trained(base, out, resume, say, **how)


def _base(recipe: Any, *, yes: bool, say: Say) -> Recipe | Mapping[str, Any] | None:
    """The recipe that a call begins from, a file's agreed to."""
    if recipe is None or isinstance(recipe, Mapping):
        return recipe
    if not isinstance(recipe, (str, Path)):
        raise RecipeError(
            f"the recipe is {recipe!r:.60}, a {type(recipe).__name__}; expected a file, a name or a"
            " mapping"
        )
    return _agreed(load_recipe(recipe), yes=yes, say=say)


def train_recipe(
    name: str,
    overrides: Sequence[str],
    *,
    out: Path | None = None,
    resume: bool = False,
    accept_changes: bool = False,
    dry_run: bool = False,
    unsafe_local_exec: bool = False,
    until: str | None = None,
    made_by: str | None = None,
    yes: bool = False,
    say: Say = tell,
) -> Run:
    """Train a recipe file (or bundled recipe) with ``key=value`` overrides; see `train`.

    ``until`` names the last stage to carry out, ``made_by`` what began the run, for its manifest.
    """
    unsafe.allow(unsafe_local_exec)
    _mend(out, resume and not dry_run, say)
    recipe = _agreed(load_recipe(name, overrides), yes=yes, say=say)
    how: dict[str, Any] = {"accept": accept_changes, "dry_run": dry_run}
    return _trained(recipe, out, resume, say, until=until, made_by=made_by, **how)


def _agreed(recipe: Recipe, *, yes: bool, say: Say) -> Recipe:
    """The recipe, when it was said what of its code runs for the first time; what a run has kept is
    asked for, as it may be somebody else's.
    """
    if recipe.run is not None:
        consent.need(f"training {recipe.run}", recipe.model_dump(), recipe.base_dir, yes=yes)
    for code in consent.note(recipe):
        say(f"note: {code.key} runs {code.says}, for the first time")
    return recipe


def _where(out: str | Path | None, name: str, resume: bool) -> Path:
    """The run's directory, by default the first free one of that name; RunError where it must be
    named.
    """
    if out:
        return Path(out)
    if resume:
        raise RunError("--resume needs --out DIR, the run to go on with")
    if world_size() > 1:
        raise RunError(
            "more than one process trains: name the run's directory with --out DIR, the same"
            " for all"
        )
    return new_run_path(name)


def _said_once(say: Say) -> Say:
    """What says lines in one process alone."""
    return say if is_main() else lambda line: None


def _mend(out: str | Path | None, resume: bool, say: Say) -> None:
    """Put a run that goes on in order, before anything of it is read, its recipe included."""
    if resume and out is not None and is_main():
        mend(Path(out), say)


def _trained(recipe: Recipe, out: str | Path | None, resume: bool, say: Say, **how: Any) -> Run:
    folder = _where(out, recipe.name, resume)
    return train_requested(Request(recipe, folder, _said_once(say), resume, **how))


def train_requested(request: Request) -> Run:
    """Carry out a recipe; SystemExit where no run comes of it."""
    last = carry_out(request)
    if request.dry_run or last.name in LEARNS_FROM:
        raise SystemExit(0)
    return Run.open(request.out)


@by_itself()
def carry_out(request: Request) -> Block:
    """Check every stage of a recipe, then carry out each; returns the last one."""
    request = replace(request, recipe=request.recipe.within(request.out))
    blocks = stages_of(request.recipe)
    wanted = _wanted(request.recipe, request.until)
    with held(request) if blocks[0].name in LEARNS_FROM else nullcontext():
        stages: list[Stage] = [_kind(block).check(block, request) for block in wanted]
        for later in blocks[len(wanted) :]:
            _kind(later).foresee(later, request)
        if request.dry_run:
            for stage in stages:
                for line in stage.lines():
                    request.say(line)
            request.say(DRY_RUN)
            return wanted[-1]
        for stage in stages:
            stage.carry_out()
    return wanted[-1]


def _kind(block: Block) -> Any:
    """The file of a stage's kind, which is loaded when a recipe has one: most load torch."""
    return importlib.import_module(f"llmpolicy.stages.{block.name}")


def _wanted(recipe: Recipe, until: str | None) -> Sequence[Block]:
    """The stages of a recipe up to one of them; raises RecipeError where it has none of that
    name.
    """
    stages = stages_of(recipe)
    if until is None:
        return stages
    early = [block.name for block in stages if block.name in LEARNS_FROM]
    if until not in early:
        raise RecipeError(f"recipe {recipe.name!r} has no stage {until!r}{nearest(until, early)}")
    return stages[: early.index(until) + 1]


def train_stages(
    recipe: Recipe,
    out: Path,
    *,
    until: str | None = None,
    resume: bool = False,
    dry_run: bool = False,
    say: Say,
) -> Recipe | None:
    """Carry out a recipe's stages before GRPO in ``out``; the recipe of what is left, or None if
    nothing is (or ``until`` ends here).

    Raises LLMPolicyError in one sentence; with ``dry_run`` all is checked that can be without a
    model.
    """
    blocks = stages_of(recipe)
    early = [block.name for block in blocks if block.name in LEARNS_FROM]
    if not early:
        raise RecipeError(
            f"recipe {recipe.name!r} has no stage before {blocks[-1].name}; expected a block sft or"
            " reward_model"
        )
    last = until or early[-1]
    carry_out(Request(recipe, out, _said_once(say), resume, dry_run=dry_run, until=last))
    alone = len(early) == len(blocks)
    return None if until or alone else rest_of(recipe.within(out), out)


def run_demo(out: Path, overrides: Sequence[str] = (), say: Say = tell) -> Run:
    """Train the quickstart recipe into ``out``; only an earlier demo there, that has ended, is
    replaced.
    """
    recipe = load_recipe(DEMO, overrides)
    if (out / "manifest.json").exists():
        _make_room(out)
    say(
        "A language model of 0.3 million parameters, bundled with llmpolicy, learns two-digit"
        f" addition by GRPO: {(recipe.grpo or {}).get('max_steps')} steps, reward 1 for the right"
        " sum."
    )
    run = train_recipe(DEMO, overrides, out=out, made_by=MARK, say=say)
    if is_main():
        from llmpolicy.report.page import write_page

        say(f"page: {write_page(run.path)}")
    return run


def _make_room(out: Path) -> None:
    """Clear away an earlier demo; raises RunError when another run, or one that still lives, is
    there.
    """
    if is_live(out):
        raise RunError(f"{out} holds a run that is still being written; choose another --out DIR")
    made_by = None
    with suppress(RunError):
        made_by = read_manifest(out).get("made_by")
    if made_by == MARK:
        clear(out)
    elif not is_failed_start(out):
        raise RunError(f"{out} holds a run that the demo did not make; choose another --out DIR")
