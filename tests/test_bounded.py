"""Files that somebody else wrote are read in bounded time and memory, or refused in a sentence."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from llmpolicy.bounded import Unreadable, load_json, load_yaml, read_bytes
from llmpolicy.errors import LLMPolicyError, RecipeError, RewardError, RunError
from llmpolicy.recipe import load_recipe
from llmpolicy.run import Run

ROOT = Path(__file__).parent.parent
SECONDS, MEGABYTES = 15.0, 900
"""Of a processor and of memory, for any of the files below, the libraries included."""

MEASURED = """
import json, sys, time
from pathlib import Path
from llmpolicy.errors import LLMPolicyError
from llmpolicy.recipe import load_recipe
from llmpolicy.tasks.sources import file_rows

Path("/proc/self/clear_refs").write_text("5")  # a process begins with the peak of the one that it was forked from
for name in sys.argv[1:]:
    before, path = time.process_time(), Path(name)
    try:
        found = load_recipe(path) if path.suffix == ".yaml" else sum(1 for _ in file_rows(path))
        said = f"read: {found!r:.40}"
    except LLMPolicyError as error:
        said = str(error)
    memory = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
    print(json.dumps([path.name, time.process_time() - before, memory, said]))
"""


def measured(*paths: Path) -> dict[str, str]:
    """What is said of each file, each within its bounds; in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *map(str, paths)], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [
        (name, seconds, memory)
        for name, seconds, memory, _ in results
        if seconds > SECONDS or memory > MEGABYTES
    ] == []
    return {name: answer for name, _, _, answer in results}


NINE = ",".join
LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{NINE(['*' + chr(97 + i)] * 9)}]\n" for i in range(20)
)
MERGED = "a: &a {x: 1}\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} {{<<: [{NINE(['*' + chr(97 + i)] * 9)}]}}\n" for i in range(20)
)
COLLIDING = "\n".join(f"{i * (2**61 - 1)}: 1" for i in range(1, 30_000))
YAML = {
    "laughs": (LAUGHS, "aliases stand for more than"),
    "merged": (MERGED, "aliases stand for more than"),
    "itself": ("a: &a [*a]", "nested without end, in itself by its own alias"),
    "brackets": ("[" * 500_000, "nested more than 64 levels deep"),
    "braces": ("{a: " * 100_000, "nested more than 64 levels deep"),
    "dashes": ("- " * 100_000, "nested more than 64 levels deep"),
    "indented": ("".join(" " * i + "a:\n" for i in range(1000)), "nested more than 64 levels deep"),
    "colliding": (COLLIDING, "29,999 keys that are numbers"),
    "digits": (f"a: {'9' * 100_000}", "is no number of at most 4,000 digits"),
    "hexadecimal": (f"a: 0x{'f' * 1_000_000}", "is no number of at most 4,000 digits"),
    "sixties": (f"a: !!int '1{':1' * 200_000}'", "is no number of at most 4,000 digits"),
    "tagged": ("a: !!timestamp 111", "the tag .* is not read"),
    "surrogate": ('a: "\\ud800"', "half of a surrogate pair"),
    "documents": ("--- a\n" * 10_000, "expected a single document"),
    "text": (f"a: {'x' * 50_000_000}", "unknown key 'a'"),
    "too long": (f"a: {'x' * 2**26}", "67,108,867 bytes, expected at most 67,108,864"),
}


def test_recipes(tmp_path: Path) -> None:
    for name, (text, _) in YAML.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    answers = measured(*(tmp_path / f"{name}.yaml" for name in YAML))
    for name, (_, why) in YAML.items():
        assert re.search(why, answers[f"{name}.yaml"]), answers[f"{name}.yaml"]


ROWS = {
    "deep.jsonl": ('{"question": ' + "[" * 100_000, "nested too deeply"),
    "cell.jsonl": (
        json.dumps({"question": "x" * 50_000_000}),
        "line 1: it has more than 33,554,432 characters",
    ),
    "cell.csv": (
        f"question,answer\n{'x' * 50_000_000},1\n",
        "line 2: it has more than 33,554,432 characters",
    ),
    "quoted.csv": ('question,answer\n"' + "x\n" * 20_000_000, "field larger than field limit"),
    "digits.jsonl": ('{"answer": ' + "9" * 100_000 + "}", "Exceeds the limit"),
}


