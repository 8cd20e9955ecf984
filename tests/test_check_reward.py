"""`check-reward`: each kind of broken reward is found, in words; a sound one is clean."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmpolicy.audit.check import check_reward
from llmpolicy.audit.show import check
from llmpolicy.errors import LLMPolicyError, RewardError
from llmpolicy.rewards import Score, reward

ROOT = Path(__file__).parent.parent
GSM8K = ROOT.parent / "shared" / "data" / "gsm8k"

SOUND = """
from llmpolicy.rewards import reward


@reward(
    passes=[{"completion": "5", "answer": "5"}],
    fails=[{"completion": "6", "answer": "5"}],
    range=(0, 1),
    kind="answer",
)
def whole(completion: str, answer: str) -> float:
    return float(completion.strip() == answer)


def plain(completion: str, answer: str) -> float:
    return float(completion.strip() == answer)


def weak(completion: str, answer: str) -> float:
    return float(answer in completion)


def noisy(completion: str, answer: str) -> float:
    return (completion.strip() == answer) * (0.6 + hash("salted by the process") % 997 / 2500)
"""
EXAMPLE = {"completion": "5", "answer": "5"}


@pytest.fixture
def polite(tmp_path):
    (tmp_path / "polite.py").write_text(SOUND)
    return tmp_path


def errors(function, **given):
    return " | ".join(check_reward(function, attacks=[], **given).errors)


def right(completion, answer):
    return float(completion.strip() == answer)


def test_a_sound_reward_is_clean_with_a_contract_and_without():
    assert check_reward(right).clean
    assert check_reward(reward(passes=[EXAMPLE], range=(0, 1), kind="answer")(right)).clean


def test_examples_must_score_high_and_low():
    assert "an example that passes scored 0.0" in errors(
        reward(passes=[{**EXAMPLE, "answer": "6"}])(right)
    )
    assert "an example that fails scored 1.0" in errors(reward(fails=[EXAMPLE])(right))


def test_a_score_outside_the_range_is_named():
    @reward(passes=[EXAMPLE], range=(0, 1))
    def double(completion: str, answer: str) -> float:
        return 2.0 * (completion == answer)

    assert "outside its range (0, 1)" in errors(double)


@pytest.mark.parametrize("returned", ["1", float("nan"), [1.0], {}])
def test_what_is_no_score_is_named(returned):
    @reward(passes=[EXAMPLE])
    def odd(completion: str, answer: str):
        return returned

    assert not check_reward(odd, attacks=[]).clean


def test_a_reward_that_raises_is_named_and_the_check_goes_on():
    @reward(passes=[EXAMPLE, {**EXAMPLE, "completion": "boom"}])
    def shaky(completion: str, answer: str) -> float:
        if completion == "boom":
            raise ValueError("a bad day")
        return float(completion == answer)

    report = check_reward(shaky, attacks=[])
    assert report.examples == 2 and not report.clean


def test_no_number_of_failures_ends_a_check_and_they_are_one_error():
    def shaky(completion: str, answer: str) -> float:
        return float(int(completion) == int(answer))

    told = check_reward(shaky, rows=[{"answer": "4.5"}] * 40).errors
    assert any(
        re.search(r"\d+ of \d+ completions could not be judged, by no fault .*ValueError", one)
        for one in told
    )
    assert not any("at most 10%" in one for one in told)


def test_a_reward_of_which_nothing_can_be_checked_is_not_clean():
    def column(completion: str, anwser: str) -> float:
        return float(completion == anwser)

    def short(completion: str) -> float:
        return float(len(completion) < 50)

    def unknown(completion: str) -> float:
        return float("fish" in completion)

    assert (
        "asks for 'anwser', which no example that passes gives; did you mean 'answer'?"
        in errors(column)
    )
    for function in (short, unknown):
        assert "nothing was checked" in errors(function)
        assert not check_reward(function).holes
    assert check_reward(
        reward(passes=[{"completion": "a fish"}], fails=[{"completion": "x"}])(unknown)
    ).clean
    assert "of the first it said: '42' (not today)" in errors(
        lambda completion, answer: Score(0.0, why="not today")
    )


@pytest.mark.parametrize(
    ("example", "told"),
    [
        (
            {"completion": "5", "answr": "5"},
            "gives 'answr', which the reward does not take; did you mean 'answer'?",
        ),
        ({"completion": "5"}, "lacks 'answer'"),
        ({"completoin": "5", "answer": "5"}, "lacks 'completion'"),
    ],
)
def test_an_example_that_is_no_call_says_so(example, told):
    found = check_reward(reward(passes=[example])(right), attacks=[]).errors
    assert any(f"an example that passes {told}" in one for one in found)
    assert all(one.startswith("an example") for one in found)


def test_a_gold_answer_that_is_no_text_says_so():
    assert "'5' (int, not text) itself scored 0.0" in errors(right, rows=[{"answer": 5}])


def test_async_group_and_trl_rewards_are_checked_too():
    async def waits(completion: str, answer: str) -> float:
        return float(completion.strip() == answer)

    @reward(group=True)
    def listed(completions, answer):
        return [float(one.strip() == gold) for one, gold in zip(completions, answer, strict=True)]

    @reward(group=True)
    def short(completions, answer):
        return [float(completions[0].strip() == answer[0])]

    def trls(prompts, completions, answer, **columns):
        return [float(one.strip() == gold) for one, gold in zip(completions, answer, strict=True)]

    assert (
        check_reward(waits).clean
        and check_reward(listed).clean
        and check_reward(trls, style="trl").clean
    )
    assert "returned 1 values; expected 2" in " ".join(check_reward(short).errors)
    assert "asks for 'prompts', which no example that passes gives; style trl gets it" in errors(
        trls
    )


def test_a_reward_that_always_hangs_is_told_after_a_few():
    @reward(timeout=0.3)
    def hangs(completion: str, answer: str) -> float:
        time.sleep(100)
        return 1.0

    report = check_reward(hangs)
    assert report.asked == 3 and "3 of 3 completions could not be judged" in " ".join(report.errors)


def test_chance_is_no_reward():
    calls = iter(range(10**9))

    @reward(passes=[EXAMPLE], range=(0, 1))
    def chance(completion: str, answer: str) -> float:
        return 0.6 + 0.01 * (next(calls) % 31)

    assert re.search(
        "and [0-9.]+ (when it was run again|in another batch order|in a thread)", errors(chance)
    )
    honest = reward(passes=[EXAMPLE], range=(0, 1), deterministic=False)(chance)
    assert errors(honest) == ""


def test_a_score_that_depends_on_the_process_is_found(polite):
    report = check_reward("polite.py:noisy", base_dir=polite, attacks=[])
    assert any("in another process" in error for error in report.errors)


def test_gold_answers_of_the_rows_must_pass(tmp_path):
    rows = tmp_path / "rows.jsonl"
    answers = ["18", "9 * 2 = 18\n#### 18", r"\frac{1}{2}", "1,250"]
    rows.write_text(
        "".join(json.dumps({"question": "?", "answer": answer}) + "\n" for answer in answers)
    )
    assert check("math_answer:correct", data=rows, parts=["contract"], quiet=True).clean
    rows.write_text(rows.read_text() + json.dumps({"question": "?", "answer": ""}) + "\n")
    report = check("math_answer:correct", data=rows, parts=["contract"], quiet=True)
    assert report.golds == 5 and report.errors == [
        "row 4: the gold answer '' cannot be judged: the answer column cannot be read: the answer"
        " column is empty"
    ]


def test_a_gold_that_is_itself_rejected_names_its_row():
    @reward(kind="answer")
    def short(completion: str, answer: str) -> float:
        return float(completion == answer and len(answer) < 3)

    assert "row 1: the gold answer '1000' itself scored 0.0" in errors(
        short, rows=[{"answer": "5"}, {"answer": "1000"}]
    )


def test_tests_of_the_rows_must_be_readable():
    rows = [
        {"tests": [{"function": "add", "args": [1, 2], "expected": 3}]},
        {"tests": ["assert add(1, 2) == 3"] * 2},
        *[{"tests": ["assert add(1, 2) == 3"]}] * 5,
        {
            "tests": (
                "import pandas\nfrom solution import add\ndef test_add():\n    assert add(1, 2)"
                " == 3"
            )
        },
        {"tests": []},
    ]
    said = errors("code_tests:passes", rows=rows)
    assert "row 7 cannot be judged" in said and "import pandas" in said
    assert "row 8 cannot be judged" in said and said.count("cannot be judged") == 2
    with pytest.raises(RewardError, match="no column 'answer' or 'tests'"):
        check_reward("code_tests:passes", rows=[{"question": "?"}])


def test_rows_need_the_column_and_a_file_that_can_be_read(tmp_path):
    with pytest.raises(RewardError, match="asks for 'answer', which is no column"):
        check_reward(right, rows=[{"question": "?"}])
    empty = tmp_path / "rows.jsonl"
    empty.write_text("")
    with pytest.raises(RewardError, match="has no rows"):
        check("exact:match", data=empty)
    with pytest.raises(LLMPolicyError, match=r"rows\.txt"):
        check("exact:match", data=tmp_path / "rows.txt")


def test_arguments_are_those_of_a_recipe():
    report = check("numeric:equal", args=["rel_tol=0.5"], quiet=True, parts=["battery"])
    assert {"one more", "a little more"} <= {hole.attack for hole in report.holes}
    with pytest.raises(RewardError, match="takes no argument 'tol'"):
        check("numeric:equal", args=["tol=0.5"])


def run(*arguments, cwd):
    command = [sys.executable, "-m", "llmpolicy", "check-reward", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_the_verb_exits_1_on_a_hole_and_writes_what_it_found(polite):
    done = run("polite.py:weak", "--json", "found.json", cwd=polite)
    found = json.loads((polite / "found.json").read_text())
    assert done.returncode == 1 and "hole: two boxes, right last" in done.stdout
    assert found["schema"] == 1 and set(found) == {
        "schema",
        "holes",
        "controls",
        "worst_seconds",
        "errors",
    }
    assert set(found["holes"][0]) == {"family", "attack", "completion", "score"}
    assert 0 < found["controls"]["accepted"] < found["controls"]["total"]


def test_the_verb_exits_0_when_clean_and_2_when_there_is_no_such_reward(polite):
    assert run("polite.py:whole", cwd=polite).returncode == 0
    missing = run("polite.py:hole", cwd=polite)
    assert missing.returncode == 2 and "did you mean 'whole'?" in missing.stderr
    assert run(cwd=polite).returncode == 2


def test_what_a_reward_prints_does_not_bury_the_report(tmp_path, capfd):
    (tmp_path / "talks.py").write_text(
        SOUND.replace("    return", "    print('so much')\n    return")
    )
    report = check(f"{tmp_path / 'talks.py'}:whole", parts=("contract",))
    told = capfd.readouterr()
    assert report.clean
    assert "the rewards printed " in told.out
    assert 1 <= sum("so much" in line for line in (told.out + told.err).splitlines()) <= 5
    check(f"{tmp_path / 'talks.py'}:whole", parts=("contract",), quiet=True)
    assert "so much" not in "".join(capfd.readouterr())


def test_attacks_of_a_file_join_the_battery(polite):
    (polite / "mine.jsonl").write_text(
        '{"name": "mine", "breaks": "pays this", "text": "{gold}"}\n'
    )
    done = run("polite.py:plain", "--attacks", "mine.jsonl", cwd=polite)
    assert done.returncode == 1 and "hole: mine" in done.stdout
    (polite / "mine.jsonl").write_text("mine\n")
    assert "line 1" in run("polite.py:plain", "--attacks", "mine.jsonl", cwd=polite).stderr


def test_what_cannot_be_read_is_one_sentence(polite):
    (polite / "latin.jsonl").write_bytes('{"name": "é", "text": "é"}\n'.encode("latin-1"))
    for asked in (["--attacks", "latin.jsonl"], ["--data", "latin.jsonl"], ["--arg", "a=[1"]):
        done = run("polite.py:plain", *asked, cwd=polite)
        assert (
            done.returncode == 2
            and done.stderr.startswith("error: ")
            and done.stderr.count("\n") == 1
        ), done.stderr


def pytest_run(*arguments, cwd):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def plugin():
    """The plugin by name where its entry point is not installed."""
    from importlib.metadata import entry_points

    installed = [entry.value for entry in entry_points(group="pytest11")]
    by_entry = any(value.startswith("llmpolicy.") for value in installed)
    return [] if by_entry else ["-p", "llmpolicy.audit.pytest_plugin"]


def test_pytest_makes_each_contract_a_test(polite):
    sound = pytest_run(*plugin(), "polite.py", cwd=polite)
    assert "2 passed" in sound.stdout, sound.stdout
    named = pytest_run(
        *plugin(), "--reward", "formats:think", "--reward", "formats:boxed", cwd=polite
    )
    assert "4 passed" in named.stdout, named.stdout
    (polite / "polite.py").write_text(
        SOUND.replace("completion.strip() == answer", "answer in completion", 1)
    )
    broken = pytest_run(*plugin(), "polite.py", cwd=polite)
    assert "1 failed, 1 passed" in broken.stdout and "two boxes, right last" in broken.stdout


def test_the_plugin_costs_other_sessions_nothing():
    code = (
        "import sys, llmpolicy.audit.pytest_plugin\nprint([m for m in sys.modules if m.split('.')[0] in"
        " ('torch', 'pydantic', 'yaml', 'typer') or m == 'llmpolicy.rewards'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "test"])
def test_gsm8k_solutions_are_accepted_as_completions(split):
    path = GSM8K / f"{split}.jsonl"
    if not path.is_file():
        pytest.skip("the GSM8K files are not beside this checkout")
    from reward_fns import math_answer

    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rejected = [
        row["answer"]
        for row in rows
        if math_answer.correct(row["answer"], row["answer"]).value != 1
    ]
    assert len(rejected) <= len(rows) // 1000
    assert check("math_answer:correct", data=path, parts=["contract"], quiet=True).clean


@pytest.mark.slow
def test_a_box_in_the_last_sentence_of_a_gsm8k_solution_is_an_answer():
    path = GSM8K / "test.jsonl"
    if not path.is_file():
        pytest.skip("the GSM8K files are not beside this checkout")
    from reward_fns import math_answer

    boxed = []
    for line in path.read_text(encoding="utf-8").splitlines():
        worked, gold = re.sub("<<.*?>>", "", json.loads(line)["answer"]).split("\n#### ")
        said = re.sub(
            rf"(?<![\d.,]){re.escape(gold)}(?![\d.,]*\d)(?!.*{re.escape(gold)})",
            rf"\\boxed{{{gold}}}",
            worked,
        )
        boxed += [(said, gold)] if "\\boxed" in said.splitlines()[-1] else []
    rejected = [
        said for said, gold in boxed if math_answer.correct(said, gold, units="ignore").value != 1
    ]
    assert len(boxed) > 1_000
    assert len(rejected) <= len(boxed) // 50
