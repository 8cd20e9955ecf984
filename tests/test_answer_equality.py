"""When are two final answers the same? Exact values, functions, ranges and dates; bounded in
time.
"""

import time
from fractions import Fraction

import answers_equal
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reward_fns import math_answer


def paid(gold, answer):
    return math_answer.correct(rf"\boxed{{{answer}}}", gold).value


SAME = [
    ("2^{2024}", "4^{1012}"), ("2^{2024}-1", r"(2^{1012}-1)(2^{1012}+1)"), ("2026!", r"2026 \cdot 2025!"),
    (r"1-\frac{1}{2^{2012}}", r"\frac{2^{2012}-1}{2^{2012}}"), (r"\binom{2000}{1000}", r"\frac{2000!}{(1000!)^2}"),
    ("3^{1000000}", "9^{500000}"), ("2^{2^{100}}", "4^{2^{99}}"), (r"2026!\sqrt{2}", r"\sqrt{2} \cdot 2026!"),
    (r"\frac{3^{1000}+1}{2}", r"\frac{1}{2}+\frac{3^{1000}}{2}"), (r"x^{2024}-1", "(x^{1012}-1)(x^{1012}+1)"),
    (r"\sqrt{10^{40}+1}-10^{20}", r"\frac{1}{\sqrt{10^{40}+1}+10^{20}}"), ("10^{100}-1", r"99\cdot\frac{10^{100}-1}{99}"),
    (r"\prod_{k=1}^{30} k", "30!"), (r"\sum_{k=1}^{100} k", "5050"), ("1024^{100}", "2^{1000}"),
    (r"\sqrt{3+2\sqrt{2}}", r"1+\sqrt{2}"), (r"e^{1000}", r"(e^{500})^2"), (r"\log_2 3^{100}", r"100\log_2 3"),
    (r"|x|", r"\sqrt{x^2}"), (r"\sqrt{x^2}", r"\left|x\right|"), (r"\lvert x-1\rvert", r"|1-x|"),
    (r"\max(a,b)", r"\frac{a+b+|a-b|}{2}"), (r"\min\{a,b\}", r"\frac{a+b-|a-b|}{2}"), (r"\max(a,b)", r"\max(b,a)"),
    (r"\lceil x\rceil", r"-\lfloor -x\rfloor"), (r"\left\lfloor\frac{n}{2}\right\rfloor", r"\lfloor n/2\rfloor"),
    (r"\binom{n}{2}", "n(n-1)/2"), (r"\frac{n(n-1)}{2}", r"\binom n2"), (r"\binom{2n}{n}", r"\frac{(2n)!}{(n!)^2}"),
    ("n!", "n(n-1)!"), ("(n+1)!-n!", r"n\cdot n!"), (r"\gcd(a,b)", r"\frac{ab}{\operatorname{lcm}(a,b)}"),
    (r"a \bmod b", r"a-b\lfloor a/b\rfloor"), ("10!!", r"2^5\cdot 5!"), (r"\sin 30^\circ", r"\frac12"),
    (r"\binom{n}{k}", r"\frac{n!}{k!(n-k)!}"), (r"{n \choose 3}", r"\frac{n(n-1)(n-2)}{6}"),
    ("7-3", "7-3"), ("10-12", "10\u201312"), ("2026-03-05", "2026-3-5"), ("12/25/2024", "12/25/2024"),
    ("10-12 cm", r"10-12\text{ cm}"), ("2024.05.03", "2024.05.03"),
]  # fmt: skip

