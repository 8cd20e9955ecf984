"""What is printed, wherever it comes from, has no sign that moves the cursor, hides, turns round or
ends what a reader sees.
"""

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from llmpolicy.evaluation import evaluate, table
from llmpolicy.rewards.printed import Printed
from llmpolicy.run import Run
from llmpolicy.terminal import shown, visible

ROOT = Path(__file__).parent.parent
HOSTILE = (
    "\x1b[2J\x1b]0;title\x07\x1b]8;;http://theirs\x1b\\click\x9b31m\x9d0;t\x9c\rover\b\b\x7f\u202e\u2066drow\u200b\u2028"
    "\U000e0041\U000e0101\ufe01\u3164\ud800\x00\x0c\x85"
)


def signs(text: str) -> set[str]:
    """What in a text would not show."""
    odd = {
        sign for sign in text if unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    } - {"\n", "\t"}
    return odd | {
        sign
        for sign in text
        if "\ufe00" <= sign <= "\ufe0e" or "\U000e0000" <= sign <= "\U000e0fff"
    }


@given(st.text(st.characters(exclude_categories=[])))
def test_every_text_is_shown_whole_and_plain(text: str) -> None:
    assert signs(shown(text)) == signs(visible(text)) == set()
    assert "\n" not in visible(text)
    assert shown(shown(text)) == shown(text)


