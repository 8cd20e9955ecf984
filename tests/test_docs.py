"""What the docs say is run: each Python block, each command. A new command must be run here or name
the test that runs it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from llmpolicy.recipe import Recipe, load_recipe
from llmpolicy.session import train_recipe
from llmpolicy.session.evaluate import explain_recipe

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "recipes" / "README.md"]
BIN = Path(sys.executable).parent
GSM8K = ROOT.parent / "shared" / "data" / "gsm8k"

ELSEWHERE = {
    "make demo": "test_demo.py, as `llmpolicy demo`",
    "accelerate launch": (
        "test_cli.py, as torchrun, without a GPU; it parses the launch file, and the recipe is"
        " explained here"
    ),
    "torchrun": "test_cli.py",
    "python scripts/get_smollm2.py": "test_tasks.py",
    "llmpolicy compare": "test_compare.py",
    "llmpolicy view": "test_page.py, whose server ends",
    "llmpolicy train rlhf_tiny": "test_rlhf.py, smaller",
    "llmpolicy publish runs/quickstart --repo USER/NAME$": "test_publish.py, to a Hub of its own",
}
"""Commands that begin with this pattern are run by that test instead."""


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.M | re.S
    )


def commands(page: Path) -> list[str]:
    listed = []
    for block in blocks(page, "bash"):
        lines = (
            line.partition("  #")[0].strip() for line in block.replace("\\\n", " ").splitlines()
        )
        listed += [line for line in lines if line and not line.startswith("#")]
    return listed


def named_blocks() -> dict[str, str]:
    """The files that the pages write out: blocks whose first line is ``# NAME``."""
    found = [
        block
        for page in PAGES
        for language in ("python", "yaml")
        for block in blocks(page, language)
    ]
    return {
        name[1]: block for block in found if (name := re.match(r"# (\w+\.(?:py|yaml))\n", block))
    }


def environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ, "HOME": str(folder), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1",
    }  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder of a user who has the recipes and scripts at hand; the commands of a page
    build on each other.
    """
    folder = tmp_path_factory.mktemp("user")
    for name in ("recipes", "scripts"):
        shutil.copytree(ROOT / name, folder / name)
    for name, block in named_blocks().items():
        (folder / name).write_text(block, encoding="utf-8")
    rows = [{"question": f"{a}+{b}", "answer": str(a + b)} for a in range(20) for b in range(20)]
    (folder / "questions.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8"
    )
    pairs = [
        {"prompt": f"{a}+1", "chosen": f"It is {a + 1}.", "rejected": str(a)} for a in range(400)
    ]
    (folder / "pairs.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in pairs), encoding="utf-8"
    )
    small = (
        "llmpolicy train quickstart grpo.max_steps=2 evaluate.n=20 evaluate.samples=2 --out"
        " runs/quickstart"
    )
    subprocess.run(small, shell=True, cwd=folder, env=environment(folder), check=True, timeout=300)
    return folder


def test_every_page_is_short() -> None:
    for page in PAGES:
        assert len(page.read_text(encoding="utf-8").splitlines()) <= 130, page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if commands(page)], ids=lambda page: page.name
)
def test_the_commands_of_a_page_run(place: Path, page: Path) -> None:
    for command in commands(page):
        if any(re.match(start, command) for start in ELSEWHERE):
            continue
        done = subprocess.run(
            command,
            shell=True,
            cwd=place,
            env=environment(place),
            capture_output=True,
            text=True,
            timeout=300,
        )
        said = f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        assert done.returncode == 0, f"{page.name}: {command}\n{said}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name
)
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


def test_what_is_run_elsewhere_still_stands_on_a_page() -> None:
    written = [command for page in PAGES for command in commands(page)]
    for start in ELSEWHERE:
        assert any(re.match(start, command) for command in written), start


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "yaml")], ids=lambda page: page.name
)
def test_the_blocks_of_a_recipe_on_a_page_have_valid_keys(page: Path) -> None:
    for block in blocks(page, "yaml"):
        Recipe.model_validate(yaml.safe_load(block))


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "yaml")], ids=lambda page: page.name
)
def test_the_whole_recipes_of_a_page_can_be_trained(
    place: Path, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    for number, block in enumerate(blocks(page, "yaml")):
        if {"model", "grpo"} <= set(yaml.safe_load(block)):
            path = place / f"{page.stem}_{number}.yaml"
            path.write_text(block, encoding="utf-8")
            with pytest.raises(SystemExit, match="0"):
                train_recipe(str(path), (), dry_run=True, say=lambda _: None)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_bundled_recipe_is_planned(path: Path) -> None:
    """All that can be checked without a model and without the Hub; GSM8K is read from local
    files.
    """
    overrides = []
    if "textarena" in path.stem and find_spec("textarena") is None:
        pytest.skip("textarena is not installed")
    if "gsm8k" in str(load_recipe(path).task):
        if not GSM8K.is_dir():
            pytest.skip("the GSM8K files are not beside this checkout")
        overrides = [f"task.file={GSM8K / 'train.jsonl'}"]
        if load_recipe(path).evaluate.task:
            overrides.append(f"evaluate.task.file={GSM8K / 'test.jsonl'}")
    if path.stem.endswith("_gpu"):
        processes = 4 if "multi" in path.stem else 1
        assert "rollouts" in str(
            explain_recipe(str(path), overrides, target="gpu", processes=processes)
        )
        return
    with pytest.raises(SystemExit, match="0"):
        train_recipe(str(path), overrides, dry_run=True, say=lambda _: None)
