"""JSON answers: every way to write the value is paid, and no other value."""

import copy
import json
import random
import time

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from llmpolicy.rewards import RewardError
from reward_fns import json_answer

ANY = {}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 1}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
ADA = {"name": "Ada", "age": 36}

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
)
scalars |= st.text(max_size=8)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=8,
)


def schema(completion, schema=ANY, answer=None, **more):
    return json_answer.schema(completion=completion, schema=schema, answer=answer, **more).value


def written(value, rng):
    """JSON text of a value in one of many formattings."""
    if isinstance(value, dict) and rng.random() < 0.5:
        value = dict(rng.sample(list(value.items()), len(value)))
    indent = rng.choice([None, 0, 2, "\t"])
    separators = rng.choice([(",", ":"), (" , ", " : "), (",\n", ":  ")])
    text = json.dumps(value, indent=indent, separators=separators, ensure_ascii=rng.random() < 0.5)
    around = rng.choice(
        ["{}", " \n{}\n", "```json\n{}\n```", "```\n{}\n```", "<think>so\nit is</think>\n{}"]
    )
    return around.replace("{}", text)


@given(values, st.integers(0, 2**32))
@settings(deadline=None)
def test_every_way_to_write_the_gold_is_paid(value, seed):
    text = written(value, random.Random(seed))
    assume("think>" not in json.dumps(value))
    golds = [json.dumps(value)]
    # None is no answer, and text that is not JSON text stands for itself.
    golds += [value] if value is not None and not isinstance(value, str) else []
    for gold in golds:
        assert schema(text, answer=gold) == 1.0, (text, gold)
    assert json_answer.valid(text).value == 1.0


def mutations(value, rng):
    """Values that differ in one place, each of another type or content, made without the code under
    test.
    """
    if isinstance(value, dict):
        yield {**value, "extra_key": None}
        for key in value:
            yield {other: inner for other, inner in value.items() if other != key}
            yield {
                **{other: inner for other, inner in value.items() if other != key},
                key + "_": value[key],
            }
            for changed in mutations(value[key], rng):
                yield {**value, key: changed}
    elif isinstance(value, list):
        yield [*value, None]
        yield {str(i): inner for i, inner in enumerate(value)}
        for i in range(len(value)):
            yield value[:i] + value[i + 1 :]
            for changed in mutations(value[i], rng):
                yield [*value[:i], changed, *value[i + 1 :]]
        if value != value[::-1] and json.dumps(value) != json.dumps(value[::-1]):
            yield value[::-1]
    elif isinstance(value, bool):
        yield from (not value, int(value), str(value).lower())
    elif isinstance(value, int | float):
        yield from (
            str(value),
            [value],
            value + 1 if abs(value) < 2**50 else -value if value else 1,
            None,
        )
        if value in (0, 1):
            yield bool(value)
    elif isinstance(value, str):
        yield from (value + " ", "x" + value, [value], None, value.swapcase() + "x")
    else:
        yield from ("null", 0, False, "", [])


@given(values)
@settings(max_examples=80, deadline=None)
def test_no_value_that_differs_in_one_place_is_paid(value):
    gold = json.dumps(value)
    for other in mutations(value, random.Random(0)):
        text = json.dumps(other)
        assume("think>" not in text)
        assert schema(text, answer=gold) == 0.0, (text, gold)


def test_types_count_and_a_number_is_a_number():
    same = [
        ("5", "5.0"),
        ("100", "1e2"),
        ("0.1", "0.10"),
        ("0", "-0"),
        (5, "5"),
        (5.0, "5"),
        (1e23, "1" + "0" * 23),
    ]
    other = [
        ("5", '"5"'),
        ("1", "true"),
        ("0", "false"),
        ("null", "false"),
        ("[1]", "1"),
        ('"a"', '"A"'),
        (
            "9007199254740992.0",
            # fmt: skip
            "9007199254740993",
        ),
        ("0", "1e-999"),
        ('""', "null"),
        ("{}", "[]"),
        ('{"a":1,"b":2}', '{"b":2}'),
    ]
    assert {pair: schema(pair[1], answer=pair[0]) for pair in same} == dict.fromkeys(same, 1.0)
    assert {pair: schema(pair[1], answer=pair[0]) for pair in other} == dict.fromkeys(other, 0.0)


