"""The reward room: binding by name, return values, sentences for what goes wrong, references,
batches, async.
"""

import asyncio
import math
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reward_fns.exact
from llmpolicy.rewards import (
    RESERVED,
    RewardError,
    Rewards,
    RewardSpec,
    Sample,
    Score,
    describe,
    resolve,
    reward,
)
from llmpolicy.rewards import resolve as resolve_function

RESOLVE = sys.modules["llmpolicy.reference"]

SHIPPED = [
    "math_answer:correct", "exact:match", "numeric:equal", "multiple_choice:correct", "regex:match", "formats:think",
    "formats:tags", "formats:boxed", "length:overlong", "length:target", "repetition:penalty",
]  # fmt: skip


def samples(n=4, **columns):
    return [
        Sample(f"completion {i}", {"answer": str(i), **columns}, prompt=f"prompt {i // 2}", row=i)
        for i in range(n)
    ]


def one(fn, sample=None, isolate=True, **spec):
    """The single part's Score of one completion."""
    scored = Rewards([RewardSpec(fn, name="r", **spec)], isolate=isolate).score(
        [sample or samples(1)[0]]
    )
    return scored[0].parts["r"]


# --- binding
# -----------------------------------------------------------------------------------------------------------


class Unprintable(Exception):
    def __str__(self):
        raise ValueError


def raises_unprintable(completion):
    raise Unprintable


@pytest.mark.parametrize("isolate", [True, False])
def test_an_exception_that_cannot_be_printed_is_named(isolate):
    assert (
        "raised Unprintable: its message cannot be printed"
        in one(raises_unprintable, isolate=isolate).why
    )


def test_a_masked_number_is_none():
    assert one(lambda completion: np.ma.masked, isolate=False).value is None
    assert one(lambda completion: np.ma.array([0.5], mask=[False])[0], isolate=False).value == 0.5


def test_every_reserved_name_and_column_arrives_under_its_name():
    seen = {}

    def reward(
        completion,
        prompt,
        completion_ids,
        messages,
        truncated,
        step,
        row,
        raw,
        answer,
        absent="default",
    ):
        seen.update(locals())
        return 1

    chat = [{"role": "user", "content": "hi"}]
    sample = Sample("text", {"answer": "a"}, "p", chat, (1, 2), True, 7, 3, raw="text</s>")
    one(reward, sample, isolate=False)
    seen.pop("seen", None)
    assert seen == {
        "completion": "text", "prompt": "p", "completion_ids": (1, 2), "messages": chat, "truncated": True, "step": 7,
        "row": 3, "raw": "text</s>", "answer": "a", "absent": "default",
    }  # fmt: skip
    assert set(RESERVED) < set(seen)


def test_args_win_over_columns_and_columns_over_defaults():
    def reward(completion, answer, scale=1.0, offset=0.0):
        return float(answer) * scale + offset

    sample = Sample("", {"answer": "2", "scale": 10.0, "offset": 3.0})
    assert one(reward, sample).value == 23.0
    assert one(reward, sample, args={"scale": 100.0}).value == 203.0
    assert one(reward, sample, args={"answer": 5, "offset": 0}).value == 50.0


def test_what_partial_binds_is_not_taken_from_the_row():
    def bound(completion, prompt, answer, **rest):
        return float((prompt, answer, "answer" in rest) == ("mine", "yes", False))

    row = Sample("yes", {"answer": "4", "other": 1}, prompt="2+2=")
    for fn in (
        partial(bound, prompt="mine", answer="yes"),
        partial(partial(bound, prompt="mine"), answer="yes"),
    ):
        assert Rewards([RewardSpec(fn)]).score([row])[0].value == 1.0
    assert (
        Rewards([RewardSpec(partial(bound, prompt="mine", answer="no"), args={"answer": "yes"})])
        .score([row])[0]
        .value
    )


def test_keyword_catch_all_gets_all_columns_and_positional_only_works():
    def everything(completion, **columns):
        return float(sorted(columns) == ["answer", "extra"])

    def positional(completion, answer, /, row=0):
        return float(completion == "completion 0" and answer == "0" and row == 0)

    assert one(everything, samples(1, extra=1)[0]).value == 1.0
    assert one(positional).value == 1.0


