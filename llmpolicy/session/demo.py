"""The demo: the bundled model learns to add, from the bundled recipe."""

from collections.abc import Sequence
from pathlib import Path

from llmpolicy.errors import RunError
from llmpolicy.recipe import load_recipe
from llmpolicy.run import Run, clear, is_failed_start, is_live, read_manifest
from llmpolicy.session.training import train_recipe
from llmpolicy.stages.process import Say
from llmpolicy.terminal import tell

RECIPE = "quickstart"
MARK = "llmpolicy demo"


def run_demo(out: Path, overrides: Sequence[str] = (), say: Say = tell) -> Run:
    """Train the quickstart recipe into ``out``; only an earlier demo there, that has ended, is
    replaced.
    """
    recipe = load_recipe(RECIPE, overrides)
    if (out / "manifest.json").exists():
        _make_room(out)
    say(
        "A language model of 0.3 million parameters, bundled with llmpolicy, learns two-digit"
        f" addition by GRPO: {(recipe.grpo or {}).get('max_steps')} steps, reward 1 for the right"
        " sum."
    )
    return train_recipe(RECIPE, overrides, out=out, made_by=MARK, say=say)


def _make_room(out: Path) -> None:
    """Clear away an earlier demo; raises RunError when another run, or one that still lives, is
    there.
    """
    if is_live(out):
        raise RunError(f"{out} holds a run that is still being written; choose another --out DIR")
    if _is_demo(out):
        clear(out)
    elif not is_failed_start(out):
        raise RunError(f"{out} holds a run that the demo did not make; choose another --out DIR")


def _is_demo(out: Path) -> bool:
    try:
        return read_manifest(out).get("made_by") == MARK
    except RunError:
        return False
