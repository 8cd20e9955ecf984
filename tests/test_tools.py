"""Shipped tools: a calculator that cannot be made to run or to hang, Python that keeps names,
search, the end of an episode.
"""

import random
import time
from collections.abc import Iterator
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import pytest

from llmpolicy.environments.players import Ask, Players, Told
from llmpolicy.errors import RecipeError, SandboxUnavailable
from llmpolicy.sandbox import sandbox
from llmpolicy.tools.calculator import calculator
from llmpolicy.tools.python import Python

ALL = [f"llmpolicy.tools.{name}:{name}" for name in ("calculator", "finish")]


def has_sandbox() -> bool:
    try:
        return bool(sandbox())
    except SandboxUnavailable:
        return False


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("2 + 2", "4"), ("(3 + 4) * 2.5", "17.5"), ("1/3", "1/3"), ("0.1 + 0.2", "0.3"), ("-7 // 2", "-4"),
        ("7 % 4", "3"), ("2 ** 10", "1024"), ("2^3^2", "512"), ("2 ** -2", "0.25"), ("-2 ** 2", "-4"),
        ("1e3", "1000"), ("1e-3", "0.001"), ("3 × 4 − 10 ÷ 5", "10"), ("10 / 4", "2.5"), ("-1/8", "-0.125"),
        ("1_000 * 3", "3000"), (".5 + 1.", "1.5"), ("  1 + 1  ", "2"), ("-0.5", "-0.5"), ("6 / 3", "2"),
        ("(-1) ** 100000000000001", "-1"), ("0 ** 99999999999999", "0"), ("1 ** -99999999999999", "1"),
        ("99999999999999999999 * 99999999999999999999", "9999999999999999999800000000000000000001"),
        ("1 - 1/7 * 7", "0"), ("+5", "5"), ("1000000 / 3", "1000000/3"), ("0 ** 0", "1"),
        ("+".join(["1"] * 300), "300"),
    ],
)  # fmt: skip
def test_calculator_is_exact(expression: str, value: str) -> None:
    assert calculator(expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        "9 ** 9 ** 9", "9**9**9**9", "10 ** 100000", "(10**900) * (10**900)", "2 ** (2 ** (2 ** (2 ** 9)))",
        "(1/3) ** 99999", "1e99999", "1e999999999", "1e-999999", "((10**300) ** 3) ** 3", "2 ** 0.5",
        "__import__('os').system('true')", "().__class__", "x", "open", "abs(-1)", "[1]*9", "'a'*9", "'1' + '1'",
        "1 if 1 else 2", "lambda: 1", "(a := 1)", "1 and 2", "1 < 2", "True + 1", "None", "...", "1j", "0x10",
        "1 << 9999999", "1 @ 2", "~1", "f'{1}'", "[x for x in (1,)]", "1; 2", "a = 1", "import os", "", "1 +",
        "1 / 0", "1 // 0", "1 % 0", "0 ** -1", "0 ** -99999999999999", "(" * 300 + "1" + ")" * 300,
        "-" * 900 + "1", "((1)" * 200, "1 \x00", "١ + ١ + x", "\ud800", "1,000", "await 1", "(yield)", "*1",
        "+".join(["1"] * 500), "f(" * 90 + ")" * 90, "9" * 1001, "1 # comment\n; 2", "{1: 2}", "1 .real", "1 .__add__(1)",
    ],
)  # fmt: skip
def test_calculator_refuses_in_words_and_at_once(expression: str) -> None:
    started = time.process_time()
    with pytest.raises(ValueError) as refused:
        calculator(expression)
    assert time.process_time() - started < 1.0
    assert type(refused.value) is ValueError
    assert 0 < len(str(refused.value)) < 300


def test_the_dearest_expressions_take_a_moment() -> None:
    started = time.process_time()
    for expression in (
        "*".join(["9" * 9] * 90),
        "/".join(["7" * 9] * 90),
        "9**999 % 7**1000 + 3**900 / 7**150",
    ):
        assert calculator(expression)
    assert time.process_time() - started < 1.0


def test_calculator_equals_fractions() -> None:
    draw = random.Random(0)

    def expression(depth: int) -> tuple[str, Fraction]:
        if depth == 0:
            number = draw.randint(0, 99)
            return str(number), Fraction(number)
        (left, a), (right, b) = expression(depth - 1), expression(depth - 1)
        sign = draw.choice("+-*" if b == 0 else "+-*/")
        value = {"+": a + b, "-": a - b, "*": a * b}.get(sign)
        return f"({left} {sign} {right})", a / b if value is None else value

    for _ in range(200):
        written, value = expression(draw.randint(1, 4))
        assert Fraction(calculator(written)) == value, written


@pytest.fixture
def offered() -> Iterator[Players]:
    players = Players(None, tools=ALL)
    yield players
    players.close()


