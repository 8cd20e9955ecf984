"""How the house is built, in figures: how dense its lines are, what its names say, what a run
opens.

``python scripts/house.py`` reads the code, or the rooms named; with ``--run`` it also counts the
files that `llmpolicy train quickstart` opens until its first gradient step.
"""

import argparse
import ast
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("llmpolicy", "reward_fns", "scripts")
VAGUE = (
    *("one", "other", "others", "found", "made", "place", "given", "first", "said", "own", "told"),
    *("thing", "things", "info", "tmp", "temp", "res", "ret", "obj", "stuff"),
)
"""Names that a local may not have: they hold anything."""

KINDS = ("sft", "reward_model", "grpo", "reinforce", "environment", "policy", "model")
WIDE = 100
DENSE = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.IfExp)
_FORM = (ast.expr_context, ast.operator, ast.boolop, ast.cmpop, ast.unaryop)
RUNS = {"quickstart": ["grpo.max_steps=1", "evaluate=null"], "cartpole": []}

_TRACER = """
import os, sys
opened = set()
def trace(frame, event, argument):
    if event == "call" and frame.f_code.co_flags & 1:  # a function, no body of a module or a class
        opened.add(frame.f_code.co_filename)
    return None
import torch
begun = torch.optim.Optimizer.__init__
def stop(self, *arguments, **named):
    begun(self, *arguments, **named)
    def stepped(*_):
        sys.setprofile(None)
        root = os.environ["LLMPOLICY_HOUSE"] + os.sep
        inside = (path.removeprefix(root) for path in opened if path.startswith(root))
        mine = sorted(path for path in inside if path.startswith(("llmpolicy/", "reward_fns/")))
        print("OPENED", len(mine), flush=True)
        print("\\n".join(mine), flush=True)
        os._exit(0)
    self.register_step_post_hook(stepped)
torch.optim.Optimizer.__init__ = stop
from llmpolicy.__main__ import main
sys.setprofile(trace)
sys.argv[0] = "llmpolicy"
main()
"""


def main(argv: list[str] | None = None) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("rooms", nargs="*", default=list(ROOMS), help="files or folders; all rooms")
    parser.add_argument("--worst", action="store_true", help="the ten densest and vaguest files")
    parser.add_argument("--run", action="store_true", help="count what a training opens, a minute")
    options = parser.parse_args(argv)
    files = [File.read(path) for path in sources(options.rooms)]
    for name, value in figures(files).items():
        print(f"{name}: {value}")
    if options.worst:
        for title, measure in (("densest", File.density), ("vaguest", File.vagueness)):
            print(f"\n{title}:")
            for file in sorted(files, key=measure, reverse=True)[:10]:
                print(f"  {measure(file):5.1f}  {file.path.relative_to(ROOT)}")
    if options.run:
        for recipe, shorter in RUNS.items():
            count, _ = opened(recipe, shorter)
            print(f"files that `llmpolicy train {recipe}` opens until its first step: {count}")
    return 0


def figures(files: Sequence["File"]) -> dict[str, str]:
    """What is measured of these files, by name."""

    def total(what: str) -> int:
        return sum(map(attrgetter(what), files))

    lines, names, vague = 0, Counter[str](), Counter[str]()
    for file in files:
        lines += len(file.lines)
        names += file.names
        vague += file.vague
    most = ", ".join(map("{0[0]} {0[1]}".format, vague.most_common(8)))
    return {
        "files": f"{len(files)}",
        "lines": f"{lines:,}",
        "nodes of syntax": f"{total('nodes'):,}",
        "comprehensions and conditional expressions per 100 lines": (
            f"{100 * total('dense') / total('code'):.1f}"
        ),
        "lines with two of them": f"{total('doubled')}",
        "vague names of all bound": f"{100 * vague.total() / names.total():.1f} % ({most})",
        f"lines above {WIDE} columns": f"{100 * total('wide') / lines:.1f} %",
        "tests of a recipe's kind": (
            f"{total('kinds')} in {sum(file.kinds > 0 for file in files)} files"
        ),
    }


@dataclass(frozen=True)
class File:
    """A source file, read."""

    path: Path
    lines: list[str]
    tree: ast.Module

    @classmethod
    def read(cls, path: Path) -> "File":
        """The file at this path."""
        text = path.read_text(encoding="utf-8")
        return cls(path, text.splitlines(), ast.parse(text))

    @property
    def code(self) -> int:
        """How many lines are neither blank nor a comment."""
        return sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in self.lines)

    @property
    def nodes(self) -> int:
        """How much is said, however it is wrapped: nodes of the syntax tree."""
        return self.count(lambda node: not isinstance(node, _FORM))

    def count(self, wanted: Callable[[ast.AST], bool]) -> int:
        """How many nodes of the tree are wanted."""
        return sum(map(wanted, ast.walk(self.tree)))

    @property
    def dense(self) -> int:
        """How many comprehensions and conditional expressions it has."""
        return self.count(lambda node: isinstance(node, DENSE))

    @property
    def doubled(self) -> int:
        """How many of its lines begin two of them or more."""
        starts = Counter(node.lineno for node in ast.walk(self.tree) if isinstance(node, DENSE))
        return sum(count > 1 for count in starts.values())

    @property
    def wide(self) -> int:
        """How many of its lines do not fit."""
        return sum(len(line) > WIDE for line in self.lines)

    @property
    def names(self) -> Counter[str]:
        """The names that it binds: assigned, looped over, parameters."""
        return Counter(bound(self.tree))

    @property
    def vague(self) -> Counter[str]:
        """Those of its names that hold anything."""
        names = self.names
        return Counter({name: names[name] for name in VAGUE})

    @property
    def kinds(self) -> int:
        """How often it asks a recipe what kind of run it is."""
        return self.count(asks_for_kind)

    def density(self) -> float:
        """Comprehensions and conditional expressions per 100 lines."""
        return 100 * self.dense / max(self.code, 1)

    def vagueness(self) -> float:
        """Vague names in percent of those bound."""
        return 100 * self.vague.total() / max(self.names.total(), 1)


def sources(rooms: Sequence[str] = ROOMS) -> list[Path]:
    """The Python files of these rooms."""
    paths: list[Path] = []
    for room in rooms:
        paths += [ROOT / room] if room.endswith(".py") else (ROOT / room).rglob("*.py")
    return sorted(paths)


def bound(tree: ast.AST) -> Iterator[str]:
    """The names that functions bind: assigned, looped over, parameters."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg


def asks_for_kind(node: ast.AST) -> bool:
    """Whether a recipe is asked here, by `is None` or `is not None`, what kind of run it is."""
    if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Is | ast.IsNot):
        return False
    left = node.left
    return (
        isinstance(left, ast.Attribute)
        and left.attr in KINDS
        and "recipe" in ast.unparse(left.value)
    )


def opened(recipe: str, shorter: list[str]) -> tuple[int, list[str]]:
    """How many files of ours a training has called into when its first gradient step is done, and
    which.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", _TRACER, "train", recipe, *shorter]
        command += ["--out", f"{folder}/run"]
        environment = {**os.environ, "LLMPOLICY_HOUSE": str(ROOT), "OMP_NUM_THREADS": "1"}
        finished = subprocess.run(
            command, capture_output=True, text=True, env=environment, check=False
        )
    head, _, rest = finished.stdout.partition("OPENED ")
    if not rest:
        raise SystemExit(
            f"`llmpolicy train {recipe}` made no gradient step: {(head + finished.stderr)[-500:]}"
        )
    count, *files = rest.split()
    return int(count), files


if __name__ == "__main__":
    raise SystemExit(main())
