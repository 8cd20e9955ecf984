"""What a data set holds besides questions and answers: parts, filled-in fields, JSON, tools,
images, system prompts.
"""

import csv
import json
import logging
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import datasets
import numpy
import pandas
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image
from trl import SFTTrainer

from llmpolicy.episode import Episode, Turn
from llmpolicy.errors import PolicyError, RecipeError, TaskError
from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.policies.causal_lm.codec import Codec
from llmpolicy.recipe import make_recipe
from llmpolicy.rewards import Rewards, Sample
from llmpolicy.session.arguments import task_block
from llmpolicy.session.training import train
from llmpolicy.stages.sft import _dataset
from llmpolicy.stages.trainers import stage_config
from llmpolicy.tasks import load_demonstrations, load_pairs, load_task, load_tasks, prompt_text
from llmpolicy.tasks.spec import TaskSpec
from reward_fns.code_tests import passes
from reward_fns.tool_call import match
from tests import models
from tests.chats import chat

TEXT = "What is 2+2?"
USER = {"role": "user", "content": TEXT}
PARTS = {
    "role": "user",
    "content": [{"type": "text", "text": "What is "}, {"type": "text", "text": "2+2?"}],
}
PIXEL = Image.new("RGB", (1, 1))
CALLS = [
    {"role": "user", "content": "Weather?"},
    {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
    {"role": "tool", "content": "Rain."},
]


def only(row: dict[str, Any], **spec: Any) -> Any:
    return load_task({"rows": [row], **spec})[0]


def refused(match: str, row: dict[str, Any], **spec: Any) -> None:
    with pytest.raises(TaskError, match=match) as caught:
        only(row, **spec)
    assert "\n" not in str(caught.value)


def test_parts_are_the_question_that_their_text_is() -> None:
    row, whole = only({"prompt": [PARTS], "answer": "4"}), only({"prompt": [USER], "answer": "4"})
    assert row.question == whole.question == TEXT
    assert prompt_text(row.prompt) == TEXT
    assert row.sample(Episode([Turn((), (), text="4")])).messages == [USER]
    with pytest.raises(TaskError, match="also training questions"):
        load_tasks(
            [{"rows": [{"prompt": [USER]}]}],
            held_out=1,
            held_out_task={"rows": [{"prompt": [PARTS]}], "name": "h"},
        )


def test_few_shot_examples_may_come_in_parts_and_are_left_out_of_the_rows() -> None:
    example = {"user": PARTS["content"], "assistant": [{"type": "text", "text": "4"}]}
    rows = load_task({"rows": [{"question": TEXT}, {"question": "3+3"}], "few_shot": [example]})
    assert [row.question for row in rows] == ["3+3"]
    assert rows[0].prompt[:2] == [USER, {"role": "assistant", "content": "4"}]
    with pytest.raises(TaskError, match="part of type 'image'"):
        load_task(
            {
                "rows": [{"question": TEXT}],
                "few_shot": [{"user": [{"type": "image"}], "assistant": "4"}],
            }
        )


def test_replies_may_come_in_parts() -> None:
    reply = {"role": "assistant", "content": [{"type": "text", "text": "4"}], "tool_calls": None}
    demonstrations = load_demonstrations(TaskSpec(rows=[{"messages": [PARTS, reply]}]))
    assert [(d.reply, d.question) for d in demonstrations] == [("4", TEXT)]
    wrong = {"role": "assistant", "content": "5"}
    pairs = load_pairs(
        TaskSpec(rows=[{"chosen": [PARTS, reply], "rejected": [{**PARTS, "name": None}, wrong]}])
    )
    assert [(p.chosen, p.rejected, p.question) for p in pairs.train] == [("4", "5", TEXT)]


@pytest.mark.parametrize("kind", ["parquet", "dataset", "stream", "generator"])
def test_what_arrow_fills_in_is_absent(kind: str, tmp_path: Path) -> None:
    rows = [
        {"prompt": CALLS, "tests": [{"input": "1", "output": "2"}]},
        {"prompt": [USER], "tests": [{"stdin": "", "stdout": "3"}]},
    ]
    data = datasets.Dataset.from_list(rows)
    assert data[1]["prompt"][0]["tool_calls"] is None  # what it looks like
    pyarrow.parquet.write_table(data.data.table, tmp_path / "rows.parquet")
    spec = {
        "parquet": {"file": str(tmp_path / "rows.parquet")},
        "dataset": {"rows": data},
        "stream": {"rows": data.to_iterable_dataset()},
        "generator": {"generator": lambda: data},
    }[kind]
    whole, sparse = load_task(spec)
    assert sparse.prompt == [USER]
    assert sparse.columns["tests"] == rows[1]["tests"]
    assert whole.prompt[1] == {"content": "", **CALLS[1]}


def test_json_in_parquet_is_what_it_is_in_jsonl(tmp_path: Path) -> None:
    rows = [{"question": "a", "answer": {"x": 1, "y": None}}, {"question": "b", "answer": [1, "z"]}]
    features = datasets.Features({"question": datasets.Value("string"), "answer": datasets.Json()})
    datasets.disable_progress_bars()
    datasets.Dataset.from_list(rows, features=features).to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    read = [
        [row.columns["answer"] for row in load_task({"file": str(tmp_path / f"rows.{kind}")})]
        for kind in ("parquet", "jsonl")
    ]
    assert read[0] == read[1] == [row["answer"] for row in rows]
    table = pyarrow.table(
        {
            "question": ["a"],
            "answer": pyarrow.array([[("k", 1)]], pyarrow.map_(pyarrow.string(), pyarrow.int64())),
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "map.parquet")
    assert load_task({"file": str(tmp_path / "map.parquet")})[0].columns["answer"] == {"k": 1}


def test_datasets_are_taken_and_a_choice_of_splits_is_asked_for() -> None:
    data = datasets.Dataset.from_list(
        [{"question": TEXT, "answer": "4"}, {"question": "3+3", "answer": "6"}]
    )
    for task in (data, data.to_iterable_dataset(), {"rows": data}):
        recipe = make_recipe(
            {
                "name": "n",
                "model": {"path": "bundled"},
                "task": task_block(task),
                "rewards": ["exact:correct"],
                "grpo": {},
            }
        )
        assert [row.question for row in load_task(recipe.task[0])] == [TEXT, "3+3"]
    assert [row.question for row in load_task(data)] == [TEXT, "3+3"]
    assert len(load_task({"rows": data.to_iterable_dataset(), "limit": 1})) == 1
    for task in (
        datasets.DatasetDict(train=data, test=data),
        datasets.IterableDatasetDict(train=data.to_iterable_dataset()),
    ):
        with pytest.raises(TaskError, match="splits train.*data.'train'."):
            task_block(task)


def test_a_dataset_gives_the_rows_that_its_transform_makes() -> None:
    plain = datasets.Dataset.from_list([{"question": "3+4", "answer": "7"}])

    def longer(batch: dict[str, list[str]]) -> dict[str, list[str]]:
        return {
            "question": ["1+" + text for text in batch["question"]],
            "answer": ["8"] * len(batch["answer"]),
        }

    rows = load_task(task_block(plain.with_transform(longer)))
    assert [(prompt_text(row.prompt), row.columns["answer"]) for row in rows] == [("1+3+4", "8")]


@pytest.mark.parametrize(
    ("column", "why"),
    [
        (
            {"answer": "7 \ud800"},
            r"row 0: the column 'answer' holds half of a surrogate pair, .*: '7 \\ud800'",
        ),
        (
            {"answer": [10**5000]},
            "row 0: the column 'answer' holds an integer of 16610 bits, expected at most 14000",
        ),
        (
            {"more": {(1, 2): 3}},
            r"row 0: the column 'more' holds a record with the key \(1, 2\), expected keys that",
        ),
    ],
)
def test_what_cannot_be_written_down_is_refused(column: dict[str, Any], why: str) -> None:
    with pytest.raises(TaskError, match=why):
        load_task(task_block([{"question": "3+4", "answer": "7", **column}]))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("9" * 5000, "integer string conversion"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        (r'"\ud800"', "half of a surrogate pair"),
    ],
)
def test_json_that_python_cannot_hold_is_refused_with_its_line(
    value: str, why: str, tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_text(f'{{"question": "3+4", "answer": {value}}}\n')
    with pytest.raises(TaskError, match=why) as caught:
        load_task(TaskSpec(file="rows.jsonl"), tmp_path)
    assert "line 1" in str(caught.value) or "row 0" in str(caught.value)


def test_a_system_column_is_the_system_prompt() -> None:
    system = {"role": "system", "content": "Be brief."}
    assert only({"question": TEXT, "system": "Be brief."}).prompt == [system, USER]
    assert only({"question": TEXT, "system": None}).prompt == [USER]
    assert only({"question": TEXT, "system": "S. "}, chat=False).prompt == "S. " + TEXT
    assert only({"question": TEXT, "system": "S"}, prompt="{system}: {question}").prompt == [
        {"role": "user", "content": "S: " + TEXT}
    ]
    assert only({"question": TEXT, "system": "S"}, columns={"my_system": "system"}).prompt == [USER]
    refused("a system prompt of its own", {"question": TEXT, "system": "S"}, system="T")
    refused("has a system message", {"prompt": [system, USER], "system": "S"})


@pytest.mark.parametrize(
    "name",
    ["image", "images", "video", "audio", "image_1", "decoded_image", "image_url", "img", "img_path", "picture", "photos",
     "Image", "imageBase64", "video-file"],
)  # fmt: skip
def test_what_cannot_be_seen_is_refused(name: str) -> None:
    refused(f"column '{name}' would be left out.*my_{name}", {"question": TEXT, name: ["a.png"]})
    assert only({"question": TEXT, name: []}).prompt == [USER]
    assert only({"question": TEXT, name: {"bytes": None, "path": None}}).prompt == [USER]
    assert (
        only({"question": TEXT, name: "a.png"}, columns={f"my_{name}": name}).columns[f"my_{name}"]
        == "a.png"
    )
    assert (
        only({"question": TEXT, name: "a.png"}, columns={"file": name}).columns["file"] == "a.png"
    )
    assert (
        only({"question": TEXT, "img": "a.png"}, prompt="{question} {img}").prompt[0]["content"]
        == TEXT + " a.png"
    )


@pytest.mark.parametrize(
    "name", ["image_id", "image_caption", "has_image", "imagery", "video_title", "path", "base"]
)
def test_what_is_said_about_an_image_is_a_column_like_any_other(name: str) -> None:
    row = {"question": TEXT, name: "a cat", "where": {"path": "src/a.py"}, "digest": b"\x01\x02"}
    assert only(row).prompt == [USER]


@pytest.mark.parametrize(
    "value",
    [
        {"type": "image", "topic": "cats"},
        {"type": "image"},
        {"type": "video", "image_count": 2},
        {"meta": {"type": "audio", "length": 3}},
        [{"type": "image", "caption": "a cat"}],
        {"path": "movie.mp4"},
        [{"path": "a.jpg"}],
    ],
    ids=repr,
)
def test_a_record_that_describes_an_image_is_a_column_like_any_other(
    value: Any, tmp_path: Path
) -> None:
    assert only({"question": TEXT, "meta": value}).columns["meta"] == value
    pyarrow.parquet.write_table(
        pyarrow.Table.from_pylist([{"question": TEXT, "meta": value}]), tmp_path / "a.parquet"
    )
    assert load_task({"file": str(tmp_path / "a.parquet")})[0].columns["meta"] == value
    assert only({"question": TEXT, "image": False, "images": 0}).prompt == [USER]


@pytest.mark.parametrize(
    "held", [{"url": "a"}, {"image": "a"}, {"image_url": {"url": "a"}}, {"source": {"data": "a"}}]
)
def test_a_part_of_a_message_that_holds_an_image_is_refused(held: dict[str, Any]) -> None:
    refused(
        "column 'meta' would be left out", {"question": TEXT, "meta": {"type": "image", **held}}
    )
    refused(
        "column 'meta' would be left out",
        {"question": TEXT, "meta": [{"type": "input_image", **held}]},
    )


def test_an_image_that_a_file_only_names_is_still_one(tmp_path: Path) -> None:
    figures = [
        {"bytes": None, "path": "a.jpg"}
    ]  # as `datasets` stores it where the bytes are not in the file
    kind = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    table = pyarrow.table({"question": [TEXT], "figure": pyarrow.array(figures, kind)})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(TaskError, match="column 'figure' would be left out"):
        load_task({"file": str(tmp_path / "a.parquet")})


@pytest.mark.parametrize("role", ["system", "developer"])
def test_examples_stand_behind_the_instructions_of_a_row(role: str) -> None:
    shots = [{"user": "1+1?", "assistant": "2"}]
    talk = [
        {"role": role, "content": "Be brief."},
        USER,
        {"role": "assistant", "content": "?"},
        USER,
    ]
    shown = [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]
    assert only({"prompt": talk}, few_shot=shots).prompt == [talk[0], *shown, *talk[1:]]
    assert only({"prompt": [USER]}, few_shot=shots).prompt == [*shown, USER]
    alone = only({"question": TEXT, "system": "Be brief."}, few_shot=shots).prompt
    assert alone == [{"role": "system", "content": "Be brief."}, *shown, USER]


def test_a_long_field_of_a_csv_file_is_read(tmp_path: Path) -> None:
    context, limit = "x" * 200_000, csv.field_size_limit()
    (tmp_path / "a.csv").write_text(f"question,answer\n{context},1\n")
    assert load_task({"file": str(tmp_path / "a.csv")})[0].prompt[0]["content"] == context
    assert csv.field_size_limit() == limit


def test_a_parquet_file_that_is_damaged_inside_is_refused_in_words(tmp_path: Path) -> None:
    table = pyarrow.table(
        {"question": [f"{n}+{n}?" for n in range(50)], "answer": [str(n) for n in range(50)]}
    )
    pyarrow.parquet.write_table(table, tmp_path / "whole.parquet", write_page_checksum=True)
    whole = (tmp_path / "whole.parquet").read_bytes()
    metadata = pyarrow.parquet.read_metadata(tmp_path / "whole.parquet").row_group(0).column(0)
    start, end = int(metadata.dictionary_page_offset), int(metadata.data_page_offset)
    for damaged in range(start, end, 40):
        content = bytearray(whole)
        content[damaged] ^= 0xFF
        (tmp_path / "bad.parquet").write_bytes(bytes(content))
        with pytest.raises(
            TaskError, match=r"bad\.parquet: not a Parquet file, or a damaged one: \w"
        ) as caught:
            load_task({"file": str(tmp_path / "bad.parquet")})
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [3, ("a", "b"), None, "a\ud800"])
def test_a_column_whose_name_is_no_text_is_refused(name: Any) -> None:
    with pytest.raises(TaskError, match="row 1: found the column name .*expected a text"):
        load_task(TaskSpec(generator=lambda: [{"question": TEXT}, {"question": TEXT, name: 1}]))


@pytest.mark.parametrize(
    "value",
    [
        PIXEL,
        [None, PIXEL],
        {"seen": PIXEL},
        {"bytes": b"?", "path": None},
        {"bytes": None, "path": "a.jpg"},
        {"array": [0.0], "sampling_rate": 16000},
        b"\x89PNG\r\n\x1a\n",
        "data:image/png;base64,AAAA",
        [{"type": "image"}],
    ],
    ids=lambda value: repr(value)[:30],
)
def test_an_image_or_a_sound_is_refused_by_whatever_name(value: Any) -> None:
    refused("column 'shown' would be left out.*my_shown", {"question": TEXT, "shown": value})
    assert only({"question": TEXT, "shown": value}, columns={"seen": "shown"}).prompt == [USER]
    refused("'shown' is an image", {"question": TEXT, "shown": value}, prompt="{question} {shown}")


@pytest.mark.parametrize("kind", ["dataset", "stream", "parquet"])
def test_features_of_datasets_are_looked_at(kind: str, tmp_path: Path) -> None:
    features = datasets.Features({"question": datasets.Value("string"), "figure": datasets.Image()})
    data = datasets.Dataset.from_dict(
        {"question": [TEXT, "3+3"], "figure": [None, PIXEL]}, features=features
    )
    datasets.disable_progress_bars()
    data.to_parquet(tmp_path / "rows.parquet")
    source: Any = {
        "dataset": data,
        "stream": data.to_iterable_dataset(),
        "parquet": {"file": str(tmp_path / "rows.parquet")},
    }
    with pytest.raises(TaskError, match="row 1: the column 'figure' would be left out"):
        load_task(source[kind])
    renamed = source[kind] if kind == "parquet" else {"rows": source[kind]}
    assert [
        row.prompt[0]["content"] for row in load_task({**renamed, "columns": {"my": "figure"}})
    ] == [TEXT, "3+3"]


def test_a_column_that_a_file_names_twice_is_refused(tmp_path: Path) -> None:
    table = pyarrow.Table.from_arrays([["a"], ["1"], ["2"]], names=["question", "answer", "answer"])
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    (tmp_path / "rows.csv").write_text("question,answer,answer\na,1,2\n")
    (tmp_path / "rows.jsonl").write_text('{"question": "a", "answer": "1", "answer": "2"}\n')
    (tmp_path / "inner.jsonl").write_text(
        '{"question": "a", "answer": {"answer": "1", "answer": "2"}}\n'
    )
    for name in ("rows.parquet", "rows.csv", "rows.jsonl", "inner.jsonl"):
        with pytest.raises(
            TaskError, match=f"^{name}(, line 1)?: found 'answer' twice, expected each column once$"
        ):
            load_task({"file": str(tmp_path / name)})
    (tmp_path / "rows.csv").write_text(
        ",question,answer,\n0,a,1,\n"
    )  # columns without a name, as spreadsheets write
    assert load_task({"file": str(tmp_path / "rows.csv")})[0].columns["answer"] == "1"


FRAME = pandas.DataFrame({"question": ["a", "b"], "answer": [1, 2]}, index=[7, 8])


@pytest.mark.parametrize(
    "table",
    [FRAME, pyarrow.Table.from_pandas(FRAME, preserve_index=False)],
    ids=["pandas", "pyarrow"],
)
def test_tables_are_taken_like_datasets(table: Any) -> None:
    expected = [{"question": "a", "answer": 1}, {"question": "b", "answer": 2}]
    for task in (table, {"rows": table}, {"generator": lambda: table}):
        block = task_block(task)
        assert [dict(row.columns) for row in load_task(block)] == expected
        assert len(load_task({**block, "limit": 1})) == 1
    messages = pandas.DataFrame({"prompt": [[USER]], "answer": [None]})
    with pytest.raises(TaskError, match="answer is None, expected a gold answer"):
        load_task(messages)
    assert load_task(messages[["prompt"]])[0].prompt == [USER]
    double = pandas.DataFrame([["a", 1, 2]], columns=["question", "answer", "answer"])
    with pytest.raises(TaskError, match="cannot be read as a table: .*answer"):
        load_task(double)


@pytest.mark.parametrize("name", ["file", "hub", "generator", "rows", "reasoning_gym"])
def test_a_row_may_have_a_column_that_is_named_like_a_source(name: str) -> None:
    rows = [{"question": "a", name: "x", "answer": "1"}, {"prompt": "b", "answer": "1"}]
    assert task_block(rows) == task_block(tuple(rows)) == {"rows": rows}
    blocks = [{name: "x", "prompt": "{question}"}, {name: "y", "promt": "{question}"}]
    assert task_block(blocks) == task_block(tuple(blocks)) == blocks


def test_rows_may_come_one_by_one_and_files_as_paths(tmp_path: Path) -> None:
    rows = [{"question": f"{number}+1", "answer": "1"} for number in range(5)]
    for rows_given in (iter(rows), tuple(rows), (row for row in rows)):
        assert TaskSpec(rows=rows_given).rows == rows  # type: ignore[arg-type]
    assert TaskSpec(rows=({"question": "a", "answer": "1"} for _ in count()), limit=3).rows == 3 * [  # type: ignore[arg-type]
        {"question": "a", "answer": "1"}
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert len(load_task(TaskSpec(file=tmp_path / "rows.jsonl"))) == 5  # type: ignore[arg-type]
    data = {
        "task": {"file": tmp_path / "rows.jsonl"},
        "rewards": "exact:match",
        "grpo": {"max_steps": 1},
    }
    for model in (tmp_path, {"path": tmp_path}):
        recipe = make_recipe({"model": model, **data})
        assert recipe.model is not None and recipe.model.path == str(tmp_path)


@pytest.mark.parametrize(
    "task", [iter([{"question": "a"}]), Path("rows.jsonl"), "rows.jsonl", len, {"a"}], ids=type
)
def test_what_is_no_task_is_one_sentence(task: Any) -> None:
    with pytest.raises(
        RecipeError, match="expected a list of rows, a Dataset, a DataFrame, or a mapping such as"
    ) as caught:
        train(model="bundled", task=task, rewards="exact:match", grpo={})
    assert "\n" not in str(caught.value)


def test_what_is_no_recipe_is_one_sentence_and_rewards_may_be_a_tuple() -> None:
    with pytest.raises(
        RecipeError, match="the recipe is .1., a list; expected a file, a name or a mapping"
    ):
        train([1])  # type: ignore[arg-type]
    blocks = {"name": "n", "model": "bundled", "task": task_block(FRAME), "grpo": {}}
    both = [
        make_recipe({**blocks, "rewards": kind(["exact:match", "numeric:equal"])}).rewards
        for kind in (tuple, list)
    ]
    assert both[0] == both[1] and len(both[0]) == 2


def test_pairs_may_give_other_columns_another_name() -> None:
    pair = {"question": TEXT, "better": "4", "rejected": "5", "image": "a.png", "sys": "Be brief."}
    names = {"prompt": "question", "chosen": "better", "my_image": "image", "system": "sys"}
    pairs = load_pairs(TaskSpec(rows=[pair], columns=names))
    assert pairs.train[0].prompt == [{"role": "system", "content": "Be brief."}, USER]


def test_messages_are_used_or_refused() -> None:
    refused("columns: .prompt: messages.", {"messages": [USER], "answer": "4"})
    assert only({"messages": [USER], "answer": "4"}, columns={"prompt": "messages"}).prompt == [
        USER
    ]
    assert only({"prompt": json.dumps([USER])}).prompt == [USER]
    assert only({"prompt": '[{"role": ...'}).prompt == [
        {"role": "user", "content": '[{"role": ...'}
    ]
    talk = [USER, {"role": "assistant", "content": "4"}]
    refused(
        "end in a reply of the assistant",
        {"messages": talk, "answer": "4"},
        columns={"prompt": "messages"},
    )


@pytest.mark.parametrize(
    "said",
    [[USER], (USER,), json.dumps([USER]), repr([USER]), numpy.array([USER], dtype=object)],
    ids=["list", "tuple", "json", "csv", "array"],
)
def test_messages_in_any_column_are_asked_as_messages(said: Any) -> None:
    expected = only({"prompt": [USER], "answer": "4"})
    asked = [
        only({"prompt": said, "answer": "4"}),
        only({"question": said, "answer": "4"}),
        only({"talk": said, "answer": "4"}, prompt=" {talk}\n"),
        only({"talk": said, "answer": "4"}, columns={"question": "talk"}),
    ]
    assert all(row.prompt == [USER] and row.question == expected.question for row in asked)
    system = [{"role": "system", "content": "S"}, USER]
    assert (
        only({"question": said}, system="S").prompt
        == only({"talk": system}, prompt="{talk}").prompt
        == system
    )
    refused("expected a text because of `chat: false`", {"question": said}, chat=False)


def test_parts_are_a_question_and_images_in_it_are_refused() -> None:
    assert only({"question": PARTS["content"]}).prompt == [USER]
    seen = [{"type": "image_url", "image_url": {"url": "http://host/a.png"}}, *PARTS["content"]]
    refused("image", {"question": seen})
    refused("image", {"q": seen, "more": "x"}, prompt="{q} {more}")


@pytest.mark.parametrize(
    "said",
    [
        b"2+2?",
        bytearray(b"2+2?"),
        ["2+2?", "3+3?"],
        {"text": "2+2?"},
        [{"from": "human", "value": "2+2?"}],
        [[USER]],
    ],
    ids=repr,
)
def test_what_is_no_question_is_refused(said: Any) -> None:
    refused("question is .*expected a text or messages", {"question": said, "answer": "4"})


@pytest.mark.parametrize(
    ("said", "match"),
    [
        (b"2+2?", "'q' is b'2.2.'.*not bytes"),
        ({"x": [b"2"]}, "not bytes"),
        ([USER], "'q' holds messages.*`prompt: '.q.'`"),
        ({"turns": [USER]}, "'q' holds messages"),
        ([{"from": "human", "value": "2+2?"}], "'q' holds messages"),
        (float("nan"), "'q', which the template asks for, is empty"),
        (numpy.float32("nan"), "is empty"),
        (pandas.NA, "is empty"),
        (pandas.NaT, "is empty"),
    ],
    ids=repr,
)
def test_what_no_text_says_is_refused_in_a_template_and_an_extract(said: Any, match: str) -> None:
    refused(match, {"q": said, "answer": "4"}, prompt="Say: {q}")
    refused(match.partition("`")[0], {"question": "a", "q": said}, extract={"q": "(.+)"})


def test_other_values_are_said_as_python_writes_them() -> None:
    row = {"n": [1, 2], "of": {"a": None}, "x": 4, "json": json.dumps([USER])}
    asked = only(row, prompt="{n} {of} {x} {json}").prompt[0]["content"]
    assert asked == f"[1, 2] {{'a': None}} 4 {json.dumps([USER])}"
    assert only({"question": 11}).prompt[0]["content"] == "11"


@pytest.mark.parametrize("name", ["question", "talk"])
def test_a_talk_that_holds_the_answer_is_no_prompt(name: str) -> None:
    talk = [USER, {"role": "assistant", "content": "4"}]
    prompt = {} if name == "question" else {"prompt": "{talk}"}
    refused(f"{name} end in a reply of the assistant", {name: talk, "answer": "4"}, **prompt)
    refused(
        "end in a reply",
        {"conversations": talk, "answer": "4"},
        columns={"prompt": "conversations"},
    )
    assert only({"prompt": talk}).prompt == talk


def test_binary_columns_of_a_file_are_refused(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(
        pyarrow.table({"question": [b"1+1"], "answer": ["2"]}), tmp_path / "q.parquet"
    )
    pyarrow.parquet.write_table(
        pyarrow.table({"question": ["1+1"], "answer": [b"2"]}), tmp_path / "a.parquet"
    )
    for file, words in (("q", "question is b'1.1'"), ("a", "answer is b'2'")):
        with pytest.raises(TaskError, match=words):
            load_task({"file": str(tmp_path / f"{file}.parquet")})


MISSING = [
    float("nan"),
    numpy.float32("nan"),
    numpy.datetime64("NaT"),
    Decimal("NaN"),
    pandas.NA,
    pandas.NaT,
]


@pytest.mark.parametrize("gold", [*MISSING, ["4", float("nan")], b"4"], ids=repr)
def test_a_gold_answer_that_is_none_is_refused(gold: Any) -> None:
    refused("answer is .*expected a gold answer", {"question": TEXT, "answer": gold})
    refused(
        "my is .*expected a gold answer",
        {"question": TEXT, "solution": gold},
        columns={"my": "solution"},
    )


@pytest.mark.parametrize("missing", MISSING, ids=repr)
def test_a_missing_value_is_an_absent_one(missing: Any) -> None:
    row = only(
        {
            "question": TEXT,
            "system": missing,
            "tools": missing,
            "image": missing,
            "chat_template_kwargs": missing,
        }
    )
    assert row.prompt == [USER] and row.prompt.options == {}


def test_a_gold_answer_may_be_nan_in_words_alone(tmp_path: Path) -> None:
    assert only({"question": TEXT, "answer": "NaN"}).columns["answer"] == "NaN"
    rows = pandas.DataFrame({"question": ["a", "b"], "answer": [1.0, None]}).to_dict("records")
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for source in ({"rows": rows}, {"file": str(tmp_path / "rows.jsonl")}):
        with pytest.raises(TaskError, match="row 1: answer is nan"):
            load_task(source)


@pytest.mark.parametrize(
    "reward", ["exact:match", "math_answer:correct", "numeric:equal", "multiple_choice:correct"]
)
def test_no_reward_pays_for_a_missing_answer(reward: str) -> None:
    rewards = Rewards([reward], isolate=False)
    for gold in (float("nan"), Decimal("NaN"), numpy.float32("nan")):
        assert [row.value for row in rewards.score([Sample("nan", {"answer": gold})])] == [None]


def test_tools_and_arguments_of_a_row_reach_its_template(caplog: pytest.LogCaptureFixture) -> None:
    tools = [
        {"type": "function", "function": {"name": "weather", "parameters": {"x": {}, "y": None}}}
    ]
    row = only(
        {
            "question": TEXT,
            "tools": json.dumps(tools),
            "chat_template_kwargs": {"enable_thinking": False, "z": None},
        }
    )
    assert row.prompt == [USER]
    tokenizer = chat("qwen3")
    tokenizer.chat_template = "{{ tools }}" + tokenizer.chat_template
    codec = Codec(tokenizer, None, vocabulary=len(tokenizer))
    text = codec.raw(codec.encode([row.prompt])[0])
    assert "weather" in text and "None" not in text and text.endswith("<think>\n\n</think>\n\n")
    refused("tools is no JSON", {"question": TEXT, "tools": "[{"})
    refused("tools is 7, expected a list", {"question": TEXT, "tools": 7})
    with caplog.at_level(logging.WARNING, "llmpolicy"):
        only({"question": TEXT, "tools": tools}, chat=False)
    assert "leave out the columns tools" in caplog.text


def test_a_reward_takes_filled_in_fields_for_absent() -> None:
    answer = [
        {"name": "f", "arguments": {"a": 1, "b": None}},
        {"name": "g", "arguments": {"a": None, "b": 2}},
    ]
    expected = (
        '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call><tool_call>{"name": "g",'
        ' "arguments": {"b": 2}}</tool_call>'
    )
    assert match(expected, answer).value == 1.0
    assert match(expected.replace('"a": 1', '"a": 2'), answer).value == 0.0
    assert (
        match(
            '{"name": "f", "arguments": {"a": 1}}',
            '{"name": "f", "arguments": {"a": 1, "b": null}}',
        ).value
        == 0.0
    )


def test_code_tests_take_filled_in_fields_for_absent() -> None:
    tests = [
        {
            "function": "f",
            "args": [1],
            "kwargs": None,
            "input": None,
            "expected": None,
            "output": 2,
            "stdin": None,
        }
    ]
    assert passes("```python\ndef f(x): return x + 1\n```", tests).value == 1.0


def test_a_reply_is_learned_behind_its_prefill() -> None:
    codec = Codec(chat("parts"), None, vocabulary=200)
    row = only({"question": TEXT}, prefill="It is ")
    before, learned = codec.lesson(row.prompt, "4", "here")
    assert before == codec.encode([row.prompt])[0]
    assert (codec.raw(before)[-6:], codec.raw(learned)) == ("It is ", "4<|im_end|>\n")


class TestAdapter:
    @pytest.fixture
    def saved(self, tmp_path: Path) -> tuple[Path, Path]:
        words = models.tokenizer()
        CausalLMPolicy(models.model("llama"), words).save(tmp_path / "base")
        policy = CausalLMPolicy.load(tmp_path / "base", lora={"r": 2})
        policy.save(tmp_path / "adapter")
        return tmp_path / "base", tmp_path / "adapter"

    def test_its_own_chat_template_is_used_and_said(
        self, saved: tuple[Path, Path], caplog: pytest.LogCaptureFixture
    ) -> None:
        base, adapter = saved
        with caplog.at_level(logging.WARNING, "llmpolicy"):
            CausalLMPolicy.load(base, adapter=adapter)
            assert not caplog.records
            words = models.tokenizer()
            words.chat_template = words.chat_template.replace("role'] }}\n", "role'] }}: ")
            words.save_pretrained(adapter)
            for policy in (
                CausalLMPolicy.load(base, adapter=adapter),
                CausalLMPolicy.load(adapter),
            ):
                assert policy.codec.raw(policy.encode([[USER]])[0]).startswith(
                    "<|im_start|>user: What"
                )
        assert "its chat template is not the base's" in caplog.text
        policy.merge().save(adapter.parent / "merged")
        whole = CausalLMPolicy.load(adapter.parent / "merged")
        assert whole.encode([[USER]]) == policy.encode([[USER]])

    def test_a_token_with_two_ids_is_refused(self, saved: tuple[Path, Path]) -> None:
        base, adapter = saved
        models.tokenizer(alphabet=models.ALPHABET[::-1]).save_pretrained(adapter)
        with pytest.raises(PolicyError, match="one id for one token"):
            CausalLMPolicy.load(base, adapter=adapter)


def test_a_warm_start_reads_the_prompts_that_the_policy_continues(tmp_path: Path) -> None:
    words = chat("qwen3")
    words.chat_template = (
        "{% for t in tools or [] %}{{ t.function.name }}{% endfor %}" + words.chat_template
    )
    tokens = {"eos_token_id": words.eos_token_id, "bos_token_id": 3, "pad_token_id": 0}
    network = models.model("llama", vocab_size=len(words), **tokens)
    policy = CausalLMPolicy(network, words, chat_template_kwargs={"enable_thinking": False})
    tools = [{"type": "function", "function": {"name": "weather"}}]
    talk = {"prompt": [PARTS], "tools": tools, "reply": "4"}
    calls = {"prompt": CALLS, "reply": "Wet.", "chat_template_kwargs": {"enable_thinking": True}}
    rows = load_demonstrations(TaskSpec(rows=[talk, calls, {"prompt": [USER], "reply": "5"}]))
    args = stage_config(
        "sft", {"max_steps": 1, "max_length": None}, folder=tmp_path, seed=0, target="cpu"
    )
    table = SFTTrainer(
        network, args, train_dataset=_dataset(rows, policy.codec, args), processing_class=words
    ).train_dataset
    for row, learned, reply in zip(rows, table, ("4", "Wet.", "5"), strict=True):
        before = policy.encode([row.prompt])[0]
        assert learned["input_ids"][: len(before)] == before
        assert policy.decode(learned["input_ids"][len(before) :]).strip().endswith(reply)
        assert set(learned["labels"][: len(before)]) == {-100}
    assert "weather" in policy.quote(table[0]["input_ids"]) and "weather" not in policy.quote(
        table[2]["input_ids"]
    )
