"""Making a call again in which a reward failed, from its line in a run's faults.jsonl."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from llmpolicy.bounded import load_json, read_text
from llmpolicy.errors import RewardError
from llmpolicy.rewards.contract import TRAINERS, Component, RewardSpec
from llmpolicy.rewards.verdict import Outcome
from llmpolicy.rewards.workers.crossing import crossed


def replay(file: Path, line: int, now: Callable[[Any], Any] = lambda call: call) -> str:
    """Make one recorded call again, in a worker, and say what came of it; ``line`` counts from 1.

    ``now`` gives a call the paths that it has since the run was moved.

    RewardError for a line that is not there, a reward that was a function of a Python session, or
    arguments that JSON could not hold.
    """
    record = _read(file, line)
    call, where = now(record["call"]), f"{file}:{line}"
    if call["fn"] is None:
        raise RewardError(
            f"{where}: reward {record['reward']!r} was a function of a Python session; call it"
            " there with the arguments of `call.chosen` and `call.args`."
        )
    if call["args"] is None or call["chosen"] is None:
        raise RewardError(
            f"{where}: the arguments of reward {record['reward']!r} are no JSON and were not kept."
        )
    spec = RewardSpec(
        call["fn"], 1.0, call["args"], record["reward"], call["style"], call["timeout"]
    )
    outcome = _made(Component.of(spec, Path(call["base_dir"])), call["chosen"], record["row"])
    return (
        f"reward     {record['reward']} ({call['fn']}), row {record['row']} at step"
        f" {record['step']}\n"
        f"completion {record['completion']!r:.500}\n"
        f"then       {record['why']}\n"
        f"now        {_said(outcome)}"
    )


def _read(file: Path, line: int) -> dict[str, Any]:
    try:
        lines = read_text(file).split("\n")
        record: dict[str, Any] = load_json(lines[line - 1] if line > 0 else "")
    except (OSError, ValueError, IndexError) as error:
        raise RewardError(
            f"{file}:{line} holds no recorded call ({type(error).__name__}: {error})."
        ) from error
    if "call" not in record:
        raise RewardError(f"{file}:{line} holds no recorded call.")
    return record


def _made(component: Component, chosen: Mapping[str, Any], row: int) -> Outcome:
    import pickle
    import threading

    from llmpolicy.rewards.calls import Call, make_here
    from llmpolicy.rewards.workers import pool

    rows = [row]
    if component.style != "single":
        rows *= next(len(values) for values in chosen.values() if isinstance(values, list))
    if component.style == "trl":
        trainers = {name: TRAINERS[name] for name in TRAINERS if name in component.asked}
        chosen = {**chosen, **trainers}
    reward = crossed(component)
    if reward is None:
        return make_here([(component, Call(chosen, rows))])[0]
    calls = [(pickle.dumps(dict(chosen)), rows)]
    return pool.outcomes(pool.start(reward, calls, threading.Event()))[0]


def _said(outcome: Outcome) -> str:
    took = f"{outcome.seconds:.3f} s"
    if outcome.scores is None:
        return f"failed after {took} ({outcome.blame}): {outcome.why}\n{outcome.traceback}".rstrip()
    scores = []
    for score in outcome.scores:
        scores.append(str(score.value))
        if score.why:
            scores[-1] += f" ({score.why})"
    return f"{', '.join(scores)} in {took}"