ATTACKS = [
    "", "{}", "null", '{"name": "Ada"}', '{"name": "", "age": 0}', '{"name": "Ada", "age": "36"}', '{"name": "Ada", "age": 36.5}',
    '{"name": "Ada", "age": 36, "age": 37}', '{"name": "Bob", "name": "Ada", "age": 36}', '{"name": "Ada", "age": NaN}',
    '{"name": "Ada", "age": Infinity}', '{"name": "Ada", "age": 36,}', "{'name': 'Ada', 'age': 36}", '{"name": "Ada" "age": 36}',
    '{"name": "Ada", "age": 36} I hope this helps.', 'Here it is: {"name": "Ada", "age": 36}', '{"name": "Ada", "age": 36}{}',
    '[{"name": "Ada", "age": 36}]', '{"name": "Ada", "age": 36, "note": 1}', '<think>{"name": "Ada", "age": 36}</think>',
    '<think>{"name": "Ada", "age": 36}', '{"name": "Ada", "age": true}', '{"name": "Ada", "age": null}', "[" * 10_000,
    '```json\n{"name": "Ada", "age": 36}\n```\nDone.', '```json\n{"name": "Ada", "age": 36}\n```\n```json\n{}\n```',
    '```json\n{"name": "Ada", "age": 36}', '{"name": "Ada", "age": 36} // the answer', '"{\\"name\\": \\"Ada\\", \\"age\\": 36}"',
    '{"name": "\u0410da", "age": 36}', '{"name": "Ada\u200b", "age": 36}', '{"name": "ada", "age": 36}', '{"$ref": "http://x/y"}',
    '{"name": "Ada", "age": 037}', '{"name": "Ada", "age": +36}', '{"name": "Ada", "age": 0x24}', '{"Name": "Ada", "age": 36}',
    'not {"name": "Ada", "age": 36}', '```python\n{"name": "Ada", "age": 36}\n```', '{"name": "Ada", "age": 3_6}', "9" * 5000,
    '＜think＞{"name": "Ada", "age": 36}', '｛"name": "Ada", "age": 36｝', '{"name": "Ada", "age": 36}\n<think>',
    '<think>a</think>{"name": "Ada", "age": 36}<think>b</think>{}', '{"name": "Ada", "age": 36}</think>{"name": "Bob", "age": 1}',
]  # fmt: skip


@pytest.mark.parametrize("gold", [ADA, json.dumps(ADA)])
@pytest.mark.parametrize("shape", [PERSON, json.dumps(PERSON)])
def test_no_attack_is_paid_with_the_gold(gold, shape):
    assert {text: paid for text in ATTACKS if (paid := schema(text, shape, gold)) != 0.0} == {}
    for text in (
        json.dumps(ADA),
        json.dumps(ADA, indent=2),
        "```json\n" + json.dumps(ADA) + "\n```",
        '```{"age":36,"name":"Ada"}```',
    ):
        assert schema(text, shape, gold) == 1.0
        assert schema(text, shape) == 1.0
        assert schema(text, shape, {"name": "Bob", "age": 36}) == 0.0


def test_a_schema_alone_says_only_the_shape():
    assert schema('{"name": "x", "age": 0}', PERSON) == 1.0
    assert schema('{"name": "", "age": 0}', PERSON) == 0.0
    assert schema("{}", {"type": "object"}) == 1.0


def test_the_reasoning_is_left_out_and_a_tag_inside_a_string_stays():
    assert schema('6</think>{"a": 6}', answer={"a": 6}, prompt="q<think>") == 1.0
    assert schema('{"a": 6}', answer={"a": 6}, prompt="q<think>") == 0.0
    text = '{"a": "<think>x</think>"}'
    assert schema(text, answer=text) == 1.0
    for value in ("½", "Ａ", "e\u0301", "4²", "a\u200bb", "\ud800"):
        assert schema(json.dumps({"a": value}), answer={"a": value}) == 1.0


