"""The shipped rewards: what must be paid, what must not, what must not take long, and the laws
behind it.
"""

import json
import threading
import time
import unicodedata
from decimal import Decimal
from fractions import Fraction

import answers_mended
import answers_said
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmpolicy.rewards import RewardError, Score
from reward_fns import (
    exact,
    formats,
    length,
    math_answer,
    multiple_choice,
    numeric,
    regex,
    repetition,
)


def value(score):
    return score.value if isinstance(score, Score) else score


def paid(cases, reward):
    """The cases (gold, completion) with what the reward pays for each."""
    return {(gold, completion): value(reward(completion, gold)) for gold, completion in cases}


def box(text):
    return rf"\boxed{{{text}}}"


# --- math_answer: wrong completions, by family
# --------------------------------------------------------------------------

SEVERAL = [("42", text) for text in (
    r"\boxed{41} \boxed{42}", r"\boxed{42} then \boxed{41}", "First \\boxed{41}.\n" * 3 + "Then \\boxed{42}.",
    box("40,41,42"), box(r"41 \text{ or } 42"), "Answer: 41\nAnswer: 42", "#### 41 #### 42", "#### 41\n\\boxed{42}",
    " ".join(box(i) for i in range(1, 101)), "The answer is 41.\n\\boxed{42}", "<answer>41</answer><answer>42</answer>",
    "Answer: 41 or 42", "<answer>41, 42</answer>", "\n".join(map(str, range(1, 101))), "Answer: 42. Or 43.",
    r"either 41 or \boxed{42}", r"\boxed{42}, or perhaps 43", "42, 43", "The answer is between 41 and 42.",
    r"\boxed{42} \pm 1", "The answer is 42 or more.", "42 43", box("42/41"), r"\boxed{42} apples, but it is really 43.",
)]  # fmt: skip
DENIED = [("42", text) for text in (
    r"The answer is not \boxed{42}.", r"not \boxed{42}", r"We rule out \boxed{42}, so 43.", "The answer is not 42.",
    r"If it were \boxed{42}, it would be even.", r"A friend says \boxed{42}.", r"~~\boxed{42}~~", r"> \boxed{42}",
    r'He wrote "\boxed{42}".', r"It is not true that the answer is \boxed{42}.", r"\boxed{42} is wrong.",
    r"\boxed{42} is not the answer.", r"Could it be \boxed{42}?", r"The following is incorrect: \boxed{42}",
    "The answer isn't\n\n\\boxed{42}", r"Maybe \boxed{42}.", r"\boxed{42}. Wait, no, it is 43.", "Wrong answer: 42",
    r"The wrong answer is \boxed{42}.", r"Suppose the answer is \boxed{42}.", "A friend claims the answer is 42.",
    "If the answer is 42, then we are done.", r"\cancel{\boxed{42}}", box(r"\cancel{42}"), "```\n\\boxed{42}\n```",
    r"<!-- \boxed{42} -->", r"anything but \boxed{42}", r"The answer cannot be \boxed{42}", r"It could be \boxed{42}",
    r"I don't think it is \boxed{42}.", r"My friend's answer was \boxed{42}", r"rather than \boxed{42}, take 43",
    r"x \neq \boxed{42}", r"% \boxed{42}", "#### 42\nSorry, that is wrong.", "<answer>not 42</answer>",
    r"According to the textbook, \boxed{42}", r"It is tempting to answer \boxed{42}.", r"I doubt it is \boxed{42}.",
    r"Definitely not: \boxed{42}", r"Ignore this: \boxed{42}", r"Here is a decoy: \boxed{42}", "42?",
)]  # fmt: skip
THINKING = [("42", text) for text in (
    r"<think>\boxed{42}</think>", r"<think>\boxed{42}", r"<think>\boxed{42}</think>\boxed{41}",
    r"<think>a</think>\boxed{42}</think>\boxed{41}", r"<think>a</think>\boxed{42}<think>b</think>",
    r"<think>a</think><think>\boxed{42}</think>", "<think>```\n\\boxed{42}\n```</think>done", r"\boxed{42}<think>so",
    r"<think>x</think></think>\boxed{42}", r"<think>a</think>\boxed{41}<think>b</think>\boxed{42}",
    r"<thinking>\boxed{42}</thinking>", r"<think>\boxed{42}</think>It is above.", r"<THINK>\boxed{42}",
    r"<think><think>a</think>\boxed{42}",
)]  # fmt: skip
CHAINS = [("42", box(text)) for text in (
    "x=41=42", "1=2=42", "41=42", r"\sum_{k=1}^{42} 1", r"6\times 7", r"\int_0^{42}dx", "41+1", "x=42=y", "84/2",
)] + [("0.25", "0.5/2"), ("42", r"\frac{84}{2}")]  # fmt: skip
UNITS = [
    ("5 m", r"\boxed{5 \text{ ft}}"), ("5 m", r"\boxed{5 \text{ cm}}"), ("5 m", r"\boxed{5} ft"), ("5 m", "500 cm"),
    ("0.5", r"\boxed{50\%}"), (r"50\%", r"\boxed{0.5}"), ("42", r"\boxed{42\%}"), ("42", r"\boxed{42}\%"),
    ("101_2", r"\boxed{101}"), ("101", r"\boxed{101_2}"), ("42", r"\boxed{42_8}"), ("42", "101010_2"),
    (r"30^\circ", r"\boxed{30 \text{ rad}}"), ("$5", r"\boxed{5 ¢}"), (r"\$5", "5 cents"), ("5 km/h", "5 m/s"),
    ("42", r"\boxed{42 \text{ million}}"), ("42", r"\boxed{42} million"), ("42", r"\boxed{42 \text{ dozen}}"),
    (r"5\sqrt{2}\text{ cm}", r"5\sqrt2 \text{ ft}"),
]  # fmt: skip
NEAR = [("42", box(text)) for text in ("-42", "43", "420", "4.2", "142", "1422", "42.0001", "4 2", "4²")] + [
    ("2/3", box("3/2")), (r"\pi", box("3.14")), ("3.14", box(r"\pi")), ("5/52", box("5")), ("1/3", box("0.333")),
    (r"\frac{2}{3}", "0.6666666666666666"), (r"\sqrt{2}", box("1.41421356")), ("42", r"$-\boxed{42}$"), ("x", "X"),
    ("42", r"\frac{1}{\boxed{42}}"), ("42", r"2\cdot\boxed{42}"), ("42", r"\boxed{42}^2"), ("42", r"\boxed{4}2"),
    ("x+1", "X+1"), ("3+4i", "3-4i"), (r"\sqrt{x^2}", "x"), ("11/2", "1 1/2"), ("5m", "5 m"), ("x^2", "x^3"),
]  # fmt: skip
TYPES = [
    ("(1,2)", box(r"\{1,2\}")), ("(1,2)", box("(2,1)")), ("(1,2)", box("[1,2]")), ("[0,1]", box("(0,1)")),
    ("(1,2)", box("1,2")), (r"\{1,2\}", box("(1,2)")), ("5", box("x<5")), ("5", box(r"\pm 5")), ("5", box("[5]")),
    ("5", box(r"\{5\}")), ("x<5", box(r"x \le 5")), ("42", box(">42")), (r"(-\infty,3)\cup(5,\infty)", "(3,5)"),
]  # fmt: skip
NOTHING = [("42", text) for text in (
    box(""), box(r"\text{the answer}"), box("NaN"), box(r"\infty"), "see above", "", "   ", "\u200b", '{"answer": 42}',
    "I think it may be 42 because 6*7=42 and so on.", "<answer></answer>", box("?"), r"\boxed{42", "print(42)", "XLII",
    "0x2A", "forty-two", "Answer: about 42", "Answer: 42 (mod 100)", "4\u03362\u0336", "\u202e24",
)] + [("0", box("0/0"))]  # fmt: skip
WRONG = {
    "several": SEVERAL, "denied": DENIED, "thinking": THINKING, "chains": CHAINS, "units": UNITS, "near": NEAR,
    "types": TYPES, "nothing": NOTHING,
}  # fmt: skip