def test_a_reward_asks_for_the_columns_without_default_arg_or_reserved_name():
    def reward(completion, prompt, answer, level, style="x"):
        return 0

    rewards = Rewards([RewardSpec(reward, args={"level": 1})])
    assert {name for component in rewards.components for name in component.columns} == {"answer"}
    rewards.check_columns(["answer"])


def sentence(build):
    with pytest.raises(RewardError) as caught:
        build()
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_misspelt_column_names_the_reward_the_parameter_and_the_nearest_column():
    def check(completion, anwser):
        return 0

    text = sentence(lambda: Rewards([RewardSpec(check)]).check_columns(["question", "answer"]))
    assert "'check'" in text
    assert "'anwser'" in text
    assert "did you mean 'answer'" in text
    text = sentence(
        lambda: Rewards([RewardSpec(lambda c: 1, name="short")]).check_columns(["answer"])
    )
    assert "asks for 'c'" in text


@pytest.mark.parametrize("reserved", RESERVED)
def test_a_column_with_a_reserved_name_is_refused(reserved):
    rewards = Rewards([RewardSpec(lambda completion: 1)])
    text = sentence(lambda: rewards.check_columns(["answer", reserved]))
    assert repr(reserved) in text
    assert "reserved" in text


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        (RewardSpec(lambda completion: 1, args={"lenght": 3}), "no argument 'lenght'"),
        (RewardSpec("length:target", args={"targt": 3}), "did you mean 'target'"),
        (RewardSpec(lambda completion: 1, args={"completion": "x"}), "filled for every row"),
        (RewardSpec(lambda completion: 1, weight=math.nan), "weight nan"),
        (RewardSpec(lambda completion: 1, weight="1"), "weight '1'"),
        (RewardSpec(lambda completion: 1, weight=True), "weight True"),
        (RewardSpec(lambda completion: 1, style="singel"), "did you mean 'single'"),
        (RewardSpec(3), "must be a function"),
        (RewardSpec(max), "no readable signature"),
    ],
)
def test_a_spec_that_cannot_be_used_is_refused_in_one_sentence(spec, found):
    assert found in sentence(lambda: Rewards([spec]))


# --- names
# -------------------------------------------------------------------------------------------------------------


class Judge:
    def __call__(self, completion):
        return 1.0


def plain(completion):
    return 1.0


def test_names_depend_on_the_reward_alone():
    line = 1 + sys._getframe().f_lineno
    fns = ["exact:match", plain, partial(plain), Judge(), lambda completion: 1]
    names = [Rewards([RewardSpec(fn)]).names[0] for fn in fns]
    assert names == ["exact.match", "plain", "plain", "Judge", f"lambda_{line}"]


def test_two_rewards_of_one_name_are_refused_until_one_is_renamed():
    assert "'plain'" in sentence(lambda: Rewards([RewardSpec(plain), RewardSpec(plain)]))
    assert Rewards([RewardSpec(plain), RewardSpec(plain, name="again")]).names == ["plain", "again"]


# --- what a reward returns
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("returned", "value"),
    [
        (1, 1.0), (0.5, 0.5), (True, 1.0), (False, 0.0), (None, None), (-0.0, 0.0), (1e308, 1e308),
        (np.float32(0.5), 0.5), (np.int64(2), 2.0), (np.bool_(True), 1.0), (np.array(3.0), 3.0),
        (Score(0.25, "p", "w"), 0.25), (Score(None), None), (Score(np.float64(2.0)), 2.0),
    ],
)  # fmt: skip
def test_numbers_none_and_scores_become_scores(returned, value):
    score = one(lambda completion: returned)
    assert score.value == value
    assert score.value is None or (type(score.value) is float and math.copysign(1, score.value) > 0)
    if isinstance(returned, Score):
        assert (score.parsed, score.why) == (returned.parsed, returned.why)


