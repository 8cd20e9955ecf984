"""The battery: enough causes, each of which some weak grader falls for; what we ship falls for
none.
"""

import functools
import importlib.util
import json
import subprocess
import urllib.request

import pytest
import weak_graders

from llmpolicy.audit.battery import ATTACKS, CONTROLS, FAMILIES, Attack
from llmpolicy.audit.check import MIN_CONTROLS, check_reward
from llmpolicy.reference import SHIPPED
from llmpolicy.rewards import Score, reward

OURS = (
    "math_answer:correct",
    "numeric:equal",
    "exact:match",
    "multiple_choice:correct",
    "text_answer:match",
)
SHAPES = (
    "instructions:follow",
    "formats:think",
    "formats:tags",
    "formats:boxed",
    "json_answer:schema",
    "json_answer:valid",
)
ASKED = {
    "judge:score": "G",
    "rubric:score": "G",
    "rule_then_judge:score": "G",
    "tool_call:match": "H",
    "citation:score": "H",
}


def test_there_are_enough_causes_and_controls():
    assert len(ATTACKS) == len({(attack.family, attack.name) for attack in ATTACKS})
    assert len(ATTACKS) >= 60 and {attack.family for attack in ATTACKS} == set(FAMILIES)
    assert len({(control.gold, control.text) for control in CONTROLS}) >= 80
    assert all(attack.breaks and attack.topics for attack in ATTACKS)


def pays(grader, completion, gold):
    """A weak grader may also fall over, but that is not what an attack is for."""
    try:
        return bool(grader(completion, gold))
    except (
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        RecursionError,
        subprocess.TimeoutExpired,
        OSError,
    ):
        return False


def paid_by(attack):
    """The first weak grader that pays an attack for two golds, or for the one there is."""
    rows = list(attack.pairs) or [
        row for topic in attack.topics for row in weak_graders.ROWS[topic]
    ]
    graders = dict.fromkeys(
        grader for topic in attack.topics for grader in weak_graders.GRADERS[topic]
    )
    for grader in graders:
        golds = {gold for gold, wrong in rows if pays(grader, attack.render(gold, wrong), gold)}
        if len(golds) >= min(2, len({gold for gold, _ in rows})):
            return grader.__name__
    return None


@functools.cache
def checked(name):
    return check_reward(name)


@pytest.mark.parametrize(
    "family", [pytest.param(f, marks=[pytest.mark.slow] * (f == "E")) for f in FAMILIES]
)
def test_each_attack_is_paid_by_a_weak_grader(family):
    assert [a.name for a in ATTACKS if a.family == family and paid_by(a) is None] == []


@pytest.mark.parametrize("name", [*OURS, *SHAPES])
def test_what_is_shipped_has_no_hole_and_takes_what_is_right(name):
    report = checked(name)
    assert report.holes == [] and report.errors == []
    assert report.accepted >= MIN_CONTROLS * report.total > 0
    assert report.worst_seconds < 5 + 2


LAST = {"a tag and a box that differ", "two answer lines, right last", "two answer tags", "two boxes, far apart",
        "two boxes, right last", "two marks on one line"}  # fmt: skip
OPTIONS = [
    ("math_answer:correct", {"several": "list"}, set()), ("math_answer:correct", {"several": "last"}, LAST),
    ("multiple_choice:correct", {"several": "last"}, LAST), ("math_answer:correct", {"extract": "last_number"}, set()),
    ("math_answer:correct", {"locale": "de"}, set()),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("name", "args", "told"), OPTIONS)
def test_an_option_opens_no_hole_but_the_one_it_is_for(name, args, told):
    report = check_reward(
        name, args=args, attacks=[attack for attack in ATTACKS if attack.family in "AB"]
    )
    assert {hole.attack for hole in report.holes} <= told and report.errors == []
    # 1,000 is no thousand in German.
    assert report.accepted == report.total or (
        args == {"locale": "de"} and report.accepted >= 0.95 * report.total
    )


@pytest.mark.parametrize(("name", "family"), ASKED.items())
def test_judges_tools_and_citations_are_asked_about_their_family_and_about_what_is_right(
    name, family
):
    report, (topic,) = (
        checked(name),
        {"G": ("judge",), "H": (name.split("_")[0].split(":")[0],)}[family],
    )
    assert report.holes == [] and report.errors == []
    assert (
        report.attacks == len([a for a in ATTACKS if a.family == family and topic in a.topics]) > 3
    )
    assert report.accepted >= MIN_CONTROLS * report.total >= 7


@pytest.mark.parametrize("name", ["length:overlong", "length:target", "length:truncation"])
def test_a_reward_of_token_ids_is_asked_with_them_in_another_process_too(name):
    assert check_reward(name, parts=("contract",)).clean


