"""The wheel by itself: in an empty environment, outside the checkout, it trains its bundled model
from its bundled recipe.
"""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(command: list[str | Path], folder: Path, **variables: str) -> str:
    """Run a command in an empty HOME, outside the checkout."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PYTHON", "VIRTUAL_ENV"))
    }
    environment |= {
        "HOME": str(folder),
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
        **variables,
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT],
        folder,
    )
    return next(folder.glob("llmpolicy-*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_recipes_rewards_and_the_bundled_model_and_nothing_of_the_checkout(
    wheel: Path,
) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
    assert {f"{Path(metadata).parent}/licenses/{name}" for name in ("LICENSE", "NOTICE")} <= set(
        names
    )
    assert "License-Expression: Apache-2.0\n" in zipfile.ZipFile(wheel).read(metadata).decode()
    assert {
        "llmpolicy/recipes/quickstart.yaml",
        "reward_fns/exact.py",
        "llmpolicy/py.typed",
    } <= set(names)
    assert any(
        name.startswith("llmpolicy/bundled/") and name.endswith(".safetensors") for name in names
    )
    assert not [
        name for name in names if name.startswith(("tests/", "runs/", "receipts/", "models/"))
    ]
    assert wheel.stat().st_size < 8 * 2**20


@pytest.mark.slow
def test_the_wheel_works_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    run([sys.executable, "-m", "venv", tmp_path / "venv"], tmp_path)
    binaries = tmp_path / "venv" / "bin"
    pip = [binaries / "python", "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt"]
    run([*pip, "torch"], tmp_path)
    run([*pip, wheel], tmp_path)
    assert "publish" in run([binaries / "llmpolicy", "--help"], tmp_path)
    tiny = ["grpo.max_steps=2", "evaluate.n=20", "evaluate.samples=2", "--out", "run"]
    launch = [
        binaries / "accelerate",
        "launch",
        "--cpu",
        "--num_processes",
        "1",
        "-m",
        "llmpolicy",
        "train",
        "quickstart",
    ]
    run([*launch, *tiny], tmp_path, OMP_NUM_THREADS="1")
    assert json.loads((tmp_path / "run" / "evaluation.json").read_text())["n"] == 20
    assert "dry run" in run(
        [binaries / "python", "-m", "llmpolicy", "publish", "run", "--repo", "a/b", "--dry-run"],
        tmp_path,
    )