def test_a_score_is_a_number_where_it_was_judged():
    assert float(Score(0.25)) == 0.25
    with pytest.raises(TypeError, match="not judged has no value \\(no answer column\\)"):
        float(Score(None, why="no answer column"))


def test_a_torch_scalar_is_a_number():
    torch = pytest.importorskip("torch")
    assert one(lambda completion: torch.tensor(0.5), isolate=False).value == 0.5
    assert "a Tensor" in sentence(lambda: one(lambda completion: torch.ones(1), isolate=False))


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        ("1.0", "a str '1.0'"), (math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf"), ([1.0], "a list [1.0]"),
        (np.array([1.0]), "a ndarray"), (10**400, "inf"), (1j, "a complex"), ({"value": 1}, "a dict"),
        (Score(math.nan), "nan"), (Score("1"), "a str '1'"), ((x for x in "ab"), "a generator"),
    ],
)  # fmt: skip
def test_anything_else_is_named_with_its_reward_and_row(returned, told):
    sample = replace(samples(1)[0], row=17)
    text = sentence(lambda: one(lambda completion: returned, sample, isolate=told != "a generator"))
    assert f"'r' returned {told}" in text
    assert "row 17" in text


BOTH = pytest.mark.parametrize("isolate", [True, False])


@BOTH
def test_an_exception_is_no_verdict_and_is_told_with_place_row_and_the_start_of_the_completion(
    isolate,
):
    def reward(completion, answer):
        return 1 / len(answer[5:])

    line = reward.__code__.co_firstlineno + 1
    sample = Sample("x" * 500, {"answer": "1"}, row=9)
    rewards = Rewards([RewardSpec(reward, name="r")], isolate=isolate)
    row = rewards.score([sample])[0]
    assert row.value is None
    assert (
        row.parts["r"].why == f"(test_rewards.py:{line}) raised ZeroDivisionError: division by zero"
    )
    (record,) = rewards.take_faults()
    assert (
        record["why"]
        == f"Reward 'r' {row.parts['r'].why} on row 9, completion {'x' * 200 + '...'!r}."
    )
    assert (record["fault"], record["row"], record["completion"]) == ("error", 9, "x" * 500)
    assert "return 1 / len(answer[5:])" in record["traceback"]
    assert rewards.take_faults() == []


@BOTH
def test_sys_exit_and_foreign_base_exceptions_do_not_end_the_run(isolate):
    class Timeout(BaseException):
        pass

    def leaves(completion):
        raise SystemExit(0)

    def stops(completion):
        raise Timeout

    def interrupts(completion):
        raise KeyboardInterrupt

    assert "raised SystemExit: 0" in one(leaves, isolate=isolate).why
    assert one(stops, isolate=isolate).why.endswith("raised Timeout")
    if isolate:  # no one's Ctrl-C: that goes to the trainer
        assert one(interrupts).why.endswith("raised KeyboardInterrupt")
    else:
        with pytest.raises(KeyboardInterrupt):
            one(interrupts, isolate=False)


def test_a_row_without_its_column_is_named():
    rows = samples(3)
    rows[2] = replace(rows[2], columns={})
    rewards = Rewards([RewardSpec(lambda completion, answer: 1, name="r")])
    assert "'answer', a column that row 2 lacks" in sentence(lambda: rewards.score(rows))


# --- rows
# --------------------------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), st.none() | st.floats(-10, 10)),
        min_size=1,
        max_size=5,
    )
)
def test_a_row_is_the_weighted_sum_and_none_if_a_weighted_part_is_none(parts):
    specs = [
        RewardSpec(lambda completion, v=v: v, w, name=f"r{i}") for i, (w, v) in enumerate(parts)
    ]
    row = Rewards(specs).score(samples(1))[0]
    assert list(row.parts) == [spec.name for spec in specs]
    if any(w and v is None for w, v in parts):
        assert row.value is None
    else:
        assert row.value == pytest.approx(sum(w * v for w, v in parts if w))
    assert row.seconds >= 0


def test_weight_zero_is_a_metric_only():
    row = Rewards(
        [RewardSpec(plain), RewardSpec(lambda completion: None, weight=0, name="metric")]
    ).score(samples(1))[0]
    assert row.value == 1.0
    assert row.parts["metric"].value is None