@pytest.mark.parametrize(
    "text",
    [
        "two\nlines\tand a tab",
        "Größe – 10 %",
        "数学の答えは、四です。",
        "مرحبا",
        "❤️ 👍🏽",
        "a\u00a0b\u3000c",
        "C:\\new\\x1b",
        "é́",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert shown(text) == text


def test_signs_are_spelled_out() -> None:
    assert visible("\x1b[31m\x9b\u202e\U000e0041\r\n") == r"\x1b[31m\x9b\u202e\U000e0041\r\n"


def told(folder: Path, *words: str, code: int = 0) -> str:
    """All that a command prints, to a pipe."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-P", *words], cwd=folder, env=environment, capture_output=True
    )
    assert done.returncode == code, done.stderr.decode(errors="replace")[-1000:]
    return (done.stdout + done.stderr).decode()


REWARD = """
import sys, warnings
from llmpolicy import reward, Score

@reward(passes=[{{"completion": "yes", "answer": "yes"}}], fails=[{{"completion": "no {hostile}", "answer": "yes"}}])
def pay(completion, answer):
    print({hostile!a}, file=sys.stderr)
    sys.stderr.buffer.write(b"\\x9b2J\\xff\\x1b[2J\\n")
    if completion.startswith("boom"):
        raise ValueError({hostile!a})
    return Score(1.0 if completion == answer else 0.5, why={hostile!a})
"""
MODULE = ["-m", "llmpolicy"]


def test_a_check_of_a_reward(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(REWARD.format(hostile=ascii(HOSTILE)[1:-1]))
    rows = [{"answer": f"a{HOSTILE}".replace("\ud800", "")}, {"answer": "4"}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    attacks = [
        {"name": f"mine {HOSTILE} [/b]", "breaks": HOSTILE, "text": f"boom{HOSTILE}"},
        {"name": "x", "text": f"[red]{HOSTILE}"},
    ]
    (tmp_path / "attacks.jsonl").write_text("\n".join(map(json.dumps, attacks)))
    words = ["check-reward", "mine.py:pay", "--data", "rows.jsonl", "--attacks", "attacks.jsonl"]
    text = told(tmp_path, *MODULE, *words, code=1)
    assert signs(text) == set()
    assert "[/b]" in text and r"\x1b[2J" in text


def test_recipes_and_errors(tmp_path: Path) -> None:
    plain = HOSTILE.replace("\ud800", "").replace("\x00", "").replace("/", "")
    data = {
        "name": f"mine {plain}".replace("\\", ""), "model": "bundled",
        "task": {"rows": [{"question": f"{a}+1 {plain}", "answer": str(a + 1)} for a in range(8)], "prompt": "{question}"},
        "rewards": [{"fn": "exact:match", "name": f"n{plain}[/x]"}], "grpo": {"num_generations": 4, "max_steps": 1},
    }  # fmt: skip
    file = tmp_path / f"a{plain}.yaml"
    file.write_text(yaml.safe_dump(data))
    assert signs(told(tmp_path, *MODULE, "explain", str(file))) == set()
    assert (
        signs(told(tmp_path, *MODULE, "explain", str(file), "grpo.max_steps=none", code=2)) == set()
    )
    assert signs(told(tmp_path, *MODULE, "explain", f"no{plain}", code=2)) == set()
    file.write_text(yaml.safe_dump({**data, plain: 1}))
    assert signs(told(tmp_path, *MODULE, "explain", str(file), code=2)) == set()


ENDS = """
import logging, sys, warnings
sys.argv = ["llmpolicy", "fail"]
from llmpolicy import cli
hostile = {hostile!a}

@cli.app.command()
def fail():
    warnings.warn(hostile)
    logging.getLogger("llmpolicy").warning("found %s", hostile)
    logging.getLogger("some.library").error(hostile)
    raise ValueError(hostile)

cli.run()
"""


def test_warnings_logs_and_tracebacks(tmp_path: Path) -> None:
    text = told(tmp_path, "-c", ENDS.format(hostile=HOSTILE), code=1)
    assert signs(text) == set()
    assert text.count(r"\x1b[2J") == 4


def test_what_rewards_print_where_no_run_keeps_it(capfd: pytest.CaptureFixture[str]) -> None:
    Printed().take(f"one {HOSTILE}\ntwo\n".encode("utf-8", "surrogatepass"))
    text = capfd.readouterr().err
    assert signs(text) == set()
    assert text.endswith("\ntwo\n")


def run_of(folder: Path) -> Run:
    """A run that somebody has sent."""
    run = Run.create(folder / "run", {"name": f"$\\frac{HOSTILE[:-4]}", "grpo": {"max_steps": 2}})
    for step in (1, 2):
        parts = {f"rewards/{name}/mean": 0.5 for name in (r"$\frac", "b\x1b[2J<b>", "c")}
        run.log(
            step, {"reward": 0.5, "completions/mean_length": 2.0, "advantages/live": 1.0, **parts}
        )
    run.finish("finished")
    manifest = json.loads((run.path / "manifest.json").read_text())
    (run.path / "manifest.json").write_text(
        json.dumps({**manifest, "status": f"<img src=x>{HOSTILE}"})
    )
    return Run.open(run.path)


def test_a_run_in_a_notebook(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    assert signs(repr(run)) == signs(run._repr_html_()) == set()
    assert "<img src=x>" not in run._repr_html_()


def test_labels_of_a_plot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No label is read as mathematics, and a matplotlibrc where the user is changes nothing."""
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    from llmpolicy.report.plot import plot_run

    labels: list[str] = []

    def save(figure: Figure, path: Path, **options: Any) -> None:
        labels.extend(text.get_text() for text in figure.findobj(Text))
        monkeypatch.undo()
        figure.savefig(path, **options)

    monkeypatch.setattr(Figure, "savefig", save)
    with plt.rc_context({"font.size": 3, "axes.grid": True}):
        assert plot_run(run_of(tmp_path)).stat().st_size > 10_000
    assert [label for label in labels if signs(label)] == []
    assert any(label.startswith("$\\frac") for label in labels)


def test_names_in_a_table_are_no_marks() -> None:
    from tests.test_evaluation import CORRECT, random_table, rewards, rows

    def long(completion: str) -> float:
        return float(len(completion))

    def short(completion: str) -> float:
        return -float(len(completion))

    long.__name__, short.__name__ = "[/x]", "[red]y"
    evaluation = evaluate(random_table(3, 1), rows("012"), CORRECT, rewards=rewards(long, short))
    assert "[/x]" in table(evaluation) and "[red]y" in table(evaluation)
