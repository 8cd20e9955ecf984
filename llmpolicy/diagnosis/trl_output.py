"""The output folder of TRL's GRPO trainer as evidence, as far as its logs go: the log history of
trainer_state.json, and completions/*.parquet where log_completions was on.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llmpolicy.bounded import load_json
from llmpolicy.diagnosis.evidence import Completion, Evidence, number_of
from llmpolicy.errors import RunError
from llmpolicy.messages import content_text
from llmpolicy.run.episodes import rows_of


def of_trl(folder: Path) -> Evidence:
    """What stock TRL's trainer has left; RunError where there is neither a state nor a table.

    A reward is the sum of its columns: their weights are not written. Without a state they are the
    columns of fractions.
    """
    steps = _history(folder)
    names = {
        name.split("/")[1]
        for line in steps
        for name in line
        if name.startswith("rewards/") and name.endswith("/mean")
    }
    completions: list[Completion] = []
    for file in sorted((folder / "completions").glob("completions_*.parquet")):
        completions += _completions(rows_of(file, foreign=True), names)
    if not steps and not completions:
        raise RunError(
            f"{folder} is no run: expected manifest.json of llmpolicy's, or trainer_state.json or"
            " completions/ of TRL's trainer"
        )
    return Evidence(steps, completions)


def _history(folder: Path) -> list[dict[str, Any]]:
    """The log of the last state that was saved."""
    states = [*folder.glob("trainer_state.json"), *folder.glob("checkpoint-*/trainer_state.json")]
    lines: list[dict[str, Any]] = []
    for path in states:
        try:
            state = load_json(path.read_bytes())
        except (OSError, ValueError) as error:
            raise RunError(f"{path} cannot be read ({error})") from error
        history = state.get("log_history") if isinstance(state, dict) else []
        lines = max(lines, list(filter(_is_step, history or [])), key=len)
    return lines


def _is_step(line: Any) -> bool:
    return isinstance(line, dict) and "reward" in line and isinstance(line.get("step"), int | float)


def _completions(rows: list[dict[str, Any]], rewards: set[str]) -> Iterator[Completion]:
    group, before = -1, None
    if not rewards:
        floats = {name for row in rows for name in row if isinstance(row[name], float)}
        rewards = floats - {"step", "advantage"}
    for number, row in enumerate(rows):
        step = number_of(row.get("step"))
        if step is None:
            continue
        prompt = _text(row.get("prompt"))
        if prompt != before:
            group, before = group + 1, prompt
        parts = {name: number_of(row[name]) for name in sorted(rewards) if name in row}
        known = [value for value in parts.values() if value is not None]
        yield Completion(
            place=f"{step:.0f}:{number}",
            step=int(step),
            group=group,
            row=None,
            prompt=prompt,
            text=_text(row.get("completion"), last=True),
            reward=sum(known) if known else None,
            parts=parts,
            advantage=number_of(row.get("advantage")),
            truncated=False,
        )


def _text(value: Any, *, last: bool = False) -> str:
    """A text, or the text of messages: of all, or of the last."""
    if isinstance(value, str) or value is None:
        return value or ""
    if not isinstance(value, list):
        return str(value)
    messages = [message for message in value if isinstance(message, Mapping)]
    shown = messages[-1:] if last else messages
    return "\n".join(content_text(message.get("content")) for message in shown)
