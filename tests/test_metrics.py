"""Each figure that a run logs is explained on the page of metrics, and the page explains no other."""

import re
from pathlib import Path

import pytest
from trl.trainer import grpo_trainer

from llmpolicy.session import train_recipe

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (`.*?) \|", PAGE, flags=re.M)
EXPLAINED = [name for row in ROWS for name in re.findall(r"`([^`]+)`", row)]
LOGGED = re.compile(
    r"_metrics\[(?:mode|\"train\")\]\[(f?)\"([^\"]+)\"\]|(?<!_)metrics\[(f?)\"([^\"]+)\"\]"
)
OURS = [f"llmpolicy/grpo/{name}.py" for name in ("dialogues", "step", "sampling", "update")]
FIGURES_OF_SAMPLING = ("reward", "refilled", "dead", "prompts", "signal", "tokens")


def is_explained(name: str) -> bool:
    return any(re.fullmatch(re.escape(known).replace("NAME", ".+"), name) for known in EXPLAINED)


def written_in(source: str) -> set[str]:
    """The names of figures in a source, NAME in the place of what is filled in."""
    found = set()
    for match in LOGGED.finditer(source):
        name = match[2] or match[4]
        found.add(re.sub(r"\{[^}]*\}", "NAME", name))
    return found


def test_no_figure_is_explained_twice() -> None:
    assert len(EXPLAINED) == len(set(EXPLAINED)) > 60


def test_what_trl_logs_is_explained() -> None:
    names = written_in(Path(grpo_trainer.__file__).read_text(encoding="utf-8"))
    assert {"reward", "kl", "entropy", "rewards/NAME/mean"} <= names
    assert sorted(name for name in names if not is_explained(name)) == []


def test_what_this_project_adds_is_explained() -> None:
    names = set().union(*(written_in((ROOT / path).read_text(encoding="utf-8")) for path in OURS))
    assert {"rewards/unjudged", "sampler/parity", "sampling/NAME"} <= names
    names = names - {"sampling/NAME"} | {f"sampling/{name}" for name in FIGURES_OF_SAMPLING}
    source = (ROOT / "llmpolicy/grpo/sampling.py").read_text(encoding="utf-8")
    assert all(f'"{name}": ' in source for name in FIGURES_OF_SAMPLING)
    assert sorted(name for name in names if not is_explained(name)) == []


@pytest.mark.parametrize("loss", ["dapo", "cispo"])
def test_what_a_run_logs_is_explained(loss: str, tmp_path: Path) -> None:
    small = ["grpo.max_steps=2", "grpo.per_device_train_batch_size=16", "evaluate.n=4"]
    more = [f"grpo.loss_type={loss}", "grpo.beta=0.1", "evaluate.every=1"]
    made = train_recipe("quickstart", [*small, *more], out=tmp_path / "run", say=lambda _: None)
    names = {name for line in made.metrics() for name in line}
    assert {"kl", "accuracy", "train_runtime"} <= names
    assert sorted(name for name in names if not is_explained(name)) == []
