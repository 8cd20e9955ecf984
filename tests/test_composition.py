"""The laws of a composed reward: right above wrong, nothing for nothing, rows apart from each
other, sums as ever.
"""

import itertools
import os
import random
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from llmpolicy.errors import RecipeError, RewardError
from llmpolicy.recipe import RewardBlock
from llmpolicy.rewards import Rewards, RewardSpec, RowScore, Sample, Score, reward
from llmpolicy.rewards.compose import Composition, formula, sentences
from llmpolicy.rewards.compose.entries import CHOICES, KEYS
from llmpolicy.rewards.compose.interval import ANYTHING, Interval
from llmpolicy.rewards.compose.tree import Node, Role, Term
from llmpolicy.types import Judged

Values = Mapping[str, float | None]


def read(values: Values, key: str) -> float | None:
    """A reward that says what the row tells it to say."""
    return values[key]


def leaf(key: str, **more: Any) -> dict[str, Any]:
    return {"fn": read, "args": {"key": key}, "name": key, **more}


def score(
    entries: Sequence[Any], rows: Sequence[Values], group_size: int | None = None, **how: Any
) -> list[RowScore]:
    samples = [Sample("", {"values": row}, row=i) for i, row in enumerate(rows)]
    return Rewards(entries, **{"allow_inversion": True, **how}).score(samples, group_size)


def values(
    entries: Sequence[Any], rows: Sequence[Values], group_size: int | None = None, **how: Any
) -> list[float | None]:
    return [row.value for row in score(entries, rows, group_size, **how)]


CORRECT = leaf("c", role="correctness", clip=[0, 1])
numbers = st.floats(-5, 5).map(lambda x: round(x, 3))
clips = st.tuples(numbers, st.floats(0.1, 3).map(lambda x: round(x, 3))).map(
    lambda two: [two[0], two[0] + two[1]]
)
weights = st.floats(0.1, 3).map(lambda x: round(x, 2))


@st.composite
def shaping(draw: Any, number: int, relative: bool = True) -> dict[str, Any]:
    """A term of one to three rewards, all with a finite range."""
    kind = draw(st.sampled_from(["fn", "fn", "min", "product", "sum"]))
    leaves = [
        leaf(f"s{number}{i}", clip=draw(clips))
        for i in range(1 if kind == "fn" else draw(st.integers(2, 3)))
    ]
    term = leaves[0] if kind == "fn" else {kind: leaves, "name": f"t{number}"}
    if kind != "fn" and draw(st.booleans()):
        term["clip"] = draw(clips)
    if kind == "sum":
        leaves[0]["weight"] = draw(weights) * draw(st.sampled_from([-1, 1]))
    if draw(st.booleans()):
        term["when"] = "correct"
    if relative and draw(st.booleans()):
        term["relative"] = "group"
    return {**term, "weight": draw(weights) * draw(st.sampled_from([-1, 1]))}


@st.composite
def rewards(draw: Any, relative: bool = True) -> list[dict[str, Any]]:
    """A gate, a correctness part, and up to two terms of shaping, in any order."""
    low, high = draw(clips)
    part = leaf(
        "c",
        role="correctness",
        clip=[low, high],
        weight=draw(st.floats(0.1, 20).map(lambda x: round(x, 2))),
    )
    terms = [draw(shaping(i, relative)) for i in range(draw(st.integers(0, 2)))]
    gates = [leaf("g", role="gate")] if draw(st.booleans()) else []
    return list(draw(st.permutations([part, *terms, *gates])))


