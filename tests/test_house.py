"""The order of the house: imports go down the floors, the light rooms load nothing heavy, docs name
what exists.
"""

import ast
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAP = (ROOT / "docs" / "map.md").read_text(encoding="utf-8")
FLOORS = {
    room.replace("\\", ""): int(floor)
    for floor, rooms in re.findall(r"^\| (\d) \| ([^|]+) \|", MAP, flags=re.MULTILINE)
    for room in rooms.split(", ")
}
LIGHT = (
    "llmpolicy.scale.text",
    "llmpolicy.rewards",
    "llmpolicy.sandbox",
    "llmpolicy.recipe",
    "llmpolicy.run",
    "llmpolicy.cli",
    "llmpolicy.tasks",
    "llmpolicy.plan.explain",
    "llmpolicy.environments.players",
    "llmpolicy.environments.player_worker",
)
HEAVY = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "datasets",
    "sympy",
    "math_verify",
    "matplotlib",
    "pyarrow",
    "jsonschema",
)
HEAVY += ("httpx2", "re2")


def imports(path: Path) -> Iterator[str]:
    """The rooms of llmpolicy that a file imports, inside functions too; not what only types name."""
    tree = ast.parse(path.read_text())
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "llmpolicy":
                names = [f"llmpolicy.{alias.name}" for alias in node.names]
        yield from (name.split(".")[1] for name in names if name.startswith("llmpolicy."))


def test_every_room_has_a_floor() -> None:
    rooms = {
        path.relative_to(ROOT / "llmpolicy").parts[0].removesuffix(".py")
        for path in (ROOT / "llmpolicy").rglob("*.py")
    }
    assert rooms == set(FLOORS), f"rooms and docs/map.md differ: {sorted(rooms ^ set(FLOORS))}"


def test_imports_go_down() -> None:
    for path in (ROOT / "llmpolicy").rglob("*.py"):
        room = path.relative_to(ROOT / "llmpolicy").parts[0].removesuffix(".py")
        for other in imports(path):
            assert other == room or FLOORS[other] <= FLOORS[room], (
                f"{path.name} ({room}) imports {other}, which lies above it"
            )


def test_rooms_that_rewards_share_import_down() -> None:
    floors = {"_text": 0, "_maths": 1, "_json": 1, "_code": 1, "_judges": 1, "_answers": 2}
    floors |= {"_instructions": 2}
    shared = ROOT / "reward_fns"
    for path in shared.glob("_*/**/*.py"):
        folders = path.relative_to(shared).parts[:-1]
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level > len(folders):
                room = (node.module or node.names[0].name).partition(".")[0]
                assert floors.get(room, 9) < floors[folders[0]], f"{path}: {room} lies above it"


def test_only_grpo_builds_on_the_trainer() -> None:
    compared = ROOT / "llmpolicy" / "board" / "trainers.py"  # stock TRL is a row of the board
    for path in (ROOT / "llmpolicy").rglob("*.py"):
        if "GRPOTrainer" in path.read_text():
            assert path.parent.name == "grpo" or path == compared, path


@pytest.mark.parametrize(
    "module",
    [*LIGHT, *(f"reward_fns.{p.stem}" for p in sorted((ROOT / "reward_fns").glob("[a-z]*.py")))],
)
def test_light_rooms_load_nothing_heavy(module: str) -> None:
    if module == "reward_fns.reward_model":
        pytest.skip("a reward model is a torch model")
    code = f"import {module}, sys; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_help_takes_under_half_a_second() -> None:
    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-m", "llmpolicy", "--help"], capture_output=True, text=True, cwd=ROOT
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert "publish" in done.stdout, done.stderr
        # Processor time, so that a busy machine does not fail the test: --help waits for nothing.
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(once() for _ in range(3)) < 0.5


def test_no_function_is_longer_than_a_screen() -> None:
    for path in [
        *(ROOT / "llmpolicy").rglob("*.py"),
        *(ROOT / "reward_fns").rglob("*.py"),
        *(ROOT / "scripts").rglob("*.py"),
    ]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
                assert node.end_lineno - node.lineno < 60, f"{path.name}: {node.name}"


INSIDE = {
    "rewards": {
        "declare": 0, "verdict": 0, "printed": 0, "contract": 1, "compose": 2, "calls": 2, "health": 2,
        "workers": 3, "scoring": 4, "__init__": 5,
    },
    "rewards/compose": {
        "interval": 0, "tree": 1, "composition": 2, "check": 3, "statistics": 3, "text": 4, "entries": 4,
        "__init__": 5,
    },
    "rewards/workers": {
        "__init__": 0, "progress": 0, "keeper": 0, "crossing": 0, "worker": 1, "process": 1, "parts": 2,
        "supervisor": 3, "pool": 4,
    },
    "audit": {
        "__init__": 0, "asking": 0, "battery": 0, "replay": 0, "subject": 1, "golds": 2, "attacks": 2,
        "determinism": 3, "check": 4, "show": 5, "pytest_plugin": 6,
    },
}  # fmt: skip


@pytest.mark.parametrize("room", INSIDE)
def test_imports_go_down_inside_a_room(room: str) -> None:
    """Of a file, or a room within, to those below it alone, wherever the import stands."""
    home, floors = ROOT / "llmpolicy" / room, INSIDE[room]
    prefix = f"llmpolicy.{room.replace('/', '.')}."
    for path in home.rglob("*.py"):
        part = path.relative_to(home).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or node.module is None:
                continue
            for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                below = name.removeprefix(prefix).split(".")[0]
                if name.startswith(prefix) and below in floors and below != part:
                    assert floors[below] < floors[part], f"{room}/{part} imports {below}"