RIGHT = [("42", text) for text in (
    box("42"), "42", "42.", "$42$", "x = 42", box("x = 42"), "=42", "`42`", "**42**", r"\(42\)", r"\[\boxed{42}\]",
    r"**\boxed{42}**", "٤٢", "４２", "Answer: 42", "**Answer:** 42", "Answer: **42**", "Answer:\n42", "answer is 42",
    "The answer is 42.", "The final answer is: $\\boxed{42}$. I hope it is correct.", "<answer>\n42\n</answer>",
    "Final Answer: The final answer is $42$. I hope it is correct.", r"<answer>\boxed{42}</answer>", "#### 42",
    r"<think>not 17</think>The answer is \boxed{42}.", "<think>a</think><answer>42</answer>", "\\boxed{42}\n#### 42",
    r"So the total is $6 \cdot 7 = \boxed{42}$.", r"Since 41 is not prime, the answer is \boxed{42}.",
    r"The number of students who do not play is \boxed{42}.", r"If each has 6, the total is \boxed{42}.",
    r"Therefore, she would earn \boxed{42}.", r"I think the answer is \boxed{42}.", r"\boxed{42} students do not like it.",
    r"We can eliminate the other cases. Hence the answer is \boxed{42}.", "It is not 41. So \\boxed{42}",
    "The answer is 42 because 6*7=42.", "### Step 1\nx\n#### Step 2: add\n\n\\boxed{42}", r"The answer is \boxed{42}!",
    "Let me check 41. It does not work.\n\n\\boxed{42}", "The answer is as follows: \\boxed{42}",
    "**Final Answer**\n\n$$\\boxed{42}$$",
    "Wait, that is wrong. Let me redo it: 6*7.\n\n\\boxed{42}", "So, the answer to the question is 42.",
    "The answer is <<6*7=42>>42.", r"- \boxed{42}", r"\boxed{42} dollars.", "$42", "42.00", "42 dollars",
)] + [
    ("1000", r"\boxed{1,000}"), ("1000", r"\boxed{1{,}000}"), ("1,000", "1000"), ("1000", "1e3"), ("1000", box("10^3")),
    ("-5", box("−5")), ("-42", r"$-\boxed{42}$"), ("0.5", box(r"\frac{1}{2}")), ("1/2", "½"), (r"\frac{3}{2}", box(r"1\frac12")),
    (r"\frac{1}{2}", box(r"\dfrac12")), ("x^2+2x+1", box("(x+1)^2")), (r"2\sqrt{3}", box(r"\sqrt{12}")), ("2x", "2*x"),
    (r"\frac{\sqrt{2}}{2}", r"\boxed{\frac{1}{\sqrt{2}}}"), (r"\frac{\pi}{2}", box(r"\pi/2")), (r"\pi", "π"),
    ("(1,2)", box("(1, 2)")), (r"\{1,2\}", box(r"\{2,1\}")), ("1,2", box("2 and 1")), (r"\pm 2", box("2,-2")),
    ("x>5", box("5<x")), ("y=2x+3", box("y=3+2x")), ("5 m", r"\boxed{5\text{ m}}"), ("5 m", r"\boxed{5} meters."),
    (r"50\%", "50%"), (r"30^\circ", r"30\degree"),
    ("101_2", box("101_{2}")), (r"30^\circ", "30°"), ("$5", box(r"\$5")), ("Evelyn", box(r"\text{Evelyn}")),
    (r"(-\infty,3)\cup(5,\infty)", box(r"(5, \infty) \cup (-\infty, 3)")), (r"\binom{5}{2}", box("10")),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix}"), (r"\sin 2x", r"2\sin x\cos x"),
    ("Janet sells 9. #### 18", "18"), ("So it is \\boxed{18}.", "18"), (18, "18"), (18.0, "#### 18"), (Decimal("0.1"), "1/10"),
]  # fmt: skip