def test_rows(tmp_path: Path) -> None:
    for name, (text, _) in ROWS.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "zeros.jsonl").touch()
    os.truncate(tmp_path / "zeros.jsonl", 2**40)
    answers = measured(*(tmp_path / name for name in ROWS), tmp_path / "zeros.jsonl")
    assert "line 1: it has more than 33,554,432 characters" in answers["zeros.jsonl"]
    for name, (_, why) in ROWS.items():
        assert why in answers[name], answers[name]


def test_parquet(tmp_path: Path) -> None:
    """A file of some kilobytes whose rows would take hundreds of gigabytes, in each way that the
    format packs them.
    """
    import pyarrow
    import pyarrow.parquet as parquet

    text = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array([0] * 400_000, pyarrow.int32()), ["y" * 1_000_000]
    )
    short = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array([0] * 1_500_000, pyarrow.int32()), ["y" * 1_000]
    )
    turns = pyarrow.StructArray.from_arrays([text], ["content"])
    nested = pyarrow.ListArray.from_arrays(
        pyarrow.array(range(0, 400_001, 10), pyarrow.int32()), turns
    )
    tables = {
        "repeated": {"question": text},
        "nested": {"messages": nested},
        "short": {"question": short},
        "cell": {"question": ["x" * 50_000_000]},
        "plain": {"question": [f"{n} and {n}" for n in range(10_000)], "answer": ["1"] * 10_000},
    }
    for name, columns in tables.items():
        parquet.write_table(
            pyarrow.table(columns), tmp_path / f"{name}.parquet", compression="zstd"
        )
    assert (tmp_path / "repeated.parquet").stat().st_size < 10_000
    answers = measured(*(tmp_path / f"{name}.parquet" for name in tables))
    assert "its texts, of 400,000,000,000 bytes in all" in answers["repeated.parquet"]
    assert "need more memory than is free" in answers["nested.parquet"]
    assert (
        "its texts, of 1,500,000,000 bytes in all" in answers["short.parquet"]
    )  # which some memories hold
    assert "one of its values has more than 33,554,432 characters" in answers["cell.parquet"]
    assert answers["plain.parquet"] == "read: 10000"


def test_pipes_and_devices_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    for path in ("pipe.yaml", "pipe.jsonl", "zero.yaml"):
        with pytest.raises(Unreadable, match="a pipe, a device or a folder"):
            read_bytes(tmp_path / path)
    for path in ("pipe.yaml", "zero.yaml"):
        with pytest.raises(RecipeError):
            load_recipe(tmp_path / path)
    from llmpolicy.audit.show import check, replay

    for door in (
        lambda: check("exact:match", attacks=tmp_path / "pipe.jsonl"),
        lambda: check("exact:match", data=tmp_path / "pipe.jsonl"),
        lambda: replay(f"{tmp_path / 'pipe.jsonl'}:1"),
    ):
        with pytest.raises(LLMPolicyError):
            door()


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"a": ' * 100_000, '{"a": ' + "9" * 100_000 + "}"]
)
def test_what_a_run_holds(tmp_path: Path, content: str) -> None:
    run = Run.create(tmp_path / "run", {"name": "one"})
    run.log(1, {"reward": 1.0})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write(f"{content}\n")
    assert [line["step"] for line in run.metrics("train")] == [1]
    (run.path / "faults.jsonl").write_text(content)
    from llmpolicy.audit.replay import replay

    with pytest.raises(RewardError):
        replay(run.path / "faults.jsonl", 1)
    (run.path / "manifest.json").write_text(content)
    with pytest.raises(RunError, match="cannot be read"):
        Run.open(run.path)


def test_a_pipe_in_a_run_is_not_waited_for(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", {"name": "one"})
    (run.path / "metrics.jsonl").unlink(missing_ok=True)
    os.mkfifo(run.path / "metrics.jsonl")
    assert run.metrics() == []


def test_ordinary_files_are_read_as_before() -> None:
    assert load_yaml("a: &a {x: 1}\nb: *a\nc: !!str 10\nd: 010\ne: 1e-4\nf: yes\n") == {
        "a": {"x": 1}, "b": {"x": 1}, "c": "10", "d": "010", "e": 1e-4, "f": "yes",
    }  # fmt: skip
    assert load_yaml(f"a: {'x' * 2**17}\nb: yes\nc: 010\nd: 1e-4") == {
        "a": "x" * 2**17,
        "b": "yes",
        "c": "010",
        "d": 1e-4,
    }
    assert load_yaml("") is None
    assert load_json('{"a": [1, 2.5, null]}') == {"a": [1, 2.5, None]}
