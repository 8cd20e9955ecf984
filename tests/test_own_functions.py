"""What a recipe names in a file of its own: proved before a model loads, noted with its run."""

from pathlib import Path

import pytest

from llmpolicy.consent import code_of
from llmpolicy.errors import RecipeError
from llmpolicy.recipe import load_recipe, stages_of
from llmpolicy.session import train_recipe

MINE = """
import torch


def centred(scores):
    return scores - scores.mean()


def clipped(log_prob, old, advantage, mask):
    ratio = (log_prob - old).exp()
    return -torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)


def wrong(log_prob, old, advantage, mask):
    return log_prob * advantage
"""
SHORT = ["grpo.max_steps=1", "grpo.per_device_train_batch_size=32", "evaluate=null"]
OWN = ["advantage=mine.py:centred", "loss=mine.py:clipped"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_an_advantage_and_a_loss_of_a_recipe_train_and_are_noted(here: Path) -> None:
    run = train_recipe("quickstart", [*SHORT, *OWN], out=here / "run")
    noted = {item["key"]: item for item in run.manifest["functions"]}
    assert {Path(item["file"]).name for item in noted.values()} == {"mine.py"}
    assert list(noted) == ["advantage", "loss"] and len(noted["loss"]["sha256"]) == 64
    assert run.recipe["loss"].endswith("mine.py:clipped")
    assert {code.key for code in code_of(run.recipe, None)} == {"advantage", "loss"}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["loss=mine.py:wrong"], "is a minus missing"),
        (["loss=mine.py:cliped"], "did you mean 'clipped'"),
        (["advantage=mine.py:clipped"], "failed: TypeError"),
    ],
)
def test_what_is_wrong_with_them_is_said_before_a_model_loads(
    here: Path, overrides: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("llmpolicy.policies.causal_lm.CausalLMPolicy.load", load)
    with pytest.raises(RecipeError, match=words):
        train_recipe("quickstart", [*SHORT, *overrides], out=here / "run")
    assert not (here / "run").exists()


@pytest.mark.parametrize(
    ("recipe", "overrides", "words"),
    [
        ("quickstart", ["loss=mine.py:clipped", "grpo.epsilon=0.3"], "grpo.epsilon belongs to TRL"),
        ("quickstart", ["loss=mine.py:clipped", "grpo.loss_type=sapo"], "expected dapo, grpo"),
        ("quickstart", ["advantage=mine.py:centred", "grpo.scale_rewards=none"], "scale_rewards"),
        ("cartpole", ["loss=mine.py:clipped"], "there is no grpo block"),
    ],
)
def test_what_they_replace_is_not_set_beside_them(
    here: Path, recipe: str, overrides: list[str], words: str
) -> None:
    with pytest.raises(RecipeError, match=words):
        stages_of(load_recipe(recipe, overrides))