@pytest.mark.parametrize("family", WRONG)
def test_no_wrong_completion_is_paid(family):
    assert {
        case: got for case, got in paid(WRONG[family], math_answer.correct).items() if got != 0.0
    } == {}


def test_every_right_completion_is_paid():
    assert {case: got for case, got in paid(RIGHT, math_answer.correct).items() if got != 1.0} == {}
    assert len(RIGHT) >= 80
    assert sum(map(len, WRONG.values())) >= 150


@pytest.mark.parametrize("gold", ["7", "-3", "1/2", "1000", "2.5"])
@pytest.mark.parametrize("family", ["several", "denied", "thinking"])
def test_the_same_holes_stay_closed_for_other_answers(family, gold):
    cases = [(gold, text.replace("42", gold)) for _, text in WRONG[family] if "420" not in text]
    assert {case: got for case, got in paid(cases, math_answer.correct).items() if got != 0.0} == {}


def test_a_wrong_second_answer_never_raises_the_score_and_another_gold_changes_it():
    for gold, completion in RIGHT:
        for more in ("\n#### 77", "\n\\boxed{77}", "\nThe answer is 77."):
            assert value(math_answer.correct(completion + more, gold)) == 0.0
        assert value(math_answer.correct(completion, "987654")) == 0.0


@pytest.mark.parametrize(
    "gold", ["", "  ", None, True, [1], {"a": 1}, r"\frac{1", "9" * 2000, r"\int x", "x +* 2"]
)
def test_a_gold_that_cannot_be_read_is_not_judged(gold):
    score = math_answer.correct("Answer: 5", gold)
    assert score.value is None
    assert score.why


def test_what_was_parsed_and_why_are_told():
    assert math_answer.correct("Answer: 41", "42") == Score(0.0, "41", "not equal to the answer")
    assert math_answer.correct("Answer: 42", "42") == Score(1.0, "42", "")
    assert "no answer is marked" in math_answer.correct("It is 42,\nI guess", "42").why


def test_last_number_is_taken_only_on_request():
    text = "She has 5 + 13 = 18 left.\nSo she has $1,018 in all."
    assert math_answer.correct(text, "1018").value == 0.0
    assert math_answer.correct(text, "1018", extract="last_number").value == 1.0
    assert math_answer.correct("The answer is 18 eggs.", "18", extract="last_number").value == 1.0
    assert math_answer.correct("#### 17\n18", "18", extract="last_number").value == 0.0
    assert math_answer.correct("<think>18", "18", extract="last_number").value == 0.0
    assert math_answer.correct("nothing", "18", extract="last_number").value == 0.0


def test_units_can_be_ignored_on_request():
    assert math_answer.correct("60%", "60").value == 0.0
    assert math_answer.correct("60%", "60", units="ignore").value == 1.0
    assert math_answer.correct("60%", "0.6", units="ignore").value == 0.0


def test_an_option_that_does_not_exist_is_refused():
    with pytest.raises(RewardError, match="extract 'last'"):
        math_answer.correct("1", "1", extract="last")
    with pytest.raises(RewardError, match="units 'any'"):
        numeric.equal("1", "1", units="any")
    with pytest.raises(RewardError, match="several 'first'; expected 'agree' or 'last' or 'list'"):
        math_answer.correct("1", "1", several="first")
    with pytest.raises(RewardError, match="several 'list'"):
        multiple_choice.correct("A", "A", several="list")
    with pytest.raises(RewardError, match="locale 'DE'"):
        math_answer.correct("1", "1", locale="DE")


def test_an_expression_copied_from_the_question_is_not_an_answer():
    question = r"Simplify $\frac{x^2-1}{x-1}$ and 2/4 and 10^3, solve $|x|>1$ and draw $2x+4y-3=0$."
    copied = (
        ("x+1", r"\frac{x^2-1}{x-1}"),
        ("1/2", "2/4"),
        ("1000", "10^3"),
        (r"(-\infty,-1)\cup(1,\infty)", "|x|>1"),
    )
    for gold, answer in (*copied, (r"y=-\frac{x}{2}+\frac34", "2x+4y-3=0")):
        assert math_answer.correct(box(answer), gold).value == 1.0
        assert math_answer.correct(box(answer), gold, prompt=question).value == 0.0
        assert math_answer.correct(box(gold), gold, prompt=question).value == 1.0


@pytest.mark.parametrize("reward", [math_answer.correct, exact.match, numeric.equal])
def test_a_think_block_opened_by_the_prompt_must_be_closed(reward):
    assert reward("42", "42", prompt="What?<think>\n").value == 0.0
    assert reward("6*7</think>42", "42", prompt="What?<think>\n").value == 1.0
    assert reward("42", "42", prompt="What?").value == 1.0


# --- numbers, by brute force
# --------------------------------------------------------------------------------------------


def spellings(number):
    """Other ways to write a fraction, made without the code under test."""
    sign, size = ("-" if number < 0 else ""), abs(number)
    ways = [
        f"{sign}\\frac{{{size.numerator}}}{{{size.denominator}}}",
        f"{sign}{size.numerator}/{size.denominator}",
    ]
    if size.denominator == 1:
        whole = size.numerator
        ways = [
            f"{sign}{whole}",
            f"{sign}{whole:,}",
            f"{sign}{whole}.0",
            f"{sign}{whole}e0",
            f"${sign}{whole}$",
            f"{sign}\\${whole}",
        ]
    elif 10**12 % size.denominator == 0:
        ways.append(format(Decimal(number.numerator) / Decimal(number.denominator), "f"))
    return ways


fractions = st.fractions(min_value=-(10**6), max_value=10**6, max_denominator=10**4)


@given(fractions, fractions)
def test_two_numbers_are_equal_exactly_when_their_fractions_are(a, b):
    for gold in spellings(a):
        for answer in spellings(a):
            assert value(math_answer.correct(f"Answer: {answer}", gold)) == 1.0, (gold, answer)
        if a != b:
            assert all(
                value(math_answer.correct(box(answer), gold)) == 0.0 for answer in spellings(b)
            )


