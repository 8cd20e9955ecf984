"""What a run that goes on still has to do: train, or only finish what a kill after its last step
left open.
"""

from pathlib import Path
from typing import Any

from llmpolicy.bounded import load_yaml, read_json, read_text
from llmpolicy.errors import RunError
from llmpolicy.recipe import Grpo, Play, Recipe, trained_by
from llmpolicy.reference import name_of
from llmpolicy.run import Run, step_of
from llmpolicy.run.checkpoints import RECORD
from llmpolicy.run.files import Record, read_checked
from llmpolicy.run.paths import base_facts
from llmpolicy.run.sealed import Facts, keep_aside
from llmpolicy.stages.process import world_size
from llmpolicy.stages.request import Request
from llmpolicy.stages.sources import refuse_changes
from llmpolicy.stages.unchanged import (
    refuse_other_generations,
    refuse_other_optimiser,
    refuse_other_questions,
    refuse_other_start,
    way_out,
)
from llmpolicy.terminal import Say

LENGTH = (
    "max_steps", "num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps",
    "num_generations",
    "steps_per_generation", "generation_batch_size", "num_iterations", "dataloader_drop_last",
)  # fmt: skip
"""What of a ``grpo:`` block decides how many steps its epochs have."""


def reached(run: Run) -> int:
    """The step of the weights that a run goes on from."""
    weights = run.latest()
    if weights is None:
        return 0
    return run.policy_step() if weights == run.policy_dir else step_of(weights)


def last_step(run: Run, recipe: Recipe) -> int | None:
    """The step with which the recipe ends; counted in epochs it is known from a checkpoint of as
    many.
    """
    steps = trained_by(recipe).steps
    if steps is not None:
        return steps
    checkpoints = run.checkpoints()
    if not checkpoints or _length(_recipe_of(run, checkpoints[-1])) != _length(recipe.resolved()):
        return None
    return steps_of(checkpoints[-1])


def steps_of(checkpoint: Path) -> int:
    """With how many steps in all the trainer reckoned that wrote a checkpoint."""
    return int(read_json(checkpoint / "trainer_state.json")["max_steps"])


def _recipe_of(run: Run, checkpoint: Path) -> Facts:
    """The recipe by which a checkpoint was written; that of the run may have changed since."""
    file = checkpoint / RECORD / "recipe.yaml"
    return load_yaml(read_text(file)) if file.is_file() else run.recipe


def _length(recipe: Facts) -> list[Any]:
    grpo = recipe.get("grpo") or {}
    return [*map(recipe.get, ("max_prompt_tokens", "over_long")), *map(grpo.get, LENGTH)]


def check_going_on(run: Run, recipe: Recipe) -> None:
    """Refuse what cannot go on, before a model loads; raises RunError."""
    refuse_other_questions(run, recipe)
    refuse_other_start(run, recipe)
    refuse_last_step(run, recipe, last_step(run, recipe))
    refuse_without_checkpoint(run, recipe)
    refuse_other_processes(run, recipe)
    refuse_other_optimiser(run, recipe)
    refuse_other_generations(run, recipe)
    if only_ends(run, recipe) is None:
        refuse_half_generation(run, recipe)


def refuse_last_step(run: Run, recipe: Recipe, last: int | None) -> None:
    """A run that has all its steps, and policy, evaluation and plot, has nothing to go on with; nor
    has one with more.
    """
    step = reached(run)
    if last is not None and (step > last or (step == last and is_complete(run, recipe))):
        key = trained_by(recipe).length_key
        raise RunError(f"{run.path} is already at step {step} of {last}; raise {key} to go on")


def accepted_changes(
    run: Run, recipe: Recipe, now: Facts, request: Request, *, weights: bool = True
) -> list[Record]:
    """For the manifest: all changes of what a run was made from that were accepted, in this start
    and earlier ones; RunError for what cannot go on.
    """
    check_going_on(run, recipe)
    changed = refuse_changes(run, now, accept=request.accept, say=request.say, weights=weights)
    accepted: list[Record] = run.manifest.get("accepted_changes") or []
    if changed:
        accepted = [*accepted, {"at_step": reached(run), "changed": changed}]
    return accepted


def note_going_on(run: Run, recipe: Recipe, facts: Facts, say: Say) -> None:
    """Note in a run that has taken its checkpoint what it goes on with; nothing in one that
    begins.
    """
    if run.before is None:
        return
    if run.best_dir.is_dir() and (clause := _not_best(run, recipe, facts)):
        say(
            f"note: {clause}: best/ is kept as {keep_aside(run.best_dir, 'earlier').name}/, the"
            " best step is chosen anew"
        )
    base = base_facts(recipe.base_dir, run.path)
    run.goes_on(recipe.resolved(), recipe.hash(), reached(run), **base, **facts)


