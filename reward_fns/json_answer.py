"""JSON: is the completion one JSON document, does it have the shape of a schema, is it the expected
value?

A schema says what an answer looks like, never that it is right: empty strings and invented values
may fit it. Only with an `answer` column is the value itself judged.
"""

from typing import Any

from llmpolicy.rewards import Score, reward
from llmpolicy.strict_json import NotJson

from ._json.document import answered, begun, gold, identity
from ._json.schema import misfit
from ._text.completion import ThinkingMarks, passed

_PERSON = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


@reward(
    passes=[
        {"completion": '{"age": 5}'},
        {"completion": "<think>hm</think>\n```json\n[1, null]\n```"},
    ],
    fails=[
        {"completion": '{"age": 5} as you asked'},
        {"completion": '{"age": NaN}'},
        {"completion": '{"age": 5, "age": 6}'},
        {"completion": '<think>{"age": 5}</think>'},
    ],
    range=(0, 1),
    kind="format",
)
def valid(
    completion: str, prompt: str = "", messages: Any = None, thinking_marks: ThinkingMarks = ()
) -> Score:
    """1.0 when the text after the last closed think is one JSON document, alone or in one code
    fence, else 0.0.

    JSON as RFC 8259 has it: no NaN or Infinity, no comments or trailing commas; nor a key twice in
    an object, more than 50 levels, or a number beyond a double's range. Any value counts, an empty
    object as well: see `schema`. What a prefill has begun of the document, such as an opening
    brace, is part of it.
    """
    try:
        answered(begun(completion, prompt, messages), prompt, thinking_marks)
    except NotJson as reason:
        return Score(0.0, why=str(reason))
    return Score(1.0)


@reward(
    passes=[
        {"completion": '{"age": 5}', "schema": _PERSON},
        {"completion": '```json\n{"age": 5}\n```', "schema": _PERSON, "answer": '{"age": 5}'},
        {"completion": '<think>five</think>{"age": 5.0}', "schema": _PERSON, "answer": {"age": 5}},
    ],
    fails=[
        {"completion": '{"age": "5"}', "schema": _PERSON},
        {"completion": '{"age": 6}', "schema": _PERSON, "answer": {"age": 5}},
        {"completion": '{"age": 5, "name": ""}', "schema": _PERSON, "answer": {"age": 5}},
        {"completion": '{"age": 5}\nI hope this helps', "schema": _PERSON, "answer": {"age": 5}},
    ],
    range=(0, 1),
    kind="answer",
    formats=("{}", "```json\n{}\n```"),
)
def schema(
    completion: str,
    schema: Any,
    answer: Any = None,
    prompt: str = "",
    messages: Any = None,
    thinking_marks: ThinkingMarks = (),
) -> Score:
    """1.0 when the completion is JSON (as for `valid`) that fits the schema and, with an answer, is
    that value; else 0.0.

    ``schema`` is a JSON schema (2020-12, or what its ``$schema`` says), as an object or as JSON
    text; nothing is fetched. Without ``answer`` only the shape is judged. ``answer`` is JSON text
    or the value itself; text that is no JSON is a string. Types count ("5" is not 5, true is not
    1), the order of keys does not, and 5.0 is the number 5, as in JSON schema. None for an answer
    that cannot be read or does not fit the schema; RewardError for a schema that is none.
    """
    misfit(
        None, schema, "json_answer:schema"
    )  # a broken schema is told even when the completion is no JSON
    expected = None
    if answer is not None:
        try:
            expected = gold(answer)
        except NotJson as reason:
            return Score(None, why=f"the answer column cannot be read: {reason}")
        why = misfit(expected, schema, "json_answer:schema")
        if why and isinstance(answer, str) and not misfit(answer, schema, "json_answer:schema"):
            expected, why = answer, ""  # the schema says that "5" is meant as text
        if why:
            return Score(None, why=f"the answer column does not fit the schema: {why}")
    try:
        value = answered(begun(completion, prompt, messages), prompt, thinking_marks)
    except NotJson as reason:
        return Score(0.0, why=str(reason))
    why = misfit(value, schema, "json_answer:schema")
    if not why and answer is not None and identity(value) != identity(expected):
        why = "not equal to the answer"
    return passed(not why, why, completion.strip()[-200:])
