"""Trackers get the numbers that a run keeps: TensorBoard's files and trackio's store, read back."""

import json
import math
import os
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from llmpolicy.diagnosis.finding import Finding
from llmpolicy.episode import Episode, Turn
from llmpolicy.grpo.tracking import MEMBERS, Traces, facts_of, messages_of, telling
from llmpolicy.run import Run
from llmpolicy.session import train_recipe

ROOT = Path(__file__).parent.parent
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
SMALL = [
    "grpo.max_steps=4", "grpo.per_device_train_batch_size=32", "evaluate.n=20", "evaluate.samples=1",
    "evaluate.every=2", "truth=exact:match",
]  # fmt: skip
SAME = ("reward", "loss", "grad_norm", "num_tokens", "advantages/live", "completions/mean_length")


def episode(group: int, weight: float, text: str = "7") -> Episode:
    turn = Turn((1,), (2,), prompt=f"{group}?", text=text)
    return Episode([turn], group, group, weights=(weight,))


def test_the_most_telling_groups_are_traced() -> None:
    episodes = [
        episode(group, size * (-1) ** member, f"{member}")
        for group, size in enumerate([0.1, 1.0, math.nan, 0.5])
        for member in range(12)
    ]
    chosen = telling(episodes)
    assert [one.group for one in chosen] == [1] * MEMBERS + [3] * MEMBERS
    assert [one.text for one in chosen[:MEMBERS]] == [f"{n}" for n in range(MEMBERS)]


def test_a_trace_says_what_was_asked_said_and_paid() -> None:
    one = episode(3, -0.5, "42")
    assert messages_of(one) == [
        {"role": "user", "content": "3?"}, {"role": "assistant", "content": "42"},
    ]  # fmt: skip
    facts = facts_of(one, step=7)
    assert facts["session_id"] == "step 7, group 3" and facts["advantage"] == -0.5
    assert facts["reward"] is None


def test_traces_that_fail_end_once_and_the_training_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Broken:
        def Trace(self, *_: object) -> None:
            raise OSError("no store")

    monkeypatch.setitem(sys.modules, "trackio", Broken())  # type: ignore[arg-type]
    said: list[str] = []
    traces, state = Traces(lambda: [episode(0, 1.0)], said.append), type("S", (), {})()
    state.is_world_process_zero, state.global_step, state.max_steps = True, 2, 150
    for _ in range(3):
        traces.on_log(None, state, None, {"reward": 1.0})  # type: ignore[arg-type]
    assert said == ["note: no more traces for trackio (no store)"]


def test_a_long_run_has_traces_of_steps_that_are_evenly_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps: list[int] = []

    class Fake:
        def Trace(self, *_: object) -> str:
            return "trace"

        def log(self, figures: dict[str, Any], step: int) -> None:
            assert figures == {"groups": ["trace"]}
            steps.append(step)

    monkeypatch.setitem(sys.modules, "trackio", Fake())  # type: ignore[arg-type]
    traces, state = Traces(lambda: [episode(0, 1.0)], print), type("S", (), {})()
    state.is_world_process_zero, state.max_steps = True, 1_000
    for state.global_step in range(1, 1_001):
        traces.on_log(None, state, None, {"reward": 1.0})  # type: ignore[arg-type]
    assert steps == list(range(15, 1_001, 15)) and len(steps) < 2 * 64