@given(fractions, fractions, st.sampled_from([0.0, 0.001, 0.1]), st.sampled_from([0.0, 0.5, 10.0]))
def test_numeric_is_within_the_larger_tolerance(a, b, rel_tol, abs_tol):
    near = abs(a - b) <= max(Fraction(rel_tol) * abs(a), Fraction(abs_tol))
    gold, answer = spellings(a)[0], spellings(b)[0]
    assert numeric.equal(answer, gold, rel_tol=rel_tol, abs_tol=abs_tol).value == float(near)


def test_numeric_takes_numbers_only():
    cases = {
        ("x=42", "42"): 1.0,
        ("41=42", "42"): 0.0,
        ("x", "5"): 0.0,
        ("5", "x"): None,
        ("5 cm", "5 m"): 0.0,
    }
    cases |= {
        ("1e3", 1000): 1.0,
        ("0.1", 0.1): 1.0,
        ("50%", "50"): 0.0,
        ("nan", "5"): 0.0,
        ("5", ""): None,
    }
    assert {case: numeric.equal(*case).value for case in cases} == cases
    assert numeric.equal(r"\pi", "3.14159", abs_tol=1).value == 0.0
    with pytest.raises(RewardError, match="rel_tol -1"):
        numeric.equal("1", "1", rel_tol=-1)
    for name in ("several", "denied", "thinking"):
        assert {c: got for c, got in paid(WRONG[name], numeric.equal).items() if got != 0.0} == {}


ABOUT = [
    "Answer: ≈ 3.14", "Answer: about 3.14", "The answer is approximately 3.14.", "Answer: ~3.14", box(r"\approx 3.14"),
    box(r"x \approx 3.14"), box(r"3.14\ldots"), "Answer: 3.14...", box(r"\frac{22}{7} \approx 3.143"), box(r"\sim 3.14"),
    box(r"\text{approximately } 3.14"), "Answer: around 3.14", "The answer is about 3.14 cm.", box(r"\pi \approx 3.14"),
    "Antwort: etwa 3.14", "Réponse : environ 3.14", "Ответ: примерно 3.14", "答案：约3.14", "Antwort: ca. 3.14",
]  # fmt: skip


def test_numeric_takes_an_approximation_where_there_is_a_tolerance_and_nowhere_else():
    assert [text for text in ABOUT if numeric.equal(text, 3.14159, rel_tol=0.01).value != 1.0] == []
    assert [
        text for text in ABOUT if numeric.equal(text, 3.14159, rel_tol=0.0001).value != 0.0
    ] == []
    assert [text for text in ABOUT if numeric.equal(text, 3.14).value != 0.0] == []
    assert [text for text in ABOUT if math_answer.correct(text, 3.14).value != 0.0] == []
    wrong = [
        box(r"3.14 \pm 0.01"), box(r"\pi"), "Answer: about 3 or 3.14", box(r"5 \approx 3.14"), box(r"\approx 2"), box("x<3.14"),
        "The answer is not approximately 3.14.", "Answer: about 2", box(r"\pi \approx 5"), "Answer: at least about 3.14",
    ]  # fmt: skip
    assert [text for text in wrong if numeric.equal(text, 3.14159, rel_tol=0.01).value != 0.0] == []


@settings(max_examples=60, deadline=None)
@given(st.integers(-9, 9), st.integers(-9, 9), st.integers(-9, 9), st.integers(-9, 9))
def test_polynomials_are_equal_exactly_when_their_coefficients_are(a, b, c, d):
    product = [a * c, a * d + b * c, b * d]
    text = f"({a}x+{b})({c}x+{d})".replace("+-", "-")
    expanded = f"{product[0]}x^2+{product[1]}x+{product[2]}".replace("+-", "-")
    other = f"{product[0]}x^2+{product[1]}x+{product[2] + 1}".replace("+-", "-")
    assert value(math_answer.correct(box(text), expanded)) in (
        (1.0,) if any(product) else (0.0, 1.0)
    )
    assert value(math_answer.correct(box(text), other)) == 0.0


# --- exact, normalisation
# -----------------------------------------------------------------------------------------------


def test_exact_is_the_whole_text():
    right = [
        ("42", " 42\n"),
        ("42", "４２"),
        ("42", "4\u200b2"),
        (42, "42"),
        ("a b", "a \n b"),
        ("e\u0301", "é"),
    ]
    right += [("42", "<think>x</think>42")]
    wrong = [
        ("42", "4²"),
        ("42", "142"),
        ("42", "42."),
        ("42", ""),
        ("42", "the 42"),
        ("A", "\u0410"),
        ("paris", "Paris"),
    ]
    wrong += [
        ("42", "<think>42"),
        ("1", "①"),
        ("1/2", "½"),
        ("42", "\u202e24"),
        ("42", r"\boxed{42}"),
    ]
    assert set(paid(right, exact.match).values()) == {1.0}
    assert set(paid(wrong, exact.match).values()) == {0.0}
    assert {exact.match("x", gold).value for gold in ("", None, "\u200b", True)} == {None}
    assert exact.match("PARIS", "paris", ignore_case=True).value == 1.0


def test_one_of_several_golds_is_enough_for_exact_and_no_more_than_one():
    golds = ["Paris", "Lutetia", 42]
    assert {
        exact.match(text, golds).value
        for text in ("Paris", " Lutetia\n", "42", "<think>x</think>Paris")
    } == {1.0}
    wrong = (
        "Rome",
        "paris",
        "Paris Lutetia",
        "Paris, Lutetia",
        "Paris or Lutetia",
        '["Paris"]',
        str(golds),
        "",
        "Par",
    )
    assert {exact.match(text, golds).value for text in wrong} == {0.0}
    assert exact.match("PARIS", ("paris", "x"), ignore_case=True).value == 1.0
    assert {
        exact.match("x", bad).value
        for bad in ([], (), [""], ["x", None], ["x", ""], [["x"]], [True], {"x": 1})
    } == {None}
    # A text is one gold, whatever it looks like.
    assert exact.match('["Paris"]', '["Paris"]').value == 1.0
    assert exact.match("Paris", '["Paris"]').value == 0.0