def leaves(entries: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """The range of each reward of the entries."""
    found = {}
    for entry in entries:
        inner = entry.get("min") or entry.get("product") or entry.get("sum")
        found |= leaves(inner) if inner else {entry["name"]: entry.get("clip", [0, 1])}
    return found


def rows_of(
    entries: Sequence[Mapping[str, Any]], right: bool | None, **fixed: Any
) -> st.SearchStrategy[dict[str, float]]:
    """Rows with any values, some outside of their ranges; the answer right, wrong, or anything; the
    gates open.
    """
    ranges = leaves(entries)
    columns: dict[str, st.SearchStrategy[Any]] = {
        name: st.one_of(numbers, st.sampled_from(ends)) for name, ends in ranges.items()
    }
    columns |= {"g": st.just(1.0)} if "g" in ranges else {}
    columns |= {} if right is None else {"c": st.just(ranges["c"][1 if right else 0])}
    return st.fixed_dictionaries(columns)


def accepted(entries: Sequence[Any]) -> bool:
    try:
        return bool(Rewards(entries))
    except RecipeError as error:
        if "a wrong answer can reach a right one" in str(error):
            return False
        raise


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_what_is_accepted_pays_no_wrong_answer_as_much_as_a_right_one(data: Any) -> None:
    entries = data.draw(rewards())
    assume(accepted(entries))
    wrong, right = data.draw(rows_of(entries, right=False)), data.draw(rows_of(entries, right=True))
    rows = (
        [wrong, right]
        if data.draw(st.booleans())
        else [wrong, data.draw(rows_of(entries, None)), right, wrong]
    )
    paid = values(entries, rows, len(rows) if data.draw(st.booleans()) else 1)
    assert paid[0] < paid[1 if len(rows) == 2 else 2]  # type: ignore[operator]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_what_is_refused_has_a_wrong_answer_that_reaches_a_right_one(data: Any) -> None:
    entries = [
        (
            {**entry, "weight": 0.05}
            if entry["name"] == "c"
            else {k: v for k, v in entry.items() if k != "when"}
        )
        for entry in data.draw(rewards(relative=False))
    ]
    assume(not accepted(entries))
    ranges = leaves(entries) | ({"g": [1.0]} if "g" in leaves(entries) else {})
    corners = [dict(zip(ranges, ends, strict=True)) for ends in itertools.product(*ranges.values())]
    paid = values(entries, corners)
    low, high = ranges["c"]
    best_wrong = max(
        x for x, row in zip(paid, corners, strict=True) if row["c"] == low and x is not None
    )
    worst_right = min(
        x for x, row in zip(paid, corners, strict=True) if row["c"] == high and x is not None
    )
    assert best_wrong >= worst_right - 1e-4 * max(1, abs(best_wrong))


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_partial_credit_that_is_better_by_more_than_all_shaping_wins(data: Any) -> None:
    entries = data.draw(rewards(relative=False))
    assume(accepted(entries))
    rows = data.draw(st.lists(rows_of(entries, None), min_size=2, max_size=4))
    low, high = leaves(entries)["c"]
    reach = Rewards(entries).composition
    free = sum(
        abs(t.weight) * t.node.range.spread
        for t in reach.terms
        if t.role == "shaping" and not t.when_correct
    )
    weight = next(term.weight for term in reach.terms if term.role == "correctness")
    credit = [min(max(row["c"], low), high) for row in rows]
    paid = values(entries, rows)
    for i, j in itertools.permutations(range(len(rows)), 2):
        if weight * (credit[i] - credit[j]) > free + 1e-6:
            assert paid[i] > paid[j]  # type: ignore[operator]


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_nothing_is_paid_less_than_a_closed_gate(data: Any) -> None:
    entries = [entry for entry in data.draw(rewards()) if entry["name"] != "g"] + [
        leaf("g", role="gate")
    ]
    rows = data.draw(st.lists(rows_of(entries, None), min_size=1, max_size=4))
    closed = values(
        entries,
        [{**row, "g": data.draw(st.sampled_from([0.0, 0.99, -1.0]))} for row in rows],
        len(rows),
    )
    opened = values(entries, rows, len(rows))
    assert len(set(closed)) == 1
    assert all(x >= closed[0] - 1e-9 for x in opened)  # type: ignore[operator]


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_a_row_is_paid_the_same_in_any_company(data: Any) -> None:
    """But for what is declared relative to the group; and the same again, for the same rows."""
    entries = data.draw(rewards(relative=False))
    rows = data.draw(st.lists(rows_of(entries, None), min_size=1, max_size=5))
    alone = [values(entries, [row])[0] for row in rows]
    assert values(entries, rows) == values(entries, rows) == alone
    assert values(entries, rows[::-1])[::-1] == alone


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_a_group_does_not_change_what_another_group_is_paid(data: Any) -> None:
    entries = data.draw(rewards())
    groups = data.draw(
        st.lists(st.lists(rows_of(entries, None), min_size=2, max_size=2), min_size=1, max_size=3)
    )
    together = values(entries, [row for group in groups for row in group], 2)
    assert together == [x for group in groups for x in values(entries, group, 2)]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(st.floats(-1e6, 1e6), st.floats(-1e3, 1e3) | st.none()), min_size=1, max_size=5
    )
)
def test_bare_rewards_are_the_weighted_sum_that_they_always_were(
    parts: list[tuple[float, float | None]],
) -> None:
    row = {str(i): value for i, (_, value) in enumerate(parts)}
    specs = [
        RewardSpec(read, weight, {"key": str(i)}, str(i)) for i, (weight, _) in enumerate(parts)
    ]
    weighted = [(weight, value) for weight, value in parts if weight != 0]
    unknown = any(value is None for _, value in weighted)
    expected = None if unknown else sum(weight * value for weight, value in weighted)  # type: ignore[operator]
    found = score(specs, [row])[0]
    assert found.value == expected
    assert found.terms == row
    entries = [leaf(str(i), weight=weight) for i, (weight, _) in enumerate(parts)]
    assert values(entries, [row]) == [expected]


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_the_order_of_the_entries_changes_nothing(data: Any) -> None:
    entries = data.draw(rewards())
    rows = data.draw(st.lists(rows_of(entries, None), min_size=2, max_size=4))
    other = data.draw(st.permutations(entries))
    assert values(other, rows, len(rows)) == pytest.approx(
        values(entries, rows, len(rows)), abs=1e-9
    )


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_terms_times_weights_are_the_reward(data: Any) -> None:
    """What TRL adds up, a gate's column with weight 0, is what we say; a term closed by a gate is
    at its lowest.
    """
    entries = data.draw(rewards())
    made = Rewards(entries, allow_inversion=True)
    rows = data.draw(st.lists(rows_of(entries, None), min_size=1, max_size=4))
    for row in score(entries, rows, len(rows)):
        terms = [row.terms[name] for name in made.composition.names]
        assert sum(
            w * t for w, t in zip(made.composition.weights, terms, strict=True)
        ) == pytest.approx(row.value)  # type: ignore[operator]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.none() | st.floats(-9, 9), min_size=1, max_size=6),
    st.floats(-3, 3).filter(bool),
    st.sampled_from([None, (0.0, 1.0), (-2.0, 5.0)]),
    st.sampled_from(["correctness", "shaping"]),
)
def test_a_bare_reward_takes_the_short_way_to_the_same_rows(
    said: list[float | None], weight: float, limits: tuple[float, float] | None, role: Role
) -> None:
    declared = ANYTHING if limits is None else Interval(*limits)
    composition = Composition((Term(Node("r", declared=declared), weight, role),))
    assert composition.only is not None
    verdicts = [Judged(Score(value, why="so"), 0.5) for value in said]
    short = composition.rows([Sample("")] * len(said), {"r": verdicts}, None)
    general = composition._group([""] * len(said), [{"r": one} for one in verdicts], ["r"])
    assert short == general