def test_a_sum_that_overflows_is_refused():
    specs = [RewardSpec(lambda completion: 1e308, name=name) for name in "ab"]
    assert "inf" in sentence(lambda: Rewards(specs).score(samples(1)))


def test_scores_do_not_depend_on_batch_or_order():
    rewards = Rewards(
        [RewardSpec("exact:match"), RewardSpec(lambda completion, row: row, name="row")]
    )
    rows = [replace(s, completion=s.columns["answer"] if s.row % 2 else "no") for s in samples(10)]
    together = [score.value for score in rewards.score(rows)]
    assert together == [rewards.score([row])[0].value for row in rows]
    assert together[::-1] == [score.value for score in rewards.score(rows[::-1])]
    assert rewards.score([]) == []


# --- groups and lists
# --------------------------------------------------------------------------------------------------


def test_a_group_reward_gets_one_prompts_rows_as_lists():
    def rank(completions, prompt, answer, row):
        assert len(set(prompt)) == 1
        assert list(answer) == [str(r) for r in row]
        return [completions.index(c) for c in sorted(completions)]

    rewards = Rewards([RewardSpec(rank, style="group")])
    assert rewards.needs_group
    assert [score.value for score in rewards.score(samples(4), group_size=2)] == [0, 1, 0, 1]
    assert {name for component in rewards.components for name in component.columns} == {"answer"}


def test_a_function_that_declares_groups_needs_no_style_and_a_plain_one_is_told_it():
    def shortest(completions):
        return [float(len(one) == min(map(len, completions))) for one in completions]

    assert sentence(lambda: Rewards([shortest]).check_columns(["answer"])).endswith(
        "write `style: group` or `style: trl`"
    )
    declared = Rewards([reward(group=True, range=(0, 1))(shortest)])
    declared.check_columns(["answer"])
    assert declared.needs_group
    assert [row.value for row in declared.score([Sample("aa"), Sample("b")], 2)] == [0.0, 1.0]


def test_what_is_no_sample_is_named():
    assert "score Samples, not 'x'" in sentence(
        lambda: Rewards([lambda completion: 1.0]).score(["x"])
    )


def test_a_group_reward_refuses_samples_that_are_not_groups():
    rewards = Rewards(
        [RewardSpec(lambda completions: [0] * len(completions), style="group", name="g")]
    )
    assert "group size None" in sentence(lambda: rewards.score(samples(4)))
    assert "4 samples" in sentence(lambda: rewards.score(samples(4), group_size=3))
    assert "different prompts" in sentence(lambda: rewards.score(samples(4), group_size=4))


