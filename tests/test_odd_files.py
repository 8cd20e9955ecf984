"""Whatever lies in a run's files, what reads it says a sentence or shows the rest of it."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pages import make_run

from llmpolicy import Run
from llmpolicy.diagnosis import diagnose, evidence_at
from llmpolicy.diagnosis.evidence import number_of
from llmpolicy.errors import RunError
from llmpolicy.report.groups import groups
from llmpolicy.report.page import page_of
from llmpolicy.report.unsolved import unsolved

COLUMNS = ("step", "row", "group", "prompt", "completion", "token_ids", "log_probs", "reward")
ODD: tuple[Any, ...] = (None, "x", 1, float("nan"), ["x"])


def read_by_all(folder: Path) -> None:
    """Each reader of a run says a sentence of its own, or reads it."""
    readers = (
        page_of,
        lambda path: diagnose(evidence_at(path)),
        lambda path: groups(evidence_at(path), step=None, row=None, limit=4),
        lambda path: unsolved(evidence_at(path), limit=4),
    )
    said: list[str] = []
    for reader in readers:
        try:
            reader(folder)
        except RunError as error:
            said.append(str(error))
    assert not any("\n" in sentence for sentence in said)


@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_of_another_type_ends_no_reader(tmp_path: Path, column: str) -> None:
    for number, value in enumerate(ODD):
        run = make_run(tmp_path / str(number))
        for file in run.rollout_files():
            table = pq.read_table(file)
            values = pa.array([value] * len(table))
            place = table.column_names.index(column)
            pq.write_table(table.set_column(place, column, values), file)
        read_by_all(run.path)


def test_rows_without_a_step_are_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    for file in run.rollout_files():
        pq.write_table(pq.read_table(file).drop_columns(["step"]), file)
    assert list(run.rollouts()) == []
    read_by_all(run.path)


@pytest.mark.parametrize("name", ["evaluation.json", "answers.jsonl"])
def test_a_folder_in_the_place_of_a_file_is_a_sentence(tmp_path: Path, name: str) -> None:
    run = make_run(tmp_path / "run")
    (run.path / name).unlink(missing_ok=True)
    (run.path / name).mkdir()
    read_by_all(run.path)


@pytest.mark.parametrize("name", ["step", "reward", "num_tokens"])
def test_an_integer_beyond_every_float_says_nothing(tmp_path: Path, name: str) -> None:
    run = make_run(tmp_path / "run")
    line = {"schema": 1, "mode": "train", "step": 8, "reward": 0.5, name: 10**400}
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    read_by_all(run.path)
    assert all(one["step"] < 10**6 for one in Run.open(run.path).metrics())
    assert number_of(10**400) is None