def test_what_is_put_together_takes_no_short_way() -> None:
    bare, clip = Node("r"), Interval(0, 1)
    terms = [
        *(Term(bare, 0.0), Term(bare, role="gate"), Term(bare, when_correct=True)),
        *(Term(bare, tasks=("a",)), Term(Node("r", clip=clip)), Term(Node("r", relative=True))),
        Term(Node("s", "sum", (bare,), (1.0,))),
    ]
    assert [Composition((term,)).only for term in terms] == [None] * len(terms)
    assert Composition((Term(bare), Term(Node("s")))).only is None


def test_a_bare_reward_walks_through_few_functions() -> None:
    """Of this package, in the process that asks, for a batch once the worker is there."""
    rewards, entered = Rewards(["exact:match"]), set()
    samples = [Sample(word, {"answer": "Paris"}, row=row) for row, word in enumerate("abc")]
    rewards.score(samples)

    def enter(frame: Any, event: str, _: Any) -> None:
        if event == "call" and f"{os.sep}llmpolicy{os.sep}" in frame.f_code.co_filename:
            entered.add(frame.f_code.co_qualname)

    threading.setprofile(enter)
    sys.setprofile(enter)
    try:
        rewards.score(samples)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    assert "Rewards.score" in entered
    assert len({name for name in entered if not name.endswith(">")}) <= 40, sorted(entered)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_part_that_could_not_be_judged_matters_only_where_it_decides(data: Any) -> None:
    """With one part None the row is None, or worth what it would be worth whatever that part had
    said.
    """
    entries = data.draw(rewards(relative=False))
    ranges = leaves(entries)
    row = data.draw(rows_of(entries, None)) | (
        {"g": data.draw(st.sampled_from([0.0, 1.0]))} if "g" in ranges else {}
    )
    missing = data.draw(st.sampled_from(sorted(ranges)))
    ends = [0.0, 1.0] if missing == "g" else ranges[missing]
    between = data.draw(st.lists(st.floats(*ends), min_size=1, max_size=3))
    could = values(entries, [{**row, missing: x} for x in (*ends, *between)])
    found = values(entries, [{**row, missing: None}])[0]
    if found is not None:
        assert could == pytest.approx([found] * len(could), abs=1e-9)
    else:
        assert max(could) > min(could)  # type: ignore[type-var]


