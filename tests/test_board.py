"""The board: its arithmetic against known numbers, and two trainers measured by it for real."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch._C import _len_torch_dispatch_stack
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from llmpolicy.board import load_row, problems, read_board, rows, run_row
from llmpolicy.board.matrix_work import MatrixWork
from llmpolicy.board.result import Look, Result
from llmpolicy.board.results import Board, differs, times_less
from llmpolicy.board.stopwatch import Stopwatch
from llmpolicy.board.text import _end, lines, plot_board
from llmpolicy.cli import app
from llmpolicy.errors import RecipeError, RunError
from llmpolicy.policies.causal_lm.fast.products import Packed
from llmpolicy.statistics import student
from tests import models

ROOT = Path(__file__).parent.parent


def result(row: str, seed: int, seconds: float, reached: bool = True) -> Result:
    look = {"step": 1, "completions": 8, "seconds": seconds, "processor_seconds": seconds}
    look |= {"tokens": 10, "accuracy": 0.7 if reached else 0.1}
    facts = {"row": row, "seed": seed, "says": row, "reached": reached}
    return Result.model_validate({**facts, "problem": problems()["sums"], "looks": [look]})


@pytest.mark.parametrize(
    ("degrees", "point"), [(1, 12.7062), (2, 4.3027), (4, 2.7764), (8, 2.3060), (30, 2.0423)]
)
def test_the_points_of_students_t_are_those_of_the_tables(degrees: int, point: float) -> None:
    assert student(degrees) == pytest.approx(point, abs=2e-4)


def test_a_ratio_is_that_of_geometric_means_with_welchs_interval() -> None:
    ours = [result("a", seed, seconds) for seed, seconds in enumerate((1.0, 2.0, 4.0))]
    theirs = [result("b", seed, 8 * seconds) for seed, seconds in enumerate((1.0, 2.0, 4.0))]
    ratio = times_less(ours, theirs)
    assert ratio is not None and ratio.value == pytest.approx(8)
    # equal variances and sizes: Welch's degrees of freedom are 2 (n - 1) = 4
    half = 2.7764 * math.sqrt(2 * math.log(2) ** 2 / 3)
    assert ratio.low == pytest.approx(8 * math.exp(-half), rel=1e-3)
    assert ratio.high == pytest.approx(8 * math.exp(half), rel=1e-3)
    assert differs(ratio)
    assert times_less(ours, [result("b", 0, 0.0), result("b", 1, 1.0)]) is None
    assert times_less(ours, theirs[:1]) is None
    same = times_less(ours, ours)
    assert same is not None and not differs(same)


def test_what_never_came_is_never_and_is_not_compared() -> None:
    found = [result("trl", 0, 10), result("trl", 1, 12), result("ours", 0, 1)]
    board = Board([*found, result("ours", 1, 300, reached=False)])
    (target,) = board.to_dict()["targets"]
    trl, ours = target["rows"]  # all seeds before some
    assert (trl["name"], trl["reached"], ours["reached"]) == ("trl", 2, 1)
    assert ours["seconds"] == {"median": None, "low": 1.0, "high": None}
    assert ours["sooner"] is None
    text = "\n".join(lines(board))
    assert "never (1.0 to never)" in text and "not to be compared" in text


def test_tokens_of_groups_that_were_replaced_are_counted_too() -> None:
    watch = Stopwatch(problems()["sums"], lambda model: 0.0, [look_at(0)])
    args: Any = SimpleNamespace(per_device_train_batch_size=8, gradient_accumulation_steps=1)
    control: Any = SimpleNamespace()
    watch.on_log(args, state(2), control, {"completions/mean_length": 3.0})
    assert watch.tokens == 2 * 8 * 3
    logs = {"completions/mean_length": 3.0, "sampling/tokens": 40.0}
    watch.on_log(args, state(3), control, logs)
    assert watch.tokens == 2 * 8 * 3 + 40


def state(step: int) -> Any:
    return SimpleNamespace(global_step=step)


def look_at(step: int) -> Look:
    spent = {"seconds": 0.0, "processor_seconds": 0.0, "tokens": 0, "accuracy": 0.0}
    return Look.model_validate({"step": step, "completions": 0, **spent})


def test_shipped_rows_and_problems_can_be_read() -> None:
    for name in rows():
        row = load_row(name)
        assert row.name == name
        for problem in row.problems:
            assert row.settings_of(problem) is not None
    assert load_row(str(ROOT / "scripts" / "board" / "unsloth.yaml")).python is not None
    for problem in problems().values():
        assert (ROOT / "recipes" / f"{problem.recipe}.yaml").is_file()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x\nsays: y\ntrainer: a:b\nproblem: {}\n", "unknown key 'problem'; did you mean"),
        ("name: x\nsays: y\ntrainer: a:b\n", "problems: Field required"),
        ("name: x\nsays: y\ntrainer: a:b\nproblems: {sum: {}}\n", "did you mean 'sums'?"),
        ("name: ../x\nsays: y\ntrainer: a:b\nproblems: {sums: {}}\n", "name: "),
        ("- 1\n", "holds no mapping"),
        ("a: [\n", "not valid YAML"),
    ],
)
def test_a_row_that_cannot_be_read_is_refused_in_words(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "row.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=said.replace("?", r"\?")):
        load_row(str(path))
    with pytest.raises(RecipeError, match="no row 'tlr'; did you mean 'trl'"):
        load_row("tlr")


def test_results_that_cannot_be_read_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no results of the board"):
        read_board(tmp_path)
    damaged = tmp_path / "sums" / "trl" / "0.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text('{"looks": []}')
    with pytest.raises(RunError, match=r"0.json is no result of the board: row: Field required"):
        read_board(tmp_path)
    told = CliRunner().invoke(app, ["board", "show", str(tmp_path)])
    assert told.exit_code != 0 and isinstance(told.exception, RunError)


def test_a_trainer_that_ends_without_a_result_says_where_its_words_are(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def train(task):\n    raise ValueError('no luck')\n")
    row = tmp_path / "mine.yaml"
    row.write_text("name: mine\nsays: mine\ntrainer: mine.py:train\nproblems: {sums: {}}\n")
    with pytest.raises(RunError, match=r"exit code 1 and no result \(ValueError: no luck\)"):
        run_row(load_row(str(row)), str(row), tmp_path, problems=["sums"], seeds=[0], say=print)


@pytest.mark.slow
def test_two_trainers_are_measured_from_the_same_base(tmp_path: Path) -> None:
    trained: dict[str, Any] = {}
    for name, settings in (
        ("recipe", {"changes": ["grpo.max_steps=6"]}),
        ("stock_trl", {"grpo": {"max_steps": 6}}),
    ):
        data = {"name": name, "says": name, "trainer": f"llmpolicy.board.trainers:{name}"}
        path = tmp_path / f"{name}.yaml"
        path.write_text(json.dumps({**data, "settings": settings, "problems": {"sums": {}}}))
        row, said = load_row(str(path)), list[str]()
        for _ in range(2):
            run_row(row, str(path), tmp_path, problems=["sums"], seeds=[3], say=said.append)
        assert "not reached: " in said[0] and said[1].endswith("is there")
        trained[name] = json.loads((tmp_path / "sums" / name / "3.json").read_text())
    looks = [each["looks"] for each in trained.values()]
    assert [[look["step"] for look in each] for each in looks] == [[0, 5]] * 2
    assert looks[0][0]["accuracy"] == looks[1][0]["accuracy"] > 0.3
    for each in looks:
        assert each[1]["processor_seconds"] > 0 and 0 < each[1]["seconds"] < 120
        assert 2.5 < each[1]["tokens"] / each[1]["completions"] <= 5
    assert {"torch", "trl"} <= set(trained["recipe"]["versions"])
    told = CliRunner().invoke(app, ["board", "show", str(tmp_path), "--json", f"{tmp_path}/b.json"])
    assert told.exit_code == 0 and "never" in told.output
    (target,) = json.loads((tmp_path / "b.json").read_text())["targets"]
    assert {row["name"] for row in target["rows"]} == set(trained)


def test_matrix_work_is_what_torch_counts() -> None:
    model = models.model()
    ids = torch.arange(24).reshape(2, 12)
    with MatrixWork() as ours, sdpa_kernel(SDPBackend.MATH):
        model(input_ids=ids, labels=ids).loss.backward()
    with FlopCounterMode(display=False) as torchs, sdpa_kernel(SDPBackend.MATH):
        model(input_ids=ids, labels=ids).loss.backward()
    assert ours.flops == torchs.get_total_flops() > 0
    with MatrixWork() as fused:
        model(input_ids=ids, labels=ids).loss.backward()
    # scores are computed once more in a backward that has not kept them
    heads, size = model.config.num_attention_heads, model.config.head_dim
    again = 2 * 2 * heads * 12 * 12 * size * model.config.num_hidden_layers
    assert fused.flops - ours.flops == again


@torch.inference_mode()
def test_matrix_work_sees_products_of_packed_weights() -> None:
    layer, x = nn.Linear(24, 40), torch.randn(7, 24)
    for product in (layer, Packed(layer), Packed(layer).silu):
        with MatrixWork() as work:
            product(x)
        assert work.flops == 2 * 7 * 24 * 40


def test_the_clock_stands_while_matrix_work_is_counted() -> None:
    problem = problems()["sums"].model_copy(update={"most": 8, "look": 8})
    watch, control = Stopwatch(problem, lambda model: 0.0), SimpleNamespace(should_log=False)
    args: Any = SimpleNamespace(per_device_train_batch_size=8, gradient_accumulation_steps=1)
    told: Any = control
    watch.on_train_begin(args, state(0), told)
    watch.on_log(args, state(1), told, {"completions/mean_length": 3.0})
    seconds = watch.looks[-1].seconds
    torch.ones(2, 3) @ torch.ones(3, 4)
    watch.on_step_end(args, state(2), told)
    torch.ones(2, 3) @ torch.ones(3, 4)
    watch.on_log(args, state(2), told, {"completions/mean_length": 3.0})
    assert watch.flops_a_step == 2 * 2 * 3 * 4
    assert told.should_training_stop and watch.spent.seconds == seconds
    assert len(watch.looks) == 2 and watch.tokens == 24


def test_the_page_shows_the_results_that_are_kept() -> None:
    page = (ROOT / "docs" / "board.md").read_text(encoding="utf-8")
    for line in lines(read_board(ROOT / "receipts" / "board")):
        assert line in page.splitlines()


def test_the_plot_ends_where_the_target_was_last_seen(tmp_path: Path) -> None:
    results = [result("trl", 0, 8.0), result("late", 0, 99.0, reached=False)]
    plot_board(Board(results), tmp_path / "board.svg")
    drawn = (tmp_path / "board.svg").read_text()
    assert "trl" in drawn and "late" in drawn
    assert _end(Board(results).standings["sums"]) == pytest.approx(8.8)


def test_what_comes_after_the_training_is_no_step_of_it() -> None:
    problem = problems()["sums"].model_copy(update={"most": 8, "look": 8})
    watch, told = Stopwatch(problem, lambda model: 0.0), SimpleNamespace(should_log=False)
    args: Any = SimpleNamespace(per_device_train_batch_size=8, gradient_accumulation_steps=1)
    control: Any = told
    watch.on_train_begin(args, state(0), control)
    watch.on_log(args, state(1), control, {"completions/mean_length": 3.0})
    assert _len_torch_dispatch_stack() == 1
    watch.on_train_end(args, state(1), control)
    assert _len_torch_dispatch_stack() == 0 and watch.flops_a_step is None
