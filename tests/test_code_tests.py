"""code_tests: honest programs are paid, cheats are not; each form of tests is read or refused;
whose fault a failure is.
"""

import ast
import contextlib
import json
import math
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from code_dialects import ADD, READ, REFUSED, SUM
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import CHEATS, HIDDEN, HONEST, VISIBLE

from llmpolicy.errors import LLMPolicyError, SandboxFault, SandboxUnavailable
from llmpolicy.rewards import RewardError, contract_of, resolve
from llmpolicy.sandbox import choose
from llmpolicy.sandbox.execution import Report, execution
from llmpolicy.sandbox.inside.values import NotPlain, decode, encode
from llmpolicy.sandbox.records import Job, Limits
from reward_fns._code import script
from reward_fns._code.asserts import cases_of
from reward_fns._code.program import _LEETCODE, _TYPING
from reward_fns._code.values import Expected, Tolerance, Unreadable, agrees, same_output
from reward_fns.code_tests import passes

CALLS = [{"function": "f", "args": [x], "expected": y} for x, y in HIDDEN]
PROGRAMS = [{"stdin": f"{x}\n", "stdout": f"{y}\n"} for x, y in HIDDEN]


def block(code: str) -> str:
    return f"Here it is:\n\n```python\n{code}\n```\n"


def test_there_are_enough_programs():
    assert len(CHEATS) >= 40 and len(HONEST) >= 40


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_program_is_paid(name):
    code, tests = HONEST[name]
    where = {"answer": tests} if name == "an answer" else {"tests": tests}
    score = passes(block(code), **where)
    assert score.value == 1.0, score


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_is_not_paid(name):
    for tests in (CALLS, PROGRAMS):
        score = passes(CHEATS[name], tests=tests, seconds=0.4)
        assert score.value == 0.0, score


def test_the_visible_cases_alone_would_pay_for_a_table():
    visible = [{"function": "f", "args": [x], "expected": y} for x, y in VISIBLE]
    assert passes(CHEATS["the visible cases"], tests=visible).value == 1.0
    assert passes(CHEATS["the visible cases"], tests=CALLS).value == 0.0
    assert passes(CHEATS["the visible cases"], tests=CALLS, partial=True).value == pytest.approx(
        1 / 3
    )


def test_the_examples_of_the_contract_hold():
    contract = contract_of(resolve("code_tests:passes"))
    assert contract.kind == "code"
    for example in contract.passes:
        assert passes(**example).value == 1.0
    for example in contract.fails:
        assert passes(**example).value == 0.0


@pytest.mark.parametrize(
    ("completion", "value"),
    [
        ("<think>```python\nprint(1)\n```</think>\n```python\nprint(2)\n```", 1.0),
        ("<think>\n```python\nprint(2)\n```\n</think>\n", 0.0),
        ("<think>\n```python\nprint(2)\n```", 0.0),
        ("```python\nprint(1)\n```\nor rather\n```python\nprint(2)\n```", 1.0),
        ("```python\nprint(2)\n```\nor rather\n```python\nprint(1)\n```", 0.0),
        ("```python\nprint(2)\n```\nIt prints\n```\n2\n```", 1.0),
        ("```\nprint(2)\n```", 1.0),
        ("print(2)", 1.0),
        ("1. So:\n\n   ```python\n   if True:\n       print(2)\n   ```", 1.0),
        ("```python\nprint(2)", 1.0),
        ("```python\nprint(1)\n```\n```python\nprint(2)", 1.0),
        ("```python\nprint(2)\n```\n```python\nprint(", 0.0),
        ("```python\nprint(2)```", 1.0),
        ("```python3\nprint(2)\n```", 1.0),
        ("```py\nprint(2)\n```", 1.0),
        ("```{python}\nprint(2)\n```", 1.0),
        ("~~~python\nprint(2)\n~~~", 1.0),
        ("```bash\npip install x\n```\n```python\nprint(2)\n```", 1.0),
        ("```bash\npip install x\n```", 0.0),
        ("- so:\n      ```python\n      print(2)\n      ```", 1.0),
        ("Sure! Here it is:\n\nprint(2)", 1.0),
        ("Sure!\n\nfor x in [2]:\n    print(x)\n\nThis prints the number two.", 1.0),
        ("print(2)\n```\nThat is all of it.", 1.0),
        ("Sure!\n\nprint(2)\nprint(x y)\n", 0.0),
        ("I would print the number 2", 0.0),
        ("[BEGIN]\nprint(2)\n[DONE]", 1.0),
        ("print(2)\n[DONE]\nNow another task", 1.0),
        ("[BEGIN]\nprint(1)\n[DONE]", 0.0),
        ("[BEGIN]\n'import os\nprint(2)'\n[DONE]", 1.0),
        ("[BEGIN]\n```python\nprint(2)\n```\n[DONE]", 1.0),
        ("<answer>\nprint(2)\n</answer>", 1.0),
        ("Here it is: ```python\nprint(2)\n```", 1.0),
        ("```python\r\nprint(2)\r\n```\r\n", 1.0),
        ('```python\ndef f():\n    """\n    ```\n    f()\n    ```\n    """\nprint(2)\n```', 1.0),
        ("```python\nprint(2)\n```\n```text\n2\n```\n```bash\npython it.py\n```", 1.0),
        ("```python\nprint(1)\n```\nprint(2)", 0.0),
        ("The answer is 2", 0.0),
        ("```javascript\nprint(2)\n```", 0.0),
        ("", 0.0),
        ("x" * 300_000, 0.0),
    ],
)
def test_which_code_of_a_completion_is_run(completion, value):
    assert passes(completion, answer="2").value == value