def test_gate_condition_and_metric_in_numbers() -> None:
    entries = [
        leaf("g", role="gate"), CORRECT, leaf("s", weight=0.5, clip=[0, 1], when="correct"),
        leaf("p", weight=-0.25, clip=[0, 2]), leaf("m", weight=0),
    ]  # fmt: skip
    said = [
        (1, 1, 0.5, 1, 9), (1, 0, 1, 0, None), (0, 1, 1, 0, 9),
        (0, None, None, None, 9), (1, 0, None, 0, 9), (1, 1, None, 0, 9),
        (None, 1, 0, 0, 9), (None, 0, 1, 2, 9), (1, 1, 7, 7, 9),
    ]  # fmt: skip
    rows = [dict(zip("gcspm", row, strict=True)) for row in said]
    assert values(entries, rows) == [1.0, 0.0, -0.5, -0.5, 0.0, None, None, -0.5, 1.0]
    assert score(entries, rows[:1])[0].terms == {"g": 1, "c": 1, "s": 0.5, "p": 1, "m": 9}
    assert score(entries, rows[2:3])[0].terms == {"g": 0, "c": 0, "s": 0, "p": 2, "m": 9}
    assert Rewards(entries).composition.weights == [0, 1, 0.5, -0.25, 0]
    assert (
        formula(Rewards(entries).composition.terms)
        == "[g] × (clip(c, 0, 1) + 0.5·clip(s, 0, 1) when correct + -0.25·clip(p, 0, 2))"
    )
    assert sentences(Rewards(entries).composition)[1:] == [
        "  right answers 0.5 to 1.5, wrong answers -0.5 to 0, a closed gate -0.5", "only logged: m",
    ]  # fmt: skip


def test_open_and_right_mean_the_top_of_the_declared_range() -> None:
    part = leaf("c", role="correctness", clip=[-1, 2])
    entries = [leaf("g", role="gate", clip=[0, 3]), part, leaf("s", clip=[0, 1], when="correct")]
    rows = [
        {"g": 3, "c": 2, "s": 1},
        {"g": 3, "c": 1, "s": 1},
        {"g": 2, "c": 2, "s": 1},
        {"g": 9, "c": 9, "s": 9},
    ]
    assert values(entries, rows) == [3, 1, -1, 3]
    assert values([leaf("g", role="gate"), part], [{"g": 1, "c": 1}, {"g": 0.5, "c": 1}]) == [1, -1]