@given(
    st.text(max_size=30),
    st.sampled_from(["NFC", "NFD", "NFKC"]),
    st.sampled_from(["", " ", "\n", "\u200b"]),
)
def test_exact_ignores_unicode_form_space_around_and_hidden_characters(text, form, around):
    if exact.match(text, text).value is None or "<" in text:
        return
    written = unicodedata.normalize(form, text) if form != "NFKC" or text.isascii() else text
    assert exact.match(around + written + around, text).value == exact.match(text, text).value


def test_exact_is_fast():
    started = time.perf_counter()
    for _ in range(2000):
        exact.match("42", "42")
    assert time.perf_counter() - started < 0.5


# --- multiple choice
# ----------------------------------------------------------------------------------------------------


def test_multiple_choice_is_one_letter():
    right = [
        ("C", c)
        for c in (
            "C",
            "(C)",
            "C.",
            "c",
            box("C"),
            box(r"\text{C}"),
            "Answer: C",
            "The correct answer is (C).",
        )
    ]
    right += [
        ("C", c)
        for c in (
            "The answer is (C) Paris.",
            "Answer: C. Paris",
            "C) Paris",
            "**C**",
            "option C",
            "Ｃ",
        )
    ]
    right += [("(C)", "<answer>C</answer>"), ("2", "C"), (2, "C"), (0, "A")]
    wrong = [
        ("C", c)
        for c in (
            "ABCD",
            "A, B, C or D",
            "\u0421",
            "B",
            "C or D",
            "C/D",
            "C and D",
            "I like Cats",
            "",
            "AC",
        )
    ]
    wrong += [
        ("C", c)
        for c in (
            r"\boxed{C} \boxed{D}",
            "The answer is not C.",
            "C. Paris or D. Oslo",
            "Answer: C. Or D.",
        )
    ]
    wrong += [
        ("C", c)
        for c in ("(C) Paris (D) Oslo", "<think>C</think>", "Answer: A\nAnswer: C", "Answer: C, D")
    ]
    assert {
        case: got for case, got in paid(right, multiple_choice.correct).items() if got != 1.0
    } == {}
    assert {
        case: got for case, got in paid(wrong, multiple_choice.correct).items() if got != 0.0
    } == {}
    assert {multiple_choice.correct("C", gold).value for gold in ("Paris", "", None, 99, [1])} == {
        None
    }


def test_with_the_choices_the_text_beside_the_letter_must_be_its_own():
    choices = ["Rome", "Oslo", "Paris", "Vitamin A"]
    answers = {"C": 1.0, "C. Paris": 1.0, "(C) paris": 1.0, "C. Oslo": 0.0, "B. Oslo": 0.0}
    assert {text: multiple_choice.correct(text, "C", choices).value for text in answers} == answers
    assert multiple_choice.correct("D. Vitamin A", 3, choices).value == 1.0


# --- formats, regex
# -----------------------------------------------------------------------------------------------------

THINK = {
    "<think>a</think>b": 1, "\n<think>\na\n</think>\n\nb\n": 1, "<think></think>b": 0, "<think>a</think>": 0,
    "<think> </think>\\boxed{}": 0, "<think>x</think></think></think>": 0, "a<think>x</think>b": 0,
    "<think>a<think>b</think>c": 0, "a</think>b": 0, "```\n<think>a</think>b\n```": 0, "<think>.</think>.": 0,
    "</think>a<think>b": 0, "<think>\u200b</think>\u200b": 0, "": 0, "<think>a</think>b<think>c</think>d": 0,
}  # fmt: skip
TAGS = {
    "<think>a</think>\n<answer>b</answer>": 1, "<think></think><answer></answer>": 0, "<think>a</think><answer>b": 0,
    "<think>a</think><answer>b</answer>c": 0, "<answer>b</answer><think>a</think>": 0, "x<think>a</think><answer>b</answer>": 0,
    "<think>a<answer>b</answer></think>": 0, "<think>a</think><answer>b</answer><answer>c</answer>": 0,
    "<think>a</think>x<answer>b</answer>": 0, "<think><answer></think><answer>b</answer>": 0, "<think>a</think>": 0,
    "<think>a</answer></think><answer>b</answer>": 0, "<think>a</think><answer><think></answer>": 0,
    "<think>a</think>\n```\n<answer>b</answer>\n```": 0, "<think>\u200b</think><answer>-</answer>": 0,
}  # fmt: skip
BOXED = {
    box("5"): 1, box(r"\pi"): 1, box(r"\frac{1}{2}"): 1, "the boxed answer: $\\boxed{x}$": 1, box(""): 0, box(" "): 0,
    r"\boxed{5}\boxed{5}": 0, box(box("5")): 0, r"<think>\boxed{5}</think>x": 0, box(r"\text{}"): 0, r"\boxed{5": 0,
    box(r"\frac{}{}"): 0, r"\boxed 5": 0, r"\boxed{} \boxed{5}": 0, box("\u200b"): 0, "5": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("reward", "cases"), [(formats.think, THINK), (formats.tags, TAGS), (formats.boxed, BOXED)]
)
def test_formats_pay_for_one_whole_shape_with_something_in_it(reward, cases):
    assert {text: reward(text).value for text in cases} == cases


def test_a_box_in_code_is_a_format_only_where_it_is_an_answer():
    """The format that closes a gate and the reward behind it read the same box."""
    for text in (
        "`{}`", "The answer is `{}`.", "`${}$`", "``{}``", "**`{}`**", "```\n{}\n```", "{}", "The `x` is {} and `y` is not.",
        "**{}**", "`x` = {}",
    ):  # fmt: skip
        written = text.replace("{}", r"\boxed{5}")
        assert formats.boxed(written).value == math_answer.correct(written, answer="5").value, (
            written
        )
    assert formats.boxed(r"\boxed{`5`}").value == formats.boxed("\\boxed{50\\%}").value == 1.0
    assert (
        formats.boxed("\\boxed{% 5\n}").value
        == formats.boxed(r"\boxed{5} `\boxed{6}`").value
        == 0.0
    )