@pytest.mark.parametrize(
    ("second", "value"),
    [
        ("print(f(2))", 1.0),
        ("assert f(2) == 5", 1.0),
        ("def f(x): return x", 0.0),
        ("f = abs", 0.0),
        ("class Solution:\n    def f(self, x): return x", 0.0),
    ],
)
def test_a_second_block_that_only_uses_the_function_is_an_example(second, value):
    block = "```python\ndef f(x):\n    return 2 * x + 1\n```\n"
    assert passes(f"{block}For instance:\n```python\n{second}\n```", tests=CALLS).value == value


def test_a_key_that_json_cannot_write_is_still_one_key():
    once = Expected({"1": 2}, json=True)
    assert agrees(once, encode({1: 2}), Tolerance()) and agrees(once, encode({"1": 2}), Tolerance())
    assert not agrees(Expected({"1": 2}), encode({1: 2}), Tolerance())
    for other in ({True: 2}, {1.0: 2}, {1: 2, "1": 2}, {2: 2}, {None: 2}):
        assert not agrees(once, encode(other), Tolerance()), other


def test_what_is_no_iterable_of_its_own_is_not_listed():
    endless = "def f(x):\n    while True: yield x"
    began = time.perf_counter()
    assert passes(endless, tests="assert list(f(1)) == [1]").value == 0.0
    assert passes(endless, tests="assert f(1) == [1]").value == 0.0
    assert time.perf_counter() - began < 3
    assert passes("def f(x): return (x,)", tests="assert f(1) == [1]").value == 0.0
    assert passes("def f(x): return [x]", tests="assert len(f(1)) == 1").value == 1.0


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({}, "no tests and no answer"),
        ({"tests": []}, "no list of tests"),
        ({"tests": [{"args": [1], "expected": 1}]}, "names no function"),
        ({"tests": [{"function": "f", "args": [1]}]}, "not what is expected"),
        ({"tests": [{"stdin": "1"}]}, "not what is expected"),
        ({"tests": ["assert f(x) == 1 for x in y"]}, "no Python"),
        (
            {"tests": "def check(candidate):\n    assert candidate(1) == 1"},
            "never call the program",
        ),
        ({"tests": [{"function": "f", "args": [object()], "expected": 1}]}, "no plain value"),
        ({"tests": {"inputs": ["1"], "outputs": []}}, "one length"),
        ({"tests": ["assert f() == [0] * 10**9"]}, "too much memory"),
    ],
)
def test_tests_that_cannot_be_read_are_no_zero(columns, said):
    score = passes("def f(x): return x", **columns)
    assert score.value is None and said in score.why


def test_a_check_function_is_read_for_its_entry_point():
    text = (
        "METADATA = {}\n\ndef check(candidate):\n    assert candidate([2, 1]) == [1, 2], 'sorted'\n"
        "    assert True\n"
    )
    good, bad = "def order(x): return sorted(x)", "def order(x): return x"
    assert passes(good, tests=text, entry_point="order").value == 1.0
    assert passes(bad, tests=text, entry_point="order").value == 0.0
    assert passes(good, tests=text + "\ncheck(order)").value == 1.0


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(
            st.integers() | st.text(max_size=4) | st.tuples(st.integers()), inner, max_size=4
        )
        | st.sets(st.integers() | st.text(max_size=3), max_size=4)
    ),
    max_leaves=12,
)