def call(players: Players, name: str, **arguments: object) -> Told:
    return players.ask([Ask(0, "tool", {"name": name, "arguments": arguments})])[0]


def test_functions_are_tools_of_a_recipe(offered: Players) -> None:
    described = {tool["function"]["name"]: tool["function"] for tool in offered.offer.tools}
    assert set(described) == {"calculator", "finish"}
    assert described["finish"]["parameters"]["required"] == ["answer"]
    offered.ask([Ask(0, "reset", {"seed": 0})])
    assert call(offered, "calculator", expression="17 * 23").words == "391"
    wrong = call(offered, "calculator", expression="x")
    assert wrong.misused and "cannot be calculated" in str(wrong.words)
    assert wrong.fault is None
    end = call(offered, "finish", answer="391")
    assert (end.over, end.reward, end.why) == (True, None, "391")


@pytest.mark.skipif(not has_sandbox(), reason="this machine has no sandbox")
def test_python_keeps_names_within_an_episode() -> None:
    tool = Python(seconds=4.0, most=200)
    tool.reset()
    assert tool.python("x = 20\nprint('set')") == "set"
    assert tool.python("x + 1") == "21"
    assert "ZeroDivisionError: division by zero" in tool.python("y = 3\n1 / 0")
    assert tool.python("x + y") == "23"  # what ran before the exception stays
    assert tool.python("y = 5") == "(nothing was printed)"
    assert "SyntaxError" in tool.python("1 +")
    assert tool.python("import random; r = random.random()") == "(nothing was printed)"
    assert tool.python("print(r)") == tool.python("print(r)")
    assert tool.python("print('x' * 1000)").endswith("(and more)")
    assert tool.python("raise SystemExit(3)") == "SystemExit: 3"
    assert tool.python("import os; os._exit(3)").startswith("error: ")
    assert tool.python("y") == "5"  # the cell that took it all down is not run again
    tool.reset()
    assert "NameError" in tool.python("x")


@pytest.mark.skipif(not has_sandbox(), reason="this machine has no sandbox")
def test_python_ends_what_does_not_end() -> None:
    tool = Python(seconds=1.0)
    assert tool.python("while True: pass").startswith("error: ")
    assert tool.python("1 + 1") == "2"


@pytest.mark.skipif(not has_sandbox(), reason="this machine has no sandbox")
def test_python_is_closed_in(tmp_path: Path) -> None:
    tool = Python(seconds=4.0)
    (tmp_path / "secret").write_text("hidden")
    said = tool.python(f"print(open({str(tmp_path / 'secret')!r}).read())")
    assert "hidden" not in said and "Error" in said
    assert "Error" in tool.python("import socket; socket.create_connection(('127.0.0.1', 80), 1)")


@pytest.mark.skipif(not has_sandbox(), reason="this machine has no sandbox")
def test_python_is_an_environment_of_a_recipe() -> None:
    players = Players("llmpolicy.tools.python:Python", args={"seconds": 4.0})
    try:
        assert [tool["function"]["name"] for tool in players.offer.tools] == ["python"]
        for _ in range(2):
            players.ask([Ask(0, "reset", {"seed": 0})])
            assert "NameError" in str(call(players, "python", code="x").words)
            call(players, "python", code="x = 6")
            assert call(players, "python", code="x * 7").words == "42"
    finally:
        players.close()


def test_python_without_a_sandbox_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise SandboxUnavailable(
            "no sandbox for a model's code: x; or accept the risk with --unsafe"
        )

    monkeypatch.setattr("llmpolicy.tools.python.sandbox", none)
    with pytest.raises(RecipeError, match="in a sandbox only: no sandbox for a model's code: x$"):
        Python()


@pytest.mark.skipif(find_spec("bm25s") is None, reason="pip install 'llmpolicy[search]'")
def test_search_tells_the_paragraphs_that_fit(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "birds.md").write_text("A heron eats fish.\n\nA swift never lands.")
    (tmp_path / "stones.txt").write_text("Granite is hard.\n\n\nSlate splits.")
    (tmp_path / "left.bin").write_text("heron")
    players = Players("llmpolicy.tools.search:Search", args={"folder": str(tmp_path), "best": 2})
    try:
        players.ask([Ask(0, "reset", {"seed": 0})])
        assert (
            call(players, "search", query="what does a heron eat").words
            == "in/birds.md: A heron eats fish."
        )
        assert "Slate splits" in str(call(players, "search", query="slate").words)
        assert call(players, "search", query="zebra").words == "nothing fits"
        assert call(players, "search", query="").words == "nothing fits"
    finally:
        players.close()


def test_search_refuses_in_words(tmp_path: Path) -> None:
    words = "holds no text" if find_spec("bm25s") else "pip install 'llmpolicy\\[search\\]'"
    with pytest.raises(RecipeError, match=words):
        Players("llmpolicy.tools.search:Search", args={"folder": str(tmp_path)})