def test_formats_take_what_the_prompt_opened_and_other_tags():
    assert formats.think("a</think>b", prompt="q<think>\n").value == 1.0
    assert formats.tags("<plan>a</plan><code>b</code>", tags=["plan", "code"]).value == 1.0
    for bad in ([], ["a", "a"], "think", ["a b"]):
        with pytest.raises(RewardError, match="formats:tags"):
            formats.tags("x", tags=bad)


def test_regex_matches_the_whole_completion():
    cases = {
        ("42", r"\d+"): 1,
        (" 42\n", r"\d+"): 1,
        ("142", "42"): 0,
        ("42\nx", r"\d+$"): 0,
        ("\\d+", r"\d+"): 0,
    }
    cases |= {("<a>\nx</a>", "<a>.*</a>"): 1, ("a\n42\nb", "^42$"): 0, ("", r"\d+"): 0}
    assert {case: regex.match(*case).value for case in cases} == cases
    assert regex.match("YES", "yes", ignore_case=True).value == 1.0
    with pytest.raises(RewardError, match="not a regular expression"):
        regex.match("x", "(")


# --- length, repetition
# -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokens", "punishment"),
    [
        (0, 0.0),
        (16384, 0.0),
        (16385, -1 / 4096),
        (18432, -0.5),
        (20479, -4095 / 4096),
        (20480, -1.0),
        (99999, -1.0),
    ],
)
def test_overlong_is_equation_13_of_dapo(tokens, punishment):
    # The paper's setting: 20,480 tokens at most, of which the last 4,096 are punished.
    assert length.overlong(range(tokens), max_length=20480, cache=4096) == pytest.approx(
        punishment, abs=1e-12
    )


def test_overlong_and_target_refuse_what_makes_no_sense():
    for bad in ((10, 0), (10, 10), (10, 20)):
        with pytest.raises(RewardError, match="cache"):
            length.overlong([1], *bad)
    with pytest.raises(RewardError, match="target"):
        length.target("a", [1], 0)


def test_target_falls_linearly_on_both_sides():
    found = [
        length.target("text", range(n), target=10, tolerance=5).value
        for n in (0, 5, 6, 10, 12, 15, 30)
    ]
    assert found == pytest.approx([0, 0, 0.2, 1, 0.6, 0, 0])
    assert length.target("text", range(5), target=10).value == 0.5
    assert length.target(" \n", range(10), target=10).value == 0.0


def test_repetition_counts_the_ngrams_that_recur():
    assert repetition.penalty("a b c d e f") == 0.0
    assert repetition.penalty("a b") == 0.0
    # abc bca cab abc: 3 of 4 differ; numbering and case hide nothing.
    assert repetition.penalty("a b c A B C") == pytest.approx(-0.25)
    assert repetition.penalty("1. a b c 2. a b c") == pytest.approx(-0.25)
    assert repetition.penalty(
        "", [1, 2, 3, 1, 2, 3], unit="tokens", max_penalty=-2.0
    ) == pytest.approx(-0.5)
    assert repetition.penalty("again " * 100) < -0.98
    for bad in ({"n": 0}, {"max_penalty": 1.0}, {"unit": "lines"}):
        with pytest.raises(RewardError, match="repetition:penalty"):
            repetition.penalty("a", **bad)


# --- nothing hangs
# ------------------------------------------------------------------------------------------------------

BOMBS = {
    "tower": box("9^{9^{9^9}}"), "towers": box("5^{5^{5^{5^5}}}-5^{5^{5^{5^5}}}"), "power": box("3^{3^{18}}"),
    "factorial": box("10000000!"), "sum": box(r"\sum_{k=1}^{3000}k^k"), "root": box(r"\sqrt{10^{100000}+1}"),
    "binomial": box(r"\binom{100000000}{50000000}"), "brackets": box("(" * 2000 + "1" + ")" * 2000),
    "few brackets": box("(" * 100 + "1" + ")" * 100), "spaces": box(" " * 199_000), "set": box(r"\{" + "1," * 5000 + r"1\}"),
    "fractions": box(r"\frac{" * 300 + "1" + "}{2}" * 300), "roots": box(r"\sqrt{" * 300 + "2" + "}" * 300),
    "digits": box("9" * 10**6), "some digits": box("9" * 900), "exponent": box("1e999999999"), "ten": box("10^{999999999}"),
    "matrix": box(r"\begin{pmatrix}" + r"\\".join(["&".join(["x^{9^9}"] * 30)] * 30) + r"\end{pmatrix}"),
    "dollars": "$" * 50_000, "surrogate": box("\ud800"), "nul": box("4\x002"), "10 MB": "a\n" * 5_000_000,
    "rtl": box("\u202e24") * 1000, "combining": "a" + "\u0301\u0323" * 90_000, "boxes": box("42") + box("41") * 20_000,
    "open boxes": r"\boxed{" * 28_000, "answers": "answer is " * 18_000, "hashes": "#### \n" * 30_000, "struck": "<s>" * 60_000,
    "thinks": "<think>" * 20_000, "closes": "</think>" * 20_000, "cancels": r"\cancel{x}" * 18_000, "fences": "```" * 60_000,
    "tags": "<answer>" * 24_000, "json": '{"a":' * 38_000, "denials": "not " * 45_000 + box("42"), "quotes": ">" * 190_000,
    "exponentials": box(r"\exp(\exp(\exp(\exp(9))))"), "cosh": box("\\cosh(9^{99})"), "angle": box(r"\sin(10^{99})"),
    "polynomial": box("+".join(["(x+y)^{9}"] * 14)), "bars": box("|" * 40 + "x" + "|" * 40), "minuses": box("-" * 79 + "x"),
    "list": box(",1" * 400), "reason": "Answer: " + " " * 180_000 + "x", "subscripts": box("x" + "_{x" * 6 + "}" * 6),
}  # fmt: skip
REWARDS = {
    "math": lambda text: math_answer.correct(text, "42"),
    "algebra": lambda text: math_answer.correct(text, r"x^2+\sqrt{2}"),
    "last number": lambda text: math_answer.correct(text, "42", extract="last_number"),
    "numeric": lambda text: numeric.equal(text, "42"),
    "choice": lambda text: multiple_choice.correct(text, "C"),
    "exact": lambda text: exact.match(text, "42"),
    "think": formats.think,
    "tags": formats.tags,
    "boxed": formats.boxed,
    "repetition": repetition.penalty,
    "regex": lambda text: regex.match(text, r"(?:\w+\s?)*<answer>.*?</answer>"),
}