OTHER = [
    ("2^{1009}-1", "2^{1009}"), (r"2^{1009}\pi-1", r"2^{1009}\pi"), (r"\frac{3^{1000}+1}{2}", r"\frac{3^{1000}}{2}"),
    ("10^{50}+1", "10^{50}"), (r"\sin(10^{-20})", "10^{-20}"), (r"\frac{1}{2004!}", r"\frac{1}{2006!}"),
    ("2026!", "2026!+1"),
    ("2^{2024}", "2^{2024}+1"), ("2026!", r"2026 \cdot 2024!"), (r"1-\frac{1}{2^{2012}}", "1"),
    (r"\binom{2000}{1000}", r"\binom{2000}{999}"),
    ("3^{1000000}", "9^{500000}+1"), ("2^{2^{100}}+1", "4^{2^{99}}"), (r"2026!\sqrt{2}", r"(2026!+1)\sqrt{2}"),
    (r"\tanh(100)+\sqrt{0}", "1"), (r"e^{\pi\sqrt{163}}", "262537412640768744"), (r"\arctan(10^{50})", r"\frac{\pi}{2}"),
    (r"e^{-1000}", "e^{-1001}"), (r"e^{-1000}", "0"), (r"\sqrt{2}", "1.41421356237309504880168872420969807856967187537694"),
    ("x^{2024}-1", "x^{2024}"), ("(x+1)^{100}", "(x+1)^{100}+10^{-40}"), (r"\cos(10^{-20})", r"1-\frac{10^{-40}}{3}"),
    (r"\sqrt{x^2}", "x"), ("|x|", "x"), ("|x|", "-x"), (r"\lfloor x\rfloor", "x"),
    (r"\lfloor 2x\rfloor", r"2\lfloor x\rfloor"),
    (r"\lceil x\rceil", r"\lfloor x\rfloor+1"), (r"\max(a,b)", "a+b"), (r"\max(a,b)", "a"), (r"\max(a,b)", r"\min(a,b)"),
    (r"\gcd(a,b)", "ab"), (r"\gcd(a,b)", "1"), (r"\binom{n}{2}", "n(n+1)/2"), ("n!", "n^n"), ("n!!", "n!"),
    (r"a\bmod b", "a"),
    (r"\frac{n(n+1)}{2}", r"\sum_{k=1}^{n} k"), (r"\frac{10(11)}{2}", r"\sum_{k=1}^{10} k"),
    ("120", r"\binom{10}{3}"), ("120", "5!"),
    ("1024", "2^{10}"), ("2^{10}", "9^{9^{9^{9}}}"), ("2^{10}", "10^{10^{10!}}"), ("2^{10}", "((((9!)!)!)!)!"),
    ("7-3", "5-1"), ("7-3", "4"), ("4", "7-3"), ("3", "5-2"), ("3-1", "2"), ("3-1", "4-2"), ("10-12", "-2"),
    ("10-12", "8-10"),
    ("2026-03-05", "2026-02-06"), ("2026-03-05", "2026-05-03"), ("2026-03-05", "2018"), ("12/25/2024", "24/50/2024"),
    ("12/25/2024", "25/12/2024"), ("6-4, 7-5", "4-2, 7-5"), ("10-12 cm", "10-12 m"),
    ("2024.05.03", "2024.03.05"), ("10%-12%", "10-12"),
]  # fmt: skip


def test_the_same_value_is_paid_however_it_is_written():
    assert {pair: got for pair in (*SAME, *answers_equal.SAME) if (got := paid(*pair)) != 1.0} == {}


def test_another_value_is_not_paid_however_near_it_is():
    assert {
        pair: got for pair in (*OTHER, *answers_equal.OTHER) if (got := paid(*pair)) != 0.0
    } == {}


def test_an_answer_is_the_same_as_itself_and_as_no_other_of_the_table():
    golds = list(dict.fromkeys(gold for gold, _ in answers_equal.SAME))
    assert [gold for gold in golds if paid(gold, gold) != 1.0] == []
    others = [
        (a, b) for a, b in zip(golds, golds[7:], strict=False) if (a, b) not in answers_equal.SAME
    ]
    assert [pair for pair in others if paid(*pair) != 0.0] == []


