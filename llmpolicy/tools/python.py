"""Python as a tool, in the sandbox; names live on from cell to cell of an episode."""

import json

from llmpolicy.errors import RecipeError, SandboxUnavailable
from llmpolicy.sandbox import Job, Limits, sandbox

_PROGRAM = """
import ast, contextlib, io, json, sys, traceback
cells, names, said = json.loads(sys.stdin.read()), {"__name__": "__main__"}, io.StringIO()
for number, cell in enumerate(cells):
    said.seek(0), said.truncate()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            tree = ast.parse(cell)
            last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, "<cell>", "exec"), names)
            if last is not None:
                value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
                if value is not None:
                    print(repr(value))
        except BaseException:
            kind, error, _ = sys.exc_info()
            print("".join(traceback.format_exception_only(kind, error)).strip())
sys.stdout.write(said.getvalue())
"""


class Python:
    """An episode's Python: to be named as an environment beside a task, or inherited.

    The sandbox keeps nothing, so that a cell runs behind those before it, once again and in one
    time limit: what they print is heard once, what they draw at random begins with the same seed.
    """

    def __init__(self, seconds: float = 5.0, most: int = 4000) -> None:
        try:
            sandbox()
        except SandboxUnavailable as error:
            why = str(error).partition("; or accept")[0]  # a player is never allowed that
            raise RecipeError(f"the tool python runs in a sandbox only: {why}") from error
        self._limits, self._most = Limits(cpu=seconds), most
        self._cells: list[str] = []

    def reset(self) -> None:
        """Forget all cells."""
        self._cells = []

    def python(self, code: str) -> str:
        """Run Python code; what it prints and the value of its last line are returned. Names stay
        defined in later calls.

        Args:
            code: The code to run.
        """
        job = Job(
            "import random; random.seed(0)\n" + _PROGRAM, stdin=json.dumps([*self._cells, code])
        )
        done = sandbox().run(job, self._limits)
        if done.ended != "finished":  # it is not run again: the next cell would end in the same way
            return f"error: {done.why}"[: self._most]
        self._cells.append(code)
        said = done.stdout.strip() or "(nothing was printed)"
        return said if len(said) <= self._most else f"{said[: self._most]}\n(and more)"