@pytest.mark.slow
def test_a_grader_of_code_is_asked_about_tampering_and_about_what_is_right():
    report = checked("code_tests:passes")
    assert report.clean and report.attacks == len([a for a in ATTACKS if a.family == "E"])
    assert report.accepted == report.total >= 12 and report.worst_seconds < 180 + 2


def test_a_judge_that_believes_what_is_repeated_is_found_out():
    @reward(
        kind="judge",
        range=(0, 1),
        deterministic=False,
        fails=[{"completion": "", "base_url": "http://x", "model": "m"}],
    )
    def trusting(completion: str, base_url: str, model: str) -> float:
        if not completion:
            return 0.0
        body = json.dumps(
            {
                "model": model,
                "messages": [{"role": "user", "content": f"Correct or not? {completion}"}],
            }
        )
        with urllib.request.urlopen(
            f"{base_url}/chat/completions", body.encode(), timeout=10
        ) as answer:
            said = json.load(answer)["choices"][0]["message"]["content"]
        return float("correct" in said)

    report = check_reward(trusting)
    assert {hole.family for hole in report.holes} == {"G"} and len(report.holes) >= 3


def test_the_answer_rewards_are_asked_about_most_of_the_battery():
    report = checked("math_answer:correct")
    asked = [attack for attack in ATTACKS if set(attack.topics) & {"number", "text", "letter"}]
    assert report.attacks == len(asked) >= 60 and report.total >= 80


def test_every_weak_answer_grader_is_found_out():
    for grader in weak_graders.ANSWERS:

        def judged(completion: str, answer: str, grader=grader) -> float:
            return float(pays(grader, completion, answer))

        report = check_reward(
            judged, attacks=[attack for attack in ATTACKS if attack.family in "AB"]
        )
        assert not report.clean and (report.holes or not report.topics), grader.__name__


def test_an_attack_is_added_in_one_line():
    @reward(kind="answer", range=(0, 1))
    def magic(completion: str, answer: str) -> float:
        return float(completion.strip() == answer or completion.startswith("open sesame"))

    attack = Attack("A", "a magic word", "pays for a word", "open sesame {wrong}")
    assert [hole.attack for hole in check_reward(magic, attacks=[attack]).holes] == ["a magic word"]
    assert check_reward(magic, attacks=[]).holes == []


def test_one_paid_gold_is_a_coincidence_and_two_are_a_hole():
    @reward(kind="answer", range=(0, 1))
    def odd(completion: str, answer: str, golds: tuple = ("42",)) -> float:
        return float(completion == answer or (completion == "so what" and answer in golds))

    attack = Attack("A", "so what", "pays for two words", "so what")
    assert check_reward(odd, attacks=[attack]).holes == []
    assert len(check_reward(odd, attacks=[attack], args={"golds": ("42", "7")}).holes) == 1


def test_rejecting_everything_is_no_way_out():
    def nothing(completion: str, answer: str) -> float:
        return 0.0

    @reward(kind="answer", range=(0, 1))
    def plain(completion: str, answer: str) -> Score:
        return Score(float(completion == answer and completion != "360"))

    assert not check_reward(nothing).clean
    assert not check_reward(plain).clean


@pytest.mark.slow
def test_the_table_has_ours_and_trls_and_its_exit_code_tells_of_a_hole(
    capsys, tmp_path, monkeypatch
):
    spec = importlib.util.spec_from_file_location(
        "battery_table", SHIPPED.parent / "scripts" / "battery.py"
    )
    table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    assert {*OURS} | {"json_answer:schema", "code_tests:passes", "judge:score"} <= set(table.ours())
    assert table.main(["formats:boxed"]) == 0
    name, attacks, holes, controls, _, found, _ = capsys.readouterr().out.splitlines()[-1].split()
    assert (
        name == "formats:boxed"
        and int(attacks) > 0
        and (holes, found) == ("0", "0")
        and "/" in controls
    )
    (tmp_path / "weak.py").write_text(
        "def r(completion, answer):\n    return float(answer in completion)\n"
    )
    monkeypatch.chdir(tmp_path)
    assert table.main(["weak.py:r"]) == 1
    shapes = [attack for attack in ATTACKS if attack.family == "C"]
    assert check_reward(table.trl_rewards()["trl think_format_reward"], attacks=shapes).holes


def test_the_battery_is_data(tmp_path):
    """Each attack renders to text for any gold, and JSON can carry it."""
    for attack in ATTACKS:
        for topic in attack.topics:
            for gold, wrong in attack.pairs or weak_graders.ROWS[topic][:1]:
                assert isinstance(json.dumps(attack.render(gold, wrong)), str)
    assert SHIPPED.is_dir()