@given(PLAIN)
def test_a_plain_value_crosses_as_itself(value):
    data = json.loads(json.dumps(encode(value)))
    assert repr(decode(data)) == repr(value) or decode(data) == value
    assert agrees(Expected(value), data, Tolerance(0.0, 0.0)) or "nan" in repr(value)


@given(PLAIN, PLAIN)
def test_two_values_agree_only_when_python_says_so(a, b):
    if "nan" in repr((a, b)):
        return
    if agrees(Expected(a), encode(b), Tolerance(0.0, 0.0)):
        assert a == b


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["tuple", "set", "dict", "int", "float", "bytes", "complex", "x"]),
                inner,
            )
        ),
        max_leaves=10,
    )
)
def test_forged_data_is_read_or_refused_and_never_more(data):
    with contextlib.suppress(NotPlain, ValueError, TypeError, OverflowError):
        decode(data)
    assert agrees(Expected(0), data, Tolerance()) in (True, False)


def test_a_set_of_colliding_hashes_is_never_built():
    collide = {"set": [{"int": hex(k * (2**61 - 1))} for k in range(40_000)]}
    began = time.perf_counter()
    assert not agrees(Expected({1}), collide, Tolerance())
    assert not agrees(Expected(1, "true"), collide, Tolerance())
    assert not agrees(Expected({1}, outer=[("set", ())]), collide, Tolerance())
    assert not agrees(
        Expected([{1: 2}]), [{"dict": [[one, 1] for one in collide["set"]]}], Tolerance()
    )
    assert time.perf_counter() - began < 3


@pytest.mark.parametrize("value", [True, {1: 2}, [1], object(), 1 + 0j])
def test_only_builtin_types_themselves_cross(value):
    class Sub(type(value) if type(value) not in (bool, object) else int):
        pass

    with pytest.raises(NotPlain):
        encode(Sub())


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("1\n2", "1\n2\n", True), ("1\n2", "1", False), ("1", "1\n2", False), ("1 2", "1  2", False), ("a", " a", False),
        ("a", "a\t \r\n\n", True), ("0.5", "0.5000001", True), ("0.5", "0.51", False), ("5", "5.0", False),
        ("5.0", "5", True), ("1e3", "1000", True), ("nan", "nan", True), ("0.0", "-0.0", True), ("1.5", "1.5\0", False),
        ("", "", True), ("", "x", False), ("1.0", "nan", False), ("1.0", "inf", False), ("1.0", "1_0.0", False),
    ],
)  # fmt: skip
def test_output_is_compared_line_by_line(expected, printed, same):
    assert same_output(expected, printed, Tolerance()) is same


@settings(max_examples=60)
@given(PLAIN.filter(lambda value: "nan" not in repr(value) and "inf" not in repr(value)))
def test_an_assert_written_from_a_value_is_read_as_that_value(value):
    (case,) = cases_of(f"assert f({value!r}) == {value!r}", None)
    assert case.call == "f" and list(case.args) == [value] and case.expected.value == value
    ast.parse(repr(value))


def test_what_is_no_case_is_refused_in_words():
    for text in (
        "assert f(1) < 2",
        "assert f(1)[0] == 2",
        "assert 1 == 1 == 1",
        "x = f(1)\nassert x == 1",
        "f(1)",
        "assert f(*a) == 1",
    ):
        with pytest.raises(Unreadable):
            cases_of(text, None)


def test_processor_time_memory_and_waiting_are_the_models_fault():
    limits = {"seconds": 0.3, "megabytes": 128}
    for code in (
        "while True: pass",
        "x = bytearray(2**28)",
        "import time; time.sleep(100)",
        "print('x' * 2**22)",
    ):
        assert passes(code, answer="1", **limits).value == 0.0


def test_all_tests_share_a_budget():
    slow = (
        "import time\ndef f(x):\n    end = time.process_time() + 0.2\n    while time.process_time()"
        " < end: pass\n    return x"
    )
    tests = [{"function": "f", "args": [i], "expected": i} for i in range(6)]
    assert passes(slow, tests=tests, seconds=0.5).value == 1.0
    late = passes(slow, tests=tests, seconds=0.5, total_seconds=0.5, partial=True)
    assert (
        0 < late.value < 1
        and passes(slow, tests=tests, seconds=0.5, total_seconds=0.5).value == 0.0
    )