def test_min_product_sum_and_relative_in_numbers() -> None:
    rows = [{"a": 1, "b": 3}, {"a": 2, "b": 2}, {"a": 0, "b": None}, {"a": 3, "b": 5}]
    both = [leaf("a"), leaf("b")]
    assert values([{"min": both}], rows) == [1, 2, None, 3]
    assert values([{"product": both}], rows) == [3, 4, 0, 15]
    assert values([{"sum": [leaf("a", weight=2), leaf("b", weight=-1)], "clip": [0, 1]}], rows) == [
        0,
        1,
        None,
        1,
    ]
    assert values([leaf("b", relative="group")], rows, 4) == pytest.approx(
        [3 - 10 / 3, 2 - 10 / 3, None, 5 - 10 / 3]
    )
    assert values([leaf("a", relative="group")], [*rows[:2], rows[3], rows[3]], 2) == [
        -0.5,
        0.5,
        0,
        0,
    ]
    nodes = score([{"min": both, "name": "least"}], rows)
    assert [row.nodes["least"] for row in nodes] == [1, 2, None, 3]
    with pytest.raises(RewardError, match="whole groups"):
        values([leaf("a", relative="group")], rows)


def test_relative_shaping_that_waits_for_right_answers_is_relative_to_them() -> None:
    entries = [{**CORRECT, "weight": 3}, leaf("s", clip=[0, 1], relative="group", when="correct")]
    rows = [{"c": 1, "s": 1}, {"c": 1, "s": 0.5}, {"c": 0, "s": 0}, {"c": 0, "s": 1}]
    assert values(entries, rows, 4) == [3.25, 2.75, -1, -1]


def test_a_term_of_some_tasks_is_neither_asked_nor_added_elsewhere() -> None:
    asked = []

    def spied(values: Values, completion: str) -> float:
        asked.append(completion)
        return values["a"] or 0.0

    entries = [
        {"fn": spied, "tasks": ["sums"]},
        leaf("b", tasks=["code", "words"]),
        leaf("c", weight=0),
    ]
    row: Values = {"a": 1, "b": 2, "c": None}
    found = Rewards(entries, tasks=["sums", "code", "words"], isolate=False).score(
        [
            Sample(f"{place} {task}", {"values": row}, task=task)
            for place, task in enumerate(("sums", "code", "sums", "words", "other"))
        ]
    )
    assert asked == ["0 sums", "2 sums"]
    assert [one.value for one in found] == [1, 2, 1, 2, None]
    assert [sorted(one.terms) for one in found[:2]] == [["c", "spied"], ["b", "c"]]
    assert [sorted(one.judged) for one in found[:2]] == [["c", "spied"], ["b", "c"]]


def test_each_task_is_checked_for_itself() -> None:
    entries = [
        leaf("a", role="correctness", clip=[0, 1], tasks=["sums"]),
        leaf("b", role="correctness", clip=[0, 1], tasks=["code"], weight=4),
        leaf("s", clip=[0, 1], weight=2, tasks=["code"]), leaf("j", tasks=["chat"]),
    ]  # fmt: skip
    assert Rewards(entries, tasks=["sums", "code", "chat"])
    said = sentences(
        Rewards(entries, tasks=["sums", "code", "chat"]).composition, ["sums", "code", "chat"]
    )
    assert said[0] == "sums: reward = clip(a, 0, 1)"
    assert [line for line in said if "no part is named correctness" in line] == [said[-1]]
    with pytest.raises(RecipeError, match="reach a right one for task 'sums'"):
        Rewards(
            [*entries[:2], {**entries[2], "tasks": ["code", "sums"]}, entries[3]],
            tasks=["sums", "code", "chat"],
        )


@reward(range=(0, 1), kind="format")
def shape(completion: str) -> float:
    return float(completion.startswith("#"))


