"""A run as one line, and as a table with its picture for a notebook."""

import base64
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Any

from llmpolicy.terminal import visible

if TYPE_CHECKING:
    from llmpolicy.run.directory import Run


def line(run: "Run") -> str:
    """Where a run lies, how it ended, how far it came and what it reached."""
    (_, path), *facts = _facts(run)
    return f"Run({path!r}: {visible(', '.join(map(' '.join, facts)))})"


def html(run: "Run") -> str:
    """The same as a table, with the plot below it when it was drawn."""
    rows = picture = ""
    for name, value in _facts(run):
        rows += f"<tr><th>{escape(name)}</th><td>{escape(visible(value))}</td></tr>"
    if run.plot_path.is_file():
        data = base64.b64encode(run.plot_path.read_bytes()).decode()
        picture = (
            '<img alt="metrics of the run" style="max-width: 100%"'
            f' src="data:image/png;base64,{data}">'
        )
    return f"<table>{rows}</table>{picture}"


def _facts(run: "Run") -> Iterator[tuple[str, str]]:
    yield "run", str(run.path)
    yield "status", str(run.manifest.get("status", "unknown"))
    lines = [row for row in run.metrics("train") if "reward" in row]
    if lines:
        most = (run.recipe.get("grpo") or {}).get("max_steps", 0)
        yield "step", f"{lines[-1]['step']}" + f" of {most}" * (most > 0)
        yield "reward", f"{_reward(lines[0])} -> {_reward(lines[-1])}"
    if run.manifest.get("best"):
        yield "best step", str(run.manifest["best"].get("step"))
    evaluation = run.evaluation() or {}
    if after := _accuracy(evaluation):
        before = _accuracy(evaluation.get("base") or {})
        yield "held-out accuracy", f"{before} -> {after}".removeprefix(" -> ")


def _reward(line: dict[str, Any]) -> str:
    return "-" if line["reward"] is None else f"{line['reward']:.3g}"


def _accuracy(evaluation: dict[str, Any]) -> str:
    value = (evaluation.get("accuracy") or {}).get("value")
    return "" if value is None else f"{value:.1%}"
