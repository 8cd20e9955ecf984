"""What a page says of a run before any completion is looked at."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from llmpolicy.bounded import load_json
from llmpolicy.diagnosis import Diagnosis, Evidence
from llmpolicy.errors import RunError
from llmpolicy.report.page.curves import KINDS, charts_of
from llmpolicy.report.page.pack import plain
from llmpolicy.rewards.health import replay_command
from llmpolicy.run import Run
from llmpolicy.run.answers import read_answers
from llmpolicy.run.faults import replay_dialogue_command

MOST_FAULTS = 500
MOST_ANSWERS = 5_000

Facts = Mapping[str, Any]


def facts_of(folder: Path, run: Run | None, evidence: Evidence, found: Diagnosis) -> dict[str, Any]:
    """All that is small: verdict, findings, curves, what was reached, faults, recipe, versions."""
    missing: list[str] = []
    facts = {
        "name": str((run.recipe if run else {}).get("name") or folder.resolve().name),
        "path": str(folder),
        "diagnosis": found.to_dict(),
        "head": list(_head(run, evidence)),
        "charts": charts_of(evidence),
        "kinds": KINDS,
        "correctness": _correctness(run),
        "most": evidence.top,
        "least": evidence.bottom,
        "answers": _answers(run, missing),
        "faults": _faults(run, missing),
        "made": _made(run, evidence),
        "missing": missing,
    }
    if not evidence.completions:
        missing.append("This run has kept no completions: there are no groups to look at.")
    if not evidence.steps:
        missing.append("This run has no lines of training in its metrics.")
    clean: dict[str, Any] = plain(facts)
    return clean


def _head(run: Run | None, evidence: Evidence) -> Iterator[tuple[str, str]]:
    """The facts under the title, each a name and its words."""
    if run is not None:
        yield "status", str(run.manifest.get("status", "unknown"))
    settings = evidence.recipe.get("grpo") or {}
    of_steps = f" of {settings['max_steps']}" if settings.get("max_steps") else ""
    yield "steps", f"{evidence.last_step}{of_steps}"
    rewards = evidence.values("reward")
    if rewards:
        yield "reward", f"{rewards[0]:.3g} → {rewards[-1]:.3g}"
    yield from _reached(evidence.evaluation or {})
    if best := run.best() if run else None:
        yield "best step", f"{best['step']} ({best['accuracy']:.1%})"
    tokens = evidence.values("num_tokens")
    if tokens:
        yield "tokens", f"{tokens[-1]:,.0f}"
    if evidence.completions:
        yield "completions", f"{len(evidence.completions):,}"
    seconds = evidence.values("step_time")
    if seconds:
        yield "seconds of steps", f"{sum(seconds):,.1f}"


def _reached(evaluation: Facts) -> Iterator[tuple[str, str]]:
    after, before = _accuracy(evaluation), _accuracy(evaluation.get("base") or {})
    if after:
        yield "held-out accuracy", f"{before} → {after}" if before else after
    difference = evaluation.get("paired_difference")
    if isinstance(difference, Mapping):
        points = [100 * float(difference[name]) for name in ("value", "low", "high")]
        yield "difference", "{:+.1f} points [{:+.1f}, {:+.1f}]".format(*points)


def _accuracy(evaluation: Facts) -> str:
    share = evaluation.get("accuracy")
    return f"{share['value']:.1%}" if isinstance(share, Mapping) else ""


def _correctness(run: Run | None) -> str | None:
    """The part that says what is right, where every task has the same."""
    tasks = ((run.manifest if run else {}).get("composition") or {}).get("tasks") or {}
    names = {task.get("correctness") for task in tasks.values()}
    return names.pop() if len(names) == 1 else None


def _answers(run: Run | None, missing: list[str]) -> Sequence[Facts]:
    """Held-out prompts whose answer before and after is known."""
    if run is None:
        missing.append("TRL's output keeps no held-out answers, faults or recipe.")
        return []
    try:
        answers = read_answers(run.path)
    except RunError as error:
        missing.append(f"{error}.")
        return []
    if len(answers) > MOST_ANSWERS:
        missing.append(f"Of {len(answers)} held-out answers the first {MOST_ANSWERS} are here.")
    return [answer for answer in answers if answer.get("base")][:MOST_ANSWERS]


def _faults(run: Run | None, missing: list[str]) -> list[Facts]:
    """What failed, each with the command that asks again."""
    path = run.path / "faults.jsonl" if run else None
    if path is None or not path.is_file():
        return []
    faults, damaged = [], 0
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            faults.append(_fault(load_json(line), f"{path}:{number}"))
        except (ValueError, KeyError, TypeError):
            damaged += 1
    if damaged:
        missing.append(f"{damaged} lines of faults.jsonl are damaged and left out.")
    if len(faults) > MOST_FAULTS:
        missing.append(f"Of {len(faults)} faults the first {MOST_FAULTS} are here.")
    return faults[:MOST_FAULTS]


def _fault(record: Facts, line: str) -> Facts:
    of_reward = "call" in record
    command = replay_command(record, line) if of_reward else replay_dialogue_command(line)
    at = {} if of_reward else record["at"]
    return {
        "step": record.get("step"),
        "row": record.get("row"),
        "who": record["reward"] if of_reward else at["what"],
        "kind": record["fault"] if of_reward else at["fault"],
        "why": record["why"],
        "again": command,
    }


def _made(run: Run | None, evidence: Evidence) -> Facts:
    """How the run was made: recipe, hashes, versions, and the line that makes it again."""
    if run is None:
        return {}
    try:
        recipe = (run.path / "recipe.yaml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        recipe = ""
    return {
        "recipe": recipe,
        "manifest": run.manifest,
        "settings": dict(evidence.settings),
        "again": f"llmpolicy train {quote(str(run.path / 'recipe.yaml'))} --out NEW_FOLDER",
        "command": run.manifest.get("command"),
    }