def test_a_format_is_a_gate_where_a_correctness_part_is_named_and_nothing_else_is_said_of_it() -> (
    None
):
    def role(*entries: Any) -> str:
        return next(
            term.role for term in Rewards(entries).composition.terms if term.name == "shape"
        )

    assert role(CORRECT, shape) == "gate"
    assert role(CORRECT, {"fn": shape}) == "gate"
    assert role(CORRECT, {"fn": shape, "weight": 0.2}) == "shaping"
    assert role(CORRECT, {"fn": shape, "weight": 0.2, "role": "shaping"}) == "shaping"
    assert role({**CORRECT, "weight": 2}, {"fn": shape, "role": "shaping"}) == "shaping"
    assert role(CORRECT, {"fn": shape, "when": "correct"}) == "shaping"
    assert role(leaf("c"), shape) == "shaping"


REFUSED: list[tuple[list[Any], dict[str, Any], str]] = [
    ([CORRECT, leaf("s", clip=[0, 1])], {}, r"rewards.0: a wrong answer can reach a right one: a right one is worth 1 more by 'c', "
     r"and shaping moves a reward by up to 1 \(s 1\); write `weight: 1.1` beside 'c', `when: correct` beside 's', or"),
    ([CORRECT, leaf("s")], {}, "'s' has no range, and nothing says that it cannot make a wrong answer of 'c' reach a right"),
    ([leaf("c", role="correctness")], {}, "'c' has no range, and it is the correctness part"),
    ([leaf("g", role="gate"), leaf("j")], {}, "'j' has no range, and the gate 'g' must know the lowest"),
    ([leaf("s", when="correct")], {}, "'s' counts when correct, and no part is named correctness"),
    ([CORRECT, leaf("d", role="correctness", clip=[0, 1])], {}, "'c' and 'd' are both the correctness part"),
    ([leaf("a", role="corectness")], {}, "role cannot be 'corectness'; did you mean 'correctness'"),
    ([leaf("a", wieght=1)], {}, "unknown key 'wieght'; did you mean 'weight'"),
    ([{"min": [leaf("a", weight=1), leaf("b")]}], {}, "'weight' belongs to an entry of the outermost list, not to one inside min"),
    ([{"sum": [leaf("a", when="correct")]}], {}, "'when' belongs to an entry of the outermost list"),
    ([{"min": []}], {}, "min of nothing"),
    ([{"min": [leaf("a")], "fn": read}], {}, "exactly one of fn, min, product, sum; found fn and min"),
    ([{"min": [leaf("a")], "args": {"x": 1}}], {}, "'args' belongs to a reward, not to min"),
    ([leaf("a", clip=[1, 0])], {}, r"clip of 'a' is \[1, 0\]; expected \[lowest, highest\]"),
    ([leaf("a", weight=float("nan"))], {}, "'a' has weight nan"),
    ([leaf("g", role="gate", weight=2), CORRECT], {}, "the gate 'g' has weight 2"),
    ([leaf("c", role="correctness", clip=[0, 1], weight=0)], {}, "the correctness part 'c' has weight 0; expected above 0"),
    ([{**CORRECT, "relative": "group"}], {}, "'relative' goes with shaping, and 'c' is a correctness part"),
    ([leaf("g", role="gate", when="correct"), CORRECT], {}, "'when' goes with shaping, and 'g' is a gate part"),
    ([leaf("a", tasks=["sum"])], {"tasks": ["sums"]}, "'a' is for the task 'sum', which is none; did you mean 'sums'"),
    ([leaf("a", tasks=["sums"])], {"tasks": ["sums", "code"]}, "no reward with a weight for task 'code'"),
    ([{"min": [leaf("a"), leaf("b")], "name": "a"}], {}, "Two rewards are called 'a'|two rewards are called 'a'"),
]  # fmt: skip


@pytest.mark.parametrize(("entries", "how", "message"), REFUSED)
def test_what_cannot_be_is_refused_in_a_sentence(
    entries: list[Any], how: dict[str, Any], message: str
) -> None:
    with pytest.raises((RecipeError, RewardError), match=message):
        Rewards(entries, **how)


