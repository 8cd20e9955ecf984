"""What a run that goes on still has to do: train, or only finish what a kill after its last step left open."""

import json
from pathlib import Path

from llmpolicy.errors import RunError
from llmpolicy.recipe import Recipe
from llmpolicy.run import Run, damage, step_of
from llmpolicy.session.process import world_size


def reached(run: Run) -> int:
    """The step of the weights that a run goes on from."""
    weights = run.latest()
    if weights is None:
        return 0
    return run.policy_step() if weights == run.policy_dir else step_of(weights)


def last_step(run: Run, recipe: Recipe) -> int | None:
    """The step with which the recipe ends; counted in epochs it is known from the checkpoint of the same recipe."""
    asked = int((recipe.grpo or {}).get("max_steps") or 0)
    if asked > 0:
        return asked
    checkpoints = run.checkpoints()
    if not checkpoints or run.manifest.get("recipe_hash") != recipe.hash():
        return None
    steps: int = json.loads((checkpoints[-1] / "trainer_state.json").read_text(encoding="utf-8"))["max_steps"]
    return steps


def only_ends(run: Run, recipe: Recipe) -> Path | None:
    """The weights of the last step, when all steps are taken and only the end of the run is missing."""
    last = last_step(run, recipe) if recipe.grpo is not None else None
    return run.latest() if last is not None and reached(run) >= last else None


def refuse_without_checkpoint(run: Run, recipe: Recipe) -> None:
    """More steps need what a checkpoint holds; a policy alone (``save_strategy: "no"``) is the start of another run."""
    if run.policy_dir.is_dir() and not run.checkpoints() and only_ends(run, recipe) is None:
        key = "adapter" if (run.policy_dir / "adapter_config.json").is_file() else "path"
        raise RunError(
            f"{run.path} has no checkpoint to go on from, only the policy of step {max(run.policy_step(), 0)}; start a new "
            f"run from that with model.{key}={run.policy_dir} and another --out DIR"
        )


def is_complete(run: Run, recipe: Recipe) -> bool:
    """Whether a run came to its end, and policy, evaluation and plot lie there whole."""
    files = [run.plot_path]
    if recipe.evaluate is not None and recipe.evaluate.correct is not None:
        files.append(run.path / "evaluation.json")
    if recipe.evaluate is not None and recipe.evaluate.curve and run.best_dir.is_dir():
        files += [run.best_dir / "evaluation.json", run.curve_path]
    there = all(file.is_file() and _reads(file) for file in files)
    return run.manifest.get("status") == "finished" and there and damage(run.policy_dir) is None


def _reads(file: Path) -> bool:
    if file.suffix != ".json":
        return file.stat().st_size > 0
    try:
        return isinstance(json.loads(file.read_text(encoding="utf-8")), dict)
    except ValueError:
        return False


def refuse_other_processes(run: Run, recipe: Recipe) -> None:
    """Steps are only taken by as many processes as before: each has its part of every batch and its own random state."""
    before, now = run.manifest.get("world_size") or 1, world_size()
    if before != now and only_ends(run, recipe) is None:
        start = f"torchrun --nproc_per_node {before}" if before > 1 else "one process, without torchrun"
        raise RunError(
            f"{run.path} was trained by {before} process{'es' * (before > 1)} and {now} would not go on as it began; "
            f"start it with {start}, or begin a new run from its checkpoint"
        )
