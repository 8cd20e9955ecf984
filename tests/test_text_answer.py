"""Short answers with several golds: the same once normalised; F1 against the definition of SQuAD;
what keeps its meaning.
"""

import collections
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_fns import text_answer

SAME = [
    ("the Eiffel Tower", "Eiffel tower."), ("Answer: U.S.", "US"), ("**Paris**", "paris"), ("1,000", "1000"),
    ("The answer is Niels Bohr.", "niels bohr"), ("<answer>O\u2019Brien</answer>", "O'Brien"), ("\u65e5\u672c", "\u65e5\u672c"),
    ("<think>London</think>Paris", "Paris"), ("well-known", "well known"), ("The The", "the The"), ("-5 %", "-5%"),
    ("\u0915\u0940", "\u0915\u0940"), ("$1/2$", "1/2"), ("C#", "c#"), ("yes", "Yes"), ("A", "a"), ("It is Paris.", "Paris"),
]  # fmt: skip
OTHER = [
    ("Paris or London", "Paris"), ("35", "3.5"), ("5", "-5"), ("5%", "5"), ("$5", "5"), ("C++", "C"), ("C#", "C"), ("", "Paris"),
    ("1 2", "1/2"), ("\u0915", "\u0915\u0940"), ("not Paris", "Paris"), ("<think>Paris</think>", "Paris"),
    ("Paris, France", "Paris"),
    ("<answer>Paris</answer><answer>London</answer>", "Paris"), ("[0,1]", "(0,1)"), ("Paris" + "," * 6000, "Paris"), ("12", "1 2"),
    ("It is not Paris.", "Paris"), ("42\u0338", "42"), ("Paris Paris", "Paris"),
]  # fmt: skip


def test_an_answer_is_the_gold_up_to_its_dress():
    assert [pair for pair in SAME if text_answer.match(*pair).value != 1.0] == []
    assert [pair for pair in SAME if text_answer.f1(*pair).value != 1.0] == []
    assert [pair for pair in OTHER if text_answer.match(*pair).value != 0.0] == []


def test_one_of_several_golds_is_enough():
    for golds in (
        ["Bohr", "Niels Bohr"],
        ("Niels Bohr", "Bohr"),
        '["Bohr", "Niels Bohr"]',
        ["Bohr", 5],
    ):
        assert text_answer.match("Bohr.", golds).value == 1.0
        assert text_answer.match("Einstein", golds).value == 0.0
    assert text_answer.match("[5", "[5").value == 1.0  # a text that begins like a list and is none


@pytest.mark.parametrize(
    "answer", [None, "", [], ["Bohr", ""], ["Bohr", None], True, {"a": 1}, "..."]
)
def test_a_column_without_an_answer_cannot_be_judged(answer):
    told = text_answer.match("Bohr", answer)
    assert told.value is None and told.why
    assert text_answer.f1("Bohr", answer).value is None


def squad(completion, gold):
    """The F1 of SQuAD's evaluation, by its definition."""

    def words(text):
        plain = "".join(sign for sign in text.lower() if sign not in string.punctuation)
        return re.sub(r"\b(a|an|the)\b", " ", plain).split()

    said, right = words(completion), words(gold)
    common = sum((collections.Counter(said) & collections.Counter(right)).values())
    precision, recall = common / max(1, len(said)), common / max(1, len(right))
    return 2 * precision * recall / (precision + recall) if common else 0.0


WORDS = st.lists(
    st.sampled_from(["the", "red", "fox", "jumps", "over", "a", "lazy", "dog"]),
    min_size=1,
    max_size=9,
).map(" ".join)


@given(WORDS, WORDS)
def test_on_plain_words_f1_is_squads(completion, gold):
    if squad(gold, gold):
        assert text_answer.f1(completion, gold).value == pytest.approx(squad(completion, gold))


def test_f1_pays_no_denial_and_no_part_of_yes_or_no():
    assert text_answer.f1("in Paris", ["London", "Paris"]).value == pytest.approx(2 / 3)
    for completion, gold in [
        ("not in Paris", "Paris"),
        ("it isn't in Paris", "in Paris"),
        ("yes indeed", "yes"),
        ("no", "no country"),
    ]:
        assert text_answer.f1(completion, gold).value == 0.0
    assert text_answer.f1("not here", "not here now").value > 0


@pytest.mark.parametrize("marked", ["Answer: Paris", "<answer>Paris</answer>"])
def test_a_long_reply_is_read_where_it_marks_a_short_answer(marked):
    reply = "Many cities come to mind. " * 300
    assert text_answer.match(f"{reply}\n\n{marked}", "Paris").value == 1.0
    assert text_answer.match(f"{reply}\n\n{marked}", "London").value == 0.0
    assert text_answer.match(reply + "Paris", "Paris").value == 0.0
    assert text_answer.match(reply.replace("cities", "Paris") + f"\n{marked}", "Paris").value == 1.0
    assert text_answer.match(marked + "," * 6000, "Paris").value == 0.0
    assert text_answer.match(marked + "," * 6000 + "\nParis", "Paris").value == 0.0