def test_an_inversion_can_be_allowed_and_is_then_said() -> None:
    made = Rewards([CORRECT, leaf("s", clip=[0, 1])], allow_inversion=True)
    assert (
        "allow_inversion: a wrong answer can reach a right one" in sentences(made.composition)[-1]
    )
    assert Rewards([CORRECT, leaf("s")], allow_inversion=True)


@pytest.mark.parametrize("weight", [0.1, 0.3, 0.7, 1 / 3])
def test_equality_is_refused_also_where_the_sum_is_rounded(weight: float) -> None:
    """Three shares of a third, or 0.1 + 0.2 against 0.3: a wrong answer must stay below, not
    reach.
    """
    parts = [leaf(f"s{i}", clip=[0, 1], weight=weight / 3) for i in range(3)]
    with pytest.raises(RecipeError, match="reach"):
        Rewards([{**CORRECT, "weight": weight}, *parts])


QUESTION, GOLD = "What is 6 times 7? Put it in a box.", "42"
NOTHING = (
    "",
    " \n",
    QUESTION,
    r"\boxed{}",
    "<think></think>",
    "<think>hm</think>",
    r"<think>a</think>\boxed{ }",
    r"\boxed{7}",
    "42",
    r"\boxed{x=42",
)


@pytest.mark.parametrize("gate", ["formats:boxed", "formats:think"])
def test_nothing_worth_paying_is_never_above_the_floor(gate: str) -> None:
    """Empty, an echo of the prompt, the format alone: the shipped format gate over math_answer,
    with shaping.
    """
    entries = [
        {"fn": gate, "role": "gate"}, {"fn": "math_answer:correct", "role": "correctness", "clip": [0, 1]},
        {"fn": "length:target", "args": {"target": 12}, "weight": 0.5, "clip": [0, 1], "when": "correct"},
    ]  # fmt: skip
    made = Rewards(entries)
    right = {
        "formats:boxed": r"6 times 7 is \boxed{42}",
        "formats:think": "<think>6 times 7</think>The answer is 42",
    }[gate]
    found = made.score(
        [
            Sample(text, {"answer": GOLD}, QUESTION, completion_ids=range(len(text)))
            for text in (*NOTHING, right)
        ]
    )
    assert {one.value for one in found[:-1]} == {0.0}
    assert found[-1].value >= 1.0  # type: ignore[operator]


def test_a_composed_reward_costs_less_than_a_millisecond_a_row() -> None:
    """It takes some 50 microseconds; the bound, in processor time, is there for what grows with the
    batch.
    """
    import gc
    import time

    entries = [
        leaf("g", role="gate"),
        {**CORRECT, "weight": 3},
        {"min": [leaf("a", clip=[0, 1]), leaf("b", clip=[0, 1])]},
    ]
    made = Rewards(entries)
    draw = random.Random(0)
    samples = [
        Sample("", {"values": {key: draw.random() for key in "gcab"}}, row=i) for i in range(512)
    ]
    judged = {name: [row.judged[name] for row in made.score(samples)] for name in made.names}
    gc.disable()  # a collection goes through all that other tests have left
    try:
        start = time.process_time()
        made.composition.rows(samples, judged, 8)
        assert time.process_time() - start < 512 * 1e-3
    finally:
        gc.enable()


def test_a_score_keeps_what_the_reward_said() -> None:
    def says(completion: str) -> Score:
        return Score(0.5, parsed="x", why="half")

    row = Rewards([CORRECT | {"weight": 2}, {"fn": says, "clip": [0, 0.25]}]).score(
        [Sample("", {"values": {"c": 1}})]
    )[0]
    assert row.parts["says"] == Score(0.5, "x", "half")
    assert (row.terms["says"], row.value) == (0.25, 2.25)


def test_an_entry_has_the_same_keys_in_a_recipe_and_in_python() -> None:
    assert set(RewardBlock.model_fields) == set(KEYS)
    for key, choices in CHOICES.items():
        written, _ = get_args(RewardBlock.model_fields[key].annotation)
        assert get_args(written) == choices, key