@st.composite
def trees(draw, depth=3):
    """Expressions of SymPy, which reads, rewrites and prints them without the code under test."""
    import sympy

    if depth == 0 or draw(st.integers(0, 4)) == 0:
        return draw(
            st.sampled_from(
                [
                    *map(sympy.Integer, (1, 2, 3, 7)),
                    *sympy.symbols("x y", real=True),
                    sympy.pi,
                    sympy.sqrt(2),
                ]
            )
        )
    left, right = draw(trees(depth - 1)), draw(trees(depth - 1))
    made = {
        "+": left + right,
        "-": left - 2 * right,
        "*": left * right,
        "/": left / (right**2 + 1),
        "^": (left + 1) ** draw(st.integers(2, 3)),
        "sin": sympy.sin(left),
        "abs": sympy.Abs(left),
        "exp": sympy.exp(-(left**2)),
        "binomial": left * sympy.factorial(draw(st.integers(3, 30))),
    }
    return made[draw(st.sampled_from(list(made)))]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(trees(), st.sampled_from([2, 30, 150]))
def test_sympy_agrees(tree, decimals):
    """What SymPy rewrites stays the same answer, and with a little more it is another."""
    import sympy

    gold, x = sympy.latex(tree), sympy.Symbol("x", real=True)
    huge = any(
        abs(power.args[0].subs(dict.fromkeys(tree.free_symbols, 3))) > 400
        for power in tree.atoms(sympy.exp)
    )
    if len(gold) > 120 or huge:
        return
    ways = [sympy.expand, sympy.together]
    if all(
        abs(number) < 20 for number in tree.atoms(sympy.Number)
    ):  # SymPy would write sin(1000 x) out by sin x
        ways.append(sympy.expand_trig)
    written = [sympy.latex(way(tree)) for way in ways]
    free = bool(tree.free_symbols)
    assert [
        text
        for text in written
        if len(text) < 250 and paid(gold, text) != 1.0 and (free or paid(text, gold) != 1.0)
    ] == []
    for more in (
        sympy.Integer(1),
        sympy.Rational(1, 10**decimals),
        sympy.pi / 10**decimals,
        x / 10**decimals,
    ):
        other = sympy.latex(sympy.expand(tree) + more)
        assert len(other) > 250 or paid(gold, other) == 0.0, (gold, other)


BOMBS = [
    "9^{9^{9^{9}}}", "10^{10^{10!}}", "((((9!)!)!)!)!", r"\sum_{k=1}^{1000}\sum_{j=1}^{1000} jk",
    r"\sum_{k=1}^{20000}\sqrt{k}",
    r"\prod_{k=1}^{20000} k", r"\binom{40000}{20000}", r"\sin(10^{1000000})", "x" * 149,
    "(" * 9 + "x" + ")^{99}" * 9, "2^{-20000}+x",
    "+".join(rf"\sin\sin(x+{i}\cdot10^{{-600}})" for i in range(6)), r"\sum_{k=1}^{99} k!", r"\gcd(2^{39000}-1,3^{24000}-1)",
    r"\frac{1}{2^{39000}}+\frac{1}{3^{100}}", "e^{e^{e^{e}}}", r"\tan(\frac{\pi}{2})", "1/0", r"(-1)^{10^{300}}",
]  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_no_expression_takes_long_as_gold_or_as_answer(bomb):
    started = time.process_time()
    for gold, answer in ((bomb, bomb + "+1"), (bomb, "x^2+1"), (r"\sqrt{2}+x", bomb), ("5", bomb)):
        assert paid(gold, answer) in (0.0, None), (gold, answer)
    assert time.process_time() - started < 4


@settings(max_examples=150, deadline=None)
@given(st.integers(2, 9), st.integers(2, 4000), st.integers(-3, 3), st.integers(1, 9))
def test_powers_are_compared_as_whole_numbers(base, exponent, more, bottom):
    gold = rf"\frac{{{base}^{{{exponent}}}+1}}{{{bottom}}}"
    answer = rf"\frac{{{base}\cdot {base}^{{{exponent - 1}}}+{1 + more}}}{{{bottom}}}".replace(
        "+-", "-"
    )
    equal = Fraction(base**exponent + 1, bottom) == Fraction(base**exponent + 1 + more, bottom)
    assert paid(gold, answer) == float(equal)