def test_golds_may_be_objects_text_or_arrays():
    assert (
        schema("[1, 2]", answer=np.array([1, 2]))
        == schema("[1, 2]", answer=(1, 2))
        == schema("5", answer=np.int64(5))
        == 1.0
    )
    assert schema('"Paris"', answer="Paris") == schema('"Paris"', answer='"Paris"') == 1.0
    assert schema("Paris", answer="Paris") == 0.0
    assert schema('"5"', {"type": "string"}, "5") == schema("5", {"type": "integer"}, "5") == 1.0
    assert schema("5", {"type": "string"}, "5") == schema('"5"', {"type": "integer"}, "5") == 0.0
    for broken in ('{"a": 1', "", "  ", float("nan"), {"a": object()}, {1: 2}, "NaN", "[1,]"):
        score = json_answer.schema("1", ANY, broken)
        assert score.value is None and "cannot be read" in score.why
    assert json_answer.schema("1", {"type": "string"}, 5).value is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"type": "strin"}, "schema['type'] holds 'strin'"), ([1], "expected an object"), ("{", "no JSON"), (None, "expected"),
        ({"$ref": "https://host/x.json"}, "nothing is fetched"), ({"$ref": "#/$defs/x"}, "holds no such thing"), (5, "expected"),
        ({"$ref": "#"}, "itself without end"), ({"minLength": "1"}, "minLength"), ({"a": {1, 2}}, "no JSON"),
        ({"$defs": {"b": {"$ref": "http://h/"}}}, "nothing is fetched"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("completion", ['"x"', "no JSON"])
def test_a_schema_that_is_none_is_refused(wrong, said, completion):
    with pytest.raises(RewardError) as caught:
        json_answer.schema(completion, wrong)
    assert said in str(caught.value)


def test_keywords_of_the_schema():
    cases = [
        ({"pattern": "^a+$"}, '"aa"', 1),
        ({"pattern": "^a+$"}, '"aa\\n"', 0),
        ({"multipleOf": 0.1}, "0.3", 1),
        ({"format": "date"}, '"2024-02-30"', 0),
        ({"format": "date"}, '"2024-02-29"', 1),
        ({"format": "date-time"}, '"2024-02-29T10:00:00Z"', 1),
        ({"format": "date-time"}, '"tomorrow"', 0),
        ({"uniqueItems": True}, "[1, true, 1.5]", 1),
        ({"uniqueItems": True}, "[1, 1.0]", 0),
        (
            {"patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": False},
            '{"x1": 1}',
            1,
        ),
        ({"type": "integer"}, "5.0", 1),
        (
            {"patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": False},
            '{"y": 1}',
            0,
        ),
        ({"const": 1}, "true", 0),
        ({"enum": ["a", 1]}, '"a"', 1),
        ({"enum": ["a", 1]}, "true", 0),
        ({"type": "integer"}, "5.5", 0),
        (True, "1", 1),
        (False, "1", 0),
        ({"additionalProperties": {"type": "string"}}, '{"a": 1}', 0),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "null"}}}, "null", 1),
        (
            {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "integer"}]},
            '["a"]',
            0,
        ),
    ]
    assert [(shape, text) for shape, text, paid in cases if schema(text, shape) != paid] == []
    with pytest.raises(RewardError, match="looks around"):
        schema('"x"', {"pattern": "(?=x)"})


def test_a_recursive_schema_reaches_the_cap_and_no_text_takes_long():
    tree = {
        "$ref": "#/$defs/t",
        "$defs": {"t": {"properties": {"c": {"items": {"$ref": "#/$defs/t"}}}}},
    }
    nested = "{}"
    for _ in range(24):
        nested = f'{{"c": [{nested}]}}'
    assert schema(nested, tree) == 1.0
    slow = {"uniqueItems": True, "items": {"pattern": "^(a+)+$", "not": {"enum": [1]}}}
    bombs = [
        "[" * 100_000,
        '{"a":' * 40_000,
        '"' + '\\"' * 90_000,
        "```" * 60_000,
        "```json" + " " * 190_000 + "x",
        "9" * 190_000,
    ]
    bombs += [
        "[" + ",".join(['"a"', "1"] * 30_000) + "]",
        '["' + "a" * 150_000 + '!"]',
        "1e" + "9" * 100_000,
        "<think>" * 20_000,
    ]
    bombs += [
        "[" + ",".join(f'"{i}a"' for i in range(19_000)) + "]",
        "{" + ",".join(f'"{i}":1' for i in range(15_000)) + "}",
    ]
    for bomb in bombs:
        started = time.thread_time()
        assert schema(bomb, slow, ADA) in (0.0, None)
        assert schema(bomb, slow) in (0.0, 1.0)
        assert time.thread_time() - started < 2.0, bomb[:20]


def test_arguments_stay_as_they_were():
    gold, shape = copy.deepcopy(ADA), copy.deepcopy(PERSON)
    json_answer.schema(json.dumps(ADA), shape, gold)
    assert (gold, shape) == (ADA, PERSON)


def test_a_number_that_no_double_holds_is_not_rounded_to_the_answer():
    for text in ("35.99999999999999999999", "36.0000000000000000001", "0.36e2000"):
        assert schema(text, answer=36) == json_answer.valid(text).value == 0.0, text
    for text in ("36", "36.0", "3.6e1", "36.000", "360e-1"):
        assert schema(text, answer=36) == 1.0, text
    assert schema("0.1000000000000000055511151231257827", answer=0.1) == 1.0


def test_blanks_count_towards_the_length():
    assert schema(" " * 250_000 + "5", answer=5) == 0.0