def seconds_in_a_thread(reward, text):
    result = []

    def call():
        # The thread's own time: what else the machine does is not the reward's fault.
        started = time.thread_time()
        result.append((value(reward(text)), time.thread_time() - started))

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(30)
    assert result, "it hangs"
    return result[0]


@pytest.mark.parametrize("name", REWARDS)
def test_no_text_takes_a_reward_more_than_a_second_in_a_thread(name):
    REWARDS[name](box("x+1"))  # libraries load once
    slow = {
        bomb: took
        for bomb, text in BOMBS.items()
        if (took := seconds_in_a_thread(REWARDS[name], text))[1] > 1.0
    }
    assert slow == {}


def test_no_bomb_is_paid():
    for bomb, text in BOMBS.items():
        assert value(math_answer.correct(text, "42")) == 0.0, bomb
        assert value(math_answer.correct("41", text)) in (0.0, None), bomb


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"(a|aa)+$", "a" * 50_000 + "!"),
        (r"(a|a?)+b", "a" * 60),
        (r"(.*)(.*)(.*)(.*)(.*)x", "a" * 5000),
    ],
)
def test_a_pattern_that_explodes_is_cut_off(pattern, text):
    got, took = seconds_in_a_thread(lambda completion: regex.match(completion, pattern), text)
    assert got == 0.0
    assert took < 1.0


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_no_text_raises(text):
    for name, reward in REWARDS.items():
        assert value(reward(text)) is not None, name
    for wrapped in (box(text), f"Answer: {text}", f"<answer>{text}</answer>"):
        assert REWARDS["math"](wrapped).value in (0.0, 1.0)
    assert math_answer.correct("5", text).value in (0.0, 1.0, None)


@given(
    st.text(alphabet=r"\{}^_$()[]|+-*/=<>,.!%0123456789xyne fracsqtbompi", max_size=40),
    st.text("x+-^(){}2", max_size=15),
)
@settings(max_examples=300, deadline=None)
@example(".0x", "x")
def test_no_latex_raises(text, gold):
    assert math_answer.correct(box(text), "42").value in (0.0, 1.0)
    assert math_answer.correct(box(text), gold or "x").value in (0.0, 1.0, None)
    assert json.dumps(math_answer.correct(box(text), gold).why)


# --- what was once misjudged
# ---------------------------------------------------------------------------------------------


def test_what_was_once_misjudged_is_judged_right():
    right, wrong = (
        paid(answers_mended.RIGHT, math_answer.correct),
        paid(answers_mended.WRONG, math_answer.correct),
    )
    assert {case for case, score in right.items() if score != 1.0} == set()
    assert {case for case, score in wrong.items() if score != 0.0} == set()


@pytest.mark.parametrize("table", ["RIGHT", "WRONG", "CHOSEN", "NOT_CHOSEN"])
def test_what_is_said_around_an_answer_decides_whether_it_is_one(table):
    reward = math_answer if table in ("RIGHT", "WRONG") else multiple_choice
    expected = float(table in ("RIGHT", "CHOSEN"))
    cases = paid(getattr(answers_said, table), reward.correct)
    assert {case for case, score in cases.items() if score != expected} == set()


def test_the_last_number_is_taken_only_where_no_answer_is_marked():
    """A marked answer that is no number stays what it is."""
    marked = [
        r"\boxed{x<5}",
        "Answer: x < 5",
        "The answer is (3, 5).",
        "#### 3 or 5",
        "<answer>between 3 and 5</answer>",
        # fmt: skip
        r"\boxed{\text{no solution}}, not even 5",
        r"\boxed{\frac{x}{5}}",
        "Respuesta: x > 5",
    ]
    assert [
        text
        for text in marked
        if value(math_answer.correct(text, "5", extract="last_number")) != 0.0
    ] == []
    unmarked = ["She has 3+2 = 5 apples.", "So it is\n5", "First 3.\nThen 5 apples, altogether."]
    assert [
        text
        for text in unmarked
        if value(math_answer.correct(text, "5", extract="last_number")) != 1.0
    ] == []


LISTED = [
    r"The solutions are \boxed{1} and \boxed{-2}.",
    r"$x = \boxed{1}$ or $x = \boxed{-2}$",
    "\\boxed{1}\n\\boxed{-2}",
    r"One is $\boxed{1}$. The other is $\boxed{-2}$.",
    r"$x_1=\boxed{-2},\quad x_2=\boxed{1}$",
    "Answer: 1, -2",
    # fmt: skip
    r"\[ \boxed{1} \text{ and } \boxed{-2} \]",
    r"Die Lösungen sind \boxed{1} und \boxed{-2}.",
]
UNLISTED = [
    r"\boxed{1}",
    r"\boxed{1}, \boxed{-2} and \boxed{3}",
    r"It is not \boxed{1} or \boxed{-2}.",
    r"(\boxed{1}, \boxed{-2})",
    # fmt: skip
    r"\boxed{1}+\boxed{-2}",
    r"\boxed{1} is wrong. \boxed{-2}",
    r"\boxed{1}\boxed{-2}x",
    "Answer: 1\n-2",
]


