"""A run's completions under another reward."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llmpolicy import Run
from llmpolicy.cli import app
from llmpolicy.errors import RewardError, RunError
from llmpolicy.session import train_recipe
from llmpolicy.session.rescore import Rescored, _Pairs, _take, kendall, rescore_run

OTHERS = """
def opposite(completion: str, answer: str) -> float:
    return float(completion.strip() != str(answer))

def always(completion: str) -> float:
    return 1.0

def unknown(completion: str) -> None:
    return None

def prints(completion: str) -> float:
    print("seen")
    return 1.0

def asks(completion: str, nothing_of_that_name: str) -> float:
    return 0.0
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("rescore")
    (folder / "others.py").write_text(OTHERS)
    small = ["grpo.max_steps=2", "grpo.per_device_train_batch_size=64", "evaluate.n=4"]
    return train_recipe("quickstart", small, out=folder / "run", say=lambda _: None)


def other(run: Run, name: str) -> list[str]:
    return [f"{run.path.parent / 'others.py'}:{name}"]


def test_the_same_reward_pays_the_same(run: Run) -> None:
    rewards = [entry["fn"] for entry in run.recipe["rewards"]]
    found = rescore_run(run.path, rewards, yes=True)
    assert found.completions == 128 and found.groups == len({
        (row["step"], row["group"]) for row in run.rollouts("train")
    })  # fmt: skip
    assert found.alive["only_before"] == found.alive["only_after"] == 0 < found.alive["both"]
    assert found.flips == 0.0 and found.rank == 1.0
    assert found.mean[0] == found.mean[1] and not found.more and not found.less


def test_the_opposite_flips_every_advantage(run: Run) -> None:
    found = rescore_run(run.path, other(run, "opposite"), yes=True)
    assert found.flips == 1.0 and found.rank == -1.0
    assert found.mean[0] is not None and found.mean[0] + found.mean[1] == pytest.approx(1.0)
    assert len(found.more) + len(found.less) == 128
    kept = {f"{row['step']}:{number % 64}": row for number, row in enumerate(run.rollouts("train"))}
    for one in found.more:
        assert kept[one.place]["completion"] == one.completion and one.before == 0.0


def test_a_reward_that_pays_all_lets_every_group_die(run: Run) -> None:
    found = rescore_run(run.path, other(run, "always"), yes=True)
    assert found.alive["both"] == found.alive["only_after"] == 0 < found.alive["only_before"]
    assert found.flips is None and found.mean[1] == 1.0
    assert "paid more now:" in str(found) and "paid less now:" not in str(found)


def test_what_a_reward_does_not_judge_is_counted(run: Run) -> None:
    found = rescore_run(run.path, other(run, "unknown"), yes=True)
    assert found.unjudged == (0, 128) and found.mean == (None, None)


def test_bad_input_is_a_sentence(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RewardError, match="nothing_of_that_name"):
        rescore_run(run.path, other(run, "asks"), yes=True)
    with pytest.raises(RunError, match="holds no run"):
        rescore_run(tmp_path, ["exact:match"])


def test_the_verb(run: Run, tmp_path: Path) -> None:
    words = ["rescore", str(run.path), "--reward", *other(run, "always"), "--yes", "--json"]
    shown = CliRunner().invoke(app, [*words, f"{tmp_path}/found.json"])
    assert shown.exit_code == 0, shown.exception
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["schema"], found["completions"]) == (1, 128)
    assert found["mean"]["after"] == 1.0 and found["unjudged"] == {"before": 0, "after": 0}
    assert found["alive"]["only_after"] == 0 == found["alive"]["both"]
    assert found["more"][0]["after"] == 1.0
    assert shown.stdout.startswith("128 completions in ")


def files_of(run: Run) -> dict[Path, tuple[bytes, int]]:
    files = [path for path in run.path.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_reading_a_run_writes_nothing_into_it(
    run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before, (printing,) = files_of(run), other(run, "prints")
    path = str(run.path)
    verbs = [
        ["show", path], ["show", path, "--unsolved"], ["doctor", path], ["compare", path, path],
        ["rescore", path, "--reward", printing, "--yes"],
        ["inspect", path, "--prompt", "1+1", "--chat"],
    ]  # fmt: skip
    for words in verbs:
        assert CliRunner().invoke(app, words).exit_code in (0, 1), words
    assert files_of(run) == before
    assert "seen" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("pairs", "tau"),
    [
        ([(1, 1), (2, 2), (3, 3)], 1.0),
        ([(1, 3), (2, 2), (3, 1)], -1.0),
        ([(1, 1), (2, 3), (3, 2)], 1 / 3),
        ([(0, 0), (0, 1), (1, 1)], 0.5),  # (1 - 0) / sqrt(2 * 2)
        ([(12, 1), (2, 4), (1, 7), (12, 1), (2, 0)], -0.47140452079103173),  # the example of SciPy
    ],
)
def test_kendalls_tau_b(pairs: list[tuple[float, float]], tau: float) -> None:
    assert kendall(pairs) == pytest.approx(tau)


def test_a_group_that_is_told_apart_only_by_what_is_not_judged_has_no_rank() -> None:
    kept = {"place": "1:0", "prompt": "1?", "completion": "7"}
    found, pairs = Rescored(), _Pairs()
    _take(found, pairs, [{**kept, "reward": float(n == 0)} for n in range(3)], [None, 1.0, 0.0])
    _take(found, pairs, [{**kept, "reward": float("nan")} for n in range(3)], [1.0, 1.0, 0.0])
    _take(found, pairs, [{**kept, "completion": None, "reward": 0.0}], [1.0])
    pairs.close(found)
    assert "paid more now" in str(found)
    assert found.rank is None and found.flips is None and found.unjudged == (3, 1)


def test_rows_that_ask_another_question_now_are_not_scored(tmp_path: Path) -> None:
    lines = [
        json.dumps({"question": f"{a}+{b}", "answer": str(a + b)})
        for a in range(10, 20)
        for b in range(10, 20)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    (tmp_path / "t.yaml").write_text(
        f"name: t\nmodel: {{path: bundled}}\ntask: {{file: {tmp_path}/rows.jsonl, prompt:"
        " '{question}'}\nrewards: [{fn: exact:match, role: correctness}]\nevaluate: {correct:"
        " exact:match, n: 4}\ngrpo: {max_steps: 1, per_device_train_batch_size: 16,"
        " num_generations: 8, max_completion_length: 5}\n"
    )
    made = train_recipe(str(tmp_path / "t.yaml"), [], out=tmp_path / "run", say=lambda _: None)
    rewards = ["exact:match"]
    assert not rescore_run(made.path, rewards, yes=True).more
    wider = [json.dumps({**json.loads(line), "more": 1}) for line in lines]
    (tmp_path / "rows.jsonl").write_text("\n".join(wider))
    assert not rescore_run(made.path, rewards, yes=True).more
    (tmp_path / "rows.jsonl").write_text("\n".join(lines[::-1]))
    with pytest.raises(RunError, match="the data changed since"):
        rescore_run(made.path, rewards, yes=True)


def test_rollouts_without_a_column_are_a_sentence(run: Run, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    for file in (copy / "rollouts").glob("*.parquet"):
        pq.write_table(pq.read_table(file).drop_columns(["group"]), file)
    with pytest.raises(RunError, match="have no column 'group'"):
        rescore_run(copy, ["exact:match"], yes=True)