def only_ends(run: Run, recipe: Recipe) -> Path | None:
    """The weights of the last step, when all steps are taken and only the end of the run is
    missing.
    """
    last = last_step(run, recipe) if isinstance(trained_by(recipe), Grpo) else None
    return run.latest() if last is not None and reached(run) >= last else None


def _not_best(run: Run, recipe: Recipe, facts: Facts) -> str | None:
    """Why the step in ``best/`` is not the best one any more, as a clause, or None."""
    old, new = _measure(run.recipe_here()), _measure(recipe.resolved())
    for key in new:
        if old.get(key) != new[key]:
            return f"{key} is another, by which no step was measured"
    known = len(run.manifest.get("accepted_changes") or [])
    for change in (facts.get("accepted_changes") or [])[known:]:
        for name in {name_of(block.fn) for block in recipe.verifiers}:
            if f"(of {name}" in "\n".join(change["changed"]):
                return f"{name} is another, by which no step was measured"
    step, last = (run.best() or {}).get("step", 0), last_step(run, recipe)
    if last is not None and step > last:
        return f"its step {step} is beyond the last one, {last}"
    return None


def _measure(recipe: Facts) -> Record:
    """What decides how good a step looks on the held-out prompts."""
    settings, grpo = recipe.get("evaluate") or {}, recipe.get("grpo") or {}
    longest = settings.get("max_completion_length") or grpo.get("max_completion_length")
    measure = {"evaluate.max_completion_length": longest, "truth": recipe.get("truth")}
    for key in ("correct", "args", "threshold", "curve"):
        measure[f"evaluate.{key}"] = settings.get(key)
    measure["model.stop"] = (recipe.get("model") or {}).get("stop") or []
    return measure


def refuse_half_generation(run: Run, recipe: Recipe) -> None:
    """A last step within a generation has used a part of it, and the rest is not kept: more steps
    would be others.
    """
    from llmpolicy.grpo.config import grpo_config

    stage = trained_by(recipe)
    if not isinstance(stage, Grpo) or not run.checkpoints():
        return
    newest = run.checkpoints()[-1]
    then = _recipe_of(run, newest).get("grpo") or {}
    block = {key: value for key, value in stage.settings.items() if key not in LENGTH}
    block |= {key: then[key] for key in LENGTH if key in then}
    args = grpo_config(block, output_dir=Path(), seed=recipe.seed, reward_weights=[1.0])
    micro_steps = (args.steps_per_generation or 1) * args.num_iterations
    step, lasts = step_of(newest), micro_steps / args.gradient_accumulation_steps
    if step == steps_of(newest) and step % lasts:
        raise RunError(
            f"{run.path} ended at step {step}, within a generation of {lasts:g} steps"
            " whose rest is not kept, and more steps would not be those of a longer run;"
            f" {way_out(run, recipe)}"
        )


def refuse_without_checkpoint(run: Run, recipe: Recipe) -> None:
    """More steps need what a checkpoint holds; a policy alone (``save_strategy: "no"``) is the
    start of another run.
    """
    if run.policy_dir.is_dir() and not run.checkpoints() and only_ends(run, recipe) is None:
        raise RunError(
            f"{run.path} has no checkpoint to go on from, only the policy of step"
            f" {max(run.policy_step(), 0)}; {way_out(run, recipe)}"
        )


def is_complete(run: Run, recipe: Recipe) -> bool:
    """Whether a run came to its end, and policy, evaluation and plot lie there whole."""
    files = [run.plot_path]
    if recipe.verifiers or isinstance(trained_by(recipe), Play):
        files.append(run.path / "evaluation.json")
    if recipe.evaluate is not None and recipe.evaluate.curve and run.best_dir.is_dir():
        files += [run.best_dir / "evaluation.json", run.curve_path]
    there = all(file.is_file() and _reads(file) for file in files)
    return run.manifest.get("status") == "finished" and there and run.damage(run.policy_dir) is None


def _reads(file: Path) -> bool:
    if file.suffix != ".json":
        return file.stat().st_size > 0
    try:
        read_checked(file)
    except ValueError:
        return False
    return True


def refuse_other_processes(run: Run, recipe: Recipe) -> None:
    """Steps are only taken by as many processes as before: each has its part of every batch and its
    own random state.
    """
    before, now = run.manifest.get("world_size") or 1, world_size()
    if before != now and only_ends(run, recipe) is None:
        start = "one process, without torchrun"
        if before > 1:
            start = f"torchrun --nproc_per_node {before}"
        raise RunError(
            f"{run.path} was trained by {before} process{'es' * (before > 1)} and {now} would not"
            f" go on as it began; start it with {start}, or begin a new run from its checkpoint"
        )