def test_tensorboard_gets_the_numbers_of_the_run(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = train_recipe(
        "quickstart", [*SMALL, "grpo.report_to=tensorboard"], out=tmp_path / "run",
        say=lambda _: None,
    )  # fmt: skip
    events = accumulator.EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()

    def told(tag: str) -> dict[int, float]:
        return {event.step: event.value for event in events.Scalars(tag)}

    for name in SAME:
        kept = {line["step"]: line[name] for line in run.metrics("train")}
        assert told(f"train/{name}") == pytest.approx(kept, rel=1e-6)
    for name in ("accuracy", "truth", "proxy", "parted"):
        kept = {line["step"]: line[name] for line in run.metrics("eval")}
        assert told(f"eval/{name}") == pytest.approx(kept, rel=1e-6)


TRACKED = """
import sys
sys.path.extend(sys.argv[3:])
import json, logging
from llmpolicy.session import train_recipe
import llmpolicy.diagnosis.live as live
from llmpolicy.diagnosis.finding import Diagnosis, Finding

found = Finding("all_wrong", "nothing was paid", "easier questions", 1.0)
live.diagnose = lambda evidence: Diagnosis([found])
train_recipe("quickstart", json.loads(sys.argv[2]), out=sys.argv[1], say=lambda _: None)
from trackio.sqlite_storage import SQLiteStorage as store
kept = {
    "logs": store.get_logs("sums", "run"), "traces": store.get_traces("sums", "run"),
    "alerts": store.get_alerts("sums", "run"),
}
with open(sys.argv[1] + "/told.json", "w") as file:
    json.dump(kept, file, default=str)
"""


def tracked(folder: Path, *beside: str) -> tuple[Run, dict[str, Any]]:
    """A run that told trackio, in a process of its own, and what that has kept."""
    words = [*SMALL, "grpo.report_to=trackio", "grpo.project=sums"]
    more = {"TRACKIO_DIR": str(folder / "store"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", TRACKED, str(folder / "run"), json.dumps(words), *beside],
        cwd=ROOT, env={**os.environ, **more}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert "no more traces" not in done.stdout and "all_wrong" not in done.stdout
    run = Run.open(folder / "run")
    told: dict[str, Any] = json.loads((run.path / "told.json").read_text())
    return run, told


def check_told(run: Run, told: dict[str, Any]) -> None:
    logs = [line for line in told["logs"] if "train/reward" in line]
    for line, kept in zip(logs, run.metrics("train"), strict=True):
        assert line["train/global_step"] == kept["step"]
        for name in SAME:
            assert line[f"train/{name}"] == pytest.approx(kept[name])
    looks = [line for line in told["logs"] if "eval/truth" in line]
    assert [line["eval/truth"] for line in looks] == [line["truth"] for line in run.metrics("eval")]
    rows = {(row["prompt"], row["completion"]) for row in run.rollouts("train")}
    assert len(told["traces"]) >= 4 * 8
    for trace in told["traces"]:
        prompt, reply = trace["messages"]
        assert (prompt["content"], reply["content"]) in rows
        assert trace["metadata"]["reward"] in (0.0, 1.0)
    (alert,) = told["alerts"]
    assert (alert["title"], alert["level"]) == ("all_wrong", "error")
    assert alert["text"].endswith("nothing was paid. Change: easier questions")


def test_trackio_gets_the_numbers_traces_and_findings_of_the_run(tmp_path: Path) -> None:
    if find_spec("trackio") is None:
        pytest.skip("trackio is not installed (the extra trackio)")
    check_told(*tracked(tmp_path))


@pytest.mark.slow
def test_trackio_of_the_index_gets_them_too(tmp_path: Path) -> None:
    if find_spec("trackio") is not None:
        pytest.skip("trackio is installed, and told by the test above")
    target = tmp_path / "index"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target)]
    constraints = ["-c", str(ROOT / "constraints.txt")]
    asked = [*command, *constraints, *EXTRAS["trackio"]]
    done = subprocess.run(asked, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"pip cannot install trackio here: {done.stderr.strip()[-200:]}")
    check_told(*tracked(tmp_path, str(target)))


def test_a_finding_is_a_warning_or_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from llmpolicy.grpo.tracking import alert

    told: list[tuple[str, str, str]] = []

    class Levels:
        ERROR, WARN = "error", "warn"

    class Fake:
        AlertLevel = Levels

        def alert(self, title: str, text: str, level: str) -> None:
            print("again")
            told.append((title, text, level))

    monkeypatch.setitem(sys.modules, "trackio", Fake())  # type: ignore[arg-type]
    for confidence in (0.5, 0.9):
        alert(9, Finding("frozen", "nothing moves", "look", confidence))
    assert [level for _, _, level in told] == ["warn", "error"]
    assert told[0][1] == "step 9: nothing moves. Change: look"