def test_the_expected_value_never_enters_the_sandbox(monkeypatch):
    handed: list[Job] = []

    class Box:
        def each(self, jobs, limits):
            handed.extend(jobs)
            return iter(())

    monkeypatch.setattr("reward_fns.code_tests.sandbox", lambda *_: Box())
    passes(
        "def f(x): pass",
        tests=[
            {"function": "f", "args": [1], "expected": "SECRET"},
            {"stdin": "1", "stdout": "SECRET"},
        ],
    )
    assert len(handed) == 2 and "SECRET" not in repr(handed)


def test_a_sandbox_that_fails_is_no_zero(monkeypatch):
    pool = choose.sandbox()
    broken = type(pool)(
        "broken", lambda link: (_ for _ in ()).throw(FileNotFoundError(2, "bwrap is gone")), 1
    )
    monkeypatch.setattr("reward_fns.code_tests.sandbox", lambda *_: broken)
    with pytest.raises(SandboxFault, match="bwrap is gone"):
        passes("print(1)", answer="1")
    with pytest.raises(SandboxFault, match="OSError: no"):
        execution(Job("x"), Limits(), "n", Report(None, 1, 0.0, 0.1, 0.0, "OSError: no"), b"", b"")
    with pytest.raises(SandboxFault, match="too busy"):
        execution(
            Job("x"), Limits(), "n", Report("patience", -9, 0.5, 34.0, 26.0, "confined"), b"", b""
        )
    for killed, starved in (("patience", 20.0), ("told", 24.9)):
        waited = execution(
            Job("x"), Limits(), "n", Report(killed, -9, 0.5, 34.0, starved, "confined"), b"", b""
        )
        assert (waited.ended, waited.alone) == ("waited", 34.0 - starved)


def test_a_keeper_that_was_killed_is_started_again():
    pool = choose.sandbox()
    assert passes("print(1)", answer="1").value == 1.0
    for slot in pool._slots:
        if slot._keeper:
            slot._keeper.kill()
            slot._keeper.wait()
    assert passes("print(1)", answer="1").value == 1.0


def test_limits_that_make_no_sense_are_refused():
    for wrong in (
        {"seconds": 0},
        {"megabytes": 1},
        {"seconds": 9, "total_seconds": 5},
        {"seconds": math.nan},
    ):
        with pytest.raises(RewardError, match="code_tests:passes got"):
            passes("print(1)", answer="1", **wrong)


def test_without_a_sandbox_nothing_runs(monkeypatch):
    def none():
        raise SandboxUnavailable("it is not here (errno 2, ENOENT); install it")

    monkeypatch.setattr(choose, "MECHANISMS", dict.fromkeys(choose.MECHANISMS, none))
    monkeypatch.setattr(choose, "_chosen", choose._Chosen(os.getpid(), {}))
    with pytest.raises(LLMPolicyError) as refused:
        passes("print(1)", answer="1")
    for name in choose.MECHANISMS:
        assert f"{name}: it is not here (errno 2, ENOENT); install it" in str(refused.value)
    assert "--unsafe-local-exec" in str(refused.value)


def test_many_calls_from_many_threads_leave_nothing_behind():
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

    def grade(i: int) -> float | None:
        return passes(
            "def f(x): return x + 1",
            tests=[{"function": "f", "args": [i], "expected": i + 1 - (i % 3 == 0)}],
        ).value

    assert passes("print(1)", tests=[{"stdin": "", "stdout": "1"}] * 8).value == 1.0
    before = descriptors()
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(grade, range(120))) == [float(i % 3 != 0) for i in range(120)]
    assert descriptors() <= before + 1


@pytest.mark.parametrize("name", READ)
def test_a_row_of_a_public_data_set_is_read(name):
    columns, right, wrong = READ[name]
    for program in right:
        score = passes(block(program), **columns)
        assert score.value == 1.0, (program, score)
    for program in wrong:
        score = passes(block(program), **columns)
        assert score.value == 0.0, (program, score)


@pytest.mark.parametrize("name", REFUSED)
def test_a_row_that_cannot_be_judged_says_so(name):
    columns, said = REFUSED[name]
    for completion in ("", block(ADD), block(SUM)):
        score = passes(completion, **columns)
        assert score.value is None and said in score.why, score