def test_several_boxes_are_one_list_on_request():
    assert [
        text for text in LISTED if value(math_answer.correct(text, "1,-2", several="list")) != 1.0
    ] == []
    assert [
        text for text in UNLISTED if value(math_answer.correct(text, "1,-2", several="list")) != 0.0
    ] == []
    assert (
        value(math_answer.correct(LISTED[0], "1,-2"))
        == value(math_answer.correct(LISTED[0], "1", several="list"))
        == 0.0
    )


def test_the_last_marked_answer_counts_on_request():
    text = r"First attempt gives \boxed{5}. That is wrong; correcting, the answer is \boxed{7}."
    paid_for = {gold: value(math_answer.correct(text, gold, several="last")) for gold in ("5", "7")}
    assert paid_for == {"5": 0.0, "7": 1.0}
    assert (
        value(numeric.equal(text, 7, several="last")) == 1.0
        and value(numeric.equal(text, 7)) == 0.0
    )
    letters = r"First I thought \boxed{C}, but on balance the answer is \boxed{E}"
    assert [value(multiple_choice.correct(letters, gold, several="last")) for gold in "CE"] == [
        0.0,
        1.0,
    ]
    for denied in (
        r"\boxed{5}. It is not \boxed{7}.",
        "\\boxed{7}\n5",
        r"\boxed{7}. No, that is wrong.",
        r"\boxed{5} and \boxed{7}x",
    ):
        assert value(math_answer.correct(denied, "7", several="last")) == 0.0


@pytest.mark.parametrize(("locale", "right", "wrong"), [
    ("de", [("3.5", "Antwort: 3,5"), (3.5, box("3,5")), ("3,5", box("3{,}5")), (1234.5, "1.234,50"), ("1.234", "1234"),
            ("3,5", "3.5"), ("(1,2)", box("(1,2)")), ("1;2", "1; 2"), ("12345,6", "12 345,6")],
           [("35", "3,5"), ("1.234", "1,234"), (1.234, "1.234"), ("1,2", "1, 2"), ("1.2", "(1,2)")]),
    ("fr", [("3.5", "La réponse est 3,5."), ("1.234", "1,234"), (1234.5, "1 234,5")], [("1234", "1.234"), ("1234", "1,234")]),
    ("zh", [("1234", "答案是1,234"), ("3.5", "答案：3.5")], [("3.5", "答案：3,5")]),
])  # fmt: skip
def test_numbers_are_written_as_the_locale_says(locale, right, wrong):
    assert [
        case for case in right if value(math_answer.correct(case[1], case[0], locale=locale)) != 1.0
    ] == []
    assert [
        case for case in wrong if value(math_answer.correct(case[1], case[0], locale=locale)) != 0.0
    ] == []
    assert value(math_answer.correct("Antwort: 3,5", "3.5")) == 0.0


def test_a_letter_may_be_named_in_a_sentence_or_by_its_text():
    said = ["The correct option is C.", "I choose C.", "So the correct choice is (C).", "Option C is correct.", "It's C.",
            "Thus, C is the answer.", "The answer is option C: Rome.", "Rome", "The answer is Rome.",
            "The answer is C, because A and B are excluded.", "C<|im_end|>", "Answer: C - Rome",
            "The answer is C, Rome.", "Answer: C (Rome)", "Answer: C (not D)"]  # fmt: skip
    denied = ["I choose not C.", "Option C is wrong.", "It is false that:\nC is correct.", "C is the third letter",
              "Paris", "C) Paris", "\u216d", "I choose C or D.",
              "C, maybe D", "Answer: C - or D"]  # fmt: skip
    choices = ["London", "Paris", "Rome", "Berlin"]
    assert [
        text for text in said if value(multiple_choice.correct(text, "C", choices)) != 1.0
    ] == []
    assert [
        text for text in denied if value(multiple_choice.correct(text, "C", choices)) != 0.0
    ] == []
    assert (
        value(multiple_choice.correct("C", "Rome", choices))
        == value(multiple_choice.correct("C", "C) Rome"))
        == 1.0
    )


@pytest.mark.parametrize(
    "nothing",
    ["\u3164", "\u2800", "&nbsp;", "<br>", "<!-- x -->", "<i></i>", r"\boxed{}", r"\phantom{4}"],
)
def test_what_shows_nothing_fills_no_format(nothing):
    assert (
        value(formats.think(f"<think>{nothing}</think>four"))
        == value(formats.think(f"<think>a</think>{nothing}"))
        == 0.0
    )
    assert value(formats.tags(f"<think>a</think><answer>{nothing}</answer>")) == 0.0
    assert value(formats.boxed(rf"\boxed{{{nothing}}}")) == 0.0


def test_a_box_that_is_hidden_is_no_box():
    hidden = [r"<!-- \boxed{4} -->", "```\n\\boxed{4}\n```", r"% \boxed{4}", r"~~\boxed{4}~~"]
    assert [text for text in hidden if value(formats.boxed(text)) != 0.0] == []


def test_a_calculation_ends_in_its_value_only_when_it_is_true():
    assert value(math_answer.correct("The answer is 9 * 2 = 18.", "18")) == 1.0
    assert value(math_answer.correct(r"\boxed{x = 36/2 = 18}", "18")) == 1.0
    for text in ("9 * 3 = 18", "18 = 9 * 2", "5 = 18", "18 = 18", "x = 17 = 18"):
        assert value(math_answer.correct(rf"\boxed{{{text}}}", "18")) == 0.0


@pytest.mark.parametrize("unit", ["eggs", "eggs a day", "people", "per day", "more eggs"])
def test_a_count_may_say_what_it_counts(unit):
    assert value(math_answer.correct(f"The answer is 18 {unit}.", "18")) == 1.0
    assert value(math_answer.correct(f"18 {unit}", "18 cm")) == 0.0


@pytest.mark.parametrize(
    "word",
    [
        "dozen",
        "pairs",
        "thousand",
        "hundredths",
        "percent",
        "squared",
        "or more",
        "minus 1",
        "mod 19",
    ],
)
def test_a_word_that_changes_a_number_is_not_dropped(word):
    assert value(math_answer.correct(f"18 {word}", "18")) == 0.0
