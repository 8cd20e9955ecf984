"""Instruction following: each of IFEval's instructions, followed and broken, and rows that cannot
be checked.
"""

import json

import pytest

from reward_fns import instructions
from reward_fns._instructions.checks import CHECKS, paragraphs, sentences
from reward_fns._instructions.languages import _COMMON, is_in

RIGHT_AND_WRONG = [
    ("keywords:existence", {"keywords": ["sea", "north wind"]}, "The sea and the North wind.", "The seaside and the north wind."),
    ("keywords:frequency", {"keyword": "sea", "frequency": 2, "relation": "at least"}, "Sea, sea.", "Sea and season."),
    ("keywords:frequency", {"keyword": "sea", "frequency": 2, "relation": "less than"}, "One sea.", "Sea, sea."),
    ("keywords:forbidden_words", {"forbidden_words": ["cat", "dog"]}, "A category.", "A cat."),
    ("keywords:letter_frequency", {"letter": "Z", "let_frequency": 2, "let_relation": "at least"}, "Pizza", "Size"),
    ("language:response_language", {"language": "de"}, "Der Hund ist nicht im Haus.", "The dog is not in the house."),
    ("language:response_language", {"language": "ru"}, "Он не был дома, и это всё.", "Він не був удома, і це все."),
    ("language:response_language", {"language": "ta"}, "அவன் வீட்டில் இல்லை", "He is at home"),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, "Mr. Li came. He ate 3.5 pies",
     "Mr. Li ate 3.5 pies."),
    ("length_constraints:number_words", {"num_words": 4, "relation": "less than"}, "Three short words", "Here are four words"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "one\n***\ntwo", "one\n\ntwo"),
    ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"},
     "First it rained.\n\n\"Then\" it did not.", "Then it rained.\n\nIt did not."),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "Dear [name], of [town]", "Dear [name], of []"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\nP. S. Write soon", "Say P.S. at the end.\nP.S."),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "Bye.\nP.P.S Write soon", "Bye.\nP.S. Write soon"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* one\n- two", "* one\n**two**\n---"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*one* and **two**", "*one* and ** **"),
    ("detectable_format:multiple_sections", {"section_spliter": "Section", "num_sections": 2}, "Section 1\na\nSection 2\nb",
     "Section one. Section 2"),
    ("detectable_format:json_format", {}, '```json\n{"a": [1]}\n```', "{'a': 1}"),
    ("detectable_format:title", {}, "<<A title>>\ntext", "<< >>\ntext"),
    ("detectable_format:constrained_response", {}, "My answer is no.", "My answer is no. My answer is yes."),
    ("combination:two_responses", {}, "one\n******\ntwo", "one\n******\none"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Sing a song."}, "Sing a song. La la.", "Sing a song."),
    ("startend:end_checker", {"end_phrase": "The end."}, 'And so on. "The End."', "The end. And so on."),
    ("startend:quotation", {}, '"He came."', '"He came.'),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "at least"}, "NASA and ESA",
     "NASA and Esa"),
    ("change_case:english_capital", {}, "THE DOG IS IN THE HOUSE", "The dog is in the house"),
    ("change_case:english_lowercase", {}, "the dog is in the house", "der hund ist im haus"),
    ("punctuation:no_comma", {}, "One and two.", "One\uff0c and two."),
]  # fmt: skip


def follows(text, name, given, **more):
    return instructions.follow(text, [name], [given], **more)


@pytest.mark.parametrize(("name", "given", "right", "wrong"), RIGHT_AND_WRONG)
def test_an_instruction_is_followed_or_not(name, given, right, wrong):
    assert follows(right, name, given).value == 1.0
    assert follows(f"<think>{wrong}</think>{right}", name, given).value == 1.0
    told = follows(wrong, name, given)
    assert told.value == 0.0 and name in told.why


def test_all_instructions_of_the_paper_are_known_and_tried():
    assert len(CHECKS) == 25 and {row[0] for row in RIGHT_AND_WRONG} == set(CHECKS)


@pytest.mark.parametrize(
    ("name", "given"), sorted({(name, json.dumps(given)) for name, given, *_ in RIGHT_AND_WRONG})
)
def test_saying_nothing_follows_no_instruction(name, given):
    for text in (
        "",
        " \n",
        "\u200b",
        "<think>Section 1, My answer is no.</think>",
        "<!-- no -->",
        "<think>One",
    ):
        assert follows(text, name, json.loads(given)).value == 0.0


def test_the_share_is_paid_where_the_recipe_says_so():
    row = {
        "instruction_id_list": ["punctuation:no_comma", "startend:quotation"],
        "kwargs": [{}, {"num_words": None}],
    }
    assert instructions.follow("No.", **row).value == 0.0
    assert instructions.follow("No.", **row, partial=True).value == 0.5
    as_text = {key: json.dumps(value) for key, value in row.items()}
    assert instructions.follow('"No."', **as_text).value == 1.0


@pytest.mark.parametrize(
    ("names", "given", "said"),
    [
        (["keywords:exist"], [{}], "did you mean 'keywords:existence'"),
        (["keywords:existence"], [{"keywords": None}], "has no 'keywords'"),
        (["keywords:existence"], [{"keywords": [""]}], "an empty keyword"),
        (["keywords:frequency"], [{"keyword": "a", "frequency": 1, "relation": "around"}], "not 'at least' or 'less than'"),
        (["language:response_language"], [{"language": "tlh"}], "cannot be told"),
        (["length_constraints:number_words"], [{"num_words": "many", "relation": "at least"}], "cannot be checked"),
        (["punctuation:no_comma"], [{}, {}], "1 instructions and 2 mappings"),
        ([], [], "0 instructions"),
        ("[1", [{}], "cannot be read"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_checked_is_none_and_says_why(names, given, said):
    told = instructions.follow("Something.", names, given)
    assert told.value is None and said in told.why


def test_sentences_and_paragraphs_are_counted_as_a_reader_counts():
    assert sentences('Dr. No, e.g., paid 3.50. Why?! "Yes." he said') == 4
    assert (
        sentences("\u8fd9\u662f\u3002\u90a3\u662f\u3002") == 2
        and sentences("no end") == 1
        and sentences("") == 0
    )
    assert paragraphs("a\n\n\n b\n\n") == ["a", "b"]


def test_each_language_is_told_from_those_of_its_script_by_its_own_words():
    for language, words in _COMMON.items():
        text = " ".join(sorted(words))
        assert is_in(text, language), language
        assert not [other for other in _COMMON if other != language and is_in(text, other)], (
            language
        )