@pytest.mark.parametrize(
    "text", ["assert f() == 10 ** (10 ** 9)", "import time\ntime.sleep(1000)\nassert f() == 1"]
)
def test_tests_that_do_not_end_are_tried_once(text, monkeypatch):
    monkeypatch.setattr(script, "_TESTS", Limits(cpu=0.3))
    began = time.perf_counter()
    for _ in range(20):
        score = passes("def f(): return 1", tests=text)
        assert score.value is None and "do not run by themselves" in score.why
    assert time.perf_counter() - began < 8


@pytest.mark.parametrize("name", " ".join((_TYPING, *_LEETCODE.values())).split())
def test_a_name_that_is_given_is_not_the_program(name):
    code = f"class Solution:\n    def other(self): return {name}\n"
    assert passes(code, tests=[{"function": name, "args": [], "expected": []}]).value == 0.0
    assert passes(code, tests=[{"function": name, "args": [[]], "expected": 0}]).value == 0.0


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("def add(a: List[int], b: Optional[int]) -> Union[int, None]: return a + b", 1.0),
        ("from __future__ import annotations\ndef add(a: List[int], b): return a + b", 1.0),
        (
            (
                '"""Adds."""\nfrom __future__ import annotations\nimport math\nx: Dict[str, int] ='
                " {}\ndef add(a, b): return a + b"
            ),
            1.0,
        ),
        (
            (
                "class Solution:\n    def add(self, a, b):\n        q = deque([a, b])\n       "
                " return sum(q) + math.isqrt(0)"
            ),
            1.0,
        ),
        (
            (
                "class Solution:\n    @lru_cache(None)\n    def add(self, a, b): return int(inf if"
                " a == inf else a + b)"
            ),
            1.0,
        ),
        ("def add(a, b): return sum(deque([a, b]))", 0.0),
        ("def add(a, b): return int(math.fsum([a, b]))", 0.0),
        ("class Other:\n    def add(self, a, b): return a + b", 0.0),
        ("async def add(a, b): return a + b", 0.0),
        ("def add(a, b): yield a + b", 0.0),
    ],
)
def test_which_names_need_no_import(code, value):
    assert (
        passes(block(code), tests=[{"function": "add", "args": [1, 2], "expected": 3}]).value
        == value
    )


def test_no_call_sees_what_an_earlier_one_should_return():
    tests = """from solution import encode, decode
def test_both_ways():
    assert encode("hello") == "ifmmp"
    assert encode("abc") == "bcd"
    assert decode("ifmmp") == "hello"
    assert decode(["bcd"][0]) == "abc"
"""
    right = (
        "def encode(s): return ''.join(chr(ord(c) + 1) for c in s)\ndef decode(s): return"
        " ''.join(chr(ord(c) - 1) for c in s)"
    )
    peeks = """import json, sys
def encode(s):
    frame = sys._getframe()
    while 'asked' not in frame.f_locals: frame = frame.f_back
    calls = [call for call in json.loads(frame.f_locals['asked']) if call[0] == 'call']
    later = [call[2][0] for call in calls if call[1] == {'ref': 'decode'}]
    return later[[call[2][0] for call in calls].index(s)] if later else ''
def decode(s): return {'ifmmp': 'hello', 'bcd': 'abc'}[s]
"""
    assert passes(block(right), tests=tests).value == 1.0
    assert passes(block(peeks), tests=tests).value == 0.0


def test_what_a_program_of_tests_expects_never_enters_the_process_of_the_program(monkeypatch):
    handed: list[Job] = []
    pool = choose.sandbox()

    class Box:
        def run(self, job, limits):
            handed.append(job)
            return pool.run(job, limits)

        def each(self, jobs, limits):
            handed.extend(jobs)
            return pool.each(jobs, limits)

    monkeypatch.setattr(script, "sandbox", Box)
    for expected in ("'SECRET'", "['SECRET']", "f('SECRET' * 0) + 'SECRET'"):
        text = f"from solution import f\ndef test_f():\n    assert f('a') == {expected}\n"
        text += f"    assert f('b') in ('SECRET', {expected})\n"
        assert passes("MARK = 1\ndef f(x): return 'SEC' + 'RET'", tests=text).value == (
            1.0 if expected == "'SECRET'" else 0.0
        )
    inside = [job for job in handed if "MARK" in job.code]
    assert len(inside) >= 3 and not any(
        "SECRET" in repr((job.code, job.args, job.stdin)) for job in inside
    )
