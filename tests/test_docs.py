"""What the docs say is run: each Python block, each command. A new command must be run here or name the test that runs it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "recipes" / "README.md"]
BIN = Path(sys.executable).parent

ELSEWHERE = {
    "make demo": "test_demo.py",
    "make test": ".ci/run",
    "make install": ".ci/run",
    "accelerate launch": "test_cli.py: the same script under torchrun; accelerate configs are parsed in test_cli.py",
    "torchrun": "test_cli.py",
    "python scripts/get_smollm2.py": "test_tasks.py",
    "llmpolicy train recipes/": "test_cli.py: every bundled recipe is planned",
    "llmpolicy train smollm2": "receipts",
    "llmpolicy train gsm8k": "receipts",
}
"""Commands that start so are run by that test instead."""


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for block in blocks(page, "bash"):
            lines = [line.partition("  #")[0].strip() for line in block.replace("\\\n", " ").splitlines()]
            found += [(page.name, line) for line in lines if line and not line.startswith("#")]
    return found


def environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ, "HOME": str(folder), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1",
    }  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder of a user who has the recipes and scripts at hand; the commands of a page build on each other."""
    folder = tmp_path_factory.mktemp("user")
    for name in ("recipes", "scripts"):
        shutil.copytree(ROOT / name, folder / name)
    small = "llmpolicy train quickstart grpo.max_steps=2 evaluate.n=20 evaluate.samples=2 --out runs/quickstart"
    subprocess.run(small, shell=True, cwd=folder, env=environment(folder), check=True, timeout=300)
    return folder


def test_every_page_is_short() -> None:
    for page in PAGES:
        if page.name != "log.md":
            assert len(page.read_text(encoding="utf-8").splitlines()) <= 130, page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.slow
@pytest.mark.parametrize(("page", "command"), commands())
def test_each_command_runs(place: Path, page: str, command: str) -> None:
    if any(command.startswith(start) for start in ELSEWHERE):
        pytest.skip(f"run by {next(test for start, test in ELSEWHERE.items() if command.startswith(start))}")
    done = subprocess.run(
        command, shell=True, cwd=place, env=environment(place), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{page}: {command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_the_python_of_a_page_runs(place: Path, page: Path) -> None:
    for number, block in enumerate(blocks(page, "python")):
        named = re.match(r"# (\w+\.py)\n", block)
        script = place / (named[1] if named else f"{page.stem}_{number}.py")
        script.write_text(block, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, str(script)],
            cwd=place,
            env=environment(place),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{page.name}\n{block}\n{done.stderr[-2000:]}"