@pytest.mark.parametrize("returned", [[1.0, 2.0], (1, 2), np.array([1.0, 2.0])])
def test_a_list_tuple_or_array_of_the_right_length_is_taken(returned):
    rewards = Rewards([RewardSpec(lambda completions: returned, style="group", name="g")])
    assert [s.value for s in rewards.score(samples(2), group_size=2)] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        ([1.0], "returned 1 values; expected 2"), (1.0, "returned a float; expected a list of 2 values"),
        ("ab", "returned a str 'ab'"), (None, "returned a NoneType"), ([1.0, "x"], "returned a str 'x' on row 1"),
        ([math.nan, 0], "returned nan on row 0"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("style", ["group", "trl"])
def test_a_wrong_list_is_named(style, returned, told):
    rewards = Rewards([RewardSpec(lambda completions: returned, style=style, name="g")])
    text = sentence(lambda: rewards.score(samples(2), group_size=2))
    assert "'g'" in text
    assert told in text


def test_a_trl_function_is_called_as_trl_calls_it():
    seen = []

    def trl_style(prompts, completions, completion_ids, answer, log_extra=None, **kwargs):
        seen.append((prompts, completions, completion_ids, answer, sorted(kwargs)))
        return [None, 1.0]

    rewards = Rewards([RewardSpec(trl_style, style="trl")], isolate=False)
    plain_rows = [replace(s, completion_ids=(1, 2)) for s in samples(2, level=3)]
    assert [s.value for s in rewards.score(plain_rows)] == [None, 1.0]
    rest = ["level", "log_metric", "trainer_state"]
    assert seen[0] == (
        ["prompt 0"] * 2,
        ["completion 0", "completion 1"],
        [[1, 2]] * 2,
        ["0", "1"],
        rest,
    )
    chat = [{"role": "user", "content": "q"}]
    rewards.score([replace(s, messages=chat) for s in plain_rows])
    assert seen[1][0] == [chat, chat]
    assert seen[1][1][0] == [{"role": "assistant", "content": "completion 0"}]
    assert {name for component in rewards.components for name in component.columns} == {"answer"}
    assert not rewards.needs_group


def test_a_trl_function_may_require_all_that_trl_passes():
    def trl_style(completions, trainer_state, log_extra, log_metric):
        log_extra("seen", completions)
        log_metric("count", len(completions))
        return [float(trainer_state.global_step == 0 and trainer_state.max_steps == 1)] * len(
            completions
        )

    rewards = Rewards([RewardSpec(trl_style, style="trl")])
    rewards.check_columns(["answer"])
    assert not any(component.columns for component in rewards.components)
    assert [s.value for s in rewards.score(samples(2))] == [1.0, 1.0]


@pytest.mark.parametrize("style", ["trl", "group"])
def test_a_column_of_some_rows_is_none_for_the_others(style):
    seen = {}

    def takes_all(completions, **columns):
        seen.update(columns)
        return [1.0] * len(completions)

    def may_have(completions, level=None):
        return [float(value or 0) for value in level]

    def requires(completions, level):
        return [1.0] * len(completions)

    rows = [samples(1, level=3)[0], samples(1, unit="m")[0]]
    specs = [RewardSpec(takes_all, style=style), RewardSpec(may_have, style=style)]
    scored = Rewards(specs, isolate=False).score(rows, group_size=2)
    assert [s.value for s in scored] == [4.0, 1.0]
    assert {name: seen[name] for name in ("answer", "level", "unit")} == {
        "answer": ["0", "0"], "level": [3, None], "unit": [None, "m"],
    }  # fmt: skip
    rewards = Rewards([RewardSpec(requires, style=style, name="r")])
    assert "'r' asks for 'level'" in sentence(lambda: rewards.check_columns(["answer"]))
    assert "'level', a column that row 0 lacks" in sentence(
        lambda: rewards.score(rows[::-1], group_size=2)
    )


@pytest.mark.parametrize(
    ("style", "name"),
    [("trl", "prompts"), ("trl", "completions"), ("trl", "log_metric"), ("group", "completions")],
)
def test_a_column_that_a_style_would_hide_is_refused(style, name):
    rewards = Rewards([RewardSpec(lambda completions, **columns: [1.0], style=style, name="r")])
    for use in (
        lambda: rewards.check_columns([name]),
        lambda: rewards.score(samples(1, **{name: "x"}), group_size=1),
    ):
        assert f"a column {name!r}, a name reserved for rewards of style {style}" in sentence(use)
    Rewards([RewardSpec(plain)]).check_columns([name])


def test_trls_own_rewards_plug_in():
    trl_rewards = pytest.importorskip("trl.rewards")
    chat = [{"role": "user", "content": "q"}]
    row = Sample("<think>a</think>b", {}, messages=chat)
    rewards = Rewards([RewardSpec(trl_rewards.think_format_reward, style="trl", name="think")])
    assert [s.value for s in rewards.score([row, replace(row, completion="b")])] == [1.0, 0.0]


# --- futures and async
# -------------------------------------------------------------------------------------------------


def test_submit_returns_a_future_and_does_not_wait():
    gate = threading.Event()

    def waits(completion):
        gate.wait(5)
        return 1.0

    future = Rewards([RewardSpec(waits)], isolate=False).submit(samples(1))
    assert isinstance(future, Future)
    assert not future.done()
    gate.set()
    assert future.result(5)[0].value == 1.0


def test_an_error_arrives_through_the_future():
    future = Rewards([RewardSpec(lambda completion: "x", name="r")]).submit(samples(1))
    assert isinstance(future.exception(5), RewardError)


def test_async_rewards_of_a_batch_run_together():
    inside = {"now": 0, "most": 0}

    async def judge(completion, row):
        inside["now"] += 1
        inside["most"] = max(inside["most"], inside["now"])
        await asyncio.sleep(0.05)
        inside["now"] -= 1
        return row

    specs = [
        RewardSpec(judge),
        RewardSpec(partial(judge), name="again"),
        RewardSpec(plain, name="sync"),
    ]
    rewards = Rewards(specs, isolate=False)
    started = time.perf_counter()
    scored = rewards.score(samples(20))
    assert inside["most"] == 40
    assert time.perf_counter() - started < 1.5  # one after the other would be 2 s
    assert [s.value for s in scored] == [2 * i + 1 for i in range(20)]
    assert all(0.04 < s.seconds < 1 for s in scored)


def test_async_works_inside_a_running_loop_as_in_a_notebook():
    async def judge(completion):
        await asyncio.sleep(0)
        return 1.0

    async def cell():
        return Rewards([RewardSpec(judge)]).score(samples(2))

    assert [s.value for s in asyncio.run(cell())] == [1.0, 1.0]


@BOTH
def test_an_async_exception_is_told_with_its_place(isolate):
    async def judge(completion, row):
        await asyncio.sleep(0)
        if row == 2:
            raise ConnectionError("refused")
        return 1.0

    scored = Rewards([RewardSpec(judge, name="r")], isolate=isolate).score(samples(4))
    assert [s.value for s in scored] == [1.0, 1.0, None, 1.0]
    line = judge.__code__.co_firstlineno + 3
    assert scored[2].parts["r"].why == f"(test_rewards.py:{line}) raised ConnectionError: refused"


@BOTH
def test_what_a_sync_reward_raises_leaves_no_coroutine_behind(isolate):
    async def judge(completion):
        return 1.0

    specs = [
        RewardSpec(judge),
        RewardSpec(lambda completion: 1 / 0, name="broken"),
        RewardSpec(lambda completion: "x"),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "a str 'x'" in sentence(lambda: Rewards(specs, isolate=isolate).score(samples(3)))


# --- references
# --------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A recipe's folder with a reward in it; the current folder is another one."""
    (tmp_path / "recipe").mkdir()
    (tmp_path / "cwd").mkdir()
    (tmp_path / "recipe" / "mine.py").write_text(
        "def good(completion):\n    return 1.0\n\nvalue = 3\n"
    )
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setattr(RESOLVE, "_reported", set())
    return tmp_path / "recipe"


def test_a_bare_name_means_the_shipped_function():
    assert resolve("exact:match") is reward_fns.exact.match
    assert resolve("reward_fns.exact:match") is reward_fns.exact.match
    assert resolve("math:sqrt") is math.sqrt


def test_a_path_is_relative_to_the_recipe_and_sys_path_is_left_alone(folder):
    before = list(sys.path)
    fn = resolve("mine.py:good", folder)
    assert fn("x") == 1.0
    assert resolve("mine.py:good", folder) is fn
    assert sys.path == before
    assert fn.__module__.startswith("llmpolicy_reward_mine_")
    (folder / "mine.py").write_text("def good(completion):\n    return 2.0\n")
    assert resolve("mine.py:good", folder)("x") == 2.0
    assert fn("x") == 1.0


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("mine.py:god", "did you mean 'good'"),
        ("mime.py:good", "did you mean 'mine.py'"),
        ("mine.py:value", "names a int"),
        ("mine.py", "should read `module:function`"),
        ("mine.py:", "should read"),
        ("exat:match", "did you mean 'exact'"),
        ("exact:mach", "did you mean 'match'"),
        ("mine:good", "write 'mine.py:...'"),
        ("collections:OrderedDict", "names a class"),
        (
            "broken.py:good",
            "importing broken.py raised NameError: name 'undefined' is not defined (broken.py:1)",
        ),
        ("exits.py:good", "importing exits.py raised SystemExit: 3"),
        (
            "needs.py:good",
            "importing needs.py raised ModuleNotFoundError: No module named 'no_such_library'",
        ),
    ],
)
def test_a_reference_that_leads_nowhere_says_what_is_near(folder, reference, found):
    (folder / "broken.py").write_text("undefined\n")
    (folder / "needs.py").write_text("import no_such_library\n")
    (folder / "exits.py").write_text("raise SystemExit(3)\n")
    text = sentence(lambda: resolve_function(reference, folder))
    assert repr(reference) in text
    assert found in text


