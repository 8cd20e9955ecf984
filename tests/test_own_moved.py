"""Functions of one's own go where their run goes, whatever key names them: moved with it, agreed to,
published with it.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmpolicy.consent import code_of
from llmpolicy.publish.artefact import build
from llmpolicy.publish.choice import choose
from llmpolicy.recipe import load_recipe
from llmpolicy.run import Run
from llmpolicy.run.paths import in_paths
from llmpolicy.session import train_recipe
from tests.test_moved import figures, measured, quietly
from tests.test_own_functions import CORRIDOR, MINE, WALK
from tests.test_session import GRPO, recipe

KEYS = {
    "advantage=F": "advantage",
    "loss=F": "loss",
    "rewards=F": "rewards.0.fn",
    "rewards=[F]": "rewards.0.fn",
    "rewards=[{fn: F}]": "rewards.0.fn",
    "rewards=[{min: [F, {fn: F}]}]": "rewards.0.min.0.fn",
    "rewards=[{product: [F, F]}]": "rewards.0.product.1.fn",
    "rewards=[{sum: [{min: F}]}]": "rewards.0.sum.0.min.0.fn",
    "evaluate={correct: F}": "evaluate.correct",
    "task={generator: F}": "task.0.generator",
    "task.canonical=F": "task.0.canonical",
    "evaluate.task={generator: F}": "evaluate.task.generator",
}
"""Overrides, and the key that names the function then."""

OF_A_LOOP = {
    "reinforce.baseline=F": "reinforce.baseline",
    "environment.fn=F": "environment.fn",
    "policy.fn=F": "policy.fn",
}


def leaf(data: Any, key: str) -> Any:
    for part in key.split("."):
        data = data[int(part) if part.isdecimal() else part]
    return data


@pytest.mark.parametrize(
    ("override", "key"), [*KEYS.items(), *OF_A_LOOP.items()], ids=[*KEYS, *OF_A_LOOP]
)
def test_every_key_of_a_function_is_known_wherever_one_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, override: str, key: str
) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    (tmp_path / "here/mine.py").write_text("def f(x): return x\n")
    monkeypatch.chdir(tmp_path / "here")
    path = recipe(tmp_path / "there")
    if override in OF_A_LOOP:
        (tmp_path / "there/mine.yaml").write_text(CORRIDOR)
    loaded = load_recipe(path, [override.replace("F", "mine.py:f")])
    data, full = loaded.model_dump(), f"{tmp_path}/here/mine.py:f"
    assert leaf(data, key) == full
    assert key in {code.key for code in code_of(data, loaded.base_dir)}
    assert leaf(in_paths(data, lambda text: text.replace("/here/", "/now/")), key) == full.replace(
        "/here/", "/now/"
    )


def test_the_short_forms_of_rewards_are_asked_about_too(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def f(x): return x\n")
    data = {"rewards": ["mine.py:f", {"min": ["mine.py:f"]}], "advantage": "mine.py:f"}
    assert [code.key for code in code_of(data, tmp_path)] == [
        "rewards.0",
        "rewards.1.min.0",
        "advantage",
    ]


def own_grpo(folder: Path) -> Run:
    """A step of GRPO by functions that were named in full."""
    folder.mkdir()
    path = recipe(folder, grpo={**GRPO, "max_steps": 1, "save_steps": 1})
    (folder / "mine.py").write_text(MINE)
    own = [f"advantage={folder}/mine.py:centred", f"loss={folder}/mine.py:clipped"]
    return train_recipe(path, own, out=folder / "run", say=quietly)


def own_loop(folder: Path) -> Run:
    folder.mkdir()
    (folder / "walk.py").write_text(WALK)
    (folder / "corridor.yaml").write_text(CORRIDOR)
    own = [
        f"{key}={folder}/walk.py:{name}"
        for key, name in (
            ("environment.fn", "Corridor"),
            ("policy.fn", "Linear"),
            ("reinforce.baseline", "Mean"),
        )
    ]
    return train_recipe(
        str(folder / "corridor.yaml"), [*own, "reinforce.updates=2"], out=folder / "run"
    )


@pytest.mark.parametrize(
    ("train", "more"), [(own_grpo, "grpo.max_steps=2"), (own_loop, "reinforce.updates=3")]
)
def test_what_was_named_in_full_moves_with_its_project(
    tmp_path: Path, train: Callable[[Path], Run], more: str
) -> None:
    """And is not asked for again: its content is what it was."""
    before, after = tmp_path / "before", tmp_path / "after"
    train(before)
    before_it = measured(before / "run")
    os.rename(before, after)
    assert figures(measured(after / "run")) == figures(before_it)
    run = train_recipe(
        str(after / "run/recipe.yaml"), [more], out=after / "run", resume=True, say=quietly
    )
    assert run.manifest["recipe_changed"] == [more.partition(".")[0]]


def test_an_advantage_and_a_loss_are_published_with_their_run(tmp_path: Path) -> None:
    run, folder = own_grpo(tmp_path / "project"), tmp_path / "sent"
    folder.mkdir()
    assert "mine.py" in {file.name for file in build(run, choose(run), "user/name", folder)}
    written = yaml.safe_load((folder / "recipe.yaml").read_text())
    assert (written["advantage"], written["loss"]) == ("mine.py:centred", "mine.py:clipped")
    load_recipe(folder / "recipe.yaml")
    card = (folder / "README.md").read_text()
    assert "The recipe runs code of mine.py, published here: read it first." in card
