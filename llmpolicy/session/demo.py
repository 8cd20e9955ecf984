"""The demo: the bundled model learns to add, from the bundled recipe."""

import shutil
from pathlib import Path

from llmpolicy.errors import RunError
from llmpolicy.recipe import load_recipe
from llmpolicy.run import Run
from llmpolicy.session.flow import train_recipe
from llmpolicy.session.process import Say, tell

RECIPE = "quickstart"


def run_demo(out: Path, say: Say = tell) -> Run:
    """Train the quickstart recipe into ``out``; only an earlier demo there is replaced."""
    if (out / "manifest.json").exists():
        if Run.open(out).recipe.get("name") != RECIPE:
            raise RunError(f"{out} holds another run than a demo; choose another --out DIR")
        shutil.rmtree(out)
    recipe = load_recipe(RECIPE)
    say(
        f"A language model of 0.3 million parameters, bundled with llmpolicy, learns two-digit addition by GRPO: "
        f"{(recipe.grpo or {}).get('max_steps')} steps, reward 1 for the right sum."
    )
    return train_recipe(RECIPE, (), out=out, say=say)