def reported(reference, base):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fn = resolve(reference, base)
    return fn, [str(w.message) for w in caught]


@pytest.mark.parametrize("where", ["recipe", "recipe/reward_fns", "cwd/reward_fns"])
def test_a_file_of_the_users_with_a_shipped_name_is_reported_once_with_both_files(folder, where):
    rival = folder.parent / where / "exact.py"
    rival.parent.mkdir(exist_ok=True)
    rival.write_text("def match(completion, answer):\n    return 99.0\n")
    fn, messages = reported("exact:match", folder)
    assert fn is reward_fns.exact.match
    assert len(messages) == 1
    assert str(rival) in messages[0]
    assert str(Path(reward_fns.exact.__file__)) in messages[0]
    assert reported("exact:match", folder)[1] == []
    assert resolve(f"{rival}:match")("", "") == 99.0


def test_an_importable_module_with_a_shipped_name_is_reported(folder, monkeypatch):
    (folder / "lib").mkdir()
    (folder / "lib" / "exact.py").write_text("match = None\n")
    monkeypatch.syspath_prepend(folder / "lib")
    fn, messages = reported("exact:match", folder)
    assert fn is reward_fns.exact.match
    assert len(messages) == 1
    assert str(folder / "lib" / "exact.py") in messages[0]


def test_no_report_without_a_rival(folder):
    for reference in SHIPPED:
        fn, messages = reported(reference, folder)
        assert callable(fn)
        assert messages == []


def test_a_reward_fns_of_the_users_on_the_path_leaves_the_shipped_one_within_reach(folder):
    package = folder / "reward_fns"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "exact.py").write_text("def match(completion, answer):\n    return 99.0\n")
    code = textwrap.dedent(f"""
        import sys, warnings
        sys.path.insert(0, {str(folder)!r})
        from llmpolicy.rewards import resolve
        warnings.simplefilter("error")
        for reference, want in (("exact:match", 1.0), ("reward_fns.exact:match", 99.0)):
            try:
                resolve(reference)
            except UserWarning as warning:
                assert {str(package)!r} in str(warning), warning
            else:
                raise SystemExit("no warning")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                got = resolve(reference)(completion="4", answer="4")
            assert getattr(got, "value", got) == want, (reference, got)
    """)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(RESOLVE.SHIPPED).parent,
    )
    assert done.returncode == 0, done.stderr


def test_describe_gives_a_file_and_the_hash_of_its_bytes(folder):
    import hashlib

    told = describe("mine.py:good", folder)
    assert told == {
        "file": "mine.py",
        "sha256": hashlib.sha256((folder / "mine.py").read_bytes()).hexdigest(),
    }
    assert describe("exact:match")["file"] == "reward_fns/exact.py"
    assert describe(plain, Path(__file__).parent)["file"] == Path(__file__).name
    assert describe(partial(plain), Path(__file__).parent)["file"] == Path(__file__).name
    assert describe(len) == {"file": None, "sha256": None}


# --- what is loaded
# ----------------------------------------------------------------------------------------------------


def test_rewards_load_no_heavy_library():
    modules = ["llmpolicy.rewards", *(f"reward_fns.{name}" for name in RESOLVE.shipped_names())]
    heavy = [
        "torch",
        "transformers",
        "trl",
        "peft",
        "datasets",
        "sympy",
        "mpmath",
        "math_verify",
        "numpy",
        "asyncio",
    ]
    code = f"import sys, {', '.join(modules)}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(RESOLVE.SHIPPED).parent,
    )
    assert done.stdout.strip() == "[]"
